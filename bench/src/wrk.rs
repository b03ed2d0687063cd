//! The load: `wrk`, one thread, keep-alive connections, closed loop.
//!
//! Owns its command line, its process and the reading of what it prints. Its latencies are those of a closed loop: they say how a
//! saturated server shares its time, nothing about an open one.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Load to put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Full address.
    pub url: String,
    /// Keep-alive connections, at least 1.
    pub connections: u32,
    /// How long; wrk counts whole seconds.
    pub duration: Duration,
    /// Processors of the generator (`taskset -c`).
    pub cpus: String,
    /// A connection for every request.
    pub close: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen {
    /// Replies received, bad ones too.
    pub requests: u64,
    /// How long it took, which is up to a tenth of a second more than asked, seconds.
    pub seconds: f64,
    /// Median latency, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of latency, milliseconds.
    pub p99_ms: f64,
    /// Socket errors, timeouts and replies that are neither 2xx nor 3xx.
    pub errors: u64,
}

impl Seen {
    /// Replies per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.requests as f64 / self.seconds } else { 0.0 }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum WrkError {
    /// It could not be started.
    #[error("cannot run taskset and wrk: {0}; `cargo xtask setup` installs them")]
    Start(io::Error),
    /// It failed or printed something else than a result.
    #[error("wrk gave no result ({0})")]
    NoResult(String),
}

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub struct Running(Option<Child>);

/// Puts the load on.
///
/// # Errors
/// [`WrkError::Start`] when wrk cannot be run.
pub fn start(load: &Load) -> Result<Running, WrkError> {
    let seconds = load.duration.as_secs().max(1);
    let mut command = Command::new("taskset");
    command.args(["-c", &load.cpus, "wrk", "-t1", "--latency"]);
    command.args([format!("-c{}", load.connections), format!("-d{seconds}s")]);
    if load.close {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(&load.url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Running(Some(command.spawn().map_err(WrkError::Start)?)))
}

impl Running {
    /// Waits for its end, which is a second after the asked one at the latest.
    ///
    /// # Errors
    /// [`WrkError::NoResult`] when it gives no result.
    pub fn wait(mut self) -> Result<Seen, WrkError> {
        let Some(child) = self.0.take() else { return Err(WrkError::NoResult("it was waited for".into())) };
        let done = child.wait_with_output().map_err(WrkError::Start)?;
        let text = String::from_utf8_lossy(&done.stdout);
        parse(&text).ok_or_else(|| {
            let errors = String::from_utf8_lossy(&done.stderr);
            WrkError::NoResult(format!("{}: {} {}", done.status, text.trim(), errors.trim()))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // One that has ended meanwhile is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn parse(text: &str) -> Option<Seen> {
    let mut seen = Seen::default();
    let mut complete = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["50%", value] => seen.p50_ms = milliseconds(value)?,
            ["99%", value] => seen.p99_ms = milliseconds(value)?,
            [count, "requests", "in", time, ..] => {
                seen.requests = count.parse().ok()?;
                seen.seconds = milliseconds(time.trim_end_matches(','))? / 1e3;
                complete = true;
            }
            ["Socket", "errors:", rest @ ..] | ["Non-2xx", "or", "3xx", "responses:", rest @ ..] => {
                let counts = rest.iter().filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok());
                seen.errors += counts.sum::<u64>();
            }
            _ => {}
        }
    }
    complete.then_some(seen)
}

fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3)];
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Running 2s test @ http://127.0.0.1:9001/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.16ms  431.38us   9.41ms   93.11%
    Req/Sec    55.58k     3.47k   59.80k    90.48%
  Latency Distribution
     50%  950.00us
     75%    1.21ms
     90%    1.45ms
     99%    2.72s
  116150 requests in 2.10s, 12.30MB read
  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 10
Requests/sec:  55310.36
Transfer/sec:      5.86MB
";

    #[test]
    fn its_output_is_read() {
        let seen = parse(OUTPUT).unwrap();
        assert_eq!((seen.requests, seen.errors), (116_150, 17));
        assert!((seen.seconds - 2.1).abs() < 1e-9 && (seen.rate() - 55_309.5).abs() < 0.1, "{seen:?}");
        assert!((seen.p50_ms - 0.95).abs() < 1e-9 && (seen.p99_ms - 2720.0).abs() < 1e-9, "{seen:?}");
    }

    #[test]
    fn anything_else_is_no_result() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
        assert_eq!(parse("  99% soon\n 5 requests in 1s\n"), None);
    }
}
