//! What MCP clients send: calls with all that the era adds to them, computed once.

use erlmcp_proto::jsonrpc::mcp::{Method as McpMethod, Mirror, Version, encode_header_value};
use serde_json::{Map, Value, json};

use super::super::http::{refuse_own, write_head};
use super::super::rpc::Call;
use crate::load::spec::{Era, Mcp, McpCall, Target};

/// Headers that are not the user's.
const OWN_HEADERS: [&str; 6] =
    ["accept", "content-type", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id"];

/// What is sent, computed once.
pub(crate) struct Script {
    pub(super) era: Era,
    pub(super) calls: Vec<Post>,
    pub(super) initialize: Post,
    /// A notification: it has no id.
    pub(super) initialized: Post,
    /// Head of a `DELETE`, without its last fields.
    pub(super) end: Vec<u8>,
    /// Requests of a session; 0 is no limit.
    pub(super) session_requests: u32,
    /// Where `initialize` is recorded.
    pub(super) initialize_record: usize,
}

/// A message with its head. The session's fields, and the empty line, go between the two.
pub(super) struct Post {
    pub(super) head: Vec<u8>,
    pub(super) call: Call,
}

impl Script {
    /// # Errors
    /// Headers or calls that cannot be sent.
    pub(crate) fn new(target: &Target, mcp: &Mcp) -> Result<Self, String> {
        if mcp.calls.is_empty() {
            return Err("the mix of calls is empty: name at least one".to_owned());
        }
        mcp.headers.iter().try_for_each(|(name, _)| refuse_own(name, &OWN_HEADERS))?;
        let post = |call: Call, len: usize, mirrored: &str| {
            let mut head = write_head(target, "POST", "", &mcp.headers, Some(len))?;
            head.push_str("Content-Type: application/json\r\n");
            head.push_str("Accept: application/json, text/event-stream\r\n");
            head.push_str(mirrored);
            Ok(Post { head: head.into_bytes(), call })
        };
        let request = |call: &McpCall, mirrored: &str| {
            let call = Call::new(call)?;
            let len = call.len();
            post(call, len, mirrored)
        };
        let calls = mcp.calls.iter().map(|entry| match mcp.era {
            Era::Sessions => request(&entry.what, ""),
            Era::Stateless => request(&with_meta(&entry.what)?, &mirrored(&entry.what)?),
        });
        let notification = Call {
            before: br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec(),
            after: Vec::new(),
        };
        let notification_len = notification.before.len();
        Ok(Self {
            era: mcp.era,
            calls: calls.collect::<Result<_, String>>()?,
            initialize: request(&initialize(), "")?,
            initialized: post(notification, notification_len, "")?,
            end: write_head(target, "DELETE", "", &mcp.headers, None)?.into_bytes(),
            session_requests: mcp.session_requests,
            initialize_record: mcp.calls.len(),
        })
    }
}

fn client_info() -> Value {
    json!({"name": "erlmcp-bench", "version": env!("CARGO_PKG_VERSION")})
}

fn initialize() -> McpCall {
    let version = Version::V2025_11_25.as_str();
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client_info()});
    McpCall { method: McpMethod::Initialize.as_str().to_owned(), params }
}

/// The call with the `_meta` that a stateless request must carry; what the user put there stays.
fn with_meta(call: &McpCall) -> Result<McpCall, String> {
    let mut params = match &call.params {
        Value::Null => Map::new(),
        Value::Object(params) => params.clone(),
        _ => return Err(format!("the params of {:?} are no object: MCP takes nothing else", call.method)),
    };
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    let Value::Object(meta) = meta else {
        return Err(format!("the _meta of {:?} is no object: MCP takes nothing else", call.method));
    };
    for (key, value) in [
        ("protocolVersion", Value::from(Version::V2026_07_28.as_str())),
        ("clientInfo", client_info()),
        ("clientCapabilities", json!({})),
    ] {
        meta.entry(format!("io.modelcontextprotocol/{key}")).or_insert(value);
    }
    Ok(McpCall { method: call.method.clone(), params: Value::Object(params) })
}

