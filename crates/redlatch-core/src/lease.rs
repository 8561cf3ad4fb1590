//! Tokens, fences, and how long a promise is good for. All arithmetic of validity lives here.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

use crate::quorum::{NODES_MAX, Quorum};
use crate::time::{Instant, nanos};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// What a node stores to say whose lock it is: 16 random bytes of one `acquire` call and the number
/// of the attempt, so that no two attempts ever share a token (R3).
///
/// On the wire it is 40 lowercase hexadecimal digits. It is a capability (whoever has it can release
/// the lock), therefore `Debug` hides it; only [`Token::to_hex`] shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    nonce: [u8; 16],
    attempt: u32,
}

impl Token {
    /// Bytes of a token on the wire.
    pub const HEX_LEN: usize = 40;

    /// The token of one attempt.
    #[must_use]
    pub const fn new(nonce: [u8; 16], attempt: u32) -> Self {
        Self { nonce, attempt }
    }

    /// The random bytes that all attempts of one `acquire` call share.
    #[must_use]
    pub const fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// The number of the attempt.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The token as nodes store it.
    #[must_use]
    pub fn to_hex(&self) -> [u8; Self::HEX_LEN] {
        let mut hex = [0; Self::HEX_LEN];
        self.write_hex(&mut hex);
        hex
    }

    /// Writes the token into `hex`, which has room for it.
    pub(crate) fn write_hex(&self, hex: &mut [u8]) {
        let attempt = self.attempt.to_be_bytes();
        for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(self.nonce.iter().chain(&attempt))
        {
            // The table makes a cycle on five nodes a quarter faster, and the module for the edge 2 % larger.
            *pair = if cfg!(target_family = "wasm") { digits(*byte) } else { HEX[*byte as usize] };
        }
    }

    /// The token that [`Token::to_hex`] wrote.
    ///
    /// # Errors
    /// [`TokenError`] for anything but 40 lowercase hexadecimal digits.
    pub fn from_hex(hex: &[u8]) -> Result<Self, TokenError> {
        let hex: &[u8; Self::HEX_LEN] = hex.try_into().map_err(|_| TokenError)?;
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        let mut nonce = [0; 16];
        let mut attempt = [0; 4];
        nonce.copy_from_slice(&bytes[..16]);
        attempt.copy_from_slice(&bytes[16..]);
        Ok(Self { nonce, attempt: u32::from_be_bytes(attempt) })
    }
}

/// The two digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < hex.len() {
        hex[byte] = digits(byte as u8);
        byte += 1;
    }
    hex
};

const fn digits(byte: u8) -> [u8; 2] {
    [hex_digit(byte >> 4), hex_digit(byte & 15)]
}

/// The digit of a number from 0 to 15.
const fn hex_digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' - 10 + number }
}

const fn digit(byte: u8) -> Result<u8, TokenError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TokenError),
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(..attempt {})", self.attempt)
    }
}

/// The bytes are no token of this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenError;

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token has {} lowercase hexadecimal digits", Token::HEX_LEN)
    }
}

impl core::error::Error for TokenError {}

/// A fencing token: larger than that of every grant that was over before this one was asked for, and
/// never given twice (R15).
///
/// A resource that refuses a fence lower than the highest it has seen is safe from a holder that acts
/// after its lease has ended. Fences stay below 2^53, so that Lua and JavaScript hold them exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(NonZeroU64);

impl Fence {
    /// The largest fence, 2^53 − 1.
    pub const MAX: u64 = (1 << 53) - 1;

    /// The fence with this number; `None` for 0 and above [`Fence::MAX`].
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fence that a client proposes: its wall clock.
///
/// It makes all nodes answer the same number, so that one round trip is the usual case. Uniqueness
/// and order of fences never depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proposal(Fence);

impl Proposal {
    /// The largest proposal, 2^52, which leaves half of all fences to counting.
    pub const MAX: u64 = 1 << 52;

    /// A proposal from a wall clock in microseconds since 1970, which reaches [`Proposal::MAX`] in the
    /// year 2112.
    ///
    /// # Errors
    /// [`ProposalError`] for 0 and above [`Proposal::MAX`].
    pub const fn from_unix_micros(micros: u64) -> Result<Self, ProposalError> {
        match Fence::new(micros) {
            Some(fence) if micros <= Self::MAX => Ok(Self(fence)),
            _ => Err(ProposalError { micros }),
        }
    }

    /// The proposed fence.
    #[must_use]
    pub const fn fence(self) -> Fence {
        self.0
    }

    /// This proposal after `elapsed` more time, and above every fence that was heard of: at most
    /// [`Proposal::MAX`].
    pub(crate) fn advanced(self, elapsed: Duration, heard: u64) -> Self {
        let micros = nanos(elapsed) / 1_000;
        let number = self.0.get().saturating_add(micros).max(heard.saturating_add(1));
        Self::from_unix_micros(number.min(Self::MAX)).unwrap_or(self)
    }
}

/// The wall clock cannot be proposed as a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProposalError {
    micros: u64,
}

impl fmt::Display for ProposalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the wall clock reads {} µs since 1970; a fence can be proposed from 1 to {}: \
             set the clock",
            self.micros,
            Proposal::MAX
        )
    }
}

impl core::error::Error for ProposalError {}

/// How long a node is asked to keep a key: 1 ms to 24 h, in whole milliseconds.
///
/// ```
/// use core::time::Duration;
/// use redlatch_core::Ttl;
///
/// assert_eq!(Ttl::new(Duration::from_secs(30))?.as_millis(), 30_000);
/// assert!(Ttl::new(Duration::from_micros(1_500)).is_err());
/// # Ok::<(), redlatch_core::TtlError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u32);

