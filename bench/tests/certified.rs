//! Real runs against the null server, certified and reported. No figure of speed is asserted: what must hold on any machine
//! are the generator's books, and that a run that cannot be believed says so.
#![expect(clippy::expect_used, reason = "tests and their helpers fail by panicking")]

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, SystemTime};

use erlmcp_bench::certificate::{Certificate, Check, Side, Verdict};
use erlmcp_bench::load::{
    self, Arrivals, Http, Interval, Observer, Protocol, Request, Spec, Stop, Target, Think,
};
use erlmcp_bench::null::NullServer;
use erlmcp_bench::report::{Collector, Files, Host, Report, json, text};
use erlmcp_ring::DriverChoice;

fn spec(addr: SocketAddr) -> Spec {
    let http = Http { method: "GET".into(), path: String::new(), headers: Vec::new(), body: Vec::new() };
    Spec {
        target: Target {
            url: format!("http://{addr}/"),
            addrs: vec![addr],
            host: addr.to_string(),
            path: "/".into(),
        },
        protocol: Protocol::Http(vec![Request { name: "get".into(), weight: 1, what: http }]),
        arrivals: Arrivals::Constant(1_000.0),
        think: Think::No,
        connections: 8,
        threads: 1,
        cpus: Vec::new(),
        warmup: Duration::from_millis(100),
        duration: Duration::from_millis(1_500),
        timeout: Duration::from_secs(2),
        interval: Duration::from_millis(100),
        seed: 7,
        driver: DriverChoice::Auto,
        requests_max: None,
    }
}

/// What a command's observer does: collects and writes as it goes.
struct Watch {
    collector: Collector,
    files: Files,
}

impl Observer for Watch {
    fn interval(&mut self, interval: &Interval) {
        self.collector.interval(interval);
        self.files.interval(interval, SystemTime::now()).expect("written");
    }
}

fn found<'a>(certificate: &'a Certificate, name: &str) -> &'a Check {
    certificate.checks.iter().find(|check| check.name == name).expect("a check of that name")
}

#[test]
fn a_real_run_is_judged_and_reported() {
    let server = NullServer::start(None, DriverChoice::Auto).expect("a server");
    let folder = std::env::temp_dir().join(format!("erlmcp-certified-{}", std::process::id()));
    let files = Files::create(&folder).expect("a folder");
    let mut watch = Watch { collector: Collector::new(), files };
    let outcome = load::run(&spec(server.addr()), &mut watch, &Stop::default()).expect("a run");
    let report = Report::of(&outcome, Some(&watch.collector), Host::read());
    let certificate = &report.certificate;
    assert_eq!(found(certificate, "Little's law").verdict, Some(Verdict::Valid), "{certificate:#?}");
    assert_eq!(found(certificate, "errors").verdict, Some(Verdict::Valid), "{certificate:#?}");
    for name in ["schedule lag p99", "generator busy", "waiting for a processor", "ports"] {
        assert!(found(certificate, name).verdict.is_some(), "{name} was not judged");
    }
    let counted: u64 =
        watch.collector.columns().iter().flat_map(|column| column.buckets()).map(|(_, count)| count).sum();
    assert_eq!(counted, outcome.latencies.response.len());
    assert!(text::render(&report).contains(certificate.verdict.name()));
    json::render(&report).expect("finite numbers");
    let paths = watch.files.finish(&report, &outcome, SystemTime::now()).expect("written");
    assert!(paths.iter().all(|path| path.metadata().is_ok_and(|file| file.len() > 0)));
    let lines = std::fs::read_to_string(folder.join(erlmcp_bench::report::NDJSON)).expect("read");
    assert_eq!(lines.lines().count(), watch.collector.columns().len());
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_closed_loop_keeps_its_books() {
    let server = NullServer::start(None, DriverChoice::Auto).expect("a server");
    let spec = Spec { arrivals: Arrivals::Closed, requests_max: Some(5_000), ..spec(server.addr()) };
    let outcome = load::run(&spec, &mut (), &Stop::default()).expect("a run");
    let certificate = Certificate::of(&outcome);
    assert_eq!(found(&certificate, "Little's law").verdict, Some(Verdict::Valid), "{certificate:#?}");
    assert_eq!(found(&certificate, "sent of due").verdict, None);
}

/// A server that takes requests and never answers: the load cannot be sent, and that is the server's.
#[test]
fn a_server_that_hangs_is_told_from_a_generator_that_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    // Ends with the test's process: the generator closes its connections, after which the reads end.
    let server = std::thread::spawn(move || {
        let mut readers = Vec::new();
        for _ in 0..8 {
            let Ok((mut stream, _)) = listener.accept() else { return };
            readers.push(std::thread::spawn(move || while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}));
        }
        for reader in readers {
            reader.join().expect("a reader ends");
        }
    });
    let spec = Spec { timeout: Duration::from_secs(10), ..spec(addr) };
    let outcome = load::run(&spec, &mut (), &Stop::default()).expect("a run");
    let certificate = Certificate::of(&outcome);
    let check = found(&certificate, "samples");
    assert_eq!((check.verdict, check.side), (Some(Verdict::Invalid), Side::Run), "{certificate:#?}");
    let check = found(&certificate, "sent of due");
    assert!(check.verdict > Some(Verdict::Valid), "{check:?}");
    let report = Report::of(&outcome, None, Host::default());
    assert!(report.latency.is_none() && text::render(&report).contains("No percentile is printed"));
    server.join().expect("the server ends");
}
