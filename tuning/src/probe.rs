//! What this process may use: processors and limits, read from `/proc` and `/sys`.
//!
//! Owns the reading. The roots are arguments, so that tests show trees of other hosts. Never writes, never guesses: an
//! absent source is `None`, a source that cannot be understood is an error.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cpu_list::{self, CpuListError};

/// Where the kernel's trees are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// Why the host could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A file that every Linux has cannot be read.
    #[error("cannot read {path}: {cause}; is /proc mounted?", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A list of processors makes no sense.
    #[error("cannot understand {path}: {cause}", path = .path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: CpuListError,
    },
    /// A line is missing from a file that has it on every Linux.
    #[error("{path} has no line `{line}`", path = .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// How the line starts.
        line: &'static str,
    },
}

/// Processors by what restricts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuProbe {
    /// What the process's affinity admits (`taskset`, a container's cpuset, systemd's `CPUAffinity`).
    pub affinity: BTreeSet<usize>,
    /// What the control groups admit, of version 1 and 2 together; `None` when none of them says anything.
    pub cpuset: Option<BTreeSet<usize>>,
    /// What is switched on; `None` when the kernel does not say.
    pub online: Option<BTreeSet<usize>>,
}

impl CpuProbe {
    /// What all of them admit.
    pub fn usable(&self) -> BTreeSet<usize> {
        let within =
            |cpu: &usize, set: &Option<BTreeSet<usize>>| set.as_ref().is_none_or(|set| set.contains(cpu));
        let usable =
            self.affinity.iter().filter(|cpu| within(cpu, &self.cpuset) && within(cpu, &self.online));
        usable.copied().collect()
    }
}

/// Soft and hard value of a resource limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: Option<u64>,
    /// How far the process may raise it by itself.
    pub hard: Option<u64>,
}

/// Resource limits that decide how much a gateway can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open descriptors (`RLIMIT_NOFILE`).
    pub descriptors: Limit,
    /// Locked memory in bytes (`RLIMIT_MEMLOCK`), which bounds registered buffers.
    pub locked_memory_bytes: Limit,
}

/// Reads which processors this process may use.
///
/// # Errors
/// [`ProbeError`] when `/proc/self/status` cannot be read or a list makes no sense.
pub fn cpus(roots: &Roots) -> Result<CpuProbe, ProbeError> {
    let status = roots.proc.join("self/status");
    let affinity = line(&status, "Cpus_allowed_list:")?;
    let affinity = parse_list(&status, &affinity)?;
    let online = optional_list(&roots.sys.join("devices/system/cpu/online"))?;
    Ok(CpuProbe { affinity, cpuset: cpuset(roots)?, online })
}

/// Reads the resource limits of this process.
///
/// # Errors
/// [`ProbeError`] when `/proc/self/limits` cannot be read or lacks a line.
pub fn limits(roots: &Roots) -> Result<Limits, ProbeError> {
    let path = roots.proc.join("self/limits");
    let descriptors = limit(&path, "Max open files")?;
    let locked_memory_bytes = limit(&path, "Max locked memory")?;
    Ok(Limits { descriptors, locked_memory_bytes })
}

fn limit(path: &Path, name: &'static str) -> Result<Limit, ProbeError> {
    let text = line(path, name)?;
    let mut words = text.split_ascii_whitespace();
    let mut value = || match words.next() {
        Some("unlimited") => Ok(None),
        Some(word) => {
            word.parse().map(Some).map_err(|_| ProbeError::Missing { path: path.into(), line: name })
        }
        None => Err(ProbeError::Missing { path: path.into(), line: name }),
    };
    Ok(Limit { soft: value()?, hard: value()? })
}

/// The intersection of the cpusets of all hierarchies that `/proc/self/cgroup` names; `None` when none exists.
fn cpuset(roots: &Roots) -> Result<Option<BTreeSet<usize>>, ProbeError> {
    // Without control groups in the kernel the file does not exist.
    let Ok(groups) = fs::read_to_string(roots.proc.join("self/cgroup")) else { return Ok(None) };
    let mount = roots.sys.join("fs/cgroup");
    let mut result: Option<BTreeSet<usize>> = None;
    for group in groups.lines() {
        // `hierarchy:controllers:path`; version 2 is hierarchy 0 without controllers.
        let mut parts = group.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let found = if controllers.is_empty() {
            let files = ["cpuset.cpus.effective"];
            match nearest(&mount, path, &files)? {
                None => nearest(&mount.join("unified"), path, &files)?,
                found => found,
            }
        } else if controllers.split(',').any(|controller| controller == "cpuset") {
            nearest(&mount.join("cpuset"), path, &["cpuset.effective_cpus", "cpuset.cpus"])?
        } else {
            None
        };
        result = match (result, found) {
            (Some(before), Some(now)) => Some(&before & &now),
            (before, now) => before.or(now),
        };
    }
    Ok(result)
}

