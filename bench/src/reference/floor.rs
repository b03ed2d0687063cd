//! The floor: a bare epoll forwarder on one thread, one upstream connection per client connection, no features.
//!
//! What it costs is what any proxy of this kind pays to the kernel. It heads each request and reply through `httparse`
//! and hands the bytes on as they came. Never use it for anything but measuring: it has no limits and no errors.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bind;

const BUFFER_BYTES: usize = 16 * 1024;
const HEADERS_MAX: usize = 32;

/// Forwards from `listen` until the process ends; connections go to the upstreams in turn.
///
/// # Errors
/// Without an upstream, or when the system refuses the listening socket.
pub fn floor(listen: SocketAddr, upstreams: &[SocketAddr]) -> io::Result<()> {
    if upstreams.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no upstream to forward to"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(listen, upstreams))
}

async fn serve(listen: SocketAddr, upstreams: &[SocketAddr]) -> io::Result<()> {
    let listener = bind(listen)?;
    let mut turn = upstreams.iter().copied().cycle();
    loop {
        let (client, _) = listener.accept().await?;
        let Some(upstream) = turn.next() else { return Ok(()) };
        tokio::task::spawn_local(async move {
            // An error is the end of one connection; there is nobody to tell.
            let _ = forward(client, upstream).await;
        });
    }
}

async fn forward(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    loop {
        let Some(request) = read_piece(&mut client, &mut buffer).await? else { return Ok(()) };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        if !matches!(httparse::Request::new(&mut headers).parse(request), Ok(httparse::Status::Complete(_))) {
            return Ok(());
        }
        server.write_all(request).await?;
        let Some(reply) = read_piece(&mut server, &mut buffer).await? else { return Ok(()) };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head_bytes)) = head.parse(reply) else { return Ok(()) };
        let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
        let mut rest = (head_bytes + length.unwrap_or(0)).saturating_sub(reply.len());
        client.write_all(reply).await?;
        while rest > 0 {
            let Some(piece) = read_piece(&mut server, &mut buffer).await? else { return Ok(()) };
            client.write_all(piece).await?;
            rest = rest.saturating_sub(piece.len());
        }
    }
}

/// One read; `None` at the end of the stream.
async fn read_piece<'a>(from: &mut TcpStream, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
    let count = from.read(buffer).await?;
    Ok((count > 0).then(|| &buffer[..count]))
}
