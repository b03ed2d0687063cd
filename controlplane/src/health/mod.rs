//! Active health checks: one loop per endpoint, each on its own connection, never counted as traffic.
//!
//! Owns the loops; what they find stands in [`HealthTable`]. Never takes a node out by itself: the publisher does,
//! from the table.
//!
//! Rule: a node that was never checked is fit, and its first check decides at once, either way; from then on the
//! thresholds count, except that a node that was never up comes up with its first good check.

mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use erlmcp_ring::SockAddr;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::control::Control;
use crate::desired::{CheckKind, CheckPlan};
use crate::endpoints::{self, EndpointKey};
use crate::fetch::{self, Ask};
use crate::jitter;

pub use state::{HealthTable, NodeHealth, Status};

/// Checks under way at a time, so that a thousand nodes are not asked in the same instant.
const CHECKS_MAX: usize = 256;
/// Of a check's reply; read so that its connection ends cleanly, then forgotten.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A loop and what it was made from.
struct Loop {
    plan: CheckPlan,
    abort: AbortHandle,
}

/// Checks for as long as it runs.
pub async fn run(control: Arc<Control>) {
    let mut desired = control.desired.subscribe();
    let mut addresses = control.addresses.subscribe();
    let permits = Arc::new(Semaphore::new(CHECKS_MAX));
    let mut loops: BTreeMap<EndpointKey, Loop> = BTreeMap::new();
    let mut running = JoinSet::new();
    loop {
        let (plan, known) = (desired.borrow_and_update().clone(), addresses.borrow_and_update().clone());
        let mut wanted = BTreeMap::new();
        for (group, node, key) in endpoints::all(&plan, &known) {
            let kept = loops.remove(&key).filter(|one| one.plan == group.check);
            let entry = kept.unwrap_or_else(|| {
                let check =
                    Check { plan: group.check.clone(), host: node.at.host_header(), key: key.clone() };
                let abort = running.spawn(check.run_forever(Arc::clone(&control), Arc::clone(&permits)));
                Loop { plan: group.check.clone(), abort }
            });
            // The same node twice in a group is refused by the configuration; the first one counts here.
            if let Some(double) = wanted.insert(key, entry) {
                double.abort.abort();
            }
        }
        for gone in loops.into_values() {
            gone.abort.abort();
        }
        loops = wanted;
        control.health.keep(|key| loops.contains_key(key));
        control.dirty.notify_one();
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { return },
            changed = addresses.changed() => if changed.is_err() { return },
            Some(ended) = running.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

/// Everything that one loop needs.
struct Check {
    plan: CheckPlan,
    host: String,
    key: EndpointKey,
}

impl Check {
    async fn run_forever(self, control: Arc<Control>, permits: Arc<Semaphore>) {
        loop {
            let began = Instant::now();
            let outcome = {
                // Closed never; without a permit the check would only be early.
                let _permit = permits.acquire().await;
                self.once().await
            };
            if let Err(error) = &outcome {
                tracing::debug!(node = self.key.node, address = %self.key.address, error, "health check failed");
            }
            let took = began.elapsed();
            let change = control.health.record(&self.key, &self.plan, outcome, took);
            if let Some((status, error)) = change {
                self.report(status, error);
                control.dirty.notify_one();
            }
            let next = began + jitter::around(self.plan.interval);
            tokio::time::sleep_until(next.max(Instant::now() + MIN_PAUSE).into()).await;
        }
    }

    fn report(&self, status: Status, error: Option<String>) {
        let (group, node, address) = (&self.key.group, &self.key.node, &self.key.address);
        match status {
            Status::Up => tracing::info!(group, node, %address, "node is up"),
            Status::Down | Status::Unknown => {
                let error = error.unwrap_or_default();
                tracing::warn!(group, node, %address, error, "node is down");
            }
        }
    }

    /// One check, within the plan's timeout.
    async fn once(&self) -> Result<(), String> {
        match tokio::time::timeout(self.plan.timeout, self.ask(&self.key.address)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {:?}", self.plan.timeout)),
        }
    }

    async fn ask(&self, address: &SockAddr) -> Result<(), String> {
        match &self.plan.kind {
            CheckKind::Connect => fetch::connect(address).await.map(drop).map_err(|error| error.to_string()),
            CheckKind::Http { path, expected_status } => {
                let ask = Ask {
                    method: "GET",
                    target: path,
                    host: &self.host,
                    headers: "",
                    body_bytes_max: BODY_BYTES_MAX,
                };
                let reply = fetch::fetch(address, &ask).await.map_err(|error| error.to_string())?;
                if reply.status == *expected_status {
                    Ok(())
                } else {
                    Err(format!("GET {path} answered {}, not {expected_status}", reply.status))
                }
            }
        }
    }
}

/// Between two checks, however short the interval.
const MIN_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn server(reply: &'static [u8]) -> SockAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = SockAddr::Inet(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(reply).await;
            }
        });
        address
    }

    async fn check(address: SockAddr, kind: CheckKind) -> Result<(), String> {
        let plan = CheckPlan {
            kind,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(300),
            healthy_threshold: 1,
            unhealthy_threshold: 1,
        };
        let key = EndpointKey { group: "g".into(), node: "n".into(), address };
        Check { plan, host: "n".into(), key }.once().await
    }

    fn http() -> CheckKind {
        CheckKind::Http { path: "/health".into(), expected_status: 200 }
    }

    #[tokio::test]
    async fn the_status_decides() {
        let good = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(check(good.clone(), http()).await, Ok(()));
        assert_eq!(check(good, CheckKind::Connect).await, Ok(()));
        let bad = server(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(check(bad, http()).await, Err("GET /health answered 503, not 200".into()));
    }

    #[tokio::test]
    async fn silence_and_refusal_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = SockAddr::Inet(listener.local_addr().unwrap());
        assert_eq!(check(silent.clone(), http()).await, Err("no answer within 300ms".into()));
        assert_eq!(check(silent.clone(), CheckKind::Connect).await, Ok(()));
        drop(listener);
        assert!(check(silent, CheckKind::Connect).await.unwrap_err().starts_with("connect: "));
        assert!(check(SockAddr::Unix("/nonexistent/x".into()), CheckKind::Connect).await.is_err());
    }

    #[tokio::test]
    async fn checks_come_at_their_interval_and_ask_for_their_path() {
        let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = SockAddr::Inet(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let line =
                    String::from_utf8_lossy(&head[..read]).lines().next().unwrap_or_default().to_owned();
                let _ = asked.send(line);
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        });
        let control = Control::for_tests();
        let kind = |path: &str| CheckKind::Http { path: path.into(), expected_status: 204 };
        let check = |kind, interval| {
            let timeout = Duration::from_secs(5);
            let plan = CheckPlan { kind, interval, timeout, healthy_threshold: 1, unhealthy_threshold: 1 };
            let key = EndpointKey { group: "g".into(), node: "n".into(), address: address.clone() };
            let permits = Arc::new(Semaphore::new(2));
            tokio::spawn(Check { plan, host: "n".into(), key }.run_forever(Arc::clone(&control), permits))
        };
        let (often, seldom) = (
            check(kind("/often"), Duration::from_millis(20)),
            check(kind("/seldom"), Duration::from_secs(3600)),
        );
        let mut lines = Vec::new();
        while lines.iter().filter(|line| *line == "GET /often HTTP/1.1").count() < 5 {
            let next = tokio::time::timeout(Duration::from_secs(10), questions.recv()).await;
            lines.push(next.expect("checks go on").unwrap());
        }
        assert!(lines.iter().filter(|line| *line == "GET /seldom HTTP/1.1").count() <= 1, "{lines:?}");
        often.abort();
        seldom.abort();
    }

    /// Polls until the one endpoint of what is published is as wanted.
    async fn until_healthy_is(control: &Control, wanted: bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            control.publisher.refresh(control);
            let snapshot = control.publisher.snapshot();
            let endpoint = snapshot.groups[0].endpoints.first().cloned();
            if snapshot.started && endpoint.is_some_and(|endpoint| endpoint.healthy == wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "healthy={wanted} was not published in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_node_that_dies_and_comes_back_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = Control::for_tests();
        control.desired.send_modify(|desired| {
            let group = &mut Arc::make_mut(desired).groups[0];
            group.nodes[0].at = crate::desired::NodeAt::Inet(address);
            group.check.interval = Duration::from_millis(20);
            (group.check.healthy_threshold, group.check.unhealthy_threshold) = (2, 2);
        });
        let shared = Arc::clone(&control);
        control.supervisor.spawn("health", move || run(Arc::clone(&shared)));
        until_healthy_is(&control, true).await;
        drop(listener);
        until_healthy_is(&control, false).await;
        let _again = TcpListener::bind(address).await.unwrap();
        until_healthy_is(&control, true).await;
        // A node that leaves the wishes is forgotten, and its loop with it.
        control.desired.send_modify(|desired| Arc::make_mut(desired).groups[0].nodes.clear());
        let key = EndpointKey { group: "g".into(), node: "n".into(), address: SockAddr::Inet(address) };
        let deadline = Instant::now() + Duration::from_secs(10);
        while control.health.status(&key) != Status::Unknown {
            assert!(Instant::now() < deadline, "the node was not forgotten in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        control.supervisor.stop(Duration::from_secs(5)).await;
    }
}
