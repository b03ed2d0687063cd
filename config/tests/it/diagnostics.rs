//! What is said about wrong files, to the character.

use crate::common::{self, Folder};
use erlmcp_config::{Source, load, print};
use proptest::prelude::*;

#[test]
fn everything_wrong_is_said_at_once() {
    let folder = Folder::new(&[
        (
            "load-balancer.yaml",
            "load_balancer:\n  stategy: round_robin\n  health_check:\n    interval: 3s\n    timeout: 5s\n  nodes:\n    - host: a\n      port: eighty\n    - host: b\n      port: 0\n      weigth: 5\n    - port: 80\n",
        ),
        (
            "pool.yaml",
            "connection_pools:\n  tcp_pool:\n    size: \"1000\"\n    timeout: 5 parsecs\n  http_pool: [1]\n",
        ),
        (
            "network.yaml",
            "network:\n  topology: {latency_thresholds: {fast: 60}}\n  tls: {cipher_suites: TLS_AES_256_GCM_SHA384}\n",
        ),
        ("runtime.yaml", "buffers: {small: {count: 100}}\ncpus: 3-1\n"),
    ]);
    assert_eq!(
        folder.findings(),
        "runtime.yaml:1:19: runtime.buffers.small.count: 100 is no power of two, the kernel's buffer rings have such sizes only, take 128\n\
         runtime.yaml:2:7: runtime.cpus: `3-1` is not `auto` or CPU numbers, each range must ascend and lie below 8192, write `auto`, `[0, 1]` or `0-3,6`\n\
         load-balancer.yaml:2:3: load_balancer.stategy: unknown key, nothing reads it, did you mean `strategy`?\n\
         load-balancer.yaml:5:5: load_balancer.health_check.timeout: 5s must be below interval, which is 3s, a check must be over before the next one, lower timeout or raise interval\n\
         load-balancer.yaml:8:13: load_balancer.nodes[0].port: wanted an integer from 1 to 65535, found `eighty`, correct the value\n\
         load-balancer.yaml:10:13: load_balancer.nodes[1].port: `0` is out of bounds, it must lie from 1 to 65535, correct the value\n\
         load-balancer.yaml:11:7: load_balancer.nodes[1].weigth: unknown key, nothing reads it, did you mean `weight`?\n\
         load-balancer.yaml:12:7: load_balancer.nodes[2].host: missing, it has no default, add it: DNS name or IP address\n\
         pool.yaml:3:11: connection_pools.tcp_pool.size: wanted an integer from 1 to 10000000, found `1000` in quotes, correct the value\n\
         pool.yaml:4:14: connection_pools.tcp_pool.timeout: wanted a duration such as 100ms, 5s or 30m, found `5 parsecs`, correct the value\n\
         pool.yaml:5:14: connection_pools.http_pool: wanted a mapping of keys, found a list, indent `key: value` lines below it\n\
         network.yaml:1:1: warning: network: no effect yet, the work on regions brings it, do not rely on it\n\
         network.yaml:2:35: network.topology.latency_thresholds.fast: 60 must be below medium, which is 50, each names a slower kind of region, lower fast or raise medium\n\
         network.yaml:3:24: network.tls.cipher_suites: wanted a list, found a single value, write `[a, b]`, or `- a` lines below it\n"
    );
}

