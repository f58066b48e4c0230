//! What machines are told: by whom the site's etcd is founded, what a Secret changes, what is missing.

use std::{collections::BTreeMap, net::Ipv4Addr};

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{None, World};
use crate::{
    bootstrap::Secrets,
    plan::{Health, Plan, Step, plan},
    types::{
        action::{Action, VmChange},
        core::Secret,
        inventory::VmState,
        ledger::Ledger,
        role::Role,
    },
};

const SIGNUP: &str = "signup-Zb3x91";

/// All that a stack's Secret needs, with a change merged into it.
fn secrets(change: &Value) -> Secrets {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "ims-secrets", "namespace": "default"},
        "stringData": {
            "signupKey": SIGNUP, "turnWorkaround": "turn-Qm5r22",
            "ellisApiKey": "api-Lw8t33", "ellisCookieKey": "cookie-Xd1v44",
        },
    });
    json_patch::merge(&mut secret, &json!({"stringData": change}));
    Secrets::of(&serde_json::from_value::<Secret>(secret).unwrap())
}

/// Two sprouts, a homestead, a bono and an ellis that say how they become Clearwater's.
fn small() -> World {
    let off = json!({"replicas": 0});
    let mut world = World::new(&json!({"sprout": {"replicas": 2}, "homer": off, "ralf": off}));
    let bootstrap = json!({"secretRef": {"name": "ims-secrets"}});
    world.stack.spec.bootstrap = serde_json::from_value(bootstrap).unwrap();
    world.secrets = Some(secrets(&json!({})));
    world
}

/// The same, up for longer than a start may take, so that its etcd is founded.
fn settled() -> World {
    let mut world = small();
    world.settle();
    world.now += SignedDuration::from_mins(21);
    world.settle();
    world
}

fn scale(world: &mut World, role: Role, replicas: u32) {
    let mut components = serde_json::to_value(&world.stack.spec.components).unwrap();
    components[role.name()]["replicas"] = replicas.into();
    world.stack.spec.components = serde_json::from_value(components).unwrap();
}

/// What steps tell machines, by subject.
fn told(steps: &[Step]) -> BTreeMap<&str, &str> {
    let text = |step: &Step| match &step.action {
        Action::DeployVm(deploy) => Some(deploy.user_data.expose().to_owned()),
        Action::UpdateVm {
            change: VmChange::UserData { text, .. },
            ..
        } => Some(text.expose().to_owned()),
        _ => None,
    };
    let texts = steps
        .iter()
        .filter_map(|step| Some((step.subject.as_str(), text(step)?)));
    texts
        .map(|(subject, text)| (subject, &*text.leak()))
        .collect()
}

/// The line of a machine's text that begins with a word.
fn line<'a>(text: &'a str, word: &str) -> &'a str {
    let start = format!("# {word} ");
    let found = text.lines().find_map(|line| line.strip_prefix(&*start));
    found.unwrap_or_else(|| panic!("no line of {word}"))
}

/// All steps until nothing is wanted.
fn all_steps(world: &mut World) -> Vec<Step> {
    let mut all = Vec::new();
    for _ in 0..100 {
        let before = world.ledger.clone();
        let (plan, steps) = world.round();
        assert!(plan.drift.is_empty(), "{:?}", plan.drift);
        if steps.is_empty() && plan.ledger == before {
            return all;
        }
        all.extend(steps);
    }
    panic!("not settled: {all:#?}");
}

fn outdated(world: &World) -> Vec<String> {
    let plan = plan(world.input(&None::default()));
    let machines = plan.machines.into_iter().filter(|(_, view)| !view.updated);
    machines.map(|(name, _)| name).collect()
}

fn blocked(plan: &Plan) -> Vec<(&str, &str)> {
    let all = plan.blocked.iter();
    all.map(|wait| (wait.reason, wait.message.as_str()))
        .collect()
}

#[test]
fn one_machine_founds_and_all_know_each_other_from_the_start() {
    let mut world = small();
    let steps = all_steps(&mut world);
    let told = told(&steps);
    assert_eq!(told.len(), 5, "each is told once: {:?}", told.keys());
    let sprout = world.ledger.machines["ims-sprout-0"].private_address;
    for (subject, text) in told {
        let etcd = line(text, "etcd");
        if subject == "machine ims-sprout-0" {
            assert_eq!(etcd, format!("founds {sprout}"));
        } else {
            assert!(etcd.starts_with("joins ") && etcd.contains(&sprout.to_string()));
        }
        assert!(line(text, "peers").len() > 8, "{text}");
        assert_eq!(line(text, "machine"), &subject["machine ".len()..]);
        assert_eq!(text.contains(SIGNUP), subject == "machine ims-sprout-0");
    }
    assert_eq!(outdated(&world), [""; 0]);
}

