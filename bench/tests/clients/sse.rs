//! Event streams: held, ended by the server, stalled, refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use erlmcp_bench::load::{ErrorKind, Protocol};

use super::server::{Peer, Server};
use super::{DRIVERS, outcome, spec};

const MS: Duration = Duration::from_millis(1);

fn protocol(hold: Duration, stall: Duration) -> Protocol {
    Protocol::Sse { hold, stall, headers: vec![("Mcp-Session-Id".to_owned(), "s".to_owned())] }
}

/// Answers each request for a stream, once it is what it must be.
fn streaming(answer: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
    Server::start(move |peer| {
        while let Some(asked) = peer.request() {
            let good = asked.method == "GET"
                && asked.path == "/mcp"
                && asked.header("accept") == Some("text/event-stream")
                && asked.header("mcp-session-id") == Some("s");
            peer.ledger.require(good, || format!("{asked:?}"));
            answer(peer);
        }
    })
}

#[test]
fn a_stream_is_held_and_its_stalls_are_counted() {
    for driver in DRIVERS {
        let server = streaming(|peer| {
            peer.begin_stream();
            peer.chunk(": heartbeat\n\n");
            peer.chunk("data: 1\n\ndata: 2\n");
            peer.chunk("\n");
            std::thread::sleep(250 * MS);
            peer.chunk("event: e\ndata: 3\n\n");
            // Silent from here on: the client ends it.
            peer.wait_for_end();
        });
        let mut spec = spec(server.addr, protocol(800 * MS, 150 * MS), 2, 4);
        spec.driver = driver;
        let outcome = outcome(&spec);
        assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (4, 0));
        assert!(outcome.latencies.service.min() >= 790_000_000, "held for its time");
        let streams = outcome.streams.expect("it is about them");
        assert_eq!((streams.streams, streams.events), (4, 12));
        assert_eq!((streams.first_event.len(), streams.gap.len()), (4, 8));
        assert_eq!(streams.stalls, 8, "the gap, and the silence before the end");
        assert!(streams.gap.max() >= 200_000_000, "{}", streams.gap.max());
        server.end();
    }
}

#[test]
fn a_stream_that_the_server_ends_is_whole_and_keeps_the_connection() {
    let server = streaming(|peer| {
        peer.begin_stream();
        peer.chunk("data: 1\r\n\r\n");
        peer.end_stream();
    });
    let outcome = outcome(&spec(server.addr, protocol(10_000 * MS, 5_000 * MS), 2, 20));
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (20, 0));
    assert_eq!((outcome.totals.connects, server.connections()), (2, 2));
    assert_eq!(outcome.streams.map(|streams| (streams.events, streams.stalls)), Some((20, 0)));
    server.end();
}

#[test]
fn a_stream_until_the_connection_closes_is_whole_too() {
    let server = Server::start(|peer| {
        if peer.request().is_some() {
            peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        }
    });
    let outcome = outcome(&spec(server.addr, protocol(10_000 * MS, 5_000 * MS), 1, 5));
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (5, 0));
    assert_eq!(outcome.streams.map(|streams| streams.events), Some(5));
    server.end();
}

#[test]
fn what_is_no_stream_is_an_error() {
    let count = AtomicU64::new(0);
    let server = Server::start(move |peer| {
        while peer.request().is_some() {
            match count.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => peer.respond("405 Method Not Allowed", "", "no streams"),
                1 => peer.respond("200 OK", "Content-Type: application/json\r\n", "{}"),
                _ => {
                    peer.begin_stream();
                    peer.write("40\r\ndata: cut off");
                    return;
                }
            }
        }
    });
    let outcome = outcome(&spec(server.addr, protocol(10_000 * MS, 5_000 * MS), 1, 12));
    let errors = outcome.totals.errors;
    let kinds = [ErrorKind::Refused, ErrorKind::Garbage, ErrorKind::Closed].map(|kind| errors.of(kind));
    assert_eq!((outcome.totals.completed, kinds), (0, [4, 4, 4]));
    server.end();
}