/// File, text, what must be among the findings.
const CASES: &[(&str, &str, &str)] = &[
    (
        "resilience.yaml",
        "resilience:\n  retry: {initial_delay: 20000}",
        "2:11: resilience.retry.initial_delay: 20s must not be above max_delay, which is 10s",
    ),
    (
        "resilience.yaml",
        "resilience: {circuit_breakers: {default: {exclude_exceptions: [all]}}}",
        "every failure is excluded",
    ),
    (
        "resilience.yaml",
        "resilience: {circuit_breakers: {service_specific: {a: {expected_exception: timeout}}}}",
        "service_specific.a.exclude_exceptions: every failure is excluded",
    ),
    (
        "pool.yaml",
        "connection_pools: {tcp_pool: {retry_policy: {base_delay: 60000}}}",
        "1m is above resilience.retry.max_delay, which is 10s",
    ),
    (
        "pool.yaml",
        "connection_pools: {websocket_pool: {ping_interval: 5000}}",
        "ping_timeout: 5s must be below ping_interval, which is 5s",
    ),
    (
        "monitoring.yaml",
        "monitoring: {resource_usage: {cpu_thresholds: {warning: 90}}}",
        "1:48: monitoring.resource_usage.cpu_thresholds.warning: 90 must be below critical, which is 85",
    ),
    (
        "monitoring.yaml",
        "monitoring: {resource_usage: {disk_thresholds: {alert: 90}}}",
        "critical: 90 must be below alert, which is 90",
    ),
    (
        "monitoring.yaml",
        "monitoring: {autoscaling: {min_replicas: 20}}",
        "20 must not be above max_replicas, which is 15",
    ),
    (
        "monitoring.yaml",
        "monitoring: {autoscaling: {scale_up_threshold: 20}}",
        "scale_down_threshold: 30 must be below scale_up_threshold, which is 20",
    ),
    (
        "monitoring.yaml",
        "monitoring: {autoscaling: {target_cpu_utilization: 90}}",
        "warning: monitoring.autoscaling.target_cpu_utilization: 90 lies outside the band from 30 to 80",
    ),
    (
        "monitoring.yaml",
        "monitoring: {metrics: {export: {prometheus: {port: 8080}}}}",
        "listener `main` has port 8080 too",
    ),
    ("sharding.yaml", "sharding: {shards: [{id: a, nodes: [x], replicas: 2}]}", "2 replicas on 1 nodes"),
    ("sharding.yaml", "sharding: {shards: [{id: a, nodes: []}]}", "nodes: an empty list"),
    (
        "sharding.yaml",
        "sharding: {shards: [{id: a, nodes: [x], load_threshold: 0.95}]}",
        "0.95 must be below rebalance_threshold, which is 0.9",
    ),
    (
        "sharding.yaml",
        "sharding: {shards: [{id: a, nodes: [x]}, {id: a, nodes: [y]}]}",
        "shards[1].id: the id `a` is also that of sharding.shards[0].id",
    ),
    (
        "sharding.yaml",
        "sharding: {routing: {consistency_level: strong}}",
        "`strong` is none of the known ones, known here: eventual",
    ),
    (
        "cache.yaml",
        "cache: {redis: {cluster: {nodes: [{host: a, db: 1}]}}}",
        "Redis Cluster has only database 0",
    ),
    (
        "cache.yaml",
        "cache: {memcached: {servers: [a:1], hot_keys: {pattern: \"(a\"}}}",
        "no regular expression: unclosed group",
    ),
    (
        "cache.yaml",
        "cache: {memcached: {servers: [a]}}",
        "`a` is not a host with a port, it needs `:` and a port",
    ),
    (
        "database.yaml",
        "database: {postgresql: {primary: {host: h, database: d, username: u, pool_size: 300}}}",
        "pool_size: 300 must not be above max_connections, which is 200",
    ),
    (
        "database.yaml",
        "database: {postgresql: {primary: {host: h, database: d, username: u}, replicas: [{host: a}], replication: {max_wal_senders: 0}}}",
        "warning: database.postgresql.replication.max_wal_senders: 0 for 1 replicas",
    ),
    (
        "multi-region.yaml",
        "multi_region: {deployment: {regions: [{name: a, location: x}]}}",
        "network.topology.regions has no `x`",
    ),
    (
        "multi-region.yaml",
        "multi_region: {deployment: {regions: [{name: a, location: x}]}, failover: {traffic_routing: {b_weight: 1}}}",
        "traffic_routing.b_weight: names no region",
    ),
    (
        "multi-region.yaml",
        "multi_region: {deployment: {regions: [{name: a, location: x}, {name: b, location: y}]}, failover: {failover_weights: {a_to_b: 80}}}",
        "the shares of a's traffic sum up to 80",
    ),
    (
        "multi-region.yaml",
        "multi_region: {deployment: {regions: [{name: a, location: x, active: false}]}}",
        "no region is active",
    ),
    (
        "chaos.yaml",
        "chaos: {experiments: [{name: a, frequency: \"0 2 * *\", duration: 5m, intensity: 2, scope: node, failure_scenarios: []}]}",
        "`0 2 * *` is not five cron fields, it must be minute, hour, day, month, weekday",
    ),
    (
        "chaos.yaml",
        "chaos: {experiments: [{name: a, frequency: \"0 2 * * *\", duration: 5m, intensity: 1, scope: node, failure_scenarios: [{type: cpu_spike, target: all, percentage: 5, duration: 10m}]}]}",
        "10m is longer than the experiment, which lasts 5m",
    ),
    (
        "chaos.yaml",
        "chaos: {experiments: [{name: a, frequency: \"0 2 * * *\", duration: 5m, intensity: 1, scope: node, failure_scenarios: [{type: pod_kill, target: all}]}]}",
        "`pod_kill` is none of the known ones, did you mean `pod-kill`?",
    ),
    (
        "resources.yaml",
        "resources: {limits: {memory: 1Gi}, requests: {memory: 2Gi}}",
        "requests.memory: 2GiB must not be above limits.memory, which is 1GiB",
    ),
    (
        "resources.yaml",
        "resources: {liveness_probe: {http_get: {port: 81}}}",
        "warning: resources.liveness_probe.http_get.port: no listener has port 81",
    ),
    ("listeners.yaml", "listeners: []", "listeners: an empty list, no client could come in"),
    (
        "listeners.yaml",
        "listeners: [{name: a, address: 127.0.0.1:1}, {name: a, address: 127.0.0.1:1}]",
        "the address `127.0.0.1:1` is also that of listeners[0].address",
    ),
    (
        "listeners.yaml",
        "listeners: [{name: a, address: 127.0.0.1:9090}]",
        "admin.address: the address `127.0.0.1:9090` is also that of listeners[0].address",
    ),
    (
        "listeners.yaml",
        "listeners: [{name: a, address: 127.0.0.1:1, limits: {head_bytes_max: 4KiB}}]",
        "target_bytes_max: 8KiB must not be above head_bytes_max, which is 4KiB",
    ),
    (
        "listeners.yaml",
        "listeners: [{name: a, address: localhost:1}]",
        "`localhost:1` is not an address, it must be an IP address with a port",
    ),
    (
        "listeners.yaml",
        "admin: {address: 0.0.0.0:9090}",
        "warning: admin.address: 0.0.0.0:9090 is reached from other hosts",
    ),
    ("routes.yaml", "routes: [{name: a, to: [{group: clutser}]}]", "there is no group `clutser`"),
    ("routes.yaml", "routes: [{name: a, to: []}]", "routes[0].to: an empty list"),
    ("routes.yaml", "routes: [{name: a, to: [{group: embedded, weight: 0}]}]", "every weight is 0"),
    (
        "routes.yaml",
        "routes: [{name: a, to: [{group: embedded}]}, {name: b, to: [{group: embedded}]}]",
        "warning: routes[1]: never reached: `a` before it",
    ),
    (
        "routes.yaml",
        "routes: [{name: a, to: [{group: embedded}], match: {path: {exact: /a, prefix: /b}}}]",
        "routes[0].match.path: two ways at once",
    ),
    (
        "routes.yaml",
        "routes: [{name: a, to: [{group: embedded}], match: {path: {exact: /a}}, rewrite: {path_prefix: /}}]",
        "the route matches no prefix",
    ),
    (
        "routes.yaml",
        "routes: [{name: a, to: [{group: embedded}], rewrite: {request_headers: {set: {Host: x}}}}]",
        "a header that frames the message",
    ),
    (
        "routes.yaml",
        "routes: [{name: a, to: [{group: embedded}], cors: {origins: [\"*\"], credentials: true}}]",
        "credentials for every origin",
    ),
    (
        "routes.yaml",
        "routes: [{name: a, to: [{group: embedded}], match: {headers: [{name: x, exact: a, prefix: b}]}}]",
        "`exact` and `prefix` at once",
    ),
    (
        "routes.yaml",
        "routes: [{name: a, to: [{group: embedded}], body_bytes_max: 0}]",
        "warning: routes[0].body_bytes_max: no listener lets more than 2GiB in",
    ),
    (
        "pool.yaml",
        "connection_pools:\n  http_pool: {keep_alive: 1s, read_timeout: 1s, pool_recycle: 1h}",
        "2:31: warning: connection_pools.http_pool.{read_timeout, pool_recycle}: no effect yet, the work on pools",
    ),
    ("routes.yaml", "groups: [{name: a, nodes: []}]", "groups[0].nodes: an empty list"),
    ("routes.yaml", "groups: [{name: a, nodes: [{host: h}]}]", "a host without port"),
    ("routes.yaml", "groups: [{name: a, nodes: [{port: 1}]}]", "a port without host"),
    ("routes.yaml", "groups: [{name: a, nodes: [{weight: 1}]}]", "groups[0].nodes[0]: no place"),
    (
        "routes.yaml",
        "groups: [{name: a, nodes: [{host: h, port: 1, address: \"unix:/a\"}]}]",
        "`address` beside `host` or `port`",
    ),
    (
        "routes.yaml",
        "groups: [{name: a, nodes: [{host: h, port: 1}, {host: h, port: 1}]}]",
        "the name `h:1` is also that of groups[0].nodes[0].name",
    ),
    (
        "routes.yaml",
        "groups: [{name: a, nodes: [{host: h, port: 1}], health_check: {interval: 1s}}]",
        "groups[0].health_check.timeout: 3s must be below interval, which is 1s",
    ),
    (
        "routes.yaml",
        "groups: [{name: a, strategy: consistent_hash, nodes: [{host: h, port: 1}]}]",
        "warning: groups[0].strategy: this strategy has no effect yet",
    ),
    ("runtime.yaml", "embedded: {enabled: never}", "nothing could be served"),
    ("runtime.yaml", "embedded: {address: 0.0.0.0:0}", "0.0.0.0:0 is no loopback address"),
    ("runtime.yaml", "region: {name: mars}", "there is no region `mars`"),
    ("runtime.yaml", "access_log: {fields: [time, time]}", "the field `Time` is also that of"),
    (
        "loadbalancer.yaml",
        "load_balancer: {}",
        "warning: nothing reads this file, its keys have no effect, did you mean `load-balancer.yaml`?",
    ),
    (
        "vm.config",
        "[{kernel, [{made_up, 1}]}].",
        "1:12: note: vm.kernel.made_up: 1 is read, and not in force, erlmcp is no Erlang node",
    ),
    ("vm.config", "[{kernel, [}]", "1:12: wanted an atom"),
    ("cache.yaml", "cache: {redis: &a {}, memcached: *a}", "an anchor or alias"),
    ("cache.yaml", "cache:\n\tredis: {}", "no valid YAML"),
];

