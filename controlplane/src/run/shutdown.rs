//! The end: not ready, grace, drain, cut; a second signal cuts at once, a third one waits for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control::{Control, Phase};
use crate::reload;

use super::{Asked, Signals};

/// How long an idle kept-alive connection may still bring a request during a drain.
const IDLE_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks at the shards.
const LOOK_WAIT: Duration = Duration::from_millis(5);
/// What shards may take beyond the drain's limit to close what they cut.
const MARGIN: Duration = Duration::from_secs(3);
/// What shards get to close everything at once, and to log it.
const CUT_LIMIT: Duration = Duration::from_secs(3);
/// A signal this soon after the first is the same one: wrappers like timeout(1) and shells with their process groups
/// deliver it twice.
const SECOND_SIGNAL_WAIT: Duration = Duration::from_millis(300);
/// How long tasks may take to end.
const TASKS_LIMIT: Duration = Duration::from_secs(2);

/// Serves reloads until the process is asked to end: by a signal, or through the admin API.
pub(super) async fn wait(control: &Arc<Control>, signals: &mut Signals) {
    let mut phase = control.phase.subscribe();
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => return,
                Asked::Reload => {
                    let control = Arc::clone(control);
                    // What it reports stands in the log; files are read off the runtime's threads.
                    tokio::task::spawn_blocking(move || drop(reload::reload(&control)));
                }
            },
            _ = phase.wait_for(|phase| *phase == Phase::Draining) => return,
        }
    }
}

/// Drains and ends everything.
pub(super) async fn finish(control: &Arc<Control>, signals: &mut Signals) {
    control.begin_drain();
    let plan = control.desired.borrow().drain;
    tracing::info!(grace = ?plan.grace, limit = ?plan.limit, "draining");
    let asked_again = tokio::select! {
        () = drain(control, plan.grace, plan.limit) => false,
        () = again(signals) => true,
    };
    if asked_again {
        tracing::warn!("asked again: open exchanges are cut");
        tokio::select! {
            () = cut(control) => {}
            () = signals.stop() => tracing::warn!("asked once more: what is open is left behind"),
        }
    } else {
        tracing::info!("drained");
    }
    control.supervisor.stop(TASKS_LIMIT).await;
    if let Some(access) = control.access()
        && !access.finish()
    {
        tracing::warn!("the last lines of the access log could not be written in time");
    }
}

/// Resolves when the process is asked to stop by another signal than the first.
async fn again(signals: &mut Signals) {
    let began = Instant::now();
    loop {
        signals.stop().await;
        if began.elapsed() >= SECOND_SIGNAL_WAIT {
            return;
        }
    }
}

/// Closes everything at once. What is cut is counted and logged like any other end.
async fn cut(control: &Control) {
    let Some(plane) = control.plane() else { return };
    let deadline = Instant::now() + CUT_LIMIT;
    while !plane.is_finished() && Instant::now() < deadline {
        plane.drain(Duration::ZERO, Duration::ZERO);
        tokio::time::sleep(LOOK_WAIT).await;
    }
}

