//! What is asked of every candidate: small and large replies, new connections, TLS, WebSocket, idle streams.
//!
//! Owns the names of scenarios. Never knows who takes part.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Most connections of a scenario: two descriptors each in the proxy, and loopback ports to the upstreams.
const CONNECTIONS_MAX: u32 = 20_000;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 13 bytes over keep-alive connections.
    Small,
    /// 64 KiB over keep-alive connections.
    #[serde(rename = "64k")]
    Large,
    /// 1 MiB over keep-alive connections.
    #[serde(rename = "1m")]
    Huge,
    /// A connection for every request.
    New,
    /// Memory of silent event streams.
    Idle,
    /// 13 bytes over keep-alive connections, TLS in front.
    Tls,
    /// A TLS connection for every request, ECDSA P-256, no resumption.
    TlsNew,
    /// Short WebSocket messages, one reply each.
    Websocket,
    /// 13 bytes straight from the same server on several runtimes: no proxy between.
    Runtimes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Small,
        Self::Large,
        Self::Huge,
        Self::New,
        Self::Idle,
        Self::Tls,
        Self::TlsNew,
        Self::Websocket,
        Self::Runtimes,
    ];

    /// As users write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "64k",
            Self::Huge => "1m",
            Self::New => "new",
            Self::Idle => "idle",
            Self::Tls => "tls",
            Self::TlsNew => "tls-new",
            Self::Websocket => "websocket",
            Self::Runtimes => "runtimes",
        }
    }

    /// Connections where the user names none.
    const fn connections(self) -> u32 {
        match self {
            Self::Small | Self::New | Self::Tls | Self::TlsNew | Self::Websocket | Self::Runtimes => 64,
            Self::Large => 32,
            Self::Huge => 8,
            Self::Idle => 3500,
        }
    }

    /// Path that is asked for.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Small | Self::New | Self::Tls | Self::TlsNew | Self::Runtimes => "/",
            Self::Large => "/64k",
            Self::Huge => "/1m",
            Self::Idle => "/sse",
            Self::Websocket => "/ws",
        }
    }

    /// Clients speak TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsNew)
    }
}

/// A kind of load with its number of connections. Written `KIND` or `KIND-CONNECTIONS`, such as `small-1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// What is asked.
    pub kind: Kind,
    /// Over how many connections, at least 1.
    pub connections: u32,
}

impl Scenario {
    /// What a comparison measures when nobody chooses: everything but `runtimes`.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let small = [1, 64, 1000].map(|connections| Self { kind: Kind::Small, connections });
        let rest = Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Small | Kind::Runtimes));
        small.into_iter().chain(rest.map(Self::of)).collect()
    }

    /// The kind with its usual number of connections.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self { kind, connections: kind.connections() }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.name(), self.connections)
    }
}

/// The text names no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no scenario `{0}`: write small, 64k, 1m, new, idle, tls, tls-new, websocket or runtimes, with `-N` for N \
     connections (1 to 20000), such as small-1000"
)]
pub struct UnknownScenario(String);

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        let unknown = || UnknownScenario(text.to_owned());
        let named = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
        if let Some(kind) = named(text) {
            return Ok(Self::of(kind));
        }
        let (name, count) = text.rsplit_once('-').ok_or_else(unknown)?;
        let kind = named(name).ok_or_else(unknown)?;
        let connections = count.parse().map_err(|_| unknown())?;
        match (1..=CONNECTIONS_MAX).contains(&connections) {
            true => Ok(Self { kind, connections }),
            false => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for scenario in Scenario::defaults() {
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
        assert_eq!("tls-new-7".parse(), Ok(Scenario { kind: Kind::TlsNew, connections: 7 }));
        assert_eq!("1m".parse(), Ok(Scenario { kind: Kind::Huge, connections: 8 }));
        for bad in ["", "small-0", "small-x", "small-20001", "tiny", "tls--1", "-5"] {
            assert!(bad.parse::<Scenario>().unwrap_err().to_string().contains("small-1000"), "{bad}");
        }
    }
}
