//! What a server knows of one connection.

use super::transaction::Transaction;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Before any `HELLO`, and after `HELLO 2`.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// One connection's state: the database it has selected, the protocol it speaks, its transaction.
#[derive(Clone, Debug, Default)]
pub struct Session {
    pub(super) id: u64,
    pub(super) db: usize,
    pub(super) name: Vec<u8>,
    pub(super) protocol: Protocol,
    pub(super) transaction: Transaction,
    /// How many channels it has subscribed to.
    pub(super) subscriptions: usize,
    pub(super) quit: bool,
}

impl Session {
    /// The connection with this id, of which `CLIENT ID` tells.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    /// The protocol in which the next reply is to be written.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the client has said `QUIT`.
    #[must_use]
    pub fn has_quit(&self) -> bool {
        self.quit
    }
}
