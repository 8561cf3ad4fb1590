//! A look at a lock from outside.

use alloc::string::String;
use alloc::vec::Vec;

use redlatch_core::wire::{self, Form, Sighting};
use redlatch_core::{Fence, Quorum};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Names, Settings, Value, clock, js_error};
use crate::sightings::{self, State};

/// Whether a lock is held.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    /// Neither of the others: it is being taken or released, or too few nodes answered.
    Undecided,
    /// A majority has no key: it can be taken.
    Free,
    /// A majority has one token in its keys.
    Held,
}

/// Whether one node has a key for a lock.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It did not say, or not so that it can be understood.
    Unknown,
    /// It has none.
    Free,
    /// It has one.
    Taken,
}

/// A look at a lock: [`args`](Self::args) are sent to every node, and the answers handed in.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Inspection {
    quorum: Quorum,
    dialect: wire::Dialect,
    names: Names,
    sightings: Vec<Option<Sighting>>,
}

#[wasm_bindgen]
impl Inspection {
    /// A look at the lock on `names`.
    ///
    /// # Errors
    /// If the settings are none, or the names cannot be locked.
    #[wasm_bindgen(constructor)]
    pub fn new(settings: &Settings, names: &Names) -> Result<Self, JsError> {
        let quorum = settings.config()?.quorum();
        let dialect = settings.wire_dialect()?;
        names.wire(dialect).map_err(js_error)?;
        let sightings = quorum.nodes().iter().map(|_| None).collect();
        Ok(Self { quorum, dialect, names: names.clone(), sightings })
    }

    /// The command, behind a separator and divided by it.
    #[must_use]
    pub fn args(&self) -> String {
        let Ok(wire) = self.names.wire(self.dialect) else { return String::new() };
        // The braces and prefixes of fence keys take the room that a token and numbers would.
        let mut buffer = alloc::vec![0; wire.buffer_len()];
        let args = wire.encode_inspect(Form::Text, &mut buffer);
        args.map_or_else(|_| String::new(), |args| self.names.join(&args))
    }

    /// What `node` answered. `Unknown` if that is no answer to this command.
    #[wasm_bindgen(js_name = handleValue)]
    pub fn handle_value(&mut self, node: u32, value: &Value) -> NodeState {
        let Ok(wire) = self.names.wire(self.dialect) else { return NodeState::Unknown };
        if let Some(sighting) = self.sightings.get_mut(node as usize) {
            *sighting = value.read(|value| wire.decode_inspect(value));
        }
        self.node_state(node)
    }

    /// What the answers amount to.
    #[must_use]
    pub fn state(&self) -> LockState {
        match self.sighted() {
            State::Free => LockState::Free,
            State::Held { .. } => LockState::Held,
            State::Undecided => LockState::Undecided,
        }
    }

    /// How long a majority still has a lock that is held, in ms, if it is not extended; negative if it
    /// never expires.
    #[must_use]
    pub fn remaining(&self) -> f64 {
        match self.sighted() {
            State::Held { remaining } => clock::millis_of(remaining),
            State::Free | State::Undecided => 0.0,
        }
    }

    /// What `node` said.
    #[wasm_bindgen(js_name = nodeState)]
    #[must_use]
    pub fn node_state(&self, node: u32) -> NodeState {
        match self.sighting(node) {
            None => NodeState::Unknown,
            Some(Sighting { holder: None, .. }) => NodeState::Free,
            Some(Sighting { holder: Some(_), .. }) => NodeState::Taken,
        }
    }

    /// How long the key of `node` still lives, in ms; negative if it never expires.
    #[wasm_bindgen(js_name = nodeRemaining)]
    #[must_use]
    pub fn node_remaining(&self, node: u32) -> f64 {
        match self.sighting(node) {
            Some(Sighting { holder: Some(_), remaining, .. }) => clock::millis_of(*remaining),
            Some(Sighting { holder: None, .. }) | None => 0.0,
        }
    }

    /// The last fence that `node` gave out; 0 if it has none on record.
    #[wasm_bindgen(js_name = nodeFence)]
    #[must_use]
    pub fn node_fence(&self, node: u32) -> f64 {
        let fence = self.sighting(node).and_then(|sighting| sighting.fence);
        fence.map_or(0, Fence::get) as f64
    }

    fn sighting(&self, node: u32) -> Option<&Sighting> {
        self.sightings.get(node as usize)?.as_ref()
    }

    fn sighted(&self) -> State {
        sightings::state(self.quorum, self.sightings.iter().flatten())
    }
}
