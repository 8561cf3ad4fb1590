//! Randomness that depends on nothing but its arguments.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Sixty-four well-mixed bits: the finaliser of SplitMix64.
#[must_use]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The fate of whatever `what` and `which` identify, in the world of `seed`. It does not depend on
/// how many other fates were asked for, so that deleting a fault from a plan leaves the fate of every
/// other message as it was.
#[must_use]
pub const fn fate(seed: u64, what: u64, which: u64) -> u64 {
    mix(mix(seed ^ what.wrapping_mul(GOLDEN)).wrapping_add(which.wrapping_mul(GOLDEN)))
}

/// Sixteen bits of `fate`, the `part`-th of four, scaled to `0..limit`.
#[must_use]
pub const fn part(fate: u64, part: u32, limit: u64) -> u64 {
    (((fate >> (16 * part)) & 0xFFFF) * limit) >> 16
}

/// A stream of random numbers, for drawing plans (never for what happens in a world).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5EED_D1CE))
    }

    /// The next sixty-four bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1);
        low + ((self.next() as u128 * span as u128) >> 64) as u64
    }

    /// True in `permille` of a thousand cases.
    pub const fn chance(&mut self, permille: u64) -> bool {
        self.between(0, 999) < permille
    }

    /// One of `choices`, which must not be empty.
    pub const fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() as u64 - 1) as usize]
    }
}
