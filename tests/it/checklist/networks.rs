//! Items 72 to 93: VPCs, tiers, ACLs, public addresses and where they lead.

use std::time::Duration;

use serde_json::{Value, json};
use weir::sim::{Profile, Who};

use super::{Cloud, text};

/// What a tenant is told instead of the reason.
const MASKED: &str = "Internal error executing command, please contact your system administrator";

impl Cloud {
    fn vpc_offering(&self) -> String {
        self.sim
            .world(|world| text(&world.catalogue.vpc_offerings[0]["id"]))
    }

    /// The parameters of a tier of the VPC.
    fn tier<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut params = vec![
            ("name", "x"),
            ("zoneid", self.zone.as_str()),
            ("networkofferingid", &self.tier_offering),
            ("vpcid", &self.vpc),
        ];
        params.extend_from_slice(more);
        params
    }

    /// A row of a list that has one.
    async fn one(&self, command: &str, rows: &str, id: &str) -> Value {
        let list = self.tenant(command, &[("id", id)]).await;
        assert_eq!(list["count"], 1, "{command} {id}: {list}");
        list[rows][0].clone()
    }

    async fn network(&self, id: &str) -> Value {
        self.one("listNetworks", "network", id).await
    }

    async fn address(&self, id: &str) -> Value {
        self.one("listPublicIpAddresses", "publicipaddress", id)
            .await
    }

    /// An address of the VPC; the answer is its id.
    async fn new_address(&self) -> String {
        let of = [("vpcid", self.vpc.as_str())];
        text(&self.done("associateIpAddress", &of).await["ipaddress"]["id"])
    }

    async fn source_nat(&self) -> String {
        let of = [("vpcid", self.vpc.as_str()), ("issourcenat", "true")];
        let list = self.tenant("listPublicIpAddresses", &of).await;
        assert_eq!(list["count"], 1, "{list}");
        text(&list["publicipaddress"][0]["id"])
    }

    async fn new_list(&self) -> String {
        let list = [("vpcid", self.vpc.as_str()), ("name", "l")];
        let list = self.done("createNetworkACLList", &list).await;
        text(&list["networkacllist"]["id"])
    }

    /// The parameters of a static NAT to a machine of the tier.
    fn nat<'a>(&'a self, address: &'a str, vm: &'a str) -> [(&'a str, &'a str); 3] {
        [
            ("ipaddressid", address),
            ("virtualmachineid", vm),
            ("networkid", &self.tier),
        ]
    }

    /// An isolated network of the tenant's.
    async fn isolated(&self) -> String {
        let offering = self.sim.world(|world| {
            let rows = &world.catalogue.network_offerings;
            let usual = "DefaultIsolatedNetworkOfferingWithSourceNatService";
            text(&rows.iter().find(|row| row["name"] == usual).unwrap()["id"])
        });
        let network = [
            ("name", "i"),
            ("zoneid", self.zone.as_str()),
            ("networkofferingid", &offering),
        ];
        let network = self.tenant("createNetwork", &network).await;
        text(&network["network"]["id"])
    }

    async fn expunge(&self, vm: &str) {
        let params = [("id", vm), ("expunge", "true")];
        let job = self
            .job_as(Who::Admin, "destroyVirtualMachine", &params)
            .await;
        assert_eq!(job["jobstatus"], 1, "{job}");
    }
}

/// 72. createVPC → id+jobid; state Enabled at once; after the job one public IP with
/// issourcenat=true and vpcid.
#[tokio::test(start_paused = true)]
async fn c072_a_vpc_is_enabled_at_once_and_gets_its_way_out_with_the_job() {
    let cloud = Cloud::new(Profile::Lab).await;
    let offering = cloud.vpc_offering();
    let vpc = [
        ("name", "w"),
        ("cidr", "10.2.0.0/16"),
        ("zoneid", &cloud.zone),
        ("vpcofferingid", &offering),
    ];
    let answer = cloud.tenant("createVPC", &vpc).await;
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    let (id, job) = (text(&answer["id"]), text(&answer["jobid"]));
    assert_eq!(cloud.one("listVPCs", "vpc", &id).await["state"], "Enabled");
    let of = [("vpcid", id.as_str())];
    let none = cloud.tenant("listPublicIpAddresses", &of).await;
    assert_eq!(none, json!({}));
    assert_eq!(cloud.ended(&job).await["jobstatus"], 1);
    let list = cloud.tenant("listPublicIpAddresses", &of).await;
    assert_eq!(list["count"], 1);
    let address = &list["publicipaddress"][0];
    assert_eq!(address["issourcenat"], true);
    assert_eq!(address["vpcid"], id);
}

