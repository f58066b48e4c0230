//! Every manifest in `manifests/` is accepted, planned without an obstacle, and comes to be.
//!
//! What a manifest names that only its reader can know (the account's address and keys, the zone,
//! a VPC that exists) is put in; nothing else is changed, but for the probes, since nothing
//! answers in a simulated machine, and for the names, since one account holds them all.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::lab::{Lab, run};
use crate::bootstrap::SECRET;

fn manifest(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "manifests", name]
        .iter()
        .collect();
    fs::read_to_string(path).unwrap()
}

/// The account's manifest with the simulator's address and zone, and its admin's keys, since a tenant's
/// limits are too small for all of them together.
fn account(lab: &Lab) -> String {
    let replacements = [
        ("https://cloud.example.net/client/api", lab.endpoint.clone()),
        ("zurich-1", "Sandbox-simulator".to_owned()),
        ("replace-with-the-api-key", lab.variable("CLOUDSTACK_KEY")),
        (
            "replace-with-the-secret-key",
            lab.variable("CLOUDSTACK_SECRET"),
        ),
    ];
    let text = manifest("account.yaml");
    replacements.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the account's manifest says {from}");
        text.replace(from, to)
    })
}

/// A VPC and an ACL list that somebody made by hand: their ids.
fn somebody_elses(lab: &Lab) -> (String, String) {
    let id = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    let listed = |command: &str, list: &str| id(&lab.cloud(command, &[])[list][0]);
    let zone = listed("listZones", "zone");
    let offering = listed("listVPCOfferings", "vpcoffering");
    let vpc = id(&lab.cloud(
        "createVPC",
        &[
            ("cidr", "10.20.0.0/16"),
            ("displaytext", "by-hand"),
            ("name", "by-hand"),
            ("vpcofferingid", &offering),
            ("zoneid", &zone),
        ],
    ));
    let acl = id(&lab.cloud(
        "createNetworkACLList",
        &[("name", "by-hand"), ("vpcid", &vpc)],
    ));
    (vpc, acl)
}

/// A file's Secret, where it has one, and its stack.
fn parts(text: &str) -> (Option<&str>, &str) {
    match text.rsplit_once("---\n") {
        Some((secret, stack)) => (Some(secret), stack),
        None => (None, text),
    }
}

/// A stack's manifest without probes.
fn unprobed(text: &str) -> String {
    let mut stack: Value = serde_yaml::from_str(text).unwrap();
    let components = stack["spec"]["components"].as_object_mut();
    for component in components.into_iter().flat_map(|all| all.values_mut()) {
        component.as_object_mut().unwrap().remove("probe");
    }
    stack.to_string()
}

#[test]
fn every_manifest_is_accepted_as_it_is_and_comes_to_be() {
    let lab = Lab::empty("instant");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    files.sort();
    for file in &files {
        let path = format!("{folder}/{file}");
        run(lab.dir(), &["apply", "--dry-run", "-f", &path], "").done();
    }
    let nothing = lab.weir("get stacks,accounts,secrets -A -o name").done();
    assert_eq!(nothing, "", "a dry run leaves nothing");

    let (vpc, acl) = somebody_elses(&lab);
    lab.cloud("createSSHKeyPair", &[("name", "ops")]);
    for file in files.iter().filter(|file| *file != "account.yaml") {
        let namespace = file.trim_end_matches(".yaml");
        let text = manifest(file)
            .replace("namespace: default", &format!("namespace: {namespace}"))
            .replace("  name: ims\n", &format!("  name: {namespace}\n"))
            .replace("7d1f0c2e-6a55-4b0e-9a3f-2f4d1f6c8b11", &vpc)
            .replace("0f6b3f0a-93c7-4c1c-8f39-5f0d7f4c2a77", &acl);
        let account = match text.contains("accountRef: {name: demo}") {
            true => account(&lab).replace("name: zurich #", "name: demo #"),
            false => account(&lab),
        };
        lab.namespace(namespace);
        lab.apply(namespace, &account).done();
        let (secret, stack) = parts(&text);
        let plan = || {
            let words = ["diff", "-o", "json", "-n", namespace, "-f", "-"];
            let told = run(lab.dir(), &words, stack);
            assert_eq!(told.code, 1, "{file}: {told}");
            let plan: Value = serde_json::from_str(&told.out).unwrap();
            plan["differences"][0].clone()
        };
        if let Some(secret) = secret {
            lab.apply(namespace, secret).done();
        }
        if secret.is_some_and(|secret| secret.contains("replace-me")) {
            let blocked = plan()["blocked"].to_string();
            assert!(
                blocked.contains("is another key's too"),
                "{file}: {blocked}"
            );
        }
        if secret.is_none_or(|secret| secret.contains("replace-me")) {
            lab.apply(namespace, SECRET).done();
        }
        let plan = plan();
        assert_eq!(plan["blocked"], json!([]), "{file}");
        assert_ne!(plan["steps"], json!([]), "{file}");
        lab.apply(namespace, &unprobed(stack)).done();
    }
    for file in files.iter().filter(|file| *file != "account.yaml") {
        let name = file.trim_end_matches(".yaml");
        lab.ready(name, name);
    }
}
