//! Closed forms: what simulations are checked against, and what they are better than.
//!
//! Owns Erlang's C, the response time of M/M/c, and the mean waits of M/G/1. Times in the unit of the service time.

/// Chance that an arrival at M/M/c finds all `servers` busy, `load` (arrival rate times service time) offered; 1 where they
/// cannot keep up.
#[must_use]
pub fn erlang_c(servers: u32, load: f64) -> f64 {
    let count = f64::from(servers.max(1));
    if load >= count {
        return 1.0;
    }
    // Erlang's B by its recursion, which is stable for any number of servers.
    let blocking = (1..=servers.max(1)).fold(1.0, |b, k| load * b / (f64::from(k) + load * b));
    blocking * count / (count - load * (1.0 - blocking))
}

/// Response time of M/M/c that a share `quantile` of the requests stays below, in service times; infinite where it cannot
/// keep up.
#[must_use]
pub fn mmc_quantile(servers: u32, load: f64, quantile: f64) -> f64 {
    let count = f64::from(servers.max(1));
    if load >= count {
        return f64::INFINITY;
    }
    let waits = erlang_c(servers, load);
    let spare = count - load;
    // P(T > t) where T is an exponential wait (rate `spare`, with chance `waits`) and an exponential service.
    let beyond = |t: f64| {
        let rest = spare - 1.0;
        let extra = if rest.abs() < 1e-9 { t } else { (1.0 - (-rest * t).exp()) / rest };
        (-t).exp() * (1.0 + waits * extra)
    };
    let (mut low, mut high) = (0.0, 1.0);
    while beyond(high) > 1.0 - quantile && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) > 1.0 - quantile { low = middle } else { high = middle }
    }
    high
}

/// Mean wait of M/G/1 (Pollaczek and Khinchine) for arrivals at `rate` with the service's first two moments; infinite where
/// it cannot keep up.
#[must_use]
pub fn pollaczek_khinchine(rate: f64, mean: f64, second_moment: f64) -> f64 {
    let utilisation = rate * mean;
    if utilisation >= 1.0 { f64::INFINITY } else { rate * second_moment / (2.0 * (1.0 - utilisation)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erlang_c_is_the_tabulated_one() {
        assert!((erlang_c(1, 0.7) - 0.7).abs() < 1e-12);
        assert!((erlang_c(2, 1.0) - 1.0 / 3.0).abs() < 1e-12);
        // Ten lines at 8 erlangs wait with 0.409.
        assert!((erlang_c(10, 8.0) - 0.409).abs() < 0.001);
        assert_eq!(erlang_c(4, 4.0), 1.0);
    }

    /// p99 in service times at 70, 80 and 90 %: one queue 15.4, 23.0, 46; sixteen servers with one queue 4.6, 4.7, 5.3.
    #[test]
    fn one_queue_and_sixteen_servers_are_as_far_apart_as_known() {
        for (utilisation, one, sixteen) in [(0.7, 15.4, 4.6), (0.8, 23.0, 4.7), (0.9, 46.0, 5.3)] {
            let [found_one, found_sixteen] =
                [1, 16].map(|c| mmc_quantile(c, utilisation * f64::from(c), 0.99));
            assert!((found_one - one).abs() < 0.06, "{found_one}, known {one}");
            assert!((found_sixteen - sixteen).abs() < 0.06, "{found_sixteen}, known {sixteen}");
        }
        assert!((mmc_quantile(1, 0.5, 0.5) - 2.0 * 2_f64.ln()).abs() < 1e-9);
        // Two servers with one to spare: the formula's removable pole.
        assert!(mmc_quantile(2, 1.0, 0.99).is_finite());
        assert_eq!(mmc_quantile(2, 2.0, 0.99), f64::INFINITY);
    }

    #[test]
    fn pollaczek_and_khinchine() {
        // M/M/1 waits rho S / (1 - rho), M/D/1 half of it.
        assert!((pollaczek_khinchine(0.7, 1.0, 2.0) - 0.7 / 0.3).abs() < 1e-12);
        assert!((pollaczek_khinchine(0.7, 1.0, 1.0) - 0.35 / 0.3).abs() < 1e-12);
        assert_eq!(pollaczek_khinchine(1.0, 1.0, 1.0), f64::INFINITY);
    }
}
