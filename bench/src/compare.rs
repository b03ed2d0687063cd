//! Several servers under the same load in turn, round by round: CPU time of the server per request.
//!
//! Owns the order of things and the arithmetic. CPU is the server's own (all threads and children, from the kernel), so
//! that a figure holds although the load generator shares the machine; rounds are interleaved, so that a drift of the
//! machine hits everyone; ratios are taken within a round.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::child::{ChildError, ServerSpec};
use crate::procfs;
use crate::wrk::{self, Load, WrkError};

/// From a server's start until it answers with 200.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// Load before the measured one: fills pools, caches and branch predictors.
const WARM_UP: Duration = Duration::from_secs(1);
/// Between SIGTERM and giving up on an orderly end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A server to compare.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name in the table.
    pub name: String,
    /// How it is started.
    pub server: ServerSpec,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// What every candidate gets.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the scenario.
    pub name: String,
    /// Path that is asked for.
    pub path: String,
    /// Keep-alive connections.
    pub connections: u32,
    /// Rounds, at least 1.
    pub rounds: u32,
    /// Measured time per candidate and round, whole seconds.
    pub duration: Duration,
    /// Processors of the load generator.
    pub load_cpus: String,
}

/// One candidate in one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// CPU time of the server per reply, microseconds.
    pub cpu_us: f64,
    /// Replies per second.
    pub rate: f64,
    /// 99th percentile in the closed loop, milliseconds.
    pub p99_ms: f64,
    /// Errors that the load generator counted.
    pub errors: u64,
}

/// One candidate over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Lowest CPU time per request, microseconds.
    pub cpu_us_min: f64,
    /// Median CPU time per request, microseconds.
    pub cpu_us_median: f64,
    /// Median over the rounds of its CPU time divided by the first candidate's in the same round.
    pub ratio_median: f64,
    /// Median rate, replies per second.
    pub rate_median: f64,
    /// Median of the 99th percentiles, milliseconds.
    pub p99_ms_median: f64,
    /// Errors of all rounds.
    pub errors: u64,
    /// The rounds.
    pub samples: Vec<Sample>,
}

/// A comparison's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the scenario.
    pub scenario: String,
    /// Keep-alive connections.
    pub connections: u32,
    /// Rounds.
    pub rounds: u32,
    /// One row per candidate, in their order; ratios refer to the first.
    pub rows: Vec<Row>,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A server did not start or end as it should.
    #[error("{name}: {cause}")]
    Server {
        /// The candidate.
        name: String,
        /// What went wrong.
        cause: ChildError,
    },
    /// The load generator failed.
    #[error("{name}: {cause}")]
    Load {
        /// The candidate.
        name: String,
        /// What went wrong.
        cause: WrkError,
    },
    /// The kernel would not say what the server used.
    #[error("{name}: cannot read its CPU time: {cause}")]
    Cpu {
        /// The candidate.
        name: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A server gave not one reply.
    #[error("{0}: not one reply under load")]
    Silent(String),
}

/// Runs all rounds. Logs go to files in `logs`; `progress` gets a line per candidate and round.
///
/// # Errors
/// [`CompareError`] for the first candidate that cannot be measured.
pub fn run(
    plan: &Plan,
    candidates: &[Candidate],
    logs: &Path,
    mut progress: impl FnMut(&str),
) -> Result<Comparison, CompareError> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); candidates.len()];
    for round in 0..plan.rounds as usize {
        // Each round starts with another candidate: none always follows the same neighbour's heat.
        for turn in 0..candidates.len() {
            let index = (turn + round) % candidates.len();
            let candidate = &candidates[index];
            let sample =
                measure(plan, candidate, &logs.join(format!("{}-{}.log", plan.name, candidate.name)))?;
            let Plan { name, rounds, .. } = plan;
            progress(&format!(
                "{name} round {}/{rounds} {}: {:.2} us/request, {:.0}/s",
                round + 1,
                candidate.name,
                sample.cpu_us,
                sample.rate
            ));
            samples[index].push(sample);
        }
    }
    let rows = rows(candidates.iter().map(|candidate| candidate.name.as_str()), &samples);
    Ok(Comparison { scenario: plan.name.clone(), connections: plan.connections, rounds: plan.rounds, rows })
}

