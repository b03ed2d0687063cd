//! Where things are in this work tree.
//!
//! Owns the folders' names. Never creates or changes anything.

use std::path::{Path, PathBuf};

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
