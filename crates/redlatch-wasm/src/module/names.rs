//! Lists of strings, in and out.

use alloc::string::String;

use redlatch_core::wire::{Args, Dialect, Keys, KeysError, Wire, WireError};

/// The names of the resources that one lock is about, as JavaScript gave them: behind a separator, which
/// is a character that is in none of them, and divided by it.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) String);

impl Names {
    pub(crate) fn keys(&self) -> Result<Keys<'_>, KeysError> {
        let mut names: [&[u8]; Keys::MAX] = [b""; Keys::MAX];
        let mut count = 0;
        let (separator, first) = self.parts();
        let mut rest = Some(first);
        while let Some(some) = rest {
            let place = names.get_mut(count).ok_or(KeysError::Count { count })?;
            count += 1;
            (*place, rest) = split_once(some, separator);
        }
        Keys::new(names.get(..count).unwrap_or_default())
    }

    pub(crate) fn wire(&self, dialect: Dialect) -> Result<Wire<'_>, WireError> {
        Wire::new(self.keys()?, dialect)
    }

    /// `args` as one string, behind the same separator and divided by it.
    pub(crate) fn join(&self, args: &Args<'_>) -> String {
        let (separator, _) = self.parts();
        let len = args.as_slice().iter().map(|arg| separator.len() + arg.len()).sum();
        let mut joined = alloc::vec![0; len];
        let mut free = joined.as_mut_slice();
        for part in args.as_slice().iter().flat_map(|arg| [separator, arg]) {
            let (head, tail) = free.split_at_mut(part.len());
            head.copy_from_slice(part);
            free = tail;
        }
        // SAFETY: names and the separator are whole parts of a string, since no character's bytes begin in
        // the middle of another's; all else is ASCII.
        unsafe { String::from_utf8_unchecked(joined) }
    }

    /// The separator, and what is behind it.
    fn parts(&self) -> (&[u8], &[u8]) {
        let bytes = self.0.as_bytes();
        // UTF-8 begins a character of several bytes with as many ones.
        let len = bytes.first().map_or(0, |byte| byte.leading_ones().max(1));
        bytes.split_at_checked(len as usize).unwrap_or_default()
    }
}

/// What stands before the first `separator`, and, if there is one, what stands behind it.
fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    for at in 0..text.len() {
        let (name, rest) = text.split_at(at);
        if let Some(rest) = rest.strip_prefix(separator) {
            return (name, Some(rest));
        }
    }
    (text, None)
}
