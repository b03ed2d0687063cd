//! Under load, things break and change: a node is killed and comes back, the configuration is reloaded, tasks of the
//! control plane panic, the gateway is told to end. No request fails that need not.
//!
//! Owns the stage (three nodes, one gateway on two shards, a folder of configuration) and what may fail on it: requests
//! that were on the killed node, and nothing else.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::admin::{self, Metrics};
use super::gateway::{Gateway, GatewaySpec};
use super::load::{Load, OnClose, Tally, Work};
use super::mcp::{DRIVERS, LIMIT};
use super::peer::Peer;
use super::process::{free_addr, poll};
use super::{Context, Outcome, http};

const RELOADS: u32 = 100;
/// Good replies between two steps: enough that every client and node has had several.
const PACE: u64 = 200;
const PACE_LIMIT: Duration = Duration::from_secs(10);
/// Several check intervals, see [`routes`].
const HEALTH_LIMIT: Duration = Duration::from_secs(5);
/// Each request takes 10 ms on its node, so that a node always has some in flight.
const TARGET: &str = "/after/10";
const CLIENTS: usize = 12;
const WORK: [Work; 2] = [
    Work { method: "POST", target: TARGET, clients: CLIENTS },
    Work { method: "GET", target: TARGET, clients: CLIENTS },
];

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    type Scenario = fn(&mut Stage<'_>, &mut Outcome) -> Result<String>;
    let scenarios: [(&str, &str, Scenario); 4] = [
        ("kill", "a node killed under load fails only what is in flight on it, and comes back", node_dies),
        ("reload", "100 reloads under load fail nothing, a bad one changes nothing", reloads),
        ("panic", "each control-plane task that panics is restarted and counted, traffic goes on", panics),
        ("term", "SIGTERM under load fails nothing, exit 0", sigterm),
    ];
    for driver in DRIVERS {
        for (name, what, scenario) in scenarios {
            let done =
                Stage::set(context, driver, name).and_then(|mut stage| scenario(&mut stage, &mut outcome));
            match done {
                Ok(figures) => outcome.pass(format!("{driver} {what} ({figures})")),
                Err(error) => outcome.case(format!("{driver} {what}"), Err(error)),
            }
        }
    }
    Ok(outcome)
}

struct Stage<'a> {
    context: &'a Context,
    peers: Vec<Peer>,
    gateway: Gateway,
    /// `DRIVER-SCENARIO`, the folder of its files.
    name: String,
}

impl<'a> Stage<'a> {
    fn set(context: &'a Context, driver: &str, scenario: &str) -> Result<Self> {
        let name = format!("{driver}-{scenario}");
        let peer = |number| Peer::start(context, &format!("{name}-node-{number}"), free_addr()?);
        let peers = [1, 2, 3].into_iter().map(peer).collect::<Result<Vec<_>>>()?;
        context.write(&format!("{name}/config/routes.yaml"), &routes(&peers, "first"))?;
        let runtime = "embedded: {enabled: always}\ncpus: 0-1\naccess_log: {path: /dev/null}\n";
        context.write(&format!("{name}/config/runtime.yaml"), runtime)?;
        let folder = context.scratch.join(&name).join("config");
        let mut spec = GatewaySpec::default().args(["--driver", driver, "--config"]).args([folder]);
        spec.env.push(("ERLMCP_TEST_HOOKS".into(), "1".into()));
        let gateway = spec.start(context, &format!("{name}-gateway"))?;
        Ok(Self { context, peers, gateway, name })
    }

    /// Starts the load and lets it settle.
    fn load(&self, on_close: OnClose) -> Result<Load> {
        let load = Load::start(self.gateway.addr, &WORK, on_close);
        load.wait_for_good(PACE, PACE_LIMIT)?;
        Ok(load)
    }

    fn write_routes(&self, turn: &str) -> Result<()> {
        let file = format!("{}/config/routes.yaml", self.name);
        self.context.write(&file, &routes(&self.peers, turn)).map(drop)
    }

    /// `erlmcp reload`.
    fn reload(&self) -> Result<Output> {
        let mut command = Command::new(&self.context.binary);
        command.args(["reload", "--admin", &self.gateway.admin.to_string()]);
        command.output().context("run `erlmcp reload`")
    }

    /// What the first check says of a node.
    fn health(&self, node: usize) -> Option<String> {
        let nodes = admin::page(&self.gateway, "/api/nodes").ok()?;
        let health = admin::of_node(&nodes, &self.peers[node].addr.to_string(), "health")?;
        health.as_str().map(str::to_owned)
    }

    /// Waits until new requests are answered under the configuration `turn`.
    fn wait_for_turn(&self, turn: &str) -> Result<()> {
        poll(&format!("reply under the configuration {turn}"), LIMIT, || {
            http::get(self.gateway.addr, "/who", LIMIT)
                .is_ok_and(|reply| reply.header("x-turn") == Some(turn))
        })
    }

