//! Whose resources a request is about: for whom it creates, and whose it lists.
//!
//! A request acts for the account of its user unless it names another by `account` and `domainid`,
//! or a project by `projectid`. A list shows the user's own things unless it is told to show more,
//! and things of projects only if it is told so.

use std::collections::BTreeSet;

use super::Command;
use super::call::Caller;
use crate::sim::protocol::Params;
use crate::sim::reply::ApiError;
use crate::sim::world::{Kind, Uuid, World};

/// Whose resources a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of these accounts.
    Accounts(BTreeSet<Uuid>),
    /// Everybody's, but not those of projects.
    Everybody,
    /// Everybody's, those of projects too.
    Everything,
}

impl Scope {
    pub(crate) fn holds(&self, world: &World, owner: &str) -> bool {
        match self {
            Self::Accounts(accounts) => accounts.contains(owner),
            Self::Everybody => !is_project(world, owner),
            Self::Everything => true,
        }
    }
}

fn is_project(world: &World, account: &str) -> bool {
    let account = world.accounts.get(account);
    account.is_some_and(|account| account.is_project())
}

/// What is read of a request to find out whom it is about.
pub(super) struct Asked<'a> {
    pub(super) world: &'a World,
    pub(super) command: &'a Command,
    pub(super) params: &'a Params,
    pub(super) caller: &'a Caller,
}

impl Asked<'_> {
    fn flag(&self, name: &str) -> bool {
        self.params.flag(name) == Some(true)
    }

    fn declares(&self, name: &str) -> bool {
        self.command.params().any(|param| param.name == name)
    }

    /// The account that a create is for.
    ///
    /// # Errors
    /// The account or project does not exist, or is closed to the caller.
    pub(super) fn owner(&self) -> Result<Uuid, ApiError> {
        let own = || Ok(self.caller.home.clone());
        let chooses = ["account", "domainid", "projectid"];
        let all = chooses.iter().all(|name| self.declares(name));
        // A project is for an account, too, and in no other project.
        if self.command.is_list() || !(all || self.command.name == "createProject") {
            return own();
        }
        match (self.params.get("account"), self.params.get("projectid")) {
            (Some(name), None) => self.account_for_create(name),
            (None, Some(project)) => self.project_for_create(project),
            (Some(_), Some(_)) => Err(both()),
            (None, None) => own(),
        }
    }

    fn account_for_create(&self, name: &str) -> Result<Uuid, ApiError> {
        let Some(domain) = self.domain()? else {
            let text = "Account must be specified with domainid parameter";
            return Err(ApiError::value(text));
        };
        let Some(account) = self.world.account_in(&domain, name) else {
            let number = self.world.domains.get(&domain).map_or(0, |row| row.number);
            return Err(ApiError::value(format!(
                "Unable to find account by name {name} in domain id={number}"
            )));
        };
        self.reached(&account.id)
    }

    fn project_for_create(&self, id: &str) -> Result<Uuid, ApiError> {
        let project = self.project(id)?;
        let (account, active, number) = (project.account.clone(), project.active, project.number);
        if !active {
            return Err(ApiError::denied(format!(
                "Can't add resources to the project id={number} in state=Suspended as it's no longer active"
            )));
        }
        self.reached(&account)
    }

    fn project(&self, id: &str) -> Result<&crate::sim::world::Project, ApiError> {
        let found = self.world.resolve(Kind::Project, id);
        let found = found.and_then(|id| self.world.projects.get(&id));
        found.ok_or_else(|| ApiError::unknown_id(self.command.name, "projectid", id))
    }

    fn domain(&self) -> Result<Option<Uuid>, ApiError> {
        let Some(id) = self.params.get("domainid") else {
            return Ok(None);
        };
        let found = self.world.resolve(Kind::Domain, id);
        let found = found.ok_or_else(|| ApiError::unknown_id(self.command.name, "domainid", id));
        found.map(Some)
    }

    fn reached(&self, account: &str) -> Result<Uuid, ApiError> {
        if self.world.may_act(&self.caller.home, account) {
            Ok(account.to_owned())
        } else {
            Err(ApiError::not_yours())
        }
    }

    /// Whose resources a list shows.
    ///
    /// # Errors
    /// The account, domain or project does not exist, or is closed to the caller.
    pub(super) fn scope(&self) -> Result<Scope, ApiError> {
        if !self.command.is_list() {
            return Ok(only([self.caller.home.clone()]));
        }
        let account = self
            .params
            .get("account")
            .filter(|_| self.declares("account"));
        let project = self
            .params
            .get("projectid")
            .filter(|_| self.declares("projectid"));
        match (account, project) {
            (Some(_), Some(_)) => Err(both()),
            (None, Some("-1")) => Ok(self.all_projects()),
            (None, Some(project)) => {
                let account = self.project(project)?.account.clone();
                Ok(only([self.reached(&account)?]))
            }
            (Some(name), None) => self.account_of_list(name),
            (None, None) => self.without_names(),
        }
    }

    fn all_projects(&self) -> Scope {
        let mine = self.flag("listall");
        if mine && self.caller.admin {
            return Scope::Everything;
        }
        let mut accounts = self.world.within_reach(&self.caller.home);
        accounts.retain(|account| {
            is_project(self.world, account) || (mine && *account == self.caller.home)
        });
        only(accounts)
    }

    fn account_of_list(&self, name: &str) -> Result<Scope, ApiError> {
        let domain = match self.domain()? {
            Some(domain) => domain,
            None => self.world.domain_of(&self.caller.home).to_owned(),
        };
        let Some(account) = self.world.account_in(&domain, name) else {
            return Err(ApiError::value(format!(
                "could not find account {name} in domain {domain}"
            )));
        };
        Ok(only([self.reached(&account.id)?]))
    }

    fn without_names(&self) -> Result<Scope, ApiError> {
        let (by_id, all) = (self.params.get("id").is_some(), self.flag("listall"));
        if let Some(domain) = self.domain()?.filter(|_| self.declares("domainid")) {
            return self.domain_of_list(&domain);
        }
        if self.caller.admin && by_id {
            return Ok(Scope::Everything);
        }
        if self.caller.admin && all {
            return Ok(Scope::Everybody);
        }
        let mut accounts = vec![self.caller.home.clone()];
        if self.caller.domain_admin && (by_id || all) {
            accounts = self.world.within_reach(&self.caller.home);
            accounts.retain(|account| by_id || !is_project(self.world, account));
        }
        Ok(only(accounts))
    }

    fn domain_of_list(&self, domain: &str) -> Result<Scope, ApiError> {
        let home = self.world.domain_of(&self.caller.home);
        let manages = self.caller.admin || self.caller.domain_admin;
        if !manages {
            return if home == domain {
                Ok(only([self.caller.home.clone()]))
            } else {
                Err(ApiError::not_yours())
            };
        }
        if !self.caller.admin && !self.world.is_within(domain, home) {
            return Err(ApiError::not_yours());
        }
        let deep = self.flag("isrecursive") || self.flag("listall");
        let within = |account: &str| {
            let its = self.world.domain_of(account);
            its == domain || (deep && self.world.is_within(its, domain))
        };
        let accounts = self.world.accounts.values();
        let accounts = accounts.filter(|row| !row.is_project() && within(&row.id));
        Ok(only(accounts.map(|row| row.id.clone())))
    }
}

fn only(accounts: impl IntoIterator<Item = Uuid>) -> Scope {
    Scope::Accounts(accounts.into_iter().collect())
}

fn both() -> ApiError {
    ApiError::value("Account and projectId can't be specified together")
}
