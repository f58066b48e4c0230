//! CloudStack's answers as they are written: the envelope, lists, jobs and small responses.
//!
//! Structs are named after CloudStack's own response classes (4.22,
//! `api/src/main/java/org/apache/cloudstack/api/response`), hold only what Weir uses, and tolerate
//! everything else. They go no further than this folder; the rows of a look are in `rows`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::value::MapDeserializer};
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
pub(super) struct Content(BTreeMap<String, Box<RawValue>>);

impl Content {
    /// Opens the envelope: the single top-level key of an answer. The key's name is not looked at:
    /// it does not always follow from the command (`restorevmresponse`, `errorresponse`, even
    /// `null`).
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let outer: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
        let mut contents = outer.values();
        match (contents.next(), contents.next()) {
            (Some(content), None) => parse(content).ok().map(Self),
            _ => None,
        }
    }

    /// Whether it tells why a command was refused.
    pub(super) fn is_a_fault(&self) -> bool {
        self.0.contains_key("errorcode")
    }

    /// Reads all of it as a response. An error names the field that does not fit.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        let members = self.0.iter().map(|(key, value)| (key.as_str(), &**value));
        T::deserialize(MapDeserializer::new(members))
    }

    /// Reads a member as a response; one that is not there is read as null.
    pub(super) fn member<'a, T: Deserialize<'a>>(
        &'a self,
        key: &str,
    ) -> Result<T, serde_json::Error> {
        parse(self.0.get(key).map_or(RawValue::NULL, |value| value))
    }

    /// The id of what it is about: its own, or that of the first object in it that has one.
    pub(super) fn id(&self) -> Option<String> {
        let inside = || self.0.values().find_map(|value| Ids::of(value).id);
        self.member("id").ok().flatten().or_else(inside)
    }
}

/// Reads a value as a response. An error names the field that does not fit.
pub(super) fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(value.get())
}

/// One page of a list: `{"count": N, "KEY": [rows]}`; an empty list is `{}`, and a page past the
/// end has a count but no rows.
#[derive(Debug)]
pub(super) struct Page {
    /// How many rows the whole list has.
    pub(super) count: usize,
    /// The rows of this page.
    pub(super) rows: Vec<Box<RawValue>>,
}

impl Page {
    /// Takes a list's answer apart.
    pub(super) fn of(content: &Content, key: &str) -> Self {
        Self {
            count: content.member("count").unwrap_or(0),
            rows: content.member(key).unwrap_or_default(),
        }
    }
}

/// What names a row.
#[derive(Default, Deserialize)]
struct Ids {
    id: Option<String>,
    jobid: Option<String>,
}

impl Ids {
    fn of(row: &RawValue) -> Self {
        parse(row).unwrap_or_default()
    }
}

/// The id of a row, or of a job; empty where there is none.
pub(super) fn id_of(row: &RawValue) -> String {
    let Ids { id, jobid } = Ids::of(row);
    id.or(jobid).unwrap_or_default()
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

    #[test]
    fn only_a_single_object_is_an_envelope() {
        let opened = Content::of(br#"{"createvpcresponse":{"id":"a"}}"#).expect("an envelope");
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
            assert!(Content::of(broken.as_bytes()).is_none(), "{broken}");
        }
    }

    #[test]
    fn an_empty_list_has_neither_count_nor_rows() {
        let empty = Content::of(br#"{"listvpcsresponse":{}}"#).expect("an envelope");
        let page = Page::of(&empty, "vpc");
        assert_eq!((page.count, page.rows.len()), (0, 0));
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
