//! The proxies that a gateway is compared with, each as an experienced operator would set it up for this traffic.
//!
//! Owns their configuration files (templates in `bench/peers/`) and command lines. Every one gets one worker on one
//! processor, two keep-alive upstreams, and an access log line per request where it has access logs (`access_log`).

mod certificate;
mod template;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use certificate::{Certificate, make as make_certificate};

use crate::child::ServerSpec;
use crate::compare::Program;
use crate::ports::free_addr;

const NGINX: &str = include_str!("../../peers/nginx.conf");
const HAPROXY: &str = include_str!("../../peers/haproxy.cfg");
const ENVOY: &str = include_str!("../../peers/envoy.yaml");
/// File of the access log in the folder of a peer that writes one of its own.
const ACCESS_LOG: &str = "access.log";
/// nginx allocates all of these at its start: room for both sides of 8,000 connections, as everyone has at least.
const NGINX_CONNECTIONS_MIN: u32 = 16_384;
/// Far above what any scenario needs, so that no breaker trips.
const ENVOY_BREAKER: u32 = 65_536;
/// HAProxy refuses to start when its own sum of descriptors is above the limit: connections for which it needs two.
const CONNECTIONS_MIN: u32 = 8_000;

/// A server to measure.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name in the table.
    pub name: String,
    /// How it is started.
    pub server: ServerSpec,
    /// Where it listens.
    pub addr: SocketAddr,
    /// A file of its own that grows with every request, to be removed after each run.
    pub access_log: Option<PathBuf>,
}

/// What is common to all peers of a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Folder for configuration files and logs, one subfolder per peer.
    pub folder: &'a Path,
    /// Processor of the peer.
    pub cpu: usize,
    /// The servers behind it.
    pub upstreams: &'a [SocketAddr],
    /// Whether it writes an access log.
    pub access_log: bool,
    /// Client connections that it must carry.
    pub connections: u32,
    /// What it presents to clients; without one they come in plain.
    pub tls: Option<&'a Certificate>,
}

/// The bare forwarder (`floor`); its connections go to the upstreams in turn. It knows no TLS.
///
/// # Errors
/// When there is no free port or no upstream.
pub fn floor(setting: &Setting<'_>, program: &Program) -> io::Result<Candidate> {
    let addr = free_addr()?;
    if setting.upstreams.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let server = start(program, setting).arg(addr.to_string());
    let server = setting.upstreams.iter().fold(server, |server, upstream| server.arg(upstream.to_string()));
    Ok(Candidate { name: "floor".into(), server, addr, access_log: None })
}

/// The gateway before the upstreams, by flags alone.
///
/// # Errors
/// When there is no free port.
pub fn gateway(
    setting: &Setting<'_>,
    program: &Program,
    name: &str,
    driver: &str,
    upstream_scheme: &str,
) -> io::Result<Candidate> {
    let (addr, admin) = (free_addr()?, free_addr()?);
    let mut server = start(program, setting)
        .args(["run", "--listen", &addr.to_string(), "--admin", &admin.to_string()])
        .args(["--cpus", &setting.cpu.to_string(), "--driver", driver]);
    for upstream in setting.upstreams {
        server = server.arg("--upstream").arg(format!("{upstream_scheme}://{upstream}"));
    }
    if !setting.access_log {
        server = server.args(["--set", "runtime.access_log.enabled=false"]);
    }
    if let Some(files) = setting.tls {
        server = server.arg("--tls-cert").arg(&files.cert).arg("--tls-key").arg(&files.key);
    }
    Ok(Candidate { name: name.to_owned(), server, addr, access_log: None })
}

/// nginx with 32 idle upstream connections (it has no cap on busy ones).
///
/// # Errors
/// When its files cannot be written.
pub fn nginx(setting: &Setting<'_>, program: &Program) -> io::Result<Candidate> {
    let addr = free_addr()?;
    let folder = setting.folder.join("nginx");
    let file = write(&folder, "nginx.conf", nginx_conf(setting, &folder, addr))?;
    let server = start(program, setting).args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(&file);
    Ok(Candidate { name: "nginx".into(), server, addr, access_log: Some(folder.join(ACCESS_LOG)) })
}