#[test]
fn bounds_between_keys_and_references_between_files() {
    for (file, text, wanted) in CASES {
        let findings = Folder::new(&[(file, text)]).findings();
        assert!(findings.contains(wanted), "{file}: {text}\nwanted {wanted:?} among\n{findings}");
    }
}

#[test]
fn a_flood_of_findings_is_cut_and_says_so() {
    let text: String = (0..3000).map(|i| format!("key{i}: 1\n")).collect();
    let report = Folder::new(&[("runtime.yaml", &text)]).load().unwrap_err();
    assert_eq!(report.diagnostics.len(), 1001);
    let last = report.diagnostics.last().unwrap().to_string();
    assert_eq!(last, "(all files): 2000 more findings are not shown, mend these first");
}

#[test]
fn one_mistake_is_one_message() {
    // Without its groups, every route would lead nowhere; but the file was not understood at all.
    let folder = Folder::new(&[("routes.yaml", "routes: [{name: a, to: [{group: g}]}]\ngroups: [\n")]);
    assert_eq!(folder.findings().lines().count(), 1, "{}", folder.findings());
    // A refused interval is not compared with the timeout.
    let folder = Folder::new(&[(
        "load-balancer.yaml",
        "load_balancer: {health_check: {interval: soon, timeout: 1h}}",
    )]);
    assert_eq!(folder.findings().lines().count(), 1, "{}", folder.findings());
}

