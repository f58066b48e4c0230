//! Items 104 and 105: webhooks, really delivered. Sockets do not follow a paused clock, so time is
//! real here.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use weir::sim::{Breakage, Profile, Who};

use super::{Cloud, text};

/// Longest wait for a delivery.
const PATIENCE: Duration = Duration::from_secs(30);

const SECRET: &str = "s3cret";

/// Somebody who is told of events.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    /// What it answers to all.
    status: Arc<Mutex<u16>>,
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.got.lock().unwrap().push((headers, body));
    StatusCode::from_u16(*receiver.status.lock().unwrap()).unwrap()
}

impl Receiver {
    async fn start(tasks: &mut JoinSet<()>) -> (Self, SocketAddr) {
        let receiver = Self::default();
        *receiver.status.lock().unwrap() = 200;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().fallback(take).with_state(receiver.clone());
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (receiver, address)
    }

    /// Waits until deliveries are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&[(HeaderMap, Bytes)]) -> bool) {
        let wait = async {
            while !wanted(&self.got.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(came.is_ok(), "{what}: {:#?}", self.got.lock().unwrap());
    }

    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

/// A cloud that serves, with a webhook of the tenant's and its receiver.
struct Told {
    cloud: Cloud,
    vm: String,
    hook: String,
    receiver: Receiver,
    url: String,
    _tasks: JoinSet<()>,
}

impl Told {
    async fn start() -> Self {
        let cloud = Cloud::new(Profile::Instant).await;
        cloud
            .sim
            .world(|world| world.settings.webhooks_to_loopback = true);
        let vm = cloud.stopped("a").await;
        cloud.done("startVirtualMachine", &[("id", &vm)]).await;
        let mut tasks = JoinSet::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sim = cloud.sim.clone();
        tasks.spawn(async move {
            sim.serve(listener, CancellationToken::new()).await.unwrap();
        });
        let (receiver, address) = Receiver::start(&mut tasks).await;
        let url = format!("http://{address}/hook");
        let hook = [("name", "h"), ("payloadurl", &*url), ("secretkey", SECRET)];
        let hook = cloud.tenant("createWebhook", &hook).await;
        Self {
            vm,
            hook: text(&hook["webhook"]["id"]),
            receiver,
            url,
            _tasks: tasks,
            cloud,
        }
    }

    /// What is remembered of deliveries, newest first.
    async fn log(&self) -> Vec<Value> {
        let of = [("webhookid", &*self.hook)];
        let list = self.cloud.tenant("listWebhookDeliveries", &of).await;
        list["webhookdelivery"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until so many deliveries are remembered.
    async fn logged(&self, count: usize) -> Vec<Value> {
        let wait = async {
            while self.log().await.len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(came.is_ok(), "not {count}: {:#?}", self.log().await);
        self.log().await
    }
}

/// 104. Webhook: after stop, POSTs with X-CS-Event: VM.STOP for Scheduled, Started, Completed;
/// X-CS-Signature verifies over the raw body; a 204 or 500 answer leads to 3 tries in all.
#[tokio::test]
async fn c104_a_stop_is_told_to_a_webhook_and_tried_three_times() {
    let told = Told::start().await;
    told.cloud
        .done("stopVirtualMachine", &[("id", &told.vm)])
        .await;
    told.receiver
        .until("three came", |got| got.len() == 3)
        .await;
    let mut stages = Vec::new();
    for (headers, body) in told.receiver.got.lock().unwrap().iter() {
        let payload: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(headers["x-cs-event"], "VM.STOP");
        assert_eq!(
            (
                &payload["event"],
                &payload["entityuuid"],
                &payload["VirtualMachine"]
            ),
            (&json!("VM.STOP"), &json!(told.vm), &json!(told.vm))
        );
        let account = text(&payload["account"]);
        assert_eq!(headers["user-agent"], format!("CS-Hookshot/{account}"));
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body);
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(headers["x-cs-signature"], signature);
        stages.push(text(&payload["status"]));
    }
    stages.sort_unstable();
    assert_eq!(stages, ["Completed", "Scheduled", "Started"]);
    assert!(
        told.logged(3)
            .await
            .iter()
            .all(|row| row["success"] == true)
    );

    for status in [204, 500] {
        *told.receiver.status.lock().unwrap() = status;
        let before = told.receiver.count();
        let again = told.log().await.remove(0);
        let again = [("id", again["id"].as_str().unwrap())];
        let row = told.cloud.tenant("executeWebhookDelivery", &again).await;
        assert_eq!(told.receiver.count() - before, 3, "{status}");
        assert_eq!(row["webhookdelivery"]["success"], false);
    }
}

/// 105. Out-of-band power-off fires no delivery on a Local webhook.
#[tokio::test]
async fn c105_a_power_off_out_of_band_is_not_told_to_a_local_webhook() {
    let told = Told::start().await;
    let global = format!("{}/global", told.url);
    let hook = [("name", "g"), ("payloadurl", &*global), ("scope", "Global")];
    told.cloud.ask(Who::Admin, "createWebhook", &hook).await;
    let vm = told.vm.clone();
    told.cloud.sim.break_it(Breakage::StopVm { vm }).unwrap();
    told.receiver
        .until("the global one is told", |got| got.len() == 1)
        .await;
    // A later event of the tenant's shows that nothing else was on its way.
    told.cloud
        .done("startVirtualMachine", &[("id", &told.vm)])
        .await;
    told.receiver
        .until("both are told of the start", |got| got.len() == 7)
        .await;
    assert!(
        told.logged(3)
            .await
            .iter()
            .all(|row| row["eventtype"] == "VM.START")
    );
}

#[tokio::test]
async fn a_webhook_is_changed_tried_disabled_and_deleted() {
    let told = Told::start().await;
    let cloud = &told.cloud;
    let twice = [("name", "h2"), ("payloadurl", &*told.url)];
    let used = format!(
        "Payload URL: {} is already in use by another webhook",
        told.url
    );
    assert_eq!(cloud.refusal("createWebhook", &twice).await, (431, used));
    let scope = [
        ("name", "h2"),
        ("payloadurl", "example.com"),
        ("scope", "Global"),
    ];
    assert_eq!(
        cloud.refusal("createWebhook", &scope).await,
        (
            431,
            "Scope Global can not be specified for owner operator".to_owned()
        )
    );
    let tested = [("webhookid", &*told.hook), ("payload", "plain")];
    let row = cloud.tenant("executeWebhookDelivery", &tested).await;
    let row = &row["webhookdelivery"];
    assert_eq!(
        (&row["eventtype"], &row["success"], &row["payload"]),
        (&json!("TEST.WEBHOOK"), &json!(true), &json!("plain"))
    );
    assert_eq!(
        told.log().await,
        [Value::Null; 0],
        "a test is not remembered"
    );

    let off = [("id", &*told.hook), ("state", "Disabled"), ("name", "off")];
    let row = cloud.tenant("updateWebhook", &off).await;
    assert_eq!(
        (&row["webhook"]["state"], &row["webhook"]["name"]),
        (&json!("Disabled"), &json!("off"))
    );
    cloud.done("stopVirtualMachine", &[("id", &told.vm)]).await;
    let on = [("id", &*told.hook), ("state", "Enabled")];
    cloud.tenant("updateWebhook", &on).await;
    for _ in 0..4 {
        cloud.done("startVirtualMachine", &[("id", &told.vm)]).await;
        cloud.done("stopVirtualMachine", &[("id", &told.vm)]).await;
    }
    told.receiver
        .until("all came", |got| got.len() == 1 + 24)
        .await;
    assert_eq!(
        told.logged(10).await.len(),
        10,
        "only the last ten are remembered"
    );
    let first = told.log().await.remove(0);
    let one = [("id", first["id"].as_str().unwrap())];
    cloud.tenant("deleteWebhookDelivery", &one).await;
    assert_eq!(told.log().await.len(), 9);
    cloud.tenant("deleteWebhook", &[("id", &told.hook)]).await;
    assert_eq!(cloud.tenant("listWebhooks", &[]).await, json!({}));
    assert_eq!(cloud.tenant("listWebhookDeliveries", &[]).await, json!({}));
}

#[tokio::test]
async fn a_webhook_leads_to_this_machine_only_where_that_is_allowed() {
    let cloud = Cloud::new(Profile::Instant).await;
    for url in [
        "http://127.0.0.1:9/hook",
        "localhost",
        "https://[::1]/",
        "0.0.0.0",
        "169.254.0.1",
    ] {
        let hook = [("name", "h"), ("payloadurl", url)];
        let told = cloud.refusal("createWebhook", &hook).await;
        assert_eq!(
            told,
            (431, "Illegal host specified in URL.".to_owned()),
            "{url}"
        );
    }
    let hook = [("name", "h"), ("payloadurl", "hooks.example.com/a")];
    let row = cloud.tenant("createWebhook", &hook).await;
    assert_eq!(row["webhook"]["payloadurl"], "http://hooks.example.com/a");
}
