//! What a comparison is to do: scenarios, candidates, rounds, programs, processors. Complete values; measures nothing.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::placement::Placement;
use super::scenario::Scenario;

/// Connections per upstream of a proxy with a cap: the gateway's own default per upstream and shard.
pub const POOL_CAP: u32 = 32;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The bare epoll forwarder: what any proxy pays to the kernel.
    Floor,
    /// The gateway, its driver chosen by itself.
    Erlmcp,
    /// The gateway on io_uring.
    ErlmcpIoUring,
    /// The gateway on epoll.
    ErlmcpEpoll,
    /// nginx.
    Nginx,
    /// HAProxy as its users run it: no cap on connections to upstreams.
    Haproxy,
    /// HAProxy with the gateway's cap.
    HaproxyCap,
    /// Envoy.
    Envoy,
}

impl Who {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Floor,
        Self::Erlmcp,
        Self::ErlmcpIoUring,
        Self::ErlmcpEpoll,
        Self::Nginx,
        Self::Haproxy,
        Self::HaproxyCap,
        Self::Envoy,
    ];

    /// Who takes part when nobody chooses; the first is what ratios refer to.
    pub const DEFAULTS: [Self; 6] =
        [Self::Floor, Self::Erlmcp, Self::Nginx, Self::Haproxy, Self::HaproxyCap, Self::Envoy];

    /// As users and tables write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Erlmcp => "erlmcp",
            Self::ErlmcpIoUring => "erlmcp-io_uring",
            Self::ErlmcpEpoll => "erlmcp-epoll",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::HaproxyCap => "haproxy-cap",
            Self::Envoy => "envoy",
        }
    }

    /// The driver that the gateway is started with, where this is the gateway.
    #[must_use]
    pub const fn driver(self) -> Option<&'static str> {
        match self {
            Self::Erlmcp => Some("auto"),
            Self::ErlmcpIoUring => Some("io_uring"),
            Self::ErlmcpEpoll => Some("epoll"),
            _ => None,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no candidate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no candidate `{0}`: there are floor, erlmcp, erlmcp-io_uring, erlmcp-epoll, nginx, haproxy, haproxy-cap and envoy"
)]
pub struct UnknownCandidate(String);

impl FromStr for Who {
    type Err = UnknownCandidate;

    fn from_str(text: &str) -> Result<Self, UnknownCandidate> {
        Self::ALL.into_iter().find(|who| who.name() == text).ok_or_else(|| UnknownCandidate(text.to_owned()))
    }
}

/// What puts the load on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadBy {
    /// This crate's generator; `wrk` for what it does not speak yet, which the report says.
    #[default]
    Own,
    /// `wrk`: closed loops only, so there is no latency at a fixed rate.
    Wrk,
}

/// A program with the arguments that come before those that a comparison adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file, or its name in `PATH`.
    pub file: PathBuf,
    /// Arguments that come first.
    pub args: Vec<OsString>,
}

impl Program {
    /// A program without arguments of its own.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), args: Vec::new() }
    }

    /// With arguments that come first.
    #[must_use]
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}

/// Where the programs are. A candidate whose program is `None`, or is not there, is absent, and the report says so.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The fixed-reply upstream: takes `LISTEN`. Nothing is measured without it.
    pub hello: Option<Program>,
    /// The bare forwarder: takes `LISTEN UPSTREAM...`.
    pub floor: Option<Program>,
    /// The gateway: takes `run ...`.
    pub gateway: Option<Program>,
    /// nginx.
    pub nginx: Option<Program>,
    /// HAProxy.
    pub haproxy: Option<Program>,
    /// Envoy.
    pub envoy: Option<Program>,
    /// Folder of `null`, `runtime-tokio`, `runtime-monoio` and `runtime-glommio`.
    pub runtimes: Option<PathBuf>,
}

