//! 500 clients that read one byte a second, beside 64 fast ones.
//!
//! Twice: 1 MiB replies on the default configuration, which the kernel's send buffers may take in whole; and 16 MiB replies,
//! which hold up the gateway itself, with as many connections to the node as that takes.
//!
//! Owns the slow clients and the comparison: spans without and with them in turn, each with its neighbours. Here a rate
//! is asserted, as a share of the same run's: in one round at least, since other work of the machine may take from a
//! round, while a gateway that starves its fast clients takes from all of them. The median is told beside.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::admin::Metrics;
use super::bodies::{Memory, mib};
use super::gateway::{Gateway, GatewaySpec};
use super::load::{Load, OnClose, Work};
use super::mcp::DRIVERS;
use super::peer::Peer;
use super::process::{free_addr, poll};
use super::{Context, Outcome};

const SLOW: usize = 500;
const FAST: Work = Work { method: "GET", target: "/who", clients: 64 };
/// A slow client's receive buffer, bytes: as little as the kernel gives, so that the gateway is held up and not the
/// client's kernel.
const SLOW_BUFFER: usize = 4096;
/// Spans with slow clients; one more without.
const ROUNDS: usize = 3;
/// Connections to the node, of the whole group and from each shard, where slow clients keep theirs.
const CONNECTIONS_MAX: usize = 1024;
const SPAN: Duration = Duration::from_secs(3);
/// Until all slow clients have a status line, or the gateway has let go of them.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// The fast clients keep at least this share of their rate.
const SHARE_MIN: f64 = 0.9;
/// What the gateway may hold for a slow client: its window.
const WINDOW_BYTES: u64 = 128 * 1024;

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let peer = Peer::start(context, "node", free_addr()?)?;
    let folder = held_up_config(context, peer.addr)?;
    for driver in DRIVERS {
        let args = ["--driver", driver, "--set", "runtime.access_log.path=/dev/null"];
        let default = GatewaySpec::before([&peer.addr]).args(args);
        let many = GatewaySpec::default().args(args).args(["--config", &folder]);
        for (size, mib_each, spec) in [("1 MiB", 1, default), ("16 MiB", 16, many)] {
            let name = format!("{driver}, {size} replies");
            let gateway = spec.start(context, &format!("gateway-{driver}-{mib_each}"))?;
            match compare(&gateway, mib_each) {
                Ok(seen) => seen.judge(&name, mib_each, &mut outcome),
                Err(error) => outcome.case(format!("{name}: slow and fast clients together"), Err(error)),
            }
        }
    }
    Ok(outcome)
}

fn held_up_config(context: &Context, node: SocketAddr) -> Result<String> {
    let routes = format!(
        "groups:
  - name: nodes
    connections_per_shard_max: {CONNECTIONS_MAX}
    nodes: [{{host: 127.0.0.1, port: {}}}]
",
        node.port()
    );
    let pools = format!("connection_pools: {{http_pool: {{max_connections: {CONNECTIONS_MAX}}}}}\n");
    context.write("held-up/pool.yaml", &pools)?;
    let file = context.write("held-up/routes.yaml", &routes)?;
    Ok(file.parent().context("the folder of a file")?.display().to_string())
}

/// What a run has shown.
struct Seen {
    without: Vec<f64>,
    with: Vec<f64>,
    /// Peak over idle, bytes.
    memory: u64,
    /// Connections to the node while slow clients were there.
    connections: f64,
    failures: Result<()>,
}

impl Seen {
    /// Each round's rate with slow clients, against the mean of those before and after it.
    fn shares(&self) -> Vec<f64> {
        let around = self.without.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
        self.with.iter().zip(around).map(|(with, without)| with / without).collect()
    }

    fn judge(self, name: &str, mib_each: u64, outcome: &mut Outcome) {
        let share = self.shares().into_iter().fold(0.0, f64::max);
        let median = median(&self.with) / median(&self.without);
        let figures = format!(
            "{share:.2} in the best round, {median:.2} by the medians; a second without {:.0?}, with {:.0?}; \
             {} connections to the node",
            self.without, self.with, self.connections
        );
        outcome.check(
            format!("{name}: 64 fast clients keep {SHARE_MIN} of their rate ({figures})"),
            share >= SHARE_MIN,
            || "they do not".to_owned(),
        );
        let most = SLOW as u64 * WINDOW_BYTES;
        outcome.check(
            format!("{name}: {SLOW} slow clients cost at most {SLOW} windows ({})", mib(self.memory)),
            self.memory <= most,
            || format!("more than {}", mib(most)),
        );
        if mib_each > 1 {
            outcome.check(
                format!("{name}: the gateway is held up by them"),
                self.connections >= SLOW as f64,
                || "it is not: the case shows nothing".to_owned(),
            );
        }
        outcome.case(format!("{name}: no fast client sees a failure"), self.failures);
    }
}

