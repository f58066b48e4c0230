//! Telling webhooks of events: what is posted, and the delivery over HTTP.
//!
//! The world only puts parcels into a queue. They are delivered outside of it, since a receiver's
//! answer is nobody's seed; what came of it is written back. Success is a 200, nothing else; other
//! answers and none lead to three tries in all, one after the other, and then the event is lost.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pipeline::Incoming;
use super::world::{Delivery, Event, Parcel, Scope, Webhook, World};
use super::{Reply, Sim, view};

/// `webhook.delivery.tries`.
const TRIES: u32 = 3;
/// `webhook.delivery.timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// `webhook.delivery.thread.pool.size`: how many are delivered side by side.
const AT_ONCE: usize = 5;
/// `webhook.deliveries.limit`: how many are remembered of each webhook.
const REMEMBERED: usize = 10;
/// How many can wait; beyond that events are lost, as they are when a server dies.
const PARCELS_MAX: usize = 1_000;
/// How much of an answer is read and kept.
const RESPONSE_MAX: usize = 65_536;
/// How long nothing is looked at, at most: a clock that was put ahead wakes nobody.
const GLANCE: Duration = Duration::from_millis(500);
/// The least wait, should something fall due again and again.
const BREATH: Duration = Duration::from_millis(10);

/// Puts an event into the queue of every webhook that is told of it.
pub(super) fn post(world: &mut World, event: &Event) {
    if world.hooks.webhooks.is_empty() {
        return;
    }
    // What happened out of band is an event of the system's account.
    let of_system = event.user == "system";
    let told = world.hooks.webhooks.values().filter(|hook| {
        let theirs = match hook.scope {
            Scope::Local => !of_system && hook.account == event.account,
            Scope::Domain => {
                let of = |account| world.domain_of(account);
                world.is_within(of(&event.account), of(&hook.account))
            }
            Scope::Global => true,
        };
        hook.enabled && theirs
    });
    let told: Vec<Webhook> = told.cloned().collect();
    let payload = payload(world, event);
    for hook in told {
        if world.hooks.parcels.len() >= PARCELS_MAX {
            return;
        }
        let id = world.fresh_id();
        world.hooks.parcels.push_back(Parcel {
            id,
            webhook: Some(hook.id),
            url: hook.payload_url,
            secret_key: hook.secret_key,
            ssl_verification: hook.ssl_verification,
            event: event.id.clone(),
            event_type: event.kind.clone(),
            account: event.account.clone(),
            payload: payload.clone(),
            logged: true,
        });
    }
}

/// The body: what is known of an event.
fn payload(world: &World, event: &Event) -> String {
    let mut body = Map::new();
    let mut set = |name: &str, value: &str| body.insert(name.to_owned(), value.into());
    set("event", &event.kind);
    set("status", &event.state);
    if let Some(user) = world.user_named(&event.user) {
        set("user", &user.id);
    }
    set("account", &event.account);
    if let Some(project) = world.project_of(&event.account) {
        set("project", &project.id);
    }
    set("entity", &event.resource_type);
    if let Some(id) = &event.resource {
        set("entityuuid", id);
        set(&event.resource_type, id);
    }
    set("description", &event.description);
    let time = event.created.strftime("%Y-%m-%d %H:%M:%S +0000");
    set("eventDateTime", &time.to_string());
    Value::Object(body).to_string()
}

