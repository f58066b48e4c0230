//! When something that is recorded is taken for gone for good, so that its record may go.
//!
//! A list and the answer by id can lie together: both are read from one database, perhaps through one
//! proxy. Where nothing but the record would ever find the thing again, one such pair of answers does
//! not decide; it takes a second pair some time later. What a command of ours is known to have taken
//! away needs no second look.

use std::time::Duration;

use super::{Planner, remedy::elapsed};
use crate::types::{
    action::{Answer, Question},
    id::{AclId, AddressId, NetworkId, VmId, VpcId},
    ledger::Ledger,
};

/// How long something has to be absent before it is taken for gone: longer than a management server
/// that was restarted, or a replica that lags, is commonly wrong.
pub const GONE_AFTER: Duration = Duration::from_secs(30);

impl Planner<'_> {
    /// Whether something that no list of this look shows is gone for good; tells what waits if not.
    pub(super) fn is_gone(&mut self, subject: &str, question: Question) -> bool {
        let Some(id) = named_in(&question) else {
            return false;
        };
        let now = self.input.now;
        if !self.rests(&id) && self.confirmed_absent(question) {
            if self.plan.ledger.absent.remove(&id).is_some() {
                return true;
            }
            self.plan.ledger.absent.insert(id.clone(), now);
        }
        self.confirming(subject, &id);
        false
    }

    /// Tells that something is looked for once more before it is taken for gone.
    fn confirming(&mut self, subject: &str, id: &str) {
        let message =
            format!("{id} is not listed; looking for it twice before it is taken for gone");
        self.wait(subject, "Confirming", message);
    }

    /// Whether two lists of ACL lists, some time apart, lacked one that nothing else shows.
    pub(super) fn acl_list_is_gone(&mut self, acl: &AclId) -> bool {
        if !self.rests(acl.as_str()) {
            let Some(Answer::AclLists(lists)) = self.ask(Question::AclLists) else {
                return false;
            };
            if lists.iter().any(|list| list.id == *acl) {
                self.plan.ledger.absent.remove(acl.as_str());
                return false;
            }
            if self.missed_again(acl.as_str()) {
                return true;
            }
        }
        self.confirming("acl", acl.as_str());
        false
    }

    /// Whether something was missed so lately that it is no use to look for it again.
    pub(super) fn rests(&self, id: &str) -> bool {
        let since = self.plan.ledger.absent.get(id);
        since.is_some_and(|since| elapsed(*since, self.input.now) < GONE_AFTER)
    }

    /// Whether something was missed before, and long enough ago; notes that it is missed if not.
    pub(super) fn missed_again(&mut self, id: &str) -> bool {
        let now = self.input.now;
        let absent = &mut self.plan.ledger.absent;
        absent.entry(id.to_owned()).or_insert(now);
        !self.rests(id)
    }

    /// Forgets that something was absent which is there again, or is recorded no longer.
    pub(super) fn notice_returns(&mut self) {
        if self.plan.ledger.absent.is_empty() {
            return;
        }
        let (inventory, answers) = (self.input.inventory, self.input.answers);
        let listed = |id: &str| {
            inventory.vms.contains_key(&VmId::new(id))
                || inventory.addresses.contains_key(&AddressId::new(id))
                || inventory.networks.contains_key(&NetworkId::new(id))
                || inventory.vpcs.contains_key(&VpcId::new(id))
                || inventory.rules_of(&AclId::new(id)).next().is_some()
        };
        let present = |id: &str| {
            answers.iter().any(|(question, answer)| {
                *answer == Answer::Present && named_in(question).as_deref() == Some(id)
            })
        };
        let mut absent = std::mem::take(&mut self.plan.ledger.absent);
        let ledger = &self.plan.ledger;
        absent.retain(|id, _| recorded(ledger, id) && !listed(id) && !present(id));
        self.plan.ledger.absent = absent;
    }
}

/// The id of the one thing that a question is about.
fn named_in(question: &Question) -> Option<String> {
    match question {
        Question::Vm(id) => Some(id.to_string()),
        Question::Vpc(id) => Some(id.to_string()),
        Question::Tier(id) => Some(id.to_string()),
        Question::Address(id) => Some(id.to_string()),
        Question::AclLists
        | Question::AffinityGroups
        | Question::StuckAddresses
        | Question::Job(_) => None,
    }
}

fn recorded(ledger: &Ledger, id: &str) -> bool {
    let is = |known: Option<&str>| known == Some(id);
    is(ledger.vpc.as_ref().map(|vpc| vpc.as_str()))
        || is(ledger.acl.as_ref().map(|acl| acl.as_str()))
        || ledger
            .pending
            .iter()
            .any(|pending| pending.job.as_str() == id)
        || is(ledger.tier.as_ref().map(|tier| tier.as_str()))
        || ledger.strays.iter().any(|stray| stray.as_str() == id)
        || ledger.machines.values().any(|record| {
            record.holds(&AddressId::new(id))
                || record.former.iter().any(|former| former.vm.as_str() == id)
        })
}
