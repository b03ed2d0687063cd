//! Which shard a new connection lives on, decided before its first byte is read.
//!
//! MCP connections are few and long-lived: whatever shard the kernel happened to wake may already carry more
//! than its share. A shard that is above the least loaded one by more than a bound hands the socket over.

use std::sync::Arc;

use erlmcp_ring::{Accepted, lane};

use crate::link::{ListenerId, ShardPage};

/// How far a shard's load may be above the least loaded one's before it hands new connections over. A smaller
/// bound moves sockets for nothing when connections are short; a larger one leaves shards uneven when they stay.
const LOAD_ABOVE_MIN_MAX: u64 = 2;

/// A connection on its way to the shard where it will live.
pub(crate) struct Arrival {
    pub(crate) listener: ListenerId,
    pub(crate) accepted: Accepted,
}

/// One shard's view of the others.
pub(crate) struct Placement {
    own: usize,
    pages: Vec<Arc<ShardPage>>,
    /// Lanes to the other shards, `None` at our own place.
    out: Vec<Option<lane::Sender<Arrival>>>,
    /// Lanes from the other shards.
    pub(crate) arrivals: Vec<lane::Receiver<Arrival>>,
}

impl Placement {
    /// One lane for each ordered pair of shards.
    pub(crate) fn mesh(pages: &[Arc<ShardPage>], capacity: usize) -> Vec<Self> {
        let count = pages.len();
        let mut all: Vec<Self> = (0..count)
            .map(|own| Self {
                own,
                pages: pages.to_vec(),
                out: Vec::with_capacity(count),
                arrivals: Vec::new(),
            })
            .collect();
        for from in 0..count {
            for to in 0..count {
                if from == to {
                    all[from].out.push(None);
                    continue;
                }
                let (sender, receiver) = lane::channel(capacity);
                all[from].out.push(Some(sender));
                all[to].arrivals.push(receiver);
            }
        }
        all
    }

    /// Hands the connection to a clearly less loaded shard, or gives it back to live here.
    pub(crate) fn place(&self, arrival: Arrival) -> Option<Arrival> {
        let Some((target, least)) =
            self.pages.iter().map(|page| page.load.get()).enumerate().min_by_key(|(_, load)| *load)
        else {
            return Some(arrival);
        };
        let page = &self.pages[self.own];
        if page.load.get() <= least + LOAD_ABOVE_MIN_MAX || self.pages[target].draining.get() != 0 {
            return Some(arrival);
        }
        let Some(Some(lane)) = self.out.get(target) else { return Some(arrival) };
        match lane.try_send(arrival) {
            Ok(()) => {
                page.handed_over.add(1);
                None
            }
            Err(full) => {
                page.handover_full.add(1);
                Some(full.0)
            }
        }
    }
}
