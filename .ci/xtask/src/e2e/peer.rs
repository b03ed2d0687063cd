//! The server behind the gateway in the suites that break things: small, threaded, honest about what reached it.
//!
//! `GET /health` and `GET /count` are not counted; everything else is: whole requests, heads whose body did not come
//! whole, and what it cannot read. `/after/MS` takes
//! MS milliseconds, `/bytes/N` and `/chunked/N` reply with N bytes of the pattern, a body is checked against it. Owns no
//! limits worth the name: it stands on the loopback for the length of a suite.

use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::http;
use super::pattern::Pattern;
use super::process::{Server, ServerSpec};
use super::{Context, mcp::LIMIT};

const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// Odd, so that chunks of it end where no buffer does.
const CHUNK_BYTES: u64 = 100_003;

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static CUT: AtomicU64 = AtomicU64::new(0);
static MALFORMED: AtomicU64 = AtomicU64::new(0);

/// What has reached a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Whole requests.
    pub(super) requests: u64,
    /// Heads whose body broke off.
    pub(super) cut: u64,
    /// Bytes that were no request.
    pub(super) malformed: u64,
}

/// A peer as a process of its own.
pub(super) struct Peer {
    /// Its process.
    pub(super) server: Server,
    /// Where it listens.
    pub(super) addr: SocketAddr,
}

impl Peer {
    /// Starts one and waits until it listens.
    pub(super) fn start(context: &Context, name: &str, addr: SocketAddr) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let spec = ServerSpec::new(own).args(["helper", "peer"]).arg(addr.to_string()).arg(name);
        let mut server = spec.start(context.log(name))?;
        server.wait_for_port(addr, LIMIT)?;
        Ok(Self { server, addr })
    }

    /// What has reached it.
    pub(super) fn count(&self) -> Result<Count> {
        let reply = http::get(self.addr, "/count", LIMIT).context("ask the peer for its count")?;
        let told: Value = serde_json::from_slice(&reply.body).context("read the peer's count")?;
        let number = |key: &str| told[key].as_u64().with_context(|| format!("no `{key}` in {told}"));
        Ok(Count { requests: number("requests")?, cut: number("cut")?, malformed: number("malformed")? })
    }
}

/// Serves until the process is ended.
pub(super) fn serve(listen: SocketAddr, name: &str) -> Result<bool> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    for stream in listener.incoming() {
        let stream = stream.context("accept")?;
        let name = name.to_owned();
        std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            // The end of one connection; there is nobody to tell.
            let _ = answer_all(&stream, &name);
        })?;
    }
    Ok(true)
}

fn answer_all(stream: &TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(64 * 1024, stream);
    loop {
        match Request::read(&mut input) {
            Ok(Some(request)) => request.answer(&mut input, stream, name)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    MALFORMED.fetch_add(1, Ordering::Relaxed);
                }
                return Err(error);
            }
        }
    }
}

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    target: String,
    framing: Framing,
    close: bool,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A line without its CRLF; `None` at the end of the stream.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    input.take(HEAD_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = line.strip_suffix(b"\r\n").ok_or_else(|| invalid("a line without CRLF"))?;
    String::from_utf8(text.to_vec()).map(Some).map_err(|_| invalid("not UTF-8"))
}

