#!/usr/bin/env bash
# Runs the tests of the wasm module (or those that the arguments name) under Node. The Rust in between is built first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

tests=crates/redlatch-wasm/tests
example=crates/redlatch-wasm/examples/worker-rs
if [ $# = 0 ]; then set -- transcripts machine smoke worker-rs; fi
files=()
for name in "$@"; do
    name=${name%.test.js}
    case "$name" in
        smoke)
            # Compiled to wasm and run by Node; its messages are those of cargo.
            CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$tools/bin/wasm-bindgen-test-runner" \
                build_for_wasm test -p redlatch-wasm --test smoke
            ;;
        worker-rs)
            (cd "$example" && build_for_wasm build --quiet --release --target-dir "$root/target/worker-rs")
            cargo run --locked --quiet -p redlatch-wasm-build -- \
                "target/worker-rs/$wasm_target/release/worker_rs.wasm" target/worker-rs/pkg
            files+=("$tests/$name.test.js")
            ;;
        *) files+=("$tests/$name.test.js") ;;
    esac
done
[ ${#files[@]} = 0 ] || exec node --test --test-reporter=spec "${files[@]}"
