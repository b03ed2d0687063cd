//! 10,000 connections that bring garbage: each is answered or let go, counted by its reason, and reaches no node.
//!
//! Owns the clients (at most 64 at a time) and the look at the gateway before and behind. The garbage is made by
//! [`garbage_kinds`](super::garbage_kinds) from a fixed seed.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use socket2::SockRef;

use super::admin::Metrics;
use super::bodies::{mib, status_bytes};
use super::garbage_kinds::{Fate, Kind, Random, STREAMED, Then, certain, uncertain};
use super::gateway::{Gateway, GatewaySpec};
use super::http::{self, Conn};
use super::mcp::DRIVERS;
use super::peer::{Count, Peer};
use super::process::{free_addr, poll, procfs};
use super::{Context, Outcome};

const SEED: u64 = 20_260_728;
/// Connections whose fate is certain, and others.
const CERTAIN: u64 = 8_000;
const UNCERTAIN: u64 = 2_000;
const CLIENTS: usize = 64;
/// Slow heads and bodies are cut after half a second.
const LISTENERS: &str = "listeners:
  - name: main
    address: 127.0.0.1:1 # --listen replaces it
    limits: {header_timeout: 500ms, body_idle_timeout: 500ms, keep_alive: 500ms}
";
/// For one reply.
const LIMIT: Duration = Duration::from_secs(15);
/// Until everything is back where it was.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// What the process may have grown by: pages that its allocator keeps.
const MEMORY_GROWTH_MAX: u64 = 16 << 20;
/// Faults that are told in full; the rest is only counted.
const TOLD_MAX: usize = 5;

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    outcome.note(format!("seed {SEED}"));
    for driver in DRIVERS {
        let peer = Peer::start(context, &format!("node-{driver}"), free_addr()?)?;
        let folder = config(context, &peer)?;
        let args = ["--driver", driver, "--config", &folder, "--set", "runtime.access_log.path=/dev/null"];
        let gateway = GatewaySpec::default().args(args).start(context, &format!("gateway-{driver}"))?;
        Run { driver, peer, gateway }.all(&mut outcome)?;
    }
    Ok(outcome)
}

fn config(context: &Context, peer: &Peer) -> Result<String> {
    let routes = format!(
        "routes:
  - name: mcp
    match: {{path: {{prefix: /mcp}}}}
    to: [{{group: nodes, weight: 100}}]
groups:
  - name: nodes
    nodes: [{{host: 127.0.0.1, port: {}}}]
",
        peer.addr.port()
    );
    context.write("config/listeners.yaml", LISTENERS)?;
    let file = context.write("config/routes.yaml", &routes)?;
    Ok(file.parent().context("the folder of a file")?.display().to_string())
}

/// What a process holds.
#[derive(Debug)]
struct Holds {
    descriptors: usize,
    memory: u64,
}

impl Holds {
    fn of(gateway: &Gateway) -> Result<Self> {
        let pid = gateway.server.pid();
        Ok(Self { descriptors: procfs::descriptors(pid)?, memory: status_bytes(pid, "VmRSS:")? })
    }
}

struct Run {
    driver: &'static str,
    peer: Peer,
    gateway: Gateway,
}

impl Run {
    fn all(mut self, outcome: &mut Outcome) -> Result<()> {
        let driver = self.driver;
        self.serves()?;
        let before = Holds::of(&self.gateway)?;
        let first = self.peer.count()?;

        let rejected = Metrics::of(&self.gateway)?.rejected();
        let began = Instant::now();
        let (faults, wanted) = self.throw(CERTAIN, certain);
        let took = began.elapsed();
        let kinds = wanted.len();
        outcome.case(format!("{driver} {CERTAIN} connections are answered as they must be"), told(&faults));
        let counted = self.counted(&rejected, &wanted);
        outcome.case(format!("{driver} each is counted under its reason ({kinds} reasons)"), counted);

        let rejected = Metrics::of(&self.gateway)?.rejected();
        let (faults, _) = self.throw(UNCERTAIN, uncertain);
        outcome.case(format!("{driver} {UNCERTAIN} more of noise are refused or let go"), told(&faults));
        let after = Metrics::of(&self.gateway)?.rejected();
        let more = total(&after) - total(&rejected);
        outcome.check(
            format!("{driver} noise is counted ({more} of {UNCERTAIN})"),
            (1..=UNCERTAIN).contains(&more),
            || format!("{more} of {UNCERTAIN}: {after:?}"),
        );

        let streamed = STREAMED.iter().filter_map(|reason| wanted.get(*reason)).sum();
        outcome.case(format!("{driver} no request of it reaches the node"), self.reached(first, streamed));
        outcome.case(format!("{driver} no panic, alive, and it serves"), self.is_well());
        match self.is_back(&before) {
            Ok(figures) => outcome.pass(format!("{driver} nothing is left behind ({figures})")),
            Err(error) => outcome.case(format!("{driver} nothing is left behind"), Err(error)),
        }
        outcome.note(format!("{driver}: {CERTAIN} connections in {:.1} s", took.as_secs_f64()));
        Ok(())
    }

    fn serves(&self) -> Result<()> {
        let reply = http::get(self.gateway.addr, "/mcp", LIMIT)?;
        ensure!(reply.status == 200, "a good request: status {}: {}", reply.status, reply.text());
        Ok(())
    }

    /// Nothing may have reached the node since `first` but heads of at most `streamed` bodies that broke on the way.
    fn reached(&self, first: Count, streamed: u64) -> Result<()> {
        let now = self.peer.count()?;
        let (requests, malformed) = (now.requests - first.requests, now.malformed - first.malformed);
        ensure!(requests == 0, "{requests} whole requests did");
        ensure!(malformed == 0, "{malformed} times something that is no request did");
        let cut = now.cut - first.cut;
        ensure!(cut <= streamed, "{cut} heads did, but only {streamed} bodies broke on the way");
        Ok(())
    }

