//! How the generator's threads and its machine fared between two moments, as the kernel tells it.
//!
//! Owns reading and parsing of `/proc` and the control groups. A file that is missing or not understood gives `None` (or
//! no share): containers hide some of them. Never judges.

use std::fs;
use std::path::{Path, PathBuf};

use super::outcome::{Machine, ThreadUse};
use super::worker::End;

/// What the kernel had counted at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Run delay (nanoseconds) and involuntary switches by thread.
    threads: Vec<(u64, u64)>,
    /// Steal and all time of the processors in use, ticks.
    steal: Option<(u64, u64)>,
    throttled: Option<u64>,
    retransmits: Option<u64>,
    softnet_drops: Option<u64>,
}

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe {
    /// Thread ids of the generator, in its order.
    pub(crate) tids: Vec<i32>,
    /// Processors that its threads are pinned to; empty means all of the machine.
    pub(crate) cpus: Vec<usize>,
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

impl Probe {
    /// Reads everything now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let thread = |tid: &i32| thread_figures(Path::new(&format!("/proc/self/task/{tid}")));
        Snapshot {
            threads: self.tids.iter().map(thread).collect(),
            steal: read("/proc/stat").and_then(|text| steal(&text, &self.cpus)),
            throttled: throttled(),
            retransmits: read("/proc/net/snmp").and_then(|text| retransmits(&text)),
            softnet_drops: read("/proc/net/softnet_stat").and_then(|text| softnet_drops(&text)),
        }
    }
}

/// Run delay (nanoseconds) and involuntary switches of the calling thread so far: it must tell itself at its end, because
/// the kernel forgets it then.
pub(crate) fn own_figures() -> (u64, u64) {
    thread_figures(Path::new("/proc/thread-self"))
}

fn thread_figures(base: &Path) -> (u64, u64) {
    let delay = read(base.join("schedstat")).and_then(|text| run_delay(&text)).unwrap_or(0);
    let switches = read(base.join("status")).and_then(|text| involuntary(&text)).unwrap_or(0);
    (delay, switches)
}

/// Connections of this network namespace that still hold a port after their end (TIME_WAIT).
pub(crate) fn time_wait() -> u64 {
    read("/proc/net/sockstat").and_then(|text| parse_time_wait(&text)).unwrap_or(0)
}

/// Local ports that the kernel gives to outgoing connections.
pub(crate) fn port_range() -> Option<u64> {
    parse_range(&read("/proc/sys/net/ipv4/ip_local_port_range")?)
}

/// What happened between two snapshots, given how each thread ended and how long it measured, nanoseconds.
pub(crate) fn between(
    before: &Snapshot,
    after: &Snapshot,
    ends: &[End],
    walls: &[u64],
    cpus: &[usize],
) -> Machine {
    let threads = ends.iter().zip(walls).enumerate().map(|(at, (end, wall))| {
        let (delay, switches) = end.figures;
        let (delay_before, switches_before) = before.threads.get(at).copied().unwrap_or(end.figures);
        let share = |nanos: u64| if *wall > 0 { (nanos as f64 / *wall as f64).min(1.0) } else { 0.0 };
        ThreadUse {
            cpu: if cpus.is_empty() { None } else { cpus.get(at % cpus.len()).copied() },
            cpu_share: share(end.cpu),
            busy_share: share(end.cpu.saturating_sub(end.spun)),
            run_delay_share: share(delay.saturating_sub(delay_before)),
            involuntary_switches: switches.saturating_sub(switches_before),
        }
    });
    let grown = |before: Option<u64>, after: Option<u64>| Some(after?.saturating_sub(before?));
    let steal = before.steal.zip(after.steal).map(|((steal_before, all_before), (steal, all))| {
        let all = all.saturating_sub(all_before);
        if all > 0 { steal.saturating_sub(steal_before) as f64 / all as f64 } else { 0.0 }
    });
    Machine {
        threads: threads.collect(),
        steal_share: steal,
        throttled: grown(before.throttled, after.throttled),
        retransmits: grown(before.retransmits, after.retransmits),
        softnet_drops: grown(before.softnet_drops, after.softnet_drops),
        ports: (0, 0),
        cpu_us_per_request: 0.0,
    }
}

