//! The request's body on its way to the node, while the reply may already be coming.

use std::task::Poll;

use crate::body::{Encoding, Keep};
use crate::downstream::Downstream;
use crate::link::reason::{Fault, Reason};
use crate::upstream::Upstream;

/// How far the upload is.
pub(crate) struct Upload {
    encoding: Encoding,
    phase: Phase,
    /// Bytes that the node's connection had taken when last looked at.
    taken: u64,
    /// Whether the node's connection takes no more for now.
    blocked: bool,
}

/// What an upload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The whole request goes out in one send, for which nobody needs to wait: the reply comes after it.
    Whole,
    /// Body bytes are still to come from the client.
    Moving,
    /// All is handed to the connection.
    Flushing,
    /// All was taken by the kernel.
    Over,
    /// The node takes no more; it may still answer why.
    Broken,
}

impl Upload {
    pub(crate) fn new(encoding: Encoding, is_body_sent: bool) -> Self {
        Self {
            encoding,
            taken: 0,
            blocked: false,
            phase: if is_body_sent { Phase::Whole } else { Phase::Moving },
        }
    }

    /// Whether the whole request is sent.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// What it waits for: while the node takes nothing, that and not the client.
    pub(crate) fn phase(&self) -> Phase {
        if self.blocked { Phase::Flushing } else { self.phase }
    }

    /// The reply has come: looks whether the request was taken whole before it.
    pub(crate) fn settle(&mut self, up: &mut Upstream) {
        if self.phase == Phase::Whole {
            self.phase = match up.poll_flush() {
                Poll::Ready(Ok(())) => Phase::Over,
                Poll::Ready(Err(_)) => Phase::Broken,
                Poll::Pending => Phase::Flushing,
            };
        }
    }

    /// Moves what can be moved without waiting. Returns whether anything moved.
    ///
    /// # Errors
    /// The client's side failed. A failure of the node's only ends the upload: its answer may still come.
    pub(crate) fn poll(&mut self, down: &mut Downstream, up: &mut Upstream) -> Result<bool, Reason> {
        if self.phase == Phase::Whole {
            up.start_flush();
            return Ok(false);
        }
        // `100 Continue` may be on its way out: without it the body does not come.
        if self.phase == Phase::Moving
            && let Poll::Ready(Err(reason)) = down.poll_flush()
        {
            return Err(reason);
        }
        let mut moved = false;
        while matches!(self.phase, Phase::Moving | Phase::Flushing) {
            let flushed = up.poll_flush();
            self.blocked = flushed.is_pending();
            match flushed {
                Poll::Pending => {
                    let taken = up.bytes_sent();
                    moved |= std::mem::replace(&mut self.taken, taken) != taken;
                    break;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Reason::UpstreamTimeout)) => return Err(Reason::UpstreamTimeout),
                Poll::Ready(Err(_)) => {
                    self.phase = Phase::Broken;
                    break;
                }
            }
            if self.phase == Phase::Flushing {
                self.phase = Phase::Over;
                moved = true;
                break;
            }
            match down.poll_body(self.encoding, Keep::Leases, up.out()) {
                Poll::Pending => break,
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(reason)) => {
                    debug_assert!(reason.fault() != Fault::Upstream);
                    return Err(reason);
                }
            }
            if down.is_body_done() {
                self.encoding.finish(&[], up.out());
                self.phase = Phase::Flushing;
            }
        }
        Ok(moved)
    }
}
