//! The opening handshake (RFC 6455 section 4), both sides: what each writes, and what each must check.
//!
//! Owns: the fields of RFC 6455. Never does: parsing heads (see [`crate::http1`]), judging `Host` or `Origin`, keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::error::{UpgradeAnswerError, UpgradeRequestError};
use crate::http1::{Framing, Headers, Method, Request, Response, is_token, list_members};

/// Length of a `Sec-WebSocket-Key`: 16 bytes in base64.
pub const KEY_BYTES: usize = 24;

/// Length of a `Sec-WebSocket-Accept`: a SHA-1 in base64.
pub const ACCEPT_BYTES: usize = 28;

/// What is hashed behind the key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only version that is spoken.
const VERSION: &[u8] = b"13";

/// A client's handshake that passed every check.
#[derive(Clone, Copy, Debug)]
pub struct UpgradeRequest<'b> {
    /// What the answer's `Sec-WebSocket-Accept` must be.
    pub accept: [u8; ACCEPT_BYTES],
    headers: Headers<'b>,
}

impl<'b> UpgradeRequest<'b> {
    /// Subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'b str> + use<'b> {
        protocols(self.headers)
    }
}

/// The key that a client sends: `nonce` must be chosen at random for each connection.
#[must_use]
pub fn encode_key(nonce: [u8; 16]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    // 16 bytes make 24: never too long for the slice.
    let _ = STANDARD.encode_slice(nonce, &mut key);
    key
}

/// The `Sec-WebSocket-Accept` that answers this `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; ACCEPT_BYTES];
    // 20 bytes make 28: never too long for the slice.
    let _ = STANDARD.encode_slice(digest, &mut accept);
    accept
}

/// Appends a client's request. Nothing is escaped: the caller keeps line ends out of `host`, `path` and `headers`.
pub fn write_request(
    out: &mut Vec<u8>,
    host: &str,
    path: &str,
    key: &[u8; KEY_BYTES],
    protocol: Option<&str>,
    headers: &[(String, String)],
) {
    for part in ["GET ", path, " HTTP/1.1\r\nHost: ", host] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13");
    out.extend_from_slice(b"\r\nSec-WebSocket-Key: ");
    out.extend_from_slice(key);
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    for (name, value) in headers {
        for part in ["\r\n", name, ": ", value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Checks a client's request, as a server must (RFC 6455 section 4.2.1). `Host` was checked by the parser.
///
/// # Errors
/// It is no acceptable handshake: answer the error's status.
pub fn check_request<'b>(request: &Request<'b>) -> Result<UpgradeRequest<'b>, UpgradeRequestError> {
    if request.method != Method::Get {
        return Err(UpgradeRequestError::Method);
    }
    if request.http10 {
        return Err(UpgradeRequestError::HttpVersion);
    }
    let mut upgrades = list_members(request.upgrade.unwrap_or_default());
    if !upgrades.any(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
        return Err(UpgradeRequestError::NoUpgrade);
    }
    if !matches!(request.framing, Framing::None | Framing::Length(0)) {
        return Err(UpgradeRequestError::Body);
    }
    if only(request.headers, "Sec-WebSocket-Version") != Some(VERSION) {
        return Err(UpgradeRequestError::Version);
    }
    let key = only(request.headers, "Sec-WebSocket-Key").filter(|key| is_key(key));
    let accept = accept_key(key.ok_or(UpgradeRequestError::Key)?);
    let mut offered = request.headers.get_all("Sec-WebSocket-Protocol").flat_map(list_members);
    if !offered.all(is_token) {
        return Err(UpgradeRequestError::Protocol);
    }
    Ok(UpgradeRequest { accept, headers: request.headers })
}

/// Appends the server's answer. `protocol` must be one that the client offered.
pub fn write_answer(out: &mut Vec<u8>, accept: &[u8; ACCEPT_BYTES], protocol: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade");
    out.extend_from_slice(b"\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Checks a server's answer, as a client must (RFC 6455 section 4.1), against the `key` that was sent; returns the
/// subprotocol that it chose among those `offered`.
///
/// # Errors
/// It is no acceptable answer: the connection must close.
pub fn check_answer<'b>(
    response: &Response<'b>,
    key: &[u8],
    offered: &[&str],
) -> Result<Option<&'b str>, UpgradeAnswerError> {
    if response.status != 101 {
        return Err(UpgradeAnswerError::Status(response.status));
    }
    if !response.upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket")) {
        return Err(UpgradeAnswerError::NoUpgrade);
    }
    if only(response.headers, "Sec-WebSocket-Accept") != Some(accept_key(key).as_slice()) {
        return Err(UpgradeAnswerError::Accept);
    }
    let mut extensions = response.headers.get_all("Sec-WebSocket-Extensions").flat_map(list_members);
    if extensions.next().is_some() {
        return Err(UpgradeAnswerError::Extension);
    }
    let mut fields = response.headers.get_all("Sec-WebSocket-Protocol");
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(chosen), None) => core::str::from_utf8(chosen)
            .ok()
            .filter(|chosen| offered.contains(chosen))
            .map(Some)
            .ok_or(UpgradeAnswerError::Protocol),
        (Some(_), Some(_)) => Err(UpgradeAnswerError::Protocol),
    }
}

