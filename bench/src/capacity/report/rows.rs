//! Tables that text and page share: heads and cells, not yet laid out.
//!
//! Owns what a cell says. An unknown figure is a dash, never a zero.

use crate::capacity::baseline::{Change, Comparison};
use crate::capacity::nodes::{NodePlan, Resource};
use crate::capacity::plan::{Plan, QueueReport, ScalingReport};
use crate::capacity::queue::{Backtest, Spread};
use crate::capacity::record::{Times, TrialRecord};
use crate::capacity::search::{End, GoalResult};
use crate::capacity::usl::{Estimate, Usl};
use crate::report::human;

/// What is not known.
pub(super) const UNKNOWN: &str = "–";

/// A table: its head and its rows, the first cell of each naming it.
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(caption: &str, head: [&str; N], rows: Vec<Vec<String>>) -> Self {
        Self { caption: caption.to_owned(), head: head.map(str::to_owned).to_vec(), rows }
    }
}

fn or_unknown<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), text)
}

fn ms(value: Option<f64>) -> String {
    or_unknown(value, human::milliseconds)
}

fn factor(value: f64) -> String {
    format!("{value:.2}×")
}

pub(super) fn percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// Goals in one text.
pub(super) fn goals(result: &GoalResult) -> String {
    result.goals.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// The highest rate of each goal.
pub(super) fn rates(plan: &Plan) -> Table {
    let rows = std::iter::once(&plan.all).chain(&plan.each).map(|result| {
        let missed = or_unknown(result.exceed_share, human::share);
        vec![
            goals(result),
            or_unknown(result.lower_per_s, human::rate),
            or_unknown(result.upper_per_s, human::rate),
            or_unknown(result.conditional_throughput_per_s, human::rate),
            missed,
            end(result),
        ]
    });
    let head = ["Goal", "Meets up to", "Misses from", "Throughput there", "Trials missed", "Search"];
    Table::new("Highest rate within the goals", head, rows.collect())
}

fn end(result: &GoalResult) -> String {
    let end = match &result.end {
        End::Converged => "converged",
        End::RateMax => "highest rate allowed",
        End::NothingMeets => "no rate meets it",
        End::Generator(_) => "generator's limit",
        End::TrialsMax => "out of trials",
        End::TimeMax => "out of time",
        End::Stopped => "stopped",
    };
    if result.confirmed { end.to_owned() } else { format!("{end}, not confirmed") }
}

/// Trials, one a row.
pub(super) fn trials(caption: &str, trials: &[TrialRecord]) -> Table {
    let rows = trials.iter().map(|trial| {
        let response = |of: fn(&Times) -> Option<f64>| ms(trial.response.as_ref().and_then(of));
        let met = match (trial.is_evidence(), trial.met.iter().all(|met| *met)) {
            (false, _) => "not judged",
            (true, true) => "met",
            (true, false) => "missed",
        };
        vec![
            trial.asked_per_s.map_or_else(|| format!("closed, {}", trial.connections), human::rate),
            human::rate(trial.achieved_per_s),
            response(|times| times.p50_ms),
            response(|times| times.p90_ms),
            response(|times| times.p99_ms),
            response(|times| times.p999_ms),
            response(|times| Some(times.max_ms)),
            ms(trial.service.and_then(|times| times.p99_ms)),
            human::share(trial.error_share),
            human::count(trial.samples),
            or_unknown(trial.server, |server| format!("{:.1} µs", server.cpu_us_per_request)),
            met.to_owned(),
            trial.verdict.to_owned(),
        ]
    });
    let head = [
        "Asked",
        "Achieved",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "Service p99",
        "Errors",
        "Requests",
        "CPU",
        "Goals",
        "Evidence",
    ];
    Table::new(caption, head, rows.collect())
}

/// What an overload does to good replies: the best step, and the last one.
pub(super) fn overload(plan: &Plan) -> Option<String> {
    let told = plan.steps.iter().filter(|step| step.is_evidence());
    let best = told.max_by(|a, b| a.achieved_per_s.total_cmp(&b.achieved_per_s))?;
    let last = plan.steps.iter().rfind(|step| step.is_evidence())?;
    let asked = last.asked_per_s?;
    if last.achieved_per_s >= 0.97 * asked {
        return Some(format!("At {} the server still keeps up: no overload was seen.", human::rate(asked)));
    }
    let share = last.achieved_per_s / best.achieved_per_s;
    let fate = if share >= 0.95 { "it holds under overload" } else { "it falls under overload" };
    Some(format!(
        "Good replies peak at {}; asked for {} the server gives {} ({} of the peak): {fate}.",
        human::rate(best.achieved_per_s),
        human::rate(asked),
        human::rate(last.achieved_per_s),
        human::share(share)
    ))
}

/// Predicted against measured.
pub(super) fn backtest(backtest: &Backtest) -> Table {
    let rows = backtest.rows.iter().map(|row| {
        let predicted = &row.predicted;
        vec![
            human::rate(row.offered_per_s),
            if row.held_out { "held out" } else { "calibration" }.to_owned(),
            human::share(predicted.utilisation),
            human::milliseconds(row.measured_p99_ms),
            spread(&predicted.p99),
            or_unknown(row.ratio, factor),
            ms(predicted.mmc_p99_ms),
        ]
    });
    let head =
        ["Offered", "Used for", "Utilisation", "p99 measured", "p99 predicted", "Ratio", "p99 of M/M/c"];
    Table::new("Predicted against measured", head, rows.collect())
}

fn spread(spread: &Spread) -> String {
    let Some(value) = spread.value_ms else { return "overloaded".to_owned() };
    let high = spread.high_ms.map_or_else(|| "overloaded".to_owned(), human::milliseconds);
    format!("{} ({} to {high})", human::milliseconds(value), ms(spread.low_ms))
}

/// The model at the highest rate within the goals.
pub(super) fn variants(queue: &QueueReport) -> Table {
    let rows = queue.at_lower.iter().map(|(name, prediction)| {
        vec![
            name.clone(),
            human::rate(prediction.rate_per_s),
            factor(prediction.imbalance),
            human::share(prediction.hottest),
            spread(&prediction.p99),
            ms(prediction.p999.value_ms),
            or_unknown(prediction.mmc_hopeful, factor),
        ]
    });
    let head = ["If", "Rate", "Imbalance", "Hottest shard", "p99", "p99.9", "M/M/c too hopeful by"];
    Table::new("What the model expects at the highest rate within the goals", head, rows.collect())
}

/// The model in a sentence.
pub(super) fn model(queue: &QueueReport) -> String {
    let Backtest { occupancy_us, service_us, variation, capacity_per_s, off_by, .. } = &queue.backtest;
    let off =
        or_unknown(*off_by, |off| format!("off by {} on average on steps that it had not seen", factor(off)));
    let queues = if queue.model.shards == 1 {
        "One M/G/1 queue".to_owned()
    } else {
        format!("{} independent M/G/1 queues", queue.model.shards)
    };
    format!(
        "{queues}, {} connections: a request keeps a shard busy for {occupancy_us:.1} µs of its \
         {service_us:.1} µs (squared variation {variation:.2}), which is {} at most; {off}.",
        human::count(u64::from(queue.model.connections)),
        human::rate(*capacity_per_s)
    )
}

fn estimate(of: &Estimate, text: impl Fn(f64) -> String) -> String {
    let high = of.high.map_or_else(|| "∞".to_owned(), &text);
    format!("{} ({} to {high})", text(of.value), text(of.low))
}

/// Coefficients with their intervals.
pub(super) fn law(usl: &Usl) -> Vec<[String; 2]> {
    let size = |size: Option<f64>| size.map_or_else(|| "∞".to_owned(), |size| format!("{size:.0}"));
    let (low, high) = usl.summit.size_interval;
    let coefficient = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.3e}") };
    [
        ["λ, throughput of one", &estimate(&usl.lambda, human::rate)],
        ["σ, contention", &estimate(&usl.sigma, coefficient)],
        ["κ, coherency", &estimate(&usl.kappa, coefficient)],
        ["N*, where it peaks", &format!("{} ({} to {})", size(usl.summit.size), size(low), size(high))],
        ["X*, throughput there", &or_unknown(usl.summit.throughput, |x| estimate(&x, human::rate))],
        ["R² of ln X", &format!("{:.4}", usl.r_squared)],
    ]
    .map(|row| row.map(str::to_owned))
    .to_vec()
}

