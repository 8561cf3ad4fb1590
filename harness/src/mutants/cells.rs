//! Nodes whose scripts are wrong in one place.

use redlatch_core::{Fence, Op, Reply, Token};

use crate::node::{Call, Cell, Key, WallMillis, is_reservation, nobody, reservation};
use crate::system::NodeCell;

/// Declares a cell that is the shipped one, unless `$wrong` answers.
macro_rules! cell {
    ($(#[$doc:meta])* $name:ident, |$cell:ident, $now:ident, $op:ident| $wrong:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(Cell);

        impl NodeCell for $name {
            fn apply(&mut self, now: WallMillis, op: &Op, call: Call<'_>) -> Reply {
                let wrong = |$cell: &mut Cell, $now: WallMillis, $op: &Op| -> Option<Reply> { $wrong };
                match wrong(&mut self.0, now, op) {
                    Some(reply) => reply,
                    None => self.0.apply(now, op, call),
                }
            }

            fn owner(&self, now: WallMillis) -> Option<Token> {
                self.0.owner(now)
            }

            fn fence(&self) -> u64 {
                self.0.fence
            }

            fn has_waiters(&self) -> bool {
                self.0.has_waiters()
            }

            fn drop_key(&mut self) {
                self.0.drop_key();
            }

            fn drop_all(&mut self) {
                self.0.drop_all();
            }
        }
    };
}

const YES: Reply = Reply::Applied { fence: None };

cell! {
    /// M05: acquire sets the key although somebody else has it.
    NoNx, |cell, now, op| {
        if let Op::Acquire { token, .. } = op
            && cell.owner(now).is_some_and(|owner| owner != *token)
        {
            cell.key = None;
        }
        None
    }
}

cell! {
    /// M06: release deletes the key, whoever has it.
    BlindRelease, |cell, _now, op| {
        let Op::Release { .. } = op else { return None };
        cell.key = None;
        Some(YES)
    }
}

cell! {
    /// M15: extend prolongs the key, whoever has it.
    BlindExtend, |cell, now, op| {
        let Op::Extend { ttl, .. } = op else { return None };
        cell.owner(now)?;
        let key = cell.key.as_mut()?;
        key.expires_at = key.expires_at.max(now + u64::from(ttl.as_millis()));
        Some(YES)
    }
}

cell! {
    /// M16: extend sets the time to live, also to a shorter one. Harmless while all ask for the same.
    PlainExpire, |cell, now, op| {
        let Op::Extend { token, ttl, .. } = op else { return None };
        if cell.owner(now) != Some(*token) {
            return None;
        }
        cell.key.as_mut()?.expires_at = now + u64::from(ttl.as_millis());
        Some(YES)
    }
}

cell! {
    /// M20: seal raises the number, whoever has the key.
    BlindSeal, |cell, _now, op| {
        let Op::Seal { fence, .. } = op else { return None };
        cell.fence = cell.fence.max(fence.get());
        Some(Reply::Applied { fence: Fence::new(cell.fence) })
    }
}

cell! {
    /// M23: the number is not raised when the key gets another owner.
    NoRaise, |cell, now, op| {
        let Op::Acquire { proposal: Some(_), .. } = op else { return None };
        if cell.owner(now).is_none() {
            cell.fence = cell.fence.saturating_sub(1);
        }
        None
    }
}

cell! {
    /// M25: extend creates the key if it is gone.
    Recreate, |cell, now, op| {
        let Op::Extend { token, ttl, .. } = op else { return None };
        if cell.owner(now).is_none() {
            cell.key = Some(Key { token: *token, expires_at: now + u64::from(ttl.as_millis()) });
        }
        None
    }
}

cell! {
    /// L2: acquire is refused to whoever has the key already.
    OwnIsRefused, |cell, now, op| {
        let Op::Acquire { token, .. } = op else { return None };
        (cell.owner(now) == Some(*token)).then_some(Reply::Refused { remaining: None, fence: None })
    }
}

/// X2: the number is written down when the key goes, and not before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WritesBehind {
    cell: Cell,
    written: u64,
}

