//! Webhooks: CloudStack's own way of telling others of events. Delivery is in
//! [`crate::sim::webhooks`]; filters came with 4.23 and are not here.

use std::net::IpAddr;

use serde_json::{Value, json};
use url::{Host, Url};

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, sync};
use super::event::time;
use crate::sim::reply::ApiError;
use crate::sim::view::{account_name, webhook as view};
use crate::sim::world::{AccountKind, Delivery, Kind, Parcel, Scope, Webhook};

/// How many webhooks an account can have here: more than anybody has receivers.
const WEBHOOKS_MAX: usize = 100;

/// How many executed deliveries can be waited for; who asks for more has left already.
const ASKED_MAX: usize = 50;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "createWebhook",
        "name! payloadurl! description state scope secretkey sslverification:boolean \
         account domainid:uuid projectid:uuid",
        create,
    ),
    sync("listWebhooks", "id:uuid name state scope @owned", list),
    sync(
        "updateWebhook",
        "id!:uuid name description payloadurl secretkey sslverification:boolean scope state",
        update,
    ),
    sync("deleteWebhook", "id!:uuid", delete),
    sync(
        "listWebhookDeliveries",
        "id:uuid webhookid:uuid managementserverid:uuid eventtype startdate:date \
         enddate:date",
        deliveries,
    ),
    sync(
        "deleteWebhookDelivery",
        "id:uuid webhookid:uuid managementserverid:uuid startdate:date enddate:date",
        delete_deliveries,
    ),
    sync(
        "executeWebhookDelivery",
        "id:uuid webhookid:uuid payloadurl secretkey sslverification:boolean payload",
        execute,
    ),
];

fn scope(call: &Call<'_>) -> Result<Option<Scope>, ApiError> {
    let scope = match call.text("scope") {
        None | Some("") => return Ok(None),
        Some("Local") => Scope::Local,
        Some("Domain") => Scope::Domain,
        Some("Global") => Scope::Global,
        Some(_) => return Err(ApiError::value("Invalid scope specified")),
    };
    let owner = call.world.accounts.get(&call.caller.account);
    let allowed = owner.is_some_and(|owner| {
        let domain = owner.kind == AccountKind::DomainAdmin && scope == Scope::Domain;
        owner.admin || domain || scope == Scope::Local
    });
    if !allowed {
        let owner = account_name(call.world, &call.caller.account);
        let scope = scope.word();
        let text = format!("Scope {scope} can not be specified for owner {owner}");
        return Err(ApiError::value(text));
    }
    Ok(Some(scope))
}

fn state(call: &Call<'_>) -> Result<Option<bool>, ApiError> {
    match call.text("state") {
        None | Some("") => Ok(None),
        Some("Enabled") => Ok(Some(true)),
        Some("Disabled") => Ok(Some(false)),
        Some(_) => Err(ApiError::value("Invalid state specified")),
    }
}

/// Whether an address is one of those that a server must not be sent to.
fn is_illegal(address: IpAddr, loopback_allowed: bool) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    address.is_unspecified()
        || address.is_multicast()
        || local
        || (address.is_loopback() && !loopback_allowed)
}

/// A payload URL in its full form; refused as the server refuses it. Names are not resolved here.
fn payload_url(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let Some(given) = call.text("payloadurl").filter(|url| !url.trim().is_empty()) else {
        return Ok(None);
    };
    let known = ["http://", "https://"]
        .iter()
        .any(|scheme| given.starts_with(scheme));
    let url = match known {
        true => given.to_owned(),
        false => format!("http://{given}"),
    };
    let invalid = || ApiError::parameter(format!("Invalid URL: {url}"));
    let parsed = Url::parse(&url).map_err(|_| invalid())?;
    let allowed = call.world.settings.webhooks_to_loopback;
    let illegal = match parsed.host().ok_or_else(invalid)? {
        Host::Ipv4(v4) => is_illegal(v4.into(), allowed),
        Host::Ipv6(v6) => is_illegal(v6.into(), allowed),
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost") && !allowed,
    };
    match illegal {
        true => Err(ApiError::parameter("Illegal host specified in URL.")),
        false => Ok(Some(url)),
    }
}

/// Refuses a check of certificates where there are none.
fn check_ssl(ssl: Option<bool>, url: &str) -> Result<(), ApiError> {
    if ssl == Some(true) && !url.starts_with("https://") {
        let text = format!("SSL verification can be specified only for HTTPS URLs, {url}");
        return Err(ApiError::value(text));
    }
    Ok(())
}

