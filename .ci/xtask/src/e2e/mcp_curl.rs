//! curl against the gateway, as a person would type it: a session of the older era from its start to its end.
//!
//! Owns the sequence. Everything is asserted on what curl printed.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::gateway::Gateway;
use super::process::ServerSpec;
use super::{Context, Outcome, mcp};
use crate::run;

/// curl's own limit for one exchange, seconds.
const EXCHANGE_LIMIT_S: &str = "20";
/// How long an event may take to come by a stream that is open.
const EVENT_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for driver in mcp::DRIVERS {
        let gateway = mcp::gateway(context, driver)?;
        session(context, &gateway, driver, &mut outcome)?;
        refusals(&gateway, driver, &mut outcome)?;
        stateless(&gateway, driver, &mut outcome)?;
    }
    Ok(outcome)
}

/// initialize, initialized, tools/list, GET stream, DELETE, and what comes after it.
fn session(context: &Context, gateway: &Gateway, driver: &str, outcome: &mut Outcome) -> Result<()> {
    let url = gateway.url(mcp::PATH);
    let opened = post(&url, &[], mcp::INITIALIZE)?;
    let id =
        opened.header("mcp-session-id").context("no Mcp-Session-Id on the reply to initialize")?.to_owned();
    let is_stream = opened.header("content-type") == Some("text/event-stream");
    outcome.check(
        format!("{driver}: initialize answers by an event stream"),
        opened.status == 200 && is_stream && opened.body.contains("\"protocolVersion\":\"2025-11-25\""),
        || format!("{opened:?}"),
    );
    let session = format!("Mcp-Session-Id: {id}");
    let headers = [session.as_str(), "MCP-Protocol-Version: 2025-11-25"];

    let reply = post(&url, &headers, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
    outcome.check(
        format!("{driver}: a notification answers 202 without a body"),
        reply.status == 202 && reply.body.is_empty(),
        || format!("{reply:?}"),
    );
    let reply = post(&url, &headers, r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)?;
    let events = reply.body.matches("\"name\":\"echo\"").count();
    outcome.check(
        format!("{driver}: tools/list within the session"),
        reply.status == 200 && events == 1,
        || format!("{reply:?}"),
    );

    outcome.case(
        format!("{driver}: the GET stream tells of an update"),
        stream(context, &url, &headers, driver),
    );
    outcome.case(
        format!("{driver}: a body of 1 MB is sent in chunks and comes back"),
        chunked(context, &url, &headers),
    );

    let reply = curl(&url, &["-X", "DELETE"], &headers)?;
    outcome.check(format!("{driver}: DELETE ends the session"), (200..300).contains(&reply.status), || {
        format!("{reply:?}")
    });
    let reply = post(&url, &headers, r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#)?;
    outcome.check(format!("{driver}: an ended session answers 404"), reply.status == 404, || {
        format!("{reply:?}")
    });
    Ok(())
}

/// Opens the GET stream, subscribes, makes an update, and waits for its event.
fn stream(context: &Context, url: &str, headers: &[&str], driver: &str) -> Result<()> {
    let mut spec =
        ServerSpec::new("curl").args(["-sSN", "--max-time", "60", "-H", "Accept: text/event-stream", url]);
    for header in headers {
        spec = spec.args(["-H", header]);
    }
    let mut stream = spec.start(context.log(&format!("curl-stream-{driver}")))?;
    // The first event primes the client; it shows that the head and the stream passed at once.
    stream.wait_for("priming event", EVENT_LIMIT, |stream| stream.output().contains("retry:"))?;
    let subscribe = r#"{"jsonrpc":"2.0","id":4,"method":"resources/subscribe","params":{"uri":"test://watched-resource"}}"#;
    let update = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"test_update_resource"}}"#;
    for message in [subscribe, update] {
        let reply = post(url, headers, message)?;
        ensure!(reply.status == 200 && reply.body.contains("\"result\""), "{message}: {reply:?}");
    }
    let method = "notifications/resources/updated";
    stream.wait_for(method, EVENT_LIMIT, |stream| stream.output().contains(method))?;
    Ok(())
}

