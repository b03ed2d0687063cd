//! The plan on a terminal.

use std::fmt::Write as _;

use super::rows::{self, Table};
use crate::capacity::plan::Plan;
use crate::report::human;
use crate::report::text::wrap;

/// Width at which sentences are wrapped.
const WIDTH: usize = 110;

// Writing to a String cannot fail, so that `writeln!`'s result is dropped throughout.

/// The plan in lines.
#[must_use]
pub fn render(plan: &Plan) -> String {
    let mut out = String::new();
    head(&mut out, plan);
    table(&mut out, &rows::rates(plan));
    if let Some(saturation) = plan.saturation_per_s {
        let connections = human::count(u64::from(plan.connections));
        sentence(
            &mut out,
            &format!("In a closed loop {connections} connections get {}.", human::rate(saturation)),
        );
    }
    if !plan.steps.is_empty() {
        table(
            &mut out,
            &rows::trials("Load steps (Poisson arrivals; times from the intended start)", &plan.steps),
        );
        rows::overload(plan).into_iter().for_each(|text| sentence(&mut out, &text));
    }
    if let Some(queue) = &plan.queue {
        title(&mut out, "Queue model");
        sentence(&mut out, &rows::model(queue));
        table(&mut out, &rows::backtest(&queue.backtest));
        table(&mut out, &rows::variants(queue));
    }
    scaling(&mut out, plan);
    if let Some(nodes) = &plan.nodes {
        title(&mut out, "Nodes");
        sentence(&mut out, &rows::node_answer(nodes));
        table(&mut out, &rows::resources(nodes));
        table(&mut out, &rows::sensitivity(nodes));
    }
    if let Some(comparison) = &plan.comparison {
        table(&mut out, &rows::comparison(comparison));
        let verdict = if comparison.regressed { "REGRESSED" } else { "No regression" };
        sentence(&mut out, &format!("{verdict}."));
    }
    if !plan.notes.is_empty() {
        title(&mut out, "Notes");
        plan.notes.iter().for_each(|note| bullet(&mut out, note));
    }
    out
}

fn head(out: &mut String, plan: &Plan) {
    let (summary, reasons) = rows::evidence(plan);
    let _ = writeln!(out, "Certificate  {}", plan.verdict.name());
    let _ = writeln!(out, "Evidence     {summary}");
    if plan.stopped {
        out.push_str("PARTIAL      stopped before its end\n");
    }
    let _ = writeln!(out, "Target       {}", plan.url);
    let host = &plan.host;
    let _ = writeln!(out, "Generator    {}, {}, {} processors", host.kernel, host.cpu, host.processors);
    let _ = writeln!(out, "Took         {}", human::nanoseconds(plan.took_s * 1e9));
    reasons.iter().for_each(|reason| bullet(out, reason));
}

fn scaling(out: &mut String, plan: &Plan) {
    for scaling in &plan.scaling {
        title(out, &format!("Scaling over {} (Universal Scalability Law)", scaling.over));
        let Some(usl) = &scaling.usl else {
            let why = scaling.refused.as_deref().unwrap_or("no trial counted");
            sentence(out, &format!("No fit: {why}."));
            continue;
        };
        for [name, value] in rows::law(usl) {
            let _ = writeln!(out, "  {name:24}{value}");
        }
        table(out, &rows::residuals(scaling, usl));
        usl.warnings.iter().for_each(|warning| bullet(out, &format!("beware: {warning}")));
    }
}

fn title(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

fn sentence(out: &mut String, text: &str) {
    for line in wrap(text, WIDTH - 2) {
        let _ = writeln!(out, "  {line}");
    }
}

fn bullet(out: &mut String, text: &str) {
    for (at, line) in wrap(text, WIDTH - 4).iter().enumerate() {
        let _ = writeln!(out, "  {} {line}", if at == 0 { '-' } else { ' ' });
    }
}

/// Columns as wide as their widest cell: the first one to the left, figures to the right.
fn table(out: &mut String, table: &Table) {
    title(out, &table.caption);
    let lines = || std::iter::once(&table.head).chain(&table.rows);
    let width = |column: usize| {
        lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.head.len()).map(width).collect();
    for line in lines() {
        let mut text = String::new();
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if at == 0 { write!(text, "  {cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
}
