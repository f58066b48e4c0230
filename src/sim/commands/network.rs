//! Networks: tiers of VPCs, and isolated networks.

use std::net::Ipv4Addr;

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, by_admin, class, job, sync};
use super::vpc::default_domain;
use crate::sim::events::Subject;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::net;
use crate::sim::world::catalogue::Catalogue;
use crate::sim::world::index::NetworkKey;
use crate::sim::world::{
    Kind, Network, NetworkState, Subnet, Uuid, Vpc, quoted_network, quoted_vpc,
};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "createNetwork",
        "zoneid!:uuid networkofferingid!:uuid name! displaytext gateway netmask startip \
         endip vlan networkdomain acltype subdomainaccess:boolean vpcid:uuid aclid:uuid \
         externalid cidrsize:integer dns1 dns2 publicmtu:integer privatemtu:integer \
         sourcenatipaddress associatednetworkid:uuid account domainid:uuid \
         projectid:uuid displaynetwork:boolean",
        create,
    ),
    sync(
        "listNetworks",
        "id:uuid name zoneid:uuid type vpcid:uuid forvpc:boolean acltype traffictype \
         networkofferingid:uuid canusefordeploy:boolean issystem:boolean \
         restartrequired:boolean supportedservices:list specifyipranges:boolean \
         physicalnetworkid:uuid networkfilter retrieveonlyresourcecount:boolean \
         tags:map @owned",
        list,
    ),
    job(
        "updateNetwork",
        "id!:uuid name displaytext networkdomain networkofferingid:uuid \
         changecidr:boolean guestvmcidr dns1 dns2 publicmtu:integer privatemtu:integer \
         sourcenatipaddress forced:boolean displaynetwork:boolean",
        update,
        by_admin("network", "UpdateNetworkCmd", "Network"),
    ),
    job(
        "deleteNetwork",
        "id!:uuid forced:boolean",
        delete,
        class("network", "DeleteNetworkCmd", "Network"),
    ),
    job(
        "restartNetwork",
        "id!:uuid cleanup:boolean livepatch:boolean makeredundant:boolean",
        restart,
        class("network", "RestartNetworkCmd", "Network"),
    ),
];

/// The range of a new network.
struct Range {
    gateway: Ipv4Addr,
    netmask: Ipv4Addr,
    subnet: Subnet,
}

/// `createNetwork`: synchronous, so a lost answer leaves no job to ask.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    call.required_id("zoneid", Kind::Zone)?;
    let offering = call.required_id("networkofferingid", Kind::NetworkOffering)?;
    let name = call.required("name")?;
    let vpc = call.own_if_given("vpcid", Kind::Vpc)?;
    let acl = call.own_if_given("aclid", Kind::AclList)?;
    check_offering(call, &offering, vpc.is_some())?;
    let vpc = vpc.map(|id| living_vpc(call, &id)).transpose()?;
    let range = match &vpc {
        Some(vpc) => tier_range(call, vpc)?,
        None => isolated_range(call)?,
    };
    if let (Some(vpc), Some(acl)) = (&vpc, &acl) {
        check_acl(call, vpc, acl)?;
    }
    call.within_limit("network", 1)?;
    let network = Network {
        number: call.world.next_number(Kind::Network),
        id: call.world.fresh_id(),
        display_text: call
            .owned_text("displaytext")
            .unwrap_or_else(|| name.clone()),
        name,
        gateway: range.gateway,
        netmask: range.netmask,
        cidr: range.subnet.to_string(),
        offering,
        account: call.caller.account.clone(),
        acl,
        domain: vpc
            .as_ref()
            .map_or_else(|| default_domain(call), |vpc| vpc.domain.clone()),
        vpc: vpc.map(|vpc| vpc.id),
        state: NetworkState::Allocated,
        vlan: None,
        busy_until: None,
        idle_since: None,
        nics: 0,
        created: call.world.wall(),
    };
    let id = network.id.clone();
    let description = format!(
        "Successfully completed creating network. Network Id: {}",
        network.number
    );
    let row = net::network(call.world, &call.viewer(), &network);
    call.world.networks.insert(id.clone(), network);
    let subject = Subject::network(call.world, &id);
    call.report("NETWORK.CREATE", "Completed", false, description, subject);
    Ok(Answer::Object(json!({"network": row})))
}

fn check_offering(call: &Call<'_>, offering: &Uuid, tier: bool) -> Result<(), ApiError> {
    let row = Catalogue::find(&call.world.catalogue.network_offerings, offering);
    let for_vpc = row.and_then(|row| row.get("forvpc")) == Some(&true.into());
    match (tier, for_vpc) {
        (true, false) => Err(ApiError::value(
            "Network offering can't be used for VPC networks",
        )),
        (false, true) => Err(ApiError::value(
            "Network offering can be used for VPC networks only",
        )),
        (true, true) | (false, false) => Ok(()),
    }
}

fn living_vpc(call: &Call<'_>, id: &Uuid) -> Result<Vpc, ApiError> {
    let vpc = call.world.vpcs.get(id).cloned();
    vpc.ok_or_else(|| ApiError::value("Unable to find Enabled VPC"))
}

fn check_acl(call: &Call<'_>, vpc: &Vpc, acl: &Uuid) -> Result<(), ApiError> {
    match call.world.acl_lists.get(acl) {
        None => Err(ApiError::value("Unable to find specified NetworkACL")),
        Some(list) if list.vpc.as_ref().is_some_and(|owner| *owner != vpc.id) => {
            Err(ApiError::value(format!(
                "ACL: {acl} do not belong to the VPC: {}",
                quoted_vpc(vpc)
            )))
        }
        Some(_) => Ok(()),
    }
}

