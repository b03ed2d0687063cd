//! nginx and HAProxy of Debian as upstreams: what comes through the gateway is what they say, byte by byte.
//!
//! Owns the comparison. Every exchange is made twice, direct and through the gateway, on both drivers; status, body and
//! every end-to-end field must be equal. Fields that describe a hop or a moment are left out, and named in [`PER_HOP`].

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::gateway::{Gateway, GatewaySpec};
use super::http::{Conn, Reply};
use super::mcp::{DRIVERS, LIMIT};
use super::process::{Server, ServerSpec, free_addr};
use super::{Context, Outcome};

/// Fields that belong to one hop (RFC 9110, section 7.6.1) or one moment, and so may differ.
const PER_HOP: [&str; 6] = ["connection", "keep-alive", "transfer-encoding", "via", "date", "x-request-id"];
/// Sizes around what buffers and framings usually break at, bytes.
const SIZES: [usize; 12] =
    [0, 1, 1023, 4095, 4096, 4097, 16_384, 32_768, 65_537, 1_000_003, 4_194_304, 16_777_217];
/// Sizes of request bodies; HAProxy answers a body only as far as one of its buffers (16 KiB) holds it, in hex.
const BODY_SIZES: [usize; 5] = [0, 1, 100, 1000, 5000];

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    write_files(context)?;
    let (_nginx, nginx) = nginx(context)?;
    let (_haproxy, haproxy) = haproxy(context, nginx)?;
    for driver in DRIVERS {
        let start = |upstream: &SocketAddr, name: &str| {
            GatewaySpec::before([upstream])
                .args(["--driver", driver])
                .start(context, &format!("gateway-{name}-{driver}"))
        };
        let gateway = start(&nginx, "nginx")?;
        compare(&mut outcome, &format!("{driver} nginx"), nginx, &gateway, &nginx_exchanges());
        let gateway = start(&haproxy, "haproxy")?;
        compare(&mut outcome, &format!("{driver} haproxy"), haproxy, &gateway, &haproxy_exchanges());
    }
    Ok(outcome)
}

/// How the reference must frame its body, where the exchange is about that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Any,
    Length,
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(reply: &Reply) -> Self {
        match (reply.header("content-length"), reply.header("transfer-encoding")) {
            (Some(_), _) => Self::Length,
            (None, Some(_)) => Self::Chunked,
            (None, None) => Self::UntilClose,
        }
    }
}

/// One request, made direct and through the gateway.
struct Exchange {
    name: String,
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    /// Sent in chunks of this many bytes instead of by its length.
    chunk_bytes: Option<usize>,
    /// What the reference itself must say: a reference that answers 404 to everything compares well.
    status: u16,
    /// Bytes of the body that the reference must send; `None` where it may be any.
    bytes: Option<usize>,
    framing: Framing,
}

impl Exchange {
    fn get(name: impl Into<String>, target: impl Into<String>, status: u16, bytes: Option<usize>) -> Self {
        let (name, target) = (name.into(), target.into());
        Self {
            name,
            method: "GET",
            target,
            headers: Vec::new(),
            body: Vec::new(),
            chunk_bytes: None,
            status,
            bytes,
            framing: Framing::Any,
        }
    }

    fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn on(&self, conn: &mut Conn) -> Result<Reply> {
        // The same Host both times: what a server says must not depend on the way to it.
        let mut headers = vec![("Host", "upstream.test")];
        headers.extend_from_slice(&self.headers);
        match self.chunk_bytes {
            None => conn.send(self.method, &self.target, &headers, &self.body)?,
            Some(size) => {
                headers.push(("Transfer-Encoding", "chunked"));
                conn.send(self.method, &self.target, &headers, b"")?;
                for chunk in self.body.chunks(size) {
                    conn.send_raw(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                    conn.send_raw(chunk)?;
                    conn.send_raw(b"\r\n")?;
                }
                conn.send_raw(b"0\r\n\r\n")?;
            }
        }
        conn.read_reply(self.method != "HEAD")
    }
}

fn nginx_exchanges() -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    for size in SIZES {
        let file = file(size);
        let mut push = |way: &str, folder: &str, framing: Framing| {
            // nginx sends an empty file by its length wherever it lies.
            let framing = if size == 0 { Framing::Length } else { framing };
            let exchange =
                Exchange::get(format!("{way} {size}"), format!("{folder}/{file}"), 200, Some(size));
            exchanges.push(exchange.framed(framing));
        };
        push("length", "", Framing::Length);
        push("chunked", "/chunked", Framing::Chunked);
        push("until close", "/close", Framing::UntilClose);
    }
    let big = file(1_000_003);
    exchanges
        .push(Exchange::get("gzip", format!("/gzip/{big}"), 200, None).header("Accept-Encoding", "gzip"));
    exchanges
        .push(Exchange::get("range", format!("/{big}"), 206, Some(1000)).header("Range", "bytes=500-1499"));
    exchanges.push(
        Exchange::get("unsatisfiable range", format!("/{big}"), 416, None).header("Range", "bytes=2000000-"),
    );
    exchanges.push(
        Exchange::get("not modified", format!("/{big}"), 304, Some(0))
            .header("If-Modified-Since", "Fri, 31 Dec 2100 23:59:59 GMT"),
    );
    exchanges.push(Exchange { method: "HEAD", ..Exchange::get("HEAD", format!("/{big}"), 200, Some(0)) });
    exchanges.push(Exchange::get("missing file", "/no-such-file", 404, None));
    exchanges.push(Exchange::get("redirect", "/moved?a=b%20c", 301, None));
    exchanges.push(Exchange::get("no content", "/empty", 204, Some(0)));
    exchanges.push(
        Exchange::get("target and fields as sent", "/echo/a%2Fb;c?d=%20&e", 200, None)
            .header("X-Probe", "a, b"),
    );
    exchanges.push(Exchange {
        method: "POST",
        body: vec![b'x'; 1000],
        ..Exchange::get("POST to a file", format!("/{big}"), 405, None)
    });
    exchanges
}

