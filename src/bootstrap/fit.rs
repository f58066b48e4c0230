//! A cloud-config as text, below what CloudStack takes as user data.
//!
//! It is written plainly, so that a person can read it where CloudStack shows it. Only where that
//! is too long are the files in it compressed, each for itself, which every cloud-init undoes. The
//! whole is never compressed: it has to stay text, and the comments at its top have to be found.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Error;

/// What cloud-init is told.
#[derive(Clone, Serialize)]
pub(super) struct CloudConfig {
    pub hostname: String,
    pub fqdn: String,
    pub manage_etc_hosts: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<serde_json::Value>,
    pub write_files: Vec<File>,
}

/// A file that cloud-init writes, root's.
#[derive(Clone, Serialize)]
pub(super) struct File {
    path: String,
    permissions: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    content: String,
}

impl File {
    /// For everybody to read.
    pub(super) fn open(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self::new(path, "0644", content)
    }

    /// For root alone.
    pub(super) fn private(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self::new(path, "0600", content)
    }

    /// To be run.
    pub(super) fn program(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self::new(path, "0755", content)
    }

    /// That is no text.
    pub(super) fn binary(path: impl Into<String>, content: &[u8]) -> Self {
        let mut file = Self::open(path, STANDARD.encode(content));
        file.encoding = Some("b64");
        file
    }

    fn new(path: impl Into<String>, permissions: &'static str, content: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            permissions,
            encoding: None,
            content: content.into(),
        }
    }

    /// The same file compressed, where that makes it shorter.
    fn compressed(&self) -> Self {
        let packed = STANDARD.encode(gzip(self.content.as_bytes()));
        if self.encoding.is_some() || packed.len() >= self.content.len() {
            return self.clone();
        }
        Self {
            encoding: Some("gz+b64"),
            content: packed,
            ..self.clone()
        }
    }
}

/// The text of at most so many characters in base64, with lines at its top that stay readable.
pub(super) fn within(config: &CloudConfig, top: &str, most: u32) -> Result<String, Error> {
    let length = |text: &str| text.len().div_ceil(3) * 4;
    let text = plain(config, top);
    if length(&text) <= most as usize {
        return Ok(text);
    }
    let packed = CloudConfig {
        write_files: config.write_files.iter().map(File::compressed).collect(),
        ..config.clone()
    };
    let text = plain(&packed, top);
    let length = length(&text);
    if length <= most as usize {
        Ok(text)
    } else {
        Err(Error::TooLong { length, most })
    }
}

/// The text, nothing compressed.
pub(super) fn plain(config: &CloudConfig, top: &str) -> String {
    let comments: String = top.lines().map(|line| format!("# {line}\n")).collect();
    let body = serde_yaml::to_string(config).expect("texts and lists of them are YAML");
    format!("#cloud-config\n{comments}{body}")
}

/// SHA-256, in hex.
#[must_use]
pub fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text).into_iter();
    let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// One gzip member without name or time, so that the same text gives the same bytes (RFC 1952).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    packed.extend(miniz_oxide::deflate::compress_to_vec(bytes, 9));
    packed.extend(crc32fast::hash(bytes).to_le_bytes());
    let length = u32::try_from(bytes.len()).expect("user data is shorter than 4 GiB");
    packed.extend(length.to_le_bytes());
    packed
}
