//! Network cards that come and go, and their further addresses.

use serde_json::{Value, json};

use super::Cloud;
use crate::sim::{Profile, Who};

/// A machine in the tier, and an isolated network that it is not in yet.
struct Two {
    cloud: Cloud,
    vm: String,
    tier: String,
    network: String,
    vpc: String,
}

impl Two {
    async fn new() -> Self {
        let cloud = Cloud::new(Profile::Instant);
        let stack = cloud.stack().await;
        let vm = cloud.vm(&stack.tier, "a").await;
        let network = cloud.isolated("n").await;
        Self {
            vm,
            network,
            tier: stack.tier,
            vpc: stack.vpc,
            cloud,
        }
    }

    async fn add(&self) -> Value {
        let params = [
            ("virtualmachineid", self.vm.as_str()),
            ("networkid", &self.network),
        ];
        let done = self.cloud.done("addNicToVirtualMachine", &params).await;
        done["virtualmachine"]["nic"].clone()
    }

    /// The cards of the machine, in their places.
    async fn nics(&self) -> Vec<Value> {
        let of = [("virtualmachineid", self.vm.as_str())];
        let list = self.cloud.tenant("listNics", &of).await;
        list["nic"].as_array().cloned().unwrap_or_default()
    }

    async fn id_of(&self, network: &str) -> String {
        let nics = self.nics().await;
        let nic = nics.iter().find(|nic| nic["networkid"] == network);
        nic.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn on<'a>(&'a self, nic: &'a str) -> [(&'a str, &'a str); 2] {
        [("virtualmachineid", self.vm.as_str()), ("nicid", nic)]
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_gets_a_card_in_another_network_and_loses_it() {
    let two = Two::new().await;
    let state = async || text(&two.cloud.network_row(&two.network).await["state"]);
    assert_eq!(state().await, "Allocated");
    let shown = two.add().await;
    assert_eq!(shown.as_array().unwrap().len(), 2);
    // The machine runs: the network has to.
    assert_eq!(state().await, "Implemented");
    let nics = two.nics().await;
    let column =
        |member: &str| -> Vec<Value> { nics.iter().map(|nic| nic[member].clone()).collect() };
    assert_eq!(column("deviceid"), [json!("0"), json!("1")]);
    assert_eq!(column("isdefault"), [json!(true), json!(false)]);
    assert_eq!(column("virtualmachineid"), [json!(two.vm), json!(two.vm)]);
    let nic = two.id_of(&two.network).await;
    let done = two
        .cloud
        .done("removeNicFromVirtualMachine", &two.on(&nic))
        .await;
    assert_eq!(done["virtualmachine"]["nic"].as_array().unwrap().len(), 1);
    let (code, why) = {
        let refusal = two.cloud.refusal("addIpToNic", &[("nicid", &nic)]).await;
        (refusal.0, refusal.1)
    };
    assert_eq!((code, why), (431, format!("There is no nic for the {nic}")));
    let events = [("type", "NIC.DELETE"), ("page", "1"), ("pagesize", "5")];
    let events = two.cloud.tenant("listEvents", &events).await;
    assert_eq!(events["count"], 3, "{events}");
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_there_is_not_added_again_nor_one_of_a_namesake() {
    let two = Two::new().await;
    two.add().await;
    let params = [
        ("virtualmachineid", two.vm.as_str()),
        ("networkid", &two.network),
    ];
    let command = "addNicToVirtualMachine";
    let (code, why) = two.cloud.failure(command, &params).await;
    assert_eq!(code, 530);
    assert!(why.starts_with("A NIC already exists for VM:i-4-"), "{why}");
    let another = two.cloud.isolated("m").await;
    two.cloud.vm(&another, "A").await;
    let params = [
        ("virtualmachineid", two.vm.as_str()),
        ("networkid", &another),
    ];
    let (code, why) = two.cloud.failure(command, &params).await;
    assert_eq!(code, 530);
    assert!(why.ends_with("already has a vm with host name: a"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_taken_or_unreadable_is_no_card() {
    let two = Two::new().await;
    let other = two.cloud.vm(&two.network, "b").await;
    let taken = two
        .cloud
        .tenant("listVirtualMachines", &[("id", &other)])
        .await;
    let taken = text(&taken["virtualmachine"][0]["nic"][0]["ipaddress"]);
    for (ip, code) in [(taken.as_str(), 530), ("10.9.9.9", 530), ("10.1.1", 431)] {
        let params = [
            ("virtualmachineid", two.vm.as_str()),
            ("networkid", &two.network),
            ("ipaddress", ip),
        ];
        let failed = two.cloud.failure("addNicToVirtualMachine", &params).await;
        assert_eq!(failed.0, code, "{ip}: {}", failed.1);
    }
    assert_eq!(two.nics().await.len(), 1);
    let params = [
        ("virtualmachineid", two.vm.as_str()),
        ("networkid", &two.network),
        ("ipaddress", "10.1.1.77"),
        ("macaddress", "02:00:4C:00:00:07"),
    ];
    two.cloud.done("addNicToVirtualMachine", &params).await;
    let nic = two.nics().await.remove(1);
    assert_eq!(
        (&nic["ipaddress"], &nic["macaddress"]),
        (&json!("10.1.1.77"), &json!("02:00:4c:00:00:07"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_default_card_stays_until_another_one_is_it() {
    let two = Two::new().await;
    two.add().await;
    let (first, second) = (two.id_of(&two.tier).await, two.id_of(&two.network).await);
    let remove = "removeNicFromVirtualMachine";
    let (code, why) = two.cloud.failure(remove, &two.on(&first)).await;
    assert_eq!(code, 431);
    assert!(why.ends_with("nic is default."), "{why}");
    let make = "updateDefaultNicForVirtualMachine";
    two.cloud.done(make, &two.on(&second)).await;
    let defaults: Vec<bool> = two
        .nics()
        .await
        .iter()
        .map(|nic| nic["isdefault"] == true)
        .collect();
    assert_eq!(defaults, [false, true]);
    let (code, why) = two.cloud.failure(make, &two.on(&second)).await;
    let already = "refusing to set default nic because chosen nic is already the default";
    assert_eq!((code, why.as_str()), (530, already));
    two.cloud.done(remove, &two.on(&first)).await;
    let nics = two.nics().await;
    assert_eq!((nics.len(), &nics[0]["deviceid"]), (1, &json!("1")));
}

#[tokio::test(start_paused = true)]
async fn a_card_that_something_leads_to_stays() {
    let two = Two::new().await;
    two.add().await;
    let address = two.cloud.address_in(&two.network).await;
    // The first one is the network's way out.
    let address = match two.cloud.address_row(&address).await["issourcenat"] == true {
        true => two.cloud.address_in(&two.network).await,
        false => address,
    };
    let nat = [
        ("ipaddressid", address.as_str()),
        ("virtualmachineid", &two.vm),
        ("networkid", &two.network),
    ];
    two.cloud.tenant("enableStaticNat", &nat).await;
    let nic = two.id_of(&two.network).await;
    let remove = "removeNicFromVirtualMachine";
    let (code, why) = two.cloud.failure(remove, &two.on(&nic)).await;
    assert_eq!(code, 431);
    let end = "nic has associated Port forwarding or Load balancer or Static NAT rules.";
    assert!(why.ends_with(end), "{why}");
    let of = [("ipaddressid", address.as_str())];
    two.cloud.done("disableStaticNat", &of).await;
    two.cloud.done(remove, &two.on(&nic)).await;
}

#[tokio::test(start_paused = true)]
async fn a_card_has_ten_further_addresses_at_most() {
    let two = Two::new().await;
    let nic = two.id_of(&two.tier).await;
    let of = [("nicid", nic.as_str())];
    let reply = two.cloud.send(Who::Tenant, "addIpToNic", &of).await;
    let envelope = reply.json();
    let inside = &envelope["addiptovmnicresponse"];
    assert!(inside["id"].is_string(), "{envelope}");
    for _ in 0..9 {
        let done = two.cloud.done("addIpToNic", &of).await;
        let row = &done["nicsecondaryip"];
        assert_eq!(
            (&row["nicid"], &row["networkid"], &row["virtualmachineid"]),
            (&json!(nic), &json!(two.tier), &json!(two.vm))
        );
    }
    let why = "Maximum Number of Ips per Nic has been crossed.".to_owned();
    assert_eq!(two.cloud.refusal("addIpToNic", &of).await, (431, why));
    let further = two.nics().await[0]["secondaryip"].clone();
    assert_eq!(further.as_array().unwrap().len(), 10);
    let first = text(&further[0]["id"]);
    let ip = text(&further[0]["ipaddress"]);
    two.cloud.done("removeIpFromNic", &[("id", &first)]).await;
    assert_eq!(
        two.cloud
            .failure("removeIpFromNic", &[("id", &first)])
            .await
            .0,
        431
    );
    let again = [of[0], ("ipaddress", ip.as_str())];
    two.cloud.done("addIpToNic", &again).await;
    let (status, why) = two.cloud.refusal("addIpToNic", &again).await;
    assert_eq!((status, why.contains("Maximum")), (431, true), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_further_address_is_led_to_like_the_first_and_then_stays() {
    let two = Two::new().await;
    let nic = two.id_of(&two.tier).await;
    let of = [("nicid", nic.as_str()), ("ipaddress", "10.1.0.200")];
    let further = two.cloud.done("addIpToNic", &of).await;
    let further = text(&further["nicsecondaryip"]["id"]);
    let (status, _) = two.cloud.refusal("addIpToNic", &of).await;
    assert_eq!(status, 431, "it is taken");
    let vpc = [("vpcid", two.vpc.as_str())];
    let address = two.cloud.done("associateIpAddress", &vpc).await;
    let address = text(&address["ipaddress"]["id"]);
    let nat = [
        ("ipaddressid", address.as_str()),
        ("virtualmachineid", &two.vm),
        ("networkid", &two.tier),
        ("vmguestip", "10.1.0.200"),
    ];
    two.cloud.tenant("enableStaticNat", &nat).await;
    assert_eq!(
        two.cloud.address_row(&address).await["vmipaddress"],
        "10.1.0.200"
    );
    let id = [("id", further.as_str())];
    let (code, why) = two.cloud.failure("removeIpFromNic", &id).await;
    assert_eq!(code, 431);
    let start = "Can't remove the secondary IP 10.1.0.200 is associate with static NAT rule";
    assert!(why.starts_with(start), "{why}");
    let off = [("ipaddressid", address.as_str())];
    two.cloud.done("disableStaticNat", &off).await;
    two.cloud.done("removeIpFromNic", &id).await;
    let theirs = two.cloud.send(Who::Other, "listNics", &two.on(&nic)).await;
    assert_eq!(theirs.status, 531);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
