//! Each check is made to fail, by nothing but what it looks at.

use std::time::Duration;

use super::*;
use crate::load::{Arrivals, ErrorKind, Outcome};
use crate::report::sample::{self, RATE, SECONDS};
use crate::stats::Rng;

fn found<'a>(certificate: &'a Certificate, name: &str) -> &'a Check {
    certificate.checks.iter().find(|check| check.name == name).expect("a check of that name")
}

/// The certificate of a healthy run after one change.
fn after(change: impl FnOnce(&mut Outcome)) -> Certificate {
    let mut outcome = sample::outcome();
    change(&mut outcome);
    Certificate::of(&outcome)
}

/// One change makes one check fail, and nothing else.
#[track_caller]
fn only(name: &str, verdict: Verdict, side: Side, change: impl FnOnce(&mut Outcome)) -> Certificate {
    let certificate = after(change);
    let failed: Vec<&str> = certificate.failed().iter().map(|check| check.name.as_str()).collect();
    assert_eq!(failed, [name], "{certificate:#?}");
    let check = found(&certificate, name);
    assert_eq!((check.verdict, check.side), (Some(verdict), side));
    assert!(check.reason.as_ref().is_some_and(|reason| !reason.is_empty()));
    assert_eq!(certificate.verdict, verdict);
    certificate
}

#[test]
fn a_healthy_run_is_valid() {
    let certificate = Certificate::of(&sample::outcome());
    assert_eq!(certificate.verdict, Verdict::Valid, "{:#?}", certificate.failed());
    let not_judged: Vec<&str> = certificate
        .checks
        .iter()
        .filter(|check| check.verdict.is_none())
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(not_judged, ["throttled periods"]);
    assert!(certificate.is_trusted());
}

#[test]
fn the_generators_lag_is_judged_against_the_service_time_and_absolutely() {
    let lag = |micros: u64| {
        move |run: &mut Outcome| run.lag = sample::histogram((0..5_000).map(|_| micros * 1_000))
    };
    assert_eq!(after(lag(90)).verdict, Verdict::Valid);
    only("schedule lag p99", Verdict::Degraded, Side::Generator, lag(300));
    only("schedule lag p99", Verdict::Invalid, Side::Generator, lag(1_500));
    // 300 µs are nothing beside service times of 10 ms, but 1.5 ms are never accepted.
    let slow = |micros: u64| {
        move |run: &mut Outcome| {
            lag(micros)(run);
            run.latencies.service = sample::histogram((0..SECONDS * RATE).map(|_| 10_000_000));
            run.pacing.in_flight_seconds = (SECONDS * RATE) as f64 * 0.01;
        }
    };
    assert_eq!(after(slow(300)).verdict, Verdict::Valid);
    only("schedule lag p99", Verdict::Degraded, Side::Generator, slow(1_500));
}

#[test]
fn a_generator_that_stood_still_once_owns_the_maximum() {
    let still = |millis: u64| {
        move |run: &mut Outcome| {
            run.lag.record(millis * 1_000_000).expect("in range");
            run.latencies.response.record(millis * 1_000_000 + 300_000).expect("in range");
        }
    };
    assert_eq!(after(still(9)).verdict, Verdict::Valid);
    only("schedule lag max", Verdict::Degraded, Side::Generator, still(40));
    only("schedule lag max", Verdict::Invalid, Side::Generator, still(1_200));
}

