//! Flags of a plan joined, from the words of a command line.

use std::net::TcpListener;
use std::time::Duration;

use clap::Parser;
use erlmcp_bench::capacity::queue::Placement;

use super::args::PlanArgs;
use super::spec::Order;
use crate::cli::bench::spec::Refusal;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    plan: PlanArgs,
}

fn parse(words: &[&str]) -> Result<PlanArgs, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"plan").chain(words)).map(|cli| cli.plan)
}

fn order(words: &[&str]) -> Result<Order, Refusal> {
    Order::new(&parse(words).unwrap())
}

/// A listener, since targets are probed, and its URL.
fn target() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn defaults_plan_for_64_clients() {
    let (_listener, url) = target();
    let Order { spec, .. } = order(&["--goal", "p99 < 5ms and errors < 1%", &url]).ok().unwrap();
    assert_eq!((spec.goals.len(), spec.search.connections), (2, 64));
    assert_eq!(spec.connections, [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(
        (spec.search.trial, spec.search.final_trial),
        (Duration::from_secs(5), Duration::from_secs(20))
    );
    assert_eq!((spec.load.warmup, spec.shards), (Duration::from_millis(500), 1));
    assert!(spec.peak.is_none() && spec.baseline.is_none() && !spec.keep);
}

#[test]
fn flags_fill_the_order() {
    let (_listener, url) = target();
    let words = [
        "--goal",
        "p99 < 5ms",
        "--goal",
        "max < 1s",
        "--connections",
        "32,4,8,16",
        "--shards",
        "4",
        "--placement",
        "random",
        "--peak",
        "20k/s",
        "--growth",
        "30%",
        "--zones",
        "3",
        "--node-cores",
        "8",
        "--node-memory",
        "8Gi",
        "--node-bandwidth",
        "10Gbit",
        "--rate-max",
        "50",
        "--width",
        "2%",
        "--save",
        "x.json",
        "--shard-url",
        "2=http://127.0.0.1:9/",
        "--start",
        "serve --on {address} --shards {shards}",
        &url,
    ];
    let Order { spec, .. } = order(&words).ok().unwrap();
    assert_eq!((spec.search.connections, spec.connections.as_slice()), (32, &[4, 8, 16, 32][..]));
    assert_eq!((spec.goals.len(), spec.shards, spec.placement), (2, 4, Placement::Random));
    assert_eq!((spec.search.rate_max, spec.search.rate_start, spec.search.width), (50.0, 50.0, 0.02));
    let peak = spec.peak.unwrap();
    assert_eq!(
        (peak.rate_per_s, peak.growth, peak.headroom, peak.failed, peak.zones),
        (20_000.0, 0.3, 0.2, 1, 3)
    );
    assert_eq!((spec.node.cores, spec.node.memory_bytes), (Some(8.0), Some(8 << 30)));
    assert_eq!(spec.node.bandwidth_bits_per_s, Some(1e10));
    assert!(spec.keep);
    let run = &spec.shard_runs[0];
    let command: Vec<&str> = run.command.as_ref().unwrap().iter().map(String::as_str).collect();
    assert_eq!((run.shards, command.as_slice()), (2, &["serve", "--on", "127.0.0.1:9", "--shards", "2"][..]));
}

#[test]
fn what_makes_no_sense_is_usage() {
    let (_listener, url) = target();
    for words in [
        &["--goal", "p99 > 5ms", &url][..],
        &["--goal", "fast", &url],
        &["--connections", "0", "--goal", "max<1s", &url],
        &["--growth", "30%", "--goal", "max<1s", &url],
        &["--threshold", "3%", "--goal", "max<1s", &url],
        &["--start", "x", "--goal", "max<1s", &url],
        &["--shard-url", "http://a", "--goal", "max<1s", &url],
        &["--goal", "max<1s"],
    ] {
        assert_eq!(parse(words).expect_err(&words.join(" ")).exit_code(), 2, "{words:?}");
    }
    for words in [&[url.as_str()][..], &["--goal", "p99<5ms", "--goal", "p99<6ms", &url]] {
        assert!(matches!(order(words), Err(Refusal::Usage(_))), "{words:?}");
    }
    let missing = order(&["--goal", "max<1s", "--baseline", "/no/such.json", &url]);
    assert!(matches!(missing, Err(Refusal::Bad(error)) if error.to_string().contains("/no/such.json")));
}