#[test]
fn limits_above_the_process_are_warnings() {
    let folder = Folder::new(&[
        ("runtime.yaml", "descriptor_limit: 1000"),
        ("pool.yaml", "connection_pools: {tcp_pool: {size: 900}}"),
    ]);
    assert!(folder.load().is_ok());
    assert!(
        folder.findings().contains("size and max_overflow are 1400 connections, descriptor_limit is 1000")
    );
}

#[test]
fn values_from_the_environment_are_used_and_never_quoted() {
    let port =
        Folder::new(&[("load-balancer.yaml", "load_balancer: {nodes: [{host: a, port: \"${PORT}\"}]}")]);
    assert_eq!(port.config().load_balancer.nodes[0].port, 8081);
    let leak = Folder::new(&[(
        "load-balancer.yaml",
        "load_balancer: {strategy: \"${DB_PASSWORD}\", nodes: [{host: \"-${DB_PASSWORD}\", port: \"${DB_PASSWORD}\"}], session_timeout: \"${DB_PASSWORD}\"}",
    )]);
    leak.write("runtime.yaml", b"cpus: ${DB_PASSWORD}\nregion: {name: [\"${DB_PASSWORD}\"]}\n");
    let findings = leak.findings();
    assert!(!findings.contains("hunter2"), "{findings}");
    assert_eq!(findings.matches("${DB_PASSWORD}").count(), 5, "{findings}");
}

