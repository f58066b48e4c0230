//! Which machines are to be found by name, on which servers, with which keys.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    bootstrap::Secrets,
    cloud::Connect,
    controller::Context,
    dns::Server,
    names::{DnsView, Node, Records, records},
    plan::{CONFIRMING, Health, Plan, check, machine_subject},
    store::StoreError,
    types::{
        core::{Confidential, Secret},
        ledger::{Ledger, MachineRecord, NameServer},
        machine::Phase,
        role::Role,
        stack::{ClearwaterStack, DeletionMode, DeletionPolicy, DnsMode},
    },
};

/// The port of the stack's own name servers.
const PORT: u16 = 53;

/// A server that the stack's names are to be on, or are to go from.
pub(super) struct Target {
    /// What the ledger remembers of it.
    pub(super) place: NameServer,
    /// What is to be there; none where that is nothing.
    pub(super) view: Option<DnsView>,
    /// Whether its records go with its disk, so that nobody has to take them back.
    pub(super) own: bool,
}

/// Whether nothing is to be taken down with the stack.
pub(super) fn orphans(stack: &ClearwaterStack) -> bool {
    let policy = DeletionPolicy::All(DeletionMode::Orphan);
    stack.metadata.deleting() && stack.spec.deletion_policy == policy
}

/// The servers of a stack: those of its manifest, and those that have records of it still.
pub(super) fn targets(stack: &ClearwaterStack, ledger: &Ledger, plan: &Plan) -> Vec<Target> {
    let deleting = stack.metadata.deleting();
    let mut all = match stack.spec.dns.mode {
        _ if deleting => Vec::new(),
        DnsMode::None => Vec::new(),
        DnsMode::External => external(stack),
        DnsMode::Managed => managed(stack, ledger, plan),
    };
    let former = ledger.name_servers.iter().filter(|former| {
        let same = |target: &Target| target.place.same_names(former);
        !all.iter().any(same)
    });
    let former = former.map(|place| Target {
        place: place.clone(),
        view: None,
        own: false,
    });
    let former: Vec<_> = former.collect();
    all.extend(former);
    all
}

fn external(stack: &ClearwaterStack) -> Vec<Target> {
    let domain = &stack.spec.domain;
    let servers = stack.spec.dns.servers.iter();
    let target = |(address, server): (SocketAddr, &crate::types::stack::DnsServer)| Target {
        place: NameServer {
            address: address.to_string(),
            key_name: server.key_name(domain).to_owned(),
            domain: domain.clone(),
            secret: server.secret_ref.name.clone(),
        },
        view: Some(server.view),
        own: false,
    };
    servers
        .filter_map(|server| Some((server.socket()?, server)))
        .map(target)
        .collect()
}

/// The stack's own name servers, once they run. Each has the zone for itself.
fn managed(stack: &ClearwaterStack, ledger: &Ledger, plan: &Plan) -> Vec<Target> {
    let Some(bootstrap) = &stack.spec.bootstrap else {
        return Vec::new();
    };
    let domain = &stack.spec.domain;
    let ours = ledger.machines.iter().filter(|(name, record)| {
        let ready = plan.machines.get(*name).is_some_and(|view| view.ready);
        record.role == Role::Dns && !record.retiring && ready
    });
    ours.map(|(_, record)| Target {
        place: NameServer {
            address: SocketAddr::from((address(record), PORT)).to_string(),
            key_name: domain.clone(),
            domain: domain.clone(),
            secret: bootstrap.secret_ref.name.clone(),
        },
        view: Some(DnsView::Whole),
        own: true,
    })
    .collect()
}

/// Where the controller reaches a machine of the role.
fn address(record: &MachineRecord) -> std::net::Ipv4Addr {
    let public = record.public_address.as_ref();
    public.map_or(record.private_address, |address| address.ip)
}

/// The server of a target with its key.
///
/// # Errors
/// Of the store; inside, what is wrong with the key, as a reason and a sentence.
pub(super) async fn server<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    place: &NameServer,
) -> Result<Result<Server, (&'static str, String)>, StoreError> {
    let namespace = &stack.metadata.namespace;
    let secret = cx.store.get_as::<Secret>(namespace, &place.secret).await?;
    let Some(secret) = secret else {
        let message = format!(
            "Secret {namespace}/{} does not exist; apply it, with the key for {} as `tsigKey`",
            place.secret, place.address
        );
        return Ok(Err(("SecretNotFound", message)));
    };
    let secrets = Secrets::of(&secret);
    let key = match secrets.tsig() {
        Ok(key) => Confidential::new(key),
        Err(error) => return Ok(Err(("KeyUnusable", error.to_string()))),
    };
    let Ok(address) = place.address.parse() else {
        let message = format!("{} is not an address of a name server", place.address);
        return Ok(Err(("NameServerUnreachable", message)));
    };
    Ok(Ok(Server {
        address,
        key_name: place.key_name.clone(),
        key,
    }))
}

/// The records of a stack's machines in a view.
pub(super) fn wanted(
    stack: &ClearwaterStack,
    (ledger, plan): (&Ledger, &Plan),
    health: &BTreeMap<String, Health>,
    view: DnsView,
) -> Records {
    let machines = ledger.machines.iter();
    let serving = machines.filter(|(name, record)| serves((name, record), (ledger, plan), health));
    let nodes = serving.filter_map(|(name, record)| Node::of(&stack.spec, name, record));
    let nodes: Vec<Node> = nodes.collect();
    records(&stack.spec.domain, &nodes, view)
}

