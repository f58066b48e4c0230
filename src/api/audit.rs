//! The audit log: who did what, and how it ended, in the shape of `audit.k8s.io/v1` at level
//! `Metadata`. A line a request, without bodies and without what came in headers.
//!
//! Requests for health are left out. What cannot be written is counted and told, and nobody waits
//! for it: an API that stops with its disk would be worse.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{auth::User, review::info};
use crate::types::rbac::Attributes;

/// Characters of a URI and of a user agent that are written down.
const TEXT_MAX: usize = 1024;

/// Where the audit log is, and how much of it is kept.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The file that is written to.
    pub path: PathBuf,
    /// Bytes of a file, after which the next one is begun.
    pub bytes_max: u64,
    /// Former files that are kept, as `PATH.1` (the youngest) and so on.
    pub files_kept: u32,
}

/// An open audit log.
#[derive(Debug)]
pub struct Audit {
    options: AuditOptions,
    place: Mutex<Place>,
}

#[derive(Debug)]
struct Place {
    file: Option<File>,
    bytes: u64,
    /// The last line may be half there.
    torn: bool,
    failing: bool,
}

/// One request, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) user: Option<User>,
    pub(super) impersonated: Option<User>,
    pub(super) attributes: Option<Attributes>,
    pub(super) version: &'static str,
    /// Why it was allowed.
    pub(super) allowed: Option<String>,
}

impl Seen {
    /// Whether it is a watch.
    pub(super) fn watches(&self) -> bool {
        let wanted = self.attributes.as_ref();
        wanted.is_some_and(|wanted| wanted.verb == "watch")
    }
}

/// What is known of a request before it is read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) uri: String,
    pub(super) method: String,
    pub(super) agent: String,
    pub(super) from: std::net::IpAddr,
    pub(super) received: Timestamp,
}

impl Audit {
    /// Opens the log, to go on at its end.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn open(options: AuditOptions) -> io::Result<Self> {
        let place = Place::open(&options.path)?;
        Ok(Self {
            options,
            place: Mutex::new(place),
        })
    }

    /// Writes a line.
    ///
    /// # Errors
    /// It is lost.
    pub(super) fn write(&self, event: &Value) -> io::Result<()> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{event}\n");
        let written = place.write(&self.options, line.as_bytes());
        match &written {
            Err(error) if !place.failing => {
                tracing::error!(%error, file = %self.options.path.display(), "audit lines are lost");
            }
            Ok(()) if place.failing => tracing::info!("audit lines are written again"),
            _ => {}
        }
        place.failing = written.is_err();
        written
    }
}

impl Place {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            file: Some(file),
            bytes,
            torn: false,
            failing: false,
        })
    }

    fn write(&mut self, options: &AuditOptions, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes + length > options.bytes_max {
            rotate(options)?;
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let opened = Self::open(&options.path)?;
                (self.bytes, self.torn) = (opened.bytes, false);
                none.insert(opened.file.ok_or_else(|| io::Error::other("not opened"))?)
            }
        };
        if self.torn {
            file.write_all(b"\n")?;
        }
        self.torn = true;
        file.write_all(line)?;
        self.torn = false;
        self.bytes += length;
        Ok(())
    }
}

/// Moves each former file one further, and the present one among them.
fn rotate(options: &AuditOptions) -> io::Result<()> {
    let former = |number: u32| match number {
        0 => options.path.clone(),
        n => {
            let mut name = options.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        }
    };
    if options.files_kept == 0 {
        return fs::remove_file(&options.path);
    }
    for number in (0..options.files_kept).rev() {
        match fs::rename(former(number), former(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The line of a request, at a stage of it.
pub(super) fn event(
    request: &Request,
    seen: &Seen,
    stage: &str,
    (code, now): (u16, Timestamp),
) -> Value {
    let cut = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
    let nobody = Attributes::default();
    let attributes = seen.attributes.as_ref().unwrap_or(&nobody);
    let verb = match attributes.verb.as_str() {
        "" => request.method.to_ascii_lowercase(),
        verb => verb.to_owned(),
    };
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": request.id, "stage": stage, "requestURI": cut(&request.uri), "verb": verb,
        "user": seen.user.as_ref().map_or_else(|| json!({}), info),
        "sourceIPs": [request.from.to_canonical().to_string()],
        "userAgent": cut(&request.agent),
        "responseStatus": { "metadata": {}, "code": code },
        "requestReceivedTimestamp": micros(request.received), "stageTimestamp": micros(now),
    });
    if let Some(other) = &seen.impersonated {
        event["impersonatedUser"] = info(other);
    }
    if !attributes.resource.is_empty() {
        let members = [
            ("resource", attributes.resource.as_str()),
            ("namespace", &attributes.namespace),
            ("name", &attributes.name),
            ("apiGroup", &attributes.group),
            ("apiVersion", seen.version),
            ("subresource", &attributes.subresource),
        ];
        let members = members.iter().filter(|(_, text)| !text.is_empty());
        let members = members.map(|(name, text)| ((*name).to_owned(), json!(text)));
        event["objectRef"] = Value::Object(members.collect());
    }
    event["annotations"] = match (&seen.allowed, &seen.attributes) {
        (Some(why), _) => json!({
            "authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": why,
        }),
        (None, Some(_)) => json!({ "authorization.k8s.io/decision": "forbid" }),
        (None, None) => json!({}),
    };
    event
}

fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, bytes_max: u64) -> AuditOptions {
        AuditOptions {
            path: dir.join("audit.log"),
            bytes_max,
            files_kept: 2,
        }
    }

    #[test]
    fn files_are_rotated_by_size_and_only_some_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(options(dir.path(), 20)).unwrap();
        for number in 0..9 {
            audit.write(&json!({ "n": number })).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|f| f.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
        let text = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(text("audit.log"), "{\"n\":8}\n");
        assert_eq!(text("audit.log.1"), "{\"n\":6}\n{\"n\":7}\n");
        // One that is opened again goes on at its end.
        let audit = Audit::open(options(dir.path(), 20)).unwrap();
        audit.write(&json!({ "n": 9 })).unwrap();
        assert_eq!(text("audit.log"), "{\"n\":8}\n{\"n\":9}\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_nothing_else() {
        let full = AuditOptions {
            path: PathBuf::from("/dev/full"),
            bytes_max: 100,
            files_kept: 1,
        };
        let audit = Audit::open(full).unwrap();
        for _ in 0..2 {
            let error = audit.write(&json!({})).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
