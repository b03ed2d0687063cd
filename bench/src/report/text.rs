//! The report on a terminal: the certificate first, then what it allows to be said.

use std::fmt::Write as _;

use super::human;
use super::model::{ArrivalsReport, Report, RequestReport, StreamReport, Workload};
use super::quantiles::{Latency, Quantile, Quantiles};
use crate::certificate::Check;
use crate::stats::Support;

/// Width at which reasons are wrapped.
const WIDTH: usize = 110;
/// Width of the first column.
const LABEL: usize = 13;

/// What the mark of a rough figure means.
pub(super) const ROUGH: &str =
    "~ rough: the count beyond it is known to worse than 10 % (a burst counts as one)";

/// The report in lines.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    certificate(&mut out, report);
    line(&mut out, "Target", &target(report));
    line(&mut out, "Load", &load(&report.workload));
    line(&mut out, "Measured", &human::nanoseconds(report.measured_seconds * 1e9));
    line(&mut out, "Rate", &rates(report));
    line(&mut out, "Replies", &replies(report));
    line(&mut out, "Bytes", &bytes(report));
    match &report.latency {
        Some(latency) => latencies(&mut out, report, latency),
        None => out.push_str(
            "\nNo percentile is printed: the certificate is INVALID, so they would not be the server's.\n",
        ),
    }
    requests(&mut out, &report.requests, report.is_open());
    streams(&mut out, report.streams.as_ref());
    if let Some(connect) = &report.connect {
        let _ = writeln!(out, "\n{:LABEL$}{}", "Connect", row(connect));
    }
    generator(&mut out, report);
    out
}

// Writing to a String cannot fail, so that `writeln!`'s result is dropped throughout.

fn line(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "{label:LABEL$}{text}");
}

fn certificate(out: &mut String, report: &Report) {
    let certificate = &report.certificate;
    let judged = certificate.checks.iter().filter(|check| check.verdict.is_some()).count();
    let others = certificate.checks.len() - judged;
    line(
        out,
        "Certificate",
        &format!("{} ({judged} checks, {others} not applicable)", certificate.verdict.name()),
    );
    for check in certificate.failed() {
        failed(out, check);
    }
    if let Some(why) = &report.partial {
        line(out, "PARTIAL", &format!("the run ended early: {why}"));
    }
    out.push('\n');
}

fn failed(out: &mut String, check: &Check) {
    let verdict = check.verdict.map_or("", |verdict| verdict.name());
    let _ = writeln!(out, "  {verdict:10} {}: {}, wanted {}", check.name, check.measured, check.limit);
    for part in wrap(check.reason.as_deref().unwrap_or_default(), WIDTH - LABEL) {
        let _ = writeln!(out, "{:LABEL$}{part}", "");
    }
}

/// Breaks a text at spaces.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn target(report: &Report) -> String {
    format!("{} ({})", report.target.url, report.target.addresses.join(", "))
}

/// The workload in one line.
pub(super) fn load(workload: &Workload) -> String {
    let mut parts = vec![
        workload.protocol.clone(),
        arrivals(&workload.arrivals),
        plural(workload.connections.into(), "connection"),
        plural(workload.threads.into(), "thread"),
    ];
    if !workload.cpus.is_empty() {
        let cpus: Vec<String> = workload.cpus.iter().map(ToString::to_string).collect();
        parts.push(format!("on processor{} {}", if cpus.len() == 1 { "" } else { "s" }, cpus.join(",")));
    }
    if !workload.think.is_empty() {
        parts.push(format!("think time {}", workload.think));
    }
    parts.push(workload.driver.clone());
    parts.push(format!("seed {}", workload.seed));
    parts.join(", ")
}

/// A count with its noun.
pub(super) fn plural(count: u64, what: &str) -> String {
    format!("{} {what}{}", human::count(count), if count == 1 { "" } else { "s" })
}

fn arrivals(arrivals: &ArrivalsReport) -> String {
    match arrivals {
        ArrivalsReport::Closed => "closed loop".to_owned(),
        ArrivalsReport::Constant { rate_per_second } => format!("constant {}", human::rate(*rate_per_second)),
        ArrivalsReport::Poisson { rate_per_second } => format!("Poisson {}", human::rate(*rate_per_second)),
        ArrivalsReport::Ramp { from_per_second, to_per_second } => {
            format!("ramp {} to {}", human::rate(*from_per_second), human::rate(*to_per_second))
        }
        ArrivalsReport::Steps { steps } => {
            let rates: Vec<String> = steps.iter().map(|step| human::rate(step.rate_per_second)).collect();
            format!("steps {}", rates.join(", "))
        }
        ArrivalsReport::Replay { arrivals } => {
            format!("replay of {} arrivals", human::count(u64::try_from(*arrivals).unwrap_or(u64::MAX)))
        }
    }
}

fn rates(report: &Report) -> String {
    let rates = &report.rates;
    let asked =
        rates.asked_per_second.map(|asked| format!("asked {}, ", human::rate(asked))).unwrap_or_default();
    format!(
        "{asked}sent {}, good replies {}, errors {}",
        human::rate(rates.sent_per_second),
        human::rate(rates.completed_per_second),
        human::rate(rates.errors_per_second)
    )
}

fn replies(report: &Report) -> String {
    let counts = &report.counts;
    let kinds: Vec<String> = counts
        .errors
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(kind, count)| format!("{kind} {}", human::count(*count)))
        .collect();
    let failed = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    format!("{} good, {} failed{failed}", human::count(counts.completed), human::count(counts.errors_total))
}

