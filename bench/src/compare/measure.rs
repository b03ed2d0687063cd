//! One candidate, one round: started, warmed up, loaded, looked at, ended.
//!
//! CPU is the server's own (all threads and children, from the kernel), so that a figure holds although the generator
//! shares the machine.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::error::CompareError;
use super::figures::{Paced, Sample};
use super::generator::{self, Load, LoadError, Mark, Own, Seen};
use super::plan::{LoadBy, Plan};
use super::ready::answers;
use super::scenario::Scenario;
use crate::child::Server;
use crate::load::Stop;
use crate::peers::Candidate;
use crate::procfs;

/// From a server's start until it answers.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// Requests at a fixed rate of which one must have been answered.
const DUE_MIN: f64 = 20.0;
/// Between SIGTERM and giving up on an orderly end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How a scenario is measured.
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    pub(super) scenario: Scenario,
    pub(super) by: LoadBy,
    pub(super) stop: &'a Stop,
}

impl Bench<'_> {
    /// A closed loop: CPU per request, rate, memory. `None` when it was stopped.
    pub(super) fn sample(&self, candidate: &Candidate) -> Result<Option<Sample>, CompareError> {
        let mut server = self.start(candidate)?;
        let pid = server.pid();
        let (mut before, mut after, mut pss) = (Duration::ZERO, Duration::ZERO, 0);
        let mut look = |mark| -> io::Result<()> {
            match mark {
                Mark::Begin => before = procfs::cpu_time(pid)?,
                // Walking the server's pages is done by the reader, on the reader's processor.
                Mark::Middle => pss = procfs::memory(pid)?.pss,
                Mark::End => after = procfs::cpu_time(pid)?,
            }
            Ok(())
        };
        let seen = self.load(candidate, None, &mut look)?;
        self.end(candidate, &mut server)?;
        if self.stop.is_stopped() {
            return Ok(None);
        }
        self.check(candidate, &seen, f64::INFINITY)?;
        let used = after.saturating_sub(before);
        Ok(Some(Sample {
            cpu_us: used.as_secs_f64() * 1e6 / seen.requests as f64,
            rate: seen.rate,
            requests: seen.requests,
            pss,
            closed_p99_ms: seen.p99_ms,
            errors: seen.errors,
        }))
    }

    /// An open loop at `rate`: response times. `None` when it was stopped.
    pub(super) fn paced(&self, candidate: &Candidate, rate: f64) -> Result<Option<Paced>, CompareError> {
        let mut server = self.start(candidate)?;
        let seen = self.load(candidate, Some(rate), &mut |_| Ok(()))?;
        self.end(candidate, &mut server)?;
        if self.stop.is_stopped() {
            return Ok(None);
        }
        self.check(candidate, &seen, rate * self.plan.duration.as_secs_f64())?;
        let Seen { errors, rate, own, .. } = seen;
        Ok(own.map(|own| {
            let Own { response, lag, doubts, trusted } = own;
            Paced { response, lag, rate, errors, doubts, trusted }
        }))
    }

    fn start(&self, candidate: &Candidate) -> Result<Server, CompareError> {
        let failed = |cause| CompareError::Server { name: candidate.name.clone(), cause };
        let mut server = candidate.server.start(self.log(candidate)).map_err(failed)?;
        let ready = match self.scenario.kind.is_tls() {
            // This crate speaks no TLS; whether it is served shows under load.
            true => server.wait_for_port(candidate.addr, READY_LIMIT),
            false => server.wait_for("reply with 200", READY_LIMIT, |_| answers(candidate.addr, "/")),
        };
        ready.map_err(failed)?;
        Ok(server)
    }

    fn load(
        &self,
        candidate: &Candidate,
        rate: Option<f64>,
        look: &mut dyn FnMut(Mark) -> io::Result<()>,
    ) -> Result<Seen, CompareError> {
        let load = Load {
            addr: candidate.addr,
            kind: self.scenario.kind,
            connections: self.scenario.connections,
            warmup: self.plan.warmup,
            duration: self.plan.duration,
            rate,
            cpu: self.plan.placement.load,
        };
        let run = generator::run(self.by, &load, look, self.stop);
        run.map_err(|cause: LoadError| CompareError::Load { name: candidate.name.clone(), cause })
    }

    fn end(&self, candidate: &Candidate, server: &mut Server) -> Result<(), CompareError> {
        let ended = server.terminate(END_LIMIT);
        if let Some(file) = &candidate.access_log {
            // It may never have been made; what is left of it is written over by the next run.
            let _ = fs::remove_file(file);
        }
        ended.map(|_| ()).map_err(|cause| CompareError::Server { name: candidate.name.clone(), cause })
    }

    /// `due` requests were to be answered: of a handful none may have been within a short time.
    fn check(&self, candidate: &Candidate, seen: &Seen, due: f64) -> Result<(), CompareError> {
        let (name, scenario) = (candidate.name.clone(), self.scenario);
        if seen.requests == 0 && due >= DUE_MIN {
            return Err(CompareError::Silent { name, scenario });
        }
        if self.plan.quick && seen.errors > 0 {
            return Err(CompareError::Errors { name, scenario, count: seen.errors });
        }
        Ok(())
    }

    fn log(&self, candidate: &Candidate) -> PathBuf {
        self.plan.folder.join(format!("{}-{}.log", self.scenario, candidate.name))
    }
}
