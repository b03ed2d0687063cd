//! Addresses of peers, as people write them and as the kernel takes them. Never resolves names.

use std::fmt;
use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

use crate::sys::RawAddr;

/// Where to connect to.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum SockAddr {
    /// TCP over IPv4 or IPv6.
    Inet(SocketAddr),
    /// A Unix stream socket at a path.
    Unix(PathBuf),
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text was neither `ip:port`, `[ip6]:port` nor `unix:/path`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a socket address: {0:?}; expected IP:PORT, [IPV6]:PORT or unix:/PATH")]
pub struct BadSockAddr(String);

impl FromStr for SockAddr {
    type Err = BadSockAddr;
    fn from_str(text: &str) -> Result<Self, BadSockAddr> {
        if let Some(path) = text.strip_prefix("unix:") {
            // One byte of `sun_path` is the terminator.
            return if path.is_empty() || path.len() >= SUN_PATH_BYTES || path.contains('\0') {
                Err(BadSockAddr(text.to_owned()))
            } else {
                Ok(Self::Unix(PathBuf::from(path)))
            };
        }
        text.parse().map(Self::Inet).map_err(|_| BadSockAddr(text.to_owned()))
    }
}

impl From<SocketAddr> for SockAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Inet(addr)
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PeerAddr {
    /// TCP.
    Inet(SocketAddr),
    /// A Unix socket; clients are usually unnamed.
    Unix(Option<PathBuf>),
}

impl PeerAddr {
    /// The IP address, if it has one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(addr) => Some(addr.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Reads what `getpeername` or `getsockname` returned.
    pub(crate) fn from_raw(raw: &RawAddr) -> io::Result<Self> {
        let bytes = raw.bytes();
        let unsupported = || io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
        let family =
            bytes.get(..2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(unsupported)?;
        match i32::from(family) {
            libc::AF_INET => {
                let port = be16(bytes, 2).ok_or_else(unsupported)?;
                let ip: [u8; 4] = bytes.get(4..8).and_then(|b| b.try_into().ok()).ok_or_else(unsupported)?;
                Ok(Self::Inet(SocketAddr::new(Ipv4Addr::from(ip).into(), port)))
            }
            libc::AF_INET6 => {
                let port = be16(bytes, 2).ok_or_else(unsupported)?;
                let ip: [u8; 16] =
                    bytes.get(8..24).and_then(|b| b.try_into().ok()).ok_or_else(unsupported)?;
                let scope: [u8; 4] =
                    bytes.get(24..28).and_then(|b| b.try_into().ok()).ok_or_else(unsupported)?;
                let scope = u32::from_ne_bytes(scope);
                Ok(Self::Inet(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into()))
            }
            libc::AF_UNIX => {
                let path = bytes.get(PATH_AT..).unwrap_or_default();
                let end = path.iter().position(|b| *b == 0).unwrap_or(path.len());
                let path = &path[..end];
                let named = !path.is_empty();
                Ok(Self::Unix(named.then(|| std::ffi::OsString::from_vec(path.to_vec()).into())))
            }
            _ => Err(unsupported()),
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

const PATH_AT: usize = offset_of!(libc::sockaddr_un, sun_path);
const SUN_PATH_BYTES: usize = size_of::<libc::sockaddr_un>() - PATH_AT;

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

impl SockAddr {
    /// The address family of the socket that connects to it.
    pub(crate) fn family(&self) -> i32 {
        match self {
            Self::Inet(SocketAddr::V4(_)) => libc::AF_INET,
            Self::Inet(SocketAddr::V6(_)) => libc::AF_INET6,
            Self::Unix(_) => libc::AF_UNIX,
        }
    }

    /// The kernel's form. A Unix path that is too long is cut by nobody: it is an error.
    pub(crate) fn to_raw(&self) -> io::Result<RawAddr> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&(self.family() as u16).to_ne_bytes());
        match self {
            Self::Inet(SocketAddr::V4(v4)) => {
                bytes.extend_from_slice(&v4.port().to_be_bytes());
                bytes.extend_from_slice(&v4.ip().octets());
                bytes.extend_from_slice(&[0; 8]);
            }
            Self::Inet(SocketAddr::V6(v6)) => {
                bytes.extend_from_slice(&v6.port().to_be_bytes());
                bytes.extend_from_slice(&v6.flowinfo().to_be_bytes());
                bytes.extend_from_slice(&v6.ip().octets());
                bytes.extend_from_slice(&v6.scope_id().to_ne_bytes());
            }
            Self::Unix(path) => {
                let path = path.as_os_str().as_bytes();
                if path.len() >= SUN_PATH_BYTES || path.is_empty() {
                    return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
                }
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
        }
        Ok(RawAddr::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["1.2.3.4:80", "[::1]:8080", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<SockAddr>().expect("parses").to_string(), text);
        }
        for bad in ["", "1.2.3.4", "unix:", "localhost:80"] {
            assert!(bad.parse::<SockAddr>().is_err(), "{bad:?}");
        }
        assert!(format!("unix:/{}", "x".repeat(200)).parse::<SockAddr>().is_err());
    }

    #[test]
    fn raw_form_round_trips() {
        for text in ["1.2.3.4:80", "[fe80::1]:8080", "unix:/run/x.sock"] {
            let addr: SockAddr = text.parse().expect("parses");
            let peer = PeerAddr::from_raw(&addr.to_raw().expect("raw")).expect("reads");
            assert_eq!(peer.to_string(), text);
        }
    }
}
