//! The state of a thread, driven by hand: who begins what, and what is counted of it.

use super::*;
use crate::load::record::Batch;
use crate::load::spec::{Arrivals, Spec};
use crate::load::tests::spec;
use std::time::Duration;

const MS: u64 = 1_000_000;

/// Arrivals each millisecond for a second after a warm-up of 10 ms, `clients` clients.
fn open_state(clients: u32, quota: u64) -> State {
    let spec = Spec {
        arrivals: Arrivals::Constant(1_000.0),
        warmup: Duration::from_millis(10),
        duration: Duration::from_secs(1),
        ..spec(([127, 0, 0, 1], 1).into())
    };
    let schedule = Schedule::new(&spec, 0).expect("open");
    started(Supply::Open(Box::new(Open::new(schedule))), clients, quota)
}

fn started(supply: Supply, clients: u32, quota: u64) -> State {
    let gaps = Reservoir::new(100, Rng::new(1, 1));
    let mut state = State::new(supply, &[1], quota, Rng::new(1, 0), gaps, Box::new(Batch::new(1, false)));
    for _ in 0..clients {
        state.add();
    }
    state.start(Window { start: 1_000 * MS, measure: 1_010 * MS, end: 2_010 * MS });
    state
}

/// Begins what is due at `now` on all clients that have something to begin.
fn turn(state: &mut State, clients: u32, now: u64) -> Vec<u32> {
    state.stamp(now);
    state.roll(now);
    state.dispatch(now, |_| {});
    let mut begun = Vec::new();
    for index in 0..clients {
        if state.slots[index as usize].given.is_some() && state.next(index, now) == Next::Begin(0) {
            state.sending(index);
            begun.push(index);
        }
    }
    state.stamp(now);
    begun
}

#[test]
fn arrivals_go_to_the_client_that_was_idle_longest() {
    let mut state = open_state(3, u64::MAX);
    assert_eq!(turn(&mut state, 3, 1_000 * MS), [0]);
    assert_eq!(turn(&mut state, 3, 1_001 * MS), [1]);
    // The first is idle again, after the third.
    state.finish(0, 1_001 * MS, Ok(1_001 * MS));
    assert_eq!(state.next(0, 1_001 * MS), Next::Wait);
    assert_eq!(turn(&mut state, 3, 1_002 * MS), [2]);
    assert_eq!(turn(&mut state, 3, 1_003 * MS), [0]);
    assert_eq!(state.next_times(), (None, None), "nobody is idle: there is nothing to spin for");
}

#[test]
fn what_waits_is_counted_as_due_once_and_answered_from_its_intended_start() {
    let mut state = open_state(1, u64::MAX);
    turn(&mut state, 1, 1_000 * MS);
    state.finish(0, 1_009 * MS, Ok(1_009 * MS));
    for warm in 1..10 {
        let next = state.next(0, (1_009 + warm / 9) * MS);
        assert_eq!(next, Next::Begin(0), "{warm}");
        state.sending(0);
        state.finish(0, 1_009 * MS, Ok(1_009 * MS));
    }
    // Measured: one begins at 1,010 ms and takes 100 ms, within which 100 more become due.
    assert_eq!(state.next(0, 1_010 * MS), Next::Begin(0));
    state.sending(0);
    state.stamp(1_010 * MS);
    state.close_batch(1_060 * MS + 1, 0);
    assert_eq!((state.batch.totals.due, state.batch.backlog, state.batch.in_flight), (51, 50, 1));
    state.close_batch(1_110 * MS + 1, 1);
    assert_eq!((state.batch.totals.due, state.batch.backlog), (101, 100));
    state.finish(0, 1_110 * MS, Ok(1_110 * MS));
    // The next one was intended at 1,011 ms and takes no time.
    assert_eq!(state.next(0, 1_110 * MS), Next::Begin(0));
    state.sending(0);
    state.stamp(1_110 * MS);
    state.finish(0, 1_110 * MS, Ok(1_110 * MS));
    let latencies = &state.batch.requests[0].latencies;
    assert_eq!((latencies.response.len(), latencies.service.len()), (2, 2));
    assert!(latencies.response.equivalent(latencies.response.min(), 99 * MS));
    assert!(latencies.service.min() < MS);
    assert_eq!(state.batch.waited, 1);
    // Waiting for the server is not the generator's lag.
    assert_eq!(state.batch.lag.max(), 0);
    // The batch was closed a nanosecond later than the reply.
    assert_eq!(state.integral, u128::from(100 * MS + 1));
    state.close_batch(1_110 * MS + 1, 2);
    assert_eq!((state.batch.totals.due, state.batch.backlog), (101, 99));
    // At the end, what waits and what has no reply is recorded as far as it has come.
    state.record_unanswered(1_111 * MS);
    let latencies = &state.batch.requests[0].latencies;
    assert_eq!((latencies.response.len(), latencies.service.len()), (101, 2));
}

