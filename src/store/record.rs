//! How an object is written down: JSON that says which format it has.
//!
//! `{"format":1,"object":{…}}`, without `metadata.resourceVersion`, which is the version of the
//! write and known only to the backend. A format is never changed, only followed by the next one:
//! [`read`] then upgrades what it finds, and `state/records` holds a database of every format for
//! the test that proves it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use crate::types::meta::{Object, Resource, ResourceVersion};

/// The format in which records are written.
pub(super) const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record<T> {
    format: u32,
    object: T,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Writes an object down, and takes its `resourceVersion` away: it is about to get another.
pub(super) fn write(object: &mut Object) -> Bytes {
    object.metadata.resource_version.clear();
    let record = Record {
        format: FORMAT,
        object: &*object,
    };
    serde_json::to_vec(&record)
        .expect("the members of an object have text keys")
        .into()
}

/// Reads an object that was written at `version`.
pub(super) fn read(record: &[u8], version: ResourceVersion) -> Result<Object, StoreError> {
    match serde_json::from_slice::<Record<Object>>(record) {
        Ok(Record {
            format: FORMAT,
            mut object,
        }) => {
            object.metadata.resource_version = version.to_string();
            Ok(object)
        }
        Ok(Record { format, .. }) => Err(foreign(format)),
        Err(error) => Err(match serde_json::from_slice::<FormatOnly>(record) {
            Ok(FormatOnly { format }) if format != FORMAT => foreign(format),
            _ => StoreError::io("a stored record cannot be read", error),
        }),
    }
}

/// Reads an object of a known type in one go; none where that fails, for whatever reason: [`read`]
/// finds out which.
pub(super) fn read_as<T: Resource>(record: &[u8], version: ResourceVersion) -> Option<T> {
    let record = serde_json::from_slice::<Record<T>>(record).ok()?;
    let mut object = (record.format == FORMAT).then_some(record.object)?;
    object.meta_mut().resource_version = version.to_string();
    Some(object)
}

fn foreign(format: u32) -> StoreError {
    let why = format!("it has format {format}, and this Weir knows formats up to {FORMAT}");
    StoreError::io("a stored record cannot be read", why)
}