impl NodeCell for WritesBehind {
    fn apply(&mut self, now: WallMillis, op: &Op, call: Call<'_>) -> Reply {
        let reply = self.cell.apply(now, op, call);
        if self.cell.key.is_none() {
            self.written = self.cell.fence;
        }
        reply
    }

    fn owner(&self, now: WallMillis) -> Option<Token> {
        self.cell.owner(now)
    }

    fn fence(&self) -> u64 {
        self.written
    }

    fn has_waiters(&self) -> bool {
        self.cell.has_waiters()
    }

    fn drop_key(&mut self) {
        self.cell.drop_key();
        self.written = self.cell.fence;
    }

    fn drop_all(&mut self) {
        *self = Self::default();
    }
}

cell! {
    /// Q2: whoever acquires a key that is kept for it is told that it has it, and it has not.
    HeirHolds, |cell, now, op| {
        let Op::Acquire { token, .. } = op else { return None };
        let is_heir = cell.owner(now) == Some(reservation(&token.nonce()));
        is_heir.then_some(Reply::Applied { fence: Fence::new(cell.fence) })
    }
}

cell! {
    /// Q3: whoever takes a place in the queue takes the key from whoever has it.
    PlaceDeletes, |cell, _now, op| {
        if let Op::Release { place: Some(_), .. } = op {
            cell.key = None;
        }
        None
    }
}

/// Q4: a key that is kept for its heir is kept for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeptForGood(Cell);

impl NodeCell for KeptForGood {
    fn apply(&mut self, now: WallMillis, op: &Op, call: Call<'_>) -> Reply {
        let reply = self.0.apply(now, op, call);
        if let Some(key) = &mut self.0.key
            && is_reservation(&key.token)
        {
            key.expires_at = WallMillis::MAX;
        }
        reply
    }

    fn owner(&self, now: WallMillis) -> Option<Token> {
        self.0.owner(now)
    }

    fn fence(&self) -> u64 {
        self.0.fence
    }

    fn has_waiters(&self) -> bool {
        self.0.has_waiters()
    }

    fn drop_key(&mut self) {
        self.0.drop_key();
    }

    fn drop_all(&mut self) {
        self.0.drop_all();
    }
}

cell! {
    /// Q5: the number is not raised when the heir takes the key that is kept for it.
    HeirInherits, |cell, now, op| {
        let Op::Acquire { token, proposal: Some(_), .. } = op else { return None };
        if cell.owner(now) == Some(reservation(&token.nonce())) {
            cell.fence = cell.fence.saturating_sub(1);
        }
        None
    }
}

cell! {
    /// Q7: a release hands the key over although somebody else holds it.
    HandsOverWhatIsHeld, |cell, _now, op| {
        if let Op::Release { .. } = op
            && cell.has_waiters()
        {
            cell.key = None;
        }
        None
    }
}

cell! {
    /// Release says that the key is gone, and keeps it.
    KeepsTheKey, |cell, now, op| {
        let Op::Release { .. } = op else { return None };
        let key = cell.key;
        let reply = cell.apply(now, op, &mut nobody);
        cell.key = key;
        Some(reply)
    }
}

cell! {
    /// Seal says that the number is raised, and does not raise it.
    SealsNothing, |cell, now, op| {
        let Op::Seal { token, fence } = op else { return None };
        (cell.owner(now) == Some(*token)).then_some(Reply::Applied { fence: Some(*fence) })
    }
}

cell! {
    /// The number goes with the key.
    ForgetsItsNumber, |cell, now, _op| {
        if cell.owner(now).is_none() {
            cell.fence = 0;
        }
        None
    }
}

cell! {
    /// The number is never raised, once there is one.
    NeverRaises, |cell, now, op| {
        let before = cell.fence;
        let reply = cell.apply(now, op, &mut nobody);
        match reply {
            Reply::Applied { fence: Some(_) } if before > 0 => {
                cell.fence = before;
                Some(Reply::Applied { fence: Fence::new(before) })
            }
            Reply::Applied { .. }
            | Reply::Refused { .. }
            | Reply::Unknown
            | Reply::Quarantined { .. } => Some(reply),
        }
    }
}
