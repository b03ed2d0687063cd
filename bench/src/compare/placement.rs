//! Who runs on which processor.
//!
//! Owns the choice and the affinity of the calling thread while it measures. Whoever is measured has a processor for
//! itself; where there are enough, so have the generator and each upstream, on cores of their own before siblings.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Processors, by the kernel's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Of the measured server.
    pub server: usize,
    /// Of the generator.
    pub load: usize,
    /// Of the upstreams, in turn.
    pub upstreams: Vec<usize>,
}

impl Placement {
    /// From the processors that this process may use.
    #[must_use]
    pub fn detect() -> Self {
        let allowed = sched_getaffinity(None).map(|set| listed(&set)).unwrap_or_default();
        Self::over(&cores_first(&allowed, |cpu| {
            let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            fs::read_to_string(file).unwrap_or_default()
        }))
    }

    fn over(cpus: &[usize]) -> Self {
        let at = |index: usize| cpus.get(index).copied();
        let server = at(0).unwrap_or(0);
        let load = at(1).unwrap_or(server);
        let first = at(2).unwrap_or(load);
        Self { server, load, upstreams: vec![first, at(3).unwrap_or(first)] }
    }

    /// Of the upstreams while latency is measured. Where they share the generator's processor they go to the server's: at a
    /// fixed rate nobody's CPU is counted, every candidate has the same company, and a generator that waits for its
    /// processor measures itself.
    #[must_use]
    pub fn upstreams_paced(&self) -> Vec<usize> {
        let elsewhere = |cpu: &usize| if *cpu == self.load { self.server } else { *cpu };
        self.upstreams.iter().map(elsewhere).collect()
    }

    /// The server has a processor that nobody else uses.
    #[must_use]
    pub fn is_separate(&self) -> bool {
        self.server != self.load && !self.upstreams.contains(&self.server)
    }
}

/// The allowed processors, one of each core before any sibling of it.
fn cores_first(allowed: &[usize], siblings: impl Fn(usize) -> String) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for &cpu in allowed {
        let core = siblings(cpu);
        let alone = core.is_empty() || seen.insert(core);
        if alone { &mut first } else { &mut later }.push(cpu);
    }
    first.extend(later);
    first
}

fn listed(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// The calling thread confined to one processor, and its set as it was given back on drop: what it reads and waits for
/// must not run where somebody is measured.
#[derive(Debug)]
pub(super) struct Confined(CpuSet);

impl Confined {
    pub(super) fn to(cpu: usize) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        sched_setaffinity(None, &one(cpu)?)?;
        Ok(Self(before))
    }
}

/// Confines a process of one thread to one processor.
pub(super) fn confine(pid: u32, cpu: usize) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(sched_setaffinity(Some(pid), &one(cpu)?)?)
}

fn one(cpu: usize) -> io::Result<CpuSet> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no processor {cpu}")));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(set)
}

impl Drop for Confined {
    fn drop(&mut self) {
        // The set was this thread's a moment ago; if it no longer is to be had, the narrower one stays.
        let _ = sched_setaffinity(None, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_come_last() {
        let siblings = |cpu: usize| format!("{},{}", cpu % 2, cpu % 2 + 2);
        assert_eq!(cores_first(&[0, 1, 2, 3], siblings), [0, 1, 2, 3]);
        assert_eq!(cores_first(&[0, 2, 3], siblings), [0, 3, 2]);
        assert_eq!(cores_first(&[4, 5], |_| String::new()), [4, 5]);
    }

    #[test]
    fn whoever_is_measured_is_alone_where_that_can_be() {
        let (one, two, six) =
            (Placement::over(&[3]), Placement::over(&[0, 1]), Placement::over(&[0, 1, 2, 3, 4, 5]));
        assert_eq!(one, Placement { server: 3, load: 3, upstreams: vec![3, 3] });
        assert_eq!(two, Placement { server: 0, load: 1, upstreams: vec![1, 1] });
        assert_eq!(six, Placement { server: 0, load: 1, upstreams: vec![2, 3] });
        assert_eq!([one.is_separate(), two.is_separate()], [false, true]);
        assert_eq!((two.upstreams_paced(), six.upstreams_paced()), (vec![0, 0], vec![2, 3]));
    }

    #[test]
    fn a_process_goes_where_it_is_sent() {
        let cpu = listed(&sched_getaffinity(None).unwrap())[0];
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        confine(child.id(), cpu).unwrap();
        let pid = Pid::from_child(&child);
        assert_eq!(listed(&sched_getaffinity(Some(pid)).unwrap()), [cpu]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(confine(0, cpu).is_err());
    }

    #[test]
    fn affinity_is_given_back() {
        let before = listed(&sched_getaffinity(None).unwrap());
        let confined = Confined::to(before[0]).unwrap();
        assert_eq!(listed(&sched_getaffinity(None).unwrap()), [before[0]]);
        drop(confined);
        assert_eq!(listed(&sched_getaffinity(None).unwrap()), before);
        assert!(Confined::to(CpuSet::MAX_CPU).is_err());
    }
}