#[test]
fn a_founder_that_nobody_asks_is_given_the_time_of_a_start() {
    let mut world = small();
    world.settle();
    world.now += SignedDuration::from_mins(19);
    assert_eq!(world.settle(), [""; 0]);
    assert!(!world.ledger.etcd_founded);
    world.now += SignedDuration::from_mins(2);
    let steps = all_steps(&mut world);
    assert_eq!(steps.len(), 1, "{steps:#?}");
    assert!(world.ledger.etcd_founded);
    let told = told(&steps)["machine ims-sprout-0"];
    let others = world.ledger.machines.values();
    let others = others.filter(|record| (record.role, record.index) != (Role::Sprout, 0));
    for other in others {
        let known = line(told, "etcd").contains(&other.private_address.to_string());
        assert!(line(told, "etcd").starts_with("joins ") && known);
    }
    assert_eq!(outdated(&world), [""; 0], "it takes no new image");
}

#[test]
fn a_founder_that_is_asked_has_founded_when_it_has_served() {
    let mut world = small();
    let sprout = json!({"replicas": 2, "probe": {"kind": "TCP", "port": 5054}});
    world.stack.spec.components.sprout = serde_json::from_value(sprout).unwrap();
    world.settle();
    world.now += SignedDuration::from_mins(5);
    world.settle();
    assert!(!world.ledger.etcd_founded);
    let mut none = None::default();
    none.1.insert("ims-sprout-1".to_owned(), Health::Serving);
    world.ledger = plan(world.input(&none)).ledger;
    assert!(!plan(world.input(&none)).ledger.etcd_founded, "not another");
    none.1.insert("ims-sprout-0".to_owned(), Health::Serving);
    world.ledger = plan(world.input(&none)).ledger;
    let next = plan(world.input(&none));
    assert!(next.ledger.etcd_founded);
    assert_eq!(told(&next.steps).len(), 1, "{:#?}", next.steps);
    // A crash before that was stored, and one after: the machine is told the same.
    assert_eq!(plan(world.input(&none)).steps, next.steps);
    world.ledger = next.ledger;
    assert_eq!(plan(world.input(&none)).steps, next.steps);
}

#[test]
fn a_founder_made_anew_founds_until_it_has_been_up_and_then_joins() {
    for (minutes, how) in [(5, "founds "), (30, "joins ")] {
        let mut world = small();
        world.settle();
        world.now += SignedDuration::from_mins(minutes);
        world.settle();
        let old = world.vm_id("ims-sprout-0");
        world.inventory.vms.remove(&old);
        let mut steps = Vec::new();
        while told(&steps).is_empty() {
            steps = world.round().1;
        }
        assert!(line(told(&steps)["machine ims-sprout-0"], "etcd").starts_with(how));
    }
}

#[test]
fn when_every_member_is_gone_the_founder_founds_anew() {
    let mut world = settled();
    assert!(world.ledger.etcd_founded);
    world.inventory.vms.clear();
    world.stack.spec.remediation.max_unhealthy = serde_json::from_value(json!("100%")).unwrap();
    let mut founds = 0;
    for _ in 0..30 {
        let (_, steps) = world.round();
        let told = told(&steps);
        founds += told
            .values()
            .filter(|text| line(text, "etcd").starts_with("founds "))
            .count();
    }
    assert_eq!(founds, 1);
    assert!(!world.ledger.etcd_founded, "until that one has been up");
}

#[test]
fn scale_out_joins_and_takes_no_new_image() {
    let mut world = settled();
    scale(&mut world, Role::Sprout, 3);
    let steps = all_steps(&mut world);
    let told = told(&steps);
    assert_eq!(told.len(), 6, "{:?}", told.keys());
    let new = world.ledger.machines["ims-sprout-2"].private_address;
    for (subject, text) in &told {
        assert!(line(text, "etcd").starts_with("joins "), "{subject}");
        assert!(text.contains(&format!("{new}")), "{subject}");
    }
    let own = line(told["machine ims-sprout-2"], "etcd");
    let own = own
        .split(' ')
        .skip(1)
        .map(|word| word.parse::<Ipv4Addr>().unwrap());
    assert!(own.clone().count() == 5 && !own.clone().any(|address| address == new));
    let quiet = |step: &Step| step.disrupts.is_none() && step.repairs.is_none();
    assert!(steps.iter().all(quiet));
    assert_eq!(outdated(&world), [""; 0]);
    assert_eq!(world.settle(), [""; 0]);
}

