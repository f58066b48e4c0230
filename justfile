# What one can do here. `just ci` is what a change must pass.

fmt:
    cargo fmt

lint:
    cargo clippy --all-targets -- -D warnings

test:
    scripts/test

it FILTER="":
    cargo test --test it {{FILTER}}

# Lives worlds of so many seeds, or of those from FROM to TO, in release; prints what struck which command.
chaos SEEDS="1000":
    scripts/chaos {{SEEDS}}

# Plants mistakes in a copy of the code, one at a time, and shows which worlds catch which.
mutants *MISTAKES:
    scripts/mutants {{MISTAKES}}

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
