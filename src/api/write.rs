//! POST, PUT, PATCH and DELETE.
//!
//! Each write is read, fitted to its address, judged by admission and handed to the store, which
//! knows the rest of Kubernetes' rules. A dry run takes the same way to a store that forgets.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    access::{authorize, may_grant},
    body::{self, Sent},
    dispatch::{Api, Inbound},
    ownership::{self, Manager, Operation},
    patch::{self, PatchType},
    query::{MANAGER_MAX, WriteOptions},
    read,
    reply::{self, Reply},
    route::{Part, Target},
    status::{Cause, Status},
};
use crate::{
    store::{Store, StoreError},
    types::{
        admission::{self, Admitted, ErrorKind, FieldError, FieldValidation},
        core::micro_time,
        meta::{Kind, Object, ObjectKey},
        rbac::Attributes,
        stack::ClearwaterStack,
    },
};

/// How often a patch without `resourceVersion` is done again because somebody else wrote the
/// object in between. Each time, somebody else succeeded.
pub(super) const ATTEMPTS: usize = 32;
/// How often a generated name is drawn again because it is taken; Kubernetes' number.
const NAME_ATTEMPTS: usize = 8;
/// Characters of `generateName` that are kept, so that the name with its ending fits a label.
const PREFIX_MAX: usize = 58;
/// Characters of the ending, and what it is drawn from: no vowels, so that no word comes out.
const ENDING: (usize, &[u8]) = (5, b"bcdfghjklmnpqrstvwxz2456789");

/// POST: a new object.
pub(super) async fn create(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let options = inbound.query.write("CreateOptions")?;
    let target = &inbound.target;
    let mut value = body::decode(&inbound.media, &inbound.body)?;
    target.stored(&mut value)?;
    body::fit(&mut value, target, Sent::Object)?;
    if !matches!(&value["metadata"]["resourceVersion"], Value::Null)
        && !matches!(
            value["metadata"]["resourceVersion"].as_str(),
            Some("" | "0")
        )
    {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Status::bad_request(why));
    }
    need_namespace(api, target).await?;
    let admitted = admit(target.kind, value, options.validation, Sent::Object)?;
    let mut object = admitted.object;
    may_grant(&api.authority, &inbound.user, None, &object)?;
    let writer = manager(inbound, "CreateOptions")?;
    ownership::updated(target.kind, None, &mut object, &writer, api.clock.now());
    admission::on_create(&mut object);
    let stored = insert(&store(api, options.dry_run), object).await?;
    let answer = read::one(api, inbound, &stored)?;
    Ok(reply::with_warnings(
        reply::json(201, &answer),
        &admitted.warnings,
    ))
}

