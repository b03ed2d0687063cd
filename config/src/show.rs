//! What `erlmcp config show` and `diff` print: the effective configuration as files, and what two of them differ in.
//!
//! Owns the YAML writer (a subset: quoted strings, block mappings and lists). Secrets are masked by their type;
//! a changed secret is reported as changed, never with its text.

use crate::effects::{self, Reload};
use crate::files::FILES;
use crate::model::Config;
use crate::secret::{MASK, Secret};
use crate::shape::join;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The effective configuration as YAML, one part per file, each under a comment with the file's name.
pub fn show(config: &Config) -> String {
    let mut out = String::new();
    for (name, text) in show_files(config) {
        let _ = write!(out, "# {name}\n{text}\n");
    }
    out
}

/// The effective configuration as one JSON object, by file.
pub fn show_json(config: &Config) -> Value {
    FILES.iter().map(|file| (file.name().to_owned(), section(config, file))).collect::<Map<_, _>>().into()
}

/// The same, by file: what would have to be written to get it again (apart from secrets).
pub fn show_files(config: &Config) -> Vec<(&'static str, String)> {
    FILES.iter().map(|file| (file.name(), yaml(&section(config, file)))).collect()
}

/// A value as YAML.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write_yaml(&mut out, value, 0);
    out
}

/// One file's keys, without those that are absent.
fn section(config: &Config, file: &crate::files::FileSpec) -> Value {
    let mut all = serde_json::to_value(config).unwrap_or_default();
    let mut value = all.get_mut(file.section).map(Value::take).unwrap_or_default();
    if file.unwrap {
        value = Map::from_iter([(file.keys[0].key.to_owned(), value)]).into();
    }
    without_nulls(value)
}

pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(key, value)| (key, without_nulls(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn write_yaml(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let _ = write!(out, "{:indent$}{}:", "", plain_or_quoted(key));
                write_below(out, value, indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                write_item(out, item, indent);
            }
        }
        other => {
            let _ = writeln!(out, "{:indent$}{}", "", scalar(other));
        }
    }
}

fn write_below(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if map.is_empty() => out.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Object(_) | Value::Array(_) => {
            out.push('\n');
            write_yaml(out, value, indent + 2);
        }
        other => {
            let _ = writeln!(out, " {}", scalar(other));
        }
    }
}

/// A mapping in a list starts on the line of its dash.
fn write_item(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut inner = String::new();
            write_yaml(&mut inner, value, indent + 2);
            let _ = writeln!(out, " {}", inner.trim());
        }
        other => write_below(out, other, indent),
    }
}

/// JSON strings are YAML double-quoted scalars, except for DEL and the line separators, which JSON leaves bare.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => plain_or_quoted(text),
        other => other.to_string(),
    }
}

fn plain_or_quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off"
        );
    if plain || is_quantity(text) {
        return text.to_owned();
    }
    // `${` would be looked up in the environment when loaded again.
    let quoted = Value::from(text.replace("${", "$${")).to_string();
    quoted.chars().fold(String::new(), |mut out, c| {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// Digits and a unit, such as `30s`: read as text by every YAML reader, unlike `1e5` or `0x1f`.
fn is_quantity(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len()
        && matches!(
            unit,
            "ms" | "s" | "m" | "h" | "d" | "kB" | "MB" | "GB" | "TB" | "KiB" | "MiB" | "GiB" | "TiB"
        )
}

/// A key that two configurations differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Full path.
    pub key: String,
    /// What it was; None: it was not there.
    pub from: Option<String>,
    /// What it is; None: it is gone.
    pub to: Option<String>,
    /// Whether the running process cannot take it over.
    pub needs_restart: bool,
}

/// What changes from `a` to `b`, key by key, in the order of the files.
pub fn diff(a: &Config, b: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for file in FILES {
        let top = if file.prefix.is_empty() { "" } else { file.prefix };
        compare(&section(a, file), &section(b, file), top, &mut changes);
    }
    for ((key, from), (_, to)) in secrets(a).into_iter().zip(secrets(b)) {
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            changes.push(change(key, Some(MASK.to_owned()), Some(format!("{MASK} (another one)"))));
        }
    }
    changes
}

/// Every secret that may be there. Where one comes or goes, the comparison of texts sees it.
fn secrets(config: &Config) -> [(&'static str, Option<&Secret>); 3] {
    let primary = config.database.postgresql.as_ref().map(|postgresql| &postgresql.primary);
    [
        ("admin.token", config.listeners.admin.token.as_ref()),
        ("database.postgresql.primary.password", primary.and_then(|primary| primary.password.as_ref())),
        (
            "chaos.monitoring.notifications.slack_webhook",
            config.chaos.monitoring.notifications.slack_webhook.as_ref(),
        ),
    ]
}

fn compare(a: &Value, b: &Value, key: &str, changes: &mut Vec<Change>) {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                compare(value, right.get(name).unwrap_or(&Value::Null), &join(key, name), changes);
            }
            for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(*name)) {
                compare(&Value::Null, value, &join(key, name), changes);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.iter().chain(right).any(Value::is_object) => {
            for index in 0..left.len().max(right.len()) {
                let item = |list: &[Value]| list.get(index).cloned().unwrap_or_default();
                compare(&item(left), &item(right), &format!("{key}[{index}]"), changes);
            }
        }
        _ if a == b => {}
        _ => changes.push(change(key, text(a), text(b))),
    }
}

fn change(key: &str, from: Option<String>, to: Option<String>) -> Change {
    Change { needs_restart: effects::reload_of(key) == Reload::Boot, key: key.to_owned(), from, to }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
