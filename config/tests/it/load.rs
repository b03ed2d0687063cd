//! The shipped folders, overrides, show and diff, through the public door.

use crate::common::{Folder, cluster, with_env};
use erlmcp_config::model::balancer::Strategy;
use erlmcp_config::model::routes::{CLUSTER, Endpoint, GroupNode};
use erlmcp_config::{Severity, Source, diff, load, show, show_files};
use std::time::Duration;

#[test]
fn the_embedded_default_says_what_holds_without_any_file() {
    let embedded = load(&Source::default()).unwrap();
    assert_eq!(embedded.report.to_string(), "");
    assert_eq!(embedded.config, Folder::new(&[]).config());
    assert!(embedded.config.wants_embedded());
    assert_eq!(embedded.config.listeners.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(embedded.config.listeners.admin.address.to_string(), "127.0.0.1:9090");
}

#[test]
fn the_cluster_loads_as_it_stands() {
    let loaded = load(&with_env(Source::dir(cluster()))).unwrap_or_else(|report| panic!("{report}"));
    let config = loaded.config;
    assert_eq!(config.load_balancer.strategy, Strategy::LeastConnections);
    assert_eq!(config.load_balancer.health_check.interval, Duration::from_secs(5));
    assert_eq!(config.load_balancer.session_timeout, Duration::from_secs(86_400));
    assert_eq!(config.pools.http_pool.pool_recycle, Duration::from_secs(3600));
    assert_eq!(config.cache.redis.local_cache.max_memory, 256_000_000);
    assert_eq!(
        config.cache.memcached.as_ref().unwrap().hot_keys.as_ref().unwrap().ttl,
        Duration::from_secs(3600)
    );
    let primary = &config.database.postgresql.as_ref().unwrap().primary;
    assert_eq!(primary.password.as_ref().unwrap().reveal(), "hunter2");
    assert_eq!(config.monitoring.metrics.retention_period, Duration::from_secs(7 * 86_400));
    assert_eq!(config.monitoring.autoscaling.stabilization_window, Duration::from_secs(300));
    assert_eq!(config.multi_region.failover.data_sync.sync_interval, Duration::from_millis(100));
    assert_eq!(config.chaos.experiments.len(), 3);
    assert_eq!(config.resources.limits.as_ref().unwrap().cpu, 4000);
    assert_eq!(config.resources.limits.as_ref().unwrap().memory, 8 << 30);
    assert_eq!(config.resilience.circuit_breakers.of("transport_tcp").half_open_requests, 10);
    assert_eq!(config.resilience.circuit_breakers.of("erlmcp_core").half_open_requests, 5);
    assert_eq!(config.vm.entries.len(), 16);
    let group = config.group(CLUSTER).unwrap();
    assert_eq!(group.nodes.len(), 3);
    assert_eq!(config.resolve_node("node-1").as_deref(), Some("erlmcp-node-1"));
    assert_eq!(config.resolve_node("node-4"), None);
    assert!(!config.wants_embedded());
    let missing = loaded.report.diagnostics.iter().filter(|d| d.what.contains("`node-4`"));
    let places: Vec<_> = missing.map(|d| (d.severity, d.line, d.column, d.why.as_str())).collect();
    assert_eq!(
        places,
        [
            (Severity::Warning, 15, 35, "keys of shard-2 live on 2 of its 3 nodes"),
            (Severity::Warning, 21, 25, "keys of shard-3 live on 2 of its 3 nodes"),
        ]
    );
    for entry in &config.vm.entries {
        let notes = loaded.report.diagnostics.iter().filter(|d| d.key == entry.key()).count();
        assert_eq!(notes, 1, "{}", entry.key());
    }
}

#[test]
fn without_its_variables_the_cluster_is_refused_by_name() {
    let mut source = Source::dir(cluster());
    source.env = std::sync::Arc::new(|_| None);
    let report = load(&source).unwrap_err();
    let errors: Vec<String> = report
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| {
            format!("{}:{}:{}: {}: {}", d.file.rsplit('/').next().unwrap(), d.line, d.column, d.key, d.what)
        })
        .collect();
    assert_eq!(
        errors,
        [
            "database.yaml:9:17: database.postgresql.primary.password: environment variable DB_PASSWORD is not set",
            "chaos.yaml:88:22: chaos.monitoring.notifications.slack_webhook: environment variable SLACK_WEBHOOK is not set",
        ]
    );
}

