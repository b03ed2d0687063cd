//! The search against simulated servers whose truth is known.

use super::*;
use crate::capacity::Silent;
use crate::load::new_histogram;
use crate::stats::Rng;

/// Requests in the histogram of a simulated trial: enough for its p99.9.
const DRAWS: u64 = 1_000;

/// A single queue with exponential service: p99 of the response is `ln(100) S / (1 - rho)`. Each trial's times are off by a
/// normal factor, and some trials are spoiled by a neighbour.
struct Queue {
    capacity: f64,
    noise: f64,
    flaky: f64,
    random: Rng,
    asked: Vec<Ask>,
    /// The generator gives up from here.
    generator_max: f64,
    stop_after: usize,
}

impl Queue {
    fn new(capacity: f64, noise: f64, flaky: f64, seed: u64) -> Self {
        let random = Rng::new(seed);
        Self {
            capacity,
            noise,
            flaky,
            random,
            asked: Vec::new(),
            generator_max: f64::INFINITY,
            stop_after: usize::MAX,
        }
    }

    /// The rate at which the p99 is `limit` (nanoseconds).
    fn truth(&self, quantile: f64, limit: f64) -> f64 {
        self.capacity + (1.0 - quantile).ln() / (limit / 1e9)
    }
}

impl Trial for Queue {
    fn run(&mut self, ask: &Ask, _: &mut dyn Progress) -> Result<Measured, TrialError> {
        if self.asked.len() >= self.stop_after {
            return Err(TrialError::Stopped);
        }
        self.asked.push(*ask);
        let rate = ask.rate.expect("an open loop");
        let due = (rate * ask.duration.as_secs_f64()) as u64;
        // Shorter trials are noisier.
        let noise = self.noise * (20.0 / ask.duration.as_secs_f64()).sqrt();
        let mut factor = (noise * self.random.normal()).exp();
        if self.random.uniform() < self.flaky {
            factor *= 20.0;
        }
        let idle = self.capacity - rate;
        let completed = due.min((self.capacity * ask.duration.as_secs_f64()) as u64);
        let mut response = new_histogram();
        for i in 0..DRAWS {
            let tail = -(1.0 - (i as f64 + 0.5) / DRAWS as f64).ln();
            let seconds = if idle > 0.0 { tail / idle } else { ask.duration.as_secs_f64() };
            response.saturating_record((seconds * factor * 1e9) as u64);
        }
        let evidence = if rate > self.generator_max {
            Evidence::Invalid(vec!["the generator's core is full".to_owned()])
        } else {
            Evidence::Valid
        };
        Ok(Measured {
            ask: *ask,
            due,
            completed,
            errors: 0,
            bytes: 0,
            elapsed: ask.duration,
            took: ask.duration,
            service: response.clone(),
            response,
            server: None,
            generator_bound: false,
            evidence,
        })
    }
}

fn spec() -> SearchSpec {
    SearchSpec::new(64, Duration::from_secs(5), Duration::from_secs(20))
}

fn run(queue: &mut Queue, goals: &str, spec: &SearchSpec) -> SearchResult {
    let goals = Goal::parse_all(goals).expect("goals");
    search(spec, &goals, queue, &mut Silent).expect("a simulation does not fail")
}

/// Searches over seeded servers from 500 to 50,000 requests per second; the share whose bounds are confirmed, no further
/// apart than the goal's width, and their middle within that width of the truth; the mean number of trials and of hours.
fn success(noise: f64, flaky: f64, cases: u64) -> (f64, f64, f64) {
    let spec = spec();
    let [mut good, mut trials, mut hours] = [0.0; 3];
    for seed in 0..cases {
        let capacity = 500.0 * 100_f64.powf(Rng::new(!seed).uniform());
        // A limit of 20 mean service times: the goal is met up to about 77 % of the capacity.
        let limit = 20.0 / capacity * 1e9;
        let mut queue = Queue::new(capacity, noise, flaky, seed);
        let truth = queue.truth(0.99, limit);
        let result = run(&mut queue, &format!("p99 < {:.0} ns", limit), &spec);
        let lower = result.all.lower_per_s.unwrap_or(0.0);
        let upper = result.all.upper_per_s.unwrap_or(f64::INFINITY);
        assert!(result.trials.len() <= spec.trials_max && result.took <= spec.time_max);
        trials += result.trials.len() as f64;
        hours += result.took.as_secs_f64() / 3600.0;
        let near = ((lower + upper) / 2.0 / truth - 1.0).abs() <= spec.width
            && (upper - lower) / upper <= spec.width;
        good += f64::from(u8::from(near && result.all.confirmed));
    }
    let cases = cases as f64;
    (good / cases, trials / cases, hours / cases)
}

#[test]
fn a_quiet_server_is_always_found() {
    let (good, trials, hours) = success(0.0, 0.0, 200);
    println!("quiet: {good} of the searches, {trials:.1} trials, {:.1} minutes", hours * 60.0);
    assert!(good == 1.0, "{good}");
}

#[test]
fn noisy_trials_are_tolerated() {
    let (good, trials, hours) = success(0.05, 0.0, 300);
    println!("noisy: {good} of the searches, {trials:.1} trials, {:.1} minutes", hours * 60.0);
    assert!(good >= 0.95, "{good}");
}

