//! The writer over real lanes and files.

use super::*;
use erlmcp_dataplane::link::ids::{NO_ENDPOINT, NO_ROUTE};
use erlmcp_dataplane::link::{AccessBatch, AccessRecord, ListenerId};
use erlmcp_ring::lane;

fn batch(paths: &[&str]) -> AccessBatch {
    let mut batch = AccessBatch::with_capacity();
    for path in paths {
        batch.push(&AccessRecord {
            start_unix_us: 0,
            duration_us: 1,
            upstream_us: 1,
            status: 200,
            listener: ListenerId(0),
            route: NO_ROUTE,
            endpoint: NO_ENDPOINT,
            reason: 0,
            retries: 0,
            bytes_in: 0,
            bytes_out: 0,
            client: None,
            revision: 0,
            request_id: "",
            method: "GET",
            path,
            host: "",
            rpc_method: "",
        });
    }
    batch
}

fn wait_for(path: &std::path::Path, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_to_string(path).unwrap_or_default() != text {
        assert!(Instant::now() < deadline, "{:?}", std::fs::read_to_string(path));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn batches_are_written_in_order_and_come_back_over_a_panic_and_a_rotation() {
    let folder = std::env::temp_dir().join(format!("erlmcp-access-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, rotated) = (folder.join("access.log"), folder.join("access.log.1"));
    let settings = Settings { path: Some(path.clone()), fields: vec![LogField::Path] };
    let (full, full_in) = lane::channel(4);
    let (empty, mut empty_in) = lane::channel(4);
    let control = Control::for_tests();
    let feed = AccessFeed { shard: 0, full: full_in, empty };
    let output = open(&settings).unwrap();
    let log = AccessLog::start(Arc::clone(&control), vec![feed], settings.clone(), output).unwrap();

    full.try_send(batch(&["/a", "/b"])).unwrap();
    full.try_send(batch(&["/c"])).unwrap();
    wait_for(&path, "{\"path\":\"/a\"}\n{\"path\":\"/b\"}\n{\"path\":\"/c\"}\n");
    assert!(empty_in.try_recv().unwrap().is_empty() && empty_in.try_recv().unwrap().is_empty());

    std::fs::rename(&path, &rotated).unwrap();
    log.reopen(settings);
    assert!(control.supervisor.make_panic("access_log"));
    wait_for(&path, "");
    full.try_send(batch(&["/d"])).unwrap();
    drop(full);
    assert!(log.finish());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"path\":\"/d\"}\n");
    let report = control.supervisor.report();
    assert_eq!((report[0].name, report[0].restarts, report[0].panics), ("access_log", 1, 1));
    assert_eq!(control.access_lines[0].get(), 4);
    assert_eq!(control.counters.access_write_errors.get(), 0);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_output_that_takes_nothing_is_given_up() {
    let (reader, writer) = io::pipe().unwrap();
    let mut output = File::from(std::os::fd::OwnedFd::from(writer));
    rustix::io::ioctl_fionbio(&output, true).unwrap();
    let bytes = vec![b'x'; 1 << 20];
    let error = write_within(&mut output, &bytes, Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(reader);
    assert!(write_within(&mut output, &bytes, Duration::from_secs(1)).is_err());
}
