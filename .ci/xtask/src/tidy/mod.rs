//! `cargo xtask tidy`: what holds for every file of the tree and no compiler checks. Also a test, so `cargo test` runs it.
//!
//! Owns the walk over the tree and the list of checks; each check is a pure function from texts to findings, with a test
//! of its own on a sample that fails. Never changes a file.

mod crates;
mod folders;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Something that a check has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    /// Where, as `path` or `path:line`, from the top of the tree.
    place: String,
    /// What is wrong and what to do.
    what: String,
    /// Whether it fails the run; the rest are sizes to look at.
    error: bool,
}

impl Finding {
    fn error(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), error: true }
    }

    fn warning(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), error: false }
    }
}

/// A text file of the tree.
struct Text {
    /// From the top of the tree, with `/`.
    path: String,
    text: String,
}

/// Checks the tree and prints what it finds. `Ok(false)` when there is an error.
///
/// # Errors
/// When the tree cannot be read.
pub fn run() -> Result<bool> {
    let findings = findings(&workspace::root())?;
    for finding in &findings {
        let kind = if finding.error { "error" } else { "warning" };
        println!("{kind}: {}: {}", finding.place, finding.what);
    }
    let errors = findings.iter().filter(|finding| finding.error).count();
    println!("tidy: {errors} errors, {} warnings", findings.len() - errors);
    Ok(errors == 0)
}

fn findings(root: &Path) -> Result<Vec<Finding>> {
    let mut paths = Vec::new();
    walk(root, root, &mut paths)?;
    paths.sort();
    let texts = read(root, &paths)?;
    let mut found = crates::check(root, &texts)?;
    found.extend(folders::check(&paths, &texts));
    for text in &texts {
        found.extend(sources::check(text));
    }
    Ok(found)
}

/// All files below `folder` that are part of the tree: build products and other tools' folders are not.
fn walk(root: &Path, folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    const NOT_OURS: [&str; 4] = [".git", "target", "node_modules", "__pycache__"];
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let kind = entry.file_type().with_context(|| format!("look at {}", entry.path().display()))?;
        if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            walk(root, &entry.path(), paths)?;
        } else if kind.is_file() {
            let path = entry.path();
            paths.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
        }
    }
    Ok(())
}

/// The files that people write, by their names; corpora and lock files are not among them.
fn read(root: &Path, paths: &[PathBuf]) -> Result<Vec<Text>> {
    const WRITTEN: [&str; 10] = ["rs", "toml", "md", "yaml", "yml", "sh", "py", "json", "config", "conf"];
    let mut texts = Vec::new();
    for path in paths {
        let written = path.extension().is_some_and(|kind| WRITTEN.iter().any(|known| kind == *known));
        if !written && path != Path::new(".ci/run") {
            continue;
        }
        let bytes = fs::read(root.join(path)).with_context(|| format!("read {}", path.display()))?;
        // Test inputs may be anything; what is no UTF-8 is replaced.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        texts.push(Text { path: path.to_string_lossy().into_owned(), text });
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let errors: Vec<_> =
            findings(&workspace::root()).unwrap().into_iter().filter(|finding| finding.error).collect();
        let list: Vec<_> =
            errors.iter().map(|finding| format!("{}: {}", finding.place, finding.what)).collect();
        assert!(errors.is_empty(), "{}", list.join("\n"));
    }
}