#[test]
fn resources_may_lie_beside_the_others() {
    let text = std::fs::read_to_string(cluster().join("k8s/resources.yaml")).unwrap();
    for name in ["resources.yaml", "k8s/resources.yaml"] {
        assert_eq!(Folder::new(&[(name, &text)]).config().resources.startup_probe.failure_threshold, 10);
    }
    let both = Folder::new(&[("resources.yaml", &text), ("k8s/resources.yaml", &text)]);
    assert!(both.load().unwrap_err().to_string().contains("is there too, keep one of the two"));
}

#[test]
fn nodes_form_the_group_that_could_have_been_written() {
    let balancer = ("load-balancer.yaml", "load_balancer:\n  nodes: [{name: a, host: n1, port: 80}]\n");
    let written = (
        "routes.yaml",
        "groups: [{name: cluster, nodes: [{name: a, host: n1, port: 80}]}]\nroutes: [{name: default, to: [{group: cluster}]}]\n",
    );
    assert_eq!(Folder::new(&[balancer]).config().routes, Folder::new(&[written]).config().routes);
    // A route may name the group before it exists.
    let route = ("routes.yaml", "routes: [{name: x, to: [{group: cluster}]}]");
    assert_eq!(Folder::new(&[balancer, route]).config().routes.groups.len(), 1);
}

#[test]
fn a_group_takes_from_others_what_it_does_not_say() {
    let folder = Folder::new(&[
        (
            "load-balancer.yaml",
            "load_balancer: {strategy: round_robin, health_check: {path: /h, interval: 9s}}",
        ),
        ("resilience.yaml", "resilience: {timeouts: {connect: 7000}}"),
        (
            "routes.yaml",
            "groups: [{name: g, nodes: [{host: n, port: 1}], health_check: {timeout: 1s}, timeouts: {read: 2m}}]",
        ),
    ]);
    let config = folder.config();
    let group = config.group("g").unwrap();
    assert_eq!(group.strategy, Strategy::RoundRobin);
    assert_eq!(
        (group.health_check.path.as_str(), group.health_check.interval),
        ("/h", Duration::from_secs(9))
    );
    assert_eq!(group.health_check.timeout, Duration::from_secs(1));
    assert_eq!(
        (group.timeouts.connect, group.timeouts.read),
        (Duration::from_secs(7), Duration::from_secs(120))
    );
}

#[test]
fn upstreams_from_the_command_line_take_the_place_of_the_embedded_node() {
    let mut config = load(&Source::default()).unwrap().config;
    let endpoint = Endpoint::Host { host: "127.0.0.1".into(), port: 9201 };
    config.set_group(CLUSTER, vec![GroupNode::new(endpoint)]);
    assert!(!config.wants_embedded());
    assert_eq!(config.routes.routes[0].to[0].group, CLUSTER);
    assert_eq!(config.group(CLUSTER).unwrap().nodes[0].name, "127.0.0.1:9201");
}

#[test]
fn overrides_are_checked_like_files() {
    let source = Source::default()
        .set("listeners[0].address", "127.0.0.1:18080")
        .set("runtime.driver", "epoll")
        .set("runtime.cpus", "[0, 1]")
        .set("load_balancer.nodes.0", "{host: a, port: 1}")
        .set("load_balancer.nodes[1].host", "b")
        .set("load_balancer.nodes[1].port", "2");
    let config = load(&source).unwrap_or_else(|report| panic!("{report}")).config;
    assert_eq!(config.listeners.listeners[0].address.to_string(), "127.0.0.1:18080");
    assert_eq!(config.listeners.listeners[0].name, "main");
    assert_eq!(config.load_balancer.nodes.len(), 2);
    assert_eq!(config.runtime.cpus.to_string(), "0-1");
    let reset = Source::default().set("runtime.driver", "epoll").set("runtime.driver", "~");
    assert_eq!(load(&reset).unwrap().config, load(&Source::default()).unwrap().config);
    let wrong = Source::default()
        .set("runtime.drivr", "epoll")
        .set("listeners[5].name", "x")
        .set("load_balancr.nodes", "[]")
        .set("runtime.driver", "kqueue")
        .set("listeners..name", "x")
        .set("listeners[0].address.port", "1");
    assert_eq!(
        load(&wrong).unwrap_err().to_string(),
        "--set:1:15: runtime.drivr: unknown key, nothing reads it, did you mean `driver`?\n\
         --set:2:19: listeners[5].name: the list has 1 entries, so there is no [5], an index one past the end appends\n\
         --set:3:20: load_balancr.nodes: no file has a key `load_balancr` at its top, did you mean `load_balancer`?\n\
         --set:4:16: runtime.driver: `kqueue` is none of the known ones, known here: auto, io_uring, epoll\n\
         --set:5:17: listeners..name: `listeners..name` is no path of a key, write it like `listeners[0].address`\n\
         --set:6:27: listeners[0].address.port: there is nothing below which `port` could stand, name the key above it, or an index of a list\n"
    );
}

