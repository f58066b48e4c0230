//! What must hold of the ledgers: nothing in CloudStack is recorded twice, in one stack or in
//! several of the same account. Pure.
//!
//! A resource that two records claim would be repaired, moved and destroyed by both.

use std::collections::{BTreeMap, HashSet};

use super::check::{Finding, Readable, error, remark};
use crate::types::{
    ledger::{Ledger, MachineRecord},
    meta::{Kind, ObjectKey, Resource},
    stack::ClearwaterStack,
};

/// A claim on something in CloudStack: what it is, its id, the stack and the field.
struct Claim {
    what: &'static str,
    id: String,
    stack: ObjectKey,
    field: String,
}

/// What is wrong with the ledgers of all stacks.
pub(super) fn check(readable: &Readable) -> Vec<Finding> {
    let mut accounts: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    let mut findings = Vec::new();
    for stack in readable.stacks.values() {
        let Some(status) = &stack.status else {
            continue;
        };
        let key = stack.key();
        let claims = accounts.entry(account(stack, readable)).or_default();
        claims.extend(everywhere(&key, &status.ledger));
        findings.extend(twice(&within(&key, &status.ledger)));
        let machines = status.ledger.machines.iter();
        findings.extend(machines.filter_map(|one| left_over(&key, &status.ledger, one)));
    }
    findings.extend(accounts.values().flat_map(|claims| twice(claims)));
    findings
}

/// Stacks with the same are in one CloudStack, where an id is that of one thing.
fn account(stack: &ClearwaterStack, readable: &Readable) -> String {
    let name = &stack.spec.account_ref.name;
    let key = ObjectKey::new(Kind::CloudAccount, &stack.metadata.namespace, name);
    match readable.accounts.get(&key) {
        Some(account) => account.spec.endpoint.trim_end_matches('/').to_owned(),
        None => key.to_string(),
    }
}

/// What only one stack of an account can have.
fn everywhere(stack: &ObjectKey, ledger: &Ledger) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut claim = |what, id: &dyn ToString, field: String| {
        claims.push(Claim {
            what,
            id: id.to_string(),
            stack: stack.clone(),
            field: format!("status.ledger.{field}"),
        });
    };
    if let Some(id) = &ledger.vpc {
        claim("VPC", id, "vpc".to_owned());
    }
    if let Some(id) = &ledger.acl {
        claim("network ACL list", id, "acl".to_owned());
    }
    if let Some(id) = &ledger.tier {
        claim("tier", id, "tier".to_owned());
    }
    for (role, id) in &ledger.affinity_groups {
        claim(
            "affinity group",
            id,
            format!("affinityGroups.{}", role.name()),
        );
    }
    for (name, machine) in &ledger.machines {
        let at = |field: &str| format!("machines.{name}.{field}");
        if let Some(id) = &machine.vm {
            claim("VM", id, at("vm"));
        }
        for (index, former) in machine.former.iter().enumerate() {
            claim("VM", &former.vm, at(&format!("former[{index}].vm")));
        }
        if let Some(address) = &machine.public_address {
            claim("public address", &address.id, at("publicAddress.id"));
            claim("public address", &address.ip, at("publicAddress.ip"));
        }
    }
    for id in &ledger.strays {
        claim("public address", id, "strays".to_owned());
    }
    for (index, pending) in ledger.pending.iter().enumerate() {
        claim("job", &pending.job, format!("pending[{index}].job"));
    }
    claims
}

/// What can be there once in a stack.
fn within(stack: &ObjectKey, ledger: &Ledger) -> Vec<Claim> {
    let machines = ledger.machines.iter().map(|(name, machine)| Claim {
        what: "private address",
        id: machine.private_address.to_string(),
        stack: stack.clone(),
        field: format!("status.ledger.machines.{name}.privateAddress"),
    });
    let pending = ledger.pending.iter().enumerate();
    let pending = pending.map(|(index, pending)| Claim {
        what: "subject",
        id: pending.subject.clone(),
        stack: stack.clone(),
        field: format!("status.ledger.pending[{index}].subject"),
    });
    machines.chain(pending).collect()
}

/// An error for each claim but the first on the same.
fn twice(claims: &[Claim]) -> Vec<Finding> {
    let mut first: BTreeMap<(&str, &str), &Claim> = BTreeMap::new();
    let mut findings = Vec::new();
    for claim in claims {
        let Some(other) = first.get(&(claim.what, claim.id.as_str())) else {
            first.insert((claim.what, &claim.id), claim);
            continue;
        };
        let remedy = "stop the controller, see in CloudStack whose it is, and import an export \
                      without the other entry";
        let same = format!(
            "the {} is recorded twice: {} has it in {}",
            claim.what, other.stack, other.field
        );
        findings.push(error(&claim.stack, &claim.field, &claim.id, (same, remedy)));
    }
    findings
}

/// A machine that is being taken away and of which nothing is left.
fn left_over(
    stack: &ObjectKey,
    ledger: &Ledger,
    (name, machine): (&String, &MachineRecord),
) -> Option<Finding> {
    let subjects: HashSet<_> = ledger.pending.iter().map(|one| &*one.subject).collect();
    let under_way = subjects
        .iter()
        .any(|subject| subject.ends_with(&format!(" {name}")));
    let gone = machine.vm.is_none() && machine.former.is_empty() && !under_way;
    let field = format!("status.ledger.machines.{name}.retiring");
    (machine.retiring && gone).then(|| {
        let why = ("it has no VM any more", "the next rounds forget it");
        remark(error(stack, field, true, why))
    })
}
