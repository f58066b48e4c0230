//! A controller that keeps a stack's names on a real BIND: they follow the machines, drift is put
//! right, and whatever stands in the way is told in the condition `DNSReady`.

use serde_json::{Value, json};
use weir::types::{
    meta::{ConditionStatus, condition},
    stack::{ClearwaterStack, StackStatus},
};

use super::bind::{Bind, CLOSED, DOMAIN, KEY, OPEN, OTHER_KEY, until};
use crate::world::{Guests, World, small_stack};

const NAMES: [&str; 5] = ["bono-0", "homestead-0", "sprout-0", "sprout-1", "sprout-2"];

fn secret(name: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"}, "stringData": {"tsigKey": key},
    })
}

/// `spec.dns` of a stack whose names are on this server.
fn external(bind: &Bind) -> Value {
    let server = json!({
        "address": bind.address().to_string(), "keyName": "weir", "secretRef": {"name": "dns-key"},
    });
    json!({"dns": {"mode": "External", "servers": [server]}})
}

/// A small stack that is ready, with its names on the server.
async fn named(bind: &Bind, more: &Value) -> World {
    let world = World::start(weir::sim::Profile::Instant).await;
    world.create(secret("dns-key", KEY)).await;
    let mut spec = external(bind);
    json_patch::merge(&mut spec, more);
    world.apply(spec).await;
    world.settled().await;
    says(&world, "InSync", "").await;
    world.sim.clear_requests();
    world
}

fn dns(status: &StackStatus) -> (bool, String, String) {
    let told = condition(&status.conditions, "DNSReady");
    told.map_or_else(Default::default, |told| {
        let holds = told.status == ConditionStatus::True;
        (holds, told.reason.clone(), told.message.clone())
    })
}

/// Waits until the condition has a reason, and words in its message.
async fn says(world: &World, reason: &str, words: &str) {
    let what = format!("DNSReady says {reason}: {words}");
    world
        .until(&what, |status| {
            let (holds, told, message) = dns(status);
            told == reason && message.contains(words) && holds == (reason == "InSync")
        })
        .await;
}

