//! `report.json`: the whole report in a stable form, see [`Report`].

use super::Report;

/// The report as indented JSON with a line end.
///
/// # Errors
/// None that a report can cause: its numbers are finite and its keys are texts.
pub fn render(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}
