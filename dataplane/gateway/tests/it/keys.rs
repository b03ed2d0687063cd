//! What single keys of listeners, routes and groups do, seen from outside. Each test runs on both drivers.
//!
//! `erlmcp_config::effects` names these functions: a renamed one is renamed there.

use std::time::Duration;

use crate::common::{Client, Gateway, Node, eventually, on_both_drivers, to};
use erlmcp_dataplane::link::snapshot::{
    Cors, HeaderEdits, HeaderMatch, HostPattern, HostPolicy, PathMatch, Route, Snapshot, ValueMatch,
};
use erlmcp_dataplane::link::{OriginPattern, PortPattern, Reason};
use erlmcp_proto::http1::{Method, RequestError};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A route of this name and matching, ahead of the one that takes everything.
fn before_all(snapshot: &mut Snapshot, name: &str, matching: impl FnOnce(&mut Route)) {
    let at = snapshot.routes.len() - 1;
    let mut route = snapshot.routes[at].clone();
    route.name = name.into();
    route.response_headers.add.push(("X-Route".into(), name.into()));
    matching(&mut route);
    snapshot.routes.insert(at, route);
}

fn origin(scheme: &str, host: HostPattern, port: PortPattern) -> OriginPattern {
    OriginPattern::Parts { scheme: scheme.into(), host, port }
}

#[test]
fn routes_match_by_host_path_method_and_header() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        let header = |name: &str, value| HeaderMatch { name: name.into(), value };
        before_all(&mut snapshot, "host", |route| {
            route.hosts =
                vec![HostPattern::Exact("one.example".into()), HostPattern::Suffix(".two.example".into())];
        });
        before_all(&mut snapshot, "exact", |route| route.path = PathMatch::Exact("/exact".into()));
        before_all(&mut snapshot, "prefix", |route| route.path = PathMatch::Prefix("/pre".into()));
        before_all(&mut snapshot, "method", |route| route.methods = vec![Method::Delete]);
        before_all(&mut snapshot, "value", |route| {
            route.headers = vec![
                header("x-a", ValueMatch::Exact("1".into())),
                header("x-b", ValueMatch::Prefix("p".into())),
            ];
        });
        before_all(&mut snapshot, "present", |route| {
            route.headers = vec![header("x-c", ValueMatch::Present)]
        });
        before_all(&mut snapshot, "absent", |route| {
            route.headers = vec![header("user-agent", ValueMatch::Absent)]
        });
        let gateway = Gateway::start(choice, snapshot);
        for (line, headers, route) in [
            ("GET /", "Host: One.example:81\r\nUser-Agent: t\r\n", Some("host")),
            ("GET /", "Host: a.two.example\r\nUser-Agent: t\r\n", Some("host")),
            ("GET /", "Host: two.example\r\nUser-Agent: t\r\n", None),
            ("GET /exact?q=1", "Host: a\r\nUser-Agent: t\r\n", Some("exact")),
            ("GET /exact/", "Host: a\r\nUser-Agent: t\r\n", None),
            ("GET /pre/x", "Host: a\r\nUser-Agent: t\r\n", Some("prefix")),
            ("GET /prex", "Host: a\r\nUser-Agent: t\r\n", None),
            ("DELETE /", "Host: a\r\nUser-Agent: t\r\n", Some("method")),
            ("GET /", "Host: a\r\nUser-Agent: t\r\nX-A: 1\r\nX-B: pq\r\n", Some("value")),
            ("GET /", "Host: a\r\nUser-Agent: t\r\nX-A: 1\r\nX-B: q\r\n", None),
            ("GET /", "Host: a\r\nUser-Agent: t\r\nX-C: \r\n", Some("present")),
            ("GET /", "Host: a\r\n", Some("absent")),
        ] {
            let reply = gateway.ask(&format!("{line} HTTP/1.1\r\n{headers}\r\n"));
            assert_eq!(reply.header("x-route").as_deref(), route, "{line} {headers}");
        }
        gateway.end();
    });
}

