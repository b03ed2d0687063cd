//! Notes on `vm.config`: each entry's counterpart, and the value that is in force.

use super::Checks;
use serde_json::Value;

pub(super) fn counterparts(checks: &mut Checks<'_>) {
    let runtime = serde_json::to_value(&checks.config.runtime).unwrap_or_default();
    let config = checks.config;
    for entry in &config.vm.entries {
        let what = format!("{} is read, and not in force", entry.value);
        let (why, remedy) = match entry.counterpart() {
            Some(known) if known.key.is_empty() => {
                (known.why.to_owned(), "nothing needs to be set".to_owned())
            }
            Some(known) => (
                known.why.to_owned(),
                format!("its counterpart is {}, now {}", known.key, value(&runtime, known.key)),
            ),
            None => ("erlmcp is no Erlang node, and knows no counterpart".to_owned(), "remove it".to_owned()),
        };
        checks.note(&entry.key(), [&what, &why, &remedy]);
    }
}

/// The value in force of a key of `runtime.yaml`, as a person would write it.
fn value(runtime: &Value, key: &str) -> String {
    let pointer = key.replace("runtime", "").replace('.', "/");
    match runtime.pointer(&pointer) {
        None | Some(Value::Null) => "not set".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(other) => format!("`{other}`"),
    }
}
