//! The request's body on its way to the node, while the reply may already be coming.

use std::task::Poll;

use crate::body::Encoding;
use crate::downstream::Downstream;
use crate::link::reason::{Fault, Reason};
use crate::upstream::Upstream;

/// How far the upload is.
pub(crate) struct Upload {
    encoding: Encoding,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
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
        Self { encoding, state: if is_body_sent { State::Flushing } else { State::Moving } }
    }

    /// Whether the whole request is sent.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether body bytes are still to come from the client.
    pub(crate) fn is_moving(&self) -> bool {
        self.state == State::Moving
    }

    /// Moves what can be moved without waiting. Returns whether anything moved.
    ///
    /// # Errors
    /// The client's side failed. A failure of the node's only ends the upload: its answer may still come.
    pub(crate) fn poll(&mut self, down: &mut Downstream, up: &mut Upstream) -> Result<bool, Reason> {
        // `100 Continue` may be on its way out: without it the body does not come.
        if self.state == State::Moving
            && let Poll::Ready(Err(reason)) = down.poll_flush()
        {
            return Err(reason);
        }
        let mut moved = false;
        while matches!(self.state, State::Moving | State::Flushing) {
            match up.poll_flush() {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Reason::UpstreamTimeout)) => return Err(Reason::UpstreamTimeout),
                Poll::Ready(Err(_)) => {
                    self.state = State::Broken;
                    break;
                }
            }
            if self.state == State::Flushing {
                self.state = State::Over;
                moved = true;
                break;
            }
            match down.poll_body(self.encoding, up.out()) {
                Poll::Pending => break,
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(reason)) => {
                    debug_assert!(reason.fault() != Fault::Upstream);
                    return Err(reason);
                }
            }
            if down.is_body_done() {
                self.encoding.finish(&[], up.out());
                self.state = State::Flushing;
            }
        }
        Ok(moved)
    }
}
