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
        let mut bytes = [0; 4];
        let separator = self.separator(&mut bytes);
        let len = args.as_slice().iter().map(|arg| separator.len() + arg.len()).sum();
        let mut joined = alloc::vec![0; len];
        let mut free = joined.as_mut_slice();
        for part in args.as_slice().iter().flat_map(|arg| [separator, arg]) {
            let (head, tail) = free.split_at_mut(part.len());
            head.copy_from_slice(part);
            free = tail;
        }
        // SAFETY: names were strings and are whole; all else, the separator included, is written as UTF-8.
        unsafe { String::from_utf8_unchecked(joined) }
    }

    /// A character that is in no name and in no script: nearly always the first.
    fn separator<'a>(&self, bytes: &'a mut [u8; 4]) -> &'a [u8] {
        // All names together are not long enough to have all of these.
        for separator in ('\0'..'\t').chain('\u{E000}'..'\u{F000}') {
            if !self.contain(separator.encode_utf8(bytes).as_bytes()) {
                return separator.encode_utf8(bytes).as_bytes();
            }
        }
        &[]
    }

    fn contain(&self, separator: &[u8]) -> bool {
        let mut names = self.0.iter();
        names.any(|name| name.as_bytes().windows(separator.len()).any(|part| part == separator))
    }
}
