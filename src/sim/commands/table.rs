//! The table of commands: what each file declares, joined.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::declare::Command;
use super::{
    account, acl, address, affinity, balance, catalogue, configuration, domain, event, firewall,
    forward, host, instance_group, job, key_pair, network, nic, offering, os, people, plumbing,
    project, role, security_group, server, tag, user, user_data, vm_admin, vm_deploy, vm_life,
    vm_list, vm_update, volume, volume_list, vpc, webhook,
};

/// Every command that this cloud knows, file by file.
static FILES: &[&[Command]] = &[
    catalogue::COMMANDS,
    account::COMMANDS,
    domain::COMMANDS,
    people::COMMANDS,
    user::COMMANDS,
    role::COMMANDS,
    configuration::COMMANDS,
    project::COMMANDS,
    event::COMMANDS,
    job::COMMANDS,
    vpc::COMMANDS,
    network::COMMANDS,
    acl::COMMANDS,
    address::COMMANDS,
    firewall::COMMANDS,
    forward::COMMANDS,
    balance::COMMANDS,
    plumbing::COMMANDS,
    security_group::COMMANDS,
    vm_deploy::COMMANDS,
    vm_list::COMMANDS,
    vm_life::COMMANDS,
    vm_update::COMMANDS,
    host::COMMANDS,
    instance_group::COMMANDS,
    offering::COMMANDS,
    os::COMMANDS,
    server::COMMANDS,
    user_data::COMMANDS,
    vm_admin::COMMANDS,
    nic::COMMANDS,
    volume::COMMANDS,
    volume_list::COMMANDS,
    webhook::COMMANDS,
    affinity::COMMANDS,
    key_pair::COMMANDS,
    tag::COMMANDS,
];

/// Every command, for `listApis`.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    FILES.iter().copied().flatten()
}

/// The names of all commands.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|command| command.name)
}

/// The command of this name, which must be spelt exactly so.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static Command>> =
        LazyLock::new(|| all().map(|command| (command.name, command)).collect());
    BY_NAME.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_declared_twice() {
        let mut names: Vec<_> = all().map(|command| command.name).collect();
        let declared = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), declared);
    }
}
