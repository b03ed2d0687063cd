//! Access-log records on their way from a shard to the writer: compact bytes in batches, formatted elsewhere.
//!
//! A shard appends to its current batch and hands it over when it is full or a flush is due; the empty batch
//! comes back over a second lane. When none is free the record is dropped and counted: the shard never waits.

use std::net::IpAddr;

use super::ids::{EndpointId, ListenerId, RouteIndex};

/// Bytes in a batch; about 300 records.
pub const BATCH_BYTES: usize = 32 * 1024;
/// Longest path and longest method name kept; the rest is cut.
const TEXT_BYTES_MAX: usize = 1024;

/// One finished exchange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccessRecord<'a> {
    /// Wall-clock time of the request's head, microseconds since 1970.
    pub start_unix_us: u64,
    /// Head to last byte of the reply.
    pub duration_us: u32,
    /// Request's last byte to the reply's head; 0 without one.
    pub upstream_us: u32,
    /// Status sent; 499 when the client left before one.
    pub status: u16,
    /// Where the request went.
    pub listener: ListenerId,
    /// Route, or [`NO_ROUTE`](super::ids::NO_ROUTE).
    pub route: RouteIndex,
    /// Node, or [`NO_ENDPOINT`](super::ids::NO_ENDPOINT).
    pub endpoint: EndpointId,
    /// [`Reason::index`](super::Reason::index) plus one, or 0 when all went well.
    pub reason: u16,
    /// Second tries after a dead reused connection.
    pub retries: u8,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Client address; `None` over a Unix socket.
    pub client: Option<IpAddr>,
    /// Revision of the snapshot that served it: names the route and the node.
    pub revision: u64,
    /// Request id, as the node and the client saw it.
    pub request_id: &'a str,
    /// Request method.
    pub method: &'a str,
    /// Path with its query, cut at 1 KiB.
    pub path: &'a str,
    /// `Host` as the client sent it, its port included; empty without one.
    pub host: &'a str,
    /// JSON-RPC method where the request was one that could be read at once, else empty.
    pub rpc_method: &'a str,
}

/// Records of one shard.
#[derive(Debug, Default)]
pub struct AccessBatch {
    bytes: Vec<u8>,
    records: u32,
}

impl AccessBatch {
    /// An empty batch with its memory.
    pub fn with_capacity() -> Self {
        Self { bytes: Vec::with_capacity(BATCH_BYTES), records: 0 }
    }

    /// Records inside.
    pub fn len(&self) -> usize {
        self.records as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether the next record might not fit.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + FIXED_BYTES + TEXTS * TEXT_BYTES_MAX > BATCH_BYTES
    }

    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    /// Appends a record; the caller has looked at [`AccessBatch::is_full`].
    #[inline]
    pub fn push(&mut self, record: &AccessRecord<'_>) {
        let texts = [record.request_id, record.method, record.path, record.host, record.rpc_method].map(cut);
        let (kind, address) = match record.client {
            None => (0, [0; 16]),
            Some(IpAddr::V4(v4)) => (4, v4.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(v6)) => (6, v6.octets()),
        };
        let mut fixed = [0; FIXED_BYTES];
        let mut rest = &mut fixed[..];
        put(&mut rest, record.start_unix_us.to_le_bytes());
        put(&mut rest, record.duration_us.to_le_bytes());
        put(&mut rest, record.upstream_us.to_le_bytes());
        put(&mut rest, record.status.to_le_bytes());
        put(&mut rest, record.listener.0.to_le_bytes());
        put(&mut rest, record.route.0.to_le_bytes());
        put(&mut rest, record.endpoint.0.to_le_bytes());
        put(&mut rest, record.reason.to_le_bytes());
        put(&mut rest, [record.retries]);
        put(&mut rest, record.bytes_in.to_le_bytes());
        put(&mut rest, record.bytes_out.to_le_bytes());
        put(&mut rest, [kind]);
        put(&mut rest, address);
        put(&mut rest, record.revision.to_le_bytes());
        for text in texts {
            // `cut` bounds the length far below 65,536.
            put(&mut rest, (text.len() as u16).to_le_bytes());
        }
        self.bytes.extend_from_slice(&fixed);
        for text in texts {
            self.bytes.extend_from_slice(text.as_bytes());
        }
        self.records += 1;
    }

