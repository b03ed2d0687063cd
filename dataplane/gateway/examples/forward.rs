//! The data plane alone, without a control plane: for measuring and profiling the hot path.
//!
//! usage: forward LISTEN UPSTREAM... [epoll]; one shard, pool cap 32 per upstream, access log on and thrown away.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use erlmcp_dataplane::link::ListenerId;
use erlmcp_dataplane::{DataPlane, Setup};
use erlmcp_ring::{DriverChoice, ShardConfig, probe};

#[path = "../tests/it/common/snapshot.rs"]
mod snapshot;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let choice = match args.last().map(String::as_str) {
        Some("epoll") => {
            args.pop();
            DriverChoice::Epoll
        }
        _ => DriverChoice::IoUring,
    };
    let ring = ShardConfig::default();
    let nodes: Vec<_> = args[1..].iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let mut plane = DataPlane::start(Setup {
        cpus: vec![None],
        chosen: probe::choose(choice, &ring)?,
        ring,
        listeners: vec![(ListenerId(0), TcpListener::bind(&args[0])?.into())],
        snapshot: Arc::new(snapshot::of_nodes(&nodes)),
    })?;
    let mut feeds = plane.take_access();
    loop {
        for feed in &mut feeds {
            while let Ok(mut batch) = feed.full.try_recv() {
                batch.clear();
                feed.empty.try_send(batch).map_err(|_| "the lane has room for every batch")?;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
