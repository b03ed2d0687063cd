//! Questions to a name server of our own, and what becomes of its answers.

use super::*;
use crate::desired::NodeAt;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use tokio::net::UdpSocket;

#[test]
fn answers_have_one_order() {
    let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    let sorted = tidy(ips(&["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]));
    assert_eq!(sorted, ips(&["10.0.0.1", "10.0.0.2", "::1"]));
}

#[tokio::test]
async fn localhost_resolves_from_the_hosts_file() {
    let (addresses, _) = Resolver::from_system().lookup("localhost").await.unwrap();
    assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    assert!(Resolver(None).lookup("localhost").await.is_ok());
}

#[tokio::test]
async fn a_failure_keeps_the_last_answer() {
    let control = Control::for_tests();
    let mut failures = 0;
    let good = vec!["10.0.0.1".parse().unwrap()];
    let wait = settle(&control, "n", Ok((good.clone(), Duration::from_secs(3600))), &mut failures);
    assert_eq!(wait, TTL_MAX);
    let wait = settle(&control, "n", Ok((good.clone(), Duration::ZERO)), &mut failures);
    assert_eq!(wait, TTL_MIN);
    assert!(settle(&control, "n", Err("gone".into()), &mut failures) <= RETRY_WAIT);
    let known = control.addresses.borrow().clone();
    assert_eq!(known["n"], Resolved { addresses: good, error: Some("gone".into()) });
    assert_eq!((failures, control.counters.discovery_failures.get()), (1, 1));
}

/// A name server that answers every question for IPv4 addresses with what it is told, and none for IPv6.
async fn name_server(answers: Arc<Mutex<Vec<Ipv4Addr>>>, ttl_seconds: u32) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut question).await {
            // The question ends two 16-bit fields after the name's zero (RFC 1035 section 4.1.2).
            let end = 12 + question[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
            let is_ipv4 = question[end - 4..end - 2] == [0, 1];
            let found = if is_ipv4 { answers.lock().unwrap().clone() } else { Vec::new() };
            let mut reply = question[..2].to_vec();
            reply.extend([0x81, 0x80, 0, 1, 0, found.len() as u8, 0, 0, 0, 0]);
            reply.extend(&question[12..end]);
            for ip in found {
                reply.extend([0xC0, 12, 0, 1, 0, 1]);
                reply.extend(ttl_seconds.to_be_bytes());
                reply.extend([0, 4]);
                reply.extend(ip.octets());
            }
            socket.send_to(&reply, peer).await.unwrap();
        }
    });
    address
}

fn resolver_of(server: SocketAddr) -> Resolver {
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let mut name_server = NameServerConfig::udp(server.ip());
    name_server.connections = vec![connection];
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    Resolver(Some(Resolver::build(builder).unwrap()))
}

async fn until_known(control: &Control, wanted: &[&str]) {
    let wanted: Vec<IpAddr> = wanted.iter().map(|ip| ip.parse().unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while control.addresses.borrow().get("node.test").is_none_or(|found| found.addresses != wanted) {
        assert!(Instant::now() < deadline, "{:?}", control.addresses.borrow());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_name_that_moves_is_followed_and_one_that_is_lost_keeps_its_addresses() {
    let answers = Arc::new(Mutex::new(vec![Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1)]));
    let resolver = Arc::new(resolver_of(name_server(Arc::clone(&answers), 1).await));
    let control = Control::for_tests();
    let name = |host: &str| NodeAt::Name(host.into(), 80);
    control.desired.send_modify(|desired| {
        Arc::make_mut(desired).groups[0].nodes[0].at = name("node.test");
    });
    let shared = Arc::clone(&control);
    control.supervisor.spawn("discovery", move || run_with(Arc::clone(&shared), Arc::clone(&resolver)));
    until_known(&control, &["10.0.0.1", "10.0.0.2"]).await;
    *answers.lock().unwrap() = vec![Ipv4Addr::new(10, 0, 0, 3)];
    until_known(&control, &["10.0.0.3"]).await;

    answers.lock().unwrap().clear();
    let deadline = Instant::now() + Duration::from_secs(20);
    while control.addresses.borrow()["node.test"].error.is_none() {
        assert!(Instant::now() < deadline, "the failure was not noticed in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until_known(&control, &["10.0.0.3"]).await;
    control.desired.send_modify(|desired| {
        Arc::make_mut(desired).groups[0].nodes[0].at = NodeAt::Unix("/x".into());
    });
    while !control.addresses.borrow().is_empty() {
        assert!(Instant::now() < deadline, "the name was not forgotten in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_long_life_does_not_hide_a_move() {
    let answers = Arc::new(Mutex::new(vec![Ipv4Addr::new(10, 0, 0, 1)]));
    let resolver = resolver_of(name_server(Arc::clone(&answers), 86_400).await);
    assert_eq!(resolver.lookup("node.test").await.unwrap().0, [Ipv4Addr::new(10, 0, 0, 1)]);
    *answers.lock().unwrap() = vec![Ipv4Addr::new(10, 0, 0, 9)];
    assert_eq!(resolver.lookup("node.test").await.unwrap().0, [Ipv4Addr::new(10, 0, 0, 9)]);
}
