//! Which endpoints exist: nodes times their addresses, each with a slot that stays its own.
//!
//! Pure. Invariant: two endpoints that live at the same time never share a slot, and a slot changes hands only when
//! every other one has been used.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use erlmcp_dataplane::link::EndpointId;
use erlmcp_dataplane::link::ids::ENDPOINTS_MAX;
use erlmcp_ring::SockAddr;

use crate::desired::{Desired, GroupPlan, NodePlan};
use crate::discovery::Addresses;

/// What makes an endpoint the same one over reloads and new answers of DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey {
    /// Its group.
    pub group: String,
    /// Its node.
    pub node: String,
    /// One of the node's addresses.
    pub address: SockAddr,
}

/// The addresses of one node, as far as they are known.
pub fn addresses_of(node: &NodePlan, known: &Addresses) -> Vec<SockAddr> {
    const NONE: &[IpAddr] = &[];
    let resolved = node.at.host().and_then(|host| known.get(host)).map_or(NONE, |found| &found.addresses);
    node.at.addresses(resolved)
}

/// Every endpoint of every node that is not switched off, in the order of the configuration.
pub fn all<'a>(
    desired: &'a Desired,
    known: &'a Addresses,
) -> impl Iterator<Item = (&'a GroupPlan, &'a NodePlan, EndpointKey)> {
    desired.groups.iter().flat_map(move |group| {
        group.nodes.iter().filter(|node| node.status.is_some()).flat_map(move |node| {
            addresses_of(node, known).into_iter().map(move |address| {
                (group, node, EndpointKey { group: group.name.clone(), node: node.name.clone(), address })
            })
        })
    })
}

/// Who has which slot.
#[derive(Debug, Default)]
pub struct Slots {
    taken: HashMap<EndpointKey, EndpointId>,
    /// Slots never used: from here on.
    fresh: u16,
    /// Given back, longest ago first.
    free: VecDeque<EndpointId>,
}

impl Slots {
    /// The endpoint's slot, a new one if it has none; `None` when all are taken.
    pub fn take(&mut self, key: &EndpointKey) -> Option<EndpointId> {
        if let Some(id) = self.taken.get(key) {
            return Some(*id);
        }
        let id = if usize::from(self.fresh) < ENDPOINTS_MAX {
            self.fresh += 1;
            EndpointId(self.fresh - 1)
        } else {
            self.free.pop_front()?
        };
        self.taken.insert(key.clone(), id);
        Some(id)
    }

    /// Gives back the slots of all endpoints but these.
    pub fn keep(&mut self, live: impl Fn(&EndpointKey) -> bool) {
        let mut gone: Vec<_> = self.taken.extract_if(|key, _| !live(key)).map(|(_, id)| id).collect();
        gone.sort_unstable();
        self.free.extend(gone);
    }

    /// The slot of an endpoint that has one.
    pub fn get(&self, key: &EndpointKey) -> Option<EndpointId> {
        self.taken.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> EndpointKey {
        let address = SockAddr::Inet(([127, 0, 0, 1], port).into());
        EndpointKey { group: "g".into(), node: "n".into(), address }
    }

    #[test]
    fn a_slot_stays_and_is_reused_last() {
        let mut slots = Slots::default();
        assert_eq!(slots.take(&key(1)), Some(EndpointId(0)));
        assert_eq!(slots.take(&key(2)), Some(EndpointId(1)));
        assert_eq!(slots.take(&key(1)), Some(EndpointId(0)));
        slots.keep(|live| *live == key(2));
        assert_eq!(slots.take(&key(3)), Some(EndpointId(2)), "never-used slots first");
        for port in 4..=ENDPOINTS_MAX as u16 {
            assert_eq!(slots.take(&key(port)), Some(EndpointId(port - 1)));
        }
        assert_eq!(slots.take(&key(9999)), Some(EndpointId(0)), "the one that was given back");
        assert_eq!(slots.take(&key(9998)), None);
        assert_eq!(slots.get(&key(2)), Some(EndpointId(1)));
    }
}
