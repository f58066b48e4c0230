//! `weir diff` tells beforehand what `apply` then does: the steps that it lists are compared with
//! the commands that the simulator received.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::stage::reads;

use super::{
    lab::{Lab, run, until},
    told::snapshot,
};

/// Commands whose requests say by the id of a VM or a rule whom they are for; others are compared
/// by how often they were sent.
const NAMED: [&str; 10] = [
    "deployVirtualMachine",
    "startVirtualMachine",
    "stopVirtualMachine",
    "destroyVirtualMachine",
    "restoreVirtualMachine",
    "updateVirtualMachine",
    "changeServiceForVirtualMachine",
    "createNetworkACL",
    "updateNetworkACLItem",
    "deleteNetworkACL",
];

/// Commands and whom they were for, with how often.
type Commands = BTreeMap<String, usize>;

fn count(commands: impl Iterator<Item = String>) -> Commands {
    let mut counted = Commands::new();
    for command in commands {
        *counted.entry(command).or_default() += 1;
    }
    counted
}

/// What ids in a request stand for: machines by their VM, rules by their number.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    /// Learns what there is now; what is gone, or has another name now, stays known.
    fn learn(&mut self, lab: &Lab) {
        let state: Value = serde_json::from_str(&lab.http("GET", "/sim/state", "")).unwrap();
        let vms = state["vms"].as_array().into_iter().flatten();
        for vm in vms {
            let (id, name) = (vm["id"].as_str().unwrap(), vm["name"].as_str().unwrap());
            let known = self.0.entry(id.to_owned());
            known.or_insert_with(|| format!("machine {name}"));
        }
        let lists = state["rules"].as_array().into_iter().flatten();
        for rule in lists.flat_map(|list| list["rules"].as_array().unwrap()) {
            let id = rule["id"].as_str().unwrap().to_owned();
            self.0.insert(id, format!("rule {}", rule["number"]));
        }
    }

    /// A request as a preview would say it.
    fn told(&self, request: &Value) -> String {
        let command = request["command"].as_str().unwrap();
        let parameters = &request["params"];
        let text = |name: &str| parameters[name].as_str();
        let known = |id: Option<&str>| id.and_then(|id| self.0.get(id)).cloned();
        let whom = match command {
            "deployVirtualMachine" => text("displayname").map(|name| format!("machine {name}")),
            "createNetworkACL" => text("number").map(|number| format!("rule {number}")),
            _ if NAMED.contains(&command) => known(text("id")).or(known(text("virtualmachineid"))),
            _ => None,
        };
        format!("{command} {}", whom.unwrap_or_default())
    }
}

/// The commands since the first `from` requests that changed something.
fn sent(lab: &Lab, from: usize, names: &Names) -> Commands {
    let requests = requests(lab);
    let writes = requests[from..].iter().filter(|request| {
        let command = request["command"].as_str().unwrap();
        !reads(command)
    });
    count(writes.map(|request| names.told(request)))
}

fn requests(lab: &Lab) -> Vec<Value> {
    serde_json::from_str(&lab.http("GET", "/sim/requests", "")).unwrap()
}

/// The steps that `diff` lists, said as [`Names::told`] says requests.
fn previewed(lab: &Lab, manifest: &str, names: &Names) -> Commands {
    let told = run(lab.dir(), &["diff", "-o", "json", "-f", "-"], manifest);
    assert_eq!(told.code, 1, "{told}");
    let plan: Value = serde_json::from_str(&told.out).unwrap();
    let steps = plan["differences"][0]["steps"].as_array().unwrap();
    count(steps.iter().map(|step| {
        let (command, subject) = (step["command"].as_str().unwrap(), &step["subject"]);
        let subject = subject.as_str().unwrap();
        let vm = subject.strip_prefix("vm ").and_then(|id| names.0.get(id));
        let subject = vm.map_or(subject, String::as_str);
        let named = NAMED.contains(&command);
        format!("{command} {}", if named { subject } else { "" })
    }))
}

