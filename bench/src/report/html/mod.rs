//! One self-contained page: certificate, figures, plots with a table beside each. No script, no external resource; light and
//! dark by the reader's preference. A policy in the page forbids it to load anything.

mod heat;
pub(crate) mod plot;

use std::fmt::Write as _;

use self::plot::{Axis, Plot};
use super::model::{ArrivalsReport, Report, SeriesPoint};
use super::quantiles::{Latency, Quantile, Quantiles};
use super::{human, text};

/// Rows of a table of intervals; neighbours are put together beyond it.
const SERIES_ROWS_MAX: usize = 60;
/// Rows of the table of rates.
const RATE_ROWS_MAX: usize = 20;

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::with_capacity(64 * 1024);
    head(&mut out, report);
    certificate(&mut out, report);
    facts(&mut out, report);
    if let Some(latency) = &report.latency {
        section(&mut out, "Percentiles", &percentiles(report, latency));
        per_request(&mut out, report);
    }
    streams(&mut out, report);
    if !report.series.is_empty() {
        section(&mut out, "Over time", &over_time(report));
    }
    if let Some(heat) = heat::section(&report.heat) {
        section(&mut out, "Heat map", &heat);
    }
    if let Some(plot) = rate_against_latency(report) {
        section(&mut out, "Rate against latency", &plot);
    }
    checks(&mut out, report);
    machine(&mut out, report);
    out.push_str("</main></body></html>\n");
    out
}

/// Text that may stand in the page and in its attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not allowed in HTML, whatever their escape.
            other if other.is_control() && !other.is_whitespace() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A table of texts; the first of each row is its header. Without a head it lists facts.
