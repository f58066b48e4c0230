//! Prose names only what exists: links and files lead somewhere, commands are understood, and no
//! text knows the machine that it was written on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, Parser};
use pulldown_cmark::{CodeBlockKind, Event, Parser as Markdown, Tag, TagEnd};
use weir::cli::args::WeirArgs;

use super::{assert_none, root, source::sources};

/// Folders that are not part of the tree.
const OUTSIDE: &[&str] = &[".git", "target"];

/// Folders of people's machines, each in two parts so that this file does not name them.
const MACHINES: &[(&str, &str)] = &[
    ("/ho", "me/"),
    ("/ro", "ot/"),
    ("/Us", "ers/"),
    ("/wo", "rk/"),
    ("C:", "\\Users"),
];

/// Endings of the names of files of ours.
const ENDINGS: &[&str] = &[
    ".json", ".jsonl", ".md", ".rs", ".service", ".toml", ".yaml",
];

/// Files that Weir writes where it runs, and that the tree does not hold.
const WRITTEN: &[&str] = &["state/kubeconfig"];

#[test]
fn links_and_file_names_lead_somewhere() {
    let complaints: Vec<_> = pages().flat_map(|page| dead_ends(&page)).collect();
    assert_none(&complaints);
}

#[test]
fn comments_refer_to_pages_that_exist() {
    let folders = ["src", "tests", "benches"];
    let sources = folders.iter().flat_map(|folder| sources(root(), folder));
    let complaints: Vec<_> = sources
        .flat_map(|source| dead_references(&source.place, &source.text))
        .collect();
    assert_none(&complaints);
}

#[test]
fn commands_are_understood() {
    let complaints: Vec<_> = pages().flat_map(|page| misunderstood(&page)).collect();
    assert_none(&complaints);
}

#[test]
fn help_names_manifests_that_exist() {
    let complaints: Vec<_> = helps(WeirArgs::command())
        .iter()
        .flat_map(|help| help.split_whitespace())
        .filter(|word| word.starts_with("manifests/") && !root().join(word).exists())
        .map(|word| format!("--help names {word}"))
        .collect();
    assert_none(&complaints);
}

#[test]
fn scripts_call_what_exists() {
    for place in [".ci/run", "scripts/test", "justfile"] {
        let text = fs::read_to_string(root().join(place)).unwrap();
        let words = text.split_whitespace();
        for called in words.filter(|word| word.starts_with("scripts/") || word.starts_with(".ci/"))
        {
            assert!(is_program(&root().join(called)), "{place} calls {called}");
        }
    }
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    let mut complaints = Vec::new();
    for file in files(root()) {
        let text = String::from_utf8_lossy(&fs::read(root().join(&file)).unwrap()).into_owned();
        complaints.extend(machines(&file.to_string_lossy(), &text));
    }
    assert_none(&complaints);
}

#[test]
fn a_path_of_a_machine_is_told() {
    let text = format!("fine: /usr/bin\nnot: {}me{}\n", "/ho", "/ada/weir");
    assert_eq!(
        machines("a.md", &text),
        ["a.md:2 names a folder of a machine"]
    );
}

#[test]
fn a_comment_about_a_missing_page_is_told() {
    let text = "//! See `README.md`, `docs/adr`.\n/// As in `lost.md`, 1.2.\nlet a = \"`b.md`\";\n";
    assert_eq!(
        dead_references("src/a.rs", text),
        ["src/a.rs:2: lost.md does not exist"]
    );
}

#[test]
fn dead_ends_are_told() {
    let text = "[here](README.md#top) [gone](docs/gone.md) <https://example.com> `src/gone.rs` \
                `plan/mod.rs` `docs/adr/0003` `docs/adr/0009` `Cargo.toml` `a.b` `/livez`\n";
    let told = dead_ends(&page(text));
    assert_eq!(
        told,
        [
            "a.md: docs/gone.md",
            "a.md: src/gone.rs",
            "a.md: docs/adr/0009"
        ]
        .map(|place| format!("{place} does not exist"))
    );
}

#[test]
fn commands_that_nobody_understands_are_told() {
    let text = "`weir watch [STACK]`, `weir gest stacks`\n\n```sh\nweir diff -f a.yaml  # why\n\
                weir diff --nope\ncargo run --release -- demo --exit\nscripts/gone\n```\n";
    let told = misunderstood(&page(text));
    assert_eq!(
        told,
        [
            "a.md: weir gest stacks",
            "a.md: weir diff --nope",
            "a.md: scripts/gone"
        ]
    );
}

/// A text in Markdown, and where it is.
struct Page {
    place: PathBuf,
    text: String,
}

fn page(text: &str) -> Page {
    Page {
        place: "a.md".into(),
        text: text.to_owned(),
    }
}

fn pages() -> impl Iterator<Item = Page> {
    let files = files(root()).into_iter();
    let markdown = files.filter(|file| file.extension().is_some_and(|end| end == "md"));
    markdown.map(|place| Page {
        text: fs::read_to_string(root().join(&place)).unwrap(),
        place,
    })
}

