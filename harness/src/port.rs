//! TCP ports that stay ours while nobody listens on them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// As many waiting connections as Redis itself lets queue.
const BACKLOG: u32 = 511;

/// A port of 127.0.0.1 that the kernel gives to nobody else as long as this value lives.
///
/// A server that is down must find its port free when it starts again, yet in between any other
/// program could be given that number, as a listener or as the near end of a connection. Linux keeps
/// it for a socket that is bound and does not listen, and still lets a server with `SO_REUSEADDR`
/// (Redis sets it) listen there; connections are refused meanwhile. Other systems would turn that
/// server away, so there the number is only found, not kept.
#[derive(Debug)]
pub struct Port {
    addr: SocketAddr,
    _kept: Option<TcpSocket>,
}

impl Port {
    /// Finds a free port and keeps it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn reserve() -> io::Result<Self> {
        Self::take(0)
    }

    /// Keeps this port; 0 for any that is free.
    pub(crate) fn take(number: u16) -> io::Result<Self> {
        let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, number)))?;
        let addr = socket.local_addr()?;
        Ok(Self { addr, _kept: cfg!(target_os = "linux").then_some(socket) })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.addr.port()
    }

    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Listens on a reserved port; needs a runtime.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    bind(addr)?.listen(BACKLOG)
}

/// A socket bound to `addr` that shares it with one listener.
fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"))
    };
    socket.bind(addr).map_err(named)?;
    Ok(socket)
}
