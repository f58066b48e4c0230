//! Rows: what a caller is shown of the world.
//!
//! A root admin is shown more members than a user, and a few shapes depend on the command that
//! shows them. Members that are null are left out, lists that are empty are not, as the recorded
//! server does it.

pub(crate) mod host;
pub(crate) mod net;
pub(crate) mod rule;
pub(crate) mod security_group;
pub(crate) mod vm;
pub(crate) mod volume;
pub(crate) mod webhook;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::jobs::{Job, JobResult, JobStatus};
use super::world::catalogue::{Catalogue, Row};
use super::world::index::VmKey;
use super::world::{AffinityGroup, Event, KeyPair, Tag, World};

/// Who is looking.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub(crate) admin: bool,
}

/// A time as CloudStack writes it: no colon in the offset, no fraction.
pub(crate) fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

/// Builds a row member by member.
pub(crate) struct RowOf(Row);

impl RowOf {
    pub(crate) fn new() -> Self {
        Self(Map::new())
    }

    /// Adds a member; one without a value is left out.
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    /// Adds a member if the caller may see it.
    pub(crate) fn set_if(self, shown: bool, name: &str, value: impl Into<Value>) -> Self {
        if shown { self.set(name, value) } else { self }
    }

    /// Adds the members of another row.
    pub(crate) fn with(mut self, other: Row) -> Self {
        self.0.extend(other);
        self
    }

    /// Adds the zone.
    pub(crate) fn zone(self, world: &World) -> Self {
        self.set("zoneid", world.catalogue.zone_id())
            .set("zonename", Catalogue::text(&world.catalogue.zone, "name"))
    }

    /// Adds the owner and the domain with its path, as most rows have them.
    pub(crate) fn owner(self, world: &World, account: &str) -> Self {
        let path = domain_path(world, account);
        self.holder(world, account).set("domainpath", path)
    }

    /// Adds the owner and the domain: the name of an account, or the project that it is for.
    pub(crate) fn holder(self, world: &World, account: &str) -> Self {
        let owned = match world.project_of(account) {
            Some(project) => self
                .set("projectid", project.id.as_str())
                .set("project", project.name.as_str()),
            None => self.set("account", account_name(world, account)),
        };
        let domain = world.domain_of(account);
        let name = world.domains.get(domain).map(|domain| domain.name.clone());
        owned.set("domainid", domain).set("domain", name)
    }

    pub(crate) fn done(self) -> Row {
        self.0
    }
}

/// The name of an account.
pub(crate) fn account_name<'world>(world: &'world World, id: &str) -> &'world str {
    world
        .accounts
        .get(id)
        .map_or("", |account| account.name.as_str())
}

/// The path of an account's domain.
pub(crate) fn domain_path(world: &World, account: &str) -> String {
    world.domain_path(world.domain_of(account))
}

/// The tags of a resource in the short form that most rows carry.
pub(crate) fn short_tags(world: &World, resource: &str) -> Value {
    let tags = world.tags_of(resource);
    tags.map(|tag| json!({"key": tag.key, "value": tag.value}))
        .collect()
}

/// A tag in full, as `listTags` and machines show it.
pub(crate) fn tag(world: &World, tag: &Tag, with_path: bool) -> Row {
    RowOf::new()
        .set("key", tag.key.as_str())
        .set("value", tag.value.as_str())
        .set("resourcetype", tag.resource_type.as_str())
        .set("resourceid", tag.resource.as_str())
        .holder(world, &tag.account)
        .set_if(with_path, "domainpath", domain_path(world, &tag.account))
        .done()
}

/// An affinity group.
pub(crate) fn group(world: &World, _viewer: &Viewer, group: &AffinityGroup) -> Row {
    let members = world.vms.ids_under(&VmKey::Group(group.id.clone()));
    let members: Vec<Value> = members.into_iter().map(Value::from).collect();
    RowOf::new()
        .set("id", group.id.as_str())
        .set("name", group.name.as_str())
        .set("description", group.description.clone())
        .owner(world, &group.account)
        .set("type", group.kind.as_str())
        .set_if(!members.is_empty(), "virtualmachineIds", members)
        .done()
}

/// An SSH key pair.
pub(crate) fn key_pair(world: &World, pair: &KeyPair) -> Row {
    RowOf::new()
        .set("id", pair.id.as_str())
        .set("name", pair.name.as_str())
        .holder(world, &pair.account)
        .set("fingerprint", pair.fingerprint.as_str())
        .set("hasannotations", false)
        .done()
}

/// A job, as `queryAsyncJobResult` and `listAsyncJobs` show it.
pub(crate) fn job(world: &World, job: &Job) -> Row {
    // A job that a killed server left keeps the name of that server.
    let orphaned = job.status == JobStatus::Failed && job.result.is_none();
    let pending = job.status == JobStatus::Pending || orphaned;
    let result_type = job.result.as_ref().map(|_| "object");
    RowOf::new()
        .set("accountid", job.account.as_str())
        .set("account", account_name(world, &job.account))
        .set("domainid", world.domain_of(&job.account))
        .set("domainpath", domain_path(world, &job.account))
        .set("userid", job.user.as_str())
        .set("cmd", job.class.as_str())
        .set("jobprocstatus", 0)
        .set("jobresultcode", job.code)
        .set("jobresulttype", result_type)
        .set("jobresult", job.result.as_ref().map(JobResult::value))
        .set("jobinstancetype", job.instance_type.clone())
        .set("jobinstanceid", job.instance.clone())
        .set_if(pending, "managementserverid", world.server_id.as_str())
        .set_if(pending, "managementservername", "localhost")
        .set("created", date(job.created))
        .set("completed", job.completed.map(date))
        .set("jobid", job.id.as_str())
        .set("jobstatus", job.status.number())
        .done()
}

/// An event.
pub(crate) fn event(world: &World, event: &Event) -> Row {
    RowOf::new()
        .set("id", event.id.as_str())
        .set("username", event.user.as_str())
        .set("type", event.kind.as_str())
        .set("level", event.level.as_str())
        .set("description", event.description.as_str())
        .owner(world, &event.account)
        .set("resourceid", event.resource.clone())
        .set("resourcetype", event.resource_type.as_str())
        .set("resourcename", event.resource_name.clone())
        .set("created", date(event.created))
        .set("state", event.state.as_str())
        .set("parentid", event.parent.clone())
        .done()
}
