//! The README's own words, run: its curl command and its Python client against the embedded node.
//!
//! Owns the cutting of blocks out of README.md. Only the address is changed, so that a run needs no fixed port.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::gateway::GatewaySpec;
use super::{Context, Outcome};
use crate::{run, setup};

const LIMIT: Duration = Duration::from_secs(60);
const ADDRESS: &str = "127.0.0.1:8080";
const ADMIN_ADDRESS: &str = "127.0.0.1:9090";

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let readme = fs::read_to_string(context.root.join("README.md")).context("read README.md")?;
    let gateway = GatewaySpec::default().start(context, "gateway")?;
    let here = |text: &str| text.replace(ADDRESS, &gateway.addr.to_string());

    let curl = here(&block(&readme, "sh", "curl")?);
    let reply = run::output(Command::new("sh").args(["-c", &curl]));
    outcome.case(
        "the curl command is answered by an MCP server",
        reply.and_then(|text| holds(&text, "\"serverInfo\"")),
    );

    let script = context.write("client.py", &here(&block(&readme, "python", "Client(")?))?;
    let python = setup::python_mcp2(&context.tools);
    let log = context.log("client");
    let client = run::logged(Command::new(python).arg(script), LIMIT, &log);
    let printed = client.and_then(|()| Ok(fs::read_to_string(&log)?));
    outcome.case("the Python client lists tools", printed.and_then(|text| holds(&text, "['")));

    let metrics = readme.lines().find_map(|line| Some(line.split_once("`curl ")?.1.split_once('`')?.0));
    let url = metrics.context("README.md has no inline curl command for metrics")?;
    let url = url.replace(ADMIN_ADDRESS, &gateway.admin.to_string());
    let text = run::output(Command::new("curl").args(["--silent", "--fail", "--max-time", "20", &url]));
    outcome.case("the metrics command shows metrics", text.and_then(|text| holds(&text, "\nerlmcp_")));
    Ok(outcome)
}

fn holds(text: &str, wanted: &str) -> Result<()> {
    ensure!(text.contains(wanted), "no {wanted:?} in {text:?}");
    Ok(())
}

/// The first fenced block of that language that contains `mark`.
fn block(readme: &str, language: &str, mark: &str) -> Result<String> {
    let fence = format!("```{language}\n");
    let blocks =
        readme.split(&fence).skip(1).filter_map(|rest| rest.split_once("\n```")).map(|(block, _)| block);
    let mut fitting = blocks.filter(|block| block.contains(mark));
    fitting
        .next()
        .map(str::to_owned)
        .with_context(|| format!("README.md has no {language} block with `{mark}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_cut_out() {
        let readme = "# x\n```sh\nls\n```\n\n```sh\ncurl a \\\n  -s\n```\n```python\nClient()\n```\n";
        assert_eq!(block(readme, "sh", "curl").unwrap(), "curl a \\\n  -s");
        assert_eq!(block(readme, "python", "Client(").unwrap(), "Client()");
        assert!(block(readme, "sh", "wget").unwrap_err().to_string().contains("wget"));
    }

    #[test]
    fn the_readme_has_what_the_suite_runs() {
        let readme = fs::read_to_string(crate::workspace::root().join("README.md")).unwrap();
        assert!(block(&readme, "sh", "curl").unwrap().contains(ADDRESS));
        assert!(block(&readme, "python", "Client(").unwrap().contains(ADDRESS));
        assert!(readme.contains(&format!("`curl http://{ADMIN_ADDRESS}/metrics`")));
    }
}
