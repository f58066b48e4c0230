//! One crate has no inner walls, so this builds them: every path that leaves a module is held
//! against the table in `ARCHITECTURE.md`, in tests as well.

use std::{collections::BTreeMap, fs};

use super::{
    assert_none, root,
    source::{Source, sources},
};

/// What each module may import: modules, or parts of them like `api::client`.
type Table = BTreeMap<String, Vec<String>>;

/// What may not be spoken of in the core, which is pure: outside the crate, and in the language.
const IMPURE: &[&str] = &[
    "Instant",
    "OpenOptions",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "async",
    "await",
    "fastrand",
    "hyper",
    "reqwest",
    "sled",
    "tokio",
    "tracing",
];

/// The same for modules of the standard library.
const IMPURE_STD: &[&str] = &["env", "fs", "io", "os", "process", "thread"];

#[test]
fn every_import_is_in_the_table() {
    let table = table();
    let sources = sources(root(), "src");
    let complaints: Vec<_> = sources.iter().flat_map(|s| trespasses(s, &table)).collect();
    assert_none(&complaints);
}

#[test]
fn the_table_has_a_line_for_each_module() {
    let mut modules: Vec<_> = sources(root(), "src")
        .iter()
        .map(|source| source.module().swap_remove(0))
        .filter(|module| module != "lib")
        .collect();
    modules.dedup();
    let lines: Vec<_> = table().into_keys().collect();
    assert_eq!(lines, modules);
}

#[test]
fn the_core_is_pure() {
    let core = ["src/types", "src/bootstrap", "src/names", "src/plan"];
    let sources = core.iter().flat_map(|folder| sources(root(), folder));
    let complaints: Vec<_> = sources
        .filter(|source| !source.is_test())
        .flat_map(|source| impurities(&source))
        .collect();
    assert_none(&complaints);
}

#[test]
fn the_binary_only_wires() {
    let lines = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(lines.lines().count() <= 30, "main.rs has logic of its own");
}

#[test]
fn an_import_through_a_wall_is_told() {
    let text = "\
        //! `crate::cloud` in prose, and in a text, is none.\n\
        use crate::types::id::VmId;\n\
        use crate::{\n\
            types::{ledger::{Entry, Ledger}, meta},\n\
            cloud::{self, CloudError},\n\
        };\n\
        const A: &str = r#\"crate::store::Store \"# ;\n\
        const B: (char, char) = ('\"', '\\'');\n\
        mod inner {\n\
            use super::{sibling, super::{super::sim::Sim, budget}};\n\
            fn f<'a>(x: &'a str) { assert!(x == crate::clock::NAME); /* crate::run */ }\n\
        }\n\
        macro_rules! m { () => { $crate::api::client::get() } }\n";
    let mut table = Table::new();
    table.insert("plan".to_owned(), vec!["types".to_owned()]);
    let told = trespasses(&Source::new("src/plan/order.rs", text), &table);
    assert_eq!(
        told,
        [
            "src/plan/order.rs:5: `plan` may not import `cloud`",
            "src/plan/order.rs:5: `plan` may not import `cloud::CloudError`",
            "src/plan/order.rs:10: `plan` may not import `sim::Sim`",
            "src/plan/order.rs:11: `plan` may not import `clock::NAME`",
            "src/plan/order.rs:13: `plan` may not import `api::client::get`",
        ]
    );
}

#[test]
fn a_part_of_a_module_can_be_allowed() {
    let table = read("| `cli` | arguments | `types`, `api::client` |\n| `run` | | everything |");
    let text = "use crate::{api::{client::Client, server}, types};";
    let told = trespasses(&Source::new("src/cli/get.rs", text), &table);
    assert_eq!(
        told,
        ["src/cli/get.rs:1: `cli` may not import `api::server`"]
    );
    assert_none(&trespasses(&Source::new("src/run/demo.rs", text), &table));
}

#[test]
fn the_binary_names_the_crate() {
    let table = read("| `main` | | `run` |");
    let source = Source::new("src/main.rs", "use weir::{run, sim::Sim};");
    let told = trespasses(&source, &table);
    assert_eq!(told, ["src/main.rs:1: `main` may not import `sim::Sim`"]);
}

#[test]
fn an_impure_core_is_told() {
    let text = "use std::{fs::File, net::Ipv4Addr};\nasync fn f() {}\nfn io() {}";
    let told = impurities(&Source::new("src/plan/order.rs", text));
    assert_eq!(
        told,
        [
            "src/plan/order.rs:1: `std::fs` has no place in the core",
            "src/plan/order.rs:2: `async` has no place in the core",
        ]
    );
}

fn table() -> Table {
    read(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap())
}

/// Reads the rows whose first cell is a module and whose third says what it may import.
fn read(markdown: &str) -> Table {
    let row = |line: &str| {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').collect();
        let [module, _, imports] = cells[..] else {
            return None;
        };
        let module = module.trim().strip_prefix('`')?.strip_suffix('`')?;
        let imports = imports
            .split(',')
            .map(|import| import.trim().trim_matches('`'));
        let imports = imports.filter(|import| !import.is_empty());
        Some((module.to_owned(), imports.map(str::to_owned).collect()))
    };
    markdown.lines().filter_map(row).collect()
}

fn trespasses(source: &Source, table: &Table) -> Vec<String> {
    let module = &source.module()[0];
    let nothing = Vec::new();
    let allowed = table.get(module).unwrap_or(&nothing);
    let imports = source.imports().into_iter();
    let trespass = imports.filter(|import| {
        let within = |prefix: &str| {
            let mut segments = import.segments.iter();
            prefix
                .split("::")
                .all(|part| segments.next().is_some_and(|segment| segment == part))
        };
        !import.segments.is_empty()
            && !within(module)
            && !allowed
                .iter()
                .any(|prefix| prefix == "everything" || within(prefix))
    });
    trespass
        .map(|import| {
            let (place, line, path) = (&source.place, import.line, import.segments.join("::"));
            format!("{place}:{line}: `{module}` may not import `{path}`")
        })
        .collect()
}

fn impurities(source: &Source) -> Vec<String> {
    let words = source.idents().into_iter();
    let words = words.filter(|(word, _)| IMPURE.contains(&word.as_str()));
    let std = source.paths("std").into_iter().filter_map(|path| {
        let module = path.segments.first()?;
        let impure = IMPURE_STD.contains(&module.as_str());
        impure.then(|| (format!("std::{module}"), path.line))
    });
    std.chain(words)
        .map(|(what, line)| format!("{}:{line}: `{what}` has no place in the core", source.place))
        .collect()
}
