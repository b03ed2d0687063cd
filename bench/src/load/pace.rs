//! How long a generator thread may sleep before the next thing by the clock. Pure.
//!
//! A sleep ends late by what the kernel needs to wake a thread. So an open loop wakes up earlier by a margin, learnt from
//! its own late wake-ups, and spins for the rest. It also spins for a moment after each send: a quick reply that had to wake
//! the thread would be measured with that wake-up, and would be half again as slow as it is. A closed loop never spins.

use std::time::Duration;

/// Bounds of the margin, nanoseconds: below the first a wake-up is never that quick, and beyond the second the
/// machine is at fault, which the schedule lag then shows.
const MARGIN_MIN: u64 = 20_000;
const MARGIN_MAX: u64 = 200_000;
/// Steps of the margin, nanoseconds: up with each wake-up that was later than it, down with each that was not. It settles
/// where one of a hundred is later (quantile estimation by stochastic approximation, Robbins and Monro).
const STEP_UP: u64 = 4_950;
const STEP_DOWN: u64 = 50;

/// After a send, the reply is looked for so long before the thread sleeps, nanoseconds: about a round trip on the
/// loopback and a wake-up.
const REPLY_SPIN: u64 = 50_000;

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

    /// The wait until `arrival` less the margin, or until `other`, whichever comes first; none so soon after the last
    /// send that is `awaited`.
    pub(crate) fn wait(&self, now: u64, arrival: Option<u64>, other: u64, awaited: Option<u64>) -> Wait {
        if awaited.is_some_and(|sent| now < sent.saturating_add(REPLY_SPIN)) {
            return Wait { length: Duration::ZERO, until: now };
        }
        let until = arrival.map_or(other, |at| at.saturating_sub(self.margin).min(other));
        Wait { length: Duration::from_nanos(until.saturating_sub(now)), until }
    }

    /// A sleep ended by itself, at `woke`.
    pub(crate) fn learn(&mut self, wait: Wait, woke: u64) {
        let late = woke.saturating_sub(wait.until);
        if late > self.margin {
            self.margin += STEP_UP;
        } else {
            self.margin -= STEP_DOWN;
        }
        self.margin = self.margin.clamp(MARGIN_MIN, MARGIN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_end_a_margin_before_an_arrival_and_then_it_spins() {
        let pacer = Pacer::new();
        let wait = pacer.wait(1_000_000, Some(2_000_000), 9_000_000, None);
        assert_eq!((wait.length, wait.until), (Duration::from_nanos(900_000), 1_900_000));
        assert_eq!(pacer.wait(1_950_000, Some(2_000_000), 9_000_000, None).length, Duration::ZERO);
        assert_eq!(pacer.wait(1_000_000, None, 1_500_000, None).until, 1_500_000);
        // A reply may come at any moment.
        assert_eq!(pacer.wait(1_000_000, None, 9_000_000, Some(980_000)).length, Duration::ZERO);
        assert_eq!(pacer.wait(1_000_000, None, 9_000_000, Some(900_000)).until, 9_000_000);
    }

    #[test]
    fn the_margin_follows_the_wake_ups_within_its_bounds() {
        let mut pacer = Pacer::new();
        let wait = Wait { length: Duration::from_nanos(1), until: 1_000_000 };
        // One outlier does not make it spin for long.
        pacer.learn(wait, 9_000_000);
        assert_eq!(pacer.margin, MARGIN_MAX / 2 + STEP_UP);
        for _ in 0..100 {
            pacer.learn(wait, 9_000_000);
        }
        assert_eq!(pacer.margin, MARGIN_MAX);
        for _ in 0..10_000 {
            pacer.learn(wait, 1_004_000);
        }
        assert_eq!(pacer.margin, MARGIN_MIN);
    }

    #[test]
    fn one_wake_up_of_a_hundred_is_later_than_the_margin() {
        let (mut pacer, mut rng) = (Pacer::new(), super::super::draw::Rng::new(1, 1));
        let wait = Wait { length: Duration::from_nanos(1), until: 0 };
        let mut later = 0;
        for n in 0..40_000 {
            let woke = rng.below(150_000);
            later += u32::from(n >= 20_000 && woke > pacer.margin);
            pacer.learn(wait, woke);
        }
        assert!((120..280).contains(&later), "{later}");
    }
}
