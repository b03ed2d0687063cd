//! `erlmcp run`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use erlmcp_config::model::runtime::Driver;
use erlmcp_config::{Address, CpuWish};

use super::{ConfigArgs, Outcome};
use crate::reload::Origin;
use crate::run;
use crate::short::{Flags, Upstream};

/// Flags of `run`; they stand above the configuration, at reloads too.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  erlmcp run\n      the embedded MCP node at http://127.0.0.1:8080/mcp, admin at http://127.0.0.1:9090\n  erlmcp run --listen 0.0.0.0:80 --upstream http://10.0.0.5:3000 --upstream http://10.0.0.6:3000\n      two servers, balanced by least connections\n  erlmcp run --config /etc/erlmcp --set runtime.driver=epoll"
)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Listen here instead: IP:PORT, [IPV6]:PORT or unix:/PATH. May be repeated.
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    listen: Vec<Address>,
    /// Serve this server instead of configured nodes: http://HOST[:PORT][/PATH]. May be repeated.
    #[arg(long, value_name = "URL", value_parser = str::parse::<Upstream>)]
    upstream: Vec<Upstream>,
    /// Address of the admin API and of the metrics.
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// One shard on each of these processors, such as `1-3,5`.
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    cpus: Option<CpuWish>,
    /// How sockets are driven.
    #[arg(long)]
    driver: Option<DriverArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DriverArg {
    /// io_uring where it works, else epoll.
    Auto,
    /// io_uring, or the process does not start.
    #[value(name = "io_uring")]
    IoUring,
    /// epoll.
    Epoll,
}

fn parse_address(text: &str) -> Result<Address, String> {
    text.parse()
}

fn parse_cpus(text: &str) -> Result<CpuWish, String> {
    text.parse()
}

pub(super) fn run(args: RunArgs) -> Outcome {
    let driver = args.driver.map(|driver| match driver {
        DriverArg::Auto => Driver::Auto,
        DriverArg::IoUring => Driver::IoUring,
        DriverArg::Epoll => Driver::Epoll,
    });
    let flags =
        Flags { listen: args.listen, upstreams: args.upstream, admin: args.admin, cpus: args.cpus, driver };
    run::run(Origin { source: args.config.source(), flags, embedded: None }).map(|()| true)
}
