//! A Kubernetes Deployment on the host's network, with probes and resources from `k8s/resources.yaml`.
//!
//! Owns the mapping from the configuration's names to the API's. Host network: the gateway is a node's front door, and a
//! second network stack on its path would cost what its ring saves. Never applies anything.

use std::net::SocketAddr;

use erlmcp_config::Config;
use erlmcp_config::model::kubernetes::{Probe, ResourceList};
use serde_json::{Map, Value, json};

use crate::yaml;

/// What the configuration does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name of the Deployment, its label and its container.
    pub name: String,
    /// Container image.
    pub image: String,
    /// ConfigMap with the configuration's files, mounted at `/etc/erlmcp`.
    pub config_map: String,
    /// Secret whose entries become the environment for `${VAR}`; none when the configuration needs none.
    pub secret: Option<String>,
    /// Pods; on the host's network each needs a node of its own.
    pub replicas: u32,
}

/// Where the configuration is mounted.
const CONFIG_DIR: &str = "/etc/erlmcp";

/// Renders the manifest as YAML.
pub fn deployment(config: &Config, spec: &Spec) -> String {
    let labels = json!({ "app.kubernetes.io/name": spec.name });
    let pod = json!({
        "hostNetwork": true,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "terminationGracePeriodSeconds": seconds(crate::stop_limit(config)),
        "containers": [container(config, spec)],
        "volumes": [{ "name": "config", "configMap": { "name": spec.config_map } }],
    });
    let manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": spec.name, "labels": labels },
        "spec": {
            "replicas": spec.replicas,
            "selector": { "matchLabels": labels },
            // The ports are the host's: the old pod must be gone before the new one can have them.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    });
    yaml::write(&manifest)
}

fn container(config: &Config, spec: &Spec) -> Value {
    let resources = &config.resources;
    let mut container = json!({
        "name": spec.name,
        "image": spec.image,
        "args": ["run", "--config", CONFIG_DIR],
        "ports": crate::addresses(config).into_iter().map(port).collect::<Vec<_>>(),
    });
    if let Some(secret) = &spec.secret {
        container["envFrom"] = json!([{ "secretRef": { "name": secret } }]);
    }
    let mut amounts = Map::new();
    for (name, list) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        if let Some(list) = list {
            amounts.insert(name.to_owned(), quantities(list));
        }
    }
    if !amounts.is_empty() {
        container["resources"] = Value::Object(amounts);
    }
    container["startupProbe"] = probe(config, &resources.startup_probe);
    container["livenessProbe"] = probe(config, &resources.liveness_probe);
    container["readinessProbe"] = probe(config, &resources.readiness_probe);
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
    });
    container["volumeMounts"] = json!([{ "name": "config", "mountPath": CONFIG_DIR, "readOnly": true }]);
    container
}

/// A port with its listener's name where the API takes that: at most 15 lower-case letters, digits and inner dashes.
fn port((name, addr): (&str, SocketAddr)) -> Value {
    let mut port = json!({ "containerPort": addr.port(), "hostPort": addr.port() });
    let fits = name.len() <= 15 && name.chars().any(|c| c.is_ascii_lowercase());
    let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits && letters && !name.starts_with('-') && !name.ends_with('-') && !name.contains("--") {
        port["name"] = name.into();
    }
    port
}

fn probe(config: &Config, probe: &Probe) -> Value {
    let mut get = json!({ "path": probe.http_get.path, "port": probe.http_get.port });
    // A listener on the loopback does not answer at the pod's address, but the kubelet is on the same host.
    let mut listeners = crate::addresses(config).into_iter().map(|(_, addr)| addr);
    let listener = listeners.find(|addr| addr.port() == probe.http_get.port);
    if let Some(addr) = listener.filter(|addr| addr.ip().is_loopback()) {
        get["host"] = addr.ip().to_string().into();
    }
    json!({
        "httpGet": get,
        "initialDelaySeconds": probe.initial_delay_seconds,
        "periodSeconds": probe.period_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "failureThreshold": probe.failure_threshold,
    })
}

