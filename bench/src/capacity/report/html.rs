//! The plan as one self-contained page: every plot with a table beside it, no script, no external resource.

use std::fmt::Write as _;

use super::rows::{self, Table};
use crate::capacity::plan::{Plan, QueueReport, ScalingReport};
use crate::capacity::record::{Times, TrialRecord};
use crate::capacity::usl::Usl;
use crate::report::html::plot::{Axis, Plot};
use crate::report::html::{escape, page_head, section, table, texts};
use crate::report::human;

/// A quantile of a trial.
type OfTimes = fn(&Times) -> Option<f64>;

/// Points of a drawn law.
const CURVE_POINTS: u32 = 60;

/// The page.
#[must_use]
pub fn render(plan: &Plan) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let title = format!("Plan for {}", plan.url);
    page_head(&mut out, &format!("{}: {title}", plan.verdict.name()), &title);
    certificate(&mut out, plan);
    let mut rates = of(&rows::rates(plan));
    if let Some(saturation) = plan.saturation_per_s {
        let connections = human::count(u64::from(plan.connections));
        let _ = write!(
            rates,
            "<p>In a closed loop {connections} connections get {}.</p>",
            human::rate(saturation)
        );
    }
    section(&mut out, "Highest rate within the goals", &rates);
    if !plan.steps.is_empty() {
        section(&mut out, "Latency against load", &load_latency(plan));
    }
    if let Some(queue) = &plan.queue {
        section(&mut out, "Queue model", &queue_model(queue));
    }
    for scaling in &plan.scaling {
        section(&mut out, &format!("Scaling over {}", scaling.over), &scaling_law(scaling));
    }
    if let Some(nodes) = &plan.nodes {
        let answer = format!("<p><strong>{}</strong></p>", escape(&rows::node_answer(nodes)));
        section(&mut out, "Nodes", &(answer + &of(&rows::resources(nodes)) + &of(&rows::sensitivity(nodes))));
    }
    if let Some(comparison) = &plan.comparison {
        section(&mut out, "Against the baseline", &of(&rows::comparison(comparison)));
    }
    if !plan.notes.is_empty() {
        section(&mut out, "Notes", &list(&plan.notes));
    }
    let trials = of(&rows::trials("In their order", &plan.search_trials));
    section(
        &mut out,
        "Trials of the search",
        &format!("<details><summary>Table</summary>{trials}</details>"),
    );
    machine(&mut out, plan);
    out.push_str("</main></body></html>\n");
    out
}

fn of(rows: &Table) -> String {
    table(&rows.caption, &rows.head, &rows.rows)
}

fn list(items: &[String]) -> String {
    let items: String = items.iter().map(|item| format!("<li>{}</li>", escape(item))).collect();
    format!("<ul>{items}</ul>")
}

fn certificate(out: &mut String, plan: &Plan) {
    let verdict = plan.verdict.name();
    let (summary, reasons) = rows::evidence(plan);
    let _ = write!(
        out,
        r#"<div class="verdict {verdict}" role="status"><strong>{verdict}</strong><p>{summary}</p>"#
    );
    if plan.stopped {
        out.push_str("<p>Partial: stopped before its end.</p>");
    }
    if !reasons.is_empty() {
        out.push_str(&list(&reasons));
    }
    out.push_str("</div>");
}

/// Rates on an axis, without the unit that its label has.
fn rates(label: &str, most: f64) -> Axis {
    Axis::linear(label, most, |at| human::rate(at).replace("/s", ""))
}

fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|value| value.is_finite()).fold(0.0, f64::max)
}

fn lowest(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min)
}