#[test]
fn what_is_shown_loads_to_the_same_and_shows_no_secret() {
    for source in [with_env(Source::dir(cluster())), Source::default()] {
        let mut config = load(&source).unwrap().config;
        let text = show(&config);
        assert!(!text.contains("hunter2") && !text.contains("geheim"), "{text}");
        assert!(!format!("{config:?}").contains("hunter2"));
        let files = show_files(&config);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let mut again = Folder::new(&files).config();
        // Masked texts and vm.config are what cannot come back.
        again.database.clone_from(&config.database);
        again.chaos.monitoring.notifications = config.chaos.monitoring.notifications.clone();
        config.vm.entries.clear();
        assert_eq!(again, config);
    }
}

#[test]
fn differences_say_what_needs_a_restart_and_hide_secrets() {
    let text = |password: &str, weight: u32, driver: &str| {
        let postgresql = format!(
            "database: {{postgresql: {{primary: {{host: h, database: d, username: u, password: {password}}}}}}}"
        );
        let nodes = format!("load_balancer: {{nodes: [{{host: a, port: 1, weight: {weight}}}]}}");
        let driver = format!("driver: {driver}");
        Folder::new(&[
            ("database.yaml", &postgresql),
            ("load-balancer.yaml", &nodes),
            ("runtime.yaml", &driver),
        ])
        .config()
    };
    let (a, b) = (text("first-secret", 1, "auto"), text("second-secret", 2, "epoll"));
    let changes = diff(&a, &b);
    let lines: Vec<_> = changes
        .iter()
        .map(|c| (c.key.as_str(), c.from.as_deref(), c.to.as_deref(), c.needs_restart))
        .collect();
    assert_eq!(
        lines,
        [
            ("groups[0].nodes[0].weight", Some("1"), Some("2"), false),
            ("runtime.driver", Some("auto"), Some("epoll"), true),
            ("load_balancer.nodes[0].weight", Some("1"), Some("2"), false),
            ("database.postgresql.primary.password", Some("********"), Some("******** (another one)"), false),
        ]
    );
    assert!(diff(&a, &a).is_empty());
}

/// FNV-1a, 64 bits: enough to see that a file was touched.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn the_architecture_s_own_files_are_shipped_to_the_byte() {
    let known: [(&str, u64); 12] = [
        ("cache.yaml", 0xb31e_a054_4251_b1a8),
        ("chaos.yaml", 0x42bd_ead3_794e_3cd7),
        ("database.yaml", 0xd6dc_dd3f_251f_2138),
        ("load-balancer.yaml", 0xcf7b_86da_d4b7_33fe),
        ("monitoring.yaml", 0xcee4_e02f_5dd4_e78a),
        ("multi-region.yaml", 0x1e0c_b917_ff62_3b5b),
        ("network.yaml", 0x6989_79c5_b50a_0947),
        ("pool.yaml", 0x7bb5_e07f_90a0_383d),
        ("resilience.yaml", 0x1a3e_f5bf_14cd_d6ca),
        ("sharding.yaml", 0x6d2b_a047_643d_8e27),
        ("vm.config", 0x78db_4d26_7902_3439),
        ("k8s/resources.yaml", 0x8644_73f2_c12f_4702),
    ];
    for (name, expected) in known {
        let bytes = std::fs::read(cluster().join(name)).unwrap();
        assert_eq!(fingerprint(&bytes), expected, "{name} is not what the architecture document has");
    }
}