/// HAProxy, with at most `connections_max` connections per upstream when given.
///
/// # Errors
/// When its file cannot be written.
pub fn haproxy(
    setting: &Setting<'_>,
    program: &Program,
    connections_max: Option<u32>,
) -> io::Result<Candidate> {
    let addr = free_addr()?;
    let name = if connections_max.is_some() { "haproxy-cap" } else { "haproxy" };
    let file = write(&setting.folder.join(name), "haproxy.cfg", haproxy_cfg(setting, connections_max, addr))?;
    let server = start(program, setting).args(["-db", "-f"]).arg(&file);
    Ok(Candidate { name: name.into(), server, addr, access_log: None })
}

/// Envoy with one worker.
///
/// # Errors
/// When its file cannot be written.
pub fn envoy(setting: &Setting<'_>, program: &Program) -> io::Result<Candidate> {
    let addr = free_addr()?;
    let folder = setting.folder.join("envoy");
    let file = write(&folder, "envoy.yaml", envoy_yaml(setting, &folder, addr))?;
    let server =
        start(program, setting).args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]);
    let access_log = Some(folder.join(ACCESS_LOG));
    Ok(Candidate { name: "envoy".into(), server: server.arg(&file), addr, access_log })
}

fn start(program: &Program, setting: &Setting<'_>) -> ServerSpec {
    ServerSpec::new(&program.file).args(&program.args).cpus(setting.cpu.to_string())
}

fn write(folder: &Path, name: &str, text: Result<String, String>) -> io::Result<PathBuf> {
    let wrong = |word| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: word {word:?} is wrong"));
    fs::create_dir_all(folder)?;
    let file = folder.join(name);
    fs::write(&file, text.map_err(wrong)?)?;
    Ok(file)
}

fn nginx_conf(setting: &Setting<'_>, folder: &Path, addr: SocketAddr) -> Result<String, String> {
    let servers: Vec<String> = setting.upstreams.iter().map(|addr| format!("server {addr};")).collect();
    let access_log = match setting.access_log {
        true => format!("{}/{ACCESS_LOG} combined buffer=64k flush=1s", folder.display()),
        false => "off".to_owned(),
    };
    let tls = setting.tls.map_or_else(String::new, |files| {
        format!("ssl_certificate {};\nssl_certificate_key {};", files.cert.display(), files.key.display())
    });
    let listen = if setting.tls.is_some() { format!("{addr} ssl") } else { addr.to_string() };
    let values = [
        ("descriptors", (2 * setting.connections + 1000).max(NGINX_CONNECTIONS_MIN).to_string()),
        ("folder", folder.display().to_string()),
        ("access_log", access_log),
        ("servers", servers.join("\n")),
        ("listen", listen),
        ("tls", tls),
    ];
    template::fill(NGINX, &values)
}

fn haproxy_cfg(
    setting: &Setting<'_>,
    connections_max: Option<u32>,
    addr: SocketAddr,
) -> Result<String, String> {
    let cap = connections_max.map_or_else(String::new, |max| format!(" maxconn {max}"));
    let servers = setting.upstreams.iter().enumerate();
    let servers: Vec<String> = servers.map(|(at, addr)| format!("server node{at} {addr}{cap}")).collect();
    let (global_log, log) = match setting.access_log {
        true => ("log stdout format raw local0 info", "log global\noption httplog"),
        false => ("", ""),
    };
    let tls = setting.tls.map_or_else(String::new, |files| format!("ssl crt {}", files.both.display()));
    let values = [
        ("connections", setting.connections.max(CONNECTIONS_MIN).to_string()),
        ("global_log", global_log.to_owned()),
        ("log", log.to_owned()),
        ("listen", addr.to_string()),
        ("tls", tls),
        ("servers", servers.join("\n")),
    ];
    template::fill(HAPROXY, &values)
}

