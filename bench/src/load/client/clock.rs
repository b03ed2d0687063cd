//! When the events of a stream came: time to the first, gaps, stalls.

use std::time::Duration;

use erlmcp_ring::Time;

use crate::load::outcome::StreamOutcome;
use crate::load::seat::Seat;

/// The clock of one stream. Without [`Self::stall`] no gap is a stall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventClock {
    sent: Time,
    /// When the latest event came.
    latest: Option<Time>,
    stall: Option<Duration>,
}

impl EventClock {
    /// A stream whose request was sent at `sent` has begun.
    pub(crate) fn begin(seat: &Seat, sent: Time, stall: Option<Duration>) -> Self {
        seat.streams(|streams| streams.streams += 1);
        Self { sent, latest: None, stall }
    }

    /// So many events came together, now. The gap is in front of the first of them; the others have none.
    pub(crate) fn heard(&mut self, seat: &Seat, events: u32) {
        if events > 0 {
            let now = seat.now();
            seat.streams(|streams| self.record(streams, now, events));
        }
    }

    /// The stream was ended now, by the client: a silence since the latest event may be a stall that has not ended.
    pub(crate) fn ended(&self, seat: &Seat) {
        if let Some(latest) = self.latest
            && self.is_stall(seat.now().as_nanos().saturating_sub(latest.as_nanos()))
        {
            seat.streams(|streams| streams.stalls += 1);
        }
    }

    fn record(&mut self, streams: &mut StreamOutcome, now: Time, events: u32) {
        let since = |then: Time| now.as_nanos().saturating_sub(then.as_nanos());
        match self.latest.replace(now) {
            None => streams.first_event.saturating_record(since(self.sent)),
            Some(latest) => {
                streams.gap.saturating_record(since(latest));
                streams.stalls += u64::from(self.is_stall(since(latest)));
            }
        }
        for _ in 1..events {
            streams.gap.saturating_record(0);
        }
        streams.events += u64::from(events);
    }

    fn is_stall(&self, nanos: u64) -> bool {
        self.stall.is_some_and(|stall| u128::from(nanos) > stall.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::outcome::new_histogram;

    #[test]
    fn events_gaps_and_stalls_are_told_apart() {
        let mut streams = StreamOutcome {
            streams: 0,
            events: 0,
            stalls: 0,
            first_event: new_histogram(),
            gap: new_histogram(),
        };
        let at = Time::from_nanos;
        let mut clock =
            EventClock { sent: at(1_000_000), latest: None, stall: Some(Duration::from_millis(5)) };
        for (now, events) in [(3_000_000, 1), (8_000_000, 1), (13_000_001, 3)] {
            clock.record(&mut streams, at(now), events);
        }
        assert_eq!((streams.events, streams.stalls), (5, 1), "a gap as long as the bound is none");
        assert_eq!((streams.first_event.len(), streams.gap.len()), (1, 4));
        assert!(streams.first_event.equivalent(streams.first_event.max(), 2_000_000));
        assert!(streams.gap.equivalent(streams.gap.max(), 5_000_001));
        clock.stall = None;
        clock.record(&mut streams, at(900_000_000), 1);
        assert_eq!(streams.stalls, 1);
    }
}
