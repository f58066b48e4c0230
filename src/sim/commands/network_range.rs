//! The range of a new network: what was asked for, held against its offering and its VPC.

use std::net::Ipv4Addr;

use super::call::Call;
use crate::sim::reply::ApiError;
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::{GuestType, Network, Subnet, Vpc, quoted_network, quoted_vpc};

/// The addresses of a new network, and its VLAN where an admin chooses it.
pub(super) struct Range {
    pub(super) gateway: Ipv4Addr,
    pub(super) netmask: Ipv4Addr,
    pub(super) cidr: String,
    pub(super) given_out: Option<(Ipv4Addr, Ipv4Addr)>,
    pub(super) vlan: Option<u16>,
}

/// The type of networks that an offering makes.
pub(super) fn guest_type(offering: &Row) -> GuestType {
    match Catalogue::text(offering, "guestiptype") {
        "Shared" => GuestType::Shared,
        "L2" => GuestType::L2,
        _ => GuestType::Isolated,
    }
}

/// The range of a network outside of VPCs.
pub(super) fn of_network(call: &Call<'_>, offering: &Row) -> Result<Range, ApiError> {
    let kind = guest_type(offering);
    if kind == GuestType::Shared && !call.caller.admin {
        let text = "Only Admins can create network with guest type Shared";
        return Err(ApiError::value(text));
    }
    let vlan = vlan(call, offering)?;
    if kind == GuestType::L2 {
        return Ok(Range {
            gateway: Ipv4Addr::UNSPECIFIED,
            netmask: Ipv4Addr::UNSPECIFIED,
            cidr: String::new(),
            given_out: None,
            vlan,
        });
    }
    let given = given(call)?;
    let source_nat = Catalogue::offers(offering, "SourceNat");
    let bounded = given.as_ref().is_some_and(|(_, out)| out.is_some());
    if (kind == GuestType::Shared || !source_nat) && !bounded {
        let text = "StartIp/endIp/gateway/netmask are required when create network of type Shared and network of type Isolated with service SourceNat disabled";
        return Err(ApiError::value(text));
    }
    let (range, given_out) = given.unwrap_or_else(|| (usual(call), None));
    if kind == GuestType::Isolated && !range.subnet.is_private() && !range.subnet.is_loopback() {
        return Err(ApiError::value(format!(
            "Virtual Guest Cidr {} is not RFC 1918 or 6598 compliant",
            range.subnet
        )));
    }
    Ok(Range {
        gateway: range.gateway,
        netmask: range.netmask,
        cidr: range.subnet.to_string(),
        given_out,
        vlan,
    })
}

/// The VLAN, which an admin has to name where the offering says so, and nobody may otherwise.
fn vlan(call: &Call<'_>, offering: &Row) -> Result<Option<u16>, ApiError> {
    let wanted = offering.get("specifyvlan") == Some(&true.into());
    let given = call.text("vlan").filter(|_| call.caller.admin);
    match (wanted, given) {
        (true, None) => Err(ApiError::value(
            "Vlan has to be specified; corresponding offering says specifyVlan=true",
        )),
        (false, Some(_)) => Err(ApiError::value(
            "Can't specify vlan; corresponding offering says specifyVlan=false",
        )),
        (true, Some(vlan)) => {
            let number = vlan.trim_start_matches("vlan://").parse();
            let invalid = |_| ApiError::value(format!("Invalid VLAN {vlan}"));
            number.map(Some).map_err(invalid)
        }
        (false, None) => Ok(None),
    }
}

/// A gateway, and the subnet around it.
struct Ground {
    gateway: Ipv4Addr,
    netmask: Ipv4Addr,
    subnet: Subnet,
}

type Given = (Ground, Option<(Ipv4Addr, Ipv4Addr)>);

/// What a request says of the range; none if it says nothing.
fn given(call: &Call<'_>) -> Result<Option<Given>, ApiError> {
    let (Some(gateway), Some(netmask)) = (call.text("gateway"), call.text("netmask")) else {
        if call.text("startip").is_some() {
            let text = "gateway and netmask should be defined when startIP/endIP are passed in";
            return Err(ApiError::value(text));
        }
        return Ok(None);
    };
    let gateway: Ipv4Addr = gateway
        .parse()
        .map_err(|_| ApiError::value("Invalid gateway"))?;
    let invalid = || ApiError::value("Invalid netmask");
    let netmask: Ipv4Addr = netmask.parse().map_err(|_| invalid())?;
    let prefix = Subnet::prefix_of(netmask).ok_or_else(invalid)?;
    let ground = Ground {
        gateway,
        netmask,
        subnet: Subnet::around(gateway, prefix),
    };
    let given_out = given_out(call, &ground)?;
    Ok(Some((ground, given_out)))
}