/// Delivers what is in the queue, and lets the world go on by itself, until `stop` is cancelled.
pub(super) async fn run(sim: Sim, stop: CancellationToken) {
    let mut under_way = JoinSet::new();
    loop {
        let wait = sim
            .peek(|_, wait| wait)
            .unwrap_or(GLANCE)
            .clamp(BREATH, GLANCE);
        while under_way.len() < AT_ONCE {
            let Some(parcel) = sim.next_parcel() else {
                break;
            };
            let sim = sim.clone();
            under_way.spawn(async move {
                let delivery = sim.deliver(parcel).await;
                sim.present(|state| log(&mut state.world, delivery));
            });
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(_) = under_way.join_next() => {}
            () = sim.parcels_come() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Remembers what became of a delivery.
fn log(world: &mut World, delivery: Delivery) {
    if !delivery.parcel.logged {
        return;
    }
    let of = delivery.parcel.webhook.clone();
    let deliveries = &mut world.hooks.deliveries;
    let mine = |known: &&Delivery| known.parcel.webhook == of;
    if deliveries.iter().filter(mine).count() >= REMEMBERED {
        let oldest = deliveries
            .iter()
            .position(|known| known.parcel.webhook == of);
        oldest.and_then(|place| deliveries.remove(place));
    }
    // The webhook may have been deleted meanwhile.
    if of.is_some_and(|id| world.hooks.webhooks.contains_key(&id)) {
        deliveries.push_back(delivery);
    }
}

/// The signature of a body: base64 of its HMAC-SHA256.
fn signature(secret: &str, body: &str) -> String {
    // An HMAC takes a key of any length, so this is never empty.
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(body.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        },
    )
}

impl Sim {
    fn next_parcel(&self) -> Option<Parcel> {
        self.present(|state| state.world.hooks.parcels.pop_front())
    }

    async fn parcels_come(&self) {
        self.shared.parcels.notified().await;
    }

    /// The answer to `executeWebhookDelivery`, which waits for the delivery; any other as it is.
    pub(super) async fn after_delivery(&self, incoming: &Incoming, reply: Reply) -> Reply {
        let command = incoming.params.exact("command");
        if command != Some("executeWebhookDelivery") || reply.status != 200 {
            return reply;
        }
        let asked = reply.inner()["webhookdelivery"]["id"].clone();
        let delivery = match asked.as_str() {
            Some(id) => self.deliver_now(id).await,
            None => None,
        };
        let Some(delivery) = delivery else {
            return reply;
        };
        let row = self.present(|state| view::webhook::delivery(&state.world, &delivery));
        let inside = json!({"webhookdelivery": row});
        Reply::ok("executewebhookdeliveryresponse", &inside, false)
    }

    /// Delivers a parcel that a request waits for, and remembers it.
    async fn deliver_now(&self, id: &str) -> Option<Delivery> {
        let parcel = self.present(|state| {
            let asked = &mut state.world.hooks.asked;
            let place = asked.iter().position(|parcel| parcel.id == id)?;
            Some(asked.remove(place))
        })?;
        let delivery = self.deliver(parcel).await;
        self.present(|state| log(&mut state.world, delivery.clone()));
        Some(delivery)
    }

    async fn deliver(&self, parcel: Parcel) -> Delivery {
        let mut headers = vec![
            ("X-CS-Event-ID", parcel.event.clone()),
            ("X-CS-Event", parcel.event_type.clone()),
            ("User-Agent", format!("CS-Hookshot/{}", parcel.account)),
        ];
        if let Some(secret) = &parcel.secret_key {
            headers.push(("X-CS-Signature", signature(secret, &parcel.payload)));
        }
        let json = serde_json::from_str::<Value>(&parcel.payload)
            .is_ok_and(|value| value.is_object() || value.is_array());
        let form = if json {
            "application/json"
        } else {
            "text/plain"
        };
        headers.push(("Content-Type", format!("{form}; charset=UTF-8")));
        let wall = || self.present(|state| state.world.wall());
        let mut tries = 0;
        loop {
            tries += 1;
            let started = wall();
            let (success, response) = match send(&parcel, &headers).await {
                Ok((status, body)) => (status == 200, body),
                Err(error) => (false, format!("Failed due to : {error}")),
            };
            if success || tries == TRIES {
                let lines: Vec<String> = headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"))
                    .collect();
                return Delivery {
                    headers: lines.join("\n"),
                    parcel,
                    success,
                    response,
                    started,
                    ended: wall(),
                };
            }
        }
    }
}

/// One try: the status and what was answered.
async fn send(parcel: &Parcel, headers: &[(&str, String)]) -> reqwest::Result<(u16, String)> {
    let client = crate::http::client()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(!parcel.ssl_verification)
        .build()?;
    let mut request = client.post(&parcel.url).body(parcel.payload.clone());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let mut answer = request.send().await?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(more) = answer.chunk().await? {
        let room = RESPONSE_MAX.saturating_sub(body.len());
        body.extend_from_slice(&more[..more.len().min(room)]);
        if room <= more.len() {
            break;
        }
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_base64_of_an_hmac() {
        // RFC 4231, test case 2.
        let signature = signature("Jefe", "what do ya want for nothing?");
        assert_eq!(
            signature,
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=".to_owned()
        );
    }
}
