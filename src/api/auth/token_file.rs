//! A file with a user a line: Kubernetes' static token file, with the SHA-256 of each token in
//! the token's place. Whoever reads the file can let nobody in.

use std::collections::BTreeMap;

use super::{Digested, User};

/// What a line looks like.
const SHAPE: &str = "write SHA256,USER,UID,\"GROUP,GROUP\"; `weir token hash` prints such a line";

/// The users by the digests of their tokens.
#[derive(Debug)]
pub(super) struct TokenFile {
    users: BTreeMap<Digested, User>,
}

impl TokenFile {
    /// Reads the file. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// The line that cannot be understood, and nothing of what it says: it may be a token.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}; {SHAPE}", index + 1);
            let cells = cells(line).ok_or_else(|| wrong("a quote is not closed"))?;
            let mut cells = cells.into_iter();
            let mut next = || cells.next().unwrap_or_default().trim().to_owned();
            let (digest, name, uid, groups) = (next(), next(), next(), next());
            let digest = Digested::read(&digest)
                .ok_or_else(|| wrong("the first column is no SHA-256 in hex"))?;
            if name.is_empty() {
                return Err(wrong("it names no user"));
            }
            if cells.next().is_some() {
                return Err(wrong("it has more than four columns"));
            }
            let groups = groups.split(',').map(str::trim).filter(|g| !g.is_empty());
            let user = User {
                uid,
                ..User::new(&name, groups)
            };
            if users.insert(digest, user).is_some() {
                return Err(wrong("its token is in a line before it"));
            }
        }
        Ok(Self { users })
    }

    pub(super) fn find(&self, digest: &Digested) -> Option<User> {
        self.users.get(digest).cloned()
    }
}

/// The line of a token in a token file.
#[must_use]
pub fn line(token: &str, user: &str, uid: &str, groups: &[String]) -> String {
    let digest = Digested::of(token).hex();
    let groups = groups.join(",");
    let cells = [digest.as_str(), user, uid, groups.as_str()].map(quoted);
    cells.join(",")
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

impl Digested {
    /// A digest as it is written in hex.
    fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// The cells of a line: between commas, in quotes where they have some themselves.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut cells = vec![String::new()];
    let mut characters = line.chars().peekable();
    let mut inside = false;
    while let Some(c) = characters.next() {
        let cell = cells.last_mut()?;
        match c {
            '"' if inside && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => inside = !inside,
            ',' if !inside => cells.push(String::new()),
            c => cell.push(c),
        }
    }
    (!inside).then_some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_printed_is_read() {
        let groups = ["ops".to_owned(), "night \"shift\"".to_owned()];
        let text = format!("# people\n\n{}\n", line("t0ken", "ann", "7", &groups));
        let file = TokenFile::parse(&text).unwrap();
        let user = file.find(&Digested::of("t0ken")).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("ann", "7"));
        assert_eq!(user.groups, groups);
        assert!(file.find(&Digested::of("other")).is_none());
        assert!(!text.contains("t0ken"));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_without_what_it_says() {
        let good = line("a", "ann", "", &[]);
        for (text, why) in [
            (
                "canary,ann,1".to_owned(),
                "line 1: the first column is no SHA-256",
            ),
            (
                format!("{good}\n{good}"),
                "line 2: its token is in a line before it",
            ),
            (good.replace("ann", ""), "line 1: it names no user"),
            (format!("{good},x"), "line 1: it has more than four columns"),
            (format!("{good}\""), "line 1: a quote is not closed"),
        ] {
            let told = TokenFile::parse(&text).unwrap_err();
            assert!(told.starts_with(why), "{told}");
            assert!(!told.contains("canary"), "{told}");
        }
    }
}
