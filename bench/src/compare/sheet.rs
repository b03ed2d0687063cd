//! The machine and the programs that a comparison ran on and with, read and never asked of the user.
//!
//! Owns the reading. What cannot be read is said to be unknown.

use std::fs;
use std::process::Command;

use serde::Serialize;

use super::plan::{Program, Programs};

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// Model of the processors.
    pub cpu: String,
    /// How many processors are online.
    pub cpus: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Kernel, as `uname -sr` tells.
    pub kernel: String,
    /// The hypervisor's or the board's name, where it is told.
    pub platform: Option<String>,
    /// Frequency governor of the first processor, where there is one.
    pub governor: Option<String>,
    /// Name of each program and the line that it calls its version.
    pub versions: Vec<(String, String)>,
}

impl Sheet {
    /// Reads `/proc`, `/sys`, and asks each program that is there for its version.
    #[must_use]
    pub fn read(programs: &Programs, wrk: bool) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let line = |file: &str| Some(read(file).trim().to_owned()).filter(|text| !text.is_empty());
        let system = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Self {
            cpu: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cpus: read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count(),
            memory_mib: kib(&read("/proc/meminfo"), "MemTotal") / 1024,
            kernel: format!("{} {}", text(system.sysname()), text(system.release())),
            platform: line("/sys/class/dmi/id/product_name"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            versions: versions(programs, wrk),
        }
    }
}

fn versions(programs: &Programs, wrk: bool) -> Vec<(String, String)> {
    let wrk = super::plan::which("wrk").filter(|_| wrk).map(Program::new);
    let asked: [(&str, Option<&Program>, &str, &str); 5] = [
        ("erlmcp", programs.gateway.as_ref(), "--version", "erlmcp"),
        ("nginx", programs.nginx.as_ref(), "-v", "nginx version"),
        ("haproxy", programs.haproxy.as_ref(), "-v", "HAProxy version"),
        ("envoy", programs.envoy.as_ref(), "--version", "version:"),
        ("wrk", wrk.as_ref(), "-v", "wrk"),
    ];
    let told = asked.into_iter().filter_map(|(name, program, flag, mark)| {
        let program = program?;
        // nginx and wrk answer on standard error, and wrk with a failure.
        let done = Command::new(&program.file).args(&program.args).arg(flag).output().ok()?;
        let text = [done.stdout, done.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        // From the mark on: Envoy puts its own path before it.
        let line = text.lines().find_map(|line| line.find(mark).map(|at| &line[at..])).unwrap_or("unknown");
        Some((name.to_owned(), line.split_whitespace().collect::<Vec<_>>().join(" ")))
    });
    told.collect()
}

fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kib(text: &str, key: &str) -> u64 {
    value(text, key).and_then(|value| value.split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_missing_ones_are_not() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nMemTotal:       24576 kB\n";
        assert_eq!(value(text, "model name").as_deref(), Some("AMD EPYC 7B13"));
        assert_eq!((kib(text, "MemTotal"), kib(text, "SwapTotal")), (24576, 0));
        assert_eq!(value(text, "bogomips"), None);
    }

    #[test]
    fn this_machine_is_read() {
        let sheet = Sheet::read(&Programs::default(), false);
        assert!(sheet.cpus > 0 && sheet.memory_mib > 0 && sheet.kernel.starts_with("Linux "), "{sheet:?}");
        assert!(sheet.versions.is_empty());
        // Whatever answers is quoted, found by the mark; else it is told to be unknown.
        let echo = Program::new("echo").args(["HAProxy version  9"]);
        let programs =
            Programs { haproxy: Some(echo), nginx: Some(Program::new("true")), ..Programs::default() };
        let versions = versions(&programs, false);
        assert_eq!(versions[0], ("nginx".to_owned(), "unknown".to_owned()));
        assert_eq!(versions[1], ("haproxy".to_owned(), "HAProxy version 9 -v".to_owned()));
    }
}
