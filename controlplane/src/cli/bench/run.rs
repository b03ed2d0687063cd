//! `erlmcp bench run`: from the flags to the report.
//!
//! Owns the live display, the files that grow while the run goes on, and the exit code.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use erlmcp_bench::load::{self, Interval, Observer, Phase};
use erlmcp_bench::report::{Collector, Files, Host, Report, human, json, text};

use super::args::RunArgs;
use super::resolve::resolve;
use super::spec::{Refusal, Wanted};
use crate::cli::interrupt::stop_on_signals;
use crate::cli::progress::Progress;
use crate::cli::{Cli, Outcome, print};

pub(super) fn run(args: &RunArgs) -> Outcome {
    let wanted = Wanted::new(&args.load, &args.pace).map_err(bad)?;
    let resolved = resolve(&wanted.url)?;
    for note in &wanted.notes {
        eprintln!("erlmcp: {note}");
    }
    for note in &resolved.notes {
        eprintln!("erlmcp: left out {note}");
    }
    let spec = wanted.spec(&args.load, &resolved);
    let files = args.out.as_deref().map(Files::create).transpose()?;
    let stop = stop_on_signals()?;
    let mut watch = Watch { progress: Progress::start(), collector: Collector::new(), files, broken: None };
    let outcome = load::run(&spec, &mut watch, &stop);
    let Watch { progress, collector, files, broken } = watch;
    drop(progress);
    let outcome = outcome?;
    let report = Report::of(&outcome, Some(&collector), Host::read());
    if args.json {
        print(&json::render(&report).context("write the report as JSON")?)?;
    } else {
        print(&text::render(&report))?;
    }
    // The report is out before anything about files can fail.
    if let Some(files) = files {
        told(&files.finish(&report, &outcome, SystemTime::now())?);
    }
    broken.map_or(Ok(report.certificate.is_trusted() && report.partial.is_none()), |error| Err(error.into()))
}

/// Flags that do not go together end as clap's own refusals do, with exit code 2.
pub(in crate::cli) fn bad(refusal: Refusal) -> anyhow::Error {
    match refusal {
        Refusal::Bad(error) => error,
        Refusal::Usage(text) => Cli::command().error(ErrorKind::ArgumentConflict, text).exit(),
    }
}

fn told(paths: &[PathBuf]) {
    let list: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    eprintln!("erlmcp: written {}", list.join(", "));
}

/// What listens while a run goes on.
struct Watch {
    progress: Progress,
    collector: Collector,
    files: Option<Files>,
    /// Why a file could not be written; the run goes on, since its figures are printed in any case.
    broken: Option<std::io::Error>,
}

impl Observer for Watch {
    fn interval(&mut self, interval: &Interval) {
        self.collector.interval(interval);
        if let Some(files) = &mut self.files
            && self.broken.is_none()
            && let Err(error) = files.interval(interval, SystemTime::now())
        {
            self.progress.line(&format!("erlmcp: {error}; the run goes on"));
            self.broken = Some(error);
        }
    }

    fn progress(&mut self, progress: &load::Progress) {
        let share = progress.elapsed.as_secs_f64() / progress.length.as_secs_f64().max(f64::EPSILON);
        self.progress.at(share, || live(progress));
    }
}

fn live(progress: &load::Progress) -> String {
    let load::Progress { open, sent, completed, errors, rate, backlog, .. } = progress;
    let phase = match progress.phase {
        Phase::Connecting => return format!("connecting: {open} connections open, {errors} errors"),
        Phase::WarmingUp => "warming up",
        Phase::Measuring => "measuring",
    };
    let p99 = progress
        .p99
        .map_or_else(String::new, |p99| format!(", p99 {}", human::nanoseconds(p99.as_nanos() as f64)));
    let waiting =
        if *backlog > 0 { format!(", {} due and waiting", human::count(*backlog)) } else { String::new() };
    format!(
        "{phase}: {}, {} sent, {} replies, {} errors{p99}{waiting}",
        human::rate(*rate),
        human::count(*sent),
        human::count(*completed),
        human::count(*errors),
    )
}
