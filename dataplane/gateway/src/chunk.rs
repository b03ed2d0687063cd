//! Received bytes on their way through an exchange: leased from the ring, or owned where they had to be joined.
//!
//! Never copies what is leased, except when a head came in pieces.

use std::ops::{Deref, Range};

use erlmcp_ring::{Lease, SendList};

/// Some received bytes.
pub(crate) enum Chunk {
    /// In a receive buffer, which goes back when this is dropped.
    Lease(Lease),
    /// In memory of their own, from the offset on.
    Owned(Vec<u8>, usize),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lease(lease) => lease,
            Self::Owned(bytes, at) => &bytes[*at..],
        }
    }
}

impl Chunk {
    fn advance(&mut self, n: usize) {
        match self {
            Self::Lease(lease) => lease.advance(n),
            Self::Owned(_, at) => *at += n,
        }
    }

    /// Appends a part of this to a send; leases are shared, not copied, unless they are small.
    pub(crate) fn push_part(&self, range: Range<usize>, out: &mut SendList) {
        match self {
            Self::Lease(lease) => out.push_lease(lease.slice(range)),
            Self::Owned(bytes, at) => out.push_bytes(&bytes[at + range.start..at + range.end]),
        }
    }

    /// Appends all of this to a send.
    fn push_into(self, out: &mut SendList) {
        match self {
            Self::Lease(lease) => out.push_lease(lease),
            Self::Owned(bytes, 0) => out.push_owned(bytes),
            Self::Owned(bytes, at) => out.push_bytes(&bytes[at..]),
        }
    }
}

/// What a connection has received and nobody has used yet. Empty, it holds no buffer.
#[derive(Default)]
pub(crate) struct Inbound(Option<Chunk>);

impl Inbound {
    /// The unused bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds what came next. Joining copies: only heads in pieces and pipelined requests come here with bytes left.
    #[inline]
    pub(crate) fn push(&mut self, next: Chunk) {
        match &mut self.0 {
            None if next.is_empty() => {}
            None => self.0 = Some(next),
            Some(Chunk::Owned(bytes, _)) => bytes.extend_from_slice(&next),
            Some(Chunk::Lease(first)) => self.0 = Some(Chunk::Owned([&**first, &*next].concat(), 0)),
        }
    }

    /// Marks the first `n` bytes as used; the buffer goes back with the last one.
    pub(crate) fn consume(&mut self, n: usize) {
        if let Some(chunk) = &mut self.0 {
            if n >= chunk.len() {
                self.0 = None;
            } else {
                chunk.advance(n);
            }
        }
    }

    /// Appends `range` of the unused bytes to a send.
    pub(crate) fn push_part(&self, range: Range<usize>, out: &mut SendList) {
        if let Some(chunk) = &self.0 {
            chunk.push_part(range, out);
        }
    }

    /// Lets go of the receive buffer: what must be kept while waiting is kept in memory of its own.
    pub(crate) fn own(&mut self) {
        if let Some(Chunk::Lease(lease)) = &self.0 {
            self.0 = Some(Chunk::Owned(lease.to_vec(), 0));
        }
    }

    /// Moves everything to a send; the whole lease goes, without a reference of its own.
    pub(crate) fn push_all(&mut self, out: &mut SendList) {
        if let Some(chunk) = self.0.take() {
            chunk.push_into(out);
        }
    }
}
