//! Rust sources as tokens: no comment, string or character is taken for code, and what stands
//! between a macro's brackets is seen as well.
//!
//! Names are not resolved: a path that begins with the name of something imported is not followed,
//! since the import was seen already.

use std::{fs, path::Path};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One source file.
pub(super) struct Source {
    /// Where it is, from the root of the repository.
    pub place: String,
    pub text: String,
    tokens: Vec<TokenTree>,
}

/// A path in the code, from the root of the crate: `types`, `id`, `VmId`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub segments: Vec<String>,
    pub line: usize,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub name: String,
    pub line: usize,
    /// From the line of `fn` to that of the closing brace, both included.
    pub length: usize,
}

impl Source {
    /// Takes a file apart.
    pub(super) fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        let (place, text) = (place.into(), text.into());
        let tokens = text.parse::<TokenStream>();
        let tokens = tokens.unwrap_or_else(|error| panic!("{place}: {error}"));
        Self {
            tokens: tokens.into_iter().collect(),
            place,
            text,
        }
    }

    /// The file's module, from the root of the crate: `plan`, `machine` for
    /// `src/plan/machine/mod.rs`, and `main` for the binary.
    pub(super) fn module(&self) -> Vec<String> {
        let place = self.place.strip_prefix("src/").unwrap_or(&self.place);
        let place = place.strip_suffix(".rs").unwrap_or(place);
        let mut module: Vec<_> = place.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        module
    }

    /// Whether it holds nothing but tests.
    pub(super) fn is_test(&self) -> bool {
        let inside = |part: &str| part == "tests" || part == "tests.rs";
        self.place.split('/').any(inside)
    }

    /// Every path that leads from the root of the crate, written with `crate` or `super`, in
    /// groups or not. In the binary the crate's name is the root.
    pub(super) fn imports(&self) -> Vec<Import> {
        let binary = self.place == "src/main.rs";
        self.walk(if binary { "weir" } else { "crate" }, true)
    }

    /// Every path that begins with this name, without the name.
    pub(super) fn paths(&self, root: &'static str) -> Vec<Import> {
        self.walk(root, false)
    }

    fn walk(&self, root: &'static str, supers: bool) -> Vec<Import> {
        let mut imports = Imports {
            root,
            supers,
            here: self.module(),
            found: Vec::new(),
        };
        imports.walk(&self.tokens);
        imports.found
    }

    /// Every function with a body, those inside others included.
    pub(super) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        functions(&self.tokens, &mut found);
        found
    }

    /// Every identifier and keyword in the code, with its line.
    pub(super) fn idents(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        idents(&self.tokens, &mut found);
        found
    }
}

/// All Rust files under a folder of the repository, in order.
pub(super) fn sources(root: &Path, folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let place = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            sources.extend(self::sources(root, &place));
        } else if place.ends_with(".rs") {
            sources.push(Source::new(
                place,
                fs::read_to_string(entry.path()).unwrap(),
            ));
        }
    }
    sources.sort_by(|a, b| a.place.cmp(&b.place));
    sources
}

struct Imports {
    root: &'static str,
    /// Whether paths from the parent module count.
    supers: bool,
    here: Vec<String>,
    found: Vec<Import>,
}

impl Imports {
    fn walk(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match (token, tokens.get(at + 1), tokens.get(at + 2)) {
                (TokenTree::Ident(word), Some(TokenTree::Ident(name)), Some(body))
                    if word == "mod" && braced(body).is_some() =>
                {
                    self.here.push(name.to_string());
                    self.walk(&braced(body).unwrap());
                    self.here.pop();
                    at += 3;
                }
                (TokenTree::Ident(word), ..) if is_path(tokens, at + 1) && word == self.root => {
                    at = self.expand(tokens, at + 3, Import::root(line(token)));
                }
                (TokenTree::Ident(word), ..)
                    if self.supers && is_path(tokens, at + 1) && word == "super" =>
                {
                    let segments = self.here.clone();
                    let line = line(token);
                    at = self.expand(tokens, at, Import { segments, line });
                }
                (TokenTree::Group(group), ..) => {
                    self.walk(&group.stream().into_iter().collect::<Vec<_>>());
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// Follows a path from `at`, and says where it ends.
    fn expand(&mut self, tokens: &[TokenTree], mut at: usize, mut import: Import) -> usize {
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(word)) => import.step(&word.to_string(), line(&tokens[at])),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inside: Vec<_> = group.stream().into_iter().collect();
                    for part in inside.split(|token| is_punct(token, ',')) {
                        if !part.is_empty() {
                            self.expand(part, 0, import.clone());
                        }
                    }
                    return at + 1;
                }
                _ => break,
            }
            at += 1;
            if !is_path(tokens, at) {
                break;
            }
            at += 2;
        }
        self.found.push(import);
        at
    }
}

impl Import {
    const fn root(line: usize) -> Self {
        Self {
            segments: Vec::new(),
            line,
        }
    }

    fn step(&mut self, word: &str, line: usize) {
        match word {
            "self" => {}
            "super" => {
                self.segments.pop();
            }
            word => {
                if self.segments.is_empty() {
                    self.line = line;
                }
                self.segments.push(word.to_owned());
            }
        }
    }
}

fn functions(tokens: &[TokenTree], found: &mut Vec<Function>) {
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            functions(&group.stream().into_iter().collect::<Vec<_>>(), found);
        }
        let (TokenTree::Ident(word), Some(TokenTree::Ident(name))) = (token, tokens.get(at + 1))
        else {
            continue;
        };
        let rest = &tokens[at..];
        let signature = rest.iter().take_while(|token| !is_punct(token, ';'));
        let body = signature.into_iter().find(|token| braced(token).is_some());
        if let (true, Some(body)) = (word == "fn", body) {
            found.push(Function {
                name: name.to_string(),
                line: line(token),
                length: body.span().end().line - line(token) + 1,
            });
        }
    }
}

fn idents(tokens: &[TokenTree], found: &mut Vec<(String, usize)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                idents(&group.stream().into_iter().collect::<Vec<_>>(), found);
            }
            TokenTree::Ident(ident) => found.push((ident.to_string(), line(token))),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at..at + 2), Some([a, b]) if is_punct(a, ':') && is_punct(b, ':'))
}

fn braced(token: &TokenTree) -> Option<Vec<TokenTree>> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            Some(group.stream().into_iter().collect())
        }
        _ => None,
    }
}
