//! What of a VM is not as wanted: what can be put right at once, and what needs a stop or a new
//! image.

use super::Case;
use crate::{
    plan::{Planner, Step},
    types::{
        action::{Action, VmChange},
        inventory::{Entry, Vm},
        stack::DriftField,
    },
};

impl Planner<'_> {
    /// Differences that need no stop; the first that has a step ends it.
    pub(super) fn correct(&mut self, case: &Case<'_>, vm: &Vm) -> Option<String> {
        let details = self.marks(&case.wish.name);
        let marked = details
            .iter()
            .all(|(key, value)| vm.details.get(key) == Some(value));
        let mut all_details = vm.details.clone();
        all_details.extend(details);
        let host_name = &case.record.host_name;
        let corrections = [
            (
                DriftField::Name,
                (vm.name != *host_name).then(|| (host_name.clone(), vm.name.clone())),
                VmChange::Name(host_name.clone()),
            ),
            (
                DriftField::DisplayName,
                (vm.display_name != case.wish.name)
                    .then(|| (case.wish.name.clone(), vm.display_name.clone())),
                VmChange::DisplayName(case.wish.name.clone()),
            ),
            (
                DriftField::Details,
                (!marked).then(|| ("the owner mark".to_owned(), "wiped or changed".to_owned())),
                VmChange::Details(all_details),
            ),
        ];
        for (field, difference, change) in corrections {
            let Some((want, have)) = difference else {
                continue;
            };
            let drift = self
                .difference(&case.subject, field, &want, &have)
                .of(&vm.id);
            if !self.drift(drift) {
                continue;
            }
            let reason = format!("{} is {have} instead of {want}", field.name());
            let action = Action::UpdateVm {
                vm: vm.id.clone(),
                change,
            };
            let mut step = Step::new(&case.subject, action, reason.clone());
            if self.was_in_sync(&case.subject) {
                step = step.repairs(field);
            }
            self.step(step);
            return Some(reason);
        }
        self.correct_user_data(case, vm)
    }

    /// The same for its user data. What the machines around a machine are, or what the manifest and
    /// its Secret say, changes what it is to be told: that is no drift. What somebody else wrote is.
    fn correct_user_data(&mut self, case: &Case<'_>, vm: &Vm) -> Option<String> {
        let wanted = case.user_data.as_ref()?;
        let given = case.record.user_data.as_ref();
        // What CloudStack has, by the last audit or else by our own record.
        let have = vm.user_data_hash.as_ref().or(given);
        if have == Some(&wanted.hash) {
            return None;
        }
        let ours = given.is_some() && have == given;
        let field = DriftField::UserData;
        let (want, have) = (short(Some(&wanted.hash)), short(have));
        if !ours {
            let drift = self.difference(&case.subject, field, &want, &have);
            if !self.drift(drift.of(&vm.id)) {
                return None;
            }
        }
        let image = &case.record.user_data_image;
        let reason = match ours && image.is_some() && *image == wanted.image {
            true => "the machines around it changed, or its place in etcd".to_owned(),
            false => format!("{} is {have} instead of {want}", field.name()),
        };
        let change = VmChange::UserData {
            text: self.user_data_text(case.wish, &case.record)?,
            hash: wanted.hash.clone(),
            image: wanted.image.clone(),
        };
        let action = Action::UpdateVm {
            vm: vm.id.clone(),
            change,
        };
        let mut step = Step::new(&case.subject, action, reason.clone());
        if !ours && self.was_in_sync(&case.subject) {
            step = step.repairs(field);
        }
        self.step(step);
        Some(reason)
    }

    /// The first difference that may be put right and needs a stop or a new image.
    pub(super) fn disruptive_difference(
        &mut self,
        case: &Case<'_>,
        vm: &Vm,
    ) -> Option<(DriftField, String)> {
        let text = |value: Option<&str>| value.unwrap_or("none").to_owned();
        let tier = self.plan.ledger.tier.clone()?;
        let address = vm.nic_in(&tier).and_then(|nic| nic.address);
        let catalogue = self.input.catalogue;
        let name = |entries: &[Entry], id: &str| {
            let entry = entries.iter().find(|entry| entry.id == id);
            entry.map_or_else(|| id.to_owned(), |entry| entry.name.clone())
        };
        let offering = |id: &str| name(&catalogue.service_offerings, id);
        let template = |id: &str| name(&catalogue.templates, id);
        let differences = [
            (
                DriftField::ServiceOffering,
                vm.offering.as_ref() != Some(&case.wish.offering),
                offering(case.wish.offering.as_str()),
                text(
                    vm.offering
                        .as_ref()
                        .map(|id| offering(id.as_str()))
                        .as_deref(),
                ),
            ),
            (
                DriftField::PrivateAddress,
                address != Some(case.record.private_address),
                case.record.private_address.to_string(),
                text(address.map(|address| address.to_string()).as_deref()),
            ),
            (
                DriftField::Template,
                vm.template.as_ref() != Some(&case.wish.template),
                template(case.wish.template.as_str()),
                text(
                    vm.template
                        .as_ref()
                        .map(|id| template(id.as_str()))
                        .as_deref(),
                ),
            ),
        ];
        for (field, differs, want, have) in differences {
            if !differs {
                continue;
            }
            let drift = self
                .difference(&case.subject, field, &want, &have)
                .of(&vm.id);
            if self.drift(drift) {
                return Some((
                    field,
                    format!("{} is {have} instead of {want}", field.name()),
                ));
            }
        }
        None
    }
}

fn short(hash: Option<&String>) -> String {
    hash.map_or_else(
        || "unknown".to_owned(),
        |hash| hash.chars().take(12).collect(),
    )
}