    fn is_well(&mut self) -> Result<()> {
        let ended = self.gateway.server.ended()?;
        ensure!(ended.is_none(), "the gateway has ended: {ended:?}");
        let metrics = Metrics::of(&self.gateway)?;
        for family in ["erlmcp_shard_panics_total", "erlmcp_control_task_panics_total"] {
            ensure!(metrics.sum(family, &[]) == 0.0, "{family} is {}", metrics.sum(family, &[]));
        }
        self.serves()
    }

    fn is_back(&self, before: &Holds) -> Result<String> {
        let open = |metrics: &Metrics| metrics.sum("erlmcp_listener_connections", &[]);
        poll("end of all connections", SETTLE_LIMIT, || {
            Metrics::of(&self.gateway).is_ok_and(|now| open(&now) == 0.0)
        })?;
        let mut after = Holds::of(&self.gateway)?;
        let settled = poll("end of all descriptors", SETTLE_LIMIT, || {
            Holds::of(&self.gateway).is_ok_and(|now| {
                after = now;
                after.descriptors <= before.descriptors
            })
        });
        settled
            .with_context(|| format!("{} descriptors, {} before", after.descriptors, before.descriptors))?;
        let growth = after.memory.saturating_sub(before.memory);
        ensure!(growth <= MEMORY_GROWTH_MAX, "{} more memory", mib(growth));
        Ok(format!(
            "{} descriptors, {} before; {} more memory",
            after.descriptors,
            before.descriptors,
            mib(growth)
        ))
    }

    /// Throws `count` pieces of garbage; what went otherwise than it must, and how often each reason was due.
    fn throw(&self, count: u64, make: fn(&mut Random) -> Kind) -> (Vec<String>, BTreeMap<String, u64>) {
        let (next, addr) = (AtomicU64::new(0), self.gateway.addr);
        let results = Mutex::new((Vec::new(), BTreeMap::new()));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        // By number: the same garbage whichever thread throws it.
                        let kind = make(&mut Random(SEED.wrapping_add(number << 20)));
                        let outcome = throw_one(addr, &kind);
                        let Ok(mut results) = results.lock() else { return };
                        if let Fate::Refused(_, reason) | Fate::Left(reason) = kind.fate {
                            *results.1.entry(reason.to_owned()).or_default() += 1;
                        }
                        if let Err(error) = outcome {
                            let bytes =
                                String::from_utf8_lossy(&kind.bytes).chars().take(120).collect::<String>();
                            results.0.push(format!("{} {number} ({bytes:?}): {error:#}", kind.name));
                        }
                    }
                });
            }
        });
        results.into_inner().unwrap_or_default()
    }

    /// Whether the metrics have grown by exactly what was due; those who left are noticed a little later.
    fn counted(&self, before: &BTreeMap<String, u64>, wanted: &BTreeMap<String, u64>) -> Result<()> {
        let mut grown = BTreeMap::new();
        let done = poll("agreement of the metrics", SETTLE_LIMIT, || {
            let Ok(now) = Metrics::of(&self.gateway) else { return false };
            let growth = now.rejected().into_iter().map(|(reason, count)| {
                let more = count - before.get(&reason).copied().unwrap_or(0);
                (reason, more)
            });
            grown = growth.filter(|(_, more)| *more > 0).collect();
            grown == *wanted
        });
        let reasons: std::collections::BTreeSet<_> = grown.keys().chain(wanted.keys()).collect();
        let differ: Vec<_> = reasons
            .into_iter()
            .map(|reason| (reason, grown.get(reason).unwrap_or(&0), wanted.get(reason).unwrap_or(&0)))
            .filter(|(_, grown, wanted)| grown != wanted)
            .map(|(reason, grown, wanted)| format!("{reason}: {grown} counted, {wanted} due"))
            .collect();
        done.with_context(|| differ.join("; "))
    }
}

fn total(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

fn told(faults: &[String]) -> Result<()> {
    let first = faults.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("\n");
    ensure!(faults.is_empty(), "{} were not, such as\n{first}", faults.len());
    Ok(())
}

fn throw_one(addr: SocketAddr, kind: &Kind) -> Result<()> {
    let mut conn = Conn::connect(addr, LIMIT)?;
    let sent = conn.stream().write_all(&kind.bytes);
    match kind.then {
        Then::Closes => return Ok(()),
        Then::Resets => return reset(conn.stream()),
        Then::Reads => {}
    }
    // The gateway may refuse and close before it has taken everything.
    if let Err(error) = sent
        && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
    {
        return Err(error).context("send");
    }
    let reply = conn.read_until_close()?;
    judge(kind, &String::from_utf8_lossy(&reply))
}

/// Closes with a reset (`SO_LINGER` of zero).
fn reset(stream: &TcpStream) -> Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).context("prepare a reset")
}

fn judge(kind: &Kind, reply: &str) -> Result<()> {
    let status = reply.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let shown = || reply.chars().take(300).collect::<String>();
    match kind.fate {
        Fate::Refused(wanted, reason) => {
            ensure!(status == Some(wanted), "not {wanted}: {:?}", shown());
            ensure!(reply.contains(&format!("\"error\":\"{reason}\"")), "not {reason}: {:?}", shown());
        }
        Fate::Left(_) | Fate::Uncertain => {
            ensure!(reply.is_empty() || status.is_some_and(|status| status >= 400), "answered {:?}", shown());
        }
    }
    let replies = reply.matches("HTTP/1.1 ").count();
    ensure!(replies <= 1, "{replies} replies: {:?}", shown());
    Ok(())
}
