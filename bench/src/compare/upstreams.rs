//! The fixed-reply servers behind every proxy.
//!
//! Owns their processes until it is dropped, and the processors that they run on.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::CompareError;
use super::placement;
use super::plan::Plan;
use crate::child::{Server, ServerSpec};
use crate::ports::free_addr;

/// Behind every proxy.
const UPSTREAMS: usize = 2;
/// From an upstream's start until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The running servers.
pub(super) struct Upstreams {
    servers: Vec<Server>,
    addrs: Vec<SocketAddr>,
}

impl Upstreams {
    /// Starts them where the plan wants them while CPU is counted.
    pub(super) fn start(plan: &Plan) -> Result<Self, CompareError> {
        let program = plan.programs.hello.as_ref().ok_or(CompareError::NoUpstream)?;
        let mut upstreams = Self { servers: Vec::new(), addrs: Vec::new() };
        for number in 0..UPSTREAMS {
            let addr = free_addr();
            let addr = addr.map_err(|cause| CompareError::Folder { folder: plan.folder.clone(), cause })?;
            let failed = |cause| CompareError::Server { name: "hello".into(), cause };
            let spec = ServerSpec::new(&program.file).args(&program.args).arg(addr.to_string());
            let mut server = spec.start(plan.folder.join(format!("hello{number}.log"))).map_err(failed)?;
            server.wait_for_port(addr, START_LIMIT).map_err(failed)?;
            upstreams.servers.push(server);
            upstreams.addrs.push(addr);
        }
        upstreams.move_to(&plan.placement.upstreams)?;
        Ok(upstreams)
    }

    /// Where they listen.
    pub(super) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Each to the next of these processors, in turn. They have one thread each.
    pub(super) fn move_to(&self, cpus: &[usize]) -> Result<(), CompareError> {
        for (server, &cpu) in self.servers.iter().zip(cpus.iter().cycle()) {
            placement::confine(server.pid(), cpu).map_err(|cause| CompareError::Processor { cpu, cause })?;
        }
        Ok(())
    }
}
