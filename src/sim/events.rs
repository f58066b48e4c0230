//! The event feed: who did what to which resource, in the words of a 4.22 server.
//!
//! An asynchronous command leaves up to four events, `Created`, `Scheduled`, `Started` and
//! `Completed`; which of them it leaves differs from command to command and is taken from the
//! recordings (`admin/05-life`, `tenant/24-jobs-in-flight`, `tenant/26-account-wide-look`).

mod rules;
mod volume;

use super::effects::nic::NicWork;
use super::jobs::{Job, MachineChange, Work};
use super::webhooks;
use super::world::{Event, Kind, Uuid, World};

/// Which of its events a command leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stages {
    /// `Scheduled`, `Started`, `Completed`.
    All,
    /// `Scheduled` alone: the server forgets to tell the rest.
    ScheduledOnly,
    /// `Completed` alone.
    CompletedOnly,
}

/// What the events of a job say.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    kind: &'static str,
    scheduled: String,
    doing: String,
    subject: Subject,
    stages: Stages,
}

/// The resource that an event is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) kind: &'static str,
    pub(crate) id: Option<Uuid>,
    pub(crate) name: Option<String>,
    pub(crate) account: Option<Uuid>,
}

impl Subject {
    /// A resource of this type that has no id in the feed.
    fn nameless(kind: &'static str) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    /// A machine.
    pub(crate) fn vm(world: &World, id: &str) -> Self {
        let vm = world.vms.get(id);
        Self {
            kind: "VirtualMachine",
            id: Some(id.to_owned()),
            name: vm.map(|vm| vm.name.clone()),
            account: vm.map(|vm| vm.account.clone()),
        }
    }

    /// A public address.
    pub(crate) fn address(world: &World, id: &str) -> Self {
        let address = world.addresses.get(id);
        Self {
            kind: "IpAddress",
            id: Some(id.to_owned()),
            name: address.map(|address| address.ip.to_string()),
            account: address.and_then(|address| address.account.clone()),
        }
    }

    /// A VPC, whose name in the feed is its display text.
    pub(crate) fn vpc(world: &World, id: &str) -> Self {
        let vpc = world.vpcs.get(id);
        Self {
            kind: "Vpc",
            id: Some(id.to_owned()),
            name: vpc.map(|vpc| vpc.display_text.clone()),
            account: vpc.map(|vpc| vpc.account.clone()),
        }
    }

    /// A network, whose name in the feed is its display text.
    pub(crate) fn network(world: &World, id: &str) -> Self {
        let network = world.networks.get(id);
        Self {
            kind: "Network",
            id: Some(id.to_owned()),
            name: network.map(|network| network.display_text.clone()),
            account: network.map(|network| network.account.clone()),
        }
    }

    fn list(world: &World, id: &str) -> Self {
        Self {
            kind: "NetworkAcl",
            id: Some(id.to_owned()),
            name: world.acl_lists.get(id).map(|list| list.name.clone()),
            account: world.owner(Kind::AclList, id).map(ToOwned::to_owned),
        }
    }

    fn group(world: &World, id: &str) -> Self {
        let group = world.affinity_groups.get(id);
        Self {
            kind: "AffinityGroup",
            id: Some(id.to_owned()),
            name: group.map(|group| group.name.clone()),
            account: group.map(|group| group.account.clone()),
        }
    }
}

fn all(kind: &'static str, scheduled: String, doing: String, subject: Subject) -> Words {
    Words {
        kind,
        scheduled,
        doing,
        subject,
        stages: Stages::All,
    }
}

fn scheduled_only(kind: &'static str, scheduled: String, subject: Subject) -> Words {
    Words {
        kind,
        scheduled,
        doing: String::new(),
        subject,
        stages: Stages::ScheduledOnly,
    }
}

fn completed_only(kind: &'static str, doing: &str) -> Words {
    let subject = Subject::nameless("ResourceTag");
    let doing = doing.to_owned();
    Words {
        kind,
        scheduled: String::new(),
        doing,
        subject,
        stages: Stages::CompletedOnly,
    }
}

/// The words for a job; none for the few commands that leave no event.
pub(crate) fn words(world: &World, job: &Job) -> Option<Words> {
    vm_words(world, &job.work)
        .or_else(|| network_words(world, &job.work))
        .or_else(|| list_words(world, &job.work))
        .or_else(|| item_words(world, &job.work))
        .or_else(|| volume::words(world, &job.work))
        .or_else(|| other_words(world, &job.work))
}

fn vm_words(world: &World, work: &Work) -> Option<Words> {
    let of = |kind, scheduled: &str, doing: &str, id: &Uuid| {
        let subject = Subject::vm(world, id);
        Some(all(
            kind,
            format!("{scheduled}: {id}"),
            format!("{doing} Vm. Vm Id: {id}"),
            subject,
        ))
    };
    match work {
        Work::Deploy { vm, .. } => of("VM.CREATE", "starting Vm. Vm Id", "deploying", vm),
        Work::Start { vm } => of("VM.START", "starting user vm", "starting", vm),
        Work::Stop { vm } => of("VM.STOP", "stopping user vm", "stopping", vm),
        Work::Reboot { vm, .. } => of("VM.REBOOT", "rebooting user vm", "rebooting", vm),
        Work::Destroy { vm, .. } => of("VM.DESTROY", "destroying vm", "destroying", vm),
        Work::Expunge { vm } => of("VM.EXPUNGE", "Expunging vm", "expunging", vm),
        Work::Restore { vm, .. } => of("VM.RESTORE", "restoring user vm", "restoring", vm),
        Work::Machine { vm, change } => {
            let (kind, scheduled, doing) = match change {
                MachineChange::Keys(_) => {
                    ("VM.RESETSSHKEY", "resetting SSHKey for vm", "resetting")
                }
                MachineChange::Password(_) => {
                    ("VM.RESETPASSWORD", "resetting password for vm", "resetting")
                }
                MachineChange::Migrate { .. } => {
                    ("VM.MIGRATE", "Attempting to migrate VM Id", "migrating")
                }
            };
            of(kind, scheduled, doing, vm)
        }
        Work::Scale { vm, .. } => of("VM.UPGRADE", "scaling user vm", "scaling", vm),
        Work::Regroup { vm, .. } => {
            let what = "updating VM Affinity Group";
            of("VM.AFFINITY.GROUP.UPDATE", what, what, vm)
        }
        Work::Nic(work) => Some(nic_words(world, work)),
        Work::MoveNic { nic, .. } => {
            let network = world.vm_of_nic(nic)?.nics.first()?.network.clone();
            let zone = world.catalogue.zone_id();
            let text = format!("associating ip to nic id: {network} in zone {zone}");
            Some(scheduled_only(
                "NET.IPASSIGN",
                text,
                Subject::nameless("IpAddress"),
            ))
        }
        _ => None,
    }
}

fn nic_words(world: &World, work: &NicWork) -> Words {
    let of = |kind, scheduled: String, doing: &str, vm: &str| {
        all(kind, scheduled, doing.to_owned(), Subject::vm(world, vm))
    };
    match work {
        NicWork::Add { vm, network, .. } => {
            let text = format!("Adding network {network} to user vm: {vm}");
            of("NIC.CREATE", text, "Creating Nic", vm)
        }
        NicWork::Remove { vm, nic } => {
            let text = format!("Removing NIC {nic} from user vm: {vm}");
            of("NIC.DELETE", text, "Removing Nic", vm)
        }
        NicWork::MakeDefault { vm, nic } => {
            let text = format!("Updating NIC {nic} on user vm: {vm}");
            of("NIC.UPDATE", text, "Updating Nic", vm)
        }
        NicWork::ShowIp { ip } => {
            let text = format!("associating ip to nic id: {ip}");
            let subject = Subject::nameless("IpAddress");
            all("NIC.SECONDARY.IP.ASSIGN", text.clone(), text, subject)
        }
        NicWork::RemoveIp { ip } => {
            let text = format!("Disassociating ip address with id={ip}");
            let subject = Subject::nameless("IpAddress");
            all("NIC.SECONDARY.IP.UNASSIGN", text.clone(), text, subject)
        }
    }
}

fn network_words(world: &World, work: &Work) -> Option<Words> {
    let number = |id: &Uuid| world.networks.get(id).map_or(0, |network| network.number);
    let vpc_number = |id: &Uuid| world.vpcs.get(id).map_or(0, |vpc| vpc.number);
    let address_number = |id: &Uuid| world.addresses.get(id).map_or(0, |address| address.number);
    let vpc = |kind, scheduled: &str, doing: &str, id: &Uuid| {
        let (scheduled, doing) = (
            format!("{scheduled} id={}", vpc_number(id)),
            doing.to_owned(),
        );
        Some(all(
            kind,
            scheduled,
            format!("{doing}.  Id: {}", vpc_number(id)),
            Subject::vpc(world, id),
        ))
    };
    let network = |kind, scheduled: &str, doing: &str, id: &Uuid| {
        let doing = format!("{doing}. Network Id: {}", number(id));
        let subject = Subject::network(world, id);
        Some(all(
            kind,
            format!("{scheduled}: {}", number(id)),
            doing,
            subject,
        ))
    };
    let address = |kind, scheduled: String, doing: &str, id: &Uuid| {
        let doing = format!("{doing}. IP ID: {}", address_number(id));
        Some(all(kind, scheduled, doing, Subject::address(world, id)))
    };
    match work {
        Work::CreateVpc { vpc: id } => vpc("VPC.CREATE", "creating VPC", "creating VPC", id),
        Work::UpdateVpc { vpc: id, .. } => vpc("VPC.UPDATE", "updating VPC", "updating VPC", id),
        Work::DeleteVpc { vpc: id, .. } => vpc("VPC.DELETE", "Deleting VPC", "deleting VPC", id),
        Work::RestartVpc { vpc: id } => vpc("VPC.RESTART", "restarting VPC", "restarting VPC", id),
        Work::UpdateNetwork { network: id, .. } => {
            network("NETWORK.UPDATE", "Updating network", "updating network", id)
        }
        Work::DeleteNetwork { network: id, .. } => {
            network("NETWORK.DELETE", "Deleting network", "deleting network", id)
        }
        Work::RestartNetwork { network: id } => network(
            "NETWORK.RESTART",
            "Restarting network",
            "restarting network",
            id,
        ),
        Work::Associate { address: id, .. } => {
            let text = "associating IP to network ID: null in zone 2".to_owned();
            address("NET.IPASSIGN", text, "associating Ip", id)
        }
        Work::Disassociate { address: id } => {
            let text = format!("Disassociating IP address ID={}", address_number(id));
            address("NET.IPRELEASE", text, "disassociating Ip", id)
        }
        Work::DisableNat { address: id } => {
            let text = format!("Disabling static nat for ip id={id}");
            address("STATICNAT.DISABLE", text, "disabling static nat", id)
        }
        _ => None,
    }
}

fn list_words(world: &World, work: &Work) -> Option<Words> {
    Some(match work {
        Work::CreateAclList { list } => {
            let text = format!("Creating Network ACL with ID: {list}");
            let doing = "creating network acl list".to_owned();
            all(
                "NETWORK.ACL.CREATE",
                text,
                doing,
                Subject::list(world, list),
            )
        }
        Work::DeleteAclList { list } => {
            let text = format!("Deleting Network ACL ID={list}");
            let doing = "Deleting Network ACL List".to_owned();
            all(
                "NETWORK.ACL.DELETE",
                text,
                doing,
                Subject::list(world, list),
            )
        }
        Work::UpdateAclList { list, .. } => {
            let text = format!("Updating network ACL list {list}");
            scheduled_only("NETWORK.ACL.UPDATE", text, Subject::list(world, list))
        }
        Work::ReplaceAclList { list, network } => {
            let id = network.as_ref().and_then(|id| world.networks.get(id));
            let (list_id, id) = (
                world.acl_lists.get(list).map_or(0, |l| l.number),
                id.map_or(0, |n| n.number),
            );
            let text = format!("Associating network ACL ID={list_id} with network ID={id}");
            scheduled_only("NETWORK.ACL.REPLACE", text, Subject::list(world, list))
        }
        _ => return None,
    })
}

fn item_words(world: &World, work: &Work) -> Option<Words> {
    let serial = |id: &Uuid| world.acl_items.get(id).map_or(0, |item| item.serial);
    let item = || Subject::nameless("NetworkAclItem");
    Some(match work {
        Work::CreateAclItem { item: id } => {
            let doing = format!("Applying Network ACL Item. Rule ID: {}", serial(id));
            let subject = Subject {
                id: Some(id.clone()),
                ..item()
            };
            all(
                "NETWORK.ACL.ITEM.CREATE",
                "Creating Network ACL Item".to_owned(),
                doing,
                subject,
            )
        }
        Work::UpdateAclItem { .. } => {
            let text = "Updating network ACL item".to_owned();
            scheduled_only("NETWORK.ACL.ITEM.UPDATE", text, item())
        }
        Work::MoveAclItem {
            item: id,
            after,
            before,
        } => {
            let name = |id: &Option<Uuid>| id.clone().unwrap_or_else(|| "null".to_owned());
            let (after, before) = (name(after), name(before));
            let text = format!("Placing network ACL item [{id}] between [{after}] and [{before}].");
            scheduled_only("NETWORK.ACL.ITEM.UPDATE", text, item())
        }
        Work::DeleteAclItem { item: id } => {
            let text = format!("Deleting Network ACL ID={}", serial(id));
            let doing = format!(
                "Deleting Network ACL Item. Network ACL item ID: {}",
                serial(id)
            );
            all("NETWORK.ACL.ITEM.DELETE", text, doing, item())
        }
        _ => return None,
    })
}

fn other_words(world: &World, work: &Work) -> Option<Words> {
    Some(match work {
        Work::Rule(work) => rules::words(world, work),
        Work::Security(work) => rules::security_words(world, work),
        Work::CreateGroup { group } => {
            let text = "Creating affinity group".to_owned();
            all(
                "AG.CREATE",
                text.clone(),
                text,
                Subject::group(world, group),
            )
        }
        Work::DeleteGroup { group } => {
            let text = "Deleting affinity group".to_owned();
            all(
                "AG.DELETE",
                text.clone(),
                text,
                Subject::group(world, group),
            )
        }
        Work::CreateTags { .. } => completed_only("CREATE_TAGS", "creating resource tags"),
        Work::DeleteTags { .. } => completed_only("DELETE_TAGS", "deleting resource tags"),
        _ => return None,
    })
}

/// One event to be written down.
pub(crate) struct Report<'a> {
    pub(crate) kind: &'static str,
    pub(crate) state: &'static str,
    pub(crate) failed: bool,
    pub(crate) description: String,
    pub(crate) subject: Subject,
    pub(crate) user: &'a str,
    pub(crate) account: &'a str,
    pub(crate) parent: Option<Uuid>,
}

