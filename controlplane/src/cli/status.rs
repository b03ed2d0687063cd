//! `erlmcp status`.

use clap::Args;
use serde_json::{Value, json};

use super::remote::RemoteArgs;
use super::{Outcome, print, print_json};

/// Which gateway, and how to report.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1 when the gateway is not ready, or no node of a group takes traffic.\n\nExamples:\n  erlmcp status\n  erlmcp status --admin 127.0.0.1:9090 --json"
)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs) -> Outcome {
    let status = args.remote.get_good("GET", "/api/status")?;
    let nodes = args.remote.get_good("GET", "/api/nodes")?;
    if args.json {
        print_json(&json!({ "status": status, "nodes": nodes }))?;
    } else {
        print(&table(&status, &nodes))?;
    }
    Ok(status["ready"] == true && every_group_is_served(&nodes))
}

fn every_group_is_served(nodes: &Value) -> bool {
    let nodes: Vec<&Value> = nodes.as_array().into_iter().flatten().collect();
    nodes.iter().all(|node| nodes.iter().any(|other| other["group"] == node["group"] && other["fit"] == true))
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn table(status: &Value, nodes: &Value) -> String {
    let mut out = format!(
        "erlmcp {}  pid {}  {}, {}  up {} s\ndriver {}  shards {}  requests {} ({}/s)  streams {}  snapshot {}\n",
        word(&status["version"]),
        word(&status["pid"]),
        word(&status["phase"]),
        if status["ready"] == true { "ready" } else { "not ready" },
        word(&status["uptime_seconds"]),
        word(&status["driver"]),
        status["shards"].as_array().map_or(0, Vec::len),
        word(&status["requests"]),
        word(&status["requests_per_second"]),
        word(&status["streams"]),
        word(&status["revision"]),
    );
    if !status["driver_fallback"].is_null() {
        out += &format!("fallback: {}\n", word(&status["driver_fallback"]));
    }
    for listener in status["listeners"].as_array().into_iter().flatten() {
        out += &format!(
            "listener {} {} ({} connections)\n",
            word(&listener["name"]),
            word(&listener["address"]),
            word(&listener["connections"])
        );
    }
    let mut rows = vec![
        ["GROUP", "NODE", "STATUS", "ADDRESS", "HEALTH", "ACTIVE", "REQUESTS", "FAILURES"].map(str::to_owned),
    ];
    for node in nodes.as_array().into_iter().flatten() {
        let [group, name, state] = ["group", "node", "status"].map(|key| word(&node[key]));
        let endpoints: Vec<&Value> = node["endpoints"].as_array().into_iter().flatten().collect();
        if endpoints.is_empty() {
            let dash = || "-".to_owned();
            rows.push([
                group,
                name,
                state,
                word(&node["at"]),
                "unresolved".to_owned(),
                dash(),
                dash(),
                dash(),
            ]);
            continue;
        }
        for endpoint in endpoints {
            let [address, health, active, requests, failures] =
                ["address", "health", "active", "requests", "failures"].map(|key| word(&endpoint[key]));
            rows.push([
                group.clone(),
                name.clone(),
                state.clone(),
                address,
                health,
                active,
                requests,
                failures,
            ]);
        }
    }
    out + &aligned(&rows)
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fit_node_serves_its_group() {
        let node = |group: &str, fit: bool| json!({ "group": group, "fit": fit });
        assert!(every_group_is_served(&json!([node("a", true), node("a", false), node("b", true)])));
        assert!(!every_group_is_served(&json!([node("a", true), node("b", false)])));
    }

    #[test]
    fn a_node_without_addresses_has_a_line() {
        let nodes = json!([{ "group": "g", "node": "n", "status": "active", "at": "n:80", "endpoints": [] }]);
        let text = table(&json!({}), &nodes);
        assert!(text.contains("\ng      n     active  n:80     unresolved  -"), "{text}");
    }
}
