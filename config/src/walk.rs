//! Holds a tree against its [`Shape`]: all errors at once, canonical values out.
//!
//! A refused value is replaced by a stand-in of the same shape and its key is tainted, so that the rest can
//! still be checked. Expands `${VAR}`; a text that came from the environment is never quoted in a message.

use crate::places::Places;
use crate::report::{Diagnostic, Severity};
use crate::shape::{Field, Need, Pick, Shape, Text, Variant, join};
use crate::units::{
    format_bytes, format_duration, format_millicores, parse_bytes, parse_duration, parse_millicores,
};
use crate::values::CpuWish;
use crate::yaml::{At, Entry, Kind, Node, clip};
use serde_json::{Map, Value};

/// What a refused value is replaced by.
const STAND_IN: Pick = Pick { high: false, nth: 0, full: false };

/// Longest text under any key, in bytes: bounds what is copied into every snapshot.
const TEXT_BYTES_MAX: usize = 8192;

/// A walk over one tree. Findings and places are collected in what is borrowed.
pub(crate) struct Walk<'a> {
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) places: &'a mut Places,
    pub(crate) out: &'a mut Vec<Diagnostic>,
    /// Path of a null that takes the value of another path once everything is read.
    pub(crate) inherits: &'a mut Vec<(String, &'static str)>,
    /// False while a default text is walked: its keys were not written by the user.
    pub(crate) written: bool,
}

/// A scalar's text after `${VAR}`, and how to quote it.
struct Scalar {
    text: String,
    plain: bool,
    quoted: String,
}

