//! Where the admin API listens, and where the command line finds it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use erlmcp_config::{Address, Config};

use crate::control::Control;
use crate::run::hints;
use crate::run::sockets::{SocketFile, bind, is_listening, remove_stale};

/// Pending connections; operators are few.
const BACKLOG: i32 = 128;

/// The bound sockets.
#[derive(Debug)]
pub struct Sockets {
    tcp: Vec<TcpListener>,
    unix: Option<(PathBuf, UnixListener)>,
    /// A link to a socket that lies elsewhere, where the command line looks for it.
    link: Option<PathBuf>,
}

impl Sockets {
    /// Binds the admin address, the metrics' port where it differs, and the socket.
    ///
    /// # Errors
    /// What cannot be bound, in one line.
    pub fn bind(config: &Config) -> Result<Self> {
        let admin = &config.listeners.admin;
        let Address::Tcp(address) = &admin.address else {
            anyhow::bail!(
                "admin.address must be an IP address with a port; a Unix socket goes into admin.socket"
            );
        };
        let mut tcp = vec![bind_tcp(*address, "--admin or admin.address")?];
        let prometheus = &config.monitoring.metrics.export.prometheus;
        if prometheus.enabled && prometheus.port != address.port() && address.port() != 0 {
            let metrics = SocketAddr::new(address.ip(), prometheus.port);
            tcp.push(bind_tcp(metrics, "monitoring.metrics.export.prometheus.port")?);
        }
        let port = tcp[0].local_addr()?.port();
        let unix = match &admin.socket {
            Some(path) => Some(bind_unix(path).map_err(|error| {
                hints::failed(&format!("make the admin socket {}", path.display()), &error, "admin.socket")
            })?),
            None => default_socket(port),
        };
        let link = admin.socket.as_ref().and_then(|path| link_to(path, port, &candidates()));
        Ok(Self { tcp, unix, link })
    }

    /// The TCP addresses, with the ports that the kernel gave.
    pub fn addresses(&self) -> Vec<String> {
        self.tcp.iter().filter_map(|listener| Some(listener.local_addr().ok()?.to_string())).collect()
    }

    /// The socket's path.
    pub fn socket_path(&self) -> Option<PathBuf> {
        self.unix.as_ref().map(|(path, _)| path.clone())
    }

    /// Serves them as the task `admin`; the files live as long as what is returned.
    pub fn spawn(self, control: &Arc<Control>) -> Vec<SocketFile> {
        let files = self.socket_path().into_iter().chain(self.link.clone()).map(SocketFile::new).collect();
        let (sockets, shared) = (Arc::new(self), Arc::clone(control));
        control.supervisor.spawn("admin", move || super::run(Arc::clone(&shared), Arc::clone(&sockets)));
        files
    }

    /// The sockets for one life of the task.
    pub(super) fn duplicate(
        &self,
    ) -> io::Result<(Vec<tokio::net::TcpListener>, Option<tokio::net::UnixListener>)> {
        let tcp = self.tcp.iter().map(|listener| tokio::net::TcpListener::from_std(listener.try_clone()?));
        let unix =
            self.unix.as_ref().map(|(_, listener)| tokio::net::UnixListener::from_std(listener.try_clone()?));
        Ok((tcp.collect::<io::Result<_>>()?, unix.transpose()?))
    }
}

fn bind_tcp(address: SocketAddr, knob: &str) -> Result<TcpListener> {
    let bound = bind(&Address::Tcp(address), BACKLOG, false).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    });
    bound.map_err(|error| hints::failed(&format!("listen on {address} for the admin API"), &error, knob))
}

fn bind_unix(path: &Path) -> io::Result<(PathBuf, UnixListener)> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok((path.to_owned(), listener))
}

/// The first of [`candidates`] that can be made. None is a warning, not the end: the API is served over TCP.
fn default_socket(port: u16) -> Option<(PathBuf, UnixListener)> {
    for folder in candidates() {
        let made =
            private_folder(&folder).and_then(|()| bind_unix(&folder.join(format!("admin-{port}.sock"))));
        match made {
            Ok(made) => return Some(made),
            Err(error) => tracing::debug!(folder = %folder.display(), %error, "no admin socket here"),
        }
    }
    tracing::warn!("no folder for the admin socket; `erlmcp status` and the like need --admin and a token");
    None
}

/// Where the default socket of this port would be, as a link to `path`. None is no harm: `--socket` names the path.
fn link_to(path: &Path, port: u16, folders: &[PathBuf]) -> Option<PathBuf> {
    let folder = folders.iter().find(|folder| private_folder(folder).is_ok())?;
    let link = folder.join(format!("admin-{port}.sock"));
    if link == path || is_listening(&link) {
        return None;
    }
    if std::fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink()) {
        // It leads to a gateway that is gone.
        let _ = std::fs::remove_file(&link);
    }
    std::os::unix::fs::symlink(path, &link).ok().map(|()| link)
}

/// Folders where the socket may be, the best first.
pub fn candidates() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("erlmcp"));
    let user = rustix::process::geteuid().as_raw();
    let temp = std::env::temp_dir().join(format!("erlmcp-{user}"));
    runtime.into_iter().chain(["/run/erlmcp".into(), temp]).collect()
}

/// Makes a folder that only we can look into, or checks that it is one.
fn private_folder(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(path)?;
    let is_ours =
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if is_ours { Ok(()) } else { Err(io::Error::other("the folder belongs to somebody else")) }
}

/// Whether an address is only reachable from this host.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_elsewhere_is_found_by_its_port() {
        let top = std::env::temp_dir().join(format!("erlmcp-link-{}", std::process::id()));
        let elsewhere = std::env::temp_dir().join(format!("erlmcp-elsewhere-{}.sock", std::process::id()));
        let folders = [top.clone()];
        let (path, listener) = bind_unix(&elsewhere).unwrap();
        let link = link_to(&path, 7, &folders).unwrap();
        assert!(link == top.join("admin-7.sock") && is_listening(&link));
        assert_eq!(link_to(&path, 7, &folders), None, "a live one is left alone");
        drop(listener);
        let (_, _again) = bind_unix(&elsewhere).unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("/nonexistent/x.sock", &link).unwrap();
        assert_eq!(link_to(&path, 7, &folders), Some(link.clone()), "a dead one is replaced");
        assert!(is_listening(&link));
        drop([SocketFile::new(link.clone()), SocketFile::new(path)]);
        assert!(std::fs::symlink_metadata(link).is_err());
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn only_a_folder_of_our_own_is_taken() {
        let top = std::env::temp_dir().join(format!("erlmcp-folder-{}", std::process::id()));
        private_folder(&top).unwrap();
        private_folder(&top).unwrap();
        let (path, listener) = bind_unix(&top.join("a.sock")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(bind_unix(&path).is_ok(), "a stale file is replaced");
        std::fs::set_permissions(&top, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(private_folder(&top).is_err());
        std::fs::remove_dir_all(&top).unwrap();
    }
}
