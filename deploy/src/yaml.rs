//! Writes a JSON value as block-style YAML 1.2.
//!
//! Owns the layout. Strings are always double-quoted, as in JSON, which YAML reads the same way: no `no` becomes false.

use std::fmt::Write as _;

use serde_json::Value;

/// The whole document, with a newline at its end.
pub(crate) fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(&mut text, value, 0, false),
        scalar => scalar_line(&mut text, scalar),
    }
    text
}

/// Writes entries at `indent`; the first of them stands behind a `- ` when `inline`.
fn block(text: &mut String, value: &Value, indent: usize, inline: bool) {
    let mut first = inline;
    let mut lead = |text: &mut String| {
        if !std::mem::take(&mut first) {
            text.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                lead(text);
                text.push_str(&plain_or_quoted(key));
                text.push(':');
                if nested(value) {
                    text.push('\n');
                    block(text, value, indent + 2, false);
                } else {
                    text.push(' ');
                    scalar_line(text, value);
                }
            }
        }
        Value::Array(entries) => {
            for value in entries {
                lead(text);
                text.push_str("- ");
                if nested(value) {
                    block(text, value, indent + 2, true);
                } else {
                    scalar_line(text, value);
                }
            }
        }
        scalar => scalar_line(text, scalar),
    }
}

/// A scalar, or an empty collection in flow style: JSON's form is YAML's.
fn scalar_line(text: &mut String, value: &Value) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{value}");
}

fn nested(value: &Value) -> bool {
    (value.is_object() || value.is_array()) && !is_empty(value)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Keys are plain where they can be nothing but a string.
fn plain_or_quoted(key: &str) -> String {
    let letters = key.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = letters && key.chars().all(|c| c.is_ascii_alphanumeric() || "./-".contains(c));
    let word =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&key.to_lowercase().as_str());
    if plain && !word { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layout() {
        let value = json!({
            "a": {"b": 1, "on": true, "empty": {}},
            "list": ["no", {"x": null, "y z": [[1, 2], []]}],
        });
        let expected = "\
a:
  b: 1
  \"on\": true
  empty: {}
list:
  - \"no\"
  - x: null
    \"y z\":
      - - 1
        - 2
      - []
";
        assert_eq!(write(&value), expected);
        assert_eq!(write(&json!("a\nb")), "\"a\\nb\"\n");
    }
}
