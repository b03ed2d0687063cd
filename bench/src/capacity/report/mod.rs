//! The report of a plan: terminal text, JSON, and one page of HTML.
//!
//! Owns the words and the drawings. Trials that decide nothing appear with their reasons and without percentiles. Never
//! computes anything that a reader would take for a result: all of that is in the [`Plan`].

mod html;
mod rows;
#[cfg(test)]
mod tests;
mod text;

use serde::Serialize;

use super::plan::Plan;

pub use html::render as html;
pub use text::render as text;

/// Name of the JSON document's schema.
pub const SCHEMA: &str = "erlmcp.plan";
/// Its version.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    regressed: bool,
    #[serde(flatten)]
    plan: &'a Plan,
}

/// The plan as indented JSON with a line end; units stand in the names, what is not known is `null`.
///
/// # Errors
/// None that a plan can cause: its keys are texts.
pub fn json(plan: &Plan) -> serde_json::Result<String> {
    let document = Document { schema: SCHEMA, version: VERSION, regressed: plan.regressed(), plan };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}