/// PUT: an object as a whole, or its status.
pub(super) async fn replace(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let options = inbound.query.write("UpdateOptions")?;
    let target = &inbound.target;
    let key = target.key();
    let mut value = body::decode(&inbound.media, &inbound.body)?;
    target.stored(&mut value)?;
    body::fit(&mut value, target, Sent::Object)?;
    let locked = value["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|version| !version.is_empty());
    if target.kind == Kind::Lease && api.store.get(&key).await.map_err(read::refused)?.is_none() {
        let create_it = Attributes {
            verb: "create".to_owned(),
            ..inbound.attributes.clone()
        };
        authorize(&api.authority, &inbound.user, &create_it)?;
        return create(api, inbound).await;
    }
    if !locked && !unconditional(target.kind) {
        return Err(unlocked(&key));
    }
    let change = Change {
        options,
        sent: Sent::Object,
        locked,
        writer: manager(inbound, "UpdateOptions")?,
    };
    modify(api, inbound, &change, |_| Ok(value.clone())).await
}

/// PATCH: some members of an object, or of its status.
pub(super) async fn patch(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let options = inbound.query.write("PatchOptions")?;
    let target = &inbound.target;
    let kind = PatchType::of(target.kind, &inbound.media)?;
    if inbound.query.get("force").is_some() {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(Status::invalid_options("PatchOptions", vec![cause]));
    }
    let patch = body::parse_json(&inbound.body)?;
    let change = Change {
        options,
        sent: Sent::Patch,
        locked: false,
        writer: manager(inbound, "PatchOptions")?,
    };
    modify(api, inbound, &change, |stored| {
        let mut value = target.shown(stored);
        kind.apply(&mut value, &patch)?;
        target.stored(&mut value)?;
        body::fit(&mut value, target, Sent::Patch)?;
        Ok(value)
    })
    .await
}

/// POST to `plan`: what applying the manifest in the body would start.
pub(super) async fn plan(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let target = &inbound.target;
    let key = target.key();
    let options = inbound.query.write("CreateOptions")?;
    let mut value = body::decode(&inbound.media, &inbound.body)?;
    body::fit(&mut value, target, Sent::Object)?;
    need_namespace(api, target).await?;
    let wanted = admit(target.kind, value, options.validation, Sent::Object)?.object;
    let rehearsal = api.store.rehearsal();
    let object = match api.store.get(&key).await.map_err(read::refused)? {
        Some(stored) => {
            let mut next = stored.clone();
            next.body.remove("spec");
            next.body.extend(wanted.body);
            next.metadata.labels.extend(wanted.metadata.labels);
            next.metadata
                .annotations
                .extend(wanted.metadata.annotations);
            unchangeable(&key, &stored, &next)?;
            rehearsal.update(next).await
        }
        None => {
            let mut new = wanted;
            new.metadata.resource_version.clear();
            admission::on_create(&mut new);
            rehearsal.create(new).await
        }
    };
    let object = object.map_err(|error| read::refused_write(&key, error))?;
    let stack: ClearwaterStack = object
        .decode()
        .map_err(|error| Status::bad_request(error.to_string()))?;
    Ok(reply::json(200, &api.hooks.preview(stack).await?))
}

/// How an existing object is changed.
struct Change {
    options: WriteOptions,
    sent: Sent,
    /// The client said from which version it starts.
    locked: bool,
    /// Who is noted to have changed it.
    writer: Manager,
}

/// Who an update is noted by: whom the client names, or else its program.
fn manager(inbound: &Inbound, options: &str) -> Result<Manager, Status> {
    let program = inbound.agent.split('/').next().unwrap_or_default();
    let program: String = program.chars().take(MANAGER_MAX).collect();
    let name = match inbound.query.manager(options)? {
        Some(name) => name.to_owned(),
        None if program.is_empty() => "unknown".to_owned(),
        None => program,
    };
    Ok(inbound.target.manager(Operation::Update, name))
}

/// Writes what `wanted` makes of the stored object; again, where somebody else was quicker.
async fn modify(
    api: &Api,
    inbound: &Inbound,
    change: &Change,
    wanted: impl Fn(&Object) -> Result<Value, Status>,
) -> Result<Reply, Status> {
    let target = &inbound.target;
    let key = target.key();
    let store = store(api, change.options.dry_run);
    for _ in 0..ATTEMPTS {
        let stored = read::stored(api, &key).await?;
        let value = wanted(&stored)?;
        same_object(&key, &stored, &value, change.sent)?;
        let admitted = match target.part {
            Part::Status => {
                let how = (change.options.validation, change.sent);
                status_of(target, &stored, value, how)?
            }
            _ => whole(target, &stored, value, change)?,
        };
        let mut object = admitted.object;
        may_grant(&api.authority, &inbound.user, Some(&stored), &object)?;
        let (kind, now) = (target.kind, api.clock.now());
        ownership::updated(kind, Some(&stored), &mut object, &change.writer, now);
        // Who owns what was decided on this state of the object.
        object
            .metadata
            .resource_version
            .clone_from(&stored.metadata.resource_version);
        let written = match target.part {
            Part::Status => store.update_status(object).await,
            _ => store.update(object).await,
        };
        match written {
            Err(StoreError::Conflict { .. }) if !change.locked => {}
            Err(error) => return Err(read::refused_write(&key, error)),
            Ok(object) => {
                let answer = read::one(api, inbound, &object)?;
                let answer = reply::json(200, &answer);
                return Ok(reply::with_warnings(answer, &admitted.warnings));
            }
        }
    }
    let why = format!("it was written {ATTEMPTS} times while this patch waited; try again");
    Err(Status::conflict(&key, &why))
}

/// What of `value` may be stored in the place of `stored`.
fn whole(
    target: &Target,
    stored: &Object,
    mut value: Value,
    change: &Change,
) -> Result<Admitted, Status> {
    // The status comes from the store; what the client says of it is not even looked at.
    if let Some(members) = value.as_object_mut()
        && target.kind.has_status()
    {
        members.remove("status");
    }
    let admitted = admit(target.kind, value, change.options.validation, change.sent)?;
    let next = &admitted.object;
    if next.metadata.deleting() && !stored.metadata.deleting() {
        let cause = Cause::invalid("metadata.deletionTimestamp", "set", "field is immutable");
        return Err(Status::invalid(
            target.kind,
            &stored.metadata.name,
            vec![cause],
        ));
    }
    unchangeable(&target.key(), stored, next)?;
    Ok(admitted)
}

/// `stored` with the status of `value`. Only what is wrong with the status refuses it: the rest
/// was judged when it was written.
pub(super) fn status_of(
    target: &Target,
    stored: &Object,
    mut value: Value,
    (validation, sent): (FieldValidation, Sent),
) -> Result<Admitted, Status> {
    let mut next = stored.clone();
    next.metadata.resource_version = text(&value, "resourceVersion");
    match value["status"].take() {
        Value::Null => next.body.remove("status"),
        status => next.body.insert("status".to_owned(), status),
    };
    match admission::admit_value(&json!(next), validation) {
        Ok(admitted) => Ok(admitted),
        Err(mut errors) => {
            errors.retain(|error| error.field.starts_with("status"));
            if errors.is_empty() {
                return Ok(Admitted {
                    object: next,
                    warnings: Vec::new(),
                });
            }
            let name = &stored.metadata.name;
            Err(not_admitted(target.kind, name, &errors, sent))
        }
    }
}

fn text(value: &Value, member: &str) -> String {
    let text = value["metadata"][member].as_str();
    text.unwrap_or_default().to_owned()
}

/// Refuses a write that is meant for another state of the object, or for another object.
pub(super) fn same_object(
    key: &ObjectKey,
    stored: &Object,
    value: &Value,
    sent: Sent,
) -> Result<(), Status> {
    let meta = &stored.metadata;
    let uid = text(value, "uid");
    if !uid.is_empty() && uid != meta.stored_uid().as_str() {
        return Err(match sent {
            Sent::Patch => {
                let cause = Cause::invalid("metadata.uid", &uid, "field is immutable");
                Status::invalid(key.kind, &key.name, vec![cause])
            }
            Sent::Object => {
                let found = meta.stored_uid();
                let why = format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
                );
                Status::conflict(key, &why)
            }
        });
    }
    let version = text(value, "resourceVersion");
    if version.is_empty() || version == meta.resource_version {
        return Ok(());
    }
    let why = "the object has been modified; please apply your changes to the latest version and \
               try again";
    Err(Status::conflict(key, why))
}

