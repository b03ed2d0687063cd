//! What a suite is given, and what it gives back.
//!
//! Owns paths and the collecting of results. Never starts anything.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Given to each suite.
pub struct Context {
    /// The `erlmcp` binary under test.
    pub binary: PathBuf,
    /// Top of the work tree.
    pub root: PathBuf,
    /// Where set-up installed npm and PyPI packages.
    pub tools: PathBuf,
    /// A folder for this suite alone: logs and files that it writes. Emptied before the suite starts.
    pub scratch: PathBuf,
}

impl Context {
    /// # Errors
    /// When the binary is not there.
    pub fn new(binary: Option<PathBuf>) -> Result<Self> {
        let binary = binary.unwrap_or_else(|| workspace::target().join("release").join("erlmcp"));
        if !binary.is_file() {
            bail!("no binary at {}: build it with `cargo build --release`", binary.display());
        }
        // Suites start it in folders of their own.
        let binary = std::path::absolute(binary).context("place the binary")?;
        let scratch = workspace::target().join("e2e");
        Ok(Self { binary, root: workspace::root(), tools: workspace::tools(), scratch })
    }

    /// The same with the suite's own, emptied folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(super) fn for_suite(&self, name: &str) -> Result<Self> {
        let scratch = self.scratch.join(name);
        if scratch.exists() {
            fs::remove_dir_all(&scratch).with_context(|| format!("clear {}", scratch.display()))?;
        }
        fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
        Ok(Self { binary: self.binary.clone(), root: self.root.clone(), tools: self.tools.clone(), scratch })
    }

    /// A log file of that name in the suite's folder.
    pub fn log(&self, name: &str) -> PathBuf {
        self.scratch.join(format!("{name}.log"))
    }

    /// Writes a file into the suite's folder and returns its path.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.scratch.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// The cases of a suite, each by name, and notes (figures) for the reader.
#[derive(Debug, Default)]
pub struct Outcome {
    cases: Vec<(String, Result<(), String>)>,
    notes: Vec<String>,
}

impl Outcome {
    /// Records a case that holds.
    pub fn pass(&mut self, case: impl Into<String>) {
        self.cases.push((case.into(), Ok(())));
    }

    /// Records a case that does not hold, and why.
    pub fn fail(&mut self, case: impl Into<String>, why: impl Into<String>) {
        self.cases.push((case.into(), Err(why.into())));
    }

    /// Records a case by its result; an error's whole chain is kept.
    pub fn case(&mut self, case: impl Into<String>, result: Result<()>) {
        self.cases.push((case.into(), result.map_err(|error| format!("{error:#}"))));
    }

    /// Records a case by a condition; `why` is made only when it fails.
    pub fn check(&mut self, case: impl Into<String>, holds: bool, why: impl FnOnce() -> String) {
        self.cases.push((case.into(), if holds { Ok(()) } else { Err(why()) }));
    }

    /// A line for the reader, such as a measured figure.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Number of cases that hold.
    pub fn passed(&self) -> usize {
        self.cases.iter().filter(|(_, result)| result.is_ok()).count()
    }

    /// Number of cases that do not.
    pub fn failed(&self) -> usize {
        self.cases.len() - self.passed()
    }

    /// Takes over the other's cases and notes.
    pub fn append(&mut self, other: Self) {
        self.cases.extend(other.cases);
        self.notes.extend(other.notes);
    }

    /// Prints a line per case and note.
    pub fn print(&self) {
        for (case, result) in &self.cases {
            match result {
                Ok(()) => println!("  ok    {case}"),
                Err(why) => println!("  FAIL  {case}: {}", why.replace('\n', "\n        ")),
            }
        }
        for note in &self.notes {
            println!("  note  {note}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_add_up() {
        let mut one = Outcome::default();
        one.pass("a");
        one.check("b", 1 > 2, || "arithmetic".to_owned());
        one.case("c", Err(anyhow::anyhow!("inner").context("outer")));
        let mut two = Outcome::default();
        two.case("d", Ok(()));
        one.append(two);
        assert_eq!((one.passed(), one.failed()), (2, 2));
        assert!(one.cases.contains(&("c".to_owned(), Err("outer: inner".to_owned()))));
    }
}
