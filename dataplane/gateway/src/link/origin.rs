//! Patterns of origins (RFC 6454): scheme, host and port, each of which must fit.
//!
//! Never allocates: requests of browsers are held against them.

use super::snapshot::HostPattern;

/// Which values of an `Origin` header fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every one, `null` too.
    Any,
    /// Those that fit in each part.
    Parts {
        /// Such as `https`; letter case does not count.
        scheme: String,
        /// The host, without its port.
        host: HostPattern,
        /// The port.
        port: PortPattern,
    },
}

/// The port of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortPattern {
    /// The scheme's own: none is written.
    Default,
    /// This one.
    Exact(u16),
    /// Any, or none.
    Any,
}

impl OriginPattern {
    /// Whether the value of an `Origin` header fits. `null` fits only [`OriginPattern::Any`].
    pub fn matches(&self, origin: &str) -> bool {
        let Self::Parts { scheme, host, port } = self else { return true };
        let Some((theirs, authority)) = origin.split_once("://") else { return false };
        let (name, number) = split_port(authority);
        let port_fits = match (port, number) {
            (PortPattern::Any | PortPattern::Default, None) => true,
            (PortPattern::Any, Some(number)) => number.parse::<u16>().is_ok(),
            (PortPattern::Exact(ours), Some(number)) => number.parse() == Ok(*ours),
            (PortPattern::Exact(_), None) | (PortPattern::Default, Some(_)) => false,
        };
        port_fits && scheme.eq_ignore_ascii_case(theirs) && host.matches(name)
    }
}

/// `name:port`, `[v6]:port` or a name alone.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after..].rfind(':') {
        Some(colon) => (&authority[..after + colon], Some(&authority[after + colon + 1..])),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(scheme: &str, host: HostPattern, port: PortPattern) -> OriginPattern {
        OriginPattern::Parts { scheme: scheme.into(), host, port }
    }

    #[test]
    fn scheme_host_and_port_must_all_fit() {
        let exact = |host: &str| HostPattern::Exact(host.into());
        let below = parts("https", HostPattern::Suffix(".example.com".into()), PortPattern::Default);
        let local = parts("http", exact("localhost"), PortPattern::Any);
        let v6 = parts("http", exact("[::1]"), PortPattern::Exact(81));
        for (pattern, origin, fits) in [
            (&below, "https://a.Example.com", true),
            (&below, "http://a.example.com", false),
            (&below, "https://a.example.com:8443", false),
            (&below, "https://example.com", false),
            (&below, "https://a.example.com.evil.org", false),
            (&local, "http://localhost", true),
            (&local, "HTTP://localhost:5173", true),
            (&local, "http://localhost:x", false),
            (&local, "http://localhost:", false),
            (&local, "http://localhost:99999", false),
            (&local, "http://localhost.evil.org:80", false),
            (&local, "null", false),
            (&v6, "http://[::1]:81", true),
            (&v6, "http://[::1]", false),
            (&v6, "http://[::1]:82", false),
            (&OriginPattern::Any, "null", true),
        ] {
            assert_eq!(pattern.matches(origin), fits, "{pattern:?} {origin}");
        }
    }
}
