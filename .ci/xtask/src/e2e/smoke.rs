//! The smallest suite: before two nginx servers the gateway answers, balances, reports and ends.
//!
//! Owns one happy path. Anything that can go wrong belongs in a suite of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::gateway::GatewaySpec;
use super::http;
use super::process::{Server, ServerSpec, free_addr};
use super::{Context, Outcome};

const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (_one, first) = nginx(context, "first")?;
    let (_two, second) = nginx(context, "second")?;
    let mut gateway = GatewaySpec::before([&first, &second]).start(context, "gateway")?;
    outcome.pass("ready");

    let mut names = BTreeSet::new();
    for _ in 0..20 {
        let reply = http::get(gateway.addr, "/who", LIMIT)?;
        ensure!(reply.status == 200, "/who: status {} through the gateway", reply.status);
        names.insert(String::from_utf8_lossy(&reply.body).into_owned());
    }
    outcome.check("both upstreams answer", names.len() == 2, || format!("only {names:?}"));

    let missing = http::get(gateway.addr, "/no-such-file", LIMIT)?.status;
    outcome.check("an upstream's 404 passes", missing == 404, || format!("status {missing}"));

    let metrics = http::get(gateway.admin, "/metrics", LIMIT)?;
    let text = String::from_utf8_lossy(&metrics.body);
    outcome.check("/metrics speaks of erlmcp", metrics.status == 200 && text.contains("\nerlmcp_"), || {
        format!("status {}: {}", metrics.status, text.chars().take(300).collect::<String>())
    });

    let status = gateway.server.terminate(LIMIT).context("end on SIGTERM")?;
    outcome.check("exit 0 on SIGTERM", status.success(), || format!("{status}"));
    Ok(outcome)
}

/// An nginx of Debian that answers `/who` with `name`.
fn nginx(context: &Context, name: &str) -> Result<(Server, SocketAddr)> {
    let addr = free_addr()?;
    let folder = context.scratch.join(name);
    let folder_text = folder.display();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {folder_text}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {folder_text}/body;\n  proxy_temp_path {folder_text}/proxy;\n\
         \x20 fastcgi_temp_path {folder_text}/fastcgi;\n  uwsgi_temp_path {folder_text}/uwsgi;\n  scgi_temp_path {folder_text}/scgi;\n\
         \x20 server {{\n    listen {addr};\n    root {folder_text};\n    location = /who {{ return 200 \"{name}\"; }}\n  }}\n}}\n"
    );
    let path = context.write(&format!("{name}/nginx.conf"), &config)?;
    let mut server =
        ServerSpec::new("nginx").arg("-c").arg(&path).arg("-e").arg("stderr").start(context.log(name))?;
    server.wait_for_port(addr, LIMIT)?;
    Ok((server, addr))
}
