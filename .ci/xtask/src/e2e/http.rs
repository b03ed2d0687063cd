//! A small blocking HTTP/1.1 client for tests.
//!
//! Owns one connection at a time and shows what came over it exactly: status, header fields in order, body pieces as
//! they were framed, trailers. It can send any bytes, correct or not. Never follows, retries, decodes or pools, and
//! every wait ends at the connection's timeout.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Longest head or chunk-size line that is accepted, bytes.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Longest body that is collected whole, bytes. Larger ones are read piece by piece.
const BODY_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 64 * 1024;

/// A reply, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header fields as they came, in order.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
    /// Fields behind a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Reply {
    /// The first field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The head of a reply whose body is read by [`Conn::next_piece`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Header fields as they came, in order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// How the rest of the body on a connection is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// No body is pending.
    None,
    Length(u64),
    /// Chunked; bytes left of the current chunk.
    Chunked(u64),
    UntilClose,
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
    /// What one read fills.
    scratch: Box<[u8]>,
    buffer: Vec<u8>,
    framing: Framing,
    trailers: Vec<(String, String)>,
}

impl Conn {
    /// Connects; each later read or write waits at most `timeout`.
    pub fn connect(addr: SocketAddr, timeout: Duration) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&addr, timeout).with_context(|| format!("connect to {addr}"))?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        let scratch = vec![0; READ_BYTES].into();
        Ok(Self { stream, scratch, buffer: Vec::new(), framing: Framing::None, trailers: Vec::new() })
    }

    /// The socket below, for what is not offered here.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("send")
    }

    /// Sends a request. `Host` is added unless given, and `Content-Length` for a body or one of the methods that have one.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        let given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        if !given("host") {
            head.push_str(&format!("Host: {}\r\n", self.stream.peer_addr()?));
        }
        let wants_length = !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH");
        if wants_length && !given("content-length") && !given("transfer-encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send_raw(&bytes)
    }

    /// Half-closes: no more bytes from this side.
    pub fn finish_sending(&self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write).context("half-close")
    }

    /// Reads a head; interim (1xx) ones too, so call it again after a 100. `has_body` is false for replies to HEAD.
    pub fn read_head(&mut self, has_body: bool) -> Result<Head> {
        ensure!(self.framing == Framing::None, "the body before was not read to its end");
        let mut lines = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
            ensure!(lines.len() < 1000, "a head of more than 1000 lines");
        }
        let (status_line, fields) = lines.split_first().context("an empty head")?;
        let mut words = status_line.splitn(3, ' ');
        ensure!(
            words.next().is_some_and(|word| word.starts_with("HTTP/1.")),
            "no status line: {status_line:?}"
        );
        let status = words.next().and_then(|word| word.parse::<u16>().ok()).context("no status code")?;
        let headers = fields.iter().map(|line| field(line)).collect::<Result<Vec<_>>>()?;
        self.trailers.clear();
        self.framing = framing(status, &headers, has_body)?;
        Ok(Head { status, headers })
    }

    /// The next piece of the body as soon as it comes (at most one chunk); `None` at its end.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::None => Ok(None),
            Framing::Length(0) => {
                self.framing = Framing::None;
                Ok(None)
            }
            Framing::Length(left) => {
                let piece = self.take(left)?;
                self.framing = Framing::Length(left - piece.len() as u64);
                Ok(Some(piece))
            }
            Framing::Chunked(0) => self.next_chunk(),
            Framing::Chunked(left) => {
                let piece = self.take(left)?;
                let left = left - piece.len() as u64;
                if left == 0 {
                    ensure!(self.read_line()?.is_empty(), "no line end behind a chunk");
                }
                self.framing = Framing::Chunked(left);
                Ok(Some(piece))
            }
            Framing::UntilClose => {
                if self.buffer.is_empty() && !self.fill()? {
                    self.framing = Framing::None;
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.buffer)))
            }
        }
    }

    /// Reads the final reply whole, interim ones passed over.
    pub fn read_reply(&mut self, has_body: bool) -> Result<Reply> {
        let mut head = self.read_head(has_body)?;
        while (100..200).contains(&head.status) && head.status != 101 {
            head = self.read_head(has_body)?;
        }
        let mut body = Vec::new();
        while let Some(piece) = self.next_piece()? {
            body.extend_from_slice(&piece);
            ensure!(
                body.len() <= BODY_BYTES_MAX,
                "a body of more than {BODY_BYTES_MAX} bytes; read it by pieces"
            );
        }
        let trailers = std::mem::take(&mut self.trailers);
        Ok(Reply { status: head.status, headers: head.headers, body, trailers })
    }

    /// Sends a request and reads its reply.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        self.send(method, target, headers, body)?;
        self.read_reply(method != "HEAD")
    }

    /// Everything until the peer closes, as it came. A reset counts as the end.
    pub fn read_until_close(&mut self) -> Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.buffer);
        loop {
            ensure!(all.len() <= BODY_BYTES_MAX, "more than {BODY_BYTES_MAX} bytes before the close");
            match self.fill() {
                Ok(true) => all.append(&mut self.buffer),
                Ok(false) => return Ok(all),
                Err(error) => match error.downcast_ref::<std::io::Error>() {
                    Some(io) if io.kind() == ErrorKind::ConnectionReset => return Ok(all),
                    _ => return Err(error),
                },
            }
        }
    }

    fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let line = self.read_line()?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).with_context(|| format!("chunk size {line:?}"))?;
        if size > 0 {
            self.framing = Framing::Chunked(size);
            return self.next_piece();
        }
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                break;
            }
            self.trailers.push(field(&line)?);
            ensure!(self.trailers.len() < 1000, "more than 1000 trailers");
        }
        self.framing = Framing::None;
        Ok(None)
    }

    /// At least one and at most `most` bytes.
    fn take(&mut self, most: u64) -> Result<Vec<u8>> {
        if self.buffer.is_empty() && !self.fill()? {
            bail!("the connection ended within a body");
        }
        let count = self.buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        // Whole blocks: bytes one by one would take a debug build minutes for a large body.
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// A line without its CRLF.
    fn read_line(&mut self) -> Result<String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..searched + at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned());
            }
            ensure!(self.buffer.len() <= HEAD_BYTES_MAX, "a line of more than {HEAD_BYTES_MAX} bytes");
            searched = self.buffer.len().saturating_sub(1);
            if !self.fill()? {
                bail!("the connection ended before a line did ({} bytes of it came)", self.buffer.len());
            }
        }
    }

    /// Reads more; false at the end of the stream.
    fn fill(&mut self) -> Result<bool> {
        let result = loop {
            match self.stream.read(&mut self.scratch) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.extend_from_slice(&self.scratch[..result.as_ref().copied().unwrap_or(0)]);
        Ok(result.context("receive")? > 0)
    }
}

