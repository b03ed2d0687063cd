//! A fixed-reply HTTP/1.1 server on one shard, to measure the core loop with wrk.
//!
//! usage: hello_ring ADDRESS [auto|io_uring|epoll]. It looks for the end of the head and nothing else.

use std::net::TcpListener;
use std::time::Duration;

use erlmcp_ring::{Conn, DriverChoice, Handle, RecvMode, Shard, ShardConfig, probe};

const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, World!";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let choice: DriverChoice = args.next().unwrap_or_else(|| "auto".to_owned()).parse()?;
    let socket = TcpListener::bind(&address)?;
    let cfg = ShardConfig::default();
    let chosen = probe::choose(choice, &cfg)?;
    eprintln!("{address} by {}, flags {:#x}, credit {}", chosen.kind, chosen.flags, chosen.recv_credit);
    if let Some(reason) = &chosen.fallback {
        eprintln!("{reason}");
    }
    let mut shard = Shard::new(&cfg, &chosen)?;
    let handle = shard.handle();
    handle.spawn(accept(handle.clone(), socket))?;
    if std::env::var_os("STATS").is_some() {
        handle.spawn(report(handle.clone()))?;
    }
    shard.run();
    Ok(())
}

async fn accept(handle: Handle, socket: TcpListener) {
    let Ok(mut listener) = handle.listen(socket.into()) else { return };
    loop {
        let Ok(accepted) = listener.accept().await else { continue };
        let Ok(conn) = handle.adopt(accepted.socket, RecvMode::Small) else { continue };
        if handle.spawn(serve(conn)).is_err() {
            continue;
        }
    }
}

async fn serve(conn: Conn) {
    loop {
        conn.handle().set_deadline(Some(conn.handle().now() + Duration::from_secs(60)));
        let Ok(Some(head)) = conn.recv().await else { return };
        if !head.ends_with(b"\r\n\r\n") {
            return;
        }
        drop(head);
        let mut list = conn.handle().send_list();
        list.push_bytes(REPLY);
        if conn.send(list).await.result.is_err() {
            return;
        }
    }
}

async fn report(handle: Handle) {
    loop {
        handle.sleep_until(handle.now() + Duration::from_secs(1)).await;
        let s = handle.stats();
        eprintln!(
            "turns {} enters {} cqes {} sends {} rearms {} enobufs {} conns {} tasks {} overflows {}",
            s.turns.get(),
            s.enters.get(),
            s.cqes.get(),
            s.sends.get(),
            s.rearms.get(),
            s.enobufs.get(),
            s.conns.get(),
            s.tasks.get(),
            s.cq_overflows.get(),
        );
    }
}