/// Kubernetes quantities: thousandths of a core, and bytes in the largest binary unit that divides them.
fn quantities(list: &ResourceList) -> Value {
    json!({
        "cpu": format!("{}m", list.cpu),
        "memory": bytes(list.memory),
        "ephemeral-storage": bytes(list.ephemeral_storage),
    })
}

fn bytes(count: u64) -> String {
    let units = [("Gi", 1_u64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    let unit = units.iter().find(|(_, size)| count >= *size && count.is_multiple_of(*size));
    unit.map_or_else(|| count.to_string(), |(name, size)| format!("{}{name}", count / size))
}

fn seconds(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_config::{Source, load};

    fn spec() -> Spec {
        Spec {
            name: "erlmcp".into(),
            image: "registry.example/erlmcp:0.1.0".into(),
            config_map: "erlmcp-config".into(),
            secret: None,
            replicas: 3,
        }
    }

    fn cluster() -> Config {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/cluster");
        let mut source = Source::dir(dir);
        source.env = std::sync::Arc::new(|name| Some(format!("value-of-{name}")));
        load(&source).unwrap().config
    }

    #[test]
    fn probes_and_resources_are_those_of_the_cluster_example() {
        let text = deployment(&cluster(), &spec());
        for block in [
            "          resources:\n            requests:\n              cpu: \"2000m\"\n              memory: \"4Gi\"\n\
             \x20             ephemeral-storage: \"20Gi\"\n            limits:\n              cpu: \"4000m\"\n\
             \x20             memory: \"8Gi\"\n              ephemeral-storage: \"40Gi\"\n",
            "          startupProbe:\n            httpGet:\n              path: \"/startup\"\n              port: 8080\n",
            "            initialDelaySeconds: 60\n            periodSeconds: 10\n            timeoutSeconds: 5\n\
             \x20           failureThreshold: 10\n",
            "              path: \"/health\"\n",
            "              path: \"/ready\"\n",
            "      hostNetwork: true\n",
        ] {
            assert!(text.contains(block), "no\n{block}in\n{text}");
        }
    }

    #[test]
    fn absent_resources_and_secrets_are_not_rendered() {
        let config = load(&Source::default()).unwrap().config;
        let without = deployment(&config, &spec());
        assert!(!without.contains("resources:") && !without.contains("envFrom:"), "{without}");
        let with = deployment(&config, &Spec { secret: Some("erlmcp-env".into()), ..spec() });
        assert!(
            with.contains("envFrom:\n            - secretRef:\n                name: \"erlmcp-env\"\n"),
            "{with}"
        );
    }

    #[test]
    fn the_pod_is_given_time_for_the_drain() {
        let config =
            load(&Source::default().set("load_balancer.graceful_shutdown.timeout", "40s")).unwrap().config;
        let wanted = seconds(config.runtime.drain.grace) + 45;
        let text = deployment(&config, &spec());
        assert!(text.contains(&format!("terminationGracePeriodSeconds: {wanted}\n")), "{text}");
        let cut = load(&Source::default().set("load_balancer.graceful_shutdown.drain_connections", "false"));
        let text = deployment(&cut.unwrap().config, &spec());
        assert!(text.contains(&format!("terminationGracePeriodSeconds: {}\n", wanted - 40)), "{text}");
    }

    #[test]
    fn loopback_listeners_are_probed_on_the_loopback_and_odd_names_left_out() {
        let render = |address| {
            let source = Source::default().set("listeners.0.address", address);
            deployment(&load(&source).unwrap().config, &spec())
        };
        assert!(render("127.0.0.1:8080").contains("port: 8080\n              host: \"127.0.0.1\"\n"));
        assert!(!render("0.0.0.0:8080").contains("host: \""));
        let addr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(port(("admin", addr))["name"], "admin");
        for name in ["Main", "a_b", "-a", "123", "sixteen-letters-"] {
            assert_eq!(port((name, addr)).get("name"), None, "{name}");
        }
    }

    #[test]
    fn quantities_keep_their_value() {
        assert_eq!(
            [bytes(8 << 30), bytes(1536 << 20), bytes(1000), bytes(2048)],
            ["8Gi", "1536Mi", "1000", "2Ki"]
        );
    }
}
