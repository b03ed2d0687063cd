//! The floor: a bare epoll forwarder on one thread, one upstream connection per client connection, no features.
//!
//! What it costs is what any proxy of this kind pays to the kernel. It heads each request and reply through `httparse`
//! and hands the bytes on as they came. Never use it for anything but measuring: it has no limits and no errors.
//! Connections go to the upstreams in turn. Usage: `floor LISTEN UPSTREAM...`.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BUFFER_BYTES: usize = 16 * 1024;
const BACKLOG: u32 = 4096;
const HEADERS_MAX: usize = 32;

fn main() -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "usage: floor LISTEN UPSTREAM...");
    let addrs = std::env::args().skip(1).map(|arg| arg.parse::<SocketAddr>());
    let addrs = addrs.collect::<Result<Vec<_>, _>>().map_err(|_| usage())?;
    let Some((listen, upstreams)) = addrs.split_first().filter(|(_, upstreams)| !upstreams.is_empty()) else {
        return Err(usage());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(*listen, upstreams))
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

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
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