/// 73. Two createVPC with one name → two VPCs.
#[tokio::test(start_paused = true)]
async fn c073_two_vpcs_share_a_name() {
    let cloud = Cloud::new(Profile::Instant).await;
    let second = cloud.new_vpc("v", &cloud.vpc_offering()).await;
    assert_ne!(second, cloud.vpc);
    let list = cloud.tenant("listVPCs", &[("name", "v")]).await;
    assert_eq!(list["count"], 2);
}

/// 74. createNetwork in a VPC without gateway/netmask → 431; outside the CIDR → 431; overlapping →
/// 431; fourth tier → 530 "Number of networks per VPC cannot surpass [3]." for a root admin, the
/// generic masked text for a user.
#[tokio::test(start_paused = true)]
async fn c074_a_tier_has_a_range_of_its_own_and_there_are_three_at_most() {
    let cloud = Cloud::new(Profile::Instant).await;
    let mask = ("netmask", "255.255.255.0");
    let refused = async |more: &[(&str, &str)]| {
        let tier = cloud.tier(more);
        cloud.refusal("createNetwork", &tier).await
    };
    let (status, why) = refused(&[]).await;
    let told = "Gateway/netmask are required when create network for VPC";
    assert_eq!((status, why.as_str()), (431, told));
    let (status, why) = refused(&[("gateway", "10.9.0.1"), mask]).await;
    assert_eq!(status, 431);
    let start = "Network cidr 10.9.0.0/24 is not within vpc";
    assert!(why.starts_with(start), "{why}");
    let (status, why) = refused(&[("gateway", "10.1.0.129"), mask]).await;
    assert_eq!(status, 431);
    let start = "Network cidr 10.1.0.0/24 crosses other network cidr";
    assert!(why.starts_with(start), "{why}");
    for gateway in ["10.1.1.1", "10.1.2.1"] {
        cloud.new_tier(&cloud.vpc, "more", gateway).await;
    }
    let fourth = [("gateway", "10.1.3.1"), mask];
    assert_eq!(refused(&fourth).await, (530, MASKED.to_owned()));
    let fourth = cloud.tier(&fourth);
    let account = [("account", "operator")];
    let domain = cloud.tenant("listAccounts", &[]).await["account"][0]["domainid"].clone();
    let domain = text(&domain);
    let fourth = [&fourth[..], &account, &[("domainid", &*domain)]].concat();
    let reply = cloud.send(Who::Admin, "createNetwork", &fourth).await;
    assert_eq!(reply.status, 530);
    let why = "Number of networks per VPC cannot surpass [3].";
    assert_eq!(reply.inner()["errortext"], why);
}

/// 75. createNetwork answers synchronously with `network.state=Allocated`; becomes Implemented when
/// the first VM starts; back to Allocated after GC.
#[tokio::test(start_paused = true)]
async fn c075_a_network_is_implemented_while_machines_run_in_it() {
    let cloud = Cloud::new(Profile::Instant).await;
    let tier = [("gateway", "10.1.1.1"), ("netmask", "255.255.255.0")];
    let tier = cloud.tenant("createNetwork", &cloud.tier(&tier)).await;
    assert!(tier.get("jobid").is_none(), "{tier}");
    assert_eq!(tier["network"]["state"], "Allocated");
    let vm = cloud.stopped("a").await;
    let state = async || text(&cloud.network(&cloud.tier).await["state"]);
    assert_eq!(state().await, "Allocated");
    cloud.done("startVirtualMachine", &[("id", &vm)]).await;
    assert_eq!(state().await, "Implemented");
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    assert_eq!(state().await, "Implemented");
    // Garbage is looked for every ten minutes, and has to lie about for as long.
    cloud.clock.sleep(Duration::from_secs(1_201)).await;
    assert_eq!(state().await, "Allocated");
}

