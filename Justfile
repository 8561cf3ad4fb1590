# The one entry point, for people and for CI. `just` alone lists the recipes.
# What they need below target/ (see scripts/env.sh) is made by `just setup`.

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default:
    @"{{ just_executable() }}" --list --unsorted

# Install what the tests need, or say exactly what is missing
[group('test')]
setup:
    @scripts/setup.sh

# Everything: set up where needed, all checks, all tests, the npm package in every runtime, the harness
[group('test')]
test: setup check cargo-test wasm wasm-test npm-test harness live

# Unit, integration and documentation tests alone, e.g. `just cargo-test -p redlatch`
[group('test')]
cargo-test *ARGS:
    @scripts/test.sh {{ ARGS }}

# 100,000 seeds of each profile, the exhaustive models, the planted bugs, the demo
[group('test')]
harness: (doubt "demo") (doubt "sim --seeds 100000") (doubt "model") (doubt "mutants")

# Our two drivers on real servers that fail, as processes and in containers, and a minute of stress; needs `just wasm`
[group('test')]
live: (doubt "stress --for 1m --seed 1") \
    (real "live --smoke --seed 1") \
    (real "live --smoke --seed 1 --adapter wasm") \
    (real "live --smoke --seed 1 --backend containers") \
    (real "live --smoke --seed 1 --backend containers --adapter wasm")

# 200 clients, 50 resources, ten minutes of random faults on real servers, and nothing left behind, e.g. `just stress --seed 7`
[group('test')]
stress *ARGS: (doubt "stress " + ARGS)

# One command of the harness with all features, as the tests build it, e.g. `just real "live --adapter rslock"`
[group('test')]
real ARGS:
    @cargo build --locked --quiet --workspace --all-features --bin redlatch-harness
    target/debug/redlatch-harness {{ ARGS }}

# docs/scorecard.md, from runs of every client that comes with the harness: ten minutes
[group('test')]
scorecard: (real "scorecard --out docs/scorecard.md --out target/scorecard.html --out target/scorecard.json")

# The native driver on every server that the registries have, as a table
[group('test')]
compat:
    @scripts/compat.sh

# One command of the harness, e.g. `just doubt "replay --seed 0x11"`
[group('test')]
doubt ARGS:
    cargo run --locked --quiet --release -p redlatch-harness -- {{ ARGS }}

# The properties of the core, as many times as usual: each factor of 100 is a few minutes
[group('test')]
properties FACTOR="100":
    PROPTEST_CASES=$((256 * {{ FACTOR }})) \
        cargo test --locked --quiet --release -p redlatch-core --test properties

# The larger models too, and a million seeds of each profile: minutes to hours, and gigabytes
[group('test')]
nightly: properties (doubt "sim --seeds 1000000") (doubt "model --nightly") (doubt "mutants")

# Changes the source of the core line by line and lists the changes that no test notices (docs/mutation.md): an hour or two
[group('test')]
mutate *ARGS:
    scripts/mutate.sh {{ ARGS }}

# The wasm module against the core's transcripts, and the example in Rust in workerd; needs `just wasm`
[group('test')]
wasm-test *ARGS:
    @scripts/wasm-test.sh {{ ARGS }}

# The npm package in every runtime, from its tarball; needs `just wasm`. E.g. `just npm-test redlock.test.js`
[group('test')]
npm-test *ARGS:
    cargo build --locked --quiet -p redlatch-cli
    node crates/redlatch-wasm/npm/scripts/test.js {{ ARGS }}

# Format, lints, documentation, dependencies, the bare target; no test is run
[group('check')]
check: fmt-check clippy alone doc-check unused bare

# Is everything formatted?
[group('check')]
fmt-check:
    cargo fmt --all --check

# Lints of all targets with all features
[group('check')]
clippy:
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

# Each crate by itself: none may live off features that another one switched on
[group('check')]
alone:
    for crate in crates/*/; do \
        cargo clippy --manifest-path "$crate/Cargo.toml" -- -D warnings; \
        cargo clippy --manifest-path "$crate/Cargo.toml" --no-default-features -- -D warnings; \
    done

# Documentation without a warning, as users see it and with private items
[group('check')]
doc-check:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --all-features --no-deps
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --all-features --no-deps --document-private-items

# Dependencies that nothing uses
[group('check')]
unused:
    scripts/unused.sh

# The core builds for a bare target and needs neither std nor alloc
[group('check')]
bare:
    scripts/bare.sh

# Make the wasm module of the npm package and its glue, in target/wasm/pkg
[group('develop')]
wasm:
    @scripts/wasm.sh

# Start COUNT Redis servers on this machine until Ctrl-C
[group('develop')]
nodes COUNT="5":
    @scripts/nodes.sh {{ COUNT }}

# The image for the containers of the live harness, from Debian's redis-server; `just setup` makes it where it is absent
[group('develop')]
live-image:
    scripts/live-image.sh

# The example worker in workerd, with three Redis servers and proxies of this machine, until Ctrl-C
[group('develop')]
example-worker: wasm
    node crates/redlatch-wasm/npm/scripts/build.js
    npm ci --prefix examples/worker --ignore-scripts --no-audit --no-fund --silent
    node examples/worker/start.js

# Format everything
[group('develop')]
fmt:
    cargo fmt --all

# Build the documentation; `just doc --open` shows it
[group('develop')]
doc *ARGS:
    cargo doc --workspace --all-features --no-deps {{ ARGS }}

# The driver, the raw floor and other clients side by side, with the goals: eight minutes; see docs/bench.md
[group('measure')]
bench *ARGS:
    cargo run --locked --quiet --release -p redlatch-bench -- {{ ARGS }}

# As well, built quickly and measured shortly, e.g. `just bench-quick --scenario contention-8`
[group('measure')]
bench-quick *ARGS:
    cargo run --locked --quiet --profile quick -p redlatch-bench -- --quick {{ ARGS }}

# Events a second of the simulator, transitions a second of the model
[group('measure')]
bench-harness *ARGS:
    cargo bench -p redlatch-harness --benches {{ ARGS }}

# Nanoseconds per cycle and per reply of the protocol core
[group('measure')]
bench-core *ARGS:
    cargo bench -p redlatch-core --benches {{ ARGS }}

# Bytes and microseconds of the wasm module; needs `just wasm`
[group('measure')]
bench-wasm *ARGS:
    node crates/redlatch-wasm/tests/bench.js {{ ARGS }}
    node crates/redlatch-wasm/npm/scripts/bench.js
