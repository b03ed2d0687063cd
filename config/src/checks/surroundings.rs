//! Checks of what surrounds the traffic: caches, database, network, monitoring, chaos, Kubernetes.

use super::{Checks, Size, Span};
use crate::model::chaos::Scenario;
use crate::model::database::PoolerMode;
use crate::model::kubernetes::Probe;
use crate::model::network::TlsVersion;
use crate::values::Address;

pub(super) fn cache(checks: &mut Checks<'_>) {
    let config = checks.config;
    if let Some(cluster) = &config.cache.redis.cluster {
        let prefix = "cache.redis.cluster.nodes";
        checks.filled(prefix, &cluster.nodes, "the topology could be asked for nowhere");
        let names = cluster.nodes.iter().enumerate();
        checks.unique(
            names.map(|(i, node)| (format!("{prefix}[{i}].host"), format!("{}:{}", node.host, node.port))),
            "the server",
        );
        for (index, _) in
            cluster.nodes.iter().enumerate().filter(|(_, node)| cluster.cluster_mode && node.db != 0)
        {
            let why = "Redis Cluster has only database 0";
            let key = format!("{prefix}[{index}].db");
            checks.error(
                &key,
                &["cache.redis.cluster.cluster_mode"],
                ["another database", why, "set 0, or cluster_mode: false"],
            );
        }
    }
    if let Some(memcached) = &config.cache.memcached {
        checks.filled("cache.memcached.servers", &memcached.servers, "keys could go nowhere");
        let names = memcached.servers.iter().enumerate();
        checks.unique(
            names.map(|(i, name)| (format!("cache.memcached.servers[{i}]"), name.clone())),
            "the server",
        );
        if let Some(hot) = &memcached.hot_keys
            && let Err(error) = regex_syntax::parse(&hot.pattern)
        {
            let what = match error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                _ => "cannot be read".to_owned(),
            };
            let what = format!("no regular expression: {what}");
            checks.error("cache.memcached.hot_keys.pattern", &[], [&what, "", "correct the pattern"]);
        }
    }
}

pub(super) fn database(checks: &mut Checks<'_>) {
    let Some(postgresql) = &checks.config.database.postgresql else { return };
    let prefix = "database.postgresql";
    let (pool, most) = (postgresql.primary.pool_size, postgresql.primary.max_connections);
    let why = "the pool is part of all connections";
    checks.at_most(&format!("{prefix}.primary"), ("pool_size", pool), ("max_connections", most), why);
    let servers = postgresql.replicas.iter().enumerate();
    let primary = (
        format!("{prefix}.primary.host"),
        format!("{}:{}", postgresql.primary.host, postgresql.primary.port),
    );
    let servers =
        servers.map(|(i, r)| (format!("{prefix}.replicas[{i}].host"), format!("{}:{}", r.host, r.port)));
    checks.unique(std::iter::once(primary).chain(servers), "the server");
    let replicas = postgresql.replicas.len();
    for (name, value) in [
        ("max_wal_senders", postgresql.replication.max_wal_senders),
        ("replication_slots", postgresql.replication.replication_slots),
    ] {
        if (value as usize) < replicas {
            let what = format!("{value} for {replicas} replicas");
            let key = format!("{prefix}.replication.{name}");
            checks.warn(
                &key,
                &[&format!("{prefix}.replicas")],
                [&what, "the others cannot follow the primary", "raise it"],
            );
        }
    }
    if let Some(pooler) = &postgresql.connection_pooler {
        let (pool, most) = (pooler.pool_size, pooler.max_connections);
        let why = "server connections beyond the clients' stay idle";
        checks.at_most(
            &format!("{prefix}.connection_pooler"),
            ("pool_size", pool),
            ("max_connections", most),
            why,
        );
        if pooler.mode == PoolerMode::Statement {
            let why = "it breaks every transaction of more than one statement";
            let key = format!("{prefix}.connection_pooler.mode");
            checks.error(&key, &[], ["statement mode", why, "use transaction or session"]);
        }
    }
}

