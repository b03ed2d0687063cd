//! Metrics: pages, ring counters and the control plane's own counts as Prometheus text.
//!
//! Owns the text and the rate that the status page shows. Never writes to a page; a scrape costs the shards nothing
//! but cache lines read.

mod families;
mod histogram;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::control::Control;

pub use histogram::Durations;

/// Between two readings for the rate.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Rates over the last reading.
#[derive(Debug, Default)]
pub struct Rates(AtomicU64);

impl Rates {
    /// Requests per second.
    pub fn per_second(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Everything, in the text format of version 0.0.4.
pub fn render(control: &Control) -> String {
    let mut out = text::Text::default();
    families::all(control, &mut out);
    out.finish()
}

/// Takes readings for as long as it runs.
pub async fn run(control: Arc<Control>) {
    let requests =
        || control.plane().map_or(0, |plane| plane.pages().iter().map(|page| page.requests.get()).sum());
    let (mut before, mut at) = (requests(), Instant::now());
    loop {
        tokio::time::sleep(SAMPLE_INTERVAL).await;
        let (now, elapsed) = (requests(), at.elapsed());
        let rate = now.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
        control.rates.0.store(((rate * 10.0).round() / 10.0).to_bits(), Ordering::Relaxed);
        (before, at) = (now, Instant::now());
    }
}
