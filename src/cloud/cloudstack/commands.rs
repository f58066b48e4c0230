//! Each [`Action`] as a CloudStack command with its parameters.
//!
//! Only a translation: nothing is decided here. Parameters are those of 4.22, where each command's
//! own class (`api/src/main/java/org/apache/cloudstack/api/command/user`) lists them.

use std::{collections::BTreeMap, fmt::Display};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::signing::Request;
use crate::types::{
    action::{Action, Deploy, TagKind, VmChange, mark},
    core::Confidential,
    id::JobId,
    role::Protocol,
    stack::{Direction, RuleAction, RuleSpec},
};

/// The command of an action under a job id. `project` owns what is made.
pub(super) fn request(action: &Action, job: &JobId, project: Option<&str>) -> Request {
    let request = parameters(Request::new(action.command()), action, job);
    let request = match action {
        Action::CreateVpc { .. }
        | Action::CreateTier { .. }
        | Action::CreateAffinityGroup { .. }
        | Action::AssociateAddress { .. }
        | Action::DeployVm(_) => request.with_some("projectid", project),
        _ => request,
    };
    if action.synchronous() {
        request
    } else {
        request.with("customjobid", job)
    }
}

fn parameters(request: Request, action: &Action, job: &JobId) -> Request {
    match action {
        Action::CreateVpc { .. }
        | Action::CreateTier { .. }
        | Action::CreateAclList { .. }
        | Action::CreateAffinityGroup { .. } => creation(request, action),
        Action::DeleteVpc { vpc } => request.with("id", vpc),
        Action::DeleteAclList { acl } => request.with("id", acl),
        Action::CreateAclRule { acl, number, rule } => {
            rule_parameters(request.with("aclid", acl), *number, rule)
        }
        // By default a field that is not sent keeps its value, so that a rule that loses its ports
        // or becomes ICMP would be refused or stay as it was (recorded: a job that fails with 431).
        // We send all that there shall be.
        Action::UpdateAclRule { id, number, rule } => {
            rule_parameters(request.with("id", id), *number, rule).with("partialupgrade", false)
        }
        Action::DeleteAclRule { id } => request.with("id", id),
        Action::ReplaceAcl { tier, acl } => request.with("networkid", tier).with("aclid", acl),
        Action::DeleteTier { tier } => request.with("id", tier),
        Action::DeleteAffinityGroup { group } => request.with("id", group),
        Action::AssociateAddress { vpc, ip } => {
            request.with("vpcid", vpc).with_some("ipaddress", *ip)
        }
        Action::ReleaseAddress { address } => request.with("id", address),
        Action::EnableStaticNat { address, vm, tier } => request
            .with("ipaddressid", address)
            .with("virtualmachineid", vm)
            .with("networkid", tier),
        Action::DisableStaticNat { address } => request.with("ipaddressid", address),
        Action::DeployVm(deploy) => deployment(request, deploy, job),
        Action::StartVm { vm } | Action::RebootVm { vm } | Action::ExpungeVm { vm } => {
            request.with("id", vm)
        }
        Action::StopVm { vm } => request.with("id", vm).with("forced", true),
        // A plain tenant's destroy fails if it so much as names `expunge` (recorded).
        Action::DestroyVm { vm, expunge } => request
            .with("id", vm)
            .with_some("expunge", expunge.then_some(true)),
        Action::ReimageVm { vm, template } => request
            .with("virtualmachineid", vm)
            .with("templateid", template),
        Action::UpdateVm { vm, change } => update(request.with("id", vm), change),
        Action::ChangeOffering { vm, offering } => {
            request.with("id", vm).with("serviceofferingid", offering)
        }
        Action::MoveNic { nic, address, .. } => {
            request.with("nicid", nic).with("ipaddress", address)
        }
        // An empty list is a list: it takes the VM out of every group.
        Action::SetAffinityGroups { vm, groups } => request
            .with("id", vm)
            .with("affinitygroupids", joined(groups)),
        Action::Tag {
            kind,
            resources,
            tags,
        } => tagged(request, *kind, resources, tags),
        Action::Untag {
            kind,
            resource,
            keys,
        } => untagged(request, *kind, resource, keys),
    }
}