/// 76. deleteNetwork with a Destroyed VM inside → job 530 "Failed to delete network".
#[tokio::test(start_paused = true)]
async fn c076_a_destroyed_machine_keeps_its_network() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;
    let delete = [("id", cloud.tier.as_str())];
    let failed = cloud.failure("deleteNetwork", &delete).await;
    assert_eq!(failed, (530, "Failed to delete network".to_owned()));
    cloud.network(&cloud.tier).await;
    cloud.expunge(&vm).await;
    let done = cloud.done("deleteNetwork", &delete).await;
    assert_eq!(done, json!({"success": true}));
}

/// 77. deleteVPC with tiers → job 431, VPC remains, **its tags are gone**; without tiers → success,
/// ACL lists and IPs released.
#[tokio::test(start_paused = true)]
async fn c077_a_vpc_with_tiers_stays_and_loses_its_tags() {
    let cloud = Cloud::new(Profile::Instant).await;
    let list = cloud.new_list().await;
    let address = cloud.new_address().await;
    let tag = [
        ("resourceids", cloud.vpc.as_str()),
        ("resourcetype", "Vpc"),
        ("tags[0].key", "k"),
        ("tags[0].value", "v"),
    ];
    cloud.done("createTags", &tag).await;
    let delete = [("id", cloud.vpc.as_str())];
    let (code, why) = cloud.failure("deleteVPC", &delete).await;
    assert_eq!(code, 431);
    assert!(why.starts_with("Can't delete VPC "), "{why}");
    assert!(why.ends_with(" as its used by 1 networks"), "{why}");
    let vpc = cloud.one("listVPCs", "vpc", &cloud.vpc).await;
    assert_eq!(
        (&vpc["tags"], &vpc["state"]),
        (&json!([]), &json!("Enabled"))
    );
    cloud.done("deleteNetwork", &[("id", &cloud.tier)]).await;
    let done = cloud.done("deleteVPC", &delete).await;
    assert_eq!(done, json!({"success": true}));
    for (command, id) in [
        ("listVPCs", &cloud.vpc),
        ("listNetworkACLLists", &list),
        ("listPublicIpAddresses", &address),
    ] {
        let gone = cloud.tenant(command, &[("id", id)]).await;
        assert_eq!(gone, json!({}), "{command}");
    }
    let free = [
        ("allocatedonly", "false"),
        ("state", "Free"),
        ("id", &address),
    ];
    let free = cloud.tenant("listPublicIpAddresses", &free).await;
    assert_eq!(free["count"], 1);
}

/// 78. deleteNetworkACLList in use → job 530 with tier count; default list → 431.
#[tokio::test(start_paused = true)]
async fn c078_an_acl_list_in_use_and_a_default_one_stay() {
    let cloud = Cloud::new(Profile::Instant).await;
    let list = cloud.new_list().await;
    let replace = [("aclid", list.as_str()), ("networkid", &cloud.tier)];
    cloud.done("replaceNetworkACLList", &replace).await;
    let delete = [("id", list.as_str())];
    let why = format!("ACL is still associated with 1 tier(s). Cannot delete network ACL: {list}");
    assert_eq!(
        cloud.failure("deleteNetworkACLList", &delete).await,
        (530, why)
    );
    for name in ["default_allow", "default_deny"] {
        let lists = cloud.tenant("listNetworkACLLists", &[("name", name)]).await;
        let default = text(&lists["networkacllist"][0]["id"]);
        let delete = [("id", default.as_str())];
        let reply = cloud
            .send(Who::Admin, "deleteNetworkACLList", &delete)
            .await;
        let failed = match reply.status {
            200 => {
                let job = cloud.ended(&text(&reply.inner()["jobid"])).await;
                job["jobresult"].clone()
            }
            _ => reply.inner(),
        };
        let told = (&failed["errorcode"], &failed["errortext"]);
        let why = "Default ACL cannot be removed";
        assert_eq!(told, (&json!(431), &json!(why)), "{name}");
    }
}

