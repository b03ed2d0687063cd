//! Each family's samples, from where they are counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use erlmcp_dataplane::link::pages::{Counter, RoutePage};
use erlmcp_dataplane::link::{EndpointPage, Histogram, Reason, ShardPage};
use erlmcp_proto::jsonrpc::mcp;
use erlmcp_ring::{RingStats, Stat};

use crate::admin::views::unix_seconds;
use crate::control::{Control, Phase};
use crate::endpoints;
use crate::health::NodeHealth;

use super::histogram::Durations;
use super::text::{Number, Text};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Writes all families.
pub(super) fn all(control: &Control, out: &mut Text) {
    let (pages, rings) = match control.plane() {
        Some(plane) => (plane.pages(), plane.ring_stats()),
        None => (&[][..], &[][..]),
    };
    process(control, out);
    tasks(control, out);
    traffic(pages, out);
    shards(control, pages, rings, out);
    listeners(control, pages, out);
    routes(control, pages, out);
    nodes(control, pages, out);
    checks(control, out);
}

fn process(control: &Control, out: &mut Text) {
    let (boot, counters) = (&control.boot, &control.counters);
    out.family("erlmcp_build_info", |s| s.add(&[env!("CARGO_PKG_VERSION")], 1u64));
    out.family("erlmcp_start_timestamp_seconds", |s| s.add(&[], unix_seconds(boot.started)));
    out.family("erlmcp_config_applied_timestamp_seconds", |s| {
        s.add(&[], control.applied_unix_seconds.load(Ordering::Relaxed))
    });
    out.family("erlmcp_draining", |s| s.add(&[], *control.phase.borrow() == Phase::Draining));
    let reason = boot.chosen.fallback.as_ref().map(ToString::to_string).unwrap_or_default();
    out.family("erlmcp_driver_info", |s| s.add(&[&boot.chosen.kind.to_string(), &reason], 1u64));
    out.family("erlmcp_config_reloads_total", |s| {
        s.add(&["applied"], counters.reloads_taken.get());
        s.add(&["refused"], counters.reloads_refused.get());
    });
    out.family("erlmcp_discovery_failures_total", |s| s.add(&[], counters.discovery_failures.get()));
    out.family("erlmcp_access_log_bytes_total", |s| s.add(&[], counters.access_bytes.get()));
    out.family("erlmcp_access_log_write_errors_total", |s| s.add(&[], counters.access_write_errors.get()));
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    out.family("erlmcp_process_cpu_seconds_total", |s| {
        s.add(&[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)
    });
    out.family("erlmcp_process_resident_memory_bytes", |s| s.add(&[], resident_bytes()));
    out.family("erlmcp_process_open_fds", |s| {
        // The folder's own descriptor is among them.
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
        s.add(&[], open);
    });
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    out.family("erlmcp_process_max_fds", |s| {
        s.add(&[], most.map_or(Number::Real(f64::INFINITY), Number::Count))
    });
}

/// `VmRSS`; 0 where `/proc` cannot be read.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn tasks(control: &Control, out: &mut Text) {
    let tasks = control.supervisor.report();
    out.family("erlmcp_control_task_up", |s| tasks.iter().for_each(|task| s.add(&[task.name], task.up)));
    out.family("erlmcp_control_task_restarts_total", |s| {
        tasks.iter().for_each(|task| s.add(&[task.name], task.restarts));
    });
    out.family("erlmcp_control_task_panics_total", |s| {
        tasks.iter().for_each(|task| s.add(&[task.name], task.panics));
    });
}

fn sum(pages: &[Arc<ShardPage>], of: impl Fn(&ShardPage) -> &Counter) -> u64 {
    pages.iter().map(|page| of(page).get()).sum()
}

fn traffic(pages: &[Arc<ShardPage>], out: &mut Text) {
    out.family("erlmcp_streams", |s| s.add(&[], sum(pages, |page| &page.streams)));
    out.family("erlmcp_streams_total", |s| s.add(&[], sum(pages, |page| &page.streams_begun)));
    out.family("erlmcp_sse_events_total", |s| s.add(&[], sum(pages, |page| &page.sse_events)));
    out.family("erlmcp_own_replies_total", |s| s.add(&[], sum(pages, |page| &page.own_replies)));
    let whole = |of: fn(&ShardPage) -> &Histogram| {
        let mut durations = Durations::default();
        pages.iter().for_each(|page| durations.add(of(page)));
        durations
    };
    out.family("erlmcp_request_duration_seconds", |s| s.durations(&[], &whole(|page| &page.duration)));
    out.family("erlmcp_upstream_response_seconds", |s| s.durations(&[], &whole(|page| &page.upstream)));
    out.family("erlmcp_rejected_total", |s| {
        for reason in Reason::all() {
            s.add(&[reason.label()], sum(pages, |page| &page.reasons[reason.index()]));
        }
    });
    out.family("erlmcp_mcp_requests_total", |s| {
        for method in mcp::Method::ALL {
            s.add(&[method.label()], sum(pages, |page| &page.methods[method.index()]));
        }
    });
}

