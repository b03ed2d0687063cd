//! Groups of receive buffers: who has which one, and the ring through which they go to the kernel.
//!
//! [`Book`] counts (pure); [`Group`] owns the memory. Invariants: a buffer is with the kernel, free, or leased, never
//! two of them; memory under a lease is never written; returns become visible to the kernel at [`Group::publish`]
//! alone, once per turn.

use std::cell::{Cell, RefCell};
use std::ops::Index;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::config::GroupConfig;
use crate::heap::Heap;
use crate::sys::Mapping;

/// One of the groups of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum GroupId {
    /// Many small buffers.
    Small = 0,
    /// Few large buffers.
    Large = 1,
    /// Copies, when one of the others runs short.
    Heap = 2,
}

impl GroupId {
    /// Those that the kernel fills.
    pub(crate) const FILLED: [Self; 2] = [Self::Small, Self::Large];

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// The groups of a shard.
#[derive(Clone)]
pub(crate) struct Groups([Rc<Group>; 3]);

impl Groups {
    /// With `rings` the buffers are meant for the kernel: [`Group::ring_entries`] is what to register.
    ///
    /// # Errors
    /// When the memory cannot be mapped.
    pub(crate) fn new(small: GroupConfig, large: GroupConfig, rings: bool) -> std::io::Result<Self> {
        let small = Group::new(GroupId::Small, small, rings)?;
        let large = Group::new(GroupId::Large, large, rings)?;
        Ok(Self([Rc::new(small), Rc::new(large), Rc::new(Group::heap())]))
    }

    /// Those that the kernel fills.
    pub(crate) fn filled(&self) -> impl Iterator<Item = &Rc<Group>> {
        self.0[..2].iter()
    }

    /// Bytes of copies on the heap.
    pub(crate) fn heap_used(&self) -> usize {
        match &self[GroupId::Heap].memory {
            Memory::Heap(heap) => heap.used(),
            Memory::Mapped { .. } => 0,
        }
    }
}

impl Index<GroupId> for Groups {
    type Output = Rc<Group>;

    #[inline]
    fn index(&self, id: GroupId) -> &Rc<Group> {
        &self.0[id.index()]
    }
}

/// A buffer of any group in 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Code(u32);

impl Code {
    /// No buffer, at the end of a queue.
    pub(crate) const NONE: Self = Self(u32::MAX);
    const BID_BITS: u32 = 30;

    pub(crate) const fn new(group: GroupId, bid: u32) -> Self {
        Self(((group as u32) << Self::BID_BITS) | bid)
    }

