//! Several controllers on one etcd: one leads, the others stand by; a leader that dies, stops or
//! sleeps is replaced, and one that wakes up changes nothing.

use serde_json::Value;

use super::{
    etcd::{KEYS, lab_on, machines, now},
    lab::{Lab, Server, account, run, stack, until},
};
use crate::store::server;

/// Another controller on the same etcd, with a state folder of its own, which stands by.
pub(crate) fn second(lab: &Lab, etcd: &server::Server) -> Server {
    let words = ["controller", "--state", "second", "--listen", "127.0.0.1:0"];
    let address = etcd.address();
    let words = [
        &words[..],
        &["--store", &address, "--encryption-key-file", KEYS],
    ]
    .concat();
    let server = Server::start(lab.dir(), "second", &words);
    until("the second one stands by", || {
        let log = server.log();
        log.contains("stands by").then_some(()).ok_or(log)
    });
    server
}

/// Asks the second controller.
pub(crate) fn ask(lab: &Lab, words: &str) -> String {
    let words: Vec<_> = words.split(' ').chain(["--state", "second"]).collect();
    run(lab.dir(), &words, "").out
}

pub(crate) fn holder(lab: &Lab) -> String {
    ask(
        lab,
        "get lease weir-controller -o jsonpath={.spec.holderIdentity}",
    )
}

/// Waits until somebody else than `former` leads.
fn handed_over(lab: &Lab, former: &str) {
    until("another one leads", || {
        let holder = holder(lab);
        let other = !holder.is_empty() && holder != former;
        other.then_some(()).ok_or(holder)
    });
}

/// The commands that changed something so far.
fn changes(lab: &Lab) -> Vec<String> {
    let log = lab.http("GET", "/sim/requests", "");
    let log: Value = serde_json::from_str(&log).unwrap();
    let log = log.as_array().cloned().unwrap_or_default();
    let commands = log.iter().filter_map(|one| one["command"].as_str());
    let reads = |command: &&str| command.starts_with("list") || command.starts_with("query");
    commands
        .filter(|command| !reads(command))
        .map(str::to_owned)
        .collect()
}

pub(crate) fn leads(lab: &Lab) -> String {
    until("one leads", || {
        let told = lab.weir("get lease weir-controller -o jsonpath={.spec.holderIdentity}");
        let led = told.code == 0 && !told.out.is_empty();
        led.then_some(told.out.clone()).ok_or(told.to_string())
    })
}

/// The stack is to be ready; asked of the second controller.
fn ready(lab: &Lab) {
    until("the stack is ready", || {
        let phase = ask(lab, "get stack ims -o jsonpath={.status.phase}");
        (phase == "Ready").then_some(()).ok_or_else(|| {
            format!(
                "{phase}\n{}\n{}",
                ask(lab, "describe stack ims"),
                lab.controller.log()
            )
        })
    });
}

#[test]
fn a_leader_that_sleeps_is_replaced_and_changes_nothing_when_it_wakes() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let mut lab = lab_on(&etcd);
    // Few requests a second, so that much is recorded and not sent when it falls asleep.
    let keys = [
        lab.variable("CLOUDSTACK_KEY_TENANT"),
        lab.variable("CLOUDSTACK_SECRET_TENANT"),
    ];
    let account = account("cloud", &lab.endpoint, &keys[0], &keys[1]);
    let slow = account.replace("requestsPerSecond: 500", "requestsPerSecond: 12");
    assert_ne!(slow, account);
    lab.apply("default", &slow).done();
    let former = leads(&lab);
    let mut second = second(&lab, &etcd);
    lab.apply("default", &stack("ims", "")).done();
    until("it has begun", || {
        let sent = changes(&lab);
        let begun = sent.iter().any(|command| command == "createNetwork");
        begun.then_some(()).ok_or_else(|| lab.everything())
    });
    lab.controller.signal("STOP");
    handed_over(&lab, &former);
    ready(&lab);
    assert_eq!(machines(&lab), 4);
    let before = changes(&lab);

    lab.controller.signal("CONT");
    let (status, _) = lab.controller.ended();
    let log = lab.controller.log();
    assert!(
        !status.success() && log.contains("no longer leads"),
        "{log}"
    );
    assert_eq!(changes(&lab), before, "{log}");
    assert!(second.runs(), "{}", second.log());
    ready(&lab);
    assert_eq!(machines(&lab), 4);
}

#[test]
fn whoever_stands_by_takes_over_when_the_leader_dies_or_stops() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let mut lab = lab_on(&etcd);
    lab.account("default");
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    let first = leads(&lab);
    let mut second = second(&lab, &etcd);
    lab.controller.signal("KILL");
    handed_over(&lab, &first);
    lab.broken("stop-vm ims-sprout-0");
    until("the new leader repairs", || {
        let vms = lab.cloud("listVirtualMachines", &[("listall", "true")]);
        let running = vms.to_string().matches("\"Running\"").count();
        (running == 4).then_some(()).ok_or(vms.to_string())
    });
    // The first one is started again and stands by; the second one stops as asked.
    let next = holder(&lab);
    lab.restart();
    second.signal("TERM");
    let (status, _) = second.ended();
    assert!(status.success(), "{}", second.log());
    until("the first one leads again", || {
        let now = leads(&lab);
        (now != next && now != first).then_some(()).ok_or(now)
    });
    lab.ready("default", "ims");
    assert_eq!(machines(&lab), 4);
}