async fn drain(control: &Control, grace: Duration, limit: Duration) {
    tokio::time::sleep(grace).await;
    let Some(plane) = control.plane() else { return };
    // Telling a shard twice changes nothing, so all are told again while one could not listen.
    while plane.drain(IDLE_LIMIT.min(limit), limit) > 0 && !plane.is_finished() {
        tokio::time::sleep(LOOK_WAIT).await;
    }
    let deadline = Instant::now() + limit + MARGIN;
    while !plane.is_finished() {
        if Instant::now() >= deadline {
            tracing::error!("a shard did not end in time; it is left behind");
            return;
        }
        tokio::time::sleep(LOOK_WAIT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DrainPlan, NodeAt};
    use crate::fetch::{Ask, fetch};
    use crate::publish;
    use erlmcp_dataplane::link::ListenerId;
    use erlmcp_dataplane::{AccessFeed, DataPlane, Setup};
    use erlmcp_ring::{DriverChoice, ShardConfig, SockAddr, probe};

    /// A control plane whose one shard listens at the address, with this plan for its end.
    fn serving(drain: DrainPlan) -> (Arc<Control>, SockAddr) {
        let (control, address, _) = serving_node(drain, "127.0.0.1:1".parse().unwrap());
        (control, address)
    }

    /// The same, before a node.
    fn serving_node(
        drain: DrainPlan,
        node: std::net::SocketAddr,
    ) -> (Arc<Control>, SockAddr, Vec<AccessFeed>) {
        let control = Control::for_tests();
        control.desired.send_modify(|desired| {
            let desired = Arc::make_mut(desired);
            desired.drain = drain;
            desired.groups[0].nodes[0].at = NodeAt::Inet(node);
            desired.groups[0].read_timeout = Duration::from_secs(60);
        });
        // No checks run here: the first round of them is taken as over.
        control.note_started(true);
        control.publisher.refresh(&control);
        let socket = super::super::sockets::bind(&"127.0.0.1:0".parse().unwrap(), 16, false).unwrap();
        let address = SockAddr::Inet(socket.local_addr().unwrap().as_socket().unwrap());
        let ring = ShardConfig::default();
        let mut plane = DataPlane::start(Setup {
            cpus: vec![None],
            chosen: probe::choose(DriverChoice::Auto, &ring).unwrap(),
            ring,
            listeners: vec![(ListenerId(0), socket.into())],
            snapshot: control.publisher.snapshot(),
        })
        .unwrap();
        let feeds = plane.take_access();
        control.set_plane(plane);
        let shared = Arc::clone(&control);
        control.supervisor.spawn("publish", move || publish::run(Arc::clone(&shared)));
        (control, address, feeds)
    }

    async fn ready(address: &SockAddr) -> Option<u16> {
        let ask = Ask { method: "GET", target: "/ready", host: "x", headers: "", body_bytes_max: 1024 };
        fetch(address, &ask).await.ok().map(|reply| reply.status)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn not_ready_comes_before_the_end_of_accepting() {
        let plan = DrainPlan { grace: Duration::from_secs(30), limit: Duration::from_millis(200) };
        let (control, address) = serving(plan);
        assert_eq!(ready(&address).await, Some(200));
        let mut signals = Signals::new().unwrap();
        let ending = Arc::clone(&control);
        let end = tokio::spawn(async move { finish(&ending, &mut signals).await });
        let deadline = Instant::now() + Duration::from_secs(10);
        // Within the grace the gateway still answers, and says no.
        while ready(&address).await != Some(503) {
            assert!(Instant::now() < deadline && !end.is_finished());
            tokio::time::sleep(LOOK_WAIT).await;
        }
        end.abort();
        let _ = end.await;
        drain(&control, Duration::ZERO, plan.limit).await;
        assert!(control.plane().unwrap().is_finished());
        assert_eq!(ready(&address).await, None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_drain_ends_idle_connections_and_the_shards_and_the_tasks() {
        let (control, address) = serving(DrainPlan { grace: Duration::ZERO, limit: Duration::from_secs(30) });
        let mut idle = crate::fetch::connect(&address).await.unwrap();
        let mut signals = Signals::new().unwrap();
        let began = Instant::now();
        finish(&control, &mut signals).await;
        assert!(control.plane().unwrap().is_finished());
        assert!(began.elapsed() < Duration::from_secs(20), "idle connections do not use the limit up");
        let mut byte = [0];
        assert!(matches!(tokio::io::AsyncReadExt::read(&mut idle, &mut byte).await, Ok(0) | Err(_)));
        assert!(control.supervisor.stopping().is_cancelled());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_second_signal_cuts_is_logged() {
        use crate::access_log::{AccessLog, Settings, open};
        use erlmcp_config::model::runtime::LogField;
        use tokio::io::AsyncWriteExt as _;

        // A node that takes the request and says nothing.
        let node = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = node.local_addr().unwrap();
        let (control, address, feeds) =
            serving_node(DrainPlan { grace: Duration::ZERO, limit: Duration::from_secs(60) }, at);
        let path = std::env::temp_dir().join(format!("erlmcp-cut-{}", std::process::id()));
        let settings = Settings { path: Some(path.clone()), fields: vec![LogField::Path, LogField::Reason] };
        let output = open(&settings).unwrap();
        control.set_access(AccessLog::start(Arc::clone(&control), feeds, settings, output).unwrap());
        let mut client = crate::fetch::connect(&address).await.unwrap();
        client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (_asked, _) =
            tokio::time::timeout(Duration::from_secs(10), node.accept()).await.unwrap().unwrap();
        control.begin_drain();
        let draining = Arc::clone(&control);
        let drain =
            tokio::spawn(async move { drain(&draining, Duration::ZERO, Duration::from_secs(60)).await });
        let deadline = Instant::now() + Duration::from_secs(10);
        while control.plane().unwrap().pages()[0].draining.get() == 0 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(LOOK_WAIT).await;
        }
        drain.abort();
        let began = Instant::now();
        cut(&control).await;
        assert!(control.plane().unwrap().is_finished() && began.elapsed() < Duration::from_secs(30));
        control.supervisor.stop(TASKS_LIMIT).await;
        assert!(control.access().unwrap().finish());
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log, "{\"path\":\"/slow\",\"reason\":\"drain_cut\"}\n");
        std::fs::remove_file(&path).unwrap();
    }
}
