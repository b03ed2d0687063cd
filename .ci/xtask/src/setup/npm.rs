//! npm packages: a Node that is new enough, and the conformance runner.
//!
//! Owns `target/tools/npm`. Never installs globally.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::versions::{CONFORMANCE, NODE};
use super::{ITEM_LIMIT, Place};
use crate::run;

pub(super) fn make(place: &Place) -> Result<()> {
    if run::which("npm").is_none() {
        bail!("there is no npm; install Node with npm (Debian: `apt-get install nodejs npm`)");
    }
    let folder = place.tools.join("npm");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    // A manifest of its own keeps npm from climbing to one further up.
    fs::write(folder.join("package.json"), "{\"private\": true}\n").context("write package.json")?;
    let mut command = Command::new("npm");
    command.current_dir(&folder).args([
        "install",
        "--save-exact",
        "--no-audit",
        "--no-fund",
        NODE,
        CONFORMANCE,
    ]);
    run::logged(&mut command, ITEM_LIMIT, &place.log)
}
