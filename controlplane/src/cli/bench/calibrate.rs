//! `erlmcp bench calibrate`: floor and ceiling of the generator on this machine.
//!
//! Owns flags and printing. What is measured and how is [`erlmcp_bench::calibrate`]'s.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use erlmcp_bench::calibrate::{self, Settings};
use erlmcp_config::model::scenario::Rate;
use erlmcp_ring::DriverChoice;

use super::args::{parse_rate, parse_time, parse_time_or_zero};
use crate::cli::interrupt::stop_on_signals;
use crate::cli::progress::Progress;
use crate::cli::{Outcome, print};

/// Flags of `bench calibrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "No server can be measured faster than the ceiling, nor with latency below the floor, from this machine.\n\n\
Examples:\n  erlmcp bench calibrate\n  erlmcp bench calibrate --rates 1k,5k,20k --duration 10s --json"
)]
pub(in crate::cli) struct CalibrateArgs {
    /// Rates at which the generator's own lag is measured [default: 1k,5k,10k,20k,50k].
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', value_parser = parse_rate)]
    rates: Vec<Rate>,
    /// Measured time of each run [default: 3s].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    duration: Option<Duration>,
    /// Load before it [default: 500ms].
    #[arg(long, value_name = "TIME", value_parser = parse_time_or_zero)]
    warmup: Option<Duration>,
    /// Connections of the closed loop and of the fixed rates [default: 64].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: Option<u32>,
    /// How both sides talk to the kernel.
    #[arg(long, value_name = "DRIVER", value_parser = str::parse::<DriverChoice>, default_value = "auto")]
    driver: DriverChoice,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    json: bool,
}

impl CalibrateArgs {
    fn settings(&self) -> Settings {
        let usual = Settings::default();
        let rates = self.rates.iter().map(|rate| rate.0).collect();
        Settings {
            driver: self.driver,
            duration: self.duration.unwrap_or(usual.duration),
            warmup: self.warmup.unwrap_or(usual.warmup),
            connections: self.connections.unwrap_or(usual.connections),
            rates: if self.rates.is_empty() { usual.rates } else { rates },
            ..usual
        }
    }
}

pub(super) fn run(args: &CalibrateArgs) -> Outcome {
    let settings = args.settings();
    let stop = stop_on_signals()?;
    let mut progress = Progress::start();
    // Timer, floor, ceiling, and each rate.
    let total = 3.0 + settings.rates.len() as f64;
    let mut begun = 0.0;
    let mut tell = |what: &str| {
        progress.at(begun / total, || what.to_owned());
        begun += 1.0;
    };
    let calibration = calibrate::run(&settings, &mut tell, &stop);
    drop(progress);
    let calibration = calibration.context("calibrate the generator")?;
    if args.json {
        print(&serde_json::to_string_pretty(&calibration).context("write the calibration as JSON")?)?;
    } else {
        print(&calibration.text())?;
    }
    Ok(calibration.cut.is_none())
}
