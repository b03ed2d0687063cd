//! `erlmcp bench` against real servers: right figures, honest verdicts, messages that help.
//!
//! Owns the loads and what is expected of each. Asserts no speed: rates are small enough for any machine, and where one
//! cannot be reached on purpose it is beyond every machine.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::bench_command::{self as command, Ended, failed_check, number, verdict};
use super::bench_server::{BadServer, EVENT_WAIT, Manner};
use super::gateway::{Gateway, GatewaySpec};
use super::process::{Server, ServerSpec, free_addr, poll};
use super::{Context, Outcome, mcp};
use crate::setup;

const LIMIT: Duration = Duration::from_secs(10);
/// Measured stretch of the stall test, and how long its server stands still.
const STALL_RUN: Duration = Duration::from_secs(4);
const STALL: Duration = Duration::from_millis(1500);
/// Requests per second meanwhile. Between the stop and the next intended start lies up to one gap, by which the server
/// stands still longer than [`STALL`]: the bound is that of a continuous load.
const STALL_RATE: u32 = 1000;

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let hello = hello(context)?;
    let gateway = GatewaySpec::default().start(context, "gateway")?;
    mcp_eras(context, &gateway, &mut outcome);
    outcome.case("HTTP through the gateway, an open loop", http(context, &hello));
    outcome.case("event streams through the gateway", events(context));
    outcome.case(
        "a server stopped for 1.5 of 4 s: corrected p99 shows it, service time does not",
        stall(context),
    );
    outcome.case("a rate beyond the machine is no valid figure", unreachable_rate(context, &hello));
    outcome.case("a generator without its processor is no valid figure", crowded(context, &hello));
    outcome.case("a server that drops connections is named", drops(context));
    outcome.case("a server that answers garbage is named, exit 1", garbage(context));
    outcome.case("nothing listens: one message, exit 1", refused(context));
    outcome.case("a bad scenario: all its errors, exit 1", bad_scenario(context));
    outcome.case("nonsense on the command line: exit 2", nonsense(context));
    outcome.case("^C keeps what was measured, marked partial, exit 1", interrupted(context, &hello));
    outcome.case("calibrate tells floor and ceiling", calibrate(context));
    outcome.case("compare --quick measures the gateway and the floor", compare(context));
    outcome.case("plan finds a rate within its goals", plan(context, &hello));
    match files(context, &hello) {
        Ok(cases) => outcome.append(cases),
        Err(error) => outcome.case("files of a run", Err(error)),
    }
    Ok(outcome)
}

/// The fixed-reply server of the comparisons.
fn hello(context: &Context) -> Result<Target> {
    let binary = context.binary.with_file_name("hello");
    ensure!(
        binary.is_file(),
        "no {}: build it with `cargo build --release -p erlmcp-bench`",
        binary.display()
    );
    let addr = free_addr()?;
    let mut server = ServerSpec::new(binary).arg(addr.to_string()).start(context.log("hello"))?;
    server.wait_for_port(addr, LIMIT)?;
    Ok(Target { server, url: format!("http://{addr}/"), addr })
}

struct Target {
    server: Server,
    url: String,
    addr: std::net::SocketAddr,
}

/// A report's own words, for messages.
fn told(ended: &Ended) -> String {
    format!("{ended}")
}

/// Other work on the machine may spoil runs for so long, which their certificates then say.
const SPOILED_LIMIT: Duration = Duration::from_secs(20);
/// Before the generator where its figures are looked at: before other work, where this user may do that.
const FIRST: [&str; 3] = ["nice", "-n", "-20"];

/// Runs until the generator itself was not disturbed beyond use; everything else is the caller's to judge.
fn undisturbed(mut run: impl FnMut() -> Result<(Ended, Value)>) -> Result<(Ended, Value)> {
    let start = Instant::now();
    loop {
        let last = run()?;
        if !is_disturbed(&last.1) || start.elapsed() >= SPOILED_LIMIT {
            return Ok(last);
        }
    }
}

/// A run with its report from standard output.
fn reported(ended: Ended) -> Result<(Ended, Value)> {
    let report = ended.json()?;
    Ok((ended, report))
}

