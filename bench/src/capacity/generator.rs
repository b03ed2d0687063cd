//! The real thing behind a trial: the load generator, its certificate, and what the kernel says of the server.
//!
//! Owns the translation of a trial into a run and of its outcome into evidence. Never decides what a trial means for a goal.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::plan::{PlanSpec, ShardRun};
use super::trial::{Ask, Evidence, Measured, Rig, ServerUse, Trial, TrialError};
use super::{Event, Progress};
use crate::certificate::{Certificate, Side, Verdict, limits};
use crate::child::{Server, ServerSpec};
use crate::load::{self, Arrivals, Observer, Outcome, Phase, RunError, Stop};
use crate::procfs;

/// Attempts at a trial whose connections are all refused: a server that was just overloaded may need a moment.
const CONNECT_ATTEMPTS: u32 = 3;
/// Pause between them.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How long a started server may take to listen.
const START_MAX: Duration = Duration::from_secs(30);

/// Trials by the load generator.
#[derive(Debug)]
pub(super) struct Generator<'a> {
    spec: &'a PlanSpec,
    stop: &'a Stop,
}

impl<'a> Generator<'a> {
    pub(super) fn new(spec: &'a PlanSpec, stop: &'a Stop) -> Self {
        Self { spec, stop }
    }
}

impl Rig for Generator<'_> {
    fn system(&mut self, run: Option<&ShardRun>) -> Result<Box<dyn Trial + '_>, TrialError> {
        let mut load = self.spec.load.clone();
        let mut pid = self.spec.server_pid;
        let mut started = None;
        if let Some(run) = run {
            load.target = run.target.clone();
            started = run.command.as_deref().map(|command| start(command, run)).transpose()?;
            pid = started.as_ref().map(|started| started.server.pid());
        }
        Ok(Box::new(LoadTrial { load, stop: self.stop, pid, _started: started }))
    }
}

/// A server that ends, and whose log goes, when this is dropped.
struct Started {
    server: Server,
}

impl Drop for Started {
    fn drop(&mut self) {
        // What of it was worth reading stands in an error by now. A log that is gone already is as good.
        let _ = std::fs::remove_file(self.server.log());
    }
}

/// Starts a server and waits until it listens.
fn start(command: &[String], run: &ShardRun) -> Result<Started, TrialError> {
    let failed = |error: &dyn std::fmt::Display| TrialError::Failed(error.to_string());
    let Some((program, args)) = command.split_first() else {
        return Err(TrialError::Failed(format!("the command for {} shards is empty", run.shards)));
    };
    let Some(addr) = run.target.addrs.first() else {
        return Err(TrialError::Failed(format!("{} has no address", run.target.url)));
    };
    let log: PathBuf =
        std::env::temp_dir().join(format!("erlmcp-plan-{}-{}.log", std::process::id(), run.shards));
    let server = ServerSpec::new(program).args(args).start(log).map_err(|error| failed(&error))?;
    let mut started = Started { server };
    started.server.wait_for_port(*addr, START_MAX).map_err(|error| failed(&error))?;
    Ok(started)
}

struct LoadTrial<'a> {
    load: load::Spec,
    stop: &'a Stop,
    pid: Option<u32>,
    /// Ended when the trial is dropped.
    _started: Option<Started>,
}

impl Trial for LoadTrial<'_> {
    fn run(&mut self, ask: &Ask, progress: &mut dyn Progress) -> Result<Measured, TrialError> {
        let spec = load::Spec {
            arrivals: ask.rate.map_or(Arrivals::Closed, Arrivals::Poisson),
            connections: ask.connections,
            threads: self.load.threads.clamp(1, ask.connections.max(1)),
            duration: ask.duration,
            seed: ask.seed,
            requests_max: None,
            ..self.load.clone()
        };
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut watch = Watch::new(progress, self.pid, ask.duration);
            match load::run(&spec, &mut watch, self.stop) {
                Ok(_) | Err(_) if self.stop.is_stopped() => return Err(TrialError::Stopped),
                Ok(outcome) => return Ok(measured(ask, &outcome, watch.server(&outcome), began.elapsed())),
                Err(RunError::Stopped) => return Err(TrialError::Stopped),
                Err(RunError::NoConnection { .. }) if attempt < CONNECT_ATTEMPTS => {
                    std::thread::sleep(CONNECT_PAUSE);
                }
                Err(error) => return Err(TrialError::Failed(error.to_string())),
            }
        }
    }
}

fn measured(ask: &Ask, outcome: &Outcome, server: Option<ServerUse>, took: Duration) -> Measured {
    let busiest = outcome.machine.threads.iter().map(|thread| thread.busy_share).fold(0.0, f64::max);
    Measured {
        ask: *ask,
        due: outcome.totals.due,
        completed: outcome.totals.completed,
        errors: outcome.totals.errors.total(),
        bytes: outcome.totals.bytes_in + outcome.totals.bytes_out,
        elapsed: outcome.measured,
        took,
        response: outcome.latencies.response.clone(),
        service: outcome.latencies.service.clone(),
        server,
        generator_bound: busiest >= limits::BUSY_INVALID,
        evidence: evidence(&Certificate::of(outcome)),
    }
}

