//! Who belongs where, and who may touch whose things: domains, accounts, projects.

use std::collections::BTreeMap;

use super::{Account, AccountKind, Domain, Kind, Project, Standing, User, Uuid, World};

/// How deep domains are looked through: deeper ones cannot be made.
pub(crate) const DOMAIN_DEPTH_MAX: usize = 32;

impl World {
    /// Whether a user may send requests: neither it nor its account is disabled.
    pub(crate) fn is_admitted(&self, user: &User) -> bool {
        let account = self.accounts.get(&user.account);
        let open = account.is_some_and(|account| account.standing == Standing::Enabled);
        open && user.standing == Standing::Enabled
    }

    /// The domain that all others are in.
    pub(crate) fn root_domain(&self) -> &str {
        self.catalogue.domain_id()
    }

    /// Adds `ROOT` if it is missing, as in a world that was written down before there were domains.
    pub(crate) fn add_root_domain(&mut self) {
        let id = self.root_domain().to_owned();
        if self.domains.contains_key(&id) {
            return;
        }
        let number = self.next_number(Kind::Domain);
        let domain = Domain {
            id: id.clone(),
            number,
            name: "ROOT".to_owned(),
            parent: None,
            network_domain: None,
            created: self.now(),
        };
        self.domains.insert(id, domain);
    }

    /// The id that a parameter means: the UUID of something that is or was there, or its number in
    /// the database, which the server takes as well.
    pub(crate) fn resolve(&self, kind: Kind, id: &str) -> Option<Uuid> {
        if self.knows(kind, id) {
            return Some(id.to_owned());
        }
        let number: u64 = id.parse().ok()?;
        self.by_number(kind, number)
    }

    /// The resource that has this number in the database.
    fn by_number(&self, kind: Kind, number: u64) -> Option<Uuid> {
        fn find<T>(rows: &BTreeMap<Uuid, T>, number: u64, of: impl Fn(&T) -> u64) -> Option<Uuid> {
            let mut rows = rows.iter();
            let found = rows.find(|(_, row)| of(row) == number);
            found.map(|(id, _)| id.clone())
        }
        match kind {
            Kind::Account => find(&self.accounts, number, |row| row.number),
            Kind::Domain => find(&self.domains, number, |row| row.number),
            Kind::Project => find(&self.projects, number, |row| row.number),
            Kind::Vpc => find(&self.vpcs, number, |row| row.number),
            Kind::Network => find(&self.networks, number, |row| row.number),
            Kind::AclList => find(&self.acl_lists, number, |row| row.number),
            Kind::AclItem => find(&self.acl_items, number, |row| row.serial),
            Kind::Address => find(&self.addresses, number, |row| row.number),
            Kind::Vm => find(&self.vms, number, |row| row.number),
            Kind::AffinityGroup => find(&self.affinity_groups, number, |row| row.number),
            Kind::KeyPair => find(&self.key_pairs, number, |row| row.number),
            _ => None,
        }
    }

    /// The domain of an account.
    pub(crate) fn domain_of(&self, account: &str) -> &str {
        match self.accounts.get(account) {
            Some(account) if !account.domain.is_empty() => &account.domain,
            _ => self.root_domain(),
        }
    }

    /// A domain and those that it is in, innermost first.
    pub(crate) fn domain_line<'world>(
        &'world self,
        id: &str,
    ) -> impl Iterator<Item = &'world Domain> {
        let parent = |domain: &&'world Domain| {
            let parent = domain.parent.as_deref()?;
            self.domains.get(parent)
        };
        std::iter::successors(self.domains.get(id), parent).take(DOMAIN_DEPTH_MAX)
    }

    /// The path of a domain, such as `ROOT/a/b`.
    pub(crate) fn domain_path(&self, id: &str) -> String {
        let mut names: Vec<&str> = self
            .domain_line(id)
            .map(|domain| domain.name.as_str())
            .collect();
        names.reverse();
        names.join("/")
    }

    /// Whether a domain is another one or inside of it.
    pub(crate) fn is_within(&self, domain: &str, outer: &str) -> bool {
        self.domain_line(domain).any(|domain| domain.id == outer)
    }

    /// The account of this name in a domain; a project's account has no name to be called by.
    pub(crate) fn account_in(&self, domain: &str, name: &str) -> Option<&Account> {
        self.accounts.values().find(|account| {
            account.name == name && !account.is_project() && self.domain_of(&account.id) == domain
        })
    }

    /// The project whose resources an account owns.
    pub(crate) fn project_of(&self, account: &str) -> Option<&Project> {
        self.accounts.get(account).filter(|row| row.is_project())?;
        self.projects
            .values()
            .find(|project| project.account == account)
    }

    /// Whether users of one account may act on what another owns: their own things, those of
    /// projects that they take part in, those of the domain that they manage, and a root admin
    /// on everything.
    pub(crate) fn may_act(&self, account: &str, owner: &str) -> bool {
        if account == owner {
            return true;
        }
        let Some(actor) = self.accounts.get(account) else {
            return false;
        };
        let manages = actor.kind == AccountKind::DomainAdmin
            && self.is_within(self.domain_of(owner), self.domain_of(account));
        actor.admin || manages || self.takes_part(account, owner)
    }

    fn takes_part(&self, account: &str, owner: &str) -> bool {
        self.project_of(owner).is_some_and(|project| {
            let mut members = project.members.iter();
            members.any(|member| member.account == account)
        })
    }

    /// The accounts whose resources a root admin, a domain admin or a user is shown at most.
    pub(crate) fn within_reach(&self, account: &str) -> Vec<Uuid> {
        let reach = |owner: &&Account| self.may_act(account, &owner.id);
        let reached = self.accounts.values().filter(reach);
        reached.map(|owner| owner.id.clone()).collect()
    }
}
