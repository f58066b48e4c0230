//! A command at work: its parameters read by kind, its caller's rights, its pages and its jobs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::declare::Command;
use super::scope::Scope;
pub(crate) use super::usage::used;
use super::{Answer, Method};
use crate::sim::events::{self, Report, Subject};
use crate::sim::jobs::{JobStatus, Twist, Work};
use crate::sim::protocol::Params;
use crate::sim::reply::ApiError;
use crate::sim::view::Viewer;
use crate::sim::world::catalogue::Row;
use crate::sim::world::{AccountKind, Kind, RESOURCE_TYPES, User, Uuid, World};

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: Uuid,
    /// The account of the user.
    pub(crate) home: Uuid,
    /// The account that it acts for: its own, or that which `account` or `projectid` names. What
    /// is created belongs to this one.
    pub(crate) account: Uuid,
    pub(crate) admin: bool,
    pub(crate) domain_admin: bool,
}

impl Caller {
    /// A user, who acts for the own account.
    pub(crate) fn of(world: &World, user: &User) -> Self {
        let account = world.accounts.get(&user.account);
        Self {
            user: user.id.clone(),
            home: user.account.clone(),
            account: user.account.clone(),
            admin: account.is_some_and(|account| account.admin),
            domain_admin: account.is_some_and(|row| row.kind == AccountKind::DomainAdmin),
        }
    }
}

/// A command at work.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) command: &'static Command,
    pub(crate) params: &'a Params,
    pub(crate) caller: Caller,
    pub(crate) scope: Scope,
    /// The pairs of the parameter `tags`, which a list holds every row against.
    pub(crate) tags: Vec<(String, Option<String>)>,
    pub(crate) method: Method,
    pub(crate) twist: Option<Twist>,
}

/// What a command returns.
pub(crate) type Answered = Result<Answer, ApiError>;

