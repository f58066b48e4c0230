//! The rows of webhooks and of what was delivered to them.

use super::{RowOf, date};
use crate::sim::world::catalogue::Row;
use crate::sim::world::{Delivery, Webhook, World};

/// A webhook.
pub(crate) fn webhook(world: &World, hook: &Webhook) -> Row {
    RowOf::new()
        .set("id", hook.id.as_str())
        .set("name", hook.name.as_str())
        .set("description", hook.description.clone())
        .set("state", if hook.enabled { "Enabled" } else { "Disabled" })
        .holder(world, &hook.account)
        .set("payloadurl", hook.payload_url.as_str())
        .set("secretkey", hook.secret_key.clone())
        .set("sslverification", hook.ssl_verification)
        .set("scope", hook.scope.word())
        .set("created", date(hook.created))
        .done()
}

/// A delivery, as lists and the answer to an execution show it.
pub(crate) fn delivery(world: &World, delivery: &Delivery) -> Row {
    let parcel = &delivery.parcel;
    let hook = parcel.webhook.as_ref();
    let name = hook.and_then(|id| world.hooks.webhooks.get(id));
    let event = Some(parcel.event.clone()).filter(|_| parcel.logged);
    RowOf::new()
        .set("id", parcel.id.as_str())
        .set("eventid", event)
        .set("eventtype", parcel.event_type.as_str())
        .set("webhookid", hook.cloned())
        .set("webhookname", name.map(|hook| hook.name.clone()))
        .set("managementserverid", world.server_id.as_str())
        .set("managementservername", "management-server")
        .set("headers", delivery.headers.as_str())
        .set("payload", parcel.payload.as_str())
        .set("success", delivery.success)
        .set("response", delivery.response.as_str())
        .set("startdate", date(delivery.started))
        .set("enddate", date(delivery.ended))
        .done()
}
