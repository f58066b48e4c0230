//! Tags: one of the three legs on which ownership rests, put on in batches.
//!
//! `createTags` takes many resources but fails as a whole where one of them has the key. So a
//! tag with a wrong value, or one that an address brought from a former owner, goes first.

use std::collections::BTreeMap;

use super::{Planner, Step, address_subject, machine_subject};
use crate::types::{
    action::{Action, TagKind, mark},
    inventory::Tags,
    stack::DriftField,
};

impl Planner<'_> {
    pub(super) fn tags(&mut self) {
        self.tag_vms();
        self.tag_addresses();
    }

    fn tag_vms(&mut self) {
        let mut bare = Vec::new();
        let inventory = self.input.inventory;
        let vms = self
            .plan
            .ledger
            .machines
            .iter()
            .filter_map(|(name, record)| {
                let vm = inventory.vms.get(record.vm.as_ref()?)?;
                (!vm.state.dead()).then(|| (name.clone(), vm, record.started_at.is_some()))
            });
        for (name, vm, started) in vms.collect::<Vec<_>>() {
            let subject = machine_subject(&name);
            match self.tag_state(&subject, vm.id.as_str(), &vm.tags, started) {
                TagState::Fine => {}
                TagState::Wrong => self.untag(
                    &subject,
                    TagKind::UserVm,
                    vm.id.as_str(),
                    &[mark::TAG_STACK],
                ),
                TagState::Bare => bare.push(vm.id.to_string()),
            }
        }
        // Machines that come up together are tagged together, but for the first: it brings the
        // tier up, and all others wait for it.
        let first = self.plan.ledger.machines.values().all(|record| {
            let vm = record
                .vm
                .as_ref()
                .and_then(|vm| self.input.inventory.vms.get(vm));
            vm.is_none_or(|vm| bare.iter().any(|bare| bare == vm.id.as_str()))
        });
        if first || !self.coming(|action| matches!(action, Action::DeployVm(_))) {
            self.tag("tags vm", TagKind::UserVm, bare);
        }
    }

    fn tag_addresses(&mut self) {
        let mut bare = Vec::new();
        let inventory = self.input.inventory;
        let addresses = self
            .plan
            .ledger
            .machines
            .iter()
            .filter_map(|(name, record)| {
                let address = record.public_address.as_ref()?;
                let row = inventory.addresses.get(&address.id)?;
                (row.state == "Allocated").then(|| (name.clone(), row, address.cleaned))
            });
        for (name, row, cleaned) in addresses.collect::<Vec<_>>() {
            let subject = address_subject(&name);
            let foreign = row.tags.iter().filter(|(key, value)| {
                *key != mark::TAG_STACK || value.as_str() != self.uid.as_str()
            });
            let foreign: Vec<&str> = foreign.map(|(key, _)| key.as_str()).collect();
            if !cleaned && !foreign.is_empty() {
                self.untag(
                    &subject,
                    TagKind::PublicIpAddress,
                    row.id.as_str(),
                    &foreign,
                );
                continue;
            }
            match self.tag_state(&subject, row.id.as_str(), &row.tags, cleaned) {
                TagState::Fine => self.cleaned(&name),
                TagState::Wrong => {
                    self.untag(
                        &subject,
                        TagKind::PublicIpAddress,
                        row.id.as_str(),
                        &[mark::TAG_STACK],
                    );
                }
                TagState::Bare => bare.push(row.id.to_string()),
            }
        }
        if !self.coming(|action| matches!(action, Action::AssociateAddress { .. })) {
            self.tag("tags address", TagKind::PublicIpAddress, bare);
        }
    }

    fn cleaned(&mut self, machine: &str) {
        let record = self.plan.ledger.machines.get_mut(machine);
        if let Some(address) = record.and_then(|record| record.public_address.as_mut()) {
            address.cleaned = true;
        }
    }

    /// Whether more resources of the kind are about to come, which can be tagged in the same call.
    pub(super) fn coming(&self, kind: impl Fn(&Action) -> bool) -> bool {
        self.under_way().any(|(_, action)| kind(action))
    }

    fn tag_state(&mut self, subject: &str, id: &str, tags: &Tags, had_it: bool) -> TagState {
        let want = self.uid.as_str();
        let have = tags.get(mark::TAG_STACK).map(String::as_str);
        if have == Some(want) {
            return TagState::Fine;
        }
        if had_it {
            let wanted = format!("{}={want}", mark::TAG_STACK);
            let drift = self
                .difference(subject, DriftField::Tags, wanted, have.unwrap_or("none"))
                .of(id);
            self.subject = Default::default();
            if !self.drift(drift) {
                return TagState::Fine;
            }
        }
        if have.is_some() {
            TagState::Wrong
        } else {
            TagState::Bare
        }
    }

    fn tag(&mut self, subject: &str, kind: TagKind, resources: Vec<String>) {
        if resources.is_empty() {
            return;
        }
        let reason = format!("{} without the stack's tag", resources.len());
        let tags = BTreeMap::from([(mark::TAG_STACK.to_owned(), self.uid.to_string())]);
        self.step(Step::new(
            subject,
            Action::Tag {
                kind,
                resources,
                tags,
            },
            reason,
        ));
    }

    fn untag(&mut self, subject: &str, kind: TagKind, resource: &str, keys: &[&str]) {
        let action = Action::Untag {
            kind,
            resource: resource.to_owned(),
            keys: keys.iter().map(ToString::to_string).collect(),
        };
        let subject = format!("tags of {subject}");
        let reason = format!("tags that are not the stack's: {}", keys.join(", "));
        self.step(Step::new(subject, action, reason).repairs(DriftField::Tags));
    }
}

enum TagState {
    Fine,
    /// The key is there with another value.
    Wrong,
    Bare,
}
