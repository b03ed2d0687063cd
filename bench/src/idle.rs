//! Memory of a proxy per idle event stream.
//!
//! Owns the streams that it opens (client side) until the measurement ends. What it reports is the proxy's proportional
//! set size, which holds both of its sides of each stream, but none of the kernel's socket buffers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::child::ChildError;
use crate::compare::answers;
use crate::peers::Candidate;
use crate::procfs;

const READY_LIMIT: Duration = Duration::from_secs(15);
/// A stream's head and first event must come within this.
const STREAM_LIMIT: Duration = Duration::from_secs(10);
/// Memory counts as settled when it has not changed over this long …
const SETTLE_PAUSE: Duration = Duration::from_millis(250);
/// … or at the latest after this.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// Longest head plus first event, bytes.
const START_BYTES_MAX: usize = 4096;

/// Bytes of proportional set size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Idle {
    /// The proxy's name.
    pub name: String,
    /// Streams at the first and at the second reading.
    pub streams: (u32, u32),
    /// Without streams, after one request.
    pub pss_base: u64,
    /// With the first number of streams.
    pub pss_first: u64,
    /// With the second number of streams.
    pub pss_second: u64,
}

impl Idle {
    /// Bytes per stream from the first to the second reading.
    pub fn marginal(&self) -> f64 {
        let streams = self.streams.1 - self.streams.0;
        (self.pss_second as f64 - self.pss_first as f64) / f64::from(streams)
    }

    /// Bytes per stream at the second reading, everything above the base counted.
    pub fn total(&self) -> f64 {
        (self.pss_second as f64 - self.pss_base as f64) / f64::from(self.streams.1)
    }

    /// One row of a Markdown table: name, base KiB, marginal bytes, total bytes.
    pub fn row(&self) -> String {
        let base_kib = self.pss_base / 1024;
        format!("| {} | {base_kib} | {:.0} | {:.0} |", self.name, self.marginal(), self.total())
    }
}

/// Head of the table that [`Idle::row`] fills.
pub const TABLE_HEAD: &str =
    "| server | base KiB | bytes per stream, marginal | bytes per stream, total |\n|---|---|---|---|";

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum IdleError {
    /// The proxy did not start or end.
    #[error("{name}: {cause}")]
    Server {
        /// The proxy.
        name: String,
        /// What went wrong.
        cause: ChildError,
    },
    /// A stream could not be opened.
    #[error("{name}: stream {number}: {cause}")]
    Stream {
        /// The proxy.
        name: String,
        /// The stream, from 1.
        number: u32,
        /// What went wrong.
        cause: io::Error,
    },
    /// Its memory could not be read.
    #[error("{name}: cannot read its memory: {cause}")]
    Memory {
        /// The proxy.
        name: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// Opens `streams.0`, then `streams.1` event streams on `path` and reads the proxy's memory each time.
///
/// # Errors
/// [`IdleError`] when the proxy fails or a stream is not answered.
pub fn run(candidate: &Candidate, path: &str, streams: (u32, u32), log: &Path) -> Result<Idle, IdleError> {
    let name = || candidate.name.clone();
    let mut server =
        candidate.server.start(log).map_err(|cause| IdleError::Server { name: name(), cause })?;
    let ready = server.wait_for("reply with 200", READY_LIMIT, |_| answers(candidate.addr, "/"));
    ready.map_err(|cause| IdleError::Server { name: name(), cause })?;

    let read = || settled(server.pid()).map_err(|cause| IdleError::Memory { name: name(), cause });
    let mut held = Vec::new();
    let mut open = |count: u32| {
        while held.len() < count as usize {
            let number = held.len() as u32 + 1;
            let stream = open_stream(candidate.addr, path);
            held.push(stream.map_err(|cause| IdleError::Stream { name: name(), number, cause })?);
        }
        Ok(())
    };
    let pss_base = read()?;
    open(streams.0)?;
    let pss_first = read()?;
    open(streams.1)?;
    let pss_second = read()?;
    Ok(Idle { name: name(), streams, pss_base, pss_first, pss_second })
}

fn open_stream(addr: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&addr, STREAM_LIMIT)?;
    stream.set_read_timeout(Some(STREAM_LIMIT))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\nUser-Agent: idle\r\n\r\n"
    );
    // In one piece, as clients send it.
    stream.write_all(request.as_bytes())?;
    let mut start = Vec::new();
    let mut piece = [0; 1024];
    while !start.windows(4).any(|bytes| bytes == b": hi") {
        let count = stream.read(&mut piece)?;
        start.extend_from_slice(&piece[..count]);
        if count == 0 || start.len() > START_BYTES_MAX {
            let start = String::from_utf8_lossy(&start).into_owned();
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no event in {start:?}")));
        }
    }
    Ok(stream)
}

fn settled(pid: u32) -> io::Result<u64> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut before = procfs::memory(pid)?.pss;
    loop {
        std::thread::sleep(SETTLE_PAUSE);
        let now = procfs::memory(pid)?.pss;
        if now == before || Instant::now() >= deadline {
            return Ok(now);
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_per_stream() {
        let idle = Idle {
            name: "x".into(),
            streams: (1000, 3500),
            pss_base: 10 << 20,
            pss_first: (10 << 20) + 1_000_000,
            pss_second: (10 << 20) + 3_500_000 + 700_000,
        };
        assert!((idle.marginal() - 1280.0).abs() < 1e-6, "{}", idle.marginal());
        assert!((idle.total() - 1200.0).abs() < 1e-6, "{}", idle.total());
        assert_eq!(idle.row(), "| x | 10240 | 1280 | 1200 |");
    }
}
