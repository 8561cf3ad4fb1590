#!/usr/bin/env bash
# Makes what the npm package ships of Rust, in target/wasm/pkg: cargo builds the module, wasm-bindgen its glue,
# wasm-opt makes it smaller. The same sources give the same bytes, wherever the tree lies.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

target_dir="${CARGO_TARGET_DIR:-$root/target}"
out="$target_dir/wasm"
opt="$root/crates/redlatch-wasm/build/node_modules/.bin/wasm-opt"

# Paths stand in what a panic would say, were it told. Of all thresholds for inlining this one gives the smallest
# module: what is inlined is often less than its call.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="--remap-path-prefix=$root=. \
--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo -Cllvm-args=-inline-threshold=45"

[ -x "$opt" ] || { say "wasm: wasm-opt is missing; run: just setup"; exit 1; }
build_for_wasm rustc --quiet -p redlatch-wasm --lib --crate-type cdylib --no-default-features --features module --profile wasm
rm -rf "$out/new"
mkdir -p "$out/new"
cargo run --locked --quiet -p redlatch-wasm-build -- "$target_dir/$wasm_target/wasm/redlatch_wasm.wasm" "$out/new"
# Between two rounds the control flow is made anew, which leaves less to jump over. Functions stay in the order in which
# they came: neighbours are alike, which is worth more to gzip than shorter numbers for those that are called often.
"$opt" -Oz --flatten --rereloop -Oz --converge --low-memory-unused --strip-debug --strip-producers --strip-target-features \
    "$out/new/core_bg.wasm" -o "$out/new/core_bg.wasm"
rm -rf "$out/pkg"
mv "$out/new" "$out/pkg"
say "wasm: $(wc -c <"$out/pkg/core_bg.wasm") bytes, $(gzip -9c "$out/pkg/core_bg.wasm" | wc -c) with gzip"
