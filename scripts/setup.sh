#!/usr/bin/env bash
# Installs what the tests and checks need, or says exactly what is missing and how to get it.
# Exits 0 only when all is there; changes nothing, and takes a moment, when it already was.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

missing=0
miss() { # miss WHAT WHY HOW
    [ "$missing" -gt 0 ] || say "setup: missing on this machine:"
    missing=$((missing + 1))
    say "  - $1: $2"
    say "      $3"
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# A password may be asked for only where somebody can answer.
can_install_packages() {
    has apt-get || return 1
    [ "$(id -u)" = 0 ] || { has sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
}


# Where harness/src/live/node/clock.rs looks for it.
has_faketime() {
    local file
    for file in /usr/lib/faketime/ /usr/lib64/faketime/ /usr/local/lib/faketime/ /usr/lib/*/faketime/; do
        if [ -e "${file}libfaketime.so.1" ]; then return; fi
    done
    return 1
}

has_python() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

# hint DEBIAN FEDORA HOMEBREW: the command that installs the package on this system
hint() {
    if has apt-get; then echo "sudo apt-get install $1"
    elif has dnf; then echo "sudo dnf install $2"
    elif has brew; then echo "brew install $3"
    else echo "install it with this system's package manager (Debian: $1; Fedora: $2)"; fi
}

# The tests start servers of their own. A service that came with a package would hold its port
# for nothing, so it is neither started now (policy) nor at the next boot (disable).
apt_install() {
    local policy=/usr/sbin/policy-rc.d guard=0 status=0 service
    say "setup: apt-get install $*"
    if [ ! -e "$policy" ]; then
        guard=1
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root apt-get -qq -o DPkg::Lock::Timeout=120 update >/dev/null || status=$?
    [ "$status" != 0 ] || as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends install "$@" >/dev/null || status=$?
    if [ "$guard" = 1 ]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
    for service in redis-server prometheus; do
        case "$*" in *"$service"*)
            as_root service "$service" stop >/dev/null 2>&1 || true
            as_root update-rc.d "$service" disable >/dev/null 2>&1 || true ;;
        esac
    done
    return "$status"
}

setup_rust() {
    if ! has cargo || ! is_recent rustc; then
        miss "Rust $(msrv) or newer" "to build anything" "see rust-lang.org/tools/install, or: rustup update stable"
        return
    fi
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt >&2 ||
        miss rustfmt "for the format check" "rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy >&2 ||
        miss clippy "for the lints" "rustup component add clippy"
}

setup_packages() {
    local packages=""
    has redis-server || packages="$packages redis-server"
    has cc || packages="$packages gcc libc6-dev"
    has_python || packages="$packages python3 python3-venv"
    has_chromium || packages="$packages chromium"
    has_faketime || packages="$packages libfaketime"
    has prometheus || packages="$packages prometheus"
    if [ -n "$packages" ] && can_install_packages; then
        # shellcheck disable=SC2086 # a list of words
        apt_install $packages || say "setup: apt-get failed"
    fi
    has redis-server || miss redis-server "the tests start real servers; no service is needed" \
        "$(hint redis-server redis redis)"
    has cc || miss "a C compiler" "it links, and builds the TLS library" \
        "$(hint 'gcc libc6-dev' gcc gcc)"
    has_python || miss "python3 with venv" "a lock of another language takes part in the tests" \
        "$(hint 'python3 python3-venv' python3 python)"
    has_chromium || miss Chromium "the tests open the timeline, and lock from a page" \
        "$(hint chromium chromium '--cask chromium') (or set CHROMIUM to one that is there)"
    has_faketime || miss libfaketime "the live harness gives each server a wall clock of its own" \
        "$(hint libfaketime libfaketime libfaketime)"
    has prometheus || miss prometheus "the tests ask it what the dashboard asks; no service is needed" \
        "$(hint prometheus golang-github-prometheus prometheus)"
    has_node || miss "Node.js $node_min or newer, with npm" "it builds and runs the npm package, and drives the browser" \
        "see nodejs.org (Debian 12 has an older one)"
}

# The core is built for a machine without an operating system: scripts/bare.sh.
setup_bare_target() {
    if has_bare_target || has_debian_source; then return; fi
    say "setup: Rust's core library for $bare_target"
    if has rustup && rustup target add "$bare_target" >&2; then return; fi
    # shellcheck disable=SC2086 # a list of words
    if can_install_packages && apt-cache show $debian_packages >/dev/null 2>&1; then
        apt_install $debian_packages || say "setup: apt-get failed"
    fi
    has_debian_source || miss "the target $bare_target" "the core must build where there is no std" \
        "rustup target add $bare_target (on Debian 12 also: sudo apt-get install $debian_packages)"
}

# What JavaScript engines run is built by rustup's library, or with Debian's source and rustup's linker.
setup_wasm_target() {
    if has_wasm_target || { has_debian_source && [ -x "$(rust_lld)" ]; }; then return; fi
    say "setup: Rust's library for $wasm_target"
    if has rustup && rustup target add "$wasm_target" >&2; then return; fi
    # shellcheck disable=SC2086 # a list of words
    if can_install_packages && apt-cache show $debian_packages >/dev/null 2>&1; then
        apt_install $debian_packages || say "setup: apt-get failed"
    fi
    has_debian_source && [ -x "$(rust_lld)" ] ||
        miss "the target $wasm_target" "the edge driver is built for it" \
            "rustup target add $wasm_target (on Debian 12 also: sudo apt-get install $debian_packages)"
}

has_wasm_runner() {
    [ "$("$tools/bin/wasm-bindgen-test-runner" --version 2>/dev/null)" = "wasm-bindgen-test-runner $(wasm_bindgen_version)" ]
}

# Without `--locked`, because its lock file may name what a mirror does not have yet; a debug build is enough and quicker.
setup_wasm_runner() {
    if has_wasm_runner; then return; fi
    say "setup: wasm-bindgen-test-runner $(wasm_bindgen_version) (a few minutes, once)"
    cargo install --quiet --debug --force --version "$(wasm_bindgen_version)" --root "$tools" \
        --bin wasm-bindgen-test-runner wasm-bindgen-cli >&2 || true
    has_wasm_runner || miss "wasm-bindgen-test-runner $(wasm_bindgen_version)" "it runs Rust's tests in a JavaScript engine" \
        "the message of cargo above says why it could not be installed"
}

has_machete() { [ "$("$tools/bin/cargo-machete" --version 2>/dev/null)" = "$machete_version" ]; }

setup_machete() {
    if has_machete; then return; fi
    say "setup: cargo-machete $machete_version (about a minute, once)"
    cargo install --quiet --locked --force --version "$machete_version" --root "$tools" cargo-machete >&2 || true
    has_machete || miss "cargo-machete $machete_version" "it finds unused dependencies" \
        "the message of cargo above says why it could not be installed"
}

has_peers() {
    cmp -s scripts/peers.txt "$tools/python/installed.txt" && "$tools/python/bin/python" -c 'import redlock' 2>/dev/null
}

setup_peers() {
    if has_peers; then return; fi
    say "setup: Python packages of scripts/peers.txt"
    if python3 -m venv --clear "$tools/python" >&2 &&
        "$tools/python/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 -r scripts/peers.txt >&2; then
        cp scripts/peers.txt "$tools/python/installed.txt"
    fi
    has_peers || miss "the packages of scripts/peers.txt" "a lock of another language takes part in the tests" \
        "the message of pip above says why they could not be installed"
}

# The lock clients that the tests of the live harness put under test; `redlatch-harness adapter install` has the others.
tested_adapters="plain rslock toy"

has_adapters() {
    local name
    for name in $tested_adapters; do
        [ -f "target/adapters/$name/installed" ] || return 1
        [ -z "$(find "harness/adapters/$name" harness/adapters/src harness/src/live/adapter/serve.rs Cargo.lock \
            -type f -newer "target/adapters/$name/installed")" ] || return 1
    done
}

setup_adapters() {
    local name
    if has_adapters; then return; fi
    say "setup: lock clients to test: $tested_adapters (a few minutes, once)"
    # shellcheck disable=SC2086 # a list of words
    if cargo run --locked --quiet -p redlatch-harness -- adapter install $tested_adapters >&2; then
        for name in $tested_adapters; do touch "target/adapters/$name/installed"; done
    fi
    has_adapters || miss "the adapters $tested_adapters" "the live harness tests them, and its tests need them" \
        "the message above says why they could not be installed"
}

# has_npm NAME FOLDER PACKAGE: the npm packages of FOLDER are in target/tools/NAME, PACKAGE among them
has_npm() {
    cmp -s "$2/package-lock.json" "$tools/$1/installed.json" && [ -d "$tools/$1/node_modules/$3" ]
}

# setup_npm NAME FOLDER PACKAGE WHY: puts them there
setup_npm() {
    if has_npm "$1" "$2" "$3"; then return; fi
    say "setup: npm packages of $2"
    mkdir -p "$tools/$1"
    cp "$2/package.json" "$2/package-lock.json" "$tools/$1/"
    if (cd "$tools/$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2); then
        cp "$2/package-lock.json" "$tools/$1/installed.json"
    fi
    has_npm "$1" "$2" "$3" || miss "the npm packages of $2" "$4" \
        "the message of npm above says why they could not be installed"
}

setup_newer_servers() {
    scripts/newer-servers.sh || miss "a newer Redis and Valkey" "the tests use what only these have (DELEX, DELIFEQ)" \
        "the message above says which, and where to put them"
}

setup_rust
setup_packages
setup_newer_servers
if has cargo && has cc; then
    setup_bare_target
    setup_wasm_target
    setup_wasm_runner
    setup_machete
fi
if has_python; then setup_peers; fi
if has cargo && has cc && has_python; then setup_adapters; fi
if has_node; then
    setup_npm browser harness/tests/browser playwright-core "they drive the browser"
    setup_npm dashboard tests/dashboard @grafana/schema "they check the dashboard of docs/grafana.json"
fi
. scripts/setup-npm.sh
. scripts/setup-docker.sh
if [ "$missing" -gt 0 ]; then
    say "setup: install the above and run it again"
    exit 1
fi
