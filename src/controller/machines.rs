//! `Machine` objects: a projection of the ledger for people to read, and one way to ask for a
//! replacement.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::{Context, reconcile::RoundError};
use crate::{
    cloud::Connect,
    plan::{MachineView, Plan},
    store::{Preconditions, StoreError},
    types::{
        account::NameRef,
        id::VmId,
        ledger::{Ledger, MachineRecord},
        machine::{Machine, MachineSpec, MachineStatus, Phase},
        meta::{
            API_VERSION, Condition, ConditionStatus, FINALIZER, Kind, Object, ObjectMeta,
            OwnerReference, Resource, set_condition,
        },
        stack::ClearwaterStack,
    },
};

/// The machines that a user deleted, with the VM that each stood for.
pub fn replacements(machines: &[Machine]) -> BTreeMap<String, VmId> {
    let deleted = machines
        .iter()
        .filter(|machine| machine.metadata.deleting());
    deleted
        .filter_map(|machine| {
            let vm = machine.status.as_ref()?.vm_id.clone()?;
            Some((machine.metadata.name.clone(), vm))
        })
        .collect()
}

/// The machines of a stack, found by their names, which begin with the stack's.
///
/// # Errors
/// The store could not be read.
pub async fn of<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
) -> Result<Vec<Machine>, StoreError> {
    let name = &stack.metadata.name;
    let named = cx
        .store
        .list_named::<Machine>(&stack.metadata.namespace, &format!("{name}-"))
        .await?;
    // The names of `ims-2` begin with those of `ims` as well.
    let ours = |machine: &Machine| machine.spec.stack_ref.name == *name;
    Ok(named.into_iter().filter(ours).collect())
}

/// Makes the `Machine` objects that there are follow the ledger; written side by side, so that
/// they share a flush.
///
/// # Errors
/// The store could not be written; the next round tries again.
pub async fn settle<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    (machines, plan): (Vec<Machine>, &Plan),
    ledger: &Ledger,
) -> Result<(), RoundError> {
    let mut known: BTreeMap<String, Machine> = machines
        .into_iter()
        .map(|machine| (machine.metadata.name.clone(), machine))
        .collect();
    let retiring = MachineView {
        phase: Phase::Deleting,
        message: "it is no longer wanted".to_owned(),
        ..MachineView::default()
    };
    let wanted: Vec<_> = ledger
        .machines
        .iter()
        .map(|(name, record)| (name, record, known.remove(name)))
        .collect();
    let follow = wanted.into_iter().map(|(name, record, machine)| {
        let view = plan.machines.get(name).unwrap_or(&retiring);
        async move {
            match machine {
                None => create(cx, stack, (name, record), view).await,
                Some(machine) => update(cx, machine, record, view).await,
            }
        }
    });
    try_join_all(follow).await?;
    let gone = known.into_values().map(|machine| remove(cx, machine));
    try_join_all(gone).await?;
    Ok(())
}