/// Each size with the fit.
pub(super) fn residuals(scaling: &ScalingReport, usl: &Usl) -> Table {
    let rows = usl.residuals.iter().map(|residual| {
        vec![
            format!("{}", residual.size),
            human::rate(residual.throughput),
            human::rate(residual.fitted),
            percent(residual.relative),
            human::share(residual.efficiency),
        ]
    });
    let ahead = usl.predict(usl.largest * 2.0).ok().map(|ahead| {
        vec![
            format!("{}", usl.largest * 2.0),
            "extrapolated".to_owned(),
            estimate(&ahead, human::rate),
            UNKNOWN.to_owned(),
            human::share(ahead.value / (usl.lambda.value * usl.largest * 2.0)),
        ]
    });
    let caption = format!("Throughput over {}, and the law's", scaling.over);
    Table::new(&caption, ["Size", "Measured", "Law", "Residual", "Efficiency"], rows.chain(ahead).collect())
}

/// Every resource's need.
pub(super) fn resources(nodes: &NodePlan) -> Table {
    let rows = nodes.resources.iter().map(|resource| {
        let [cheaper, dearer] = resource.total_cheaper_dearer;
        vec![
            resource.need.resource.name_and_unit().0.to_owned(),
            amount(resource.need.resource, resource.peak_need),
            amount(resource.need.resource, resource.need.node_capacity),
            format!("{:.2}", resource.exact),
            resource.total.to_string(),
            human::share(resource.use_at_peak),
            human::share(resource.use_at_worst),
            format!("{cheaper} to {dearer}"),
        ]
    });
    let head =
        ["Resource", "Peak needs", "Node has", "Nodes", "With losses", "Used at peak", "At worst", "±20 %"];
    Table::new("What each resource asks for, the binding one first", head, rows.collect())
}

