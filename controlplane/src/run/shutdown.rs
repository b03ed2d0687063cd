//! The end: not ready, grace, drain, cut; a second signal cuts at once.

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
    tokio::select! {
        () = drain(control, plan.grace, plan.limit) => tracing::info!("drained"),
        () = signals.stop() => tracing::warn!("asked again: open exchanges are cut"),
    }
    control.supervisor.stop(TASKS_LIMIT).await;
    if let Some(access) = control.access()
        && !access.finish()
    {
        tracing::warn!("the last lines of the access log could not be written in time");
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