/// The header fields that repeat parts of a stateless call.
fn mirrored(call: &McpCall) -> Result<String, String> {
    let version = Version::V2026_07_28.as_str();
    let method = encode_header_value(&call.method);
    let mut fields = format!("MCP-Protocol-Version: {version}\r\nMcp-Method: {method}\r\n");
    let key = match McpMethod::from_bytes(call.method.as_bytes()).mirror() {
        Mirror::None => return Ok(fields),
        Mirror::Name => "name",
        Mirror::Uri => "uri",
        Mirror::TaskId => "taskId",
    };
    match call.params.get(key).and_then(Value::as_str) {
        Some(name) => {
            fields.push_str(&format!("Mcp-Name: {}\r\n", encode_header_value(name)));
            Ok(fields)
        }
        None => Err(format!("{:?} needs a text as its parameter {key:?}", call.method)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rpc::Ids;
    use super::*;

    fn target() -> Target {
        Target {
            url: "http://x/mcp".to_owned(),
            addrs: Vec::new(),
            host: "x".to_owned(),
            path: "/mcp".to_owned(),
        }
    }

    fn script(era: Era, call: McpCall, headers: &[(&str, &str)]) -> Result<Script, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let calls = vec![crate::load::spec::Request { name: "call".to_owned(), weight: 1, what: call }];
        Script::new(&target(), &Mcp { era, headers, calls, session_requests: 0 })
    }

    fn call(method: &str, params: Value) -> McpCall {
        McpCall { method: method.to_owned(), params }
    }

    fn whole(post: &Post) -> (String, Value) {
        let body = [&post.call.before, Ids::new(0).next().text(), &post.call.after].concat();
        let head = String::from_utf8(post.head.clone()).expect("ASCII");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        (head, serde_json::from_slice(&body).expect("JSON"))
    }

    #[test]
    fn a_stateless_call_carries_its_meta_and_mirrors_it() {
        let params = json!({"name": "grüß", "arguments": {}, "_meta": {"progressToken": 1}});
        let script = script(Era::Stateless, call("tools/call", params), &[("Authorization", "Bearer x")]);
        let script = script.expect("a good script");
        let (head, body) = whole(&script.calls[0]);
        assert!(head.starts_with("POST /mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n"), "{head}");
        for field in [
            "Accept: application/json, text/event-stream\r\n",
            "MCP-Protocol-Version: 2026-07-28\r\n",
            "Mcp-Method: tools/call\r\n",
            "Mcp-Name: =?base64?Z3LDvMOf?=\r\n",
        ] {
            assert!(head.contains(field), "{field:?} is missing in {head}");
        }
        let meta = &body["params"]["_meta"];
        assert_eq!(meta["progressToken"], 1);
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "erlmcp-bench");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    }

    #[test]
    fn a_call_of_a_session_is_sent_as_it_is() {
        let script = script(Era::Sessions, call("tools/list", Value::Null), &[]).expect("a good script");
        let (head, body) = whole(&script.calls[0]);
        assert!(!head.to_ascii_lowercase().contains("mcp-"), "{head}");
        assert_eq!(body, json!({"jsonrpc": "2.0", "id": 1_000_000_001, "method": "tools/list"}));
        let (_, body) = whole(&script.initialize);
        assert_eq!(body["params"]["protocolVersion"], "2025-11-25");
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let list = || call("tools/list", Value::Null);
        let error = |made: Result<Script, String>| made.err().expect("refused");
        assert!(error(script(Era::Sessions, list(), &[("mcp-SESSION-id", "x")])).contains("mcp-SESSION-id"));
        assert!(error(script(Era::Stateless, call("tools/call", json!({})), &[])).contains("\"name\""));
        assert!(error(script(Era::Stateless, call("tools/list", json!([])), &[])).contains("no object"));
        assert!(error(script(Era::Stateless, call("x", json!({"_meta": 1})), &[])).contains("_meta"));
        assert!(error(script(Era::Sessions, call("x", json!(1)), &[])).contains("an object or an array"));
    }
}
