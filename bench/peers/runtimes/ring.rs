//! The runtimes' server on the project's own ring: one shard, small buffers. Usage: `runtime-ring LISTEN [epoll]`.
#![forbid(unsafe_code)]

mod common;
mod listen;

use std::error::Error;
use std::net::TcpListener;

use common::{REPLY, is_whole};
use erlmcp_ring::{Conn, DriverChoice, Handle, RecvMode, Shard, ShardConfig, probe};

fn main() -> Result<(), Box<dyn Error>> {
    let (addr, epoll) = common::args(Some("epoll"))?;
    let config = ShardConfig::default();
    let driver = if epoll { DriverChoice::Epoll } else { DriverChoice::IoUring };
    let mut shard = Shard::new(&config, &probe::choose(driver, &config)?)?;
    let handle = shard.handle();
    handle.spawn(accept(handle.clone(), listen::listen(addr)?))?;
    shard.run();
    Ok(())
}

async fn accept(handle: Handle, socket: TcpListener) {
    let Ok(mut listener) = handle.listen(socket.into()) else { return };
    loop {
        // What fails is the end of one connection; there is nobody to tell.
        let Ok(accepted) = listener.accept().await else { continue };
        let Ok(conn) = handle.adopt(accepted.socket, RecvMode::Small) else { continue };
        let _ = handle.spawn(answer(conn));
    }
}

async fn answer(conn: Conn) {
    let mut start: Vec<u8> = Vec::new();
    loop {
        let Ok(Some(piece)) = conn.recv().await else { return };
        if start.is_empty() && is_whole(&piece) {
            drop(piece);
        } else {
            start.extend_from_slice(&piece);
            drop(piece);
            if start.len() > common::REQUEST_BYTES_MAX {
                return;
            }
            if !is_whole(&start) {
                continue;
            }
            start.clear();
        }
        let mut list = conn.handle().send_list();
        list.push_bytes(REPLY);
        if conn.send(list).await.result.is_err() {
            return;
        }
    }
}
