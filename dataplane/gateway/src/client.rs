//! A client connection from its first byte to its close: requests one after the other.

use std::future::poll_fn;
use std::time::Duration;

use erlmcp_ring::PeerAddr;

use crate::downstream::Downstream;
use crate::downstream::http1::Http1;
use crate::exchange::{self, Outcome};
use crate::link::ids::ListenerId;
use crate::link::reason::Reason;
use crate::pipeline::{self, Begun};
use crate::state::{Alarm, Drain, Shared};
use crate::transport::Transport;

/// How long a client that was told `close` may take to close its side before we do: its last reply must not be
/// lost to a reset that unread bytes would cause (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Begins to serve a connection in a task of its own. A connection for which there is no task is closed.
pub(crate) fn start(state: &Shared, transport: Transport, peer: &PeerAddr, listener: ListenerId) {
    let http1 = Http1::new(state, transport, peer, listener);
    if state.ring.spawn(serve(state.clone(), Downstream::Http1(http1))).is_err() {
        state.count_reason(Reason::Overloaded);
    }
}

/// Goes on with a connection whose event stream has ended.
pub(crate) fn resume(state: &Shared, down: Downstream) {
    let Downstream::Http1(http1) = &down;
    let spawned = match http1.can_go_on() {
        true => state.ring.spawn(serve(state.clone(), down)),
        false => {
            let state = state.clone();
            state.clone().ring.spawn(async move {
                let Downstream::Http1(http1) = &down;
                linger(&state, http1).await;
            })
        }
    };
    if spawned.is_err() {
        state.count_reason(Reason::Overloaded);
    }
}

async fn serve(state: Shared, mut down: Downstream) {
    loop {
        let Downstream::Http1(http1) = &mut down;
        let is_usable = match next_request(&state, http1).await {
            None => return,
            Some(Begun::Forward(mut forward)) => match exchange::run(&state, &mut down, &mut forward).await {
                Outcome::Over(is_usable) => is_usable,
                Outcome::Stream(up, events) => {
                    let served_max = forward.plan.group().requests_per_connection_max;
                    return exchange::detach(&state, down, up, events, served_max);
                }
            },
            Some(Begun::Answer) => http1.answered(&state).await,
            Some(Begun::Refuse(reason)) => {
                http1.note.reason = Some(reason);
                let told = http1.refuse(&state, reason).await;
                state.account(&http1.note, http1.listener, http1.peer);
                told
            }
        };
        if !is_usable {
            return;
        }
        let Downstream::Http1(http1) = &down;
        if !http1.can_go_on() {
            return linger(&state, http1).await;
        }
    }
}

/// Waits for a whole head and takes the request through the first half of the pipeline. `None` ends the connection.
async fn next_request(state: &Shared, http1: &mut Http1) -> Option<Begun> {
    if http1.inbound.is_empty() && !wait_idle(state, http1).await {
        return None;
    }
    if let Some(begun) = pipeline::begin(state, http1) {
        return Some(begun);
    }
    receive_head(state, http1).await
}

/// Goes on with a head that came in pieces. It waits in memory of its own, as slow clients must not use up the
/// receive buffers, and is not parsed for every byte, so that the work stays linear in its size.
async fn receive_head(state: &Shared, http1: &mut Http1) -> Option<Begun> {
    let listener = usize::from(http1.listener.0);
    let at = state.ring.now() + state.with_snapshot(|snapshot| snapshot.listeners[listener].header_timeout);
    http1.inbound.own();
    let mut parsed = http1.inbound.bytes().len();
    loop {
        let received = poll_fn(|_| {
            state.ring.set_deadline(Some(state.within_drain(at)));
            http1.transport().poll_recv()
        });
        match received.await {
            Ok(Some(chunk)) => {
                http1.inbound.push(chunk);
                http1.inbound.own();
            }
            Err(error) if error.is_timed_out() => {
                http1.keep_alive = false;
                http1.note.begin(state.ring.now(), 0);
                return Some(Begun::Refuse(Reason::HeaderTimeout));
            }
            Ok(None) | Err(_) => {
                state.count_reason(Reason::ClientGone);
                return None;
            }
        }
        let bytes = http1.inbound.bytes();
        let news = &bytes[parsed.saturating_sub(3).min(bytes.len())..];
        if bytes.len() < 2 * parsed && memchr::memmem::find(news, b"\r\n\r\n").is_none() {
            continue;
        }
        parsed = bytes.len();
        if let Some(begun) = pipeline::begin(state, http1) {
            return Some(begun);
        }
    }
}

/// Waits for the first byte of the next request. Holds no buffer meanwhile. Returns whether one came.
async fn wait_idle(state: &Shared, http1: &mut Http1) -> bool {
    let timeout = state.with_snapshot(|snapshot| {
        let limits = &snapshot.listeners[usize::from(http1.listener.0)];
        if http1.served == 0 { limits.header_timeout } else { limits.keep_alive }
    });
    let idle_at = state.ring.now() + timeout;
    let mut alarm = Alarm::default();
    let received = poll_fn(|_| {
        let at = || match state.drain() {
            Drain::No => idle_at,
            Drain::Until { idle, .. } => idle_at.min(idle),
        };
        alarm.poll(state, at, || http1.transport().poll_recv())
    })
    .await;
    match received {
        Ok(Some(chunk)) => {
            http1.inbound.push(chunk);
            true
        }
        Ok(None) | Err(_) => false,
    }
}

/// Closes our side and waits, within bounds, for the client to close its own.
async fn linger(state: &Shared, http1: &Http1) {
    http1.transport().shutdown_write();
    let at = state.ring.now() + LINGER;
    let mut left = LINGER_BYTES_MAX;
    loop {
        let received = poll_fn(|_| {
            state.ring.set_deadline(Some(state.within_drain(at)));
            http1.transport().poll_recv()
        });
        match received.await {
            Ok(Some(chunk)) if chunk.len() <= left => left -= chunk.len(),
            Ok(None) => return,
            // A close would leave the client waiting for a window that never opens, for as long as the kernel
            // remembers the connection (a minute and more).
            Ok(Some(_)) | Err(_) => return http1.transport().reset_on_close(),
        }
    }
}
