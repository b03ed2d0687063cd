//! The API over real sockets, from the outside.

use super::*;
use std::path::PathBuf;

use erlmcp_ring::SockAddr;
use serde_json::Value;

use crate::fetch::{Ask, Reply, fetch};

/// A served API that ends with the test.
struct Api {
    control: Arc<Control>,
    tcp: SockAddr,
    unix: SockAddr,
    files: Vec<crate::run::sockets::SocketFile>,
    path: PathBuf,
}

impl Api {
    fn start(name: &str) -> Self {
        let control = Control::for_tests();
        let path = std::env::temp_dir().join(format!("erlmcp-api-{name}-{}.sock", std::process::id()));
        let mut config = (**control.config.borrow()).clone();
        config.listeners.admin.address = "127.0.0.1:0".parse().unwrap();
        config.listeners.admin.socket = Some(path.clone());
        config.listeners.admin.token = Some(erlmcp_config::Secret::new("t0ken"));
        let sockets = Sockets::bind(&config).unwrap();
        let tcp = sockets.addresses()[0].parse().unwrap();
        control.config.send_replace(Arc::new(config));
        control.publisher.refresh(&control);
        let files = sockets.spawn(&control);
        Self { control, tcp, unix: SockAddr::Unix(path.clone()), files, path }
    }

    async fn ask(&self, at: &SockAddr, method: &str, target: &str, headers: &str) -> Reply {
        let ask = Ask { method, target, host: "localhost", headers, body_bytes_max: 1 << 20 };
        fetch(at, &ask).await.unwrap()
    }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn anyone_may_read_and_only_some_may_change() {
    let api = Api::start("rights");
    for target in ["/", "/api/status", "/api/nodes", "/api/config", "/metrics"] {
        assert_eq!(api.ask(&api.tcp, "GET", target, "").await.status, 200, "{target}");
    }
    assert_eq!(api.ask(&api.tcp, "GET", "/nothing", "").await.status, 404);
    assert_eq!(api.ask(&api.tcp, "POST", "/api/nodes/n/drain", "").await.status, 401);
    let token = "Authorization: Bearer t0ken\r\n";
    assert_eq!(api.ask(&api.tcp, "POST", "/api/nodes/n/drain", token).await.status, 200);
    assert_eq!(json(&api.ask(&api.unix, "GET", "/api/nodes", "").await)[0]["status"], "draining");
    assert_eq!(api.ask(&api.unix, "POST", "/api/nodes/n/activate", "").await.status, 200);
    assert_eq!(json(&api.ask(&api.unix, "GET", "/api/nodes", "").await)[0]["status"], "active");
    let missing = api.ask(&api.unix, "POST", "/api/nodes/x/drain", "").await;
    assert_eq!(
        (missing.status, json(&missing)["error"].clone()),
        (404, "there is no node x; there are: n".into())
    );
    api.control.desired.send_modify(|desired| Arc::make_mut(desired).groups[0].nodes[0].status = None);
    assert_eq!(api.ask(&api.unix, "POST", "/api/nodes/n/activate", "").await.status, 409);
    assert_eq!(json(&api.ask(&api.unix, "GET", "/api/nodes", "").await)[0]["status"], "disabled");
    assert_eq!(api.ask(&api.unix, "GET", "/api/drain", "").await.status, 405);
    assert_eq!(*api.control.phase.borrow(), crate::control::Phase::Serving);
    assert_eq!(api.ask(&api.unix, "POST", "/api/drain", "").await.status, 200);
    assert_eq!(*api.control.phase.borrow(), crate::control::Phase::Draining);
}

#[tokio::test]
async fn metrics_stand_on_the_port_and_path_of_the_file() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (admin, metrics) = (free(), free());
    let control = Control::for_tests();
    let change = |enabled: bool| {
        let mut config = (**control.config.borrow()).clone();
        config.listeners.admin.address = erlmcp_config::Address::Tcp(admin);
        let prometheus = &mut config.monitoring.metrics.export.prometheus;
        (prometheus.enabled, prometheus.port, prometheus.path) = (enabled, metrics.port(), "/numbers".into());
        config
    };
    assert_eq!(Sockets::bind(&change(false)).unwrap().addresses(), [admin.to_string()]);
    control.config.send_replace(Arc::new(change(true)));
    let sockets = Sockets::bind(&change(true)).unwrap();
    assert_eq!(sockets.addresses(), [admin.to_string(), metrics.to_string()]);
    let _files = sockets.spawn(&control);
    let get = async |target: &'static str| {
        let ask = Ask { method: "GET", target, host: "localhost", headers: "", body_bytes_max: 1 << 20 };
        fetch(&SockAddr::Inet(metrics), &ask).await.unwrap()
    };
    let reply = get("/numbers").await;
    assert!(String::from_utf8(reply.body).unwrap().contains("erlmcp_build_info{"));
    assert_eq!((reply.status, get("/metrics").await.status), (200, 404));
    control.config.send_replace(Arc::new(change(false)));
    assert_eq!(get("/numbers").await.status, 404, "switched off while serving");
}

#[tokio::test]
async fn secrets_are_masked_and_rebound_names_are_refused() {
    let api = Api::start("secrets");
    let config = api.ask(&api.tcp, "GET", "/api/config", "").await;
    assert!(!String::from_utf8(config.body).unwrap().contains("t0ken"));
    let ask =
        Ask { method: "GET", target: "/api/status", host: "evil.example", headers: "", body_bytes_max: 1024 };
    assert_eq!(fetch(&api.tcp, &ask).await.unwrap().status, 403);
}

#[tokio::test]
async fn the_task_comes_back_after_the_panic_that_a_test_asked_for() {
    let api = Api::start("panic");
    assert_eq!(
        api.ask(&api.tcp, "POST", "/debug/panic?task=admin", "Authorization: Bearer t0ken\r\n").await.status,
        404
    );
    assert_eq!(api.ask(&api.unix, "POST", "/debug/panic?task=none", "").await.status, 404);
    let ask =
        Ask { method: "POST", target: "/debug/panic?task=admin", host: "x", headers: "", body_bytes_max: 99 };
    // The answer may be lost together with the task.
    let _ = fetch(&api.unix, &ask).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let line = "erlmcp_control_task_restarts_total{task=\"admin\"} 1\n";
    loop {
        let ask = Ask { method: "GET", target: "/metrics", ..ask };
        if fetch(&api.unix, &ask).await.is_ok() && crate::metrics::render(&api.control).contains(line) {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_every_error() {
    let api = Api::start("reload");
    let refused = api.ask(&api.unix, "POST", "/api/reload", "").await;
    // The embedded default wants the embedded node, which this control plane was started without.
    assert_eq!(refused.status, 422);
    assert!(json(&refused)["errors"][0].as_str().unwrap().contains("restart"));
    assert_eq!(api.control.counters.reloads_refused.get(), 1);
}

#[tokio::test]
async fn the_sockets_file_goes_with_its_owner() {
    let api = Api::start("file");
    assert!(api.path.exists());
    drop(api.files);
    assert!(!api.path.exists());
}
