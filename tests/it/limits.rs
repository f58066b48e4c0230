//! What stands between Weir and CloudStack, and what is allowed: time limits, throttles, proxies,
//! certificates, keys, pages; a pause that ends by itself; a bug that takes nothing with it.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use weir::{
    sim::{Breakage, Fault, FaultKind, Profile},
    types::{
        meta::{ConditionStatus, condition},
        stack::{PAUSED_UNTIL, PAUSED_WHY, StackStatus, StepState},
    },
};

use crate::world::{Answer, Front, World};

/// A world whose account is reached through a proxy, one request at a time.
async fn behind(tls: Option<Arc<ServerConfig>>) -> (World, Front) {
    let world = World::bare(Profile::Instant).await;
    let front = Front::new(&world, tls).await;
    (world, front)
}

async fn ready_behind() -> (World, Front) {
    let (world, front) = behind(None).await;
    let one_by_one = json!({"requestsInFlight": 1});
    world
        .account(json!({"endpoint": front.endpoint(), "limits": one_by_one}))
        .await;
    world.apply(json!({})).await;
    world.settled().await;
    world.sim.clear_requests();
    (world, front)
}

fn not_planned(status: &StackStatus, reason: &str, says: &str) -> bool {
    let planned = condition(&status.conditions, "Planned");
    planned.is_some_and(|planned| {
        planned.status == ConditionStatus::False
            && (reason.is_empty() || planned.reason == reason)
            && planned.message.contains(says)
    })
}

