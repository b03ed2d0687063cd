//! What goes out: a list of copied bytes, leases and owned vectors, in order, in a pooled block.
//!
//! The block's address is stable, so the kernel may read its vectors while an operation is in flight; the operation
//! table owns it then. `done` counts what was sent, and nothing is removed before the list is handed back: a list
//! can be replayed. Makes no system call.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use crate::buffers::GroupId;
use crate::error::IoError;
use crate::lease::Lease;
use crate::sys::RawAddr;

/// Leases up to this long are copied behind the head: one SEND is cheaper than a vector (measured: 1.06 to 1.11).
pub(crate) const COPY_BYTES_MAX: usize = 1536;
/// Vectors of one send; a longer list continues like a partial one. Half of the kernel's UIO_MAXIOV.
const VECTORS_MAX: usize = 512;
/// Blocks that the pool keeps.
const POOL_BLOCKS_MAX: usize = 512;
/// A block whose copy buffer grew beyond this gives the memory back.
const POOL_COPY_BYTES_MAX: usize = 16 * 1024;

enum Part {
    Copied(Range<usize>),
    Leased(Lease),
    Owned(Vec<u8>),
}

/// The memory behind a [`SendList`].
pub(crate) struct Block {
    copied: Vec<u8>,
    /// Bytes of `copied` that `parts` accounts for; what is beyond was appended through `head_mut`.
    settled: usize,
    /// Of those bytes: a caller that changes what it appended before is found out.
    #[cfg(debug_assertions)]
    seal: u64,
    parts: Vec<Part>,
    vectors: Vec<libc::iovec>,
    message: libc::msghdr,
    /// Bytes sent so far, and handed to the kernel in the operation now in flight.
    pub(crate) done: usize,
    pub(crate) submitted: usize,
    /// What is laid out reaches to the end of the list.
    to_the_end: bool,
    /// Leases that count against the group's bound of pinned ones, per group.
    pub(crate) pinned: [u32; 2],
    pub(crate) result: Result<(), IoError>,
    /// Where an operation that connects goes to.
    pub(crate) address: Option<Box<RawAddr>>,
}

impl Block {
    fn new() -> Self {
        let message = libc::msghdr {
            msg_name: std::ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: std::ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: std::ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Self {
            copied: Vec::new(),
            settled: 0,
            #[cfg(debug_assertions)]
            seal: seal(&[]),
            parts: Vec::new(),
            vectors: Vec::new(),
            message,
            done: 0,
            submitted: 0,
            to_the_end: true,
            pinned: [0; 2],
            result: Ok(()),
            address: None,
        }
    }

    fn settle(&mut self) {
        let end = self.copied.len();
        debug_assert!(end >= self.settled, "the copy buffer is append-only: it was cut");
        #[cfg(debug_assertions)]
        {
            debug_assert_eq!(
                self.seal,
                seal(&self.copied[..self.settled]),
                "the copy buffer is append-only: it was changed"
            );
            self.seal = seal(&self.copied);
        }
        if end > self.settled {
            match self.parts.last_mut() {
                Some(Part::Copied(range)) => range.end = end,
                _ => self.parts.push(Part::Copied(self.settled..end)),
            }
        }
        self.settled = end;
    }

    fn bytes(&self, part: &Part) -> (*const u8, usize) {
        let slice: &[u8] = match part {
            // A range that the caller cut away through `head_mut` sends nothing rather than something else.
            Part::Copied(range) => self.copied.get(range.clone()).unwrap_or_default(),
            Part::Leased(lease) => lease,
            Part::Owned(bytes) => bytes,
        };
        (slice.as_ptr(), slice.len())
    }

    /// Nothing but copied bytes: the usual case, which needs no vectors.
    #[inline]
    fn is_plain(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| self.bytes(part).1).sum();
        parts + self.copied.len().saturating_sub(self.settled)
    }

    /// Leases of the small and of the large group.
    #[inline]
    pub(crate) fn leases(&self) -> [u32; 2] {
        if self.is_plain() {
            return [0; 2];
        }
        let mut count = [0; 2];
        for part in &self.parts {
            if let Part::Leased(lease) = part
                && lease.group_id() != GroupId::Heap
            {
                count[lease.group_id().index()] += 1;
            }
        }
        count
    }

    /// Lays out what is left to send; returns how many bytes that is.
    #[inline]
    pub(crate) fn prepare(&mut self) -> usize {
        if self.is_plain() {
            self.to_the_end = true;
            self.submitted = self.copied.len().saturating_sub(self.done);
            return self.submitted;
        }
        self.lay_out()
    }

