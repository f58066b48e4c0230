//! Public addresses, static NAT and the tags on them.

use serde_json::json;

use super::Cloud;
use crate::sim::{Fault, FaultKind, Profile, Who};

#[tokio::test(start_paused = true)]
async fn static_nat_is_not_idempotent_and_follows_its_machine() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let (vm, other) = (
        cloud.stopped_vm(&stack.tier, "a").await,
        cloud.stopped_vm(&stack.tier, "b").await,
    );
    let address = cloud.nat(&stack, &vm).await;
    let to = |vm| {
        [
            ("ipaddressid", address.as_str()),
            ("virtualmachineid", vm),
            ("networkid", stack.tier.as_str()),
        ]
    };
    let (status, text) = cloud.refusal("enableStaticNat", &to(vm.as_str())).await;
    assert!(status == 431 && text.contains("is already associated with another public ip"));
    let (status, text) = cloud.refusal("enableStaticNat", &to(other.as_str())).await;
    assert!(status == 537 && text.contains("already assigned to antoher vm"));

    let nic = cloud.row("a").await["nic"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    cloud
        .done(
            "updateVmNicIp",
            &[("nicid", &nic), ("ipaddress", "10.1.0.77")],
        )
        .await;
    assert_eq!(
        cloud.address_row(&address).await["vmipaddress"],
        "10.1.0.77"
    );

    cloud
        .done("disableStaticNat", &[("ipaddressid", &address)])
        .await;
    assert!(cloud.address_row(&address).await["associatednetworkid"].is_null());
    assert_eq!(
        cloud
            .failure("disableStaticNat", &[("ipaddressid", &address)])
            .await
            .0,
        431
    );
}

#[tokio::test(start_paused = true)]
async fn static_nat_needs_a_network_on_an_unbound_address() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "a").await;
    let address = cloud.address(&stack.vpc).await;
    let params = [
        ("ipaddressid", address.as_str()),
        ("virtualmachineid", vm.as_str()),
    ];
    let (status, text) = cloud.refusal("enableStaticNat", &params).await;
    assert!(
        status == 431 && text.contains("no networkId is passed in"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_vpc_has_a_source_nat_address_and_the_next_one_takes_over_when_it_is_released() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let list = cloud
        .tenant("listPublicIpAddresses", &[("vpcid", &stack.vpc)])
        .await;
    let first = &list["publicipaddress"][0];
    assert_eq!(
        (&list["count"], &first["issourcenat"]),
        (&1.into(), &true.into())
    );
    let id = first["id"].as_str().unwrap();
    let other = cloud.address(&stack.vpc).await;
    assert_eq!(cloud.address_row(&other).await["issourcenat"], false);
    cloud.done("disassociateIpAddress", &[("id", id)]).await;
    let next = cloud.address(&stack.vpc).await;
    assert_eq!(cloud.address_row(&next).await["issourcenat"], true);
}

#[tokio::test(start_paused = true)]
async fn a_released_address_loses_its_tags_and_comes_back_under_its_id() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let address = cloud.address(&stack.vpc).await;
    let ip = cloud.address_row(&address).await["ipaddress"]
        .as_str()
        .unwrap()
        .to_owned();
    tag(&cloud, "PublicIpAddress", &address).await;
    cloud
        .done("disassociateIpAddress", &[("id", &address)])
        .await;
    assert_eq!(
        cloud
            .refusal("disassociateIpAddress", &[("id", &address)])
            .await
            .0,
        530
    );
    let again = [("vpcid", stack.vpc.as_str()), ("ipaddress", ip.as_str())];
    let again = cloud.done("associateIpAddress", &again).await;
    assert_eq!(again["ipaddress"]["id"].as_str(), Some(address.as_str()));
    assert_eq!(again["ipaddress"]["tags"], json!([]));
}

async fn tag(cloud: &Cloud, kind: &str, id: &str) {
    let tags = [("tags[0].key", "weir.dev/uid"), ("tags[0].value", "1")];
    let resource = [("resourceids", id), ("resourcetype", kind)];
    cloud.done("createTags", &[resource, tags].concat()).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_vpc_leaves_its_tags_on_its_addresses_for_the_next_owner() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let address = cloud.address(&stack.vpc).await;
    let ip = cloud.address_row(&address).await["ipaddress"]
        .as_str()
        .unwrap()
        .to_owned();
    tag(&cloud, "PublicIpAddress", &address).await;
    cloud.done("deleteNetwork", &[("id", &stack.tier)]).await;
    cloud.done("deleteVPC", &[("id", &stack.vpc)]).await;

    let next = cloud.stack().await;
    let again = [("vpcid", next.vpc.as_str()), ("ipaddress", ip.as_str())];
    let again = cloud.done("associateIpAddress", &again).await;
    assert_eq!(again["ipaddress"]["tags"][0]["key"], "weir.dev/uid");
    let tags = [
        ("resourceids", address.as_str()),
        ("resourcetype", "PublicIpAddress"),
        ("tags[0].key", "weir.dev/uid"),
        ("tags[0].value", "2"),
    ];
    let (code, text) = cloud.failure("createTags", &tags).await;
    let expected = format!("tag weir.dev/uid already on PublicIpAddress with id {address}");
    assert_eq!((code, text), (530, expected));
}

