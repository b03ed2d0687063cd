//! A fixed-reply HTTP/1.1 server on one thread: the upstream of the comparisons.
//!
//! `/` replies 13 bytes, `/64k` 64 KiB, `/1m` 1 MiB (`Content-Length`), `/sse` an event stream with one comment that
//! then stays silent. One read is one request: clients here send small requests and do not pipeline. Never use it for
//! anything but measuring. Usage: `hello LISTEN`.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const REQUEST_BYTES_MAX: usize = 4096;
const BACKLOG: u32 = 4096;
const HEADERS_MAX: usize = 64;
const SSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n: hi\n\n\r\n";

/// The replies, head and body in one piece, built once.
struct Replies {
    small: Vec<u8>,
    large: Vec<u8>,
    huge: Vec<u8>,
}

impl Replies {
    fn new() -> Self {
        Self {
            small: reply(b"Hello, World!"),
            large: reply(&[b'x'; 64 << 10]),
            huge: reply(&vec![b'x'; 1 << 20]),
        }
    }
}

fn reply(body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<SocketAddr>());
    let (Some(Ok(listen)), None) = (args.next(), args.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: hello LISTEN"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(listen))
}

async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = bind(listen)?;
    let replies = Rc::new(Replies::new());
    loop {
        let (client, _) = listener.accept().await?;
        let replies = Rc::clone(&replies);
        tokio::task::spawn_local(async move {
            // An error is the end of one connection; there is nobody to tell.
            let _ = answer(client, &replies).await;
        });
    }
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

async fn answer(mut client: TcpStream, replies: &Replies) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = vec![0_u8; REQUEST_BYTES_MAX];
    loop {
        let count = client.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        if !matches!(request.parse(&buffer[..count]), Ok(httparse::Status::Complete(_))) {
            return Ok(());
        }
        match request.path {
            Some("/64k") => client.write_all(&replies.large).await?,
            Some("/1m") => client.write_all(&replies.huge).await?,
            Some("/sse") => client.write_all(SSE).await?,
            _ => client.write_all(&replies.small).await?,
        }
    }
}
