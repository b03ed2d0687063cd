//! MCP: sessions, the stateless era, and every form that a reply can have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use erlmcp_bench::load::{Era, ErrorKind, Mcp, McpCall, Protocol};
use serde_json::{Value, json};

use super::server::{Asked, Ledger, Peer, Server};
use super::{DRIVERS, of, one, outcome, refused, spec};

/// What a server remembers of a session.
#[derive(Clone, Debug, Default)]
struct Session {
    initialized: bool,
    ended: bool,
    calls: u32,
    ids: Vec<u64>,
}

type Sessions = Arc<Mutex<HashMap<String, Session>>>;

fn protocol(era: Era, session_requests: u32) -> Protocol {
    let echo = McpCall {
        method: "tools/call".to_owned(),
        params: json!({"name": "echo", "arguments": {"text": "hello"}}),
    };
    let list = McpCall { method: "tools/list".to_owned(), params: Value::Null };
    let headers = vec![("Authorization".to_owned(), "Bearer x".to_owned())];
    Protocol::Mcp(Mcp { era, headers, calls: vec![one("echo", echo), one("list", list)], session_requests })
}

fn result(id: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}).to_string()
}

fn json_reply(peer: &mut Peer, body: &str) {
    peer.respond("200 OK", "Content-Type: application/json\r\n", body);
}

/// What every POST must have.
fn check_post(ledger: &Ledger, asked: &Asked) -> Value {
    ledger.require(asked.path == "/mcp", || format!("{asked:?}"));
    ledger.require(asked.header("content-type") == Some("application/json"), || format!("{asked:?}"));
    ledger.require(asked.header("authorization") == Some("Bearer x"), || format!("{asked:?}"));
    let accept = asked.header("accept").unwrap_or_default();
    let both = accept.contains("application/json") && accept.contains("text/event-stream");
    ledger.require(both, || format!("{asked:?}"));
    serde_json::from_slice(&asked.body).expect("JSON")
}

/// A server with sessions; `answer` is given calls of a session that is well.
fn with_sessions(answer: impl Fn(&mut Peer, &Session, &Value) + Send + Sync + 'static) -> (Server, Sessions) {
    let sessions = Sessions::default();
    let shared = Arc::clone(&sessions);
    let server = Server::start(move |peer| {
        while let Some(asked) = peer.request() {
            serve_session(peer, &asked, &shared, &answer);
        }
    });
    (server, sessions)
}

fn serve_session(
    peer: &mut Peer,
    asked: &Asked,
    sessions: &Sessions,
    answer: &dyn Fn(&mut Peer, &Session, &Value),
) {
    let ledger = Arc::clone(&peer.ledger);
    let id = asked.header("mcp-session-id").map(str::to_owned);
    if asked.method == "DELETE" {
        let mut sessions = sessions.lock().expect("no panic");
        let session = sessions.get_mut(&id.unwrap_or_default());
        ledger.require(session.is_some(), || format!("ends what it has not: {asked:?}"));
        if let Some(session) = session {
            ledger.require(!session.ended, || "ends a session twice".to_owned());
            session.ended = true;
        }
        return peer.respond("204 No Content", "", "");
    }
    let message = check_post(&ledger, asked);
    if message["method"] == "initialize" {
        ledger.require(id.is_none(), || "initialize within a session".to_owned());
        ledger.require(message["params"]["protocolVersion"] == "2025-11-25", || message.to_string());
        let mut sessions = sessions.lock().expect("no panic");
        let id = format!("session-{}", sessions.len());
        sessions.insert(id.clone(), Session::default());
        let result = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}});
        let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
        let fields = format!("Content-Type: application/json\r\nMcp-Session-Id: {id}\r\n");
        return peer.respond("200 OK", &fields, &body);
    }
    let version = asked.header("mcp-protocol-version");
    ledger.require(version == Some("2025-06-18"), || format!("not what was negotiated: {asked:?}"));
    let mut all = sessions.lock().expect("no panic");
    let Some(session) = id.as_ref().and_then(|id| all.get_mut(id)) else {
        ledger.require(false, || format!("a call outside of any session: {asked:?}"));
        return peer.respond("400 Bad Request", "", "");
    };
    ledger.require(!session.ended, || "a call in a session that was ended".to_owned());
    if message["method"] == "notifications/initialized" {
        ledger.require(!session.initialized && message.get("id").is_none(), || message.to_string());
        session.initialized = true;
        drop(all);
        return peer.respond("202 Accepted", "", "");
    }
    ledger.require(session.initialized, || "a call before notifications/initialized".to_owned());
    let call_id = message["id"].as_u64().expect("a number");
    ledger.require(!session.ids.contains(&call_id), || format!("the id {call_id} is used twice"));
    session.ids.push(call_id);
    session.calls += 1;
    let session = session.clone();
    drop(all);
    answer(peer, &session, &message);
}

