//! The operation table's entries: what the kernel may touch on behalf of a connection or a listener, and its state.
//!
//! An entry is freed only when no operation of it is in flight. Makes no system call.

use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};

use crate::buffers::{Code, GroupId, Groups};
use crate::error::IoError;
use crate::exec::NO_TASK;
use crate::listener::Accepted;
use crate::send::Block;
use crate::slab::{GENERATION_MASK, Key, Slab};

/// Which operation a completion belongs to: the top four bits of its user data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Op {
    Wake = 0,
    Recv = 1,
    Send = 2,
    Connect = 3,
    Accept = 4,
    /// Cancels everything on a connection's descriptor.
    CancelFd = 5,
    CancelRecv = 6,
    CancelSend = 7,
    CancelAccept = 8,
    CancelAll = 9,
    /// Waits for a listening socket that does not block to have something to accept.
    AcceptPoll = 10,
}

/// By number; numbers that no operation has stand for one that does nothing.
impl Op {
    pub(crate) const fn is_cancel(self) -> bool {
        matches!(
            self,
            Self::CancelFd | Self::CancelRecv | Self::CancelSend | Self::CancelAccept | Self::CancelAll
        )
    }
}

const OPS: [Op; 16] = [
    Op::Wake,
    Op::Recv,
    Op::Send,
    Op::Connect,
    Op::Accept,
    Op::CancelFd,
    Op::CancelRecv,
    Op::CancelSend,
    Op::CancelAccept,
    Op::CancelAll,
    Op::AcceptPoll,
    Op::CancelAll,
    Op::CancelAll,
    Op::CancelAll,
    Op::CancelAll,
    Op::CancelAll,
];

pub(crate) const fn user_data(op: Op, key: Key) -> u64 {
    ((op as u64) << 60) | (((key.generation & GENERATION_MASK) as u64) << 32) | key.index as u64
}

pub(crate) fn from_user_data(data: u64) -> (Op, Key) {
    let op = OPS[(data >> 60) as usize];
    (op, Key { index: data as u32, generation: (data >> 32) as u32 & GENERATION_MASK })
}

/// Whose place it is: for a hint, which may be wrong.
pub(crate) fn index_of(data: u64) -> u32 {
    data as u32
}

/// A completion, by either driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) user_data: u64,
    /// A result of zero or more, or a negative error number.
    pub(crate) result: i32,
    /// `F_BUFFER`, `F_MORE`, and the buffer in the upper half, as io_uring has them.
    pub(crate) flags: u32,
}

pub(crate) const F_BUFFER: u32 = 1;
pub(crate) const F_MORE: u32 = 2;

impl Event {
    pub(crate) fn more(&self) -> bool {
        self.flags & F_MORE != 0
    }

    pub(crate) fn buffer(&self) -> Option<u16> {
        (self.flags & F_BUFFER != 0).then_some((self.flags >> 16) as u16)
    }
}

/// State bits of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bits(u32);

impl Bits {
    /// A receive is in flight.
    pub(crate) const ARMED: u32 = 1;
    /// It was armed for the large group.
    pub(crate) const ARMED_LARGE: u32 = 1 << 1;
    /// It was asked to end.
    pub(crate) const CANCELING: u32 = 1 << 2;
    /// The owner wants the large group.
    pub(crate) const WANT_LARGE: u32 = 1 << 3;
    /// Waits for buffers.
    pub(crate) const STARVED: u32 = 1 << 4;
    pub(crate) const EOF: u32 = 1 << 5;
    /// A send is in flight.
    pub(crate) const SENDING: u32 = 1 << 6;
    /// It must not wait: it holds leases beyond the bound.
    pub(crate) const NOWAIT: u32 = 1 << 7;
    /// It was asked to end because its task's deadline passed.
    pub(crate) const SEND_EXPIRED: u32 = 1 << 8;
    /// A send has ended and waits for its owner.
    pub(crate) const SENT: u32 = 1 << 9;
    /// Half-close once the send has ended.
    pub(crate) const SHUT_AFTER: u32 = 1 << 10;
    pub(crate) const CONNECTING: u32 = 1 << 11;
    pub(crate) const CONNECT_EXPIRED: u32 = 1 << 12;
    pub(crate) const CONNECTED: u32 = 1 << 13;
    /// The handle is gone.
    pub(crate) const CLOSING: u32 = 1 << 14;
    /// A cancel of the whole descriptor is in flight.
    pub(crate) const CANCEL_FD: u32 = 1 << 15;
    /// We connected: our SYN counts among the acknowledged bytes.
    pub(crate) const ACTIVE: u32 = 1 << 16;
    /// epoll: the descriptor may have something to read, room to write, a hang-up.
    pub(crate) const READABLE: u32 = 1 << 17;
    pub(crate) const HANGUP: u32 = 1 << 18;
    /// epoll: is in the list of receives or sends to try.
    pub(crate) const IN_RECV_LIST: u32 = 1 << 19;
    pub(crate) const IN_SEND_LIST: u32 = 1 << 20;
    /// epoll: waits for room to write.
    pub(crate) const WAIT_WRITE: u32 = 1 << 21;
    /// Nobody waits for the send in flight: its block goes back to the pool when it has ended.
    pub(crate) const RELEASED: u32 = 1 << 22;
    /// Is in the list of those that go on receiving once buffers are no longer scarce.
    pub(crate) const PARKED: u32 = 1 << 23;