#[test]
fn the_listener_bounds_heads_and_the_smaller_bound_holds_for_bodies() {
    on_both_drivers(|choice| {
        let node = Node::echo();
        let mut snapshot = to(&[&node]);
        let limits = &mut snapshot.listeners[0];
        (limits.head.head_bytes_max, limits.head.headers_max, limits.head.target_bytes_max) = (600, 8, 64);
        limits.body_bytes_max = 10;
        before_all(&mut snapshot, "narrow", |route| {
            (route.path, route.body_bytes_max) = (PathMatch::Exact("/narrow".into()), 4);
        });
        let gateway = Gateway::start(choice, snapshot);
        let long = |count: usize| "x".repeat(count);
        let head = |more: String| format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n");
        let many = |count: usize| (0..count).map(|at| format!("X-{at}: 1\r\n")).collect::<String>();
        let sized = |path: &str, count: usize| {
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {count}\r\n\r\n{}", long(count))
        };
        let chunked = |path: &str, count: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{count:x}\r\n{}\r\n0\r\n\r\n",
                long(count)
            )
        };
        for (request, status) in [
            (head(format!("X: {}\r\n", long(500))), 200),
            (head(format!("X: {}\r\n", long(600))), 431),
            (head(many(7)), 200),
            (head(many(8)), 431),
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(63)), 200),
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(64)), 414),
            (sized("/", 10), 200),
            (sized("/", 11), 413),
            (chunked("/", 10), 200),
            (chunked("/", 11), 413),
            (sized("/narrow", 4), 200),
            (sized("/narrow", 5), 413),
            (chunked("/narrow", 5), 413),
        ] {
            let reply = gateway.ask(&request);
            assert_eq!(reply.status, status, "{}\n{}", &request[..request.len().min(120)], reply.text());
        }
        let long = Reason::BadRequest(RequestError::TargetTooLong);
        eventually("the refusal is counted", || gateway.count(long) == 1);
        eventually("the refusals are counted", || gateway.count(Reason::BodyTooLarge) == 4);
        gateway.end();
    });
}

#[test]
fn a_connection_ends_after_its_requests_and_its_idle_time() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        snapshot.listeners[0].requests_per_connection_max = 2;
        snapshot.listeners[0].keep_alive = Duration::from_millis(100);
        let gateway = Gateway::start(choice, snapshot);
        let mut client = gateway.connect();
        for last in [None, Some("close")] {
            client.send(GET.as_bytes());
            assert_eq!(client.reply().header("connection").as_deref(), last);
        }
        assert!(client.is_closed());
        let mut idle = gateway.connect();
        idle.send(GET.as_bytes());
        assert_eq!(idle.reply().header("connection"), None);
        assert!(idle.is_closed(), "no second request came within keep_alive");
        gateway.end();
    });
}

#[test]
fn a_full_listener_lets_newcomers_wait() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        snapshot.listeners[0].connections_per_shard_max = 2;
        let gateway = Gateway::start(choice, snapshot);
        let mut open: Vec<Client> = (0..2).map(|_| gateway.connect()).collect();
        for client in &mut open {
            client.send(GET.as_bytes());
            assert_eq!(client.reply().text(), "hello");
        }
        let mut third = gateway.connect();
        third.send(GET.as_bytes());
        let page = gateway.plane.pages()[0].clone();
        eventually("the listener rests", || page.listeners[0].refused.get() > 0);
        assert_eq!((page.listeners[0].open.get(), node.requests()), (2, 2));
        drop(open.pop());
        assert_eq!(third.reply().text(), "hello", "it had waited in the kernel's queue");
        drop((open, third));
        gateway.end();
    });
}

