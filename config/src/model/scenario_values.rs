//! Texts of scenario files that are parsed once: rates, pauses below a millisecond, the target's URL.
//!
//! Owns their syntax and bounds. Never resolves a name.

use crate::values::{check_host, via_text};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Highest rate, requests per second: beyond what one machine's loopback carries, and far from where gaps of whole
/// nanoseconds lose their meaning.
const RATE_MAX: f64 = 10_000_000.0;
/// Longest pause: a day.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Requests per second: `500`, `500/s`, `20k/s`, `90000/m`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(pub f64);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, per) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match per.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err("after `/` stands s, m or h".to_owned()),
        };
        let number = number.trim();
        let (digits, times) = match number.strip_suffix('k') {
            Some(digits) => (digits, 1000.0),
            None => number.strip_suffix('M').map_or((number, 1.0), |digits| (digits, 1_000_000.0)),
        };
        let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let value: f64 = digits.parse().ok().filter(|_| decimal).ok_or("it must start with a number")?;
        let rate = value * times / seconds;
        if rate > RATE_MAX {
            return Err(format!("at most {RATE_MAX} requests a second can be scheduled"));
        }
        Ok(Self(rate))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// A time to the nanosecond: `250us`, `5ms`, `1.5s`, `2m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pause(pub Duration);

impl FromStr for Pause {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let pause = time(text)?;
        if pause > PAUSE_MAX { Err("it must be at most a day".to_owned()) } else { Ok(Self(pause)) }
    }
}

/// A number with a unit.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let nanos = match unit.trim() {
        "ns" => 1,
        "us" | "µs" => 1000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err("it needs a unit: ns, us, ms, s, m or h".to_owned()),
    };
    decimal(number, nanos).ok_or_else(|| "it must start with a number such as 5 or 1.5".to_owned())
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us")];
        let (per, unit) = units.into_iter().find(|(per, _)| nanos.is_multiple_of(*per)).unwrap_or((1, "ns"));
        write!(f, "{}{unit}", nanos / per)
    }
}

/// A decimal number of units of so many nanoseconds each, exact but for what lies below a nanosecond: seconds since 1970
/// with nine digits after the point do not fit an `f64`.
pub(crate) fn decimal(text: &str, nanos_per_unit: u64) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part = &part[..part.len().min(18)];
    let scale = 10u128.pow(u32::try_from(part.len()).ok()?);
    let part: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let per = u128::from(nanos_per_unit);
    let nanos = whole.checked_mul(per)?.checked_add(part * per / scale)?;
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

/// What stands before `://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `ws`, a WebSocket.
    Ws,
    /// `tcp`, lines of JSON-RPC.
    Tcp,
}

/// Where load goes: `http://HOST[:PORT][/PATH]`, `ws://…` or `tcp://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetUrl {
    /// As it was written.
    pub text: String,
    /// How to speak.
    pub scheme: Scheme,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path with query, `/` at least.
    pub path: String,
}

impl TargetUrl {
    /// What belongs into `Host` (RFC 9110 section 7.2).
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }

    /// The path without its query.
    pub fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

impl FromStr for TargetUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "it must be http://HOST[:PORT][/PATH], ws://HOST[:PORT][/PATH] or tcp://HOST:PORT";
        let (scheme, rest) = text.split_once("://").ok_or(wanted)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "ws" => Scheme::Ws,
            "tcp" => Scheme::Tcp,
            "https" | "wss" => {
                return Err("the generator speaks no TLS: name a plain http:// or ws:// listener".to_owned());
            }
            _ => return Err(wanted.to_owned()),
        };
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
            return Err("it must hold only URL characters and no fragment".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("credentials do not belong into a URL that reports print: use a header".to_owned());
        }
        let (host, port) = split_authority(authority)?;
        let port = match (port, scheme) {
            (Some(port), _) => port
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or("the port must lie from 1 to 65535")?,
            (None, Scheme::Tcp) => return Err("tcp:// has no usual port: write tcp://HOST:PORT".to_owned()),
            (None, _) => 80,
        };
        if scheme == Scheme::Tcp && !matches!(path, "" | "/") {
            return Err("tcp:// has no path".to_owned());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { text: text.to_owned(), scheme, host, port, path })
    }
}

/// Host without brackets, and the port's text.
fn split_authority(authority: &str) -> Result<(String, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("an IPv6 address needs its closing bracket")?;
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("`{address}` is no IPv6 address"));
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((address.to_owned(), Some(port))),
            None if after.is_empty() => Ok((address.to_owned(), None)),
            None => Err("after the bracket stands `:` and a port".to_owned()),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    check_host(host)?;
    Ok((host.to_owned(), port))
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

via_text!(Rate, Pause, TargetUrl);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_take_units() {
        for (text, rate) in [
            ("500", 500.0),
            ("500/s", 500.0),
            ("20k/s", 20_000.0),
            ("90000/m", 1500.0),
            ("0.5", 0.5),
            ("1M", 1e6),
        ] {
            assert_eq!(text.parse(), Ok(Rate(rate)), "{text}");
        }
        for text in ["", "k", "-1", "1e3", "inf", "5/d", "five", "1/", "11M"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn pauses_are_exact_to_the_nanosecond() {
        for (text, nanos) in [
            ("250us", 250_000),
            ("5ms", 5_000_000),
            ("1.5s", 1_500_000_000),
            ("0s", 0),
            ("1m", 60_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Pause(Duration::from_nanos(nanos))), "{text}");
        }
        for text in ["", "5", "ms", "-5ms", "1.2.3s", "25h", "5 parsecs"] {
            assert!(text.parse::<Pause>().is_err(), "{text}");
        }
        assert_eq!(
            decimal("1719849600.123456789", 1_000_000_000),
            Some(Duration::new(1_719_849_600, 123_456_789))
        );
        assert_eq!(decimal("0.0000000019", 1_000_000_000), Some(Duration::from_nanos(1)));
        for text in ["", ".", "-1", "1e5", "99999999999999999999999999"] {
            assert_eq!(decimal(text, 1_000_000_000), None, "{text}");
        }
    }

    #[test]
    fn urls_of_targets() {
        let url: TargetUrl = "http://localhost:8080/mcp?a=b".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("localhost", 8080, "/mcp?a=b"));
        assert_eq!((url.bare_path(), url.authority()), ("/mcp", "localhost:8080".to_owned()));
        let url: TargetUrl = "http://[::1]?x".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 80, "/?x"));
        assert_eq!(url.authority(), "[::1]");
        assert_eq!("tcp://a:1".parse::<TargetUrl>().unwrap().scheme, Scheme::Tcp);
        for (text, why) in [
            ("localhost:80", "must be"),
            ("ftp://a", "must be"),
            ("https://a", "TLS"),
            ("http://", "host"),
            ("http://u:p@a", "credentials"),
            ("http://a:0", "port"),
            ("http://a:x", "port"),
            ("http://a/ b", "characters"),
            ("http://a/#b", "fragment"),
            ("tcp://a", "tcp://HOST:PORT"),
            ("tcp://a:1/b", "no path"),
            ("http://[::1", "bracket"),
            ("http://[x]", "IPv6"),
        ] {
            let error = text.parse::<TargetUrl>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(nanos in 0..86_400_000_000_000u64, rate in 0.0..10_000_000.0f64) {
            let pause = Pause(Duration::from_nanos(nanos));
            prop_assert_eq!(pause.to_string().parse(), Ok(pause));
            prop_assert_eq!(Rate(rate).to_string().parse(), Ok(Rate(rate)));
        }

        #[test]
        fn no_url_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<TargetUrl>();
        }
    }
}
