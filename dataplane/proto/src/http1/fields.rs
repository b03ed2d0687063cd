//! Header fields: access by name, and the one pass over a head that finds the fields which decide framing.

use core::mem::MaybeUninit;
use core::ops::Range;

use super::head::HEADERS_MAX;
use super::write::write_field;

/// Most names kept from `Connection`; real clients send one or two.
pub const CONNECTION_TOKENS_MAX: usize = 8;

/// Room for a head's fields, on the caller's stack: made anew for each parse, which costs nothing.
///
/// Do not hold it across an await: it is 4 KiB.
pub struct HeaderSlots<'b> {
    slots: [MaybeUninit<httparse::Header<'b>>; HEADERS_MAX],
    /// What `Connection` lists: here, so that a parsed head is small enough to be moved.
    tokens: [&'b str; CONNECTION_TOKENS_MAX],
}

impl<'b> HeaderSlots<'b> {
    /// Empty room; nothing is zeroed.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self { slots: [const { MaybeUninit::uninit() }; HEADERS_MAX], tokens: [""; CONNECTION_TOKENS_MAX] }
    }

    /// The first `headers_max` slots, and the room for what `Connection` lists.
    pub(super) fn first(
        &mut self,
        headers_max: usize,
    ) -> (&mut [MaybeUninit<httparse::Header<'b>>], Tokens<'_, 'b>) {
        (&mut self.slots[..headers_max.min(HEADERS_MAX)], Tokens { names: &mut self.tokens, count: 0 })
    }
}

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for HeaderSlots<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HeaderSlots")
    }
}

/// A head's fields, in order, names as written, values without surrounding white space.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'b> {
    head: &'b [u8],
    fields: &'b [httparse::Header<'b>],
}

impl<'b> Headers<'b> {
    /// The fields that were found in `head`.
    pub(super) const fn new(head: &'b [u8], fields: &'b [httparse::Header<'b>]) -> Self {
        Self { head, fields }
    }

    /// Name and value of each field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'b str, &'b [u8])> + Clone + use<'b> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// Appends the first `start` bytes of the head, then the fields that `keep` says yes to, each as `Name: value` and
    /// CR LF. What stands so in the head goes in one copy with its neighbours.
    #[inline]
    pub fn write_kept(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        mut keep: impl FnMut(&'b str, &'b [u8]) -> bool,
    ) {
        let mut run = 0..start.min(self.head.len());
        for field in self.fields {
            if !keep(field.name, field.value) {
                continue;
            }
            match self.line_of(field) {
                Some(line) if line.start == run.end => run.end = line.end,
                line => {
                    out.extend_from_slice(&self.head[run]);
                    run = line.clone().unwrap_or_default();
                    if line.is_none() {
                        write_field(out, field.name, field.value);
                    }
                }
            }
        }
        if !run.is_empty() {
            out.extend_from_slice(&self.head[run]);
        }
    }

    /// Where the field's line stands in the head, if it is written there as we would write it.
    #[inline]
    fn line_of(&self, field: &httparse::Header<'b>) -> Option<Range<usize>> {
        let at = |text: *const u8| text.addr().wrapping_sub(self.head.as_ptr().addr());
        let (start, value) = (at(field.name.as_ptr()), at(field.value.as_ptr()));
        let (name_end, end) = (start.wrapping_add(field.name.len()), value.wrapping_add(field.value.len()));
        let pair_at = |at: usize| self.head.get(at..)?.first_chunk();
        let is_plain = name_end.wrapping_add(2) == value
            && pair_at(name_end) == Some(b": ")
            && pair_at(end) == Some(b"\r\n");
        is_plain.then(|| start..end + 2)
    }

    /// Value of the first field of this name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.get_all(name).next()
    }

    /// Values of all fields of this name, in any case.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'b, 'n> {
        self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Number of fields.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.fields.len()
    }

    /// No field at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Names of fields that `Connection` lists, beyond the standing hop-by-hop ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionTokens<'b>(&'b [&'b str]);

impl<'b> ConnectionTokens<'b> {
    /// The names, as written.
    #[must_use]
    pub const fn as_slice(&self) -> &'b [&'b str] {
        self.0
    }

    /// Whether the field of this name, in any case, is for this connection only.
    #[must_use]
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|token| token.eq_ignore_ascii_case(name))
    }

    /// No further name is listed: the usual case.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The names that `Connection` lists, while they are collected.