#[test]
fn connections_to_a_node_end_after_their_exchanges_and_their_idle_time() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        snapshot.groups[0].requests_per_connection_max = 3;
        snapshot.groups[0].idle_timeout = Duration::from_millis(100);
        let gateway = Gateway::start(choice, snapshot);
        let connections = || node.connections.load(std::sync::atomic::Ordering::SeqCst);
        let mut client = gateway.connect();
        for turn in 0..6 {
            client.send(GET.as_bytes());
            client.reply();
            assert_eq!(node.last().turn, turn % 3);
        }
        assert_eq!(connections(), 2);
        client.send(GET.as_bytes());
        client.reply();
        let page = gateway.plane.pages()[0].clone();
        let idle = || page.endpoints[0].idle.get();
        assert_eq!((connections(), idle()), (3, 1));
        eventually("the idle connection is closed", || idle() == 0);
        drop(client);
        gateway.end();
    });
}

/// A listener whose queue is full: the kernel answers no further SYN, so that a connect hangs.
fn full_listener() -> (socket2::Socket, std::net::SocketAddr, Vec<std::net::TcpStream>) {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let soon = Duration::from_millis(50);
    let fill = |_| std::net::TcpStream::connect_timeout(&address, soon).ok();
    let fillers = (0..4).filter_map(fill).collect();
    (socket, address, fillers)
}

#[test]
fn a_node_that_answers_no_connect_is_given_up_after_the_connect_timeout() {
    on_both_drivers(|choice| {
        let (_full, address, _fillers) = full_listener();
        let mut snapshot = crate::common::snapshot::of_nodes(&[erlmcp_ring::SockAddr::Inet(address)]);
        snapshot.groups[0].connect_timeout = Duration::from_millis(100);
        let gateway = Gateway::start(choice, snapshot);
        let reply = gateway.ask(GET);
        assert_eq!((reply.status, reply.text().contains("connect_timeout")), (504, true), "{}", reply.text());
        gateway.end();
    });
}

#[test]
fn a_route_overrides_the_read_timeout() {
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            let _ = std::io::Read::read(socket, &mut [0; 1]);
            crate::common::After::Close
        });
        let mut snapshot = to(&[&node]);
        snapshot.routes[0].read_timeout = Some(Duration::from_millis(100));
        let gateway = Gateway::start(choice, snapshot);
        assert_eq!(gateway.ask(GET).status, 504);
        gateway.end();
    });
}

#[test]
fn a_node_that_takes_nothing_is_given_up_after_the_write_timeout() {
    on_both_drivers(|choice| {
        for of_route in [false, true] {
            // Nobody accepts, so that nobody reads.
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut snapshot = crate::common::snapshot::of_nodes(&[erlmcp_ring::SockAddr::Inet(address)]);
            let soon = Duration::from_millis(100);
            match of_route {
                false => snapshot.groups[0].write_timeout = soon,
                true => snapshot.routes[0].write_timeout = Some(soon),
            }
            let gateway = Gateway::start(choice, snapshot);
            let mut client = gateway.connect();
            // More than both sockets' buffers hold.
            let body = vec![b'x'; 64 << 20];
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            client.send(head.as_bytes());
            let mut writer = client.socket.try_clone().unwrap();
            let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &body).is_ok());
            let reply = client.reply();
            assert_eq!(
                (reply.status, reply.text().contains("upstream_timeout")),
                (504, true),
                "{}",
                reply.text()
            );
            drop(client);
            assert!(!writing.join().unwrap());
            drop(listener);
            gateway.end();
        }
    });
}

