//! Fields that cannot change once something was built from them.

use serde::Serialize;
use serde_json::Value;

use super::{error::ErrorKind, findings::Findings, rbac, value::part};
use crate::types::{
    account::NameRef,
    machine::MachineSpec,
    meta::{Kind, Object},
    stack::NetworkSpec,
};

/// Compares two versions of an object. Values are compared with their defaults filled in, so
/// that writing out what holds anyway is no change.
pub(super) fn check(kind: Kind, old: &Object, new: &Object, findings: &mut Findings) {
    let nothing = Value::Null;
    let spec = |object: &Object| object.body.get("spec").unwrap_or(&nothing).clone();
    let (old_spec, new_spec) = (spec(old), spec(new));
    match kind {
        Kind::ClearwaterStack => stack(&old_spec, &new_spec, findings),
        Kind::CloudAccount => {
            let remedy = "what is built there would be lost from sight: make another CloudAccount";
            for name in ["zone", "project"] {
                let (old, new) = (part::<String>(&old_spec, name), part(&new_spec, name));
                if old.is_some() {
                    same(&format!("spec.{name}"), (&old, &new), remedy, findings);
                }
            }
        }
        Kind::Machine => {
            let typed = |spec| serde_json::from_value::<MachineSpec>(spec).ok();
            let remedy = "delete the Machine to have it replaced";
            same(
                "spec",
                (&typed(old_spec), &typed(new_spec)),
                remedy,
                findings,
            );
        }
        Kind::Secret => {
            let kind = |object: &Object| {
                let kind = object.body.get("type").and_then(Value::as_str);
                kind.unwrap_or("Opaque").to_owned()
            };
            let remedy = "delete the Secret and make it anew";
            same("type", (&kind(old), &kind(new)), remedy, findings);
            frozen(old, new, remedy, findings);
        }
        Kind::ConfigMap => frozen(old, new, "delete the ConfigMap and make it anew", findings),
        Kind::RoleBinding | Kind::ClusterRoleBinding => {
            let remedy = "delete the binding and make it anew";
            let role = |object: &Object| rbac::role_ref(&object.body);
            same("roleRef", (&role(old), &role(new)), remedy, findings);
        }
        Kind::Event | Kind::Lease | Kind::Namespace | Kind::Role | Kind::ClusterRole => {}
    }
}

/// Values that are said to be immutable stay, and stay immutable. They are not repeated.
fn frozen(old: &Object, new: &Object, remedy: &str, findings: &mut Findings) {
    if old.body.get("immutable") != Some(&Value::Bool(true)) {
        return;
    }
    for member in ["data", "binaryData", "immutable"] {
        if old.body.get(member) != new.body.get(member) {
            let why = ("it is immutable when `immutable` is set", remedy);
            findings.add(ErrorKind::FieldValueForbidden, member, &(), why);
        }
    }
}

fn stack(old: &Value, new: &Value, findings: &mut Findings) {
    let account = |spec| part::<NameRef>(spec, "accountRef").map(|account| account.name);
    if let (Some(old), Some(new)) = (account(old), account(new)) {
        let remedy = "make another stack in the other account, then delete this one";
        same("spec.accountRef.name", (&old, &new), remedy, findings);
    }
    let network = |spec: &Value| match spec.get("network") {
        Some(_) => part::<NetworkSpec>(spec, "network"),
        None => Some(NetworkSpec::default()),
    };
    let (Some(old), Some(new)) = (network(old), network(new)) else {
        return;
    };
    let remedy = "CloudStack cannot change it under running machines: make another stack with \
                  it, then delete this one";
    same("spec.network.vpc", (&old.vpc, &new.vpc), remedy, findings);
    same(
        "spec.network.cidr",
        (&old.cidr, &new.cidr),
        remedy,
        findings,
    );
    let gateways = (&old.gateway(), &new.gateway());
    if old.cidr == new.cidr {
        same("spec.network.gateway", gateways, remedy, findings);
    }
    same(
        "spec.network.offering",
        (&old.offering, &new.offering),
        remedy,
        findings,
    );
}

fn same<T: PartialEq + Serialize>(
    field: &str,
    (old, new): (&T, &T),
    remedy: &str,
    findings: &mut Findings,
) {
    if old != new {
        let was = serde_json::to_value(old).unwrap_or_default();
        let reason = match was {
            Value::Null => "it is immutable, and was not set when the object was made".to_owned(),
            was => format!("it is immutable, and was {was}"),
        };
        findings.invalid(field, new, (reason, remedy));
    }
}
