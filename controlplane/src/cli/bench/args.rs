//! Flags of `erlmcp bench run`, parsed one by one. What they mean together is [`super::spec`]'s.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use erlmcp_config::CpuWish;
use erlmcp_config::model::scenario::{Era, Rate, TargetUrl};
use erlmcp_config::units::{Bare, parse_duration};
use erlmcp_ring::DriverChoice;

/// Most generator threads: more than any machine's processors.
const THREADS_MAX: i64 = 1024;
/// Most virtual clients, as in scenario files.
const CONNECTIONS_MAX: i64 = 1_000_000;

/// Flags of `bench run`; they stand above the scenario's keys.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --rate, --ramp and a scenario the loop is closed: each client sends its next request when it has its reply.\n\
Exit code 1 when the figures are INVALID, the run was cut, or nothing could be measured.\n\nExamples:\n  \
erlmcp bench run http://127.0.0.1:8080/mcp\n      MCP tools/list by 64 clients, a closed loop for 30 seconds\n  \
erlmcp bench run --rate 5k/s --connections 128 --threads 2 --cpus 2,3 http://10.0.0.5:3000/\n      an open loop: latency counts from the intended start\n  \
erlmcp bench run --scenario config/scenarios/mcp-mix.yaml --out /tmp/run http://127.0.0.1:8080/mcp\n      a mix of requests; report, histograms and plots go to /tmp/run"
)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    pub(super) load: LoadArgs,
    #[command(flatten)]
    pub(super) pace: PaceArgs,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(super) json: bool,
    /// Write report.json, report.html, intervals.ndjson, response.hgrm, service.hgrm and latency.hlog into this folder.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// What to send, to whom and from where; `erlmcp plan` has these flags too.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct LoadArgs {
    /// http://HOST[:PORT][/PATH], ws://… or tcp://HOST:PORT; may be left out when the scenario has a target.
    #[arg(value_name = "URL", value_parser = str::parse::<TargetUrl>, required_unless_present = "scenario")]
    pub(super) url: Option<TargetUrl>,
    /// What to send and when; `erlmcp config schema` says what may stand in it.
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,
    /// Threads of the generator [default: one per processor of --cpus, else 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=THREADS_MAX))]
    pub(super) threads: Option<u32>,
    /// Pin the threads to these processors in turn, such as `2,3`.
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub(super) cpus: Option<Cpus>,
    /// A request without its whole reply after so long has failed [default: 10s].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) timeout: Option<Duration>,
    /// Seed of arrivals, mix and think times: the same seed gives the same schedule [default: 1].
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// What to speak [default: mcp where the URL's path ends in /mcp, else by the URL's scheme].
    #[arg(long, conflicts_with = "scenario")]
    pub(super) protocol: Option<ProtocolArg>,
    /// Revision of MCP [default: 2026-07-28].
    #[arg(long, value_name = "REVISION", value_parser = parse_era)]
    pub(super) era: Option<Era>,
    /// A header of each request. May be repeated.
    #[arg(long, value_name = "NAME:VALUE", value_parser = parse_header)]
    pub(super) header: Vec<(String, String)>,
    /// HTTP method [default: GET, or POST with --body].
    #[arg(long, value_parser = parse_method, conflicts_with = "scenario")]
    pub(super) method: Option<String>,
    /// HTTP body; `@FILE` reads it from a file.
    #[arg(long, value_name = "TEXT|@FILE", conflicts_with = "scenario")]
    pub(super) body: Option<String>,
    /// How the generator talks to the kernel.
    #[arg(long, value_name = "DRIVER", value_parser = str::parse::<DriverChoice>, default_value = "auto")]
    pub(super) driver: DriverChoice,
}

/// When to send, and for how long.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct PaceArgs {
    /// Start so many requests a second, evenly spaced (a scenario's Poisson arrivals stay Poisson).
    #[arg(long, value_name = "RATE", value_parser = parse_rate, conflicts_with_all = ["closed", "ramp"])]
    pub(super) rate: Option<Rate>,
    /// Start each request when its client has the reply before it.
    #[arg(long, conflicts_with = "ramp")]
    pub(super) closed: bool,
    /// Exponential gaps instead of even ones.
    #[arg(long, requires = "rate")]
    pub(super) poisson: bool,
    /// From one rate to another over the duration, such as `0:5k/s`.
    #[arg(long, value_name = "FROM:TO", value_parser = parse_ramp)]
    pub(super) ramp: Option<(Rate, Rate)>,
    /// Virtual clients, one connection each [default: 64].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    pub(super) connections: Option<u32>,
    /// How long to measure [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) duration: Option<Duration>,
    /// Drive for so long before measuring [default: 2s].
    #[arg(long, value_name = "TIME", value_parser = parse_time_or_zero)]
    pub(super) warmup: Option<Duration>,
    /// Length of a row in the time series [default: 1s].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) interval: Option<Duration>,
    /// Stop after so many measured requests, if that comes before the end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) requests: Option<u64>,
}

impl PaceArgs {
    /// What a plan leaves open of pace: the number of clients and the warm-up.
    pub(in crate::cli) fn plan(connections: Option<u32>, warmup: Duration) -> Self {
        Self { connections, warmup: Some(warmup), ..Self::default() }
    }
}

