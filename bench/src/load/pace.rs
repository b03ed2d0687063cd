//! How long a generator thread may sleep before the next thing by the clock. Pure.
//!
//! A sleep ends late by what the kernel needs to wake a thread. So an open loop wakes up earlier by a margin, learnt from
//! its own late wake-ups, and spins for the rest; a closed loop never spins.

use std::time::Duration;

/// Bounds of the margin, nanoseconds: below the first a wake-up is never that quick, and beyond the second the
/// machine is at fault, which the schedule lag then shows.
const MARGIN_MIN: u64 = 20_000;
const MARGIN_MAX: u64 = 200_000;
/// The margin shrinks by this part of the difference with each wake-up that was earlier, and grows at once.
const SHRINK: u64 = 128;

/// A wait that was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Zero: spin.
    pub(crate) length: Duration,
    /// When it should end by itself, nanoseconds of the clock.
    pub(crate) until: u64,
}

/// Decides on waits, and learns the margin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    margin: u64,
}

impl Pacer {
    pub(crate) const fn new() -> Self {
        Self { margin: MARGIN_MAX / 2 }
    }

    /// The wait until `arrival` less the margin, or until `other`, whichever comes first.
    pub(crate) fn wait(&self, now: u64, arrival: Option<u64>, other: u64) -> Wait {
        let until = arrival.map_or(other, |at| at.saturating_sub(self.margin).min(other));
        Wait { length: Duration::from_nanos(until.saturating_sub(now)), until }
    }

    /// A sleep ended by itself, at `woke`.
    pub(crate) fn learn(&mut self, wait: Wait, woke: u64) {
        let late = woke.saturating_sub(wait.until);
        // A quarter more than the last one, so that most wake-ups come in time.
        let wanted = late + late / 4;
        self.margin =
            if wanted > self.margin { wanted } else { self.margin - (self.margin - wanted) / SHRINK };
        self.margin = self.margin.clamp(MARGIN_MIN, MARGIN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_end_a_margin_before_an_arrival_and_then_it_spins() {
        let pacer = Pacer::new();
        let wait = pacer.wait(1_000_000, Some(2_000_000), 9_000_000);
        assert_eq!((wait.length, wait.until), (Duration::from_nanos(900_000), 1_900_000));
        assert_eq!(pacer.wait(1_950_000, Some(2_000_000), 9_000_000).length, Duration::ZERO);
        assert_eq!(pacer.wait(1_000_000, None, 1_500_000).until, 1_500_000);
    }

    #[test]
    fn the_margin_follows_the_wake_ups_within_its_bounds() {
        let mut pacer = Pacer::new();
        let wait = Wait { length: Duration::from_nanos(1), until: 1_000_000 };
        pacer.learn(wait, 1_120_000);
        assert_eq!(pacer.margin, 150_000);
        pacer.learn(wait, 9_000_000);
        assert_eq!(pacer.margin, MARGIN_MAX);
        for _ in 0..2_000 {
            pacer.learn(wait, 1_004_000);
        }
        assert_eq!(pacer.margin, MARGIN_MIN);
    }
}
