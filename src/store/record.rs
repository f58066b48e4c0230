//! How an object is written down: JSON that says which format it has.
//!
//! `{"format":1,"object":{…}}`, without `metadata.resourceVersion`, which is the version of the
//! write and known only to the backend; or `{"format":2,"sealed":{…}}`, the same object encrypted.
//! A format is never changed, only followed by the next one: [`read`] then upgrades what it finds,
//! and `state/records` holds a database of every format for the test that proves it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    error::StoreError,
    keys::{self, Keys, Sealed},
};
use crate::types::meta::{Object, ObjectMeta, Resource, ResourceVersion};

/// The latest format in which records are written.
pub(super) const FORMAT: u32 = ENCRYPTED;

/// The format of what may be read by everybody.
const CLEAR: u32 = 1;

/// The format of Secrets, where there is a key.
const ENCRYPTED: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Record<T> {
    format: u32,
    object: T,
}

#[derive(Serialize, Deserialize)]
struct SealedRecord {
    format: u32,
    sealed: Sealed,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Writes an object down that is stored at `path`, and takes its `resourceVersion` away: it is about
/// to get another.
pub(super) fn write(
    path: &str,
    object: &mut Object,
    keys: Option<&Keys>,
) -> Result<Bytes, StoreError> {
    object.metadata.resource_version.clear();
    let written = match keys {
        Some(keys) if keys::concerns(path) => serde_json::to_vec(&SealedRecord {
            format: ENCRYPTED,
            sealed: keys.seal(path, object)?,
        }),
        _ => serde_json::to_vec(&Record {
            format: CLEAR,
            object: &*object,
        }),
    };
    Ok(written.expect(WRITABLE).into())
}

/// Reads an object that was written at `version` and is stored at `path`.
pub(super) fn read(
    path: &str,
    record: &[u8],
    version: ResourceVersion,
    keys: Option<&Keys>,
) -> Result<Object, StoreError> {
    let mut object = match serde_json::from_slice::<Record<Object>>(record) {
        Ok(Record {
            format: CLEAR,
            object,
        }) => object,
        Ok(Record { format, .. }) => return Err(foreign(format)),
        Err(error) => match format(record) {
            Some(ENCRYPTED) => {
                let record: SealedRecord = serde_json::from_slice(record)
                    .map_err(|error| StoreError::io(UNREAD, error))?;
                keys::open(keys, path, &record.sealed)?
            }
            Some(format) if format != CLEAR => return Err(foreign(format)),
            _ => return Err(StoreError::io(UNREAD, error)),
        },
    };
    object.metadata.resource_version = version.to_string();
    Ok(object)
}

/// Reads an object of a known type in one go; none where that fails, for whatever reason: [`read`]
/// finds out which.
pub(super) fn read_as<T: Resource>(record: &[u8], version: ResourceVersion) -> Option<T> {
    let record = serde_json::from_slice::<Record<T>>(record).ok()?;
    let mut object = (record.format == CLEAR).then_some(record.object)?;
    object.meta_mut().resource_version = version.to_string();
    Some(object)
}

/// An object of which nothing but the metadata is read: its other members stay as they are written.
pub(super) struct Outline<'a> {
    pub(super) metadata: ObjectMeta,
    members: BTreeMap<String, &'a RawValue>,
}

impl<'a> Outline<'a> {
    /// The outline of a record that was written at `version`; none where it cannot be read so.
    pub(super) fn of(record: &'a [u8], version: ResourceVersion) -> Option<Self> {
        type Members<'a> = BTreeMap<String, &'a RawValue>;
        let record: Record<Members<'a>> = serde_json::from_slice(record).ok()?;
        let mut members = (record.format == CLEAR).then_some(record.object)?;
        let metadata = members.remove(METADATA)?;
        let mut metadata: ObjectMeta = serde_json::from_str(metadata.get()).ok()?;
        metadata.resource_version = version.to_string();
        Some(Self { metadata, members })
    }

    /// The same object with another status, to be stored in its place.
    pub(super) fn with_status(mut self, status: &RawValue) -> Bytes {
        self.metadata.resource_version.clear();
        let metadata = to_raw(&self.metadata);
        let members = self.members.iter();
        let mut object: BTreeMap<&str, &RawValue> = members
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        object.insert(METADATA, &metadata);
        object.insert(STATUS, status);
        let format = CLEAR;
        let written = serde_json::to_vec(&Record { format, object });
        written.expect(WRITABLE).into()
    }
}

/// The status of an object of a type; none where it has none.
pub(super) fn status_of<T: Resource>(typed: &T) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct StatusOnly {
        status: Option<Box<RawValue>>,
    }
    let written = to_raw(typed);
    let read: StatusOnly = serde_json::from_str(written.get()).expect("it was written just now");
    read.status
}

fn to_raw<T: Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect(WRITABLE)
}

const METADATA: &str = "metadata";
const STATUS: &str = "status";
const WRITABLE: &str = "the members of an object have text keys";

/// The name of the key that a record is encrypted with, if it is.
pub(super) fn key(record: &[u8]) -> Option<String> {
    let record = serde_json::from_slice::<SealedRecord>(record).ok()?;
    Some(record.sealed.key)
}

const UNREAD: &str = "a stored record cannot be read";

fn format(record: &[u8]) -> Option<u32> {
    let record = serde_json::from_slice::<FormatOnly>(record).ok()?;
    Some(record.format)
}

fn foreign(format: u32) -> StoreError {
    let why = format!("it has format {format}, and this Weir knows formats up to {FORMAT}");
    StoreError::io(UNREAD, why)
}