    fn applied(&self) -> Result<f64> {
        Ok(Metrics::of(&self.gateway)?.sum("erlmcp_config_reloads_total", &["result=\"applied\""]))
    }
}

/// One route to the nodes; replies tell under which configuration they were made.
fn routes(peers: &[Peer], turn: &str) -> String {
    let nodes = peers.iter().enumerate().map(|(number, peer)| {
        // The weights change with every turn too.
        let weight = 100 + (turn.len() + number) % 2;
        format!(
            "      - {{name: node-{number}, host: 127.0.0.1, port: {}, weight: {weight}}}\n",
            peer.addr.port()
        )
    });
    format!(
        "routes:
  - name: all
    match: {{path: {{prefix: /}}}}
    to: [{{group: nodes, weight: 100}}]
    rewrite: {{response_headers: {{set: {{x-turn: \"{turn}\"}}}}}}
groups:
  - name: nodes
    health_check: {{path: /health, interval: 300ms, timeout: 200ms, healthy_threshold: 2, unhealthy_threshold: 2}}
    nodes:
{}",
        nodes.collect::<String>()
    )
}

fn node_dies(stage: &mut Stage<'_>, _: &mut Outcome) -> Result<String> {
    let victim = stage.peers[1].addr;
    let load = stage.load(OnClose::Reconnect)?;
    let nodes = admin::page(&stage.gateway, "/api/nodes")?;
    let connections = admin::of_node(&nodes, &victim.to_string(), "connections");
    let connections = connections.and_then(|value| value.as_u64()).context("the victim's connections")?;
    let killed = Instant::now();
    stage.peers[1].server.kill()?;
    poll("check that finds the node down", HEALTH_LIMIT, || stage.health(1).as_deref() == Some("down"))?;
    let down = Instant::now();
    load.wait_for_good(PACE, PACE_LIMIT)?;

    let name = format!("{}-node-2-again", stage.name);
    stage.peers[1] = Peer::start(stage.context, &name, victim)?;
    poll("check that finds the node up", HEALTH_LIMIT, || stage.health(1).as_deref() == Some("up"))?;
    poll("request on the node that came back", HEALTH_LIMIT, || {
        stage.peers[1].count().is_ok_and(|count| count.requests > 0)
    })?;
    load.wait_for_good(PACE, PACE_LIMIT)?;
    let retries = Metrics::of(&stage.gateway)?.sum("erlmcp_pool_retries_total", &["group=\"nodes\""]);
    let tally = load.finish()?;
    Ok(format!("{}; {retries} tried again", judge_kill(&tally, connections, killed, down)?))
}

/// Only what was in flight on the node may have failed, each with a reason.
fn judge_kill(tally: &Tally, connections: u64, killed: Instant, down: Instant) -> Result<String> {
    let kinds = tally.by_kind();
    let has_reason =
        |what: &str| what.strip_prefix("502 ").is_some_and(|reason| !reason.starts_with("without"));
    ensure!(
        tally.failures.iter().all(|failure| has_reason(&failure.what)),
        "not all are 502 with a reason: {kinds}"
    );
    ensure!(tally.failed > 0, "nothing was in flight on the node: the case shows nothing");
    ensure!(tally.failed <= connections, "more than the {connections} connections to the node: {kinds}");
    let late = tally.failures.iter().filter(|failure| failure.at > down).count();
    ensure!(late == 0, "{late} failed after the node was found down: {kinds}");
    let last = tally.failures.iter().map(|failure| failure.at).max().unwrap_or(killed);
    Ok(format!(
        "{kinds} on {connections} connections, the last {} ms after the kill; found down after {} ms",
        last.saturating_duration_since(killed).as_millis(),
        down.duration_since(killed).as_millis()
    ))
}

fn reloads(stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<String> {
    let load = stage.load(OnClose::Reconnect)?;
    let revision = |stage: &Stage<'_>| -> Result<u64> {
        admin::page(&stage.gateway, "/api/status")?["revision"].as_u64().context("a revision")
    };
    let (first, began) = (revision(stage)?, Instant::now());
    for number in 1..=RELOADS {
        let turn = number.to_string();
        stage.write_routes(&turn)?;
        let done = stage.reload()?;
        ensure!(done.status.success(), "reload {number}: {}", text(&done));
        stage.wait_for_turn(&turn)?;
    }
    let took = began.elapsed();
    let (last, applied) = (revision(stage)?, stage.applied()?);
    ensure!(applied == f64::from(RELOADS), "{applied} reloads were counted");
    ensure!(last >= first + u64::from(RELOADS), "from revision {first} to {last}");
    load.wait_for_good(PACE, PACE_LIMIT)?;
    let driver = stage.name.trim_end_matches("-reload").to_owned();
    outcome.case(
        format!("{driver} a bad configuration is refused, every error told, under load"),
        refused(stage),
    );
    outcome.case(format!("{driver} SIGHUP reloads under load"), hang_up(stage));
    let tally = load.finish()?;
    tally.expect_no_failure()?;
    Ok(format!("{} requests, {RELOADS} reloads in {:.1} s", tally.good, took.as_secs_f64()))
}

fn refused(stage: &Stage<'_>) -> Result<()> {
    let file = format!("{}/config/routes.yaml", stage.name);
    let bad = routes(&stage.peers, "bad").replace("group: nodes", "group: nowhere").replace("300ms", "soon");
    stage.context.write(&file, &bad)?;
    let done = stage.reload()?;
    let told = text(&done);
    ensure!(done.status.code() == Some(1), "{} instead of exit 1: {told}", done.status);
    for wanted in ["nowhere", "soon", "routes.yaml:", "the configuration in use stays"] {
        ensure!(told.contains(wanted), "it says nothing of `{wanted}`: {told}");
    }
    stage.wait_for_turn(&RELOADS.to_string())?;
    ensure!(stage.applied()? == f64::from(RELOADS), "it was counted as applied");
    let metrics = Metrics::of(&stage.gateway)?;
    let refusals = metrics.sum("erlmcp_config_reloads_total", &["result=\"refused\""]);
    ensure!(refusals == 1.0, "{refusals} refusals were counted");
    Ok(())
}

fn hang_up(stage: &mut Stage<'_>) -> Result<()> {
    stage.write_routes("hung-up")?;
    stage.gateway.server.signal(Signal::HUP)?;
    stage.wait_for_turn("hung-up")
}

fn panics(stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<String> {
    let load = stage.load(OnClose::Reconnect)?;
    let status = admin::page(&stage.gateway, "/api/status")?;
    let tasks: Vec<String> = status["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|task| task["task"].as_str().map(str::to_owned))
        .collect();
    for expected in ["admin", "discovery", "embedded", "health", "metrics", "publish"] {
        ensure!(tasks.iter().any(|task| task == expected), "no task {expected} among {tasks:?}");
    }
    let driver = stage.name.trim_end_matches("-panic").to_owned();
    for task in &tasks {
        outcome.case(format!("{driver} task {task} panics and comes back"), panic_once(stage, task));
        load.wait_for_good(PACE / 4, PACE_LIMIT)?;
    }
    let log = stage.gateway.server.output();
    ensure!(log.contains("asked to panic by the test hook"), "the log says nothing of the panics");
    // The restarted tasks still do their work: a reload is published and reaches the shards.
    stage.write_routes("after")?;
    let done = stage.reload()?;
    ensure!(done.status.success(), "reload after the panics: {}", text(&done));
    stage.wait_for_turn("after")?;
    let shards = Metrics::of(&stage.gateway)?.sum("erlmcp_shard_panics_total", &[]);
    ensure!(shards == 0.0, "{shards} panics on shards");
    let tally = load.finish()?;
    tally.expect_no_failure()?;
    Ok(format!("{} requests, {} tasks", tally.good, tasks.len()))
}

fn panic_once(stage: &Stage<'_>, task: &str) -> Result<()> {
    let label = format!("task=\"{task}\"");
    // The answer may go down with the task that it is about.
    let asked = admin::post(&stage.gateway, &format!("/debug/panic?task={task}"));
    ensure!(
        task == "admin" || asked.as_ref().is_ok_and(|status| *status == 200),
        "the hook answered {asked:?}"
    );
    let mut seen = String::new();
    let done = poll("restart", LIMIT, || {
        let Ok(metrics) = Metrics::of(&stage.gateway) else { return false };
        let of = |family: &str| metrics.sum(family, &[&label]);
        let (panics, restarts, up) = (
            of("erlmcp_control_task_panics_total"),
            of("erlmcp_control_task_restarts_total"),
            of("erlmcp_control_task_up"),
        );
        seen = format!("{panics} panics, {restarts} restarts, up {up}");
        (panics, restarts, up) == (1.0, 1.0, 1.0)
    });
    done.with_context(|| seen)
}

fn sigterm(stage: &mut Stage<'_>, _: &mut Outcome) -> Result<String> {
    let load = stage.load(OnClose::Stop)?;
    let began = Instant::now();
    stage.gateway.server.signal(Signal::TERM)?;
    poll("end of every client", PACE_LIMIT, || load.is_over())?;
    let status = stage.gateway.server.wait(PACE_LIMIT)?;
    let took = began.elapsed();
    let tally = load.finish()?;
    tally.expect_no_failure()?;
    ensure!(status.code() == Some(0), "{status} instead of exit 0");
    let clients = 2 * CLIENTS as u64;
    ensure!(
        tally.told_to_close == clients,
        "{} of {clients} clients were told to close",
        tally.told_to_close
    );
    Ok(format!(
        "{} requests, {clients} clients told to close, ended after {} ms",
        tally.good,
        took.as_millis()
    ))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
