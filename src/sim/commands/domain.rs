//! Domains, which accounts live in.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, admin_class, domain_admin, for_domain_admins, job, sync};
use super::people::{domain_named, within_bounds};
use crate::sim::effects::leaving::Leaving;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::RowOf;
use crate::sim::world::catalogue::Row;
use crate::sim::world::{DOMAIN_DEPTH_MAX, Domain, Kind, Uuid, World};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listDomains",
        "id:uuid name level:integer listall:boolean details:list",
        domains,
    ),
    domain_admin(
        "createDomain",
        "name! parentdomainid:uuid networkdomain domainid",
        create,
    ),
    domain_admin("updateDomain", "id!:uuid name networkdomain", update),
    for_domain_admins(job(
        "deleteDomain",
        "id!:uuid cleanup:boolean",
        delete,
        admin_class("domain", "DeleteDomainCmd", "Domain"),
    )),
];

fn domain_row(world: &World, domain: &Domain) -> Row {
    let parent = domain.parent.as_ref();
    let parent = parent.and_then(|id| world.domains.get(id));
    let mut others = world.domains.values();
    let children = others.any(|other| other.parent.as_ref() == Some(&domain.id));
    RowOf::new()
        .set("id", domain.id.as_str())
        .set("name", domain.name.as_str())
        .set(
            "level",
            world.domain_line(&domain.id).count().saturating_sub(1),
        )
        .set("parentdomainid", parent.map(|row| row.id.clone()))
        .set("parentdomainname", parent.map(|row| row.name.clone()))
        .set("haschild", children)
        .set("networkdomain", domain.network_domain.clone())
        .set("path", world.domain_path(&domain.id))
        .set("state", "Active")
        .done()
}

/// `listDomains`: the caller's and, for those who manage, what is inside of it.
fn domains(call: &mut Call<'_>) -> Answered {
    let home = call.world.domain_of(&call.caller.home).to_owned();
    let deep = call.caller.admin || call.caller.domain_admin;
    let shown = |row: &&Domain| row.id == home || (deep && call.world.is_within(&row.id, &home));
    let mut rows: Vec<&Domain> = call
        .world
        .domains
        .values()
        .filter(shown)
        .filter(|row| call.wants("id", Some(&row.id)) && call.wants("name", Some(&row.name)))
        .filter(|row| call.holds("keyword", &row.name))
        .collect();
    rows.sort_by_key(|row| row.number);
    call.page("domain", &rows, |row| domain_row(call.world, row))
}

/// `createDomain`.
fn create(call: &mut Call<'_>) -> Answered {
    within_bounds(call.world)?;
    let name = call.required("name")?;
    let parent = domain_named(call, "parentdomainid")?;
    only_one(call.world, Some(&parent), &name, "")?;
    let depth = call.world.domain_line(&parent).count();
    if depth + 1 >= DOMAIN_DEPTH_MAX {
        return Err(ApiError::value("The domain is too deep"));
    }
    let domain = Domain {
        id: call.world.fresh_id(),
        number: call.world.next_number(Kind::Domain),
        name,
        parent: Some(parent),
        network_domain: call.owned_text("networkdomain"),
        created: call.world.now(),
    };
    let row = domain_row(call.world, &domain);
    call.world.domains.insert(domain.id.clone(), domain);
    Ok(Answer::Object(json!({"domain": row})))
}

/// Refuses a second domain of one name in one parent, other than the one that is `itself`.
fn only_one(
    world: &World,
    parent: Option<&Uuid>,
    name: &str,
    itself: &str,
) -> Result<(), ApiError> {
    let taken =
        |row: &Domain| row.id != itself && row.parent.as_ref() == parent && row.name == name;
    if !world.domains.values().any(taken) {
        return Ok(());
    }
    let parent = parent.and_then(|id| world.domains.get(id));
    let number = parent.map_or(0, |row| row.number);
    Err(ApiError::value(format!(
        "Domain with name {name} already exists for the parent id={number}"
    )))
}

/// The domain that a command is about, inside of the caller's.
fn managed(call: &Call<'_>) -> Result<Uuid, ApiError> {
    call.required_id("id", Kind::Domain)?;
    let id = domain_named(call, "id")?;
    if call.world.domains.contains_key(&id) {
        return Ok(id);
    }
    let text = format!("Unable to find domain with id {id}");
    Err(ApiError::value(text))
}

/// `updateDomain`.
fn update(call: &mut Call<'_>) -> Answered {
    let id = managed(call)?;
    let parent = call
        .world
        .domains
        .get(&id)
        .and_then(|row| row.parent.clone());
    if let Some(name) = call.owned_text("name") {
        if parent.is_none() {
            let text = "Unable to update name of the ROOT domain";
            return Err(ApiError::value(text));
        }
        only_one(call.world, parent.as_ref(), &name, &id)?;
    }
    let (name, network) = (call.owned_text("name"), call.owned_text("networkdomain"));
    if let Some(domain) = call.world.domains.get_mut(&id) {
        domain.name = name.unwrap_or_else(|| domain.name.clone());
        domain.network_domain = network.or_else(|| domain.network_domain.clone());
    }
    let row = call.world.domains.get(&id);
    let row = row.map(|row| domain_row(call.world, row));
    Ok(Answer::Object(json!({"domain": row})))
}

/// `deleteDomain`, with all that is in it if told so.
fn delete(call: &mut Call<'_>) -> Answered {
    let id = managed(call)?;
    if id == call.world.root_domain() {
        return Err(ApiError::denied("Can't delete ROOT domain"));
    }
    let cleanup = call.flag("cleanup") == Some(true);
    let domain = id.clone();
    let work = Work::Leave(Leaving::Domain { domain, cleanup });
    call.submit(work, Some(id), None)
}
