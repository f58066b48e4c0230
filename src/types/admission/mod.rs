//! What users write, held against what Weir can do: once, at the door.
//!
//! [`parse`] reads files into objects, [`admit`] judges one object by its kind's
//! [schema](super::schema) and then by meaning, [`admit_update`] says which fields may no longer
//! change. Nothing here fills in defaults: they live in the types, so that a stored object holds
//! what its user wrote and a later Weir's defaults apply to it. Whether a referenced object
//! exists is not asked either: it may come later, and the stack's conditions tell.
//!
//! Every mistake is told at once. So each field is judged for itself, as far as its own shape is
//! right, even where others cannot be read.

mod account;
mod bootstrap;
mod dns;
mod error;
mod findings;
mod manifest;
mod metadata;
mod nearest;
mod network;
mod rbac;
mod shape;
mod stack;
mod update;
mod value;
mod values;

#[cfg(test)]
mod tests;

use serde_json::Value;

use self::findings::Findings;
use super::{
    account::CloudAccount,
    core::{ConfigMap, Event, Lease, Namespace, Secret},
    machine::Machine,
    meta::{FINALIZER, Kind, Object, ObjectMeta},
    rbac::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    stack::ClearwaterStack,
};

pub use error::{ErrorKind, FieldError, ManifestError};
pub use manifest::parse;
pub use nearest::nearest;
pub use stack::STACK_NAME_MAX;

/// Most machines of one role: Clearwater's own largest deployments stay below it, and two digits
/// of index fit the host names.
pub const MACHINES_PER_ROLE_MAX: u32 = 50;

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

/// Judges an object. Members of `metadata` that Weir does not know were lost when it was read
/// into an [`Object`]: [`admit_value`] sees those too.
///
/// # Errors
/// Everything that is wrong with it, ordered by field.
pub fn admit(object: &Object, mode: FieldValidation) -> Result<Admitted, Vec<FieldError>> {
    match serde_json::to_value(object) {
        Ok(value) => admit_value(&value, mode),
        Err(error) => Err(vec![unreadable(&error)]),
    }
}

/// Judges an object as it came over the wire.
///
/// # Errors
/// Everything that is wrong with it, ordered by field.
pub fn admit_value(value: &Value, mode: FieldValidation) -> Result<Admitted, Vec<FieldError>> {
    let mut value = value.clone();
    let mut findings = Findings::default();
    if let Some(kind) = kind(&value, &mut findings) {
        shape::check(kind, &mut value, mode, &mut findings);
        metadata::owners_once(&mut value, &mut findings);
        meaning(kind, &value, &mut findings);
        if findings.errors.is_empty() {
            readable(kind, &value, &mut findings);
        }
    }
    if findings.errors.is_empty() {
        match serde_json::from_value(value) {
            Ok(object) => {
                return Ok(Admitted {
                    object,
                    warnings: findings.warnings,
                });
            }
            Err(error) => findings.errors.push(unreadable(&error)),
        }
    }
    findings.errors.sort();
    findings.errors.dedup();
    Err(findings.errors)
}

/// Says which changes of an object cannot be made; empty where all can.
#[must_use]
pub fn admit_update(old: &Object, new: &Object) -> Vec<FieldError> {
    let mut findings = Findings::default();
    if let Ok(key) = old.key() {
        update::check(key.kind, old, new, &mut findings);
    }
    findings.errors.sort();
    findings.errors
}

/// Readies an admitted object for its first write: what must clean up after itself gets the
/// finalizer before there is anything to clean up.
pub fn on_create(object: &mut Object) {
    let finalizers = &mut object.metadata.finalizers;
    if object.kind == Kind::ClearwaterStack.name() && !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
}

/// Which of our kinds an object is.
fn kind(value: &Value, findings: &mut Findings) -> Option<Kind> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| value["kind"] == kind.name());
    let Some(kind) = kind else {
        let known = Kind::ALL.map(Kind::name).join(", ");
        let word = value["kind"].as_str().unwrap_or_default();
        let remedy = match nearest(word, Kind::ALL.map(Kind::name)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("there are {known}"),
        };
        let why = ("no kind of Weir's", remedy);
        findings.add(
            ErrorKind::FieldValueNotSupported,
            "kind",
            &value["kind"],
            why,
        );
        return None;
    };
    if value["apiVersion"] != kind.api_version() {
        let reason = format!("not the version of a {kind}");
        let why = (reason, format!("write {}", kind.api_version()));
        let version = &value["apiVersion"];
        findings.add(
            ErrorKind::FieldValueNotSupported,
            "apiVersion",
            version,
            why,
        );
    }
    Some(kind)
}

/// What the values mean, as far as they can be read.
fn meaning(kind: Kind, value: &Value, findings: &mut Findings) {
    let text = |name: &str| value["metadata"][name].as_str().map(str::to_owned);
    // A field of the wrong type is told already, and must not hide the name.
    let meta = serde_json::from_value(value["metadata"].clone()).unwrap_or_else(|_| ObjectMeta {
        name: text("name").unwrap_or_default(),
        generate_name: text("generateName"),
        ..ObjectMeta::default()
    });
    metadata::check(kind, &meta, findings);
    let spec = &value["spec"];
    match kind {
        Kind::ClearwaterStack if spec.is_object() => stack::check(&meta.name, spec, findings),
        Kind::CloudAccount => account::account(spec, findings),
        Kind::Machine => account::machine(spec, findings),
        Kind::Secret => values::secret(value, findings),
        Kind::ConfigMap => values::config_map(value, findings),
        Kind::Role | Kind::ClusterRole => rbac::role(kind, value, findings),
        Kind::RoleBinding | Kind::ClusterRoleBinding => rbac::binding(kind, value, findings),
        Kind::ClearwaterStack | Kind::Event | Kind::Lease | Kind::Namespace => {}
    }
}

/// Whether an object has the shape of its kind's type: whether Weir can read it.
///
/// # Errors
/// What the type cannot take.
pub fn shaped(kind: Kind, object: &Object) -> Result<(), serde_json::Error> {
    serde_json::to_value(object).and_then(|value| read_as(kind, &value))
}

/// The last word have the types themselves: what is stored must be readable.
fn readable(kind: Kind, value: &Value, findings: &mut Findings) {
    let read = read_as(kind, value);
    findings
        .errors
        .extend(read.err().map(|error| unreadable(&error)));
}

fn read_as(kind: Kind, value: &Value) -> Result<(), serde_json::Error> {
    match kind {
        Kind::CloudAccount => reads::<CloudAccount>(value),
        Kind::ClearwaterStack => reads::<ClearwaterStack>(value),
        Kind::Machine => reads::<Machine>(value),
        Kind::Secret => reads::<Secret>(value),
        Kind::ConfigMap => reads::<ConfigMap>(value),
        Kind::Event => reads::<Event>(value),
        Kind::Lease => reads::<Lease>(value),
        Kind::Namespace => reads::<Namespace>(value),
        Kind::Role => reads::<Role>(value),
        Kind::RoleBinding => reads::<RoleBinding>(value),
        Kind::ClusterRole => reads::<ClusterRole>(value),
        Kind::ClusterRoleBinding => reads::<ClusterRoleBinding>(value),
    }
}

fn reads<T: serde::de::DeserializeOwned>(value: &Value) -> Result<(), serde_json::Error> {
    serde_json::from_value::<T>(value.clone()).map(|_| ())
}

fn unreadable(error: &serde_json::Error) -> FieldError {
    let why = (
        error.to_string(),
        "compare it with the examples in manifests/",
    );
    FieldError::new(ErrorKind::FieldValueInvalid, "object", &(), why)
}
