//! Single-writer pages: each shard counts into its own, everybody may read.
//!
//! The writer loads and stores, without a read-modify-write: no other thread writes, so nothing is lost and no
//! cache line is locked. Readers see each number whole, never a torn one; numbers of different counters need
//! not agree with each other to the last request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::ids::{ENDPOINTS_MAX, EndpointId, LISTENERS_MAX, ROUTES_MAX};
use super::reason::Reason;

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning shard may.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away; for gauges.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(n), Relaxed);
    }

    /// Sets the value; for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Reads the value; anyone may.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one shard knows of one node.
#[derive(Debug, Default)]
pub struct EndpointPage {
    /// Exchanges and streams under way; what balancing ranks by.
    pub active: Counter,
    /// Exchanges begun.
    pub requests: Counter,
    /// Exchanges that failed by the node's fault.
    pub failures: Counter,
    /// Connections opened.
    pub connects: Counter,
    /// Connections open, idle ones included.
    pub connections: Counter,
    /// Idle connections in the pool.
    pub idle: Counter,
    /// Requests waiting for a connection.
    pub waiting: Counter,
    /// Requests sent a second time after a reused connection had died.
    pub retries: Counter,
}

/// What one shard counts per route.
#[derive(Debug, Default)]
pub struct RoutePage {
    /// Replies by class of status: 1xx to 5xx at 0 to 4.
    pub by_class: [Counter; 5],
    /// Bytes of request bodies.
    pub bytes_in: Counter,
    /// Bytes of reply bodies.
    pub bytes_out: Counter,
}

/// What one shard counts per listener.
#[derive(Debug, Default)]
pub struct ListenerPage {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open.
    pub open: Counter,
    /// Times that accepting rested because the listener was full; newcomers wait in the kernel's queue.
    pub refused: Counter,
    /// Accepts that failed, descriptors used up among the reasons.
    pub accept_errors: Counter,
}

/// Sub-buckets per power of two: an error of at most 1/8 of the value.
const SUB_BUCKETS: usize = 8;
/// Powers of two from 1 µs up; the last holds everything from 2^26 µs (67 s) on.
const POWERS: usize = 27;
/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = POWERS * SUB_BUCKETS;

/// A log-linear histogram of microseconds with a single writer; pages of shards add up bucket by bucket.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[Counter; BUCKETS]>,
    sum_us: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Box::new([const { Counter(AtomicU64::new(0)) }; BUCKETS]),
            sum_us: Counter::default(),
        }
    }
}

impl Histogram {
    /// Counts one value in microseconds.
    pub fn record(&self, us: u64) {
        self.buckets[Self::bucket(us)].add(1);
        self.sum_us.add(us);
    }

    /// Count in one bucket.
    pub fn count(&self, bucket: usize) -> u64 {
        self.buckets[bucket].get()
    }

    /// Sum of all values, microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }

    /// Bucket of a value.
    pub fn bucket(us: u64) -> usize {
        let us = us.max(1);
        let power = us.ilog2() as usize;
        if power >= POWERS {
            return BUCKETS - 1;
        }
        let sub = if power < 3 { (us << (3 - power)) & 7 } else { (us >> (power - 3)) & 7 };
        power * SUB_BUCKETS + sub as usize
    }

    /// First value above a bucket, microseconds; the last bucket has none.
    pub fn bound_us(bucket: usize) -> Option<u64> {
        if bucket + 1 >= BUCKETS {
            return None;
        }
        let (power, sub) = ((bucket + 1) / SUB_BUCKETS, ((bucket + 1) % SUB_BUCKETS) as u64);
        Some(if power < 3 { ((8 + sub) << power).div_ceil(8) } else { (8 + sub) << (power - 3) })
    }
}

/// Everything that one shard counts.
#[derive(Debug)]
pub struct ShardPage {
    /// Connections and exchanges open on this shard: what placement ranks by. Padded: other shards read it.
    pub load: CachePadded<Counter>,
    /// Connections handed to another shard before their first byte.
    pub handed_over: Counter,
    /// Connections that could not be handed over because the lane was full, and stayed.
    pub handover_full: Counter,
    /// Requests begun.
    pub requests: Counter,
    /// Event streams open.
    pub streams: Counter,
    /// Event streams begun.
    pub streams_begun: Counter,
    /// Whole SSE events relayed.
    pub sse_events: Counter,
    /// Replies the gateway made itself and that refuse nothing (probes, preflights).
    pub own_replies: Counter,
    /// Access-log records dropped because their lane was full.
    pub access_dropped: Counter,
    /// Revision of the snapshot in use.
    pub revision: Counter,
    /// Whether the shard drains (1) or not (0).
    pub draining: Counter,
    /// Refusals and cuts by [`Reason::index`].
    pub reasons: Box<[Counter]>,
    /// Requests by MCP method, by `erlmcp_proto::jsonrpc::mcp::Method::index`.
    pub methods: Box<[Counter]>,
    /// Per node, by [`EndpointId`]; each on its own lines, as other shards read them while this one writes.
    pub endpoints: Box<[CachePadded<EndpointPage>]>,
    /// Per route, by [`RouteIndex`](super::RouteIndex).
    pub routes: Box<[RoutePage]>,
    /// Per listener, by [`ListenerId`](super::ListenerId).
    pub listeners: Box<[ListenerPage]>,
    /// From a request's head to the last byte of its reply, streams apart.
    pub duration: Histogram,
    /// From the request's last byte to the reply's head: the node's share.
    pub upstream: Histogram,
}

impl ShardPage {
    /// An empty page; `mcp_methods` sizes [`ShardPage::methods`].
    pub fn new(mcp_methods: usize) -> Self {
        Self {
            load: CachePadded::default(),
            handed_over: Counter::default(),
            handover_full: Counter::default(),
            requests: Counter::default(),
            streams: Counter::default(),
            streams_begun: Counter::default(),
            sse_events: Counter::default(),
            own_replies: Counter::default(),
            access_dropped: Counter::default(),
            revision: Counter::default(),
            draining: Counter::default(),
            reasons: filled(Reason::count()),
            methods: filled(mcp_methods),
            endpoints: filled(ENDPOINTS_MAX),
            routes: filled(ROUTES_MAX),
            listeners: filled(LISTENERS_MAX),
            duration: Histogram::default(),
            upstream: Histogram::default(),
        }
    }

    /// One node's page.
    pub fn endpoint(&self, id: EndpointId) -> &EndpointPage {
        &self.endpoints[usize::from(id.0)]
    }
}

fn filled<T: Default>(count: usize) -> Box<[T]> {
    std::iter::repeat_with(T::default).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_value_in_order() {
        let mut last = 0;
        for us in (0..4096).chain([1 << 20, (1 << 26) + 1, u64::MAX]) {
            let bucket = Histogram::bucket(us);
            assert!(bucket >= last, "{us}");
            last = bucket;
            if let Some(bound) = Histogram::bound_us(bucket) {
                assert!(us.max(1) < bound, "{us} is not below {bound} of bucket {bucket}");
                assert!(bucket == 0 || us >= Histogram::bound_us(bucket - 1).unwrap() || us < 8);
            }
        }
        assert_eq!(last, BUCKETS - 1);
    }

    #[test]
    fn a_bucket_is_at_most_an_eighth_wide() {
        for bucket in 32..BUCKETS - 1 {
            let (low, high) =
                (Histogram::bound_us(bucket - 1).unwrap(), Histogram::bound_us(bucket).unwrap());
            assert!(high - low <= low / 8 + 1, "{bucket}: {low}..{high}");
        }
    }
}
