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
    /// The name and the arguments.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.parts[..self.len]
    }
}

/// Puts [`Args`] together.
pub(super) struct Writer<'a> {
    args: Args<'a>,
    free: &'a mut [u8],
}

impl<'a> Writer<'a> {
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        Self { args: Args { parts: [b""; ARGS_MAX], len: 0 }, free: buffer }
    }

    pub(super) fn finish(self) -> Args<'a> {
        self.args
    }

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
        let mut digits = [0; 20];
        let mut start = digits.len();
        while number >= 10 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
            number /= 100;
        }
        if number > 0 {
            start -= 1;
            digits[start] = DIGITS[number as usize];
        }
        let part = self.take(digits.len() - start)?;
        part.copy_from_slice(&digits[start..]);
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
