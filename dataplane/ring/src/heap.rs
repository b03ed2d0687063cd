//! The group of buffers on the heap: copies of what was received while the kernel's buffers ran short.
//!
//! Bounded by bytes, bookkeeping included, and not by a count, so that many small leases do not use it up. Its bytes
//! never move while they are leased. Makes no system call.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use crate::buffers::Code;
use crate::slab::Slab;

/// What the copies of a shard may take, bytes.
pub(crate) const BYTES_MAX: usize = 64 << 20;
/// What a copy costs beside its bytes: its place in the slab and the allocator's header, rounded up.
pub(crate) const OVERHEAD_BYTES: usize = 64;

const _: () = assert!(Slab::<Copied>::slot_bytes() + 16 <= OVERHEAD_BYTES);

struct Copied {
    bytes: Box<[u8]>,
    refs: u32,
    next: Code,
}

pub(crate) struct Heap {
    copies: RefCell<Slab<Copied>>,
    used: Cell<usize>,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self { copies: RefCell::new(Slab::new()), used: Cell::new(0) }
    }

    /// Bytes in use, bookkeeping included.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Copies `bytes` and leases the copy once; `None` when the bound is reached.
    pub(crate) fn copy_in(&self, bytes: &[u8]) -> Option<u32> {
        let used = self.used.get() + bytes.len() + OVERHEAD_BYTES;
        if used > BYTES_MAX {
            return None;
        }
        self.used.set(used);
        let copied = Copied { bytes: bytes.into(), refs: 1, next: Code::NONE };
        Some(self.copies.borrow_mut().insert(copied).index)
    }

    fn with<R>(&self, id: u32, f: impl FnOnce(&mut Copied) -> R) -> Option<R> {
        let mut copies = self.copies.borrow_mut();
        let copied = copies.at_mut(id);
        debug_assert!(copied.is_some(), "only a leased copy is used");
        copied.map(f)
    }

    pub(crate) fn received(&self, id: u32) -> (NonNull<u8>, u32) {
        // A box does not move with the slab that holds it.
        let found =
            self.with(id, |copied| (NonNull::from(&mut copied.bytes[..]).cast(), copied.bytes.len() as u32));
        found.unwrap_or((NonNull::dangling(), 0))
    }

    pub(crate) fn next_of(&self, id: u32) -> Code {
        self.with(id, |copied| copied.next).unwrap_or(Code::NONE)
    }

    pub(crate) fn set_next(&self, id: u32, next: Code) {
        self.with(id, |copied| copied.next = next);
    }

    pub(crate) fn retain(&self, id: u32) {
        self.with(id, |copied| copied.refs += 1);
    }

    /// Ends one lease; the last one frees the copy.
    pub(crate) fn release(&self, id: u32) {
        let freed = self.with(id, |copied| {
            copied.refs -= 1;
            copied.refs == 0
        });
        if freed != Some(true) {
            return;
        }
        let mut copies = self.copies.borrow_mut();
        let copied = copies.key_at(id).and_then(|key| copies.remove(key));
        if let Some(copied) = copied {
            self.used.set(self.used.get() - copied.bytes.len() - OVERHEAD_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_bounded_by_bytes_and_freed() {
        let heap = Heap::new();
        let half = vec![7; BYTES_MAX / 2 - OVERHEAD_BYTES];
        let both = [heap.copy_in(&half).expect("fits"), heap.copy_in(&half).expect("fits")];
        assert_eq!(heap.copy_in(b""), None, "nothing beyond the bound");
        both.into_iter().for_each(|id| heap.release(id));
        let small: Vec<u32> = (0..100_000).map(|_| heap.copy_in(b"x").expect("fits")).collect();
        assert_eq!(heap.used(), 100_000 * (1 + OVERHEAD_BYTES), "small ones are bounded by bytes alone");
        small.into_iter().for_each(|id| heap.release(id));
        assert_eq!(heap.used(), 0);
    }

    #[test]
    fn a_copy_lives_until_its_last_lease_and_does_not_move() {
        let heap = Heap::new();
        let first = heap.copy_in(b"stays").expect("fits");
        let (at, len) = heap.received(first);
        heap.retain(first);
        let more: Vec<u32> = (0..1000).map(|_| heap.copy_in(b"more").expect("fits")).collect();
        heap.release(first);
        assert_eq!(heap.received(first), (at, len));
        // SAFETY: one lease is left, so the bytes are there.
        assert_eq!(unsafe { std::slice::from_raw_parts(at.as_ptr(), len as usize) }, b"stays");
        heap.release(first);
        more.into_iter().for_each(|id| heap.release(id));
        assert_eq!(heap.used(), 0);
    }
}