fn load_latency(plan: &Plan) -> String {
    let at = |of: OfTimes| {
        let point = move |step: &TrialRecord| Some((step.asked_per_s?, of(step.response.as_ref()?)?));
        plan.steps.iter().map(point).collect::<Vec<_>>()
    };
    let series: [(&str, &'static str, OfTimes); 4] = [
        ("max", "s4", |times| Some(times.max_ms)),
        ("p99.9", "s3", |times| times.p999_ms),
        ("p99", "s2", |times| times.p99_ms),
        ("p50", "s1", |times| times.p50_ms),
    ];
    let all: Vec<f64> = series.iter().flat_map(|(_, _, of)| at(*of)).flatten().map(|(_, ms)| ms).collect();
    let most = highest(plan.steps.iter().filter_map(|step| step.asked_per_s));
    let mut plot = Plot::new(
        "load-latency",
        "Response time against load",
        "Median, 99th and 99.9th percentile and maximum of each load step over the rate that was asked for.",
        rates("asked, requests a second", most),
        Axis::log(
            "response time",
            lowest(all.iter().copied()),
            highest(all.iter().copied()),
            human::milliseconds,
        ),
    );
    for (name, class, of) in series {
        plot.line(name, class, at(of).into_iter());
    }
    let mut out = plot.render();
    if let Some(text) = rows::overload(plan) {
        let _ = write!(out, "<p>{}</p>", escape(&text));
    }
    out + &of_steps(plan)
}

fn of_steps(plan: &Plan) -> String {
    of(&rows::trials("Load steps: Poisson arrivals, times from the intended start", &plan.steps))
}

fn queue_model(queue: &QueueReport) -> String {
    let rows = &queue.backtest.rows;
    let predicted = |row: &crate::capacity::queue::BacktestRow| row.predicted.p99.value_ms;
    let times =
        || rows.iter().flat_map(|row| [Some(row.measured_p99_ms), predicted(row), row.predicted.mmc_p99_ms]);
    let mut plot = Plot::new(
        "predicted",
        "Predicted against measured p99",
        "p99 of each steady load step as measured, as the independent queues predict it with its spread over placements, and \
         as one shared queue (M/M/c) would have it.",
        rates("offered, requests a second", highest(rows.iter().map(|row| row.offered_per_s))),
        Axis::log("p99", lowest(times().flatten()), highest(times().flatten()), human::milliseconds),
    );
    for row in rows {
        if let (Some(low), Some(high)) = (row.predicted.p99.low_ms, row.predicted.p99.high_ms) {
            plot.bar("s2", row.offered_per_s, low, high);
        }
    }
    plot.line("predicted", "s2", rows.iter().map(|row| Some((row.offered_per_s, predicted(row)?))));
    plot.line("M/M/c", "s3", rows.iter().map(|row| Some((row.offered_per_s, row.predicted.mmc_p99_ms?))));
    plot.dots("measured", "s1", rows.iter().map(|row| (row.offered_per_s, row.measured_p99_ms)));
    let sentence = format!("<p>{}</p>", escape(&rows::model(queue)));
    sentence + &plot.render() + &of(&rows::backtest(&queue.backtest)) + &of(&rows::variants(queue))
}

fn scaling_law(scaling: &ScalingReport) -> String {
    let Some(usl) = &scaling.usl else {
        let why = scaling.refused.as_deref().unwrap_or("no trial counted");
        return format!("<p>No fit: {}.</p>", escape(why));
    };
    let rows: Vec<Vec<String>> = rows::law(usl).into_iter().map(|row| row.to_vec()).collect();
    let warnings: Vec<String> = usl.warnings.iter().map(ToString::to_string).collect();
    let mut out = law_plot(scaling, usl);
    out.push_str(&table("Universal Scalability Law, with 95 % intervals", &[], &rows));
    if !warnings.is_empty() {
        let _ = write!(out, "<p><strong>Beware</strong></p>{}", list(&warnings));
    }
    out + &of(&rows::residuals(scaling, usl))
}

fn law_plot(scaling: &ScalingReport, usl: &Usl) -> String {
    let end = usl.largest * 2.0;
    let sizes = (0..=CURVE_POINTS).map(|at| 1.0 + (end - 1.0) * f64::from(at) / f64::from(CURVE_POINTS));
    let curve: Vec<_> = sizes.filter_map(|size| usl.predict(size).ok().map(|x| (size, x))).collect();
    let fitted = highest(curve.iter().map(|(_, x)| x.value));
    let most = highest(usl.residuals.iter().map(|residual| residual.throughput)).max(fitted);
    // The band may have no upper end, or one far out of the picture.
    let roof = most * 1.5;
    let id = format!("law-{}", scaling.over);
    let mut plot = Plot::new(
        &id,
        &format!("Throughput over {}", scaling.over),
        "Measured throughput, the fitted law up to twice the largest size, and its 95 % band.",
        Axis::linear(scaling.over, end, |at| format!("{at}")),
        rates("requests a second", roof),
    );
    let edge = |high: bool, (size, x): &(f64, crate::capacity::usl::Estimate)| {
        let y = if high { x.high.unwrap_or(roof).min(roof) } else { x.low };
        format!("{:.1} {:.1}", plot.x(*size), plot.y(y))
    };
    let upper: Vec<String> = curve.iter().map(|point| edge(true, point)).collect();
    let lower: Vec<String> = curve.iter().rev().map(|point| edge(false, point)).collect();
    if !curve.is_empty() {
        let path = [upper, lower].concat().join("L");
        plot.raw(&format!(r#"<path class="heat" fill-opacity="0.15" d="M{path}Z"/>"#));
    }
    plot.line("law, with its 95 % band", "s1", curve.iter().map(|(size, x)| Some((*size, x.value))));
    plot.dots("measured", "s2", usl.residuals.iter().map(|residual| (residual.size, residual.throughput)));
    plot.render()
}

fn machine(out: &mut String, plan: &Plan) {
    let host = &plan.host;
    let rows = vec![
        texts(["Kernel", &host.kernel]),
        texts(["Processor", &format!("{}, {} usable", host.cpu, host.processors)]),
        texts(["Memory", &human::bytes(host.memory_bytes as f64)]),
        texts(["Took", &human::nanoseconds(plan.took_s * 1e9)]),
    ];
    section(out, "Machine", &table("Where the generator ran", &[], &rows));
}
