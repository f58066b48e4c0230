//! Server-side apply: a PATCH that says all that its manager wants of an object, which is made if
//! it is missing. What comes of it is judged like any other write.

use serde_json::Value;

use super::{
    access::{authorize, may_grant},
    body::{self, Sent},
    dispatch::{Api, Inbound},
    ownership::{self, Manager, Operation, Refusal},
    query::WriteOptions,
    read,
    reply::{self, Reply},
    route::{Part, Target},
    status::{Cause, Status},
    write,
};
use crate::{
    store::StoreError,
    types::{
        admission::{self, Admitted},
        meta::Object,
        rbac::Attributes,
    },
};

/// The media type of an apply; JSON is YAML as well.
pub(super) const MEDIA: &str = "application/apply-patch+yaml";

/// An apply, as it was asked for.
struct Intent {
    options: WriteOptions,
    applier: Manager,
    /// Fields of others are taken.
    force: bool,
    /// What is wanted, fitted to its address.
    config: Value,
    /// The body says nothing of metadata: it can only be meant for an object that is there.
    bare: bool,
}

/// PATCH with what a manager wants.
pub(super) async fn apply(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let intent = intent(inbound)?;
    let key = inbound.target.key();
    for _ in 0..write::ATTEMPTS {
        let stored = api.store.get(&key).await.map_err(read::refused)?;
        let written = match &stored {
            Some(stored) => change(api, inbound, &intent, stored).await?,
            None => create(api, inbound, &intent).await?,
        };
        if let Some(reply) = written {
            return Ok(reply);
        }
    }
    let why = "it was written again and again while this apply waited; try again";
    Err(Status::conflict(&key, why))
}