fn shards(control: &Control, pages: &[Arc<ShardPage>], rings: &[Arc<RingStats>], out: &mut Text) {
    let names: Vec<String> = (0..pages.len()).map(|shard| shard.to_string()).collect();
    let page = |out: &mut Text, name, of: fn(&ShardPage) -> u64| {
        out.family(name, |s| names.iter().zip(pages).for_each(|(shard, page)| s.add(&[shard], of(page))));
    };
    page(out, "erlmcp_requests_total", |page| page.requests.get());
    page(out, "erlmcp_shard_connections", |page| page.listeners.iter().map(|one| one.open.get()).sum());
    page(out, "erlmcp_shard_handed_over_total", |page| page.handed_over.get());
    page(out, "erlmcp_access_log_dropped_total", |page| page.access_dropped.get());
    page(out, "erlmcp_snapshot_revision", |page| page.revision.get());
    out.family("erlmcp_access_log_lines_total", |s| {
        names.iter().zip(&control.access_lines).for_each(|(shard, lines)| s.add(&[shard], lines.get()));
    });
    out.family("erlmcp_lane_full_total", |s| {
        s.add(&["access_log"], sum(pages, |page| &page.access_dropped));
        s.add(&["handover"], sum(pages, |page| &page.handover_full));
        s.add(&["snapshot"], control.counters.publish_retries.get());
    });
    let ring = |out: &mut Text, name, of: fn(&RingStats) -> &Stat| {
        out.family(name, |s| {
            names.iter().zip(rings).for_each(|(shard, ring)| s.add(&[shard], of(ring).get()))
        });
    };
    ring(out, "erlmcp_shard_panics_total", |ring| &ring.panics);
    ring(out, "erlmcp_shard_tasks", |ring| &ring.tasks);
    ring(out, "erlmcp_shard_turns_total", |ring| &ring.turns);
    ring(out, "erlmcp_ring_enters_total", |ring| &ring.enters);
    ring(out, "erlmcp_ring_completions_total", |ring| &ring.cqes);
    ring(out, "erlmcp_ring_overflows_total", |ring| &ring.cq_overflows);
    ring(out, "erlmcp_ring_sends_total", |ring| &ring.sends);
    ring(out, "erlmcp_ring_spilled_bytes_total", |ring| &ring.spilled_bytes);
    ring(out, "erlmcp_ring_buffers_exhausted_total", |ring| &ring.enobufs);
    let buffers = &control.first_config.runtime.buffers;
    out.family("erlmcp_ring_buffers_free", |s| {
        for (shard, ring) in names.iter().zip(rings) {
            let free = |all: u32, out: &Stat| u64::from(all).saturating_sub(out.get());
            s.add(&[shard, "small"], free(buffers.small.count, &ring.leases_small));
            s.add(&[shard, "large"], free(buffers.large.count, &ring.leases_large));
        }
    });
}

fn listeners(control: &Control, pages: &[Arc<ShardPage>], out: &mut Text) {
    let names: Vec<&str> = control.boot.listeners.iter().map(|(name, _)| name.as_str()).collect();
    out.family("erlmcp_listener_accepted_total", |s| {
        for (index, name) in names.iter().enumerate() {
            s.add(&[name], sum(pages, |page| &page.listeners[index].accepted));
        }
    });
    out.family("erlmcp_listener_connections", |s| {
        for (index, name) in names.iter().enumerate() {
            s.add(&[name], sum(pages, |page| &page.listeners[index].open));
        }
    });
    out.family("erlmcp_listener_refused_total", |s| {
        for (index, name) in names.iter().enumerate() {
            s.add(&[name, "full"], sum(pages, |page| &page.listeners[index].refused));
            s.add(&[name, "accept_error"], sum(pages, |page| &page.listeners[index].accept_errors));
        }
    });
}

