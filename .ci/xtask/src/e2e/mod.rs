//! End-to-end suites: the built `erlmcp` binary against real clients, servers and proxies.
//!
//! Owns the list of suites and the running of them, one after the other. A suite is a plain function in a file of its
//! own; it starts what it needs through [`process`] and [`gateway`], talks through [`http`], and returns an [`Outcome`]
//! that names each case. A suite never skips: what it needs and does not find is an error.
//!
//! To add one: write `fn run(&Context) -> Result<Outcome>` in a new file here and a line in [`SUITES`].

mod admin;
mod bench;
mod bench_command;
mod bench_server;
mod bodies;
pub mod context;
mod fallback;
mod faults;
mod garbage;
mod garbage_kinds;
pub mod gateway;
pub mod helper;
pub mod http;
mod load;
mod mcp;
mod mcp_conformance;
mod mcp_curl;
mod mcp_python;
mod pattern;
mod peer;
pub mod process;
mod readme;
mod slow_readers;
mod smoke;
mod startup;
mod upstreams;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use context::{Context, Outcome};

/// One suite may take this long; then its processes are ended.
const SUITE_LIMIT: Duration = Duration::from_secs(600);
/// After its processes are gone, a suite has this long to notice.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);

/// One row of the registry.
struct Suite {
    name: &'static str,
    /// One line for people: what it shows.
    what: &'static str,
    run: fn(&Context) -> Result<Outcome>,
}

/// Every suite, in the order in which they run.
const SUITES: &[Suite] = &[
    Suite {
        name: "smoke",
        what: "the gateway starts, answers through two nginx upstreams, and ends on SIGTERM",
        run: smoke::run,
    },
    Suite {
        name: "readme",
        what: "the README's curl command and Python client get answers",
        run: readme::run,
    },
    Suite {
        name: "mcp-curl",
        what: "curl through the gateway: a session from initialize to DELETE, streams, refusals, stateless calls",
        run: mcp_curl::run,
    },
    Suite {
        name: "mcp-python",
        what: "the official Python SDKs (1.x and 2.x, both eras) get real answers through the gateway",
        run: mcp_python::run,
    },
    Suite {
        name: "mcp-conformance",
        what: "the official conformance suite through the gateway ends as it does direct, both eras, both drivers",
        run: mcp_conformance::run,
    },
    Suite {
        name: "upstreams",
        what: "nginx and HAProxy as upstreams: status, fields and bodies through the gateway are theirs",
        run: upstreams::run,
    },
    Suite {
        name: "fallback",
        what: "without io_uring the gateway serves on epoll and says why, or ends with one line when told to use it",
        run: fallback::run,
    },
    Suite {
        name: "startup",
        what: "what keeps the gateway from starting is said in one line with its remedy, exit 1",
        run: startup::run,
    },
    Suite {
        name: "faults",
        what: "under load: a node dies and comes back, 100 reloads, tasks that panic, SIGTERM; no request fails that need not",
        run: faults::run,
    },
    Suite {
        name: "bodies",
        what: "1 GiB each way, by length and in chunks, byte by byte the same, within 64 MiB over idle",
        run: bodies::run,
    },
    Suite {
        name: "slow-readers",
        what: "500 clients that read a byte a second take neither the fast ones' rate nor more memory than their windows",
        run: slow_readers::run,
    },
    Suite {
        name: "garbage",
        what: "10,000 garbage connections are answered, counted by reason, reach no node and leave nothing behind",
        run: garbage::run,
    },
    Suite {
        name: "bench",
        what: "the load generator: MCP, HTTP and event streams, a stall, doubtful runs, messages, files that others read",
        run: bench::run,
    },
];

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
    let total = run_suites(&args.suites, args.binary.clone())?;
    println!("{} passed, {} failed", total.passed(), total.failed());
    Ok(total.failed() == 0 && total.passed() > 0)
}

/// Runs suites and prints their cases; all of them when none is named.
///
/// # Errors
/// When a suite is unknown or the binary is missing.
pub fn run_suites(names: &[String], binary: Option<std::path::PathBuf>) -> Result<Outcome> {
    let chosen = choose(names)?;
    let context = Context::new(binary)?;
    let mut all = Outcome::default();
    for suite in chosen {
        println!("e2e {}: {}", suite.name, suite.what);
        let start = Instant::now();
        let outcome = within(SUITE_LIMIT, suite.run, context.for_suite(suite.name)?)?;
        outcome.print();
        let (passed, failed) = (outcome.passed(), outcome.failed());
        println!(
            "e2e {}: {passed} passed, {failed} failed, {:.1} s",
            suite.name,
            start.elapsed().as_secs_f64()
        );
        all.append(outcome);
    }
    Ok(all)
}

/// A suite's outcome, an error and a panic being a failed case. Past `limit` everything that it started is ended by pid.
///
/// # Errors
/// When the suite hangs even then: no other can be trusted after it.
fn within(limit: Duration, run: fn(&Context) -> Result<Outcome>, context: Context) -> Result<Outcome> {
    let (done, outcome) = mpsc::channel();
    let failed = |why: String| {
        let mut outcome = Outcome::default();
        outcome.fail("suite", why);
        outcome
    };
    // When the suite panics the channel closes without an outcome.
    std::thread::spawn(move || done.send(run(&context)));
    let result = match outcome.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            crate::run::end_children();
            let late = outcome.recv_timeout(NOTICE_LIMIT);
            if matches!(late, Err(mpsc::RecvTimeoutError::Timeout)) {
                bail!("the suite hangs: not done within {limit:?}, nor after its processes were ended");
            }
            return Ok(failed(format!("not done within {limit:?}; its processes were ended")));
        }
        other => other.context("the suite panicked; its message stands above").and_then(|result| result),
    };
    Ok(result.unwrap_or_else(|error| failed(format!("{error:#}"))))
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
    fn errors_panics_and_hangs_are_failed_cases() {
        let context = || Context {
            binary: "erlmcp".into(),
            root: "root".into(),
            tools: "tools".into(),
            scratch: std::env::temp_dir().join(format!("erlmcp-within-{}", std::process::id())),
        };
        let long = Duration::from_secs(60);
        let error = within(long, |_| bail!("no such luck"), context()).unwrap();
        assert_eq!((error.passed(), error.failed()), (0, 1));
        let panic = within(long, |_| panic!("a panic that the test wants"), context()).unwrap();
        assert_eq!((panic.passed(), panic.failed()), (0, 1));
        let pass = |_: &Context| {
            let mut outcome = Outcome::default();
            outcome.pass("one");
            Ok(outcome)
        };
        assert_eq!(within(long, pass, context()).unwrap().passed(), 1);
    }

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