fn refuse_used_url(
    call: &Call<'_>,
    account: &str,
    url: &str,
    except: &str,
) -> Result<(), ApiError> {
    let mut hooks = call.world.hooks.webhooks.values();
    let used =
        |hook: &Webhook| hook.account == account && hook.payload_url == url && hook.id != except;
    match hooks.any(used) {
        true => Err(ApiError::value(format!(
            "Payload URL: {url} is already in use by another webhook"
        ))),
        false => Ok(()),
    }
}

/// `createWebhook`.
fn create(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    let (scope, state) = (scope(call)?, state(call)?);
    let url = payload_url(call)?;
    let url = url.ok_or_else(|| ApiError::missing("createWebhook", "payloadurl"))?;
    let account = call.caller.account.clone();
    refuse_used_url(call, &account, &url, "")?;
    let ssl = call.flag("sslverification");
    check_ssl(ssl, &url)?;
    if call.world.hooks.webhooks.len() >= WEBHOOKS_MAX {
        return Err(ApiError::internal(4250, "there are too many webhooks"));
    }
    call.world.hooks.made += 1;
    let hook = Webhook {
        id: call.world.fresh_id(),
        number: call.world.hooks.made,
        name,
        description: call.owned_text("description"),
        account,
        enabled: state.unwrap_or(true),
        payload_url: url,
        secret_key: call.owned_text("secretkey"),
        ssl_verification: ssl == Some(true),
        scope: scope.unwrap_or(Scope::Local),
        created: call.world.wall(),
    };
    let row = view::webhook(call.world, &hook);
    call.world.hooks.webhooks.insert(hook.id.clone(), hook);
    Ok(Answer::Object(json!({"webhook": row})))
}

/// `listWebhooks`.
fn list(call: &mut Call<'_>) -> Answered {
    let (scope, state) = (scope(call)?, state(call)?);
    let mut hooks: Vec<&Webhook> = call
        .world
        .hooks
        .webhooks
        .values()
        .filter(|hook| call.sees(Some(&hook.account)))
        .filter(|hook| call.wants("id", Some(&hook.id)))
        .filter(|hook| call.wants("name", Some(&hook.name)))
        .filter(|hook| call.holds("keyword", &hook.name))
        .filter(|hook| scope.is_none_or(|scope| scope == hook.scope))
        .filter(|hook| state.is_none_or(|state| state == hook.enabled))
        .collect();
    hooks.sort_by_key(|hook| hook.number);
    call.page("webhook", &hooks, |hook| view::webhook(call.world, hook))
}

/// The webhook in a parameter, if the caller may act on it.
fn own(call: &Call<'_>, name: &str) -> Result<Option<Webhook>, ApiError> {
    let id = call.own_if_given(name, Kind::Webhook)?;
    Ok(id.and_then(|id| call.world.hooks.webhooks.get(&id).cloned()))
}

fn required(call: &Call<'_>) -> Result<Webhook, ApiError> {
    own(call, "id")?.ok_or_else(|| ApiError::missing(call.command.name, "id"))
}

/// `updateWebhook`.
fn update(call: &mut Call<'_>) -> Answered {
    let mut hook = required(call)?;
    if let Some(name) = call.owned_text("name") {
        hook.name = name;
    }
    if let Some(description) = call.owned_text("description") {
        hook.description = Some(description);
    }
    hook.enabled = state(call)?.unwrap_or(hook.enabled);
    hook.scope = scope(call)?.unwrap_or(hook.scope);
    if let Some(url) = payload_url(call)? {
        refuse_used_url(call, &hook.account, &url, &hook.id)?;
        hook.payload_url = url;
    }
    let ssl = call.flag("sslverification");
    check_ssl(ssl, &hook.payload_url)?;
    hook.ssl_verification = ssl.unwrap_or(hook.ssl_verification);
    if let Some(secret) = call.owned_text("secretkey") {
        hook.secret_key = Some(secret).filter(|secret| !secret.trim().is_empty());
    }
    let row = view::webhook(call.world, &hook);
    call.world.hooks.webhooks.insert(hook.id.clone(), hook);
    Ok(Answer::Object(json!({"webhook": row})))
}

/// `deleteWebhook`: what was delivered goes with it.
fn delete(call: &mut Call<'_>) -> Answered {
    let hook = required(call)?;
    let hooks = &mut call.world.hooks;
    hooks.webhooks.remove(&hook.id);
    let other = |id: &Option<String>| id.as_deref() != Some(&*hook.id);
    hooks
        .deliveries
        .retain(|known| other(&known.parcel.webhook));
    hooks.parcels.retain(|parcel| other(&parcel.webhook));
    Ok(Answer::success())
}

