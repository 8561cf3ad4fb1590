//! Nodes, sets of nodes, and what their votes amount to.

use core::fmt;

/// The most nodes that a lock may have.
pub const NODES_MAX: usize = 16;

/// One of the lock's Redis nodes, by its place in the list that every client shares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u8);

impl NodeId {
    /// The node at `index`, counted from 0; `None` from [`NODES_MAX`] on.
    #[must_use]
    pub const fn new(index: usize) -> Option<Self> {
        if index < NODES_MAX { Some(Self(index as u8)) } else { None }
    }

    /// The node's place in the list, counted from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A set of nodes.
///
/// ```
/// use redlatch_core::{NodeId, NodeSet};
///
/// let two: NodeSet = [0, 3].into_iter().filter_map(NodeId::new).collect();
/// assert_eq!(two.len(), 2);
/// assert!(two.contains(NodeId::new(3).unwrap()));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NodeSet(u16);

impl NodeSet {
    /// No node.
    pub const EMPTY: Self = Self(0);

    /// The first `len` nodes, at most [`NODES_MAX`].
    #[must_use]
    pub const fn first(len: usize) -> Self {
        if len >= NODES_MAX { Self(u16::MAX) } else { Self((1 << len) - 1) }
    }

    /// How many nodes are in the set.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `node` is in the set.
    #[must_use]
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 & (1 << node.0) != 0
    }

    /// Puts `node` into the set.
    pub const fn insert(&mut self, node: NodeId) {
        self.0 |= 1 << node.0;
    }

    /// Takes `node` out of the set.
    pub const fn remove(&mut self, node: NodeId) {
        self.0 &= !(1 << node.0);
    }

    /// The nodes in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The nodes of this set that are not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The nodes in order of their place in the list.
    #[must_use]
    pub const fn iter(self) -> Nodes {
        Nodes(self)
    }

    /// Takes the first node out of the set.
    pub(crate) const fn pop(&mut self) -> Option<NodeId> {
        if self.is_empty() {
            return None;
        }
        let node = NodeId(self.0.trailing_zeros() as u8);
        self.remove(node);
        Some(node)
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl IntoIterator for NodeSet {
    type Item = NodeId;
    type IntoIter = Nodes;

    fn into_iter(self) -> Nodes {
        self.iter()
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut set = Self::EMPTY;
        for node in nodes {
            set.insert(node);
        }
        set
    }
}

/// The nodes of a [`NodeSet`], first to last.
#[derive(Clone, Debug)]
pub struct Nodes(NodeSet);

impl Iterator for Nodes {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        self.0.pop()
    }
}

/// How many nodes there are, and how many make a majority.
///
/// ```
/// use redlatch_core::Quorum;
///
/// let five = Quorum::of(5)?;
/// assert_eq!((five.nodes().len(), five.majority()), (5, 3));
/// assert!(Quorum::of(17).is_err());
/// # Ok::<(), redlatch_core::QuorumError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quorum(u8);

impl Quorum {
    /// A quorum over `nodes` nodes, 1 to [`NODES_MAX`].
    ///
    /// # Errors
    /// [`QuorumError`] for any other number.
    pub const fn of(nodes: usize) -> Result<Self, QuorumError> {
        if nodes == 0 || nodes > NODES_MAX {
            return Err(QuorumError { nodes });
        }
        Ok(Self(nodes as u8))
    }

    /// Every node.
    #[must_use]
    pub const fn nodes(self) -> NodeSet {
        NodeSet::first(self.0 as usize)
    }

    /// q = ⌊n/2⌋ + 1: any two sets of this size share a node.
    #[must_use]
    pub const fn majority(self) -> usize {
        self.0 as usize / 2 + 1
    }

    /// What `tally` amounts to. Decided as soon as arithmetic permits, in both directions (R8): a
    /// tie can no longer be won, so it is lost.
    #[must_use]
    pub const fn verdict(self, tally: &Tally) -> Verdict {
        let applied = tally.applied.len();
        let silent = self.nodes().minus(tally.answered()).len();
        if applied >= self.majority() {
            Verdict::Won
        } else if applied + silent < self.majority() {
            Verdict::Lost
        } else {
            Verdict::Pending
        }
    }
}

/// A lock needs 1 to [`NODES_MAX`] nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuorumError {
    nodes: usize,
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} nodes were given; a lock takes 1 to {NODES_MAX} (3 or 5 are usual)",
            self.nodes
        )
    }
}

impl core::error::Error for QuorumError {}

/// Who answered what in one round. A node in none of the sets has been silent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Nodes that did what they were asked.
    pub applied: NodeSet,
    /// Nodes that said no, because another token, or none, is in the key.
    pub refused: NodeSet,
    /// Nodes of which nothing is known: no answer in time, an error, a broken connection. Never
    /// counted as a yes, never treated as a no (R5).
    pub unknown: NodeSet,
    /// Those of the `unknown` that do not vote yet, because they may have forgotten keys (R16).
    pub quarantined: NodeSet,
}

impl Tally {
    /// Every node that is not silent.
    #[must_use]
    pub const fn answered(&self) -> NodeSet {
        self.applied.union(self.refused).union(self.unknown)
    }

    /// Counts `vote` of `node`, once (R7): a yes or a no stands, whatever comes after it; not knowing
    /// ends when an answer comes.
    pub(crate) const fn record(&mut self, node: NodeId, vote: Vote) {
        if self.applied.union(self.refused).contains(node) {
            return;
        }
        self.unknown.remove(node);
        self.quarantined.remove(node);
        match vote {
            Vote::Applied => self.applied.insert(node),
            Vote::Refused => self.refused.insert(node),
            Vote::Unknown => self.unknown.insert(node),
            Vote::Quarantined => {
                self.unknown.insert(node);
                self.quarantined.insert(node);
            }
        }
    }
}

/// What one answer counts as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vote {
    Applied,
    Refused,
    Unknown,
    Quarantined,
}

/// What a [`Tally`] amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The silent nodes decide.
    Pending,
    /// A majority applied.
    Won,
    /// Not even all silent nodes together could make a majority.
    Lost,
}