fn given_range(call: &Call<'_>) -> Result<Option<Range>, ApiError> {
    let (Some(gateway), Some(netmask)) = (call.text("gateway"), call.text("netmask")) else {
        return Ok(None);
    };
    let invalid = || ApiError::value(format!("Invalid gateway {gateway} or netmask {netmask}"));
    let (Ok(gateway), Ok(mask)) = (gateway.parse(), netmask.parse()) else {
        return Err(invalid());
    };
    let prefix = Subnet::prefix_of(mask).ok_or_else(invalid)?;
    let subnet = Subnet::around(gateway, prefix);
    if !subnet.has_host(gateway) {
        let text = "Invalid gateway specified. It should never be equal to the cidr subnet value";
        return Err(ApiError::value(text));
    }
    Ok(Some(Range {
        gateway,
        netmask: mask,
        subnet,
    }))
}

/// The range of a tier: inside its VPC, beside its siblings, and not one tier too many.
fn tier_range(call: &Call<'_>, vpc: &Vpc) -> Result<Range, ApiError> {
    let range = given_range(call)?.ok_or_else(|| {
        ApiError::value("Gateway/netmask are required when create network for VPC")
    })?;
    let siblings = call.world.networks.under(&NetworkKey::Vpc(vpc.id.clone()));
    let max = call.world.settings.vpc_max_networks;
    if siblings.len() >= max {
        let text = format!("Number of networks per VPC cannot surpass [{max}].");
        return Err(ApiError::internal(4250, text));
    }
    if !Subnet::parse(&vpc.cidr).is_some_and(|whole| whole.holds(range.subnet)) {
        let quoted = quoted_vpc(vpc);
        let text = format!(
            "Network cidr {} is not within vpc {quoted} cidr",
            range.subnet
        );
        return Err(ApiError::value(text));
    }
    let crosses =
        |tier: &&Network| Subnet::parse(&tier.cidr).is_some_and(|own| own.crosses(range.subnet));
    match siblings.into_iter().find(crosses) {
        None => Ok(range),
        Some(tier) => Err(ApiError::value(format!(
            "Network cidr {} crosses other network cidr {} belonging to the same vpc {}",
            range.subnet,
            quoted_network(tier),
            quoted_vpc(vpc)
        ))),
    }
}

/// The range of an isolated network: what was asked for, or the zone's usual one.
fn isolated_range(call: &Call<'_>) -> Result<Range, ApiError> {
    if let Some(range) = given_range(call)? {
        return Ok(range);
    }
    let gateway = Ipv4Addr::new(10, 1, 1, 1);
    let netmask = Ipv4Addr::new(255, 255, 255, 0);
    Ok(Range {
        gateway,
        netmask,
        subnet: Subnet::around(gateway, 24),
    })
}

/// `listNetworks`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::Network)?;
    call.id("vpcid", Kind::Vpc)?;
    let mut networks: Vec<&Network> = call
        .world
        .networks
        .values()
        .filter(|network| call.sees(Some(&network.account)) && call.tagged(&network.id))
        .filter(|network| call.wants("id", Some(&network.id)))
        .filter(|network| call.wants("name", Some(&network.name)))
        .filter(|network| call.wants("vpcid", network.vpc.as_deref()))
        .filter(|network| call.wants("networkofferingid", Some(&network.offering)))
        .filter(|network| {
            call.flag("forvpc")
                .is_none_or(|tier| tier == network.vpc.is_some())
        })
        .filter(|network| call.holds("keyword", &network.name))
        .filter(|_| call.wants("type", Some("Isolated")))
        .filter(|_| call.wants("zoneid", Some(call.world.catalogue.zone_id())))
        .collect();
    networks.sort_by_key(|network| std::cmp::Reverse(network.number));
    let viewer = call.viewer();
    call.page("network", &networks, |network| {
        net::network(call.world, &viewer, network)
    })
}

fn own(call: &Call<'_>) -> Result<Uuid, ApiError> {
    let id = call.own("id", Kind::Network)?;
    match call.world.gone.get(&id) {
        Some(gone) => Err(ApiError::value(format!(
            "Network ID={} doesn't exist",
            gone.number
        ))),
        None => Ok(id),
    }
}

/// `updateNetwork`.
pub(crate) fn update(call: &mut Call<'_>) -> Answered {
    let network = own(call)?;
    let (name, display_text) = (call.owned_text("name"), call.owned_text("displaytext"));
    call.submit(
        Work::UpdateNetwork {
            network,
            name,
            display_text,
        },
        None,
        None,
    )
}

/// `deleteNetwork`.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let network = own(call)?;
    call.submit(
        Work::DeleteNetwork {
            network,
            forced: false,
        },
        None,
        None,
    )
}

/// `restartNetwork`.
pub(crate) fn restart(call: &mut Call<'_>) -> Answered {
    let network = own(call)?;
    if call.world.networks.get(&network).map(|row| row.state) != Some(NetworkState::Implemented) {
        let text = "Network is not in the right state to be restarted. Correct states are: Implemented, Setup";
        return Err(ApiError::value(text));
    }
    call.submit(Work::RestartNetwork { network }, None, None)
}
