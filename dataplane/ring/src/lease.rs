//! What a reader holds of received bytes: a counted reference on a buffer, which goes back with the last of them.
//!
//! Invariant: the bytes under a lease are neither written nor unmapped nor moved while it exists.

use std::ops::{Bound, Deref, RangeBounds};
use std::ptr::NonNull;
use std::rc::Rc;

use crate::buffers::{Group, GroupId};

/// Received bytes in a buffer that goes back when the last lease on it is dropped.
pub struct Lease {
    group: Rc<Group>,
    at: NonNull<u8>,
    len: u32,
    bid: u32,
}

const _: () = assert!(size_of::<Lease>() <= 24);

impl Lease {
    /// Takes over one reference that the group already counts.
    pub(crate) fn new(group: &Rc<Group>, bid: u32) -> Self {
        let (at, len) = group.received(bid);
        Self { group: Rc::clone(group), at, len, bid }
    }

    pub(crate) fn group_id(&self) -> GroupId {
        self.group.id()
    }

    #[cfg(test)]
    pub(crate) fn bid(&self) -> u32 {
        self.bid
    }

    /// Forgets the first `n` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len as usize, "advance by {n} in a lease of {}", self.len);
        // SAFETY: at most one past the end of the bytes received, as asserted.
        self.at = unsafe { self.at.add(n) };
        self.len -= n as u32;
    }

    /// Another lease on a part of the same buffer.
    ///
    /// # Panics
    /// If the range is outside.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(n) => n + 1,
            Bound::Excluded(n) => *n,
            Bound::Unbounded => self.len as usize,
        };
        assert!(start <= end && end <= self.len as usize, "slice {start}..{end} of a lease of {}", self.len);
        self.group.retain(self.bid);
        // SAFETY: inside the bytes received, as asserted.
        let at = unsafe { self.at.add(start) };
        Self { group: Rc::clone(&self.group), at, len: (end - start) as u32, bid: self.bid }
    }

    /// Keeps the first `n` bytes.
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(u32::try_from(n).unwrap_or(u32::MAX));
    }
}

impl Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `at` and `len` are inside what was received into the buffer (zeroed memory otherwise), which nobody
        // writes while it is leased; the group keeps the memory where it is.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len as usize) }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.group.release(self.bid);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} bytes)", self.len)
    }
}
