//! A real controller on a simulated CloudStack: what its VMs hold as user data.

use std::{collections::BTreeMap, fs};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use weir::{
    sim::Profile,
    store::Preconditions,
    types::{
        meta::{Kind, Object, ObjectKey, condition},
        stack::USER_DATA_MAX,
    },
};

use super::{debian, judged};
use crate::world::World;

const SIGNUP: &str = "signup-Zb3x91";

/// The Secret of the stack, with a change merged into its values.
fn secret(change: &Value) -> Value {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "site", "namespace": "default"},
        "stringData": {
            "signupKey": SIGNUP, "turnWorkaround": "turn-Qm5r22",
            "ellisApiKey": "api-Lw8t33", "ellisCookieKey": "cookie-Xd1v44",
        },
    });
    json_patch::merge(&mut secret, &json!({"stringData": change}));
    secret
}

fn spec() -> Value {
    json!({
        "bootstrap": {"secretRef": {"name": "site"}},
        "remediation": {"startupTimeout": "1s"},
    })
}

/// Takes back a Secret.
async fn forget(world: &World) {
    let key = ObjectKey::new(Kind::Secret, "default", "site");
    let any = Preconditions::default();
    world.store.delete(&key, &any).await.unwrap();
}

/// Writes the Secret anew, or over the one that is there.
async fn write(world: &World, change: &Value) {
    let key = ObjectKey::new(Kind::Secret, "default", "site");
    let mut secret = secret(change);
    match world.store.get(&key).await.unwrap() {
        Some(_) => {
            secret["metadata"]["resourceVersion"] = "".into();
            world.update(secret).await;
        }
        None => world.create(secret).await,
    }
}

/// The stack, ready, with its etcd founded.
async fn founded() -> World {
    let world = World::start(Profile::Instant).await;
    write(&world, &json!({})).await;
    world.apply(spec()).await;
    world.settled().await;
    world
        .until("etcd is founded and told", |status| {
            status.phase == "Ready"
                && status.ledger.etcd_founded
                && status.ledger.pending.is_empty()
        })
        .await;
    world.seen_again().await;
    world
}

