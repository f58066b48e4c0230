//! The rules of a managed network ACL list, restored in place.
//!
//! A list that Weir made is wholly Weir's: what somebody else put into it goes. A list that the
//! manifest names by id is left alone.

use std::fmt;

use ipnet::Ipv4Net;

use super::{Planner, Step};
use crate::types::{
    action::Action,
    id::AclId,
    inventory::AclRule,
    role::Protocol,
    stack::{AclSpec, Direction, DriftField, RuleAction, RuleSpec},
};

impl Planner<'_> {
    pub(super) fn rules(&mut self) {
        let AclSpec::Managed = self.spec().network.acl else {
            return;
        };
        let Some(acl) = self.plan.ledger.acl.clone() else {
            return;
        };
        if self.vpc().is_none() {
            return;
        }
        let have: Vec<&AclRule> = self.input.inventory.rules_of(&acl).collect();
        let want = std::mem::take(&mut self.wish.rules);
        let mut spare: Vec<&AclRule> = have
            .iter()
            .copied()
            .filter(|rule| !want.iter().any(|(n, _)| *n == rule.number))
            .collect();
        for (number, rule) in &want {
            let subject = format!("rule {number}");
            self.consider(&subject, spell(rule));
            match have.iter().find(|have| have.number == *number) {
                Some(have) if same(have, rule) => self.in_sync(),
                Some(have) => self.change_rule(&subject, have, *number, rule),
                None => match spare.iter().position(|spare| same(spare, rule)) {
                    Some(place) => {
                        let moved = spare.remove(place);
                        self.change_rule(&subject, moved, *number, rule);
                    }
                    None => self.add_rule(&subject, &acl, *number, rule),
                },
            }
        }
        for rule in spare {
            self.remove_rule(rule);
        }
        self.wish.rules = want;
    }

    fn change_rule(&mut self, subject: &str, have: &AclRule, number: u32, want: &RuleSpec) {
        let (wanted, found) = (
            numbered(number, &spell(want)),
            numbered(have.number, &spell_row(have)),
        );
        let drift = self
            .difference(subject, DriftField::AclRule, &wanted, &found)
            .of(&have.id);
        if have.state != "Active" {
            self.wait(
                subject,
                "JobRunning",
                format!("the rule is in state {}", have.state),
            );
        } else if self.drift(drift) {
            let action = Action::UpdateAclRule {
                id: have.id.clone(),
                number,
                rule: want.clone(),
            };
            let reason = format!("rule was changed: {found} instead of {wanted}");
            self.step(Step::new(subject, action, reason).repairs(DriftField::AclRule));
        }
    }

    fn add_rule(&mut self, subject: &str, acl: &AclId, number: u32, want: &RuleSpec) {
        let action = Action::CreateAclRule {
            acl: acl.clone(),
            number,
            rule: want.clone(),
        };
        if !self.was_in_sync(subject) {
            self.step(Step::new(subject, action, spell(want).to_string()));
            return;
        }
        let drift = self.difference(subject, DriftField::AclRule, spell(want), "missing");
        if self.drift(drift) {
            let reason = format!("rule is missing: {}", spell(want));
            self.step(Step::new(subject, action, reason).repairs(DriftField::AclRule));
        }
    }

    fn remove_rule(&mut self, rule: &AclRule) {
        let subject = format!("rule {}", rule.number);
        if rule.state == "Deleting" {
            return;
        }
        let have = spell_row(rule).to_string();
        let action = Action::DeleteAclRule {
            id: rule.id.clone(),
        };
        if self.plan.ledger.applied.remove(&subject).is_some() {
            self.step(Step::new(
                subject,
                action,
                "the manifest wants this rule no more",
            ));
            return;
        }
        self.subject = Default::default();
        let drift = self
            .difference(&subject, DriftField::AclRule, "no rule", &have)
            .of(&rule.id);
        if self.drift(drift) {
            let reason = format!("somebody added a rule to the stack's list: {have}");
            self.step(Step::new(subject, action, reason).repairs(DriftField::AclRule));
        }
    }
}

/// Whether a rule does what is wanted. Its reason is part of it: people read it.
pub(super) fn same(have: &AclRule, want: &RuleSpec) -> bool {
    let ports = match want.protocol {
        Protocol::Tcp | Protocol::Udp => {
            have.start_port == want.start_port && have.end_port == want.end_port
        }
        Protocol::Icmp | Protocol::All => true,
    };
    have.protocol == Some(want.protocol)
        && ports
        && have.cidrs == want.cidrs
        && have.other_cidrs.is_empty()
        && have.direction == want.direction
        && have.action == want.action
        && have.reason == want.reason
}

fn numbered(number: u32, rule: &Spelled<'_>) -> String {
    format!("{number}: {rule}")
}

/// A rule in one line, like `Allow Ingress tcp 5060 from 0.0.0.0/0 (bono: SIP)`. Written without
/// a detour over text in memory: it is hashed for every rule of every look.
pub(super) struct Spelled<'a> {
    action: RuleAction,
    direction: Direction,
    protocol: &'a str,
    ports: (Option<u16>, Option<u16>),
    cidrs: &'a [Ipv4Net],
    other_cidrs: &'a [String],
    reason: &'a str,
}

/// A rule as it is wanted.
pub(super) fn spell(rule: &RuleSpec) -> Spelled<'_> {
    Spelled {
        action: rule.action,
        direction: rule.direction,
        protocol: rule.protocol.name(),
        ports: (rule.start_port, rule.end_port),
        cidrs: &rule.cidrs,
        other_cidrs: &[],
        reason: &rule.reason,
    }
}

fn spell_row(rule: &AclRule) -> Spelled<'_> {
    Spelled {
        action: rule.action,
        direction: rule.direction,
        protocol: rule.protocol.map_or("another protocol", Protocol::name),
        ports: (rule.start_port, rule.end_port),
        cidrs: &rule.cidrs,
        other_cidrs: &rule.other_cidrs,
        reason: &rule.reason,
    }
}

impl fmt::Display for Spelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} {}",
            self.action, self.direction, self.protocol
        )?;
        match self.ports {
            (Some(start), Some(end)) if start != end => write!(f, " {start}-{end}")?,
            (Some(start), _) => write!(f, " {start}")?,
            (None, _) => {}
        }
        let mut before = ' ';
        for cidr in self.cidrs {
            write!(f, "{before}{cidr}")?;
            before = ',';
        }
        for cidr in self.other_cidrs {
            write!(f, "{before}{cidr}")?;
            before = ',';
        }
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.reason)
    }
}
