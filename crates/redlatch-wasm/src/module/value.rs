//! What a node answered, on its way into the machine.

use alloc::string::String;

use redlatch_core::wire;

/// The longest array that a node answers to our commands, and one more.
const ITEMS_MAX: usize = 4;

/// One value of RESP, put together piece by piece. What is no answer to any of our commands (a nested
/// array, a fraction, too few items or too many) becomes a value that nothing understands.
#[derive(Debug, Default)]
pub(crate) struct Value {
    /// How many items were announced, if it is an array.
    array: Option<usize>,
    items: [Item; ITEMS_MAX],
    len: usize,
    odd: bool,
}

#[derive(Debug, Default)]
pub(crate) enum Item {
    #[default]
    Nil,
    Int(i64),
    Text(String),
}

impl Value {
    pub(crate) fn push(&mut self, item: Item) {
        match self.items.get_mut(self.len) {
            Some(place) => *place = item,
            None => self.odd = true,
        }
        self.len += 1;
    }

    pub(crate) fn push_array(&mut self, len: usize) {
        self.odd |= self.array.is_some() || self.len > 0;
        self.array = Some(len);
    }

    pub(crate) fn push_other(&mut self) {
        self.odd = true;
    }

    /// Lends the value in the protocol's form, and is empty again.
    pub(crate) fn take<T>(&mut self, read: impl FnOnce(&wire::Value<'_>) -> T) -> T {
        let output = read(&self.whole(&mut [wire::Value::Nil; ITEMS_MAX]));
        self.clear();
        output
    }

    /// The value, whose items are put into `flat`.
    #[inline(never)] // two users, and the code of one
    fn whole<'a>(&'a self, flat: &'a mut [wire::Value<'a>; ITEMS_MAX]) -> wire::Value<'a> {
        for (place, item) in flat.iter_mut().zip(&self.items) {
            *place = item.lend();
        }
        match (self.array, flat.get(..self.len)) {
            (Some(len), Some(items)) if items.len() == len && !self.odd => {
                wire::Value::Array(items)
            }
            (None, Some(&[item])) if !self.odd => item,
            // Stands for a value that is no answer to any of our commands.
            (Some(_) | None, _) => wire::Value::Error(b""),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.array = None;
        self.len = 0;
        self.odd = false;
    }
}

impl Item {
    fn lend(&self) -> wire::Value<'_> {
        match self {
            Self::Nil => wire::Value::Nil,
            Self::Int(int) => wire::Value::Int(*int),
            Self::Text(text) => wire::Value::Bytes(text.as_bytes()),
        }
    }
}