impl Request {
    fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(input)? else { return Ok(None) };
        let words: Vec<_> = first.split(' ').collect();
        let [_, target, "HTTP/1.1"] = words.as_slice() else { return Err(invalid("no request line")) };
        let mut request = Self { target: (*target).to_owned(), framing: Framing::Length(0), close: false };
        loop {
            let field = line(input)?.ok_or_else(|| invalid("a cut head"))?;
            if field.is_empty() {
                return Ok(Some(request));
            }
            let (name, value) = field.split_once(':').ok_or_else(|| invalid("no field"))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    request.framing = Framing::Length(value.parse().map_err(|_| invalid("no length"))?);
                }
                "transfer-encoding" => request.framing = Framing::Chunked,
                "connection" => request.close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }

    fn answer(&self, input: &mut impl BufRead, out: &TcpStream, name: &str) -> io::Result<()> {
        let plain = |text: &str| reply(out, text.as_bytes());
        match self.target.as_str() {
            "/health" => plain("ok")?,
            "/count" => {
                let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                let (requests, cut, malformed) = (count(&REQUESTS), count(&CUT), count(&MALFORMED));
                plain(&json!({ "requests": requests, "cut": cut, "malformed": malformed }).to_string())?;
            }
            target => {
                let received = receive(input, self.framing);
                let counter = if received.is_ok() { &REQUESTS } else { &CUT };
                counter.fetch_add(1, Ordering::Relaxed);
                // Its connection ends; what was no framing at all is counted there.
                let (bytes, is_intact) = received?;
                let number = |prefix: &str| target.strip_prefix(prefix)?.parse::<u64>().ok();
                if let Some(ms) = number("/after/") {
                    // The work that a real server would do.
                    std::thread::sleep(Duration::from_millis(ms));
                    plain(name)?;
                } else if let Some(size) = number("/bytes/") {
                    send_by_length(out, size)?;
                } else if let Some(size) = number("/chunked/") {
                    send_in_chunks(out, size)?;
                } else if bytes > 0 {
                    plain(&json!({ "bytes": bytes, "intact": is_intact }).to_string())?;
                } else {
                    plain(name)?;
                }
            }
        }
        if self.close { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// Takes a body in: its length, and whether it was the pattern.
fn receive(input: &mut impl BufRead, framing: Framing) -> io::Result<(u64, bool)> {
    let (mut pattern, mut total, mut is_intact) = (Pattern::default(), 0, true);
    let mut take = |input: &mut dyn BufRead, mut left: u64| -> io::Result<()> {
        while left > 0 {
            let piece = input.fill_buf()?;
            let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            is_intact &= pattern.takes(&piece[..count]);
            input.consume(count);
            (left, total) = (left - count as u64, total + count as u64);
        }
        Ok(())
    };
    match framing {
        Framing::Length(length) => take(input, length)?,
        Framing::Chunked => loop {
            let size = line(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = size.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| invalid("no chunk size"))?;
            take(input, size)?;
            if line(input)?.is_none_or(|end| !end.is_empty()) {
                return Err(invalid("no end of a chunk"));
            }
            if size == 0 {
                break;
            }
        },
    }
    Ok((total, is_intact))
}

fn head(framing: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{framing}\r\n\r\n")
}

fn reply(mut out: &TcpStream, body: &[u8]) -> io::Result<()> {
    let mut bytes = head(&format!("Content-Length: {}", body.len())).into_bytes();
    bytes.extend_from_slice(body);
    out.write_all(&bytes)
}

fn send_by_length(mut out: &TcpStream, size: u64) -> io::Result<()> {
    out.write_all(head(&format!("Content-Length: {size}")).as_bytes())?;
    let (mut pattern, mut left) = (Pattern::default(), size);
    while left > 0 {
        let piece = pattern.next(left);
        out.write_all(piece)?;
        left -= piece.len() as u64;
    }
    Ok(())
}

fn send_in_chunks(mut out: &TcpStream, size: u64) -> io::Result<()> {
    out.write_all(head("Transfer-Encoding: chunked").as_bytes())?;
    write_chunks(&mut out, size)
}

/// The pattern in chunks, with the last one.
pub(super) fn write_chunks(out: &mut impl Write, size: u64) -> io::Result<()> {
    let (mut pattern, mut left) = (Pattern::default(), size);
    while left > 0 {
        let piece = pattern.next(left.min(CHUNK_BYTES));
        out.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        out.write_all(piece)?;
        out.write_all(b"\r\n")?;
        left -= piece.len() as u64;
    }
    out.write_all(b"0\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_checked_in_both_framings() {
        let mut chunked = Vec::new();
        write_chunks(&mut chunked, 3_000_000).unwrap();
        assert_eq!(receive(&mut chunked.as_slice(), Framing::Chunked).unwrap(), (3_000_000, true));
        chunked[200_000] ^= 1;
        assert_eq!(receive(&mut chunked.as_slice(), Framing::Chunked).unwrap(), (3_000_000, false));
        assert!(receive(&mut &b"ab"[..], Framing::Length(3)).is_err());
    }

    #[test]
    fn what_is_no_request_is_told_apart_from_the_end() {
        let read = |text: &str| Request::read(&mut text.as_bytes());
        assert!(read("").unwrap().is_none());
        let request = read("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap().unwrap();
        assert!(request.close && request.target == "/x");
        for bad in ["GET /x\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a\r\n", "GET /x HTTP/1.1\n\n"] {
            assert_eq!(read(bad).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bad:?}");
        }
    }
}