    fn lay_out(&mut self) -> usize {
        self.settle();
        let mut vectors = std::mem::take(&mut self.vectors);
        vectors.clear();
        self.to_the_end = true;
        let mut skip = self.done;
        let mut total = 0;
        for part in &self.parts {
            let (at, len) = self.bytes(part);
            if skip >= len {
                skip -= len;
                continue;
            }
            if vectors.len() == VECTORS_MAX {
                self.to_the_end = false;
                break;
            }
            let rest = len - skip;
            vectors.push(libc::iovec { iov_base: at.wrapping_add(skip).cast_mut().cast(), iov_len: rest });
            total += rest;
            skip = 0;
        }
        self.vectors = vectors;
        self.submitted = total;
        total
    }

    /// What [`Self::prepare`] laid out, if it is a single piece.
    #[inline]
    pub(crate) fn single(&self) -> Option<(*const u8, usize)> {
        if self.is_plain() {
            let rest = self.copied.get(self.done..).unwrap_or_default();
            return Some((rest.as_ptr(), rest.len()));
        }
        match self.vectors.as_slice() {
            [one] => Some((one.iov_base.cast_const().cast(), one.iov_len)),
            _ => None,
        }
    }

    /// What [`Self::prepare`] laid out, as a message whose address is stable.
    pub(crate) fn message(&mut self) -> *const libc::msghdr {
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = self.vectors.len();
        &raw const self.message
    }

    /// All of the list has been sent, if the last operation took `n` bytes.
    #[inline]
    pub(crate) fn is_done_with(&self, n: usize) -> bool {
        self.to_the_end && n == self.submitted
    }

    /// Copies every lease into owned memory, so that the buffers go back; returns the bytes copied.
    pub(crate) fn spill(&mut self) -> usize {
        let mut copied = 0;
        for part in &mut self.parts {
            if let Part::Leased(lease) = part {
                copied += lease.len();
                *part = Part::Owned(lease.to_vec());
            }
        }
        copied
    }

    fn reset(&mut self) {
        self.parts.clear();
        self.copied.clear();
        self.vectors.clear();
        (self.settled, self.done, self.submitted) = (0, 0, 0);
        #[cfg(debug_assertions)]
        {
            self.seal = seal(&[]);
        }
        self.result = Ok(());
        self.address = None;
    }
}

/// FNV-1a, for the one debug check above.
#[cfg(debug_assertions)]
fn seal(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}

/// Blocks that were used, the last one first.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a block keeps its address while the kernel reads its message")]
pub(crate) struct Pool(RefCell<Vec<Box<Block>>>);

impl Pool {
    #[inline]
    pub(crate) fn take(&self) -> Box<Block> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Box::new(Block::new()))
    }

    pub(crate) fn put(&self, mut block: Box<Block>) {
        // Leases are dropped here, outside the pool's cell.
        block.reset();
        if block.copied.capacity() > POOL_COPY_BYTES_MAX {
            block.copied = Vec::new();
        }
        let mut blocks = self.0.borrow_mut();
        if blocks.len() < POOL_BLOCKS_MAX {
            blocks.push(block);
        }
    }
}

/// Bytes to send, in order. Dropping it gives its memory back to the shard's pool and its leases to their groups.
pub struct SendList {
    block: Option<Box<Block>>,
    pool: Rc<Pool>,
}

impl SendList {
    /// Takes no block from the pool before something is put in.
    pub(crate) fn new(pool: &Rc<Pool>) -> Self {
        Self { block: None, pool: Rc::clone(pool) }
    }

    pub(crate) fn from_block(block: Box<Block>, pool: &Rc<Pool>) -> Self {
        Self { block: Some(block), pool: Rc::clone(pool) }
    }

    /// The block, for the operation table.
    pub(crate) fn into_block(mut self) -> Box<Block> {
        self.block.take().unwrap_or_else(|| self.pool.take())
    }

    #[inline]
    fn block(&mut self) -> &mut Block {
        self.block.get_or_insert_with(|| self.pool.take())
    }

