//! Security groups: kept and shown as elsewhere, although no network of this zone heeds them.
//! Texts are those of the server's `SecurityGroupManagerImpl` and its commands.

use std::collections::BTreeMap;

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use crate::sim::effects::security_group::SecurityWork;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::security_group as view;
use crate::sim::world::{
    DEFAULT_SECURITY_GROUP as DEFAULT, Kind, Peer, SecurityGroup, SecurityRule, Uuid,
};

/// What a new rule can say.
const RULE: &str = "protocol startport:integer endport:integer icmptype:integer icmpcode:integer \
     cidrlist:list usersecuritygrouplist:map domainid:uuid account projectid:uuid \
     securitygroupid:uuid securitygroupname";

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "createSecurityGroup",
        "name! description account domainid:uuid projectid:uuid",
        create,
    ),
    sync(
        "deleteSecurityGroup",
        "account domainid:uuid id:uuid name projectid:uuid",
        delete,
    ),
    sync("updateSecurityGroup", "id!:uuid name", update),
    sync(
        "listSecurityGroups",
        "id:uuid securitygroupname virtualmachineid:uuid tags:map @owned",
        list,
    ),
    job(
        "authorizeSecurityGroupIngress",
        RULE,
        authorize_ingress,
        class(
            "securitygroup",
            "AuthorizeSecurityGroupIngressCmd",
            "SecurityGroup",
        ),
    ),
    job(
        "authorizeSecurityGroupEgress",
        RULE,
        authorize_egress,
        class(
            "securitygroup",
            "AuthorizeSecurityGroupEgressCmd",
            "SecurityGroup",
        ),
    ),
    job(
        "revokeSecurityGroupIngress",
        "id!:uuid",
        revoke_ingress,
        class(
            "securitygroup",
            "RevokeSecurityGroupIngressCmd",
            "SecurityGroup",
        ),
    ),
    job(
        "revokeSecurityGroupEgress",
        "id!:uuid",
        revoke_egress,
        class(
            "securitygroup",
            "RevokeSecurityGroupEgressCmd",
            "SecurityGroup",
        ),
    ),
];

/// How many groups an account keeps here: the server has no limit of its own.
const GROUPS_MAX: usize = 1_000;

/// How many rules a group has here: the server has no limit of its own.
const RULES_MAX: usize = 1_000;

fn not_empty(name: &str) -> Result<(), ApiError> {
    if name.trim().is_empty() {
        return Err(ApiError::value("Security group name cannot be empty"));
    }
    Ok(())
}

/// `createSecurityGroup`. Names are unique in the account.
fn create(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    not_empty(&name)?;
    let owner = call.caller.account.clone();
    if call.world.security_group_named(&owner, &name).is_some() {
        let text =
            format!("Unable to create security group, a group with name {name} already exists.");
        return Err(ApiError::value(text));
    }
    let groups = call.world.security_groups.values();
    if groups.filter(|group| group.account == owner).count() >= GROUPS_MAX {
        let text = format!("This simulator keeps {GROUPS_MAX} security groups of an account");
        return Err(ApiError::quota(text));
    }
    let description = call.owned_text("description");
    let id = call
        .world
        .add_security_group(&owner, &name, description.as_deref());
    let row = view::narrow(call.world, &call.world.security_groups[&id]);
    Ok(Answer::Object(json!({"securitygroup": row})))
}

/// The group that a command is about: by id, or by its name in the account.
fn named(call: &Call<'_>, (id, name): (&str, &str)) -> Result<Option<Uuid>, ApiError> {
    if let Some(id) = call.own_if_given(id, Kind::SecurityGroup)? {
        return Ok(Some(id));
    }
    let Some(name) = call.text(name) else {
        return Ok(None);
    };
    let owner = &call.caller.account;
    let found = call.world.security_group_named(owner, name);
    let number = call.world.accounts.get(owner).map_or(0, |row| row.number);
    let id = found.map(|group| group.id.clone()).ok_or_else(|| {
        let text = format!("Unable to find security group {name} for account id={number}");
        ApiError::value(text)
    })?;
    Ok(Some(id))
}

/// The row of a group; one that was deleted has none.
fn living<'world>(call: &'world Call<'_>, id: &str) -> Result<&'world SecurityGroup, ApiError> {
    let found = call.world.security_groups.get(id);
    found.ok_or_else(|| ApiError::value(format!("Unable to find security group by id {id}")))
}