impl Walk<'_> {
    /// The canonical value of `node` under `key`.
    pub(crate) fn value(&mut self, shape: &Shape, node: &Node, key: &str) -> Value {
        match shape {
            Shape::List { of, max } => self.list(of, *max, node, key),
            Shape::Map(fields) => match self.entries(node, key) {
                Some(entries) => Value::Object(self.fields(fields, entries, node.at, key, None)),
                None => shape.sample(STAND_IN),
            },
            Shape::Dict { key: rule, of, max } => self.dict(*rule, of, *max, node, key),
            Shape::Tagged { tag, variants } => self.tagged(shape, tag, variants, node, key),
            Shape::OneOf(fields) => self.one_of(shape, fields, node, key),
            Shape::Cpus => self.cpus(node, key),
            _ => self.leaf(shape, node, key),
        }
    }

    fn error(&mut self, at: At, key: &str, texts: [&str; 3]) {
        self.places.taint(key);
        let diagnostic = self.places.diagnostic(Severity::Error, Some(at), key, texts);
        self.out.push(diagnostic);
    }

    fn entries<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n [Entry]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            _ if node.is_null() => Some(&[]),
            _ => {
                let what = format!("wanted a mapping of keys, found {}", kind_name(node));
                self.error(node.at, key, [&what, "", "indent `key: value` lines below it"]);
                None
            }
        }
    }

    /// `tag`: a key that was read already and is no unknown one.
    fn fields(
        &mut self,
        fields: &[Field],
        entries: &[Entry],
        at: At,
        key: &str,
        tag: Option<&str>,
    ) -> Map<String, Value> {
        for entry in entries {
            if tag != Some(&entry.key) && !fields.iter().any(|field| field.key == entry.key) {
                self.unknown_key(fields, entry, key);
            }
        }
        let mut map = Map::new();
        for field in fields {
            let path = join(key, field.key);
            let entry = entries.iter().find(|entry| entry.key == field.key);
            let value = match entry {
                Some(entry) if !entry.value.is_null() => {
                    if self.written {
                        self.places.set(&path, entry.key_at);
                    }
                    self.value(&field.shape, &entry.value, &path)
                }
                _ => self.absent(field, entry.map_or(at, |entry| entry.key_at), &path),
            };
            map.insert(field.key.to_owned(), value);
        }
        map
    }

    fn unknown_key(&mut self, fields: &[Field], entry: &Entry, key: &str) {
        let known: Vec<&str> = fields.iter().map(|field| field.key).collect();
        let remedy = suggest(&entry.key, &known);
        let path = join(key, &clip(&entry.key));
        self.error(entry.key_at, &path, ["unknown key", "nothing reads it", &remedy]);
    }

    /// The value of a field that was not written.
    pub(crate) fn absent(&mut self, field: &Field, at: At, path: &str) -> Value {
        match field.need {
            Need::Required => {
                let remedy = format!("add it: {}", field.doc);
                self.error(at, path, ["missing", "it has no default", &remedy]);
                field.shape.sample(STAND_IN)
            }
            Need::Optional => Value::Null,
            Need::Section => self.unwritten(&field.shape, &Node::empty(at), path),
            Need::Inherit(from) => {
                self.inherits.push((path.to_owned(), from));
                Value::Null
            }
            Need::Default(text) => match crate::yaml::parse(text, at.file) {
                Ok(node) => self.unwritten(&field.shape, &node, path),
                Err(_) => field.shape.sample(STAND_IN),
            },
        }
    }

    fn unwritten(&mut self, shape: &Shape, node: &Node, path: &str) -> Value {
        let written = std::mem::replace(&mut self.written, false);
        let value = self.value(shape, node, path);
        self.written = written;
        value
    }

    fn list(&mut self, of: &Shape, max: usize, node: &Node, key: &str) -> Value {
        let Kind::List(items) = &node.kind else {
            let what = format!("wanted a list, found {}", kind_name(node));
            self.error(node.at, key, [&what, "", "write `[a, b]`, or `- a` lines below it"]);
            return Value::Array(Vec::new());
        };
        if items.len() > max {
            let what = format!("{} entries, at most {max} are taken", items.len());
            self.error(node.at, key, [&what, "every entry costs memory on each shard", "remove some"]);
        }
        let mut values = Vec::new();
        for (index, item) in items.iter().take(max).enumerate() {
            let path = format!("{key}[{index}]");
            if self.written {
                self.places.set(&path, item.at);
            }
            values.push(self.value(of, item, &path));
        }
        Value::Array(values)
    }

    fn dict(&mut self, rule: Text, of: &Shape, max: usize, node: &Node, key: &str) -> Value {
        let mut map = Map::new();
        let entries = self.entries(node, key).unwrap_or_default();
        if entries.len() > max {
            let what = format!("{} entries, at most {max} are taken", entries.len());
            self.error(node.at, key, [&what, "", "remove some"]);
        }
        for entry in entries.iter().take(max) {
            let path = join(key, &clip(&entry.key));
            if let Err(why) = (rule.check)(&entry.key) {
                let what = format!("wanted {} as the key", rule.name);
                self.error(entry.key_at, &path, [&what, &why, &format!("such as `{}`", rule.example)]);
                continue;
            }
            if self.written {
                self.places.set(&path, entry.key_at);
            }
            let value = self.value(of, &entry.value, &path);
            map.insert(entry.key.clone(), value);
        }
        Value::Object(map)
    }

    fn tagged(&mut self, shape: &Shape, tag: &str, variants: &[Variant], node: &Node, key: &str) -> Value {
        let Some(entries) = self.entries(node, key) else { return shape.sample(STAND_IN) };
        let words: Vec<&str> = variants.iter().map(|variant| variant.tag).collect();
        let path = join(key, tag);
        let Some(entry) = entries.iter().find(|entry| entry.key == tag) else {
            let remedy = format!("add it: one of {}", words.join(", "));
            self.error(node.at, &path, ["missing", "it decides which keys may follow", &remedy]);
            return shape.sample(STAND_IN);
        };
        if self.written {
            self.places.set(&path, entry.key_at);
        }
        let Some(scalar) = self.scalar(&entry.value, &path, "a word") else { return shape.sample(STAND_IN) };
        let Some(variant) = variants.iter().find(|variant| variant.tag == scalar.text) else {
            let what = format!("{} is none of the known ones", scalar.quoted);
            self.error(entry.value.at, &path, [&what, "", &suggest(&scalar.text, &words)]);
            return shape.sample(STAND_IN);
        };
        let mut map = Map::new();
        map.insert(tag.to_owned(), variant.tag.into());
        map.extend(self.fields(variant.fields, entries, node.at, key, Some(tag)));
        Value::Object(map)
    }

    fn one_of(&mut self, shape: &Shape, fields: &[Field], node: &Node, key: &str) -> Value {
        let Some(entries) = self.entries(node, key) else { return shape.sample(STAND_IN) };
        for entry in entries.iter().filter(|entry| !fields.iter().any(|field| field.key == entry.key)) {
            self.unknown_key(fields, entry, key);
        }
        let mut known = entries.iter().filter_map(|entry| {
            let field = fields.iter().find(|field| field.key == entry.key)?;
            Some((entry, field))
        });
        let (first, second) = (known.next(), known.next());
        let words: Vec<&str> = fields.iter().map(|field| field.key).collect();
        let remedy = format!("give exactly one of {}", words.join(", "));
        match (first, second) {
            (Some((entry, field)), None) => {
                let path = join(key, field.key);
                if self.written {
                    self.places.set(&path, entry.key_at);
                }
                let value = self.value(&field.shape, &entry.value, &path);
                Value::Object(std::iter::once((field.key.to_owned(), value)).collect())
            }
            (_, Some((entry, _))) => {
                self.error(entry.key_at, key, ["two ways at once", "only one can hold", &remedy]);
                shape.sample(STAND_IN)
            }
            (None, None) => {
                self.error(node.at, key, ["nothing chosen", "", &remedy]);
                shape.sample(STAND_IN)
            }
        }
    }

    fn cpus(&mut self, node: &Node, key: &str) -> Value {
        let (text, quoted) = match &node.kind {
            Kind::List(items) => {
                // What is no plain number becomes a text that no list has.
                let number = |item: &Node| match &item.kind {
                    Kind::Scalar { text, plain: true } => text.clone(),
                    _ => "?".to_owned(),
                };
                (items.iter().map(number).collect::<Vec<_>>().join(","), "the list".to_owned())
            }
            _ => match self.scalar(node, key, "`auto` or CPU numbers") {
                Some(scalar) => (scalar.text, scalar.quoted),
                None => return "auto".into(),
            },
        };
        match text.parse::<CpuWish>() {
            Ok(wish) => wish.to_string().into(),
            Err(why) => {
                let what = format!("{quoted} is not `auto` or CPU numbers");
                self.error(node.at, key, [&what, &why, "write `auto`, `[0, 1]` or `0-3,6`"]);
                "auto".into()
            }
        }
    }

    fn leaf(&mut self, shape: &Shape, node: &Node, key: &str) -> Value {
        let wanted = wanted(shape);
        let Some(scalar) = self.scalar(node, key, &wanted) else { return shape.sample(STAND_IN) };
        match canonical(shape, &scalar, &wanted) {
            Ok(value) => value,
            Err((what, why, remedy)) => {
                self.error(node.at, key, [&what, &why, &remedy]);
                shape.sample(STAND_IN)
            }
        }
    }

    /// The scalar's text with the environment put in.
    fn scalar(&mut self, node: &Node, key: &str, wanted: &str) -> Option<Scalar> {
        let Kind::Scalar { text, plain } = &node.kind else {
            let what = format!("wanted {wanted}, found {}", kind_name(node));
            self.error(node.at, key, [&what, "", "write one value"]);
            return None;
        };
        if node.is_null() {
            let what = format!("wanted {wanted}, found nothing");
            self.error(node.at, key, [&what, "", "write a value"]);
            return None;
        }
        let expanded = match expand(text, self.env) {
            Ok(expanded) => expanded,
            Err((what, remedy)) => {
                self.error(node.at, key, [&what, "the value cannot be known without it", &remedy]);
                return None;
            }
        };
        if expanded.len() > TEXT_BYTES_MAX {
            let what = format!("a text of {} bytes, at most {TEXT_BYTES_MAX} are taken", expanded.len());
            self.error(node.at, key, [&what, "", "shorten it"]);
            return None;
        }
        // What the environment put in has no quotes of its own: `"${PORT}"` may be a number.
        let plain = *plain || expanded != *text;
        Some(Scalar { quoted: format!("`{}`", clip(text)), text: expanded, plain })
    }
}