pub(crate) fn table(caption: &str, head: &[String], rows: &[Vec<String>]) -> String {
    let mut out = format!(r#"<div class="scroll"><table><caption>{}</caption>"#, escape(caption));
    if !head.is_empty() {
        out.push_str("<thead><tr>");
        for cell in head {
            let _ = write!(out, r#"<th scope="col">{}</th>"#, escape(cell));
        }
        out.push_str("</tr></thead>");
    }
    out.push_str("<tbody>");
    // Without a head it is a list of facts, which read from the left.
    let class = if head.is_empty() { r#" class="text""# } else { "" };
    for row in rows {
        out.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = if at == 0 {
                write!(out, r#"<th scope="row">{cell}</th>"#)
            } else {
                write!(out, "<td{class}>{cell}</td>")
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

pub(crate) fn texts<const N: usize>(of: [&str; N]) -> Vec<String> {
    of.map(str::to_owned).to_vec()
}

pub(crate) fn section(out: &mut String, title: &str, content: &str) {
    let _ = write!(out, "<section><h2>{}</h2>{content}</section>", escape(title));
}

fn head(out: &mut String, report: &Report) {
    let verdict = report.certificate.verdict.name();
    let url = &report.target.url;
    page_head(out, &format!("{verdict}: {url}"), &format!("Load on {url}"));
}

/// What every page begins with, up to its heading.
pub(crate) fn page_head(out: &mut String, title: &str, heading: &str) {
    let _ = write!(
        out,
        r#"<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{}</title><style>{}</style></head><body><main><h1>{}</h1>"#,
        escape(title),
        include_str!("style.css"),
        escape(heading)
    );
}

fn certificate(out: &mut String, report: &Report) {
    let certificate = &report.certificate;
    let verdict = certificate.verdict.name();
    let _ = write!(out, r#"<div class="verdict {verdict}" role="status"><strong>{verdict}</strong>"#);
    if let Some(why) = &report.partial {
        let _ = write!(out, "<p>Partial: the run ended early: {}</p>", escape(why));
    }
    let failed = certificate.failed();
    if !failed.is_empty() {
        out.push_str("<ul>");
        for check in failed {
            let reason = check.reason.as_deref().unwrap_or(&check.measured);
            let _ = write!(out, "<li>{}: {}</li>", escape(&check.name), escape(reason));
        }
        out.push_str("</ul>");
    }
    if !certificate.is_trusted() {
        out.push_str("<p>No percentile is shown: they would not be the server's.</p>");
    }
    out.push_str("</div>");
}

fn facts(out: &mut String, report: &Report) {
    let (rates, counts) = (&report.rates, &report.counts);
    let mut rows = vec![
        texts(["Load", &text::load(&report.workload)]),
        texts(["Measured", &human::nanoseconds(report.measured_seconds * 1e9)]),
    ];
    if let Some(asked) = rates.asked_per_second {
        rows.push(texts(["Asked", &human::rate(asked)]));
    }
    rows.push(texts(["Sent", &human::rate(rates.sent_per_second)]));
    rows.push(texts(["Good replies", &human::rate(rates.completed_per_second)]));
    for (kind, count) in counts.errors.iter().filter(|(_, count)| **count > 0) {
        rows.push(texts([&format!("Failed: {kind}"), &human::count(*count)]));
    }
    rows.push(texts(["Received", &format!("{}/s", human::bytes(rates.bytes_in_per_second))]));
    rows.push(texts(["Sent bytes", &format!("{}/s", human::bytes(rates.bytes_out_per_second))]));
    rows.push(texts(["Connections made", &human::count(counts.connects)]));
    section(out, "Run", &table("What was asked and counted", &[], &rows));
}

fn interval(quantile: Quantile) -> String {
    match (quantile.low_ms, quantile.high_ms) {
        (Some(low), Some(high)) => format!("{} to {}", human::milliseconds(low), human::milliseconds(high)),
        _ => "–".to_owned(),
    }
}

fn some_ms(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".to_owned(), human::milliseconds)
}

fn percentiles(report: &Report, latency: &Latency) -> String {
    let mut out = curve(report, latency);
    let mut rows: Vec<Vec<String>> = latency
        .response
        .rows()
        .into_iter()
        .zip(latency.service.rows())
        .map(|((p, response), (_, service))| {
            vec![
                human::percentile(p),
                text::figure(response),
                interval(response),
                text::figure(service),
                interval(service),
            ]
        })
        .collect();
    let (response, service) = (&latency.response, &latency.service);
    for (name, of) in
        [("max", [response.max_ms, service.max_ms]), ("mean", [response.mean_ms, service.mean_ms])]
    {
        rows.push(texts([name, &some_ms(of[0]), "–", &some_ms(of[1]), "–"]));
    }
    let heads = ["", "Response", "95 % interval", "Service", "95 % interval"];
    out.push_str(&table(
        "Response time from the intended start, service time from the send",
        &texts(heads),
        &rows,
    ));
    let _ = write!(
        out,
        r#"<p class="note">{}. Intervals assume nothing of the distribution.</p>"#,
        escape(text::ROUGH)
    );
    if !report.is_open() {
        out.push_str(
            r#"<p class="note">Closed loop: while the server stalls nothing is sent, so stalls are under-represented.</p>"#,
        );
    }
    out
}

/// The percentile curve over 1 / (1 - p).
fn curve(report: &Report, latency: &Latency) -> String {
    let points: Vec<_> = report.distribution.iter().filter(|point| point.quantile < 1.0).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let beyond = |quantile: f64| 1.0 / (1.0 - quantile);
    let ticks = (0..=8)
        .map(|power| 10_f64.powi(power))
        .take_while(|at| *at <= beyond(last.quantile) * 1.001)
        .map(|at| (at, human::percentile(1.0 - 1.0 / at).replace("p0", "0 %")))
        .collect();
    let low = first.response_ms.min(first.service_ms);
    let mut plot = Plot::new(
        "curve",
        "Latency by percentile",
        "Response and service times on a logarithmic axis over the percentile, stretched towards 100 %.",
        Axis::log_with("percentile", 1.0, beyond(last.quantile), ticks),
        Axis::log("latency", low, last.response_ms.max(last.service_ms), human::milliseconds),
    );
    let mut sides = vec![("service", "s2", &latency.service)];
    if report.is_open() {
        sides.insert(0, ("response", "s1", &latency.response));
    }
    for (name, class, of) in sides {
        let of_side =
            |point: &super::CurvePoint| if class == "s1" { point.response_ms } else { point.service_ms };
        plot.line(name, class, points.iter().map(|point| Some((beyond(point.quantile), of_side(point)))));
        for (p, quantile) in of.rows() {
            if let (Some(low), Some(high)) = (quantile.low_ms, quantile.high_ms) {
                plot.bar(class, beyond(p), low, high);
            }
        }
    }
    plot.render()
}

fn per_request(out: &mut String, report: &Report) {
    if report.requests.len() < 2 {
        return;
    }
    let rows: Vec<Vec<String>> = report
        .requests
        .iter()
        .map(|request| {
            let errors: u64 = request.errors.values().sum();
            let mut row = vec![request.name.clone(), human::count(request.completed), human::count(errors)];
            row.extend(request.latency.iter().flat_map(|latency| quantile_cells(&latency.response)));
            row
        })
        .collect();
    let heads = texts(["Request", "Replies", "Errors", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    section(out, "Requests", &table("Response times by request of the mix", &heads, &rows));
}

fn quantile_cells(of: &Quantiles) -> Vec<String> {
    let mut cells: Vec<String> = of
        .rows()
        .into_iter()
        .map(|(_, quantile)| quantile.ms.map_or_else(|| "–".to_owned(), |_| text::figure(quantile)))
        .collect();
    cells.push(some_ms(of.max_ms));
    cells
}

fn streams(out: &mut String, report: &Report) {
    let mut rows = Vec::new();
    let mut row = |name: &str, of: Option<&Quantiles>| {
        if let Some(of) = of {
            let mut cells = vec![name.to_owned(), human::count(of.samples)];
            cells.extend(quantile_cells(of));
            rows.push(cells);
        }
    };
    if let Some(streams) = &report.streams {
        row("Time to first event", streams.first_event.as_ref());
        row("Gap between events", streams.gap.as_ref());
    }
    row("Connect", report.connect.as_ref());
    let mut content = String::new();
    if let Some(streams) = &report.streams {
        let _ = write!(
            content,
            "<p>{}, {}, {}.</p>",
            text::plural(streams.streams, "stream"),
            text::plural(streams.events, "event"),
            text::plural(streams.stalls, "stall")
        );
    }
    if !rows.is_empty() {
        let heads = texts(["", "Samples", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
        content.push_str(&table("Streams and connections", &heads, &rows));
    }
    if !content.is_empty() {
        section(out, "Streams and connections", &content);
    }
}

/// Highest of what there is.
fn highest(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().max_by(f64::total_cmp)
}

fn over_time(report: &Report) -> String {
    let series = &report.series;
    let end = series.last().map_or(0.0, |point| point.at_seconds);
    let seconds = || Axis::linear("seconds since measuring began", end, |at| format!("{at}"));
    let most =
        highest(series.iter().map(|point| Some(point.asked_per_second.max(point.achieved_per_second))));
    let mut rates = Plot::new(
        "rates",
        "Rate over time",
        "Requests a second that were asked for, that were answered, and that failed.",
        seconds(),
        Axis::linear("requests a second", most.unwrap_or(0.0), |at| human::rate(at).replace("/s", "")),
    );
    if report.is_open() {
        rates.line(
            "asked",
            "s2",
            series.iter().map(|point| Some((point.at_seconds, point.asked_per_second))),
        );
    }
    rates.line(
        "good replies",
        "s1",
        series.iter().map(|point| Some((point.at_seconds, point.achieved_per_second))),
    );
    rates.line("errors", "s3", series.iter().map(|point| Some((point.at_seconds, point.errors_per_second))));
    let mut out = rates.render();
    out.push_str(&latency_over_time(series, seconds()));
    let rows: Vec<Vec<String>> = series
        .chunks(series.len().div_ceil(SERIES_ROWS_MAX).max(1))
        .map(|stretch| series_row(&human::nanoseconds(stretch[0].at_seconds * 1e9), stretch))
        .collect();
    let heads = texts(["From", "Asked", "Good replies", "Errors", "Highest p50", "Highest p99", "Max"]);
    out.push_str("<details><summary>Table</summary>");
    out.push_str(&table("By stretch of time", &heads, &rows));
    out.push_str("</details>");
    out
}

fn latency_over_time(series: &[SeriesPoint], seconds: Axis) -> String {
    let low = series.iter().filter_map(|point| point.p50_ms).min_by(f64::total_cmp);
    let (Some(low), Some(high)) = (low, highest(series.iter().map(|point| point.max_ms))) else {
        return String::new();
    };
    let mut plot = Plot::new(
        "latency",
        "Response time over time",
        "Median, 99th percentile and maximum of each interval, on a logarithmic axis.",
        seconds,
        Axis::log("response time", low, high, human::milliseconds),
    );
    let at = |of: fn(&SeriesPoint) -> Option<f64>| {
        series.iter().map(move |point| of(point).map(|ms| (point.at_seconds, ms)))
    };
    plot.line("max", "s3", at(|point| point.max_ms));
    plot.line("p99", "s2", at(|point| point.p99_ms));
    plot.line("p50", "s1", at(|point| point.p50_ms));
    plot.render()
}

/// Several intervals in one row: mean rates, highest latencies (percentiles are never averaged).
fn series_row(name: &str, points: &[SeriesPoint]) -> Vec<String> {
    let mean = |of: fn(&SeriesPoint) -> f64| points.iter().map(of).sum::<f64>() / points.len().max(1) as f64;
    vec![
        name.to_owned(),
        human::rate(mean(|point| point.asked_per_second)),
        human::rate(mean(|point| point.achieved_per_second)),
        human::rate(mean(|point| point.errors_per_second)),
        some_ms(highest(points.iter().map(|point| point.p50_ms))),
        some_ms(highest(points.iter().map(|point| point.p99_ms))),
        some_ms(highest(points.iter().map(|point| point.max_ms))),
    ]
}

/// For loads whose rate changes: each interval as dots over its rate.
fn rate_against_latency(report: &Report) -> Option<String> {
    let changes = matches!(
        report.workload.arrivals,
        ArrivalsReport::Ramp { .. } | ArrivalsReport::Steps { .. } | ArrivalsReport::Replay { .. }
    );
    let told: Vec<&SeriesPoint> = report.series.iter().filter(|point| point.p50_ms.is_some()).collect();
    let most = highest(told.iter().map(|point| Some(point.asked_per_second)))?;
    let low = told.iter().filter_map(|point| point.p50_ms).min_by(f64::total_cmp)?;
    let high = highest(told.iter().map(|point| point.p99_ms))?;
    if !changes {
        return None;
    }
    let mut plot = Plot::new(
        "load-latency",
        "Response time against rate",
        "Median and 99th percentile of each interval over the rate that was asked for in it.",
        Axis::linear("asked, requests a second", most, |at| human::rate(at).replace("/s", "")),
        Axis::log("response time", low, high, human::milliseconds),
    );
    let dots = |of: fn(&SeriesPoint) -> Option<f64>| {
        told.iter().filter_map(move |point| of(point).map(|ms| (point.asked_per_second, ms)))
    };
    plot.dots("p99", "s2", dots(|point| point.p99_ms));
    plot.dots("p50", "s1", dots(|point| point.p50_ms));
    let mut sorted: Vec<SeriesPoint> = told.iter().map(|point| **point).collect();
    sorted.sort_by(|a, b| a.asked_per_second.total_cmp(&b.asked_per_second));
    let rows: Vec<Vec<String>> = sorted
        .chunks(sorted.len().div_ceil(RATE_ROWS_MAX).max(1))
        .map(|points| series_row(&human::count(points.len() as u64), points))
        .collect();
    let heads = texts(["Intervals", "Asked", "Good replies", "Errors", "Highest p50", "Highest p99", "Max"]);
    Some(plot.render() + &table("By rate", &heads, &rows))
}

fn checks(out: &mut String, report: &Report) {
    let rows: Vec<Vec<String>> = report
        .certificate
        .checks
        .iter()
        .map(|check| {
            let verdict = check.verdict.map_or("not judged", |verdict| verdict.name());
            vec![check.name.clone(), verdict.to_owned(), check.measured.clone(), check.limit.clone()]
        })
        .collect();
    let heads = texts(["Check", "Verdict", "Measured", "Wanted"]);
    section(out, "Certificate", &table("Every check of the generator's certificate", &heads, &rows));
}

fn machine(out: &mut String, report: &Report) {
    let (host, generator) = (&report.host, &report.generator);
    let unknown =
        |value: Option<u64>| value.map_or_else(|| "the kernel does not say".to_owned(), human::count);
    let mut rows = vec![
        texts(["Kernel", &host.kernel]),
        texts(["Processor", &format!("{}, {} usable", host.cpu, host.processors)]),
        texts(["Memory", &human::bytes(host.memory_bytes as f64)]),
        texts(["CPU a request", &format!("{:.2} µs", generator.cpu_us_per_request)]),
        texts(["In flight, mean", &format!("{:.1}", generator.in_flight_mean)]),
        texts(["Waited for a connection", &human::count(generator.waited)]),
        texts([
            "Steal",
            &generator.steal_share.map_or_else(|| "the kernel does not say".to_owned(), human::share),
        ]),
        texts(["Throttled periods", &unknown(generator.throttled_periods)]),
        texts(["Retransmitted segments", &unknown(generator.retransmitted_segments)]),
        texts(["Dropped packets", &unknown(generator.dropped_packets)]),
    ];
    for (at, thread) in generator.threads.iter().enumerate() {
        let place = thread.cpu.map_or_else(|| "not pinned".to_owned(), |cpu| format!("processor {cpu}"));
        let use_of = format!(
            "{place}, {} busy, {} CPU, {} waiting for it, {} involuntary switches",
            human::share(thread.busy_share),
            human::share(thread.cpu_share),
            human::share(thread.run_delay_share),
            human::count(thread.involuntary_switches)
        );
        rows.push(vec![format!("Thread {at}"), use_of]);
    }
    section(out, "Machine", &table("The generator and its machine", &[], &rows));
}