fn bytes(report: &Report) -> String {
    format!(
        "in {}/s, out {}/s; {} made",
        human::bytes(report.rates.bytes_in_per_second),
        human::bytes(report.rates.bytes_out_per_second),
        plural(report.counts.connects, "connection")
    )
}

fn latencies(out: &mut String, report: &Report, latency: &Latency) {
    let open = report.is_open();
    if open {
        let _ = writeln!(
            out,
            "\n{:LABEL$}{:11}{:25}{:11}95 % interval",
            "", "response", "95 % interval", "service"
        );
    } else {
        let _ = writeln!(out, "\n{:LABEL$}{:11}95 % interval", "", "service");
    }
    for ((p, response), (_, service)) in latency.response.rows().into_iter().zip(latency.service.rows()) {
        let name = human::percentile(p);
        let cells = if open { format!("{:36}{}", cell(response), cell(service)) } else { cell(service) };
        let _ = writeln!(out, "{name:LABEL$}{}", cells.trim_end());
    }
    for (name, of) in [("max", max as fn(&Quantiles) -> String), ("mean", mean)] {
        let cells = if open {
            format!("{:36}{}", of(&latency.response), of(&latency.service))
        } else {
            of(&latency.service)
        };
        let _ = writeln!(out, "{name:LABEL$}{cells}");
    }
    notes(out, latency, open);
}

fn max(of: &Quantiles) -> String {
    of.max_ms.map_or_else(|| "–".to_owned(), human::milliseconds)
}

fn mean(of: &Quantiles) -> String {
    of.mean_ms.map_or_else(|| "–".to_owned(), human::milliseconds)
}

fn notes(out: &mut String, latency: &Latency, open: bool) {
    let rows = latency.response.rows().into_iter().chain(latency.service.rows());
    if rows.into_iter().any(|(_, quantile)| quantile.support == Support::Rough) {
        line(out, "", ROUGH);
    }
    let note = if open {
        "response: from the intended start; service: from the send"
    } else {
        "closed loop: while the server stalls nothing is sent, so stalls are under-represented (coordinated omission)"
    };
    line(out, "", note);
}

/// A quantile with its interval.
fn cell(quantile: Quantile) -> String {
    match (quantile.low_ms, quantile.high_ms) {
        (Some(low), Some(high)) => {
            let interval = format!("{} – {}", human::milliseconds(low), human::milliseconds(high));
            format!("{:11}{interval:24}", figure(quantile))
        }
        (_, _) if quantile.ms.is_some() => format!("{:11}{:24}", figure(quantile), "none: bursts"),
        _ => figure(quantile),
    }
}

/// A quantile's value, marked when it is rough.
pub(super) fn figure(quantile: Quantile) -> String {
    match quantile.ms {
        Some(ms) if quantile.support == Support::Rough => format!("~{}", human::milliseconds(ms)),
        Some(ms) => human::milliseconds(ms),
        None => "insufficient samples".to_owned(),
    }
}

/// Quantiles in one line.
fn row(of: &Quantiles) -> String {
    let told: Vec<String> = of
        .rows()
        .into_iter()
        .filter(|(_, quantile)| quantile.ms.is_some())
        .map(|(p, quantile)| format!("{} {}", human::percentile(p), figure(quantile)))
        .collect();
    let told = if told.is_empty() { "insufficient samples".to_owned() } else { told.join(", ") };
    format!("{told}, max {} ({})", max(of), human::count(of.samples))
}

fn requests(out: &mut String, requests: &[RequestReport], open: bool) {
    if requests.len() < 2 {
        return;
    }
    let width = requests.iter().map(|request| request.name.chars().count()).max().unwrap_or(0).clamp(7, 40);
    let kind = if open { "response" } else { "service" };
    let _ = writeln!(out, "\n{:width$}  {:>12}  {:>8}  {kind}", "Request", "replies", "errors");
    for request in requests {
        let errors: u64 = request.errors.values().sum();
        let told = request.latency.map_or_else(
            || "withheld".to_owned(),
            |latency| row(if open { &latency.response } else { &latency.service }),
        );
        let _ = writeln!(
            out,
            "{:width$}  {:>12}  {:>8}  {told}",
            request.name,
            human::count(request.completed),
            human::count(errors)
        );
    }
}

fn streams(out: &mut String, streams: Option<&StreamReport>) {
    let Some(streams) = streams else { return };
    out.push('\n');
    let text = format!(
        "{} begun, {}, {}",
        human::count(streams.streams),
        plural(streams.events, "event"),
        plural(streams.stalls, "stall")
    );
    line(out, "Streams", &text);
    for (label, of) in [("  first event", &streams.first_event), ("  gap", &streams.gap)] {
        if let Some(of) = of {
            let _ = writeln!(out, "{label:LABEL$} {}", row(of));
        }
    }
}

fn generator(out: &mut String, report: &Report) {
    let generator = &report.generator;
    let busy = generator.threads.iter().map(|thread| thread.busy_share).fold(0.0, f64::max);
    let _ = writeln!(
        out,
        "\n{:LABEL$}busiest thread {} busy, {:.2} µs of CPU a request, {:.1} in flight on average",
        "Generator",
        human::share(busy),
        generator.cpu_us_per_request,
        generator.in_flight_mean
    );
    if let Some(lag) = &report.lag {
        let waited = human::count(generator.waited);
        let _ = writeln!(out, "{:LABEL$}schedule lag {}; {waited} waited for a connection", "", row(lag));
    }
}
