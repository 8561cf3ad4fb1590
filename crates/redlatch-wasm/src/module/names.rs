//! Lists of strings, in and out.

use alloc::string::String;
use alloc::vec::Vec;

use redlatch_core::wire::{Args, Dialect, Keys, KeysError, Wire, WireError};
use wasm_bindgen::prelude::wasm_bindgen;

/// The names of the resources that one lock is about. Only what is made of them checks them.
#[wasm_bindgen]
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: Vec<String>,
}

#[wasm_bindgen]
impl Names {
    /// No names yet.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One resource more.
    pub fn push(&mut self, name: String) {
        self.names.push(name);
    }
}

impl Names {
    pub(crate) fn keys(&self) -> Result<Keys<'_>, KeysError> {
        let mut names: [&[u8]; Keys::MAX] = [b""; Keys::MAX];
        let count = self.names.len();
        let names = names.get_mut(..count).ok_or(KeysError::Count { count })?;
        for (place, name) in names.iter_mut().zip(&self.names) {
            *place = name.as_bytes();
        }
        Keys::new(names)
    }

    pub(crate) fn wire(&self, dialect: Dialect) -> Result<Wire<'_>, WireError> {
        Wire::new(self.keys()?, dialect)
    }

    /// `args` as one string, behind a separator and divided by it.
    pub(crate) fn join(&self, args: &Args<'_>) -> String {
        let separator = self.separator();
        let len = args.as_slice().iter().map(|arg| arg.len() + separator.len_utf8()).sum();
        let mut joined = String::with_capacity(len);
        for arg in args.as_slice() {
            joined.push(separator);
            // Names were strings, and all else is ASCII.
            joined.push_str(core::str::from_utf8(arg).unwrap_or_default());
        }
        joined
    }

    /// A character that is in no name and in no script. Names are of bounded length, so there is one; it
    /// is nearly always the first.
    fn separator(&self) -> char {
        let is_free = |c: &char| !self.names.iter().any(|name| name.contains(*c));
        ('\0'..'\t').chain('\u{80}'..).find(is_free).unwrap_or_default()
    }
}