/// `deleteSecurityGroup`, by id or by name.
fn delete(call: &mut Call<'_>) -> Answered {
    let id = named(call, ("id", "name"))?.ok_or_else(|| {
        let text = "Either id or name parameter is required by deleteSecurityGroup command";
        ApiError::parameter(text)
    })?;
    let group = living(call, &id)?;
    if group.name.eq_ignore_ascii_case(DEFAULT) {
        return Err(ApiError::value("The network group default is reserved"));
    }
    let peer = Peer::Group(id.clone());
    let mut rules = call.world.security_groups.values();
    if rules.any(|other| other.rules.iter().any(|rule| rule.peer == peer)) {
        let text = "Cannot delete group when there are security rules that allow this group";
        return Err(ApiError::in_use(text));
    }
    let number = group.number;
    if let Some(group) = call.world.security_groups.remove(&id) {
        for rule in group.rules {
            call.world.unlabel(&rule.id);
        }
    }
    call.world.bury(Kind::SecurityGroup, &id, number);
    Ok(Answer::success())
}

/// `updateSecurityGroup`: another name.
fn update(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::SecurityGroup)?;
    let group = living(call, &id)?;
    let name = call.owned_text("name").filter(|name| *name != group.name);
    if let Some(name) = name {
        not_empty(&name)?;
        if name.eq_ignore_ascii_case(DEFAULT) {
            let text = format!("The security group name {DEFAULT} is reserved");
            return Err(ApiError::value(text));
        }
        if group.name.eq_ignore_ascii_case(DEFAULT) {
            let text = "The default security group cannot be renamed";
            return Err(ApiError::value(text));
        }
        if let Some(group) = call.world.security_groups.get_mut(&id) {
            group.name = name;
        }
    }
    let row = view::narrow(call.world, living(call, &id)?);
    Ok(Answer::Object(json!({"securitygroup": row})))
}

/// `listSecurityGroups`.
fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::SecurityGroup)?;
    // No machine of this zone is in one.
    let of_machine = call.own_if_given("virtualmachineid", Kind::Vm)?.is_some();
    let groups = call.world.security_groups.values();
    let mut groups: Vec<&SecurityGroup> = groups
        .filter(|group| !of_machine && call.sees(Some(&group.account)))
        .filter(|group| call.wants("id", Some(&group.id)))
        .filter(|group| call.wants("securitygroupname", Some(&group.name)))
        .filter(|group| call.holds("keyword", &group.name))
        .filter(|group| call.tagged(&group.id))
        .collect();
    groups.sort_by_key(|group| group.number);
    call.page("securitygroup", &groups, |group| {
        view::row(call.world, group)
    })
}

/// The protocol of a rule, and its ports or its type and code.
fn traffic(call: &Call<'_>) -> Result<(String, (i32, i32)), String> {
    let number = |name| {
        let parsed = call.parsed::<i32>(name);
        parsed.map_err(|error: ApiError| error.text)
    };
    let (first, last) = (number("startport")?, number("endport")?);
    let (kind, code) = (number("icmptype")?, number("icmpcode")?);
    let protocol = call.text("protocol").unwrap_or("all").to_lowercase();
    if let Ok(number) = protocol.parse::<i32>() {
        return match number {
            1 => Ok(("icmp".to_owned(), (-1, -1))),
            0..=255 => Ok((protocol, (0, 0))),
            _ => Err(format!("Invalid protocol number: {number}")),
        };
    }
    let range = match protocol.as_str() {
        "all" if first.is_some() || last.is_some() => {
            let text = "Cannot specify startPort or endPort without specifying protocol";
            return Err(text.to_owned());
        }
        "all" => (0, 0),
        "icmp" => types(kind, code)?,
        "tcp" | "udp" => ports(first, last)?,
        other => return Err(format!("Invalid protocol {other}")),
    };
    Ok((protocol, range))
}

fn types(kind: Option<i32>, code: Option<i32>) -> Result<(i32, i32), String> {
    let told = |value: Option<i32>| value.map_or_else(|| "null".to_owned(), |it| it.to_string());
    let (Some(kind), Some(code)) = (kind, code) else {
        let (kind, code) = (told(kind), told(code));
        return Err(format!(
            "Invalid ICMP type/code specified, icmpType = {kind}, icmpCode = {code}"
        ));
    };
    let known = -1..=255;
    match (kind, code) {
        (-1, 0..) => Err("Invalid icmp code".to_owned()),
        (0.., -1) => Err("Invalid icmp code: need non-negative icmp code ".to_owned()),
        _ if known.contains(&kind) && known.contains(&code) => Ok((kind, code)),
        _ => Err("Invalid icmp type/code ".to_owned()),
    }
}