/// Second figure of a `schedstat`: time spent runnable and not running, nanoseconds.
fn run_delay(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn involuntary(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

/// Steal and all time of `cpus` (of the whole machine, if empty). Fields: proc_stat(5); guest time is within user time.
fn steal(text: &str, cpus: &[usize]) -> Option<(u64, u64)> {
    let mut sum: Option<(u64, u64)> = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(of) = words.next().and_then(|name| name.strip_prefix("cpu")) else { continue };
        let wanted = match of.parse::<usize>() {
            Ok(cpu) => cpus.contains(&cpu),
            Err(_) => of.is_empty() && cpus.is_empty(),
        };
        let times: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        if let (true, Some(steal)) = (wanted, times.get(7)) {
            let (steals, all) = sum.unwrap_or_default();
            sum = Some((steals + steal, all + times.iter().sum::<u64>()));
        }
    }
    sum
}

/// `RetransSegs` of the TCP lines: names in one line, values in the next.
fn retransmits(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let at = lines.next()?.split_ascii_whitespace().position(|name| name == "RetransSegs")?;
    lines.next()?.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// Sum of the second (hexadecimal) column over all processors.
fn softnet_drops(text: &str) -> Option<u64> {
    let dropped = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok();
    text.lines().map(dropped).sum()
}

fn parse_time_wait(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

fn parse_range(text: &str) -> Option<u64> {
    let mut ends = text.split_ascii_whitespace().filter_map(|word| word.parse::<u64>().ok());
    let (first, last) = (ends.next()?, ends.next()?);
    Some((last + 1).saturating_sub(first))
}

/// Throttled periods of this process's control group and of those above it that have a quota.
fn throttled() -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    throttled_in(&groups, |path| read(path))
}

fn throttled_in(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut sum = None;
    for (base, path, quota) in groups.lines().filter_map(cpu_group) {
        // Of the path of a group inside a container only the root may be visible.
        for group in Path::new(path).ancestors() {
            let folder = base.join(group.strip_prefix("/").unwrap_or(group));
            let limited = read(&folder.join(quota)).is_some_and(|text| has_quota(&text));
            let stat = read(&folder.join("cpu.stat")).filter(|_| limited);
            if let Some(periods) = stat.and_then(|text| nr_throttled(&text)) {
                sum = Some(sum.unwrap_or(0) + periods);
            }
        }
    }
    sum
}

/// Folder of the hierarchy that limits CPU, path of the group in it, and the file with its quota.
fn cpu_group(line: &str) -> Option<(PathBuf, &str, &'static str)> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    if controllers.is_empty() {
        return Some((PathBuf::from("/sys/fs/cgroup"), path, "cpu.max"));
    }
    let v1 = controllers.split(',').any(|name| name == "cpu");
    v1.then(|| (PathBuf::from(format!("/sys/fs/cgroup/{controllers}")), path, "cpu.cfs_quota_us"))
}

/// `cpu.max` says "max" or a quota first, `cpu.cfs_quota_us` -1 or a quota.
fn has_quota(text: &str) -> bool {
    text.split_ascii_whitespace().next().is_some_and(|word| word.parse::<u64>().is_ok())
}

fn nr_throttled(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(run_delay("123 456 7\n"), Some(456));
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t12\n";
        assert_eq!(involuntary(status), Some(12));
        let stat =
            "cpu  10 0 5 80 0 0 0 6 0 0\ncpu0 4 0 2 40 0 0 0 4 3 0\ncpu1 6 0 3 40 0 0 0 2 0 0\nctxt 9\n";
        assert_eq!(steal(stat, &[]), Some((6, 101)));
        assert_eq!(steal(stat, &[0]), Some((4, 50)));
        assert_eq!(steal(stat, &[7]), None);
        let snmp = "Ip: A B\nIp: 1 2\nTcp: InSegs RetransSegs InErrs\nTcp: 100 42 0\n";
        assert_eq!(retransmits(snmp), Some(42));
        assert_eq!(softnet_drops("1e 0000000a 0\n1e 00000006 0\n"), Some(16));
        assert_eq!(parse_time_wait("sockets: used 3\nTCP: inuse 1 orphan 0 tw 77 alloc 1 mem 2\n"), Some(77));
        assert_eq!(parse_range("32768\t60999\n"), Some(28_232));
    }

    #[test]
    fn throttling_is_summed_over_the_groups_with_a_quota() {
        let files = |path: &Path| {
            let text = match path.to_str()? {
                "/sys/fs/cgroup/a/b/cpu.max" => "50000 100000",
                "/sys/fs/cgroup/a/b/cpu.stat" => "nr_periods 9\nnr_throttled 4\n",
                "/sys/fs/cgroup/a/cpu.max" => "max 100000",
                "/sys/fs/cgroup/a/cpu.stat" => "nr_periods 9\nnr_throttled 100\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us" => "20000",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.stat" => "nr_throttled 3\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        assert_eq!(throttled_in("0::/a/b\n", files), Some(4));
        assert_eq!(throttled_in("4:cpu,cpuacct:/hidden\n3:pids:/\n", files), Some(3));
        assert_eq!(throttled_in("0::/other\n", files), None);
    }

    #[test]
    fn a_thread_of_this_process_is_found() {
        let probe = Probe { tids: vec![rustix::thread::gettid().as_raw_nonzero().get()], cpus: Vec::new() };
        let before = probe.snapshot();
        std::thread::yield_now();
        let after = probe.snapshot();
        let end = End { cpu: 500, spun: 100, figures: own_figures(), ..End::default() };
        let machine = between(&before, &after, &[end], &[1_000], &[3]);
        assert_eq!(machine.threads.len(), 1);
        let thread = &machine.threads[0];
        assert!(thread.run_delay_share < 1.0 || thread.involuntary_switches > 0);
        assert_eq!((thread.cpu, thread.cpu_share, thread.busy_share), (Some(3), 0.5, 0.4));
        assert!(machine.steal_share.is_some_and(|share| (0.0..=1.0).contains(&share)));
    }
}
