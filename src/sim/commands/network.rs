//! Networks: tiers of VPCs, and isolated networks.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, by_admin, class, job, sync};
use super::network_range::{self, Range};
use super::vpc::default_domain;
use crate::sim::events::Subject;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::{account_name, net};
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::{
    GuestType, Kind, Network, NetworkState, Uuid, Vpc, quoted_network, quoted_vpc,
};

/// The offering of the network that a deploy without networks makes.
const USUAL_OFFERING: &str = "DefaultIsolatedNetworkOfferingWithSourceNatService";

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

/// `createNetwork`: synchronous, so a lost answer leaves no job to ask.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    call.required_id("zoneid", Kind::Zone)?;
    let offering = call.required_id("networkofferingid", Kind::NetworkOffering)?;
    let name = call.required("name")?;
    let vpc = call.own_if_given("vpcid", Kind::Vpc)?;
    let acl = call.own_if_given("aclid", Kind::AclList)?;
    let row = Catalogue::find(&call.world.catalogue.network_offerings, &offering);
    let row = row.cloned().unwrap_or_default();
    check_offering(&row, vpc.is_some())?;
    let vpc = vpc.map(|id| living_vpc(call, &id)).transpose()?;
    if acl.is_some() && !call.world.offering_has(&offering, "NetworkACL") {
        let text = "Cannot apply NetworkACL. Network Offering does not support NetworkACL service";
        return Err(ApiError::value(text));
    }
    let range = match &vpc {
        Some(vpc) => {
            let range = network_range::of_tier(call, vpc)?;
            check_balancing(call, vpc, &offering)?;
            range
        }
        None => network_range::of_network(call, &row)?,
    };
    if let (Some(vpc), Some(acl)) = (&vpc, &acl) {
        check_acl(call, vpc, acl)?;
    }
    let id = add(
        call,
        &row,
        Plan {
            name,
            range,
            vpc,
            acl,
        },
    )?;
    let network = call.world.networks.get(&id);
    let row = network.map(|network| net::network(call.world, &call.viewer(), network));
    Ok(Answer::Object(json!({"network": row})))
}

/// A network that may be created.
struct Plan {
    name: String,
    range: Range,
    vpc: Option<Vpc>,
    acl: Option<Uuid>,
}

