#!/usr/bin/env bash
# Runs the tests of the wasm module (or those that the arguments name) under Node. The example in Rust is built first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

tests=crates/redlatch-wasm/tests
example=crates/redlatch-wasm/examples/worker-rs
if [ $# = 0 ]; then set -- transcripts machine worker-rs; fi
files=()
for name in "$@"; do
    files+=("$tests/${name%.test.js}.test.js")
    if [ "${name%.test.js}" = worker-rs ]; then
        (
            cd "$example"
            build_for_wasm build --release --target-dir "$root/target/worker-rs"
        )
        cargo run --locked --quiet -p redlatch-wasm-build -- \
            "target/worker-rs/$wasm_target/release/worker_rs.wasm" target/worker-rs/pkg
    fi
done
exec node --test --test-reporter=spec "${files[@]}"
