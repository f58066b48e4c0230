//! Reads the recordings: one JSON object a line, as `tests/recordings/README.md` describes them.

use std::{fs, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// One recorded request with its answer.
///
/// A line without `params` is an event outside the API: a fault switch of the hypervisor, or the
/// server going down.
#[derive(Debug, Deserialize)]
pub(super) struct Exchange {
    /// When the answer was there, in seconds since the recorder started; it was started anew for
    /// some of the files.
    #[serde(default)]
    at: Option<f64>,
    /// How long the answer took, in milliseconds.
    #[serde(default)]
    ms: f64,
    #[serde(default)]
    pub note: Option<String>,
    #[serde(default)]
    pub method: String,
    #[serde(default)]
    params: Option<Map<String, Value>>,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub content_type: String,
    #[serde(default)]
    pub body: Value,
}

impl Exchange {
    /// When the request was sent, in seconds since the recorder started.
    pub(super) fn sent(&self) -> Option<f64> {
        self.at
            .map(|answered| (answered - self.ms / 1000.0).max(0.0))
    }

    /// The command, unless the line is an event outside the API.
    pub(super) fn command(&self) -> Option<&str> {
        self.params.as_ref()?.get("command")?.as_str()
    }

    /// A parameter as it went over the wire.
    pub(super) fn param(&self, name: &str) -> Option<String> {
        self.params.as_ref()?.get(name).map(wire)
    }

    /// All parameters; the value of `apiKey` is none.
    pub(super) fn params(&self) -> Vec<(String, String)> {
        let all = self.params.iter().flatten();
        all.map(|(n, v)| (n.clone(), wire(v))).collect()
    }

    /// The job that a poll asks for and the state that it got to see.
    pub(super) fn polled(&self) -> Option<u64> {
        if self.command() != Some("queryAsyncJobResult") {
            return None;
        }
        self.body
            .pointer("/queryasyncjobresultresponse/jobstatus")?
            .as_u64()
    }
}

fn wire(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Where an exchange stands: role and file (`tenant/27`), and the line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub file: &'static str,
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Reads the one file whose name begins so, for example `tenant/27`.
pub(super) fn read(file: &'static str) -> Vec<(Place, Exchange)> {
    let (role, number) = file.split_once('/').expect("role/number");
    let folder: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/recordings/cloudstack-4.22",
        role,
    ]
    .iter()
    .collect();
    let entries = fs::read_dir(&folder).expect("the recordings are part of the repository");
    let path = entries
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(number)
        })
        .unwrap_or_else(|| panic!("no recording {file}"));
    let text = fs::read_to_string(path).unwrap();
    let parse = |(index, line)| {
        let place = Place {
            file,
            line: index + 1,
        };
        (
            place,
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{place}: {e}")),
        )
    };
    text.lines().enumerate().map(parse).collect()
}
