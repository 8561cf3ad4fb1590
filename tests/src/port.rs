//! TCP ports that stay ours while nobody listens on them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::net::Shutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// As many waiting connections as Redis itself lets queue.
const BACKLOG: u32 = 511;

/// A port of 127.0.0.1 that the kernel gives to nobody else as long as this value lives.
///
/// A server that is down must find its port free when it starts again, yet in between any other
/// test could be given that number, as a listener or as the near end of a connection. Linux keeps
/// it for a socket that is bound and does not listen, and still lets a server with `SO_REUSEADDR`
/// (Redis sets it) listen there; connections are refused meanwhile. Other systems would turn that
/// server away, so there the number is only found, not kept.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _kept: Option<TcpSocket>,
}

impl Port {
    /// Finds a free port and keeps it.
    pub(crate) fn reserve() -> Self {
        let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let number = socket.local_addr().expect("a bound socket has an address").port();
        Self { number, _kept: cfg!(target_os = "linux").then_some(socket) }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// A listener that stops listening when it is dropped, at once.
///
/// Closing it would not do: while any thread starts a process, the child holds a copy of every
/// socket from its fork to its exec, and a copy of a listener goes on listening.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Listens on a reserved port; needs a runtime.
    pub(crate) fn on(addr: SocketAddr) -> Self {
        let listener = bind(addr).listen(BACKLOG);
        Self(listener.unwrap_or_else(|error| panic!("cannot listen on {addr}: {error}")))
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> TcpStream {
        loop {
            match self.0.accept().await {
                Ok((client, _)) => return client,
                // A client that gave up before it was let in.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => panic!("cannot accept: {error}"),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Systems other than Linux refuse this for a listener; there closing has to do.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

/// A socket bound to `addr` that shares it with one listener.
fn bind(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a new IPv4 socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR on a new socket");
    socket.bind(addr).unwrap_or_else(|error| panic!("cannot bind {addr}: {error}"));
    socket
}
