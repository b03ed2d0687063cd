//! The node over real HTTP: both eras, its limits and its end.
//!
//! The protocol as such is the conformance suite's matter; here stands what is ours.

use std::{
    future::Future,
    io,
    time::{Duration, Instant},
};

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{HEALTH_PATH, MCP_PATH, http::Limits};

/// No wait in these tests is longer.
const PATIENCE: Duration = Duration::from_secs(20);

struct TestNode {
    host: String,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl TestNode {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let task = tokio::spawn(super::http::serve(listener, limits, stop.clone().cancelled_owned()));
        Self { host, stop, task }
    }

    /// One request on a connection of its own.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(&self.host).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", &self.host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        within(sender.send_request(request)).await.unwrap()
    }

    async fn post(&self, headers: &[(&str, &str)], message: Value) -> Response<Incoming> {
        let accept = ("accept", "application/json, text/event-stream");
        let mut all = vec![("content-type", "application/json"), accept];
        all.extend_from_slice(headers);
        self.send("POST", MCP_PATH, &all, message.to_string()).await
    }

    /// Opens a session of the older era and returns its id.
    async fn open_session(&self) -> String {
        let reply = self.post(&[], initialize()).await;
        assert_eq!(reply.status(), StatusCode::OK);
        let id = reply.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.post(&[("mcp-session-id", &id)], initialized).await.status(), StatusCode::ACCEPTED);
        id
    }

    /// Calls `method` within a session and returns the whole response message.
    async fn call(&self, session: &str, method: &str, params: Value) -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        Events::of(self.post(&[("mcp-session-id", session)], message).await).response().await
    }

    /// Calls `method` in the stateless era, with the headers that mirror it.
    async fn call_stateless(&self, method: &str, mut params: Value) -> Response<Incoming> {
        let name = params.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        });
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        if !name.is_empty() {
            headers.push(("mcp-name", &name));
        }
        self.post(&headers, json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })).await
    }

    async fn end(self) {
        self.stop.cancel();
        within(self.task).await.unwrap().unwrap();
    }
}

/// The messages of a reply, one by one, whether it is an event stream or one JSON text.
struct Events {
    reply: Response<Incoming>,
    text: String,
}

impl Events {
    fn of(reply: Response<Incoming>) -> Self {
        Self { reply, text: String::new() }
    }

    /// The next message, or `None` when the stream ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data: String = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                self.text = rest.to_owned();
                match serde_json::from_str(&data) {
                    Ok(message) => return Some(message),
                    Err(_) => continue,
                }
            }
            match within(self.reply.body_mut().frame()).await {
                Some(frame) => {
                    let data = frame.unwrap().into_data().unwrap_or_default();
                    self.text.push_str(std::str::from_utf8(&data).unwrap());
                }
                None => return serde_json::from_str(&std::mem::take(&mut self.text)).ok(),
            }
        }
    }

    /// The message with a result or an error.
    async fn response(&mut self) -> Value {
        loop {
            let message = self.next().await.expect("a stream must not end before its response");
            if message.get("method").is_none() {
                return message;
            }
        }
    }

    /// The next notification of this method.
    async fn notification(&mut self, method: &str) -> Value {
        loop {
            let message = self.next().await.expect("a stream must not end before the notification");
            if message["method"] == method {
                return message;
            }
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("must not take longer")
}

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    }})
}

fn text_of(response: &Value) -> &str {
    response["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {response}"))
}

#[tokio::test]
async fn health_answers_and_other_paths_do_not() {
    let node = TestNode::start(Limits::DEFAULT).await;
    assert_eq!(node.send("GET", HEALTH_PATH, &[], String::new()).await.status(), StatusCode::OK);
    assert_eq!(node.send("GET", "/other", &[], String::new()).await.status(), StatusCode::NOT_FOUND);
    node.end().await;
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_one_below_is_not() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let id = node.open_session().await;
    let session = [("mcp-session-id", id.as_str())];
    let echo = |bytes: usize| {
        let arguments = json!({ "text": "x".repeat(bytes) });
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "echo", "arguments": arguments } })
    };
    let fits = Events::of(node.post(&session, echo(4_000_000)).await).response().await;
    assert_eq!(text_of(&fits).len(), 4_000_000);
    assert_eq!(node.post(&session, echo(4 << 20)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    node.end().await;
}

#[tokio::test]
async fn a_session_lives_from_initialize_to_delete() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let id = node.open_session().await;
    let reply =
        node.call(&id, "tools/call", json!({ "name": "echo", "arguments": { "text": "hello" } })).await;
    assert_eq!(text_of(&reply), "hello");
    assert!(reply["result"].get("resultType").is_none(), "the older era has no resultType: {reply}");

    let session = [("mcp-session-id", id.as_str())];
    let delete = node.send("DELETE", MCP_PATH, &session, String::new()).await;
    assert!(delete.status().is_success(), "{}", delete.status());
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    assert_eq!(node.post(&session, list).await.status(), StatusCode::NOT_FOUND);
    node.end().await;
}