/// Previews a manifest, applies it, and compares once there is nothing left to do.
#[track_caller]
fn does_what_it_says(lab: &Lab, what: &str, manifest: &str) {
    let mut names = Names::default();
    names.learn(lab);
    let wanted = previewed(lab, manifest, &names);
    let before = requests(lab).len();
    lab.apply("default", manifest).done();
    until(&format!("{what}: nothing is left to do"), || {
        names.learn(lab);
        let told = run(lab.dir(), &["diff", "-f", "-"], manifest);
        let pending = lab.member("stack ims", "/status/ledger/pending");
        let quiet = told.code == 0 && pending.is_null();
        quiet
            .then_some(())
            .ok_or_else(|| format!("{told}\n{pending}"))
    });
    let sent = sent(lab, before, &names);
    let all: BTreeSet<&String> = sent.keys().chain(wanted.keys()).collect();
    let differ = all
        .into_iter()
        .filter(|command| sent.get(*command) != wanted.get(*command));
    let differ: Vec<_> = differ
        .map(|command| (command, sent.get(command), wanted.get(command)))
        .collect();
    assert!(
        differ.is_empty(),
        "{what}: command, times sent, times previewed: {differ:#?}"
    );
}

const SNMP: &str = "  network: {rules: [{protocol: udp, startPort: 161, reason: SNMP}]}\n";

#[test]
fn apply_takes_the_steps_that_diff_lists_and_then_there_is_none() {
    let lab = Lab::start();
    let stack = |more: &str| super::lab::stack("ims", more);
    let told = run(lab.dir(), &["diff", "-f", "-"], &stack(SNMP));
    snapshot("diff_before_a_stack_is_made", &told);
    does_what_it_says(&lab, "create", &stack(SNMP));
    let more = stack(SNMP).replace("sprout: {replicas: 2}", "sprout: {replicas: 4}");
    does_what_it_says(&lab, "scale out", &more);
    let fewer = stack(SNMP).replace("sprout: {replicas: 2}", "sprout: {replicas: 1}");
    does_what_it_says(&lab, "scale in", &fewer);
    let larger = fewer.replace("2vCPU-4GB", "4vCPU-8GB");
    does_what_it_says(&lab, "another offering", &larger);
    let newer = larger.replace("Ubuntu 14.04", "Ubuntu 22.04");
    does_what_it_says(&lab, "another template", &newer);
    let closed = newer.replace(SNMP, "");
    does_what_it_says(&lab, "a rule less", &closed);
    let told = run(lab.dir(), &["diff", "-f", "-"], &closed);
    snapshot("diff_after_everything_was_done", &told);
}

#[test]
fn what_a_stack_without_its_secret_would_do_is_told_with_what_it_lacks() {
    let lab = Lab::start();
    let stack = super::lab::stack("ims", "  bootstrap: {secretRef: {name: site}}\n");
    let plan = || {
        let told = run(lab.dir(), &["diff", "-o", "json", "-f", "-"], &stack);
        assert_eq!(told.code, 1, "{told}");
        let plan: Value = serde_json::from_str(&told.out).unwrap();
        plan["differences"][0].clone()
    };
    let (without, blocked) = {
        let plan = plan();
        (plan["steps"].clone(), plan["blocked"].to_string())
    };
    assert!(
        blocked.contains("Secret default/site does not exist"),
        "{blocked}"
    );
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: site}\nstringData: {signupKey: \
                  signup-Zb3x91, turnWorkaround: turn-Qm5r22, ellisApiKey: api-Lw8t33, \
                  ellisCookieKey: cookie-Xd1v44}\n";
    lab.apply("default", secret).done();
    let plan = plan();
    assert_eq!(plan["steps"], without);
    assert_eq!(plan["blocked"], Value::Array(Vec::new()));
}

#[test]
fn a_diff_that_cannot_be_made_ends_with_more_than_1() {
    let lab = Lab::start();
    let nowhere = super::lab::stack("ims", "").replace("cloud", "nowhere");
    let told = run(lab.dir(), &["diff", "-f", "-"], &nowhere);
    snapshot("diff_without_an_account", &told);
    assert!(told.code > 1, "{told}");
    let told = run(lab.dir(), &["diff", "-f", "absent.yaml"], "");
    snapshot("diff_without_a_file", &told);
    assert!(told.code > 1, "{told}");
    assert_eq!(lab.member("stacks", "/items"), Value::Array(Vec::new()));
}
