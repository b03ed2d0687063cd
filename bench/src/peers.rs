//! The proxies that a gateway is compared with, each as an experienced operator would set it up for this traffic.
//!
//! Owns their configuration files and command lines. Every one gets one worker on one processor, two keep-alive
//! upstreams, and an access log line per request where it has access logs (`access_log`).

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::child::ServerSpec;
use crate::compare::Candidate;
use crate::ports::free_addr;

/// What is common to all peers of a comparison.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// Folder for configuration files and logs, one subfolder per peer.
    pub folder: &'a Path,
    /// Processor of the peer.
    pub cpu: &'a str,
    /// The servers behind it.
    pub upstreams: &'a [SocketAddr],
    /// Whether it writes an access log.
    pub access_log: bool,
}

/// The bare forwarder (`floor`); its connections go to the upstreams in turn.
///
/// # Errors
/// When there is no free port or no upstream.
pub fn floor(setting: &Setting<'_>, program: &Path) -> io::Result<Candidate> {
    let addr = free_addr()?;
    if setting.upstreams.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let server = ServerSpec::new(program).arg(addr.to_string()).cpus(setting.cpu);
    let server = setting.upstreams.iter().fold(server, |server, upstream| server.arg(upstream.to_string()));
    Ok(Candidate { name: "floor".into(), server, addr })
}

/// nginx with 32 idle upstream connections (it has no cap on busy ones).
///
/// # Errors
/// When its files cannot be written.
pub fn nginx(setting: &Setting<'_>) -> io::Result<Candidate> {
    let addr = free_addr()?;
    let folder = setting.folder.join("nginx");
    fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    fs::write(&file, nginx_conf(setting, &folder, addr))?;
    let server = ServerSpec::new("nginx").arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(&file);
    Ok(Candidate { name: "nginx".into(), server: server.cpus(setting.cpu), addr })
}

/// HAProxy, with at most `connections_max` connections per upstream when given.
///
/// # Errors
/// When its file cannot be written.
pub fn haproxy(setting: &Setting<'_>, connections_max: Option<u32>) -> io::Result<Candidate> {
    let addr = free_addr()?;
    let name = connections_max.map_or_else(|| "haproxy".to_owned(), |max| format!("haproxy-cap{max}"));
    let folder = setting.folder.join(&name);
    fs::create_dir_all(&folder)?;
    let file = folder.join("haproxy.cfg");
    fs::write(&file, haproxy_cfg(setting, connections_max, addr))?;
    let server = ServerSpec::new("haproxy").arg("-db").arg("-f").arg(&file).cpus(setting.cpu);
    Ok(Candidate { name, server, addr })
}

fn nginx_conf(setting: &Setting<'_>, folder: &Path, addr: SocketAddr) -> String {
    let folder = folder.display();
    let servers: String = setting.upstreams.iter().map(|addr| format!("    server {addr};\n")).collect();
    let access_log = match setting.access_log {
        true => format!("access_log {folder}/access.log combined buffer=64k flush=1s;"),
        false => "access_log off;".to_owned(),
    };
    format!(
        "daemon off;
master_process off;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 16384; }}
http {{
  {access_log}
  keepalive_requests 100000000;
  keepalive_timeout 1h;
  tcp_nodelay on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream nodes {{
{servers}    keepalive 32;
    keepalive_requests 100000000;
  }}
  server {{
    listen {addr} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_read_timeout 1h;
    location / {{ proxy_pass http://nodes; }}
    location /sse {{ proxy_pass http://nodes; proxy_buffering off; }}
  }}
}}
"
    )
}

fn haproxy_cfg(setting: &Setting<'_>, connections_max: Option<u32>, addr: SocketAddr) -> String {
    let cap = connections_max.map_or_else(String::new, |max| format!(" maxconn {max}"));
    let servers = setting.upstreams.iter().enumerate();
    let servers: String = servers.map(|(at, addr)| format!("  server node{at} {addr}{cap}\n")).collect();
    let (log, httplog) = match setting.access_log {
        true => ("  log stdout format raw local0 info\n", "  log global\n  option httplog\n"),
        false => ("", ""),
    };
    format!(
        "global
  maxconn 8000
  nbthread 1
{log}defaults
  mode http
{httplog}  option http-no-delay
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout queue 30s
frontend front
  bind {addr} backlog 4096
  default_backend nodes
backend nodes
  balance roundrobin
{servers}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(access_log: bool) -> Setting<'static> {
        let upstreams =
            Box::leak(Box::new(["127.0.0.1:9201".parse().unwrap(), "127.0.0.1:9202".parse().unwrap()]));
        Setting { folder: Path::new("/tmp/x"), cpu: "0", upstreams, access_log }
    }

    #[test]
    fn the_cap_and_the_log_are_written_where_asked_for() {
        let addr = "127.0.0.1:9001".parse().unwrap();
        let capped = haproxy_cfg(&setting(true), Some(32), addr);
        assert!(
            capped.contains("server node1 127.0.0.1:9202 maxconn 32\n") && capped.contains("option httplog")
        );
        let plain = haproxy_cfg(&setting(false), None, addr);
        assert!(
            plain.contains("server node0 127.0.0.1:9201\n")
                && !plain.contains("  log")
                && !plain.contains("httplog"),
            "{plain}"
        );
        let nginx = nginx_conf(&setting(false), Path::new("/tmp/x"), addr);
        assert!(nginx.contains("access_log off;") && nginx.contains("keepalive 32;"));
    }
}
