//! The one description of what may stand in the files: keys, kinds, bounds, defaults, a line of help.
//!
//! Everything else is derived from it: the walk that reports all errors at once, the defaults, the JSON Schema,
//! the list of leaf keys that `effects` must cover. Holds no logic beyond walking itself.

use crate::units::Bare;
use serde_json::{Map, Value};

/// What may stand under a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Bool,
    Int {
        min: u64,
        max: u64,
    },
    Number {
        min: f64,
        max: f64,
    },
    /// Bounds in milliseconds.
    Duration {
        bare: Bare,
        min: u64,
        max: u64,
    },
    Bytes {
        min: u64,
        max: u64,
    },
    /// Kubernetes CPU quantity.
    Cpu,
    /// Text with a rule of its own.
    Text(Text),
    Choice(&'static [&'static str]),
    /// Text that is masked wherever it is printed.
    Secret,
    /// `auto`, a list of CPU numbers, or a text such as `0-3,6`.
    Cpus,
    List {
        of: &'static Self,
        max: usize,
    },
    Map(&'static [Field]),
    /// Keys are the user's own; `key` says what they look like.
    Dict {
        key: Text,
        of: &'static Self,
        max: usize,
    },
    /// A mapping whose `tag` key chooses among sets of fields.
    Tagged {
        tag: &'static str,
        variants: &'static [Variant],
    },
    /// A mapping with exactly one of these keys.
    OneOf(&'static [Field]),
    /// A mapping of the user's own, of whatever JSON can say, such as a tool's arguments.
    Json,
}

/// A kind of text: its name in messages and in the schema, and its rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    /// With article, as in "wanted a host name".
    pub(crate) name: &'static str,
    pub(crate) example: &'static str,
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// A key of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    pub(crate) need: Need,
    pub(crate) doc: &'static str,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Need {
    /// An error.
    Required,
    /// This text, read as YAML.
    Default(&'static str),
    /// The mapping with all its own defaults.
    Section,
    /// Nothing: the thing is off, or another level decides.
    Optional,
    /// The value of another key (a full path).
    Inherit(&'static str),
}

/// One choice of a tagged mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) tag: &'static str,
    pub(crate) fields: &'static [Field],
}

/// A key that must be there.
pub(crate) const fn req(key: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { key, shape, need: Need::Required, doc }
}

/// A key with a default, written as YAML.
pub(crate) const fn def(key: &'static str, shape: Shape, default: &'static str, doc: &'static str) -> Field {
    Field { key, shape, need: Need::Default(default), doc }
}

/// A key that may be absent and then means "off" or "not given".
pub(crate) const fn opt(key: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { key, shape, need: Need::Optional, doc }
}

/// A mapping that exists with its defaults even when absent.
pub(crate) const fn sub(key: &'static str, fields: &'static [Field], doc: &'static str) -> Field {
    Field { key, shape: Shape::Map(fields), need: Need::Section, doc }
}

/// A key that takes another key's value when absent.
pub(crate) const fn inherit(key: &'static str, shape: Shape, from: &'static str, doc: &'static str) -> Field {
    Field { key, shape, need: Need::Inherit(from), doc }
}

/// An integer with bounds, both included.
pub(crate) const fn int(min: u64, max: u64) -> Shape {
    Shape::Int { min, max }
}

/// A number with bounds, both included.
pub(crate) const fn number(min: f64, max: f64) -> Shape {
    Shape::Number { min, max }
}

/// A duration of which a bare integer is milliseconds; zero is refused.
pub(crate) const MILLIS: Shape =
    Shape::Duration { bare: Bare::Millis, min: 1, max: crate::units::DURATION_MS_MAX };
/// A duration of which a bare integer is seconds; zero is refused.
pub(crate) const SECONDS: Shape =
    Shape::Duration { bare: Bare::Seconds, min: 1, max: crate::units::DURATION_MS_MAX };

/// A list with a bound.
pub(crate) const fn list(of: &'static Shape, max: usize) -> Shape {
    Shape::List { of, max }
}

/// Which of several allowed values a sample takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pick {
    /// Upper bounds instead of lower ones.
    pub(crate) high: bool,
    /// Index into choices and variants, wrapping.
    pub(crate) nth: usize,
    /// Whether optional keys are filled.
    pub(crate) full: bool,
}

