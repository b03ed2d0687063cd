//! What a long command shows while it works: a bar on a terminal, a plain line every few seconds elsewhere. On standard
//! error, so that standard output holds the report alone.
//!
//! Owns the drawing and its pace. Never decides what is told.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal: a log of an hour stays readable.
const LINE_WAIT: Duration = Duration::from_secs(5);
/// The bar's steps.
const STEPS: u64 = 1000;

/// The progress of one command.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    /// A bar where standard error is a terminal, else lines.
    pub(super) fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            // A template that indicatif refuses would leave its plain bar.
            let style = ProgressStyle::with_template("{elapsed:>4} {bar:30} {msg}");
            let bar = ProgressBar::new(STEPS);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, told: Instant::now() }
    }

    /// So far, 0..=1, and what there is to say about it. May be called as often as one likes.
    pub(super) fn at(&mut self, share: f64, text: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                bar.set_position((share.clamp(0.0, 1.0) * STEPS as f64) as u64);
                bar.set_message(text());
            }
            None if self.told.elapsed() >= LINE_WAIT => {
                self.told = Instant::now();
                eprintln!("{:3.0} %  {}", share.clamp(0.0, 1.0) * 100.0, text());
            }
            None => {}
        }
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