pub(super) fn unchangeable(key: &ObjectKey, stored: &Object, next: &Object) -> Result<(), Status> {
    let errors = admission::admit_update(stored, next);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(key.kind, &key.name, causes(&errors)))
}

/// Whether a PUT of the kind may leave out from which version it starts.
fn unconditional(kind: Kind) -> bool {
    let core = matches!(
        kind,
        Kind::Secret | Kind::ConfigMap | Kind::Event | Kind::Namespace
    );
    core || kind.is_rbac()
}

/// 422 for a PUT without `resourceVersion`. Kubernetes names the plural here, not the kind.
fn unlocked(key: &ObjectKey) -> Status {
    let why = "Invalid value: 0x0: must be specified for an update";
    let cause = Cause::new("FieldValueInvalid", "metadata.resourceVersion", why);
    let mut status = Status::invalid(key.kind, &key.name, vec![cause]);
    let plural = key.kind.plural();
    status.message = status.message.replacen(key.kind.name(), plural, 1);
    if let Some(details) = &mut status.details {
        details.kind = plural.to_owned();
    }
    status
}

pub(super) fn store(api: &Api, dry_run: bool) -> Store {
    if dry_run {
        api.store.rehearsal()
    } else {
        api.store.clone()
    }
}

/// Stores a new object, with a name drawn for it where it asks for one.
pub(super) async fn insert(store: &Store, object: Object) -> Result<Object, Status> {
    let prefix = object.metadata.generate_name.clone();
    let draws = prefix.filter(|_| object.metadata.name.is_empty());
    let mut new = object;
    for _ in 0..NAME_ATTEMPTS {
        if let Some(prefix) = &draws {
            new.metadata.name = drawn(prefix);
        }
        let taken = match store.create(new.clone()).await {
            Ok(mut stored) => {
                if stored.metadata.resource_version == "0" {
                    stored.metadata.resource_version.clear();
                }
                return Ok(stored);
            }
            Err(StoreError::AlreadyExists(key)) => key,
            Err(error) => {
                let key = new.key().map_err(Status::bad_request)?;
                return Err(read::refused_write(&key, error));
            }
        };
        if draws.is_none() {
            let there = store.get(&taken).await.map_err(read::refused)?;
            let deleting = there.is_some_and(|object| object.metadata.deleting());
            return Err(Status::already_exists(&taken, deleting));
        }
    }
    let key = new.key().map_err(Status::bad_request)?;
    Err(Status::already_exists(&key, false))
}

