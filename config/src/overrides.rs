//! `--set path=value`: a value put into the trees before they are checked, so that it is checked like the rest.
//!
//! Paths are `a.b[0].c` or `a.b.0.c`; an index one past the end appends. The value is YAML; `~` gives the
//! default back.

use crate::files::{FILES, FileSpec};
use crate::shape::{Field, Need, Shape, join};
use crate::walk::suggest;
use crate::yaml::{At, Entry, Kind, Node, clip, parse};

/// Most overrides in one call: each is walked and kept.
pub(crate) const OVERRIDES_MAX: usize = 256;
/// Most steps of a path.
const STEPS_MAX: usize = 32;

/// Why an override cannot be put in: what, remedy.
pub(crate) type Refusal = (String, String);

/// Puts `value` at `path`. `trees` are the trees of [`FILES`], made as needed.
pub(crate) fn apply(trees: &mut [Option<Node>], path: &str, value: &str, at: At) -> Result<(), Refusal> {
    let steps = steps(path)?;
    let mut value = match value.trim() {
        "~" | "null" => Node { at, kind: Kind::Scalar { text: "~".to_owned(), plain: true } },
        "" => Node { at, kind: Kind::Scalar { text: String::new(), plain: false } },
        _ => parse(value, at.file).map_err(|refusal| (refusal.what, refusal.remedy.to_owned()))?,
    };
    place(&mut value, at);
    let (index, file, rest) = root(&steps)?;
    let tree = trees[index].get_or_insert_with(|| Node::empty(at));
    put(tree, Some(file.shape()), rest, value, at)
}

/// `a.b[0].c` as `a`, `b`, `0`, `c`.
fn steps(path: &str) -> Result<Vec<String>, Refusal> {
    let even = path.replace('[', ".").replace(']', "");
    let steps: Vec<String> = even.split('.').map(str::to_owned).collect();
    if steps.len() > STEPS_MAX || steps.iter().any(String::is_empty) {
        return Err((
            format!("`{}` is no path of a key", clip(path)),
            "write it like `listeners[0].address`".into(),
        ));
    }
    Ok(steps)
}

/// The file that a path leads into, and the steps below its top.
fn root(steps: &[String]) -> Result<(usize, &'static FileSpec, &[String]), Refusal> {
    for (index, file) in FILES.iter().enumerate() {
        if file.prefix.is_empty() {
            if file.keys.iter().any(|field| field.key == steps[0]) {
                return Ok((index, file, steps));
            }
        } else if file.prefix == steps[0] && steps.len() > 1 {
            return Ok((index, file, &steps[1..]));
        }
    }
    let known: Vec<&str> = FILES
        .iter()
        .flat_map(|file| {
            file.keys.iter().map(|field| if file.prefix.is_empty() { field.key } else { file.prefix })
        })
        .collect();
    let mut known = known;
    known.dedup();
    Err((format!("no file has a key `{}` at its top", clip(&steps[0])), suggest(&steps[0], &known)))
}

/// Descends, making what is missing: a key with a default list or mapping starts from that default.
fn put(node: &mut Node, shape: Option<Shape>, steps: &[String], value: Node, at: At) -> Result<(), Refusal> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    if let (Kind::List(items), Ok(index)) = (&mut node.kind, step.parse::<usize>()) {
        if index > items.len() {
            let what = format!("the list has {} entries, so there is no [{index}]", items.len());
            return Err((what, "an index one past the end appends".into()));
        }
        if index == items.len() {
            items.push(Node::empty(at));
        }
        let of = match shape {
            Some(Shape::List { of, .. }) => Some(*of),
            _ => None,
        };
        return put(&mut items[index], of, rest, value, at);
    }
    if node.is_null() {
        node.kind = Kind::Map(Vec::new());
    }
    let Kind::Map(entries) = &mut node.kind else {
        let what = format!("there is nothing below which `{}` could stand", clip(step));
        return Err((what, "name the key above it, or an index of a list".into()));
    };
    let field = shape.and_then(|shape| field_of(shape, step));
    let below = field.map(|field| field.shape).or(match shape {
        Some(Shape::Dict { of, .. }) => Some(*of),
        _ => None,
    });
    let index = match entries.iter().position(|entry| entry.key == *step) {
        Some(index) => index,
        None => {
            let start = start(field, below, at);
            entries.push(Entry { key: step.clone(), key_at: at, value: start });
            entries.len() - 1
        }
    };
    if rest.is_empty() {
        entries[index].key_at = at;
    }
    put(&mut entries[index].value, below, rest, value, at)
}

fn field_of(shape: Shape, key: &str) -> Option<Field> {
    match shape {
        Shape::Map(fields) | Shape::OneOf(fields) => fields.iter().find(|field| field.key == key).copied(),
        Shape::Tagged { variants, .. } => {
            variants.iter().flat_map(|variant| variant.fields).find(|field| field.key == key).copied()
        }
        _ => None,
    }
}

/// What a missing key starts from.
fn start(field: Option<Field>, shape: Option<Shape>, at: At) -> Node {
    if let Some(Field { need: Need::Default(text), .. }) = field
        && let Ok(mut node) = parse(text, at.file)
    {
        place(&mut node, at);
        return node;
    }
    match shape {
        Some(Shape::List { .. }) => Node { at, kind: Kind::List(Vec::new()) },
        _ => Node::empty(at),
    }
}

/// Everything in an override stands where the override stands.
fn place(node: &mut Node, at: At) {
    node.at = at;
    match &mut node.kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter_mut().for_each(|item| place(item, at)),
        Kind::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.key_at = at;
            place(&mut entry.value, at);
        }),
    }
}

/// The path as messages write it.
pub(crate) fn pretty(path: &str) -> String {
    let even = path.replace('[', ".").replace(']', "");
    even.split('.').fold(String::new(), |out, step| match step.parse::<usize>() {
        Ok(index) if !out.is_empty() => format!("{out}[{index}]"),
        _ => join(&out, step),
    })
}
