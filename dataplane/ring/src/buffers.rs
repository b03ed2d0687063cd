//! Groups of receive buffers and the leases on them.
//!
//! [`Book`] counts (pure); [`Group`] owns the memory and, under io_uring, the ring through which buffers go to
//! the kernel. Invariants: a buffer is with the kernel, free, or leased, never two of them; memory under a lease
//! is never written; returns become visible to the kernel at [`Group::publish`] alone, once per turn.

use std::cell::{Cell, RefCell};
use std::ops::{Bound, Deref, RangeBounds};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::config::GroupConfig;
use crate::sys::Mapping;

/// No buffer, at the end of a queue.
pub(crate) const NO_CODE: u16 = u16::MAX;
/// Bits of a buffer's number in a code; the group is above.
const BID_BITS: u32 = 14;
/// Index of the group on the heap.
pub(crate) const OVERFLOW: usize = 2;
/// What the heap group may hold: buffers, and bytes in them.
const OVERFLOW_COUNT: u16 = 4096;
const OVERFLOW_BYTES_MAX: usize = 64 << 20;

/// The groups of a shard: small, large, and the one on the heap.
pub(crate) type Groups = [Rc<Group>; 3];

/// A buffer of any group in 16 bits.
pub(crate) const fn code(group: usize, bid: u16) -> u16 {
    ((group as u16) << BID_BITS) | bid
}

/// The group and buffer of a code.
pub(crate) const fn decode(code: u16) -> (usize, u16) {
    ((code >> BID_BITS) as usize, code & ((1 << BID_BITS) - 1))
}

#[derive(Default)]
struct Meta {
    refs: Cell<u32>,
    /// Length of what was received, and the next buffer in its connection's queue.
    len: Cell<u32>,
    next: Cell<u16>,
}

/// Who has which buffer.
pub(crate) struct Book {
    meta: Box<[Meta]>,
    /// Neither leased nor with the kernel. The epoll driver takes from its end: the hottest buffer.
    free: RefCell<Vec<u16>>,
    leased: Cell<u32>,
    pinned: Cell<u32>,
}

impl Book {
    pub(crate) fn new(count: u16) -> Self {
        Self {
            meta: (0..count).map(|_| Meta::default()).collect(),
            free: RefCell::new((0..count).rev().collect()),
            leased: Cell::new(0),
            pinned: Cell::new(0),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.meta.len() as u32
    }

    /// Buffers that are with the kernel or free.
    pub(crate) fn available(&self) -> u32 {
        self.count() - self.leased.get()
    }

    pub(crate) fn leased(&self) -> u32 {
        self.leased.get()
    }

    /// Takes the free buffer that was used last.
    pub(crate) fn take_free(&self) -> Option<u16> {
        self.free.borrow_mut().pop()
    }

    /// Gives back a buffer that [`Self::take_free`] gave and that was never leased.
    pub(crate) fn put_free(&self, bid: u16) {
        self.free.borrow_mut().push(bid);
    }

    /// Marks a filled buffer as leased once. False for an id that is not ours or is leased already.
    pub(crate) fn lease(&self, bid: u16, len: u32) -> bool {
        match self.meta.get(usize::from(bid)) {
            Some(meta) if meta.refs.get() == 0 => {
                meta.refs.set(1);
                meta.len.set(len);
                meta.next.set(NO_CODE);
                self.leased.set(self.leased.get() + 1);
                true
            }
            _ => false,
        }
    }

    fn retain(&self, bid: u16) {
        let refs = &self.meta[usize::from(bid)].refs;
        debug_assert!(refs.get() > 0, "only a leased buffer is shared");
        refs.set(refs.get() + 1);
    }

    /// Few are left: what is received now is better copied away.
    pub(crate) fn is_scarce(&self) -> bool {
        self.available() < (self.count() / 4).max(1)
    }

    /// Ends one lease; the last one frees the buffer, and is told.
    fn release(&self, bid: u16) -> bool {
        let refs = &self.meta[usize::from(bid)].refs;
        debug_assert!(refs.get() > 0, "a lease ends once");
        refs.set(refs.get() - 1);
        if refs.get() == 0 {
            self.leased.set(self.leased.get() - 1);
            self.free.borrow_mut().push(bid);
        }
        refs.get() == 0
    }

    pub(crate) fn len_of(&self, bid: u16) -> u32 {
        self.meta[usize::from(bid)].len.get()
    }

    pub(crate) fn next_of(&self, bid: u16) -> u16 {
        self.meta[usize::from(bid)].next.get()
    }

    pub(crate) fn set_next(&self, bid: u16, next: u16) {
        self.meta[usize::from(bid)].next.set(next);
    }

    /// Reserves `n` buffers for sends that may wait; refused beyond half of the group.
    pub(crate) fn pin(&self, n: u32) -> bool {
        let pinned = self.pinned.get() + n;
        let fits = pinned <= (self.count() / 2).max(1);
        if fits {
            self.pinned.set(pinned);
        }
        fits
    }

    pub(crate) fn unpin(&self, n: u32) {
        debug_assert!(self.pinned.get() >= n, "unpinned once");
        self.pinned.set(self.pinned.get().saturating_sub(n));
    }
}

/// The entries through which buffers go to the kernel.
struct BufferRing {
    entries: Mapping,
    mask: u16,
    tail: Cell<u16>,
}

impl BufferRing {
    fn entry(&self, position: u16) -> *mut BufRingEntry {
        let at = self.entries.at().cast::<BufRingEntry>();
        // SAFETY: the mapping holds `mask + 1` entries.
        unsafe { at.add(usize::from(position & self.mask)) }
    }