#[test]
fn a_rate_that_is_not_reached_is_the_servers_or_the_generators() {
    let sent = |share: f64| {
        move |run: &mut Outcome| {
            let sent = (run.totals.due as f64 * share) as u64;
            (run.totals.sent, run.totals.completed) = (sent, sent);
            run.pacing.in_flight_seconds *= share;
            run.latencies.service = sample::histogram((0..sent).map(|_| 600_000));
            run.pacing.waited = sent / 2;
        }
    };
    // Idle generator, connections all busy: the server's, and evidence.
    let server = only("sent of due", Verdict::Degraded, Side::Server, sent(0.6));
    assert_eq!(server.generator(), Verdict::Valid);
    assert!(
        found(&server, "sent of due")
            .reason
            .as_ref()
            .is_some_and(|why| why.contains("server could not keep up"))
    );
    // A busy generator: its own, and none.
    let busy = after(|run| {
        sent(0.6)(run);
        run.machine.threads[0].busy_share = 0.99;
    });
    let check = found(&busy, "sent of due");
    assert_eq!((check.verdict, check.side), (Some(Verdict::Invalid), Side::Generator));
    assert_eq!((busy.verdict, busy.generator()), (Verdict::Invalid, Verdict::Invalid));
    let near = after(|run| {
        sent(0.97)(run);
        run.machine.threads[0].busy_share = 0.99;
    });
    assert_eq!(found(&near, "sent of due").verdict, Some(Verdict::Degraded));
}

#[test]
fn a_busy_generator_invalidates_an_open_loop_and_degrades_a_closed_one() {
    let busy = |share: f64| move |run: &mut Outcome| run.machine.threads[0].busy_share = share;
    only("generator busy", Verdict::Degraded, Side::Generator, busy(0.85));
    only("generator busy", Verdict::Invalid, Side::Generator, busy(0.96));
    let closed = after(|run| {
        busy(0.99)(run);
        close(run);
    });
    assert_eq!(closed.verdict, Verdict::Degraded);
    assert!(closed.failed()[0].reason.as_ref().is_some_and(|why| why.contains("bottleneck")));
    assert_eq!(after(close).verdict, Verdict::Valid);
}

fn close(run: &mut Outcome) {
    run.spec.arrivals = Arrivals::Closed;
    run.lag.reset();
}

#[test]
fn a_disturbed_machine_shows() {
    type Illness = fn(&mut Outcome);
    let cases: [(&str, Verdict, Illness); 10] = [
        ("waiting for a processor", Verdict::Degraded, |run| run.machine.threads[0].run_delay_share = 0.1),
        ("waiting for a processor", Verdict::Invalid, |run| run.machine.threads[0].run_delay_share = 0.4),
        ("involuntary switches", Verdict::Degraded, |run| {
            run.machine.threads[0].involuntary_switches = 2_000 * SECONDS;
        }),
        ("steal", Verdict::Degraded, |run| run.machine.steal_share = Some(0.02)),
        ("steal", Verdict::Invalid, |run| run.machine.steal_share = Some(0.2)),
        ("throttled periods", Verdict::Degraded, |run| run.machine.throttled = Some(1)),
        ("throttled periods", Verdict::Invalid, |run| run.machine.throttled = Some(SECONDS)),
        ("packets dropped", Verdict::Degraded, |run| run.machine.softnet_drops = Some(1)),
        ("ports", Verdict::Degraded, |run| run.machine.ports = (27_000, 28_000)),
        ("Little's law", Verdict::Degraded, |run| run.pacing.in_flight_seconds *= 1.05),
    ];
    for (name, verdict, change) in cases {
        only(name, verdict, Side::Generator, change);
    }
    only("retransmits", Verdict::Degraded, Side::Run, |run| {
        run.machine.retransmits = Some(SECONDS * RATE / 500)
    });
    only("Little's law", Verdict::Invalid, Side::Generator, |run| run.pacing.in_flight_seconds *= 0.8);
}

#[test]
fn what_the_kernel_does_not_say_is_not_judged() {
    let certificate = after(|run| {
        run.machine = Default::default();
    });
    assert_eq!(certificate.verdict, Verdict::Valid);
    for name in ["generator busy", "steal", "throttled periods", "retransmits", "packets dropped", "ports"] {
        assert_eq!(found(&certificate, name).verdict, None, "{name}");
    }
}