/// A comparison.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is asked, in this order.
    pub scenarios: Vec<Scenario>,
    /// Of whom; ratios refer to the first that takes part.
    pub candidates: Vec<Who>,
    /// Rounds per scenario, at least 1.
    pub rounds: u32,
    /// Measured time per candidate and round.
    pub duration: Duration,
    /// Load before it: fills pools, caches and branch predictors.
    pub warmup: Duration,
    /// Whether latency is measured too, at half of the slowest candidate's rate, for `duration` per candidate and round.
    pub latency: bool,
    /// Idle streams and connections are cut to numbers that take seconds, and every error is fatal: shows that everyone
    /// answers, nothing about speed.
    pub quick: bool,
    /// What puts the load on.
    pub load: LoadBy,
    /// Whether everyone who can writes an access log line per request.
    pub access_log: bool,
    /// Connections per upstream of `haproxy-cap`.
    pub pool_cap: u32,
    /// Who runs where.
    pub placement: Placement,
    /// Where the programs are.
    pub programs: Programs,
    /// Configuration files, certificates and logs go here; made when it is not there.
    pub folder: PathBuf,
}

impl Plan {
    /// Everything that is installed, in every default scenario: seven rounds of two seconds.
    ///
    /// `folder` gets configuration files and logs. `programs` beyond those that `PATH` has are the caller's to set.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, programs: Programs) -> Self {
        Self {
            scenarios: Scenario::defaults(),
            candidates: Who::DEFAULTS.to_vec(),
            rounds: 7,
            duration: Duration::from_secs(2),
            warmup: Duration::from_secs(1),
            latency: true,
            quick: false,
            load: LoadBy::Own,
            access_log: true,
            pool_cap: POOL_CAP,
            placement: Placement::detect(),
            programs,
            folder: folder.into(),
        }
    }

    /// One round of a third of a second each (a second where wrk puts the load on), and strict about errors.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.quick = true;
        self.rounds = 1;
        self.duration = Duration::from_millis(300);
        self.warmup = Duration::from_millis(100);
        self
    }
}

/// The program's place in `PATH`, or in the folders that only root's `PATH` has.
#[must_use]
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

impl Programs {
    /// HAProxy, nginx and Envoy from `PATH`; Envoy also from `tools`, where set-up puts it; the reference programs from
    /// `beside`, the folder of the running executable.
    #[must_use]
    pub fn find(beside: &Path, tools: Option<&Path>) -> Self {
        let installed = |name: &str| which(name).map(Program::new);
        let own = |name: &str| Some(beside.join(name)).filter(|file| file.is_file()).map(Program::new);
        let packaged = tools.map(|tools| tools.join("envoy/bin/envoy")).filter(|file| file.is_file());
        Self {
            hello: own("hello"),
            floor: own("floor"),
            gateway: own("erlmcp"),
            nginx: installed("nginx"),
            haproxy: installed("haproxy"),
            envoy: packaged.map(Program::new).or_else(|| installed("envoy")),
            runtimes: Some(beside.to_path_buf()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_read_back() {
        for who in Who::ALL {
            assert_eq!(who.to_string().parse(), Ok(who));
        }
        assert!("traefik".parse::<Who>().unwrap_err().to_string().contains("haproxy-cap"));
    }

    #[test]
    fn programs_are_found_where_they_are() {
        assert!(which("sh").is_some_and(|file| file.is_absolute()));
        assert_eq!(which("no-such-program-here"), None);
        let folder = std::env::temp_dir().join(format!("erlmcp-programs-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("envoy/bin")).unwrap();
        for file in ["floor", "envoy/bin/envoy"] {
            std::fs::write(folder.join(file), "").unwrap();
        }
        let found = Programs::find(&folder, Some(&folder));
        assert_eq!(found.floor, Some(Program::new(folder.join("floor"))));
        assert_eq!(found.envoy, Some(Program::new(folder.join("envoy/bin/envoy"))));
        assert_eq!(found.gateway, None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