/// The ids of the deliveries that a request is about, newest first.
fn chosen(call: &Call<'_>) -> Result<Vec<String>, ApiError> {
    let wanted = own(call, "webhookid")?;
    if let Some(id) = call.text("id") {
        let mut known = call.world.hooks.deliveries.iter();
        if !known.any(|delivery| delivery.parcel.id == id) {
            return Err(ApiError::unknown_id(call.command.name, "id", id));
        }
    }
    let (start, end) = (
        time(call, "startdate", false)?,
        time(call, "enddate", true)?,
    );
    let hooks = &call.world.hooks;
    let mine = |delivery: &&Delivery| {
        let hook = delivery.parcel.webhook.as_ref();
        let hook = hook.and_then(|id| hooks.webhooks.get(id));
        hook.is_some_and(|hook| call.world.may_act(&call.caller.home, &hook.account))
    };
    let chosen = hooks
        .deliveries
        .iter()
        .rev()
        .filter(mine)
        .filter(|delivery| call.wants("id", Some(&delivery.parcel.id)))
        .filter(|delivery| call.wants("eventtype", Some(&delivery.parcel.event_type)))
        .filter(|delivery| {
            let of = delivery.parcel.webhook.as_ref();
            wanted.as_ref().is_none_or(|hook| of == Some(&hook.id))
        })
        .filter(|delivery| start.is_none_or(|start| delivery.started >= start))
        .filter(|delivery| end.is_none_or(|end| delivery.ended <= end));
    Ok(chosen.map(|delivery| delivery.parcel.id.clone()).collect())
}

/// `listWebhookDeliveries`.
fn deliveries(call: &mut Call<'_>) -> Answered {
    let chosen = chosen(call)?;
    let known = &call.world.hooks.deliveries;
    let find = |id: &String| known.iter().find(|delivery| delivery.parcel.id == *id);
    let rows: Vec<&Delivery> = chosen.iter().filter_map(find).collect();
    call.page("webhookdelivery", &rows, |delivery| {
        view::delivery(call.world, delivery)
    })
}

/// `deleteWebhookDelivery`.
fn delete_deliveries(call: &mut Call<'_>) -> Answered {
    let chosen = chosen(call)?;
    let deliveries = &mut call.world.hooks.deliveries;
    deliveries.retain(|delivery| !chosen.contains(&delivery.parcel.id));
    Ok(Answer::success())
}

/// `executeWebhookDelivery`: the answer waits for the delivery, and is its row then.
fn execute(call: &mut Call<'_>) -> Answered {
    let url = payload_url(call)?;
    let again = match call.text("id") {
        None => None,
        Some(id) => {
            let theirs = chosen(call)?;
            let mut known = call.world.hooks.deliveries.iter();
            let known =
                known.find(|known| known.parcel.id == id && theirs.contains(&known.parcel.id));
            let known =
                known.ok_or_else(|| ApiError::value("Invalid webhook delivery specified"))?;
            Some(known.parcel.clone())
        }
    };
    let hook = own(call, "webhookid")?;
    if again.is_some() && hook.is_some() {
        return Err(ApiError::value(
            "Only one of the id or webhookid can be specified",
        ));
    }
    let fresh = call.world.fresh_id();
    let event = call.world.fresh_id();
    let parcel = match (again, hook, url) {
        (None, None, None) => {
            let text = "One of the id, webhookid or payloadurl must be specified";
            return Err(ApiError::value(text));
        }
        (Some(parcel), _, _) => Parcel {
            id: fresh,
            ..parcel
        },
        (None, hook, url) => {
            let own = hook.as_ref();
            let url = url.or_else(|| own.map(|hook| hook.payload_url.clone()));
            let ssl = own.is_some_and(|hook| hook.ssl_verification);
            Parcel {
                id: fresh,
                url: url.unwrap_or_default(),
                secret_key: call
                    .owned_text("secretkey")
                    .or_else(|| own.and_then(|hook| hook.secret_key.clone())),
                ssl_verification: call.flag("sslverification").unwrap_or(ssl),
                event,
                event_type: "TEST.WEBHOOK".to_owned(),
                account: own
                    .map_or_else(|| call.caller.account.clone(), |hook| hook.account.clone()),
                payload: call
                    .owned_text("payload")
                    .unwrap_or_else(|| "{ \"CloudStack\": \"works!\" }".to_owned()),
                webhook: own.map(|hook| hook.id.clone()),
                logged: false,
            }
        }
    };
    let id = Value::from(parcel.id.as_str());
    call.world.hooks.asked.truncate(ASKED_MAX);
    call.world.hooks.asked.insert(0, parcel);
    Ok(Answer::Object(json!({"webhookdelivery": {"id": id}})))
}
