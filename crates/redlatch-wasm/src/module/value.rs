//! What a node answered, on its way into the machine.

use alloc::string::String;

use redlatch_core::wire;
use wasm_bindgen::prelude::wasm_bindgen;

/// The longest array that a node answers to our commands.
const ITEMS_MAX: usize = 4;

/// One value of RESP, put together piece by piece. What is no answer to any of our commands (a nested
/// array, a fraction, too few items or too many) becomes a value that nothing understands.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Value {
    /// How many items were announced, if it is an array.
    array: Option<usize>,
    items: [Item; ITEMS_MAX],
    len: usize,
    odd: bool,
}

#[derive(Debug, Default)]
enum Item {
    #[default]
    Nil,
    Int(i64),
    Text(String),
    Error(String),
}

#[wasm_bindgen]
impl Value {
    /// Nothing yet.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins anew. To be called before the first piece of each answer.
    pub fn reset(&mut self) {
        self.array = None;
        self.len = 0;
        self.odd = false;
    }

    /// A null, of either kind.
    #[wasm_bindgen(js_name = pushNil)]
    pub fn push_nil(&mut self) {
        self.push(Item::Nil);
    }

    /// An integer.
    #[wasm_bindgen(js_name = pushInt)]
    pub fn push_int(&mut self, int: f64) {
        self.odd |= int as i64 as f64 != int;
        self.push(Item::Int(int as i64));
    }

    /// A simple or a bulk string.
    #[wasm_bindgen(js_name = pushText)]
    pub fn push_text(&mut self, text: String) {
        self.push(Item::Text(text));
    }

    /// An error of the node, beginning with its code.
    #[wasm_bindgen(js_name = pushError)]
    pub fn push_error(&mut self, text: String) {
        self.push(Item::Error(text));
    }

    /// An array; its `len` items follow.
    #[wasm_bindgen(js_name = pushArray)]
    pub fn push_array(&mut self, len: u32) {
        self.odd |= self.array.is_some() || self.len > 0;
        self.array = Some(len as usize);
    }
}

impl Value {
    fn push(&mut self, item: Item) {
        match self.items.get_mut(self.len) {
            Some(place) => *place = item,
            None => self.odd = true,
        }
        self.len += 1;
    }

    /// Lends the value in the protocol's form.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&wire::Value<'_>) -> T) -> T {
        let mut flat = [wire::Value::Nil; ITEMS_MAX];
        for (place, item) in flat.iter_mut().zip(&self.items) {
            *place = item.lend();
        }
        let value = match (self.array, flat.get(..self.len)) {
            (Some(len), Some(items)) if items.len() == len && !self.odd => {
                wire::Value::Array(items)
            }
            (None, Some(&[item])) if !self.odd => item,
            // Stands for a value that is no answer to any of our commands.
            (Some(_) | None, _) => wire::Value::Error(b""),
        };
        read(&value)
    }
}

impl Item {
    fn lend(&self) -> wire::Value<'_> {
        match self {
            Self::Nil => wire::Value::Nil,
            Self::Int(int) => wire::Value::Int(*int),
            Self::Text(text) => wire::Value::Bytes(text.as_bytes()),
            Self::Error(text) => wire::Value::Error(text.as_bytes()),
        }
    }
}
