//! How a command is declared: its name, who may call it, its parameters, and what runs.
//!
//! Parameters are written as one text, in the order in which the server misses them:
//! `"zoneid!:uuid name! startport:integer @owned"`. A `!` marks what is required, a word after the
//! colon the type (text where there is none), and `@owned` stands for the five that choose whose
//! resources a list shows. The same text serves the checks of a request and `listApis`.

use super::call::{Answered, Call, Caller};

/// Who may call a command. Granted to a role, not to a person: CloudStack answers 432 to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Everyone,
    /// Root admins, and those who manage a domain.
    DomainAdmins,
    AdminOnly,
}

impl Access {
    pub(crate) fn is_granted_to(self, caller: &Caller) -> bool {
        match self {
            Self::Everyone => true,
            Self::DomainAdmins => caller.admin || caller.domain_admin,
            Self::AdminOnly => caller.admin,
        }
    }
}

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) access: Access,
    /// Its parameters, as the head of this file says.
    params: &'static str,
    /// What an asynchronous command says of its job.
    pub(crate) job: Option<JobInfo>,
    pub(crate) run: fn(&mut Call<'_>) -> Answered,
}

/// A parameter of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    /// Its type, in the words of `listApis`.
    pub(crate) kind: &'static str,
    pub(crate) required: bool,
}

/// The parameters of a list that choose whose resources it shows.
const OWNED: &str = "account domainid:uuid projectid:uuid listall:boolean isrecursive:boolean";
/// The parameters of every list.
const PAGED: &str = "keyword page:integer pagesize:integer";

impl Param {
    fn parse(word: &'static str) -> Self {
        let (name, kind) = word.split_once(':').unwrap_or((word, "string"));
        let required = name.ends_with('!');
        Self {
            name: name.trim_end_matches('!'),
            kind,
            required,
        }
    }
}

impl Command {
    /// Its parameters, in the order in which the server misses them.
    pub(crate) fn params(&self) -> impl Iterator<Item = Param> + use<> {
        let paged = if self.is_list() { PAGED } else { "" };
        let expanded = self.params.split_ascii_whitespace().flat_map(|word| {
            let words = if word == "@owned" { OWNED } else { word };
            words.split_ascii_whitespace()
        });
        expanded
            .chain(paged.split_ascii_whitespace())
            .map(Param::parse)
    }

    /// Whether it lists things page by page.
    pub(crate) fn is_list(&self) -> bool {
        self.name.starts_with("list")
    }
}

/// What is seen of the job of an asynchronous command.
#[derive(Debug)]
pub(crate) struct JobInfo {
    package: &'static str,
    class: &'static str,
    /// Whether an admin's job runs another class.
    by_admin: bool,
    /// Whether its class is among those for admins.
    admin: bool,
    /// The type of its resource, where the server tells one.
    pub(crate) instance: Option<&'static str>,
}

impl JobInfo {
    /// The name of the Java class, as `cmd` shows it.
    pub(crate) fn class(&self, admin: bool) -> String {
        let (package, class) = (self.package, self.class);
        if self.admin {
            format!("org.apache.cloudstack.api.command.admin.{package}.{class}")
        } else if admin && self.by_admin {
            format!("org.apache.cloudstack.api.command.admin.{package}.{class}ByAdmin")
        } else {
            format!("org.apache.cloudstack.api.command.user.{package}.{class}")
        }
    }
}

type Run = fn(&mut Call<'_>) -> Answered;

/// A command that is done when it is answered.
pub(super) const fn sync(name: &'static str, params: &'static str, run: Run) -> Command {
    Command {
        name,
        access: Access::Everyone,
        params,
        job: None,
        run,
    }
}

/// A command for root admins that is done when it is answered.
pub(super) const fn admin(name: &'static str, params: &'static str, run: Run) -> Command {
    Command {
        access: Access::AdminOnly,
        ..sync(name, params, run)
    }
}

/// A command for all kinds of admins that is done when it is answered.
pub(super) const fn domain_admin(name: &'static str, params: &'static str, run: Run) -> Command {
    Command {
        access: Access::DomainAdmins,
        ..sync(name, params, run)
    }
}

/// A command whose work is a job.
pub(super) const fn job(
    name: &'static str,
    params: &'static str,
    run: Run,
    job: JobInfo,
) -> Command {
    Command {
        name,
        access: Access::Everyone,
        params,
        job: Some(job),
        run,
    }
}

/// A job that root admins alone may ask for.
pub(super) const fn admin_job(
    name: &'static str,
    params: &'static str,
    run: Run,
    info: JobInfo,
) -> Command {
    Command {
        access: Access::AdminOnly,
        ..job(name, params, run, info)
    }
}

/// The same command, for all kinds of admins.
pub(super) const fn for_domain_admins(command: Command) -> Command {
    Command {
        access: Access::DomainAdmins,
        ..command
    }
}

/// A job whose class is the same for everybody.
pub(super) const fn class(
    package: &'static str,
    class: &'static str,
    instance: &'static str,
) -> JobInfo {
    let instance = if instance.is_empty() {
        None
    } else {
        Some(instance)
    };
    JobInfo {
        package,
        class,
        by_admin: false,
        admin: false,
        instance,
    }
}

/// A job whose class is another one for admins.
pub(super) const fn by_admin(
    package: &'static str,
    name: &'static str,
    instance: &'static str,
) -> JobInfo {
    JobInfo {
        by_admin: true,
        ..class(package, name, instance)
    }
}

/// A job whose class is among those for admins.
pub(super) const fn admin_class(
    package: &'static str,
    name: &'static str,
    instance: &'static str,
) -> JobInfo {
    JobInfo {
        admin: true,
        ..class(package, name, instance)
    }
}

/// A job on a machine.
pub(super) const fn vm(class: &'static str) -> JobInfo {
    by_admin("vm", class, "VirtualMachine")
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn a_parameter_is_read_with_its_type_and_whether_it_must_be_there() {
        let zone = Param::parse("zoneid!:uuid");
        assert_eq!(
            (zone.name, zone.kind, zone.required),
            ("zoneid", "uuid", true)
        );
        let name = Param::parse("name");
        assert_eq!(
            (name.name, name.kind, name.required),
            ("name", "string", false)
        );
    }

    #[test]
    fn a_list_has_pages_and_an_owned_one_scopes() {
        let command = table::find("listVPCs").expect("a command");
        let names: Vec<_> = command.params().map(|param| param.name).collect();
        for name in ["id", "tags", "projectid", "listall", "page", "keyword"] {
            assert!(names.contains(&name), "{name} is none of {names:?}");
        }
    }

    #[test]
    fn every_parameter_has_a_type_that_clients_know_and_stands_once() {
        let kinds = [
            "string", "uuid", "list", "boolean", "integer", "long", "short", "float", "date", "map",
        ];
        for command in table::all() {
            let mut seen = Vec::new();
            for param in command.params() {
                assert!(kinds.contains(&param.kind), "{} {param:?}", command.name);
                assert!(!seen.contains(&param.name), "{} {param:?}", command.name);
                seen.push(param.name);
            }
        }
    }
}