#[test]
fn headers_and_hosts_are_rewritten_both_ways() {
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            let head =
                "HTTP/1.1 200 OK\r\nServer: s\r\nX-Env: theirs\r\nX-More: 1\r\nContent-Length: 0\r\n\r\n";
            crate::common::say(socket, head)
        });
        let mut snapshot = to(&[&node]);
        let edits = |gone: &str| HeaderEdits {
            remove: vec![gone.into()],
            set: vec![("X-Env".into(), "ours".into())],
            add: vec![("X-More".into(), "2".into())],
        };
        snapshot.routes[0].request_headers = edits("cookie");
        snapshot.routes[0].response_headers = edits("server");
        for (path, host) in
            [("/keep", HostPolicy::Keep), ("/literal", HostPolicy::Literal("in.example:1".into()))]
        {
            before_all(&mut snapshot, "host", |route| {
                (route.path, route.host) = (PathMatch::Exact(path.into()), host)
            });
        }
        let gateway = Gateway::start(choice, snapshot);
        let fields = "Cookie: c\r\nX-Env: theirs\r\nX-More: 1\r\n\r\n";
        let all = |head: &str, name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
                .collect::<Vec<_>>()
        };
        for (path, host) in [
            ("/", node.address.to_string()),
            ("/keep", "a:7".to_owned()),
            ("/literal", "in.example:1".to_owned()),
        ] {
            let reply = gateway.ask(&format!("GET {path} HTTP/1.1\r\nHost: a:7\r\n{fields}"));
            let asked = node.last();
            assert_eq!(all(&asked.head, "host"), [host]);
            for (head, gone) in [(&asked.head, "cookie"), (&reply.head, "server")] {
                assert_eq!(all(head, gone), [""; 0], "{head}");
                assert_eq!(all(head, "x-env"), ["ours"], "{head}");
                assert_eq!(all(head, "x-more"), ["1", "2"], "{head}");
            }
        }
        gateway.end();
    });
}

#[test]
fn the_gateway_names_itself_as_configured() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        snapshot.identity.via = "edge".into();
        snapshot.identity.request_id_header = "X-Trace".into();
        let gateway = Gateway::start(choice, snapshot);
        let reply = gateway.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Trace: id-7\r\n\r\n");
        let asked = node.last();
        assert_eq!(asked.header("via").as_deref(), Some("1.1 edge"));
        assert_eq!(reply.header("via").as_deref(), Some("1.1 edge"));
        assert_eq!(asked.header("x-trace").as_deref(), Some("id-7"));
        assert_eq!(reply.header("x-trace").as_deref(), Some("id-7"));
        assert!(gateway.ask(GET).header("x-trace").is_some_and(|id| !id.is_empty()));
        gateway.end();
    });
}

#[test]
fn cross_origin_rules() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        let app = || HostPattern::Exact("app.example".into());
        snapshot.routes[0].cors = Some(Cors {
            origins: vec![origin("https", app(), PortPattern::Default)],
            methods: "GET, POST, DELETE".into(),
            headers: String::new(),
            expose_headers: "Mcp-Session-Id".into(),
            credentials: true,
            max_age: Duration::from_secs(600),
        });
        snapshot.routes[0].allowed_origins = vec![
            origin("https", app(), PortPattern::Default),
            origin("http", HostPattern::Exact("localhost".into()), PortPattern::Any),
        ];
        before_all(&mut snapshot, "named", |route| {
            route.path = PathMatch::Exact("/named".into());
            if let Some(cors) = &mut route.cors {
                (cors.headers, cors.credentials) = ("x-one, x-two".into(), false);
            }
        });
        let gateway = Gateway::start(choice, snapshot);
        let preflight = |path: &str| {
            gateway.ask(&format!(
                "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\
                 Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: mcp-session-id\r\n\r\n"
            ))
        };
        let reply = preflight("/");
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-origin").as_deref(), Some("https://app.example"));
        assert_eq!(reply.header("access-control-allow-methods").as_deref(), Some("GET, POST, DELETE"));
        assert_eq!(reply.header("access-control-allow-headers").as_deref(), Some("mcp-session-id"));
        assert_eq!(reply.header("access-control-allow-credentials").as_deref(), Some("true"));
        assert_eq!(reply.header("access-control-max-age").as_deref(), Some("600"));
        let reply = preflight("/named");
        assert_eq!(reply.header("access-control-allow-headers").as_deref(), Some("x-one, x-two"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        assert_eq!(node.requests(), 0);
        let from =
            |origin: &str| gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n"));
        let reply = from("https://app.example");
        assert_eq!(reply.header("access-control-expose-headers").as_deref(), Some("Mcp-Session-Id"));
        assert_eq!(reply.header("vary").as_deref(), Some("Origin"));
        for (origin, status) in [
            ("https://evil.example", 403),
            ("http://app.example", 403),
            ("https://app.example:8443", 403),
            ("null", 403),
            ("http://localhost:x", 403),
            ("http://localhost:3000", 200),
        ] {
            assert_eq!(from(origin).status, status, "{origin}");
        }
        assert!(from("null").text().contains("origin_forbidden"));
        assert_eq!(gateway.ask(GET).status, 200, "only browsers send an origin");
        gateway.end();
    });
}

