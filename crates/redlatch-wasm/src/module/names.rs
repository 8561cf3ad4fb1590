//! Lists of strings, in and out.

use alloc::string::String;
use alloc::vec::Vec;

use redlatch_core::wire::{Args, Dialect, Keys, KeysError, Wire, WireError};
/// The names of the resources that one lock is about.
#[derive(Debug)]
pub(crate) struct Names(Vec<String>);

impl Names {
    pub(crate) fn new(name: String) -> Self {
        Self(alloc::vec![name])
    }

    pub(crate) fn push(&mut self, name: String) {
        self.0.push(name);
    }

    pub(crate) fn keys(&self) -> Result<Keys<'_>, KeysError> {
        let mut names: [&[u8]; Keys::MAX] = [b""; Keys::MAX];
        let count = self.0.len();
        let names = names.get_mut(..count).ok_or(KeysError::Count { count })?;
        for (place, name) in names.iter_mut().zip(&self.0) {
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

    /// A character that is in no name and in no script: nearly always the first.
    fn separator(&self) -> char {
        let separators = ('\0'..'\t').chain('\u{E000}'..'\u{F000}');
        // All names together are not long enough to have all of these.
        separators.into_iter().find(|separator| !self.contain(*separator)).unwrap_or_default()
    }

    fn contain(&self, separator: char) -> bool {
        let mut bytes = [0; 4];
        let separator = separator.encode_utf8(&mut bytes).as_bytes();
        let mut names = self.0.iter();
        names.any(|name| name.as_bytes().windows(separator.len()).any(|part| part == separator))
    }
}