    /// Copies `bytes` to the end.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.block().copied.extend_from_slice(bytes);
    }

    /// Appends a lease; a short one is copied and goes back at once.
    pub fn push_lease(&mut self, lease: Lease) {
        if lease.is_empty() {
            return;
        }
        let block = self.block();
        if lease.len() <= COPY_BYTES_MAX {
            block.copied.extend_from_slice(&lease);
        } else {
            block.settle();
            block.parts.push(Part::Leased(lease));
        }
    }

    /// Appends a vector without copying it; a short one is copied.
    pub fn push_owned(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let block = self.block();
        if bytes.len() <= COPY_BYTES_MAX {
            block.copied.extend_from_slice(&bytes);
        } else {
            block.settle();
            block.parts.push(Part::Owned(bytes));
        }
    }

    /// The copy buffer: what is appended goes to the end of the list. Only appending is allowed: what was there when a
    /// longer piece followed is not to be touched. A debug build panics, any other never sends bytes that are not
    /// in the buffer.
    pub fn head_mut(&mut self) -> &mut Vec<u8> {
        &mut self.block().copied
    }

    /// Bytes in the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.len())
    }

    /// Nothing in the list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of it that were handed to the kernel when it was sent last.
    #[must_use]
    pub fn bytes_done(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.done)
    }

    /// What is in the list, which is empty afterwards.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { block: self.block.take(), pool: Rc::clone(&self.pool) }
    }

    /// Empties the list, keeping its memory.
    pub fn clear(&mut self) {
        if let Some(block) = &mut self.block {
            block.reset();
        }
    }

    /// The bytes, one after the other: for tests and logs.
    #[must_use]
    pub fn to_vec(&mut self) -> Vec<u8> {
        let block = self.block();
        block.settle();
        let mut all = Vec::with_capacity(block.len());
        for part in &block.parts {
            match part {
                Part::Copied(range) => {
                    all.extend_from_slice(block.copied.get(range.clone()).unwrap_or_default())
                }
                Part::Leased(lease) => all.extend_from_slice(lease),
                Part::Owned(bytes) => all.extend_from_slice(bytes),
            }
        }
        all
    }
}

impl Drop for SendList {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.put(block);
        }
    }
}

impl fmt::Debug for SendList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendList({} bytes)", self.len())
    }
}

/// A send that has ended.
#[derive(Debug)]
pub struct Sent {
    /// The list as it was given, for a replay.
    pub list: SendList,
    /// Whether all of it was handed to the kernel.
    pub result: Result<(), IoError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> SendList {
        SendList::new(&Rc::new(Pool::default()))
    }

    fn long(byte: u8) -> Vec<u8> {
        vec![byte; COPY_BYTES_MAX + 1]
    }

    /// Sends like a kernel that takes at most `n` bytes at once; returns what it got and how often it was asked.
    fn send(block: &mut Block, n: usize) -> (Vec<u8>, usize) {
        let (mut all, mut times) = (Vec::new(), 0);
        while block.prepare() > 0 {
            times += 1;
            let pieces: Vec<(*const u8, usize)> = match block.single() {
                Some(one) => vec![one],
                None => block.vectors.iter().map(|v| (v.iov_base.cast_const().cast(), v.iov_len)).collect(),
            };
            assert_eq!(pieces.iter().map(|(_, len)| len).sum::<usize>(), block.submitted);
            let mut taken = 0;
            for (at, len) in pieces {
                let len = len.min(n - taken);
                // SAFETY: a piece of memory that the block owns.
                all.extend_from_slice(unsafe { std::slice::from_raw_parts(at, len) });
                taken += len;
            }
            block.done += taken;
            if block.is_done_with(taken) {
                break;
            }
        }
        assert_eq!(block.prepare(), 0, "done means done");
        (all, times)
    }

    #[test]
    fn every_list_is_sent_whole_however_little_is_taken_at_once() {
        for n in [1, 7, 1000, usize::MAX] {
            let mut plain = list();
            plain.push_bytes(b"a head");
            plain.head_mut().extend_from_slice(b" and more");
            let mut mixed = list();
            mixed.push_owned(long(b'1'));
            mixed.push_bytes(b"between");
            mixed.push_owned(long(b'2'));
            mixed.push_bytes(b"the end");
            for mut list in [plain, mixed, list()] {
                let expected = list.to_vec();
                assert_eq!(list.len(), expected.len());
                assert!(send(&mut list.into_block(), n).0 == expected);
            }
        }
    }

    #[test]
    fn a_list_of_more_pieces_than_a_send_takes_is_continued() {
        let mut many = list();
        for n in 0..2 * VECTORS_MAX {
            many.push_owned(long(n as u8));
        }
        let expected = many.to_vec();
        let (got, times) = send(&mut many.into_block(), usize::MAX);
        assert!(got == expected);
        assert_eq!(times, 2);
    }

    #[test]
    fn a_replay_sends_the_same_again() {
        let mut list = list();
        list.push_bytes(b"first");
        let mut block = list.into_block();
        assert_eq!(send(&mut block, 2).0, b"first");
        block.done = 0;
        assert_eq!(send(&mut block, usize::MAX).0, b"first");
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_head_that_is_changed_behind_a_longer_piece_is_found_out() {
        let change = |change: fn(&mut Vec<u8>)| {
            let mut list = list();
            list.push_bytes(b"head");
            list.push_owned(long(b'x'));
            change(list.head_mut());
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| list.to_vec())).is_ok()
        };
        assert!(change(|head| head.extend_from_slice(b"more")));
        assert!(!change(|head| head[0] = b'H'));
        assert!(!change(|head| head.truncate(2)));
    }
}
