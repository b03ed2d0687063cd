//! Little's law, L = λW: an invariant of any system, so a check of one's own book-keeping.

/// Both sides of the law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Little {
    /// Mean number in flight, from its time integral.
    pub observed: f64,
    /// Throughput times mean time in flight.
    pub predicted: f64,
    /// Their difference over the larger, 0..=1; 0 when nothing was in flight.
    pub deviation: f64,
}

/// Compares the time integral of requests in flight (request-seconds) with completions times their mean time (seconds),
/// over `seconds` of measuring.
#[must_use]
pub fn little(in_flight_seconds: f64, completions: u64, mean_seconds: f64, seconds: f64) -> Little {
    let seconds = seconds.max(f64::MIN_POSITIVE);
    let observed = in_flight_seconds / seconds;
    let predicted = completions as f64 * mean_seconds / seconds;
    let larger = observed.max(predicted);
    let deviation = if larger > 0.0 { (observed - predicted).abs() / larger } else { 0.0 };
    Little { observed, predicted, deviation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Rng;

    /// An M/M/1 queue, stepped through: the law holds whatever the load.
    #[test]
    fn holds_for_a_queue() {
        let mut rng = Rng::new(1961);
        let (mut arrival, mut free, mut sojourns) = (0.0_f64, 0.0_f64, Vec::new());
        let mut events = Vec::new();
        for _ in 0..20_000 {
            arrival += rng.exponential(1.0);
            free = free.max(arrival) + rng.exponential(0.7);
            sojourns.push(free - arrival);
            events.extend([(arrival, 1.0), (free, -1.0)]);
        }
        events.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut integral, mut inside, mut before) = (0.0, 0.0, 0.0);
        for (at, step) in events {
            integral += inside * (at - before);
            (inside, before) = (inside + step, at);
        }
        let mean = sojourns.iter().sum::<f64>() / sojourns.len() as f64;
        let law = little(integral, sojourns.len() as u64, mean, before);
        assert!(law.deviation < 1e-9, "{law:?}");
        // Losing every twentieth request of the book-keeping shows.
        assert!(little(integral, 19_000, mean, before).deviation > 0.04);
        assert_eq!(little(0.0, 0, 0.0, 1.0).deviation, 0.0);
    }
}