/// INVALID for the generator's or its machine's sake.
fn is_disturbed(report: &Value) -> bool {
    let checks = report.pointer("/certificate/checks").and_then(Value::as_array);
    checks.is_some_and(|checks| {
        checks.iter().any(|check| check["side"] == "generator" && check["verdict"] == "INVALID")
    })
}

/// A run of a second or two whose figures are to be believed, all replies being good.
fn believable(context: &Context, name: &str, args: &[&str]) -> Result<Value> {
    let mut all = vec!["bench", "run", "--json", "--duration", "1500ms", "--warmup", "300ms"];
    all.extend(args);
    let (ended, report) =
        undisturbed(|| reported(command::start_within(context, name, &FIRST, &all)?.wait()?))?;
    ended.exits(0)?;
    ensure!(number(&report, "/counts/completed")? > 0.0, "no reply: {}", told(&ended));
    ensure!(number(&report, "/counts/errors_total")? == 0.0, "errors: {}", told(&ended));
    Ok(report)
}

fn mcp_eras(context: &Context, gateway: &Gateway, outcome: &mut Outcome) {
    let url = gateway.url(mcp::PATH);
    for era in ["2025-11-25", "2026-07-28"] {
        let args = ["--era", era, "--connections", "4", "--rate", "100", &url];
        let result = believable(context, &format!("mcp-{era}"), &args).and_then(|report| {
            let protocol = report.pointer("/workload/protocol").and_then(Value::as_str);
            ensure!(protocol == Some(&format!("MCP {era}")), "it spoke {protocol:?}");
            Ok(())
        });
        outcome.case(format!("MCP {era} through the gateway"), result);
    }
    let scenario = context.root.join("config/scenarios/mcp-mix.yaml");
    let scenario = scenario.to_string_lossy();
    let args = ["--scenario", &scenario, "--rate", "100", "--connections", "4", &url];
    let result = believable(context, "mcp-mix", &args).and_then(|report| {
        let completed = |name: &str| -> Result<f64> {
            let all = report["requests"].as_array().context("no requests in the report")?;
            let one = all.iter().find(|request| request["name"] == name);
            number(one.with_context(|| format!("no request `{name}`"))?, "/completed")
        };
        let (list, echo) = (completed("list")?, completed("echo")?);
        ensure!(list > echo && echo > 0.0, "three lists to one echo, but {list} and {echo}");
        Ok(())
    });
    outcome.case("the shipped MCP mix, Poisson arrivals", result);
}

fn http(context: &Context, hello: &Target) -> Result<()> {
    let gateway = GatewaySpec::before([&hello.addr]).start(context, "gateway-http")?;
    let report = believable(context, "http", &["--rate", "200", "--connections", "8", &gateway.url("/")])?;
    let rate = number(&report, "/rates/completed_per_second")?;
    ensure!((190.0..=210.0).contains(&rate), "asked for 200 a second, got {rate}");
    Ok(())
}

fn events(context: &Context) -> Result<()> {
    let server = BadServer::start(Manner::Events)?;
    let gateway = GatewaySpec::before([&server.addr]).start(context, "gateway-events")?;
    let scenario = "traffic: {protocol: sse, hold: 500ms, stall: 400ms}\narrivals: {kind: constant, rate: 10/s}\nconnections: 16\n";
    let path = context.write("events.yaml", scenario)?;
    let path = path.to_string_lossy();
    let report = believable(context, "events", &["--scenario", &path, &gateway.url("/events")])?;
    let (streams, events) = (number(&report, "/streams/streams")?, number(&report, "/streams/events")?);
    ensure!(streams >= 5.0, "only {streams} streams");
    // Ten a stream; an event can be late on a crowded machine, not early.
    ensure!(events >= 3.0 * streams && events <= 12.0 * streams, "{events} events of {streams} streams");
    let gap = number(&report, "/streams/gap/p50/ms")?;
    ensure!(gap >= 0.8 * EVENT_WAIT.as_secs_f64() * 1e3, "gaps of {gap} ms between events");
    Ok(())
}

fn stall(context: &Context) -> Result<()> {
    let mut target = hello(context)?;
    let (ended, report) = undisturbed(|| reported(stalled_run(context, &mut target)?))?;
    let p99 = number(&report, "/latency/response/p99/ms").with_context(|| told(&ended))?;
    let least = (STALL.as_secs_f64() - 0.01 * STALL_RUN.as_secs_f64()) * 1e3;
    ensure!(p99 >= least, "corrected p99 of {p99} ms, at least {least} ms are due: {}", told(&ended));
    let p50 = number(&report, "/latency/service/p50/ms")?;
    ensure!(p50 < 0.1 * least, "median service time of {p50} ms: the stall is not its");
    Ok(())
}

