//! Where things are in this work tree.
//!
//! Owns the folders' names and how cargo is called in them. Never creates or changes anything itself.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    // This crate lies two folders below the top: `.ci/xtask`.
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR`, else `target` in the tree.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where set-up installs npm and PyPI packages: always in the tree, so that all target folders share them.
pub fn tools() -> PathBuf {
    root().join("target").join("tools")
}

/// `cargo`, at the top of the tree.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    command
}

/// Builds what end-to-end suites and the rig run. One command for both: built apart, the two packages would agree on
/// other features of what they share, and that would be compiled twice.
pub fn release_build() -> Command {
    cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "erlmcp-controlplane",
        "--package",
        "erlmcp-bench",
    ])
}
