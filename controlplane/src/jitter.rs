//! Spread of timers, so that checks and retries of many nodes do not march in step. Not for secrets.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// `base` moved by up to a tenth either way.
pub(crate) fn around(base: Duration) -> Duration {
    base.mul_f64(0.9 + 0.2 * fraction())
}

/// Wait before try `failures` + 1: doubles from `base` to `limit`, half of it jitter.
pub(crate) fn backoff(base: Duration, limit: Duration, failures: u32) -> Duration {
    let doubled = base.saturating_mul(1 << failures.min(16));
    let whole = doubled.min(limit);
    whole.mul_f64(0.5 + 0.5 * fraction())
}

/// A number of [0, 1), different with each call: the process's hash key, which the system seeded, over a counter.
fn fraction() -> f64 {
    static KEY: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let bits = KEY.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_bounds() {
        let (base, limit) = (Duration::from_millis(100), Duration::from_secs(10));
        for failures in 0..40 {
            let wait = backoff(base, limit, failures);
            assert!(wait >= base / 2 && wait <= limit, "{failures}: {wait:?}");
        }
        for _ in 0..1000 {
            let wait = around(base);
            assert!(wait >= base.mul_f64(0.9) && wait <= base.mul_f64(1.1), "{wait:?}");
        }
    }

    #[test]
    fn numbers_differ() {
        assert_ne!(fraction().to_bits(), fraction().to_bits());
    }
}
