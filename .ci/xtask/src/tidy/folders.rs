//! Checks on folders: what stands at the top, and a README.md of a page in each.
//!
//! Owns the list of the top. A folder here is one that a reader enters first: at the top, or a crate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Finding, Text};

/// Everything at the top that is no dot-file.
const TOP: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "config",
    "dataplane",
    "controlplane",
    "tuning",
    "bench",
    "deploy",
];

/// A page.
const README_LINES_MAX: usize = 66;

pub(super) fn check(paths: &[PathBuf], texts: &[Text]) -> Vec<Finding> {
    let mut found = top(paths);
    found.extend(readmes(paths));
    found.extend(texts.iter().filter_map(readme_size));
    found
}

fn top(paths: &[PathBuf]) -> Vec<Finding> {
    let names: BTreeSet<_> = paths.iter().filter_map(|path| path.iter().next()?.to_str()).collect();
    let strange = names.into_iter().filter(|name| !name.starts_with('.') && !TOP.contains(name));
    strange
        .map(|name| {
            Finding::error(name, "does not belong at the top of the tree: put it into the folder it serves")
        })
        .collect()
}

fn readmes(paths: &[PathBuf]) -> Vec<Finding> {
    let crates = paths.iter().filter(|path| path.ends_with("Cargo.toml")).filter_map(|path| path.parent());
    // The workspace itself is no folder to enter, and a crate's fuzz targets are told of by the crate.
    let crates = crates.filter(|folder| *folder != Path::new("") && !folder.ends_with("fuzz"));
    let tops = paths
        .iter()
        .filter(|path| path.iter().count() > 1)
        .filter_map(|path| path.iter().next().map(Path::new));
    let hidden_but_ours = Path::new(".ci");
    let tops = tops.filter(|top| *top == hidden_but_ours || !top.to_string_lossy().starts_with('.'));
    // The workspace's dot-folder has one README for itself and the crate in it.
    let folders: BTreeSet<_> =
        crates.filter(|folder| !folder.starts_with(hidden_but_ours)).chain(tops).collect();
    let missing = folders.into_iter().filter(|folder| !paths.contains(&folder.join("README.md")));
    missing
        .map(|folder| {
            Finding::error(
                folder.to_string_lossy(),
                "no README.md: what lives here, where to start, what never goes in",
            )
        })
        .collect()
}

fn readme_size(file: &Text) -> Option<Finding> {
    let lines = file.text.lines().count();
    let too_long = file.path.ends_with("README.md") && lines > README_LINES_MAX;
    too_long.then(|| Finding::error(&file.path, format!("{lines} lines: a page is {README_LINES_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(paths: &[&str]) -> Vec<String> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        check(&paths, &[]).into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn the_top_has_only_what_belongs_there() {
        assert_eq!(places(&["README.md", "notes.txt", ".gitignore", "Cargo.lock"]), ["notes.txt"]);
    }

    #[test]
    fn folders_have_a_readme() {
        let good = [
            "README.md",
            "bench/README.md",
            "bench/src/lib.rs",
            "bench/Cargo.toml",
            ".ci/README.md",
            ".ci/xtask/Cargo.toml",
        ];
        assert_eq!(places(&good), [""; 0]);
        let bad = [
            "README.md",
            "dataplane/README.md",
            "dataplane/ring/Cargo.toml",
            "config/a.yaml",
            ".ci/run",
            ".cargo/config.toml",
        ];
        assert_eq!(places(&bad), [".ci", "config", "dataplane/ring"]);
    }

    #[test]
    fn a_readme_is_a_page() {
        let file = |lines| Text { path: "a/README.md".into(), text: "x\n".repeat(lines) };
        assert!(readme_size(&file(README_LINES_MAX)).is_none());
        assert!(readme_size(&file(README_LINES_MAX + 1)).is_some());
    }
}
