//! The machine that the generator ran on, as its kernel tells. Reads `/proc`, changes nothing.

use std::fs;

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Such as `Linux 6.18.44`; empty where the kernel does not say.
    pub kernel: String,
    /// Model of the first processor; empty where the kernel does not say.
    pub cpu: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Memory, bytes; 0 where the kernel does not say.
    pub memory_bytes: u64,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            kernel: kernel(&text("/proc/sys/kernel/ostype"), &text("/proc/sys/kernel/osrelease")),
            cpu: cpu(&text("/proc/cpuinfo")),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory(&text("/proc/meminfo")),
        }
    }
}

fn kernel(name: &str, release: &str) -> String {
    format!("{} {}", name.trim(), release.trim()).trim().to_owned()
}

/// `model name` on x86, `Model` of a board or nothing elsewhere.
fn cpu(cpuinfo: &str) -> String {
    ["model name", "Model"]
        .into_iter()
        .find_map(|key| {
            let of_key = |line: &str| {
                line.split_once(':').filter(|(name, _)| name.trim() == key).map(|(_, v)| v.trim().to_owned())
            };
            cpuinfo.lines().find_map(of_key)
        })
        .unwrap_or_default()
}

fn memory(meminfo: &str) -> u64 {
    let kib = meminfo.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.unwrap_or(0).saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kernels_print() {
        assert_eq!(kernel("Linux\n", "6.18.44\n"), "Linux 6.18.44");
        assert_eq!(cpu("processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n"), "AMD EPYC");
        assert_eq!(cpu("processor\t: 0\nModel\t\t: Raspberry Pi 5\n"), "Raspberry Pi 5");
        assert_eq!(memory("MemTotal:        8048644 kB\nMemFree: 1 kB\n"), 8_048_644 * 1_024);
        assert_eq!((cpu(""), memory(""), kernel("", "")), (String::new(), 0, String::new()));
    }

    #[test]
    fn reads_this_machine() {
        let host = Host::read();
        assert!(
            host.kernel.starts_with("Linux ") && host.processors > 0 && host.memory_bytes > 0,
            "{host:?}"
        );
    }
}
