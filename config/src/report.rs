//! What `check` and `load` have to say: one [`Diagnostic`] per finding, kept in the order of files and lines.
//!
//! Owns the wording's form (`file:line:column: key: what, why, remedy`). Never holds a secret's text:
//! callers quote only what stands in the file.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It loads, but something will not be as written.
    Warning,
    /// Worth knowing; nothing to do.
    Note,
}

impl Severity {
    /// Lower-case word, as printed and as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// File as the user would open it; `--set` for an override.
    pub file: String,
    /// From 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// From 1, in characters; 0 when the finding is about the whole file.
    pub column: usize,
    /// Dotted path of the key, such as `groups[0].nodes[2].port`; empty for a whole file.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        match self.severity {
            Severity::Error => {}
            other => write!(f, ": {}", other.as_str())?,
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)?;
        for part in [&self.why, &self.remedy] {
            if !part.is_empty() {
                write!(f, ", {part}")?;
            }
        }
        Ok(())
    }
}

/// Everything that was found, at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which files are read, then of lines.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Whether the configuration must be refused.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many findings of this severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == severity).count()
    }

    /// As an array of objects, for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        self.diagnostics
            .iter()
            .map(|d| {
                serde_json::json!({
                    "severity": d.severity.as_str(), "file": d.file, "line": d.line, "column": d.column,
                    "key": d.key, "what": d.what, "why": d.why, "remedy": d.remedy,
                })
            })
            .collect()
    }

    /// Orders by file (in the order in which they were read), line and column; drops exact repeats. Keeps the first `most`, errors
    /// before others, and says that there are more.
    pub(crate) fn tidy(&mut self, files: &[String], most: usize) {
        let rank = |file: &str| files.iter().position(|f| f == file).unwrap_or(files.len());
        self.diagnostics.sort_by(|a, b| {
            (rank(&a.file), a.line, a.column, a.severity).cmp(&(rank(&b.file), b.line, b.column, b.severity))
        });
        self.diagnostics.dedup();
        let count = self.diagnostics.len();
        if count > most {
            let errors = self.count(Severity::Error);
            let (mut errors_left, mut others_left) = (most, most.saturating_sub(errors));
            self.diagnostics.retain(|d| {
                let left = if d.severity == Severity::Error { &mut errors_left } else { &mut others_left };
                *left > 0 && std::mem::replace(left, left.saturating_sub(1)) > 0
            });
            let what = format!("{} more findings are not shown", count - self.diagnostics.len());
            let severity = if errors > 0 { Severity::Error } else { Severity::Warning };
            self.diagnostics.push(Diagnostic {
                severity,
                file: "(all files)".to_owned(),
                line: 0,
                column: 0,
                key: String::new(),
                what,
                why: String::new(),
                remedy: "mend these first".to_owned(),
            });
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for d in &self.diagnostics {
            writeln!(f, "{d}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