/// Reads an apply.
fn intent(inbound: &Inbound) -> Result<Intent, Status> {
    let options = inbound.query.write("PatchOptions")?;
    let Some(name) = inbound.query.manager("PatchOptions")? else {
        let why = "Required value: is required for apply patch";
        let cause = Cause::new("FieldValueRequired", "fieldManager", why);
        return Err(Status::invalid_options("PatchOptions", vec![cause]));
    };
    let target = &inbound.target;
    let mut config = body::decode("application/yaml", &inbound.body)?;
    for member in ["apiVersion", "kind"] {
        if config[member].as_str().is_none_or(str::is_empty) {
            let why = format!("an apply needs the {member} of its object");
            return Err(Status::bad_request(why));
        }
    }
    let metadata = &config["metadata"];
    if metadata
        .get("managedFields")
        .is_some_and(|entries| !entries.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let bare = metadata.is_null();
    target.stored(&mut config)?;
    without_nulls(&mut config);
    body::fit(&mut config, target, Sent::Object)?;
    keep(target, &mut config);
    Ok(Intent {
        options,
        applier: target.manager(Operation::Apply, name.to_owned()),
        force: inbound.query.force()?,
        config,
        bare,
    })
}

/// A null is how clients write a field that they leave out.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Keeps of an object what the address is about: the status, or everything but it. What is wanted is
/// compared with what is kept, and so brought into the same form.
fn keep(target: &Target, config: &mut Value) {
    let Some(members) = config.as_object_mut() else {
        return;
    };
    match target.part {
        Part::Status => {
            let kept = ["apiVersion", "kind", "metadata", "status"];
            members.retain(|name, _| kept.contains(&name.as_str()));
        }
        _ if target.kind.has_status() => {
            members.remove("status");
        }
        _ => write::in_normal_form(target.kind, members),
    }
}

fn refused(intent: &Intent, target: &Target, refusal: Refusal) -> Status {
    match refusal {
        Refusal::Unfit(errors) => Status::bad_request(format!(
            "failed to create typed patch object ({}/{}; {}, Kind={}): {}",
            target.namespace,
            target.name.as_deref().unwrap_or_default(),
            target.kind.api_version(),
            target.kind.name(),
            errors.join(", ")
        )),
        Refusal::Conflicts(conflicts) => {
            let cause = |conflict: &ownership::Conflict| {
                let message = format!("conflict with {}", conflict.manager);
                Cause::new("FieldManagerConflict", &conflict.field, message)
            };
            debug_assert!(
                !intent.force,
                "an apply that takes what it wants has no conflicts"
            );
            let causes = conflicts.iter().map(cause).collect();
            Status::apply_conflict(ownership::told(&conflicts), causes)
        }
    }
}

/// Makes the object. Nothing where somebody else has made it meanwhile.
async fn create(api: &Api, inbound: &Inbound, intent: &Intent) -> Result<Option<Reply>, Status> {
    let target = &inbound.target;
    let metadata = &intent.config["metadata"];
    if target.part != Part::Whole {
        return Err(Status::not_found(&target.key()));
    }
    if intent.bare {
        let why = "metadata.name is required to create an object by apply";
        return Err(Status::bad_request(why));
    }
    if ["uid", "resourceVersion"]
        .iter()
        .any(|lock| metadata[lock].is_string())
    {
        let why = "uid or resourceVersion of an object that does not exist";
        return Err(Status::conflict(&target.key(), why));
    }
    let create_it = Attributes {
        verb: "create".to_owned(),
        ..inbound.attributes.clone()
    };
    authorize(&api.authority, &inbound.user, &create_it)?;
    write::need_namespace(api, target).await?;
    let Admitted {
        mut object,
        warnings,
    } = applied(api, intent, target, None)?;
    may_grant(&api.authority, &inbound.user, None, &object)?;
    admission::on_create(&mut object);
    let store = write::store(api, intent.options.dry_run);
    match write::insert(&store, object).await {
        Ok(stored) => {
            let answer = reply::json(201, &read::one(api, inbound, &stored)?);
            Ok(Some(reply::with_warnings(answer, &warnings)))
        }
        Err(status) if status.reason == "AlreadyExists" => Ok(None),
        Err(status) => Err(status),
    }
}

/// Changes the object. Nothing where somebody else has changed it meanwhile.
async fn change(
    api: &Api,
    inbound: &Inbound,
    intent: &Intent,
    stored: &Object,
) -> Result<Option<Reply>, Status> {
    let (target, key) = (&inbound.target, inbound.target.key());
    write::same_object(&key, stored, &intent.config, Sent::Patch)?;
    let Admitted {
        mut object,
        warnings,
    } = applied(api, intent, target, Some(stored))?;
    object
        .metadata
        .resource_version
        .clone_from(&stored.metadata.resource_version);
    write::unchangeable(&key, stored, &object)?;
    may_grant(&api.authority, &inbound.user, Some(stored), &object)?;
    let store = write::store(api, intent.options.dry_run);
    let written = match target.part {
        Part::Status => store.update_status(object).await,
        _ => store.update(object).await,
    };
    match written {
        Ok(object) => {
            let answer = reply::json(200, &read::one(api, inbound, &object)?);
            Ok(Some(reply::with_warnings(answer, &warnings)))
        }
        Err(StoreError::Conflict { .. } | StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(read::refused_write(&key, error)),
    }
}

/// What the object becomes, judged.
fn applied(
    api: &Api,
    intent: &Intent,
    target: &Target,
    stored: Option<&Object>,
) -> Result<Admitted, Status> {
    let how = (&intent.applier, intent.force, api.clock.now());
    let applied = ownership::applied(target.kind, stored, &intent.config, how);
    let value = applied.map_err(|refusal| refused(intent, target, refusal))?;
    match (target.part, stored) {
        (Part::Status, Some(stored)) => {
            let how = (intent.options.validation, Sent::Patch);
            let mut admitted = write::status_of(target, stored, value.clone(), how)?;
            let entries = value["metadata"]["managedFields"].as_array();
            admitted.object.metadata.managed_fields = entries.cloned().unwrap_or_default();
            Ok(admitted)
        }
        _ => write::admit(target.kind, value, intent.options.validation, Sent::Patch),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_are_left_out() {
        let mut value = json!({"a": null, "b": {"c": null, "d": [{"e": null}, 1]}});
        without_nulls(&mut value);
        assert_eq!(value, json!({"b": {"d": [{}, 1]}}));
    }
}
