//! One HTTP/1.1 request on a connection of its own: what health checks and the command line need, no more.
//!
//! Owns the connection until the reply is read or its bound is reached. Never follows, retries or keeps alive; timeouts
//! are the caller's.

use std::io;

use erlmcp_proto::http1::{BodyDecoder, HeadLimits, HeaderSlots, Method, parse_response};
use erlmcp_ring::SockAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Interim replies (1xx) before the final one; more is a broken server.
const INTERIM_MAX: usize = 8;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Body, decoded, cut at the caller's bound.
    pub body: Vec<u8>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("connect: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is not HTTP.
    #[error("not an HTTP reply ({0})")]
    NotHttp(&'static str),
    /// The connection ended first.
    #[error("closed before a whole reply")]
    Closed,
}

/// A connection of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens a connection.
///
/// # Errors
/// [`FetchError::Connect`].
pub async fn connect(address: &SockAddr) -> Result<Box<dyn Stream>, FetchError> {
    match address {
        SockAddr::Inet(address) => {
            let stream = TcpStream::connect(address).await.map_err(FetchError::Connect)?;
            Ok(Box::new(stream))
        }
        SockAddr::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(FetchError::Connect)?;
            Ok(Box::new(stream))
        }
    }
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Path with query.
    pub target: &'a str,
    /// `Host`.
    pub host: &'a str,
    /// Further header lines, each with its CR LF.
    pub headers: &'a str,
    /// Most body bytes kept; the rest is left unread.
    pub body_bytes_max: usize,
}

/// Connects, asks once and reads the reply.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch(address: &SockAddr, ask: &Ask<'_>) -> Result<Reply, FetchError> {
    let mut stream = connect(address).await?;
    let length = if ask.method == "GET" { "" } else { "Content-Length: 0\r\n" };
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: erlmcp/{}\r\nAccept: */*\r\nConnection: close\r\n{length}{}\r\n",
        ask.method,
        ask.target,
        ask.host,
        env!("CARGO_PKG_VERSION"),
        ask.headers,
    );
    stream.write_all(head.as_bytes()).await?;
    let reply = read_reply(&mut stream, ask).await?;
    // A close with data of ours unread would be a reset at the other end; a failed shutdown has no further effect.
    let _ = stream.shutdown().await;
    Ok(reply)
}

/// What is known of the final reply's head.
struct Head {
    status: u16,
    length: usize,
    decoder: BodyDecoder,
}

async fn read_reply(stream: &mut Box<dyn Stream>, ask: &Ask<'_>) -> Result<Reply, FetchError> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let mut head = loop {
        if let Some(head) = parse_head(&mut buffer, ask)? {
            break head;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(FetchError::Closed);
        }
    };
    buffer.drain(..head.length);
    let mut body = Vec::new();
    loop {
        let mut at = 0;
        let done = loop {
            let decoded =
                head.decoder.decode(&buffer[at..]).map_err(|error| FetchError::NotHttp(error.reason()))?;
            body.extend_from_slice(&buffer[at + decoded.data.start..at + decoded.data.end]);
            at += decoded.consumed;
            if decoded.done || decoded.consumed == 0 || at == buffer.len() {
                break decoded.done;
            }
        };
        buffer.drain(..at);
        if done || body.len() >= ask.body_bytes_max {
            break;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            head.decoder.finish().map_err(|_| FetchError::Closed)?;
            break;
        }
    }
    body.truncate(ask.body_bytes_max);
    Ok(Reply { status: head.status, body })
}

/// The final head at the start of `buffer`; interim ones before it are dropped.
fn parse_head(buffer: &mut Vec<u8>, ask: &Ask<'_>) -> Result<Option<Head>, FetchError> {
    let limits = HeadLimits::default();
    for _ in 0..INTERIM_MAX {
        let mut slots = HeaderSlots::new();
        let parsed = parse_response(buffer, &mut slots, &limits, Method::from_text(ask.method))
            .map_err(|error| FetchError::NotHttp(error.reason()))?;
        let Some(response) = parsed else { return Ok(None) };
        let length = response.head_len;
        if !response.is_interim() {
            let decoder = BodyDecoder::new(response.framing);
            return Ok(Some(Head { status: response.status, length, decoder }));
        }
        buffer.drain(..length);
    }
    Err(FetchError::NotHttp("too_many_interim_replies"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answer(parts: &'static [&'static [u8]]) -> Result<Reply, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = SockAddr::Inet(listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            for part in parts {
                stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            String::from_utf8(head).unwrap()
        });
        let ask = Ask { method: "GET", target: "/x?y", host: "h", headers: "A: b\r\n", body_bytes_max: 100 };
        let reply = fetch(&address, &ask).await;
        let head = server.await.unwrap();
        assert!(head.starts_with("GET /x?y HTTP/1.1\r\nHost: h\r\n") && head.contains("\r\nA: b\r\n"));
        reply
    }

    #[tokio::test]
    async fn bodies_of_every_framing_arrive() {
        let length = answer(&[b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r\nhel", b"lo"]).await.unwrap();
        assert_eq!(length, Reply { status: 200, body: b"hello".into() });
        let chunked = answer(&[
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe",
            b"\r\n3\r\nllo\r\n0\r\n\r\n",
        ])
        .await;
        assert_eq!(chunked.unwrap(), Reply { status: 503, body: b"hello".into() });
        let close = answer(&[b"HTTP/1.0 404 No\r\n\r\nhel", b"lo"]).await.unwrap();
        assert_eq!(close, Reply { status: 404, body: b"hello".into() });
    }

    #[tokio::test]
    async fn what_is_not_a_reply_is_told_apart() {
        assert!(matches!(answer(&[b"SSH-2.0-x\r\n"]).await, Err(FetchError::NotHttp(_))));
        assert!(matches!(
            answer(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"]).await,
            Err(FetchError::Closed)
        ));
        assert!(matches!(answer(&[]).await, Err(FetchError::Closed | FetchError::Io(_))));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ask = Ask { method: "GET", target: "/", host: "h", headers: "", body_bytes_max: 1 };
        assert!(matches!(fetch(&SockAddr::Inet(closed), &ask).await, Err(FetchError::Connect(_))));
    }
}
