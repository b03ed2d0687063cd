//! End-to-end suites: the built `erlmcp` binary against real clients, servers and proxies.
//!
//! Owns the list of suites and the running of them, one after the other. A suite is a plain function in a file of its
//! own; it starts what it needs through [`process`] and [`gateway`], talks through [`http`], and returns an [`Outcome`]
//! that names each case. A suite never skips: what it needs and does not find is an error.
//!
//! To add one: write `fn run(&Context) -> Result<Outcome>` in a new file here and a line in [`SUITES`].

pub mod context;
pub mod gateway;
pub mod http;
pub mod process;
mod smoke;

use std::time::Instant;

use anyhow::{Result, bail};

pub use context::{Context, Outcome};

/// One row of the registry.
struct Suite {
    name: &'static str,
    /// One line for people: what it shows.
    what: &'static str,
    run: fn(&Context) -> Result<Outcome>,
}

/// Every suite, in the order in which they run.
const SUITES: &[Suite] = &[Suite {
    name: "smoke",
    what: "the gateway starts, answers through two nginx upstreams, and ends on SIGTERM",
    run: smoke::run,
}];

/// Arguments of `cargo xtask e2e`.
#[derive(clap::Args)]
pub struct Args {
    /// Names of suites; all when none is given
    suites: Vec<String>,
    /// The binary under test
    #[arg(long, env = "ERLMCP_BIN", help = "Binary under test [default: target/release/erlmcp]")]
    binary: Option<std::path::PathBuf>,
    /// List the suites and stop
    #[arg(long)]
    list: bool,
}

/// Runs the suites named in `args`; `Ok(false)` when a case failed.
///
/// # Errors
/// When a suite is unknown or the binary is missing.
pub fn run(args: &Args) -> Result<bool> {
    if args.list {
        for suite in SUITES {
            println!("{:<20} {}", suite.name, suite.what);
        }
        return Ok(true);
    }
    let chosen = choose(&args.suites)?;
    let context = Context::new(args.binary.clone())?;
    let mut all = Outcome::default();
    for suite in chosen {
        println!("e2e {}: {}", suite.name, suite.what);
        let start = Instant::now();
        let outcome = (suite.run)(&context.for_suite(suite.name)?).unwrap_or_else(|error| {
            let mut outcome = Outcome::default();
            outcome.fail("suite", format!("{error:#}"));
            outcome
        });
        outcome.print();
        let (passed, failed) = (outcome.passed(), outcome.failed());
        println!(
            "e2e {}: {passed} passed, {failed} failed, {:.1} s",
            suite.name,
            start.elapsed().as_secs_f64()
        );
        all.append(outcome);
    }
    println!("{} passed, {} failed", all.passed(), all.failed());
    Ok(all.failed() == 0 && all.passed() > 0)
}

fn choose(names: &[String]) -> Result<Vec<&'static Suite>> {
    if names.is_empty() {
        return Ok(SUITES.iter().collect());
    }
    let find = |name: &String| SUITES.iter().find(|suite| suite.name == name.as_str());
    if let Some(unknown) = names.iter().find(|name| find(name).is_none()) {
        let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        bail!("no suite `{unknown}`; there are: {}", known.join(", "));
    }
    Ok(names.iter().filter_map(find).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_unknown_ones_are_refused() {
        for (index, suite) in SUITES.iter().enumerate() {
            assert!(
                !SUITES[..index].iter().any(|other| other.name == suite.name),
                "{} stands twice",
                suite.name
            );
        }
        let refused = choose(&["no-such".to_owned()]).err().unwrap().to_string();
        assert!(refused.contains("no-such") && refused.contains("smoke"), "{refused}");
        assert_eq!(choose(&["smoke".to_owned()]).unwrap().len(), 1);
        assert_eq!(choose(&[]).unwrap().len(), SUITES.len());
    }
}
