# shellcheck shell=bash disable=SC2034
# What the scripts agree on; sourced, never run. Works with bash 3.2, which macOS has.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

# Our own tools stay below target/, so that `cargo clean` takes them along and nothing of the user's is touched.
tools="$root/target/tools"
machete_version=0.9.2
mutants_version=27.1.0

# A 32-bit target without an operating system: no std exists for it.
bare_target=thumbv7em-none-eabi

# What runs in JavaScript engines, and the oldest Node that the npm package supports.
wasm_target=wasm32-unknown-unknown
node_min=20.19

# Debian 12 packages a second, current toolchain with the library's source, for where rustup cannot download.
debian_cargo=/usr/bin/cargo
debian_rustc=/usr/bin/rustc
debian_packages="rustc-web cargo-web rust-web-src"

say() { printf '%s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

# The version that the manifest pins wasm-bindgen to; its tools must have the same.
wasm_bindgen_version() { sed -n 's/^wasm-bindgen = { version = "=\([0-9.]*\)".*/\1/p' Cargo.toml; }

msrv() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

# is_recent RUSTC: does it satisfy the workspace's rust-version?
is_recent() {
    local version
    version=$("$1" --version 2>/dev/null | cut -d' ' -f2)
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$(msrv)" "$version" | sort -V | head -n1)" = "$(msrv)" ]
}

has_target() { # has_target TARGET: is there a built library for it?
    local libdir
    libdir=$(rustc --print target-libdir --target "$1" 2>/dev/null) && [ -d "$libdir" ]
}
has_bare_target() { has_target "$bare_target"; }
has_wasm_target() { has_target "$wasm_target"; }

# The linker for wasm that comes with every toolchain of rustup; Debian's brings none.
rust_lld() { echo "$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld"; }

has_debian_source() {
    [ -x "$debian_cargo" ] && is_recent "$debian_rustc" &&
        [ -d "$("$debian_rustc" --print sysroot)/lib/rustlib/src/rust/library/core" ]
}

has_node() {
    has npm && has node &&
        [ "$(node --version | tr -d v | printf '%s\n%s\n' "$node_min" "$(cat)" | sort -V | head -n1)" = "$node_min" ]
}

# The names under which Chromium is known; the tests look for the same ones.
has_chromium() {
    local name
    if [ -n "${CHROMIUM:-}" ]; then [ -x "$CHROMIUM" ]; return; fi
    for name in chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Chromium.app/Contents/MacOS/Chromium" \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        if has "$name"; then return; fi
    done
    return 1
}

# build_for_wasm COMMAND ARGUMENTS…: a command of cargo, for the target that JavaScript engines run
build_for_wasm() {
    local command=$1
    shift
    if has_wasm_target; then
        cargo "$command" --locked --target "$wasm_target" "$@"
    elif has_debian_source; then
        # Debian ships the library's source instead of a built one; building it is the only use of an unstable flag.
        RUSTC="$debian_rustc" RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(rust_lld) \
            "$debian_cargo" "$command" --locked -Zbuild-std=std,panic_abort --target "$wasm_target" "$@"
    else
        say "Rust's library for $wasm_target is missing; run: just setup"
        return 1
    fi
}
