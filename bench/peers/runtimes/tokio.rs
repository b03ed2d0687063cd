//! The runtimes' server on tokio: its current-thread runtime, tasks that stay on it. Usage: `runtime-tokio LISTEN`.
#![forbid(unsafe_code)]

mod common;

use std::io;

use common::{REPLY, REQUEST_BYTES_MAX, is_whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let (addr, _) = common::args(None)?;
    let socket = erlmcp_bench::null::listen(addr)?;
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::from_std(socket)?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::task::spawn_local(async move {
                // An error is the end of one connection; there is nobody to tell.
                let _ = answer(client).await;
            });
        }
    })
}

async fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = vec![0_u8; REQUEST_BYTES_MAX];
    let mut filled = 0;
    loop {
        let count = client.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        if is_whole(&buffer[..filled]) {
            client.write_all(REPLY).await?;
            filled = 0;
        }
    }
}
