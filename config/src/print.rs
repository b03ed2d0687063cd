//! `erlmcp check` as a function that prints; the command line calls it.

use crate::report::{Report, Severity};
use crate::{Loaded, Source, load};
use serde_json::json;
use std::io::{self, Write};

/// Prints every finding about `source`, then one line that sums up. Gives whether there is no error.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn check(source: &Source, json: bool, out: &mut dyn Write) -> io::Result<bool> {
    let (report, fine) = match load(source) {
        Ok(Loaded { report, .. }) => (report, true),
        Err(report) => (report, false),
    };
    if json {
        let value = json!({"ok": fine, "diagnostics": report.to_json()});
        writeln!(out, "{value:#}")?;
    } else {
        write!(out, "{report}")?;
        writeln!(out, "{}", summary(&report))?;
    }
    Ok(fine)
}

fn summary(report: &Report) -> String {
    let count = |severity, one: &str| {
        let count = report.count(severity);
        format!("{count} {one}{}", if count == 1 { "" } else { "s" })
    };
    format!(
        "{}, {}, {}",
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note")
    )
}
