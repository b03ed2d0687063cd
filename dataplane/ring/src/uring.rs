//! The io_uring driver: one ring per shard, made and entered by the shard's thread alone.
//!
//! It turns requests into submissions and completions into [`Event`]s, and decides nothing. Invariants: memory that
//! a submission names belongs to the operation table until the terminal completion; a submission never gets lost,
//! what does not fit waits here, cancellations first; completions are copied out before anything handles them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};

use crate::buffers::{Group, GroupId, Groups};
use crate::slab::Key;
use crate::stats::RingStats;
use crate::table::{Event, Op, user_data};

/// Setup flags, newest first: the order in which they are given up on EINVAL (uapi/linux/io_uring.h).
pub(crate) mod setup {
    pub(crate) const NO_SQARRAY: u32 = 1 << 16; // Linux 6.6
    pub(crate) const DEFER_TASKRUN: u32 = 1 << 13; // Linux 6.1, needs SINGLE_ISSUER
    pub(crate) const SINGLE_ISSUER: u32 = 1 << 12; // Linux 6.0
    pub(crate) const TASKRUN_FLAG: u32 = 1 << 9; // Linux 5.19, needs COOP_TASKRUN or DEFER_TASKRUN
    pub(crate) const COOP_TASKRUN: u32 = 1 << 8; // Linux 5.19
    pub(crate) const SUBMIT_ALL: u32 = 1 << 7; // Linux 5.18
    pub(crate) const ORDER: [u32; 6] =
        [NO_SQARRAY, DEFER_TASKRUN, SINGLE_ISSUER, TASKRUN_FLAG, COOP_TASKRUN, SUBMIT_ALL];
    pub(crate) const ALL: u32 =
        NO_SQARRAY | DEFER_TASKRUN | SINGLE_ISSUER | TASKRUN_FLAG | COOP_TASKRUN | SUBMIT_ALL;
}

/// Makes a ring with exactly these flags.
pub(crate) fn build(flags: u32, sq_entries: u32, cq_entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(cq_entries);
    let has = |flag| flags & flag != 0;
    if has(setup::NO_SQARRAY) {
        builder.setup_no_sqarray();
    }
    if has(setup::DEFER_TASKRUN) {
        builder.setup_defer_taskrun();
    }
    if has(setup::SINGLE_ISSUER) {
        builder.setup_single_issuer();
    }
    if has(setup::TASKRUN_FLAG) {
        builder.setup_taskrun_flag();
    }
    if has(setup::COOP_TASKRUN) {
        builder.setup_coop_taskrun();
    }
    if has(setup::SUBMIT_ALL) {
        builder.setup_submit_all();
    }
    builder.build(sq_entries)
}

/// Sets `optlen` of a multishot RECV: the bytes after which the kernel ends it by itself (Linux 6.17).
///
/// The crate does not wrap it. `Entry` is `repr(C)` around `struct io_uring_sqe`, in which `optlen` shares bytes
/// 44..48 with `file_index`.
fn set_recv_credit(entry: &mut Entry, credit: u32) {
    const OPTLEN_AT: usize = 44;
    const { assert!(size_of::<Entry>() == 64) };
    let at = std::ptr::from_mut(entry).cast::<u8>();
    // SAFETY: 44 is inside the 64 bytes of the entry.
    let at = unsafe { at.add(OPTLEN_AT) }.cast::<u32>();
    // SAFETY: four bytes of plain integers inside the entry that we borrow exclusively.
    unsafe { at.write_unaligned(credit) };
}

/// A multishot receive into a buffer group, with an optional credit.
fn recv_entry(fd: RawFd, group: GroupId, credit: Option<u32>) -> Entry {
    let mut entry = opcode::RecvMulti::new(Fd(fd), group as u16).build();
    if let Some(credit) = credit {
        set_recv_credit(&mut entry, credit);
    }
    entry
}

/// Registers a group's ring of buffers under its index.
fn register_group(ring: &IoUring, group: &Group) -> io::Result<()> {
    let Some((at, entries)) = group.ring_entries() else { return Ok(()) };
    // SAFETY: the entries stay mapped until the group is dropped, and that is after the ring (see `Uring::drop`).
    unsafe { ring.submitter().register_buf_ring_with_flags(at, entries, group.id() as u16, 0) }
}

pub(crate) struct Uring {
    ring: IoUring,
    groups: Groups,
    stats: Arc<RingStats>,
    /// Cancellations and other submissions that found the queue full, in order.
    cancels: VecDeque<Entry>,
    others: VecDeque<Entry>,
    /// Sends to where we connected, kept to the end of the turn: see [`Self::send_late`].
    late: Vec<Entry>,
    wake_fd: RawFd,
    /// Operations whose terminal completion has not been seen.
    in_flight: u32,
    recv_credit: bool,
    taskrun_flag: bool,
    no_iowait: bool,
    /// The completion queue held more than was taken.
    leftover: bool,
}