#[test]
fn a_quota_ends_the_measured_requests_and_not_the_warm_up() {
    let mut state = open_state(2, 2);
    for at in 0..10 {
        let begun = turn(&mut state, 2, (1_000 + at) * MS);
        assert_eq!(begun.len(), 1);
        state.finish(begun[0], (1_000 + at) * MS, Ok((1_000 + at) * MS));
        state.next(begun[0], (1_000 + at) * MS);
    }
    assert!(!state.is_exhausted());
    assert_eq!(turn(&mut state, 2, 1_011 * MS).len(), 2);
    assert_eq!(turn(&mut state, 2, 1_500 * MS).len(), 0);
    state.finish(0, 1_500 * MS, Err(ErrorKind::Refused));
    assert!(!state.is_exhausted());
    state.finish(1, 1_500 * MS, Ok(1_500 * MS));
    assert!(state.is_exhausted());
    state.close_batch(1_600 * MS, 0);
    let totals = &state.batch.totals;
    assert_eq!((totals.due, totals.sent, totals.completed, totals.errors.total()), (2, 2, 1, 1));
}

#[test]
fn a_time_out_counts_as_at_least_so_long_and_a_refusal_as_nothing() {
    let mut state = open_state(2, u64::MAX);
    for at in 1_000..1_010 {
        for index in turn(&mut state, 2, at * MS) {
            state.finish(index, at * MS, Err(ErrorKind::Timeout));
            state.next(index, at * MS);
        }
    }
    for (at, kind) in [(1_010, ErrorKind::Timeout), (1_011, ErrorKind::Refused)] {
        let begun = turn(&mut state, 2, at * MS);
        assert_eq!(begun.len(), 1);
        state.finish(begun[0], (at + 5) * MS, Err(kind));
    }
    let (errors, latencies) = (state.batch.totals.errors, &state.batch.requests[0].latencies);
    assert_eq!((errors.of(ErrorKind::Timeout), errors.of(ErrorKind::Refused)), (1, 1), "no warm-up");
    assert_eq!((latencies.response.len(), latencies.service.len()), (1, 0));
    assert!(latencies.response.equivalent(latencies.response.min(), 5 * MS));
}

#[test]
fn a_request_ends_once() {
    let mut state = open_state(1, u64::MAX);
    turn(&mut state, 1, 1_000 * MS);
    state.finish(0, 1_001 * MS, Ok(1_001 * MS));
    state.finish(0, 1_001 * MS, Err(ErrorKind::Closed));
    assert_eq!((state.live.completed, state.live.errors), (1, 0));
}

#[test]
fn a_client_that_cannot_connect_pauses_longer_each_time() {
    let mut state = started(Supply::Closed(Think::No), 1, u64::MAX);
    let mut now = 1_020 * MS;
    let mut pauses = Vec::new();
    state.dispatch(now, |_| {});
    for _ in 0..10 {
        assert_eq!(state.next(0, now), Next::Begin(0));
        state.finish(0, now, Err(ErrorKind::Connect));
        state.pause(0, now, false);
        assert_eq!(state.next(0, now), Next::Wait);
        let (_, wake) = state.next_times();
        pauses.push((wake.expect("set") - now) / MS);
        now = wake.expect("set");
        state.dispatch(now, |_| {});
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 640, 640]);
    assert_eq!(state.batch.totals.errors.of(ErrorKind::Connect), 10);
}

#[test]
fn equal_think_times_do_not_march_in_step() {
    let mut state = started(Supply::Closed(Think::Fixed(Duration::from_millis(100))), 50, u64::MAX);
    let first = state.next_times().1.expect("set");
    let begun_in = |state: &mut State, until: u64| {
        state.dispatch(until, |_| {});
        (0..50).filter(|index| state.next(*index, until) != Next::Wait).count()
    };
    assert!(first < 1_020 * MS);
    let half = begun_in(&mut state, 1_050 * MS);
    assert!((10..40).contains(&half), "{half}");
}

#[test]
fn a_request_is_in_flight_from_its_stamp_to_its_end() {
    let mut state = started(Supply::Closed(Think::No), 2, u64::MAX);
    let now = 1_020 * MS;
    state.dispatch(now, |_| {});
    assert_eq!(state.next(0, now), Next::Begin(0));
    state.sending(0);
    state.stamp(now);
    // The second begins in a turn that is stamped 3 ms after the first's reply was counted.
    assert_eq!(state.next(1, now), Next::Begin(0));
    state.sending(1);
    state.finish(0, now + 2 * MS, Ok(now + 2 * MS));
    state.stamp(now + 5 * MS);
    state.finish(1, now + 9 * MS, Ok(now + 9 * MS));
    assert_eq!(state.integral, u128::from(2 * MS + 4 * MS));
    assert_eq!(state.in_flight, 0);
}