#[test]
fn a_rotated_secret_is_written_where_it_is_used_and_images_nothing() {
    let mut world = settled();
    world.secrets = Some(secrets(&json!({"signupKey": "signup-Yy7u55"})));
    let steps = all_steps(&mut world);
    let told = told(&steps);
    assert_eq!(steps.len(), 1, "{steps:#?}");
    assert!(told["machine ims-sprout-0"].contains("signup-Yy7u55"));
    assert_eq!(outdated(&world), ["ims-sprout-0"]);
    // Its next image has it.
    world.stack.metadata.generation = Some(2);
    world.stack.spec.template = serde_json::from_value(json!({"name": "Ubuntu 2"})).unwrap();
    world.settle();
    assert_eq!(outdated(&world), [""; 0]);
}

#[test]
fn what_somebody_else_wrote_is_drift_and_put_right() {
    let mut world = settled();
    world.vm("ims-bono-0").user_data_hash = Some("theirs".to_owned());
    let (plan, steps) = world.round();
    assert_eq!(plan.drift.len(), 1);
    assert_eq!(told(&steps).len(), 1);
    assert!(steps[0].repairs.is_some());
}

#[test]
fn without_its_secret_nothing_of_a_new_stack_is_made() {
    let mut world = small();
    world.secrets = Option::None;
    let (plan, steps) = world.round();
    assert!(steps.is_empty() && world.ledger.is_empty(), "{steps:?}");
    let [(reason, message)] = blocked(&plan)[..] else {
        panic!("{:?}", plan.blocked)
    };
    assert_eq!(reason, "SecretNotFound");
    assert!(
        message.contains("default/ims-secrets does not exist"),
        "{message}"
    );
    for (key, value) in [
        ("turnWorkaround", Value::Null),
        ("ellisApiKey", json!("a b c d e f")),
    ] {
        world.secrets = Some(secrets(&json!({key: value})));
        let (plan, steps) = world.round();
        assert!(steps.is_empty() && world.ledger.is_empty(), "{steps:?}");
        let [(reason, message)] = blocked(&plan)[..] else {
            panic!("{:?}", plan.blocked)
        };
        assert_eq!(reason, "SecretUnusable");
        let named = message.contains("default/ims-secrets") && message.contains(key);
        assert!(named && !message.contains("a b c"), "{message}");
    }
    world.secrets = Some(secrets(&json!({})));
    world.settle();
}

#[test]
fn running_machines_are_left_alone_and_healed_while_the_secret_is_gone() {
    let mut world = settled();
    let there = world.secrets.take();
    let (plan, steps) = world.round();
    assert!(steps.is_empty() && plan.drift.is_empty(), "{steps:?}");
    assert_eq!(blocked(&plan)[0].0, "SecretNotFound");
    assert_eq!(plan.blocked.len(), 1, "told once: {:?}", plan.blocked);
    assert_eq!(outdated(&world), [""; 0], "nobody can say that they are");
    world.vm("ims-sprout-1").state = VmState::Stopped;
    scale(&mut world, Role::Sprout, 3);
    let (_, steps) = world.round();
    let commands: Vec<_> = steps.iter().map(|step| step.action.command()).collect();
    assert_eq!(commands, ["startVirtualMachine"], "{steps:#?}");
    assert_eq!(world.round().1, [], "no machine is deployed");
    // Nor where it is another machine that lacks something.
    world.secrets = Some(secrets(&json!({"ellisApiKey": null})));
    let (plan, steps) = world.round();
    assert_eq!(steps, [], "{:?}", blocked(&plan));
    world.secrets = there;
    let taken = world.settle();
    let deploys = taken.iter().filter(|step| step.starts_with("deploy"));
    assert_eq!(deploys.count(), 1, "{taken:?}");
}

