//! The driver for Rust, compiled for wasm and run in a JavaScript engine: `just wasm-test smoke`.
#![cfg(target_arch = "wasm32")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use redlatch_wasm::{AcquireError, Failure, Instant, Options, Redlatch, Transport, Value};
use wasm_bindgen_test::wasm_bindgen_test;

/// Three nodes in memory that know one key, and a clock that counts how often it is read.
#[derive(Clone, Default)]
struct Memory {
    holders: Rc<RefCell<[Option<Vec<u8>>; 3]>>,
    time: Rc<Cell<u64>>,
}

impl Memory {
    /// What a node answers, as far as these tests go.
    fn answer(&self, node: usize, args: &[Vec<u8>]) -> Value {
        let holder = &mut self.holders.borrow_mut()[node];
        let has = |text: &str| args[1].windows(text.len()).any(|part| part == text.as_bytes());
        let numbers =
            |numbers: &[i64]| Value::Array(numbers.iter().map(|n| Value::Int(*n)).collect());
        if has("'DEL'") {
            // The key, its queue and the token.
            let token = &args[5];
            return numbers(&[i64::from(holder.take_if(|holder| holder == token).is_some())]);
        }
        let token = &args[4];
        match holder {
            Some(holder) if holder == token => numbers(&[1]),
            Some(_) => numbers(&[0, 1_000, 0]),
            None => {
                *holder = Some(token.clone());
                numbers(&[1, 0])
            }
        }
    }
}

impl Transport for Memory {
    fn send(
        &self,
        node: usize,
        args: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<Value, Failure>> + 'static {
        std::future::ready(Ok(self.answer(node, &args)))
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }

    fn now(&self) -> Instant {
        self.time.set(self.time.get() + 1);
        Instant::from_nanos(self.time.get())
    }

    fn unix_time(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn random(&self) -> Result<[u8; 16], Failure> {
        self.time.set(self.time.get() + 1);
        Ok(u128::from(self.time.get()).to_be_bytes())
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

#[wasm_bindgen_test]
async fn two_holders_exclude_each_other() {
    let memory = Memory::default();
    let redlatch = Redlatch::new(memory.clone(), 3).expect("three nodes");
    let once = Options::new(Duration::from_secs(30)).wait(Duration::ZERO).without_fence();
    let guard = redlatch.acquire(&["report"], once).await.expect("a free lock");
    assert!(guard.is_valid());
    guard.extend().await.expect("a majority");
    let refused = redlatch.acquire(&["report"], once).await;
    assert!(matches!(refused, Err(AcquireError::Contended { .. })), "{refused:?}");
    guard.release().await.expect("a majority");
    drop(redlatch.acquire(&["report"], once).await.expect("it is free again"));
}
