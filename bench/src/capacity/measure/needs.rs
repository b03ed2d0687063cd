//! From trials to what a request per second needs of a node.
//!
//! Owns that translation. Never guesses: what no trial shows is left out and told.

use super::{Ended, Work};
use crate::capacity::nodes::{self, Need, Resource};
use crate::capacity::plan::PlanError;
use crate::capacity::trial::ServerUse;

impl Work<'_> {
    /// Counts the nodes, where a peak was given.
    pub(super) fn nodes(&mut self) -> Result<(), Ended> {
        let Some(peak) = self.spec.peak else { return Ok(()) };
        let needs = self.needs();
        if needs.is_empty() {
            self.note("no number of nodes: no rate within the goals was found".to_owned());
            return Ok(());
        }
        self.plan.nodes = Some(nodes::plan(&peak, &needs).map_err(PlanError::from)?);
        Ok(())
    }

    /// What a request per second needs, as the trials at or nearest below the highest rate within the goals show.
    fn needs(&mut self) -> Vec<Need> {
        let Some(lower) = self.plan.all.lower_per_s else { return Vec::new() };
        let rate = self.plan.all.conditional_throughput_per_s.unwrap_or(lower);
        let mut needs = vec![Need::new(Resource::Rate, 1.0, rate)];
        let near = self.plan.steps.iter().rfind(|step| {
            step.is_evidence()
                && step.asked_per_s.is_some_and(|asked| asked <= lower * 1.001)
                && step.samples > 0
        });
        let Some(near) = near.cloned() else { return needs };
        let node = self.spec.node;
        if let Some(bandwidth) = node.bandwidth_bits_per_s {
            needs.push(Need::new(Resource::Bandwidth, near.bytes_per_request * 8.0, bandwidth));
        }
        if let Some(ports) = node.ports {
            // A proxy without a cap holds one upstream connection for each request under way (Little's law).
            needs.push(Need::new(
                Resource::Ports,
                near.response.map_or(0.0, |times| times.mean_ms) / 1e3,
                ports as f64,
            ));
        }
        match (near.server, self.idle) {
            (Some(server), Some(idle)) => needs.extend(self.process_needs(server, idle, near.achieved_per_s)),
            _ if node.cores.is_some() || node.memory_bytes.is_some() || node.descriptors.is_some() => {
                self.note(
                    "CPU, memory and descriptors of a node are not planned for: the server's process is not known here"
                        .to_owned(),
                );
            }
            _ => {}
        }
        needs
    }

    fn process_needs(&self, server: ServerUse, idle: (u64, u64), achieved: f64) -> Vec<Need> {
        let node = self.spec.node;
        let per_request_per_s = |busy: u64, idle: u64| busy.saturating_sub(idle) as f64 / achieved.max(1e-9);
        let cpu = node.cores.map(|cores| Need::new(Resource::Cpu, server.cpu_us_per_request / 1e6, cores));
        let descriptors = node.descriptors.filter(|_| server.descriptors > 0).map(|had| Need {
            node_base: idle.0 as f64,
            ..Need::new(Resource::Descriptors, per_request_per_s(server.descriptors, idle.0), had as f64)
        });
        let memory = node.memory_bytes.filter(|_| server.memory_bytes > 0).map(|had| Need {
            node_base: idle.1 as f64,
            ..Need::new(Resource::Memory, per_request_per_s(server.memory_bytes, idle.1), had as f64)
        });
        [cpu, descriptors, memory].into_iter().flatten().collect()
    }
}
