//! VPCs.

use super::call::{Answered, Call};
use super::declare::{Command, by_admin, class, job, sync};
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::net;
use crate::sim::world::{Kind, Subnet, Vpc};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createVPC",
        "zoneid!:uuid name! vpcofferingid!:uuid cidr cidrsize:integer displaytext \
         networkdomain start:boolean dns1 dns2 publicmtu:integer sourcenatipaddress \
         account domainid:uuid projectid:uuid fordisplay:boolean",
        create,
        by_admin("vpc", "CreateVPCCmd", "None"),
    ),
    sync(
        "listVPCs",
        "id:uuid name displaytext cidr zoneid:uuid vpcofferingid:uuid state \
         supportedservices:list restartrequired:boolean fordisplay:boolean tags:map \
         @owned",
        list,
    ),
    job(
        "updateVPC",
        "id!:uuid name displaytext publicmtu:integer sourcenatipaddress \
         fordisplay:boolean",
        update,
        by_admin("vpc", "UpdateVPCCmd", "Vpc"),
    ),
    job(
        "deleteVPC",
        "id!:uuid",
        delete,
        class("vpc", "DeleteVPCCmd", "Vpc"),
    ),
    job(
        "restartVPC",
        "id!:uuid cleanup:boolean makeredundant:boolean livepatch:boolean",
        restart,
        class("vpc", "RestartVPCCmd", "Vpc"),
    ),
];

/// The DNS domain of an account's networks, unless it asks for another.
pub(crate) fn default_domain(call: &Call<'_>) -> String {
    let account = call.world.accounts.get(&call.caller.account);
    format!(
        "cs{:x}cloud.internal",
        account.map_or(0, |account| account.number)
    )
}

/// `createVPC`. Names need not be unique.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    call.required_id("zoneid", Kind::Zone)?;
    let offering = call.required_id("vpcofferingid", Kind::VpcOffering)?;
    let name = call.required("name")?;
    let cidr = call.text("cidr").unwrap_or_default();
    let subnet = Subnet::parse(cidr)
        .ok_or_else(|| ApiError::value(format!("Invalid CIDR specified {cidr}")))?;
    let answers = call.world.settings.guest_cidr_loopback && subnet.is_loopback();
    if !subnet.is_private() && !answers {
        return Err(ApiError::value(format!(
            "Guest Cidr {cidr} is not RFC1918 compliant"
        )));
    }
    call.within_limit("vpc", 1)?;
    let vpc = Vpc {
        number: call.world.next_number(Kind::Vpc),
        id: call.world.fresh_id(),
        display_text: call.display_text(&name),
        name,
        cidr: subnet.to_string(),
        offering,
        account: call.caller.account.clone(),
        domain: call
            .owned_text("networkdomain")
            .unwrap_or_else(|| default_domain(call)),
        created: call.world.wall(),
    };
    let id = vpc.id.clone();
    call.world.totals.vpcs += 1;
    call.world.vpcs.insert(id.clone(), vpc);
    call.submit(Work::CreateVpc { vpc: id.clone() }, None, Some(id))
}

/// `listVPCs`, whose name filter is a substring.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::Vpc)?;
    let mut vpcs: Vec<&Vpc> = call
        .world
        .vpcs
        .values()
        .filter(|vpc| call.sees(Some(&vpc.account)) && call.tagged(&vpc.id))
        .filter(|vpc| call.wants("id", Some(&vpc.id)))
        .filter(|vpc| call.holds("name", &vpc.name) && call.holds("keyword", &vpc.name))
        .filter(|vpc| call.wants("displaytext", Some(&vpc.display_text)))
        .filter(|vpc| call.wants("cidr", Some(&vpc.cidr)))
        .filter(|vpc| call.wants("vpcofferingid", Some(&vpc.offering)))
        .filter(|_| call.wants("state", Some("Enabled")))
        .filter(|_| call.wants("zoneid", Some(call.world.catalogue.zone_id())))
        .collect();
    vpcs.sort_by_key(|vpc| std::cmp::Reverse(vpc.number));
    let viewer = call.viewer();
    call.page("vpc", &vpcs, |vpc| net::vpc(call.world, &viewer, vpc))
}

/// `updateVPC`.
pub(crate) fn update(call: &mut Call<'_>) -> Answered {
    let vpc = call.own("id", Kind::Vpc)?;
    let (name, display_text) = (call.owned_text("name"), call.owned_text("displaytext"));
    call.submit(
        Work::UpdateVpc {
            vpc,
            name,
            display_text,
        },
        None,
        None,
    )
}

/// `deleteVPC`. One that is gone already is accepted, and refused by the job.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let vpc = call.own("id", Kind::Vpc)?;
    call.submit(Work::DeleteVpc { vpc, forced: false }, None, None)
}

/// `restartVPC`.
pub(crate) fn restart(call: &mut Call<'_>) -> Answered {
    let vpc = call.own("id", Kind::Vpc)?;
    call.submit(Work::RestartVpc { vpc }, None, None)
}
