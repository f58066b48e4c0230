//! Projects: resources that several accounts share.
//!
//! A project's resources belong to an account that is nobody's. Invitations are not simulated: who
//! is added takes part at once, as with `project.invite.required` off.

use serde_json::{Value, json};

use super::account::owns_something;
use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use super::scope::Scope;
use crate::sim::effects::leaving::Leaving;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::{RowOf, account_name, domain_path};
use crate::sim::world::catalogue::Row;
use crate::sim::world::{
    Account, AccountKind, Kind, Limits, Project, ProjectMember, Standing, Uuid, World,
};

/// How many projects there can be: a bound of this simulator, beside the quota of each account.
const PROJECTS_MAX: usize = 1_000;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listProjects",
        "id:uuid name displaytext state username details:list tags:map account domainid:uuid \
         listall:boolean isrecursive:boolean",
        projects,
    ),
    job(
        "createProject",
        "name! displaytext account domainid:uuid userid:uuid accountid:uuid",
        create,
        class("project", "CreateProjectCmd", "Project"),
    ),
    job(
        "updateProject",
        "id!:uuid name displaytext account",
        update,
        class("project", "UpdateProjectCmd", "Project"),
    ),
    job(
        "deleteProject",
        "id!:uuid cleanup:boolean",
        delete,
        class("project", "DeleteProjectCmd", "Project"),
    ),
    job(
        "activateProject",
        "id!:uuid",
        activate,
        class("project", "ActivateProjectCmd", "Project"),
    ),
    job(
        "suspendProject",
        "id!:uuid",
        suspend,
        class("project", "SuspendProjectCmd", "Project"),
    ),
    job(
        "addAccountToProject",
        "projectid!:uuid account email roletype projectroleid:uuid",
        add,
        class("account", "AddAccountToProjectCmd", "Project"),
    ),
    job(
        "deleteAccountFromProject",
        "projectid!:uuid account!",
        remove,
        class("account", "DeleteAccountFromProjectCmd", "Project"),
    ),
    sync(
        "listProjectAccounts",
        "projectid!:uuid account role",
        members,
    ),
];

fn row(world: &World, project: &Project) -> Row {
    let owners = project.members.iter().filter(|member| member.manages);
    let owners: Vec<Value> = owners
        .map(|member| json!({"account": account_name(world, &member.account)}))
        .collect();
    let domain = world.domains.get(&project.domain);
    RowOf::new()
        .set("id", project.id.as_str())
        .set("name", project.name.as_str())
        .set("displaytext", project.display_text.as_str())
        .set("domainid", project.domain.as_str())
        .set("domain", domain.map(|domain| domain.name.clone()))
        .set("projectaccountname", account_name(world, &project.account))
        .set("owner", owners)
        .set(
            "state",
            if project.active {
                "Active"
            } else {
                "Suspended"
            },
        )
        .set("tags", crate::sim::view::short_tags(world, &project.id))
        .set("created", crate::sim::view::date(project.created))
        .done()
}

/// Whether `listProjects` shows a project: to whom takes part in it; to an admin those of an account
/// or domain too, or all, if they are asked for.
fn shown(call: &Call<'_>, project: &Project) -> bool {
    let home = &call.caller.home;
    let takes_part = |account: &Uuid| {
        let mut members = project.members.iter();
        members.any(|member| member.account == *account)
    };
    let (account, domain) = (call.text("account"), call.text("domainid"));
    if let (Scope::Accounts(accounts), Some(_)) = (&call.scope, account) {
        return accounts.iter().any(takes_part);
    }
    let above = call.caller.admin || call.caller.domain_admin;
    let all = call.flag("listall") == Some(true);
    if let (true, Some(domain)) = (above, domain) {
        let deep = all || call.flag("isrecursive") == Some(true);
        return project.domain == domain || (deep && call.world.is_within(&project.domain, domain));
    }
    takes_part(home)
        || ((all || call.text("id").is_some()) && call.world.may_act(home, &project.account))
}

/// `listProjects`.
fn projects(call: &mut Call<'_>) -> Answered {
    let mut rows: Vec<&Project> = call
        .world
        .projects
        .values()
        .filter(|project| shown(call, project))
        .filter(|row| call.wants("id", Some(&row.id)) && call.wants("name", Some(&row.name)))
        .filter(|row| call.holds("keyword", &row.name) && call.tagged(&row.id))
        .collect();
    rows.sort_by_key(|project| project.number);
    call.page("project", &rows, |project| row(call.world, project))
}

/// `createProject`, for the caller or for an account below; that one manages it.
fn create(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    let manager = call.caller.account.clone();
    let domain = call.world.domain_of(&manager).to_owned();
    let mut others = call.world.projects.values();
    if others.any(|row| row.name == name && row.domain == domain) {
        return Err(ApiError::value(format!(
            "Project with name {name} already exists in domain id={domain}"
        )));
    }
    call.within_limit("project", 1)?;
    if call.world.projects.len() >= PROJECTS_MAX {
        let text = format!("This simulator keeps {PROJECTS_MAX} projects at most");
        return Err(ApiError::quota(text));
    }
    let account = add_owner(call.world, &name, &domain);
    let project = Project {
        id: call.world.fresh_id(),
        number: call.world.next_number(Kind::Project),
        display_text: call.display_text(&name),
        name,
        account,
        domain,
        active: true,
        members: vec![ProjectMember {
            account: manager,
            manages: true,
        }],
        created: call.world.now(),
    };
    let id = project.id.clone();
    call.world.projects.insert(id.clone(), project);
    told(call, &id, Some(id.clone()))
}

