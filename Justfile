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

# Everything: set up where needed, all checks, all tests
[group('test')]
test: setup check cargo-test

# Unit, integration and documentation tests alone, e.g. `just cargo-test -p redlatch`
[group('test')]
cargo-test *ARGS:
    @scripts/test.sh {{ ARGS }}

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

# Start COUNT Redis servers on this machine until Ctrl-C
[group('develop')]
nodes COUNT="5":
    @scripts/nodes.sh {{ COUNT }}

# Format everything
[group('develop')]
fmt:
    cargo fmt --all

# Build the documentation; `just doc --open` shows it
[group('develop')]
doc *ARGS:
    cargo doc --workspace --all-features --no-deps {{ ARGS }}

# All benchmarks
[group('measure')]
bench *ARGS:
    cargo bench --workspace --benches {{ ARGS }}

# Nanoseconds per cycle and per reply of the protocol core
[group('measure')]
bench-core *ARGS:
    cargo bench -p redlatch-core --benches {{ ARGS }}
