//! What the process asks the kernel for itself: descriptors, processors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Raises the soft limit of descriptors to what is wanted, or to the hard limit when nothing is. Says so when less
/// is granted than wanted.
pub(super) fn raise_descriptors(wanted: Option<u32>) {
    let now = getrlimit(Resource::Nofile);
    let target = descriptors(wanted.map(u64::from), now.maximum);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: target, maximum: now.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, soft = now.current, "cannot raise the limit of descriptors; the soft limit stays");
    } else if let (Some(wanted), Some(granted)) = (wanted, target)
        && granted < u64::from(wanted)
    {
        tracing::warn!(
            wanted,
            granted,
            "descriptor_limit is above the hard limit; raise LimitNOFILE= or `ulimit -Hn`"
        );
    }
}

/// Descriptors of the process itself, before any connection: standard streams, the runtime, the admin API, logs.
const OWN_MAX: u64 = 48;
/// The same per shard: ring, wake-up, listeners, and a few connections without which it could serve nobody.
const PER_SHARD_MAX: u64 = 16;

/// # Errors
/// When the limit leaves no room for connections: it would fail soon, and less plainly.
pub(super) fn check_descriptors(shards: usize) -> anyhow::Result<()> {
    let needed = OWN_MAX + PER_SHARD_MAX * shards as u64;
    match getrlimit(Resource::Nofile).current {
        Some(granted) if granted < needed => anyhow::bail!(
            "cannot serve with {granted} descriptors: {shards} shards need at least {needed}, and one per connection; \
             raise `ulimit -n`, or LimitNOFILE= of the unit"
        ),
        _ => Ok(()),
    }
}

/// The soft limit to set; `None` is no limit.
fn descriptors(wanted: Option<u64>, hard: Option<u64>) -> Option<u64> {
    match (wanted, hard) {
        (Some(wanted), Some(hard)) => Some(wanted.min(hard)),
        (wanted, hard) => wanted.or(hard),
    }
}

/// Lets the current thread, and those that it makes, run on these processors only.
pub(super) fn pin_to(cpus: &[usize]) {
    let mut set = CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU) {
        set.set(*cpu);
    }
    if set.count() > 0
        && let Err(error) = sched_setaffinity(None, &set)
    {
        tracing::debug!(%error, "the control plane's threads are not bound to their processors");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_goes_as_far_as_it_may() {
        assert_eq!(descriptors(None, Some(100)), Some(100));
        assert_eq!(descriptors(Some(50), Some(100)), Some(50));
        assert_eq!(descriptors(Some(500), Some(100)), Some(100));
        assert_eq!(descriptors(Some(500), None), Some(500));
        assert_eq!(descriptors(None, None), None);
    }
}