type Fault = (String, String, String);

/// The value of a leaf in the one spelling that `serde` and `show` use.
fn canonical(shape: &Shape, scalar: &Scalar, wanted: &str) -> Result<Value, Fault> {
    let text = scalar.text.as_str();
    let wrong = || {
        let quotes = if scalar.plain { "" } else { " in quotes" };
        (
            format!("wanted {wanted}, found {}{quotes}", scalar.quoted),
            String::new(),
            "correct the value".to_owned(),
        )
    };
    let outside = |min: String, max: String| {
        (
            format!("{} is out of bounds", scalar.quoted),
            format!("it must lie from {min} to {max}"),
            "correct the value".into(),
        )
    };
    let plain = || if scalar.plain { Ok(()) } else { Err(wrong()) };
    match shape {
        Shape::Bool => {
            plain()?;
            match text {
                "true" | "True" | "TRUE" => Ok(true.into()),
                "false" | "False" | "FALSE" => Ok(false.into()),
                _ => Err(wrong()),
            }
        }
        Shape::Int { min, max } => {
            plain()?;
            let value: i128 = text.parse().map_err(|_| wrong())?;
            match u64::try_from(value).ok().filter(|value| (min..=max).contains(&value)) {
                Some(value) => Ok(value.into()),
                None => Err(outside(min.to_string(), max.to_string())),
            }
        }
        Shape::Number { min, max } => {
            plain()?;
            let value: f64 = text.parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(wrong)?;
            if (*min..=*max).contains(&value) {
                Ok(value.into())
            } else {
                Err(outside(min.to_string(), max.to_string()))
            }
        }
        Shape::Duration { bare, min, max } => {
            let value = parse_duration(text, *bare).map_err(|_| wrong())?;
            let millis = |ms: u64| format_duration(std::time::Duration::from_millis(ms));
            if (u128::from(*min)..=u128::from(*max)).contains(&value.as_millis()) {
                Ok(format_duration(value).into())
            } else {
                Err(outside(millis(*min), millis(*max)))
            }
        }
        Shape::Bytes { min, max } => {
            let value = parse_bytes(text).map_err(|_| wrong())?;
            if (*min..=*max).contains(&value) {
                Ok(format_bytes(value).into())
            } else {
                Err(outside(format_bytes(*min), format_bytes(*max)))
            }
        }
        Shape::Cpu => {
            parse_millicores(text).map(|value| format_millicores(value).into()).map_err(|_| wrong())
        }
        Shape::Text(rule) => match (rule.check)(text) {
            Ok(()) => Ok(text.into()),
            Err(why) => {
                let what = format!("{} is not {}", scalar.quoted, rule.name);
                Err((what, why, format!("write it like `{}`", rule.example)))
            }
        },
        Shape::Choice(words) if words.contains(&text) => Ok(text.into()),
        Shape::Choice(words) => {
            let what = format!("{} is none of the known ones", scalar.quoted);
            Err((what, String::new(), suggest(text, words)))
        }
        Shape::Secret => Ok(text.into()),
        // Containers never come here: `Walk::value` sends only leaves.
        _ => Err(wrong()),
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "true or false".into(),
        Shape::Int { min, max: u64::MAX } => format!("an integer of at least {min}"),
        Shape::Int { min, max } => format!("an integer from {min} to {max}"),
        Shape::Number { min, max } => format!("a number from {min} to {max}"),
        Shape::Duration { .. } => "a duration such as 100ms, 5s or 30m".into(),
        Shape::Bytes { .. } => "a size such as 65536, 64KiB or 256MB".into(),
        Shape::Cpu => "a CPU quantity such as 4000m or 4".into(),
        Shape::Text(rule) => rule.name.into(),
        Shape::Choice(words) => format!("one of {}", words.join(", ")),
        Shape::Secret => "a text".into(),
        _ => "another kind of value".into(),
    }
}

