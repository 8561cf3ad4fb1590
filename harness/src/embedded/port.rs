//! A port that stays ours while nobody listens on it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// As many waiting connections as Redis lets queue.
const BACKLOG: u32 = 511;

/// A port of 127.0.0.1 that nobody else is given as long as this value lives, so that a node that was
/// killed finds it free when it starts again.
///
/// Linux keeps it for a socket that is bound and does not listen, and lets another one with the same
/// option listen there; connections are refused meanwhile. Elsewhere it is only found, not kept.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    _kept: Option<TcpSocket>,
}

impl Port {
    /// Takes this port; 0 for any that is free.
    pub(super) fn reserve(number: u16) -> io::Result<Self> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        let socket = bind(wanted)?;
        let address = socket.local_addr()?;
        Ok(Self { address, _kept: cfg!(target_os = "linux").then_some(socket) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Listens on a reserved port; needs a runtime.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    };
    socket.bind(address).map_err(named)?;
    Ok(socket)
}
