//! What must hold of a state: of each object for itself, and between objects. Pure.
//!
//! An error is what Weir cannot work with or could do harm by. A remark is what is allowed and worth
//! knowing, or rights itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use serde::Serialize;
use serde_json::Value;

use super::ledgers;
use crate::{
    store::{Record, StoreError},
    types::{
        account::CloudAccount,
        admission::{self, ErrorKind, FieldError, FieldValidation},
        core::Secret,
        machine::Machine,
        meta::{FINALIZER, Kind, Object, ObjectKey, Resource},
        stack::ClearwaterStack,
    },
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Error,
    Remark,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// Like `machine/default/ims-bono-0`.
    pub(super) object: String,
    /// Its path; empty where the whole object is meant.
    pub(super) field: String,
    /// Never that of a secret.
    pub(super) value: String,
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Remark => "remark",
        };
        write!(f, "{word}: {}", self.object)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        if !self.value.is_empty() {
            write!(f, " {}", self.value)?;
        }
        write!(f, ": {}; {}", self.reason, self.remedy)
    }
}

impl Finding {
    /// What an import left that did not end.
    pub(super) fn unfinished(place: &str, remedy: &str) -> Self {
        error(
            place,
            "",
            "",
            ("an import was begun and did not end", remedy),
        )
    }
}

