//! What a command told: its exit code and both of its outputs, and how they are compared.

use std::{fmt, process::ExitStatus};

/// See the module.
pub(crate) struct Told {
    words: String,
    /// The exit code; -1 after a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Told {
    pub(crate) fn new(words: &[&str], status: Option<ExitStatus>, texts: [String; 2]) -> Self {
        let [out, err] = texts;
        Self {
            words: words.join(" "),
            code: status.and_then(|status| status.code()).unwrap_or(-1),
            out,
            err,
        }
    }

    /// What it printed, if it did what was asked.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.out
    }

    /// What it said on standard error, if it ended with this code and printed nothing.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self}");
        self.err
    }
}

/// As one would see it in a terminal, with the exit code where that is not 0.
impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "$ weir {}", self.words)?;
        out.write_str(&self.out)?;
        out.write_str(&self.err)?;
        match self.code {
            0 => Ok(()),
            code => writeln!(out, "[exit code {code}]"),
        }
    }
}

/// What differs from run to run, and what stands for it in a snapshot.
const REDACTIONS: [(&str, &str); 11] = [
    (r"\bweir-[0-9a-f]{8}\b", "<key>"),
    (
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "<id>",
    ),
    (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC)",
        "<time>",
    ),
    (r"\b\d\d:\d\d:\d\d( UTC)?\b", "<time>"),
    (r"\b(\d+[ydhm])?\d+(\.\d+)?( ?ms| ?[ydhms])\b", "<age>"),
    (r"127\.0\.0\.1:\d+", "<address>"),
    (r"/tmp/\.tmp\w+", "<dir>"),
    (r#"(resourceVersion"?: )['"]\d+['"]"#, "$1<version>"),
    (r"\n {13}(\S)", " $1"),
    ("(?m) +$", ""),
    ("(\\S) {3,}", "$1   "),
];

/// A text without what differs from run to run: ids, times, ages, ports and temporary folders.
/// Gaps within a line are as wide as the narrowest and broken sentences are joined, because an
/// age moves columns and line ends.
pub(crate) fn redacted(text: impl fmt::Display) -> String {
    let mut text = text.to_string();
    for (pattern, word) in REDACTIONS {
        let pattern = regex::Regex::new(pattern).unwrap();
        text = pattern.replace_all(&text, word).into_owned();
    }
    text
}

/// Compares a redacted text with the snapshot of that name.
#[track_caller]
pub(crate) fn snapshot(name: &str, text: impl fmt::Display) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, redacted(text)));
}