/// A server in trouble is evidence, a generator in trouble is none.
fn evidence(certificate: &Certificate) -> Evidence {
    let reasons = |side: Option<Side>| {
        let failed =
            certificate.failed().into_iter().filter(|check| side.is_none_or(|side| check.side == side));
        failed.map(|check| check.reason.clone().unwrap_or_else(|| check.name.clone())).collect()
    };
    match (certificate.generator(), certificate.verdict) {
        (Verdict::Invalid, _) => Evidence::Invalid(reasons(Some(Side::Generator))),
        (_, Verdict::Valid) => Evidence::Valid,
        (_, Verdict::Degraded | Verdict::Invalid) => Evidence::Degraded(reasons(None)),
    }
}

/// Passes a run's progress on, and looks at the server's process meanwhile.
struct Watch<'a> {
    progress: &'a mut dyn Progress,
    pid: Option<u32>,
    middle: Duration,
    /// Into the measuring, and the server's CPU time then.
    began: Option<(Duration, Duration)>,
    /// Descriptors and memory in the middle.
    held: Option<(u64, u64)>,
}

impl<'a> Watch<'a> {
    fn new(progress: &'a mut dyn Progress, pid: Option<u32>, duration: Duration) -> Self {
        Self { progress, pid, middle: duration / 2, began: None, held: None }
    }

    fn look(&mut self, pid: u32, elapsed: Duration) {
        if self.began.is_none() {
            self.began = procfs::cpu_time(pid).ok().map(|used| (elapsed, used));
        }
        if self.held.is_none() && elapsed >= self.middle {
            let descriptors = procfs::descriptors(pid).ok().map(|count| count as u64);
            // Memory of another user's process may not be read; descriptors alone are worth telling.
            let memory = procfs::memory(pid).map_or(0, |memory| memory.pss);
            self.held = descriptors.map(|descriptors| (descriptors, memory));
        }
    }

    /// What the server used, of the requests since it was first looked at.
    fn server(&self, outcome: &Outcome) -> Option<ServerUse> {
        let (began, before) = self.began?;
        let used = procfs::cpu_time(self.pid?).ok()?.saturating_sub(before);
        let share = 1.0 - began.as_secs_f64() / outcome.measured.as_secs_f64().max(1e-9);
        let requests = (outcome.totals.completed + outcome.totals.errors.total()) as f64 * share;
        let (descriptors, memory_bytes) = self.held.unwrap_or((0, 0));
        let cpu_us_per_request = used.as_secs_f64() * 1e6 / requests.max(1.0);
        (share > 0.0).then_some(ServerUse { cpu_us_per_request, descriptors, memory_bytes })
    }
}

impl Observer for Watch<'_> {
    fn progress(&mut self, run: &load::Progress) {
        self.progress.event(&Event::Live(run));
        if let (Some(pid), Phase::Measuring) = (self.pid, run.phase) {
            self.look(pid, run.elapsed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::measure::simulated::{load_spec, spec};
    use crate::capacity::{PlanSpec, Silent};
    use crate::null::NullServer;
    use erlmcp_ring::DriverChoice;

    fn run(addr: std::net::SocketAddr, shards: u32, command: &[&str]) -> ShardRun {
        let target = load_spec("http://null/", vec![addr]).target;
        ShardRun { shards, target, command: Some(command.iter().map(|word| (*word).to_owned()).collect()) }
    }

    /// The command stands for a server whose port is the null server's.
    #[test]
    fn a_started_server_is_measured_and_ended() {
        let null = NullServer::start(None, DriverChoice::Auto).expect("the null server");
        let spec = PlanSpec { load: load_spec("http://null/", vec![null.addr()]), ..spec("p99 < 1 s") };
        let stop = Stop::default();
        let mut generator = Generator::new(&spec, &stop);
        let shards = run(null.addr(), 2, &["sleep", "60"]);
        let mut system = generator.system(Some(&shards)).expect("started");
        let ask = Ask { rate: None, connections: 2, duration: Duration::from_millis(500), seed: 1 };
        let measured = system.run(&ask, &mut Silent).expect("a trial");
        assert!(measured.completed > 0 && measured.errors == 0, "{measured:?}");
        // The sleeping process has its three standard descriptors and used next to no CPU.
        let server = measured.server.expect("its process is known");
        assert!(server.descriptors >= 3 && server.cpu_us_per_request < 1_000.0, "{server:?}");
        let log = std::env::temp_dir().join(format!("erlmcp-plan-{}-2.log", std::process::id()));
        assert!(log.exists());
        drop(system);
        assert!(!log.exists());
    }

    #[test]
    fn a_server_that_cannot_be_started_is_named() {
        let addr = crate::ports::free_addr().expect("a free port");
        let spec = spec("p99 < 1 s");
        let stop = Stop::default();
        let error = |command: &[&str]| match Generator::new(&spec, &stop).system(Some(&run(addr, 3, command)))
        {
            Ok(_) => panic!("started"),
            Err(error) => error.to_string(),
        };
        assert!(error(&["no-such-program-here"]).contains("no-such-program-here"));
        assert!(error(&["sh", "-c", "echo broken; exit 3"]).contains("broken"));
        assert!(error(&[]).contains("the command for 3 shards is empty"));
    }

    #[test]
    fn a_stopped_trial_is_no_evidence() {
        let null = NullServer::start(None, DriverChoice::Auto).expect("the null server");
        let spec = PlanSpec { load: load_spec("http://null/", vec![null.addr()]), ..spec("p99 < 1 s") };
        let stop = Stop::default();
        stop.stop();
        let mut generator = Generator::new(&spec, &stop);
        let ask = Ask { rate: Some(10.0), connections: 2, duration: Duration::from_secs(60), seed: 1 };
        let ended = generator.system(None).expect("the target").run(&ask, &mut Silent);
        assert_eq!(ended.err(), Some(TrialError::Stopped));
    }
}