/// 79. createNetworkACL with a taken number → HTTP 431; without number → max+1; item visible as Add
/// then Active; ports are strings; empty cidrlist → `0.0.0.0/0,::/0`.
#[tokio::test(start_paused = true)]
async fn c079_rules_are_numbered_and_come_into_force() {
    let cloud = Cloud::new(Profile::Lab).await;
    let list = cloud.new_list().await;
    let send = async |more: &[(&str, &str)]| {
        let rule = [("aclid", list.as_str()), ("protocol", "tcp")];
        let rule = [&rule[..], more].concat();
        cloud.send(Who::Tenant, "createNetworkACL", &rule).await
    };
    let first = [("startport", "80"), ("number", "7")];
    let reply = send(&first).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let (id, job) = (text(&reply.inner()["id"]), text(&reply.inner()["jobid"]));
    let row = cloud.one("listNetworkACLs", "networkacl", &id).await;
    assert_eq!(row["state"], "Add");
    cloud.ended(&job).await;
    let row = cloud.one("listNetworkACLs", "networkacl", &id).await;
    assert_eq!(row["state"], "Active");
    assert_eq!(
        (&row["startport"], &row["endport"]),
        (&json!("80"), &json!("80"))
    );
    assert_eq!(row["cidrlist"], "0.0.0.0/0,::/0");
    let taken = send(&first).await;
    let why = format!("ACL item with number 7 already exists in ACL: {list}");
    assert_eq!(
        (taken.status, text(&taken.inner()["errortext"])),
        (431, why)
    );
    let next = send(&[("startport", "81")]).await.inner();
    let row = cloud
        .one("listNetworkACLs", "networkacl", &text(&next["id"]))
        .await;
    assert_eq!(row["number"], 8);
}

/// 80. createNetworkACL protocol=all with ports → 431.
#[tokio::test(start_paused = true)]
async fn c080_a_rule_for_all_protocols_has_no_ports() {
    let cloud = Cloud::new(Profile::Instant).await;
    let list = cloud.new_list().await;
    let rule = [("aclid", list.as_str()), ("protocol", "all")];
    let ports = [&rule[..], &[("startport", "80"), ("endport", "81")]].concat();
    assert_eq!(cloud.refusal("createNetworkACL", &ports).await.0, 431);
    cloud.done("createNetworkACL", &rule).await;
}

/// 81. updateNetworkACLItem → envelope `createnetworkaclresponse`; partial update keeps other
/// fields.
#[tokio::test(start_paused = true)]
async fn c081_a_rule_keeps_what_an_update_does_not_name() {
    let cloud = Cloud::new(Profile::Instant).await;
    let list = cloud.new_list().await;
    let rule = [
        ("aclid", list.as_str()),
        ("protocol", "tcp"),
        ("startport", "80"),
        ("endport", "90"),
        ("cidrlist", "192.0.2.0/24"),
        ("reason", "why"),
    ];
    let made = cloud.done("createNetworkACL", &rule).await["networkacl"].clone();
    let update = [("id", made["id"].as_str().unwrap()), ("endport", "99")];
    let reply = cloud
        .send(Who::Tenant, "updateNetworkACLItem", &update)
        .await;
    let envelope = reply.json();
    let members: Vec<&String> = envelope.as_object().unwrap().keys().collect();
    assert_eq!(members, ["createnetworkaclresponse"]);
    let job = cloud.ended(&text(&reply.inner()["jobid"])).await;
    let mut wanted = made;
    wanted["endport"] = json!("99");
    // As observed: the answer shows the rule before it is in force again.
    wanted["state"] = json!("Add");
    assert_eq!(job["jobresult"]["networkacl"], wanted);
}

/// 82. replaceNetworkACLList changes network.aclid; repeat succeeds.
#[tokio::test(start_paused = true)]
async fn c082_a_tier_gets_another_list() {
    let cloud = Cloud::new(Profile::Instant).await;
    let list = cloud.new_list().await;
    let before = cloud.network(&cloud.tier).await;
    assert_ne!(before["aclid"], list);
    let replace = [("aclid", list.as_str()), ("networkid", &cloud.tier)];
    for _ in 0..2 {
        let done = cloud.done("replaceNetworkACLList", &replace).await;
        assert_eq!(done, json!({"success": true}));
        let tier = cloud.network(&cloud.tier).await;
        assert_eq!(
            (&tier["aclid"], &tier["aclname"]),
            (&json!(list), &json!("l"))
        );
    }
}