    fn store_tail(&self) {
        // SAFETY: the base is the page-aligned start of the mapped entries.
        let tail = unsafe { BufRingEntry::tail(self.entry(0)) };
        // SAFETY: the tail lies in the mapping, is aligned, and is read by the kernel alone.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail.get(), Ordering::Release);
    }
}

/// Where the bytes are.
enum Memory {
    /// Buffers of one size, for the kernel.
    Mapped { mapping: Mapping, stride: usize },
    /// Each as long as what was copied into it.
    Heap { buffers: RefCell<Vec<Box<[u8]>>>, bytes: Cell<usize> },
}

/// One group of buffers. Lives as long as the last lease on it.
pub(crate) struct Group {
    book: Book,
    memory: Memory,
    size: u32,
    ring: Option<BufferRing>,
}

/// The distance of two buffers: the size, and an odd number of cache lines, so that the starts of the buffers
/// spread over all sets of the first-level cache.
fn stride_of(size: u32) -> usize {
    let lines = (size as usize).div_ceil(64);
    64 * (lines + if lines.is_multiple_of(2) { 1 } else { 2 })
}

impl Group {
    /// With `ring` the buffers are meant for the kernel: [`Self::ring_entries`] is what to register.
    pub(crate) fn new(config: GroupConfig, ring: bool) -> std::io::Result<Self> {
        let stride = stride_of(config.size);
        let mapping = Mapping::new(stride * usize::from(config.count))?;
        let ring = if ring {
            let count = config.count.next_power_of_two();
            let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
            Some(BufferRing { entries, mask: count - 1, tail: Cell::new(0) })
        } else {
            None
        };
        let memory = Memory::Mapped { mapping, stride };
        Ok(Self { book: Book::new(config.count), memory, size: config.size, ring })
    }

    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Address and number of the entries to register.
    pub(crate) fn ring_entries(&self) -> Option<(u64, u16)> {
        self.ring.as_ref().map(|ring| (ring.entries.at() as u64, ring.mask + 1))
    }

    /// The group that takes copies when another one runs short, so that connections that nobody reads, or whose
    /// tasks hold on to what they received, cannot take the last buffers from all others.
    pub(crate) fn overflow() -> Self {
        let memory = Memory::Heap { buffers: RefCell::new(Vec::new()), bytes: Cell::new(0) };
        Self { book: Book::new(OVERFLOW_COUNT), memory, size: u32::MAX, ring: None }
    }