/// Waits until a name has these addresses, as another resolver sees it.
async fn has(bind: &Bind, name: &str, addresses: &[String]) {
    until(&format!("{name} has {addresses:?}"), async || {
        let seen = bind.dig(name, "A");
        if seen == addresses {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
}

/// The private addresses of machines that there are, sorted as text.
async fn private(world: &World, machines: &[&str]) -> Vec<String> {
    let ledger = world.status().await.ledger;
    let all = machines.iter().map(|name| {
        let record = &ledger.machines[&format!("ims-{name}")];
        record.private_address.to_string()
    });
    let mut all: Vec<String> = all.collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn names_follow_the_machines() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({})).await;
    let sprouts = private(&world, &NAMES[2..4]).await;
    assert_eq!(bind.dig("sprout.ims.example.com", "A"), sprouts);
    let bono = world.status().await.ledger.machines["ims-bono-0"].clone();
    let public = bono.public_address.unwrap().ip.to_string();
    assert_eq!(bind.dig(DOMAIN, "A"), [public]);
    assert_eq!(
        bind.dig("_sip._udp.ims.example.com", "SRV"),
        ["0 0 5060 ims-bono-0.ims.example.com."]
    );
    world.tells("DNSReady: ").await;

    world
        .change(json!({"components": {"sprout": {"replicas": 1}}}))
        .await;
    has(
        &bind,
        "sprout.ims.example.com",
        &private(&world, &["sprout-0"]).await,
    )
    .await;
    world.settled().await;
    world
        .change(json!({"components": {"sprout": {"replicas": 3}}}))
        .await;
    world
        .until("three sprouts", |status| status.ready_replicas == 5)
        .await;
    let sprouts = private(&world, &NAMES[2..5]).await;
    has(&bind, "sprout.ims.example.com", &sprouts).await;
    says(&world, "InSync", "").await;
    let told = world.told().await.join("\n");
    assert!(
        !told.contains("drift"),
        "a change of the manifest is none: {told}"
    );

    // What is in sync costs nothing: no status is written for looks that find it so.
    let before = world.stack().await.metadata.resource_version;
    world.seen_again().await;
    assert_eq!(world.stack().await.metadata.resource_version, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_names_is_told_and_put_right() {
    let Some(bind) = Bind::with(CLOSED).await else {
        return;
    };
    let world = named(&bind, &json!({})).await;
    let sprouts = private(&world, &NAMES[2..4]).await;
    let break_it = "zone ims.example.com\nupdate delete sprout.ims.example.com A\n\
                    update add sprout.ims.example.com 30 A 192.0.2.66";
    bind.nsupdate(break_it);
    has(&bind, "sprout.ims.example.com", &sprouts).await;
    let on = bind.address();
    let subject = format!("dnsRecord of dns sprout.ims.example.com A on {on}");
    let seen = format!(
        "drift: {subject}: want {}, have 192.0.2.66 for 30 s",
        sprouts.join(", ")
    );
    world.tells(&seen).await;
    world
        .tells(&format!("{subject} is as it should be again"))
        .await;
    let count = "weir_drift_seen_total{field=\"dnsRecord\",kind=\"dns\"}";
    assert!(world.metric(count).await > 0.0);
    assert!(
        world.writes().is_empty(),
        "nothing of CloudStack's is touched"
    );

    world
        .change(json!({"drift": {"dnsRecord": "Report"}}))
        .await;
    bind.nsupdate(break_it);
    says(&world, "Reported", "1 record sets differ").await;
    assert_eq!(bind.dig("sprout.ims.example.com", "A"), ["192.0.2.66"]);
    world
        .change(json!({"drift": {"dnsRecord": "Repair"}}))
        .await;
    has(&bind, "sprout.ims.example.com", &sprouts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_found_only_while_it_serves() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let guests = Guests::new(41);
    let probe = Guests::probe("TCP");
    let world = World::start(weir::sim::Profile::Instant).await;
    world.create(secret("dns-key", KEY)).await;
    let mut spec = external(&bind);
    let more = json!({
        "network": guests.network(), "components": {"sprout": {"probe": probe}},
        "remediation": {"unhealthyAfter": "1h"},
    });
    json_patch::merge(&mut spec, &more);
    world.apply(spec).await;
    guests.serve(&world, "sprout-0").await;
    has(
        &bind,
        "sprout.ims.example.com",
        &private(&world, &["sprout-0"]).await,
    )
    .await;
    guests.serve(&world, "sprout-1").await;
    has(
        &bind,
        "sprout.ims.example.com",
        &private(&world, &NAMES[2..4]).await,
    )
    .await;
    guests.close(&world, "sprout-1").await;
    has(
        &bind,
        "sprout.ims.example.com",
        &private(&world, &["sprout-0"]).await,
    )
    .await;
    assert_eq!(bind.dig("ims-sprout-1.ims.example.com", "A"), [""; 0]);
    guests.serve(&world, "sprout-1").await;
    has(
        &bind,
        "sprout.ims.example.com",
        &private(&world, &NAMES[2..4]).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_planned_takes_no_names_away() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({})).await;
    let sprouts = private(&world, &NAMES[2..4]).await;
    world.change(json!({"template": {"name": "nowhere"}})).await;
    world
        .until("it cannot be planned", |status| {
            let ready = condition(&status.conditions, "Ready");
            ready.is_some_and(|ready| ready.reason == "NotResolvable")
        })
        .await;
    world.seen_again().await;
    assert_eq!(bind.dig("sprout.ims.example.com", "A"), sprouts);
    bind.nsupdate("zone ims.example.com\nupdate delete sprout.ims.example.com A");
    has(&bind, "sprout.ims.example.com", &sprouts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_taken_back_before_the_stack_is_gone() {
    let Some(mut bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({"deletionPolicy": {"network": "Retain"}})).await;
    bind.kill();
    world.delete().await;
    says(
        &world,
        "NameServerUnreachable",
        "`deletionPolicy: Orphan` leaves them",
    )
    .await;
    world
        .until("nothing else is left", |status| status.ledger.is_empty())
        .await;
    bind.start().await;
    world.gone().await;
    for (name, kind) in [(DOMAIN, "A"), ("_weir.ims.example.com", "TXT")] {
        assert_eq!(bind.dig(name, kind), [""; 0], "{name}");
    }
    assert_eq!(bind.dig("ns.ims.example.com", "A"), ["127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_where_the_stack_is_let_go() {
    let Some(mut bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({"deletionPolicy": "Orphan"})).await;
    let sprouts = private(&world, &NAMES[2..4]).await;
    bind.kill();
    world.delete().await;
    world.gone().await;
    bind.start().await;
    assert_eq!(bind.dig("sprout.ims.example.com", "A"), sprouts);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_taken_back_where_they_are_no_longer_wanted() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({})).await;
    world.change(json!({"dns": {"mode": "None"}})).await;
    world
        .until("the name server is forgotten", |status| {
            status.ledger.name_servers.is_empty() && dns(status).1.is_empty()
        })
        .await;
    assert_eq!(bind.dig(DOMAIN, "A"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stacks_do_not_share_a_domain() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({})).await;
    let before = bind.dig(DOMAIN, "A");
    let mut second = small_stack(&external(&bind));
    json_patch::merge(&mut second, &json!({"metadata": {"name": "late"}}));
    world.create(second).await;
    until("the second stack tells of the first", async || {
        let late: Option<ClearwaterStack> = world.store.get_as("default", "late").await.unwrap();
        let (holds, reason, message) = dns(&late.and_then(|late| late.status).unwrap_or_default());
        let told = "ims.example.com is the domain of stack default/ims";
        let seen = format!("{reason}: {message}");
        let told = !holds && reason == "DomainClaimed" && message.contains(told);
        if told { Ok(()) } else { Err(seen) }
    })
    .await;
    assert_eq!(bind.dig(DOMAIN, "A"), before);
    assert_eq!(bind.dig("late-bono-0.ims.example.com", "A"), [""; 0]);
    world.tells("DomainClaimed: ").await;
    says(&world, "InSync", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_or_wrong_is_told_and_taken_up_when_it_is_right() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = World::start(weir::sim::Profile::Instant).await;
    world.apply(external(&bind)).await;
    let missing = "Secret default/dns-key does not exist; apply it";
    says(&world, "SecretNotFound", missing).await;
    world.create(secret("dns-key", "too short")).await;
    says(
        &world,
        "KeyUnusable",
        "is not the base64 of 32 bytes or more",
    )
    .await;
    world.update(secret("dns-key", OTHER_KEY)).await;
    says(&world, "KeyRefused", "BADSIG").await;
    world.tells("KeyRefused: ").await;
    assert_eq!(bind.dig(DOMAIN, "A"), [""; 0]);
    assert!(
        world.status().await.ledger.name_servers.is_empty(),
        "nothing was begun"
    );
    world.update(secret("dns-key", KEY)).await;
    world.settled().await;
    let sprouts = private(&world, &NAMES[2..4]).await;
    has(&bind, "sprout.ims.example.com", &sprouts).await;
    let written = serde_json::to_string(&world.status().await).unwrap();
    let told = world.told().await.join("\n");
    for key in [KEY, OTHER_KEY, "too short"] {
        assert!(
            !written.contains(key) && !told.contains(key),
            "a key is told"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_update_is_told_and_not_repeated_in_haste() {
    let more = "allow-update { none; }; allow-transfer { key \"weir\"; };";
    let Some(bind) = Bind::with(more).await else {
        return;
    };
    let world = World::start(weir::sim::Profile::Instant).await;
    world.create(secret("dns-key", KEY)).await;
    world.apply(external(&bind)).await;
    says(
        &world,
        "UpdateRefused",
        "let the key weir change ims.example.com",
    )
    .await;
    let refused = "weir_dns_updates_total{result=\"UpdateRefused\"}";
    let before = world.metric(refused).await;
    world.seen_again().await;
    assert!(world.metric(refused).await - before < 4.0, "it backs off");
    says(&world, "UpdateRefused", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_caught_up_with() {
    let Some(mut bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({})).await;
    bind.kill();
    says(&world, "NameServerUnreachable", "").await;
    world
        .change(json!({"components": {"sprout": {"replicas": 3}}}))
        .await;
    world
        .until("three sprouts", |status| status.ready_replicas == 5)
        .await;
    bind.start().await;
    let sprouts = private(&world, &NAMES[2..5]).await;
    has(&bind, "sprout.ims.example.com", &sprouts).await;
    says(&world, "InSync", "").await;
    world.tells("NameServerUnreachable: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_is_given_names_before_all_can_be() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let address = bind.address().to_string();
    let server = |key: &str, view: &str| {
        let secret = json!({"name": format!("{key}-key")});
        json!({"address": address, "keyName": key, "view": view, "secretRef": secret})
    };
    let world = World::start(weir::sim::Profile::Instant).await;
    world.create(secret("weir-key", KEY)).await;
    world.create(secret("nobody-key", KEY)).await;
    let servers = json!([server("weir", "Internal"), server("nobody", "Public")]);
    world
        .apply(json!({"dns": {"mode": "External", "servers": servers}}))
        .await;
    world.settled().await;
    says(&world, "KeyRefused", "nobody").await;
    world.seen_again().await;
    assert_eq!(bind.dig("_weir.ims.example.com", "TXT"), [""; 0]);
    world
        .change(json!({"dns": {"servers": [server("weir", "Internal")]}}))
        .await;
    says(&world, "InSync", "").await;
    assert_eq!(bind.dig(DOMAIN, "A"), private(&world, &["bono-0"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_stack_is_paused_its_names_stay_as_they_are() {
    let Some(bind) = Bind::with(OPEN).await else {
        return;
    };
    let world = named(&bind, &json!({})).await;
    let until = (world.clock.now() + std::time::Duration::from_secs(3600)).to_string();
    world
        .annotate(json!({"weir.dev/paused-until": until}))
        .await;
    world
        .until("paused", |status| status.phase == "Paused")
        .await;
    bind.nsupdate("zone ims.example.com\nupdate delete sprout.ims.example.com A");
    says(&world, "Paused", "1 record sets differ").await;
    assert_eq!(bind.dig("sprout.ims.example.com", "A"), [""; 0]);
    world.annotate(json!({"weir.dev/paused-until": null})).await;
    has(
        &bind,
        "sprout.ims.example.com",
        &private(&world, &NAMES[2..4]).await,
    )
    .await;
}
