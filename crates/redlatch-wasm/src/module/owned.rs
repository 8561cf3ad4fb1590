//! How JavaScript owns a machine.
//!
//! What wasm-bindgen makes of a method counts owners and borrows at each call, in case JavaScript is called
//! back meanwhile. Here it never is, and with forty methods that is a tenth of the module. So the class belongs
//! to a type of its own, and the methods of [`Machine`] borrow from it without counting.

use alloc::string::String;

use wasm_bindgen::__rt::assert_not_null;
use wasm_bindgen::convert::{RefFromWasmAbi, RefMutFromWasmAbi};
use wasm_bindgen::describe::WasmDescribe;
use wasm_bindgen::prelude::wasm_bindgen;

use super::machine::Machine;
use super::problem::Invalid;

/// A [`Machine`] that JavaScript owns: the class `Machine`.
#[wasm_bindgen(js_name = Machine)]
#[derive(Debug)]
pub struct Owned(Machine);

#[wasm_bindgen(js_class = Machine)]
impl Owned {
    /// An idle lock on the resources `names`, a list of strings, with a list of
    /// [`settings`](super::settings()). None if there is a [`problem`].
    #[must_use]
    pub fn of(settings: &[f64], names: String) -> Option<Self> {
        Machine::new(settings, names).ok().map(Self)
    }
}

/// Why there is no machine with these settings and names: a [`Problem`](super::Problem).
#[wasm_bindgen]
#[must_use]
pub fn problem(settings: &[f64], names: String) -> u32 {
    Invalid::told(Machine::new(settings, names))
}

type Abi = <Owned as RefFromWasmAbi>::Abi;

/// The machine behind the pointer that JavaScript keeps.
///
/// # Safety
/// It must come from an [`Owned`] that was not freed, or be null, and the borrow must end before JavaScript
/// goes on.
unsafe fn borrow(js: Abi) -> &'static mut Machine {
    let cell = js.into_ptr();
    // What was freed has become null.
    assert_not_null(cell);
    // SAFETY: there are no threads, and no method calls back into JavaScript, which could call another one.
    unsafe { &mut (*cell).get_mut().0 }
}

impl WasmDescribe for Machine {
    fn describe() {
        Owned::describe();
    }
}

impl RefFromWasmAbi for Machine {
    type Abi = Abi;
    type Anchor = &'static Self;

    unsafe fn ref_from_abi(js: Abi) -> &'static Self {
        // SAFETY: the caller promises it.
        unsafe { borrow(js) }
    }
}

impl RefMutFromWasmAbi for Machine {
    type Abi = Abi;
    type Anchor = &'static mut Self;

    unsafe fn ref_mut_from_abi(js: Abi) -> &'static mut Self {
        // SAFETY: the caller promises it.
        unsafe { borrow(js) }
    }
}