fn kind_name(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Scalar { .. } => "a single value",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a mapping",
    }
}

/// What to write instead of an unknown word.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    let nearest =
        known.iter().map(|k| (strsim::osa_distance(word, k), k)).min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, near)) if distance <= near.len().max(3) / 3 => format!("did you mean `{near}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

/// Puts `${VAR}` in; `$${` stays as `${`.
///
/// # Errors
/// What is wrong and what to do, naming the variable but no value.
fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let tail = &rest[start + 2..];
        let end = tail
            .find('}')
            .ok_or_else(|| ("`${` without `}`".to_owned(), "close it, or write `$${`".to_owned()))?;
        let name = &tail[..end];
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid {
            let what = format!("`${{{}}}` names no environment variable", clip(name));
            return Err((
                what,
                "use letters, digits and `_`, or write `$${` for the characters themselves".into(),
            ));
        }
        match env(name) {
            Some(value) => out.push_str(&value),
            None => {
                let what = format!("environment variable {name} is not set");
                return Err((what, format!("set {name}, or write the value here")));
            }
        }
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_put_in() {
        let env = |name: &str| (name == "A").then(|| "1".to_owned());
        assert_eq!(expand("x${A}y${A}", &env), Ok("x1y1".into()));
        assert_eq!(expand("$${A} $5", &env), Ok("${A} $5".into()));
        assert_eq!(expand("${B}", &env).unwrap_err().0, "environment variable B is not set");
        assert!(
            expand("${A", &env).is_err() && expand("${}", &env).is_err() && expand("${a-b}", &env).is_err()
        );
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        assert_eq!(suggest("intervall", &["interval", "timeout"]), "did you mean `interval`?");
        assert_eq!(suggest("stategy", &["strategy"]), "did you mean `strategy`?");
        assert_eq!(suggest("zzz", &["interval", "timeout"]), "known here: interval, timeout");
    }
}
