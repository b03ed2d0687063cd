//! 1 GiB each way, by length and in chunks: every byte arrives as it was sent, and the gateway needs little memory for it.
//!
//! Owns the bodies' way and the bound on memory. Nothing is stored: bytes are made and checked where they pass.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::gateway::{Gateway, GatewaySpec};
use super::http::{self, Conn, Head};
use super::mcp::DRIVERS;
use super::pattern::Pattern;
use super::peer::{Peer, write_chunks};
use super::process::free_addr;
use super::{Context, Outcome};

const BODY_BYTES: u64 = 1 << 30;
/// What the process may need over idle.
const MEMORY_OVER_IDLE_MAX: u64 = 64 << 20;
/// One read or write of it; not the whole.
const LIMIT: Duration = Duration::from_secs(20);

/// Carries a body over a connection and checks it.
type Way = fn(&mut Conn) -> Result<()>;

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let peer = Peer::start(context, "node", free_addr()?)?;
    let ways: [(&str, Way); 4] = [
        ("upload by length", |conn| upload(conn, false)),
        ("upload in chunks", |conn| upload(conn, true)),
        ("download by length", |conn| download(conn, "bytes")),
        ("download in chunks", |conn| download(conn, "chunked")),
    ];
    for driver in DRIVERS {
        let spec = GatewaySpec::before([&peer.addr]).args(["--driver", driver]);
        let gateway = spec.start(context, &format!("gateway-{driver}"))?;
        let first = http::get(gateway.addr, "/who", LIMIT)?;
        ensure!(first.status == 200, "status {} before the bodies", first.status);
        let idle = status_bytes(gateway.server.pid(), "VmRSS:")?;
        for (name, way) in ways {
            match carry(&gateway, idle, way) {
                Ok(figures) => outcome.pass(format!("{driver} 1 GiB {name} ({figures})")),
                Err(error) => outcome.case(format!("{driver} 1 GiB {name}"), Err(error)),
            }
        }
    }
    Ok(outcome)
}

fn carry(gateway: &Gateway, idle: u64, way: Way) -> Result<String> {
    let memory = Memory { idle, ..Memory::watch(gateway.server.pid())? };
    let mut conn = Conn::connect(gateway.addr, LIMIT)?;
    let began = Instant::now();
    way(&mut conn)?;
    let took = began.elapsed();
    // The same connection goes on.
    let next = conn.request("GET", "/who", &[], b"")?;
    ensure!(next.status == 200 && next.body == b"node", "the request behind it: status {}", next.status);
    let over = memory.peak_over_idle()?;
    ensure!(over < MEMORY_OVER_IDLE_MAX, "{} over idle", mib(over));
    Ok(format!("{:.1} s, {} over idle", took.as_secs_f64(), mib(over)))
}

fn upload(conn: &mut Conn, in_chunks: bool) -> Result<()> {
    if in_chunks {
        conn.send("POST", "/sink", &[("Transfer-Encoding", "chunked")], b"")?;
        write_chunks(&mut conn.stream(), BODY_BYTES).context("send chunks")?;
    } else {
        conn.send("POST", "/sink", &[("Content-Length", &BODY_BYTES.to_string())], b"")?;
        let (mut pattern, mut left) = (Pattern::default(), BODY_BYTES);
        while left > 0 {
            let piece = pattern.next(left);
            conn.stream().write_all(piece).context("send a body")?;
            left -= piece.len() as u64;
        }
    }
    let reply = conn.read_reply(true)?;
    let wanted = format!("{{\"bytes\":{BODY_BYTES},\"intact\":true}}");
    ensure!(reply.status == 200 && reply.text() == wanted, "status {}: {}", reply.status, reply.text());
    Ok(())
}

fn download(conn: &mut Conn, framing: &str) -> Result<()> {
    conn.send("GET", &format!("/{framing}/{BODY_BYTES}"), &[], b"")?;
    let head: Head = conn.read_head(true)?;
    ensure!(head.status == 200, "status {}", head.status);
    let is_framed = match framing {
        "chunked" => head.header("transfer-encoding") == Some("chunked"),
        _ => head.header("content-length") == Some(BODY_BYTES.to_string().as_str()),
    };
    ensure!(is_framed, "framed anew: {:?}", head.headers);
    let (mut pattern, mut total) = (Pattern::default(), 0);
    while let Some(piece) = conn.next_piece()? {
        ensure!(pattern.takes(&piece), "other bytes than were sent, after {total}");
        total += piece.len() as u64;
    }
    ensure!(total == BODY_BYTES, "{total} bytes");
    Ok(())
}

/// Peak of a process's resident memory from a moment on.
#[derive(Debug)]
pub(super) struct Memory {
    pid: u32,
    idle: u64,
}

impl Memory {
    /// Takes the present as idle and forgets earlier peaks (proc(5), `clear_refs`).
    pub(super) fn watch(pid: u32) -> Result<Self> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forget earlier peaks of memory")?;
        Ok(Self { pid, idle: status_bytes(pid, "VmRSS:")? })
    }

    /// Bytes by which the peak since then lies above idle.
    pub(super) fn peak_over_idle(&self) -> Result<u64> {
        Ok(status_bytes(self.pid, "VmHWM:")?.saturating_sub(self.idle))
    }
}

/// A size of /proc/PID/status.
pub(super) fn status_bytes(pid: u32, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read the process's status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    let kib = line.trim().strip_suffix(" kB").and_then(|kib| kib.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{key} is {line:?}"))? * 1024)
}

/// For people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_memory_shows_what_was_held_for_a_moment() {
        let memory = Memory::watch(std::process::id()).unwrap();
        drop(std::hint::black_box(vec![1_u8; 48 << 20]));
        assert!(memory.peak_over_idle().unwrap() >= 40 << 20);
    }
}