pub(super) fn network(checks: &mut Checks<'_>) {
    let network = &checks.config.network;
    let latency = &network.topology.latency_thresholds;
    let (prefix, why) = ("network.topology.latency_thresholds", "each names a slower kind of region");
    checks.below(prefix, ("fast", latency.fast), ("medium", latency.medium), why);
    checks.below(prefix, ("medium", latency.medium), ("slow", latency.slow), why);
    if network.compression.enabled {
        checks.filled(
            "network.compression.algorithms",
            &network.compression.algorithms,
            "nothing could be compressed with",
        );
    }
    if network.tls.enabled {
        checks.filled(
            "network.tls.cipher_suites",
            &network.tls.cipher_suites,
            "no connection could be agreed on",
        );
        checks.filled(
            "network.tls.protocol_versions",
            &network.tls.protocol_versions,
            "no connection could be agreed on",
        );
        let why = "listeners stay plain";
        let remedy = "give certificates, or set it to false";
        checks.warn("network.tls.enabled", &[], ["no listener has a certificate", why, remedy]);
        if network.tls.protocol_versions.contains(&TlsVersion::V12) {
            let what = "TLS 1.2 knows none of the three suites by name";
            let remedy = "its ECDHE suites with the same AEADs are used";
            checks.note("network.tls.protocol_versions", [what, "they are those of TLS 1.3", remedy]);
        }
    }
}

pub(super) fn monitoring(checks: &mut Checks<'_>) {
    let monitoring = &checks.config.monitoring;
    let metrics = &monitoring.metrics;
    let (low, high) = (
        ("collection_interval", Span(metrics.collection_interval)),
        ("retention_period", Span(metrics.retention_period)),
    );
    checks.at_most("monitoring.metrics", low, high, "nothing would be kept");
    let usage = &monitoring.resource_usage;
    for (name, thresholds) in [
        ("cpu", &usage.cpu_thresholds),
        ("memory", &usage.memory_thresholds),
        ("disk", &usage.disk_thresholds),
    ] {
        let prefix = format!("monitoring.resource_usage.{name}_thresholds");
        let why = "each is worse than the one before";
        checks.below(&prefix, ("warning", thresholds.warning), ("critical", thresholds.critical), why);
        checks.below(&prefix, ("critical", thresholds.critical), ("alert", thresholds.alert), why);
    }
    let scaling = &monitoring.autoscaling;
    let prefix = "monitoring.autoscaling";
    checks.at_most(
        prefix,
        ("min_replicas", scaling.min_replicas),
        ("max_replicas", scaling.max_replicas),
        "there would be no number between them",
    );
    let (down, up) = (
        ("scale_down_threshold", scaling.scale_down_threshold),
        ("scale_up_threshold", scaling.scale_up_threshold),
    );
    checks.below(prefix, down, up, "they are the ends of the band without change");
    for (name, target) in [
        ("target_cpu_utilization", scaling.target_cpu_utilization),
        ("target_memory_utilization", scaling.target_memory_utilization),
    ] {
        let band = scaling.scale_down_threshold..=scaling.scale_up_threshold;
        if scaling.scale_down_threshold < scaling.scale_up_threshold && !band.contains(&target) {
            let what = format!("{target} lies outside the band from {} to {}", band.start(), band.end());
            let others =
                ["monitoring.autoscaling.scale_down_threshold", "monitoring.autoscaling.scale_up_threshold"];
            let why = "reaching the target would at once be a reason to leave it";
            checks.warn(&format!("{prefix}.{name}"), &others, [&what, why, "move the target or the band"]);
        }
    }
    prometheus_port(checks);
}

fn prometheus_port(checks: &mut Checks<'_>) {
    let prometheus = &checks.config.monitoring.metrics.export.prometheus;
    if !prometheus.enabled {
        return;
    }
    for (index, listener) in checks.config.listeners.listeners.iter().enumerate() {
        if matches!(&listener.address, Address::Tcp(address) if address.port() == prometheus.port) {
            let what = format!("listener `{}` has port {} too", listener.name, prometheus.port);
            let other = format!("listeners[{index}].address");
            let key = "monitoring.metrics.export.prometheus.port";
            checks.error(
                key,
                &[&other],
                [&what, "only one of them can listen there", "change one of the two"],
            );
        }
    }
}