#[tokio::test]
async fn a_sessions_stream_tells_what_changes_and_only_what_it_watches() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let id = node.open_session().await;
    let headers = [("mcp-session-id", id.as_str()), ("accept", "text/event-stream")];
    let mut stream = Events::of(node.send("GET", MCP_PATH, &headers, String::new()).await);

    // Not watched yet: the update is silent, the change of the tools is told.
    node.call(&id, "tools/call", json!({ "name": "test_update_resource" })).await;
    node.call(&id, "tools/call", json!({ "name": "test_trigger_tool_change" })).await;
    let first = stream.next().await.unwrap();
    assert_eq!(first["method"], "notifications/tools/list_changed");

    let uri = json!({ "uri": "test://watched-resource" });
    node.call(&id, "resources/subscribe", uri.clone()).await;
    node.call(&id, "tools/call", json!({ "name": "test_update_resource" })).await;
    let update = stream.notification("notifications/resources/updated").await;
    assert_eq!(update["params"]["uri"], "test://watched-resource");
    let read = node.call(&id, "resources/read", uri).await;
    assert_eq!(read["result"]["contents"][0]["text"], "Revision 2");
    node.end().await;
}

#[tokio::test]
async fn a_session_watches_a_bounded_number_of_resources() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let id = node.open_session().await;
    for number in 0..64 {
        let reply = node.call(&id, "resources/subscribe", json!({ "uri": format!("test://{number}") })).await;
        assert!(reply.get("error").is_none(), "{reply}");
    }
    let refused = node.call(&id, "resources/subscribe", json!({ "uri": "test://one-more" })).await;
    assert_eq!(refused["error"]["code"], -32600, "{refused}");
    let again = node.call(&id, "resources/subscribe", json!({ "uri": "test://1" })).await;
    assert!(again.get("error").is_none(), "{again}");
    node.end().await;
}

#[tokio::test]
async fn the_stateless_era_needs_no_session_and_checks_headers() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let echo = json!({ "name": "echo", "arguments": { "text": "hello" } });
    let reply = node.call_stateless("tools/call", echo).await;
    assert!(reply.headers().get("mcp-session-id").is_none());
    let message = Events::of(reply).response().await;
    assert_eq!(text_of(&message), "hello");
    assert_eq!(message["result"]["resultType"], "complete");

    let wrong = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list"), ("mcp-name", "echo")];
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "echo", "arguments": { "text": "hello" }, "_meta": meta });
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let refused = node.post(&wrong, message).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(Events::of(refused).response().await["error"]["code"], -32020);
    node.end().await;
}

#[tokio::test]
async fn a_subscription_gets_what_it_asked_for_and_a_result_when_the_node_ends() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let mut stream = Events::of(node.call_stateless("subscriptions/listen", wanted).await);
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
    node.call_stateless("tools/call", json!({ "name": "test_trigger_prompt_change" })).await;
    node.call_stateless("tools/call", json!({ "name": "test_trigger_tool_change" })).await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    node.end().await;
    // The stream ends; a result before its end is the graceful way, but the SDK may close first.
    while let Some(message) = stream.next().await {
        assert!(message.get("result").is_some(), "{message}");
    }
}

#[tokio::test]
async fn a_sealed_state_opens_for_its_own_request_only() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let call = async |params| Events::of(node.call_stateless("tools/call", params).await).response().await;
    let first = call(json!({ "name": "test_input_required_result_request_state" })).await;
    let state = first["result"]["requestState"].as_str().unwrap().to_owned();
    let answers = json!({ "confirm": { "action": "accept", "content": { "ok": true } } });
    let with = |name: &str| json!({ "name": name, "inputResponses": answers, "requestState": state });

    let done = call(with("test_input_required_result_request_state")).await;
    assert!(text_of(&done).contains("state-ok"), "{done}");
    let stolen = call(with("test_input_required_result_tampered_state")).await;
    assert_eq!(stolen["error"]["code"], -32602, "{stolen}");
    let declined = json!({ "confirm": { "action": "decline" } });
    let name = "test_input_required_result_request_state";
    let declined = call(json!({ "name": name, "inputResponses": declined, "requestState": state })).await;
    assert_eq!(declined["error"]["code"], -32602, "{declined}");
    node.end().await;
}

