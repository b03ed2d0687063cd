//! Clients that are slow, silent, gone or hasty, and the places they must not hold. Each test runs on both drivers.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use erlmcp_dataplane::link::Reason;
use erlmcp_dataplane::link::ids::EndpointId;
use erlmcp_ring::SockAddr;

use crate::common::{After, Gateway, Node, dead_address, eventually, on_both_drivers, say, snapshot, to};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_head_written_for_a_dead_node_is_readdressed_whole() {
    on_both_drivers(|choice| {
        let node = Node::echo();
        for dead_host in ["x", "a-much-longer-name-than-the-other.example:8080"] {
            let mut snapshot =
                snapshot::of_nodes(&[SockAddr::Inet(dead_address()), SockAddr::Inet(node.address)]);
            // Least load at equal loads begins anywhere: the weight makes the dead one first.
            snapshot.groups[0].endpoints[0].weight = 1000;
            snapshot.groups[0].endpoints[0].host_header = dead_host.into();
            let gateway = Gateway::start(choice, snapshot);
            let body = "0123456789".repeat(300);
            let reply = gateway.ask(&format!(
                "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nX-Last: 1\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(reply.text(), body);
            let asked = node.last();
            assert_eq!(
                (asked.line(), asked.header("host")),
                ("POST /x HTTP/1.1", Some(node.address.to_string()))
            );
            assert_eq!(asked.header("x-last").as_deref(), Some("1"));
            gateway.end();
        }
    });
}

#[test]
fn a_slow_body_holds_no_place_at_the_node() {
    on_both_drivers(|choice| {
        let node = Node::echo();
        let mut snapshot = to(&[&node]);
        snapshot.groups[0].endpoints[0].connections_per_shard_max = 1;
        snapshot.groups[0].wait_timeout = Duration::from_millis(300);
        let gateway = Gateway::start(choice, snapshot);
        let mut slow = gateway.connect();
        slow.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
        let mut other = gateway.connect();
        for _ in 0..3 {
            other.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
            assert_eq!(other.reply().text(), "ok");
        }
        slow.send(b"def");
        assert_eq!(slow.reply().text(), "abcdef");
        drop((slow, other));
        gateway.end();
    });
}

#[test]
fn a_client_that_sent_too_much_is_still_seen_leaving() {
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            say(
                socket,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n:\n\r\n",
            );
            let _ = std::io::Read::read(socket, &mut [0; 1]);
            After::Close
        });
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        client.send(format!("{GET}\r\nGET /next HT").as_bytes());
        client.read_until(b":\n\r\n");
        assert_eq!(gateway.streams(), 1);
        drop(client);
        eventually("the stream ends", || gateway.streams() == 0);
        gateway.end();
    });
}

#[test]
fn calls_answered_by_a_short_stream_reuse_their_connection() {
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            say(
                socket,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
                 9\r\ndata: x\n\n\r\n",
            );
            // The end comes apart, so that the exchange becomes a stream first.
            std::thread::sleep(Duration::from_millis(5));
            say(socket, "0\r\n\r\n")
        });
        let gateway = Gateway::before(choice, &[&node]);
        let mut client = gateway.connect();
        for _ in 0..10 {
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(client.reply().text(), "data: x\n\n");
        }
        let page = gateway.plane.pages()[0].clone();
        assert_eq!(page.endpoint(EndpointId(0)).connects.get(), 1);
        assert_eq!(page.sse_events.get(), 10);
        drop(client);
        gateway.end();
    });
}

#[test]
fn a_refusal_keeps_the_connection_of_a_whole_request() {
    on_both_drivers(|choice| {
        let mut snapshot = snapshot::of_nodes(&[SockAddr::Inet(dead_address())]);
        snapshot.groups[0].endpoints[0].healthy = false;
        let gateway = Gateway::start(choice, snapshot);
        let mut client = gateway.connect();
        for _ in 0..3 {
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
            let reply = client.reply();
            assert_eq!((reply.status, reply.header("connection")), (503, None));
        }
        drop(client);
        gateway.end();
    });
}

#[test]
fn a_slow_reader_is_kept_while_it_reads_and_cut_when_it_stops() {
    const BODY_BYTES: usize = 24 << 20;
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            let body = vec![b'x'; BODY_BYTES];
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&body));
            After::Close
        });
        let mut snapshot = to(&[&node]);
        snapshot.listeners[0].write_timeout = Duration::from_millis(500);
        let gateway = Gateway::start(choice, snapshot);
        let (mut slow, mut stuck) = (gateway.connect(), gateway.connect());
        slow.send(GET.as_bytes());
        stuck.send(GET.as_bytes());
        // Takes several times the timeout, but never nothing for that long.
        let mut got = 0;
        let mut buffer = vec![0; 1 << 20];
        while got < BODY_BYTES {
            std::thread::sleep(Duration::from_millis(60));
            let n = std::io::Read::read(&mut slow.socket, &mut buffer).unwrap();
            assert!(n > 0, "cut after {got} bytes");
            got += n;
        }
        eventually("the one that stopped is cut", || gateway.count(Reason::ClientStalled) == 1);
        drop((slow, stuck));
        gateway.end();
    });
}

#[test]
fn many_partial_heads_and_unread_replies_starve_nobody() {
    on_both_drivers(|choice| {
        let served = Arc::new(AtomicUsize::new(0));
        let node = Node::start({
            let served = served.clone();
            move |asked, socket| {
                served.fetch_add(1, Ordering::SeqCst);
                if !asked.line().contains("/big") {
                    return say(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
                let body = vec![b'x'; 8 << 20];
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&body));
                After::Close
            }
        });
        let mut snapshot = to(&[&node]);
        snapshot.groups[0].endpoints[0].connections_per_shard_max = 200;
        let gateway = Gateway::start(choice, snapshot);
        let partial: Vec<_> = (0..600)
            .map(|_| {
                let mut client = gateway.connect();
                client.send(b"GET / HT");
                client
            })
            .collect();
        let unread: Vec<_> = (0..100)
            .map(|_| {
                let mut client = gateway.connect();
                client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
                client
            })
            .collect();
        eventually("the big replies are under way", || served.load(Ordering::SeqCst) >= 100);
        let mut fast = gateway.connect();
        for _ in 0..50 {
            fast.send(GET.as_bytes());
            assert_eq!(fast.reply().text(), "ok");
        }
        drop((partial, unread, fast));
        gateway.end();
    });
}
