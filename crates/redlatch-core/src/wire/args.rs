//! A list of byte strings, some of them written into a lent buffer.

use super::keys::{FenceKey, Keys, KeysError};
use super::script::Script;
use super::{Form, WireError};
use crate::lease::Token;

/// `EVALSHA`, hash, number of keys; lock keys and fence keys, marker and quarantine; six arguments.
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

/// One Redis command: its name and arguments, in order.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    parts: [&'a [u8]; ARGS_MAX],
    len: usize,
}

impl<'a> Args<'a> {
    pub(super) const EMPTY: Self = Self { parts: [b""; ARGS_MAX], len: 0 };

    /// The name and the arguments.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.parts[..self.len]
    }
}

/// Puts [`Args`] together.
pub(super) struct Writer<'w, 'a> {
    args: &'w mut Args<'a>,
    free: &'a mut [u8],
}

/// Puts [`Args`] together in the place from which they are returned: they are so large that every move
/// of them shows in the time of a whole cycle.
#[inline]
pub(super) fn write<'a>(
    buffer: &'a mut [u8],
    parts: impl FnOnce(&mut Writer<'_, 'a>) -> Result<(), WireError>,
) -> Result<Args<'a>, WireError> {
    let mut written = Ok(Args::EMPTY);
    if let Ok(args) = &mut written
        && let Err(error) = parts(&mut Writer { args, free: buffer })
    {
        written = Err(error);
    }
    written
}

impl<'a> Writer<'_, 'a> {
    pub(super) fn script(
        &mut self,
        script: &Script,
        form: Form,
        keys: usize,
    ) -> Result<(), WireError> {
        match form {
            Form::Sha1 => self.all(&[b"EVALSHA", script.sha1.as_bytes()]),
            Form::Text => self.all(&[b"EVAL", script.text.as_bytes()]),
        }
        self.number(keys as u64)
    }

    pub(super) fn all(&mut self, parts: &[&'a [u8]]) {
        for part in parts {
            self.push(part);
        }
    }

    pub(super) fn token(&mut self, token: &Token) -> Result<(), WireError> {
        let part = self.take(Token::HEX_LEN)?;
        token.write_hex(part);
        self.push(part);
        Ok(())
    }

    /// Decimal digits.
    pub(super) fn number(&mut self, mut number: u64) -> Result<(), WireError> {
        if let Some(digit) = usize::try_from(number).ok().and_then(|digit| DIGITS.get(digit)) {
            self.push(core::slice::from_ref(digit));
            return Ok(());
        }
        let part = self.take(number.ilog10() as usize + 1)?;
        let mut start = part.len();
        while number >= 10 {
            start -= 2;
            part[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
            number /= 100;
        }
        if number > 0 {
            part[0] = DIGITS[number as usize];
        }
        self.push(part);
        Ok(())
    }

    pub(super) fn fence_keys(&mut self, names: &[&[u8]]) -> Result<(), WireError> {
        for (index, name) in names.iter().enumerate() {
            let key = FenceKey::of(name).ok_or(KeysError::FenceSlot { index })?;
            let part = self.take(key.len())?;
            key.write(part);
            self.push(part);
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&'a mut [u8], WireError> {
        let free = core::mem::take(&mut self.free);
        let (part, rest) = free.split_at_mut_checked(len).ok_or(WireError::BufferTooSmall)?;
        self.free = rest;
        Ok(part)
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
