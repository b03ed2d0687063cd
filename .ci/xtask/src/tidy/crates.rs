//! Checks on crates: who depends on whom, where `unsafe` is forbidden, and why each shared dependency is there.
//!
//! Owns the table of arrows, which is the architecture's. A crate that is not in it fails the check.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Finding, Text};
use crate::run;

/// A crate and the crates of this workspace that it may depend on, in whatever way.
const ARROWS: &[(&str, &[&str])] = &[
    ("erlmcp-config", &[]),
    ("erlmcp-ring", &[]),
    ("erlmcp-proto", &[]),
    ("erlmcp-dataplane", &["erlmcp-ring", "erlmcp-proto", "erlmcp-config"]),
    ("erlmcp-tuning", &["erlmcp-config"]),
    ("erlmcp-bench", &["erlmcp-ring", "erlmcp-proto", "erlmcp-config"]),
    ("erlmcp-deploy", &["erlmcp-config"]),
    (
        "erlmcp-controlplane",
        &[
            "erlmcp-config",
            "erlmcp-ring",
            "erlmcp-proto",
            "erlmcp-dataplane",
            "erlmcp-tuning",
            "erlmcp-bench",
            "erlmcp-deploy",
        ],
    ),
    // Processes and readings for tests, without the reference servers.
    ("xtask", &["erlmcp-bench"]),
];

/// The one crate that may contain `unsafe`.
const UNSAFE_CRATE: &str = "erlmcp-ring";

/// Shared dependencies whose reason nobody asks for.
const OBVIOUS: [&str; 4] = ["libc", "serde", "serde_json", "tracing-subscriber"];

pub(super) fn check(root: &Path, texts: &[Text]) -> Result<Vec<Finding>> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let metadata: Value = serde_json::from_str(&run::output(&mut command)?).context("read cargo metadata")?;
    let mut found = arrows(&metadata);
    found.extend(forbids_unsafe(&metadata, |path| std::fs::read_to_string(path).unwrap_or_default()));
    if let Some(manifest) = texts.iter().find(|text| text.path == "Cargo.toml") {
        found.extend(reasons(&manifest.text));
    }
    Ok(found)
}

fn packages(metadata: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter_map(|package| Some((package["name"].as_str()?, package)))
}

fn arrows(metadata: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, package) in packages(metadata) {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            found.push(Finding::error(name, "is not in the table of arrows: which crates may it depend on?"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let ours = dependencies.filter(|dependency| dependency["path"].is_string());
        for other in ours.filter_map(|dependency| dependency["name"].as_str()) {
            if !allowed.contains(&other) {
                found.push(Finding::error(name, format!("must not depend on {other}")));
            }
        }
    }
    found
}

fn forbids_unsafe(metadata: &Value, read: impl Fn(&str) -> String) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, package) in packages(metadata).filter(|(name, _)| *name != UNSAFE_CRATE) {
        let targets = package["targets"].as_array().into_iter().flatten();
        let shipped = targets.filter(|target| {
            let mut kinds = target["kind"].as_array().into_iter().flatten().filter_map(Value::as_str);
            kinds.any(|kind| matches!(kind, "lib" | "bin"))
        });
        for path in shipped.filter_map(|target| target["src_path"].as_str()) {
            if !read(path).lines().any(|line| line == "#![forbid(unsafe_code)]") {
                let file = path.rsplit('/').next().unwrap_or(path);
                found.push(Finding::error(name, format!("{file} lacks `#![forbid(unsafe_code)]`")));
            }
        }
    }
    found
}

/// Every shared dependency from outside says beside it, or on the line before, why it is there.
fn reasons(manifest: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut within = false;
    let mut before = "";
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            within = line == "[workspace.dependencies]";
        } else if let Some((name, value)) =
            line.split_once(" = ").filter(|(name, _)| within && !name.starts_with('#'))
        {
            let ours = value.contains("path = ");
            let reason = value.contains(" # ") || before.starts_with('#');
            if !ours && !reason && !OBVIOUS.contains(&name) {
                found.push(Finding::error(
                    format!("Cargo.toml:{}", index + 1),
                    format!("why is `{name}` there? Say it in a comment"),
                ));
            }
        }
        before = line;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arrows_against_the_table_are_found() {
        let ours = |name: &str| json!({"name": name, "path": "/x"});
        let metadata = json!({"packages": [
            {"name": "erlmcp-proto", "dependencies": [ours("erlmcp-config"), {"name": "memchr", "path": null}]},
            {"name": "erlmcp-dataplane", "dependencies": [ours("erlmcp-ring")]},
            {"name": "erlmcp-new", "dependencies": []},
        ]});
        let found: Vec<_> =
            arrows(&metadata).into_iter().map(|finding| (finding.place, finding.what)).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], ("erlmcp-proto".to_owned(), "must not depend on erlmcp-config".to_owned()));
        assert_eq!(found[1].0, "erlmcp-new");
    }

    #[test]
    fn a_root_without_forbid_is_found_except_the_rings() {
        let package = |name: &str, kind: &str| json!({"name": name, "targets": [{"kind": [kind], "src_path": "/x/lib.rs"}]});
        let metadata = json!({"packages": [package("erlmcp-ring", "lib"), package("xtask", "bin"), package("erlmcp-proto", "test")]});
        let found = forbids_unsafe(&metadata, |_| "//! x\n".to_owned());
        assert_eq!(found.iter().map(|finding| finding.place.as_str()).collect::<Vec<_>>(), ["xtask"]);
        assert!(forbids_unsafe(&metadata, |_| "//! x\n#![forbid(unsafe_code)]\n".to_owned()).is_empty());
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "[package]\nname = \"x\"\n[workspace.dependencies]\nerlmcp-x = { path = \"x\" }\nlibc = \"0.2\"\n\
                        good = \"1\"  # needed\n# spelled out\nalso = \"1\"\nbare = \"1\"\n[profile.dev]\ndebug = 1\n";
        let found = reasons(manifest);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].place == "Cargo.toml:9" && found[0].what.contains("`bare`"), "{found:?}");
    }
}