/// Access-log records as text, once there are `count`.
fn logged(gateway: &mut Gateway, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let feed = &mut gateway.feeds[0];
    eventually("the records come", || {
        while let Ok(batch) = feed.full.try_recv() {
            lines.extend(batch.iter().map(|one| {
                let reason =
                    Reason::all().nth(usize::from(one.reason).wrapping_sub(1)).map_or("-", Reason::label);
                format!("{} {} {} {} {} {reason}", one.route.0, one.host, one.method, one.path, one.status)
            }));
        }
        lines.len() >= count
    });
    lines
}

#[test]
fn the_access_log_names_the_host_and_the_route_of_refusals_too() {
    on_both_drivers(|choice| {
        let node = Node::hello();
        let mut snapshot = to(&[&node]);
        snapshot.routes[0].path = PathMatch::Prefix("/all".into());
        snapshot.routes[0].body_bytes_max = 1;
        before_all(&mut snapshot, "empty", |route| {
            route.path = PathMatch::Exact("/empty".into());
            route.targets[0].group.0 = 1;
        });
        before_all(&mut snapshot, "guarded", |route| {
            route.path = PathMatch::Exact("/guarded".into());
            route.allowed_origins = vec![origin("https", HostPattern::Any, PortPattern::Default)];
        });
        before_all(&mut snapshot, "silent", |route| {
            (route.path, route.access_log) = (PathMatch::Prefix("/silent".into()), false);
        });
        let mut empty = snapshot.groups[0].clone();
        empty.endpoints.clear();
        snapshot.groups.push(empty);
        let mut gateway = Gateway::start(choice, snapshot);
        gateway.ask("GET /all HTTP/1.1\r\nHost: mcp.example:81\r\n\r\n");
        gateway.ask("GET /silent HTTP/1.1\r\nHost: b\r\n\r\n");
        gateway.ask("POST /silent HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi");
        gateway.ask("GET /empty HTTP/1.1\r\nHost: c\r\n\r\n");
        gateway.ask("GET /guarded HTTP/1.1\r\nHost: d\r\nOrigin: http://evil\r\n\r\n");
        gateway.ask("POST /all HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\nhi");
        gateway.ask("GET /none HTTP/1.1\r\nHost: f\r\n\r\n");
        let lines = logged(&mut gateway, 5);
        let expected = [
            "3 mcp.example:81 GET /all 200 -",
            "0 c GET /empty 503 no_healthy_node",
            "1 d GET /guarded 403 origin_forbidden",
            "3 e POST /all 413 body_too_large",
            "65535 f GET /none 404 no_route",
        ];
        assert_eq!(lines, expected);
        let page = &gateway.plane.pages()[0].routes;
        let classes = |route: usize| [page[route].by_class[3].get(), page[route].by_class[4].get()];
        assert_eq!((classes(0), classes(1)), ([0, 1], [1, 0]), "refusals count for their route");
        gateway.end();
    });
}