fn envoy_yaml(setting: &Setting<'_>, folder: &Path, addr: SocketAddr) -> Result<String, String> {
    let server = |addr: &SocketAddr| {
        format!(
            "- endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}",
            addr.ip(),
            addr.port()
        )
    };
    let servers: Vec<String> = setting.upstreams.iter().map(server).collect();
    let access_log = match setting.access_log {
        true => format!(
            "\n- name: envoy.access_loggers.file\n  typed_config:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog\n    \
             path: {}/{ACCESS_LOG}",
            folder.display()
        ),
        false => "[]".to_owned(),
    };
    let tls = setting.tls.map_or_else(String::new, |files| {
        format!(
            "transport_socket:\n  name: envoy.transport_sockets.tls\n  typed_config:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext\n    \
             common_tls_context:\n      tls_certificates:\n      - certificate_chain: {{ filename: {} }}\n        \
             private_key: {{ filename: {} }}",
            files.cert.display(),
            files.key.display()
        )
    });
    let values = [
        ("host", addr.ip().to_string()),
        ("port", addr.port().to_string()),
        ("access_log", access_log),
        ("tls", tls),
        ("connections", ENVOY_BREAKER.to_string()),
        ("servers", servers.join("\n")),
    ];
    template::fill(ENVOY, &values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: &str = "127.0.0.1:9001";

    fn with_setting<R>(access_log: bool, tls: Option<&Certificate>, f: impl FnOnce(&Setting<'_>) -> R) -> R {
        let upstreams = ["127.0.0.1:9201".parse().unwrap(), "127.0.0.1:9202".parse().unwrap()];
        let folder = Path::new("/x");
        f(&Setting { folder, cpu: 0, upstreams: &upstreams, access_log, connections: 64, tls })
    }

    fn files() -> Certificate {
        Certificate { cert: "/c".into(), key: "/k".into(), both: "/b".into() }
    }

    #[test]
    fn the_cap_the_log_and_tls_are_written_where_asked_for() {
        let addr = ADDR.parse().unwrap();
        let capped =
            with_setting(true, Some(&files()), |setting| haproxy_cfg(setting, Some(32), addr)).unwrap();
        for part in
            ["server node1 127.0.0.1:9202 maxconn 32\n", "  option httplog\n", "backlog 4096 ssl crt /b\n"]
        {
            assert!(capped.contains(part), "no {part:?} in\n{capped}");
        }
        let plain = with_setting(false, None, |setting| haproxy_cfg(setting, None, addr)).unwrap();
        for part in ["server node0 127.0.0.1:9201\n", "backlog 4096\n", "maxconn 8000\n"] {
            assert!(plain.contains(part), "no {part:?} in\n{plain}");
        }
        assert!(!plain.contains("httplog") && !plain.contains("stdout") && !plain.contains("{{"), "{plain}");
    }

    #[test]
    fn nginx_serves_tls_only_with_a_certificate() {
        let addr = ADDR.parse().unwrap();
        let plain = with_setting(false, None, |setting| nginx_conf(setting, Path::new("/x"), addr)).unwrap();
        assert!(
            plain.contains("access_log off;") && plain.contains("listen 127.0.0.1:9001 backlog"),
            "{plain}"
        );
        let tls =
            with_setting(true, Some(&files()), |setting| nginx_conf(setting, Path::new("/x"), addr)).unwrap();
        assert!(
            tls.contains("127.0.0.1:9001 ssl backlog") && tls.contains("    ssl_certificate_key /k;\n"),
            "{tls}"
        );
    }

    #[test]
    fn envoy_keeps_its_indentation() {
        let addr = ADDR.parse().unwrap();
        let text =
            with_setting(true, Some(&files()), |setting| envoy_yaml(setting, Path::new("/x"), addr)).unwrap();
        for part in [
            "\n          - name: envoy.access_loggers.file\n            typed_config:\n",
            "\n      transport_socket:\n        name: envoy.transport_sockets.tls\n",
            "\n        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 9202 } } }\n",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        let plain = with_setting(false, None, |setting| envoy_yaml(setting, Path::new("/x"), addr)).unwrap();
        assert!(plain.contains("access_log: []\n") && !plain.contains("transport_socket:"), "{plain}");
    }

    #[test]
    fn the_gateway_is_told_by_flags() {
        let files = files();
        let line = with_setting(false, Some(&files), |setting| {
            gateway(setting, &Program::new("erlmcp"), "erlmcp", "epoll", "http").unwrap().server.line()
        });
        for part in [
            "run --listen ",
            "--upstream http://127.0.0.1:9202",
            "--driver epoll",
            "--tls-cert /c --tls-key /k",
        ] {
            assert!(line.contains(part), "{line}");
        }
        assert!(line.contains("runtime.access_log.enabled=false"), "{line}");
    }
}
