//! The status page: plain HTML from the API's own views, no script, nothing from elsewhere.

use serde_json::Value;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .8rem;text-align:left;border-bottom:1px solid #8884}\
.up{color:#178a3c}.down{color:#c22}.unknown{color:#a60}@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}}";

/// Renders both views.
pub(super) fn render(status: &Value, nodes: &Value) -> String {
    let mut out = String::with_capacity(8 * 1024);
    out += "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">";
    out += "<meta http-equiv=\"refresh\" content=\"5\"><title>erlmcp</title><style>";
    out += STYLE;
    out += "</style><h1>erlmcp</h1><table>";
    for (name, key) in [
        ("Version", "version"),
        ("Phase", "phase"),
        ("Ready", "ready"),
        ("Up for, seconds", "uptime_seconds"),
        ("Driver", "driver"),
        ("Why not io_uring", "driver_fallback"),
        ("Requests", "requests"),
        ("Requests per second", "requests_per_second"),
        ("Event streams open", "streams"),
        ("Snapshot", "revision"),
    ] {
        if !status[key].is_null() {
            out += &format!("<tr><th>{name}<td>{}", text(&status[key]));
        }
    }
    out += "</table>";
    table(&mut out, "Listeners", &status["listeners"], &["name", "address", "connections"]);
    table(&mut out, "Shards", &status["shards"], &["shard", "cpu", "load", "requests", "revision"]);
    out += "<h2>Nodes</h2><table><tr><th>Group<th>Node<th>Status<th>Address<th>Health<th>Active<th>Requests<th>Failures";
    for node in nodes.as_array().into_iter().flatten() {
        for endpoint in node["endpoints"].as_array().into_iter().flatten() {
            let health = text(&endpoint["health"]);
            out += &format!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td class=\"{health}\" title=\"{}\">{health}<td>{}<td>{}<td>{}",
                text(&node["group"]),
                text(&node["node"]),
                text(&node["status"]),
                text(&endpoint["address"]),
                text(&endpoint["health_error"]),
                text(&endpoint["active"]),
                text(&endpoint["requests"]),
                text(&endpoint["failures"]),
            );
        }
    }
    out += "</table>";
    table(&mut out, "Tasks", &status["tasks"], &["task", "restarts"]);
    out += "<p><a href=\"/metrics\">metrics</a> · <a href=\"/api/status\">status</a> · <a href=\"/api/nodes\">nodes</a> · <a href=\"/api/config\">configuration</a>";
    out
}

fn table(out: &mut String, title: &str, rows: &Value, columns: &[&str]) {
    *out += &format!("<h2>{title}</h2><table><tr>");
    for column in columns {
        *out += &format!("<th>{column}");
    }
    for row in rows.as_array().into_iter().flatten() {
        *out += "<tr>";
        for column in columns {
            *out += &format!("<td>{}", text(&row[*column]));
        }
    }
    *out += "</table>";
}

/// A value as text that HTML cannot take for anything else.
fn text(value: &Value) -> String {
    let plain = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_cannot_become_markup() {
        let nodes =
            json!([{ "group": "<b>", "node": "a\"b", "endpoints": [{ "health": "up", "address": "x" }] }]);
        let page = render(&json!({ "version": "1<2" }), &nodes);
        assert!(page.contains("&lt;b&gt;") && page.contains("a&quot;b") && page.contains("1&lt;2"));
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    }
}