/// Sends a large body with `Transfer-Encoding: chunked` (curl then also sends `Expect: 100-continue`).
fn chunked(context: &Context, url: &str, headers: &[&str]) -> Result<()> {
    let text = "0123456789abcdef".repeat(65_000);
    let message = format!(
        r#"{{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{text}"}}}}}}"#
    );
    let file = context.write("chunked.json", &message)?;
    let data = format!("@{}", file.display());
    let mut all = vec!["Content-Type: application/json", ACCEPT, "Transfer-Encoding: chunked"];
    all.extend_from_slice(headers);
    let reply = curl(url, &["--data-binary", &data], &all)?;
    ensure!(reply.status == 200, "status {}", reply.status);
    ensure!(reply.body.contains(&text), "the text did not come back: {} bytes came", reply.body.len());
    Ok(())
}

/// What the node refuses must reach it as it was sent, and come back as it was said.
fn refusals(gateway: &Gateway, driver: &str, outcome: &mut Outcome) -> Result<()> {
    let url = gateway.url(mcp::PATH);
    let content = "Content-Type: application/json";
    for (what, wanted, headers) in [
        ("a foreign Origin", 403, vec![content, ACCEPT, "Origin: http://evil.example.com"]),
        ("no event stream in Accept", 406, vec![content, "Accept: application/json"]),
        ("a body that is not JSON by its type", 415, vec!["Content-Type: text/plain", ACCEPT]),
    ] {
        let reply = curl(&url, &["--data-binary", mcp::INITIALIZE], &headers)?;
        outcome.check(format!("{driver}: {what} answers {wanted}"), reply.status == wanted, || {
            format!("{reply:?}")
        });
    }
    let reply =
        post(&url, &["Mcp-Session-Id: no-such-session"], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)?;
    outcome.check(format!("{driver}: an unknown session answers 404"), reply.status == 404, || {
        format!("{reply:?}")
    });
    Ok(())
}

/// One call of the stateless era, and one whose header and body disagree.
fn stateless(gateway: &Gateway, driver: &str, outcome: &mut Outcome) -> Result<()> {
    let url = gateway.url(mcp::PATH);
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let headers = ["MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call"];
    let call = |name: &str| post(&url, &[headers[0], headers[1], &format!("Mcp-Name: {name}")], message);
    let reply = call("echo")?;
    outcome.check(
        format!("{driver}: a stateless call answers without a session"),
        reply.status == 200 && reply.body.contains("\"hello\"") && reply.header("mcp-session-id").is_none(),
        || format!("{reply:?}"),
    );
    let reply = call("count")?;
    outcome.check(
        format!("{driver}: a header that disagrees with the body answers 400 and -32020"),
        reply.status == 400 && reply.body.contains("-32020"),
        || format!("{reply:?}"),
    );
    Ok(())
}

const ACCEPT: &str = "Accept: application/json, text/event-stream";

/// What curl printed for one exchange: the final head and the body.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Reply {
    /// Takes apart what `curl -i` prints; interim heads (1xx) are passed over.
    fn parse(text: &str) -> Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").context("curl printed no head")?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
        let status: u16 = status.with_context(|| format!("no status line: {head:?}"))?;
        if (100..200).contains(&status) {
            return Self::parse(body);
        }
        let field = |line: &str| {
            line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Ok(Self { status, headers: lines.filter_map(field).collect(), body: body.to_owned() })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn post(url: &str, headers: &[&str], message: &str) -> Result<Reply> {
    let mut all = vec!["Content-Type: application/json", ACCEPT];
    all.extend_from_slice(headers);
    curl(url, &["--data-binary", message], &all)
}

fn curl(url: &str, args: &[&str], headers: &[&str]) -> Result<Reply> {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--max-time", EXCHANGE_LIMIT_S]).args(args);
    for header in headers {
        command.args(["-H", header]);
    }
    Reply::parse(&run::output(command.arg(url))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_heads_are_passed_over() {
        let reply = Reply::parse("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nA-B: c\r\n\r\nbody")
            .unwrap();
        assert_eq!((reply.status, reply.header("a-b"), reply.body.as_str()), (404, Some("c"), "body"));
        assert!(Reply::parse("curl: (7)").is_err());
    }
}