/// 83. associateIpAddress → result key `ipaddress`; list key `publicipaddress`; VPC address without
/// associatednetworkid.
#[tokio::test(start_paused = true)]
async fn c083_an_address_has_one_name_in_answers_and_another_in_lists() {
    let cloud = Cloud::new(Profile::Instant).await;
    let of = [("vpcid", cloud.vpc.as_str())];
    let done = cloud.done("associateIpAddress", &of).await;
    let members: Vec<&String> = done.as_object().unwrap().keys().collect();
    assert_eq!(members, ["ipaddress"]);
    let address = &done["ipaddress"];
    assert_eq!(address["vpcid"], cloud.vpc);
    let row = cloud.address(address["id"].as_str().unwrap()).await;
    assert!(row.get("associatednetworkid").is_none(), "{row}");
    assert_eq!(row["ipaddress"], address["ipaddress"]);
}

/// 84. No free address → HTTP 533; quota → 535.
#[tokio::test(start_paused = true)]
async fn c084_addresses_and_their_quota_run_out() {
    let cloud = Cloud::new(Profile::Instant).await;
    let of = [("vpcid", cloud.vpc.as_str())];
    let limits = [("resourcetype", "1"), ("max", "2"), ("account", "operator")];
    let domain = cloud.tenant("listAccounts", &[]).await;
    let domain = text(&domain["account"][0]["domainid"]);
    let limits = [&limits[..], &[("domainid", &*domain)]].concat();
    cloud.ask(Who::Admin, "updateResourceLimit", &limits).await;
    cloud.new_address().await;
    let (status, why) = cloud.refusal("associateIpAddress", &of).await;
    assert_eq!(status, 535);
    let start = "Maximum amount of resources of Type = 'public_ip'";
    assert!(why.starts_with(start), "{why}");
    cloud.sim.world(|world| {
        for limits in world.limits.values_mut() {
            *limits = weir::sim::world::Limits::none();
        }
    });
    let free = [("allocatedonly", "false"), ("state", "Free")];
    let free = cloud.tenant("listPublicIpAddresses", &free).await;
    for _ in 0..free["count"].as_u64().unwrap() {
        cloud.new_address().await;
    }
    let none = cloud.refusal("associateIpAddress", &of).await;
    let why = "Unable to find available public IP addresses".to_owned();
    assert_eq!(none, (533, why));
}

/// 85. First associated address of a fresh isolated network → issourcenat=true.
#[tokio::test(start_paused = true)]
async fn c085_the_first_address_of_a_network_is_its_way_out() {
    let cloud = Cloud::new(Profile::Instant).await;
    let network = cloud.isolated().await;
    let of = [("networkid", network.as_str())];
    for first in [true, false] {
        let address = cloud.done("associateIpAddress", &of).await;
        let id = text(&address["ipaddress"]["id"]);
        let row = cloud.address(&id).await;
        assert_eq!(row["issourcenat"], first);
        assert_eq!(row["associatednetworkid"], network);
    }
}

/// 86. enableStaticNat (VPC, with networkid) → `{"enablestaticnatresponse":{"success":true}}`;
/// address shows isstaticnat, virtualmachineid, vmipaddress, associatednetworkid; VM shows
/// publicip.
#[tokio::test(start_paused = true)]
async fn c086_a_static_nat_is_seen_from_both_ends() {
    let cloud = Cloud::new(Profile::Instant).await;
    let (vm, address) = (cloud.stopped("a").await, cloud.new_address().await);
    let reply = cloud
        .send(Who::Tenant, "enableStaticNat", &cloud.nat(&address, &vm))
        .await;
    assert_eq!(
        (reply.status, reply.json()),
        (200, json!({"enablestaticnatresponse": {"success": true}}))
    );
    let (row, machine) = (
        cloud.address(&address).await,
        cloud.seen(Who::Tenant, &vm).await,
    );
    assert_eq!(row["isstaticnat"], true);
    assert_eq!(row["virtualmachineid"], vm);
    assert_eq!(row["vmipaddress"], machine["nic"][0]["ipaddress"]);
    assert_eq!(row["associatednetworkid"], cloud.tier);
    assert_eq!(machine["publicip"], row["ipaddress"]);
    assert_eq!(machine["publicipid"], address);
}

