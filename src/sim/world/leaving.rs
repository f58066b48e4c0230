//! What goes with an account, a project or a domain that goes.

use super::{Kind, TemplateUserData, Uuid, World};

impl World {
    /// Takes an account out with all that it owns, its users, and its part in projects.
    pub(crate) fn drop_account(&mut self, id: &str) {
        for user in ids(
            self.users.values(),
            |user| user.account == id,
            |user| &user.id,
        ) {
            self.drop_user(&user);
        }
        self.drop_machines(id);
        self.drop_nets(id);
        self.drop_belongings(id);
        for project in self.projects.values_mut() {
            project.members.retain(|member| member.account != id);
        }
        if let Some(account) = self.accounts.remove(id) {
            self.bury(Kind::Account, id, account.number);
        }
    }

    /// Takes a user out; what it made still names it.
    pub(crate) fn drop_user(&mut self, id: &str) {
        if self.users.remove(id).is_some() {
            self.bury(Kind::User, id, 0);
        }
    }

    /// Takes a project out with all that it owns.
    pub(crate) fn drop_project(&mut self, id: &str) {
        let Some(project) = self.projects.remove(id) else {
            return;
        };
        self.drop_account(&project.account);
        self.bury(Kind::Project, id, project.number);
    }

    /// Takes a domain out, and first the domains, projects and accounts in it.
    pub(crate) fn drop_domain(&mut self, id: &str) {
        let within = self.domains_within(id);
        let inside = |domain: &Uuid| within.contains(domain);
        for project in ids(
            self.projects.values(),
            |row| inside(&row.domain),
            |row| &row.id,
        ) {
            self.drop_project(&project);
        }
        for account in ids(
            self.accounts.values(),
            |row| inside(&row.domain),
            |row| &row.id,
        ) {
            self.drop_account(&account);
        }
        for domain in within {
            if let Some(row) = self.domains.remove(&domain) {
                self.bury(Kind::Domain, &domain, row.number);
            }
        }
    }

    /// A domain and those inside of it.
    pub(crate) fn domains_within(&self, id: &str) -> Vec<Uuid> {
        ids(
            self.domains.values(),
            |row| self.is_within(&row.id, id),
            |row| &row.id,
        )
    }

    /// Whether machines of others have cards in the networks of an account, which keep it there.
    pub(crate) fn serves_others(&self, account: &str) -> bool {
        self.vms.values().any(|vm| {
            let mut nics = vm.nics.iter();
            vm.account != account
                && nics.any(|nic| self.owner(Kind::Network, &nic.network) == Some(account))
        })
    }

    fn drop_machines(&mut self, account: &str) {
        for vm in ids(self.vms.values(), |vm| vm.account == account, |vm| &vm.id) {
            self.expunge(&vm);
        }
        for volume in ids(
            self.volumes.values(),
            |row| row.account == account,
            |row| &row.id,
        ) {
            self.drop_volume(&volume);
        }
    }

    fn drop_nets(&mut self, account: &str) {
        for network in ids(
            self.networks.values(),
            |row| row.account == account,
            |row| &row.id,
        ) {
            self.drop_network(&network);
        }
        for vpc in ids(
            self.vpcs.values(),
            |row| row.account == account,
            |row| &row.id,
        ) {
            self.drop_vpc(&vpc);
        }
        let held = |row: &&super::Address| row.account.as_deref() == Some(account);
        let held = self.addresses.values().filter(held);
        for address in held.map(|row| row.id.clone()).collect::<Vec<_>>() {
            self.free(&address, true);
        }
    }

    /// Takes out the limits of an account and what has a name and no more.
    fn drop_belongings(&mut self, account: &str) {
        for (kind, id, number) in self.names_of(account) {
            match kind {
                Kind::AffinityGroup => self.drop_affinity_group(&id),
                Kind::KeyPair => drop(self.key_pairs.remove(&id)),
                Kind::UserData => self.drop_user_data(&id),
                Kind::InstanceGroup => drop(self.instance_groups.remove(&id)),
                Kind::SecurityGroup => drop(self.security_groups.remove(&id)),
                Kind::Webhook => drop(self.hooks.webhooks.remove(&id)),
                _ => {}
            }
            self.bury(kind, &id, number);
        }
        self.limits.remove(account);
    }

    /// Takes user data out; machines of others that were given it keep what it said.
    fn drop_user_data(&mut self, id: &Uuid) {
        self.user_data.remove(id);
        let users = self.vms.values();
        let users = users.filter(|vm| vm.user_data_id.as_ref() == Some(id));
        for vm in users.map(|vm| vm.id.clone()).collect::<Vec<_>>() {
            if let Some(vm) = self.vms.get_mut(&vm) {
                vm.user_data_id = None;
            }
        }
        let linked = |row: &TemplateUserData| row.id != *id;
        self.template_user_data.retain(|_, row| linked(row));
    }

    /// What an account has that is a name and no more.
    fn names_of(&self, account: &str) -> Vec<(Kind, Uuid, u64)> {
        let mut names = Vec::new();
        let mut note = |kind, owner: &Uuid, id: &Uuid, number| {
            if owner == account {
                names.push((kind, id.clone(), number));
            }
        };
        for row in self.affinity_groups.values() {
            note(Kind::AffinityGroup, &row.account, &row.id, row.number);
        }
        for row in self.key_pairs.values() {
            note(Kind::KeyPair, &row.account, &row.id, row.number);
        }
        for row in self.user_data.values() {
            note(Kind::UserData, &row.account, &row.id, row.number);
        }
        for row in self.instance_groups.values() {
            note(Kind::InstanceGroup, &row.account, &row.id, row.number);
        }
        for row in self.security_groups.values() {
            note(Kind::SecurityGroup, &row.account, &row.id, row.number);
        }
        for row in self.hooks.webhooks.values() {
            note(Kind::Webhook, &row.account, &row.id, row.number);
        }
        names
    }
}

/// The ids of some rows.
fn ids<'world, T: 'world>(
    rows: impl Iterator<Item = &'world T>,
    chosen: impl Fn(&T) -> bool,
    id: impl Fn(&T) -> &Uuid,
) -> Vec<Uuid> {
    rows.filter(|row| chosen(row))
        .map(|row| id(row).clone())
        .collect()
}
