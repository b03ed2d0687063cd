//! The tests that show the keys' effects, as `file::function`. A test proves that each is there.
//!
//! Two kinds: what a written key becomes (`OF_…`), and what that does to traffic.

pub(super) const ROUTING: &str =
    "dataplane/gateway/tests/it/keys.rs::routes_match_by_host_path_method_and_header";
pub(super) const BOUNDS: &str =
    "dataplane/gateway/tests/it/keys.rs::the_listener_bounds_heads_and_the_smaller_bound_holds_for_bodies";
pub(super) const CLIENT_ENDS: &str =
    "dataplane/gateway/tests/it/keys.rs::a_connection_ends_after_its_requests_and_its_idle_time";
pub(super) const FULL: &str = "dataplane/gateway/tests/it/keys.rs::a_full_listener_lets_newcomers_wait";
pub(super) const NODE_ENDS: &str =
    "dataplane/gateway/tests/it/keys.rs::connections_to_a_node_end_after_their_exchanges_and_their_idle_time";
pub(super) const CONNECT: &str = "dataplane/gateway/tests/it/keys.rs::a_node_that_answers_no_connect_is_given_up_after_the_connect_timeout";
pub(super) const ROUTE_READ: &str = "dataplane/gateway/tests/it/keys.rs::a_route_overrides_the_read_timeout";
pub(super) const WRITE: &str =
    "dataplane/gateway/tests/it/keys.rs::a_node_that_takes_nothing_is_given_up_after_the_write_timeout";
pub(super) const HEADERS: &str =
    "dataplane/gateway/tests/it/keys.rs::headers_and_hosts_are_rewritten_both_ways";
pub(super) const IDENTITY: &str =
    "dataplane/gateway/tests/it/keys.rs::the_gateway_names_itself_as_configured";
pub(super) const CORS: &str = "dataplane/gateway/tests/it/keys.rs::cross_origin_rules";
pub(super) const LOGGED: &str =
    "dataplane/gateway/tests/it/keys.rs::the_access_log_names_the_host_and_the_route_of_refusals_too";

pub(super) const SHARES: &str =
    "dataplane/gateway/tests/it/nodes.rs::canary_weights_and_strategies_share_the_load";
pub(super) const SLOW_CLIENTS: &str =
    "dataplane/gateway/tests/it/nodes.rs::slow_clients_are_given_up_in_time";
pub(super) const STALLED: &str = "dataplane/gateway/tests/it/nodes.rs::a_stalled_node_is_given_up_in_time";
pub(super) const CAP: &str = "dataplane/gateway/tests/it/line.rs::requests_wait_in_line_for_a_full_node";
pub(super) const LINE: &str = "dataplane/gateway/tests/it/line.rs::the_line_is_bounded_in_length_and_time";
pub(super) const STANDBY: &str =
    "dataplane/gateway/tests/it/nodes.rs::standby_nodes_serve_when_no_active_one_does";
pub(super) const PROBES: &str = "dataplane/gateway/tests/it/nodes.rs::probes_tell_the_state";
pub(super) const DRAIN: &str = "dataplane/gateway/tests/it/nodes.rs::a_drain_cuts_streams_at_its_limit";

pub(super) const PASS: &str = "dataplane/gateway/tests/it/messages.rs::a_request_and_its_reply_pass";
pub(super) const REWRITES: &str = "dataplane/gateway/tests/it/messages.rs::rewrites_and_trusted_proxies";

pub(super) const OF_LISTENER: &str = "controlplane/src/wish.rs::every_key_of_a_listener_reaches_the_shards";
pub(super) const OF_ROUTE: &str = "controlplane/src/wish.rs::every_key_of_a_route_reaches_the_shards";
pub(super) const OF_HEADER: &str = "controlplane/src/wish.rs::a_route_asks_for_headers_or_their_absence";
pub(super) const OF_LIMITS: &str = "controlplane/src/wish.rs::a_route_overrides_timeouts_and_narrows_bodies";
pub(super) const OF_GROUP: &str = "controlplane/src/wish.rs::every_key_of_a_group_reaches_the_shards";
pub(super) const OF_CLUSTER: &str = "controlplane/src/wish.rs::nodes_of_the_load_balancer_are_served";
pub(super) const DEFAULTS: &str =
    "controlplane/src/wish.rs::a_group_that_says_nothing_takes_the_defaults_of_the_cluster";
