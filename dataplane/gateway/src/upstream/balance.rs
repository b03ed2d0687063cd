//! Which node of a group takes a request. Pure but for the shard's turn counter and its randomness.
//!
//! Load is what all shards together have under way at a node, streams included: each shard writes its own
//! slot, readers sum.

use crate::link::ids::EndpointId;
use crate::link::snapshot::{Endpoint, Group, NodeStatus, Strategy};
use crate::state::State;

/// Up to so many nodes the least loaded one is searched among all of them; above, among [`DRAWN`] at random:
/// the search must not cost more than the request.
const SCANNED_MAX: usize = 64;
/// Nodes drawn in larger groups.
const DRAWN: usize = 8;

/// Nodes that one request has tried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried {
    ids: [Option<EndpointId>; Self::MAX],
    count: usize,
}

impl Tried {
    /// Nodes that a request may try, the first included.
    pub(crate) const MAX: usize = 3;

    /// Notes a node. Returns whether another may be tried after it.
    pub(crate) fn add(&mut self, id: EndpointId) -> bool {
        if let Some(slot) = self.ids.get_mut(self.count) {
            *slot = Some(id);
            self.count += 1;
        }
        self.count < Self::MAX
    }

    fn contains(&self, id: EndpointId) -> bool {
        self.ids[..self.count].contains(&Some(id))
    }
}

/// Picks a node, or `None` when no untried one is fit. Standby nodes serve when no active one does.
pub(crate) fn pick<'s>(state: &State, group: &'s Group, tried: &Tried) -> Option<&'s Endpoint> {
    let serves = |status: NodeStatus| {
        move |one: &&Endpoint| one.healthy && one.status == status && !tried.contains(one.id)
    };
    pick_among(state, group, serves(NodeStatus::Active))
        .or_else(|| pick_among(state, group, serves(NodeStatus::Standby)))
}

fn pick_among<'s>(state: &State, group: &'s Group, fit: impl Fn(&&Endpoint) -> bool) -> Option<&'s Endpoint> {
    match group.strategy {
        Strategy::RoundRobin => weighted_turn(state, group, fit),
        Strategy::RandomOfTwo => least_of_drawn(state, group, fit, 2),
        Strategy::LeastConnections if group.endpoints.len() > SCANNED_MAX => {
            least_of_drawn(state, group, fit, DRAWN)
        }
        Strategy::LeastConnections => least_of_all(state, group, fit),
    }
}

/// Exchanges and streams under way at a node, over all shards.
pub(crate) fn load(state: &State, id: EndpointId) -> u64 {
    state.pages.iter().map(|page| page.endpoint(id).active.get()).sum()
}

/// Whether `a` with its load is the better choice than `b`: less load per weight.
fn is_lighter(a: (u64, &Endpoint), b: (u64, &Endpoint)) -> bool {
    // The request itself counts, so that an idle heavy node comes before an idle light one.
    (u128::from(a.0) + 1) * u128::from(b.1.weight) < (u128::from(b.0) + 1) * u128::from(a.1.weight)
}

fn next_turn(state: &State) -> u32 {
    let turn = state.turn.get();
    state.turn.set(turn.wrapping_add(1));
    turn
}

fn least_of_all<'s>(
    state: &State,
    group: &'s Group,
    fit: impl Fn(&&Endpoint) -> bool,
) -> Option<&'s Endpoint> {
    let count = group.endpoints.len();
    if count == 0 {
        return None;
    }
    // Starting elsewhere each time spreads ties.
    let start = next_turn(state) as usize % count;
    let (skipped, first) = group.endpoints.split_at(start);
    let mut best: Option<(u64, &Endpoint)> = None;
    for part in [first, skipped] {
        for one in part.iter().filter(&fit) {
            let candidate = (load(state, one.id), one);
            if best.is_none_or(|best| is_lighter(candidate, best)) {
                best = Some(candidate);
            }
        }
    }
    best.map(|(_, one)| one)
}

/// The lightest of `draws` nodes drawn by weight (Mitzenmacher, The Power of Two Choices, 2001).
fn least_of_drawn<'s>(
    state: &State,
    group: &'s Group,
    fit: impl Fn(&&Endpoint) -> bool,
    draws: usize,
) -> Option<&'s Endpoint> {
    let total: u64 = group.endpoints.iter().filter(&fit).map(|one| u64::from(one.weight)).sum();
    let mut best: Option<(u64, &Endpoint)> = None;
    for _ in 0..draws.min(group.endpoints.len()) {
        let one = at_weight(group, &fit, state.ring.rng().checked_rem(total)?)?;
        let candidate = (load(state, one.id), one);
        if best.is_none_or(|best| is_lighter(candidate, best)) {
            best = Some(candidate);
        }
    }
    best.map(|(_, one)| one)
}

/// In turn by weight. The turn is spread by a golden-ratio step, so that a heavy node's turns do not come in a row.
fn weighted_turn<'s>(
    state: &State,
    group: &'s Group,
    fit: impl Fn(&&Endpoint) -> bool,
) -> Option<&'s Endpoint> {
    let fits = || group.endpoints.iter().filter(&fit);
    let total: u64 = fits().map(|one| u64::from(one.weight)).sum();
    let turn = next_turn(state);
    let first = fits().next()?.weight;
    if fits().all(|one| one.weight == first) {
        return fits().nth(turn as usize % fits().count().max(1));
    }
    const GOLDEN: u32 = 0x9E37_79B9;
    let at = (u64::from(turn.wrapping_mul(GOLDEN)) * total) >> 32;
    at_weight(group, &fit, at)
}

/// The node in whose share of the summed weights `at` falls.
fn at_weight(group: &Group, fit: impl Fn(&&Endpoint) -> bool, at: u64) -> Option<&Endpoint> {
    let mut left = at;
    for one in group.endpoints.iter().filter(fit) {
        if left < u64::from(one.weight) {
            return Some(one);
        }
        left -= u64::from(one.weight);
    }
    None
}
