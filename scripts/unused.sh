#!/usr/bin/env bash
# Fails when a crate depends on something that it never names.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [ ! -x "$tools/bin/cargo-machete" ]; then
    say "unused: cargo-machete is missing; run: just setup"
    exit 1
fi
"$tools/bin/cargo-machete"
