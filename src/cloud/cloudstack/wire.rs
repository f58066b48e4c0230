//! CloudStack's answers as they are written: the envelope, lists, jobs and small responses.
//!
//! Structs are named after CloudStack's own response classes (4.22,
//! `api/src/main/java/org/apache/cloudstack/api/response`), hold only what Weir uses, and tolerate
//! everything else. They go no further than this folder; the rows of a look are in `rows`.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, value::MapDeserializer},
};
use serde_json::{Value, value::RawValue};

use crate::{
    cloud::CloudEvent,
    types::{
        id::{AclId, AffinityGroupId, JobId, VpcId},
        inventory::{AclList, AffinityGroup, Entry, Tags},
    },
};

/// What is inside the envelope of an answer: an object's members, each as it was written. Whoever
/// knows their types reads them, straight from the text: a look is mostly rows.
#[derive(Debug)]
pub(super) struct Content(BTreeMap<String, Bytes>);

impl Content {
    /// Opens the envelope: the single top-level key of an answer. The key's name is not looked at:
    /// it does not always follow from the command (`restorevmresponse`, `errorresponse`, even
    /// `null`).
    pub(super) fn of(body: &Bytes) -> Option<Self> {
        type Members<'a> = BTreeMap<String, &'a RawValue>;
        let outer: BTreeMap<String, Members<'_>> = serde_json::from_slice(body).ok()?;
        let mut contents = outer.into_values();
        match (contents.next(), contents.next()) {
            (Some(members), None) => {
                let part = |value: &RawValue| body.slice_ref(value.get().as_bytes());
                let members = members.into_iter();
                Some(Self(
                    members.map(|(key, value)| (key, part(value))).collect(),
                ))
            }
            _ => None,
        }
    }

    /// Whether it tells why a command was refused.
    pub(super) fn is_a_fault(&self) -> bool {
        self.0.contains_key("errorcode")
    }

    /// Reads all of it as a response. An error names the field that does not fit.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        let members = self.0.iter();
        let members = members.map(|(key, value)| Ok((key.as_str(), parse::<&RawValue>(value)?)));
        let members: Vec<_> = members.collect::<Result<_, serde_json::Error>>()?;
        T::deserialize(MapDeserializer::new(members.into_iter()))
    }

    /// Reads a member as a response; one that is not there is read as null.
    pub(super) fn member<'a, T: Deserialize<'a>>(
        &'a self,
        key: &str,
    ) -> Result<T, serde_json::Error> {
        parse(self.0.get(key).map_or(b"null", |value| value))
    }

    /// The id of what it is about: its own, or that of the first object in it that has one.
    pub(super) fn id(&self) -> Option<String> {
        let of = |value: &Bytes| parse::<Ids>(value).unwrap_or_default().id;
        let inside = || self.0.values().find_map(of);
        self.member("id").ok().flatten().or_else(inside)
    }
}

/// Reads a value as a response. An error names the field that does not fit.
fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(value)
}

/// One page of a list: `{"count": N, "KEY": [rows]}`; an empty list is `{}`, and a page past the
/// end has a count but no rows.
#[derive(Debug)]
pub(super) struct Page<T> {
    /// How many rows the whole list has.
    pub(super) count: usize,
    /// The rows of this page.
    pub(super) rows: Vec<T>,
}

/// Why a list cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The id of the first row that does not fit; the list's key if it is no list at all.
    pub(super) what: String,
    pub(super) error: serde_json::Error,
}

impl<T: DeserializeOwned> Page<T> {
    /// Reads a list's answer: what has no such key has no rows.
    ///
    /// # Errors
    /// A row does not fit, or what has the key is no list.
    pub(super) fn of(content: &Content, key: &str) -> Result<Self, Unreadable> {
        let rows: Result<Option<Vec<T>>, _> = content.member(key);
        Ok(Self {
            count: content.member("count").unwrap_or(0),
            rows: rows
                .map_err(|error| Unreadable::of::<T>(content, key, error))?
                .unwrap_or_default(),
        })
    }
}