    /// Copies `bytes` into a leased buffer of the heap group; `None` when its bounds are reached.
    pub(crate) fn copy_in(&self, bytes: &[u8]) -> Option<u16> {
        let Memory::Heap { buffers, bytes: used } = &self.memory else { return None };
        if used.get() + bytes.len() > OVERFLOW_BYTES_MAX {
            return None;
        }
        let bid = self.book.take_free()?;
        let mut buffers = buffers.borrow_mut();
        let at = usize::from(bid);
        if buffers.len() <= at {
            buffers.resize_with(at + 1, Box::default);
        }
        buffers[at] = bytes.into();
        used.set(used.get() + bytes.len());
        self.book.lease(bid, bytes.len() as u32).then_some(bid)
    }

    /// Ends one lease on a buffer.
    pub(crate) fn release(&self, bid: u16) {
        let freed = self.book.release(bid);
        if let (true, Memory::Heap { buffers, bytes }) = (freed, &self.memory) {
            let buffer = std::mem::take(&mut buffers.borrow_mut()[usize::from(bid)]);
            bytes.set(bytes.get() - buffer.len());
        }
    }

    /// The bytes received into a leased buffer.
    pub(crate) fn received(&self, bid: u16) -> &[u8] {
        let len = self.book.len_of(bid).min(self.size) as usize;
        // SAFETY: the buffer has at least `len` bytes, all initialized, and nobody writes it while it is leased.
        unsafe { std::slice::from_raw_parts(self.at(bid), len) }
    }

    /// Where a buffer begins.
    pub(crate) fn at(&self, bid: u16) -> *mut u8 {
        match &self.memory {
            Memory::Mapped { mapping, stride } => {
                debug_assert!(u32::from(bid) < self.book.count());
                // SAFETY: `bid` is below the number of buffers that the memory was made for.
                unsafe { mapping.at().add(usize::from(bid) * stride) }
            }
            // A box does not move with the vector that holds it.
            Memory::Heap { buffers, .. } => buffers.borrow()[usize::from(bid)].as_ptr().cast_mut(),
        }
    }

    /// Hands all free buffers to the kernel with one store.
    pub(crate) fn publish(&self) {
        let Some(ring) = &self.ring else { return };
        let mut free = self.book.free.borrow_mut();
        if free.is_empty() {
            return;
        }
        for bid in free.drain(..) {
            let tail = ring.tail.get();
            let entry = ring.entry(tail);
            // SAFETY: behind the tail lies nothing that the kernel reads: at most `count` buffers exist, each once.
            let entry = unsafe { &mut *entry };
            entry.set_addr(self.at(bid) as u64);
            entry.set_len(self.size);
            entry.set_bid(bid);
            ring.tail.set(tail.wrapping_add(1));
        }
        ring.store_tail();
    }
}

/// Received bytes in a buffer that goes back when the last lease on it is dropped.
pub struct Lease {
    group: Rc<Group>,
    at: u32,
    len: u32,
    bid: u16,
    index: u8,
}

const _: () = assert!(size_of::<Lease>() <= 24);

impl Lease {
    /// Takes over one reference that the book already counts.
    pub(crate) fn new(group: &Rc<Group>, index: usize, bid: u16) -> Self {
        let len = group.book.len_of(bid).min(group.size);
        Self { group: Rc::clone(group), at: 0, len, bid, index: index as u8 }
    }

    /// The index of its group.
    pub(crate) fn group_index(&self) -> usize {
        usize::from(self.index)
    }