/// Why nothing can be said of the machines, so that names stay as they are: so much looks dead that it
/// may be us, or the manifest cannot be planned at all.
pub(super) fn unknown(ledger: &Ledger, plan: &Plan) -> Option<(&'static str, &'static str)> {
    let judged = |(name, record): (&String, &MachineRecord)| {
        record.retiring || plan.machines.contains_key(name)
    };
    if plan.held_back.is_some() {
        Some(("TooManyUnhealthy", "names stay as they are: see `Degraded`"))
    } else if !ledger.machines.iter().all(judged) {
        let message = "names stay as they are while nothing can be planned: see `Ready`";
        Some(("NotPlanned", message))
    } else {
        None
    }
}

/// Whether a machine serves, and nobody is about to take it away. Unknown is not gone: one that
/// served still does while a new controller has not probed it, or while nobody knows why a list lacks
/// its VM.
fn serves(
    (name, record): (&String, &MachineRecord),
    (ledger, plan): (&Ledger, &Plan),
    health: &BTreeMap<String, Health>,
) -> bool {
    let subject = machine_subject(name);
    let pending = ledger.pending_on(&subject);
    let leaving = pending.is_some_and(|pending| check::takes_away(&pending.action));
    let view = plan.machines.get(name);
    let ready = view.is_some_and(|view| view.ready);
    let unprobed = view.is_some_and(|view| view.phase == Phase::Starting)
        && record.served_at.is_some()
        && !health.contains_key(name);
    let mut waits = plan.waits.iter();
    let unsure = waits.any(|wait| wait.subject == subject && wait.reason == CONFIRMING)
        && record.started_at.is_some()
        && !matches!(health.get(name), Some(Health::Failing { .. }));
    (ready || unprobed || unsure) && !leaving && !record.retiring && !record.updating
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        plan::{MachineView, Wait},
        types::{
            action::Action,
            id::{JobId, VmId},
            ledger::Pending,
        },
    };

    const NAME: &str = "ims-sprout-0";

    /// Whether a machine that served at some time is found, after a change of what is known of it.
    fn found(change: impl FnOnce(&mut MachineRecord, &mut MachineView, &mut Ledger)) -> bool {
        found_beside(&[], change)
    }

    fn found_beside(
        waits: &[Wait],
        change: impl FnOnce(&mut MachineRecord, &mut MachineView, &mut Ledger),
    ) -> bool {
        let host = NAME.to_owned();
        let mut record = MachineRecord::new(Role::Sprout, 0, host, Ipv4Addr::LOCALHOST);
        record.begins(Timestamp::UNIX_EPOCH);
        record.served_at = Some(Timestamp::UNIX_EPOCH);
        let mut view = MachineView {
            phase: Phase::Running,
            ready: true,
            ..MachineView::default()
        };
        let mut ledger = Ledger::default();
        change(&mut record, &mut view, &mut ledger);
        let mut plan = Plan {
            waits: waits.to_vec(),
            ..Plan::default()
        };
        plan.machines.insert(NAME.to_owned(), view);
        serves(
            (&NAME.to_owned(), &record),
            (&ledger, &plan),
            &BTreeMap::new(),
        )
    }

    fn pending(action: Action) -> Pending {
        Pending {
            subject: machine_subject(NAME),
            action,
            reason: String::new(),
            job: JobId::new("job"),
            since: Timestamp::UNIX_EPOCH,
            resource: None,
        }
    }

    #[test]
    fn a_machine_is_found_while_it_serves_and_nobody_takes_it_away() {
        assert!(found(|_, _, _| {}));
        assert!(!found(|_, view, _| view.ready = false));
        assert!(!found(|record, _, _| record.retiring = true));
        assert!(!found(|record, _, _| record.updating = true));
        let vm = VmId::new("vm");
        let stop = Action::StopVm { vm: vm.clone() };
        assert!(!found(|_, _, ledger| ledger.pending.push(pending(stop))));
        let start = Action::StartVm { vm };
        assert!(found(|_, _, ledger| ledger.pending.push(pending(start))));
    }

    #[test]
    fn a_machine_that_a_new_controller_has_not_probed_yet_is_still_found() {
        let unprobed = |view: &mut MachineView| {
            (view.phase, view.ready) = (Phase::Starting, false);
        };
        assert!(found(|_, view, _| unprobed(view)));
        assert!(!found(|record, view, _| {
            unprobed(view);
            record.served_at = None;
        }));
    }

    #[test]
    fn a_machine_whose_vm_a_list_lacks_is_found_until_it_is_known_to_be_gone() {
        let wait = Wait {
            subject: machine_subject(NAME),
            reason: CONFIRMING,
            message: String::new(),
            running: None,
            since: None,
        };
        let missing = |view: &mut MachineView| {
            (view.phase, view.ready) = (Phase::Unhealthy, false);
        };
        let waits = [wait];
        assert!(found_beside(&waits, |_, view, _| missing(view)));
        assert!(!found(|_, view, _| missing(view)));
        assert!(!found_beside(&waits, |record, view, _| {
            missing(view);
            record.ends();
        }));
    }
}