impl Unreadable {
    /// Reads once more, row by row, to tell which one it is.
    fn of<T: DeserializeOwned>(content: &Content, key: &str, error: serde_json::Error) -> Self {
        let rows: Vec<&RawValue> = content.member(key).unwrap_or_default();
        let misfit = |row: &&RawValue| {
            let row = row.get().as_bytes();
            let error = parse::<T>(row).err()?;
            let Ids { id, jobid } = parse(row).unwrap_or_default();
            let what = id.or(jobid).unwrap_or_default();
            Some(Self { what, error })
        };
        rows.iter().find_map(misfit).unwrap_or(Self {
            what: key.to_owned(),
            error,
        })
    }
}

/// A row of a list that has pages.
pub(super) trait Listed: DeserializeOwned {
    /// What tells it from the other rows of the list.
    fn id(&self) -> &str;
}

/// What names a row.
#[derive(Default, Deserialize)]
struct Ids {
    id: Option<String>,
    jobid: Option<String>,
}

/// What an envelope holds when the command was refused.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    pub(super) errorcode: u16,
    #[serde(default)]
    pub(super) errortext: String,
}

/// A job, as `queryAsyncJobResult` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct QueryAsyncJobResultResponse {
    /// 0 pending, 1 succeeded, 2 failed.
    pub(super) jobstatus: u8,
    /// What came of it; absent after a restart of the management server.
    pub(super) jobresult: Option<Value>,
    jobinstanceid: Option<String>,
}

impl QueryAsyncJobResultResponse {
    /// The id of what the job made or worked on: CloudStack tells it for VMs and addresses, and
    /// for the rest only inside the result's object.
    pub(super) fn resource(&self) -> Option<String> {
        let inside = || {
            let objects = self.jobresult.as_ref()?.as_object()?;
            let id = objects.values().find_map(|object| object["id"].as_str())?;
            Some(id.to_owned())
        };
        self.jobinstanceid.clone().or_else(inside)
    }
}

/// A tag, as rows carry it.
#[derive(Debug, Deserialize)]
struct ResourceTagResponse {
    key: String,
    #[serde(default)]
    value: String,
}

/// Reads an array of tags as a map.
pub(super) fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tags, D::Error> {
    let tags = Vec::<ResourceTagResponse>::deserialize(deserializer)?;
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

/// Reads a map of details, whose values may be written as anything.
pub(super) fn details<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let details = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(details
        .into_iter()
        .map(|(key, value)| (key, text(value)))
        .collect())
}

/// The job that works on a row. Only a pending one is a lock.
pub(super) fn pending(jobid: Option<String>, jobstatus: Option<u8>) -> Option<JobId> {
    jobid
        .filter(|_| jobstatus.unwrap_or(0) == 0)
        .map(JobId::new)
}

/// Reads a date like `2026-11-23T05:37:26+0000`.
pub(super) fn date(text: &str) -> Result<Timestamp, jiff::Error> {
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text)
}

/// A network ACL list.
#[derive(Debug, Deserialize)]
pub(super) struct NetworkACLResponse {
    id: String,
    name: String,
    #[serde(default)]
    description: String,
    vpcid: Option<String>,
}

impl Listed for NetworkACLResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

impl From<NetworkACLResponse> for AclList {
    fn from(row: NetworkACLResponse) -> Self {
        Self {
            id: AclId::new(row.id),
            name: row.name,
            description: row.description,
            vpc: row.vpcid.map(VpcId::new),
        }
    }
}

/// An affinity group.
#[derive(Debug, Deserialize)]
pub(super) struct AffinityGroupResponse {
    id: String,
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    description: String,
}

impl Listed for AffinityGroupResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

impl From<AffinityGroupResponse> for AffinityGroup {
    fn from(row: AffinityGroupResponse) -> Self {
        Self {
            id: AffinityGroupId::new(row.id),
            name: row.name,
            kind: row.kind,
            description: row.description,
        }
    }
}

/// A pending job, as `listAsyncJobs` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct AsyncJobResponse {
    jobid: String,
    jobstatus: Option<u8>,
}

