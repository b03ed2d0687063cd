//! `erlmcp explain`.

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::Value;

use super::remote::{RemoteArgs, encode};
use super::{Outcome, print, print_json};

/// The request.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1 when no route takes the request.\n\nExamples:\n  erlmcp explain http://mcp.example.com/mcp\n  erlmcp explain /mcp --method POST --header 'x-canary: 1'"
)]
pub(super) struct ExplainArgs {
    /// URL or path.
    request: String,
    /// Method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// Header of the request, `name: value`. May be repeated.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ExplainArgs) -> Outcome {
    let (host, path) = split(&args.request)?;
    let target = format!(
        "/api/explain?host={}&path={}&method={}&headers={}",
        encode(host),
        encode(path),
        encode(&args.method),
        encode(&args.header.join("\n")),
    );
    let told = args.remote.get_good("GET", &target)?;
    if args.json {
        print_json(&told)?;
    } else {
        print(&text(&told))?;
    }
    Ok(!told["route"].is_null())
}

/// Host and path of a URL, or a path alone.
fn split(request: &str) -> Result<(&str, &str)> {
    if request.starts_with('/') {
        return Ok(("", request));
    }
    let (_, rest) =
        request.split_once("://").ok_or_else(|| anyhow!("{request} is neither a path nor a URL"))?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    Ok((host, if path.is_empty() { "/" } else { path }))
}

fn text(told: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut out = format!("{}\n", word(&told["why"]));
    for tried in told["tried"].as_array().into_iter().flatten() {
        let verdict = tried["failed"]
            .as_str()
            .map_or_else(|| "matches".to_owned(), |why| format!("does not match by its {why}"));
        out += &format!("route {}: {verdict}\n", word(&tried["route"]));
    }
    for target in told["targets"].as_array().into_iter().flatten() {
        let share = target["share"].as_f64().unwrap_or(0.0) * 100.0;
        out += &format!("group {} ({share:.0} %, {})\n", word(&target["group"]), word(&target["strategy"]));
        for node in target["nodes"].as_array().into_iter().flatten() {
            let fit = if node["fit"] == true { "fit" } else { "not fit" };
            let health = if node["healthy"] == true { "healthy" } else { "unhealthy" };
            out += &format!(
                "  {} {}: {fit} ({health}, {}), {} in flight\n",
                word(&node["node"]),
                word(&node["address"]),
                word(&node["status"]),
                word(&node["active"]),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_url_or_a_path() {
        assert_eq!(split("/a?b").unwrap(), ("", "/a?b"));
        assert_eq!(split("http://h:1/a").unwrap(), ("h:1", "/a"));
        assert_eq!(split("https://h").unwrap(), ("h", "/"));
        assert!(split("h/a").is_err());
    }
}