#[test]
fn sessions_are_begun_used_and_ended_as_the_revision_says() {
    for driver in DRIVERS {
        let (server, sessions) = with_sessions(|peer, _, call| json_reply(peer, &result(&call["id"])));
        let mut spec = spec(server.addr, protocol(Era::Sessions, 10), 3, 100);
        spec.driver = driver;
        let outcome = outcome(&spec);
        assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (100, 0));
        assert_eq!((outcome.totals.connects, server.connections()), (3, 3), "sessions share a connection");
        server.end();
        let sessions = sessions.lock().expect("no panic");
        let calls: Vec<u32> = sessions.values().map(|session| session.calls).collect();
        assert_eq!(calls.iter().sum::<u32>(), 100);
        assert!(calls.iter().all(|&calls| (1..=10).contains(&calls)), "{calls:?}");
        let ended = sessions.values().filter(|session| session.ended).count();
        assert_eq!(ended + 3, sessions.len(), "all but the last of each client");
        assert!(sessions.values().all(|session| !session.ended || session.calls == 10));
        let initialize = of(&outcome, "initialize");
        assert_eq!(initialize.completed as usize, ended, "the first of each client came before measuring");
        assert_eq!(initialize.latencies.service.len(), initialize.completed);
        assert!(of(&outcome, "echo").completed > 20 && of(&outcome, "list").completed > 20);
        assert!(outcome.streams.is_some_and(|streams| streams.streams == 0));
    }
}

#[test]
fn a_lost_session_is_counted_and_another_begun() {
    let (server, sessions) = with_sessions(|peer, session, call| match session.calls {
        5 => peer.respond("404 Not Found", "", "gone"),
        _ => json_reply(peer, &result(&call["id"])),
    });
    let outcome = outcome(&spec(server.addr, protocol(Era::Sessions, 0), 2, 50));
    let lost = outcome.totals.errors.of(ErrorKind::SessionLost);
    server.end();
    let sessions = sessions.lock().expect("no panic");
    assert!(sessions.values().all(|session| session.calls <= 5 && !session.ended));
    let died = sessions.values().filter(|session| session.calls == 5).count() as u64;
    // 50 calls, split between two clients in any way.
    assert!((9..=10).contains(&died), "{died}");
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total(), lost), (50 - died, died, died));
}

#[test]
fn streamed_replies_end_with_their_event_and_keep_the_connection() {
    for driver in DRIVERS {
        let (server, _) = with_sessions(|peer, _, call| {
            peer.begin_stream();
            peer.chunk("id: 1\nretry: 100\ndata:\n\n");
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress"});
            peer.chunk(&format!(": comment\n\nevent: message\ndata: {progress}\n"));
            peer.chunk("\n");
            std::thread::sleep(Duration::from_millis(30));
            let event = format!("data: {}\n\n", result(&call["id"]));
            // In pieces that cut chunk and event; the stream's end comes with the event's, as it does from servers.
            let bytes = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
            let (pieces, last) = bytes.split_at(bytes.len() - 9);
            for piece in pieces.as_bytes().chunks(17) {
                peer.write(piece);
            }
            peer.write(last);
        });
        let mut spec = spec(server.addr, protocol(Era::Sessions, 0), 2, 20);
        spec.driver = driver;
        let outcome = outcome(&spec);
        assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (20, 0));
        assert_eq!(outcome.totals.connects, 2);
        let streams = outcome.streams.expect("MCP has them");
        assert_eq!((streams.streams, streams.events, streams.stalls), (20, 40, 0));
        assert_eq!((streams.first_event.len(), streams.gap.len()), (20, 20));
        // What the server slept, less what may lie between its writes and our reads.
        assert!(streams.gap.min() >= 10_000_000, "{}", streams.gap.min());
        assert!(outcome.latencies.service.min() >= 25_000_000);
        server.end();
    }
}

#[test]
fn a_stream_that_stays_open_behind_its_reply_ends_the_exchange_all_the_same() {
    let (server, _) = with_sessions(|peer, _, call| {
        peer.begin_stream();
        peer.chunk(&format!("data: {}\n\n", result(&call["id"])));
        peer.wait_for_end();
    });
    let outcome = outcome(&spec(server.addr, protocol(Era::Sessions, 0), 1, 5));
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (5, 0));
    assert_eq!(server.connections(), 5, "each such stream costs its connection");
    assert_eq!(outcome.streams.expect("MCP has them").events, 5);
    server.end();
}

#[test]
fn a_stream_that_ends_without_the_reply_is_an_error() {
    let (server, _) = with_sessions(|peer, _, _| {
        peer.begin_stream();
        peer.chunk("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n");
        peer.end_stream();
    });
    let outcome = outcome(&spec(server.addr, protocol(Era::Sessions, 0), 1, 5));
    assert_eq!((outcome.totals.completed, outcome.totals.errors.of(ErrorKind::Closed)), (0, 5));
    server.end();
}

