//! Another account with a stack of its own: something that a tenant must neither see nor touch.

use serde_json::Value;

use super::hands::run;
use super::world::catalogue::Catalogue;
use super::world::{OTHER, World};

fn id_of(answer: &Value) -> Result<String, String> {
    let id = answer["id"]
        .as_str()
        .or_else(|| answer["network"]["id"].as_str());
    id.map(ToOwned::to_owned)
        .ok_or_else(|| "the answer has no id".to_owned())
}

/// Gives the account `other` a VPC with a tier, a machine and an address.
pub(super) fn furnish(world: &mut World) -> Result<(), String> {
    let zone = world.catalogue.zone_id().to_owned();
    let first = |rows: &[_]| {
        rows.first()
            .map_or_else(String::new, |row| Catalogue::text(row, "id").to_owned())
    };
    let vpc_offering = first(&world.catalogue.vpc_offerings);
    let network_offering = first(&world.catalogue.network_offerings);
    let offering = first(&world.catalogue.service_offerings);
    let template = first(&world.catalogue.templates);
    let allow = world.ids.default_allow.clone();
    let params = [
        ("name", "other-vpc"),
        ("cidr", "10.0.0.0/16"),
        ("zoneid", zone.as_str()),
        ("vpcofferingid", vpc_offering.as_str()),
    ];
    let vpc = id_of(&run(world, OTHER, "createVPC", &params)?)?;
    let params = [
        ("name", "other-tier"),
        ("zoneid", zone.as_str()),
        ("networkofferingid", network_offering.as_str()),
        ("vpcid", vpc.as_str()),
        ("gateway", "10.0.0.1"),
        ("netmask", "255.255.255.0"),
        ("aclid", allow.as_str()),
    ];
    let tier = id_of(&run(world, OTHER, "createNetwork", &params)?)?;
    let params = [
        ("name", "other-vm"),
        ("zoneid", zone.as_str()),
        ("serviceofferingid", offering.as_str()),
        ("templateid", template.as_str()),
        ("networkids", tier.as_str()),
    ];
    let vm = id_of(&run(world, OTHER, "deployVirtualMachine", &params)?)?;
    let address = id_of(&run(
        world,
        OTHER,
        "associateIpAddress",
        &[("vpcid", &vpc)],
    )?)?;
    let params = [
        ("ipaddressid", address.as_str()),
        ("virtualmachineid", vm.as_str()),
        ("networkid", tier.as_str()),
    ];
    run(world, OTHER, "enableStaticNat", &params).map(|_| ())
}
