//! One scenario: everyone in turn, round by round; first closed loops, then latency at a rate that all can carry.

use super::error::CompareError;
use super::figures::{self, Latency, Paced, Row};
use super::generator;
use super::lineup::Lineup;
use super::measure::Bench;
use super::plan::{LoadBy, Plan};
use super::report::{Absent, IdleTable, Table};
use super::scenario::Scenario;
use super::upstreams::Upstreams;
use super::{Progress, Step};
use crate::idle;
use crate::load::Stop;
use crate::peers::Candidate;

/// What every scenario of a comparison shares.
pub(super) struct Rounds<'a> {
    pub(super) plan: &'a Plan,
    pub(super) upstreams: &'a Upstreams,
    pub(super) progress: &'a mut dyn Progress,
    pub(super) stop: &'a Stop,
    /// Scenarios in all.
    pub(super) scenarios: usize,
}

impl Rounds<'_> {
    /// A scenario under load, which is `number` of all, from 1.
    pub(super) fn table(
        &mut self,
        scenario: Scenario,
        number: usize,
        lineup: Lineup,
    ) -> Result<Table, CompareError> {
        let Lineup { candidates, mut absent } = lineup;
        let (rows, fixed_rate) = (Vec::new(), None);
        let by = match generator::choose(self.plan.load, scenario.kind) {
            Ok(by) => by,
            Err(reason) => {
                absent.push(Absent { name: "everyone else".to_owned(), reason });
                let load = self.plan.load;
                return Ok(Table { scenario, load, fixed_rate, no_latency: None, rows, absent });
            }
        };
        let with_latency = self.plan.latency && by == LoadBy::Own;
        let turns = self.plan.rounds * candidates.len() as u32;
        let total = if with_latency { 2 * turns } else { turns };
        let mut steps = Steps { scenario, number, done: 0, total };

        let mut rows = self.closed(&candidates, by, &mut steps)?;
        let fixed_rate = figures::fixed_rate(&rows).filter(|_| with_latency && !self.stop.is_stopped());
        if let Some(rate) = fixed_rate {
            self.upstreams.move_to(&self.plan.placement.upstreams_paced())?;
            let paced = self.paced(&candidates, by, rate, &mut steps)?;
            self.upstreams.move_to(&self.plan.placement.upstreams)?;
            for row in &mut rows {
                let at = candidates.iter().position(|candidate| candidate.name == row.name);
                row.latency = at.and_then(|at| Latency::of(&paced[at]));
            }
        }
        let no_latency =
            (self.plan.latency && by == LoadBy::Wrk).then(|| "wrk has closed loops only".to_owned());
        Ok(Table { scenario, load: by, fixed_rate, no_latency, rows, absent })
    }

    fn closed(
        &mut self,
        candidates: &[Candidate],
        by: LoadBy,
        steps: &mut Steps,
    ) -> Result<Vec<Row>, CompareError> {
        let bench = Bench { plan: self.plan, scenario: steps.scenario, by, stop: self.stop };
        let rounds = self.plan.rounds;
        let samples = interleaved(rounds, candidates, |round, candidate| {
            let sample = bench.sample(candidate)?;
            if let Some(sample) = &sample {
                let (name, cpu, rate) = (&candidate.name, sample.cpu_us, sample.rate);
                self.tell(steps, &format!("{name} round {round}/{rounds}: {cpu:.2} us/request, {rate:.0}/s"));
            }
            Ok(sample)
        })?;
        let names: Vec<String> = candidates.iter().map(|candidate| candidate.name.clone()).collect();
        Ok(figures::rows(&names, &samples))
    }

    fn paced(
        &mut self,
        candidates: &[Candidate],
        by: LoadBy,
        rate: f64,
        steps: &mut Steps,
    ) -> Result<Vec<Vec<Paced>>, CompareError> {
        let bench = Bench { plan: self.plan, scenario: steps.scenario, by, stop: self.stop };
        let rounds = self.plan.rounds;
        interleaved(rounds, candidates, |round, candidate| {
            let paced = bench.paced(candidate, rate)?;
            if let Some(paced) = &paced {
                let p99 = paced.response.value_at_quantile(0.99) as f64 / 1e6;
                let name = &candidate.name;
                self.tell(steps, &format!("{name} round {round}/{rounds}: p99 {p99:.3} ms at {rate:.0}/s"));
            }
            Ok(paced)
        })
    }

    /// A scenario of idle streams.
    pub(super) fn idle(
        &mut self,
        scenario: Scenario,
        number: usize,
        lineup: Lineup,
    ) -> Result<IdleTable, CompareError> {
        let Lineup { candidates, absent } = lineup;
        // Two readings: the difference is what one more stream takes, without what the first of them brings about.
        let streams = ((scenario.connections * 2 / 7).max(1), scenario.connections.max(2));
        let mut steps = Steps { scenario, number, done: 0, total: candidates.len() as u32 };
        let mut rows = Vec::new();
        for candidate in &candidates {
            if self.stop.is_stopped() {
                break;
            }
            let log = self.plan.folder.join(format!("{scenario}-{}.log", candidate.name));
            let row = idle::run(candidate, scenario.kind.path(), streams, &log)?;
            self.tell(&mut steps, &format!("{}: {:.0} bytes a stream", candidate.name, row.total()));
            rows.push(row);
        }
        Ok(IdleTable { scenario, rows, absent })
    }

    fn tell(&mut self, steps: &mut Steps, text: &str) {
        steps.done += 1;
        let Steps { scenario, number, done, total } = *steps;
        self.progress.step(&Step { scenario, number, scenarios: self.scenarios, done, total, text });
    }
}

/// Where a scenario stands.
struct Steps {
    scenario: Scenario,
    number: usize,
    done: u32,
    total: u32,
}

/// Everyone in turn, round by round; ends early when a turn yields nothing, with what there is.
fn interleaved<T>(
    rounds: u32,
    candidates: &[Candidate],
    mut turn: impl FnMut(u32, &Candidate) -> Result<Option<T>, CompareError>,
) -> Result<Vec<Vec<T>>, CompareError> {
    let mut all: Vec<Vec<T>> = candidates.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds as usize {
        // Each round starts with another candidate: none always follows the same neighbour's heat.
        for offset in 0..candidates.len() {
            let index = (offset + round) % candidates.len();
            match turn(round as u32 + 1, &candidates[index])? {
                Some(one) => all[index].push(one),
                None => return Ok(all),
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::ServerSpec;
    use std::net::SocketAddr;

    fn candidates(names: &[&str]) -> Vec<Candidate> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let one = |name: &&str| Candidate {
            name: (*name).to_owned(),
            server: ServerSpec::new("true"),
            addr,
            access_log: None,
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn every_round_starts_with_another() {
        let mut order = String::new();
        let all = interleaved(3, &candidates(&["a", "b", "c"]), |round, candidate| {
            order.push_str(&candidate.name);
            Ok(Some(round))
        });
        assert_eq!(order, "abcbcacab");
        assert_eq!(all.unwrap(), vec![vec![1, 2, 3]; 3]);
    }

    #[test]
    fn a_turn_that_yields_nothing_ends_it_with_what_there_is() {
        let mut turns = 0;
        let all = interleaved(9, &candidates(&["a", "b"]), |_, _| {
            turns += 1;
            Ok((turns < 4).then_some(turns))
        });
        assert_eq!(all.unwrap(), vec![vec![1], vec![2, 3]]);
    }
}
