#!/usr/bin/env bash
# Proves that redlatch-core runs where there is no operating system, in two halves that need each other:
# 1. it compiles for a target that has no std (alloc exists there, so this half would not see it);
# 2. it links into a program with its own panic handler and no allocator: std brings a second panic handler,
#    alloc asks for an allocator, and either ends the build. Two canaries show that it really does.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

out="${CARGO_TARGET_DIR:-$root/target}/bare"
mkdir -p "$out"

build_for_bare_target() {
    if has_bare_target; then
        cargo build --locked --quiet -p redlatch-core --target "$bare_target" --target-dir "$out"
        say "bare: redlatch-core builds for $bare_target ($(rustc --version | cut -d' ' -f1,2))"
    elif has_debian_source; then
        # Debian ships the library's source instead of a built one; building it is the only use of an unstable flag.
        RUSTC="$debian_rustc" RUSTC_BOOTSTRAP=1 "$debian_cargo" build --locked --quiet -Zbuild-std=core \
            -p redlatch-core --target "$bare_target" --target-dir "$out"
        say "bare: redlatch-core builds for $bare_target, with core from source ($("$debian_rustc" --version | cut -d' ' -f1,2))"
    else
        say "bare: Rust's core library for $bare_target is missing; run: just setup"
        exit 1
    fi
}

# link NAME [RUSTC ARGUMENTS]: a program without std around the source lines on standard input.
link() {
    local name=$1
    shift
    {
        cat
        echo '#[panic_handler] fn panic(_: &core::panic::PanicInfo<'"'"'_>) -> ! { loop {} }'
    } | rustc --edition 2024 --crate-name "$name" --crate-type staticlib -C panic=abort "$@" -o "$out/lib$name.a" -
}

must_fail() { # must_fail NAME MESSAGE
    local message
    if message=$(link "$1" 2>&1); then
        say "bare: the canary $1 linked, so this check checks nothing"
        exit 1
    fi
    case "$message" in
        *"$2"*) ;;
        *) say "bare: the canary $1 failed for another reason: $message"; exit 1 ;;
    esac
}

build_for_bare_target

must_fail uses_alloc "no global memory allocator found" <<<'#![no_std] extern crate alloc;'
# shellcheck disable=SC2016 # the compiler's own backquotes
must_fail uses_std 'found duplicate lang item `panic_impl`' <<<'#![no_std] extern crate std;'

cargo build --locked --quiet -p redlatch-core --target-dir "$out"
link uses_core --extern redlatch_core="$out/debug/libredlatch_core.rlib" <<<'#![no_std] extern crate redlatch_core;'
say "bare: redlatch-core links without std and without an allocator"
