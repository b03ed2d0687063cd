//! WebSocket text messages, one reply awaited for each.
//!
//! Owns: the opening handshake and that exchange; pings are answered while a reply is awaited. Where the message is a
//! JSON-RPC request, its reply is the message with its `id`, and a JSON-RPC error refuses it; else the next text message
//! is the reply. What the server said unasked before a request was sent is dropped.
//!
//! Masks are drawn once for each message of the mix, not for each frame (RFC 6455 section 5.3 protects intermediaries
//! from scripts in browsers): so frames are computed once, and servers unmask as much as ever.

use std::rc::Rc;

use erlmcp_proto::http1::Method;
use erlmcp_proto::jsonrpc::{self, Id, Kind, ScanLimits};
use erlmcp_proto::websocket::{
    DataKind, MaskKey, Message, MessageReader, Opcode, Role, UpgradeAnswerError, check_answer, encode_key,
    write_close, write_control, write_message, write_request,
};
use erlmcp_ring::{RecvMode, Time};

use super::Link;
use super::http::{read_head_with, refuse_own, write_head};
use super::rpc::{Heard, judge_by};
use crate::load::draw::Rng;
use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;
use crate::load::spec::Target;

/// Longest reply, as for any other message of a connection.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Headers of the handshake that are not the user's. Subprotocols are: they are offered in the user's own header.
const OWN_HEADERS: [&str; 6] = [
    "connection",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "upgrade",
];

/// Keeps the masks apart from what else the seed decides.
const MASK_STREAM: u64 = u64::from_be_bytes(*b"wsmasks\0");

/// What is sent, computed once, and what the handshake says besides its key.
pub(crate) struct Script {
    target: Target,
    headers: Vec<(String, String)>,
    messages: Vec<Outgoing>,
}

struct Outgoing {
    text: String,
    /// `text`, masked.
    frame: Vec<u8>,
    /// `text` is a JSON-RPC request: its reply bears the same id.
    is_call: bool,
}

impl Script {
    /// # Errors
    /// Headers that cannot be sent.
    pub(crate) fn new<'m>(
        target: &Target,
        headers: &[(String, String)],
        messages: impl IntoIterator<Item = &'m String>,
        seed: u64,
    ) -> Result<Self, String> {
        headers.iter().try_for_each(|(name, _)| refuse_own(name, &OWN_HEADERS))?;
        write_head(target, "GET", "", headers, None)?;
        let mut rng = Rng::new(seed, MASK_STREAM);
        let messages: Vec<_> = messages
            .into_iter()
            .map(|text| {
                let [a, b, c, d, ..] = rng.next().to_be_bytes();
                let mut frame = Vec::new();
                write_message(&mut frame, DataKind::Text, Some([a, b, c, d]), text.as_bytes());
                Outgoing { text: text.clone(), frame, is_call: own_id(text).is_some() }
            })
            .collect();
        if messages.is_empty() {
            return Err("the mix of messages is empty: name at least one".to_owned());
        }
        let mut target = target.clone();
        if target.path.is_empty() {
            target.path.push('/');
        }
        Ok(Self { target, headers: headers.to_vec(), messages })
    }

    /// Subprotocols that the user offers.
    fn offered(&self) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
            .collect()
    }
}

/// The id of a message that is a JSON-RPC request.
fn own_id(text: &str) -> Option<Id<'_>> {
    let limits = ScanLimits { depth_max: jsonrpc::DEPTH_MAX };
    let scan = jsonrpc::scan(text.as_bytes(), &limits).ok().filter(|scan| scan.complete)?;
    scan.id.filter(|_| scan.kind == Kind::Request)
}

/// A client that keeps its connection.
pub(crate) struct Messaging {
    script: Rc<Script>,
    link: Option<Link>,
    reader: MessageReader,
    /// A frame in the making: a pong or a close.
    answer: Vec<u8>,
}

impl Messaging {
    pub(crate) const fn new(script: Rc<Script>) -> Self {
        Self {
            script,
            link: None,
            reader: MessageReader::new(Role::Client, MESSAGE_BYTES_MAX),
            answer: Vec::new(),
        }
    }

    /// Unread frames are no hindrance: the server may say something unasked.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.has_ended())
    }

    /// Connects, and makes the opening handshake.
    pub(crate) async fn prepare(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        self.link = None;
        self.reader = MessageReader::new(Role::Client, MESSAGE_BYTES_MAX);
        let mut link = Link::open(seat, RecvMode::Small).await?;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&seat.handle().rng().to_be_bytes());
        nonce[8..].copy_from_slice(&seat.handle().rng().to_be_bytes());
        let key = encode_key(nonce);
        let Target { host, path, .. } = &self.script.target;
        let mut request = Vec::new();
        write_request(&mut request, host, path, &key, None, &self.script.headers);
        link.send(&request).await?;
        let offered = self.script.offered();
        let answer = read_head_with(&mut link, Method::Get, |response| {
            check_answer(response, &key, &offered).map(drop)
        });
        match answer.await? {
            (_, Ok(())) => {
                self.link = Some(link);
                Ok(())
            }
            (_, Err(UpgradeAnswerError::Status(400..))) => Err(ErrorKind::Refused),
            (_, Err(_)) => Err(ErrorKind::Garbage),
        }
    }

    #[inline]
    pub(crate) async fn exchange(&mut self, seat: &Seat, request: usize) -> Result<Time, ErrorKind> {
        match self.converse(seat, request).await {
            Ok(result) => result.map(|()| seat.now()),
            Err(kind) => {
                self.link = None;
                Err(kind)
            }
        }
    }

    async fn converse(&mut self, seat: &Seat, request: usize) -> Result<Result<(), ErrorKind>, ErrorKind> {
        let Self { script, link, reader, answer } = self;
        let Some(link) = link else { return Err(ErrorKind::Closed) };
        let Some(outgoing) = script.messages.get(request) else { return Err(ErrorKind::Garbage) };
        // What came unasked must not be taken for the reply.
        while hear(link, reader, answer, seat, |_| Ok(Heard::Reply(Ok(())))).await?.is_some() {}
        link.send(&outgoing.frame).await?;
        seat.sending();
        loop {
            if let Some(result) = hear(link, reader, answer, seat, |text| outgoing.judge(text)).await? {
                return Ok(result);
            }
            if !link.more().await? {
                return Err(ErrorKind::Closed);
            }
        }
    }
}

