//! Who waits for a connection of one pool: first in, first out, and what each was granted until it takes it.
//!
//! Places are reused, so that waiting allocates nothing. Never decides who is granted what.

use std::collections::VecDeque;
use std::time::Duration;

use erlmcp_ring::{SendList, TaskRef};

use super::pool::Sent;
use crate::transport::Transport;

/// A request that is whole: whoever has a connection for it can send it.
pub(crate) struct Parcel {
    pub(crate) list: SendList,
    /// How long its reply may take to begin.
    pub(crate) patience: Duration,
}

/// One who waits.
pub(crate) struct Waiter {
    pub(crate) task: TaskRef,
    /// Whether only a new connection will do.
    pub(crate) fresh: bool,
    pub(crate) parcel: Option<Parcel>,
}

/// What one who waited gets.
pub(crate) enum Grant {
    /// A connection that was just given back, exchanges that it has served, and whether the request is on it.
    Conn { conn: Transport, served: u32, sent: Option<Sent> },
    /// Room for a new connection, and the request back.
    Room(Option<SendList>),
}

/// Names a place from [`Line::join`] until what was granted is taken, or the place is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

enum Slot {
    Free,
    Waits(Waiter),
    Granted(Grant),
}

/// The line before one pool.
#[derive(Default)]
pub(crate) struct Line {
    slots: Vec<Slot>,
    free: Vec<Place>,
    waiting: VecDeque<Place>,
}

impl Line {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits, nor has something to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(crate) fn join(&mut self, waiter: Waiter) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            // The line is bounded by a number of 32 bits.
            Place((self.slots.len() - 1) as u32)
        });
        self.slots[place.0 as usize] = Slot::Waits(waiter);
        self.waiting.push_back(place);
        place
    }

    /// Takes the first out of the line; [`Line::grant`] follows.
    pub(crate) fn next(&mut self) -> Option<(Place, Waiter)> {
        let place = self.waiting.pop_front()?;
        match std::mem::replace(&mut self.slots[place.0 as usize], Slot::Free) {
            Slot::Waits(waiter) => Some((place, waiter)),
            Slot::Free | Slot::Granted(_) => unreachable!("whoever is in the line waits"),
        }
    }

    pub(crate) fn grant(&mut self, place: Place, grant: Grant) {
        self.slots[place.0 as usize] = Slot::Granted(grant);
    }

    /// What was granted, once it is; the place is free then.
    pub(crate) fn take(&mut self, place: Place) -> Option<Grant> {
        let slot = &mut self.slots[place.0 as usize];
        if !matches!(slot, Slot::Granted(_)) {
            return None;
        }
        let Slot::Granted(grant) = std::mem::replace(slot, Slot::Free) else { return None };
        self.free.push(place);
        Some(grant)
    }

    /// Leaves the line. What was granted already is given back.
    pub(crate) fn leave(&mut self, place: Place) -> Option<Grant> {
        let granted = self.take(place);
        if granted.is_none() {
            self.waiting.retain(|one| *one != place);
            self.slots[place.0 as usize] = Slot::Free;
            self.free.push(place);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(fresh: bool) -> Waiter {
        Waiter { task: TaskRef::default(), fresh, parcel: None }
    }

    #[test]
    fn the_first_in_is_the_first_out_and_places_are_used_again() {
        let mut line = Line::default();
        let places: Vec<Place> = (0..3).map(|n| line.join(waiter(n == 2))).collect();
        assert!(line.leave(places[1]).is_none());
        assert_eq!(line.len(), 2);
        let (first, _) = line.next().unwrap();
        assert_eq!(first, places[0]);
        assert!(line.take(first).is_none(), "nothing is granted yet");
        line.grant(first, Grant::Room(None));
        let again = line.join(waiter(false));
        assert_eq!(again, places[1], "the place that was left");
        assert!(matches!(line.take(first), Some(Grant::Room(None))));
        let (third, waits) = line.next().unwrap();
        assert!(third == places[2] && waits.fresh);
        line.grant(third, Grant::Room(None));
        assert!(!line.is_empty());
        assert!(line.leave(third).is_some(), "what was granted comes back");
        assert!(line.leave(again).is_none());
        assert!(line.is_empty() && line.next().is_none());
        assert_eq!(line.slots.len(), 3);
    }
}
