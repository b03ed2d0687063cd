//! A fixed-reply HTTP/1.1 server on one thread: the upstream of the comparisons.
//!
//! `/` replies 13 bytes, `/64k` 64 KiB, `/1m` 1 MiB (`Content-Length`), `/sse` an event stream with one comment that
//! then stays silent, `/ws` a WebSocket that sends each message back. One read is one request: clients here send small
//! requests and do not pipeline. Never use it for anything but measuring.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use erlmcp_proto::websocket::{self, DataKind, Message, MessageReader, Opcode, Role};

use super::bind;

const REQUEST_BYTES_MAX: usize = 4096;
/// Longest WebSocket message.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
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

/// Serves at `listen` until the process ends.
///
/// # Errors
/// When the system refuses the listening socket.
pub fn hello(listen: SocketAddr) -> io::Result<()> {
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
            Some("/ws") => {
                let Some(switch) = switch(request.headers) else { return Ok(()) };
                client.write_all(&switch).await?;
                return echo(client, buffer).await;
            }
            _ => client.write_all(&replies.small).await?,
        }
    }
}

/// The answer to a WebSocket handshake; `None` when it is none.
fn switch(headers: &[httparse::Header<'_>]) -> Option<Vec<u8>> {
    let key = headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let mut answer = Vec::new();
    websocket::write_answer(&mut answer, &websocket::accept_key(key.value), None);
    Some(answer)
}

/// Sends every message back until the client closes.
async fn echo(mut client: TcpStream, mut buffer: Vec<u8>) -> io::Result<()> {
    let mut reader = MessageReader::new(Role::Server, MESSAGE_BYTES_MAX);
    let mut replies = Vec::new();
    loop {
        let count = client.read(&mut buffer).await?;
        let mut input = &buffer[..count];
        let mut ended = count == 0;
        while let Some(message) = reader.next(&mut input).map_err(io::Error::other)? {
            match message {
                Message::Text(text) => websocket::write_message(&mut replies, DataKind::Text, None, text),
                Message::Binary(bytes) => {
                    websocket::write_message(&mut replies, DataKind::Binary, None, bytes)
                }
                Message::Ping(payload) => {
                    websocket::write_control(&mut replies, Opcode::Pong, None, payload)
                        .map_err(io::Error::other)?;
                }
                Message::Pong(_) => {}
                Message::Close(_) => {
                    websocket::write_close(&mut replies, None, None, "");
                    ended = true;
                }
            }
        }
        if !replies.is_empty() {
            client.write_all(&replies).await?;
            replies.clear();
        }
        if ended {
            return Ok(());
        }
    }
}