/// The first of `files` that says something, in the group `path` or the nearest group above it: a container often
/// sees its own group mounted as the root while `/proc/self/cgroup` shows the path outside.
fn nearest(mount: &Path, path: &str, files: &[&str]) -> Result<Option<BTreeSet<usize>>, ProbeError> {
    for group in Path::new(path.trim_start_matches('/')).ancestors() {
        // A path that climbs out of the mount is another namespace's; only the root speaks for it.
        if group.components().any(|part| part == std::path::Component::ParentDir) {
            continue;
        }
        for file in files {
            if let Some(cpus) = optional_list(&mount.join(group).join(file))?.filter(|cpus| !cpus.is_empty())
            {
                return Ok(Some(cpus));
            }
        }
    }
    Ok(None)
}

fn optional_list(path: &Path) -> Result<Option<BTreeSet<usize>>, ProbeError> {
    match fs::read_to_string(path) {
        Ok(text) => parse_list(path, &text).map(Some),
        Err(_) => Ok(None),
    }
}

fn parse_list(path: &Path, text: &str) -> Result<BTreeSet<usize>, ProbeError> {
    cpu_list::parse(text).map_err(|cause| ProbeError::List { path: path.into(), cause })
}

/// What follows `start` on the line that starts with it.
fn line(path: &Path, start: &'static str) -> Result<String, ProbeError> {
    let text = fs::read_to_string(path).map_err(|cause| ProbeError::Read { path: path.into(), cause })?;
    let found = text.lines().find_map(|line| line.strip_prefix(start));
    found.map(|rest| rest.trim().to_owned()).ok_or(ProbeError::Missing { path: path.into(), line: start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A host's tree, removed on drop.
    struct Host(PathBuf);

    impl Host {
        fn new(files: &[(&str, &str)]) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let top = std::env::temp_dir().join(format!("erlmcp-probe-{}-{number}", std::process::id()));
            for (path, text) in files {
                let path = top.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(top)
        }

        fn roots(&self) -> Roots {
            Roots { proc: self.0.join("proc"), sys: self.0.join("sys") }
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const STATUS: (&str, &str) =
        ("proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n");

    #[test]
    fn each_source_narrows_the_set() {
        let host = Host::new(&[
            STATUS,
            ("sys/devices/system/cpu/online", "0-5\n"),
            ("proc/self/cgroup", "0::/pod/gateway\n"),
            ("sys/fs/cgroup/pod/gateway/cpuset.cpus.effective", "2-7\n"),
        ]);
        let probe = cpus(&host.roots()).unwrap();
        assert_eq!(probe.affinity.len(), 8);
        assert_eq!(probe.usable(), BTreeSet::from([2, 3, 4, 5]));
    }

    #[test]
    fn a_group_without_the_controller_takes_the_nearest_above() {
        let host = Host::new(&[
            STATUS,
            ("proc/self/cgroup", "0::/user.slice/session\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "0-3\n"),
            ("sys/fs/cgroup/user.slice/cpuset.cpus.effective", "\n"),
        ]);
        assert_eq!(cpus(&host.roots()).unwrap().cpuset, Some(BTreeSet::from([0, 1, 2, 3])));
    }

    #[test]
    fn hybrid_hosts_have_both_versions() {
        let host = Host::new(&[
            STATUS,
            ("proc/self/cgroup", "9:name=systemd:/\n3:cpuset,cpu:/docker/abc\n0::/\n"),
            ("sys/fs/cgroup/cpuset/docker/abc/cpuset.cpus", "1-4\n"),
            ("sys/fs/cgroup/unified/cpuset.cpus.effective", "0-3\n"),
        ]);
        assert_eq!(cpus(&host.roots()).unwrap().usable(), BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn only_affinity_is_enough_and_needed() {
        let host = Host::new(&[STATUS]);
        let probe = cpus(&host.roots()).unwrap();
        assert_eq!((probe.cpuset.clone(), probe.online.clone(), probe.usable().len()), (None, None, 8));
        let bare = Host::new(&[("proc/self/status", "Name:\tx\n")]);
        assert!(matches!(cpus(&bare.roots()), Err(ProbeError::Missing { line: "Cpus_allowed_list:", .. })));
        assert!(matches!(cpus(&Host::new(&[]).roots()), Err(ProbeError::Read { .. })));
        let odd = Host::new(&[STATUS, ("sys/devices/system/cpu/online", "all\n")]);
        assert!(matches!(cpus(&odd.roots()), Err(ProbeError::List { .. })));
    }

    #[test]
    fn limits_are_read_by_column() {
        let host = Host::new(&[(
            "proc/self/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max open files            20000                1048576              files     \n\
             Max locked memory         8388608              unlimited            bytes     \n",
        )]);
        let limits = limits(&host.roots()).unwrap();
        assert_eq!(limits.descriptors, Limit { soft: Some(20_000), hard: Some(1_048_576) });
        assert_eq!(limits.locked_memory_bytes, Limit { soft: Some(8 << 20), hard: None });
    }

    #[test]
    fn this_host_can_be_read() {
        assert!(!cpus(&Roots::default()).unwrap().usable().is_empty());
        assert!(limits(&Roots::default()).unwrap().descriptors.soft.is_none_or(|count| count > 0));
    }
}