/// 87. Identical enableStaticNat again → 431 "…is already associated with another public ip…".
#[tokio::test(start_paused = true)]
async fn c087_a_static_nat_is_not_enabled_twice() {
    let cloud = Cloud::new(Profile::Instant).await;
    let (vm, address) = (cloud.stopped("a").await, cloud.new_address().await);
    let nat = cloud.nat(&address, &vm);
    cloud.tenant("enableStaticNat", &nat).await;
    let (status, why) = cloud.refusal("enableStaticNat", &nat).await;
    assert_eq!(status, 431);
    let ip = text(&cloud.address(&address).await["ipaddress"]);
    assert!(
        why.starts_with(&format!("Failed to enable static nat on the  ip {ip} ")),
        "{why}"
    );
    let end = format!("is already associated with another public ip {ip} with id {address}");
    assert!(why.ends_with(&end), "{why}");
}

/// 88. enableStaticNat without networkid on an unbound VPC address → 431; on a source-NAT address →
/// 431, but, as observed, accepted on that of a VPC; for a second VM → 537.
#[tokio::test(start_paused = true)]
async fn c088_a_static_nat_needs_a_network_and_an_address_of_its_own() {
    let cloud = Cloud::new(Profile::Instant).await;
    let (vm, second) = (cloud.stopped("a").await, cloud.stopped("b").await);
    let address = cloud.new_address().await;
    let nat = cloud.nat(&address, &vm);
    let (status, why) = cloud.refusal("enableStaticNat", &nat[..2]).await;
    assert_eq!(status, 431);
    let end = "as IP is not associated with any network and no networkId is passed in";
    assert!(why.ends_with(end), "{why}");
    cloud.tenant("enableStaticNat", &nat).await;
    let (status, why) = cloud
        .refusal("enableStaticNat", &cloud.nat(&address, &second))
        .await;
    assert_eq!(status, 537);
    assert!(
        why.ends_with("as it's already assigned to antoher vm"),
        "{why}"
    );
    let way_out = cloud.source_nat().await;
    cloud
        .tenant("enableStaticNat", &cloud.nat(&way_out, &second))
        .await;
    let network = cloud.isolated().await;
    let of = [("networkid", network.as_str())];
    let own = cloud.done("associateIpAddress", &of).await;
    let own = text(&own["ipaddress"]["id"]);
    let mut params = cloud.deploy("c", &[("startvm", "false")]);
    params[1].1 = &network;
    let third = cloud.done("deployVirtualMachine", &params).await;
    let third = text(&third["virtualmachine"]["id"]);
    let nat = [("ipaddressid", own.as_str()), ("virtualmachineid", &third)];
    let (status, why) = cloud.refusal("enableStaticNat", &nat).await;
    assert_eq!(status, 431);
    assert!(why.ends_with("is a sourceNat ip address"), "{why}");
}

/// 89. disableStaticNat → job success, fields cleared, associatednetworkid cleared in a VPC; again →
/// job 431.
#[tokio::test(start_paused = true)]
async fn c089_a_static_nat_is_disabled_once() {
    let cloud = Cloud::new(Profile::Instant).await;
    let (vm, address) = (cloud.stopped("a").await, cloud.new_address().await);
    cloud
        .tenant("enableStaticNat", &cloud.nat(&address, &vm))
        .await;
    let of = [("ipaddressid", address.as_str())];
    let done = cloud.done("disableStaticNat", &of).await;
    assert_eq!(done, json!({"success": true}));
    let row = cloud.address(&address).await;
    assert_eq!(row["isstaticnat"], false);
    for cleared in ["virtualmachineid", "vmipaddress", "associatednetworkid"] {
        assert!(row.get(cleared).is_none(), "{cleared}: {row}");
    }
    let (code, why) = cloud.failure("disableStaticNat", &of).await;
    assert_eq!(code, 431);
    assert_eq!(
        why,
        "Specified IP address id is not associated with any vm Id"
    );
}