/// The part of the range that machines get their addresses from.
fn given_out(call: &Call<'_>, ground: &Ground) -> Result<Option<(Ipv4Addr, Ipv4Addr)>, ApiError> {
    let Some(start) = call.text("startip") else {
        return Ok(None);
    };
    let end = call.text("endip").unwrap_or(start);
    let read = |text: &str, name: &str| {
        let invalid = |_| ApiError::value(format!("Invalid format for the {name} parameter"));
        text.parse::<Ipv4Addr>().map_err(invalid)
    };
    let (first, last) = (read(start, "startIp")?, read(end, "endIp")?);
    let inside = ground.subnet.has_host(first) && ground.subnet.has_host(last);
    if inside && first <= last {
        Ok(Some((first, last)))
    } else {
        Err(ApiError::value(format!(
            "Please specify a valid IP range: {first}-{last} is not within {}",
            ground.subnet
        )))
    }
}

/// The zone's usual guest range.
fn usual(call: &Call<'_>) -> Ground {
    let zone = Catalogue::text(&call.world.catalogue.zone, "guestcidraddress");
    let first = zone.split('/').next().and_then(|first| first.parse().ok());
    let first: Ipv4Addr = first.unwrap_or(Ipv4Addr::new(10, 1, 1, 0));
    let gateway = Ipv4Addr::from(u32::from(first) | 1);
    Ground {
        gateway,
        netmask: Ipv4Addr::new(255, 255, 255, 0),
        subnet: Subnet::around(gateway, 24),
    }
}

/// The range of a network that nobody described.
pub(super) fn usual_range(call: &Call<'_>) -> Range {
    let usual = usual(call);
    Range {
        gateway: usual.gateway,
        netmask: usual.netmask,
        cidr: usual.subnet.to_string(),
        given_out: None,
        vlan: None,
    }
}

/// The range of a tier: inside its VPC, beside its siblings, and not one tier too many.
pub(super) fn of_tier(call: &Call<'_>, vpc: &Vpc) -> Result<Range, ApiError> {
    let (range, given_out) = given(call)?.ok_or_else(|| {
        ApiError::value("Gateway/netmask are required when create network for VPC")
    })?;
    if !range.subnet.has_host(range.gateway) {
        let text = "Invalid gateway specified. It should never be equal to the cidr subnet value";
        return Err(ApiError::value(text));
    }
    let networks = call.world.networks.values();
    let siblings: Vec<&Network> = networks
        .filter(|tier| tier.vpc.as_ref() == Some(&vpc.id))
        .collect();
    let max = call.world.settings.vpc_max_networks;
    if siblings.len() >= max {
        let text = format!("Number of networks per VPC cannot surpass [{max}].");
        return Err(ApiError::internal(4250, text));
    }
    check_place(range.subnet, vpc, &siblings)?;
    let domain = call.text("networkdomain");
    if domain.is_some_and(|domain| !domain.eq_ignore_ascii_case(&vpc.domain)) {
        return Err(ApiError::value(format!(
            "Network domain of the new network should match network domain of vpc {}",
            quoted_vpc(vpc)
        )));
    }
    Ok(Range {
        gateway: range.gateway,
        netmask: range.netmask,
        cidr: range.subnet.to_string(),
        given_out,
        vlan: None,
    })
}

fn check_place(subnet: Subnet, vpc: &Vpc, siblings: &[&Network]) -> Result<(), ApiError> {
    let quoted = quoted_vpc(vpc);
    if !Subnet::parse(&vpc.cidr).is_some_and(|whole| whole.holds(subnet)) {
        let text = format!("Network cidr {subnet} is not within vpc {quoted} cidr");
        return Err(ApiError::value(text));
    }
    let crosses = |tier: &&&Network| {
        let own = Subnet::parse(&tier.cidr);
        own.is_some_and(|own| own.crosses(subnet))
    };
    match siblings.iter().find(crosses) {
        None => Ok(()),
        Some(tier) => Err(ApiError::value(format!(
            "Network cidr {subnet} crosses other network cidr {} belonging to the same vpc {quoted}",
            quoted_network(tier)
        ))),
    }
}
