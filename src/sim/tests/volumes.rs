//! Volumes: with their machine, without it, and against limits.

use serde_json::json;

use super::Cloud;
use crate::sim::world::GIB;
use crate::sim::{Profile, Who};

fn disk_offering(cloud: &Cloud, name: &str) -> String {
    cloud.sim.world(|world| {
        let mut rows = world.catalogue.disk_offerings.iter();
        let row = rows.find(|row| row["name"] == name).expect("an offering");
        row["id"].as_str().unwrap().to_owned()
    })
}

async fn volumes(cloud: &Cloud, params: &[(&str, &str)]) -> Vec<serde_json::Value> {
    let list = cloud.tenant("listVolumes", params).await;
    list["volume"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn data_disks_outlive_their_machine_and_root_disks_do_not() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let small = disk_offering(&cloud, "Small");
    let params = cloud.deploy(&stack.tier, "bono-0", &[("diskofferingid", &small)]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let vm = vm["virtualmachine"]["id"].as_str().unwrap().to_owned();
    let disks = volumes(&cloud, &[("virtualmachineid", &vm)]).await;
    let types: Vec<_> = disks
        .iter()
        .map(|disk| (&disk["type"], &disk["state"], disk["deviceid"].as_i64()))
        .collect();
    assert_eq!(
        types,
        [
            (&json!("ROOT"), &json!("Ready"), Some(0)),
            (&json!("DATADISK"), &json!("Ready"), Some(1))
        ]
    );
    let count = |resource: &'static str| {
        cloud.sim.world(|world| {
            let account = world.account_named("operator").unwrap().id.clone();
            crate::sim::commands::used(world, &account, resource)
        })
    };
    assert_eq!((count("volume"), count("primary_storage")), (2, 7));

    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;
    assert_eq!((count("volume"), count("primary_storage")), (1, 5));
    let left = volumes(&cloud, &[("type", "DATADISK")]).await;
    assert_eq!(left.len(), 1);
    assert!(left[0]["virtualmachineid"].is_null(), "{}", left[0]);
    cloud
        .ask(Who::Admin, "recoverVirtualMachine", &[("id", &vm)])
        .await;
    assert_eq!(count("volume"), 2);
    let gone = [("id", vm.as_str()), ("expunge", "true")];
    cloud
        .job_as(Who::Admin, "destroyVirtualMachine", &gone)
        .await;
    assert_eq!(count("volume"), 1);
    assert!(cloud.sim.world(|world| world.is_well_filed()));
}

#[tokio::test(start_paused = true)]
async fn a_data_disk_that_is_named_goes_with_its_machine() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let custom = disk_offering(&cloud, "Custom");
    let more = [("diskofferingid", custom.as_str()), ("size", "3")];
    let params = cloud.deploy(&stack.tier, "bono-0", &more);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let vm = vm["virtualmachine"]["id"].as_str().unwrap().to_owned();
    let disk = volumes(&cloud, &[("type", "DATADISK")]).await;
    assert_eq!(disk[0]["size"].as_i64(), Some(3 * GIB));
    let disk = disk[0]["id"].as_str().unwrap().to_owned();
    let both = [("id", vm.as_str()), ("volumeids", disk.as_str())];
    cloud.done("destroyVirtualMachine", &both).await;
    assert!(volumes(&cloud, &[("type", "DATADISK")]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_created_attached_resized_detached_and_deleted() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "bono-0").await;
    let custom = disk_offering(&cloud, "Custom");
    let order = [
        ("name", "d"),
        ("zoneid", &cloud.zone),
        ("diskofferingid", &custom),
    ];
    let (status, text) = cloud.refusal("createVolume", &order).await;
    assert_eq!(
        (status, text.as_str()),
        (431, "This disk offering requires a custom size specified")
    );
    let order = [order.as_slice(), &[("size", "5")]].concat();
    let volume = cloud.done("createVolume", &order).await["volume"].clone();
    assert_eq!(volume["state"], "Allocated");
    let id = volume["id"].as_str().unwrap();
    let attach = [("id", id), ("virtualmachineid", vm.as_str())];
    let volume = cloud.done("attachVolume", &attach).await["volume"].clone();
    assert_eq!(
        (&volume["state"], &volume["deviceid"], &volume["vmname"]),
        (&json!("Ready"), &json!(1), &json!("bono-0"))
    );
    assert_eq!(cloud.failure("attachVolume", &attach).await.0, 431);
    assert_eq!(cloud.refusal("deleteVolume", &[("id", id)]).await.0, 431);

    let smaller = [("id", id), ("size", "4")];
    assert_eq!(cloud.refusal("resizeVolume", &smaller).await.0, 431);
    let larger = cloud
        .done("resizeVolume", &[("id", id), ("size", "6")])
        .await;
    assert_eq!(larger["volume"]["size"].as_i64(), Some(6 * GIB));
    let too_large = [("id", id), ("size", "500")];
    assert_eq!(cloud.refusal("resizeVolume", &too_large).await.0, 535);

    let place = [("virtualmachineid", vm.as_str()), ("deviceid", "1")];
    let volume = cloud.done("detachVolume", &place).await["volume"].clone();
    assert!(volume["virtualmachineid"].is_null(), "{volume}");
    cloud.done("destroyVolume", &[("id", id)]).await;
    assert!(volumes(&cloud, &[("id", id)]).await.is_empty());
    cloud.ask(Who::Admin, "recoverVolume", &[("id", id)]).await;
    cloud.tenant("deleteVolume", &[("id", id)]).await;
    let (status, text) = cloud.refusal("destroyVolume", &[("id", id)]).await;
    assert_eq!(status, 431);
    assert!(text.contains("of type [Volume]"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_root_disk_can_be_larger_than_its_template_and_not_smaller() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let small = cloud.deploy(&stack.tier, "a", &[("rootdisksize", "1")]);
    let (status, text) = cloud.refusal("deployVirtualMachine", &small).await;
    assert_eq!(status, 431);
    assert!(text.starts_with("Unsupported: rootdisksize override (1 GB) is smaller"));
    let large = cloud.deploy(&stack.tier, "a", &[("rootdisksize", "8")]);
    let vm = cloud.done("deployVirtualMachine", &large).await;
    assert!(vm["virtualmachine"]["details"]["rootdisksize"].is_null());
    let id = vm["virtualmachine"]["id"].as_str().unwrap();
    let root = volumes(&cloud, &[("virtualmachineid", id)]).await;
    assert_eq!(root[0]["size"].as_i64(), Some(8 * GIB));
    let again = [("virtualmachineid", id)];
    cloud.done("restoreVirtualMachine", &again).await;
    let renewed = volumes(&cloud, &[("virtualmachineid", id)]).await;
    assert_ne!(renewed[0]["id"], root[0]["id"]);
    assert_eq!(renewed[0]["name"], root[0]["name"]);
}

#[tokio::test(start_paused = true)]
async fn sizes_beyond_all_bounds_are_refused_or_counted_and_nothing_more() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "a").await;
    let (least, most) = (i64::MIN.to_string(), i64::MAX.to_string());
    let negative = [("virtualmachineid", vm.as_str()), ("rootdisksize", &least)];
    let (status, text) = cloud.refusal("restoreVirtualMachine", &negative).await;
    assert_eq!(
        (status, text.as_str()),
        (431, "Root disk size should be a positive number.")
    );
    let huge = [("virtualmachineid", vm.as_str()), ("rootdisksize", &most)];
    assert_eq!(cloud.refusal("restoreVirtualMachine", &huge).await.0, 535);
    let huge = cloud.deploy(&stack.tier, "b", &[("rootdisksize", &most)]);
    assert_eq!(cloud.refusal("deployVirtualMachine", &huge).await.0, 535);
    let root = volumes(&cloud, &[("virtualmachineid", &vm)]).await;
    let root = root[0]["id"].as_str().unwrap();
    let huge = [("id", root), ("size", &most)];
    assert_eq!(cloud.refusal("resizeVolume", &huge).await.0, 535);
    // Who has no limits can have it, and be counted with it.
    cloud.sim.world(|world| {
        let limits = world.limits.values_mut();
        limits.for_each(|limits| *limits = crate::sim::world::Limits::none());
    });
    cloud.done("resizeVolume", &huge).await;
    let small = disk_offering(&cloud, "Small");
    for name in ["c", "d"] {
        let deploy = cloud.deploy(&stack.tier, name, &[("diskofferingid", &small)]);
        cloud.done("deployVirtualMachine", &deploy).await;
    }
}
