# What one can do here. `just ci` is what a change must pass.

fmt:
    cargo fmt

lint:
    cargo clippy --all-targets -- -D warnings

test:
    scripts/test

it FILTER="":
    cargo test --test it {{FILTER}}

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

deny:
    cargo deny check

bench:
    cargo bench

demo:
    cargo run --release -- demo

ci:
    .ci/run
