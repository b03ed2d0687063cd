//! A hierarchical timer wheel: six levels of 64 slots over ticks of a millisecond, intrusive lists in a slab.
//!
//! Never fires early. A timer lies in the level of the highest bit in which its tick differs from the
//! elapsed one (Varghese and Lauck 1987, as tokio lays it out). Makes no system call, reads no clock.

use crate::slab::{Key, Slab};

/// Nanoseconds of a tick.
pub(crate) const TICK_NANOS: u64 = 1_000_000;
const BITS: u32 = 6;
const SLOTS: usize = 64;
const LEVELS: usize = 6;
/// The list of timers that are due, behind the lists of all slots.
const DUE: usize = LEVELS * SLOTS;
/// Ticks that the levels span.
const SPAN: u64 = 1 << (BITS as usize * LEVELS);
/// Timers further away wait in the top level's last slot and are sorted again from there.
const FAR: u64 = (SLOTS as u64 - 1) << (BITS as usize * (LEVELS - 1));
const NONE: u32 = u32::MAX;

struct Timer<P> {
    tick: u64,
    prev: u32,
    next: u32,
    list: u16,
    payload: P,
}

pub(crate) struct Wheel<P> {
    elapsed: u64,
    timers: Slab<Timer<P>>,
    heads: Box<[u32]>,
    occupied: [u64; LEVELS],
    /// A tick before which nothing happens, `u64::MAX` when empty: the cheap test of every turn.
    next: u64,
}

/// The tick at which a timer for `nanos` may fire: the next whole one.
pub(crate) const fn tick_of(nanos: u64) -> u64 {
    nanos.div_ceil(TICK_NANOS)
}

impl<P: Copy> Wheel<P> {
    pub(crate) fn new(now_tick: u64) -> Self {
        Self {
            elapsed: now_tick,
            timers: Slab::new(),
            heads: vec![NONE; DUE + 1].into_boxed_slice(),
            occupied: [0; LEVELS],
            next: u64::MAX,
        }
    }

    fn list_for(&self, tick: u64) -> usize {
        if tick <= self.elapsed {
            return DUE;
        }
        let tick = tick.min(self.elapsed.saturating_add(FAR));
        let differs = ((self.elapsed ^ tick) | (SLOTS as u64 - 1)).min(SPAN - 1);
        let level = (63 - differs.leading_zeros()) / BITS;
        let slot = (tick >> (level * BITS)) & (SLOTS as u64 - 1);
        level as usize * SLOTS + slot as usize
    }

    fn link(&mut self, index: u32) {
        let Some(tick) = self.timers.at_mut(index).map(|t| t.tick) else { return };
        let list = self.list_for(tick);
        let head = std::mem::replace(&mut self.heads[list], index);
        if let Some(timer) = self.timers.at_mut(index) {
            (timer.prev, timer.next, timer.list) = (NONE, head, list as u16);
        }
        if let Some(after) = self.timers.at_mut(head) {
            after.prev = index;
        }
        if list < DUE {
            self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some((prev, next, list)) =
            self.timers.at_mut(index).map(|t| (t.prev, t.next, usize::from(t.list)))
        else {
            return;
        };
        match self.timers.at_mut(prev) {
            Some(before) => before.next = next,
            None => self.heads[list] = next,
        }
        if let Some(after) = self.timers.at_mut(next) {
            after.prev = prev;
        }
        if list < DUE && self.heads[list] == NONE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    pub(crate) fn insert(&mut self, tick: u64, payload: P) -> Key {
        let key = self.timers.insert(Timer { tick, prev: NONE, next: NONE, list: 0, payload });
        self.link(key.index);
        self.next = self.next.min(tick);
        key
    }

    /// Forgets a timer; one that has fired already is forgotten anyway.
    pub(crate) fn remove(&mut self, key: Key) {
        if self.timers.get(key).is_some() {
            self.unlink(key.index);
            self.timers.remove(key);
        }
    }

    /// The level, slot and tick of the earliest occupied slot.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let shift = level as u32 * BITS;
        let now_slot = ((self.elapsed >> shift) & (SLOTS as u64 - 1)) as u32;
        let distance = self.occupied[level].rotate_right(now_slot).trailing_zeros();
        let slot = (now_slot + distance) as usize % SLOTS;
        let range = 1u64 << (shift + BITS);
        let mut tick = (self.elapsed & !(range - 1)) + ((slot as u64) << shift);
        if tick <= self.elapsed {
            tick += range;
        }
        Some((level, slot, tick))
    }

    /// No timer fires before this tick; `None` when there is none at all.
    pub(crate) fn next_tick(&mut self) -> Option<u64> {
        if self.heads[DUE] != NONE {
            return Some(self.elapsed);
        }
        let next = self.next_slot().map(|(_, _, tick)| tick);
        self.next = next.unwrap_or(u64::MAX);
        next
    }

    /// Takes one timer that is due at `now_tick`.
    pub(crate) fn pop(&mut self, now_tick: u64) -> Option<P> {
        if now_tick < self.next {
            return None;
        }
        loop {
            let due = self.heads[DUE];
            if due != NONE {
                self.unlink(due);
                let key = self.timers.key_at(due)?;
                return self.timers.remove(key).map(|timer| timer.payload);
            }
            match self.next_slot() {
                Some((level, slot, tick)) if tick <= now_tick => {
                    self.elapsed = tick;
                    self.spread(level * SLOTS + slot);
                }
                next => {
                    self.elapsed = self.elapsed.max(now_tick);
                    self.next = next.map_or(u64::MAX, |(_, _, tick)| tick);
                    return None;
                }
            }
        }
    }

    /// Sorts a slot's timers anew, now that its time has come.
    fn spread(&mut self, list: usize) {
        let mut index = std::mem::replace(&mut self.heads[list], NONE);
        self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        while index != NONE {
            let next = self.timers.at_mut(index).map_or(NONE, |timer| timer.next);
            self.link(index);
            index = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn fires_everything_once_in_time(
            start in 0u64..1 << 40,
            ops in prop::collection::vec((0u8..4, 0u64..1 << 38, 0u32..40), 1..200),
        ) {
            let mut wheel = Wheel::new(start);
            let mut now = start;
            let mut model: BTreeMap<u32, (Key, u64)> = BTreeMap::new();
            for (n, (op, far, shift)) in ops.into_iter().enumerate() {
                let delta = far >> shift;
                match op {
                    0 | 1 => {
                        let tick = now.saturating_sub(3) + delta;
                        model.insert(n as u32, (wheel.insert(tick, n as u32), tick));
                    }
                    2 => if let Some((id, (key, _))) = model.pop_first() {
                        wheel.remove(key);
                        prop_assert!(!model.contains_key(&id));
                    },
                    _ => {
                        if let Some(next) = wheel.next_tick() {
                            let earliest = model.values().map(|(_, t)| *t).min().expect("some");
                            prop_assert!(next <= earliest.max(now));
                        }
                        now += delta;
                        while let Some(id) = wheel.pop(now) {
                            let (_, tick) = model.remove(&id).expect("fires once");
                            prop_assert!(tick <= now);
                        }
                        prop_assert!(model.values().all(|(_, tick)| *tick > now));
                    }
                }
                prop_assert_eq!(wheel.timers.len() as usize, model.len());
            }
        }
    }
}
