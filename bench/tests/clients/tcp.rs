//! JSON-RPC lines over bare TCP.

use erlmcp_bench::load::{ErrorKind, McpCall, Protocol};
use serde_json::{Value, json};

use super::server::{Peer, Server};
use super::{DRIVERS, of, one, outcome, spec};

fn protocol() -> Protocol {
    let call = |method: &str, params| McpCall { method: method.to_owned(), params };
    Protocol::Tcp(vec![
        one("ping", call("ping", Value::Null)),
        one("echo", call("echo", json!({"a": "b\nc"}))),
    ])
}

/// Answers call number n of its connection.
fn answering(answer: impl Fn(&mut Peer, u64, &Value) + Send + Sync + 'static) -> Server {
    Server::start(move |peer| {
        let mut count = 0;
        loop {
            let Some(end) = peer.unread.iter().position(|&byte| byte == b'\n') else {
                if peer.more().is_none() {
                    return;
                }
                continue;
            };
            let line: Vec<u8> = peer.unread.drain(..=end).collect();
            let message: Value = serde_json::from_slice(&line).expect("a line is a message");
            let good = message["jsonrpc"] == "2.0" && message["id"].is_u64();
            peer.ledger.require(good, || message.to_string());
            count += 1;
            answer(peer, count, &message);
        }
    })
}

fn result(call: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": call["id"], "result": {"echo": call["params"]}})
}

#[test]
fn the_reply_is_the_line_with_the_id() {
    for driver in DRIVERS {
        let server = answering(|peer, count, call| {
            let notification = json!({"jsonrpc": "2.0", "method": "notifications/message"});
            // Before the reply, in one piece with it, cut, and behind it.
            match count % 3 {
                0 => peer.write(format!("{notification}\r\n\r\n{}\n", result(call))),
                1 => {
                    let text = format!("{}\n", result(call));
                    for piece in text.as_bytes().chunks(11) {
                        peer.write(piece);
                    }
                }
                _ => peer.write(format!("{}\n{notification}\n", result(call))),
            }
        });
        let mut spec = spec(server.addr, protocol(), 3, 90);
        spec.driver = driver;
        let outcome = outcome(&spec);
        assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (90, 0));
        assert_eq!((outcome.totals.connects, server.connections()), (3, 3));
        assert!(of(&outcome, "ping").completed > 15 && of(&outcome, "echo").completed > 15);
        server.end();
    }
}

#[test]
fn errors_refuse_and_foreign_replies_cost_the_connection() {
    let server = answering(|peer, count, call| match count {
        1 => {
            let error = json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": 1, "message": ""}});
            peer.write(format!("{error}\n"));
        }
        2 => peer.write(format!("{}\n", result(call))),
        _ => peer.write("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n"),
    });
    let outcome = outcome(&spec(server.addr, protocol(), 1, 30));
    let errors = outcome.totals.errors;
    assert_eq!(outcome.totals.completed, 10);
    assert_eq!((errors.of(ErrorKind::Refused), errors.of(ErrorKind::Garbage)), (10, 10));
    assert_eq!(outcome.totals.connects, 10);
    server.end();
}

#[test]
fn a_server_that_closes_is_told_from_one_that_is_silent() {
    let server = Server::start(|peer| {
        let _ = peer.more();
    });
    let closed = outcome(&spec(server.addr, protocol(), 1, 5));
    assert_eq!(closed.totals.errors.of(ErrorKind::Closed), 5);
    server.end();
    let server = Server::start(Peer::wait_for_end);
    let mut spec = spec(server.addr, protocol(), 1, 3);
    spec.timeout = std::time::Duration::from_millis(50);
    let silent = outcome(&spec);
    assert_eq!(silent.totals.errors.of(ErrorKind::Timeout), 3);
    server.end();
}