#[test]
fn chunked_and_long_replies_are_read() {
    let (server, _) = with_sessions(|peer, session, call| {
        let text = "x".repeat(100_000);
        let body = json!({"jsonrpc": "2.0", "result": {"text": text}, "id": call["id"]}).to_string();
        if session.calls % 2 == 0 {
            return json_reply(peer, &body);
        }
        peer.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.as_bytes().chunks(30_001) {
            peer.chunk(std::str::from_utf8(piece).expect("ASCII"));
        }
        peer.end_stream();
    });
    let outcome = outcome(&spec(server.addr, protocol(Era::Sessions, 0), 2, 20));
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (20, 0));
    assert_eq!(outcome.totals.connects, 2);
    assert!(outcome.totals.bytes_in > 2_000_000);
    server.end();
}

#[test]
fn errors_refuse_and_foreign_replies_are_garbage() {
    let (server, _) = with_sessions(|peer, session, call| match session.calls % 4 {
        0 => {
            let error = json!({"code": -32602, "message": "no"});
            json_reply(peer, &json!({"jsonrpc": "2.0", "id": call["id"], "error": error}).to_string());
        }
        1 => json_reply(peer, &result(&json!(1))),
        2 => peer.respond("500 Internal Server Error", "", "oops"),
        _ => peer.respond("202 Accepted", "", ""),
    });
    let outcome = outcome(&spec(server.addr, protocol(Era::Sessions, 0), 1, 40));
    let errors = outcome.totals.errors;
    assert_eq!((errors.of(ErrorKind::Refused), errors.of(ErrorKind::Garbage)), (20, 20));
    assert_eq!(outcome.totals.completed, 0);
    // Garbage leaves the connection in doubt, a refusal does not; the last call was refused.
    assert_eq!(outcome.totals.connects, 1 + 20);
    server.end();
}

#[test]
fn stateless_calls_mirror_themselves_and_have_no_session() {
    for driver in DRIVERS {
        let server = Server::start(|peer| {
            while let Some(asked) = peer.request() {
                let message = check_post(&peer.ledger, &asked);
                let meta = &message["params"]["_meta"];
                let version = meta["io.modelcontextprotocol/protocolVersion"].as_str();
                let name = message["params"]["name"].as_str();
                let mirrors = version == Some("2026-07-28")
                    && asked.header("mcp-protocol-version") == version
                    && asked.header("mcp-method") == message["method"].as_str()
                    && asked.header("mcp-name") == name
                    && meta["io.modelcontextprotocol/clientCapabilities"].is_object();
                peer.ledger.require(mirrors, || format!("{asked:?} {message}"));
                let sessionless = asked.method == "POST" && asked.header("mcp-session-id").is_none();
                peer.ledger.require(sessionless, || format!("{asked:?}"));
                // To be ignored in this era.
                let fields = "Content-Type: application/json\r\nMcp-Session-Id: x\r\n";
                peer.respond("200 OK", fields, &result(&message["id"]));
            }
        });
        let mut spec = spec(server.addr, protocol(Era::Stateless, 10), 3, 60);
        spec.driver = driver;
        let outcome = outcome(&spec);
        assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (60, 0));
        assert_eq!(outcome.totals.connects, 3);
        assert_eq!(of(&outcome, "initialize").completed, 0);
        server.end();
    }
}

#[test]
fn an_unknown_method_of_the_stateless_era_is_no_lost_session() {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no such method"}}"#;
            peer.respond("404 Not Found", "Content-Type: application/json\r\n", error);
        }
    });
    let outcome = outcome(&spec(server.addr, protocol(Era::Stateless, 0), 1, 5));
    assert_eq!(outcome.totals.errors.of(ErrorKind::Refused), 5);
    assert_eq!(outcome.totals.connects, 1);
    server.end();
}

#[test]
fn a_session_outlives_its_connection() {
    let (server, sessions) = with_sessions(|peer, _, call| {
        let fields = "Content-Type: application/json\r\nConnection: close\r\n";
        peer.respond("200 OK", fields, &result(&call["id"]));
        peer.wait_for_end();
    });
    let outcome = outcome(&spec(server.addr, protocol(Era::Sessions, 0), 2, 20));
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (20, 0));
    assert_eq!(sessions.lock().expect("no panic").len(), 2);
    assert!(server.connections() >= 20);
    server.end();
}

#[test]
fn a_server_that_refuses_to_initialize_ends_the_run_at_once() {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            peer.respond("401 Unauthorized", "", "");
        }
    });
    let error = refused(&spec(server.addr, protocol(Era::Sessions, 0), 2, 5));
    assert!(error.to_string().contains(&server.addr.to_string()), "{error}");
    server.end();
}
