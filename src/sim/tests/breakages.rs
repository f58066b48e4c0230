//! What strangers do, and that the feed names them.

use super::{Cloud, Stack};
use crate::sim::world::{Guest, HostFailure};
use crate::sim::{Breakage, Profile, Rule};

struct Broken {
    cloud: Cloud,
    stack: Stack,
    vm: String,
    other: String,
    address: String,
}

impl Broken {
    async fn new() -> Self {
        let cloud = Cloud::new(Profile::Lab);
        let stack = cloud.stack().await;
        let (vm, other) = (
            cloud.vm(&stack.tier, "a").await,
            cloud.vm(&stack.tier, "b").await,
        );
        let address = cloud.nat(&stack, &vm).await;
        let rule = [
            ("aclid", stack.list.as_str()),
            ("protocol", "udp"),
            ("startport", "5060"),
            ("number", "4"),
        ];
        cloud.done("createNetworkACL", &rule).await;
        Self {
            cloud,
            stack,
            vm,
            other,
            address,
        }
    }

    #[track_caller]
    fn does(&self, what: Breakage) -> String {
        self.cloud.sim.break_it(what).unwrap()
    }

    /// The user whom the newest event of a type names.
    fn culprit(&self, kind: &str) -> String {
        let newest = self.cloud.sim.world(|world| {
            world
                .events
                .iter()
                .rev()
                .find(|event| event.kind == kind)
                .map(|e| e.user.clone())
        });
        newest.unwrap()
    }
}

