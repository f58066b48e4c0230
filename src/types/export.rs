//! The file of an export: all objects of a store, as JSON lines after a line that says what they are.
//!
//! The header holds how many objects follow, so that a file that was cut off is known as such. An
//! object is a line, whole, with uid and status, but without `metadata.resourceVersion`, which is the
//! store's. Since format 2 a Secret may have `sealed` in place of everything but kind, namespace,
//! name and uid: the same, encrypted. A format is never changed, only followed by the next one.

use std::{collections::HashMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    admission,
    id::Uid,
    meta::{Object, ObjectKey, ResourceVersion},
};

/// The format that is written, and the latest that is read.
const FORMAT: u32 = 2;
const FORMAT_WORDS: &str = "weir export ";

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// `weir export 2`.
    pub format: String,
    /// The version of the Weir that wrote it.
    pub weir: String,
    /// The version of the store at which the objects were together.
    pub store_version: u64,
    /// When.
    pub time: Timestamp,
    /// How many objects follow.
    pub objects: usize,
}

/// All objects of a store, as they were together.
#[derive(Clone, Debug)]
pub struct Export {
    /// Where they come from.
    pub header: Header,
    /// The objects, without versions.
    pub objects: Vec<Object>,
}

/// Why a text is no export that can be used: one mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ExportError {
    /// The line, from 1; none where the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What can be read of a header of whatever format.
#[derive(Deserialize)]
struct Any {
    format: String,
    #[serde(default)]
    weir: String,
}

/// Writes objects that were together at `version`.
///
/// # Panics
/// Never for objects, whose members all have text keys.
#[must_use]
pub fn write(version: ResourceVersion, time: Timestamp, objects: &[Object]) -> String {
    let header = Header {
        format: format!("{FORMAT_WORDS}{FORMAT}"),
        weir: env!("CARGO_PKG_VERSION").to_owned(),
        store_version: version.0,
        time,
        objects: objects.len(),
    };
    let mut text = line(&header);
    for object in objects {
        let mut object = object.clone();
        object.metadata.resource_version.clear();
        text.push_str(&line(&object));
    }
    text
}

fn line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("their members have text keys");
    text + "\n"
}

/// Reads an export and judges every line of it: kind and shape of each object, and that none is
/// there twice.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines; never an empty list.
pub fn read(text: &str) -> Result<Export, Vec<ExportError>> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let header = header(first).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    let mut seen = Seen::default();
    let mut objects = Vec::new();
    for (index, line) in rest.lines().enumerate() {
        match object(line)
            .and_then(|(key, object)| seen.add(key, &object, index + 2).map(|()| object))
        {
            Ok(object) => objects.push(object),
            Err(reason) => errors.push(ExportError {
                line: Some(index + 2),
                reason,
            }),
        }
    }
    let found = rest.lines().count();
    if found != header.objects || !text.ends_with('\n') {
        errors.push(whole(cut(found, header.objects)));
    }
    if errors.is_empty() {
        return Ok(Export { header, objects });
    }
    Err(errors)
}

fn cut(found: usize, wanted: usize) -> String {
    let what = if found <= wanted {
        "the file is cut off"
    } else {
        "somebody wrote into the file"
    };
    format!("its header says {wanted} objects and {found} follow: {what}; use another copy of it")
}

fn whole(reason: impl Into<String>) -> ExportError {
    ExportError {
        line: None,
        reason: reason.into(),
    }
}

fn header(line: &str) -> Result<Header, ExportError> {
    let none = || whole("it is no export of Weir's: `weir state export` writes one");
    let any: Any = serde_json::from_str(line).map_err(|_| none())?;
    let number = any.format.strip_prefix(FORMAT_WORDS).ok_or_else(none)?;
    match number.parse::<u32>() {
        Ok(1..=FORMAT) => {}
        Ok(newer) if newer > FORMAT => {
            return Err(whole(format!(
                "it was written by a newer Weir, {} (export format {newer}; this one reads up to \
                 {FORMAT}): run that version or a later one",
                any.weir
            )));
        }
        _ => {
            return Err(whole(format!(
                "its format `{}` is none that there is: use another copy of it",
                any.format
            )));
        }
    }
    serde_json::from_str(line).map_err(|error| ExportError {
        line: Some(1),
        reason: format!("the header cannot be read: {error}; use another copy of the file"),
    })
}

fn object(line: &str) -> Result<(ObjectKey, Object), String> {
    let object: Object = serde_json::from_str(line)
        .map_err(|error| format!("no object: {error}; use another copy of the file"))?;
    let key = object
        .key()
        .map_err(|kind| format!("kind: {kind} is none that this Weir knows; remove the line"))?;
    admission::shaped(key.kind, &object)
        .map_err(|error| format!("{key} has not the shape of its kind: {error}"))?;
    if object.metadata.uid.is_none() {
        return Err(format!(
            "{key}: metadata.uid is missing; use another copy of the file"
        ));
    }
    Ok((key, object))
}

