//! Bounded lock-free lanes between shards, and between a shard and the control plane.
//!
//! Either end works on any runtime. A full lane is an answer, never a wait; a closed one is noticed by both ends.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

struct Shared<T> {
    queue: ArrayQueue<T>,
    waker: CachePadded<AtomicWaker>,
    senders: AtomicUsize,
    receiver_gone: AtomicBool,
}

/// The lane was full, or nobody receives any more; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lane is full or closed")
    }
}

impl<T> std::error::Error for Full<T> {}

/// Nothing to receive now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TryRecvError {
    /// Nothing yet.
    #[error("the lane is empty")]
    Empty,
    /// Nothing ever again: all senders are gone.
    #[error("the lane is closed")]
    Closed,
}

/// The sending end; clones feed the same lane.
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving end.
pub struct Receiver<T>(Arc<Shared<T>>);

/// A lane for `capacity` items (at least one).
#[must_use]
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity.max(1)),
        waker: CachePadded::new(AtomicWaker::new()),
        senders: AtomicUsize::new(1),
        receiver_gone: AtomicBool::new(false),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T: Send> Sender<T> {
    /// Never waits.
    ///
    /// # Errors
    /// The item back when the lane is full or closed.
    pub fn try_send(&self, item: T) -> Result<(), Full<T>> {
        if self.is_closed() {
            return Err(Full(item));
        }
        self.0.queue.push(item).map_err(Full)?;
        self.0.waker.wake();
        Ok(())
    }
}

impl<T> Sender<T> {
    /// The receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.receiver_gone.load(Ordering::Acquire)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next item, if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`] says whether one may still come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if let Some(item) = self.0.queue.pop() {
            return Ok(item);
        }
        if self.0.senders.load(Ordering::Acquire) > 0 {
            return Err(TryRecvError::Empty);
        }
        // The last sender may have sent between the two looks.
        self.0.queue.pop().ok_or(TryRecvError::Closed)
    }

    /// The next item; `None` once all senders are gone and the lane is empty.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.try_recv() {
            Ok(item) => return Poll::Ready(Some(item)),
            Err(TryRecvError::Closed) => return Poll::Ready(None),
            Err(TryRecvError::Empty) => {}
        }
        self.0.waker.register(cx.waker());
        match self.try_recv() {
            Ok(item) => Poll::Ready(Some(item)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Waits for the next item; `None` once all senders are gone and the lane is empty.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Items waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.queue.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.store(true, Ordering::Release);
        while self.0.queue.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_closed_give_the_item_back() {
        let (tx, mut rx) = channel(1);
        assert!(tx.try_send(1).is_ok());
        assert_eq!(tx.try_send(2), Err(Full(2)));
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        drop(rx);
        assert_eq!(tx.try_send(3), Err(Full(3)));
    }

    #[test]
    fn what_was_sent_before_the_close_arrives() {
        let (tx, mut rx) = channel(4);
        let other = tx.clone();
        assert!(tx.try_send(1).is_ok());
        drop(tx);
        assert!(other.try_send(2).is_ok());
        drop(other);
        assert_eq!((rx.try_recv(), rx.try_recv(), rx.try_recv()), (Ok(1), Ok(2), Err(TryRecvError::Closed)));
    }
}
