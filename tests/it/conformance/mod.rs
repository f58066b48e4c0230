//! What a client of Kubernetes checks an API server for, a test for each numbered check, in our
//! words: `k021_…` is check 21. Each is told to our own server over HTTPS, by plain requests or by
//! the real kubectl, as its users would.
//!
//! Where a CRD server of Kubernetes was seen to do otherwise than documented, the test holds what
//! that server did. Where Weir's kinds are made otherwise, it says so.

mod bed;
mod configmaps;
mod deleting;
mod discovery;
mod events;
mod histories;
mod kube_rs;
mod limits;
mod observed;
mod operations;
mod output;
mod patching;
mod serverside;
mod status;
mod transcripts;
mod validation;
mod watching;

use std::{collections::BTreeMap, fs, path::Path};

/// How many checks there are.
const CHECKS: usize = 126;

/// Checks that cannot apply, and why.
const INAPPLICABLE: &[(usize, &str)] = &[
    (78, NO_SCALE),
    (79, NO_SCALE),
    (80, NO_SCALE),
    (81, NO_SCALE),
];

const NO_SCALE: &str = "no kind of Weir's has a `scale`: a stack has a number of machines for each \
                        of its roles, and `autoscaling/v1` has one number; `weir scale` asks which \
                        role is meant";

#[test]
fn every_check_has_a_test_or_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance");
    let mut found: BTreeMap<usize, usize> = (1..=CHECKS).map(|number| (number, 0)).collect();
    let mut count = |number: usize| match found.get_mut(&number) {
        Some(count) => *count += 1,
        None => panic!("there is no check {number}"),
    };
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let names = text.lines().filter_map(|line| {
            line.strip_prefix("async ")
                .unwrap_or(line)
                .strip_prefix("fn k")
        });
        let numbers = names.filter_map(|name| name.get(..3)?.parse().ok());
        numbers.for_each(&mut count);
    }
    INAPPLICABLE.iter().for_each(|(number, _)| count(*number));
    let wrong: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert!(
        wrong.is_empty(),
        "checks and how many tests they have: {wrong:?}"
    );
}
