//! Request heads: tokenized by `httparse`, then judged by rules that it leaves to its callers.

use super::error::RequestError;
use super::fields::{Coding, ConnectionError, HeaderSlots, Headers, LengthError, Semantics};
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
pub fn parse_request<'s, 'b: 's>(
    buf: &'b [u8],
    slots: &'s mut HeaderSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<Request<'s>>, RequestError> {
    let mut head = httparse::Request::new(&mut []);
    let slots = slots.first(limits.headers_max);
    let head_len = match head.parse_with_uninit_headers(buf, slots) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) => return check_partial(buf, limits).map(|()| None),
        Err(error) => return Err(classify(buf, error, limits)),
    };
    if head_len > limits.head_bytes_max {
        return Err(RequestError::HeadTooLarge);
    }
    if has_bare_lf(&buf[..head_len]) {
        return Err(RequestError::BareLf);
    }
    let (Some(method_text), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(RequestError::BadTarget);
    };
    judge(Tokens { method_text, target, http10: version == 0, fields: &*head.headers, head_len }, limits)
        .map(Some)
}

struct Tokens<'s, 'b> {
    method_text: &'b str,
    target: &'b str,
    http10: bool,
    fields: &'s [httparse::Header<'b>],
    head_len: usize,
}

fn judge<'s>(head: Tokens<'s, 's>, limits: &HeadLimits) -> Result<Request<'s>, RequestError> {
    let Tokens { method_text, target, http10, fields, head_len } = head;
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
    let found = Semantics::of(fields);
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
    Ok(Request {
        method,
        method_text,
        target,
        http10,
        headers: Headers::new(fields),
        head_len,
        framing,
        keep_alive: found.persists(http10),
        expect_continue,
        upgrade: found.upgrade.filter(|_| found.connection_upgrade && !http10),
        host,
        connection_tokens: found.tokens,
        has_te_trailers: found.te_trailers,
    })
}

fn framing(found: &Semantics<'_>, http10: bool) -> Result<Framing, RequestError> {
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
    found: &Semantics<'b>,
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
pub(super) fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
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