    #[inline]
    pub(crate) const fn parts(self) -> (GroupId, u32) {
        let group = match self.0 >> Self::BID_BITS {
            0 => GroupId::Small,
            1 => GroupId::Large,
            _ => GroupId::Heap,
        };
        (group, self.0 & ((1 << Self::BID_BITS) - 1))
    }
}

struct Meta {
    refs: Cell<u32>,
    /// Length of what was received, and the next buffer in its connection's queue.
    len: Cell<u32>,
    next: Cell<Code>,
}

/// Who has which buffer of a group that the kernel fills.
pub(crate) struct Book {
    meta: Box<[Meta]>,
    /// Neither leased nor with the kernel. The epoll driver takes from its end: the hottest buffer.
    free: RefCell<Vec<u16>>,
    leased: Cell<u32>,
    pinned: Cell<u32>,
    /// A quarter, kept for connections that have nothing queued.
    reserve: u32,
}

impl Book {
    pub(crate) fn new(count: u16) -> Self {
        let meta = |_| Meta { refs: Cell::new(0), len: Cell::new(0), next: Cell::new(Code::NONE) };
        Self {
            meta: (0..count).map(meta).collect(),
            free: RefCell::new((0..count).rev().collect()),
            leased: Cell::new(0),
            pinned: Cell::new(0),
            reserve: u32::from(count / 4).max(1),
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

    /// Buffers above the reserve, which is kept for connections that have nothing queued.
    pub(crate) fn spare(&self) -> u32 {
        self.available().saturating_sub(self.reserve)
    }

    /// Nothing but the reserve is left.
    #[inline]
    pub(crate) fn is_scarce(&self) -> bool {
        self.available() <= self.reserve
    }

    /// A lease from the reserve is out: it is better copied away.
    #[inline]
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.available() < self.reserve
    }

    /// [`Self::is_scarce`] for a driver that takes buffers itself, before they count as leased.
    pub(crate) fn is_short(&self) -> bool {
        self.free.borrow().len() as u32 <= self.reserve
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
    #[inline]
    pub(crate) fn lease(&self, bid: u16, len: u32) -> bool {
        match self.meta.get(usize::from(bid)) {
            Some(meta) if meta.refs.get() == 0 => {
                meta.refs.set(1);
                meta.len.set(len);
                meta.next.set(Code::NONE);
                self.leased.set(self.leased.get() + 1);
                true
            }
            _ => false,
        }
    }

    fn retain(&self, bid: u32) {
        let refs = &self.meta[bid as usize].refs;
        debug_assert!(refs.get() > 0, "only a leased buffer is shared");
        refs.set(refs.get() + 1);
    }

    /// Ends one lease; the last one frees the buffer.
    #[inline]
    fn release(&self, bid: u32) {
        let refs = &self.meta[bid as usize].refs;
        debug_assert!(refs.get() > 0, "a lease ends once");
        refs.set(refs.get() - 1);
        if refs.get() == 0 {
            self.leased.set(self.leased.get() - 1);
            // A bid is one of `count`, which fits.
            self.free.borrow_mut().push(bid as u16);
        }
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
    Heap(Heap),
}

/// One group of buffers. Lives as long as the last lease on it.
pub(crate) struct Group {
    id: GroupId,
    book: Book,
    memory: Memory,
    size: u32,
    /// Bytes that one connection may have queued while nothing but the reserve is left.
    share: Cell<u32>,
    ring: Option<BufferRing>,
}

/// The distance of two buffers: the size, and an odd number of cache lines, so that the starts of the buffers
/// spread over all sets of the first-level cache.
fn stride_of(size: u32) -> usize {
    let lines = (size as usize).div_ceil(64);
    64 * (lines + if lines.is_multiple_of(2) { 1 } else { 2 })
}

impl Group {
    fn new(id: GroupId, config: GroupConfig, ring: bool) -> std::io::Result<Self> {
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
        let (book, size) = (Book::new(config.count), config.size);
        Ok(Self { id, book, memory, size, share: Cell::new(u32::MAX), ring })
    }

    /// The group that takes copies when another one runs short, so that connections that nobody reads, or whose
    /// tasks hold on to what they received, cannot take the last buffers from all others.
    fn heap() -> Self {
        let memory = Memory::Heap(Heap::new());
        let (book, size) = (Book::new(0), u32::MAX);
        Self { id: GroupId::Heap, book, memory, size, share: Cell::new(u32::MAX), ring: None }
    }

    pub(crate) fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// While nothing but the reserve is left: the bytes that one connection may have queued. `u32::MAX` otherwise.
    #[inline]
    pub(crate) fn share(&self) -> u32 {
        self.share.get()
    }

    pub(crate) fn set_share(&self, bytes: u32) {
        self.share.set(bytes);
    }

    /// How much of a buffer the next receives may fill: no more than a share.
    pub(crate) fn offered(&self) -> u32 {
        self.share.get().min(self.size)
    }

    /// Address and number of the entries to register.
    pub(crate) fn ring_entries(&self) -> Option<(u64, u16)> {
        self.ring.as_ref().map(|ring| (ring.entries.at() as u64, ring.mask + 1))
    }

    /// Copies a leased buffer into `heap`; `None` when its bound is reached.
    pub(crate) fn copy_to(&self, heap: &Self, bid: u16) -> Option<u32> {
        let Memory::Heap(heap) = &heap.memory else { return None };
        let (at, len) = self.received(u32::from(bid));
        // SAFETY: the buffer has at least `len` bytes, all initialized, and nobody writes it while it is leased.
        heap.copy_in(unsafe { std::slice::from_raw_parts(at.as_ptr(), len as usize) })
    }

    pub(crate) fn retain(&self, bid: u32) {
        match &self.memory {
            Memory::Mapped { .. } => self.book.retain(bid),
            Memory::Heap(heap) => heap.retain(bid),
        }
    }

    /// Ends one lease on a buffer.
    #[inline]
    pub(crate) fn release(&self, bid: u32) {
        match &self.memory {
            Memory::Mapped { .. } => self.book.release(bid),
            Memory::Heap(heap) => heap.release(bid),
        }
    }

    /// Where the bytes received into a leased buffer are, and how many.
    #[inline]
    pub(crate) fn received(&self, bid: u32) -> (NonNull<u8>, u32) {
        match &self.memory {
            Memory::Mapped { mapping, stride } => {
                let len = self.book.meta[bid as usize].len.get().min(self.size);
                // SAFETY: `bid` is below the number of buffers that the memory was made for: it indexed the book.
                (unsafe { mapping.start().add(bid as usize * stride) }, len)
            }
            Memory::Heap(heap) => heap.received(bid),
        }
    }

    #[inline]
    pub(crate) fn len_of(&self, bid: u32) -> u32 {
        match &self.memory {
            Memory::Mapped { .. } => self.book.meta[bid as usize].len.get(),
            Memory::Heap(heap) => heap.received(bid).1,
        }
    }

    #[inline]
    pub(crate) fn next_of(&self, bid: u32) -> Code {
        match &self.memory {
            Memory::Mapped { .. } => self.book.meta[bid as usize].next.get(),
            Memory::Heap(heap) => heap.next_of(bid),
        }
    }

    pub(crate) fn set_next(&self, bid: u32, next: Code) {
        match &self.memory {
            Memory::Mapped { .. } => self.book.meta[bid as usize].next.set(next),
            Memory::Heap(heap) => heap.set_next(bid, next),
        }
    }

    /// Where a buffer that the kernel or a driver may fill begins.
    pub(crate) fn at(&self, bid: u16) -> *mut u8 {
        match &self.memory {
            Memory::Mapped { mapping, stride } if u32::from(bid) < self.book.count() => {
                // SAFETY: `bid` is below the number of buffers that the memory was made for.
                unsafe { mapping.at().add(usize::from(bid) * stride) }
            }
            _ => std::ptr::null_mut(),
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
            entry.set_len(self.offered());
            entry.set_bid(bid);
            ring.tail.set(tail.wrapping_add(1));
        }
        ring.store_tail();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Lease;
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
    fn returns_reach_the_kernel_with_one_store_per_turn() {
        let group = Group::new(GroupId::Small, GroupConfig { count: 4, size: 64 }, true).expect("memory");
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
            group.release(u32::from(bid));
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
    fn a_quarter_is_a_reserve() {
        let book = Book::new(8);
        for leased in 1..=8u32 {
            assert!(book.lease(leased as u16 - 1, 1));
            assert_eq!(book.spare(), 6u32.saturating_sub(leased));
            assert_eq!((book.is_scarce(), book.is_overdrawn()), (leased >= 6, leased > 6), "{leased} leased");
        }
    }

    #[test]
    fn codes_round_trip() {
        for group in [GroupId::Small, GroupId::Large, GroupId::Heap] {
            for bid in [0, 1, 16383, (1 << 30) - 2] {
                let code = Code::new(group, bid);
                assert_eq!(code.parts(), (group, bid));
                assert_ne!(code, Code::NONE);
            }
        }
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
            let group = Rc::new(Group::new(GroupId::Small, GroupConfig { count: 8, size: 64 }, false).expect("memory"));
            let book = group.book();
            let mut leases: Vec<Lease> = Vec::new();
            for (op, pick) in ops {
                match op % 3 {
                    0 => if let Some(bid) = book.take_free() {
                        prop_assert!(book.lease(bid, 10));
                        prop_assert!(!book.lease(bid, 10));
                        leases.push(Lease::new(&group, u32::from(bid)));
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
                let mut bids: Vec<u16> = leases.iter().map(|l| l.bid() as u16).collect();
                bids.sort_unstable();
                bids.dedup();
                prop_assert_eq!(bids.len() as u32, book.leased());
                prop_assert_eq!(book.free.borrow().len() as u32, book.available());
                prop_assert!(bids.iter().all(|b| !book.free.borrow().contains(b)));
            }
        }
    }
}
