//! Messages through the gateway: framing, heads, bodies, order. Each test runs on both drivers.

use std::io::Write;

use crate::common::{After, Gateway, Node, eventually, on_both_drivers, say, to};
use erlmcp_dataplane::link::Reason;
use erlmcp_dataplane::link::snapshot::{HeaderEdits, HostPolicy, Network, PathMatch};
use erlmcp_proto::http1::RequestError;

#[test]
fn a_request_and_its_reply_pass() {
    on_both_drivers(|choice| {
        let node = Node::echo();
        let gateway = Gateway::before(choice, &[&node]);
        let reply = gateway
            .ask("POST /mcp?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nX-Mine: 7\r\n\r\nhello");
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        assert_eq!(reply.header("via").as_deref(), Some("1.1 erlmcp"));
        let asked = node.last();
        assert_eq!(asked.line(), "POST /mcp?x=1 HTTP/1.1");
        assert_eq!(asked.header("host"), Some(node.address.to_string()), "SDK servers refuse a foreign host");
        assert_eq!(asked.header("x-forwarded-host").as_deref(), Some("a.example"));
        assert_eq!(asked.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(asked.header("x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(asked.header("x-mine").as_deref(), Some("7"));
        assert_eq!(asked.header("x-request-id"), reply.header("x-request-id"));
        gateway.end();
    });
}

#[test]
fn one_connection_carries_many_requests_in_order() {
    on_both_drivers(|choice| {
        let node = Node::echo();
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        let request = |n: usize| {
            format!("PUT /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{n}", n.to_string().len())
        };
        // Pipelined: all at once, split at odd places.
        let all: String = (0..50).map(request).collect();
        for piece in all.as_bytes().chunks(7) {
            client.send(piece);
        }
        for n in 0..50 {
            assert_eq!(client.reply().text(), n.to_string());
        }
        assert_eq!(node.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
        drop(client);
        gateway.end();
    });
}

#[test]
fn chunked_bodies_pass_both_ways_with_trailers() {
    on_both_drivers(|choice| {
        let node = Node::start(|asked, socket| {
            assert_eq!(asked.header("transfer-encoding").as_deref(), Some("chunked"));
            assert_eq!(asked.header("content-length"), None);
            say(
                socket,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
            )
        });
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=\"y\"\r\nwiki\r\n");
        client.send(b"5\r\npedia\r\n0\r\nX-T: 1\r\n\r\n");
        let raw = client.read_until(b"0\r\nX-Sum: 5\r\n\r\n");
        let text = String::from_utf8(raw).unwrap();
        assert!(text.contains("Transfer-Encoding: chunked"), "{text}");
        assert!(text.contains("abc") && !text.contains("ext=1"), "{text}");
        assert_eq!(node.last().body, b"wikipedia");
        // The connection goes on.
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        client.read_until(b"0\r\nX-Sum: 5\r\n\r\n");
        drop(client);
        gateway.end();
    });
}

#[test]
fn replies_without_a_body_have_none() {
    on_both_drivers(|choice| {
        let node = Node::start(|asked, socket| match asked.line().split(' ').nth(1).unwrap() {
            "/204" => say(socket, "HTTP/1.1 204 No Content\r\n\r\n"),
            "/304" => say(socket, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n"),
            _ => say(socket, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        });
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        for (method, path, status, length) in
            [("GET", "/204", 204, None), ("GET", "/304", 304, Some("99")), ("HEAD", "/", 200, Some("1234"))]
        {
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let reply = client.reply_to(method);
            assert_eq!((reply.status, reply.header("content-length").as_deref()), (status, length), "{path}");
            assert_eq!(reply.header("transfer-encoding"), None);
        }
        drop(client);
        gateway.end();
    });
}

#[test]
fn old_clients_get_a_body_they_can_end() {
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            say(socket, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        });
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let reply = client.reply();
        assert_eq!(reply.header("transfer-encoding"), None);
        assert_eq!(reply.header("connection").as_deref(), Some("close"));
        assert_eq!(reply.text(), "hello");
        assert!(node.last().header("host").is_some());
        gateway.end();
    });
}

#[test]
fn a_reply_that_ends_with_its_connection_is_framed_for_the_client() {
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            say(socket, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end");
            After::Close
        });
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let reply = client.reply();
            assert_eq!(reply.header("transfer-encoding").as_deref(), Some("chunked"));
            assert_eq!(reply.text(), "until the end");
        }
        drop(client);
        gateway.end();
    });
}

#[test]
fn interim_replies_pass_and_continue_is_ours() {
    on_both_drivers(|choice| {
        let node = Node::start(|asked, socket| {
            assert_eq!(asked.header("expect"), None);
            say(
                socket,
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )
        });
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(client.read_until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send(b"abc");
        let hints = client.reply();
        assert_eq!((hints.status, hints.header("link").as_deref()), (103, Some("</a>")));
        assert_eq!(client.reply().text(), "ok");
        drop(client);
        gateway.end();
    });
}

#[test]
fn large_bodies_pass_unharmed() {
    on_both_drivers(|choice| {
        let node = Node::echo();
        let gateway = Gateway::before(choice, &[&node]);
        let body: Vec<u8> = (0..9_000_011_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut client = gateway.connect();
        let mut writer = client.socket.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
                writer.write_all(head.as_bytes()).unwrap();
                writer.write_all(&body).unwrap();
                writer.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
                for piece in body.chunks(50_000) {
                    write!(writer, "{:x}\r\n", piece.len()).unwrap();
                    writer.write_all(piece).unwrap();
                    writer.write_all(b"\r\n").unwrap();
                }
                writer.write_all(b"0\r\n\r\n").unwrap();
            });
            for _ in 0..2 {
                assert!(client.reply().body == body, "the body came back changed");
            }
        });
        drop(client);
        gateway.end();
    });
}

