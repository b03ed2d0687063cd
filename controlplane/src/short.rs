//! The short way: what `run`'s flags change of the configuration, at the start and again at every reload.
//!
//! Pure. Owns the meaning of `--listen`, `--upstream`, `--admin`, `--driver`, `--cpus`.

use std::net::SocketAddr;

use erlmcp_config::model::balancer::Strategy;
use erlmcp_config::model::routes::{CLUSTER, Endpoint, GroupNode};
use erlmcp_config::model::runtime::{Driver, EmbeddedMode};
use erlmcp_config::{Address, Config, CpuWish};

/// A server named by `--upstream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Path that takes the place of `/`; `None` leaves paths alone.
    pub path: Option<String>,
}

impl std::str::FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it needs a scheme: http://HOST[:PORT][/PATH]")?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" | "ws" | "wss" | "tcp" => {
                return Err(format!("{scheme}:// is not served yet; use http://HOST[:PORT][/PATH]"));
            }
            _ => return Err(format!("{scheme}:// is unknown; use http://HOST[:PORT][/PATH]")),
        }
        if rest.contains(['?', '#', '@']) {
            return Err(
                "a query, fragment or user has no meaning here; give http://HOST[:PORT][/PATH]".into()
            );
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = split_authority(authority)?;
        let path = path.trim_end_matches('/');
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains("/../") || path.ends_with("/..")
        {
            return Err("the path has characters that a path cannot have".into());
        }
        let path = (!path.is_empty()).then(|| path.to_owned());
        Ok(Self { endpoint: Endpoint::Host { host, port }, path })
    }
}

/// Host without brackets, and port, 80 when none is written.
fn split_authority(authority: &str) -> Result<(String, u16), String> {
    let bad_port = |port: &str| format!("`{port}` is no port; ports are 1 to 65535");
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the address lacks its `]`")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| format!("`{host}` is no IPv6 address"))?;
            let port = after.strip_prefix(':').or(if after.is_empty() { Some("80") } else { None });
            (host, port.ok_or_else(|| bad_port(after))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "80")),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host) {
        return Err(format!("`{host}` is no host"));
    }
    let port = port.parse().ok().filter(|number| *number > 0).ok_or_else(|| bad_port(port))?;
    Ok((host.to_ascii_lowercase(), port))
}

/// Flags of `run` that stand above the configuration.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Replaces the listeners.
    pub listen: Vec<Address>,
    /// Replaces all groups and routes.
    pub upstreams: Vec<Upstream>,
    /// Of the admin API and the metrics.
    pub admin: Option<SocketAddr>,
    /// Processors for shards.
    pub cpus: Option<CpuWish>,
    /// How sockets are driven.
    pub driver: Option<Driver>,
}

impl Flags {
    /// Changes the configuration.
    ///
    /// # Errors
    /// Flags that do not go together.
    pub fn apply(&self, config: &mut Config) -> Result<(), String> {
        if let Some(first) = config.listeners.listeners.first().cloned()
            && !self.listen.is_empty()
        {
            let named = |(index, address): (usize, &Address)| {
                let mut listener = first.clone();
                if index > 0 {
                    listener.name = format!("{}-{}", first.name, index + 1);
                }
                listener.address = address.clone();
                listener
            };
            config.listeners.listeners = self.listen.iter().enumerate().map(named).collect();
        }
        if let Some(admin) = self.admin {
            config.listeners.admin.address = Address::Tcp(admin);
            config.monitoring.metrics.export.prometheus.port = admin.port();
        }
        if let Some(cpus) = &self.cpus {
            config.runtime.cpus = cpus.clone();
        }
        if let Some(driver) = self.driver {
            config.runtime.driver = driver;
        }
        self.replace_nodes(config)
    }

    fn replace_nodes(&self, config: &mut Config) -> Result<(), String> {
        let Some(first) = self.upstreams.first() else { return Ok(()) };
        if let Some(other) = self.upstreams.iter().find(|other| other.path != first.path) {
            let text = |path: &Option<String>| path.clone().unwrap_or_else(|| "/".into());
            return Err(format!(
                "--upstream: the paths {} and {} differ; give all the same path, or write routes.yaml",
                text(&first.path),
                text(&other.path)
            ));
        }
        config.routes.routes.clear();
        config.routes.groups.clear();
        config.runtime.embedded.enabled = EmbeddedMode::Never;
        config.load_balancer.strategy = Strategy::LeastConnections;
        let nodes = self.upstreams.iter().map(|upstream| GroupNode::new(upstream.endpoint.clone())).collect();
        config.set_group(CLUSTER, nodes);
        for route in &mut config.routes.routes {
            route.rewrite.path_prefix.clone_from(&first.path);
        }
        Ok(())
    }

    /// Groups whose nodes are only asked for a connection.
    pub fn connect_checked(&self) -> Vec<String> {
        if self.upstreams.is_empty() { Vec::new() } else { vec![CLUSTER.to_owned()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_config::{Source, load};

    fn parse(text: &str) -> Result<(String, Option<String>), String> {
        text.parse::<Upstream>().map(|upstream| (upstream.endpoint.authority(), upstream.path))
    }

    #[test]
    fn urls_of_every_form() {
        assert_eq!(parse("http://Node-1"), Ok(("node-1".into(), None)));
        assert_eq!(parse("http://10.0.0.1:8080/"), Ok(("10.0.0.1:8080".into(), None)));
        assert_eq!(parse("http://[::1]:81/a/b/"), Ok(("[::1]:81".into(), Some("/a/b".into()))));
        assert_eq!(parse("HTTP://[::1]"), Ok(("[::1]".into(), None)));
    }

    #[test]
    fn what_is_not_carried_is_said_plainly() {
        for scheme in ["https", "ws", "tcp"] {
            assert!(parse(&format!("{scheme}://a")).unwrap_err().contains("not served yet"));
        }
        for bad in [
            "a:80",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:70000",
            "http://[::1",
            "http://[x]:1",
            "http://u@a",
            "http://a?b",
            "http://a b/",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    fn applied(flags: &Flags) -> Result<Config, String> {
        let mut config = load(&Source::default()).unwrap().config;
        flags.apply(&mut config).map(|()| config)
    }

    #[test]
    fn upstreams_stand_before_everything_else() {
        let upstreams = ["http://a:1/mcp", "http://b:2/mcp"].map(|url| url.parse().unwrap()).to_vec();
        let config = applied(&Flags { upstreams, ..Flags::default() }).unwrap();
        assert!(!config.wants_embedded());
        assert_eq!(config.routes.groups[0].nodes.len(), 2);
        assert_eq!(config.routes.routes[0].rewrite.path_prefix.as_deref(), Some("/mcp"));
        let upstreams = ["http://a:1/x", "http://b:2"].map(|url| url.parse().unwrap()).to_vec();
        assert!(applied(&Flags { upstreams, ..Flags::default() }).unwrap_err().contains("/x and / differ"));
    }

    #[test]
    fn addresses_replace_those_of_the_files() {
        let flags = Flags {
            listen: vec!["127.0.0.1:1".parse().unwrap(), "unix:/run/x".parse().unwrap()],
            admin: Some("127.0.0.1:3".parse().unwrap()),
            ..Flags::default()
        };
        let config = applied(&flags).unwrap();
        let names: Vec<_> = config.listeners.listeners.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["main", "main-2"]);
        assert_eq!(config.monitoring.metrics.export.prometheus.port, 3);
    }
}
