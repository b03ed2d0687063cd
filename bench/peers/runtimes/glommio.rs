//! The runtimes' server on glommio: one executor, where the system puts it (the comparison pins the process). Usage:
//! `runtime-glommio LISTEN`.
//!
//! It binds its own listening socket: glommio takes another's only from a raw descriptor, which is `unsafe`.
#![forbid(unsafe_code)]

mod common;

use std::io;

use common::{REPLY, REQUEST_BYTES_MAX, is_whole};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{GlommioError, LocalExecutorBuilder, Placement};

fn main() -> io::Result<()> {
    let (addr, _) = common::args(None)?;
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().map_err(told)?;
    executor.run(async move {
        let listener = TcpListener::bind(addr).map_err(told)?;
        loop {
            let client = listener.accept().await.map_err(told)?;
            let task = glommio::spawn_local(async move {
                // An error is the end of one connection; there is nobody to tell.
                let _ = answer(client).await;
            });
            task.detach();
        }
    })
}

/// Its own errors cannot be shared between threads, so that `io::Error` takes only their words.
fn told(error: GlommioError<()>) -> io::Error {
    io::Error::other(error.to_string())
}

async fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true).map_err(told)?;
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
