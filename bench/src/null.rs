//! The null server: the fastest that this project's ring answers, on the same path as any other server.
//!
//! Owns one shard on a thread of its own, or on the caller's. A request without a body is answered with 13 bytes over a
//! connection that stays; nothing is parsed but the end of the head. Never use it for anything but measuring.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;

use erlmcp_ring::{Conn, DriverChoice, Handle, RecvMode, Shard, ShardConfig, StartError, Stopper, probe};
use socket2::{Domain, Socket, Type};

/// The whole reply.
pub const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, World!";
/// Longest request, bytes.
pub const REQUEST_BYTES_MAX: usize = 4096;
const BACKLOG: i32 = 4096;

/// Why there is no null server.
#[derive(Debug, thiserror::Error)]
pub enum NullError {
    /// No listening socket, or no thread.
    #[error("cannot start the null server: {0}")]
    System(#[from] io::Error),
    /// The driver that was asked for does not work here.
    #[error("cannot start the null server: {0}")]
    Driver(#[from] probe::ProbeError),
    /// The driver could not be set up.
    #[error("cannot start the null server's shard: {0}")]
    Shard(#[from] StartError),
    /// It ended before it served.
    #[error("the null server ended before it served")]
    Ended,
}

/// A null server on a thread of its own. Dropping it ends it.
pub struct NullServer {
    addr: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<Result<(), NullError>>>,
}

impl NullServer {
    /// Starts one on a free port of the loopback, on processor `cpu` where one is named.
    ///
    /// # Errors
    /// When the system refuses the socket or the thread, or `driver` does not work here.
    pub fn start(cpu: Option<usize>, driver: DriverChoice) -> Result<Self, NullError> {
        let socket = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = socket.local_addr()?;
        let (sender, started) = mpsc::sync_channel(1);
        let thread = erlmcp_ring::spawn_shard("null-server", cpu, move || {
            let mut shard = prepare(socket, driver)?;
            // The receiver waits for exactly this.
            let _ = sender.send(shard.handle().stopper());
            shard.run();
            Ok(())
        })?;
        match started.recv() {
            Ok(stopper) => Ok(Self { addr, stopper, thread: Some(thread) }),
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                _ => Err(NullError::Ended),
            },
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the server's was told by its own thread.
            let _ = thread.join();
        }
    }
}

/// Serves at `addr` on the calling thread until the process ends.
///
/// # Errors
/// When the system refuses the socket, or `driver` does not work here.
pub fn serve(addr: SocketAddr, driver: DriverChoice) -> Result<(), NullError> {
    prepare(listen(addr)?, driver)?.run();
    Ok(())
}

/// A listening socket with a backlog for any number of clients at once.
///
/// # Errors
/// When the system refuses it.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether what was read so far is a whole request.
#[must_use]
#[inline]
pub fn is_whole(read: &[u8]) -> bool {
    read.ends_with(b"\r\n\r\n")
}

fn prepare(socket: TcpListener, driver: DriverChoice) -> Result<Shard, NullError> {
    let config = ShardConfig::default();
    let shard = Shard::new(&config, &probe::choose(driver, &config)?)?;
    let handle = shard.handle();
    // A shard that was just made has room for its first task.
    let spawned = handle.spawn(accept(handle.clone(), socket));
    spawned.map_err(|_| NullError::Ended)?;
    Ok(shard)
}

async fn accept(handle: Handle, socket: TcpListener) {
    let Ok(mut listener) = handle.listen(socket.into()) else { return };
    loop {
        // What fails is the end of one connection; there is nobody to tell.
        let Ok(accepted) = listener.accept().await else { continue };
        let Ok(conn) = handle.adopt(accepted.socket, RecvMode::Small) else { continue };
        let _ = handle.spawn(answer(conn));
    }
}

async fn answer(conn: Conn) {
    let mut start: Vec<u8> = Vec::new();
    while let Ok(Some(piece)) = conn.recv().await {
        let whole = match start.is_empty() && is_whole(&piece) {
            true => true,
            false => {
                start.extend_from_slice(&piece);
                is_whole(&start)
            }
        };
        // Back to the kernel before the reply wakes the client up.
        drop(piece);
        if start.len() > REQUEST_BYTES_MAX {
            return;
        }
        if !whole {
            continue;
        }
        start.clear();
        let mut list = conn.handle().send_list();
        list.push_bytes(REPLY);
        if conn.send(list).await.result.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    #[test]
    fn it_answers_on_both_drivers_and_ends_when_dropped() {
        for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
            let server = NullServer::start(None, driver).unwrap();
            let addr = server.addr();
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            stream.set_nodelay(true).unwrap();
            // Whole, and cut within the head's end.
            for pieces in
                [&["GET / HTTP/1.1\r\nHost: x\r\n\r\n"][..], &["GET / HTTP/1.1\r\nHost: x\r\n\r", "\n"]]
            {
                for piece in pieces {
                    stream.write_all(piece.as_bytes()).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
                let mut reply = vec![0; REPLY.len()];
                stream.read_exact(&mut reply).unwrap();
                assert_eq!(reply, REPLY);
            }
            drop(server);
            assert!(TcpStream::connect(addr).is_err(), "{driver:?}");
        }
    }

    #[test]
    fn an_endless_head_is_the_end_of_its_connection() {
        let server = NullServer::start(None, DriverChoice::Auto).unwrap();
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(&vec![b'x'; REQUEST_BYTES_MAX + 1]).unwrap();
        let ended = stream.read(&mut [0; 16]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        assert!(!matches!(ended, Err(error) if error.kind() == io::ErrorKind::WouldBlock), "still open");
    }
}