impl Call<'_> {
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer {
            admin: self.caller.admin,
        }
    }

    /// A text parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// A text parameter, owned.
    pub(crate) fn owned_text(&self, name: &str) -> Option<String> {
        self.text(name).map(ToOwned::to_owned)
    }

    /// A text parameter that the table requires.
    pub(crate) fn required(&self, name: &str) -> Result<String, ApiError> {
        self.owned_text(name)
            .ok_or_else(|| ApiError::missing(self.command.name, name))
    }

    /// A boolean parameter: `true` in any case, anything else is false.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.params.flag(name)
    }

    /// A parameter to be parsed.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let unreadable = |_| ApiError::unreadable(self.command.name, name, text);
        text.parse().map(Some).map_err(unreadable)
    }

    /// The id in a parameter, if it is or was that of something of this kind.
    pub(crate) fn id(&self, name: &str, kind: Kind) -> Result<Option<Uuid>, ApiError> {
        let Some(id) = self.text(name) else {
            return Ok(None);
        };
        let found = self.world.resolve(kind, id);
        let found = found.ok_or_else(|| ApiError::unknown_id(self.command.name, name, id));
        found.map(Some)
    }

    /// A required id.
    pub(crate) fn required_id(&self, name: &str, kind: Kind) -> Result<Uuid, ApiError> {
        self.id(name, kind)?
            .ok_or_else(|| ApiError::missing(self.command.name, name))
    }

    /// A required id of something that the caller may act on.
    pub(crate) fn own(&self, name: &str, kind: Kind) -> Result<Uuid, ApiError> {
        let id = self.required_id(name, kind)?;
        self.may_act_on(kind, &id)?;
        Ok(id)
    }

    /// An optional id of something that the caller may act on.
    pub(crate) fn own_if_given(&self, name: &str, kind: Kind) -> Result<Option<Uuid>, ApiError> {
        let id = self.id(name, kind)?;
        id.iter().try_for_each(|id| self.may_act_on(kind, id))?;
        Ok(id)
    }

    fn may_act_on(&self, kind: Kind, id: &str) -> Result<(), ApiError> {
        let owner = self.world.owner(kind, id);
        if owner.is_none_or(|owner| self.world.may_act(&self.caller.home, owner)) {
            Ok(())
        } else {
            Err(ApiError::not_yours())
        }
    }

    /// The machine in a parameter, for commands that act on it: the id of one that was purged is
    /// refused in other words than one that never was.
    pub(crate) fn own_vm(&self, name: &str) -> Result<Uuid, ApiError> {
        let id = self.own(name, Kind::Vm)?;
        match self.world.gone.get(&id) {
            Some(gone) => Err(ApiError::removed(gone.number, "VirtualMachine")),
            None => Ok(id),
        }
    }

    /// The ids in a comma-separated parameter.
    pub(crate) fn ids(&self, name: &str, kind: Kind) -> Result<Vec<Uuid>, ApiError> {
        let listed = self
            .text(name)
            .unwrap_or_default()
            .split(',')
            .map(str::trim);
        let found = |id: &str| {
            let found = self.world.resolve(kind, id);
            found.ok_or_else(|| ApiError::unknown_id(self.command.name, name, id))
        };
        listed.filter(|id| !id.is_empty()).map(found).collect()
    }

    /// A map parameter whose sub-keys are the names, as `details` is.
    pub(crate) fn details(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let entries = self.params.entries(name);
        if entries.is_empty() {
            None
        } else {
            Some(entries.into_iter().flatten().collect())
        }
    }

    /// Whether a list shows what this account owns.
    pub(crate) fn sees(&self, owner: Option<&str>) -> bool {
        owner.is_some_and(|owner| self.scope.holds(self.world, owner))
    }

    /// Whether a resource carries one of the tags that a list asks for.
    pub(crate) fn tagged(&self, resource: &str) -> bool {
        self.tags.is_empty()
            || self.tags.iter().any(|(key, value)| {
                self.world.tags_of(resource).any(|tag| {
                    tag.key == *key && value.as_ref().is_none_or(|value| *value == tag.value)
                })
            })
    }

    /// Whether a value is what a parameter asks for, if it asks at all.
    pub(crate) fn wants(&self, name: &str, value: Option<&str>) -> bool {
        self.text(name).is_none_or(|wanted| value == Some(wanted))
    }

    /// Whether a text holds what `keyword` or another parameter asks for.
    pub(crate) fn holds(&self, name: &str, value: &str) -> bool {
        self.text(name).is_none_or(|wanted| value.contains(wanted))
    }

    /// A page of a list.
    pub(crate) fn page<T>(
        &self,
        key: &'static str,
        items: &[T],
        row: impl Fn(&T) -> Row,
    ) -> Answered {
        let default = self.world.settings.default_page_size;
        let page: usize = self.parsed("page")?.unwrap_or(1);
        let size = match self.text("pagesize") {
            Some("-1") => usize::MAX,
            Some(_) => self.parsed("pagesize")?.unwrap_or(default),
            None => default,
        };
        let start = page.saturating_sub(1).saturating_mul(size);
        let count_only = self.flag("retrieveonlyresourcecount") == Some(true);
        let size = if count_only { 0 } else { size };
        let rows = items.iter().skip(start).take(size);
        let rows: Vec<Value> = rows.map(|item| row(item).into()).collect();
        Ok(Answer::List {
            key,
            count: items.len(),
            rows,
        })
    }

    /// Rows of the catalogue, as a page.
    pub(crate) fn rows(&self, key: &'static str, rows: &[&Row]) -> Answered {
        self.page(key, rows, |row| (*row).clone())
    }

    /// Whether a catalogue row passes the filters that name members of the same name.
    pub(crate) fn matches(&self, row: &Row, members: &[&str]) -> bool {
        let fits = |wanted: &str, value: &Value| match value {
            Value::String(text) => text.eq_ignore_ascii_case(wanted),
            other => other.to_string().eq_ignore_ascii_case(wanted),
        };
        members.iter().all(|member| {
            let wanted = self.text(member);
            wanted.is_none_or(|wanted| row.get(*member).is_some_and(|value| fits(wanted, value)))
        })
    }

    /// Submits a job, and answers with its id.
    pub(crate) fn submit(
        &mut self,
        work: Work,
        instance: Option<Uuid>,
        created: Option<Uuid>,
    ) -> Answered {
        let custom = self.custom_job_id()?;
        let mut job = self.world.new_job(custom, work);
        let info = self.command.job.as_ref();
        let class = info
            .map(|info| info.class(self.caller.admin))
            .unwrap_or_default();
        self.command.name.clone_into(&mut job.command);
        job.class = class;
        job.account = self.caller.home.clone();
        job.user = self.caller.user.clone();
        job.admin = self.caller.admin;
        job.instance_type = info.and_then(|info| info.instance).map(ToOwned::to_owned);
        job.instance = instance;
        job.twist = self.twist.take();
        let id = job.id.clone();
        self.world.submit(job);
        Ok(Answer::Job { created, job: id })
    }

    /// Submits a job of something that was done at once, with nothing to show.
    pub(crate) fn settled(&mut self, instance: Uuid) -> Answered {
        let result = json!({"success": true});
        self.submit(Work::Settled { result }, Some(instance), None)
    }

    /// The name that people see: the one that was given, or the other name.
    pub(crate) fn display_text(&self, name: &str) -> String {
        self.text("displaytext").unwrap_or(name).to_owned()
    }

    /// The job id that the client chose. It is checked after the resource was created, so a
    /// refusal leaves that behind (`cloudstack-observed.md`, 1.4).
    fn custom_job_id(&self) -> Result<Option<Uuid>, ApiError> {
        let Some(id) = self.text("customjobid") else {
            return Ok(None);
        };
        let lower = id.len() == 36 && id.chars().all(|c| !c.is_ascii_uppercase());
        if !lower || uuid::Uuid::parse_str(id).is_err() {
            return Err(ApiError::value(format!(
                "UUID: {id} doesn't follow the UUID format"
            )));
        }
        match self.world.jobs.get(id).map(|job| job.status) {
            None => Ok(Some(id.to_owned())),
            Some(JobStatus::Pending) => Err(ApiError::value(format!(
                "UUID: {id} already exists so can't create/update with custom id"
            ))),
            Some(JobStatus::Succeeded | JobStatus::Failed) => {
                Err(ApiError::internal(9999, "Entity already exists "))
            }
        }
    }

    /// Writes an event of the submit phase down.
    pub(crate) fn report(
        &mut self,
        kind: &'static str,
        state: &'static str,
        failed: bool,
        description: impl Into<String>,
        subject: Subject,
    ) {
        let description = description.into();
        let (user, account) = (self.caller.user.clone(), self.caller.account.clone());
        let (user, account) = (user.as_str(), account.as_str());
        let parent = None;
        let report = Report {
            kind,
            state,
            failed,
            description,
            subject,
            user,
            account,
            parent,
        };
        events::report(self.world, report);
    }

    /// Refuses if the caller's account would then have more of something than it may.
    pub(crate) fn within_limit(&self, resource: &str, more: i64) -> Result<(), ApiError> {
        let account = &self.caller.account;
        let place = RESOURCE_TYPES.iter().position(|name| *name == resource);
        let limits = self.world.limits.get(account);
        let max = place
            .zip(limits)
            .and_then(|(place, limits)| limits.max.get(place).copied());
        let used = used(self.world, account, resource);
        match max {
            Some(max) if max >= 0 && used + more > max => {
                let name = crate::sim::view::account_name(self.world, account);
                Err(ApiError::quota(format!(
                    "Maximum amount of resources of Type = '{resource}', tag = 'null' for Account Name = {name} in Domain Id = 1 is exceeded: Account Resource Limit = {max}, Current Account Resource Amount = {used}, Current Account Resource Reservation = 0, Requested Resource Amount = {more}."
                )))
            }
            _ => Ok(()),
        }
    }
}
