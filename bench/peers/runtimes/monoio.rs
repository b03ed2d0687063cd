//! The runtimes' server on monoio: io_uring as its builder makes it, or with the flags that the project's own ring uses
//! too (`flags`: COOP_TASKRUN, TASKRUN_FLAG, SINGLE_ISSUER). Usage: `runtime-monoio LISTEN [flags]`.
#![forbid(unsafe_code)]

mod common;

use std::io;

use common::{REPLY, REQUEST_BYTES_MAX, is_whole};
use monoio::buf::{IoBufMut, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

/// As many as a shard of the project's own ring has.
const ENTRIES: u32 = 1024;

fn main() -> io::Result<()> {
    let (addr, flags) = common::args(Some("flags"))?;
    let mut ring = io_uring_06::IoUring::builder();
    if flags {
        ring.setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
    }
    let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(ENTRIES).uring_builder(ring);
    builder.build()?.block_on(async move {
        let listener = TcpListener::from_std(erlmcp_bench::null::listen(addr)?)?;
        loop {
            let (client, _) = listener.accept().await?;
            monoio::spawn(async move {
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
        let room: SliceMut<Vec<u8>> = buffer.slice_mut(filled..REQUEST_BYTES_MAX);
        let (count, room) = client.read(room).await;
        buffer = room.into_inner();
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        if is_whole(&buffer[..filled]) {
            client.write_all(REPLY).await.0?;
            filled = 0;
        }
    }
}