impl Uring {
    pub(crate) fn new(
        ring: IoUring,
        flags: u32,
        recv_credit: bool,
        groups: &Groups,
        wake_fd: RawFd,
        stats: &Arc<RingStats>,
    ) -> io::Result<Self> {
        for group in groups.filled() {
            register_group(&ring, group)?;
            group.publish();
        }
        let no_iowait = ring.params().is_feature_no_iowait();
        let mut driver = Self {
            ring,
            groups: groups.clone(),
            stats: Arc::clone(stats),
            cancels: VecDeque::new(),
            others: VecDeque::new(),
            late: Vec::new(),
            wake_fd,
            in_flight: 0,
            recv_credit,
            taskrun_flag: flags & setup::TASKRUN_FLAG != 0,
            no_iowait,
            leftover: false,
        };
        driver.arm_wake();
        Ok(driver)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Something waits to be submitted or taken: do not block.
    pub(crate) fn has_work(&self) -> bool {
        self.leftover || !self.cancels.is_empty() || !self.others.is_empty()
    }

    fn try_push(&mut self, entry: &Entry) -> bool {
        // SAFETY: whatever the entry points to is owned by the operation table until the terminal completion.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn push(&mut self, entry: Entry, op: Op, key: Key) {
        if op.is_cancel() {
            // What it is to cancel must be there before it.
            self.flush_late();
        }
        self.in_flight += 1;
        self.queue(entry.user_data(user_data(op, key)), op);
    }

    fn queue(&mut self, entry: Entry, op: Op) {
        let waiting = !self.others.is_empty() || !self.cancels.is_empty();
        if waiting || !self.try_push(&entry) {
            self.stats.sq_full.add(1);
            if op.is_cancel() {
                self.cancels.push_back(entry);
            } else {
                self.others.push_back(entry);
            }
        }
    }

    /// Listens on the eventfd by which other threads wake the shard. Each write is an edge: it is never read.
    pub(crate) fn arm_wake(&mut self) {
        let entry = opcode::PollAdd::new(Fd(self.wake_fd), libc::POLLIN as u32).multi(true).build();
        self.push(entry, Op::Wake, Key { index: 0, generation: 0 });
    }

    pub(crate) fn recv(&mut self, key: Key, fd: RawFd, group: GroupId, credit: u32) {
        let credit = self.recv_credit.then_some(credit);
        self.push(recv_entry(fd, group, credit), Op::Recv, key);
    }

    /// Receives into one buffer and no more.
    pub(crate) fn recv_once(&mut self, key: Key, fd: RawFd, group: GroupId) {
        // A length of zero takes the whole buffer.
        let recv = opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0).buf_group(group as u16).build();
        self.push(recv.flags(squeue::Flags::BUFFER_SELECT), Op::Recv, key);
    }

    /// Sends to those who came to us go first, then all to where we connected: in turns they would wake one peer after
    /// the other, and on a processor that they share each would stop the one before.
    fn push_send(&mut self, key: Key, entry: Entry, late: bool) {
        if late {
            self.in_flight += 1;
            self.late.push(entry.user_data(user_data(Op::Send, key)));
        } else {
            self.push(entry, Op::Send, key);
        }
    }

    fn flush_late(&mut self) {
        let mut late = std::mem::take(&mut self.late);
        for entry in late.drain(..) {
            self.queue(entry, Op::Send);
        }
        self.late = late;
    }

    /// Sends one piece; the bytes belong to the connection's block in the operation table.
    pub(crate) fn send(&mut self, key: Key, fd: RawFd, bytes: (*const u8, usize), nowait: bool, late: bool) {
        let len = u32::try_from(bytes.1).unwrap_or(1 << 30);
        let entry = opcode::Send::new(Fd(fd), bytes.0, len).flags(send_flags(nowait)).build();
        self.push_send(key, entry, late);
    }

    /// Sends a vector; the message belongs to the connection's block in the operation table.
    pub(crate) fn sendmsg(
        &mut self,
        key: Key,
        fd: RawFd,
        message: *const libc::msghdr,
        nowait: bool,
        late: bool,
    ) {
        let entry = opcode::SendMsg::new(Fd(fd), message).flags(send_flags(nowait) as u32).build();
        self.push_send(key, entry, late);
    }

    /// Connects; the address belongs to the connection's block in the operation table.
    pub(crate) fn connect(&mut self, key: Key, fd: RawFd, addr: *const libc::sockaddr, len: libc::socklen_t) {
        self.push(opcode::Connect::new(Fd(fd), addr, len).build(), Op::Connect, key);
    }