pub(super) const TURNS: &str = "controlplane/src/wish.rs::round_robin_takes_turns_whatever_the_weights";
pub(super) const PER_SHARD: &str = "controlplane/src/wish.rs::limits_of_the_process_are_shared_by_its_shards";
pub(super) const ORIGINS: &str = "controlplane/src/wish.rs::origins_mean_what_the_configuration_says";
pub(super) const STOP: &str = "controlplane/src/wish.rs::a_stop_takes_its_times_from_the_file";
pub(super) const CUT: &str = "controlplane/src/wish.rs::a_stop_that_does_not_drain_cuts_at_once";
pub(super) const LOG_OFF: &str = "controlplane/src/wish.rs::a_log_that_is_off_is_off_for_every_route";

pub(super) const BOUND_AT: &str = "controlplane/src/run/sockets.rs::listeners_are_bound_where_their_keys_say";
pub(super) const BACKLOG: &str = "controlplane/src/run/sockets.rs::the_backlog_bounds_those_that_wait";

pub(super) const NAMES: &str =
    "controlplane/src/publish/names.rs::a_route_is_named_by_the_snapshot_that_served_it";

pub(super) const LINES: &str = "controlplane/src/access_log/format.rs::a_line_is_json_with_every_field";

pub(super) const WRITTEN: &str = "controlplane/src/access_log/tests.rs::batches_are_written_in_order_and_come_back_over_a_panic_and_a_rotation";

pub(super) const RIGHTS: &str = "controlplane/src/admin/tests.rs::anyone_may_read_and_only_some_may_change";
pub(super) const METRICS: &str =
    "controlplane/src/admin/tests.rs::metrics_stand_on_the_port_and_path_of_the_file";

pub(super) const TOKEN: &str = "controlplane/src/admin/auth.rs::changes_over_tcp_need_the_token";

pub(super) const SPLIT: &str =
    "controlplane/src/publish/build.rs::a_node_of_several_addresses_shares_its_weight_and_its_limit";
pub(super) const GROUP_SPLIT: &str = "controlplane/src/publish/build.rs::the_groups_bound_is_split_by_weight";
pub(super) const OFF: &str =
    "controlplane/src/publish/build.rs::the_operators_word_stands_above_the_file_and_off_is_off";

pub(super) const AT: &str = "controlplane/src/desired.rs::hosts_are_names_or_addresses";

pub(super) const CHECKED: &str =
    "controlplane/src/health/mod.rs::checks_come_at_their_interval_and_ask_for_their_path";
pub(super) const STATUS: &str = "controlplane/src/health/mod.rs::the_status_decides";
pub(super) const SILENCE: &str = "controlplane/src/health/mod.rs::silence_and_refusal_are_failures";

pub(super) const THRESHOLDS: &str =
    "controlplane/src/health/state.rs::the_first_check_decides_and_thresholds_count_from_then_on";

pub(super) const OF_RING: &str = "controlplane/src/run/mod.rs::buffers_and_driver_are_those_of_the_file";
pub(super) const OF_CPUS: &str = "controlplane/src/run/mod.rs::processors_are_those_of_the_file";
pub(super) const OF_EMBEDDED: &str =
    "controlplane/src/run/mod.rs::the_embedded_node_listens_where_and_when_it_is_wanted";

pub(super) const DESCRIPTORS: &str = "controlplane/src/run/limits.rs::the_soft_limit_goes_as_far_as_it_may";

pub(super) const OWN_LOG: &str = "controlplane/src/run/logging.rs::lines_of_the_level_go_to_the_file_as_json";

pub(super) const TURNED: &str = "controlplane/src/turned_file.rs::full_files_are_turned_and_the_oldest_goes";

pub(super) const GRACE: &str =
    "controlplane/src/run/shutdown.rs::not_ready_comes_before_the_end_of_accepting";

pub(super) const FALLBACK: &str =
    "dataplane/ring/tests/fallback.rs::a_denied_ring_falls_back_with_a_reason_or_fails_on_demand";

pub(super) const TINY: &str =
    "dataplane/ring/tests/conn.rs::tiny_buffers_are_used_up_and_everything_still_arrives";

pub(super) const WINDOW: &str =
    "dataplane/ring/tests/buffers.rs::an_unread_connection_takes_its_window_and_no_more";

pub(super) const SHARDS: &str = "tuning/src/plan.rs::a_list_of_shards_is_exact_and_keeps_its_order";
pub(super) const HOUSE: &str = "tuning/src/plan.rs::a_list_of_housekeeping_leaves_the_rest";

pub(super) const POD: &str =
    "deploy/src/kubernetes.rs::probes_and_resources_are_those_of_the_cluster_example";

pub(super) const VM: &str =
    "config/src/vm/mod.rs::the_shipped_file_is_read_and_every_entry_has_a_counterpart";
