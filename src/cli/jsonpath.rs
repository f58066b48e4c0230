//! kubectl's JSONPath templates: `{range .items[*]}{.metadata.name}{"\n"}{end}`.
//!
//! The paths themselves are RFC 9535, evaluated by `serde_json_path`; this module adds what
//! kubectl has around them: text outside of braces, quoted literals, `range` and `end`, paths
//! without `$`, and dots escaped in keys. Functions (`len`, `substr`) are left out.

use serde_json::Value;
use serde_json_path::JsonPath;

/// A parsed template.
#[derive(Clone, Debug)]
pub(super) struct Template {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Path(Path),
    Range(Path, Vec<Self>),
}

/// A path, and whether it starts at the current element rather than at the whole input.
#[derive(Clone, Debug)]
struct Path {
    query: JsonPath,
    rooted: bool,
}

impl Path {
    fn select<'a>(&self, root: &'a Value, current: &'a Value) -> Vec<&'a Value> {
        let start = if self.rooted { root } else { current };
        self.query.query(start).all()
    }
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("jsonpath: {0}")]
pub(super) struct InvalidTemplate(String);

impl Template {
    /// Reads a template; a text without any braces is a path by itself, as with kubectl.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let braced = match text.contains('{') {
            true => text.to_owned(),
            false => format!("{{{text}}}"),
        };
        let pieces = pieces(&braced)?;
        let mut rest = pieces.as_slice();
        let nodes = block(&mut rest, Depth::Top)?;
        Ok(Self { nodes })
    }

    /// The template filled in from `input`. Paths that lead nowhere leave nothing.
    pub(super) fn render(&self, input: &Value) -> String {
        let mut text = String::new();
        render(&self.nodes, input, input, &mut text);
        text
    }
}

fn render(nodes: &[Node], root: &Value, current: &Value, text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(literal) => text.push_str(literal),
            Node::Path(path) => {
                let found: Vec<_> = path.select(root, current).into_iter().map(plain).collect();
                text.push_str(&found.join(" "));
            }
            Node::Range(path, body) => {
                for element in path.select(root, current) {
                    render(body, root, element, text);
                }
            }
        }
    }
}

/// Strings bare, everything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What stands in a template, before `range` and `end` are matched.
#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Path(Path),
    Range(Path),
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Top,
    Inside,
}

fn block(rest: &mut &[Piece], depth: Depth) -> Result<Vec<Node>, InvalidTemplate> {
    let mut nodes = Vec::new();
    while let Some((piece, after)) = rest.split_first() {
        *rest = after;
        nodes.push(match piece {
            Piece::Text(text) => Node::Text(text.clone()),
            Piece::Path(path) => Node::Path(path.clone()),
            Piece::Range(path) => Node::Range(path.clone(), block(rest, Depth::Inside)?),
            Piece::End if depth == Depth::Inside => return Ok(nodes),
            Piece::End => return Err(InvalidTemplate("{end} without {range}".to_owned())),
        });
    }
    match depth {
        Depth::Top => Ok(nodes),
        Depth::Inside => Err(InvalidTemplate("{range} without {end}".to_owned())),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, InvalidTemplate> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            found.push(Piece::Text(rest[..open].to_owned()));
        }
        let inside = &rest[open + 1..];
        let close = closing(inside)
            .ok_or_else(|| InvalidTemplate(format!("`{{{inside}` is not closed: add a `}}`")))?;
        expression(inside[..close].trim(), &mut found)?;
        rest = &inside[close + 1..];
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest.to_owned()));
    }
    Ok(found)
}

/// Where the brace closes, quotes respected.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('}', None) => return Some(at),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// What one pair of braces holds: blanks separate several paths and literals.
fn expression(text: &str, found: &mut Vec<Piece>) -> Result<(), InvalidTemplate> {
    if text == "end" {
        found.push(Piece::End);
        return Ok(());
    }
    if let Some(range) = text.strip_prefix("range ") {
        found.push(Piece::Range(path(range.trim())?));
        return Ok(());
    }
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let end = text[1..]
                .find(quote)
                .ok_or_else(|| InvalidTemplate(format!("{text} has no closing quote")))?;
            found.push(Piece::Text(unescaped(&text[1..=end])));
            let rest = text[end + 2..].trim();
            if rest.is_empty() {
                Ok(())
            } else {
                expression(rest, found)
            }
        }
        _ => {
            found.push(Piece::Path(path(text)?));
            Ok(())
        }
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