/// Whether one GET on a connection of its own is answered with 200 within a second.
pub fn answers(addr: SocketAddr, path: &str) -> bool {
    const STATUS: &[u8] = b"HTTP/1.1 200";
    let ask = || -> std::io::Result<bool> {
        let limit = Duration::from_secs(1);
        let mut stream = TcpStream::connect_timeout(&addr, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        // In one piece: a server that answers the first bytes and closes would reset what comes after them.
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut start = [0; STATUS.len()];
        stream.read_exact(&mut start)?;
        Ok(start == STATUS)
    };
    ask().unwrap_or(false)
}

fn measure(plan: &Plan, candidate: &Candidate, log: &Path) -> Result<Sample, CompareError> {
    let name = || candidate.name.clone();
    let server_failed = |cause| CompareError::Server { name: name(), cause };
    let load = |duration| {
        let url = format!("http://{}{}", candidate.addr, plan.path);
        let load = Load { url, connections: plan.connections, duration, cpus: plan.load_cpus.clone() };
        wrk::run(&load).map_err(|cause| CompareError::Load { name: name(), cause })
    };
    let mut server = candidate.server.start(log).map_err(server_failed)?;
    let pid = server.pid();
    let cpu = || procfs::cpu_time(pid).map_err(|cause| CompareError::Cpu { name: name(), cause });
    let ready = server.wait_for("reply with 200", READY_LIMIT, |_| answers(candidate.addr, &plan.path));
    ready.map_err(server_failed)?;
    load(WARM_UP)?;
    let before = cpu()?;
    let seen = load(plan.duration)?;
    let used = cpu()?.saturating_sub(before);
    server.terminate(END_LIMIT).map_err(server_failed)?;
    if seen.requests == 0 {
        return Err(CompareError::Silent(name()));
    }
    let requests = seen.requests as f64;
    let rate = requests / plan.duration.as_secs_f64().max(1.0);
    Ok(Sample { cpu_us: used.as_secs_f64() * 1e6 / requests, rate, p99_ms: seen.p99_ms, errors: seen.errors })
}

fn rows<'a>(names: impl Iterator<Item = &'a str>, samples: &[Vec<Sample>]) -> Vec<Row> {
    let row = |name: &str, own: &Vec<Sample>| {
        let cpu: Vec<f64> = own.iter().map(|sample| sample.cpu_us).collect();
        let ratios = own.iter().zip(&samples[0]).map(|(own, first)| own.cpu_us / first.cpu_us);
        Row {
            name: name.to_owned(),
            cpu_us_min: cpu.iter().copied().fold(f64::INFINITY, f64::min),
            ratio_median: median(ratios.collect()),
            rate_median: median(own.iter().map(|sample| sample.rate).collect()),
            p99_ms_median: median(own.iter().map(|sample| sample.p99_ms).collect()),
            errors: own.iter().map(|sample| sample.errors).sum(),
            cpu_us_median: median(cpu),
            samples: own.clone(),
        }
    };
    names.zip(samples).map(|(name, own)| row(name, own)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

impl Comparison {
    /// The table as Markdown.
    pub fn table(&self) -> String {
        let reference = self.rows.first().map_or("-", |row| row.name.as_str());
        let mut text = format!(
            "{}: {} connections, {} rounds; CPU microseconds of the server per request\n\n\
             | server | min | median | × {reference} | replies/s | p99 ms | errors |\n|---|---|---|---|---|---|---|\n",
            self.scenario, self.connections, self.rounds
        );
        for row in &self.rows {
            let Row {
                name, cpu_us_min, cpu_us_median, ratio_median, rate_median, p99_ms_median, errors, ..
            } = row;
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "| {name} | {cpu_us_min:.2} | {cpu_us_median:.2} | {ratio_median:.3} | {rate_median:.0} | \
                 {p99_ms_median:.2} | {errors} |"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_us: f64, errors: u64) -> Sample {
        Sample { cpu_us, rate: 1000.0 / cpu_us, p99_ms: 1.0, errors }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let samples = vec![
            vec![sample(10.0, 0), sample(20.0, 0), sample(40.0, 0)],
            vec![sample(12.0, 1), sample(18.0, 0), sample(44.0, 2)],
        ];
        let rows = rows(["floor", "other"].into_iter(), &samples);
        assert!((rows[0].ratio_median - 1.0).abs() < 1e-9);
        assert!((rows[1].ratio_median - 1.1).abs() < 1e-9, "{rows:?}");
        assert!((rows[1].cpu_us_min - 12.0).abs() < 1e-9 && (rows[1].cpu_us_median - 18.0).abs() < 1e-9);
        assert_eq!(rows[1].errors, 3);
        let comparison = Comparison { scenario: "small".into(), connections: 64, rounds: 3, rows };
        assert!(comparison.table().contains("| other | 12.00 | 18.00 | 1.100 |"), "{}", comparison.table());
    }

    #[test]
    fn medians() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn only_a_200_is_an_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let replies = ["HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"];
        let server = std::thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(reply.as_bytes()).unwrap();
            }
        });
        assert_eq!([answers(addr, "/"), answers(addr, "/")], [false, true]);
        server.join().unwrap();
        assert!(!answers(addr, "/"));
    }
}