fn haproxy_exchanges() -> Vec<Exchange> {
    let mut exchanges: Vec<_> = [0, 65_537, 4_194_304]
        .into_iter()
        .map(|size| Exchange::get(format!("length {size}"), format!("/{}", file(size)), 200, Some(size)))
        .collect();
    exchanges.push(Exchange::get("chunked", format!("/chunked/{}", file(65_537)), 200, Some(65_537)));
    exchanges.push(Exchange::get("its own refusal", "/deny", 403, None));
    for size in BODY_SIZES {
        for chunk_bytes in [None, Some(1), Some(333)] {
            // One byte a chunk is for small bodies: the framing is larger than the buffer otherwise.
            if chunk_bytes == Some(1) && size > 100 {
                continue;
            }
            let name = match chunk_bytes {
                None => format!("POST {size}"),
                Some(bytes) => format!("POST {size} in chunks of {bytes}"),
            };
            exchanges.push(Exchange {
                method: "POST",
                body: pattern(size),
                chunk_bytes,
                ..Exchange::get(name, "/echo-body", 200, Some(2 * size))
            });
        }
    }
    exchanges
}

/// Makes every exchange both ways, first on connections of its own, then all on one kept-alive connection.
fn compare(outcome: &mut Outcome, name: &str, direct: SocketAddr, gateway: &Gateway, exchanges: &[Exchange]) {
    for exchange in exchanges {
        let result = (|| {
            let wanted = exchange.on(&mut Conn::connect(direct, LIMIT)?).context("direct")?;
            expect(exchange, &wanted)?;
            let got = exchange.on(&mut Conn::connect(gateway.addr, LIMIT)?).context("through the gateway")?;
            same(&wanted, &got)
        })();
        outcome.case(format!("{name}: {}", exchange.name), result);
    }
    outcome.case(format!("{name}: all on one connection"), kept_alive(direct, gateway, exchanges));
}

fn kept_alive(direct: SocketAddr, gateway: &Gateway, exchanges: &[Exchange]) -> Result<()> {
    let mut conn = Conn::connect(gateway.addr, LIMIT)?;
    for exchange in exchanges {
        let wanted = exchange.on(&mut Conn::connect(direct, LIMIT)?)?;
        let got = exchange.on(&mut conn).with_context(|| exchange.name.clone())?;
        same(&wanted, &got).with_context(|| exchange.name.clone())?;
        if got.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            conn = Conn::connect(gateway.addr, LIMIT)?;
        }
    }
    Ok(())
}

/// The reference says what this exchange is for.
fn expect(exchange: &Exchange, reply: &Reply) -> Result<()> {
    ensure!(reply.status == exchange.status, "direct: status {}, wanted {}", reply.status, exchange.status);
    let framing = Framing::of(reply);
    ensure!(
        exchange.framing == Framing::Any || framing == exchange.framing,
        "direct: framed {framing:?}, wanted {:?}",
        exchange.framing
    );
    if let Some(bytes) = exchange.bytes {
        ensure!(reply.body.len() == bytes, "direct: {} bytes, wanted {bytes}", reply.body.len());
    }
    Ok(())
}

fn same(wanted: &Reply, got: &Reply) -> Result<()> {
    ensure!(got.status == wanted.status, "status {} direct, {} through", wanted.status, got.status);
    ensure!(
        got.body == wanted.body,
        "body of {} bytes direct, {} through, first difference at {:?}",
        wanted.body.len(),
        got.body.len(),
        wanted.body.iter().zip(&got.body).position(|(one, other)| one != other)
    );
    // A gateway may frame anew: a length where the upstream closed or chunked is no change of the message.
    let framed_anew = wanted.header("content-length").is_none();
    let is_end_to_end = |name: &str| {
        let name = name.to_ascii_lowercase();
        let may_differ = PER_HOP.contains(&name.as_str()) || (framed_anew && name == "content-length");
        !may_differ
    };
    let fields = |reply: &Reply| -> Vec<(String, String)> {
        let kept = reply.headers.iter().filter(|(name, _)| is_end_to_end(name));
        kept.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
    };
    let (wanted, got) = (fields(wanted), fields(got));
    ensure!(wanted == got, "fields {wanted:?} direct, {got:?} through");
    Ok(())
}