#[test]
fn a_ledger_of_before_is_read_and_no_machine_gets_a_new_image_for_it() {
    fn old(ledger: &Ledger) -> Ledger {
        let mut old = serde_json::to_value(ledger).unwrap();
        old.as_object_mut().unwrap().remove("etcdFounded");
        for record in old["machines"].as_object_mut().unwrap().values_mut() {
            record.as_object_mut().unwrap().remove("userDataImage");
            let image = record["image"].as_object_mut().unwrap();
            image.remove("bootstrapped");
        }
        serde_json::from_value(old).unwrap()
    }
    // Without `spec.bootstrap` nothing changes.
    let mut world = super::settled();
    world.ledger = old(&world.ledger);
    assert_eq!(world.settle(), [""; 0]);
    assert_eq!(outdated(&world), [""; 0]);
    // With it, machines that were given a few lines are told more, and are outdated until somebody
    // replaces them. None of them has founded an etcd.
    let bootstrap = json!({"secretRef": {"name": "ims-secrets"}});
    world.stack.spec.bootstrap = serde_json::from_value(bootstrap).unwrap();
    world.secrets = Some(secrets(&json!({})));
    world.now += SignedDuration::from_hours(1);
    let taken = world.settle();
    assert_eq!(taken.len(), 5, "{taken:?}");
    let updates = taken
        .iter()
        .filter(|step| step.starts_with("updateVirtual"));
    assert_eq!(updates.count(), 5, "{taken:?}");
    assert_eq!(outdated(&world).len(), 5);
    assert!(!world.ledger.etcd_founded);
}

#[test]
fn no_secret_is_in_a_plan_or_a_ledger() {
    let mut world = small();
    let mut seen = String::new();
    for round in 0..20 {
        let (plan, steps) = world.round();
        seen += &format!("{plan:?}{steps:?}{:?}", world.memo);
        seen += &serde_json::to_string(&world.ledger).unwrap();
        seen += &serde_json::to_string(&world.preview()).unwrap();
        if round == 10 {
            world.secrets = Some(secrets(&json!({"signupKey": "signup-Yy7u55"})));
        }
    }
    for value in [
        SIGNUP,
        "turn-Qm5r22",
        "api-Lw8t33",
        "cookie-Xd1v44",
        "signup-Yy7u55",
    ] {
        assert!(!seen.contains(value), "{value}");
    }
    assert!(seen.contains("deployVirtualMachine"));
}

#[test]
fn what_is_remembered_is_what_would_be_made() {
    let mut world = settled();
    let warm = plan(world.input(&None::default()));
    world.memo = crate::bootstrap::Memo::default();
    let cold = plan(world.input(&None::default()));
    assert_eq!(warm.steps, cold.steps);
    assert_eq!(warm.machines, cold.machines);
    // Whatever is changed is seen through what is remembered.
    for change in [
        json!({"domain": "ims.example.org"}),
        json!({"bootstrap": {"secretRef": {"name": "ims-secrets"}, "site": "site2"}}),
        json!({"bootstrap": {"secretRef": {"name": "ims-secrets"}, "userSettings": {"log_level": "5"}}}),
    ] {
        let mut spec = serde_json::to_value(&world.stack.spec).unwrap();
        json_patch::merge(&mut spec, &change);
        world.stack.spec = serde_json::from_value(spec).unwrap();
        assert_eq!(told(&all_steps(&mut world)).len(), 5, "{change}");
    }
}

#[test]
fn a_managed_list_lets_pings_in_after_the_rules_of_the_manifest() {
    let mut world = small();
    let deny = json!([{"protocol": "icmp", "action": "Deny", "cidrs": ["198.51.100.0/24"]}]);
    world.stack.spec.network.rules = serde_json::from_value(deny).unwrap();
    world.settle();
    let rules = world.inventory.rules.values();
    let mut icmp: Vec<_> = rules
        .filter(|rule| rule.protocol == Some(crate::types::role::Protocol::Icmp))
        .collect();
    icmp.sort_by_key(|rule| rule.number);
    let told = icmp.iter().map(|rule| {
        let ranges: Vec<_> = rule.cidrs.iter().map(ToString::to_string).collect();
        format!(
            "{:?} {:?} {}",
            rule.action,
            rule.direction,
            ranges.join(",")
        )
    });
    let told: Vec<_> = told.collect();
    assert_eq!(
        told,
        ["Deny Ingress 198.51.100.0/24", "Allow Ingress 0.0.0.0/0"]
    );
    let last = world.inventory.rules.values().map(|rule| rule.number).max();
    assert_eq!(Some(icmp[1].number), last, "so that no other moves");
}