/// What a network, a list or a group is made of.
fn creation(request: Request, action: &Action) -> Request {
    match action {
        Action::CreateVpc {
            name,
            display_text,
            cidr,
            offering,
            zone,
        } => request
            .with("name", name)
            .with("displaytext", display_text)
            .with("cidr", cidr)
            .with("vpcofferingid", offering)
            .with("zoneid", zone),
        Action::CreateTier {
            vpc,
            acl,
            name,
            display_text,
            cidr,
            gateway,
            offering,
            zone,
        } => request
            .with("name", name)
            .with("displaytext", display_text)
            .with("vpcid", vpc)
            .with("aclid", acl)
            .with("gateway", gateway)
            .with("netmask", cidr.netmask())
            .with("networkofferingid", offering)
            .with("zoneid", zone),
        Action::CreateAclList {
            vpc,
            name,
            description,
        } => request
            .with("name", name)
            .with("description", description)
            .with("vpcid", vpc),
        Action::CreateAffinityGroup {
            name,
            kind,
            description,
        } => request
            .with("name", name)
            .with("type", kind)
            .with("description", description),
        _ => request,
    }
}

fn rule_parameters(request: Request, number: u32, rule: &RuleSpec) -> Request {
    let any_icmp = (rule.protocol == Protocol::Icmp).then_some(-1);
    let direction = match rule.direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    let action = match rule.action {
        RuleAction::Allow => "Allow",
        RuleAction::Deny => "Deny",
    };
    request
        .with("number", number)
        .with("protocol", rule.protocol.name())
        .with_some("startport", rule.start_port)
        .with_some("endport", rule.end_port.or(rule.start_port))
        .with_some("icmptype", any_icmp)
        .with_some("icmpcode", any_icmp)
        .with("cidrlist", joined(&rule.cidrs))
        .with("traffictype", direction)
        .with("action", action)
        .with("reason", &rule.reason)
}

fn deployment(request: Request, deploy: &Deploy, job: &JobId) -> Request {
    let mut details = deploy.details.clone();
    details.insert(mark::INTENT.to_owned(), job.to_string());
    let groups = (!deploy.affinity_groups.is_empty()).then(|| joined(&deploy.affinity_groups));
    let user_data = Some(&deploy.user_data).filter(|data| !data.expose().is_empty());
    request
        .with("name", &deploy.name)
        .with("displayname", &deploy.display_name)
        .with("zoneid", &deploy.zone)
        .with("templateid", &deploy.template)
        .with("serviceofferingid", &deploy.offering)
        .with("iptonetworklist[0].networkid", &deploy.tier)
        .with("iptonetworklist[0].ip", deploy.address)
        .with("startvm", false)
        .with_some("keypair", deploy.key_pair.as_ref())
        .with_some("affinitygroupids", groups)
        .with_map("details", &details)
        .with_some("userdata", user_data.map(base64))
}

fn update(request: Request, change: &VmChange) -> Request {
    match change {
        VmChange::Name(name) => request.with("name", name),
        VmChange::DisplayName(name) => request.with("displayname", name),
        VmChange::Details(details) if details.is_empty() => request.with("cleanupdetails", true),
        // Only the first entry of this map parameter is read (4.22, UpdateVMCmd.java), and what it
        // does not name goes (recorded).
        VmChange::Details(details) => request.with_map("details", details),
        VmChange::UserData { text, .. } => request.with("userdata", base64(text)),
    }
}

fn tagged(
    request: Request,
    kind: TagKind,
    resources: &[String],
    tags: &BTreeMap<String, String>,
) -> Request {
    let request = request
        .with("resourceids", joined(resources))
        .with("resourcetype", kind.name());
    let tags = tags.iter().enumerate();
    tags.fold(request, |request, (n, (key, value))| {
        request
            .with(format!("tags[{n}].key"), key)
            .with(format!("tags[{n}].value"), value)
    })
}

/// Without values: a key goes whatever its value is.
fn untagged(request: Request, kind: TagKind, resource: &str, keys: &[String]) -> Request {
    let request = request
        .with("resourceids", resource)
        .with("resourcetype", kind.name());
    let keys = keys.iter().enumerate();
    keys.fold(request, |request, (n, key)| {
        request.with(format!("tags[{n}].key"), key)
    })
}

fn base64(text: &Confidential) -> String {
    STANDARD.encode(text.expose())
}

fn joined<T: Display>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(T::to_string).collect();
    items.join(",")
}