    pub(crate) fn accept(&mut self, key: Key, fd: RawFd) {
        let entry = opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build();
        self.push(entry, Op::Accept, key);
    }

    /// Waits until a listening socket has something to accept. An accept does so by itself, unless the socket has
    /// O_NONBLOCK: then it ends with EAGAIN.
    pub(crate) fn accept_poll(&mut self, key: Key, fd: RawFd) {
        self.push(opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).build(), Op::AcceptPoll, key);
    }

    /// Accepts what is in the backlog and does not wait: the cancel ends it if there is nothing.
    pub(crate) fn accept_now(&mut self, key: Key, fd: RawFd) {
        let (addr, len) = (std::ptr::null_mut(), std::ptr::null_mut());
        let entry = opcode::Accept::new(Fd(fd), addr, len).flags(libc::SOCK_CLOEXEC).build();
        self.push(entry, Op::Accept, key);
        self.cancel(Op::CancelAccept, Op::Accept, key);
    }

    /// Cancels one operation of a connection or listener.
    pub(crate) fn cancel(&mut self, cancel: Op, target: Op, key: Key) {
        self.stats.cancels.add(1);
        let builder = CancelBuilder::user_data(user_data(target, key));
        self.push(opcode::AsyncCancel2::new(builder).build(), cancel, key);
    }

    /// Cancels whatever is in flight on a connection's descriptor.
    pub(crate) fn cancel_fd(&mut self, key: Key, fd: RawFd) {
        self.stats.cancels.add(1);
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build();
        self.push(entry, Op::CancelFd, key);
    }

    pub(crate) fn cancel_all(&mut self) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
        self.push(entry, Op::CancelAll, Key { index: 0, generation: 0 });
    }

    /// Submits everything, waits at most `timeout` (`None`: until something happens), and copies completions out.
    ///
    /// # Errors
    /// When the kernel refuses the ring altogether.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
        max: usize,
    ) -> io::Result<()> {
        self.flush();
        self.flush_late();
        let sq = self.ring.submission();
        let (len, overflow, taskrun) = (sq.len(), sq.cq_overflow(), sq.taskrun());
        drop(sq);
        if overflow {
            self.stats.cq_overflows.add(1);
        }
        let block = timeout != Some(Duration::ZERO) && self.others.is_empty() && self.cancels.is_empty();
        if block || len > 0 || overflow || taskrun || !self.taskrun_flag {
            self.enter(len as u32, block, timeout)?;
        }
        self.reap(events, max);
        Ok(())
    }

    fn flush(&mut self) {
        while let Some(entry) = self.cancels.front().or_else(|| self.others.front()).cloned() {
            if !self.try_push(&entry) {
                break;
            }
            if self.cancels.pop_front().is_none() {
                self.others.pop_front();
            }
        }
    }

    fn enter(&mut self, len: u32, block: bool, timeout: Option<Duration>) -> io::Result<()> {
        self.stats.enters.add(1);
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if self.no_iowait {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let time = Timespec::from(timeout.unwrap_or_default());
        let mut args = SubmitArgs::new();
        if block && timeout.is_some() {
            args = args.timespec(&time);
        }
        let want = u32::from(block);
        let submitter = self.ring.submitter();
        // SAFETY: `args` is what EXT_ARG announces, with its size; it and `time` outlive the call.
        let result = unsafe { submitter.enter(len, want, flags.bits(), Some(&args)) };
        match result.map_err(|error| (error.raw_os_error(), error)) {
            // Timed out, interrupted, or the completions want to be taken first: all in the turn's course.
            Ok(_) | Err((Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    fn reap(&mut self, events: &mut Vec<Event>, max: usize) {
        let mut cq = self.ring.completion();
        for cqe in cq.by_ref().take(max) {
            let event = Event { user_data: cqe.user_data(), result: cqe.result(), flags: cqe.flags() };
            if !event.more() {
                self.in_flight -= 1;
            }
            events.push(event);
        }
        self.leftover = !cq.is_empty();
    }

    /// Closes the ring after its last completion.
    pub(crate) fn finish(self) {
        for group in self.groups.filled() {
            // Fails only if it was never registered; the ring's own end would do the same.
            let _ = self.ring.submitter().unregister_buf_ring(group.id() as u16);
        }
    }

    /// Closes the ring although operations are in flight. The memory of the buffers is leaked, not freed.
    pub(crate) fn abandon(self) {
        self.stats.leaked_ops.add(u64::from(self.in_flight));
        std::mem::forget(self.groups.clone());
    }

    pub(crate) fn ring_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

fn send_flags(nowait: bool) -> i32 {
    if nowait { libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT } else { libc::MSG_NOSIGNAL }
}