#[tokio::test]
async fn what_a_client_cannot_do_is_not_asked_of_it() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let reply =
        node.call_stateless("tools/call", json!({ "name": "test_input_required_result_sampling" })).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    let message = Events::of(reply).response().await;
    assert_eq!(message["error"]["code"], -32021);
    assert_eq!(message["error"]["data"]["requiredCapabilities"], json!({ "sampling": {} }));
    node.end().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let node = TestNode::start(Limits::DEFAULT).await;
    for foreign in [("host", "evil.example.com"), ("origin", "http://evil.example.com")] {
        assert_eq!(node.post(&[foreign], initialize()).await.status(), StatusCode::FORBIDDEN, "{foreign:?}");
    }
    let own = [("origin", "http://localhost:8080")];
    assert_eq!(node.post(&own, initialize()).await.status(), StatusCode::OK);
    node.end().await;
}

#[tokio::test]
async fn sessions_are_capped_and_an_ended_one_makes_room() {
    let node = TestNode::start(Limits { sessions_max: 2, ..Limits::DEFAULT }).await;
    let first = node.open_session().await;
    node.open_session().await;
    let refused = node.post(&[], initialize()).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "5");
    // A version header makes no difference to who may open a session.
    let mut initialize = initialize();
    initialize["params"]["protocolVersion"] = "2026-07-28".into();
    let refused = node.post(&[("mcp-protocol-version", "2026-07-28")], initialize).await;
    let message = Events::of(refused).response().await;
    assert!(message.get("error").is_some(), "{message}");
    // The stateless era and existing sessions go on.
    let echo = json!({ "name": "echo", "arguments": { "text": "x" } });
    assert_eq!(node.call_stateless("tools/call", echo.clone()).await.status(), StatusCode::OK);
    assert_eq!(text_of(&node.call(&first, "tools/call", echo).await), "x");

    node.send("DELETE", MCP_PATH, &[("mcp-session-id", &first)], String::new()).await;
    node.open_session().await;
    node.end().await;
}

#[tokio::test]
async fn an_idle_session_is_reaped() {
    let limits = Limits { session_idle_max: Duration::from_millis(100), sessions_max: 1, ..Limits::DEFAULT };
    let node = TestNode::start(limits).await;
    node.open_session().await;
    let deadline = Instant::now() + PATIENCE;
    // The first session has the only place until it is reaped.
    while node.post(&[], initialize()).await.status() != StatusCode::OK {
        assert!(Instant::now() < deadline, "the idle session was never reaped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.end().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_their_turn() {
    let node = TestNode::start(Limits { connections_max: 1, ..Limits::DEFAULT }).await;
    let first = TcpStream::connect(&node.host).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(first)).await.unwrap();
    let connection = tokio::spawn(connection);
    let ask = || {
        Request::builder()
            .uri(HEALTH_PATH)
            .header("host", "localhost")
            .body(Full::<Bytes>::default())
            .unwrap()
    };
    assert_eq!(within(sender.send_request(ask())).await.unwrap().status(), StatusCode::OK);

    let mut second = Box::pin(node.send("GET", HEALTH_PATH, &[], String::new()));
    assert!(timeout(Duration::from_millis(100), &mut second).await.is_err(), "it must wait for a place");
    drop(sender);
    within(connection).await.unwrap().unwrap();
    assert_eq!(second.await.status(), StatusCode::OK);
    node.end().await;
}

#[tokio::test]
async fn the_end_closes_open_streams_at_once() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let id = node.open_session().await;
    let headers = [("mcp-session-id", id.as_str()), ("accept", "text/event-stream")];
    let mut stream = Events::of(node.send("GET", MCP_PATH, &headers, String::new()).await);
    let asked = Instant::now();
    node.end().await;
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "streams must end by themselves, not by the drain's limit"
    );
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn log_messages_go_to_those_who_asked() {
    let node = TestNode::start(Limits::DEFAULT).await;
    let logs_of = async |reply| {
        let mut events = Events::of(reply);
        let mut logs = 0;
        while let Some(message) = events.next().await {
            logs += usize::from(message["method"] == "notifications/message");
        }
        logs
    };
    let tool = json!({ "name": "test_logging_tool" });
    assert_eq!(logs_of(node.call_stateless("tools/call", tool).await).await, 0);

    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/logLevel": "info",
    });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "test_logging_tool", "_meta": meta } });
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "test_logging_tool"),
    ];
    assert_eq!(logs_of(node.post(&headers, message).await).await, 3);
    node.end().await;
}