/// A run during which the server stands still.
fn stalled_run(context: &Context, target: &mut Target) -> Result<Ended> {
    let seconds = format!("{}ms", STALL_RUN.as_millis());
    let rate = STALL_RATE.to_string();
    let out = context.scratch.join("stall");
    let folder = out.to_string_lossy();
    let args = [
        "bench",
        "run",
        "--json",
        "--rate",
        &rate,
        "--connections",
        "16",
        "--warmup",
        "0s",
        "--interval",
        "200ms",
        "--duration",
        &seconds,
        "--out",
        &folder,
        &target.url,
    ];
    if out.exists() {
        std::fs::remove_dir_all(&out).context("clear the folder of the run before")?;
    }
    let running = command::start_within(context, "stall", &FIRST, &args)?;
    poll("intervals of the run", LIMIT, || lines(&out.join("intervals.ndjson")) >= 3)?;
    target.server.signal(Signal::STOP)?;
    // The stall itself, whose length is what is measured.
    std::thread::sleep(STALL + Duration::from_secs(1) / STALL_RATE);
    target.server.signal(Signal::CONT)?;
    running.wait()
}

/// The run is not VALID, and one of these checks says why.
fn doubted(ended: &Ended, checks: &[&str]) -> Result<()> {
    let report = ended.json()?;
    let verdict = verdict(&report)?;
    ensure!(verdict != "VALID", "VALID: {}", told(ended));
    let reason = checks.iter().find_map(|check| failed_check(&report, check));
    ensure!(reason.is_some_and(|reason| !reason.is_empty()), "none of {checks:?} failed: {}", told(ended));
    // Figures that are not to be believed are not printed.
    ensure!(
        report["latency"].is_null() == (verdict == "INVALID"),
        "{verdict} with these figures: {}",
        told(ended)
    );
    ended.exits(i32::from(verdict == "INVALID"))
}

fn unreachable_rate(context: &Context, hello: &Target) -> Result<()> {
    let args =
        ["bench", "run", "--json", "--rate", "3M", "--warmup", "0s", "--duration", "1500ms", &hello.url];
    let ended = command::run(context, "unreachable", &args)?;
    doubted(&ended, &["sent of due", "unanswered at the end", "generator busy"])
}

/// A processor that this process may use.
fn processor() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status").context("read which processors there are")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = list.and_then(|list| list.trim().split([',', '-']).next());
    Ok(first.context("no processor in /proc/self/status")?.to_owned())
}

/// The generator and four busy loops on one processor.
fn crowded(context: &Context, hello: &Target) -> Result<()> {
    let cpu = processor()?;
    let busy = || {
        let spec = ServerSpec::new("sh").args(["-c", "while :; do :; done"]).cpus(&*cpu);
        spec.start(context.log("busy-loop"))
    };
    let _loops = [busy()?, busy()?, busy()?, busy()?];
    let args = [
        "bench",
        "run",
        "--json",
        "--cpus",
        &cpu,
        "--rate",
        "2k",
        "--warmup",
        "0s",
        "--duration",
        "2s",
        &hello.url,
    ];
    let ended = command::run(context, "crowded", &args)?;
    doubted(&ended, &["waiting for a processor"])
}

fn drops(context: &Context) -> Result<()> {
    let server = BadServer::start(Manner::Drops)?;
    let url = format!("http://{}/", server.addr);
    let args = [
        "bench",
        "run",
        "--json",
        "--connections",
        "4",
        "--rate",
        "100",
        "--warmup",
        "0s",
        "--duration",
        "1500ms",
        &url,
    ];
    let ended = command::run(context, "drops", &args)?;
    let closed = number(&ended.json()?, "/counts/errors/closed")?;
    ensure!(closed > 0.0, "no closed connection was counted: {}", told(&ended));
    doubted(&ended, &["errors"])
}

