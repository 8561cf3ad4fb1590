//! Requests and nodes for locks that get along with plain Redis commands and two little scripts.

use std::time::Duration;

use redlatch_core::{Reply, Token, Ttl};

use crate::history::Asked;
use crate::node::WallMillis;
use crate::sim::system::{Node, Request};

/// What a plain lock asks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainRequest {
    /// `SET key token NX PX ttl`.
    SetIfFree {
        /// What to put into the key.
        token: Token,
        /// How long it lives.
        ttl: Ttl,
    },
    /// `SET key token PX ttl`, whoever has it.
    Set {
        /// What to put into the key.
        token: Token,
        /// How long it lives.
        ttl: Ttl,
    },
    /// Compare, then `PEXPIRE key ttl`.
    ExpireIfMine {
        /// Who must be in the key.
        token: Token,
        /// How long it lives from now on.
        ttl: Ttl,
    },
    /// Compare, then `DEL key`.
    DeleteIfMine {
        /// Who must be in the key.
        token: Token,
    },
    /// `DEL key`, whoever has it.
    Delete {
        /// Who sends it.
        token: Token,
    },
}

impl Request for PlainRequest {
    fn asked(&self) -> Asked {
        match self {
            Self::SetIfFree { .. } | Self::Set { .. } => Asked::Acquire,
            Self::ExpireIfMine { .. } => Asked::Extend,
            Self::DeleteIfMine { .. } | Self::Delete { .. } => Asked::Release,
        }
    }

    fn token(&self) -> Token {
        match *self {
            Self::SetIfFree { token, .. }
            | Self::Set { token, .. }
            | Self::ExpireIfMine { token, .. }
            | Self::DeleteIfMine { token }
            | Self::Delete { token } => token,
        }
    }
}

/// One key of a Redis node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlainNode(Option<(Token, WallMillis)>);

impl Node for PlainNode {
    type Request = PlainRequest;

    fn apply(&mut self, now: WallMillis, request: &PlainRequest) -> Reply {
        let owner = self.owner(now);
        match *request {
            PlainRequest::SetIfFree { .. } if owner.is_some() => return self.refused(now),
            PlainRequest::SetIfFree { token, ttl } | PlainRequest::Set { token, ttl } => {
                self.0 = Some((token, now + u64::from(ttl.as_millis())));
            }
            PlainRequest::ExpireIfMine { token, .. } | PlainRequest::DeleteIfMine { token }
                if owner != Some(token) =>
            {
                return self.refused(now);
            }
            PlainRequest::ExpireIfMine { token, ttl } => {
                self.0 = Some((token, now + u64::from(ttl.as_millis())));
            }
            PlainRequest::DeleteIfMine { .. } | PlainRequest::Delete { .. } => self.0 = None,
        }
        Reply::Applied { fence: None }
    }

    fn owner(&self, now: WallMillis) -> Option<Token> {
        self.0.filter(|(_, expires_at)| now <= *expires_at).map(|(token, _)| token)
    }

    fn fence(&self) -> u64 {
        0
    }

    fn drop_key(&mut self) {
        self.0 = None;
    }

    fn drop_all(&mut self) {
        self.0 = None;
    }
}

impl PlainNode {
    fn refused(&self, now: WallMillis) -> Reply {
        let left = self.0.map(|(_, expires_at)| expires_at.saturating_sub(now));
        Reply::Refused { remaining: left.map(Duration::from_millis), fence: None }
    }
}
