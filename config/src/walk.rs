//! Holds a tree against its [`Shape`]: all errors at once, canonical values out.
//!
//! A refused value is replaced by a stand-in of the same shape and its key is tainted, so that the rest can
//! still be checked. Expands `${VAR}`; a text that came from the environment is never quoted in a message.

use crate::places::Places;
use crate::report::{Diagnostic, Severity};
use crate::scalar::{Scalar, canonical, expand, wanted};
use crate::shape::{Field, Need, Pick, Shape, Text, Variant, join};
use crate::values::CpuWish;
use crate::yaml::{At, Entry, Kind, Node, clip};
use serde_json::{Map, Value};

/// What a refused value is replaced by.
const STAND_IN: Pick = Pick { high: false, nth: 0, full: false };

/// Longest text under any key, in bytes: bounds what is copied into every snapshot.
const TEXT_BYTES_MAX: usize = 8192;

/// Longest word for which a near one is looked for: no key is longer than 30 bytes, and the search is quadratic.
const WORD_BYTES_MAX: usize = 64;

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
            Shape::Json => match self.entries(node, key) {
                Some(_) => self.json(node, key),
                None => shape.sample(STAND_IN),
            },
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

    /// Whatever stands there, typed as YAML's core schema has it: quoted texts stay texts.
    fn json(&mut self, node: &Node, key: &str) -> Value {
        match &node.kind {
            Kind::Map(entries) => {
                let each = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), self.json(&entry.value, &join(key, &clip(&entry.key)))));
                Value::Object(each.collect())
            }
            Kind::List(items) => {
                let each =
                    items.iter().enumerate().map(|(index, item)| self.json(item, &format!("{key}[{index}]")));
                each.collect()
            }
            Kind::Scalar { .. } if node.is_null() => Value::Null,
            Kind::Scalar { plain, .. } => match self.scalar(node, key, "a value") {
                Some(scalar) if *plain => word(&scalar.text),
                Some(scalar) => scalar.text.into(),
                None => Value::Null,
            },
        }
    }

    fn leaf(&mut self, shape: &Shape, node: &Node, key: &str) -> Value {
        let Some(scalar) = self.scalar(node, key, &wanted(shape)) else { return shape.sample(STAND_IN) };
        match canonical(shape, &scalar) {
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

/// A plain scalar as JSON.
fn word(text: &str) -> Value {
    let looks_numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ if !looks_numeric => text.into(),
        _ => {
            let whole =
                text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from));
            whole.or_else(|_| text.parse::<f64>().map(Value::from)).unwrap_or_else(|_| text.into())
        }
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
    if word.len() > WORD_BYTES_MAX {
        return format!("known here: {}", known.join(", "));
    }
    let nearest =
        known.iter().map(|k| (strsim::osa_distance(word, k), k)).min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, near)) if distance <= near.len().max(3) / 3 => format!("did you mean `{near}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        assert_eq!(suggest("intervall", &["interval", "timeout"]), "did you mean `interval`?");
        assert_eq!(suggest("stategy", &["strategy"]), "did you mean `strategy`?");
        assert_eq!(suggest("zzz", &["interval", "timeout"]), "known here: interval, timeout");
    }
}