fn amount(resource: Resource, value: f64) -> String {
    match resource {
        Resource::Rate => human::rate(value),
        Resource::Cpu => format!("{value:.2} cores"),
        Resource::Memory => human::bytes(value),
        Resource::Bandwidth => format!("{:.2} Gbit/s", value / 1e9),
        Resource::Descriptors | Resource::Ports => human::count(value.ceil() as u64),
    }
}

/// What the number of nodes depends on.
pub(super) fn sensitivity(nodes: &NodePlan) -> Table {
    let rows = nodes.sensitivity.iter().map(|row| {
        let [lower, higher] = row.nodes_lower_higher;
        vec![row.what.clone(), lower.to_string(), nodes.nodes.to_string(), higher.to_string()]
    });
    Table::new("Nodes when a figure is a fifth off", ["Figure", "-20 %", "As is", "+20 %"], rows.collect())
}

/// The answer in a sentence.
pub(super) fn node_answer(nodes: &NodePlan) -> String {
    let peak = &nodes.peak;
    let zone = if peak.zones > 1 { format!(", one of {} zones lost", peak.zones) } else { String::new() };
    format!(
        "{} nodes bear {} with {} growth, {} headroom, {} failed{zone}; {} binds, and {} are left at worst.",
        nodes.nodes,
        human::rate(peak.rate_per_s),
        human::share(peak.growth),
        human::share(peak.headroom),
        peak.failed,
        nodes.binding.name_and_unit().0,
        nodes.nodes_at_worst
    )
}

/// Then and now.
pub(super) fn comparison(comparison: &Comparison) -> Table {
    let change = |change: Change| {
        match change {
            Change::Regressed => "REGRESSED",
            Change::Improved => "improved",
            Change::Same => "same",
            Change::Undecidable => "too few trials",
        }
        .to_owned()
    };
    let bounds = |[lower, upper]: [Option<f64>; 2]| {
        format!("{} to {}", or_unknown(lower, human::rate), or_unknown(upper, human::rate))
    };
    let [then, now] = comparison.rate_bounds_per_s;
    let rate = vec![
        "highest rate within the goals".to_owned(),
        bounds(then),
        bounds(now),
        UNKNOWN.to_owned(),
        UNKNOWN.to_owned(),
        change(comparison.rate),
    ];
    let metrics = comparison.metrics.iter().map(|metric| {
        vec![
            metric.name.clone(),
            format!("{:.4}", metric.then),
            format!("{:.4}", metric.now),
            percent(metric.shift),
            format!("{:.4}", metric.p_value),
            change(metric.change),
        ]
    });
    let caption = format!(
        "Against the baseline: worse by more than {} and significant (Mann and Whitney, 5 %) is a regression",
        human::share(comparison.threshold)
    );
    let head = ["Metric", "Then", "Now", "Shift", "p", "Change"];
    Table::new(&caption, head, std::iter::once(rate).chain(metrics).collect())
}

/// How many trials count, and why the others do not; each reason once.
pub(super) fn evidence(plan: &Plan) -> (String, Vec<String>) {
    let scaling = plan.scaling.iter().flat_map(|scaling| &scaling.trials);
    let all: Vec<&TrialRecord> =
        plan.search_trials.iter().chain(&plan.steps).chain(scaling).chain(&plan.reference_trials).collect();
    let of = |verdict: &str| all.iter().filter(|trial| trial.verdict == verdict).count();
    let summary = format!(
        "{} trials: {} VALID, {} DEGRADED, {} INVALID (not counted)",
        all.len(),
        of("VALID"),
        of("DEGRADED"),
        of("INVALID")
    );
    let mut reasons: Vec<String> = Vec::new();
    for reason in all.iter().flat_map(|trial| &trial.reasons) {
        // Reasons name figures of their own trial: the part before them tells the kind.
        let kind: String = reason.chars().take_while(|c| !c.is_ascii_digit()).collect();
        if reasons.len() < REASONS_MAX && !reasons.iter().any(|known| known.starts_with(&kind)) {
            reasons.push(reason.clone());
        }
    }
    (summary, reasons)
}

/// Most reasons that a report lists.
const REASONS_MAX: usize = 8;
