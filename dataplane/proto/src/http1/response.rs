//! Response heads: the same rules as for requests, read from the upstream's side.

use super::error::ResponseError;
use super::fields::{Coding, HeaderSlots, Headers, LengthError, Semantics};
use super::head::{Framing, HeadLimits, Response};
use super::method::Method;
use super::request::{has_bare_cr, has_bare_lf, has_fold};

/// Parses the response head at the start of `buf`; `None` means that more bytes are needed.
///
/// `request_method` is the method of the request that it answers: a response to `HEAD` has no body.
/// Interim responses (1xx) are returned as they come; parse the next one with the rest.
///
/// # Errors
/// Any reason to distrust the upstream's framing; its connection must close.
#[inline]
pub fn parse_response<'s, 'b: 's>(
    buf: &'b [u8],
    slots: &'s mut HeaderSlots<'b>,
    limits: &HeadLimits,
    request_method: Method,
) -> Result<Option<Response<'s>>, ResponseError> {
    // A stray empty line before a response has no licence in RFC 9112: it is a sign of lost framing.
    match buf.first() {
        None => return Ok(None),
        Some(b'H') => {}
        Some(_) => return Err(ResponseError::BadVersion),
    }
    let mut head = httparse::Response::new(&mut []);
    let (slots, tokens) = slots.first(limits.headers_max);
    let config = httparse::ParserConfig::default();
    let head_len = match config.parse_response_with_uninit_headers(&mut head, buf, slots) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) if buf.len() > limits.head_bytes_max => {
            return Err(ResponseError::HeadTooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(classify(buf, error)),
    };
    if head_len > limits.head_bytes_max {
        return Err(ResponseError::HeadTooLarge);
    }
    if has_bare_lf(&buf[..head_len]) {
        return Err(ResponseError::BareLf);
    }
    let (Some(status @ 100..), Some(version)) = (head.code, head.version) else {
        return Err(ResponseError::BadStatus);
    };
    let fields = &*head.headers;
    let http10 = version == 0;
    let mut found = Semantics::new(tokens);
    found.find_in(fields);
    if found.connection_error.is_some() {
        return Err(ResponseError::BadConnection);
    }
    let (framing, length_declared) = framing(&found, http10, status, request_method)?;
    let reason = head.reason.unwrap_or("");
    Ok(Some(Response {
        status,
        reason,
        plain_line_len: line_len(&buf[..head_len], reason),
        http10,
        headers: Headers::new(&buf[..head_len], fields),
        head_len,
        framing,
        length_declared,
        keep_alive: found.persists(http10) && framing != Framing::UntilClose && status != 101,
        is_event_stream: found.content_type.is_some_and(is_event_stream),
        upgrade: found.upgrade.filter(|_| found.connection_upgrade && !http10),
        connection_tokens: found.tokens.done(),
    }))
}

/// RFC 9112 section 6.3, in its order; what the RFC calls a likely attack is an error here.
fn framing(
    found: &Semantics<'_, '_>,
    http10: bool,
    status: u16,
    request_method: Method,
) -> Result<(Framing, Option<u64>), ResponseError> {
    let length = match found.length {
        None => None,
        Some(Ok(length)) => Some(length),
        Some(Err(LengthError::Bad)) => return Err(ResponseError::BadLength),
        Some(Err(LengthError::Repeated)) => return Err(ResponseError::RepeatedLength),
        Some(Err(LengthError::Conflicting)) => return Err(ResponseError::ConflictingLengths),
    };
    let chunked = match found.coding {
        Coding::Absent => false,
        _ if length.is_some() => return Err(ResponseError::LengthAndChunked),
        Coding::Chunked if !http10 => true,
        _ => return Err(ResponseError::BadTransferEncoding),
    };
    // A body that must not be there would be read as the next response (RFC 9110 sections 15.2, 15.3.5).
    if (status < 200 || status == 204) && chunked {
        return Err(ResponseError::BadTransferEncoding);
    }
    if (status < 200 || status == 204) && length.is_some_and(|length| length > 0) {
        return Err(ResponseError::BadLength);
    }
    let framing = match (status, length) {
        (..200 | 204 | 304, _) => Framing::None,
        _ if request_method == Method::Head => Framing::None,
        _ if chunked => Framing::Chunked,
        (_, Some(length)) => Framing::Length(length),
        (_, None) => Framing::UntilClose,
    };
    Ok((framing, length))
}

fn is_event_stream(content_type: &[u8]) -> bool {
    const ESSENCE: [u8; 17] = *b"text/event-stream";
    let Some((essence, parameters)) = content_type.split_first_chunk::<{ ESSENCE.len() }>() else {
        return false;
    };
    essence.eq_ignore_ascii_case(&ESSENCE) && matches!(parameters.trim_ascii_start(), [] | [b';', ..])
}

/// Length of the status line with its line end, where it is one of HTTP/1.1 with a reason; else 0. `httparse` lets one
/// space stand between its words.
fn line_len(head: &[u8], reason: &str) -> usize {
    let end = "HTTP/1.1 200 ".len() + reason.len();
    let is_plain = !reason.is_empty()
        && head.starts_with(b"HTTP/1.1 ")
        && head.get(end..end + 2) == Some(b"\r\n".as_slice());
    if is_plain { end + 2 } else { 0 }
}

fn classify(buf: &[u8], error: httparse::Error) -> ResponseError {
    match error {
        httparse::Error::TooManyHeaders => ResponseError::TooManyHeaders,
        httparse::Error::Version => ResponseError::BadVersion,
        httparse::Error::HeaderValue if has_bare_cr(buf) => ResponseError::BareCr,
        httparse::Error::HeaderValue => ResponseError::BadHeaderValue,
        httparse::Error::HeaderName if has_fold(buf) => ResponseError::ObsFold,
        httparse::Error::HeaderName => ResponseError::BadHeaderName,
        httparse::Error::NewLine => ResponseError::BareCr,
        httparse::Error::Token | httparse::Error::Status => ResponseError::BadStatus,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_passed_on_only_as_we_would_write_it() {
        for (line, passes) in [
            ("HTTP/1.1 200 OK", true),
            ("HTTP/1.1 418 I'm a teapot", true),
            ("HTTP/1.0 200 OK", false),
            ("HTTP/1.1 200 ", false),
            ("HTTP/1.1 200", false),
            ("HTTP/1.1 200 Gr\u{fc}n", false),
        ] {
            let head = format!("{line}\r\nContent-Length: 0\r\n\r\n");
            let mut slots = HeaderSlots::new();
            let response = parse_response(head.as_bytes(), &mut slots, &HeadLimits::default(), Method::Get)
                .unwrap()
                .unwrap();
            assert_eq!(response.plain_line_len, if passes { line.len() + 2 } else { 0 }, "{line:?}");
        }
    }
}