/// Where each name and uid was first.
#[derive(Default)]
struct Seen {
    keys: HashMap<ObjectKey, usize>,
    uids: HashMap<Uid, usize>,
}

impl Seen {
    fn add(&mut self, key: ObjectKey, object: &Object, line: usize) -> Result<(), String> {
        if let Some(first) = self.keys.get(&key) {
            return Err(format!(
                "{key} is in line {first} already: remove one of them"
            ));
        }
        let uid = object.metadata.stored_uid();
        if let Some(first) = self.uids.get(uid) {
            return Err(format!(
                "{key}: metadata.uid {uid} is that of line {first} already: remove one of them"
            ));
        }
        self.uids.insert(uid.clone(), line);
        self.keys.insert(key, line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace(name: &str, uid: &str) -> Object {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "uid": uid, "generation": 3, "resourceVersion": "9"},
        }))
        .unwrap()
    }

    fn text() -> String {
        let objects = [namespace("a", "1"), namespace("b", "2")];
        write(ResourceVersion(17), Timestamp::UNIX_EPOCH, &objects)
    }

    fn told(text: &str) -> String {
        let errors = read(text).unwrap_err();
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }

    #[test]
    fn what_was_written_is_read_without_versions() {
        let text = text();
        let export = read(&text).unwrap();
        assert_eq!(
            (export.header.store_version, export.header.objects),
            (17, 2)
        );
        let mut expected = namespace("a", "1");
        expected.metadata.resource_version.clear();
        assert_eq!(export.objects[0], expected);
        let again = write(ResourceVersion(17), Timestamp::UNIX_EPOCH, &export.objects);
        assert_eq!(again, text);
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_refused() {
        let text = text();
        for end in 0..text.len() {
            assert!(read(&text[..end]).is_err(), "{}", &text[..end]);
        }
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            told(&(lines[..2].join("\n") + "\n")),
            "its header says 2 objects and 1 follow: the file is cut off; use another copy of it"
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let twice = [
            namespace("a", "1"),
            namespace("a", "2"),
            namespace("b", "1"),
        ];
        let text = write(ResourceVersion(1), Timestamp::UNIX_EPOCH, &twice);
        assert_eq!(
            told(&text),
            "line 3: namespace//a is in line 2 already: remove one of them\n\
             line 4: namespace//b: metadata.uid 1 is that of line 2 already: remove one of them"
        );
        let first = text.replacen("\"uid\":\"1\",", "", 1);
        assert_eq!(
            told(&first).lines().next(),
            Some("line 2: namespace//a: metadata.uid is missing; use another copy of the file")
        );
        let text = text.replacen("a\",\"uid\":\"2", "c\",\"uid\":\"2", 1);
        let text = text.replacen("b\",\"uid\":\"1", "b\",\"uid\":\"3", 1);
        assert!(read(&text).is_ok());
        let pod = text.replacen("\"Namespace\"", "\"Pod\"", 1);
        assert_eq!(
            told(&pod),
            "line 2: kind: v1 Pod is none that this Weir knows; remove the line"
        );
        let stack = text.replacen(
            "\"v1\",\"kind\":\"Namespace\"",
            "\"weir.dev/v1alpha1\",\"kind\":\"ClearwaterStack\"",
            1,
        );
        assert_eq!(
            told(&stack),
            "line 2: clearwaterstack//a has not the shape of its kind: missing field `spec`"
        );
    }

    #[test]
    fn what_is_no_export_of_ours_is_refused() {
        let text = text();
        let newer = text.replacen("export 2", "export 3", 1);
        let newer = newer.replacen(env!("CARGO_PKG_VERSION"), "9.9.9", 1);
        assert_eq!(
            told(&newer),
            "it was written by a newer Weir, 9.9.9 (export format 3; this one reads up to 2): run \
             that version or a later one"
        );
        assert_eq!(
            told(&text.replacen("export 2", "export one", 1)),
            "its format `weir export one` is none that there is: use another copy of it"
        );
        let unread = told(&text.replacen("storeVersion", "versions", 1));
        assert!(
            unread.starts_with("line 1: the header cannot be read: "),
            "{unread}"
        );
        for other in [
            "",
            "\n",
            "{}\n",
            "kind: Secret\n",
            "{\"format\":\"else\"}\n",
        ] {
            assert!(told(other).starts_with("it is no export"), "{other}");
        }
    }
}
