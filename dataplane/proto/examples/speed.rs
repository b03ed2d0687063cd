//! Nanoseconds per call of the parsers on typical inputs; prints a checksum, so that no work can be optimized away.
//!
//! Run: `cargo run --release -p erlmcp-proto --example speed`. Each figure is the best of several rounds: interference
//! only ever adds time. Not a test: nothing fails when it is slow.

use std::hint::black_box;
use std::time::Instant;

use erlmcp_proto::http1::{self, HeadLimits, HeaderSlots, Method};
use erlmcp_proto::jsonrpc::{self, ScanLimits};
use erlmcp_proto::sse::{EVENT_BYTES_MAX_DEFAULT, EventFramer};
use erlmcp_proto::websocket::{DataKind, MessageReader, RelayCheck, Role, apply_mask, write_message};

const ROUNDS: u32 = 15;

const CURL: &[u8] =
    b"GET /mcp/status?verbose=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.14.1\r\n\
Accept: application/json, text/event-stream\r\nX-Trace: 0123456789\r\n\r\n";

const MCP_POST: &[u8] = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: application/json, text/event-stream\r\n\
accept-encoding: gzip, deflate\r\nconnection: keep-alive\r\nuser-agent: python-httpx/0.28.1\r\n\
content-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: echo\r\n\
content-length: 312\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Mon, 05 Oct 2026 10:00:00 GMT\r\nserver: uvicorn\r\n\
content-type: application/json\r\ncontent-length: 1024\r\n\r\n";

fn main() {
    let limits = HeadLimits::default();
    let mut sum = 0_u64;
    for (name, head) in [("request, curl", CURL), ("request, MCP POST", MCP_POST)] {
        measure(name, head.len(), &mut sum, || {
            let mut slots = HeaderSlots::new();
            match http1::parse_request(black_box(head), &mut slots, &limits) {
                Ok(Some(request)) => request.head_len as u64 + request.headers.len() as u64,
                _ => 0,
            }
        });
    }
    measure("request, httparse alone, curl", CURL.len(), &mut sum, || {
        let mut headers = [const { std::mem::MaybeUninit::uninit() }; 100];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(black_box(CURL), &mut headers) {
            Ok(httparse::Status::Complete(len)) => len as u64 + request.headers.len() as u64,
            _ => 0,
        }
    });
    measure("response", RESPONSE.len(), &mut sum, || {
        let mut slots = HeaderSlots::new();
        match http1::parse_response(black_box(RESPONSE), &mut slots, &limits, Method::Get) {
            Ok(Some(response)) => response.head_len as u64 + u64::from(response.status),
            _ => 0,
        }
    });
    let call = tools_call(64);
    let large = tools_call(64 * 1024);
    for (name, body) in [("JSON-RPC tools/call", &call), ("JSON-RPC tools/call, 64 KiB argument", &large)] {
        measure(name, body.len(), &mut sum, || {
            match jsonrpc::scan(black_box(body), &ScanLimits::default()) {
                Ok(scan) => scan.params.map_or(0, <[u8]>::len) as u64,
                Err(_) => 0,
            }
        });
    }
    let events = [b"event: message\ndata: ".as_slice(), &call, b"\n\n"].concat().repeat(16);
    measure("SSE, 16 events", events.len(), &mut sum, || {
        u64::from(EventFramer::new(EVENT_BYTES_MAX_DEFAULT).feed(black_box(&events)).events)
    });
    for (name, body) in [("call", &call), ("64 KiB call", &large)] {
        websocket(name, body, &mut sum);
    }
    println!("checksum {sum}");
}

fn websocket(name: &str, body: &[u8], sum: &mut u64) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = body.to_vec();
    measure(&format!("WebSocket, mask, {name}"), body.len(), sum, || {
        apply_mask(black_box(&mut bytes), key, 0);
        u64::from(bytes[0])
    });
    let mut frame = Vec::new();
    write_message(&mut frame, DataKind::Text, Some(key), body);
    let mut check = RelayCheck::new(Role::Server, 1 << 24);
    measure(&format!("WebSocket, relay's check, {name}"), frame.len(), sum, || {
        check.feed(black_box(&frame)).map_or(0, |checked| u64::from(checked.messages))
    });
    let mut reader = MessageReader::new(Role::Server, 1 << 24);
    measure(&format!("WebSocket, reader, {name}"), frame.len(), sum, || {
        let mut input = black_box(frame.as_slice());
        u64::from(matches!(reader.next(&mut input), Ok(Some(_))))
    });
}

fn tools_call(argument_bytes: usize) -> Vec<u8> {
    let text = "lorem ipsum ".repeat(argument_bytes / 12);
    format!(
        r#"{{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{{"_meta":{{"progressToken":3,"io.modelcontextprotocol/protocolVersion":"2026-07-28"}},"name":"echo","arguments":{{"text":"{text}"}}}}}}"#
    )
    .into_bytes()
}

fn measure(name: &str, bytes: usize, sum: &mut u64, mut call: impl FnMut() -> u64) {
    let calls = (20_000_000 / (bytes as u64 + 200)).max(100);
    let mut best_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..calls {
            *sum = sum.wrapping_add(call());
        }
        best_ns = best_ns.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    println!("{name:40} {bytes:7} bytes {best_ns:10.1} ns {:7.2} GB/s", bytes as f64 / best_ns);
}
