//! Schedules by what they must be: the right count, the right places, the same again.

use super::*;
use crate::load::tests::spec;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn asked(arrivals: Arrivals, warmup: Duration, duration: Duration, threads: u32) -> Spec {
    Spec { arrivals, warmup, duration, threads, ..spec(([127, 0, 0, 1], 1).into()) }
}

/// The arrivals of all threads together, and of each.
fn all(spec: &Spec) -> (Vec<u64>, Vec<Vec<u64>>) {
    let each: Vec<Vec<u64>> =
        (0..spec.threads).map(|thread| Schedule::new(spec, thread).expect("open").collect()).collect();
    let mut all: Vec<u64> = each.concat();
    all.sort_unstable();
    (all, each)
}

#[test]
fn a_closed_loop_has_no_schedule() {
    assert!(Schedule::new(&asked(Arrivals::Closed, S, S, 1), 0).is_none());
}

#[test]
fn constant_arrivals_are_even_and_threads_take_them_in_turn() {
    let (all, each) = all(&asked(Arrivals::Constant(1_000.0), 500 * MS, 2 * S, 3));
    let wanted: Vec<u64> = (0..2_500).map(|n| n * 1_000_000).collect();
    assert_eq!(all, wanted);
    assert_eq!(each[1][..3], [1_000_000, 4_000_000, 7_000_000]);
}

#[test]
fn a_long_run_does_not_drift() {
    let spec = asked(Arrivals::Constant(3.0), Duration::ZERO, 86_400 * S, 1);
    let last = Schedule::new(&spec, 0).expect("open").last();
    assert_eq!(last, Some(259_199 * 1_000_000_000 / 3));
}

#[test]
fn poisson_arrivals_have_the_rate_and_exponential_gaps_and_come_again_with_the_seed() {
    let spec = asked(Arrivals::Poisson(1_000.0), S, 99 * S, 2);
    let (all_once, each) = all(&spec);
    // Poisson with mean 100,000, standard deviation 316: six of them.
    assert!((98_100..101_900).contains(&all_once.len()), "{}", all_once.len());
    assert_eq!(all(&spec).0, all_once);
    assert_ne!(all(&Spec { seed: 9, ..spec }).0, all_once);
    for one in each {
        let gaps: Vec<u64> = one.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // An exponential gap of mean 2 ms is longer than its mean with probability 1/e.
        let long = gaps.iter().filter(|gap| **gap > 2_000_000).count() as f64 / gaps.len() as f64;
        assert!((0.355..0.381).contains(&long), "{long}");
    }
}

#[test]
fn a_ramp_has_the_area_under_it_and_its_rates_at_both_ends() {
    for (from, to) in [(0.0, 1_000.0), (1_000.0, 0.0), (500.0, 1_500.0)] {
        let (all, _) = all(&asked(Arrivals::Ramp { from, to }, Duration::ZERO, 10 * S, 2));
        let area = (from + to) / 2.0 * 10.0;
        assert!((all.len() as f64 - area).abs() <= 1.0, "{} of {area}", all.len());
        assert!(all.is_sorted() && all.iter().all(|at| *at < 10_000_000_000));
        // The first second has the rate of its middle.
        let first = all.iter().filter(|at| **at < 1_000_000_000).count() as f64;
        assert!((first - (from + (to - from) / 20.0)).abs() <= 2.0, "{first}");
    }
}

#[test]
fn a_ramp_warms_up_at_its_first_rate() {
    let (all, _) = all(&asked(Arrivals::Ramp { from: 100.0, to: 200.0 }, S, S, 1));
    assert_eq!(all.iter().filter(|at| **at < 1_000_000_000).count(), 100);
    assert_eq!(all.len(), 250);
}

#[test]
fn steps_follow_each_other_and_may_pause() {
    let step = |rate, length| Step { rate, length };
    let steps = vec![step(100.0, S), step(0.0, S), step(1_000.0, 100 * MS), step(10.0, S)];
    let spec = asked(Arrivals::Steps(steps), Duration::ZERO, 77 * S, 3);
    let (all, _) = all(&spec);
    let between = |from, to| all.iter().filter(|at| (from..to).contains(&(**at / 1_000_000))).count();
    assert_eq!(planned(&spec), 3_100 * MS);
    assert_eq!([between(0, 1_000), between(1_000, 2_000), between(2_000, 2_100)], [100, 0, 100]);
    assert_eq!((between(2_100, 3_100), all.len()), (10, 210));
}

#[test]
fn a_replay_starts_what_was_recorded_and_warms_up_at_its_mean_rate() {
    let starts = vec![Duration::ZERO, 5 * MS, 5 * MS, 2_000 * MS];
    let spec = asked(Arrivals::Replay(starts), S, S, 2);
    let (all, _) = all(&spec);
    let ms: Vec<u64> = all.iter().map(|at| at / 1_000_000).collect();
    assert_eq!(ms, [0, 500, 1_000, 1_005, 1_005, 3_000]);
    assert_eq!(planned(&spec), 2 * S + spec.timeout);
}

#[test]
fn asked_rates_are_means_over_the_interval() {
    let rate = |arrivals, from, to| asked_rate(&asked(arrivals, S, 10 * S, 1), from * MS, to * MS);
    assert_eq!(rate(Arrivals::Closed, 0, 1_000), None);
    assert_eq!(rate(Arrivals::Poisson(7.0), 0, 1_000), Some(7.0));
    assert_eq!(rate(Arrivals::Ramp { from: 0.0, to: 100.0 }, 4_000, 6_000), Some(50.0));
    let steps = vec![Step { rate: 10.0, length: S }, Step { rate: 30.0, length: S }];
    let mean = rate(Arrivals::Steps(steps), 500, 1_500).expect("open");
    assert!((mean - 20.0).abs() < 1e-9, "{mean}");
    assert_eq!(rate(Arrivals::Replay(vec![Duration::ZERO, 400 * MS, 900 * MS]), 0, 500), Some(4.0));
}