pub(super) fn chaos(checks: &mut Checks<'_>) {
    let config = checks.config;
    let chaos = &config.chaos;
    let experiments = chaos.experiments.iter().enumerate();
    checks.unique(
        experiments.map(|(i, e)| (format!("chaos.experiments[{i}].name"), e.name.clone())),
        "the name",
    );
    for (index, experiment) in chaos.experiments.iter().enumerate() {
        let prefix = format!("chaos.experiments[{index}]");
        checks.filled(
            &format!("{prefix}.failure_scenarios"),
            &experiment.failure_scenarios,
            "it would do nothing",
        );
        for (position, scenario) in experiment.failure_scenarios.iter().enumerate() {
            let (Scenario::CpuSpike { duration, .. } | Scenario::MemoryPressure { duration, .. }) = scenario
            else {
                continue;
            };
            if let Some(own) = duration.filter(|own| *own > experiment.duration) {
                let what = format!(
                    "{} is longer than the experiment, which lasts {}",
                    Span(own),
                    Span(experiment.duration)
                );
                let key = format!("{prefix}.failure_scenarios[{position}].duration");
                checks.error(
                    &key,
                    &[&format!("{prefix}.duration")],
                    [&what, "it is cut there", "shorten it"],
                );
            }
        }
    }
    let faults = &chaos.fault_injection;
    let prefix = "chaos.fault_injection";
    let delays =
        faults.delays.iter().enumerate().map(|(i, f)| (format!("{prefix}.delays[{i}].name"), f.name.clone()));
    let errors =
        faults.errors.iter().enumerate().map(|(i, f)| (format!("{prefix}.errors[{i}].name"), f.name.clone()));
    let slow = faults
        .bandwidth
        .iter()
        .enumerate()
        .map(|(i, f)| (format!("{prefix}.bandwidth[{i}].name"), f.name.clone()));
    let count = faults.delays.len() + faults.errors.len() + faults.bandwidth.len() + chaos.experiments.len();
    checks.unique(delays.chain(errors).chain(slow), "the name");
    if let Some(webhook) = &chaos.monitoring.notifications.slack_webhook
        && !webhook.reveal().starts_with("https://")
    {
        let why = "the address itself is the secret, and would travel in the clear";
        let key = "chaos.monitoring.notifications.slack_webhook";
        checks.warn(key, &[], ["no https address", why, "copy it from Slack's page of incoming webhooks"]);
    }
    if count > 0 && !config.runtime.chaos.armed {
        let why = "loading a file must not hurt anybody's traffic";
        let remedy = "start one by hand, or write `chaos: {armed: true}` into runtime.yaml";
        checks.note("chaos", ["nothing here runs by itself", why, remedy]);
    }
}

pub(super) fn kubernetes(checks: &mut Checks<'_>) {
    let resources = &checks.config.resources;
    if let (Some(requests), Some(limits)) = (&resources.requests, &resources.limits) {
        for (name, request, limit) in [
            ("memory", requests.memory, limits.memory),
            ("ephemeral-storage", requests.ephemeral_storage, limits.ephemeral_storage),
        ] {
            let why = "Kubernetes refuses such a pod";
            let (low, high) = (format!("requests.{name}"), format!("limits.{name}"));
            checks.at_most("resources", (&low, Size(request)), (&high, Size(limit)), why);
        }
        let (low, high) = (("requests.cpu", requests.cpu), ("limits.cpu", limits.cpu));
        checks.at_most("resources", low, high, "Kubernetes refuses such a pod (thousandths of a core)");
    }
    for (name, probe) in [
        ("liveness_probe", &resources.liveness_probe),
        ("readiness_probe", &resources.readiness_probe),
        ("startup_probe", &resources.startup_probe),
    ] {
        probe_port(checks, &format!("resources.{name}"), probe);
    }
}

fn probe_port(checks: &mut Checks<'_>, prefix: &str, probe: &Probe) {
    let port = probe.http_get.port;
    let served = checks.config.listeners.listeners.iter().any(|listener| match &listener.address {
        Address::Tcp(address) => address.port() == port,
        Address::Unix(_) => false,
    });
    let key = format!("{prefix}.http_get.port");
    // The probes' defaults say nothing about a gateway that never sees Kubernetes.
    if !served && checks.places.given(&key) {
        let what = format!("no listener has port {port}");
        let why = "the probe would fail and Kubernetes would restart the gateway";
        checks.warn(&key, &["listeners"], [&what, why, "name a listener's port"]);
    }
}
