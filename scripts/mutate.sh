#!/usr/bin/env bash
# Runs cargo-mutants on the core: each change to its source must make a test fail. First the tests that are quick to
# build and run; what they do not notice is put to all tests of the core.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [ "$("$tools/bin/cargo-mutants" mutants --version 2>/dev/null)" != "cargo-mutants $mutants_version" ]; then
    say "mutate: cargo-mutants $mutants_version (some minutes, once)"
    cargo install --quiet --locked --force --version "$mutants_version" --root "$tools" cargo-mutants >&2
fi

out=$root/target/mutate
mutants() {
    CARGO_TARGET_DIR=$out/build "$tools/bin/cargo-mutants" mutants --package redlatch-core --output "$out" \
        --timeout 60 --no-shuffle "$@"
}
quick=()
for test in distlock rules transcripts verdict wire; do quick+=("--cargo-test-arg=--test=$test"); done
# 2: some survived, 3: some ran into the timeout; both are looked at again.
status=0
mutants "${quick[@]}" "$@" || status=$?
if [ "$status" = 2 ] || [ "$status" = 3 ]; then
    status=0
    mutants --iterate "$@" || status=$?
fi
exit "$status"