impl Page {
    fn events(&self) -> impl Iterator<Item = Event<'_>> {
        Markdown::new_ext(&self.text, pulldown_cmark::Options::ENABLE_TABLES)
    }

    /// What is written as code inside a sentence.
    fn code(&self) -> impl Iterator<Item = String> {
        self.events().filter_map(|event| match event {
            Event::Code(code) => Some(code.into_string()),
            _ => None,
        })
    }

    /// The lines of shell blocks, and of indented ones.
    fn commands(&self) -> Vec<String> {
        let mut inside = false;
        let mut lines = Vec::new();
        for event in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => inside = true,
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(name))) => {
                    inside = &*name == "sh";
                }
                Event::End(TagEnd::CodeBlock) => inside = false,
                Event::Text(text) if inside => lines.extend(text.lines().map(str::to_owned)),
                _ => {}
            }
        }
        lines
    }

    fn leads_somewhere(&self, target: &str) -> bool {
        let beside = self.place.parent().unwrap_or(Path::new(""));
        let places = [
            beside.join(target),
            target.into(),
            Path::new("src").join(target),
        ];
        places.iter().any(|place| exists(&root().join(place)))
    }
}

/// Whether a file is there, or one whose name begins so and goes on with `-`: `docs/adr/0003`.
fn exists(path: &Path) -> bool {
    let begins = |entry: fs::DirEntry| {
        let begin = format!("{}-", path.file_name().unwrap_or_default().display());
        entry.file_name().to_string_lossy().starts_with(&begin)
    };
    let folder = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    path.exists() || folder.into_iter().flatten().flatten().any(begins)
}

fn dead_ends(page: &Page) -> Vec<String> {
    let links = page.events().filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.split('#').next().unwrap_or_default().to_owned())
        }
        _ => None,
    });
    let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
    let named = page.code().filter(|code| is_file_name(code));
    links
        .chain(named)
        .filter(|target| !page.leads_somewhere(target))
        .map(|target| format!("{}: {target} does not exist", page.place.display()))
        .collect()
}

/// Pages that comments name and nobody can open: they are at the root or in `docs`.
fn dead_references(place: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let comment = line.trim_start().starts_with("//");
        let quoted = line.split('`').skip(1).step_by(2);
        for page in quoted.filter(|word| comment && word.ends_with(".md")) {
            if !root().join(page).exists() && !root().join("docs").join(page).exists() {
                complaints.push(format!("{place}:{}: {page} does not exist", index + 1));
            }
        }
    }
    complaints
}

/// Whether this is the name of a file or folder of ours: one word with an ending of ours, or below
/// one of the top folders.
fn is_file_name(code: &str) -> bool {
    let plain =
        !code.contains([' ', '*', '$', '<', '{', ':']) && !code.starts_with(['/', '-', '.']);
    let top = code.split_once('/').map(|(top, _)| top);
    let ours = top.is_some_and(|top| !top.is_empty() && root().join(top).is_dir());
    let named = ENDINGS
        .iter()
        .any(|ending| code.ends_with(ending) && code != *ending);
    plain && (ours || named) && !WRITTEN.contains(&code)
}

fn misunderstood(page: &Page) -> Vec<String> {
    let commands = page.commands();
    let whole = commands.iter().filter(|line| !understood(line));
    let named = page.code().filter(|code| !begins_well(code));
    let told = |command: &str| format!("{}: {command}", page.place.display());
    let mut complaints: Vec<_> = named.map(|code| told(&code)).collect();
    complaints.extend(whole.map(|line| told(line)));
    complaints
}

/// Whether a line of shell, if it calls Weir or a script of ours, would be understood.
fn understood(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default();
    let line = line.split(" <<").next().unwrap_or_default().trim();
    let line = match line.strip_prefix("cargo run --release -- ") {
        Some(rest) => format!("weir {rest}"),
        None => line.to_owned(),
    };
    let words: Vec<_> = line.split_whitespace().collect();
    match words.first() {
        Some(&"weir") => WeirArgs::try_parse_from(&words).is_ok(),
        Some(word) if word.starts_with("scripts/") => is_program(&root().join(word)),
        _ => true,
    }
}

/// Whether code in a sentence that begins with `weir` goes on with a command of Weir's. The rest
/// may be a pattern.
fn begins_well(code: &str) -> bool {
    let mut words = code.split_whitespace();
    match (words.next(), words.next()) {
        (Some("weir"), Some(word)) => {
            let command = WeirArgs::command();
            word.starts_with('-') || word == "COMMAND" || command.find_subcommand(word).is_some()
        }
        _ => true,
    }
}

fn helps(mut command: clap::Command) -> Vec<String> {
    let mut texts = vec![command.render_long_help().to_string()];
    texts.extend(command.get_subcommands().cloned().flat_map(helps));
    texts
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn machines(place: &str, text: &str) -> Vec<String> {
    let mut names: Vec<_> = MACHINES.iter().map(|(a, b)| format!("{a}{b}")).collect();
    // A short path, like `/src`, may be part of something else.
    if root().components().count() > 3 {
        names.push(root().display().to_string());
    }
    let lines = text.lines().enumerate();
    let told = lines.filter(|(_, line)| names.iter().any(|name| line.contains(name)));
    told.map(|(index, _)| format!("{place}:{} names a folder of a machine", index + 1))
        .collect()
}

/// All files of the tree, from its root, in order.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let place = folder.join(entry.file_name());
            let outside = OUTSIDE.iter().any(|name| place == Path::new(name));
            match entry.file_type().unwrap() {
                _ if outside || is_state(&place) => {}
                kind if kind.is_dir() => folders.push(place),
                _ => files.push(place),
            }
        }
    }
    files.sort();
    files
}

/// What a controller that ran here has left.
fn is_state(place: &Path) -> bool {
    place.parent() == Some(Path::new("state"))
        && !["README.md", "records"]
            .iter()
            .any(|ours| place.ends_with(ours))
}
