//! The generator's certificate: may a run's figures be believed?
//!
//! Judges an [`Outcome`] by checks that each name what was measured, the limit, and, where it fails, why it matters and what
//! to do. Never measures, and never changes a figure: INVALID figures are withheld by the reports.

mod checks;
pub mod limits;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::load::Outcome;

/// What a check, or all of them, came to. Ordered from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The figures are the server's.
    Valid,
    /// They are to be read with the reason in mind.
    Degraded,
    /// They are not the server's; reports withhold them.
    Invalid,
}

impl Verdict {
    /// As reports print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Degraded => "DEGRADED",
            Self::Invalid => "INVALID",
        }
    }
}

/// Whose a failed check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The generator or its machine: the figures are not evidence.
    Generator,
    /// The server: the figures are evidence, of a server in trouble.
    Server,
    /// What was asked: too short, too few, cut.
    Run,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whose fault it is when it fails.
    pub side: Side,
    /// `None` where it does not apply or the kernel does not say; `measured` tells which.
    pub verdict: Option<Verdict>,
    /// What was found.
    pub measured: String,
    /// What is accepted.
    pub limit: String,
    /// Why it failed, what that means, and what to do; empty when it did not.
    pub reason: Option<String>,
}

/// All checks of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The worst of all checks.
    pub verdict: Verdict,
    /// In the order of reports.
    pub checks: Vec<Check>,
}

impl Certificate {
    /// Judges a run.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let checks = checks::all(outcome);
        let verdict = worst(checks.iter());
        Self { verdict, checks }
    }

    /// The worst of the generator's own checks. A search for the highest rate may count a run as evidence as long as this is
    /// not INVALID: that a server fails is evidence, too.
    #[must_use]
    pub fn generator(&self) -> Verdict {
        worst(self.checks.iter().filter(|check| check.side == Side::Generator))
    }

    /// Whether percentiles may be shown.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.verdict != Verdict::Invalid
    }

    /// Checks that failed, the worst first.
    #[must_use]
    pub fn failed(&self) -> Vec<&Check> {
        let mut failed: Vec<&Check> =
            self.checks.iter().filter(|check| check.verdict > Some(Verdict::Valid)).collect();
        failed.sort_by_key(|check| std::cmp::Reverse(check.verdict));
        failed
    }
}

fn worst<'a>(checks: impl Iterator<Item = &'a Check>) -> Verdict {
    checks.filter_map(|check| check.verdict).max().unwrap_or(Verdict::Valid)
}