#[derive(Debug)]
pub(super) struct Tokens<'s, 'b> {
    names: &'s mut [&'b str; CONNECTION_TOKENS_MAX],
    count: usize,
}

impl<'s, 'b: 's> Tokens<'s, 'b> {
    fn push(&mut self, name: &'b str) -> Result<(), ConnectionError> {
        if self.names[..self.count].iter().any(|token| token.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        *self.names.get_mut(self.count).ok_or(ConnectionError::TooMany)? = name;
        self.count += 1;
        Ok(())
    }

    /// What was collected.
    pub(super) fn done(self) -> ConnectionTokens<'s> {
        ConnectionTokens(&self.names[..self.count])
    }
}

/// Whether a field's name is `lower`, which is written in lower case. Names are tokens: beside letters no byte of
/// theirs differs in the case bit alone.
#[inline]
fn is_named<const N: usize>(name: &str, lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name.as_bytes()) else { return false };
    // Eight bytes at a time; the last eight overlap those before.
    let Some((end, lower_end)) = name.last_chunk().zip(lower.last_chunk()) else {
        return name.iter().zip(lower).all(|(byte, lower)| byte | 0x20 == *lower);
    };
    let same = |name: &[u8; 8], lower: &[u8; 8]| {
        u64::from_ne_bytes(*name) | 0x2020_2020_2020_2020 == u64::from_ne_bytes(*lower)
    };
    name.as_chunks().0.iter().zip(lower.as_chunks().0).all(|(name, lower)| same(name, lower))
        && same(end, lower_end)
}

/// Fields that never pass a hop, whether or not `Connection` lists them (RFC 9110 section 7.6.1).
///
/// `Trailer` is here because trailers are consumed by the hop that decodes the chunks; `Transfer-Encoding` because
/// the gateway frames anew.
#[must_use]
#[inline]
pub fn is_hop_by_hop(name: &str) -> bool {
    match name.len() {
        2 => is_named(name, b"te"),
        7 => is_named(name, b"upgrade") || is_named(name, b"trailer"),
        10 => is_named(name, b"connection") || is_named(name, b"keep-alive"),
        16 => is_named(name, b"proxy-connection"),
        17 => is_named(name, b"transfer-encoding"),
        18 => is_named(name, b"proxy-authenticate"),
        19 => is_named(name, b"proxy-authorization"),
        25 => is_named(name, b"proxy-authentication-info"),
        _ => false,
    }
}

/// Whether `text` is a non-empty token (RFC 9110 section 5.6.2).
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_token_byte(b))
}

pub(super) const fn is_token_byte(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Members of a comma-separated list, trimmed, empty ones left out (RFC 9110 section 5.6.1). Quoted commas are not seen.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty())
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Why a `Connection` field is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionError {
    Malformed,
    TooMany,
    Protected,
}

/// Why `Content-Length` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LengthError {
    Bad,
    Repeated,
    Conflicting,
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Absent,
    Chunked,
    Unsupported,
    Bad,
}

/// The fields that decide about the message, found in one pass; judged by the caller afterwards.
#[derive(Debug)]
pub(super) struct Semantics<'s, 'b> {
    pub length: Option<Result<u64, LengthError>>,
    pub coding: Coding,
    pub host: Option<&'b [u8]>,
    pub host_count: u32,
    pub expect: Option<&'b [u8]>,
    pub upgrade: Option<&'b [u8]>,
    pub content_type: Option<&'b [u8]>,
    pub te_trailers: bool,
    pub close: bool,
    pub keep_alive: bool,
    pub connection_upgrade: bool,
    pub connection_error: Option<ConnectionError>,
    pub tokens: Tokens<'s, 'b>,
}