/// The account that is to own a project's resources.
fn add_owner(world: &mut World, name: &str, domain: &str) -> Uuid {
    let id = world.fresh_id();
    let number = world.next_number(Kind::Account);
    let account = Account {
        id: id.clone(),
        number,
        name: format!("PrjAcct-{name}-{number}"),
        admin: false,
        kind: AccountKind::Project,
        domain: domain.to_owned(),
        standing: Standing::Enabled,
        network_domain: None,
        created: Some(world.now()),
    };
    world.limits.insert(id.clone(), Limits::of_a_new_account());
    world.accounts.insert(id.clone(), account);
    world.add_default_security_group(&id);
    id
}

/// A job that shows the project as it is now.
fn told(call: &mut Call<'_>, id: &str, created: Option<Uuid>) -> Answered {
    let project = call.world.projects.get(id);
    let result = json!({"project": project.map(|project| row(call.world, project))});
    call.submit(Work::Settled { result }, Some(id.to_owned()), created)
}

/// The project that a parameter names, for those who manage it.
fn managed(call: &Call<'_>, name: &str) -> Result<Uuid, ApiError> {
    let id = call.required_id(name, Kind::Project)?;
    let Some(project) = call.world.projects.get(&id) else {
        return Err(ApiError::unknown_id(call.command.name, name, &id));
    };
    let home = &call.caller.home;
    let mut managers = project.members.iter().filter(|member| member.manages);
    let manages = managers.any(|member| member.account == *home);
    let above = call.caller.admin || call.caller.domain_admin;
    if manages || (above && call.world.may_act(home, &project.account)) {
        Ok(id)
    } else {
        Err(ApiError::not_yours())
    }
}

fn change(call: &mut Call<'_>, id: &str, change: impl FnOnce(&mut Project)) -> Answered {
    if let Some(project) = call.world.projects.get_mut(id) {
        change(project);
    }
    told(call, id, None)
}

/// `updateProject`.
fn update(call: &mut Call<'_>) -> Answered {
    let id = managed(call, "id")?;
    let (name, text) = (call.owned_text("name"), call.owned_text("displaytext"));
    change(call, &id, |project| {
        project.name = name.unwrap_or_else(|| project.name.clone());
        project.display_text = text.unwrap_or_else(|| project.display_text.clone());
    })
}

/// `deleteProject`, which is refused while the project owns something, unless that is to go too.
fn delete(call: &mut Call<'_>) -> Answered {
    let id = managed(call, "id")?;
    let Some(project) = call.world.projects.get(&id).cloned() else {
        return Err(ApiError::unknown_id(call.command.name, "id", &id));
    };
    let cleanup = call.flag("cleanup") == Some(true);
    if !cleanup && owns_something(call.world, &project.account) {
        return Err(ApiError::value(format!(
            "Can't delete the project yet because it has resources: {id}"
        )));
    }
    let work = Work::Leave(Leaving::Project {
        project: id.clone(),
    });
    call.submit(work, Some(id), None)
}

/// `activateProject`.
fn activate(call: &mut Call<'_>) -> Answered {
    let id = managed(call, "id")?;
    change(call, &id, |project| project.active = true)
}

/// `suspendProject`: nothing can be added to it any more.
fn suspend(call: &mut Call<'_>) -> Answered {
    let id = managed(call, "id")?;
    change(call, &id, |project| project.active = false)
}

fn named(call: &Call<'_>, project: &str) -> Result<Uuid, ApiError> {
    let name = call.required("account")?;
    let project = call.world.projects.get(project);
    let found = project.and_then(|project| call.world.account_in(&project.domain, &name));
    let text = format!("Unable to find account name={name} in domain id=1");
    found
        .map(|row| row.id.clone())
        .ok_or_else(|| ApiError::value(text))
}

/// `addAccountToProject`.
fn add(call: &mut Call<'_>) -> Answered {
    let id = managed(call, "projectid")?;
    let account = named(call, &id)?;
    let role = call.text("roletype").unwrap_or_default();
    let manages = role.eq_ignore_ascii_case("admin");
    if let Some(project) = call.world.projects.get_mut(&id) {
        project.members.retain(|member| member.account != account);
        project.members.push(ProjectMember { account, manages });
    }
    call.settled(id)
}

/// `deleteAccountFromProject`.
fn remove(call: &mut Call<'_>) -> Answered {
    let id = managed(call, "projectid")?;
    let account = named(call, &id)?;
    if let Some(project) = call.world.projects.get_mut(&id) {
        project.members.retain(|member| member.account != account);
    }
    call.settled(id)
}

/// `listProjectAccounts`.
fn members(call: &mut Call<'_>) -> Answered {
    let id = call.own("projectid", Kind::Project)?;
    let Some(project) = call.world.projects.get(&id) else {
        return Err(ApiError::unknown_id(call.command.name, "projectid", &id));
    };
    call.page("projectaccount", &project.members, |member| {
        RowOf::new()
            .set("projectid", project.id.as_str())
            .set("project", project.name.as_str())
            .set("accountid", member.account.as_str())
            .set("account", account_name(call.world, &member.account))
            .set("role", if member.manages { "Admin" } else { "Regular" })
            .set("domainpath", domain_path(call.world, &member.account))
            .done()
    })
}