pub(super) fn error(
    object: impl fmt::Display,
    field: impl Into<String>,
    value: impl fmt::Display,
    (reason, remedy): (impl Into<String>, impl Into<String>),
) -> Finding {
    Finding {
        severity: Severity::Error,
        object: object.to_string(),
        field: field.into(),
        value: value.to_string(),
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

pub(super) fn remark(finding: Finding) -> Finding {
    Finding {
        severity: Severity::Remark,
        ..finding
    }
}

/// What can be read of a state, each object as its own type.
#[derive(Default)]
pub(super) struct Readable {
    pub(super) stacks: BTreeMap<ObjectKey, ClearwaterStack>,
    pub(super) machines: BTreeMap<ObjectKey, Machine>,
    pub(super) accounts: BTreeMap<ObjectKey, CloudAccount>,
    pub(super) secrets: BTreeMap<ObjectKey, Secret>,
    /// Where Secrets are that cannot be decrypted.
    undecrypted: BTreeSet<String>,
}

impl Readable {
    fn add(&mut self, key: ObjectKey, object: &Object) -> Result<(), serde_json::Error> {
        match key.kind {
            Kind::ClearwaterStack => drop(self.stacks.insert(key, object.decode()?)),
            Kind::Machine => drop(self.machines.insert(key, object.decode()?)),
            Kind::CloudAccount => drop(self.accounts.insert(key, object.decode()?)),
            Kind::Secret => drop(self.secrets.insert(key, object.decode()?)),
            kind => admission::shaped(kind, object)?,
        }
        Ok(())
    }
}

/// Everything that is not as it should be, in no order.
pub(super) fn check(records: &[Record]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut readable = Readable::default();
    let mut objects = Vec::new();
    for record in records {
        match &record.object {
            Ok(object) => {
                if let Some(key) = placed(record, object, &mut findings) {
                    if let Err(why) = readable.add(key.clone(), object) {
                        let why = (why.to_string(), RESTORE);
                        findings.push(error(&key, "", "", why));
                    } else {
                        findings.extend(admitted(&key, object));
                    }
                    objects.push((key, object));
                }
            }
            Err(StoreError::Undecrypted { why, remedy, .. }) => {
                let why = (format!("the record cannot be decrypted: {why}"), *remedy);
                findings.push(error(&record.path, "", "", why));
                readable.undecrypted.insert(record.path.clone());
            }
            Err(why) => {
                let source = std::error::Error::source(why).map(ToString::to_string);
                let why = source.unwrap_or_else(|| why.to_string());
                let why = (
                    format!("the record cannot be read: {why}"),
                    "restore a backup from before that, since no export can be made",
                );
                findings.push(error(&record.path, "", "", why));
            }
        }
    }
    findings.extend(metadata(&objects));
    findings.extend(references(&readable));
    findings.extend(ledgers::check(&readable));
    findings
}

const RESTORE: &str = "restore a backup, or take it out of an export and import that";

fn placed(record: &Record, object: &Object, findings: &mut Vec<Finding>) -> Option<ObjectKey> {
    match object.key() {
        Err(kind) => {
            let why = ("this Weir does not know the kind", "run a later one");
            findings.push(error(&record.path, "kind", kind, why));
            None
        }
        Ok(key) if !record.in_place() => {
            let why = (
                format!("what is stored there says that it is {key}"),
                RESTORE,
            );
            findings.push(error(&record.path, "metadata.name", &key.name, why));
            None
        }
        Ok(key) => Some(key),
    }
}

/// What the rules for new objects say of a stored one.
fn admitted(key: &ObjectKey, object: &Object) -> Vec<Finding> {
    let told = |wrong: FieldError| {
        let unknown = wrong.kind == ErrorKind::UnknownField;
        let finding = error(key, wrong.field, wrong.value, (wrong.reason, wrong.remedy));
        if unknown { remark(finding) } else { finding }
    };
    match admission::admit(object, FieldValidation::Strict) {
        Err(wrong) => wrong.into_iter().map(told).collect(),
        Ok(admitted) => {
            let warnings = admitted.warnings.into_iter();
            let told = |warning| remark(error(key, "", "", (warning, "see whether it is meant")));
            warnings.map(told).collect()
        }
    }
}

/// What the store sees to.
fn metadata(objects: &[(ObjectKey, &Object)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut uids: HashMap<&str, &ObjectKey> = HashMap::new();
    let namespaces: Vec<&str> = objects
        .iter()
        .filter(|(key, _)| key.kind == Kind::Namespace)
        .map(|(key, _)| key.name.as_str())
        .collect();
    for (key, object) in objects {
        let meta = &object.metadata;
        match &meta.uid {
            None => findings.push(error(key, "metadata.uid", "", ("missing", RESTORE))),
            Some(uid) => {
                if let Some(other) = uids.insert(uid.as_str(), key) {
                    let why = (format!("{other} has the same"), RESTORE);
                    findings.push(error(key, "metadata.uid", uid, why));
                }
            }
        }
        if meta.deleting() && meta.finalizers.is_empty() {
            let why = (
                "it is being deleted, and nothing holds it",
                "delete it again, which removes it",
            );
            findings.push(error(key, "metadata.finalizers", "", why));
        }
        let observed = object.body.get("status");
        let observed = observed.and_then(|status| status.get("observedGeneration"));
        let observed = observed.and_then(Value::as_i64).unwrap_or_default();
        if meta
            .generation
            .is_some_and(|generation| observed > generation)
        {
            let generation = meta.generation.unwrap_or_default();
            let why = (
                format!("the object is at generation {generation}"),
                "the next round writes it anew",
            );
            let field = "status.observedGeneration";
            findings.push(remark(error(key, field, observed, why)));
        }
        if key.kind.namespaced() && !namespaces.contains(&key.namespace.as_str()) {
            let why = (
                "there is no such namespace",
                "make it, else nothing can be written there",
            );
            let finding = error(key, "metadata.namespace", &key.namespace, why);
            findings.push(remark(finding));
        }
    }
    findings
}

/// What objects say of one another.
fn references(readable: &Readable) -> Vec<Finding> {
    let machines = readable.machines.values();
    let mut findings: Vec<_> = machines.flat_map(|one| machine(one, readable)).collect();
    for stack in readable.stacks.values() {
        findings.extend(account_of(stack, readable));
        let ledger = stack.status.as_ref().map(|status| &status.ledger);
        let held = stack.metadata.finalizers.iter().any(|one| one == FINALIZER);
        if ledger.is_some_and(|ledger| !ledger.is_empty()) && !held {
            let why = (
                format!("{FINALIZER} is missing, so a delete would leave everything in CloudStack"),
                "apply it with the finalizer",
            );
            findings.push(error(stack.key(), "metadata.finalizers", "", why));
        }
    }
    findings
}

fn machine(machine: &Machine, readable: &Readable) -> Vec<Finding> {
    let name = &machine.spec.stack_ref.name;
    let key = ObjectKey::new(Kind::ClearwaterStack, &machine.metadata.namespace, name);
    let Some(stack) = readable.stacks.get(&key) else {
        let why = (
            "there is no such stack",
            "apply its manifest again, or take the machine out of an export and import that",
        );
        return vec![error(machine.key(), "spec.stackRef.name", name, why)];
    };
    let mut findings = Vec::new();
    let owners = machine.metadata.owner_references.iter();
    let of_a_stack = owners.filter(|owner| owner.kind == Kind::ClearwaterStack.name());
    for owner in of_a_stack.filter(|owner| Some(&owner.uid) != stack.metadata.uid.as_ref()) {
        let why = (
            format!("that is not the uid of {key}"),
            "delete the machine: Weir makes another in its place",
        );
        let field = "metadata.ownerReferences.uid";
        findings.push(error(machine.key(), field, &owner.uid, why));
    }
    let status = stack.status.as_ref();
    let recorded = status.and_then(|status| status.ledger.machines.get(&machine.metadata.name));
    match recorded {
        None => {
            let why = (
                format!("the ledger of {key} has no such machine"),
                "the next round removes it",
            );
            let name = &machine.metadata.name;
            findings.push(remark(error(machine.key(), "metadata.name", name, why)));
        }
        Some(record) => {
            let (role, index) = (machine.spec.role, machine.spec.index);
            if (record.role, record.index) != (role, index) {
                let why = (
                    format!(
                        "the ledger of {key} says {} {}",
                        record.role.name(),
                        record.index
                    ),
                    RESTORE,
                );
                let found = format!("{} {index}", role.name());
                findings.push(error(machine.key(), "spec", found, why));
            }
        }
    }
    findings
}

/// Whether a stack's account can be reached. It may come later, unless it made something already.
fn account_of(stack: &ClearwaterStack, readable: &Readable) -> Option<Finding> {
    let finding = unreachable_account(stack, readable)?;
    let status = stack.status.as_ref();
    let built = status.is_some_and(|status| !status.ledger.is_empty());
    Some(if built { finding } else { remark(finding) })
}

fn unreachable_account(stack: &ClearwaterStack, readable: &Readable) -> Option<Finding> {
    let namespace = &stack.metadata.namespace;
    let name = &stack.spec.account_ref.name;
    let key = ObjectKey::new(Kind::CloudAccount, namespace, name);
    let Some(account) = readable.accounts.get(&key) else {
        let why = (
            "there is no such account, so nothing of the stack can be seen",
            "apply its manifest",
        );
        return Some(error(stack.key(), "spec.accountRef.name", name, why));
    };
    let name = &account.spec.secret_ref.name;
    let Some(secret) = readable
        .secrets
        .get(&ObjectKey::new(Kind::Secret, namespace, name))
    else {
        // It was told of already.
        let path = format!("{}/{namespace}/{name}", Kind::Secret.plural());
        if readable.undecrypted.contains(&path) {
            return None;
        }
        let why = (
            "there is no such secret",
            "apply it, with apiKey and secretKey",
        );
        return Some(error(key, "spec.secretRef.name", name, why));
    };
    let missing = ["apiKey", "secretKey"];
    let missing = missing
        .iter()
        .find(|one| !secret.data.contains_key(**one))?;
    let why = ("missing", "apply the secret with it");
    Some(error(secret.key(), format!("data[{missing}]"), "", why))
}
