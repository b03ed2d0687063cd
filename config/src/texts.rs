//! The kinds of text that keys take, each with its name, an example that passes, and its rule.

use crate::shape::Text;
use crate::values::{Address, HostPattern, HostRewrite, Network, OriginPattern, check_host};

const fn text(name: &'static str, example: &'static str, check: fn(&str) -> Result<(), String>) -> Text {
    Text { name, example, check }
}

/// Any text that is not empty and holds no control character.
pub(crate) const LINE: Text = text("a text", "text", check_line);
/// A name that stands in metrics, logs and references.
pub(crate) const NAME: Text = text("a name", "name-1", check_name);
pub(crate) const HOST: Text = text("a host", "node-1.example.com", check_host_name);
pub(crate) const HOST_PORT: Text = text("a host with a port", "node-1:11211", check_host_port);
pub(crate) const ADDRESS: Text = text("an address", "127.0.0.1:8080", parses::<Address>);
pub(crate) const UNIX_ADDRESS: Text = text("a Unix socket", "unix:/run/erlmcp/node.sock", check_unix);
pub(crate) const SOCKET_PATH: Text = text("an absolute path", "/run/erlmcp/admin.sock", check_socket_path);
pub(crate) const OUTPUT: Text = text("`-` or a path", "/var/log/erlmcp/access.log", check_output);
pub(crate) const URL_PATH: Text = text("a path", "/mcp", check_url_path);
pub(crate) const URL: Text = text("an http or https URL", "http://otel-collector:4317", check_url);
pub(crate) const HOST_PATTERN: Text =
    text("a host or `*.` and a host", "*.example.com", parses::<HostPattern>);
pub(crate) const ORIGIN: Text = text("an origin pattern", "https://*.example.com", parses::<OriginPattern>);
pub(crate) const HOST_REWRITE: Text = text("`upstream`, `keep` or a host", "upstream", parses::<HostRewrite>);
pub(crate) const NETWORK: Text = text("a network", "10.0.0.0/8", parses::<Network>);
pub(crate) const HEADER_NAME: Text = text("a header name", "x-tenant", check_token);
pub(crate) const HEADER_VALUE: Text = text("a header value", "value", check_header_value);
pub(crate) const METHOD: Text = text("a method", "POST", check_method);
pub(crate) const CRON: Text = text("five cron fields", "0 2 * * *", check_cron);
pub(crate) const REGION: Text = text("a region", "us-east-1", check_name);

fn parses<T: std::str::FromStr<Err = String>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop)
}

fn must(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

fn check_line(text: &str) -> Result<(), String> {
    must(
        !text.is_empty() && !text.chars().any(char::is_control),
        "it must not be empty nor hold control characters",
    )
}

fn check_name(text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    let why = "it stands in metrics: 1 to 128 letters, digits, `-`, `_`, `.`, `:`";
    must((1..=128).contains(&text.len()) && text.bytes().all(fits), why)
}

/// A host without the brackets that an authority needs around IPv6.
fn check_host_name(text: &str) -> Result<(), String> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() { Ok(()) } else { check_host(text) }
}

fn check_host_port(text: &str) -> Result<(), String> {
    let (host, port) = text.rsplit_once(':').ok_or("it needs `:` and a port")?;
    check_host(host)?;
    must(port.parse::<u16>().is_ok_and(|port| port > 0), "the port must lie from 1 to 65535")
}

fn check_unix(text: &str) -> Result<(), String> {
    match text.parse::<Address>()? {
        Address::Unix(_) => Ok(()),
        Address::Tcp(_) => Err("write host and port as `host` and `port`".into()),
    }
}

fn check_socket_path(text: &str) -> Result<(), String> {
    format!("unix:{text}").parse::<Address>().map(drop)
}

fn check_output(text: &str) -> Result<(), String> {
    must(text == "-" || (!text.is_empty() && !text.contains('\0')), "it must not be empty")
}

/// An absolute path in URL characters, without query or fragment (RFC 3986 section 3.3).
fn check_url_path(text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b);
    must(
        text.starts_with('/') && text.bytes().all(fits),
        "it must start with `/` and hold only URL characters",
    )
}

fn check_url(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let rest = rest.ok_or("it must start with http:// or https://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    must(text.bytes().all(|b| b.is_ascii_graphic()), "it must hold only URL characters")?;
    if authority.contains('@') {
        return Err("credentials do not belong into a URL that is printed".into());
    }
    match check_host_port(authority) {
        Ok(()) => Ok(()),
        Err(_) => check_host(authority),
    }
}

/// RFC 9110 section 5.6.2.
fn check_token(text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    must(
        !text.is_empty() && text.bytes().all(fits),
        "it must hold only the characters of RFC 9110 section 5.6.2",
    )
}

fn check_method(text: &str) -> Result<(), String> {
    must(
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'),
        "methods are upper case",
    )
}

/// RFC 9110 section 5.5: no control characters, no blanks around it.
fn check_header_value(text: &str) -> Result<(), String> {
    let inside = text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
    must(inside && text.trim() == text, "it must hold no control characters nor blanks around it")
}

/// Five fields of numbers, `*`, lists, ranges and steps within the bounds of crontab(5).
fn check_cron(text: &str) -> Result<(), String> {
    const BOUNDS: [(u32, u32, &str); 5] =
        [(0, 59, "minute"), (0, 23, "hour"), (1, 31, "day"), (1, 12, "month"), (0, 7, "weekday")];
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    must(fields.len() == BOUNDS.len(), "it must be minute, hour, day, month, weekday")?;
    for (field, (min, max, name)) in fields.iter().zip(BOUNDS) {
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| (min..=max).contains(n));
        let fits = |part: &str| {
            let (range, step) = part.split_once('/').map_or((part, "1"), |(range, step)| (range, step));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let range_fits = range == "*" || number(first).zip(number(last)).is_some_and(|(a, b)| a <= b);
            range_fits && step.parse::<u32>().is_ok_and(|step| step > 0)
        };
        must(field.split(',').all(fits), &format!("the {name} must lie from {min} to {max}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_passes_its_own_rule() {
        let all = [
            LINE,
            NAME,
            HOST,
            HOST_PORT,
            ADDRESS,
            UNIX_ADDRESS,
            SOCKET_PATH,
            OUTPUT,
            URL_PATH,
            URL,
            HOST_PATTERN,
            ORIGIN,
            HOST_REWRITE,
            NETWORK,
            HEADER_NAME,
            HEADER_VALUE,
            METHOD,
            CRON,
            REGION,
        ];
        for kind in all {
            assert_eq!((kind.check)(kind.example), Ok(()), "{}", kind.name);
            assert!((kind.check)("\u{0}\n").is_err(), "{} takes control characters", kind.name);
        }
    }

    #[test]
    fn rules_refuse() {
        for (kind, bad) in [
            (HOST, "-a.com"),
            (HOST, "a b"),
            (HOST_PORT, "a:0"),
            (URL_PATH, "mcp"),
            (URL_PATH, "/a b"),
            (URL, "ftp://x"),
            (URL, "http://user:pw@host"),
            (HEADER_NAME, "a:b"),
            (HEADER_VALUE, " a"),
            (METHOD, "get"),
            (CRON, "60 * * * *"),
            (CRON, "* * * *"),
            (CRON, "5-2 * * * *"),
            (CRON, "*/0 * * * *"),
            (NAME, ""),
        ] {
            assert!((kind.check)(bad).is_err(), "{}: {bad}", kind.name);
        }
        assert_eq!((CRON.check)("*/5 0-6,12 1 1 7"), Ok(()));
    }
}