#[expect(
    clippy::disallowed_methods,
    reason = "nobody shall foresee a drawn name"
)]
fn drawn(prefix: &str) -> String {
    let (length, letters) = ENDING;
    let mut name: String = prefix.chars().take(PREFIX_MAX).collect();
    name.extend((0..length).map(|_| char::from(letters[fastrand::usize(..letters.len())])));
    name
}

/// Refuses to write into a namespace that does not exist or is going.
pub(super) async fn need_namespace(api: &Api, target: &Target) -> Result<(), Status> {
    if !target.kind.namespaced() {
        return Ok(());
    }
    if target.namespace.is_empty() {
        let why = "an object of this kind is created in a namespace: use the path with one";
        return Err(Status::bad_request(why));
    }
    let key = ObjectKey::new(Kind::Namespace, "", &target.namespace);
    match api.store.get(&key).await.map_err(read::refused)? {
        Some(namespace) if namespace.metadata.deleting() => Err(Status::terminating(&target.key())),
        Some(_) => Ok(()),
        None => Err(Status::no_namespace(&target.namespace)),
    }
}

/// Judges an object, and brings it into normal form.
pub(super) fn admit(
    kind: Kind,
    value: Value,
    validation: FieldValidation,
    sent: Sent,
) -> Result<Admitted, Status> {
    let mut value = value;
    if let Some(members) = value.as_object_mut()
        && kind.has_status()
    {
        members.remove("status");
    }
    let name = text(&value, "name");
    let mut admitted = admission::admit_value(&value, validation)
        .map_err(|errors| not_admitted(kind, &name, &errors, sent))?;
    let body = &mut admitted.object.body;
    in_normal_form(kind, body);
    if kind == Kind::Secret {
        body.entry("type").or_insert_with(|| json!("Opaque"));
    }
    Ok(admitted)
}