/// Processors in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cpus(pub(super) Vec<usize>);

/// What to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProtocolArg {
    /// HTTP/1.1, keep-alive.
    Http,
    /// MCP over Streamable HTTP.
    Mcp,
    /// Event streams.
    Sse,
    /// WebSocket text messages, a reply awaited for each.
    #[value(name = "websocket")]
    WebSocket,
    /// Lines of JSON-RPC over bare TCP.
    Tcp,
    /// A new connection for each HTTP request.
    NewConnection,
}

impl ProtocolArg {
    /// As scenario files name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mcp => "mcp",
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
            Self::Tcp => "tcp",
            Self::NewConnection => "new-connection",
        }
    }
}

pub(in crate::cli) fn parse_rate(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse()?;
    if rate.0 > 0.0 { Ok(rate) } else { Err("a rate of zero starts nothing".to_owned()) }
}

fn parse_ramp(text: &str) -> Result<(Rate, Rate), String> {
    let (from, to) = text.split_once(':').ok_or("it must be FROM:TO, such as 0:5k/s")?;
    let (from, to): (Rate, Rate) = (from.parse()?, to.parse()?);
    if from.0 + to.0 > 0.0 {
        Ok((from, to))
    } else {
        Err("both ends are zero: nothing would start".to_owned())
    }
}

pub(in crate::cli) fn parse_time_or_zero(text: &str) -> Result<Duration, String> {
    parse_duration(text, Bare::Seconds)
}

pub(in crate::cli) fn parse_time(text: &str) -> Result<Duration, String> {
    let time = parse_time_or_zero(text)?;
    if time.is_zero() { Err("it must be longer than zero".to_owned()) } else { Ok(time) }
}

fn parse_cpus(text: &str) -> Result<Cpus, String> {
    match text.parse()? {
        CpuWish::List(cpus) => Ok(Cpus(cpus)),
        CpuWish::Auto => {
            Err("name processors, such as 2,3; without the flag the system places the threads".to_owned())
        }
    }
}

fn parse_era(text: &str) -> Result<Era, String> {
    match text {
        "2025-11-25" => Ok(Era::Sessions),
        "2026-07-28" => Ok(Era::Stateless),
        _ => Err("the generator speaks 2025-11-25 (sessions) and 2026-07-28 (stateless)".to_owned()),
    }
}

/// RFC 9110 sections 5.1 and 5.5.
fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("it must be NAME:VALUE")?;
    let value = value.trim();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{}` is no header name (RFC 9110 section 5.1)", name.escape_debug()));
    }
    if !value.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f)) {
        return Err("the value holds control characters".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_method(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        Ok(text.to_owned())
    } else {
        Err("methods are upper case, such as POST".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parse(words: &[&str]) -> Result<RunArgs, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"run").chain(words)).map(|cli| cli.run)
    }

    #[test]
    fn flags_are_taken() {
        let args = parse(&[
            "--rate",
            "5k/s",
            "--poisson",
            "--cpus",
            "2,3",
            "--header",
            "A: b:c",
            "--duration",
            "5",
            "http://a/",
        ]);
        let args = args.unwrap();
        assert_eq!((args.pace.rate, args.pace.poisson), (Some(Rate(5000.0)), true));
        assert_eq!(args.load.cpus, Some(Cpus(vec![2, 3])));
        assert_eq!(args.load.header, [("A".to_owned(), "b:c".to_owned())]);
        assert_eq!(args.pace.duration, Some(Duration::from_secs(5)));
        assert_eq!(parse(&["--ramp", "0:100", "ws://a"]).unwrap().pace.ramp, Some((Rate(0.0), Rate(100.0))));
        assert!(parse(&["--scenario", "s.yaml"]).unwrap().load.url.is_none());
    }

    #[test]
    fn nonsense_is_usage() {
        for words in [
            &[][..],
            &["gopher://a"],
            &["https://a"],
            &["http://a", "http://b"],
            &["--rate", "0", "http://a"],
            &["--rate", "-5", "http://a"],
            &["--rate", "5", "--closed", "http://a"],
            &["--rate", "5", "--ramp", "1:2", "http://a"],
            &["--poisson", "http://a"],
            &["--ramp", "0:0", "http://a"],
            &["--ramp", "5", "http://a"],
            &["--connections", "0", "http://a"],
            &["--threads", "0", "http://a"],
            &["--threads", "5000", "http://a"],
            &["--cpus", "auto", "http://a"],
            &["--cpus", "3-1", "http://a"],
            &["--duration", "0", "http://a"],
            &["--duration", "soon", "http://a"],
            &["--timeout", "0s", "http://a"],
            &["--requests", "0", "http://a"],
            &["--protocol", "gopher", "http://a"],
            &["--protocol", "http", "--scenario", "s.yaml", "http://a"],
            &["--era", "2024-11-05", "http://a"],
            &["--header", "a", "http://a"],
            &["--header", "a b:c", "http://a"],
            &["--header", "a:b\nc:d", "http://a"],
            &["--method", "get", "http://a"],
            &["--driver", "kqueue", "http://a"],
        ] {
            let error = parse(words).expect_err(&words.join(" "));
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}
