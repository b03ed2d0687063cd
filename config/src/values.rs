//! Texts with a rule, parsed once into types that cannot be wrong: addresses, host and origin patterns,
//! CPU lists, networks. Owns their syntax; never resolves a name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen or connect: an IP address with port, or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// `127.0.0.1:8080`, `[::1]:8080`.
    Tcp(SocketAddr),
    /// `unix:/run/erlmcp/http.sock`.
    Unix(PathBuf),
}

/// Longest path of a Unix socket, in bytes: `sun_path` less its terminator (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.len() > UNIX_PATH_BYTES_MAX || path.contains('\0') {
                return Err(format!(
                    "the path must be absolute and at most {UNIX_PATH_BYTES_MAX} bytes long"
                ));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let address =
            text.parse().map_err(|_| "it must be an IP address with a port; names are not resolved here")?;
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A host by name, by `*.suffix`, or any (RFC 9110 section 4.3; matching ignores case and port).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// `*`.
    Any,
    /// `mcp.example.com`, lower case.
    Exact(String),
    /// `*.example.com`: one or more labels before it; kept as `.example.com`.
    Suffix(String),
}

impl HostPattern {
    /// Whether `host` (without port, any case) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Suffix(suffix) => ends_with_ignore_case(host, suffix),
        }
    }
}

fn ends_with_ignore_case(text: &str, suffix: &str) -> bool {
    let cut = text.len().checked_sub(suffix.len()).filter(|cut| *cut > 0);
    cut.and_then(|cut| text.get(cut..)).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
}

impl FromStr for HostPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("*.") {
            check_host(rest)?;
            return Ok(Self::Suffix(format!(".{rest}")));
        }
        check_host(&lower)?;
        Ok(Self::Exact(lower))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// Which `Origin` header (RFC 6454) is let in: `*`, `https://*.example.com`, `http://localhost:*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OriginPattern {
    /// `*`.
    Any,
    /// Scheme, host and port, each of which must fit.
    Parts {
        /// Lower case, such as `https` or `chrome-extension`.
        scheme: String,
        /// The host.
        host: HostPattern,
        /// The port.
        port: PortPattern,
    },
}

/// The port of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortPattern {
    /// The scheme's own: none written.
    Default,
    /// This one.
    Exact(u16),
    /// `:*`: any, or none.
    Any,
}

impl OriginPattern {
    /// Whether the value of an `Origin` header fits. `null` fits only `*`.
    pub fn matches(&self, origin: &str) -> bool {
        let Self::Parts { scheme, host, port } = self else { return true };
        let Some((theirs, authority)) = origin.split_once("://") else { return false };
        let (name, number) = split_port(authority);
        let port_fits = match (port, number) {
            (PortPattern::Any, None) | (PortPattern::Default, None) => true,
            (PortPattern::Any, Some(number)) => number.parse::<u16>().is_ok(),
            (PortPattern::Exact(ours), Some(number)) => number.parse() == Ok(*ours),
            _ => false,
        };
        port_fits && scheme.eq_ignore_ascii_case(theirs) && host.matches(name)
    }
}

/// `name:port`, `[v6]:port` or a name alone.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after..].rfind(':') {
        Some(colon) => (&authority[..after + colon], Some(&authority[after + colon + 1..])),
        None => (authority, None),
    }
}

impl FromStr for OriginPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").ok_or("it needs a scheme and `://`")?;
        let scheme_fits = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_fits) {
            return Err("the scheme must be letters, digits, `+`, `-` or `.`".into());
        }
        let (name, number) = split_port(authority);
        let port = match number {
            None => PortPattern::Default,
            Some("*") => PortPattern::Any,
            Some(number) => {
                PortPattern::Exact(number.parse().map_err(|_| "the port must be a number or `*`")?)
            }
        };
        Ok(Self::Parts { scheme: scheme.to_ascii_lowercase(), host: name.parse()?, port })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Parts { scheme, host, port } = self else { return f.write_str("*") };
        write!(f, "{scheme}://{host}")?;
        match port {
            PortPattern::Default => Ok(()),
            PortPattern::Exact(number) => write!(f, ":{number}"),
            PortPattern::Any => f.write_str(":*"),
        }
    }
}