fn ports(first: Option<i32>, last: Option<i32>) -> Result<(i32, i32), String> {
    let told = |value: Option<i32>| value.map_or_else(|| "null".to_owned(), |it| it.to_string());
    match (first, last) {
        (Some(0), Some(0)) => Ok((0, 65_535)),
        (Some(first), Some(last)) if first > last => {
            Err(format!("Invalid port range {first}:{last}"))
        }
        (Some(first), Some(last)) if (0..=65_535).contains(&first) && last <= 65_535 => {
            Ok((first, last))
        }
        (Some(first), Some(last)) => Err(format!("Invalid port numbers {first}:{last}")),
        _ => {
            let (first, last) = (told(first), told(last));
            Err(format!(
                "Invalid port range specified, startPort = {first}, endPort = {last}"
            ))
        }
    }
}

/// Whom a new rule is about.
fn peers(call: &Call<'_>) -> Result<Vec<Peer>, String> {
    let cidrs = call.text("cidrlist").unwrap_or_default();
    let cidrs = cidrs.split(',').map(str::trim);
    let mut peers = Vec::new();
    for cidr in cidrs.filter(|cidr| !cidr.is_empty()) {
        if cidr.parse::<ipnet::IpNet>().is_err() {
            return Err(format!("Invalid cidr {cidr}"));
        }
        peers.push(Peer::Cidr(cidr.to_owned()));
    }
    for entry in call.params.entries("usersecuritygrouplist") {
        peers.push(Peer::Group(group_of(call, &entry)?));
    }
    if peers.is_empty() {
        let text = "At least one cidr or at least one security group needs to be specified";
        return Err(text.to_owned());
    }
    Ok(peers)
}

fn group_of(call: &Call<'_>, entry: &BTreeMap<String, String>) -> Result<Uuid, String> {
    let (Some(account), Some(group)) = (entry.get("account"), entry.get("group")) else {
        return Err(
            "Invalid user group specified, fields 'group' and 'account' cannot be null, please specify groups in the form:  userGroupList[0].group=XXX&userGroupList[0].account=YYY"
                .to_owned(),
        );
    };
    let domain = call.world.domain_of(&call.caller.account);
    let owner = call.world.account_in(domain, account).ok_or_else(|| {
        format!("Nonexistent account: {account} when trying to authorize security group rule")
    })?;
    let found = call.world.security_group_named(&owner.id, group);
    found.map(|group| group.id.clone()).ok_or_else(|| {
        format!(
            "Nonexistent group {group} for account {account}/{domain} is given, unable to authorize security group rule."
        )
    })
}

/// What the request would add, unless the job is to fail.
fn rules(call: &mut Call<'_>, egress: bool) -> Result<Vec<SecurityRule>, String> {
    let ((protocol, range), peers) = (traffic(call)?, peers(call)?);
    let mut rule = |peer| SecurityRule {
        id: call.world.fresh_id(),
        egress,
        protocol: protocol.clone(),
        range,
        peer,
    };
    Ok(peers.into_iter().map(&mut rule).collect())
}

fn authorize(call: &mut Call<'_>, egress: bool) -> Answered {
    let (id, name) = ("securitygroupid", "securitygroupname");
    if call.text(id).is_some() && call.text(name).is_some() {
        let text = "securityGroupId and securityGroupName parameters are mutually exclusive";
        return Err(ApiError::value(text));
    }
    let group = named(call, (id, name))?.ok_or_else(|| {
        let command = call.command.name;
        ApiError::value(format!(
            "Either securityGroupId or securityGroupName is required by {command} command"
        ))
    })?;
    let room = RULES_MAX.saturating_sub(living(call, &group)?.rules.len());
    let mut rules = rules(call, egress);
    if rules.as_ref().is_ok_and(|rules| rules.len() > room) {
        rules = Err(format!(
            "This simulator keeps {RULES_MAX} rules of a security group"
        ));
    }
    let work = SecurityWork::Authorize {
        group: group.clone(),
        egress,
        rules,
    };
    call.submit(Work::Security(work), Some(group), None)
}

/// `authorizeSecurityGroupIngress`: a rule for each of whom the request names.
fn authorize_ingress(call: &mut Call<'_>) -> Answered {
    authorize(call, false)
}

/// `authorizeSecurityGroupEgress`.
fn authorize_egress(call: &mut Call<'_>) -> Answered {
    authorize(call, true)
}

fn revoke(call: &mut Call<'_>, egress: bool) -> Answered {
    let rule = call.own("id", Kind::SecurityRule)?;
    let work = SecurityWork::Revoke {
        rule: rule.clone(),
        egress,
    };
    call.submit(Work::Security(work), Some(rule), None)
}

/// `revokeSecurityGroupIngress`.
fn revoke_ingress(call: &mut Call<'_>) -> Answered {
    revoke(call, false)
}

/// `revokeSecurityGroupEgress`.
fn revoke_egress(call: &mut Call<'_>) -> Answered {
    revoke(call, true)
}