#[tokio::test(start_paused = true)]
async fn an_address_can_be_stuck_in_allocating_where_only_a_special_list_shows_it() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    cloud
        .sim
        .add_fault(Fault::once("associateIpAddress", FaultKind::HangJob));
    let answer = cloud
        .tenant("associateIpAddress", &[("vpcid", &stack.vpc)])
        .await;
    cloud.sim.world(|world| world.restart_server());
    let id = answer["id"].as_str().unwrap();
    let usual = cloud
        .tenant("listPublicIpAddresses", &[("listall", "true")])
        .await;
    assert_eq!(usual["count"], 1);
    let stuck = cloud
        .tenant("listPublicIpAddresses", &[("state", "Allocating")])
        .await;
    assert_eq!(stuck["publicipaddress"][0]["id"], id);
    assert!(stuck["publicipaddress"][0]["vpcid"].is_null());
    let job = cloud.ended(answer["jobid"].as_str().unwrap()).await;
    assert_eq!(job["jobinstanceid"], id);
    cloud.done("disassociateIpAddress", &[("id", id)]).await;
    let stuck = cloud
        .tenant("listPublicIpAddresses", &[("state", "Allocating")])
        .await;
    assert_eq!(stuck, json!({}));
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_answers_533_and_a_taken_address_too() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let address = cloud.address(&stack.vpc).await;
    let ip = cloud.address_row(&address).await["ipaddress"]
        .as_str()
        .unwrap()
        .to_owned();
    let taken = [("vpcid", stack.vpc.as_str()), ("ipaddress", ip.as_str())];
    let (status, text) = cloud.refusal("associateIpAddress", &taken).await;
    assert_eq!(
        (status, text.as_str()),
        (533, "Insufficient address capacity")
    );
    cloud.sim.world(|world| world.set_public_range(&[]));
    let (status, text) = cloud
        .refusal("associateIpAddress", &[("vpcid", &stack.vpc)])
        .await;
    assert_eq!(
        (status, text.as_str()),
        (533, "Unable to find available public IP addresses")
    );
}

#[tokio::test(start_paused = true)]
async fn a_tenant_sees_free_addresses_on_request_but_never_a_neighbours() {
    let cloud = Cloud::new(Profile::Instant);
    cloud.sim.add_neighbour().unwrap();
    cloud.stack().await;
    let free = [
        ("allocatedonly", "false"),
        ("state", "Free"),
        ("page", "1"),
        ("pagesize", "3"),
    ];
    let free = cloud.tenant("listPublicIpAddresses", &free).await;
    assert_eq!(free["publicipaddress"].as_array().map(Vec::len), Some(3));
    let own = cloud
        .tenant("listPublicIpAddresses", &[("listall", "true")])
        .await;
    assert_eq!(own["count"], 1);
    let all = cloud
        .ask(Who::Admin, "listPublicIpAddresses", &[("listall", "true")])
        .await;
    assert!(all["count"].as_u64() > Some(3));
    let foreign = cloud
        .sim
        .world(|world| world.find_vm("other-vm").unwrap().id.clone());
    let seen = cloud
        .tenant("listVirtualMachines", &[("id", &foreign)])
        .await;
    assert_eq!(seen, json!({}));
    let (status, _) = cloud
        .refusal("stopVirtualMachine", &[("id", &foreign)])
        .await;
    assert_eq!(status, 531);
}

#[tokio::test(start_paused = true)]
async fn one_call_tags_a_batch_and_the_filter_by_several_tags_is_or() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let (one, two) = (
        cloud.address(&stack.vpc).await,
        cloud.address(&stack.vpc).await,
    );
    let both = format!("{one},{two}");
    let tags = [
        ("resourceids", both.as_str()),
        ("resourcetype", "PublicIpAddress"),
        ("tags[0].key", "a"),
        ("tags[0].value", "1"),
        ("tags[1].key", "b"),
        ("tags[1].value", "2"),
    ];
    cloud.done("createTags", &tags).await;
    let filter = [
        ("tags[0].key", "a"),
        ("tags[0].value", "1"),
        ("tags[1].key", "b"),
        ("tags[1].value", "3"),
    ];
    let found = cloud.tenant("listPublicIpAddresses", &filter).await;
    assert_eq!(found["count"], 2);
    let (code, _) = cloud.failure("createTags", &tags).await;
    assert_eq!(code, 530);
    let gone = [
        ("resourceids", one.as_str()),
        ("resourcetype", "PublicIpAddress"),
    ];
    cloud.done("deleteTags", &gone).await;
    let (code, text) = cloud.failure("deleteTags", &gone).await;
    assert_eq!((code, text.as_str()), (530, "Failed to delete tags"));
}
