//! What a person at a terminal sees when the gateway serves.

use std::io::{IsTerminal as _, Write as _};

use crate::control::Control;
use crate::reload::EMBEDDED_NODE;

/// Prints the banner on a terminal, one log line elsewhere.
pub(super) fn print(control: &Control) {
    let boot = &control.boot;
    let listeners: Vec<&str> = boot.listeners.iter().map(|(_, address)| address.as_str()).collect();
    let (listening, admin) = (listeners.join(", "), boot.admin.join(", "));
    tracing::info!(listening, admin, driver = %boot.chosen.kind, shards = boot.cpus.len(), "serving");
    if std::io::stderr().is_terminal() {
        // A closed terminal is no reason to stop.
        let _ = std::io::stderr().write_all(text(control).as_bytes());
    }
}

fn text(control: &Control) -> String {
    let boot = &control.boot;
    let mut out = format!("\n  erlmcp {}\n", env!("CARGO_PKG_VERSION"));
    for (name, address) in &boot.listeners {
        let url = if address.starts_with("unix:") { address.clone() } else { format!("http://{address}") };
        out += &format!("  {name:<8} {url}\n");
    }
    for address in &boot.admin {
        out += &format!("  admin    http://{address}  (status, /metrics)\n");
    }
    if let Some(socket) = &boot.socket {
        out += &format!("  socket   {}\n", socket.display());
    }
    let cpus: Vec<String> = boot.cpus.iter().map(ToString::to_string).collect();
    let (count, cpus) = (boot.cpus.len(), cpus.join(", "));
    let shards =
        if count == 1 { format!("1 shard on cpu {cpus}") } else { format!("{count} shards on cpus {cpus}") };
    out += &format!("  driver   {}, {shards}\n", boot.chosen.kind);
    let desired = control.desired.borrow();
    let nodes: Vec<_> = desired.groups.iter().flat_map(|group| &group.nodes).collect();
    let names: Vec<String> = nodes.iter().take(4).map(|node| node.at.to_string()).collect();
    let more = if nodes.len() > 4 { format!(" and {} more", nodes.len() - 4) } else { String::new() };
    if nodes.iter().any(|node| node.name == EMBEDDED_NODE) {
        let address = boot.listeners.first().map_or("127.0.0.1:8080", |(_, address)| address);
        out += "  nodes    the embedded MCP node; try\n\n";
        out += &format!(
            "    curl -s http://{address}/mcp -H 'Content-Type: application/json' \\\n      \
             -H 'Accept: application/json, text/event-stream' \\\n      \
             -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\"2025-11-25\",\
             \"capabilities\":{{}},\"clientInfo\":{{\"name\":\"curl\",\"version\":\"1\"}}}}}}'\n\n"
        );
    } else {
        out += &format!("  nodes    {}{more}\n\n", names.join(", "));
    }
    out
}