impl<'s, 'b: 's> Semantics<'s, 'b> {
    /// Nothing found yet.
    #[inline]
    pub(super) fn new(tokens: Tokens<'s, 'b>) -> Self {
        Self {
            length: None,
            coding: Coding::Absent,
            host: None,
            host_count: 0,
            expect: None,
            upgrade: None,
            content_type: None,
            te_trailers: false,
            close: false,
            keep_alive: false,
            connection_upgrade: false,
            connection_error: None,
            tokens,
        }
    }

    /// Looks at each field, in place: what is found is too large to be moved around.
    #[inline]
    pub(super) fn find_in(&mut self, fields: &[httparse::Header<'b>]) {
        for field in fields {
            self.take(field.name, field.value);
        }
    }

    /// Length first: most fields are told apart by it alone.
    #[inline]
    fn take(&mut self, name: &'b str, value: &'b [u8]) {
        match name.len() {
            2 if is_named(name, b"te") => {
                self.te_trailers |=
                    list_members(value).any(|member| member.eq_ignore_ascii_case(b"trailers"));
            }
            4 if is_named(name, b"host") => {
                self.host = Some(value);
                self.host_count += 1;
            }
            6 if is_named(name, b"expect") => self.expect = Some(value),
            7 if is_named(name, b"upgrade") => self.upgrade = Some(value),
            10 if is_named(name, b"connection") => {
                if let Err(error) = self.connection(value) {
                    self.connection_error.get_or_insert(error);
                }
            }
            12 if is_named(name, b"content-type") => self.content_type = Some(value),
            14 if is_named(name, b"content-length") => {
                self.length = Some(match self.length {
                    None => length(value),
                    Some(before) => Err(repeated(before, length(value))),
                });
            }
            17 if is_named(name, b"transfer-encoding") => {
                self.coding = match self.coding {
                    Coding::Absent => coding(value),
                    _ => Coding::Bad,
                };
            }
            _ => {}
        }
    }

    fn connection(&mut self, value: &'b [u8]) -> Result<(), ConnectionError> {
        for member in list_members(value) {
            let same = |other: &str| member.eq_ignore_ascii_case(other.as_bytes());
            if same("close") {
                self.close = true;
            } else if same("keep-alive") {
                self.keep_alive = true;
            } else if same("upgrade") {
                self.connection_upgrade = true;
            } else if same("host") || same("content-length") || same("transfer-encoding") {
                return Err(ConnectionError::Protected);
            } else if !is_token(member) {
                return Err(ConnectionError::Malformed);
            } else {
                let name = core::str::from_utf8(member).map_err(|_| ConnectionError::Malformed)?;
                if !is_hop_by_hop(name) {
                    self.tokens.push(name)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the connection may serve another exchange after this one (RFC 9112 section 9.3).
    #[inline]
    pub(super) const fn persists(&self, http10: bool) -> bool {
        !self.close && (!http10 || self.keep_alive)
    }
}

/// A plain decimal below 2^63; `5, 5` is a repetition, not a number.
fn length(value: &[u8]) -> Result<u64, LengthError> {
    if let Some(length) = decimal(value) {
        return Ok(length);
    }
    if value.contains(&b',') {
        let mut members = list_members(value).map(decimal);
        let first = members.next().flatten().ok_or(LengthError::Bad)?;
        return Err(members.fold(LengthError::Repeated, |worst, member| match (worst, member) {
            (LengthError::Bad, _) | (_, None) => LengthError::Bad,
            (_, Some(other)) if other != first => LengthError::Conflicting,
            (worst, Some(_)) => worst,
        }));
    }
    Err(LengthError::Bad)
}

fn repeated(before: Result<u64, LengthError>, after: Result<u64, LengthError>) -> LengthError {
    match (before, after) {
        (Err(LengthError::Bad), _) | (_, Err(LengthError::Bad)) => LengthError::Bad,
        (Ok(before), Ok(after)) if before == after => LengthError::Repeated,
        (Err(LengthError::Repeated), Err(LengthError::Repeated)) => LengthError::Repeated,
        _ => LengthError::Conflicting,
    }
}

/// At most 18 digits, leading zeros counted: always below 2^63, no overflow to think about.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, b| b.is_ascii_digit().then(|| value * 10 + u64::from(b - b'0')))
}

/// Exactly `chunked`, or which way it is not.
fn coding(value: &[u8]) -> Coding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    let mut members = value.split(|&b| b == b',').map(trim).rev();
    let ends_chunked = members.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let known = |member: &[u8]| {
        [b"gzip".as_slice(), b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"zstd"]
            .iter()
            .any(|coding| member.eq_ignore_ascii_case(coding))
    };
    let mut others = members.peekable();
    if ends_chunked && others.peek().is_some() && others.all(known) {
        Coding::Unsupported
    } else {
        Coding::Bad
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HeadLimits, Method, parse_request, parse_response};
    use super::*;

    #[test]
    fn connection_names_what_must_not_pass_on() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-secret, Upgrade, TE\r\nconnection: X-Secret , X-Other\r\n\
            Upgrade: websocket\r\nTE: trailers, deflate;q=0.5\r\nX-Secret: 1\r\n\r\n";
        let mut slots = HeaderSlots::new();
        let request = parse_request(head, &mut slots, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!(request.connection_tokens.as_slice(), ["x-secret", "X-Other"]);
        assert!(request.connection_tokens.contains("X-SECRET") && !request.connection_tokens.contains("x"));
        assert_eq!(request.upgrade, Some(b"websocket".as_slice()));
        assert!(request.has_te_trailers);
        assert_eq!(request.headers.get("x-SECRET"), Some(b"1".as_slice()));
        assert_eq!(request.headers.get_all("Connection").count(), 2);
        for name in
            ["TE", "keep-alive", "Proxy-Connection", "Transfer-Encoding", "Trailer", "UPGRADE", "connection"]
        {
            assert!(is_hop_by_hop(name), "{name}");
        }
        for name in ["Host", "Content-Length", "Cookie", "X", "Upgrade-Insecure-Requests", "Mcp-Session-Id"] {
            assert!(!is_hop_by_hop(name), "{name}");
        }
    }

    #[test]
    fn names_are_told_in_any_case_and_from_their_neighbours() {
        for name in ["content-length", "Content-Length", "CONTENT-LENGTH"] {
            assert!(is_named(name, b"content-length"), "{name}");
        }
        // All bytes that a name may have, one after the other in the place of each of them.
        for at in 0..14 {
            for byte in (0..=255).filter(|byte| is_token_byte(*byte)) {
                let mut name = *b"content-length";
                name[at] = byte;
                let name = core::str::from_utf8(&name).unwrap();
                assert_eq!(
                    is_named(name, b"content-length"),
                    name.eq_ignore_ascii_case("content-length"),
                    "{name}"
                );
            }
        }
        assert!(!is_named("content-lengt", b"content-length") && !is_named("", b"te"));
    }

    #[test]
    fn kept_fields_are_written_one_way_however_they_came() {
        let head =
            b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB:2\r\nC: \r\nD:   4  \r\nE: 5\r\nF: 6\r\nG: 7\r\n\r\n";
        let mut slots = HeaderSlots::new();
        let request = parse_request(head, &mut slots, &HeadLimits::default()).unwrap().unwrap();
        let kept_after = |start: usize, names: &str| {
            let mut out = b"x".to_vec();
            request.headers.write_kept(&mut out, start, |name, _| names.contains(name));
            String::from_utf8(out).unwrap()
        };
        let kept = |names: &str| kept_after(0, names);
        assert_eq!(kept_after(16, "HostB"), "xGET / HTTP/1.1\r\nHost: a\r\nB: 2\r\n");
        assert_eq!(kept_after(16, "A"), "xGET / HTTP/1.1\r\nA: 1\r\n");
        assert_eq!(kept_after(16, ""), "xGET / HTTP/1.1\r\n");
        assert_eq!(kept(""), "x");
        assert_eq!(kept("ABCDEFG"), "xA: 1\r\nB: 2\r\nC: \r\nD: 4\r\nE: 5\r\nF: 6\r\nG: 7\r\n");
        assert_eq!(kept("HostABEG"), "xHost: a\r\nA: 1\r\nB: 2\r\nE: 5\r\nG: 7\r\n");
        assert_eq!(kept("CF"), "xC: \r\nF: 6\r\n");
    }

    #[test]
    fn an_upgrade_needs_connection_and_http11() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", None),
            ("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", None),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
                Some(b"h2c".as_slice()),
            ),
        ] {
            let mut slots = HeaderSlots::new();
            let request =
                parse_request(head.as_bytes(), &mut slots, &HeadLimits::default()).unwrap().unwrap();
            assert_eq!(request.upgrade, expected, "{head}");
        }
    }

    #[test]
    fn the_absolute_form_decides_about_the_host() {
        let head = b"GET http://b.example:8080/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let mut slots = HeaderSlots::new();
        let request = parse_request(head, &mut slots, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!((request.host, request.target.path), (Some("b.example:8080"), "/x"));
    }

    #[test]
    fn event_streams_are_known_by_their_media_type() {
        for (content_type, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("application/json", false),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n");
            let mut slots = HeaderSlots::new();
            let response = parse_response(head.as_bytes(), &mut slots, &HeadLimits::default(), Method::Get)
                .unwrap()
                .unwrap();
            assert_eq!(response.is_event_stream, expected, "{content_type}");
        }
    }
}