impl Shape {
    /// A valid value of this shape, as canonical JSON. Stands in for a refused one while the rest is checked.
    pub(crate) fn sample(&self, pick: Pick) -> Value {
        let of = |low: u64, high: u64| if pick.high { high } else { low };
        match self {
            Self::Bool => Value::Bool(pick.high),
            Self::Int { min, max } => of(*min, *max).into(),
            Self::Number { min, max } => (if pick.high { *max } else { *min }).into(),
            Self::Duration { min, max, .. } => format!("{}ms", of(*min, *max)).into(),
            Self::Bytes { min, max } => of(*min, *max).to_string().into(),
            Self::Cpu => "1000m".into(),
            Self::Text(text) => text.example.into(),
            Self::Choice(words) => words[pick.nth % words.len()].into(),
            Self::Secret => "secret".into(),
            Self::Cpus => "auto".into(),
            Self::List { of, .. } => {
                if pick.full {
                    vec![of.sample(pick)].into()
                } else {
                    Value::Array(Vec::new())
                }
            }
            Self::Map(fields) => Value::Object(sample_fields(fields, pick)),
            Self::Dict { key, of, .. } => {
                let mut map = Map::new();
                if pick.full {
                    map.insert(key.example.to_owned(), of.sample(pick));
                }
                Value::Object(map)
            }
            Self::Tagged { tag, variants } => {
                let variant = &variants[pick.nth % variants.len()];
                let mut map = sample_fields(variant.fields, pick);
                map.insert((*tag).to_owned(), variant.tag.into());
                Value::Object(map)
            }
            Self::OneOf(fields) => {
                let field = &fields[pick.nth % fields.len()];
                Value::Object(std::iter::once((field.key.to_owned(), field.shape.sample(pick))).collect())
            }
            Self::Json if pick.full => {
                serde_json::json!({ "text": "a", "count": -1, "deep": [{ "on": true }] })
            }
            Self::Json => Value::Object(Map::new()),
        }
    }

    /// Calls `visit` with the pattern (`nodes[].port`, `service_specific.*.x`) of every leaf below `prefix`.
    pub(crate) fn leaves(&self, prefix: &str, visit: &mut dyn FnMut(String, &'static str)) {
        self.leaves_with("", prefix, visit);
    }

    fn leaves_with(&self, doc: &'static str, prefix: &str, visit: &mut dyn FnMut(String, &'static str)) {
        match self {
            Self::Map(fields) | Self::OneOf(fields) => {
                for field in *fields {
                    field.shape.leaves_with(field.doc, &join(prefix, field.key), visit);
                }
            }
            Self::List { of, .. } if of.is_container() => of.leaves_with(doc, &format!("{prefix}[]"), visit),
            Self::Dict { of, .. } => of.leaves_with(doc, &format!("{prefix}.*"), visit),
            Self::Tagged { tag, variants } => {
                visit(join(prefix, tag), doc);
                let mut seen = Vec::new();
                for field in variants.iter().flat_map(|variant| variant.fields) {
                    if !seen.contains(&field.key) {
                        seen.push(field.key);
                        field.shape.leaves_with(field.doc, &join(prefix, field.key), visit);
                    }
                }
            }
            _ => visit(prefix.to_owned(), doc),
        }
    }

    /// Whether keys stand below it.
    pub(crate) const fn is_container(&self) -> bool {
        matches!(
            self,
            Self::Map(_) | Self::OneOf(_) | Self::Dict { .. } | Self::Tagged { .. } | Self::List { .. }
        )
    }
}

fn sample_fields(fields: &[Field], pick: Pick) -> Map<String, Value> {
    let value = |field: &Field| match field.need {
        Need::Optional if !pick.full => Value::Null,
        _ => field.shape.sample(pick),
    };
    fields.iter().map(|field| (field.key.to_owned(), value(field))).collect()
}

/// Joins a path and a key.
pub(crate) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}
