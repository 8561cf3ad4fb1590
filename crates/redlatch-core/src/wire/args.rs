//! A list of byte strings, some of them written into a lent buffer.

use core::fmt;

use super::keys::{Keys, KeysError, OwnKey};
use super::script::Script;
use super::{Form, WireError};
use crate::lease::Token;

/// `EVALSHA`, hash, number of keys; lock keys and fence or queue keys, marker and quarantine; six arguments.
const ARGS_MAX: usize = 3 + 2 * Keys::MAX + 2 + 6;

/// Numbers of one digit need no buffer.
static DIGITS: [u8; 10] = *b"0123456789";

/// The digits of 00 to 99.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [DIGITS[number / 10], DIGITS[number % 10]];
        number += 1;
    }
    pairs
};

/// One Redis command: its name and arguments, in order. `Debug` hides them: a token is among them.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    parts: [&'a [u8]; ARGS_MAX],
    len: usize,
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Args({} parts)", self.len)
    }
}

impl<'a> Args<'a> {
    pub(super) const EMPTY: Self = Self { parts: [b""; ARGS_MAX], len: 0 };

    /// The name and the arguments.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.parts[..self.len]
    }
}

/// Puts [`Args`] together. What does not fit makes the first error stick, and the rest count for nothing:
/// so commands are written without a branch after each part, which is a fifth of their code.
pub(super) struct Writer<'w, 'a> {
    args: &'w mut Args<'a>,
    /// What is left of the buffer, which is used from its end, as numbers are written.
    free: &'a mut [u8],
    written: Result<(), WireError>,
}

/// Puts [`Args`] together in the place from which they are returned: they are so large that every move
/// of them shows in the time of a whole cycle.
#[inline]
pub(super) fn write<'a>(
    buffer: &'a mut [u8],
    parts: impl FnOnce(&mut Writer<'_, 'a>),
) -> Result<Args<'a>, WireError> {
    let mut written = Ok(Args::EMPTY);
    if let Ok(args) = &mut written {
        let mut writer = Writer { args, free: buffer, written: Ok(()) };
        parts(&mut writer);
        if let Err(error) = writer.written {
            written = Err(error);
        }
    }
    written
}

impl<'a> Writer<'_, 'a> {
    /// The script and its keys: the `names`, the keys of our own for some of them, by the prefix of those,
    /// and the keys of the `guard`.
    pub(super) fn script(
        &mut self,
        script: &Script,
        form: Form,
        names: &[&'a [u8]],
        (prefix, own): (&[u8], &[&[u8]]),
        guard: &[&'a [u8]],
    ) {
        match form {
            Form::Sha1 => self.all(&[b"EVALSHA", script.sha1.as_bytes()]),
            Form::Text => self.all(&[b"EVAL", script.text.as_bytes()]),
        }
        self.number((names.len() + own.len() + guard.len()) as u64);
        self.all(names);
        self.own_keys(prefix, own);
        self.all(guard);
    }

    pub(super) fn all(&mut self, parts: &[&'a [u8]]) {
        for part in parts {
            self.push(part);
        }
    }

    pub(super) fn token(&mut self, token: &Token) {
        if let Some(part) = self.take(Token::HEX_LEN) {
            token.write_hex(part);
            self.push(part);
        }
    }

    /// Decimal digits.
    pub(super) fn number(&mut self, mut number: u64) {
        if let Some(digit) = usize::try_from(number).ok().and_then(|digit| DIGITS.get(digit)) {
            self.push(core::slice::from_ref(digit));
            return;
        }
        let mut start = self.free.len();
        // In pairs, but not on the edge: the table is larger than what uses it.
        while number >= 10 && !cfg!(target_family = "wasm") {
            let Some((rest, last)) = self.free[..start].split_last_chunk_mut() else { break };
            *last = PAIRS[(number % 100) as usize];
            number /= 100;
            start = rest.len();
        }
        while number > 0 {
            let Some((last, rest)) = self.free[..start].split_last_mut() else {
                return self.fail(WireError::BufferTooSmall);
            };
            *last = DIGITS[(number % 10) as usize];
            number /= 10;
            start = rest.len();
        }
        if let Some(part) = self.take(self.free.len() - start) {
            self.push(part);
        }
    }

    pub(super) fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.number(*number);
        }
    }

    fn own_keys(&mut self, prefix: &[u8], names: &[&[u8]]) {
        for (index, name) in names.iter().enumerate() {
            let Some(key) = OwnKey::of(prefix, name) else {
                return self.fail(KeysError::FenceSlot { index }.into());
            };
            if let Some(part) = self.take(key.len()) {
                key.write(part);
                self.push(part);
            }
        }
    }

    pub(super) fn fail(&mut self, error: WireError) {
        if self.written.is_ok() {
            self.written = Err(error);
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a mut [u8]> {
        let free = core::mem::take(&mut self.free);
        let Some((rest, part)) =
            free.len().checked_sub(len).and_then(|start| free.split_at_mut_checked(start))
        else {
            self.fail(WireError::BufferTooSmall);
            return None;
        };
        self.free = rest;
        Some(part)
    }

    /// No command has more than `ARGS_MAX` parts, by the limits of [`Keys`].
    fn push(&mut self, part: &'a [u8]) {
        debug_assert!(self.args.len < ARGS_MAX);
        if let Some(place) = self.args.parts.get_mut(self.args.len) {
            *place = part;
            self.args.len += 1;
        }
    }
}