/// 90. disassociateIpAddress of a source-NAT VPC address → as observed, accepted, and the next
/// address of the VPC is its source NAT; of an already free one → as observed, 530; the same id
/// returns when the address is taken again.
#[tokio::test(start_paused = true)]
async fn c090_an_address_comes_back_under_its_id() {
    let cloud = Cloud::new(Profile::Instant).await;
    let way_out = cloud.source_nat().await;
    let done = cloud
        .done("disassociateIpAddress", &[("id", &way_out)])
        .await;
    assert_eq!(done, json!({"success": true}));
    let next = cloud.new_address().await;
    assert_eq!(cloud.source_nat().await, next);
    let address = cloud.new_address().await;
    let ip = text(&cloud.address(&address).await["ipaddress"]);
    cloud
        .done("disassociateIpAddress", &[("id", &address)])
        .await;
    let again = cloud
        .send(Who::Tenant, "disassociateIpAddress", &[("id", &address)])
        .await;
    assert_eq!(again.status, 530, "{}", again.body);
    let same = [("vpcid", cloud.vpc.as_str()), ("ipaddress", &ip)];
    let same = cloud.done("associateIpAddress", &same).await;
    assert_eq!(same["ipaddress"]["id"], address);
}

/// 91. createPortForwardingRule on a static-NAT address → 431; overlapping ports → 537.
#[tokio::test(start_paused = true)]
async fn c091_ports_are_forwarded_where_nothing_else_leads() {
    let cloud = Cloud::new(Profile::Instant).await;
    let (vm, address) = (cloud.stopped("a").await, cloud.new_address().await);
    cloud
        .tenant("enableStaticNat", &cloud.nat(&address, &vm))
        .await;
    let rule = |address, from, to| {
        let ports = [
            ("protocol", "tcp"),
            ("publicport", from),
            ("publicendport", to),
            ("privateport", from),
            ("privateendport", to),
        ];
        [&cloud.nat(address, &vm)[..], &ports].concat()
    };
    let command = "createPortForwardingRule";
    let (status, why) = cloud.refusal(command, &rule(&address, "80", "90")).await;
    assert_eq!(status, 431);
    assert!(why.ends_with("has static nat enabled"), "{why}");
    let other = cloud.new_address().await;
    let done = cloud.done(command, &rule(&other, "80", "90")).await;
    assert_eq!(done["portforwardingrule"]["publicport"], "80");
    let (status, why) = cloud.refusal(command, &rule(&other, "90", "95")).await;
    assert_eq!(status, 537);
    let start = "The range specified, 90-95, conflicts with rule";
    assert!(why.starts_with(start), "{why}");
}

/// 92. createFirewallRule twice → 537 "The range specified…".
#[tokio::test(start_paused = true)]
async fn c092_a_firewall_is_opened_once() {
    let cloud = Cloud::new(Profile::Instant).await;
    let network = cloud.isolated().await;
    let of = [("networkid", network.as_str())];
    let address = cloud.done("associateIpAddress", &of).await;
    let address = text(&address["ipaddress"]["id"]);
    let rule = [
        ("ipaddressid", address.as_str()),
        ("protocol", "tcp"),
        ("startport", "80"),
        ("endport", "90"),
    ];
    let done = cloud.done("createFirewallRule", &rule).await;
    assert_eq!(done["firewallrule"]["startport"], 80);
    let (status, why) = cloud.refusal("createFirewallRule", &rule).await;
    assert_eq!(status, 537);
    let start = "The range specified, 80-90, conflicts with rule";
    assert!(why.starts_with(start), "{why}");
}

/// 93. Expunge of a VM with static NAT → address keeps its lease, isstaticnat=false.
#[tokio::test(start_paused = true)]
async fn c093_an_address_outlives_its_machine() {
    let cloud = Cloud::new(Profile::Instant).await;
    let (vm, address) = (cloud.stopped("a").await, cloud.new_address().await);
    cloud
        .tenant("enableStaticNat", &cloud.nat(&address, &vm))
        .await;
    cloud.expunge(&vm).await;
    let row = cloud.address(&address).await;
    assert_eq!(
        (&row["state"], &row["isstaticnat"]),
        (&json!("Allocated"), &json!(false))
    );
    assert_eq!(row["vpcid"], cloud.vpc);
    assert!(row.get("virtualmachineid").is_none(), "{row}");
}