/// What the upstream sees as `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostRewrite {
    /// What the node is called (`host:port`), so that SDK servers' DNS-rebinding protection accepts it.
    #[default]
    Upstream,
    /// What the client sent.
    Keep,
    /// This text.
    Literal(String),
}

impl FromStr for HostRewrite {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "upstream" => Ok(Self::Upstream),
            "keep" => Ok(Self::Keep),
            _ => {
                let (name, port) = split_port(text);
                check_host(name)?;
                if port.is_some_and(|port| port.parse::<u16>().is_err()) {
                    return Err("the port must be a number".into());
                }
                Ok(Self::Literal(text.to_owned()))
            }
        }
    }
}

impl fmt::Display for HostRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "upstream",
            Self::Keep => "keep",
            Self::Literal(text) => text,
        })
    }
}

/// A network in CIDR notation (RFC 4632); a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The address as written; bits below the prefix mean nothing.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Leading bits that must agree: at most 32 or 128.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `ip` lies in it. IPv4 inside IPv6 (`::ffff:a.b.c.d`) counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                same_bits(net.to_bits().into(), ip.to_bits().into(), 32 - self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => same_bits(net.to_bits(), ip.to_bits(), 128 - self.prefix),
            _ => false,
        }
    }
}

/// Whether `a` and `b` agree above the lowest `host_bits`.
fn same_bits(a: u128, b: u128, host_bits: u8) -> bool {
    (a ^ b).checked_shr(u32::from(host_bits)).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let address: IpAddr =
            ip.parse().map_err(|_| "it must be an IP address, with `/bits` for a network")?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).ok().filter(|prefix| *prefix <= bits);
        let prefix = prefix.ok_or_else(|| format!("the number after `/` must be at most {bits}"))?;
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Which CPUs the shards run on: the operator's wish, before the host is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CpuWish {
    /// Chosen from what the host allows.
    #[default]
    Auto,
    /// Exactly these, ascending, none twice.
    List(Vec<usize>),
}

/// Highest CPU number accepted: the kernel's own limit (NR_CPUS of the largest configuration).
const CPU_MAX: usize = 8191;

impl FromStr for CpuWish {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let mut cpus = Vec::new();
        let wrong = || format!("each range must ascend and lie below {}", CPU_MAX + 1);
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number =
                |text: &str| text.parse::<usize>().ok().filter(|cpu| *cpu <= CPU_MAX).ok_or_else(wrong);
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            cpus.extend(first..=last);
            if cpus.len() > CPU_MAX + 1 {
                return Err("a CPU is named twice".to_owned());
            }
        }
        let count = cpus.len();
        cpus.sort_unstable();
        cpus.dedup();
        if cpus.len() < count {
            return Err("a CPU is named twice".to_owned());
        }
        Ok(Self::List(cpus))
    }
}

impl fmt::Display for CpuWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::List(cpus) = self else { return f.write_str("auto") };
        let mut first = true;
        for run in cpus.chunk_by(|a, b| a + 1 == *b) {
            f.write_str(if first { "" } else { "," })?;
            first = false;
            match run {
                [one] => write!(f, "{one}")?,
                _ => write!(f, "{}-{}", run[0], run[run.len() - 1])?,
            }
        }
        Ok(())
    }
}

/// CPU numbers chosen for one process: made by the tuning crate from a [`CpuWish`] and the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuPlan {
    /// One shard thread is pinned to each.
    pub shards: Vec<usize>,
    /// Where everything else runs; may overlap when there are too few CPUs.
    pub housekeeping: Vec<usize>,
}

/// A number of bytes of which 0 means "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteLimit(#[serde(with = "crate::units::bytes")] u64);

impl ByteLimit {
    /// A limit of `bytes`; 0 is none.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The limit, if there is one.
    pub fn get(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }

    /// Whether `bytes` are still within it.
    pub fn allows(self, bytes: u64) -> bool {
        self.0 == 0 || bytes <= self.0
    }
}

/// Rule for a host: a DNS name (RFC 1123, underscores let through), an IPv4 address or an IPv6 one in brackets.
pub(crate) fn check_host(text: &str) -> Result<(), String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inner
            .parse::<std::net::Ipv6Addr>()
            .map(drop)
            .map_err(|_| "no IPv6 address in the brackets".into());
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if text.len() <= 253 && name.split('.').all(label) {
        Ok(())
    } else {
        Err("a host is labels of letters, digits and `-`, or an IP address (IPv6 in brackets)".into())
    }
}

// `serde(try_from, into)` wants both impls on each type; a blanket one would break the orphan rule.
macro_rules! via_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

pub(crate) use via_text;

via_text!(Address, HostPattern, OriginPattern, HostRewrite, Network, CpuWish);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["127.0.0.1:8080", "[::1]:8080", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<Address>().map(|a| a.to_string()), Ok(text.to_owned()));
        }
        for text in ["localhost:80", "127.0.0.1", "unix:a.sock", "127.0.0.1:99999", ""] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(format!("unix:/{}", "a".repeat(107)).parse::<Address>().is_err());
    }

    #[test]
    fn host_patterns_match_whole_labels() {
        let suffix: HostPattern = "*.Example.com".parse().unwrap();
        assert!(suffix.matches("a.example.COM") && suffix.matches("a.b.example.com"));
        assert!(
            !suffix.matches("example.com")
                && !suffix.matches("badexample.com")
                && !suffix.matches(".example.com")
        );
        assert!("Example.com".parse::<HostPattern>().unwrap().matches("example.com"));
        assert!("a*.com".parse::<HostPattern>().is_err());
    }

    #[test]
    fn origin_patterns_keep_scheme_host_and_port_apart() {
        let local: OriginPattern = "http://localhost:*".parse().unwrap();
        assert!(local.matches("http://localhost:5173") && local.matches("http://localhost"));
        for bad in ["https://localhost:1", "http://localhost.evil.com", "http://localhost:x", "null", ""] {
            assert!(!local.matches(bad), "{bad}");
        }
        let v6: OriginPattern = "http://[::1]:80".parse().unwrap();
        assert!(v6.matches("http://[::1]:80") && !v6.matches("http://[::1]"));
        assert!(
            "chrome-extension://abcdef"
                .parse::<OriginPattern>()
                .unwrap()
                .matches("chrome-extension://abcdef")
        );
        assert!("*".parse::<OriginPattern>().unwrap().matches("null"));
        assert!("localhost".parse::<OriginPattern>().is_err());
    }

    #[test]
    fn networks() {
        let net: Network = "10.0.0.0/8".parse().unwrap();
        assert!(
            net.contains("10.9.8.7".parse().unwrap()) && net.contains("::ffff:10.1.1.1".parse().unwrap())
        );
        assert!(!net.contains("11.0.0.1".parse().unwrap()) && !net.contains("::1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("1.2.3.4".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("fe80::1".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }

    #[test]
    fn cpu_lists() {
        for (text, cpus) in [("0", vec![0]), ("0-2,5", vec![0, 1, 2, 5]), ("3,1", vec![1, 3])] {
            assert_eq!(text.parse(), Ok(CpuWish::List(cpus)), "{text}");
        }
        assert_eq!("0,1,2,5,6".parse::<CpuWish>().unwrap().to_string(), "0-2,5-6");
        for text in ["", "2-1", "0,0", "a", "99999", "0-99999999999"] {
            assert!(text.parse::<CpuWish>().is_err(), "{text}");
        }
    }

    #[test]
    fn byte_limits() {
        assert!(
            ByteLimit::new(0).allows(u64::MAX) && ByteLimit::new(5).allows(5) && !ByteLimit::new(5).allows(6)
        );
    }
}
