//! Which route a request takes: the first whose host, path, method and headers all match. Pure.

use erlmcp_proto::http1::Method;

use crate::link::ids::RouteIndex;
use crate::link::snapshot::{HeaderMatch, HostPattern, PathMatch, Route, Snapshot, ValueMatch};

/// What routing looks at.
pub(crate) struct RouteInput<'a, H> {
    /// `Host`, with its port where it has one.
    pub(crate) host: &'a str,
    /// Path without the query.
    pub(crate) path: &'a str,
    /// Method.
    pub(crate) method: Method,
    /// First value of a header, by its name in any case.
    pub(crate) header: H,
}

/// The first route that matches.
pub(crate) fn find<'s, 'v, H>(
    snapshot: &'s Snapshot,
    input: &RouteInput<'_, H>,
) -> Option<(RouteIndex, &'s Route)>
where
    H: Fn(&str) -> Option<&'v [u8]>,
{
    let at = snapshot.routes.iter().position(|route| mismatch(route, input).is_none())?;
    // The publisher bounds the number of routes by `ROUTES_MAX`.
    Some((RouteIndex(at as u16), &snapshot.routes[at]))
}

/// The first condition of a route that a request does not meet, for `explain`; `None` where it matches.
pub(crate) fn mismatch<'v, H>(route: &Route, input: &RouteInput<'_, H>) -> Option<&'static str>
where
    H: Fn(&str) -> Option<&'v [u8]>,
{
    if !path_matches(&route.path, input.path) {
        return Some("path");
    }
    if !route.hosts.is_empty() && !route.hosts.iter().any(|pattern| host_matches(pattern, input.host)) {
        return Some("host");
    }
    if !route.methods.is_empty() && !route.methods.contains(&input.method) {
        return Some("method");
    }
    if !route.headers.iter().all(|want| header_matches(want, (input.header)(&want.name))) {
        return Some("header");
    }
    None
}

fn path_matches(pattern: &PathMatch, path: &str) -> bool {
    match pattern {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => match path.strip_prefix(prefix.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
            None => false,
        },
    }
}

fn host_matches(pattern: &HostPattern, host: &str) -> bool {
    pattern.matches(host) || pattern.matches(without_port(host))
}

/// `host` of `host:port`; a bracketed IPv6 address keeps its brackets.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

fn header_matches(want: &HeaderMatch, value: Option<&[u8]>) -> bool {
    match (&want.value, value) {
        (ValueMatch::Absent, value) => value.is_none(),
        (_, None) => false,
        (ValueMatch::Present, Some(_)) => true,
        (ValueMatch::Exact(exact), Some(value)) => value == exact.as_bytes(),
        (ValueMatch::Prefix(prefix), Some(value)) => value.starts_with(prefix.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let mcp = PathMatch::Prefix("/mcp".into());
        for (path, want) in [("/mcp", true), ("/mcp/sse", true), ("/mcpx", false), ("/", false)] {
            assert_eq!(path_matches(&mcp, path), want, "{path}");
        }
        assert!(path_matches(&PathMatch::Prefix("/".into()), "/anything"));
        assert!(!path_matches(&PathMatch::Exact("/a".into()), "/a/"));
    }

    #[test]
    fn hosts_match_with_or_without_their_port() {
        let exact = HostPattern::Exact("example.com".into());
        let with_port = HostPattern::Exact("example.com:81".into());
        let below = HostPattern::Suffix(".example.com".into());
        for (pattern, host, want) in [
            (&exact, "Example.COM", true),
            (&exact, "example.com:8080", true),
            (&exact, "evil-example.com", false),
            (&with_port, "example.com:81", true),
            (&with_port, "example.com:82", false),
            (&below, "a.example.com:80", true),
            (&below, "example.com", false),
            (&below, "aexample.com", false),
            (&HostPattern::Exact("[::1]".into()), "[::1]:80", true),
            (&HostPattern::Any, "", true),
        ] {
            assert_eq!(host_matches(pattern, host), want, "{pattern:?} {host}");
        }
    }

    #[test]
    fn headers_are_asked_for_and_asked_to_be_absent() {
        let matches = |value: ValueMatch, header: Option<&str>| {
            header_matches(&HeaderMatch { name: "x-a".into(), value }, header.map(str::as_bytes))
        };
        let (exact, prefix) = (ValueMatch::Exact("one".into()), ValueMatch::Prefix("on".into()));
        for (want, header, fits) in [
            (&ValueMatch::Present, Some(""), true),
            (&ValueMatch::Present, None, false),
            (&ValueMatch::Absent, None, true),
            (&ValueMatch::Absent, Some(""), false),
            (&exact, Some("one"), true),
            (&exact, Some("One"), false),
            (&prefix, Some("one"), true),
            (&prefix, Some("two"), false),
            (&prefix, None, false),
        ] {
            assert_eq!(matches(want.clone(), header), fits, "{want:?} {header:?}");
        }
    }
}