    const ALL: [u32; 24] = [
        Self::ARMED,
        Self::ARMED_LARGE,
        Self::CANCELING,
        Self::WANT_LARGE,
        Self::STARVED,
        Self::EOF,
        Self::SENDING,
        Self::NOWAIT,
        Self::SEND_EXPIRED,
        Self::SENT,
        Self::SHUT_AFTER,
        Self::CONNECTING,
        Self::CONNECT_EXPIRED,
        Self::CONNECTED,
        Self::CLOSING,
        Self::CANCEL_FD,
        Self::ACTIVE,
        Self::READABLE,
        Self::HANGUP,
        Self::IN_RECV_LIST,
        Self::IN_SEND_LIST,
        Self::WAIT_WRITE,
        Self::RELEASED,
        Self::PARKED,
    ];

    #[inline]
    pub(crate) const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, bits: u32) {
        self.0 |= bits;
    }

    #[inline]
    pub(crate) fn clear(&mut self, bits: u32) {
        self.0 &= !bits;
    }

    /// Clears `bits` and says whether any was set.
    pub(crate) fn take(&mut self, bits: u32) -> bool {
        let had = self.has(bits);
        self.clear(bits);
        had
    }
}

/// Two states that share a bit are a bug that no test of one of them shows.
const _: () = {
    let (mut seen, mut i) = (0, 0);
    while i < Bits::ALL.len() {
        assert!(Bits::ALL[i].is_power_of_two() && seen & Bits::ALL[i] == 0);
        seen |= Bits::ALL[i];
        i += 1;
    }
};

/// Received buffers that their owner has not taken yet, linked through the books of their groups.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    head: Code,
    tail: Code,
    bytes: u32,
    count: u16,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { head: Code::NONE, tail: Code::NONE, bytes: 0, count: 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn count(&self) -> u16 {
        self.count
    }

    pub(crate) const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Appends a buffer of `len` bytes that its group has just leased.
    #[inline]
    pub(crate) fn push(&mut self, groups: &Groups, group: GroupId, bid: u32, len: u32) {
        let code = Code::new(group, bid);
        if self.is_empty() {
            self.head = code;
        } else {
            let (tail_group, tail) = self.tail.parts();
            groups[tail_group].set_next(tail, code);
        }
        self.tail = code;
        self.count += 1;
        self.bytes += len;
    }

    /// Takes the first buffer: its group and number.
    #[inline]
    pub(crate) fn pop(&mut self, groups: &Groups) -> Option<(GroupId, u32)> {
        if self.is_empty() {
            return None;
        }
        let (group, bid) = self.head.parts();
        self.count -= 1;
        if self.count == 0 {
            self.bytes = 0;
        } else {
            self.head = groups[group].next_of(bid);
            self.bytes -= groups[group].len_of(bid);
        }
        Some((group, bid))
    }
}

/// A connection.
pub(crate) struct ConnSlot {
    /// What is being sent or connected; the kernel reads it.
    pub(crate) send: Option<Box<Block>>,
    /// Payload bytes handed to the kernel.
    pub(crate) bytes_sent: u64,
    /// When the close began.
    pub(crate) closing_since_nanos: u64,
    pub(crate) fd: RawFd,
    pub(crate) recv_task: u32,
    pub(crate) send_task: u32,
    pub(crate) queue: Queue,
    /// Error number with which receiving ended, 0 if none.
    pub(crate) error: i32,
    pub(crate) bits: Bits,
}

const _: () = assert!(Slab::<ConnSlot>::slot_bytes() <= 96);