fn routes(control: &Control, pages: &[Arc<ShardPage>], out: &mut Text) {
    let snapshot = control.publisher.snapshot();
    let routes: Vec<(usize, &str)> =
        snapshot.routes.iter().map(|route| route.name.as_str()).enumerate().collect();
    out.family("erlmcp_route_requests_total", |s| {
        for (index, name) in &routes {
            for (class, label) in CLASSES.iter().enumerate() {
                s.add(&[name, label], sum(pages, |page| &page.routes[*index].by_class[class]));
            }
        }
    });
    let bytes = |out: &mut Text, name, of: fn(&RoutePage) -> &Counter| {
        out.family(name, |s| {
            routes
                .iter()
                .for_each(|(index, route)| s.add(&[route], sum(pages, |page| of(&page.routes[*index]))));
        });
    };
    bytes(out, "erlmcp_route_request_bytes_total", |route| &route.bytes_in);
    bytes(out, "erlmcp_route_response_bytes_total", |route| &route.bytes_out);
}

/// What the shards know of a node, over its addresses.
#[derive(Default)]
struct NodeSums([u64; 8]);

/// The counters of [`NodeSums`], by position.
const NODE_COUNTERS: [fn(&EndpointPage) -> &Counter; 8] = [
    |page| &page.active,
    |page| &page.requests,
    |page| &page.failures,
    |page| &page.connects,
    |page| &page.connections,
    |page| &page.idle,
    |page| &page.waiting,
    |page| &page.retries,
];

fn nodes(control: &Control, pages: &[Arc<ShardPage>], out: &mut Text) {
    let snapshot = control.publisher.snapshot();
    let mut sums: BTreeMap<(&str, &str), (NodeSums, bool)> = BTreeMap::new();
    let mut groups: BTreeMap<&str, NodeSums> = BTreeMap::new();
    for group in &snapshot.groups {
        let of_group = groups.entry(&group.name).or_default();
        for endpoint in &group.endpoints {
            let (of_node, fit) = sums.entry((&group.name, &endpoint.name)).or_default();
            *fit |= endpoint.is_fit();
            for (at, counter) in NODE_COUNTERS.iter().enumerate() {
                let value = pages.iter().map(|page| counter(page.endpoint(endpoint.id)).get()).sum::<u64>();
                of_node.0[at] += value;
                of_group.0[at] += value;
            }
        }
    }
    let of_node = |out: &mut Text, name, at: usize| {
        out.family(name, |s| {
            sums.iter().for_each(|((group, node), (sums, _))| s.add(&[group, node], sums.0[at]))
        });
    };
    of_node(out, "erlmcp_node_requests_in_flight", 0);
    of_node(out, "erlmcp_node_requests_total", 1);
    of_node(out, "erlmcp_node_failures_total", 2);
    of_node(out, "erlmcp_node_connects_total", 3);
    of_node(out, "erlmcp_node_connections", 4);
    of_node(out, "erlmcp_pool_idle", 5);
    out.family("erlmcp_node_up", |s| {
        sums.iter().for_each(|((group, node), (_, fit))| s.add(&[group, node], *fit))
    });
    out.family("erlmcp_pool_waiters", |s| groups.iter().for_each(|(group, sums)| s.add(&[group], sums.0[6])));
    out.family("erlmcp_pool_retries_total", |s| {
        groups.iter().for_each(|(group, sums)| s.add(&[group], sums.0[7]))
    });
}

fn checks(control: &Control, out: &mut Text) {
    let (desired, addresses) = (control.desired.borrow().clone(), control.addresses.borrow().clone());
    let mut nodes: BTreeMap<(String, String), NodeHealth> = BTreeMap::new();
    for (_, _, key) in endpoints::all(&desired, &addresses) {
        let found = control.health.get(&key);
        let node = nodes.entry((key.group, key.node)).or_default();
        node.checks_good += found.checks_good;
        node.checks_failed += found.checks_failed;
        node.durations.merge(&found.durations);
    }
    out.family("erlmcp_health_checks_total", |s| {
        for ((group, node), health) in &nodes {
            s.add(&[group, node, "good"], health.checks_good);
            s.add(&[group, node, "failed"], health.checks_failed);
        }
    });
    out.family("erlmcp_health_check_duration_seconds", |s| {
        nodes.iter().for_each(|((group, node), health)| s.durations(&[group, node], &health.durations));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_rendered_is_the_catalogue() {
        let control = Control::for_tests();
        control.publisher.refresh(&control);
        let mut out = Text::default();
        all(&control, &mut out);
        let rendered: BTreeSet<_> = out.families.iter().copied().collect();
        let expected: BTreeSet<_> =
            erlmcp_config::metrics::CATALOGUE.iter().map(|family| family.name).collect();
        assert_eq!(rendered, expected);
        assert!(resident_bytes() > 1 << 20);
    }
}