#[test]
fn one_trial_in_ten_may_be_spoiled() {
    let (good, trials, hours) = success(0.05, 0.1, 300);
    println!("flaky: {good} of the searches, {trials:.1} trials, {:.1} minutes", hours * 60.0);
    assert!(good >= 0.95, "{good}");
}

#[test]
fn several_goals_are_found_over_the_same_trials() {
    let mut queue = Queue::new(10_000.0, 0.02, 0.0, 5);
    let truths = [queue.truth(0.99, 4e6), queue.truth(0.5, 0.3e6)];
    let result = run(&mut queue, "p99 < 4 ms and p50 < 300 us and errors < 1 %", &spec());
    assert_eq!(result.each.len(), 3);
    for (found, truth) in result.each.iter().zip(truths) {
        let lower = found.lower_per_s.expect("a lower bound");
        assert!((lower / truth - 1.0).abs() < 0.06, "{:?}: {lower}, truth {truth}", found.goals);
    }
    // Errors never come; what ends that goal is that the server no longer keeps up.
    let lower = result.each[2].lower_per_s.expect("a lower bound");
    assert!((9_500.0..10_200.0).contains(&lower), "{lower}");
    let lower = result.all.lower_per_s.expect("a lower bound");
    assert!((lower / truths[1] - 1.0).abs() < 0.06, "{lower}");
    assert_eq!(result.all.end, End::Converged);
    let conditional = result.all.conditional_throughput_per_s.expect("full-length trials");
    assert!((conditional / lower - 1.0).abs() < 0.01, "{conditional} at {lower}");
}

#[test]
fn a_search_ends_within_its_trials_and_its_time() {
    // Every trial decides by a coin: nothing converges for long.
    for seed in 0..20 {
        let mut queue = Queue::new(10_000.0, 3.0, 0.5, seed);
        let tight = SearchSpec { trials_max: 25, width: 0.001, ..spec() };
        let result = run(&mut queue, "p99 < 4 ms, p90 < 2 ms", &tight);
        assert!(result.trials.len() <= 25);
        let brief = SearchSpec { time_max: Duration::from_secs(33), width: 0.001, ..spec() };
        let mut queue = Queue::new(10_000.0, 3.0, 0.5, seed);
        let result = run(&mut queue, "p99 < 4 ms, p90 < 2 ms", &brief);
        assert!(result.took <= brief.time_max, "{:?}", result.took);
        assert!(!result.all.confirmed);
    }
}

#[test]
fn a_server_that_never_meets_the_goals_has_no_lower_bound() {
    let mut queue = Queue::new(10_000.0, 0.0, 0.0, 1);
    let result = run(&mut queue, "p99 < 10 us", &SearchSpec { rate_min: 50.0, ..spec() });
    assert_eq!((result.all.lower_per_s, &result.all.end), (None, &End::NothingMeets));
    assert_eq!(result.all.upper_per_s, Some(50.0));
}

#[test]
fn the_highest_rate_to_be_tried_ends_the_search() {
    let mut queue = Queue::new(1e9, 0.0, 0.0, 1);
    let result = run(&mut queue, "p99 < 10 ms", &SearchSpec { rate_max: 12_345.0, ..spec() });
    assert_eq!((result.all.lower_per_s, result.all.upper_per_s), (Some(12_345.0), None));
    assert_eq!(result.all.end, End::RateMax);
}

#[test]
fn the_generator_s_limit_is_never_taken_for_the_server_s() {
    let mut queue = Queue::new(10_000.0, 0.0, 0.0, 1);
    queue.generator_max = 3_000.0;
    let result = run(&mut queue, "p99 < 10 ms", &spec());
    let lower = result.all.lower_per_s.expect("a lower bound");
    assert!((2_850.0..=3_000.0).contains(&lower), "{lower}");
    assert_eq!(result.all.upper_per_s, None);
    assert!(matches!(&result.all.end, End::Generator(reasons) if reasons[0].contains("core is full")));
    assert!(result.trials.iter().any(|trial| trial.verdict == "INVALID"));
}

#[test]
fn a_stop_keeps_what_was_found() {
    let mut queue = Queue::new(10_000.0, 0.0, 0.0, 1);
    queue.stop_after = 5;
    let result = run(&mut queue, "p99 < 10 ms, p50 < 5 ms", &spec());
    assert!(result.stopped && !result.all.confirmed);
    assert_eq!((result.trials.len(), result.all.lower_per_s), (5, Some(1_600.0)));
    assert!(result.each.iter().all(|each| each.end == End::Stopped));
}

#[test]
fn too_few_samples_for_a_goal_are_told() {
    let mut queue = Queue::new(400.0, 0.0, 0.0, 1);
    let result = run(&mut queue, "p99.9 < 1 s", &spec());
    assert_eq!(result.all.samples_short_of, Some(10_000));
    let mut queue = Queue::new(40_000.0, 0.0, 0.0, 1);
    assert_eq!(run(&mut queue, "p99.9 < 10 ms", &spec()).all.samples_short_of, None);
}

#[test]
fn every_trial_has_its_own_schedule() {
    let mut queue = Queue::new(10_000.0, 0.0, 0.0, 1);
    run(&mut queue, "p99 < 10 ms", &spec());
    let mut seeds: Vec<u64> = queue.asked.iter().map(|ask| ask.seed).collect();
    seeds.dedup();
    assert_eq!(seeds.len(), queue.asked.len());
}