fn protocols(headers: Headers<'_>) -> impl Iterator<Item = &str> {
    headers
        .get_all("Sec-WebSocket-Protocol")
        .flat_map(list_members)
        .filter_map(|name| core::str::from_utf8(name).ok())
}

/// The value of a field that must occur once.
fn only<'b>(headers: Headers<'b>, name: &str) -> Option<&'b [u8]> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// Base64 of 16 bytes, written the only way.
fn is_key(key: &[u8]) -> bool {
    let mut nonce = [0; 18];
    key.len() == KEY_BYTES && STANDARD.decode_slice(key, &mut nonce) == Ok(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{HeadLimits, HeaderSlots, parse_request, parse_response};

    const KEY: &[u8; KEY_BYTES] = b"dGhlIHNhbXBsZSBub25jZQ==";
    const RFC_REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
    const RFC_ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

    fn judge_request(head: &str) -> Result<(Vec<u8>, Vec<String>), UpgradeRequestError> {
        let mut slots = HeaderSlots::new();
        let request = parse_request(head.as_bytes(), &mut slots, &HeadLimits::default())
            .expect("good HTTP")
            .expect("a whole head");
        check_request(&request)
            .map(|upgrade| (upgrade.accept.to_vec(), upgrade.protocols().map(str::to_owned).collect()))
    }

    fn judge_answer(head: &str, offered: &[&str]) -> Result<Option<String>, UpgradeAnswerError> {
        let mut slots = HeaderSlots::new();
        let response = parse_response(head.as_bytes(), &mut slots, &HeadLimits::default(), Method::Get)
            .expect("good HTTP")
            .expect("a whole head");
        check_answer(&response, KEY, offered).map(|chosen| chosen.map(str::to_owned))
    }

    #[test]
    fn the_examples_of_the_rfc_are_accepted() {
        assert_eq!(encode_key(*b"the sample nonce"), *KEY);
        assert_eq!(&accept_key(KEY), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let protocols = vec!["chat".to_owned(), "superchat".to_owned()];
        assert_eq!(judge_request(RFC_REQUEST), Ok((b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_vec(), protocols)));
        assert_eq!(judge_answer(RFC_ANSWER, &["chat", "superchat"]), Ok(Some("chat".to_owned())));
    }

    #[test]
    fn each_rule_for_requests_is_enforced() {
        let table = [
            ("GET", "POST", UpgradeRequestError::Method),
            ("HTTP/1.1", "HTTP/1.0", UpgradeRequestError::HttpVersion),
            ("Upgrade: websocket", "Upgrade: h2c", UpgradeRequestError::NoUpgrade),
            ("Connection: Upgrade", "Connection: keep-alive", UpgradeRequestError::NoUpgrade),
            ("Origin: http://example.com", "Content-Length: 1", UpgradeRequestError::Body),
            ("Version: 13", "Version: 8", UpgradeRequestError::Version),
            ("Version: 13", "Version: 13, 8", UpgradeRequestError::Version),
            ("Origin: http://example.com", "Sec-WebSocket-Version: 13", UpgradeRequestError::Version),
            ("Sec-WebSocket-Version: 13\r\n", "", UpgradeRequestError::Version),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=", UpgradeRequestError::Key),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", UpgradeRequestError::Key),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ===", UpgradeRequestError::Key),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZTE=", UpgradeRequestError::Key),
            ("Origin: http://example.com", "Sec-WebSocket-Key: x", UpgradeRequestError::Key),
            ("chat, superchat", "chat, super chat", UpgradeRequestError::Protocol),
        ];
        for (from, to, error) in table {
            let head = RFC_REQUEST.replacen(from, to, 1);
            assert_ne!(head, RFC_REQUEST);
            assert_eq!(judge_request(&head), Err(error), "{to}");
        }
        let lenient = RFC_REQUEST.replacen("websocket", "h2c, WebSocket", 1).replacen(
            "Connection: Upgrade",
            "Connection: keep-alive, UPGRADE",
            1,
        );
        assert!(judge_request(&lenient).is_ok());
    }

    #[test]
    fn each_rule_for_answers_is_enforced() {
        let table = [
            ("101 Switching Protocols", "200 OK", UpgradeAnswerError::Status(200)),
            ("Upgrade: websocket", "Upgrade: websocket, h2c", UpgradeAnswerError::NoUpgrade),
            ("Upgrade: websocket\r\n", "", UpgradeAnswerError::NoUpgrade),
            ("Connection: Upgrade", "Connection: close", UpgradeAnswerError::NoUpgrade),
            ("s3pP", "S3pP", UpgradeAnswerError::Accept),
            ("xOo=\r\n", "xOo=\r\nSec-WebSocket-Accept: x\r\n", UpgradeAnswerError::Accept),
            (
                "chat\r\n",
                "chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
                UpgradeAnswerError::Extension,
            ),
            ("Protocol: chat", "Protocol: mcp", UpgradeAnswerError::Protocol),
            ("Protocol: chat", "Protocol: chat, superchat", UpgradeAnswerError::Protocol),
        ];
        for (from, to, error) in table {
            let head = RFC_ANSWER.replacen(from, to, 1);
            assert_ne!(head, RFC_ANSWER);
            assert_eq!(judge_answer(&head, &["chat", "superchat"]), Err(error), "{to}");
        }
        let without = RFC_ANSWER.replacen("Sec-WebSocket-Protocol: chat\r\n", "", 1);
        assert_eq!(judge_answer(&without, &["chat"]), Ok(None));
        assert_eq!(judge_answer(RFC_ANSWER, &[]), Err(UpgradeAnswerError::Protocol));
    }

    #[test]
    fn what_one_side_writes_the_other_accepts() {
        let mut out = Vec::new();
        let headers = [("Authorization".to_owned(), "Bearer x".to_owned())];
        write_request(&mut out, "127.0.0.1:8080", "/mcp/ws", KEY, Some("mcp"), &headers);
        let head = String::from_utf8(out).expect("ASCII");
        assert!(head.contains("\r\nAuthorization: Bearer x\r\n"));
        let (accept, protocols) = judge_request(&head).expect("acceptable");
        assert_eq!(protocols, ["mcp"]);
        let mut out = Vec::new();
        write_answer(&mut out, accept.as_slice().try_into().expect("28 bytes"), Some("mcp"));
        let head = String::from_utf8(out).expect("ASCII");
        assert_eq!(judge_answer(&head, &["mcp"]), Ok(Some("mcp".to_owned())));
    }
}
