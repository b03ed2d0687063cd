//! `erlmcp check` and `erlmcp config schema|show|diff` as functions that print; the command line calls them.
//!
//! Each gives whether what was asked about is fine (exit code 0) or not (1). Nothing is printed elsewhere.

use crate::report::{Report, Severity};
use crate::show::{diff, show, show_json};
use crate::{Change, Loaded, Source, load, schema};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Prints every finding about `source`, then one line that sums up.
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

/// Prints the JSON Schema of all files.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn config_schema(out: &mut dyn Write) -> io::Result<bool> {
    writeln!(out, "{:#}", schema())?;
    Ok(true)
}

/// Prints the effective configuration, secrets masked; or why there is none.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn config_show(source: &Source, json: bool, out: &mut dyn Write) -> io::Result<bool> {
    match load(source) {
        Ok(loaded) if json => writeln!(out, "{:#}", show_json(&loaded.config))?,
        Ok(loaded) => write!(out, "{}", show(&loaded.config))?,
        Err(report) => return refused(&report, json, out),
    }
    Ok(true)
}

/// Prints what changes from `a` to `b`, one key per line, marked when it needs a restart.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn config_diff(a: &Source, b: &Source, json: bool, out: &mut dyn Write) -> io::Result<bool> {
    let (a, b) = match (load(a), load(b)) {
        (Ok(a), Ok(b)) => (a.config, b.config),
        (Err(report), _) | (_, Err(report)) => return refused(&report, json, out),
    };
    let changes = diff(&a, &b);
    if json {
        let values: Value = changes.iter().map(change_json).collect();
        writeln!(out, "{values:#}")?;
        return Ok(true);
    }
    for change in &changes {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "(nothing)".to_owned());
        let restart = if change.needs_restart { "  (at the next start)" } else { "" };
        writeln!(out, "{}: {} -> {}{restart}", change.key, side(&change.from), side(&change.to))?;
    }
    Ok(true)
}

fn change_json(change: &Change) -> Value {
    json!({"key": change.key, "from": change.from, "to": change.to, "needs_restart": change.needs_restart})
}

fn refused(report: &Report, json: bool, out: &mut dyn Write) -> io::Result<bool> {
    if json {
        let value = json!({"ok": false, "diagnostics": report.to_json()});
        writeln!(out, "{value:#}")?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(false)
}
