//! Programs of Debian's packages.
//!
//! Owns the question whether they are there and, as root, their installation. Never removes or upgrades a package.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::versions::DEBIAN;
use crate::run;

/// Installs the packages of missing programs; returns what is missing after it, one line each.
pub(super) fn ensure(log: &Path, limit: Duration) -> Vec<String> {
    let wanted = packages(|program| run::which(program).is_some());
    if wanted.is_empty() {
        return Vec::new();
    }
    let list = wanted.iter().copied().collect::<Vec<_>>().join(" ");
    let by_hand = format!("install it by `apt-get install {list}`, or what your system calls these");
    if !rustix::process::geteuid().is_root() {
        return vec![format!("programs of {list}: not root, so not installed; {by_hand}")];
    }
    if run::which("apt-get").is_none() {
        return vec![format!("programs of {list}: this system has no apt-get; {by_hand}")];
    }
    println!("setup: Debian packages {list} ...");
    match install(&wanted, log, limit) {
        Ok(()) => {
            let still = packages(|program| run::which(program).is_some());
            still
                .iter()
                .map(|package| format!("{package}: installed, but its program is not in PATH"))
                .collect()
        }
        Err(error) => vec![format!("programs of {list}: {error:#}; {by_hand}")],
    }
}

/// The packages whose programs are not `there`.
fn packages(there: impl Fn(&str) -> bool) -> BTreeSet<&'static str> {
    DEBIAN.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect()
}

fn install(packages: &BTreeSet<&str>, log: &Path, limit: Duration) -> Result<()> {
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        // RUNLEVEL=1 keeps maintainer scripts from starting the servers: tests start their own.
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command
    };
    run::logged(&mut apt(&["update", "-q"]), limit, log)?;
    let mut command = apt(&["install", "-q", "-y", "--no-install-recommends"]);
    run::logged(command.args(packages), limit, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_packages_of_missing_programs_are_wanted() {
        assert!(packages(|_| true).is_empty());
        assert_eq!(
            packages(|program| program != "taskset" && program != "wrk"),
            BTreeSet::from(["util-linux", "wrk"])
        );
    }
}