    /// The records in the order in which they were pushed.
    pub fn iter(&self) -> Records<'_> {
        Records { rest: &self.bytes }
    }
}

/// Texts of a record.
const TEXTS: usize = 5;
/// Bytes of a record without its texts: what [`AccessBatch::push`] writes before them, their lengths included.
const FIXED_BYTES: usize = 8 + 4 + 4 + 2 * 5 + 1 + 8 + 8 + 1 + 16 + 8 + TEXTS * 2;

/// Writes a field of a record at the start of `rest`, which moves behind it. Offsets are the compiler's work.
#[inline(always)]
fn put<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    let (place, after) = std::mem::take(rest).split_at_mut(N);
    place.copy_from_slice(&field);
    *rest = after;
}

/// Cuts at [`TEXT_BYTES_MAX`], on a character's edge.
fn cut(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// Iterator over a batch.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn client(&mut self) -> Option<Option<IpAddr>> {
        let [kind] = self.take()?;
        let address = std::net::Ipv6Addr::from(self.take::<16>()?);
        Some(match kind {
            0 => None,
            4 => address.to_ipv4_mapped().map(IpAddr::V4),
            _ => Some(IpAddr::V6(address)),
        })
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = AccessRecord<'a>;

    fn next(&mut self) -> Option<AccessRecord<'a>> {
        let fixed = AccessRecord {
            start_unix_us: self.u64()?,
            duration_us: self.u32()?,
            upstream_us: self.u32()?,
            status: self.u16()?,
            listener: ListenerId(self.u16()?),
            route: RouteIndex(self.u16()?),
            endpoint: EndpointId(self.u16()?),
            reason: self.u16()?,
            retries: self.take::<1>()?[0],
            bytes_in: self.u64()?,
            bytes_out: self.u64()?,
            client: self.client()?,
            revision: self.u64()?,
            request_id: "",
            method: "",
            path: "",
            host: "",
            rpc_method: "",
        };
        let mut lengths = [0; TEXTS];
        for length in &mut lengths {
            *length = usize::from(self.u16()?);
        }
        let [request_id, method, path, host, rpc_method] = lengths.map(|length| self.text(length));
        Some(AccessRecord {
            request_id: request_id?,
            method: method?,
            path: path?,
            host: host?,
            rpc_method: rpc_method?,
            ..fixed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str) -> AccessRecord<'_> {
        AccessRecord {
            start_unix_us: 1_764_000_000_000_000,
            duration_us: 1234,
            upstream_us: 1000,
            status: 200,
            listener: ListenerId(1),
            route: RouteIndex(2),
            endpoint: EndpointId(3),
            reason: 0,
            retries: 1,
            bytes_in: 17,
            bytes_out: 1 << 40,
            client: Some(IpAddr::from([127, 0, 0, 1])),
            revision: 7,
            request_id: "0f",
            method: "POST",
            path,
            host: "a.example:81",
            rpc_method: "tools/call",
        }
    }

    #[test]
    fn records_come_back_as_they_went_in() {
        let mut batch = AccessBatch::with_capacity();
        let first = record("/mcp?x=1");
        let second = AccessRecord { client: None, host: "", rpc_method: "", ..record("/") };
        let third = AccessRecord { client: Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])), ..first };
        for one in [&first, &second, &third] {
            batch.push(one);
        }
        assert_eq!(batch.len(), 3);
        assert_eq!(batch.iter().collect::<Vec<_>>(), [first, second, third]);
    }

    #[test]
    fn long_paths_are_cut_and_a_batch_never_grows() {
        let long = "ä".repeat(4000);
        let mut batch = AccessBatch::with_capacity();
        let capacity = batch.bytes.capacity();
        while !batch.is_full() {
            batch.push(&record(&long));
        }
        assert!(batch.len() > 10);
        assert_eq!(batch.bytes.capacity(), capacity);
        assert!(batch.iter().all(|one| one.path.len() <= TEXT_BYTES_MAX));
    }
}