fn name(name: &str) -> String {
    name.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_guest_hangs_or_dies_unseen_until_it_is_restarted() {
    let broken = Broken::new().await;
    let cloud = &broken.cloud;
    let guest = || cloud.sim.world(|world| world.vms[&broken.vm].guest);
    let id = [("id", broken.vm.as_str())];
    for (what, as_it_is, cure) in [
        (
            Breakage::HangGuest { vm: name("a") },
            Guest::Hung,
            "rebootVirtualMachine",
        ),
        (
            Breakage::KillGuest { vm: name("a") },
            Guest::Dead,
            "rebootVirtualMachine",
        ),
        (
            Breakage::HangGuest { vm: name("a") },
            Guest::Hung,
            "restoreVirtualMachine",
        ),
    ] {
        broken.does(what);
        assert_eq!(guest(), as_it_is);
        assert_eq!(cloud.row("a").await["state"], "Running");
        let cured = [("virtualmachineid", broken.vm.as_str())];
        let params = if cure == "restoreVirtualMachine" {
            &cured
        } else {
            &id
        };
        cloud.done(cure, params).await;
        assert_eq!(guest(), Guest::Alive, "{cure}");
    }
    broken.does(Breakage::KillGuest { vm: name("a") });
    broken.does(Breakage::StopVm { vm: name("a") });
    let dead = Breakage::HangGuest { vm: name("a") };
    assert_eq!(
        cloud.sim.break_it(dead).unwrap_err(),
        "a is Stopped, not Running"
    );
    cloud.done("startVirtualMachine", &id).await;
    assert_eq!(guest(), Guest::Alive);
}

#[tokio::test(start_paused = true)]
async fn a_host_fails_with_what_is_on_it_and_comes_back() {
    let broken = Broken::new().await;
    let sim = &broken.cloud.sim;
    let fail = |host: &str| {
        let (host, how) = (name(host), HostFailure::Down);
        sim.break_it(Breakage::FailHost { host, how })
    };
    let told = fail("busiest").unwrap();
    assert!(told.ends_with(" is down with 1 machines on it"), "{told}");
    let dead = sim.world(|world| {
        world
            .vms
            .values()
            .filter(|vm| vm.guest == Guest::Dead)
            .count()
    });
    assert_eq!(dead, 1);
    let told = fail("nowhere").unwrap_err();
    assert!(
        told.starts_with("there is no host nowhere; there are "),
        "{told}"
    );
    let back = || sim.break_it(Breakage::RecoverHost { host: None });
    assert!(back().unwrap().ends_with(" is up again"));
    assert_eq!(back().unwrap_err(), "no host has failed");
}

#[tokio::test(start_paused = true)]
async fn machines_are_stopped_renamed_moved_resized_wiped_and_destroyed() {
    let broken = Broken::new().await;
    let cloud = &broken.cloud;
    broken.does(Breakage::StopVm { vm: name("a") });
    assert_eq!(cloud.row("a").await["state"], "Stopped");
    broken.does(Breakage::MoveNic {
        vm: name("b"),
        ip: Some([10, 1, 0, 200].into()),
    });
    let row = cloud.row("b").await;
    assert_eq!(
        (&row["state"], &row["ipaddress"]),
        (&"Running".into(), &"10.1.0.200".into())
    );
    broken.does(Breakage::ChangeOffering {
        vm: name("b"),
        offering: Some(name("2vCPU-4GB")),
    });
    assert_eq!(cloud.row("b").await["cpunumber"], 2);
    broken.does(Breakage::WipeDetails { vm: name("b") });
    assert_eq!(
        cloud.row("b").await["details"],
        serde_json::json!({"stranger": "1"})
    );
    broken.does(Breakage::RenameVm {
        vm: name("b"),
        name: None,
    });
    assert_eq!(cloud.row("b-x").await["id"], *broken.other);
    assert_eq!(broken.culprit("VM.UPDATE"), "stranger");
    broken.does(Breakage::DestroyVm {
        vm: broken.vm.clone(),
        expunge: false,
    });
    assert_eq!(broken.culprit("VM.DESTROY"), "stranger");
    broken.does(Breakage::DestroyVm {
        vm: broken.other.clone(),
        expunge: true,
    });
    assert_eq!(cloud.sim.world(|world| world.vms.len()), 1);
    assert!(
        cloud
            .sim
            .break_it(Breakage::StopVm { vm: name("nobody") })
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn rules_are_closed_added_edited_and_renumbered() {
    let broken = Broken::new().await;
    let rules = || {
        let list = broken.stack.list.clone();
        let shown = |rule: &&crate::sim::world::AclItem| (rule.number, rule.start_port);
        broken
            .cloud
            .sim
            .world(|world| world.rules_of(&list).iter().map(shown).collect::<Vec<_>>())
    };
    let sip = Rule {
        port: Some(5060),
        ..Rule::default()
    };
    broken.does(Breakage::RenumberRule {
        rule: sip.clone(),
        to: Some(9),
    });
    broken.does(Breakage::EditRule {
        rule: sip,
        to: Some(5080),
    });
    assert_eq!(rules(), [(9, Some(5080))]);
    broken.does(Breakage::AddRule {
        rule: Rule::default(),
    });
    assert_eq!(rules(), [(9, Some(5080)), (10, Some(31_337))]);
    broken.does(Breakage::ClosePort {
        rule: Rule {
            number: Some(9),
            ..Rule::default()
        },
    });
    assert_eq!(rules(), [(10, Some(31_337))]);
    assert_eq!(broken.culprit("NETWORK.ACL.ITEM.DELETE"), "stranger");
    broken.does(Breakage::ReplaceAcl { tier: None });
    let tiers = broken.cloud.tenant("listNetworks", &[]).await;
    assert_eq!(tiers["network"][0]["aclname"], "default_allow");
}

#[tokio::test(start_paused = true)]
async fn addresses_are_moved_cut_off_and_released() {
    let broken = Broken::new().await;
    let address = broken.address.clone();
    broken.does(Breakage::MoveAddress {
        address: address.clone(),
        to: name("b"),
    });
    let row = broken.cloud.address_row(&address).await;
    assert_eq!(row["virtualmachineid"], *broken.other);
    broken.does(Breakage::DisableNat { address: name("b") });
    assert_eq!(
        broken.cloud.address_row(&address).await["isstaticnat"],
        false
    );
    broken.does(Breakage::ReleaseAddress {
        address: address.clone(),
    });
    assert!(broken.cloud.address_row(&address).await.is_null());
    assert_eq!(broken.culprit("NET.IPRELEASE"), "stranger");
}

#[tokio::test(start_paused = true)]
async fn tiers_and_vpcs_go_with_all_that_is_in_them() {
    let broken = Broken::new().await;
    let said = broken.does(Breakage::DeleteTier { tier: name("t") });
    assert!(said.contains("with all that was in it"));
    assert_eq!(
        broken.cloud.tenant("listVirtualMachines", &[]).await,
        serde_json::json!({})
    );
    broken.does(Breakage::DeleteVpc { vpc: name("v") });
    assert_eq!(
        broken.cloud.tenant("listVPCs", &[]).await,
        serde_json::json!({})
    );
    assert_eq!(broken.culprit("VPC.DELETE"), "stranger");
}

#[tokio::test(start_paused = true)]
async fn a_breakage_is_done_under_the_name_that_is_given() {
    let broken = Broken::new().await;
    let renamed = |user, to: &str| {
        let what = Breakage::RenameVm {
            vm: broken.vm.clone(),
            name: Some(name(to)),
        };
        broken.cloud.sim.break_as(user, what)
    };
    renamed("operator", "c").unwrap();
    assert_eq!(broken.culprit("VM.UPDATE"), "operator");
    assert_eq!(
        renamed("nobody", "d").unwrap_err(),
        "there is no user nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_with_what_is() {
    let broken = Broken::new().await;
    let stop = |vm| broken.cloud.sim.break_it(Breakage::StopVm { vm: name(vm) });
    assert_eq!(
        stop("nobody").unwrap_err(),
        "there is no machine nobody; there are a, b"
    );
    broken.does(Breakage::RenameVm {
        vm: name("a"),
        name: Some(name("ims-sprout-0")),
    });
    assert_eq!(
        stop("ims-sprout-1").unwrap_err(),
        "there is no machine ims-sprout-1; did you mean ims-sprout-0?"
    );
}