#[test]
fn an_early_refusal_reaches_the_client() {
    on_both_drivers(|choice| {
        // Reads the head only; the gateway's upload then fails.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                std::io::Read::read(&mut socket, &mut [0; 512]).unwrap();
                socket.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").unwrap();
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
        let snapshot = crate::common::snapshot::of_nodes(&[erlmcp_ring::SockAddr::Inet(address)]);
        let gateway = Gateway::start(choice, snapshot);
        let mut client = gateway.connect();
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
        let mut writer = client.socket.try_clone().unwrap();
        let upload = std::thread::spawn(move || while writer.write_all(&[7; 65536]).is_ok() {});
        let reply = client.reply();
        assert_eq!((reply.status, reply.text()), (413, "big"));
        drop(client);
        upload.join().unwrap();
        gateway.end();
    });
}

#[test]
fn rewrites_and_trusted_proxies() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        let route = &mut snapshot.routes[0];
        route.path = PathMatch::Prefix("/api".into());
        route.path_prefix = Some("/v2/".into());
        route.host = HostPolicy::Literal("inner.example".into());
        route.request_headers = HeaderEdits {
            remove: vec!["cookie".into()],
            set: vec![("X-Env".into(), "test".into())],
            add: vec![("X-More".into(), "1".into())],
        };
        route.response_headers.add.push(("X-Served-By".into(), "erlmcp".into()));
        snapshot.listeners[0].trusted_proxies = vec![Network { address: [127, 0, 0, 0].into(), prefix: 8 }];
        let gateway = Gateway::start(choice, snapshot);
        let reply = gateway.ask(
            "GET /api/tools?q=1 HTTP/1.1\r\nHost: outer\r\nCookie: s=1\r\nX-Env: theirs\r\nConnection: close, X-Hop\r\n\
             X-Hop: 1\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\nVia: 1.1 front\r\n\r\n",
        );
        assert_eq!(reply.header("x-served-by").as_deref(), Some("erlmcp"));
        let asked = node.last();
        assert_eq!(asked.line(), "GET /v2/tools?q=1 HTTP/1.1");
        assert_eq!(asked.header("host").as_deref(), Some("inner.example"));
        assert_eq!(asked.header("cookie"), None);
        assert_eq!(asked.header("x-hop"), None);
        assert_eq!(asked.header("x-env").as_deref(), Some("test"));
        assert_eq!(asked.head.matches("X-Env").count(), 1);
        assert_eq!(asked.header("x-more").as_deref(), Some("1"));
        assert_eq!(asked.header("x-forwarded-for").as_deref(), Some("10.1.1.1, 127.0.0.1"));
        assert_eq!(asked.header("x-forwarded-proto").as_deref(), Some("https"));
        assert!(asked.head.find("1.1 front") < asked.head.find("1.1 erlmcp"), "{}", asked.head);
        assert_eq!(gateway.ask("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").status, 404);
        gateway.end();
    });
}

#[test]
fn bad_requests_are_answered_and_reach_no_node() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let gateway = Gateway::before(choice, &[&node]);
        let long = "x".repeat(20_000);
        let cases: [(String, u16, Reason); 8] = [
            ("GET / HTTP/1.1\n\n".into(), 400, Reason::BadRequest(RequestError::BareLf)),
            ("GET / HTTP/1.1\r\n\r\n".into(), 400, Reason::BadRequest(RequestError::MissingHost)),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
                400,
                Reason::BadRequest(RequestError::LengthAndChunked),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".into(),
                400,
                Reason::BadRequest(RequestError::ConflictingLengths),
            ),
            (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431, Reason::BadRequest(RequestError::HeadTooLarge)),
            (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, Reason::BadRequest(RequestError::TargetTooLong)),
            ("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, Reason::DotSegments),
            ("GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, Reason::DotSegments),
        ];
        for (request, status, reason) in cases {
            let before = gateway.count(reason);
            let reply = gateway.ask(&request);
            assert_eq!(reply.status, status, "{}", &request[..request.len().min(80)]);
            assert!(reply.text().contains(reason.label()), "{}", reply.text());
            eventually("the refusal is counted", || gateway.count(reason) == before + 1);
        }
        assert_eq!(node.requests(), 0);
        gateway.end();
    });
}

#[test]
fn a_broken_chunk_cuts_the_request() {
    on_both_drivers(|choice| {
        let node = Node::echo();
        let gateway = Gateway::before(choice, &[&node]);
        let reply = gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
        assert_eq!(reply.status, 400);
        assert_eq!(reply.header("connection").as_deref(), Some("close"));
        assert_eq!(node.requests(), 0);
        gateway.end();
    });
}
