//! The heat map: how many replies took how long, by time.

use std::fmt::Write as _;

use super::plot::{Axis, Plot};
use super::table;
use crate::report::collector::{Column, bucket_edges};
use crate::report::human;

/// Steps of shading; each is one path, so that a page stays small.
const LEVELS: usize = 8;
/// Most rows: neighbouring buckets are drawn together beyond it.
const ROWS_MAX: usize = 64;
/// Rows of the table beside it.
const TABLE_ROWS_MAX: usize = 12;

/// Plot and table; `None` when there is nothing to draw.
pub(super) fn section(columns: &[Column]) -> Option<String> {
    let used = columns.iter().flat_map(Column::buckets).map(|(bucket, _)| bucket);
    let (first, last) =
        used.fold((usize::MAX, 0), |range, bucket| (range.0.min(bucket), range.1.max(bucket)));
    if first > last {
        return None;
    }
    let merged = (last - first + 1).div_ceil(ROWS_MAX);
    let end = columns.last().map_or(0.0, |column| column.start_seconds + column.length_seconds);
    let x = Axis::linear("seconds since measuring began", end, |at| format!("{at}"));
    let y = Axis::log("response time", bucket_edges(first).0, bucket_edges(last).1, human::milliseconds);
    let mut plot = Plot::new(
        "heat",
        "Response time by time",
        "Each column is a stretch of the run; the darker a cell, the more replies took so long in it.",
        x,
        y,
    );
    plot.raw(&cells(&plot, columns, first, merged));
    let mut out = plot.render();
    out.push_str("<p class=\"note\">Shading is logarithmic: the darkest cells hold the most replies.</p>");
    out.push_str(&counts(columns));
    Some(out)
}

fn cells(plot: &Plot, columns: &[Column], first: usize, merged: usize) -> String {
    let rows = |column: &Column| {
        let mut rows: Vec<(usize, u64)> = Vec::new();
        for (bucket, count) in column.buckets() {
            let row = (bucket - first) / merged;
            match rows.last_mut().filter(|last| last.0 == row) {
                Some(last) => last.1 += count,
                None => rows.push((row, count)),
            }
        }
        rows
    };
    // A column's share of time evens out a last interval that is shorter than the others.
    let density = |count: u64, column: &Column| count as f64 / column.length_seconds.max(1e-9);
    let all: Vec<Vec<(usize, u64)>> = columns.iter().map(rows).collect();
    let densest = columns
        .iter()
        .zip(&all)
        .flat_map(|(column, rows)| rows.iter().map(move |(_, count)| density(*count, column)))
        .fold(1.0, f64::max);
    let mut paths = vec![String::new(); LEVELS];
    for (column, rows) in columns.iter().zip(&all) {
        let left = plot.x(column.start_seconds);
        let width = (plot.x(column.start_seconds + column.length_seconds) - left).max(0.5);
        for (row, count) in rows {
            let low = bucket_edges(first + row * merged).0;
            let high = bucket_edges(first + (row + 1) * merged - 1).1;
            let (top, height) = (plot.y(high), (plot.y(low) - plot.y(high)).max(0.5));
            let shade = (1.0 + density(*count, column)).ln() / (1.0 + densest).ln();
            let level = ((shade * LEVELS as f64) as usize).min(LEVELS - 1);
            let _ = write!(paths[level], "M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z");
        }
    }
    let mut out = String::new();
    for (level, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let opacity = (level + 1) as f64 / LEVELS as f64;
        let _ = write!(out, r#"<path class="heat" fill-opacity="{opacity:.3}" d="{path}"/>"#);
    }
    out
}

/// Replies by stretch of time and power of ten of latency.
fn counts(columns: &[Column]) -> String {
    let decade = |bucket: usize| bucket_edges(bucket).0.log10().floor() as i32;
    let decades: std::collections::BTreeSet<i32> =
        columns.iter().flat_map(Column::buckets).map(|(bucket, _)| decade(bucket)).collect();
    let mut head = vec!["From".to_owned()];
    head.extend(decades.iter().map(|power| {
        let low = 10_f64.powi(*power);
        format!("{} to {}", human::milliseconds(low), human::milliseconds(low * 10.0))
    }));
    let rows: Vec<Vec<String>> = columns
        .chunks(columns.len().div_ceil(TABLE_ROWS_MAX).max(1))
        .map(|stretch| {
            let start = stretch.first().map_or(0.0, |column| column.start_seconds);
            let mut row = vec![human::nanoseconds(start * 1e9)];
            row.extend(decades.iter().map(|power| {
                let within =
                    stretch.iter().flat_map(Column::buckets).filter(|(bucket, _)| decade(*bucket) == *power);
                human::count(within.map(|(_, count)| count).sum())
            }));
            row
        })
        .collect();
    table("Replies by time and response time", &head, &rows)
}