#[test]
fn files_that_cannot_be_read_are_said_to_be() {
    let folder = Folder::new(&[]);
    folder.write("pool.yaml", b"connection_pools: {}\n# \xff\n");
    folder.write("cache.yaml", &vec![b'#'; (1 << 20) + 1]);
    std::fs::create_dir(folder.path().join("chaos.yaml")).unwrap();
    let findings = folder.findings();
    assert!(findings.contains("pool.yaml: is no UTF-8 text (byte 23)"), "{findings}");
    assert!(findings.contains("cache.yaml: has more than 1048576 bytes"), "{findings}");
    assert!(findings.contains("chaos.yaml: cannot be read"), "{findings}");
    let report = load(&Source::dir("/nonexistent/erlmcp")).unwrap_err().to_string();
    assert_eq!(
        report,
        "/nonexistent/erlmcp: no such folder, name a folder that holds the configuration's files\n"
    );
}

#[test]
fn printing_says_whether_it_is_fine() {
    let bad = Folder::new(&[("pool.yaml", "connection_pools: {tcp_pool: {size: 0}}")]);
    let good = Folder::new(&[("pool.yaml", "connection_pools: {tcp_pool: {size: 7}}")]);
    let mut out = Vec::new();
    assert!(!print::check(&bad.source(), false, &mut out).unwrap());
    let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
    assert!(text.ends_with("\n1 error, 0 warnings, 0 notes\n"), "{text}");
    assert!(print::check(&good.source(), true, &mut out).unwrap());
    let json: serde_json::Value = serde_json::from_slice(&std::mem::take(&mut out)).unwrap();
    assert_eq!(
        (json["ok"].as_bool(), json["diagnostics"][0]["severity"].as_str()),
        (Some(true), Some("warning"))
    );
}

/// A shipped file with a few bytes taken out, put in or doubled.
fn mutated() -> impl Strategy<Value = (usize, Vec<(usize, u8, usize)>)> {
    (0usize..15, proptest::collection::vec((any::<usize>(), any::<u8>(), 0usize..3), 1..6))
}

const SHIPPED: [&str; 15] = [
    "listeners.yaml",
    "routes.yaml",
    "runtime.yaml",
    "load-balancer.yaml",
    "pool.yaml",
    "sharding.yaml",
    "cache.yaml",
    "database.yaml",
    "network.yaml",
    "resilience.yaml",
    "monitoring.yaml",
    "multi-region.yaml",
    "chaos.yaml",
    "k8s/resources.yaml",
    "vm.config",
];

proptest! {
    #[test]
    fn broken_files_are_answered_with_findings((which, edits) in mutated()) {
        let name = SHIPPED[which];
        let mut bytes = std::fs::read(common::cluster().join(name)).unwrap();
        for (at, byte, how) in edits {
            let at = at % bytes.len();
            match how {
                0 => { bytes.remove(at); }
                1 => bytes.insert(at, byte),
                _ => {
                    let end = (at + 40).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        let folder = Folder::new(&[]);
        folder.write(name, &bytes);
        match folder.load() {
            Ok(loaded) => prop_assert!(!loaded.report.has_errors()),
            Err(report) => {
                prop_assert!(report.has_errors());
                prop_assert!(!report.to_string().contains("internal:"), "{}", report);
            }
        }
    }

    #[test]
    fn any_override_is_answered(path in r"[a-z_.\[\]0-9]{0,40}", value in r"[a-z0-9\[\]{}:, &*!|>'-]{0,40}") {
        let source = Source::default().set(path, value.clone()).set("listeners[0].limits", value.clone()).set("routes[0]", value);
        if let Err(report) = load(&source) {
            prop_assert!(report.has_errors() && !report.to_string().contains("internal:"), "{}", report);
        }
    }
}