/// kubectl's path in RFC 9535's words.
fn path(text: &str) -> Result<Path, InvalidTemplate> {
    let rooted = text.starts_with('$');
    let relative = text.strip_prefix(['$', '@']).unwrap_or(text);
    let dotted = match relative.chars().next() {
        None | Some('.' | '[') => relative.to_owned(),
        Some(_) => format!(".{relative}"),
    };
    let standard = bracketed(dotted.strip_suffix('.').unwrap_or(&dotted));
    let query = JsonPath::parse(&format!("${standard}"))
        .map_err(|error| InvalidTemplate(format!("`{text}` is no path: {error}")))?;
    Ok(Path { query, rooted })
}

/// Puts keys that RFC 9535 does not take after a dot (escaped dots, dashes, slashes) into
/// brackets; leaves what already is in brackets alone.
fn bracketed(path: &str) -> String {
    let mut standard = String::new();
    let mut chars = path.chars().peekable();
    let mut nesting = 0_usize;
    while let Some(c) = chars.next() {
        match c {
            '[' => nesting += 1,
            ']' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        standard.push(c);
        if c != '.' || nesting > 0 {
            continue;
        }
        let mut key = String::new();
        while let Some(&next) = chars.peek() {
            match next {
                '.' | '[' => break,
                '\\' => {
                    chars.next();
                    key.extend(chars.next());
                }
                _ => key.extend(chars.next()),
            }
        }
        push_key(&mut standard, &key);
    }
    standard
}

/// Adds a key after the dot that `standard` ends with.
fn push_key(standard: &mut String, key: &str) {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    let shorthand = key.chars().all(plain) && !key.starts_with(|c: char| c.is_ascii_digit());
    if key == "*" || shorthand {
        standard.push_str(key);
        return;
    }
    // `..['key']` keeps its dots: they are the descent, not the separator.
    if !standard.ends_with("..") {
        standard.pop();
    }
    standard.push_str(&format!("['{}']", key.replace('\'', "\\'")));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let input = json!({
            "kind": "List",
            "items": [
                {"metadata": {"name": "ims-bono-0", "labels": {"weir.dev/role": "bono"}},
                 "status": {"phase": "Running", "count": 2, "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "UpToDate", "status": "False"}]}},
                {"metadata": {"name": "ims-sprout-0", "labels": {"weir.dev/role": "sprout"}},
                 "status": {"phase": "Starting", "count": 10}},
            ],
        });
        let found = Template::parse(template).map(|template| template.render(&input));
        assert_eq!(found.as_deref(), Ok(expected), "{template}");
    }

    #[test]
    fn paths_are_kubectls() {
        check("{.kind}", "List");
        check(".kind", "List");
        check("{kind}", "List");
        check("{$.kind}", "List");
        check("{.items[*].metadata.name}", "ims-bono-0 ims-sprout-0");
        check("{.items[-1:].metadata.name}", "ims-sprout-0");
        check("{.items[0].status.count}", "2");
        check("{..phase}", "Running Starting");
        check("{.items[0].metadata.labels.weir\\.dev/role}", "bono");
        check(
            "{.items[*].metadata.labels['weir.dev/role']}",
            "bono sprout",
        );
        check(
            "{.items[?(@.status.phase==\"Starting\")].metadata.name}",
            "ims-sprout-0",
        );
        check(
            "{.items[?(@.status.count>5)].metadata.name}",
            "ims-sprout-0",
        );
        check(
            "{.items[0].status.conditions[?(@.type=='Ready')].status}",
            "True",
        );
        check("{.nothing.there}", "");
        check(
            "{.items[0].metadata.labels}",
            "{\"weir.dev/role\":\"bono\"}",
        );
    }

    #[test]
    fn ranges_repeat_and_text_stays() {
        check(
            "{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}",
            "ims-bono-0\tRunning\nims-sprout-0\tStarting\n",
        );
        check("{range .items[*]}<{@.status.count}>{end}!", "<2><10>!");
        check(
            "{range .items[*]}{.metadata.name} in {$.kind};{end}",
            "ims-bono-0 in List;ims-sprout-0 in List;",
        );
        check("names: {.items[0].metadata.name}.", "names: ims-bono-0.");
        check(
            "{range .items[*]}{range .status.conditions[*]}{.type},{end}{end}",
            "Ready,UpToDate,",
        );
        check("{'}'}", "}");
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (template, why) in [
            ("{.a", "not closed"),
            ("{range .a}", "without {end}"),
            ("{end}", "without {range}"),
            ("{.a[}", "is no path"),
            ("{\"a}", "is not closed"),
        ] {
            let error = Template::parse(template).expect_err(template).to_string();
            assert!(error.contains(why), "{template}: {error}");
        }
    }
}