fn file(size: usize) -> String {
    format!("file-{size}.bin")
}

/// Bytes in which no short period hides a lost or doubled piece.
fn pattern(size: usize) -> Vec<u8> {
    (0..size as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn write_files(context: &Context) -> Result<()> {
    let folder = context.scratch.join("files");
    std::fs::create_dir_all(&folder)?;
    for size in SIZES {
        let path = folder.join(file(size));
        std::fs::write(&path, pattern(size)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Static files with a length, in chunks, and until the close; an echo of what it was asked; a redirect.
fn nginx(context: &Context) -> Result<(Server, SocketAddr)> {
    let addr = free_addr()?;
    let folder = context.scratch.join("nginx");
    std::fs::create_dir_all(&folder)?;
    let (folder, files) = (folder.display(), context.scratch.join("files"));
    let files = files.display();
    // Server-side includes make nginx give up the length that it would know. A request with `Via` is a proxy's to it,
    // and those get no gzip unless it is told so.
    let config = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  default_type application/octet-stream; gzip off; absolute_redirect off; if_modified_since before;
  server {{
    listen {addr}; root {files};
    location /chunked/ {{ alias {files}/; ssi on; ssi_types *; ssi_value_length 1; }}
    location /close/ {{ alias {files}/; ssi on; ssi_types *; chunked_transfer_encoding off; }}
    location /gzip/ {{ alias {files}/; gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; }}
    location = /moved {{ return 301 /elsewhere?$args; }}
    location = /empty {{ return 204; }}
    location /echo/ {{ return 200 \"$request_method $request_uri $http_x_probe\"; }}
  }}
}}
"
    );
    let path = context.write("nginx/nginx.conf", &config)?;
    let mut server =
        ServerSpec::new("nginx").arg("-c").arg(&path).args(["-e", "stderr"]).start(context.log("nginx"))?;
    server.wait_for_port(addr, LIMIT)?;
    Ok((server, addr))
}

/// HAProxy before that nginx, with answers of its own: a refusal, and the request's body in hex.
fn haproxy(context: &Context, nginx: SocketAddr) -> Result<(Server, SocketAddr)> {
    let addr = free_addr()?;
    let config = format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-request 10s
  option http-no-delay
frontend in
  bind {addr}
  http-request deny if {{ path /deny }}
  http-request wait-for-body time 5s at-least 8k if {{ path /echo-body }}
  http-request return status 200 content-type text/plain lf-string %[req.body,hex] if {{ path /echo-body }}
  default_backend files
backend files
  http-reuse always
  server nginx {nginx}
"
    );
    let path = context.write("haproxy.cfg", &config)?;
    let mut server =
        ServerSpec::new("haproxy").arg("-db").arg("-f").arg(&path).start(context.log("haproxy"))?;
    server.wait_for_port(addr, LIMIT)?;
    Ok((server, addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reply { status, headers, body: body.to_vec(), trailers: Vec::new() }
    }

    #[test]
    fn only_what_belongs_to_a_hop_may_differ() {
        let wanted = reply(200, &[("ETag", "\"a\""), ("Content-Length", "2"), ("Date", "now")], b"ok");
        let fine = reply(200, &[("etag", "\"a\""), ("Content-Length", "2"), ("Via", "1.1 x")], b"ok");
        same(&wanted, &fine).unwrap();
        let lost = reply(200, &[("Content-Length", "2")], b"ok");
        assert!(same(&wanted, &lost).is_err());
        let added = reply(200, &[("ETag", "\"a\""), ("Content-Length", "2"), ("X-New", "1")], b"ok");
        assert!(same(&wanted, &added).is_err());
        assert!(same(&wanted, &reply(200, &[("ETag", "\"a\""), ("Content-Length", "2")], b"no")).is_err());
        assert!(same(&wanted, &reply(201, &[("ETag", "\"a\""), ("Content-Length", "2")], b"ok")).is_err());
        let chunked = reply(200, &[("Transfer-Encoding", "chunked")], b"ok");
        same(&chunked, &reply(200, &[("Content-Length", "2")], b"ok")).unwrap();
    }

    #[test]
    fn the_pattern_has_no_short_period() {
        let bytes = pattern(10_000);
        for period in [1, 2, 4, 16, 256, 1024, 4096] {
            assert!(bytes[period..].iter().zip(&bytes).any(|(one, other)| one != other), "{period}");
        }
    }
}