impl ConnSlot {
    pub(crate) fn new(fd: RawFd, group: GroupId) -> Self {
        let mut bits = Bits::default();
        if group == GroupId::Large {
            bits.set(Bits::WANT_LARGE);
        }
        Self {
            send: None,
            bytes_sent: 0,
            closing_since_nanos: 0,
            fd,
            recv_task: NO_TASK,
            send_task: NO_TASK,
            queue: Queue::new(),
            error: 0,
            bits,
        }
    }

    /// The group to arm for.
    #[inline]
    pub(crate) fn wanted_group(&self) -> GroupId {
        if self.bits.has(Bits::WANT_LARGE) { GroupId::Large } else { GroupId::Small }
    }

    /// The group that the receive in flight takes from.
    #[inline]
    pub(crate) fn armed_group(&self) -> GroupId {
        if self.bits.has(Bits::ARMED_LARGE) { GroupId::Large } else { GroupId::Small }
    }

    /// No more will be received.
    pub(crate) fn recv_ended(&self) -> bool {
        self.error != 0 || self.bits.has(Bits::EOF)
    }

    /// Something of the kernel still refers to the descriptor.
    pub(crate) fn in_flight(&self) -> bool {
        self.bits.has(Bits::ARMED | Bits::SENDING | Bits::CONNECTING | Bits::CANCEL_FD)
    }
}

/// How far a listener's stop has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    No,
    /// The accept in flight is being canceled.
    Canceling,
    /// The backlog is being emptied by accepts that must not wait.
    Draining,
    Done,
}

/// A listening socket.
pub(crate) struct ListenerSlot {
    pub(crate) fd: OwnedFd,
    pub(crate) queue: VecDeque<Accepted>,
    pub(crate) task: u32,
    pub(crate) error: Option<IoError>,
    pub(crate) stop: Stop,
    /// An accept, or a wait for something to accept, is in flight.
    pub(crate) armed: bool,
    /// It is the wait.
    pub(crate) polling: bool,
    pub(crate) canceling: bool,
    /// Taken from the backlog since the stop.
    pub(crate) drained: usize,
    pub(crate) paused: bool,
    pub(crate) backing_off: bool,
    /// The handle is gone.
    pub(crate) closing: bool,
    /// epoll: may have something to accept, and is in the list to try.
    pub(crate) ready: bool,
    pub(crate) in_list: bool,
}

impl ListenerSlot {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            queue: VecDeque::new(),
            task: NO_TASK,
            error: None,
            stop: Stop::No,
            armed: false,
            polling: false,
            canceling: false,
            drained: 0,
            paused: false,
            backing_off: false,
            closing: false,
            ready: true,
            in_list: false,
        }
    }

    /// An accept should be in flight.
    pub(crate) fn wants_accept(&self, queue_max: usize) -> bool {
        !self.armed
            && !self.paused
            && !self.backing_off
            && !self.closing
            && self.stop == Stop::No
            && self.queue.len() < queue_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GroupConfig;
    use proptest::prelude::*;

    #[test]
    fn user_data_round_trips() {
        for op in OPS {
            let key = Key { index: 0xFFFF_FFFE, generation: GENERATION_MASK };
            assert_eq!(from_user_data(user_data(op, key)), (op, key));
        }
    }

    proptest! {
        #[test]
        fn queues_keep_order_across_groups(ops in prop::collection::vec(any::<(bool, bool, u8)>(), 1..200)) {
            let config = GroupConfig { count: 16, size: 64 };
            let groups = Groups::new(config, config, false).expect("memory");
            let mut queue = Queue::new();
            let mut model = VecDeque::new();
            for (push, large, len) in ops {
                let mut group = if large { GroupId::Large } else { GroupId::Small };
                let len = u32::from(len % 64);
                if let (true, Some(bid)) = (push, groups[group].book().take_free()) {
                    prop_assert!(groups[group].book().lease(bid, len));
                    let mut id = u32::from(bid);
                    if len % 3 == 0 {
                        let copy = groups[group].copy_to(&groups[GroupId::Heap], bid).expect("fits");
                        groups[group].release(id);
                        (group, id) = (GroupId::Heap, copy);
                    }
                    queue.push(&groups, group, id, len);
                    model.push_back((group, id, len));
                } else {
                    let popped = queue.pop(&groups);
                    prop_assert_eq!(popped, model.pop_front().map(|(g, bid, _)| (g, bid)));
                    if let Some((g, bid)) = popped {
                        groups[g].release(bid);
                    }
                }
                prop_assert_eq!(usize::from(queue.count()), model.len());
                prop_assert_eq!(queue.bytes(), model.iter().map(|(_, _, len)| len).sum::<u32>());
            }
        }
    }
}