/// One GET on a connection of its own.
pub fn get(addr: SocketAddr, target: &str, timeout: Duration) -> Result<Reply> {
    Conn::connect(addr, timeout)?.request("GET", target, &[("Connection", "close")], b"")
}

/// One POST of JSON on a connection of its own.
pub fn post_json(addr: SocketAddr, target: &str, json: &str, timeout: Duration) -> Result<Reply> {
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("Connection", "close"),
    ];
    Conn::connect(addr, timeout)?.request("POST", target, &headers, json.as_bytes())
}

fn find<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn field(line: &str) -> Result<(String, String)> {
    let (name, value) = line.split_once(':').with_context(|| format!("no field: {line:?}"))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// RFC 9112, section 6.3, as seen by a client.
fn framing(status: u16, headers: &[(String, String)], has_body: bool) -> Result<Framing> {
    if !has_body || (100..200).contains(&status) || status == 204 || status == 304 {
        return Ok(Framing::None);
    }
    if let Some(coding) = find(headers, "transfer-encoding") {
        ensure!(coding.eq_ignore_ascii_case("chunked"), "transfer coding {coding:?}");
        ensure!(find(headers, "content-length").is_none(), "both Transfer-Encoding and Content-Length");
        return Ok(Framing::Chunked(0));
    }
    match find(headers, "content-length") {
        Some(text) => Ok(Framing::Length(text.parse().with_context(|| format!("content length {text:?}"))?)),
        None => Ok(Framing::UntilClose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(5);

    /// A server that sends `pieces` one by one to its only client and closes.
    fn server(pieces: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
            }
        });
        addr
    }

    #[test]
    fn length_then_the_next_reply_on_the_same_connection() {
        let addr = server(&[
            "HTTP/1.1 200 OK\r\nContent-Le",
            "ngth: 5\r\n\r\nhel",
            "loHTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        ]);
        let mut conn = Conn::connect(addr, LIMIT).unwrap();
        let first = conn.request("GET", "/", &[], b"").unwrap();
        assert_eq!((first.status, first.body.as_slice()), (200, b"hello".as_slice()));
        let second = conn.read_reply(true).unwrap();
        assert_eq!((second.status, second.header("x")), (204, Some("y")));
        assert!(conn.read_until_close().unwrap().is_empty());
    }

    #[test]
    fn chunks_come_one_by_one_and_trailers_behind() {
        let addr = server(&[
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\none\r\n",
            "A\r\n0123456789\r\n0\r\nSum: 13\r\n\r\n",
        ]);
        let mut conn = Conn::connect(addr, LIMIT).unwrap();
        conn.send("GET", "/", &[], b"").unwrap();
        assert_eq!(conn.read_head(true).unwrap().status, 100);
        assert_eq!(conn.read_head(true).unwrap().header("TRANSFER-encoding"), Some("chunked"));
        assert_eq!(conn.next_piece().unwrap().unwrap(), b"one");
        let mut rest = Vec::new();
        while let Some(piece) = conn.next_piece().unwrap() {
            rest.extend(piece);
        }
        assert_eq!(rest, b"0123456789");
        assert_eq!(conn.trailers, [("Sum".to_owned(), "13".to_owned())]);
    }

    #[test]
    fn a_body_cut_short_is_an_error() {
        for reply in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhel",
        ] {
            let addr = server(Box::leak(Box::new([reply])));
            let error = Conn::connect(addr, LIMIT).unwrap().request("GET", "/", &[], b"").unwrap_err();
            assert!(error.to_string().contains("ended within a body"), "{error:#}");
        }
    }

    #[test]
    fn without_framing_the_close_ends_the_body() {
        let addr = server(&["HTTP/1.0 200 OK\r\n\r\n", "to the ", "end"]);
        assert_eq!(get(addr, "/", LIMIT).unwrap().text(), "to the end");
        let head = server(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]);
        assert!(Conn::connect(head, LIMIT).unwrap().request("HEAD", "/", &[], b"").unwrap().body.is_empty());
    }
}
