//! JSON Schema (2020-12) of every file and of `bench`'s scenarios, made from the shapes.
//!
//! One document: `$defs` holds a schema per file; the whole accepts any one of them, so that an editor can be pointed
//! at the document, or at `#/$defs/<file>`. Strings may always be `${VAR}`, which no schema can look into.

use crate::files::FILES;
use crate::model::scenario;
use crate::shape::{Field, Need, Shape};
use crate::units::format_bytes;
use serde_json::{Map, Value, json};

/// What stands for a value that comes from the environment.
const VARIABLE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}";

/// Name under which a scenario of `erlmcp bench` stands: its files may be called anything.
const SCENARIO: &str = "scenario";

/// The schema of all files.
pub fn schema() -> Value {
    let files = FILES.iter().map(|file| (file.name(), file.keys)).chain([(SCENARIO, scenario::KEYS)]);
    let definitions: Map<String, Value> =
        files.map(|(name, keys)| (name.to_owned(), file_schema(name, keys))).collect();
    let any: Vec<Value> = definitions.keys().map(|name| json!({"$ref": format!("#/$defs/{name}")})).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "erlmcp configuration",
        "description": "One definition per file; see $defs.",
        "anyOf": any,
        "$defs": definitions,
    })
}

fn file_schema(name: &str, keys: &[Field]) -> Value {
    let mut schema = object(keys);
    schema["title"] = name.into();
    schema
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => or_variable(json!({"type": "boolean"})),
        Shape::Int { min, max } => or_variable(json!({"type": "integer", "minimum": min, "maximum": max})),
        Shape::Number { min, max } => or_variable(json!({"type": "number", "minimum": min, "maximum": max})),
        Shape::Duration { .. } => json!({"anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": format!(r"^\s*[0-9]+\s*(ms|s|m|h|d)?\s*$|{VARIABLE}")},
        ]}),
        Shape::Bytes { min, max } => json!({
            "anyOf": [
                {"type": "integer", "minimum": min, "maximum": max},
                {"type": "string", "pattern": format!(r"^\s*[0-9]+\s*([kKMGT]i?B?|B)?\s*$|{VARIABLE}")},
            ],
            "description": format!("from {} to {}", format_bytes(*min), format_bytes(*max)),
        }),
        Shape::Cpu => json!({"anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": format!(r"^[0-9]+(m|\.[0-9]{{1,3}})?$|{VARIABLE}")},
        ]}),
        Shape::Text(rule) => json!({
            "type": ["string", "number", "boolean"], "description": rule.name, "examples": [rule.example],
        }),
        Shape::Choice(words) => json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": VARIABLE}]}),
        Shape::Secret => json!({"type": ["string", "number", "boolean"], "writeOnly": true}),
        Shape::Cpus => json!({"anyOf": [
            {"type": "string", "pattern": format!(r"^(auto|[0-9]+(-[0-9]+)?(,\s*[0-9]+(-[0-9]+)?)*)$|{VARIABLE}")},
            {"type": "integer", "minimum": 0},
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": true},
        ]}),
        Shape::List { of: item, max } => json!({"type": "array", "items": of(item), "maxItems": max}),
        Shape::Map(fields) => object(fields),
        Shape::Dict { of: value, max, .. } => {
            json!({"type": ["object", "null"], "additionalProperties": of(value), "maxProperties": max})
        }
        Shape::Tagged { tag, variants } => {
            let one = variants.iter().map(|variant| {
                let mut schema = object(variant.fields);
                schema["type"] = "object".into();
                schema["properties"][*tag] = json!({"const": variant.tag});
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                schema["required"] = std::iter::once(Value::from(*tag)).chain(required).collect();
                schema
            });
            json!({"oneOf": one.collect::<Vec<_>>()})
        }
        Shape::OneOf(fields) => {
            let mut schema = object(fields);
            schema["type"] = "object".into();
            schema["required"] = json!([]);
            schema["minProperties"] = 1.into();
            schema["maxProperties"] = 1.into();
            schema
        }
        Shape::Json => json!({"type": "object"}),
    }
}

fn or_variable(mut schema: Value) -> Value {
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "string"]);
    schema["pattern"] = VARIABLE.into();
    schema
}

fn object(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut schema = of(&field.shape);
        schema["description"] = match schema["description"].as_str() {
            Some(own) => format!("{}; {own}", field.doc).into(),
            None => field.doc.into(),
        };
        match field.need {
            Need::Required => required.push(field.key),
            Need::Default(text) => schema["default"] = default(text),
            Need::Inherit(from) => {
                schema["description"] = format!("{}; else that of {from}", field.doc).into()
            }
            Need::Section | Need::Optional => {}
        }
        if matches!(field.need, Need::Optional | Need::Default(_) | Need::Inherit(_)) {
            schema = nullable(schema);
        }
        properties.insert(field.key.to_owned(), schema);
    }
    // A key with nothing after its colon counts as absent, so a mapping without required keys may be null.
    let kind = if required.is_empty() { json!(["object", "null"]) } else { "object".into() };
    json!({"type": kind, "properties": properties, "required": required, "additionalProperties": false})
}

/// Lets null stand for "absent", keeping what describes the key outside.
fn nullable(mut schema: Value) -> Value {
    let mut outer = Map::new();
    for name in ["description", "default", "examples", "writeOnly"] {
        if let Some(value) = schema.as_object_mut().and_then(|map| map.remove(name)) {
            outer.insert(name.to_owned(), value);
        }
    }
    outer.insert("anyOf".to_owned(), json!([schema, {"type": "null"}]));
    outer.into()
}

/// A default as JSON: flow YAML of plain words is read by our own reader and given back untyped.
fn default(text: &str) -> Value {
    match crate::yaml::parse(text, 0) {
        Ok(node) => plain(&node),
        Err(_) => text.into(),
    }
}

pub(crate) fn plain(node: &crate::yaml::Node) -> Value {
    use crate::yaml::Kind;
    match &node.kind {
        Kind::Scalar { text, plain: true } => match text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            _ => text
                .parse::<u64>()
                .map(Value::from)
                .or_else(|_| text.parse::<f64>().map(Value::from))
                .unwrap_or_else(|_| text.as_str().into()),
        },
        Kind::Scalar { text, .. } => text.as_str().into(),
        Kind::List(items) => items.iter().map(plain).collect(),
        Kind::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), plain(&entry.value))).collect::<Map<_, _>>().into()
        }
    }
}