impl Ttl {
    /// The longest time to live, 24 h.
    pub const MAX: Self = Self(24 * 60 * 60 * 1000);

    /// A time to live of `duration`.
    ///
    /// # Errors
    /// [`TtlError`] outside 1 ms…24 h or if `duration` is not a whole number of milliseconds.
    pub const fn new(duration: Duration) -> Result<Self, TtlError> {
        let nanos = nanos(duration);
        let millis = nanos / NANOS_PER_MILLI;
        if millis == 0 || millis > Self::MAX.0 as u64 || !nanos.is_multiple_of(NANOS_PER_MILLI) {
            return Err(TtlError { duration });
        }
        Ok(Self(millis as u32))
    }

    /// A time to live of `millis` milliseconds.
    ///
    /// # Errors
    /// [`TtlError`] outside 1…86,400,000.
    pub const fn from_millis(millis: u64) -> Result<Self, TtlError> {
        Self::new(Duration::from_millis(millis))
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// As a duration.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

/// The duration is no time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TtlError {
    duration: Duration,
}

impl fmt::Display for TtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a ttl of {:?} was asked for; it must be 1 ms to 24 h, in whole milliseconds",
            self.duration
        )
    }
}

impl core::error::Error for TtlError {}

/// How much of a ttl is given away to clocks that run at different rates.
///
/// The margin is `ttl · rate + 2 ms`. It is safe while the rates of a node's clock and of the
/// holder's clock differ from true time by less than `rate` together; the 2 ms cover the granularity
/// of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Drift {
    parts_per_million: u32,
}

impl Drift {
    /// What the field uses: 1 % of the ttl.
    pub const DEFAULT: Self = Self { parts_per_million: 10_000 };
    /// One step of a node's clock (Redis expires by whole milliseconds) and one of the holder's timer.
    const GRANULARITY_NANOS: u64 = 2 * NANOS_PER_MILLI;

    /// A drift of `parts_per_million` of the ttl, at most 500,000 (half of it).
    #[must_use]
    pub const fn from_ppm(parts_per_million: u32) -> Option<Self> {
        if parts_per_million > 500_000 {
            return None;
        }
        Some(Self { parts_per_million })
    }

    /// The margin for `ttl`.
    #[must_use]
    pub const fn margin(self, ttl: Ttl) -> Duration {
        Duration::from_nanos(self.margin_nanos(ttl))
    }

    /// Milliseconds times parts per million are nanoseconds, so nothing is rounded, and the largest
    /// product, 4.3e13, is far from overflowing.
    const fn margin_nanos(self, ttl: Ttl) -> u64 {
        ttl.0 as u64 * self.parts_per_million as u64 + Self::GRANULARITY_NANOS
    }

    /// How long a promise of `ttl` may be relied on, counted from before its command was sent (R1).
    #[must_use]
    pub const fn validity(self, ttl: Ttl) -> Duration {
        Duration::from_nanos(self.validity_nanos(ttl))
    }

    pub(crate) const fn validity_nanos(self, ttl: Ttl) -> u64 {
        (ttl.0 as u64 * NANOS_PER_MILLI).saturating_sub(self.margin_nanos(ttl))
    }

    /// After how long, on the holder's clock, a key of `ttl` is gone by itself on every node.
    #[must_use]
    pub(crate) const fn expiry_nanos(self, ttl: Ttl) -> u64 {
        ttl.0 as u64 * NANOS_PER_MILLI + self.margin_nanos(ttl)
    }
}

impl Default for Drift {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A lock that is held: what identifies it, what fences it, and until when it may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// What the nodes store.
    pub token: Token,
    /// The fence, if one was asked for.
    pub fence: Option<Fence>,
    /// From here on the lock is not held, whatever the nodes say.
    pub valid_until: Instant,
}

/// The promises of all nodes: until when each keeps the key for the holder; [`Instant::ZERO`] for a
/// node that promised nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Promises([Instant; NODES_MAX]);

impl Promises {
    pub(crate) const NONE: Self = Self([Instant::ZERO; NODES_MAX]);

    /// R1: a promise never shortens an earlier one of the same node.
    pub(crate) fn extend(&mut self, node: crate::NodeId, until: Instant) {
        let promise = &mut self.0[node.index()];
        *promise = until.max(*promise);
    }

    /// Whether a majority keeps its promise beyond `now`.
    pub(crate) fn hold(&self, quorum: Quorum, now: Instant) -> bool {
        let nodes = &self.0[..quorum.nodes().len()];
        nodes.iter().filter(|until| now < **until).count() >= quorum.majority()
    }

    /// R1: the lock is held while a majority keeps its promise, that is until the q-th largest.
    pub(crate) fn valid_until(&self, quorum: Quorum) -> Instant {
        let mut sorted = self.0;
        let nodes = &mut sorted[..quorum.nodes().len()];
        sort(nodes);
        nodes[nodes.len() - quorum.majority()]
    }
}

/// Sorts the values of a few nodes, by insertion. The sort of the library does the same with so few, but
/// brings what it would do with many, and that is a tenth of the whole machine on an edge worker.
pub(crate) fn sort<T: Copy + Ord>(values: &mut [T]) {
    for end in 1..values.len() {
        let mut at = end;
        while at > 0 && values[at] < values[at - 1] {
            values.swap(at, at - 1);
            at -= 1;
        }
    }
}
