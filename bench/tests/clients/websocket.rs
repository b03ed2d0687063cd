//! WebSocket text messages against the server's side of `erlmcp_proto`, which enforces RFC 6455.

use erlmcp_bench::load::{ErrorKind, Protocol, RunError};
use erlmcp_proto::http1::{HeadLimits, HeaderSlots, parse_request};
use erlmcp_proto::websocket::{
    CloseCode, DataKind, Message, MessageReader, Opcode, Role, check_request, write_answer, write_close,
    write_control, write_fragment, write_message,
};

use super::server::{Peer, Server};
use super::{DRIVERS, of, one, outcome, refused, spec};

const CALL: &str = r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":"a","result":{}}"#;

fn protocol(texts: &[&str]) -> Protocol {
    Protocol::WebSocket {
        messages: texts.iter().map(|text| one(text, (*text).to_owned())).collect(),
        headers: vec![("Sec-WebSocket-Protocol".to_owned(), "mcp".to_owned())],
    }
}

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Text(String),
    Pong(Vec<u8>),
    Close(Option<CloseCode>),
}

/// The server's end behind the handshake.
struct Socket<'p> {
    peer: &'p mut Peer,
    reader: MessageReader,
}

impl Socket<'_> {
    fn next(&mut self) -> Option<Said> {
        loop {
            let mut rest = self.peer.unread.as_slice();
            let said = match self.reader.next(&mut rest) {
                Ok(None) => None,
                Ok(Some(Message::Text(text))) => Some(Said::Text(String::from_utf8_lossy(text).into())),
                Ok(Some(Message::Pong(payload))) => Some(Said::Pong(payload.to_vec())),
                Ok(Some(Message::Close(close))) => Some(Said::Close(close.code)),
                Ok(Some(other)) => panic!("the generator sends no {other:?}"),
                Err(error) => {
                    self.peer.ledger.require(false, || error.to_string());
                    return None;
                }
            };
            let taken = self.peer.unread.len() - rest.len();
            self.peer.unread.drain(..taken);
            if said.is_some() {
                return said;
            }
            self.peer.more()?;
        }
    }

    fn text(&mut self, text: &str) {
        let mut frame = Vec::new();
        write_message(&mut frame, DataKind::Text, None, text.as_bytes());
        self.peer.write(frame);
    }
}

/// Makes the handshake, then answers text number n of each connection.
fn answering(answer: impl Fn(&mut Socket<'_>, u64, &str) + Send + Sync + 'static) -> Server {
    Server::start(move |peer| {
        let Some(()) = shake_hands(peer) else { return };
        let mut socket = Socket { peer, reader: MessageReader::new(Role::Server, 1 << 20) };
        let mut count = 0;
        while let Some(said) = socket.next() {
            let Said::Text(text) = said else {
                socket.peer.ledger.require(false, || format!("unasked: {said:?}"));
                return;
            };
            count += 1;
            answer(&mut socket, count, &text);
        }
    })
}

fn shake_hands(peer: &mut Peer) -> Option<()> {
    let mut answer = Vec::new();
    loop {
        let mut slots = HeaderSlots::new();
        let request = parse_request(&peer.unread, &mut slots, &HeadLimits::default()).expect("good HTTP");
        if let Some(request) = request {
            let upgrade = check_request(&request).expect("a good handshake");
            assert_eq!((request.target.text, upgrade.protocols().next()), ("/mcp", Some("mcp")));
            write_answer(&mut answer, &upgrade.accept, Some("mcp"));
            let len = request.head_len;
            peer.unread.drain(..len);
            break;
        }
        peer.more()?;
    }
    peer.write(answer);
    Some(())
}

#[test]
fn each_message_awaits_its_reply_whatever_comes_between() {
    for driver in DRIVERS {
        let server = answering(|socket, count, text| {
            let payload = count.to_be_bytes();
            let mut bytes = Vec::new();
            write_control(&mut bytes, Opcode::Ping, None, &payload).expect("short");
            socket.peer.write(bytes);
            let pong = socket.next();
            socket.peer.ledger.require(pong == Some(Said::Pong(payload.to_vec())), || format!("{pong:?}"));
            if text == CALL {
                socket.text(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#);
                let (head, tail) = RESULT.as_bytes().split_at(9);
                let mut bytes = Vec::new();
                write_fragment(&mut bytes, Some(DataKind::Text), false, None, head);
                write_control(&mut bytes, Opcode::Pong, None, b"unasked").expect("short");
                write_fragment(&mut bytes, None, true, None, tail);
                for piece in bytes.chunks(7) {
                    socket.peer.write(piece);
                }
            } else {
                socket.text("a reply");
            }
        });
        let mut spec = spec(server.addr, protocol(&[CALL, "hello ü"]), 3, 90);
        spec.driver = driver;
        let outcome = outcome(&spec);
        assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (90, 0));
        assert_eq!((outcome.totals.connects, server.connections()), (3, 3));
        assert!(of(&outcome, CALL).completed > 15 && of(&outcome, "hello ü").completed > 15);
        server.end();
    }
}

#[test]
fn errors_refuse_and_foreign_replies_cost_the_connection() {
    let server = answering(|socket, count, _| match count {
        1 => socket.text(RESULT),
        2 => socket.text(r#"{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":""}}"#),
        3 => socket.text(r#"{"jsonrpc":"2.0","id":"b","result":{}}"#),
        _ => socket.peer.ledger.require(false, || "a connection in doubt is used again".to_owned()),
    });
    let outcome = outcome(&spec(server.addr, protocol(&[CALL]), 1, 30));
    let errors = outcome.totals.errors;
    assert_eq!(outcome.totals.completed, 10);
    assert_eq!((errors.of(ErrorKind::Refused), errors.of(ErrorKind::Garbage)), (10, 10));
    assert_eq!(outcome.totals.connects, 10);
    server.end();
}

#[test]
fn a_close_is_answered_and_another_connection_made() {
    let server = answering(|socket, count, _| {
        if count == 1 {
            return socket.text("a reply");
        }
        let mut bytes = Vec::new();
        write_close(&mut bytes, None, Some(CloseCode::GOING_AWAY), "restart");
        socket.peer.write(bytes);
        let answer = socket.next();
        let same = answer == Some(Said::Close(Some(CloseCode::GOING_AWAY)));
        socket.peer.ledger.require(same, || format!("{answer:?}"));
    });
    let outcome = outcome(&spec(server.addr, protocol(&["x"]), 1, 10));
    assert_eq!((outcome.totals.completed, outcome.totals.errors.of(ErrorKind::Closed)), (5, 5));
    server.end();
}

#[test]
fn a_broken_frame_is_garbage() {
    let server = answering(|socket, _, _| socket.peer.write(b"\x81\x81abcdx"));
    let outcome = outcome(&spec(server.addr, protocol(&["x"]), 1, 3));
    assert_eq!(outcome.totals.errors.of(ErrorKind::Garbage), 3, "a server must not mask");
    server.end();
}

#[test]
fn a_refused_handshake_ends_the_run_at_once() {
    for (answer, expected) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ErrorKind::Refused),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ErrorKind::Garbage),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            ErrorKind::Garbage,
        ),
    ] {
        let server = Server::start(move |peer| {
            if peer.request().is_some() {
                peer.write(answer);
                peer.wait_for_end();
            }
        });
        match refused(&spec(server.addr, protocol(&["x"]), 2, 5)) {
            RunError::NoConnection { kind, .. } => assert_eq!(kind, expected, "{answer}"),
            other => panic!("{other}"),
        }
        server.end();
    }
}