/// Writes an event down.
pub(crate) fn report(world: &mut World, report: Report<'_>) {
    let Report {
        kind,
        state,
        failed,
        description,
        subject,
        user,
        account,
        parent,
    } = report;
    let name = world
        .users
        .get(user)
        .map_or("system", |user| user.name.as_str())
        .to_owned();
    let event = Event {
        id: world.fresh_id(),
        created: world.wall(),
        kind: kind.to_owned(),
        state: state.to_owned(),
        level: if failed { "ERROR" } else { "INFO" }.to_owned(),
        description,
        user: name,
        account: subject.account.unwrap_or_else(|| account.to_owned()),
        resource_type: subject.kind.to_owned(),
        resource: subject.id,
        resource_name: subject.name,
        parent,
    };
    webhooks::post(world, &event);
    world.record(event);
}

fn of_job(world: &mut World, job: &Job, words: Words, state: &'static str, failed: bool) {
    let description = match state {
        "Scheduled" => words.scheduled,
        "Started" => capitalised(&words.doing),
        _ if failed => format!("Error while {}", words.doing),
        _ => format!("Successfully completed {}", words.doing),
    };
    let vm_scheduled = state == "Scheduled" && words.subject.kind == "VirtualMachine";
    let parent =
        (!vm_scheduled && words.stages != Stages::ScheduledOnly).then(|| job.event.clone());
    let (kind, subject) = (words.kind, words.subject);
    let (user, account) = (job.user.as_str(), job.account.as_str());
    report(
        world,
        Report {
            kind,
            state,
            failed,
            description,
            subject,
            user,
            account,
            parent,
        },
    );
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Tells that a job was submitted.
pub(crate) fn scheduled(world: &mut World, job: &Job, words: Words) {
    if words.stages != Stages::CompletedOnly {
        of_job(world, job, words, "Scheduled", false);
    }
}

/// Tells that a job begins.
pub(crate) fn started(world: &mut World, job: &Job, words: Words) {
    if words.stages == Stages::All {
        of_job(world, job, words, "Started", false);
    }
}

/// Tells that a job has ended.
pub(crate) fn completed(world: &mut World, job: &Job, words: Words, succeeded: bool) {
    if words.stages != Stages::ScheduledOnly {
        of_job(world, job, words, "Completed", !succeeded);
    }
}
