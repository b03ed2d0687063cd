//! A systemd service unit: `systemd.service(5)`, `systemd.exec(5)`.
//!
//! Owns hardening, limits and the stop protocol. Never enables or starts anything.

use std::fmt::Write as _;
use std::path::Path;

use erlmcp_config::Config;

/// Descriptors where the configuration asks for no number: the kernel's own ceiling, `fs.nr_open`, by default.
const DESCRIPTORS_DEFAULT: u32 = 1_048_576;

/// Locked memory, bytes: rings and registered buffers of 64 shards with room. Kernels before 5.12 charge the rings here.
const LOCKED_MEMORY_BYTES: u64 = 256 << 20;

/// Why there is no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// systemd wants absolute paths.
    #[error("the {what} must be an absolute path without control characters, not {path:?}")]
    Path {
        /// Which one.
        what: &'static str,
        /// What was given.
        path: String,
    },
}

/// Renders the unit that runs `binary` on the configuration in `config_dir`.
///
/// # Errors
/// [`UnitError`] when a path cannot stand in a unit.
pub fn unit(config: &Config, binary: &Path, config_dir: &Path) -> Result<String, UnitError> {
    let binary = quoted("binary", binary)?;
    let dir = quoted("configuration folder", config_dir)?;
    let descriptors = config.runtime.descriptor_limit.unwrap_or(DESCRIPTORS_DEFAULT);
    let stop_seconds = crate::stop_limit(config).as_millis().div_ceil(1000);
    let privileged = crate::addresses(config).iter().any(|(_, addr)| addr.port() < 1024);
    let capabilities = if privileged { "CAP_NET_BIND_SERVICE" } else { "" };
    let mut text = format!(
        "[Unit]
Description=erlmcp, gateway of MCP servers
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={binary} run --config {dir}
ExecReload=kill -HUP $MAINPID
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec={stop_seconds}s
Restart=on-failure
RestartSec=1s
LimitNOFILE={descriptors}
LimitMEMLOCK={LOCKED_MEMORY_BYTES}

DynamicUser=yes
RuntimeDirectory=erlmcp
StateDirectory=erlmcp
LogsDirectory=erlmcp
UMask=0077

AmbientCapabilities={capabilities}
CapabilityBoundingSet={capabilities}
"
    );
    for line in HARDENING {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

/// What the service gives up. `@system-service` holds the io_uring calls and `sched_setaffinity`, which pins the shards.
const HARDENING: &[&str] = &[
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateTmp=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectSystem=strict",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
];

/// A word of a command line: quoted, `%` (specifiers) and `$` (variables) doubled.
fn quoted(what: &'static str, path: &Path) -> Result<String, UnitError> {
    let refused = || UnitError::Path { what, path: path.to_string_lossy().into_owned() };
    let text = path.to_str().filter(|_| path.is_absolute()).ok_or_else(refused)?;
    if text.chars().any(char::is_control) {
        return Err(refused());
    }
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if plain {
        return Ok(text.to_owned());
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    Ok(format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_config::{Source, load};

    fn rendered(set: &[(&str, &str)]) -> String {
        let source = set.iter().fold(Source::default(), |source, (path, value)| source.set(*path, *value));
        let config = load(&source).unwrap().config;
        unit(&config, Path::new("/usr/bin/erlmcp"), Path::new("/etc/erlmcp")).unwrap()
    }

    #[test]
    fn a_unit_says_what_the_configuration_says() {
        let text = rendered(&[
            ("load_balancer.graceful_shutdown.timeout", "40s"),
            ("runtime.drain.grace", "2500ms"),
            ("runtime.descriptor_limit", "65536"),
        ]);
        for line in [
            "Type=exec",
            "ExecStart=/usr/bin/erlmcp run --config /etc/erlmcp",
            "ExecReload=kill -HUP $MAINPID",
            "KillSignal=SIGTERM",
            // 40 s of drain, 2.5 s before it, 5 s of margin.
            "TimeoutStopSec=48s",
            "LimitNOFILE=65536",
            "AmbientCapabilities=",
        ] {
            assert!(text.lines().any(|have| have == line), "no line `{line}` in\n{text}");
        }
    }

    #[test]
    fn only_low_ports_get_a_capability() {
        let text = rendered(&[("listeners.0.address", "127.0.0.1:80")]);
        assert!(text.contains("\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"), "{text}");
    }

    #[test]
    fn every_line_is_a_section_or_a_setting_once() {
        let text = rendered(&[]);
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let section = line.starts_with('[') && line.ends_with(']');
            let key = line.split_once('=').map(|(key, _)| key);
            assert!(section || key.is_some_and(|key| key.chars().all(char::is_alphanumeric)), "{line}");
            assert!(seen.insert(key.unwrap_or(line).to_owned()), "twice: {line}");
        }
    }

    #[test]
    fn words_are_quoted_for_systemd() {
        let word = |path: &str| quoted("binary", Path::new(path));
        assert_eq!(word("/opt/a b/$x%\"").unwrap(), "\"/opt/a b/$$x%%\\\"\"");
        assert!(word("relative").is_err());
        assert!(word("/opt/a\nUser=root").unwrap_err().to_string().contains("binary"));
    }
}
