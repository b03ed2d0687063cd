//! The gateway under test: `erlmcp run` with addresses of its own, ready when it says so.
//!
//! Owns its command line and its readiness. Never decides what a suite expects of it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Context;
use super::http;
use super::process::{Server, ServerSpec, free_addr};

/// From the start until `/ready` answers 200.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// How to start a gateway: `erlmcp run --listen … --admin …` and what is added here.
#[derive(Debug, Clone, Default)]
pub struct GatewaySpec {
    /// Each becomes `--upstream URL`; with none, the embedded node answers.
    pub upstreams: Vec<String>,
    /// Further arguments, such as `--driver epoll` or `--cpus 0`.
    pub args: Vec<OsString>,
    /// Environment beside the inherited one.
    pub env: Vec<(OsString, OsString)>,
    /// What stands before the binary, such as a wrapper that confines it.
    pub wrapper: Vec<OsString>,
}

impl GatewaySpec {
    /// In front of these servers.
    pub fn before<'a>(upstreams: impl IntoIterator<Item = &'a SocketAddr>) -> Self {
        let upstreams = upstreams.into_iter().map(|addr| format!("http://{addr}")).collect();
        Self { upstreams, ..Self::default() }
    }

    /// Adds arguments.
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts it and waits until it is ready; its output goes to the log `name`.
    ///
    /// # Errors
    /// When it ends early or is not ready in time; the error quotes its log.
    pub fn start(&self, context: &Context, name: &str) -> Result<Gateway> {
        let mut gateway = self.spawn(context, name)?;
        let addr = gateway.addr;
        gateway.server.wait_for("200 from /ready", READY_LIMIT, |_| {
            http::get(addr, "/ready", Duration::from_secs(1)).is_ok_and(|reply| reply.status == 200)
        })?;
        Ok(gateway)
    }

    /// Starts it without waiting for anything.
    ///
    /// # Errors
    /// When the process cannot be made.
    pub fn spawn(&self, context: &Context, name: &str) -> Result<Gateway> {
        let (addr, admin) = (free_addr()?, free_addr()?);
        let mut words = self.wrapper.clone();
        words.push(context.binary.clone().into());
        words.extend(
            ["run", "--listen", &addr.to_string(), "--admin", &admin.to_string()].map(OsString::from),
        );
        for upstream in &self.upstreams {
            words.extend([OsString::from("--upstream"), upstream.into()]);
        }
        words.extend(self.args.iter().cloned());
        let (program, args) = words.split_first().context("compose the gateway's command")?;
        let mut spec = ServerSpec::new(program).args(args).dir(&context.scratch);
        for (key, value) in &self.env {
            spec = spec.env(key, value);
        }
        Ok(Gateway { server: spec.start(context.log(name))?, addr, admin })
    }
}

/// A running gateway. Dropping it ends it.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    pub server: Server,
    /// Where traffic goes.
    pub addr: SocketAddr,
    /// Where the admin API and `/metrics` are.
    pub admin: SocketAddr,
}

impl Gateway {
    /// `http://ADDR` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}