/// Waits until the account's `Ready` condition begins with some words.
async fn account_says(world: &World, words: &str) {
    let wait = async {
        while !world.account_told().await.starts_with(words) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .is_err()
    {
        panic!("not {words}: {}", world.account_told().await);
    }
}

fn stop(vm: &str) -> Breakage {
    Breakage::StopVm {
        vm: format!("ims-{vm}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_or_not_at_all_is_looked_for_and_not_repeated() {
    let world = World::bare(Profile::Instant).await;
    world
        .account(json!({"limits": {"requestTimeout": "700ms"}}))
        .await;
    let slow = FaultKind::Slow { millis: 3000 };
    for (command, kind) in [
        ("createVPC", slow.clone()),
        ("createNetwork", slow.clone()),
        ("deployVirtualMachine", slow.clone()),
        ("deployVirtualMachine", FaultKind::LostReply),
        ("associateIpAddress", FaultKind::LostReply),
        ("enableStaticNat", slow),
    ] {
        world.sim.add_fault(Fault::once(command, kind));
    }
    world.apply(json!({})).await;
    world.settled().await;
    assert_eq!(
        world
            .sim
            .faults()
            .iter()
            .filter(|fault| fault.count != Some(0))
            .count(),
        0
    );
    let made = world.sim.world(|sim| sim.totals.clone());
    assert_eq!(
        (made.vms, made.vpcs, made.addresses),
        (4, 1, 1 + 1),
        "one is the source NAT"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloudstack_that_is_away_is_told_and_waited_for() {
    let (world, mut front) = ready_behind().await;
    front.leave().await;
    world
        .until("told", |status| {
            not_planned(status, "Unreachable", "cannot connect")
        })
        .await;
    account_says(&world, "Unreachable: ").await;
    world.broken(stop("sprout-0"));
    front.come_back().await;
    world
        .until("repaired", |status| {
            status.drift.len() == 1 || !status.ledger.pending.is_empty()
        })
        .await;
    world.settled().await;
    assert_eq!(world.writes(), ["startVirtualMachine"]);
    account_says(&world, "Looked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_proxy_decides_nothing_and_is_not_hammered() {
    let (world, front) = ready_behind().await;
    let page = "<html><body><h1>503 Service Unavailable</h1></body></html>";
    let answer = Answer {
        status: 503,
        retry_after: None,
        body: page,
    };
    front.answer(1000, &answer);
    world.broken(stop("sprout-0"));
    let says = "HTTP 503 without an answer: <html>";
    world
        .until("told", |status| {
            not_planned(status, "OutcomeUnknown", says) && 1000 - front.waiting() >= 3
        })
        .await;
    assert_eq!(world.writes(), [""; 0]);
    front.clear();
    world
        .until("planned", |status| !not_planned(status, "", ""))
        .await;
    world.settled().await;
    assert_eq!(world.writes(), ["startVirtualMachine"]);
    let arrivals = front.arrivals();
    let pages = arrivals.windows(2).filter(|two| two[0].1);
    for two in pages {
        let pause = two[1].0.duration_since(two[0].0);
        assert!(
            pause.as_millis() >= 500,
            "the next request came after {pause}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_slows_the_whole_client_down_for_as_long_as_it_asks() {
    let (world, front) = ready_behind().await;
    let json = r#"{"listvpcsresponse": {"errorcode": 429, "errortext": "The given user has reached his/her account api limit, please retry after [900] ms."}}"#;
    for (retry_after, body, least) in [
        (Some("2"), "slow down", Duration::from_secs(2)),
        (None, json, Duration::from_millis(900)),
        (None, "slow down", Duration::from_millis(500)),
    ] {
        front.answer(
            1,
            &Answer {
                status: 429,
                retry_after,
                body,
            },
        );
        let throttled = |arrivals: &[(jiff::Timestamp, bool)]| {
            let at = arrivals.iter().rposition(|arrival| arrival.1)?;
            Some(
                arrivals
                    .get(at + 1)?
                    .0
                    .duration_since(arrivals[at].0)
                    .unsigned_abs(),
            )
        };
        let wait = async {
            loop {
                if let (0, Some(pause)) = (front.waiting(), throttled(&front.arrivals())) {
                    return pause;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let pause = tokio::time::timeout(Duration::from_secs(60), wait).await;
        let pause = pause.expect("another request comes");
        assert!(pause >= least, "{pause:?} after {retry_after:?} {body}");
        world
            .until("planned", |status| !not_planned(status, "Throttled", ""))
            .await;
    }
    world.settled().await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_never_ends_is_told_and_holds_up_nothing_else() {
    let world = World::ready().await;
    world
        .sim
        .add_fault(Fault::once("startVirtualMachine", FaultKind::HangJob));
    world.broken(stop("sprout-0"));
    world
        .until("the start is on its way", |status| {
            // A request that was signed before time leaps would be too old when it arrives.
            !status.ledger.pending.is_empty() && !world.writes().is_empty()
        })
        .await;
    world.clock.advance(Duration::from_secs(16 * 60));
    world
        .until("told", |status| {
            let mut steps = status.steps.iter();
            steps.any(|step| step.action == "JobStuck" && step.subject == "machine ims-sprout-0")
        })
        .await;
    let status = world.status().await;
    let degraded = condition(&status.conditions, "Degraded").unwrap();
    assert_eq!(degraded.reason, "JobStuck");
    let says = "startVirtualMachine (job ";
    assert!(
        degraded.message.contains(says) && degraded.message.contains("16 minutes"),
        "{degraded:?}"
    );
    world.broken(stop("homestead-0"));
    world
        .until("the other is repaired", |status| {
            let mut roles = status.roles.iter();
            world.writes().len() == 2
                && roles.any(|(role, counts)| role.name() == "homestead" && counts.ready == 1)
        })
        .await;
    assert_eq!(world.writes(), ["startVirtualMachine"; 2]);
    world.tells("JobStuck: ").await;
    let told = world.told().await;
    assert_eq!(
        told.iter()
            .filter(|event| event.starts_with("JobStuck: "))
            .count(),
        1,
        "{told:#?}"
    );
}

/// A CA and a server's certificate for the loopback address, with the server's configuration.
fn certificate() -> (String, Arc<ServerConfig>) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap();
    (ca_pem, Arc::new(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_certificate_is_refused_until_its_ca_is_in_the_account() {
    let (ca, config) = certificate();
    let (world, front) = behind(Some(config)).await;
    world.account(json!({"endpoint": front.endpoint()})).await;
    world.apply(json!({})).await;
    world
        .until("refused", |status| {
            not_planned(status, "Unreachable", "certificate is not trusted")
        })
        .await;
    account_says(&world, "Unreachable: ").await;
    let told = world.account_told().await;
    assert!(told.contains("spec.caBundle"), "{told}");
    assert_eq!(
        front.arrivals().len(),
        0,
        "no request, and no key, went out"
    );

    let account = world
        .store
        .get_as::<weir::types::account::CloudAccount>("default", "cloud");
    let mut account = serde_json::to_value(account.await.unwrap().unwrap()).unwrap();
    let bundle = json!({"spec": {"caBundle": ca}, "metadata": {"resourceVersion": ""}});
    json_patch::merge(&mut account, &bundle);
    world.update(account).await;
    world.settled().await;
    assert!(!front.arrivals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_told_and_tried_seldom_until_they_are_corrected() {
    let (world, front) = behind(None).await;
    let mut wrong = world.keys();
    wrong["data"]["secretKey"] = json!(STANDARD.encode("not the key"));
    world.create(wrong).await;
    let account = json!({"endpoint": front.endpoint()});
    world.account_without_keys(account).await;
    account_says(&world, "Unauthorized: CloudStack denied").await;
    world.readiness().await.expect_err("an account is denied");
    world.apply(json!({})).await;
    world
        .until("denied", |status| {
            not_planned(status, "Unauthorized", "denied")
        })
        .await;
    let before = front.arrivals().len();
    // As long as three tries of an ordinary failure take.
    let long = world.clock.now() + Duration::from_secs(5);
    while world.clock.now() < long {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = front.arrivals().len();
    assert!(
        after <= before + 1,
        "{} knocks on a shut door",
        after - before
    );

    world.update(world.keys()).await;
    world.settled().await;
    world.readiness().await.expect("all is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_more_than_one_page_is_read_to_its_end_or_not_at_all() {
    let world = World::ready().await;
    world.sim.world(|sim| {
        let one = sim.find_vm("ims-homestead-0").unwrap().clone();
        for number in 0..600_u64 {
            let mut other = one.clone();
            other.id = format!("00000000-0000-4000-8000-{number:012}");
            other.number = 10_000 + number;
            other.name = format!("other-{number}");
            other.display_name = None;
            other.nics.clear();
            other.details.clear();
            other.affinity_groups.clear();
            sim.vms.insert(other.id.clone(), other);
        }
    });
    world.seen_again().await;
    world.broken(stop("sprout-0"));
    world
        .until("repair is sent", |_| !world.writes().is_empty())
        .await;
    world.settled().await;
    assert_eq!(world.writes(), ["startVirtualMachine"]);
    let pages = |page: &str| {
        let requests = world.sim.requests();
        let mut lists = requests
            .iter()
            .filter(|request| request.command == "listVirtualMachines");
        lists.any(|request| request.params.get("page").map(String::as_str) == Some(page))
    };
    assert!(pages("1") && pages("2") && !pages("3"));

    world.sim.clear_requests();
    let second = Fault {
        skip: 1,
        ..Fault::once("listVirtualMachines", FaultKind::Status { code: 503 })
    };
    world.sim.add_fault(second);
    world
        .until("struck", |_| {
            world
                .sim
                .faults()
                .iter()
                .all(|fault| fault.count == Some(0))
        })
        .await;
    world.seen_again().await;
    world.settled().await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_looks_on_decides_nothing_and_ends_by_itself() {
    let world = World::ready().await;
    let before = world.status().await.ledger.machines;
    let until = world.clock.now() + Duration::from_secs(7200);
    world
        .annotate(json!({PAUSED_UNTIL: until.to_string(), PAUSED_WHY: "moving racks"}))
        .await;
    world
        .until("paused", |status| status.phase == "Paused")
        .await;
    world.broken(stop("homestead-0"));
    // Asked for and taken back in the pause: nothing may come of it afterwards.
    world
        .change(json!({"components": {"sprout": {"replicas": 1}}}))
        .await;
    world
        .until("told", |status| {
            let drift = status
                .drift
                .iter()
                .any(|drift| drift.subject == "machine ims-homestead-0");
            drift && status.replicas == 3
        })
        .await;
    let status = world.status().await;
    let paused = condition(&status.conditions, "Paused").unwrap();
    assert!(paused.message.contains("moving racks"), "{paused:?}");
    let next = status
        .steps
        .iter()
        .find(|step| step.action == "startVirtualMachine")
        .unwrap();
    assert!(
        next.state == StepState::Next && next.reason.contains("paused"),
        "{next:?}"
    );
    world
        .change(json!({"components": {"sprout": {"replicas": 2}}}))
        .await;
    world.until("seen", |status| status.replicas == 4).await;
    world.seen_again().await;
    assert_eq!(world.writes(), [""; 0]);

    world.clock.advance(Duration::from_secs(7200));
    world.settled().await;
    assert_eq!(world.writes(), ["startVirtualMachine"]);
    let after = world.status().await.ledger.machines;
    assert!(
        before
            .iter()
            .all(|(name, record)| after[name].vm == record.vm)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_in_a_round_is_caught_told_and_tried_again() {
    let world = World::ready().await;
    world.panics.store(6, Ordering::SeqCst);
    world
        .until("told", |status| {
            not_planned(status, "InternalError", "a bug of Weir's: a bug on request")
        })
        .await;
    world.broken(stop("sprout-0"));
    world
        .until("repair is sent", |status| {
            !not_planned(status, "InternalError", "") && !world.writes().is_empty()
        })
        .await;
    world.settled().await;
    assert_eq!(world.panics.load(Ordering::SeqCst), 0);
    assert_eq!(world.writes(), ["startVirtualMachine"]);
    let panics = "weir_reconciles_total{result=\"panic\"}";
    assert!(world.metric(panics).await >= 1.0);
    world
        .tells("InternalError: a round failed with a bug of Weir's")
        .await;
}
