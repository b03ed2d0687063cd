//! Listening sockets: bound here, handed to the shards. Never accepts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use erlmcp_config::Address;
use erlmcp_config::model::listeners::Listener;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::hints;

/// A ring that ends holds its sockets for 6 to 20 ms more: a restart waits this long for the address.
const BUSY_LIMIT: Duration = Duration::from_millis(100);
/// Between two tries.
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// Binds every listener: name, address with the port that the kernel gave, socket.
///
/// # Errors
/// The first that cannot be bound, in one line.
pub fn bind_all(listeners: &[Listener]) -> Result<Vec<(String, String, OwnedFd)>> {
    let bound = |one: &Listener| {
        let backlog = i32::try_from(one.backlog).unwrap_or(i32::MAX);
        let socket = bind(&one.address, backlog, one.reuse_port).map_err(|error| {
            hints::failed(
                &format!("listen on {}", one.address),
                &error,
                "--listen or `address` in listeners.yaml",
            )
        })?;
        let address = match &one.address {
            Address::Tcp(_) => {
                local_address(&socket).map_or_else(|| one.address.to_string(), |at| at.to_string())
            }
            Address::Unix(_) => one.address.to_string(),
        };
        Ok((one.name.clone(), address, OwnedFd::from(socket)))
    };
    listeners.iter().map(bound).collect()
}

/// A socket's file, removed when this goes.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl SocketFile {
    /// Takes care of the file.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The files of listeners on Unix sockets.
pub fn files(listeners: &[Listener]) -> Vec<SocketFile> {
    let path = |one: &Listener| match &one.address {
        Address::Unix(path) => Some(SocketFile::new(path.clone())),
        Address::Tcp(_) => None,
    };
    listeners.iter().filter_map(path).collect()
}

fn local_address(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

/// Binds and listens; an address that is in use is tried for [`BUSY_LIMIT`].
///
/// # Errors
/// What the system says.
pub fn bind(address: &Address, backlog: i32, reuse_port: bool) -> io::Result<Socket> {
    let deadline = Instant::now() + BUSY_LIMIT;
    loop {
        match bind_once(address, backlog, reuse_port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(BUSY_WAIT);
            }
            done => return done,
        }
    }
}

fn bind_once(address: &Address, backlog: i32, reuse_port: bool) -> io::Result<Socket> {
    let socket = match address {
        Address::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            if reuse_port {
                socket.set_reuse_port(true)?;
            }
            socket.bind(&(*address).into())?;
            socket
        }
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            remove_stale(path)?;
            socket.bind(&SockAddr::unix(path)?)?;
            socket
        }
    };
    socket.listen(backlog)?;
    Ok(socket)
}

/// Removes a socket file that nobody listens on any more; what is not a socket is never removed.
///
/// # Errors
/// `AddrInUse` when somebody listens, or when something else is there.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() || is_listening(path) {
        return Err(rustix::io::Errno::ADDRINUSE.into());
    }
    std::fs::remove_file(path)
}

/// Whether somebody listens on a socket file. Never waits: a full queue (`EAGAIN`) is somebody too.
pub fn is_listening(path: &Path) -> bool {
    let Ok(socket) = Socket::new(Domain::UNIX, Type::STREAM, None) else { return true };
    let connect = || {
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_an_error_and_a_free_one_is_bound() {
        let first = bind(&"127.0.0.1:0".parse().unwrap(), 16, false).unwrap();
        let address = Address::Tcp(local_address(&first).unwrap());
        assert_eq!(bind(&address, 16, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let other = address.clone();
        let late = std::thread::spawn(move || bind(&other, 16, false));
        std::thread::sleep(BUSY_WAIT);
        drop(first);
        assert!(late.join().unwrap().is_ok(), "a dying holder is waited for");
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_nothing_else_is() {
        let path = std::env::temp_dir().join(format!("erlmcp-sockets-{}", std::process::id()));
        let address = Address::Unix(path.clone());
        let _ = std::fs::remove_file(&path);
        drop(bind(&address, 16, false).unwrap());
        let live = bind(&address, 16, false).unwrap();
        assert_eq!(bind(&address, 16, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&address, 16, false).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_file(&path).unwrap();
    }

    fn listener(name: &str, address: &str, backlog: u32) -> Listener {
        let source = erlmcp_config::Source::default().set(
            "listeners",
            format!("[{{name: {name}, address: \"{address}\", backlog: {backlog}, reuse_port: true}}]"),
        );
        erlmcp_config::load(&source).unwrap().config.listeners.listeners.remove(0)
    }

    #[test]
    fn listeners_are_bound_where_their_keys_say() {
        let path = std::env::temp_dir().join(format!("erlmcp-listener-{}", std::process::id()));
        let unix = format!("unix:{}", path.display());
        let wanted =
            [listener("v4", "127.0.0.1:0", 16), listener("v6", "[::1]:0", 16), listener("file", &unix, 16)];
        let files = files(&wanted);
        let bound = bind_all(&wanted).unwrap();
        for ((name, address, _), (expected, at)) in
            bound.iter().zip([("v4", "127.0.0.1:"), ("v6", "[::1]:"), ("file", &unix)])
        {
            assert!(
                name == expected && address.starts_with(at) && !address.ends_with(":0"),
                "{name} {address}"
            );
        }
        // `reuse_port` lets a second one in, as long as the first has it too.
        let first: Address = bound[0].1.parse().unwrap();
        assert!(bind(&first, 16, true).is_ok() && bind(&first, 16, false).is_err());
        assert!(path.exists());
        drop((bound, files));
        assert!(!path.exists(), "the file goes with its listener");
    }

    #[test]
    fn the_backlog_bounds_those_that_wait() {
        let path = std::env::temp_dir().join(format!("erlmcp-backlog-{}", std::process::id()));
        let address = SockAddr::unix(&path).unwrap();
        for backlog in [1, 5] {
            let _listening =
                bind_all(&[listener("file", &format!("unix:{}", path.display()), backlog)]).unwrap();
            let connect = || {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket.connect(&address).ok().map(|()| socket)
            };
            let waiting: Vec<Socket> = std::iter::from_fn(connect).take(100).collect();
            // The kernel lets one more wait than the backlog says.
            assert_eq!(waiting.len(), backlog as usize + 1);
        }
        std::fs::remove_file(&path).unwrap();
    }
}