async fn create<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    (name, record): (&String, &MachineRecord),
    view: &MachineView,
) -> Result<(), RoundError> {
    let labels = BTreeMap::from([
        ("weir.dev/stack".to_owned(), stack.metadata.name.clone()),
        ("weir.dev/role".to_owned(), record.role.name().to_owned()),
    ]);
    let machine = Machine {
        api_version: API_VERSION.to_owned(),
        kind: Kind::Machine.name().to_owned(),
        metadata: ObjectMeta {
            name: name.clone(),
            namespace: stack.metadata.namespace.clone(),
            labels,
            finalizers: vec![FINALIZER.to_owned()],
            owner_references: vec![OwnerReference {
                api_version: API_VERSION.to_owned(),
                kind: Kind::ClearwaterStack.name().to_owned(),
                name: stack.metadata.name.clone(),
                uid: stack.meta().stored_uid().clone(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
            ..ObjectMeta::default()
        },
        spec: MachineSpec {
            stack_ref: NameRef {
                name: stack.metadata.name.clone(),
            },
            role: record.role,
            index: record.index,
        },
        status: None,
    };
    let stored = cx.store.create(Object::encode(&machine)).await?;
    if let Ok(machine) = stored.decode() {
        update(cx, machine, record, view).await?;
    }
    Ok(())
}

async fn update<K: Connect>(
    cx: &Context<K>,
    machine: Machine,
    record: &MachineRecord,
    view: &MachineView,
) -> Result<(), RoundError> {
    // A deleted Machine goes once the VM that it stood for is gone; the next round makes a new
    // one for the successor.
    if machine.metadata.deleting() {
        let vm = machine
            .status
            .as_ref()
            .and_then(|status| status.vm_id.as_ref());
        if vm.is_none_or(|vm| !record.knows_vm(vm)) {
            remove(cx, machine).await?;
        }
        return Ok(());
    }
    let status = status(cx, &machine, record, view);
    if machine.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let next = Machine {
        status: Some(status),
        ..machine
    };
    cx.store.put_status(&next).await?;
    Ok(())
}

fn status<K: Connect>(
    cx: &Context<K>,
    machine: &Machine,
    record: &MachineRecord,
    view: &MachineView,
) -> MachineStatus {
    let now = cx.clock.now();
    let old = machine.status.clone().unwrap_or_default();
    let mut conditions = old.conditions;
    let mut tell = |kind: &str, holds: bool, reason: &str, message: String| {
        let status = if holds {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        };
        let condition = Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
            last_transition_time: now,
            observed_generation: machine.metadata.generation,
        };
        set_condition(&mut conditions, condition);
    };
    tell("Ready", view.ready, view.phase.name(), view.message.clone());
    let updated = if view.updated {
        "AsTheManifestAsks"
    } else {
        "Outdated"
    };
    tell("UpToDate", view.updated, updated, String::new());
    if let Some(held) = record.held.last() {
        let message = format!(
            "{} and {} are held by a destroyed VM until {} at the latest",
            held.host_name,
            held.private_address,
            held.until.strftime("%Y-%m-%d %H:%M UTC")
        );
        tell("AddressHeld", true, "NotPurgedYet", message);
    } else {
        conditions.retain(|condition| condition.kind != "AddressHeld");
    }
    let same_phase = old.phase == view.phase;
    MachineStatus {
        phase: view.phase,
        conditions,
        vm_id: record.vm.clone(),
        vm_state: view.vm_state.clone(),
        host_name: Some(record.host_name.clone()),
        private_address: Some(record.private_address),
        public_address: record.public_address.as_ref().map(|address| address.ip),
        last_remediation: record.remediations.last().cloned(),
        next: (!view.message.is_empty()).then(|| view.message.clone()),
        since: old.since.filter(|_| same_phase).or(Some(now)),
    }
}

/// Lets a `Machine` object go.
async fn remove<K: Connect>(cx: &Context<K>, mut machine: Machine) -> Result<(), RoundError> {
    let key = machine.key();
    machine
        .metadata
        .finalizers
        .retain(|finalizer| finalizer != FINALIZER);
    machine.metadata.resource_version.clear();
    let deleting = machine.metadata.deleting();
    let gone = |result: Result<(), StoreError>| match result {
        Err(StoreError::NotFound(_)) | Ok(()) => Ok(()),
        Err(error) => Err(RoundError::from(error)),
    };
    gone(cx.store.update(Object::encode(&machine)).await.map(drop))?;
    if !deleting {
        gone(
            cx.store
                .delete(&key, &Preconditions::default())
                .await
                .map(drop),
        )?;
    }
    Ok(())
}

/// Lets all `Machine` objects of a stack go.
///
/// # Errors
/// The store could not be written; the next round tries again.
pub async fn forget_all<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
) -> Result<(), RoundError> {
    for machine in of(cx, stack).await? {
        remove(cx, machine).await?;
    }
    Ok(())
}