#[test]
fn other_arrivals_than_asked_show() {
    let mut rng = Rng::new(3);
    let mean = 1e9 / RATE as f64;
    let exponential: Vec<u64> = (0..20_000).map(|_| rng.exponential(mean) as u64).collect();
    let gaps = exponential.clone();
    only("arrival process", Verdict::Invalid, Side::Generator, |run| run.pacing.gaps = gaps);
    let gaps = exponential.clone();
    let poisson = after(|run| {
        run.spec.arrivals = Arrivals::Poisson(RATE as f64);
        run.pacing.gaps = gaps;
    });
    assert_eq!(poisson.verdict, Verdict::Valid, "{:#?}", poisson.failed());
    only("arrival process", Verdict::Invalid, Side::Generator, |run| {
        run.spec.arrivals = Arrivals::Poisson(RATE as f64);
    });
    // Where the server held requests back, it made the arrivals.
    let waited = after(|run| {
        run.pacing.gaps = exponential;
        run.pacing.waited = run.totals.sent / 10;
    });
    assert_eq!(found(&waited, "arrival process").verdict, None);
    // Two threads: each takes every second arrival.
    let two = after(|run| {
        run.spec.threads = 2;
        run.pacing.gaps = vec![2 * 1_000_000_000 / RATE; 5_000];
    });
    assert_eq!(found(&two, "arrival process").verdict, Some(Verdict::Valid));
}

#[test]
fn errors_are_the_servers_unless_nothing_else_came() {
    let failed = |kind: ErrorKind, share: u64| {
        move |run: &mut Outcome| {
            let count = run.totals.sent * share / 1_000;
            for _ in 0..count {
                run.totals.errors.add(kind);
            }
            run.totals.completed -= count;
        }
    };
    let closed = after(failed(ErrorKind::Closed, 50));
    assert_eq!(closed.verdict, Verdict::Degraded);
    let check = found(&closed, "errors");
    assert_eq!((check.verdict, check.side), (Some(Verdict::Degraded), Side::Server));
    assert!(check.reason.as_ref().is_some_and(|why| why.contains("closed by the server")), "{check:?}");
    assert_eq!(found(&closed, "Little's law").verdict, None);
    assert_eq!(after(failed(ErrorKind::Timeout, 600)).verdict, Verdict::Invalid);
    let exhausted = after(failed(ErrorKind::Exhausted, 20));
    assert_eq!(found(&exhausted, "ports").verdict, Some(Verdict::Invalid));
    let refused = after(|run| {
        failed(ErrorKind::Connect, 1_000)(run);
        run.totals.sent = 0;
        run.latencies = Default::default();
        run.lag.reset();
    });
    assert_eq!(refused.verdict, Verdict::Invalid);
    let why = found(&refused, "samples").reason.clone().expect("a reason");
    assert!(why.contains("is the server up"), "{why}");
    assert_eq!(found(&refused, "sent of due").verdict, Some(Verdict::Valid));
}

#[test]
fn short_cut_and_small_runs_show() {
    only("length", Verdict::Degraded, Side::Run, |run| run.cut = Some("interrupted".into()));
    let short = after(|run| run.measured = Duration::from_millis(500));
    assert_eq!(found(&short, "length").verdict, Some(Verdict::Degraded));
    let few = after(|run| {
        (run.totals.due, run.totals.sent, run.totals.completed) = (200, 200, 200);
        run.latencies.service = sample::histogram((0..200).map(|_| 600_000));
        run.pacing.in_flight_seconds = 0.12;
    });
    assert_eq!(found(&few, "samples").verdict, Some(Verdict::Degraded));
    let hung = after(|run| run.totals.completed -= run.totals.sent / 20);
    let check = found(&hung, "unanswered at the end");
    assert_eq!((check.verdict, check.side), (Some(Verdict::Degraded), Side::Server));
    assert!(check.reason.as_ref().is_some_and(|why| why.contains("beyond p95")), "{check:?}");
}

#[test]
fn failures_come_worst_first() {
    let certificate = after(|run| {
        run.machine.steal_share = Some(0.02);
        run.machine.threads[0].busy_share = 0.99;
    });
    let order: Vec<&str> = certificate.failed().iter().map(|check| check.name.as_str()).collect();
    assert_eq!(order, ["generator busy", "steal"]);
    assert!(!certificate.is_trusted());
}
