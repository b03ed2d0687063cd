//! What puts the load on: this crate's generator or `wrk`, behind one function each.
//!
//! Owns what either is told and the moments at which the measured server is looked at. Reads nothing of the server
//! itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::plan::LoadBy;
use super::scenario::Kind;
use crate::certificate::Check;
use crate::load::Stop;
use crate::wrk::{self, WrkError};

/// Load on one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) addr: SocketAddr,
    pub(super) kind: Kind,
    pub(super) connections: u32,
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    /// Requests per second of an open loop; `None` is a closed one.
    pub(super) rate: Option<f64>,
    /// Processor of the generator.
    pub(super) cpu: usize,
}

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Measuring begins.
    Begin,
    /// All connections are at work.
    Middle,
    /// Measuring ends.
    End,
}

/// What came of it, between the first mark and the last.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Good replies per second.
    pub(super) rate: f64,
    /// 99th percentile of service time, milliseconds.
    pub(super) p99_ms: f64,
    /// What only an own generator has.
    pub(super) own: Option<Own>,
}

/// Histograms of this crate's generator.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) response: Histogram<u64>,
    pub(super) lag: Histogram<u64>,
    /// Checks of the certificate that failed.
    pub(super) doubts: Vec<Check>,
    /// The certificate lets the figures be shown.
    pub(super) trusted: bool,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// `wrk` failed.
    #[error(transparent)]
    Wrk(#[from] WrkError),
    /// This crate's generator failed.
    #[error(transparent)]
    Own(#[from] crate::load::RunError),
    /// The server could not be looked at.
    #[error("cannot read what the server uses: {0}")]
    Look(#[from] io::Error),
}

/// The generator that speaks what a kind asks for.
///
/// # Errors
/// Why there is none.
pub(super) fn choose(asked: LoadBy, kind: Kind) -> Result<LoadBy, String> {
    let needs_wrk = asked == LoadBy::Wrk || kind.is_tls();
    match (asked, kind) {
        (LoadBy::Wrk, Kind::Websocket) => Err("wrk speaks no WebSocket; measure without `--load wrk`".into()),
        _ if needs_wrk && super::plan::which("wrk").is_none() => {
            let what = if kind.is_tls() { "the own generator speaks no TLS yet, and wrk" } else { "wrk" };
            Err(format!("{what} is not installed; `cargo xtask setup` installs it, Debian package wrk"))
        }
        _ if needs_wrk => Ok(LoadBy::Wrk),
        _ => Ok(LoadBy::Own),
    }
}

/// Puts the load on and waits for its end; `mark` is called as its moments come.
pub(super) fn run(
    by: LoadBy,
    load: &Load,
    mark: &mut dyn FnMut(Mark) -> io::Result<()>,
    stop: &Stop,
) -> Result<Seen, LoadError> {
    match by {
        LoadBy::Wrk => run_wrk(load, mark),
        LoadBy::Own => super::own::run(load, mark, stop),
    }
}

/// A warm-up of its own, then the measured run: its connects are in the figures, which 1000 connections make 1 % of.
fn run_wrk(load: &Load, mark: &mut dyn FnMut(Mark) -> io::Result<()>) -> Result<Seen, LoadError> {
    debug_assert_eq!(load.rate, None, "wrk has closed loops only");
    let scheme = if load.kind.is_tls() { "https" } else { "http" };
    let command = |duration| wrk::Load {
        url: format!("{scheme}://{}{}", load.addr, load.kind.path()),
        connections: load.connections,
        duration,
        cpus: load.cpu.to_string(),
        close: matches!(load.kind, Kind::New | Kind::TlsNew),
    };
    if !load.warmup.is_zero() {
        wrk::start(&command(load.warmup))?.wait()?;
    }
    mark(Mark::Begin)?;
    let running = wrk::start(&command(load.duration))?;
    std::thread::sleep(load.duration / 2);
    mark(Mark::Middle)?;
    let seen = running.wait()?;
    mark(Mark::End)?;
    Ok(Seen {
        requests: seen.requests,
        errors: seen.errors,
        rate: seen.rate(),
        p99_ms: seen.p99_ms,
        own: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_taken_for_what_only_it_speaks() {
        assert_eq!(choose(LoadBy::Own, Kind::Small), Ok(LoadBy::Own));
        assert_eq!(choose(LoadBy::Own, Kind::Websocket), Ok(LoadBy::Own));
        assert_eq!(choose(LoadBy::Own, Kind::TlsNew), Ok(LoadBy::Wrk));
        assert_eq!(choose(LoadBy::Wrk, Kind::New), Ok(LoadBy::Wrk));
        assert!(choose(LoadBy::Wrk, Kind::Websocket).unwrap_err().contains("no WebSocket"));
    }
}
