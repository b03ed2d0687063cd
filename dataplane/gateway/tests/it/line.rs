//! Requests that wait in line for a connection to a full node. Each test runs on both drivers.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{After, Client, Gateway, Node, eventually, on_both_drivers, say, to};
use erlmcp_dataplane::link::Reason;
use erlmcp_dataplane::link::ids::EndpointId;
use erlmcp_dataplane::link::snapshot::Snapshot;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn requests_wait_in_line_for_a_full_node() {
    on_both_drivers(|choice| {
        let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let node = Node::start({
            let (busy, most) = (busy.clone(), most.clone());
            move |_, socket| {
                most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
                busy.fetch_sub(1, Ordering::SeqCst);
                say(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            }
        });
        let mut snapshot = to(&[&node]);
        snapshot.groups[0].endpoints[0].connections_per_shard_max = 3;
        let gateway = Gateway::start(choice, snapshot);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut client = gateway.connect();
                    for _ in 0..10 {
                        client.send(GET.as_bytes());
                        assert_eq!(client.reply().text(), "ok");
                    }
                });
            }
        });
        assert_eq!(node.requests(), 200);
        assert_eq!(most.load(Ordering::SeqCst), 3, "the cap is used and held");
        assert_eq!(node.connections.load(Ordering::SeqCst), 3);
        gateway.end();
    });
}

#[test]
fn the_line_is_bounded_in_length_and_time() {
    on_both_drivers(|choice| {
        let node = Node::start(|_, socket| {
            let _ = socket.read(&mut [0; 1]);
            After::Close
        });
        let mut snapshot = to(&[&node]);
        let group = &mut snapshot.groups[0];
        group.endpoints[0].connections_per_shard_max = 1;
        (group.waiters_max, group.wait_timeout) = (1, Duration::from_millis(100));
        let gateway = Gateway::start(choice, snapshot);
        let mut holds = gateway.connect();
        holds.send(GET.as_bytes());
        eventually("the node is asked", || node.requests() == 1);
        let mut waits = gateway.connect();
        waits.send(GET.as_bytes());
        let page = gateway.plane.pages()[0].clone();
        eventually("one waits", || {
            page.endpoint(EndpointId(0)).waiting.get() == 1 || gateway.count(Reason::WaitTimeout) == 1
        });
        let full = gateway.ask(GET);
        let late = waits.reply();
        assert_eq!(late.status, 503);
        assert!(late.text().contains("wait_timeout"), "{}", late.text());
        assert_eq!(full.status, 503);
        assert!(full.text().contains("wait_"), "{}", full.text());
        // A client that leaves the line leaves no trace in it.
        let mut leaves = gateway.connect();
        leaves.send(GET.as_bytes());
        drop(leaves);
        eventually("nobody waits", || page.endpoint(EndpointId(0)).waiting.get() == 0);
        drop(holds);
        gateway.end();
    });
}
/// A node that keeps its first request until the gate opens, and does with those that follow on the same connection
/// what `then` does.
fn gated(
    gate: &Arc<AtomicBool>,
    then: impl Fn(&mut std::net::TcpStream) -> After + Send + Sync + 'static,
) -> Node {
    let gate = gate.clone();
    Node::start(move |asked, socket| {
        if asked.turn > 0 {
            return then(socket);
        }
        eventually("the gate opens", || gate.load(Ordering::SeqCst));
        say(socket, OK)
    })
}

/// One connection to the node, and patience in line for as long as the test runs.
fn narrow(node: &Node) -> Snapshot {
    let mut snapshot = to(&[node]);
    snapshot.groups[0].endpoints[0].connections_per_shard_max = 1;
    snapshot.groups[0].wait_timeout = Duration::from_secs(3600);
    snapshot
}

/// One client has the only connection, another waits with `request`; then the gate opens.
fn let_one_wait(gateway: &Gateway, node: &Node, gate: &AtomicBool, request: &str) -> Client {
    let mut first = gateway.connect();
    first.send(GET.as_bytes());
    eventually("the node is asked", || node.requests() == 1);
    let mut second = gateway.connect();
    second.send(request.as_bytes());
    let page = gateway.plane.pages()[0].clone();
    eventually("one waits", || page.endpoint(EndpointId(0)).waiting.get() == 1);
    gate.store(true, Ordering::SeqCst);
    assert_eq!(first.reply().text(), "ok");
    second
}

#[test]
fn what_waited_goes_over_the_connection_that_became_free() {
    on_both_drivers(|choice| {
        for request in [GET, POST] {
            let gate = Arc::new(AtomicBool::new(false));
            let node = gated(&gate, |socket| say(socket, OK));
            let gateway = Gateway::start(choice, narrow(&node));
            let mut waits = let_one_wait(&gateway, &node, &gate, request);
            assert_eq!(waits.reply().text(), "ok");
            let asked = node.last();
            assert_eq!((asked.connection, asked.turn), (0, 1));
            assert_eq!(asked.body, if request == POST { "hi" } else { "" }.as_bytes());
            let page = gateway.plane.pages()[0].clone();
            assert_eq!(page.endpoint(EndpointId(0)).requests.get(), 2);
            gateway.end();
        }
    });
}

#[test]
fn a_node_has_its_whole_time_to_answer_what_waited() {
    on_both_drivers(|choice| {
        let gate = Arc::new(AtomicBool::new(false));
        let node = gated(&gate, |socket| {
            let _ = socket.read(&mut [0; 1]);
            After::Close
        });
        let mut snapshot = narrow(&node);
        // Far shorter than the time in line: what was sent on behalf of its task has this deadline from then on.
        snapshot.groups[0].read_timeout = Duration::from_millis(1000);
        let gateway = Gateway::start(choice, snapshot);
        let reply = let_one_wait(&gateway, &node, &gate, GET).reply();
        assert_eq!(reply.status, 504);
        assert!(reply.text().contains("upstream_timeout"), "{}", reply.text());
        gateway.end();
    });
}

#[test]
fn what_waited_and_died_with_its_connection_is_sent_again_where_that_is_safe() {
    on_both_drivers(|choice| {
        for (request, status, retries) in [(GET, 200, 1), (POST, 502, 0)] {
            let gate = Arc::new(AtomicBool::new(false));
            let node = gated(&gate, |_| After::Close);
            let gateway = Gateway::start(choice, narrow(&node));
            let mut waits = let_one_wait(&gateway, &node, &gate, request);
            assert_eq!(waits.reply().status, status, "{request}");
            assert_eq!(gateway.plane.pages()[0].endpoint(EndpointId(0)).retries.get(), retries);
            assert_eq!(node.requests() as u64, 2 + retries);
            gateway.end();
        }
    });
}

#[test]
fn a_client_that_leaves_cancels_what_was_sent_for_it() {
    on_both_drivers(|choice| {
        let gate = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicUsize::new(0));
        let node = gated(&gate, {
            let left = left.clone();
            move |socket| {
                // Ends when the gateway closes the connection.
                if matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_)) {
                    left.fetch_add(1, Ordering::SeqCst);
                }
                After::Close
            }
        });
        let gateway = Gateway::start(choice, narrow(&node));
        let waits = let_one_wait(&gateway, &node, &gate, POST);
        eventually("it is sent", || node.requests() == 2);
        drop(waits);
        eventually("the node sees the end", || left.load(Ordering::SeqCst) == 1);
        eventually("it is counted", || gateway.count(Reason::ClientGone) == 1);
        assert_eq!(gateway.ask(GET).text(), "ok", "the place under the cap is free again");
        gateway.end();
    });
}
