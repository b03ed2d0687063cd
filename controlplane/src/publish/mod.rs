//! Wishes, addresses, health and the operator's word into snapshots, and those into the shards.
//!
//! Owns the revision and the slots of endpoints. Never publishes what equals the last snapshot, and never waits for a
//! shard: a full lane gets the same snapshot again a little later.

mod build;
mod names;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use erlmcp_dataplane::link::Snapshot;
use erlmcp_dataplane::link::snapshot::NodeStatus;

use crate::control::{Control, Phase};
use crate::endpoints::{self, EndpointKey, Slots};
use crate::health::Status;
use crate::supervise::lock;

pub use build::{Inputs, build};
pub use names::NameBook;

#[cfg(test)]
pub(crate) use build::tests as build_tests;

/// Until a shard whose lane was full is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(20);

/// What has been published.
pub struct Publisher(Mutex<State>);

struct State {
    slots: Slots,
    snapshot: Arc<Snapshot>,
    names: Arc<NameBook>,
    /// What `snapshot` was built from, for the comparison.
    inputs: Option<Inputs>,
    /// Whether a shard may lack `snapshot`.
    lagging: bool,
}

impl Publisher {
    /// Nothing yet: a first snapshot comes with [`Publisher::refresh`].
    pub fn new(identity: erlmcp_dataplane::link::snapshot::Identity) -> Self {
        let snapshot = Snapshot {
            revision: 0,
            listeners: Vec::new(),
            routes: Vec::new(),
            groups: Vec::new(),
            identity,
            ready: false,
            started: false,
        };
        Self(Mutex::new(State {
            slots: Slots::default(),
            snapshot: Arc::new(snapshot),
            names: Arc::default(),
            inputs: None,
            lagging: false,
        }))
    }

    /// The last snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.0).snapshot)
    }

    /// Names of all snapshots that an access record may still speak of.
    pub fn names(&self) -> Arc<NameBook> {
        Arc::clone(&lock(&self.0).names)
    }

    /// Builds anew from what `control` knows now, and publishes when that differs from the last. True when a shard
    /// could not take it yet.
    pub fn refresh(&self, control: &Control) -> bool {
        let mut state = lock(&self.0);
        let (inputs, dropped) = gather(control, &mut state.slots);
        if state.inputs.as_ref() != Some(&inputs) {
            let revision = state.snapshot.revision + 1;
            let snapshot = Arc::new(build(&inputs, revision));
            if dropped > 0 {
                tracing::error!(
                    dropped,
                    "too many endpoints: some get no traffic; use fewer nodes per gateway"
                );
            }
            tracing::debug!(revision, endpoints = inputs.endpoints.len(), "publishing a snapshot");
            // Before the shards have it: a record must never come before its names.
            state.names = Arc::new(state.names.with(&snapshot));
            (state.snapshot, state.inputs, state.lagging) = (snapshot, Some(inputs), true);
        }
        if state.lagging
            && let Some(plane) = control.plane()
        {
            state.lagging = plane.publish(&state.snapshot) > 0;
        }
        state.lagging
    }
}

/// Collects the inputs; says how many endpoints found no slot.
fn gather(control: &Control, slots: &mut Slots) -> (Inputs, usize) {
    let (desired, known) = (control.desired.borrow().clone(), control.addresses.borrow().clone());
    let operator = control.operator.borrow().clone();
    let live: std::collections::HashSet<EndpointKey> =
        endpoints::all(&desired, &known).map(|(_, _, key)| key).collect();
    slots.keep(|key| live.contains(key));
    let (mut found, mut dropped, mut unknown, mut any_fit) = (Vec::new(), 0, 0, false);
    for (_, node, key) in endpoints::all(&desired, &known) {
        let status = control.health.status(&key);
        unknown += usize::from(status == Status::Unknown);
        let word = operator.get(&node.name).copied().or(node.status);
        any_fit |= status != Status::Down && word != Some(NodeStatus::Drain);
        match slots.take(&key) {
            Some(id) => found.push((key, id, status != Status::Down)),
            None => dropped += 1,
        }
    }
    let started = control.note_started(unknown == 0);
    // Without a node that takes requests every answer would be a refusal: others had better get them.
    let ready = started && any_fit && *control.phase.borrow() == Phase::Serving;
    let shards = control.boot.cpus.len();
    (Inputs { desired, endpoints: found, operator, shards, ready, started }, dropped)
}

/// Publishes for as long as it runs.
pub async fn run(control: Arc<Control>) {
    loop {
        if control.publisher.refresh(&control) {
            control.counters.publish_retries.add(1);
            tokio::time::sleep(RETRY_WAIT).await;
        } else {
            control.dirty.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::NodeAt;

    #[test]
    fn ready_is_who_has_a_node_that_takes_requests() {
        let control = Control::for_tests();
        let published = || {
            control.publisher.refresh(&control);
            let snapshot = control.publisher.snapshot();
            (snapshot.started, snapshot.ready)
        };
        // The name of the one node is not resolved: there is nothing to wait for, and nobody to ask.
        assert_eq!(published(), (true, false));
        control.desired.send_modify(|desired| {
            Arc::make_mut(desired).groups[0].nodes[0].at = NodeAt::Inet("127.0.0.1:1".parse().unwrap());
        });
        assert_eq!(published(), (true, true), "fit until its first check says otherwise");
        control.set_node_status("n", NodeStatus::Drain).unwrap();
        assert_eq!(published(), (true, false));
        control.set_node_status("n", NodeStatus::Active).unwrap();
        assert_eq!(published(), (true, true));
        control.begin_drain();
        assert_eq!(published(), (true, false));
    }
}
