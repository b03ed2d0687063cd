//! Why a request was refused or cut: one list for replies, counters and the access log.

use erlmcp_proto::http1::{BodyError, RequestError};

/// Why an exchange did not end as its client wished. `Copy`, no allocation: the hot path passes it around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request head broke a rule of RFC 9112.
    BadRequest(RequestError),
    /// The request body's framing broke.
    BadBody(BodyError),
    /// A whole head did not come in time.
    HeaderTimeout,
    /// The body stalled.
    BodyTimeout,
    /// More body than the route allows.
    BodyTooLarge,
    /// The path has dot segments, plain or percent-encoded.
    DotSegments,
    /// No route matches.
    NoRoute,
    /// `Origin` is not on the route's list.
    OriginForbidden,
    /// No node of the group is fit.
    NoHealthyNode,
    /// The queue for a connection to the node is full.
    WaitQueueFull,
    /// No connection to the node became free in time.
    WaitTimeout,
    /// The node refused the connection or could not be reached.
    ConnectFailed,
    /// Connecting took too long.
    ConnectTimeout,
    /// The node closed or reset before a reply head.
    UpstreamReset,
    /// The node's reply head did not come in time.
    UpstreamTimeout,
    /// The node's reply is not HTTP that can be passed on.
    BadReply,
    /// The node's reply broke off within its body.
    ReplyCut,
    /// The client went away first.
    ClientGone,
    /// The client took nothing of the reply for the write timeout.
    ClientStalled,
    /// The drain's time limit cut the exchange.
    DrainCut,
    /// The gateway has a bound of its own that is reached.
    Overloaded,
}

/// Where a reason's fault lies; decides what may be retried and what counts against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's.
    Client,
    /// The node's.
    Upstream,
    /// The gateway's own limits.
    Gateway,
}

impl Reason {
    /// Status that tells the client; 499 stands in logs for a client that left (nothing is sent).
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest(error) => error.status(),
            Self::BadBody(error) => error.status(),
            Self::DotSegments => 400,
            Self::HeaderTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::NoRoute => 404,
            Self::OriginForbidden => 403,
            Self::NoHealthyNode | Self::WaitQueueFull | Self::WaitTimeout | Self::Overloaded => 503,
            Self::ConnectFailed | Self::UpstreamReset | Self::BadReply | Self::ReplyCut => 502,
            Self::ConnectTimeout | Self::UpstreamTimeout => 504,
            Self::ClientGone | Self::ClientStalled => 499,
            Self::DrainCut => 503,
        }
    }

    /// Label in metrics, logs and the reply's body.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest(error) => error.reason(),
            Self::BadBody(error) => error.reason(),
            Self::HeaderTimeout => "header_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::DotSegments => "dot_segments",
            Self::NoRoute => "no_route",
            Self::OriginForbidden => "origin_forbidden",
            Self::NoHealthyNode => "no_healthy_node",
            Self::WaitQueueFull => "wait_queue_full",
            Self::WaitTimeout => "wait_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::BadReply => "bad_reply",
            Self::ReplyCut => "reply_cut",
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::DrainCut => "drain_cut",
            Self::Overloaded => "overloaded",
        }
    }

    /// Whose fault it is.
    pub fn fault(self) -> Fault {
        match self {
            Self::BadRequest(_)
            | Self::BadBody(_)
            | Self::HeaderTimeout
            | Self::BodyTimeout
            | Self::BodyTooLarge
            | Self::DotSegments
            | Self::NoRoute
            | Self::OriginForbidden
            | Self::ClientGone
            | Self::ClientStalled => Fault::Client,
            Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::UpstreamReset
            | Self::UpstreamTimeout
            | Self::BadReply
            | Self::ReplyCut => Fault::Upstream,
            Self::NoHealthyNode
            | Self::WaitQueueFull
            | Self::WaitTimeout
            | Self::DrainCut
            | Self::Overloaded => Fault::Gateway,
        }
    }

    /// Position of this reason's counter in [`ShardPage::reasons`](super::ShardPage).
    pub fn index(self) -> usize {
        let own = OWN.len();
        match self {
            Self::BadRequest(error) => own + position(&RequestError::ALL, &error),
            Self::BadBody(error) => own + RequestError::ALL.len() + position(&BodyError::ALL, &error),
            other => position(OWN, &other),
        }
    }

    /// Every reason, in the order of [`Reason::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        OWN.iter()
            .copied()
            .chain(RequestError::ALL.iter().copied().map(Self::BadRequest))
            .chain(BodyError::ALL.iter().copied().map(Self::BadBody))
    }

    /// How many reasons there are.
    pub fn count() -> usize {
        OWN.len() + RequestError::ALL.len() + BodyError::ALL.len()
    }
}

/// The reasons that are ours, in the order of their counters.
const OWN: &[Reason] = &[
    Reason::HeaderTimeout,
    Reason::BodyTimeout,
    Reason::BodyTooLarge,
    Reason::DotSegments,
    Reason::NoRoute,
    Reason::OriginForbidden,
    Reason::NoHealthyNode,
    Reason::WaitQueueFull,
    Reason::WaitTimeout,
    Reason::ConnectFailed,
    Reason::ConnectTimeout,
    Reason::UpstreamReset,
    Reason::UpstreamTimeout,
    Reason::BadReply,
    Reason::ReplyCut,
    Reason::ClientGone,
    Reason::ClientStalled,
    Reason::DrainCut,
    Reason::Overloaded,
];

/// Where `item` stands; a reason that is missing from its list counts as the list's last
/// (a test proves that none is missing).
fn position<T: PartialEq>(all: &[T], item: &T) -> usize {
    all.iter().position(|one| one == item).unwrap_or(all.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let all: Vec<_> = Reason::all().collect();
        assert_eq!(all.len(), Reason::count());
        for (index, reason) in all.iter().enumerate() {
            assert_eq!(reason.index(), index, "{reason:?}");
            assert!(reason.status() >= 400);
        }
    }

    #[test]
    fn labels_are_distinct() {
        let mut labels: Vec<_> = Reason::all().map(Reason::label).collect();
        labels.sort_unstable();
        let count = labels.len();
        labels.dedup();
        assert_eq!(labels.len(), count);
    }
}