/// What each VM holds, by its name, out of base64.
fn held(world: &World) -> BTreeMap<String, String> {
    world.sim.world(|sim| {
        let vms = sim.vms.values().filter(|vm| vm.name.starts_with("ims-"));
        let plain = |data: &str| String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
        vms.map(|vm| (vm.name.clone(), plain(vm.user_data.as_ref().unwrap())))
            .collect()
    })
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line begins with {start}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vm_holds_a_valid_cloud_config_of_its_role() {
    let world = founded().await;
    let held = held(&world);
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for (name, text) in &held {
        let config: Value = serde_yaml::from_str(text).unwrap();
        assert!(text.starts_with("#cloud-config\n"), "{name}");
        assert_eq!(config["hostname"], **name);
        let files = config["write_files"].as_array().unwrap();
        let machine = files
            .iter()
            .find(|file| file["path"] == "/etc/weir/machine");
        let machine = machine.unwrap()["content"].as_str().unwrap();
        let role = name.split('-').nth(1).unwrap();
        assert!(machine.contains(&format!("ROLE='{role}'\n")), "{machine}");
        assert!(machine.contains(&format!(" {role} clearwater-")) || role != "sprout");
        assert_eq!(text.contains(SIGNUP), name == "ims-sprout-0", "{name}");
        fs::write(folder.path().join(name), text).unwrap();
        names.push(name.clone());
    }
    assert_eq!(names.len(), 4, "{names:?}");
    // A GET has room for 8 KB; CloudStack takes so much by POST, in base64.
    let requests = world.sim.requests();
    let deploys = requests
        .iter()
        .filter(|request| request.command == "deployVirtualMachine");
    for deploy in deploys {
        let data = &deploy.params["userdata"];
        assert!(data.len() > 8192 && data.len() <= USER_DATA_MAX as usize);
        assert!(STANDARD.decode(data).is_ok() && !deploy.params.contains_key("userdataid"));
    }
    if let Some(root) = debian() {
        let output = judged(&root, folder.path(), &names);
        assert!(output.status.success(), "{output:?}");
    }
    // The whole is told once: a further look changes nothing.
    world.sim.clear_requests();
    world.seen_again().await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_out_joins_and_all_others_are_told_without_a_new_image() {
    let world = founded().await;
    world.sim.clear_requests();
    world
        .change(json!({"components": {"sprout": {"replicas": 3}}}))
        .await;
    world
        .until("five machines", |status| {
            status.replicas == 5 && status.phase == "Ready" && status.ledger.pending.is_empty()
        })
        .await;
    world.settled().await;
    world.seen_again().await;
    let held = held(&world);
    let ledger = world.status().await.ledger;
    let new = ledger.machines["ims-sprout-2"].private_address.to_string();
    for (name, text) in &held {
        let etcd = line(text, "# etcd ");
        assert!(etcd.starts_with("# etcd joins "), "{name}: {etcd}");
        assert!(line(text, "# peers sprout ").ends_with(&new), "{name}");
    }
    let count = |word: &str| world.writes().iter().filter(|one| *one == word).count();
    assert_eq!(count("deployVirtualMachine"), 1, "{:?}", world.writes());
    assert_eq!(count("updateVirtualMachine"), 4, "{:?}", world.writes());
    for word in [
        "restoreVirtualMachine",
        "stopVirtualMachine",
        "rebootVirtualMachine",
    ] {
        assert_eq!(count(word), 0, "{:?}", world.writes());
    }
    let updated = world.status().await.roles;
    assert!(updated.values().all(|role| role.updated == role.desired));
    let told = world.told().await.join("\n");
    assert!(!told.contains("DriftDetected"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_written_at_once_and_waits_for_the_next_image() {
    let world = founded().await;
    world.sim.clear_requests();
    write(&world, &json!({"signupKey": "signup-Yy7u55"})).await;
    world
        .until("told as outdated", |status| {
            let updated: u32 = status.roles.values().map(|role| role.updated).sum();
            updated == 3 && status.phase == "Ready" && status.ledger.pending.is_empty()
        })
        .await;
    world.seen_again().await;
    assert_eq!(world.writes(), ["updateVirtualMachine"]);
    let held = held(&world);
    assert!(held["ims-sprout-0"].contains("signup-Yy7u55"));
    let machine = world.machine("sprout-0").await;
    let later = "its new user data takes effect with its next image";
    assert_eq!(machine.next.as_deref(), Some(later));
    // Whoever wants it now replaces the machine, which joins the etcd that it founded.
    world.delete_machine("sprout-0").await;
    world
        .until("replaced", |status| {
            status.phase == "Ready"
                && status
                    .roles
                    .values()
                    .all(|role| role.updated == role.desired)
        })
        .await;
    world.settled().await;
    let held = self::held(&world);
    assert!(line(&held["ims-sprout-0"], "# etcd ").starts_with("# etcd joins "));
    for value in [SIGNUP, "signup-Yy7u55", "turn-Qm5r22"] {
        let told = world.told().await.join("\n");
        let status = serde_json::to_string(&world.stack().await).unwrap();
        assert!(!told.contains(value) && !status.contains(value), "{value}");
    }
}

/// Nothing but the change of a Secret wakes this stack: its account is looked at every hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_told_and_its_coming_wakes_the_stack() {
    let world = World::bare(Profile::Instant).await;
    world
        .account(json!({"resyncInterval": "1h", "auditInterval": "1h"}))
        .await;
    world.apply(spec()).await;
    let reason = |wanted: &'static str, words: &'static str| {
        move |status: &weir::types::stack::StackStatus| {
            let ready = condition(&status.conditions, "Ready");
            ready.is_some_and(|ready| {
                ready.reason == wanted
                    && ready.message.contains("default/site")
                    && ready.message.contains(words)
            }) && status.phase == "Blocked"
        }
    };
    world
        .until("missing", reason("SecretNotFound", "does not exist"))
        .await;
    assert!(world.status().await.ledger.is_empty(), "nothing is made");
    write(&world, &json!({"turnWorkaround": null})).await;
    world
        .until("lacking", reason("SecretUnusable", "turnWorkaround"))
        .await;
    assert_eq!(world.writes(), [""; 0]);
    write(&world, &json!({})).await;
    world.settled().await;
    world.sim.clear_requests();
    forget(&world).await;
    world
        .until("gone", reason("SecretNotFound", "does not exist"))
        .await;
    assert_eq!(world.writes(), [""; 0], "machines are left alone");
    write(&world, &json!({})).await;
    world.until("back", |status| status.phase == "Ready").await;
    let object: Object = serde_json::from_value(secret(&json!({}))).unwrap();
    assert_eq!(object.key().unwrap().kind, Kind::Secret);
}
