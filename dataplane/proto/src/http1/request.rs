//! Request heads: tokenized by `httparse`, then judged by rules that it leaves to its callers.

use super::error::RequestError;
use super::fields::{Coding, ConnectionError, HeaderSlots, Headers, LengthError, Semantics, Tokens};
use super::head::{Framing, HeadLimits, Request};
use super::method::Method;
use super::target::{Target, is_valid_authority};

/// Longest method accepted, in bytes: the longest registered one (IANA) has 18.
const METHOD_BYTES_MAX: usize = 24;

/// Parses the request head at the start of `buf`; `None` means that more bytes are needed.
///
/// Empty lines before the request line are skipped (RFC 9112 section 2.2) and count into `head_len`.
///
/// # Errors
/// Any reason to refuse the request; the connection cannot be used further, as its framing is unknown.
#[inline]
pub fn parse_request<'s, 'b: 's>(
    buf: &'b [u8],
    slots: &'s mut HeaderSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Request<'s>>, RequestError> {
    let mut head = httparse::Request::new(&mut []);
    let (slots, tokens) = slots.first(limits.headers_max);
    let head_len = match head.parse_with_uninit_headers(buf, slots) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) => return check_partial(buf, limits).map(|()| None),
        Err(error) => return Err(classify(buf, error, limits)),
    };
    if head_len > limits.head_bytes_max {
        return Err(RequestError::HeadTooLarge);
    }
    let bytes = &buf[..head_len];
    if has_bare_lf(bytes) {
        return Err(RequestError::BareLf);
    }
    let (Some(method_text), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(RequestError::BadTarget);
    };
    let words = Words { bytes, method_text, target, http10: version == 0, fields: &*head.headers };
    judge(words, tokens, limits)
}

/// A head's parts.
struct Words<'s, 'b> {
    bytes: &'b [u8],
    method_text: &'b str,
    target: &'b str,
    http10: bool,
    fields: &'s [httparse::Header<'b>],
}

#[inline]
fn judge<'s, 'b: 's>(
    head: Words<'s, 'b>,
    tokens: Tokens<'s, 'b>,
    limits: &HeadLimits,
) -> Result<Option<Request<'s>>, RequestError> {
    let Words { bytes, method_text, target, http10, fields } = head;
    if target.len() > limits.target_bytes_max {
        return Err(RequestError::TargetTooLong);
    }
    if method_text.len() > METHOD_BYTES_MAX {
        return Err(RequestError::BadMethod);
    }
    let method = Method::from_text(method_text);
    if matches!(method, Method::Connect | Method::Trace) {
        return Err(RequestError::UnsupportedMethod);
    }
    let target = Target::parse(target, method).ok_or(RequestError::BadTarget)?;
    let mut found = Semantics::new(tokens);
    found.find_in(fields);
    let framing = framing(&found, http10)?;
    let host = host(&found, &target, http10)?;
    let expect_continue = match found.expect {
        None => false,
        Some(_) if http10 => false,
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => true,
        Some(_) => return Err(RequestError::BadExpect),
    };
    match found.connection_error {
        None => {}
        Some(ConnectionError::TooMany) => return Err(RequestError::TooManyConnectionTokens),
        Some(ConnectionError::Malformed | ConnectionError::Protected) => {
            return Err(RequestError::BadConnection);
        }
    }
    Ok(Some(Request {
        method,
        method_text,
        target,
        line: line(bytes, method_text, target.text),
        http10,
        headers: Headers::new(bytes, fields),
        head_len: bytes.len(),
        framing,
        keep_alive: found.persists(http10),
        expect_continue,
        upgrade: found.upgrade.filter(|_| found.connection_upgrade && !http10),
        host,
        connection_tokens: found.tokens.done(),
        has_te_trailers: found.te_trailers,
    }))
}

/// The request line, less its line end. `httparse` lets one space stand between its words.
#[inline]
fn line<'b>(head: &'b [u8], method: &str, target: &str) -> &'b [u8] {
    let start = method.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
    let length = method.len() + " ".len() + target.len() + " HTTP/1.1".len();
    head.get(start..start.wrapping_add(length)).unwrap_or_default()
}

fn framing(found: &Semantics<'_, '_>, http10: bool) -> Result<Framing, RequestError> {
    if found.coding != Coding::Absent {
        return match found.coding {
            _ if found.length.is_some() => Err(RequestError::LengthAndChunked),
            Coding::Chunked if !http10 => Ok(Framing::Chunked),
            Coding::Unsupported if !http10 => Err(RequestError::UnsupportedCoding),
            _ => Err(RequestError::BadTransferEncoding),
        };
    }
    match found.length {
        None => Ok(Framing::None),
        Some(Ok(length)) => Ok(Framing::Length(length)),
        Some(Err(LengthError::Bad)) => Err(RequestError::BadLength),
        Some(Err(LengthError::Repeated)) => Err(RequestError::RepeatedLength),
        Some(Err(LengthError::Conflicting)) => Err(RequestError::ConflictingLengths),
    }
}

