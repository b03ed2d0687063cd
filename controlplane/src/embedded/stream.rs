//! Tools whose answers take time: progress and log messages on the way to a result.
//!
//! Every wait is bounded and ends when the request is cancelled.

#![expect(deprecated, reason = "logging is deprecated in 2026-07-28, but both eras still have it")]

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolResult, LoggingLevel, ProgressNotificationParam},
    service::RequestContext,
};

use super::{content, server::Node};

/// Between two messages of the conformance tools: long enough that a buffering proxy would show.
const STEP_WAIT: Duration = Duration::from_millis(50);
/// Bounds of `count`.
pub(super) const COUNT_STEPS_MAX: u64 = 1000;
/// See [`COUNT_STEPS_MAX`].
pub(super) const COUNT_WAIT_MS_MAX: u64 = 10_000;

/// Three log messages at level info, then a result.
pub(super) async fn with_logging(
    node: &Node,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    node.log(context, LoggingLevel::Info, "Tool execution started").await;
    wait(context, STEP_WAIT).await?;
    node.log(context, LoggingLevel::Info, "Tool processing data").await;
    wait(context, STEP_WAIT).await?;
    node.log(context, LoggingLevel::Info, "Tool execution completed").await;
    Ok(content::text("Tool with logging executed successfully"))
}

/// Progress 0, 50 and 100 of 100, then a result.
pub(super) async fn with_progress(context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    for (step, progress) in [0.0, 50.0, 100.0].into_iter().enumerate() {
        if step > 0 {
            wait(context, STEP_WAIT).await?;
        }
        progress_to(context, progress, 100.0).await;
    }
    Ok(content::text("Tool with progress executed successfully"))
}

/// Progress 1 to `steps`, each after `wait_ms` milliseconds, then a result.
pub(super) async fn count(
    context: &RequestContext<RoleServer>,
    steps: u64,
    wait_ms: u64,
) -> Result<CallToolResult, ErrorData> {
    let steps = steps.min(COUNT_STEPS_MAX);
    let step_wait = Duration::from_millis(wait_ms.min(COUNT_WAIT_MS_MAX));
    for step in 1..=steps {
        wait(context, step_wait).await?;
        progress_to(context, step as f64, steps as f64).await;
    }
    Ok(content::text(format!("Counted to {steps}")))
}

/// Tells the client how far the call is, if it asked to be told.
async fn progress_to(context: &RequestContext<RoleServer>, progress: f64, total: f64) {
    let Some(token) = context.meta.get_progress_token() else { return };
    let notification = ProgressNotificationParam::new(token, progress).with_total(total);
    if let Err(error) = context.peer.notify_progress(notification).await {
        tracing::debug!(%error, "client went away before a progress notification");
    }
}

async fn wait(context: &RequestContext<RoleServer>, wait: Duration) -> Result<(), ErrorData> {
    tokio::select! {
        () = context.ct.cancelled() => Err(ErrorData::internal_error("the call was cancelled", None)),
        () = tokio::time::sleep(wait) => Ok(()),
    }
}
