//! Request targets (RFC 9112 section 3.2) and the `host[:port]` rule shared with the `Host` field.

use core::net::Ipv6Addr;

use super::method::Method;

/// Which of RFC 9112's forms a target has; the authority form (CONNECT) is refused earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `*`
    Asterisk,
}

/// A request target, split. All text is visible ASCII without `#`; percent-encoding is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// The form it was written in.
    pub form: TargetForm,
    /// The whole target as written.
    pub text: &'b str,
    /// The path: starts with `/`, or is `*`.
    pub path: &'b str,
    /// What follows the first `?`, without it.
    pub query: Option<&'b str>,
    /// `host[:port]` of the absolute form.
    pub authority: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Splits `text`, or `None` when it is malformed.
    pub(super) fn parse(text: &'b str, method: Method) -> Option<Self> {
        if !text.is_ascii() {
            return None;
        }
        // A fragment has no business here; most targets have neither it nor a query.
        let mark = memchr::memchr2(b'#', b'?', text.as_bytes());
        if mark.is_some_and(|at| memchr::memchr(b'#', &text.as_bytes()[at..]).is_some()) {
            return None;
        }
        if text.starts_with('/') {
            let (path, query) = match mark {
                Some(at) => (&text[..at], Some(&text[at + 1..])),
                None => (text, None),
            };
            return Some(Self { form: TargetForm::Origin, text, path, query, authority: None });
        }
        if text == "*" {
            let asterisk =
                Self { form: TargetForm::Asterisk, text, path: text, query: None, authority: None };
            return (method == Method::Options).then_some(asterisk);
        }
        let rest = strip_scheme(text)?;
        let end = rest.bytes().position(|b| b == b'/' || b == b'?').unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if !is_valid_authority(authority) {
            return None;
        }
        let (path, query) = split_query(rest);
        let path = match path {
            // RFC 9112 section 3.2.4: OPTIONS for the server as a whole.
            "" if method == Method::Options && query.is_none() => "*",
            "" => "/",
            path => path,
        };
        Some(Self { form: TargetForm::Absolute, text, path, query, authority: Some(authority) })
    }

    /// Whether a path segment is `.` or `..`, also percent-encoded: routing by prefix would then be ambiguous.
    #[must_use]
    pub fn has_dot_segments(&self) -> bool {
        // Most paths hold neither a dot nor a percent sign.
        if memchr::memchr2(b'.', b'%', self.path.as_bytes()).is_none() {
            return false;
        }
        self.path.split(['/', '\\']).any(is_dot_segment)
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn strip_scheme(text: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (head, rest) = text.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return false,
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

/// Whether `text` is a non-empty `host` or `host:port` (RFC 3986 section 3.2) without user information.
///
/// Stricter than the grammar in one point: no comma, so that merged `Host` fields are not taken for one.
#[must_use]
pub fn is_valid_authority(text: &str) -> bool {
    let (host_ok, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((host, rest)) = rest.split_once(']') else { return false };
        (host.parse::<Ipv6Addr>().is_ok(), rest)
    } else {
        let end = text.as_bytes().iter().position(|&b| !REG_NAME[usize::from(b)]).unwrap_or(text.len());
        let (host, rest) = text.split_at_checked(end).unwrap_or_default();
        (!host.is_empty(), rest)
    };
    host_ok && is_port(port.as_bytes())
}

/// Nothing, or a colon and a port, which may be empty (RFC 3986 section 3.2.3).
fn is_port(text: &[u8]) -> bool {
    let digits = match text {
        [] => return true,
        [b':', digits @ ..] if digits.len() <= 5 => digits,
        _ => return false,
    };
    let value =
        digits.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + u32::from(b - b'0')));
    value.is_some_and(|value| value <= u32::from(u16::MAX))
}

/// By byte: a `Host` is looked at for every request.
const REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = in_reg_name(byte as u8);
        byte += 1;
    }
    table
};

const fn in_reg_name(b: u8) -> bool {
    matches!(b,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%'
        | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_split() {
        let parse =
            |text, method| Target::parse(text, method).map(|t| (t.form, t.authority, t.path, t.query));
        let table = [
            ("/a?b?c", Some((TargetForm::Origin, None, "/a", Some("b?c")))),
            ("//a", Some((TargetForm::Origin, None, "//a", None))),
            ("HTTP://h:1/p?", Some((TargetForm::Absolute, Some("h:1"), "/p", Some("")))),
            ("https://h", Some((TargetForm::Absolute, Some("h"), "/", None))),
            ("http://h?q", Some((TargetForm::Absolute, Some("h"), "/", Some("q")))),
            ("/a#b", None),
            ("/a?b#c", None),
            ("http://", None),
            ("*", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text, Method::Get), expected, "{text}");
        }
        assert_eq!(parse("*", Method::Options), Some((TargetForm::Asterisk, None, "*", None)));
        assert_eq!(parse("http://h", Method::Options), Some((TargetForm::Absolute, Some("h"), "*", None)));
    }

    #[test]
    fn authorities_end_in_a_port_or_nothing() {
        for text in ["a", "a.example:80", "a:", "a:65535", "a:00080", "127.0.0.1:7140", "[::1]", "[::1]:8080"]
        {
            assert!(is_valid_authority(text), "{text}");
        }
        for text in [
            "", ":80", "a:65536", "a:000080", "a:8x", "a:+8", "a:8:0", "a,b", "a b", "a/", "ä", "aä:80",
            "u@a", "[::1", "[::1]8",
        ] {
            assert!(!is_valid_authority(text), "{text}");
        }
    }

    #[test]
    fn dot_segments_are_seen_through_their_encoding() {
        let has = |path| Target::parse(path, Method::Get).unwrap().has_dot_segments();
        for path in ["/.", "/..", "/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/a\\..\\b"] {
            assert!(has(path), "{path}");
        }
        for path in ["/", "/a.b", "/...", "/.well-known", "/%2f", "/a?/../b", "/%2ea"] {
            assert!(!has(path), "{path}");
        }
    }
}
