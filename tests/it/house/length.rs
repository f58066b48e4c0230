//! How long functions and files may be, and how each file begins.

use super::{
    assert_none, root,
    source::{Source, sources},
};

/// Lines of a function, from `fn` to the closing brace. A reader sees as many at once.
const FUNCTION_MAX: usize = 70;

/// Lines of a file, unless it holds nothing but tests.
const FILE_MAX: usize = 600;

/// Functions that may be longer: file, name and present length, which is their bound. The list may
/// only shrink.
const LONG: &[(&str, &str, usize)] = &[];

#[test]
fn no_function_is_too_long() {
    assert_none(&long_functions(&everything(), LONG));
}

#[test]
fn no_file_is_too_long() {
    let sources = everything();
    let complaints = sources.iter().filter_map(long_file).collect::<Vec<_>>();
    assert_none(&complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let sources = everything();
    let complaints = sources.iter().filter_map(unexplained).collect::<Vec<_>>();
    assert_none(&complaints);
}

#[test]
fn a_long_function_is_told() {
    let inner = "    x();\n".repeat(FUNCTION_MAX - 1);
    let text = format!(
        "trait T {{ fn a(); }}\n\nimpl S {{\nfn b<T: F<fn(u8)>>()\nwhere T: U\n{{\n{inner}}}\n}}\n"
    );
    let source = || vec![Source::new("src/a.rs", text.as_str())];
    let long = FUNCTION_MAX + 3;
    let told = long_functions(&source(), &[]);
    assert_eq!(
        told,
        [format!(
            "src/a.rs:4: `b` has {long} lines, and 70 is the limit"
        )]
    );
    assert_none(&long_functions(&source(), &[("src/a.rs", "b", long)]));
}

#[test]
fn the_list_of_exceptions_may_only_shrink() {
    let body = "    x();\n".repeat(FUNCTION_MAX);
    let source = || {
        vec![Source::new(
            "src/a.rs",
            format!("fn a() {{}}\nfn b() {{\n{body}}}\n"),
        )]
    };
    let exceptions = [
        ("src/a.rs", "a", 90),
        ("src/a.rs", "b", 90),
        ("src/a.rs", "c", 90),
    ];
    let told = long_functions(&source(), &exceptions);
    assert_eq!(
        told,
        [
            "src/a.rs: `a` needs no exception any more",
            "src/a.rs: `b` has 72 lines, its exception says 90",
            "src/a.rs: `c` needs no exception any more",
        ]
    );
}

#[test]
fn a_long_file_is_told_unless_it_holds_tests() {
    let source = |place: &str| Source::new(place, "\n".repeat(FILE_MAX + 1));
    let told = long_file(&source("src/plan/order.rs"));
    assert_eq!(
        told.as_deref(),
        Some("src/plan/order.rs: 601 lines, and 600 is the limit")
    );
    for place in [
        "src/plan/tests.rs",
        "src/store/tests/folder.rs",
        "tests/it/drift.rs",
    ] {
        assert_eq!(long_file(&source(place)), None);
    }
}

#[test]
fn a_file_that_begins_with_code_is_told() {
    let source = Source::new("src/a.rs", "use std::fs;\n//! Late.\n");
    assert_eq!(
        unexplained(&source).as_deref(),
        Some("src/a.rs does not open with `//!`")
    );
}

fn everything() -> Vec<Source> {
    let folders = ["src", "tests", "benches"];
    folders
        .iter()
        .flat_map(|folder| sources(root(), folder))
        .collect()
}

fn long_functions(sources: &[Source], exceptions: &[(&str, &str, usize)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut unused = exceptions.to_vec();
    for source in sources {
        for function in source
            .functions()
            .iter()
            .filter(|f| f.length > FUNCTION_MAX)
        {
            let (place, name, length) = (&source.place, &function.name, function.length);
            let same = |(p, n, _): &(&str, &str, usize)| p == place && n == name;
            let exception = exceptions.iter().find(|exception| same(exception));
            unused.retain(|exception| !same(exception));
            match exception.map(|(_, _, bound)| *bound) {
                None => complaints.push(format!(
                    "{place}:{}: `{name}` has {length} lines, and {FUNCTION_MAX} is the limit",
                    function.line
                )),
                Some(bound) if bound != length => complaints.push(format!(
                    "{place}: `{name}` has {length} lines, its exception says {bound}"
                )),
                Some(_) => {}
            }
        }
    }
    let unused = unused
        .iter()
        .map(|(place, name, _)| format!("{place}: `{name}` needs no exception any more"));
    complaints.extend(unused);
    complaints.sort();
    complaints
}

fn long_file(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    let long = lines > FILE_MAX && !source.is_test();
    long.then(|| {
        format!(
            "{}: {lines} lines, and {FILE_MAX} is the limit",
            source.place
        )
    })
}

fn unexplained(source: &Source) -> Option<String> {
    let opens = source.text.starts_with("//!");
    (!opens).then(|| format!("{} does not open with `//!`", source.place))
}