fn garbage(context: &Context) -> Result<()> {
    let server = BadServer::start(Manner::Garbage)?;
    let url = format!("http://{}/", server.addr);
    let args = ["bench", "run", "--json", "--rate", "50", "--warmup", "0s", "--duration", "1s", &url];
    let ended = command::run(context, "garbage", &args)?;
    ended.exits(1)?;
    ensure!(number(&ended.json()?, "/counts/errors/garbage")? > 0.0, "not counted: {}", told(&ended));
    doubted(&ended, &["errors"])
}

fn refused(context: &Context) -> Result<()> {
    let url = format!("http://{}/", free_addr()?);
    let ended = command::run(context, "refused", &["bench", "run", "--duration", "1s", &url])?;
    ended.exits(1)?;
    ended.says(&["nothing accepts connections at", &url, "refused", "start the server"])?;
    ensure!(ended.out.is_empty(), "something was reported: {}", told(&ended));
    // A listener that ends between the look-up and the run cannot be made to order; one that never accepts can.
    let mute = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", mute.local_addr()?);
    let args = ["bench", "run", "--json", "--timeout", "300ms", "--duration", "1s", "--warmup", "0s", &url];
    let ended = command::run(context, "mute", &args)?;
    ended.exits(1)?;
    ensure!(
        number(&ended.json()?, "/counts/errors/timeout")? > 0.0,
        "no time-out was counted: {}",
        told(&ended)
    );
    Ok(())
}

fn bad_scenario(context: &Context) -> Result<()> {
    let path = context.write(
        "bad.yaml",
        "traffic:\n  protocol: http\n  requets: []\narrivals: {kind: constant, rate: 0}\nconnections: many\n",
    )?;
    let path = path.to_string_lossy();
    let ended = command::run(context, "bad", &["bench", "run", "--scenario", &path, "http://127.0.0.1:1/"])?;
    ended.exits(1)?;
    ended.says(&[
        "bad.yaml:3:3: traffic.requets: unknown key",
        "did you mean `requests`?",
        "bad.yaml:4:34: arrivals.rate",
        "bad.yaml:5:14: connections",
    ])
}

fn nonsense(context: &Context) -> Result<()> {
    for args in [
        &["bench", "run"][..],
        &["bench", "run", "gopher://a"],
        &["bench", "run", "--rate", "0", "http://a"],
        &["bench", "run", "--rate", "1", "--closed", "http://a"],
        &["bench", "run", "--protocol", "tcp", "http://a"],
        &["bench", "run", "--threads", "9", "--connections", "3", "http://a"],
    ] {
        let ended = command::run(context, "nonsense", args)?;
        ended.exits(2)?;
        ended.says(&["error: "])?;
    }
    Ok(())
}

fn interrupted(context: &Context, hello: &Target) -> Result<()> {
    let out = context.scratch.join("interrupted");
    let folder = out.to_string_lossy();
    let args = [
        "bench",
        "run",
        "--json",
        "--connections",
        "4",
        "--rate",
        "100",
        "--warmup",
        "0s",
        "--interval",
        "200ms",
        "--duration",
        "30s",
        "--out",
        &folder,
        &hello.url,
    ];
    let running = command::start(context, "interrupted", &args)?;
    // Intervals are written as they end: two of them show that measuring is under way.
    poll("intervals of the run", LIMIT, || lines(&out.join("intervals.ndjson")) >= 2)?;
    let asked = Instant::now();
    running.signal(Signal::INT)?;
    let ended = running.wait()?;
    ensure!(asked.elapsed() < LIMIT, "it took {:?} to end", asked.elapsed());
    ended.exits(1)?;
    let report = ended.json()?;
    ensure!(report["partial"].is_string(), "not marked partial: {}", told(&ended));
    ensure!(number(&report, "/counts/completed")? > 0.0, "nothing was kept: {}", told(&ended));
    for file in ["report.json", "report.html", "response.hgrm", "service.hgrm", "latency.hlog"] {
        ensure!(out.join(file).is_file(), "no {file} of the interrupted run");
    }
    Ok(())
}