impl Outgoing {
    fn judge(&self, message: &[u8]) -> Result<Heard, ErrorKind> {
        if !self.is_call {
            return Ok(Heard::Reply(Ok(())));
        }
        judge_by(message, |id| id.is_some() && id == own_id(&self.text))
    }
}

/// Reads what has been received up to a text message that `judge` takes for the reply; answers pings.
async fn hear(
    link: &mut Link,
    reader: &mut MessageReader,
    answer: &mut Vec<u8>,
    seat: &Seat,
    mut judge: impl FnMut(&[u8]) -> Result<Heard, ErrorKind>,
) -> Result<Option<Result<(), ErrorKind>>, ErrorKind> {
    loop {
        let mut rest = link.bytes();
        let before = rest.len();
        answer.clear();
        let message = reader.next(&mut rest);
        let taken = before - rest.len();
        let (heard, closing) = match message {
            Ok(None) => {
                link.consume(taken);
                return Ok(None);
            }
            Ok(Some(Message::Text(text))) => (judge(text)?, false),
            Ok(Some(Message::Binary(_) | Message::Pong(_))) => (Heard::Aside, false),
            Ok(Some(Message::Ping(payload))) => {
                // The reader lets no longer payload pass than a pong may have.
                let _ = write_control(answer, Opcode::Pong, Some(mask(seat)), payload);
                (Heard::Aside, false)
            }
            Ok(Some(Message::Close(close))) => {
                write_close(answer, Some(mask(seat)), close.code, "");
                (Heard::Aside, true)
            }
            Err(_) => return Err(ErrorKind::Garbage),
        };
        link.consume(taken);
        if !answer.is_empty() {
            link.send(answer).await?;
        }
        match heard {
            Heard::Reply(result) => return Ok(Some(result)),
            Heard::Aside if closing => {
                link.flush().await;
                return Err(ErrorKind::Closed);
            }
            Heard::Aside => {}
        }
    }
}

fn mask(seat: &Seat) -> MaskKey {
    let [a, b, c, d, ..] = seat.handle().rng().to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { url: "ws://x/".to_owned(), addrs: Vec::new(), host: "x".to_owned(), path: String::new() }
    }

    #[test]
    fn the_reply_to_a_call_is_told_by_its_id() {
        let call = r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#.to_owned();
        let plain = "hello".to_owned();
        let script = Script::new(&target(), &[], [&call, &plain], 1).expect("a good script");
        let [call, plain] = script.messages.as_slice() else { panic!("two messages") };
        let reply = r#"{"jsonrpc":"2.0","id":"a","result":{}}"#.as_bytes();
        assert_eq!(call.judge(reply), Ok(Heard::Reply(Ok(()))));
        let refused = r#"{"jsonrpc":"2.0","id":"a","error":{}}"#.as_bytes();
        assert_eq!(call.judge(refused), Ok(Heard::Reply(Err(ErrorKind::Refused))));
        let aside = r#"{"jsonrpc":"2.0","method":"notifications/message"}"#.as_bytes();
        assert_eq!(call.judge(aside), Ok(Heard::Aside));
        let other = r#"{"jsonrpc":"2.0","id":"b","result":{}}"#.as_bytes();
        assert_eq!(call.judge(other), Err(ErrorKind::Garbage));
        assert_eq!(call.judge(b"hello"), Err(ErrorKind::Garbage));
        assert_eq!(plain.judge(b"anything"), Ok(Heard::Reply(Ok(()))));
    }

    #[test]
    fn subprotocols_are_the_users_and_the_rest_of_the_handshake_is_not() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let message = "x".to_owned();
        let headers = [header("Sec-WebSocket-Protocol", "mcp, chat"), header("Authorization", "Bearer x")];
        let script = Script::new(&target(), &headers, [&message], 1).expect("a good script");
        assert_eq!(script.offered(), ["mcp", "chat"]);
        let own = [header("sec-websocket-KEY", "x")];
        let error = Script::new(&target(), &own, [&message], 1).err().expect("refused");
        assert!(error.contains("sec-websocket-KEY") && error.contains("leave it out"), "{error}");
        assert!(Script::new(&target(), &[header("X", "a\r\nY: b")], [&message], 1).is_err());
        assert!(Script::new(&target(), &[], [], 1).is_err());
    }
}