/// Writes what clients may write in several ways in the one way in which it is read.
pub(super) fn in_normal_form(kind: Kind, body: &mut Map<String, Value>) {
    let times: &[&[&str]] = match kind {
        Kind::Secret => {
            keep_plain_values(body);
            return;
        }
        Kind::Namespace => {
            body.remove("spec");
            body.remove("status");
            return;
        }
        Kind::Lease => &[&["spec", "acquireTime"], &["spec", "renewTime"]],
        Kind::Event => &[&["eventTime"], &["series", "lastObservedTime"]],
        _ => return,
    };
    for path in times {
        let mut place = body.get_mut(path[0]);
        for member in &path[1..] {
            place = place.and_then(|place| place.get_mut(member));
        }
        let Some(place) = place else { continue };
        if let Some(time) = place.as_str().and_then(|text| text.parse().ok()) {
            *place = json!(micro_time(time));
        }
    }
}

fn keep_plain_values(body: &mut Map<String, Value>) {
    let Some(Value::Object(plain)) = body.remove("stringData") else {
        return;
    };
    let data = body.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        data.extend(plain.into_iter().filter_map(|(name, value)| {
            let encoded = STANDARD.encode(value.as_str()?);
            Some((name, Value::String(encoded)))
        }));
    }
}

/// What is wrong with an object: 400 where it has fields that its kind has not, else 422.
fn not_admitted(kind: Kind, name: &str, errors: &[FieldError], sent: Sent) -> Status {
    let (unknown, others): (Vec<&FieldError>, Vec<&FieldError>) = errors
        .iter()
        .partition(|error| error.kind == ErrorKind::UnknownField);
    // Metadata of the wrong shape cannot even be read, as Kubernetes sees it.
    let misshapen = |error: &&FieldError| {
        error.kind == ErrorKind::FieldValueTypeInvalid && error.field.starts_with("metadata.")
    };
    if let Some(error) = others.iter().copied().find(misshapen) {
        return not_read(kind, &error.to_string());
    }
    if unknown.is_empty() {
        return Status::invalid(kind, name, causes(errors));
    }
    let unknown = unknown
        .iter()
        .map(|error| format!("unknown field {:?} ({})", error.field, error.remedy));
    let others = others.iter().map(|error| (*error).to_string());
    let list: Vec<String> = unknown.chain(others).collect();
    let why = format!("strict decoding error: {}", list.join(", "));
    match sent {
        Sent::Patch => patch::unknown_fields(kind, name, &why),
        Sent::Object => not_read(kind, &why),
    }
}

/// 400 for what cannot be read as an object of its kind.
fn not_read(kind: Kind, why: &str) -> Status {
    Status::bad_request(format!(
        "{} in version {:?} cannot be handled as a {0}: {why}",
        kind.name(),
        kind.version()
    ))
}

fn causes(errors: &[FieldError]) -> Vec<Cause> {
    let cause = |error: &FieldError| Cause::new(error.kind.name(), &error.field, error.message());
    errors.iter().map(cause).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_name_fits_a_label() {
        let name = drawn(&"x".repeat(80));
        assert_eq!(name.len(), 63);
        assert!(drawn("g-").starts_with("g-"));
    }

    #[test]
    fn plain_values_win_over_encoded_ones() {
        let body = json!({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new"}});
        let mut body = body.as_object().unwrap().clone();
        keep_plain_values(&mut body);
        assert_eq!(
            Value::Object(body),
            json!({"data": {"a": "bmV3", "b": "Yg=="}})
        );
    }

    #[test]
    fn a_put_without_a_version_names_the_plural() {
        let status = unlocked(&ObjectKey::new(Kind::ClearwaterStack, "default", "ims"));
        assert!(
            status
                .message
                .starts_with("clearwaterstacks.weir.dev \"ims\" is invalid: ")
        );
        assert_eq!(status.details.unwrap().kind, "clearwaterstacks");
    }
}