fn calibrate(context: &Context) -> Result<()> {
    let args = ["bench", "calibrate", "--json", "--duration", "500ms", "--warmup", "100ms", "--rates", "1k"];
    let ended = command::run(context, "calibrate", &args)?;
    ended.exits(0)?;
    let json = ended.json()?;
    ensure!(number(&json, "/ceiling/rate")? > 0.0, "no ceiling: {}", told(&ended));
    let (floor, longest) = (number(&json, "/floor/service/p50_us")?, number(&json, "/floor/service/max_us")?);
    ensure!(0.0 < floor && floor <= longest, "no floor: {}", told(&ended));
    ensure!(number(&json, "/lags/0/asked")? == 1000.0, "no lag at the rate asked for: {}", told(&ended));
    Ok(())
}

fn compare(context: &Context) -> Result<()> {
    let out = context.scratch.join("compare");
    let folder = out.to_string_lossy();
    let args = [
        "bench",
        "compare",
        "small-8",
        "--quick",
        "--no-latency",
        "--candidates",
        "floor,erlmcp",
        "--json",
        "--out",
        &folder,
    ];
    let ended = command::run(context, "compare", &args)?;
    ended.exits(0)?;
    let json = ended.json()?;
    let rows =
        json.pointer("/tables/0/rows").and_then(Value::as_array).context("no rows in the comparison")?;
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    ensure!(names == ["floor", "erlmcp"], "not both were measured: {}", told(&ended));
    for row in rows {
        ensure!(number(row, "/cpu_us/median")? > 0.0, "no CPU time: {}", told(&ended));
    }
    Ok(())
}

/// A rate that every machine bears, so that the search ends at the highest that it may try.
fn plan(context: &Context, hello: &Target) -> Result<()> {
    let page = context.scratch.join("plan.html");
    let page_text = page.to_string_lossy();
    let args = [
        "plan",
        "--json",
        "--goal",
        "p50 < 1s",
        "--trial",
        "300ms",
        "--final",
        "400ms",
        "--warmup",
        "50ms",
        "--rate-max",
        "100",
        "--width",
        "30%",
        "--time-max",
        "10s",
        "--quick",
        "--no-scaling",
        "--connections",
        "8",
        "--html",
        &page_text,
        &hello.url,
    ];
    let ended = command::start_within(context, "plan", &FIRST, &args)?.wait()?;
    ended.exits(0)?;
    let json = ended.json()?;
    ensure!(json["schema"] == "erlmcp.plan", "another document: {}", told(&ended));
    let rate = number(&json, "/all/lower_per_s").with_context(|| told(&ended))?;
    ensure!((10.0..=100.0).contains(&rate), "a highest rate of {rate}");
    ensure!(page.is_file(), "no page was written");
    Ok(())
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map(|text| text.lines().count()).unwrap_or_default()
}

/// Everything that `--out` writes, read by the reference reader of another language.
fn files(context: &Context, hello: &Target) -> Result<Outcome> {
    let out = context.scratch.join("files");
    let folder = out.to_string_lossy().into_owned();
    let args = [
        "bench",
        "run",
        "--rate",
        "500",
        "--poisson",
        "--connections",
        "8",
        "--warmup",
        "200ms",
        "--interval",
        "500ms",
        "--duration",
        "3s",
        "--out",
        &folder,
        &hello.url,
    ];
    let (ended, _) = undisturbed(|| {
        let ended = command::start_within(context, "files", &FIRST, &args)?.wait()?;
        let report = std::fs::read_to_string(out.join("report.json")).with_context(|| told(&ended))?;
        Ok((ended, serde_json::from_str(&report).context("read report.json")?))
    })?;
    ended.exits(0)?;
    let python = setup::python_hdr(&context.tools);
    let mut outcome = mcp::script(context, &python, "hdr.py", &folder, "hdr")?;
    let text = &ended.out;
    outcome.check(
        "the terminal's report begins with the verdict",
        text.contains("VALID") || text.contains("DEGRADED"),
        || told(&ended),
    );
    let html = std::fs::read_to_string(out.join("report.html")).context("read report.html")?;
    let foreign = ["src=\"http", "href=\"http", "@import"].into_iter().find(|mark| html.contains(mark));
    outcome.check(
        "report.html needs nothing from elsewhere",
        foreign.is_none() && html.contains("<svg"),
        || format!("it holds {foreign:?}"),
    );
    let rows = lines(&out.join("intervals.ndjson"));
    outcome.check("a line for each interval", (5..=8).contains(&rows), || format!("{rows} lines"));
    Ok(outcome)
}