fn host<'b>(
    found: &Semantics<'_, 'b>,
    target: &Target<'b>,
    http10: bool,
) -> Result<Option<&'b str>, RequestError> {
    let host = match (found.host_count, found.host) {
        (0, _) | (_, None) if http10 => None,
        (0, _) | (_, None) => return Err(RequestError::MissingHost),
        (1, Some(value)) => {
            let text = core::str::from_utf8(value).map_err(|_| RequestError::BadHost)?;
            if !is_valid_authority(text) {
                return Err(RequestError::BadHost);
            }
            Some(text)
        }
        _ => return Err(RequestError::RepeatedHost),
    };
    Ok(target.authority.or(host))
}

/// LF that no CR precedes; `httparse` takes it for a line end.
#[inline]
pub(super) fn has_bare_lf(head: &[u8]) -> bool {
    let Some((first, rest)) = head.split_first() else { return false };
    let before = &head[..rest.len()];
    let is_bare = |(byte, before): (&u8, &u8)| (*byte == b'\n') & (*before != b'\r');
    let any =
        |bytes: &[u8], before: &[u8]| bytes.iter().zip(before).fold(false, |any, pair| any | is_bare(pair));
    // In pieces that the compiler compares at once; the last one overlaps the one before it.
    let (Some(last), Some(last_before)) = (rest.last_chunk::<16>(), before.last_chunk::<16>()) else {
        return *first == b'\n' || any(rest, before);
    };
    let pieces = rest.as_chunks::<16>().0.iter().zip(before.as_chunks::<16>().0);
    let in_pieces = pieces.fold(false, |bare, (piece, before)| bare | any(piece, before));
    *first == b'\n' || in_pieces || any(last, last_before)
}

/// A head that goes on: refused early once no continuation could be accepted.
fn check_partial(buf: &[u8], limits: &HeadLimits) -> Result<(), RequestError> {
    if buf.len() <= limits.target_bytes_max.min(limits.head_bytes_max) {
        return Ok(());
    }
    if target_too_long(buf, limits) {
        return Err(RequestError::TargetTooLong);
    }
    if buf.len() > limits.head_bytes_max { Err(RequestError::HeadTooLarge) } else { Ok(()) }
}

/// Whether the request line's second word alone is over its limit, ended or not.
fn target_too_long(buf: &[u8], limits: &HeadLimits) -> bool {
    let mut words = skip_empty_lines(buf).splitn(3, |&b| b == b' ');
    let (method, target) = (words.next(), words.next());
    method.is_some_and(|method| method.len() <= METHOD_BYTES_MAX)
        && target.is_some_and(|target| target.len() > limits.target_bytes_max)
}

fn skip_empty_lines(buf: &[u8]) -> &[u8] {
    &buf[buf.iter().position(|&b| b != b'\r' && b != b'\n').unwrap_or(buf.len())..]
}

fn classify(buf: &[u8], error: httparse::Error, limits: &HeadLimits) -> RequestError {
    match error {
        httparse::Error::TooManyHeaders => RequestError::TooManyHeaders,
        httparse::Error::Version => RequestError::BadVersion,
        httparse::Error::HeaderValue if has_bare_cr(buf) => RequestError::BareCr,
        httparse::Error::HeaderValue => RequestError::BadHeaderValue,
        httparse::Error::HeaderName if has_fold(buf) => RequestError::ObsFold,
        httparse::Error::HeaderName => RequestError::BadHeaderName,
        httparse::Error::NewLine => RequestError::BareCr,
        httparse::Error::Token | httparse::Error::Status if target_too_long(buf, limits) => {
            RequestError::TargetTooLong
        }
        httparse::Error::Token | httparse::Error::Status => {
            let line = skip_empty_lines(buf);
            let method = line.split(|&b| b == b' ').next().unwrap_or(line);
            if super::fields::is_token(method) { RequestError::BadTarget } else { RequestError::BadMethod }
        }
    }
}

/// A line that starts with white space after the first one.
pub(super) fn has_fold(buf: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', buf).any(|at| matches!(buf.get(at + 1), Some(b' ' | b'\t')))
}

/// CR that something other than LF follows.
pub(super) fn has_bare_cr(buf: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', buf).any(|at| buf.get(at + 1).is_some_and(|&b| b != b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_line_is_what_was_written() {
        for head in ["GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\nOPTIONS * HTTP/1.0\r\n\r\n"] {
            let mut slots = HeaderSlots::new();
            let request =
                parse_request(head.as_bytes(), &mut slots, &HeadLimits::default()).unwrap().unwrap();
            let line = head.trim_start().lines().next().unwrap();
            assert_eq!(str::from_utf8(request.line), Ok(line));
        }
    }

    #[test]
    fn a_bare_lf_is_found_wherever_it_stands() {
        for length in 0..70 {
            let plain = vec![b'x'; length];
            assert!(!has_bare_lf(&plain), "{length}");
            for at in 0..length {
                let mut head = plain.clone();
                head[at] = b'\n';
                assert!(has_bare_lf(&head), "{at} of {length}");
                if let Some(before) = at.checked_sub(1) {
                    head[before] = b'\r';
                    assert!(!has_bare_lf(&head), "{at} of {length}");
                }
            }
        }
    }
}