fn compare(gateway: &Gateway, mib_each: u64) -> Result<Seen> {
    let load = Load::start(gateway.addr, &[FAST], OnClose::Reconnect);
    load.wait_for_good(2000, SETTLE_LIMIT)?;
    let memory = Memory::watch(gateway.server.pid())?;
    let (mut without, mut with, mut connections) = (vec![rate(&load)], Vec::new(), 0.0);
    for _ in 0..ROUNDS {
        let slow = Slow::start(gateway.addr, mib_each)?;
        let served = poll("status 200 for every slow client", SETTLE_LIMIT, || slow.served() == SLOW);
        served.with_context(|| format!("{} of {SLOW} are served", slow.served()))?;
        with.push(rate(&load));
        connections = Metrics::of(gateway)?.sum("erlmcp_node_connections", &[]);
        ensure!(slow.lost() == 0, "{} slow clients lost their connection", slow.lost());
        slow.finish()?;
        let fast = FAST.clients as f64;
        poll("end of the slow clients' connections", SETTLE_LIMIT, || {
            Metrics::of(gateway).is_ok_and(|now| now.sum("erlmcp_listener_connections", &[]) <= fast)
        })?;
        without.push(rate(&load));
    }
    let memory = memory.peak_over_idle()?;
    let failures = load.finish()?.expect_no_failure();
    Ok(Seen { without, with, memory, connections, failures })
}

/// Good replies a second over a span.
fn rate(load: &Load) -> f64 {
    let (before, began) = (load.good(), Instant::now());
    // The span itself, not a wait for anything.
    std::thread::sleep(SPAN);
    (load.good() - before) as f64 / began.elapsed().as_secs_f64()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The slow clients, all read by one thread.
struct Slow {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Slow {
    fn start(addr: SocketAddr, mib_each: u64) -> Result<Self> {
        let clients = (0..SLOW).map(|_| slow_client(addr, mib_each)).collect::<Result<Vec<_>>>()?;
        let (stop, served, lost) = (Arc::default(), Arc::default(), Arc::default());
        let (own_stop, own_served, own_lost) = (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&lost));
        let thread = std::thread::spawn(move || read_slowly(&clients, &own_stop, &own_served, &own_lost));
        Ok(Self { stop, served, lost, thread })
    }

    /// Clients that know that their reply has begun.
    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Clients whose connection has ended.
    fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the slow clients' thread panicked"))
    }
}

fn slow_client(addr: SocketAddr, mib_each: u64) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(SLOW_BUFFER)?;
    socket.connect(&addr.into()).context("connect a slow client")?;
    let mut stream = TcpStream::from(socket);
    let request = format!("GET /bytes/{} HTTP/1.1\r\nHost: slow.test\r\n\r\n", mib_each << 20);
    stream.write_all(request.as_bytes())?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// What a good reply begins with; read in one piece.
const GOOD: &[u8] = b"HTTP/1.1 200";

/// A byte of each, once a second.
fn read_slowly(clients: &[TcpStream], stop: &AtomicBool, served: &AtomicUsize, lost: &AtomicUsize) {
    let mut states = vec![State::Waits; clients.len()];
    while !stop.load(Ordering::Relaxed) {
        let next = Instant::now() + Duration::from_secs(1);
        for (client, state) in clients.iter().zip(&mut states) {
            let before = *state;
            *state = before.read(client);
            match (before, *state) {
                (State::Waits, State::Reads) => drop(served.fetch_add(1, Ordering::Relaxed)),
                (State::Waits | State::Reads, State::Lost) => drop(lost.fetch_add(1, Ordering::Relaxed)),
                _ => {}
            }
        }
        while Instant::now() < next && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where a slow client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For the reply.
    Waits,
    Reads,
    /// Its connection ended, or the reply is not a good one.
    Lost,
}

impl State {
    fn read(self, mut client: &TcpStream) -> Self {
        let mut bytes = [0; GOOD.len()];
        let wanted = if self == Self::Waits { bytes.len() } else { 1 };
        match client.read(&mut bytes[..wanted]) {
            Ok(0) => Self::Lost,
            Ok(_) if self == Self::Waits && bytes != GOOD => Self::Lost,
            Ok(_) if self == Self::Waits => Self::Reads,
            Err(error) if error.kind() != ErrorKind::WouldBlock => Self::Lost,
            Ok(_) | Err(_) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
