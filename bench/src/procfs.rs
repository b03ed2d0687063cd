//! What the kernel says about a process: CPU time, memory, descriptors, children.
//!
//! Owns reading and parsing of `/proc/PID`. Never keeps a figure: every call reads anew. A process that ends between
//! two reads of one call counts as far as it was read; a process that does not exist at all is an error.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Memory of a process, in bytes, from `smaps_rollup`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident set: pages in memory, shared ones counted whole.
    pub rss: u64,
    /// Proportional set: shared pages divided by their number of users.
    pub pss: u64,
}

/// `pid` and everything below it, parents first. Depth is bounded by the kernel's own process tree.
pub fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        for task in tasks(parent) {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            found.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// CPU time (user and system) of `pid`, its threads and all processes below it, exact to the nanosecond (`schedstat`).
///
/// Threads and children that have ended no longer count: take differences over a span in which none ends.
///
/// # Errors
/// When `pid` does not exist or the kernel has no `schedstat`.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos: u64 = family(pid)
        .into_iter()
        .flat_map(tasks)
        .filter_map(|task| fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_nanos(nanos))
}

/// Memory of `pid` and all processes below it.
///
/// # Errors
/// When `pid` does not exist or its figures may not be read.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let mut total = parse_rollup(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?);
    for child in family(pid).into_iter().skip(1) {
        let text = fs::read_to_string(format!("/proc/{child}/smaps_rollup")).unwrap_or_default();
        let one = parse_rollup(&text);
        total.rss += one.rss;
        total.pss += one.pss;
    }
    Ok(total)
}

/// Number of open descriptors of `pid` alone.
///
/// # Errors
/// When `pid` does not exist or belongs to somebody else.
pub fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Whether `pid` exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the command name, which is in parentheses and may itself contain them.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

fn parse_rollup(text: &str) -> Memory {
    let kib = |key: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        value.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Memory { rss: kib("Rss:") * 1024, pss: kib("Pss:") * 1024 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn rollup_is_read_in_bytes() {
        let text = "55-7f ---p 00 00:00 0 [rollup]\nRss:    1024 kB\nPss:     512 kB\nPss_Dirty:   9 kB\n";
        assert_eq!(parse_rollup(text), Memory { rss: 1 << 20, pss: 512 << 10 });
    }

    #[test]
    fn a_child_belongs_to_the_family_until_it_ends() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        assert!(family(std::process::id()).contains(&child.id()));
        assert!(is_alive(child.id()));
        assert!(memory(child.id()).unwrap().rss > 0);
        assert!(descriptors(child.id()).unwrap() >= 3);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
        assert!(cpu_time(child.id()).is_err());
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_time(std::process::id()).unwrap();
        let start = std::time::Instant::now();
        let mut x = 1_u64;
        while start.elapsed() < Duration::from_millis(30) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(cpu_time(std::process::id()).unwrap() - before >= Duration::from_millis(5));
    }
}