impl Listed for AsyncJobResponse {
    fn id(&self) -> &str {
        &self.jobid
    }
}

impl AsyncJobResponse {
    /// The job's id, if it has not ended.
    pub(super) fn pending(self) -> Option<JobId> {
        pending(Some(self.jobid), self.jobstatus)
    }
}

/// An event.
#[derive(Debug, Deserialize)]
pub(super) struct EventResponse {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    username: String,
    created: String,
    resourceid: Option<String>,
    #[serde(default)]
    state: String,
}

impl TryFrom<EventResponse> for CloudEvent {
    type Error = jiff::Error;

    fn try_from(row: EventResponse) -> Result<Self, Self::Error> {
        Ok(Self {
            at: date(&row.created)?,
            id: row.id,
            kind: row.kind,
            user: row.username,
            resource: row.resourceid,
            state: row.state,
        })
    }
}

/// A row of any list of the catalogue: only its id and name matter.
#[derive(Debug, Deserialize)]
pub(super) struct NamedResponse {
    #[serde(default)]
    id: String,
    name: String,
}

impl Listed for NamedResponse {
    fn id(&self) -> &str {
        &self.id
    }
}

impl From<NamedResponse> for Entry {
    fn from(row: NamedResponse) -> Self {
        Self {
            id: row.id,
            name: row.name,
        }
    }
}

/// What `listCapabilities` tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CapabilitiesResponse {
    pub(super) cloudstackversion: String,
    pub(super) allowuserexpungerecovervm: bool,
    pub(super) allowuserviewdestroyedvm: bool,
    /// Requests that CloudStack's throttle allows an account in a window; absent where it is off.
    pub(super) apilimitmax: Option<u32>,
    /// That window, in seconds.
    pub(super) apilimitinterval: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(body: &str) -> Option<Content> {
        Content::of(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn only_a_single_object_is_an_envelope() {
        let opened = content(r#"{"createvpcresponse":{"id":"a"}}"#).expect("an envelope");
        assert_eq!(opened.id().as_deref(), Some("a"));
        for broken in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"a":1}"#,
            r#"{"a":{},"b":{}}"#,
            r#"{"a":{"id""#,
            "<html></html>",
        ] {
            assert!(content(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn an_empty_list_has_neither_count_nor_rows() {
        let empty = content(r#"{"listvpcsresponse":{}}"#).expect("an envelope");
        let page: Page<NamedResponse> = Page::of(&empty, "vpc").expect("a list");
        assert_eq!((page.count, page.rows.len()), (0, 0));
    }

    #[test]
    fn a_list_that_cannot_be_read_names_the_row_and_is_never_an_empty_one() {
        let read = |body: &str| {
            let content = content(body).expect("an envelope");
            Page::<NamedResponse>::of(&content, "zone").map(|page| page.rows.len())
        };
        let fine = r#"{"l":{"count":1,"zone":[{"id":"a","name":"n"}]}}"#;
        assert_eq!(read(fine).expect("a list"), 1);
        let second = r#"{"l":{"count":2,"zone":[{"id":"a","name":"n"},{"id":"b","name":7}]}}"#;
        let wrong = read(second).expect_err("a number is no name");
        assert_eq!(wrong.what, "b");
        assert!(
            wrong.error.to_string().contains("invalid type"),
            "{}",
            wrong.error
        );
        let no_list = read(r#"{"l":{"count":0,"zone":"none"}}"#).expect_err("no list");
        assert_eq!(no_list.what, "zone");
    }

    #[test]
    fn a_date_is_read_with_its_offset() {
        let at = date("2026-11-23T06:37:26+0100").expect("a date");
        assert_eq!(at.to_string(), "2026-11-23T05:37:26Z");
    }

    #[test]
    fn only_a_pending_job_locks_a_row() {
        let id = || Some("j".to_owned());
        assert_eq!(pending(id(), Some(0)), Some(JobId::new("j")));
        assert_eq!(pending(id(), None), Some(JobId::new("j")));
        assert_eq!(pending(id(), Some(1)), None);
        assert_eq!(pending(None, None), None);
    }
}
