//! Networks outside of VPCs: isolated ones with their source NAT, shared ones and L2.

use std::time::Duration;

use super::Cloud;
use crate::sim::{Profile, Who};

impl Cloud {
    /// The id of a network offering.
    pub(super) fn network_offering(&self, name: &str) -> String {
        self.sim.world(|world| {
            let mut rows = world.catalogue.network_offerings.iter();
            let row = rows.find(|row| row["name"] == name).unwrap();
            row["id"].as_str().unwrap().to_owned()
        })
    }

    /// An isolated network of the tenant; the answer is its id.
    pub(super) async fn isolated(&self, name: &str) -> String {
        let offering = self.network_offering("DefaultIsolatedNetworkOfferingWithSourceNatService");
        let params = [
            ("name", name),
            ("zoneid", self.zone.as_str()),
            ("networkofferingid", offering.as_str()),
        ];
        let network = self.tenant("createNetwork", &params).await;
        network["network"]["id"].as_str().unwrap().to_owned()
    }

    /// A public address of an isolated network; the answer is its id.
    pub(super) async fn address_in(&self, network: &str) -> String {
        let address = self
            .done("associateIpAddress", &[("networkid", network)])
            .await;
        address["ipaddress"]["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn network_row(&self, id: &str) -> serde_json::Value {
        let list = self.tenant("listNetworks", &[("id", id)]).await;
        list["network"][0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn an_isolated_network_comes_up_with_its_first_machine_and_goes_down_after_the_last() {
    let cloud = Cloud::new(Profile::Instant);
    let network = cloud.isolated("n").await;
    let row = cloud.network_row(&network).await;
    assert_eq!(row["cidr"], "10.1.1.0/24");
    assert_eq!(
        (row["state"].as_str(), row["egressdefaultpolicy"].as_bool()),
        (Some("Allocated"), Some(false))
    );
    let vm = cloud.vm(&network, "a").await;
    assert_eq!(cloud.network_row(&network).await["state"], "Implemented");
    let list = cloud
        .tenant(
            "listPublicIpAddresses",
            &[("associatednetworkid", &network)],
        )
        .await;
    assert_eq!(list["count"], 1);
    assert_eq!(list["publicipaddress"][0]["issourcenat"], true);
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    cloud.clock.sleep(Duration::from_secs(601)).await;
    assert_eq!(cloud.network_row(&network).await["state"], "Allocated");
    let job = [("id", vm.as_str()), ("expunge", "true")];
    cloud
        .job_as(Who::Admin, "destroyVirtualMachine", &job)
        .await;
    cloud.done("deleteNetwork", &[("id", &network)]).await;
    let list = cloud.tenant("listPublicIpAddresses", &[]).await;
    assert_eq!(list["count"], serde_json::Value::Null, "released: {list}");
}

#[tokio::test(start_paused = true)]
async fn the_first_address_of_an_isolated_network_is_its_source_nat() {
    let cloud = Cloud::new(Profile::Instant);
    let network = cloud.isolated("n").await;
    let first = cloud.address_in(&network).await;
    let second = cloud.address_in(&network).await;
    assert_eq!(cloud.address_row(&first).await["issourcenat"], true);
    assert_eq!(cloud.address_row(&second).await["issourcenat"], false);
    let vm = cloud.vm(&network, "a").await;
    let nat = |address: &str| {
        [
            ("ipaddressid".to_owned(), address.to_owned()),
            ("virtualmachineid".to_owned(), vm.clone()),
        ]
    };
    let params = nat(&first);
    let params: Vec<_> = params
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let (status, text) = cloud.refusal("enableStaticNat", &params).await;
    assert!(
        status == 431 && text.ends_with("is a sourceNat ip address"),
        "{text}"
    );
    let params = nat(&second);
    let params: Vec<_> = params
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    cloud.tenant("enableStaticNat", &params).await;
    cloud
        .done("disableStaticNat", &[("ipaddressid", &second)])
        .await;
    let row = cloud.address_row(&second).await;
    assert_eq!(row["associatednetworkid"], network.as_str(), "stays bound");
    let (code, text) = cloud
        .failure("disassociateIpAddress", &[("id", &first)])
        .await;
    let expected = "ip address is used for source nat purposes and can not be disassociated.";
    assert_eq!((code, text.as_str()), (530, expected));
}

#[tokio::test(start_paused = true)]
async fn a_deploy_without_networks_makes_one_and_uses_the_only_one() {
    let cloud = Cloud::new(Profile::Instant);
    let deploy = |name| {
        let mut params = cloud.deploy("", name, &[]);
        params.retain(|(key, _)| *key != "networkids");
        params
    };
    let vm = cloud.done("deployVirtualMachine", &deploy("a")).await;
    let network = vm["virtualmachine"]["nic"][0]["networkid"].clone();
    assert_eq!(
        vm["virtualmachine"]["nic"][0]["networkname"],
        "operator-network"
    );
    let vm = cloud.done("deployVirtualMachine", &deploy("b")).await;
    assert_eq!(vm["virtualmachine"]["nic"][0]["networkid"], network);
    cloud.isolated("second").await;
    let (status, text) = cloud.refusal("deployVirtualMachine", &deploy("c")).await;
    assert!(
        status == 431 && text.starts_with("More than 1 default Isolated networks are found"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_an_admin_makes_a_shared_network_and_everybody_uses_it() {
    let cloud = Cloud::new(Profile::Instant);
    let offering = cloud.network_offering("DefaultSharedNetworkOffering");
    let params = [
        ("name", "s"),
        ("zoneid", cloud.zone.as_str()),
        ("networkofferingid", offering.as_str()),
        ("gateway", "192.0.2.1"),
        ("netmask", "255.255.255.0"),
        ("startip", "192.0.2.10"),
        ("endip", "192.0.2.11"),
        ("vlan", "77"),
    ];
    let (status, text) = cloud.refusal("createNetwork", &params).await;
    assert!(status == 431 && text.starts_with("Only Admins"), "{text}");
    let network = cloud.ask(Who::Admin, "createNetwork", &params).await;
    assert_eq!(network["network"]["state"], "Setup");
    let id = network["network"]["id"].as_str().unwrap();
    assert_eq!(cloud.network_row(id).await["type"], "Shared");
    cloud.vm(id, "a").await;
    cloud.vm(id, "b").await;
    let last = cloud.deploy(id, "c", &[]);
    let (status, _) = cloud.refusal("deployVirtualMachine", &last).await;
    assert_eq!(status, 530, "the range has two addresses");
}

#[tokio::test(start_paused = true)]
async fn an_l2_network_gives_no_addresses() {
    let cloud = Cloud::new(Profile::Instant);
    let offering = cloud.network_offering("DefaultL2NetworkOffering");
    let params = [
        ("name", "l2"),
        ("zoneid", cloud.zone.as_str()),
        ("networkofferingid", offering.as_str()),
    ];
    let network = cloud.tenant("createNetwork", &params).await["network"].clone();
    assert_eq!(
        (network["type"].as_str(), network.get("cidr")),
        (Some("L2"), None)
    );
    let id = network["id"].as_str().unwrap();
    cloud.vm(id, "a").await;
    let row = cloud.row("a").await;
    assert_eq!(row.get("ipaddress"), None, "{row}");
    assert_eq!(row["nic"][0].get("ipaddress"), None);
}

#[tokio::test(start_paused = true)]
async fn gateways_routes_and_vpns_are_empty_lists() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    for command in [
        "listPrivateGateways",
        "listStaticRoutes",
        "listVpnGateways",
        "listVpnConnections",
    ] {
        let list = cloud.tenant(command, &[("vpcid", &stack.vpc)]).await;
        assert_eq!(list, serde_json::json!({}), "{command}");
    }
    let (status, _) = cloud.refusal("listNetworkPermissions", &[]).await;
    assert_eq!(status, 431, "whose permissions?");
}
