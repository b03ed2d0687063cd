//! What changes while the node runs, and who is told: lists of tools and prompts, and the watched resource.
//!
//! Sessions of the older era get plain notifications on their stream; subscriptions of the newer one get only what
//! they asked for, tagged by the SDK. Never blocks a change on a slow listener: it lags and is told of every list.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use rmcp::{
    Peer, RoleServer,
    model::{ResourceUpdatedNotificationParam, SubscriptionFilter},
    service::{ServiceError, SubscriptionContext, SubscriptionSendError},
};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{resources::WATCHED_URI, server::SessionState};

/// Changes that a listener may lag behind; past it, it is told that everything changed.
const LAG_MAX: usize = 16;
/// Resource URIs in one subscription.
const SUBSCRIPTION_URIS_MAX: usize = 64;

/// One thing that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Tools,
    Prompts,
    /// The content of [`WATCHED_URI`].
    WatchedResource,
}

/// Everything that can change; told to a listener that lagged.
const ALL: [Change; 3] = [Change::Tools, Change::Prompts, Change::WatchedResource];

/// The node's changeable state and the channel that announces it.
#[derive(Debug)]
pub(super) struct Changes {
    announce: broadcast::Sender<Change>,
    extra_tool: AtomicBool,
    extra_prompt: AtomicBool,
    watched_revision: AtomicU64,
}

impl Changes {
    pub(super) fn new() -> Self {
        Self {
            announce: broadcast::Sender::new(LAG_MAX),
            extra_tool: AtomicBool::new(false),
            extra_prompt: AtomicBool::new(false),
            watched_revision: AtomicU64::new(0),
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.announce.subscribe()
    }

    pub(super) fn has_extra_tool(&self) -> bool {
        self.extra_tool.load(Relaxed)
    }

    pub(super) fn has_extra_prompt(&self) -> bool {
        self.extra_prompt.load(Relaxed)
    }

    pub(super) fn watched_revision(&self) -> u64 {
        self.watched_revision.load(Relaxed)
    }

    /// Makes `change` happen and announces it: a list gains or loses its extra entry, the resource a revision.
    pub(super) fn make(&self, change: Change) {
        match change {
            Change::Tools => {
                self.extra_tool.fetch_not(Relaxed);
            }
            Change::Prompts => {
                self.extra_prompt.fetch_not(Relaxed);
            }
            Change::WatchedResource => {
                self.watched_revision.fetch_add(1, Relaxed);
            }
        }
        // An error only means that nobody listens.
        let _ = self.announce.send(change);
    }
}

/// The part of a requested filter that the node grants.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = requested.clone();
    if let Some(uris) = &mut accepted.resource_subscriptions {
        uris.truncate(SUBSCRIPTION_URIS_MAX);
    }
    accepted
}

/// Feeds one `subscriptions/listen` stream until its request or the node ends.
pub(super) async fn listen(
    mut changes: broadcast::Receiver<Change>,
    context: &SubscriptionContext,
    stop: &CancellationToken,
) {
    loop {
        let next = tokio::select! {
            () = context.cancelled() => return,
            () = stop.cancelled() => return,
            next = changes.recv() => next,
        };
        let Some(changed) = changes_of(next) else { return };
        for change in changed {
            if let Err(error) = tell_subscription(context, *change).await {
                tracing::debug!(%error, "subscription ended before a notification");
                return;
            }
        }
    }
}

async fn tell_subscription(
    context: &SubscriptionContext,
    change: Change,
) -> Result<(), SubscriptionSendError> {
    let sink = context.sink();
    let told = match change {
        Change::Tools => sink.notify_tool_list_changed().await,
        Change::Prompts => sink.notify_prompt_list_changed().await,
        Change::WatchedResource => sink.notify_resource_updated(WATCHED_URI).await,
    };
    match told {
        // What the client did not ask for is not sent; that is the filter at work.
        Err(SubscriptionSendError::NotificationNotAccepted(_)) => Ok(()),
        other => other,
    }
}

/// Tells a session of the older era until it ends.
pub(super) async fn tell_session(
    mut changes: broadcast::Receiver<Change>,
    peer: Peer<RoleServer>,
    session: Arc<SessionState>,
    ended: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            () = ended.cancelled() => return,
            next = changes.recv() => next,
        };
        let Some(changed) = changes_of(next) else { return };
        for change in changed {
            if let Err(error) = tell_peer(&peer, &session, *change).await {
                tracing::debug!(%error, "session ended before a notification");
                return;
            }
        }
    }
}

async fn tell_peer(
    peer: &Peer<RoleServer>,
    session: &SessionState,
    change: Change,
) -> Result<(), ServiceError> {
    match change {
        Change::Tools => peer.notify_tool_list_changed().await,
        Change::Prompts => peer.notify_prompt_list_changed().await,
        Change::WatchedResource if session.watches(WATCHED_URI) => {
            peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(WATCHED_URI)).await
        }
        Change::WatchedResource => Ok(()),
    }
}

/// The announced change, or all of them after a lag; `None` when the node is gone.
fn changes_of(next: Result<Change, RecvError>) -> Option<&'static [Change]> {
    match next {
        Ok(Change::Tools) => Some(&ALL[..1]),
        Ok(Change::Prompts) => Some(&ALL[1..2]),
        Ok(Change::WatchedResource) => Some(&ALL[2..]),
        Err(RecvError::Lagged(_)) => Some(&ALL),
        Err(RecvError::Closed) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_and_announced_once() {
        let changes = Changes::new();
        let mut listener = changes.subscribe();
        changes.make(Change::Tools);
        assert!(changes.has_extra_tool());
        assert_eq!(listener.recv().await, Ok(Change::Tools));
        assert!(listener.try_recv().is_err());
        changes.make(Change::Tools);
        assert!(!changes.has_extra_tool());
        changes.make(Change::WatchedResource);
        assert_eq!(changes.watched_revision(), 1);
    }

    #[tokio::test]
    async fn who_lags_is_told_of_everything() {
        let changes = Changes::new();
        let mut listener = changes.subscribe();
        for _ in 0..=LAG_MAX {
            changes.make(Change::Prompts);
        }
        assert_eq!(changes_of(listener.recv().await), Some(&ALL[..]));
        assert_eq!(changes_of(listener.recv().await), Some(&[Change::Prompts][..]));
        drop(changes);
        while let Some(changed) = changes_of(listener.recv().await) {
            assert_eq!(changed, [Change::Prompts]);
        }
    }

    #[test]
    fn a_subscription_watches_a_bounded_number_of_resources() {
        let filter = SubscriptionFilter::builder()
            .resource_subscriptions((0..1000).map(|n| format!("test://{n}")))
            .build();
        assert_eq!(
            accepted(&filter).resource_subscriptions.map(|uris| uris.len()),
            Some(SUBSCRIPTION_URIS_MAX)
        );
    }
}