    /// Forgets the first `n` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len as usize, "advance by {n} in a lease of {}", self.len);
        self.at += n as u32;
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
        self.group.book.retain(self.bid);
        Self {
            group: Rc::clone(&self.group),
            at: self.at + start as u32,
            len: (end - start) as u32,
            bid: self.bid,
            index: self.index,
        }
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
        // SAFETY: `at` never exceeds the received length, which never exceeds the buffer.
        let at = unsafe { self.group.at(self.bid).add(self.at as usize) };
        // SAFETY: `at + len` is inside the buffer, which was filled so far (zeroed memory otherwise) and which
        // nobody writes while it is leased; the group keeps the memory mapped.
        unsafe { std::slice::from_raw_parts(at, self.len as usize) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.group.release(self.bid);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn starts_of_large_buffers_spread_over_the_cache() {
        for size in [2048u32, 4096, 32768, 100] {
            let stride = stride_of(size);
            assert!(stride >= size as usize && stride % 128 == 64, "{size} -> {stride}");
            let sets: std::collections::BTreeSet<usize> = (0..64).map(|n| n * stride / 64 % 64).collect();
            assert_eq!(sets.len(), 64, "{size}");
        }
    }

    #[test]
    fn copies_are_bounded_and_freed() {
        let group = Rc::new(Group::overflow());
        let half = vec![7; OVERFLOW_BYTES_MAX / 2];
        let leases: Vec<Lease> =
            (0..2).map(|_| Lease::new(&group, OVERFLOW, group.copy_in(&half).expect("fits"))).collect();
        assert_eq!(group.copy_in(b"x"), None, "no byte beyond the bound");
        assert!(*leases[1] == half[..]);
        drop(leases);
        assert_eq!(group.book().leased(), 0);
        let bids: Vec<u16> = (0..OVERFLOW_COUNT).map(|_| group.copy_in(b"x").expect("fits")).collect();
        assert_eq!(group.copy_in(b"x"), None, "no buffer beyond the bound");
        bids.into_iter().for_each(|bid| group.release(bid));
    }

    #[test]
    fn returns_reach_the_kernel_with_one_store_per_turn() {
        let group = Group::new(GroupConfig { count: 4, size: 64 }, true).expect("memory");
        let tail = || {
            let ring = group.ring.as_ref().expect("a ring");
            // SAFETY: the base of the mapped entries.
            let tail = unsafe { BufRingEntry::tail(ring.entry(0)) };
            // SAFETY: it lies in the mapping.
            unsafe { tail.read_volatile() }
        };
        group.publish();
        assert_eq!(tail(), 4);
        for bid in [2, 0, 3] {
            assert!(group.book().lease(bid, 1));
            group.release(bid);
            assert_eq!(tail(), 4, "not before the turn's end");
        }
        group.publish();
        assert_eq!(tail(), 7);
        let ring = group.ring.as_ref().expect("a ring");
        let order: Vec<u16> = (4..7)
            .map(|n| {
                // SAFETY: an entry inside the mapping.
                unsafe { &*ring.entry(n) }.bid()
            })
            .collect();
        assert_eq!(order, [2, 0, 3]);
    }

    #[test]
    fn pins_stop_at_half() {
        let book = Book::new(8);
        assert!(book.pin(3) && book.pin(1) && !book.pin(1));
        book.unpin(1);
        assert!(book.pin(1));
    }

    proptest! {
        #[test]
        fn every_buffer_is_in_one_place(ops in prop::collection::vec(any::<(u8, u8)>(), 1..300)) {
            let group = Rc::new(Group::new(GroupConfig { count: 8, size: 64 }, false).expect("memory"));
            let book = group.book();
            let mut leases: Vec<Lease> = Vec::new();
            for (op, pick) in ops {
                match op % 3 {
                    0 => if let Some(bid) = book.take_free() {
                        prop_assert!(book.lease(bid, 10));
                        prop_assert!(!book.lease(bid, 10));
                        leases.push(Lease::new(&group, 0, bid));
                    },
                    1 if !leases.is_empty() => {
                        let part = leases[usize::from(pick) % leases.len()].slice(2..6);
                        prop_assert!(part.len() == 4 || part.is_empty());
                        leases.push(part.slice(..).slice(0..0));
                        leases.push(part.slice(0..4));
                        let last = leases.len() - 1;
                        leases[last].truncate(10);
                        leases.truncate(64);
                        leases.retain(|l| l.len() >= 6);
                    }
                    _ => if !leases.is_empty() {
                        leases.swap_remove(usize::from(pick) % leases.len());
                    },
                }
                let mut bids: Vec<u16> = leases.iter().map(|l| l.bid).collect();
                bids.sort_unstable();
                bids.dedup();
                prop_assert_eq!(bids.len() as u32, book.leased());
                prop_assert_eq!(book.free.borrow().len() as u32, book.available());
                prop_assert!(bids.iter().all(|b| !book.free.borrow().contains(b)));
            }
        }
    }
}
