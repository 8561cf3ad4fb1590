#!/usr/bin/env bash
# Runs all tests (or those that the arguments to `cargo test` choose) and prints the sum of what they said.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
if [ $# = 0 ]; then set -- --workspace; fi
cargo test --locked --all-features --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

# test result: ok. 3 passed; 0 failed; 0 ignored; ...
read -r passed failed ignored <<<"$(awk '/^test result: / { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$log")"
echo "$passed passed, $failed failed"

# A test that needs something absent fails; it does not skip. And a run of nothing shows nothing.
if [ "$ignored" != 0 ]; then
    say "test: $ignored ignored, and this project has no skipped tests"
    status=1
fi
if [ "$passed" = 0 ] && [ "$status" = 0 ]; then
    say "test: no test ran"
    status=1
fi
exit "$status"