/// Puts a network into the world and tells of it.
fn add(call: &mut Call<'_>, offering: &Row, plan: Plan) -> Result<Uuid, ApiError> {
    let Plan {
        name,
        range,
        vpc,
        acl,
    } = plan;
    let guest_type = network_range::guest_type(offering);
    let shared = guest_type == GuestType::Shared;
    if !shared {
        call.within_limit("network", 1)?;
    }
    // A shared network belongs to nobody in particular.
    let system = call.world.account_named("system").filter(|_| shared);
    let account = system.map_or_else(|| call.caller.account.clone(), |system| system.id.clone());
    let domain = call.owned_text("networkdomain");
    let network = Network {
        number: call.world.next_number(Kind::Network),
        id: call.world.fresh_id(),
        display_text: call.display_text(&name),
        name,
        guest_type,
        gateway: range.gateway,
        netmask: range.netmask,
        cidr: range.cidr,
        ip_range: range.given_out,
        offering: Catalogue::text(offering, "id").to_owned(),
        account,
        acl,
        domain: vpc.as_ref().map_or_else(
            || domain.unwrap_or_else(|| default_domain(call)),
            |vpc| vpc.domain.clone(),
        ),
        vpc: vpc.map(|vpc| vpc.id),
        state: if shared {
            NetworkState::Setup
        } else {
            NetworkState::Allocated
        },
        vlan: range.vlan,
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
    call.world.networks.insert(id.clone(), network);
    let subject = Subject::network(call.world, &id);
    call.report("NETWORK.CREATE", "Completed", false, description, subject);
    Ok(id)
}

/// The isolated networks of the account outside of VPCs.
pub(super) fn isolated_networks(call: &Call<'_>) -> Vec<Uuid> {
    let networks = call.world.networks.values();
    let mine = networks.filter(|network| {
        network.account == call.caller.account
            && network.vpc.is_none()
            && network.guest_type == GuestType::Isolated
    });
    mine.map(|network| network.id.clone()).collect()
}

/// The isolated network that a deploy without networks makes for an account that has none.
pub(super) fn create_default(call: &mut Call<'_>) -> Result<Uuid, ApiError> {
    let offerings = &call.world.catalogue.network_offerings;
    let usual = |row: &&Row| Catalogue::text(row, "name") == USUAL_OFFERING;
    let Some(offering) = offerings.iter().find(usual).cloned() else {
        let text = "Unable to find network offering with availability=Required to automatically create the network as a part of vm creation";
        return Err(ApiError::value(text));
    };
    let account = account_name(call.world, &call.caller.account);
    let name = format!("{account}-network");
    let range = network_range::usual_range(call);
    let plan = Plan {
        name,
        range,
        vpc: None,
        acl: None,
    };
    add(call, &offering, plan)
}

fn check_offering(offering: &Row, tier: bool) -> Result<(), ApiError> {
    let for_vpc = offering.get("forvpc") == Some(&true.into());
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

/// Public load balancing is for the tiers of one offering.
fn check_balancing(call: &Call<'_>, vpc: &Vpc, offering: &Uuid) -> Result<(), ApiError> {
    let balances = |offering: &str| {
        let row = Catalogue::find(&call.world.catalogue.network_offerings, offering);
        let internal = row.and_then(|row| row.get("supportsinternallb")) == Some(&true.into());
        call.world.offering_has(offering, "Lb") && !internal
    };
    let mut tiers = call.world.networks.values();
    let clash = tiers.find(|tier| {
        let sibling = tier.vpc.as_ref() == Some(&vpc.id) && tier.offering != *offering;
        sibling && balances(offering) && balances(&tier.offering)
    });
    match clash {
        None => Ok(()),
        Some(tier) => Err(ApiError::value(format!(
            "Public LB service is already supported by network {} in VPC {}",
            quoted_network(tier),
            quoted_vpc(vpc)
        ))),
    }
}

/// The VPC of a new tier, whose owner must be able to act for the tier's.
fn living_vpc(call: &Call<'_>, id: &Uuid) -> Result<Vpc, ApiError> {
    let vpc = call.world.vpcs.get(id).cloned();
    let vpc = vpc.ok_or_else(|| ApiError::value("Unable to find Enabled VPC"))?;
    let owner = &call.caller.account;
    if !call.world.may_act(&vpc.account, owner) {
        return Err(ApiError::value(format!(
            "VPC owner does not have access to account [{}].",
            account_name(call.world, owner)
        )));
    }
    Ok(vpc)
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

/// `listNetworks`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::Network)?;
    call.id("vpcid", Kind::Vpc)?;
    let mut networks: Vec<&Network> = call
        .world
        .networks
        .values()
        .filter(|network| is_visible(call, network) && call.tagged(&network.id))
        .filter(|network| call.wants("id", Some(&network.id)))
        .filter(|network| call.wants("name", Some(&network.name)))
        .filter(|network| call.wants("vpcid", network.vpc.as_deref()))
        .filter(|network| call.wants("networkofferingid", Some(&network.offering)))
        .filter(|network| {
            call.flag("forvpc")
                .is_none_or(|tier| tier == network.vpc.is_some())
        })
        .filter(|network| call.holds("keyword", &network.name))
        .filter(|network| is_of_kind(call, network))
        .filter(|_| call.wants("zoneid", Some(call.world.catalogue.zone_id())))
        .collect();
    networks.sort_by_key(|network| std::cmp::Reverse(network.number));
    let viewer = call.viewer();
    call.page("network", &networks, |network| {
        net::network(call.world, &viewer, network)
    })
}

/// Whether a list shows a network: the caller's own, and the shared ones of the domain.
fn is_visible(call: &Call<'_>, network: &Network) -> bool {
    let shared = network.guest_type == GuestType::Shared;
    let own = !shared && call.sees(Some(&network.account));
    match call.text("networkfilter").map(str::to_lowercase).as_deref() {
        Some("account") => own,
        Some("domain" | "shared") => shared,
        _ => own || shared,
    }
}

/// Whether a network is of the type, with the services and in the condition asked for.
fn is_of_kind(call: &Call<'_>, network: &Network) -> bool {
    let like = |name: &str, value: &str| {
        call.text(name)
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let is = |name: &str, value: bool| call.flag(name).is_none_or(|wanted| wanted == value);
    let shared = network.guest_type == GuestType::Shared;
    let services = call.text("supportedservices").unwrap_or_default();
    let mut services = services.split(',').filter(|service| !service.is_empty());
    like("type", &format!("{:?}", network.guest_type))
        && like("acltype", if shared { "Domain" } else { "Account" })
        && like("traffictype", "Guest")
        && is("canusefordeploy", true)
        && is("issystem", false)
        && is("restartrequired", false)
        && services.all(|service| call.world.offers(network, service))
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
    let offering = call.id("networkofferingid", Kind::NetworkOffering)?;
    if let (Some(offering), Some(network)) = (&offering, call.world.networks.get(&network)) {
        let row = Catalogue::find(&call.world.catalogue.network_offerings, offering);
        check_offering(&row.cloned().unwrap_or_default(), network.vpc.is_some())?;
    }
    let work = Work::UpdateNetwork {
        network,
        name: call.owned_text("name"),
        display_text: call.owned_text("displaytext"),
        domain: call.owned_text("networkdomain"),
        offering,
    };
    call.submit(work, None, None)
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
    let state = call.world.networks.get(&network).map(|row| row.state);
    if state == Some(NetworkState::Allocated) {
        let text = "Network is not in the right state to be restarted. Correct states are: Implemented, Setup";
        return Err(ApiError::value(text));
    }
    call.submit(Work::RestartNetwork { network }, None, None)
}
