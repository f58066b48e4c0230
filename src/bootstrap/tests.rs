//! Golden files for each role and layout, and a test for each weakness of the scripts that brought
//! Clearwater up on CloudStack in 2015: hard-coded secrets, no order, no errors, no second run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::types::{
    admission::{FieldValidation, admit},
    meta::Object,
    port::{self, Source},
    role::Protocol,
    stack::ClearwaterStack,
};

const STACK: &str = r#"
apiVersion: weir.dev/v1alpha1
kind: ClearwaterStack
metadata: {name: ims, namespace: default}
spec:
  accountRef: {name: zurich}
  domain: ims.example.com
  template: {name: Ubuntu 14.04}
  serviceOffering: {name: 2vCPU-4GB}
  network: {managementCidrs: [198.51.100.16/28]}
  packages:
    repository: http://mirror.example.net/clearwater
    keyFingerprint: A5A8 AF34 70D8 589E 5AFB  F82E 06DD CB2C 9C05 5EC6
    version: 1.0-160518*
  dns: {mode: Managed}
  bootstrap:
    secretRef: {name: ims-secrets}
    sharedConfig: {reg_max_expires: '300'}
    userSettings: {log_level: '2'}
    sshAuthorizedKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ops]
    ntpServers: [ntp.example.net]
    resolvers: [198.51.100.53]
    logs: {host: logs.example.net}
  components:
    bono: {replicas: 2}
    sprout: {replicas: 2}
    ellis: {numbers: {start: '6505550000', count: 1000}}
"#;

const KEY: &str = include_str!("../types/openpgp/key.asc");

const SECRET: &str = "
metadata: {name: ims-secrets}
stringData:
  signupKey: signup-Zb3x91
  turnWorkaround: turn-Qm5r22
  ellisApiKey: api-Lw8t33
  ellisCookieKey: cookie-Xd1v44
  tsigKey: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
";

/// What is drawn for the tests: all of it must stay where it belongs.
const VALUES: [&str; 5] = [
    "signup-Zb3x91",
    "turn-Qm5r22",
    "api-Lw8t33",
    "cookie-Xd1v44",
    "MDEyMzQ1",
];

/// The stack with a change merged into it.
fn stack(change: &str) -> StackSpec {
    let mut stack: Value = serde_yaml::from_str(STACK).unwrap();
    stack["spec"]["packages"]["key"] = KEY.into();
    json_patch::merge(&mut stack, &serde_yaml::from_str(change).unwrap());
    let object: Object = serde_json::from_value(stack).unwrap();
    let admitted = admit(&object, FieldValidation::Strict).unwrap();
    admitted.object.decode::<ClearwaterStack>().unwrap().spec
}

fn split() -> StackSpec {
    stack("spec: {packages: {release: 129}, components: {vellum: {replicas: 3}}}")
}

fn secrets(change: &str) -> Secrets {
    let mut secret: Value = serde_yaml::from_str(SECRET).unwrap();
    json_patch::merge(&mut secret, &serde_yaml::from_str(change).unwrap());
    secret["apiVersion"] = "v1".into();
    secret["kind"] = "Secret".into();
    let object: Object = serde_json::from_value(secret).unwrap();
    Secrets::of(&object.decode().unwrap())
}

/// Every machine of a stack, with addresses as Weir would give them.
fn machines(spec: &StackSpec) -> Vec<(Role, u32, Ipv4Addr)> {
    let roles = Role::ALL.into_iter();
    let all = roles.flat_map(|role| (0..spec.replicas(role)).map(move |index| (role, index)));
    all.zip(10..)
        .map(|((role, index), last): (_, u32)| (role, index, Ipv4Addr::from(0x0a00_0000 + last)))
        .collect()
}

fn peers(spec: &StackSpec) -> Peers {
    let mut peers = Peers::new();
    for (role, _, address) in machines(spec) {
        peers.entry(role).or_default().push(address);
    }
    peers
}

fn address(spec: &StackSpec, role: Role, index: u32) -> Ipv4Addr {
    let mut all = machines(spec).into_iter();
    all.find(|(r, i, _)| (*r, *i) == (role, index)).unwrap().2
}

fn try_render(
    spec: &StackSpec,
    (role, index): (Role, u32),
    founded: bool,
    secrets: &Secrets,
) -> Result<UserData, Error> {
    let (private, peers) = (address(spec, role, index), peers(spec));
    let public = Ipv4Addr::from(0xcb00_7100 + (u32::from(private) & 0xff));
    render(&Input {
        spec,
        name: &format!("ims-{role}-{index}"),
        role,
        index,
        private,
        public: role.public().then_some(public),
        peers: &peers,
        membership: Membership::of(spec, (role, index, private), &peers, founded),
        secrets,
    })
}

fn user_data(spec: &StackSpec, role: Role, index: u32) -> UserData {
    try_render(spec, (role, index), false, &secrets("{}")).unwrap()
}

fn text(spec: &StackSpec, role: Role, index: u32) -> String {
    user_data(spec, role, index).text.expose().to_owned()
}

/// The texts of all machines of both layouts, by name.
fn all_texts() -> Vec<(String, String)> {
    let of = |spec: StackSpec| {
        let machines = machines(&spec).into_iter();
        let layout = spec.packages.layout().name();
        machines
            .map(|(role, index, _)| (format!("{layout} {role}-{index}"), text(&spec, role, index)))
            .collect::<Vec<_>>()
    };
    [of(stack("{}")), of(split())].concat()
}

/// The files in a text, by path: permissions and content, out of any encoding but compression.
fn files(text: &str) -> BTreeMap<String, (String, String)> {
    let config: Value = serde_yaml::from_str(text).unwrap();
    let files = config["write_files"].as_array().unwrap().iter();
    let word = |file: &Value, name: &str| file[name].as_str().unwrap_or_default().to_owned();
    files
        .map(|file| {
            (
                word(file, "path"),
                (word(file, "permissions"), word(file, "content")),
            )
        })
        .collect()
}

fn file(text: &str, path: &str) -> String {
    let files = files(text);
    let (_, content) = files
        .get(path)
        .unwrap_or_else(|| panic!("no {path} in\n{text}"));
    content.clone()
}

/// The text for people: the scripts, which are the same on all machines, by their names alone.
fn golden(text: &str) -> String {
    let scripts = [
        (include_str!("files/bootstrap.sh"), "files/bootstrap.sh"),
        (include_str!("files/firewall.sh"), "files/firewall.sh"),
        (include_str!("files/live.sh"), "files/live.sh"),
    ];
    let mut told = String::new();
    let mut config: Value = serde_yaml::from_str(text).unwrap();
    let head = text.lines().take_while(|line| line.starts_with('#'));
    head.for_each(|line| told += &format!("{line}\n"));
    let files = config["write_files"].take();
    config.as_object_mut().unwrap().remove("write_files");
    told += &serde_yaml::to_string(&config).unwrap();
    for file in files.as_array().unwrap() {
        let word = |name: &str| file[name].as_str().unwrap_or_default();
        let (path, mode, mut content) = (word("path"), word("permissions"), word("content"));
        if let Some((_, name)) = scripts.iter().find(|(script, _)| *script == content) {
            content = name;
        }
        told += &format!(
            "\n=== {path} {mode} {}\n{}\n",
            word("encoding"),
            content.trim_end()
        );
    }
    told
}

#[test]
fn each_role_of_each_layout_is_as_it_was() {
    for spec in [stack("{}"), split()] {
        let layout = spec.packages.layout();
        for role in Role::ALL.into_iter().filter(|role| layout.has(*role)) {
            let name = format!("{}_{role}", layout.name());
            insta::assert_snapshot!(name, golden(&text(&spec, role, 0)));
        }
    }
    insta::assert_snapshot!("whole", text(&stack("{}"), Role::Homer, 0));
}

#[test]
fn the_same_stack_gives_the_same_bytes() {
    for (role, index, _) in machines(&split()) {
        assert_eq!(
            user_data(&split(), role, index),
            user_data(&split(), role, index)
        );
    }
}

/// Weaknesses 1 and 2: one published word for four secrets, and published keys as defaults.
#[test]
fn w01_secrets_are_four_and_differ() {
    let spec = stack("{}");
    let shared = file(&text(&spec, Role::Sprout, 0), "/etc/weir/shared_config");
    for line in [
        "signup_key=signup-Zb3x91\n",
        "turn_workaround=turn-Qm5r22\n",
        "ellis_api_key=api-Lw8t33\n",
        "ellis_cookie_key=cookie-Xd1v44\n",
    ] {
        assert!(shared.contains(line), "lacks {line}{shared}");
    }
    for (change, words) in [
        ("stringData: {signupKey: null}", "lacks the key `signupKey`"),
        (
            "stringData: {signupKey: turn-Qm5r22}",
            "`signupKey` is another key's too",
        ),
        (
            "stringData: {ellisApiKey: short}",
            "`ellisApiKey` has fewer than 8",
        ),
        (
            "stringData: {turnWorkaround: a$(reboot)b}",
            "`turnWorkaround` has characters that a shell",
        ),
    ] {
        let error = try_render(&spec, (Role::Sprout, 0), false, &secrets(change)).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(words) && told.contains("ims-secrets"),
            "{told}"
        );
        assert!(!VALUES.iter().any(|value| told.contains(value)), "{told}");
    }
}

#[test]
fn w02_no_key_is_anybodys_default() {
    let spec = stack("spec: {bootstrap: {sshAuthorizedKeys: null}}");
    let error = try_render(
        &spec,
        (Role::Dns, 0),
        false,
        &secrets("stringData: {tsigKey: null}"),
    );
    assert!(matches!(error, Err(Error::Missing { key, .. }) if key == "tsigKey"));
    let weak = secrets("stringData: {tsigKey: c2hvcnQ=}");
    let error = try_render(&spec, (Role::Dns, 0), false, &weak).unwrap_err();
    assert!(
        error.to_string().contains("openssl rand -base64 32"),
        "{error}"
    );
    for (machine, text) in all_texts() {
        assert!(!text.contains("mvPC5Zza"), "{machine}");
    }
    let config: Value = serde_yaml::from_str(&text(&spec, Role::Bono, 0)).unwrap();
    assert!(config["ssh_authorized_keys"].is_null() && config["ssh_keys"].is_null());
}

#[test]
fn w03_dns_updates_are_signed_with_sha256() {
    let named = file(
        &text(&stack("{}"), Role::Dns, 0),
        "/etc/weir/named.conf.local",
    );
    assert!(
        named.contains("algorithm hmac-sha256;") && !named.contains("md5"),
        "{named}"
    );
}

/// Weakness 4: every machine carried every secret, and anybody on it could read them.
#[test]
fn w04_secrets_go_where_they_are_needed_and_stay_private() {
    for (machine, text) in all_texts() {
        let found: Vec<_> = VALUES
            .iter()
            .filter(|value| text.contains(**value))
            .collect();
        let expected = match machine.split_once(' ').unwrap().1 {
            "sprout-0" => &VALUES[..4],
            "dns-0" => &VALUES[4..],
            _ => &[],
        };
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{machine}");
        for (path, (mode, content)) in files(&text) {
            let secret = VALUES.iter().any(|value| content.contains(value));
            assert!(!secret || mode == "0600", "{machine}: {path} has {mode}");
        }
    }
    // A secret that is only read where it goes may be missing elsewhere.
    let none = Secrets::default();
    assert!(try_render(&stack("{}"), (Role::Bono, 1), false, &none).is_ok());
    assert!(!format!("{:?}", user_data(&stack("{}"), Role::Sprout, 0)).contains(VALUES[0]));
}

/// Weakness 5: a key fetched without a check, and packages installed without a signature.
#[test]
fn w05_packages_are_checked_against_a_pinned_key() {
    let config = text(&stack("{}"), Role::Bono, 0);
    assert!(files(&config).contains_key("/etc/weir/clearwater.gpg"));
    let script = file(&config, "/usr/local/sbin/weir-bootstrap");
    assert!(script.contains("signed-by=/etc/weir/clearwater.gpg"));
    for word in ["force-yes", "allow-unauthenticated", "apt-key"] {
        assert!(!script.contains(word), "{word}");
    }
    let by_url = stack("spec: {packages: {key: null, keyUrl: 'http://mirror.example.net/key'}}");
    let machine = file(&text(&by_url, Role::Bono, 0), "/etc/weir/machine");
    assert!(machine.contains("KEY_FINGERPRINT='A5A8AF3470D8589E5AFBF82E06DDCB2C9C055EC6'"));
    let mut other = stack("{}");
    other.packages.key_fingerprint = Some("92134604DE327DF7FEB72026111DBE4722B97904".to_owned());
    let error = try_render(&other, (Role::Bono, 0), false, &secrets("{}")).unwrap_err();
    assert!(
        error.to_string().contains("spec.packages.keyFingerprint"),
        "{error}"
    );
}

#[test]
fn w06_a_version_is_held_on_to() {
    let pin = file(
        &text(&stack("{}"), Role::Bono, 0),
        "/etc/apt/preferences.d/clearwater",
    );
    assert!(
        pin.contains("Package: bono restund clearwater-management\n"),
        "{pin}"
    );
    assert!(
        pin.contains("Pin: version 1.0-160518*\nPin-Priority: 1001\n"),
        "{pin}"
    );
    assert!(
        !all_texts()
            .iter()
            .any(|(_, text)| text.contains("latest binary"))
    );
}

/// Weakness 7: a resolver that was written into the scripts, and lost at the next lease.
#[test]
fn w07_resolvers_are_the_stacks_and_outlive_a_lease() {
    for (machine, text) in all_texts() {
        assert!(!text.contains("8.8.8.8"), "{machine}");
    }
    let hook = "/etc/dhcp/dhclient-enter-hooks.d/weir";
    let bono = text(&stack("{}"), Role::Bono, 0);
    assert_eq!(file(&bono, hook), "new_domain_name_servers='10.0.0.10'\n");
    let unmanaged = stack("spec: {dns: null}");
    let bono = text(&unmanaged, Role::Bono, 0);
    assert_eq!(
        file(&bono, hook),
        "new_domain_name_servers='198.51.100.53'\n"
    );
    let unsaid = stack("spec: {dns: null, bootstrap: {resolvers: null}}");
    assert!(!files(&text(&unsaid, Role::Bono, 0)).contains_key(hook));
}

#[test]
fn w08_the_name_server_recurses_for_the_tier_alone() {
    let options = file(
        &text(&stack("{}"), Role::Dns, 0),
        "/etc/weir/named.conf.options",
    );
    assert!(
        options.contains("allow-recursion { localhost; 10.0.0.0/24; };"),
        "{options}"
    );
    assert!(options.contains("allow-transfer { none; };"), "{options}");
    assert!(
        options.contains("forwarders { 198.51.100.53; };"),
        "{options}"
    );
}

#[test]
fn w09_a_failure_ends_the_script_and_is_told() {
    let script = file(
        &text(&stack("{}"), Role::Bono, 0),
        "/usr/local/sbin/weir-bootstrap",
    );
    assert!(script.starts_with("#!/bin/bash\n") && script.contains("\nset -euo pipefail\n"));
    assert!(script.contains("echo \"failed: $step\" | tee /var/lib/weir/state"));
    assert!(script.contains("echo ready >/var/lib/weir/state"));
}

/// Weaknesses 10 and 13: machines wrote their own DNS records, gave up in silence, and never took
/// one back.
#[test]
fn w10_machines_write_no_dns_records() {
    for (machine, text) in all_texts() {
        assert!(!text.contains("nsupdate"), "{machine}");
    }
}

#[test]
fn w11_numbers_wait_for_ellis_and_are_counted() {
    let spec = stack("{}");
    let machine = file(&text(&spec, Role::Ellis, 0), "/etc/weir/machine");
    assert!(
        machine.contains("NUMBERS_START='6505550000'\nNUMBERS_COUNT='1000'\n"),
        "{machine}"
    );
    let other = file(&text(&spec, Role::Bono, 0), "/etc/weir/machine");
    assert!(other.contains("NUMBERS_COUNT=''\n"), "{other}");
    let script = file(
        &text(&spec, Role::Ellis, 0),
        "/usr/local/sbin/weir-bootstrap",
    );
    let at = |words: &str| script.find(words).unwrap_or_else(|| panic!("no {words}"));
    assert!(at("retry 60 5 serves") < at("create_numbers.py"));
    assert!(at("retry 120 5 configured") < at("begin 'numbers'"));
    assert!(script[at("create_numbers.py")..].contains("\n    enough\n"));
}

#[test]
fn w12_the_shared_configuration_goes_into_etcd_once_from_one_machine() {
    let uploading = all_texts().into_iter().filter(|(_, text)| {
        let staged = files(text).contains_key("/etc/weir/shared_config");
        let machine = files(text)["/etc/weir/machine"]
            .1
            .contains("UPLOADS='shared_config scscf_json'");
        assert_eq!(staged, machine);
        assert!(!files(text).contains_key("/etc/clearwater/shared_config"));
        staged
    });
    let names: Vec<String> = uploading.map(|(name, _)| name).collect();
    assert_eq!(names, ["classic sprout-0", "split sprout-0"]);
    let script = file(
        &text(&stack("{}"), Role::Bono, 0),
        "/usr/local/sbin/weir-bootstrap",
    );
    assert!(script.contains("?prevExist=false"));
    assert_eq!(
        uploader(&stack("spec: {components: {sprout: {replicas: 0}}}")),
        (Role::Homestead, 0)
    );
}

#[test]
fn w13_the_zone_is_a_skeleton_that_is_written_once() {
    let dns = text(&stack("{}"), Role::Dns, 0);
    let zone = file(&dns, "/etc/weir/zone");
    assert_eq!(zone.lines().count(), 4, "{zone}");
    let script = file(&dns, "/usr/local/sbin/weir-bootstrap");
    assert!(script.contains("if [ ! -e \"/var/lib/bind/db.$DOMAIN\" ]"));
}

/// Weakness 14: traffic between machines went out to public addresses and back.
#[test]
fn w14_no_machine_knows_anothers_public_address() {
    let spec = stack("{}");
    for (role, index, private) in machines(&spec) {
        let text = text(&spec, role, index);
        let own = format!("203.0.113.{}", u32::from(private) & 0xff);
        let others = text.match_indices("203.0.113.").filter(|(at, _)| {
            let end = text[*at..]
                .find(|c: char| c != '.' && !c.is_ascii_digit())
                .unwrap();
            text[*at..*at + end] != own
        });
        assert_eq!(others.count(), 0, "{role}-{index}");
    }
    let shared = file(&text(&spec, Role::Sprout, 0), "/etc/weir/shared_config");
    assert!(!shared.contains("203.0.113."), "{shared}");
}

#[test]
fn w15_each_machine_has_a_name_of_its_own() {
    let spec = stack("{}");
    let hosts: BTreeSet<String> = machines(&spec)
        .into_iter()
        .filter(|(role, ..)| *role != Role::Dns)
        .map(|(role, index, _)| {
            let local = file(&text(&spec, role, index), "/etc/weir/local_config");
            let line = local
                .lines()
                .find(|line| line.starts_with("public_hostname="));
            line.unwrap().to_owned()
        })
        .collect();
    assert_eq!(hosts.len(), machines(&spec).len() - 1);
    assert!(
        hosts.contains("public_hostname=ims-bono-1.ims.example.com"),
        "{hosts:?}"
    );
}

#[test]
fn w16_homestead_is_hs() {
    for spec in [stack("{}"), split()] {
        let shared = file(&text(&spec, Role::Sprout, 0), "/etc/weir/shared_config");
        assert!(
            shared.contains("hs_hostname=hs.ims.example.com:8888\n"),
            "{shared}"
        );
        assert!(
            shared.contains("hs_provisioning_hostname=hs.ims.example.com:8889\n"),
            "{shared}"
        );
    }
    let hss = stack("spec: {bootstrap: {hss: {hostname: hss.example.net, realm: example.net}}}");
    let shared = file(&text(&hss, Role::Sprout, 0), "/etc/weir/shared_config");
    assert!(
        shared.contains("hss_hostname=hss.example.net\nhss_realm=example.net\nhss_port=3868\n")
    );
    assert!(!shared.contains("hs_provisioning_hostname"), "{shared}");
}

#[test]
fn w17_bono_relays_media() {
    for spec in [stack("{}"), split()] {
        assert!(packages(Role::Bono, spec.packages.layout()).contains(&"restund"));
    }
}

/// Weaknesses 18 and 19: a list of six founders with one twice and one missing, in every image.
#[test]
fn w18_membership_is_the_machines_own() {
    for spec in [stack("{}"), split()] {
        let (peers, all) = (peers(&spec), machines(&spec));
        let addresses: BTreeSet<Ipv4Addr> = all.iter().map(|(.., address)| *address).collect();
        for machine in all {
            let (Membership::Founds(told) | Membership::Joins(told) | Membership::Proxies(told)) =
                Membership::of(&spec, machine, &peers, true)
            else {
                assert_eq!(machine.0, Role::Dns);
                continue;
            };
            let distinct: BTreeSet<Ipv4Addr> = told.iter().copied().collect();
            assert_eq!(distinct.len(), told.len(), "{machine:?}: {told:?}");
            assert!(
                !told.is_empty() && distinct.is_subset(&addresses),
                "{machine:?}"
            );
            assert!(!told.contains(&machine.2), "{machine:?} waits for itself");
            let dns = &peers[&Role::Dns];
            assert!(
                !told.iter().any(|address| dns.contains(address)),
                "{machine:?}"
            );
        }
    }
}

#[test]
fn w19_one_machine_founds_and_none_founds_twice() {
    for spec in [stack("{}"), split()] {
        let peers = peers(&spec);
        let founds = |founded| {
            let machines = machines(&spec).into_iter();
            let found = move |machine: &(Role, u32, Ipv4Addr)| {
                matches!(
                    Membership::of(&spec, *machine, &peers, founded),
                    Membership::Founds(_)
                )
            };
            machines.filter(found).collect::<Vec<_>>()
        };
        let first = founds.clone()(false);
        assert_eq!(first.len(), 1, "{first:?}");
        assert_eq!(founds(true), []);
    }
    assert_eq!(founder(&split()), (Role::Vellum, 0));
    // Which it is takes no new image.
    let spec = stack("{}");
    let made = |founded| try_render(&spec, founder(&spec), founded, &secrets("{}")).unwrap();
    let (before, after) = (made(false), made(true));
    assert!(
        before.text.expose().contains("\n# etcd founds 10.0.0.14\n"),
        "{:?}",
        before.text.expose()
    );
    assert!(after.text.expose().contains("\n# etcd joins "));
    assert_ne!(before.hash, after.hash);
    assert_eq!(before.image, after.image);
}

#[test]
fn what_is_remembered_is_forgotten_when_anything_changes() {
    let (spec, secret) = (stack("{}"), secrets("{}"));
    let (memo, peers) = (Memo::default(), peers(&spec));
    let input = Input {
        spec: &spec,
        name: "ims-sprout-0",
        role: Role::Sprout,
        index: 0,
        private: address(&spec, Role::Sprout, 0),
        public: None,
        peers: &peers,
        membership: Membership::Joins(vec![address(&spec, Role::Bono, 0)]),
        secrets: &secret,
    };
    let other_spec = stack("spec: {bootstrap: {site: site2}}");
    let other_secret = secrets("stringData: {signupKey: signup-Yy7u55}");
    let mut other_peers = peers.clone();
    other_peers.get_mut(&Role::Dns).unwrap()[0] = Ipv4Addr::new(10, 0, 0, 99);
    let variants = [
        input.clone(),
        Input {
            spec: &other_spec,
            ..input.clone()
        },
        Input {
            secrets: &other_secret,
            ..input.clone()
        },
        Input {
            peers: &other_peers,
            ..input.clone()
        },
        Input {
            name: "ims-sprout-9",
            ..input.clone()
        },
        Input {
            index: 1,
            ..input.clone()
        },
        Input {
            private: Ipv4Addr::new(10, 0, 0, 98),
            ..input.clone()
        },
        Input {
            public: Some(Ipv4Addr::new(203, 0, 113, 7)),
            ..input.clone()
        },
        Input {
            membership: Membership::Apart,
            ..input
        },
    ];
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        for (place, input) in variants.iter().enumerate() {
            let site = SitePrint::of(input.spec, input.secrets, input.peers);
            let digests = memo.digests(site, input).unwrap();
            assert_eq!(digests.hash, render(input).unwrap().hash, "variant {place}");
            seen.insert(digests.hash);
        }
    }
    assert_eq!(seen.len(), variants.len());
}

/// A cluster of one is gone with its disk: there is nobody to join.
#[test]
fn a_single_member_always_founds() {
    let none = "{replicas: 0}";
    let spec = stack(&format!(
        "spec: {{components: {{bono: {none}, homestead: {none}, homer: {none}, ralf: {none}, \
         ellis: {none}, sprout: {{replicas: 1}}}}}}"
    ));
    let own = address(&spec, Role::Sprout, 0);
    for founded in [false, true] {
        let told = Membership::of(&spec, (Role::Sprout, 0, own), &peers(&spec), founded);
        assert_eq!(told, Membership::Founds(vec![own]));
    }
}

#[test]
fn w20_the_icscf_is_on_and_knows_its_scscf() {
    let sprout = text(&stack("{}"), Role::Sprout, 0);
    let shared = file(&sprout, "/etc/weir/shared_config");
    for line in [
        "icscf=5052\n",
        "upstream_hostname=icscf.sprout.ims.example.com\n",
        "upstream_port=5052\n",
    ] {
        assert!(shared.contains(line), "lacks {line}{shared}");
    }
    let scscf: Value = serde_json::from_str(&file(&sprout, "/etc/weir/scscf_json")).unwrap();
    let server = "sip:scscf.sprout.ims.example.com:5054;transport=TCP";
    assert_eq!(scscf["s-cscfs"][0]["server"], server);
}

#[test]
fn w21_every_machine_follows_the_configuration() {
    for layout in [Layout::Classic, Layout::Split] {
        let roles = Role::ALL.into_iter().filter(|role| layout.has(*role));
        for role in roles.filter(|role| *role != Role::Dns) {
            assert!(
                packages(role, layout).contains(&"clearwater-management"),
                "{role}"
            );
        }
    }
}

/// Weaknesses 22 and 23: rules that had to exist before, and every port open to the world.
#[test]
fn w22_the_rules_follow_from_one_table() {
    for role in Role::ALL {
        let world: Vec<_> = [Layout::Classic, Layout::Split]
            .into_iter()
            .filter(|layout| layout.has(role))
            .flat_map(|layout| port::of(role, layout))
            .filter(|port| port.from == Source::World)
            .map(|port| (port.protocol, port.start, port.end))
            .collect();
        let distinct: BTreeSet<_> = world.into_iter().collect();
        let acl: BTreeSet<_> = role.ports().map(|p| (p.protocol, p.start, p.end)).collect();
        assert_eq!(distinct, acl, "{role}");
    }
}

#[test]
fn w23_only_what_is_meant_for_the_world_is_open_to_it() {
    for (machine, text) in all_texts() {
        let ports = file(&text, "/etc/weir/ports");
        for line in ports.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, start, end, from] = words[..] else {
                panic!("{line}")
            };
            let inner = [
                "2380", "4000", "7000", "7253", "8888", "8889", "9160", "11211", "5058",
            ];
            assert!(
                from != "0.0.0.0/0" || !inner.contains(&start),
                "{machine}: {line}"
            );
            assert!(
                start == end || line == "udp 32768 65535 0.0.0.0/0",
                "{machine}: {line}"
            );
        }
        let firewall = file(&text, "/usr/local/sbin/weir-firewall");
        assert!(firewall.contains(":INPUT DROP [0:0]"));
        for kind in ["0", "3", "8"] {
            assert!(firewall.contains(&format!("--icmp-type {kind} -j ACCEPT")));
        }
    }
    let ports = file(&text(&stack("{}"), Role::Homestead, 0), "/etc/weir/ports");
    assert!(
        ports.contains("tcp 8889 8889 ellis\n") && !ports.contains("8889 8889 bono"),
        "{ports}"
    );
}

#[test]
fn w24_values_are_written_out() {
    let bono = text(&stack("{}"), Role::Bono, 0);
    assert_eq!(
        file(&bono, "/etc/dnsmasq.resolv.conf"),
        "nameserver 10.0.0.10\n"
    );
    for (machine, text) in all_texts() {
        for (path, (mode, content)) in files(&text) {
            let script =
                mode == "0755" || path == "/etc/rsyslog.d/60-weir.conf" || path == "/etc/weir/zone";
            assert!(script || !content.contains('$'), "{machine}: {path}");
        }
    }
}

#[test]
fn w25_sip_is_open_over_udp_too() {
    let ports = file(&text(&stack("{}"), Role::Bono, 0), "/etc/weir/ports");
    for line in ["tcp 5060 5060 0.0.0.0/0\n", "udp 5060 5060 0.0.0.0/0\n"] {
        assert!(ports.contains(line), "{ports}");
    }
    assert!(
        Role::Bono
            .ports()
            .any(|p| (p.protocol, p.start) == (Protocol::Udp, 5060))
    );
}

/// Weakness 26: nobody knew how long user data may be.
#[test]
fn w26_user_data_fits_whatever_the_size_of_the_stack() {
    let length = |text: &str| text.len().div_ceil(3) * 4;
    for (machine, text) in all_texts() {
        assert!(length(&text) <= 32_768, "{machine}: {}", length(&text));
        assert!(!text.contains("gz+b64"), "{machine} is written plainly");
    }
    let most = Role::ALL
        .map(|role| format!("{role}: {{replicas: 50}}"))
        .join(", ");
    let tier = "network: {vpc: {cidr: 10.0.0.0/16}, cidr: 10.0.0.0/20}";
    let huge = stack(&format!("spec: {{{tier}, components: {{{most}}}}}"));
    let sprout = text(&huge, Role::Sprout, 0);
    assert!(length(&sprout) <= 32_768, "{}", length(&sprout));
    let small = stack("spec: {bootstrap: {userDataMax: 15000}}");
    let sprout = text(&small, Role::Sprout, 0);
    assert!(
        length(&sprout) <= 15_000 && sprout.contains("gz+b64"),
        "{}",
        length(&sprout)
    );
    assert_eq!(
        user_data(&small, Role::Sprout, 0).image,
        user_data(&stack("{}"), Role::Sprout, 0).image
    );
    let error = stack("spec: {bootstrap: {userDataMax: 8192}}");
    let error = try_render(&error, (Role::Sprout, 0), false, &secrets("{}")).unwrap_err();
    assert!(
        error.to_string().contains("vm.userdata.max.length"),
        "{error}"
    );
}

/// Weakness 27: a template that ignores user data went unnoticed. What a machine serves is served
/// by nobody before its bootstrap, so a probe of it tells.
#[test]
fn w27_each_role_serves_what_only_a_finished_machine_serves() {
    for layout in [Layout::Classic, Layout::Split] {
        for role in Role::ALL.into_iter().filter(|role| layout.has(*role)) {
            let own = port::of(role, layout).filter(|port| port.role == Some(role));
            let mut probed = own.filter(|port| port.protocol == Protocol::Tcp);
            assert!(probed.any(|port| port.start != 22), "{role}");
        }
    }
    let probe = "spec: {components: {sprout: {probe: {kind: TCP, port: 5053}}}}";
    let ports = file(&text(&stack(probe), Role::Sprout, 0), "/etc/weir/ports");
    assert!(
        ports.contains("tcp 5053 5053 198.51.100.16/28\n"),
        "{ports}"
    );
}

#[test]
fn what_others_there_are_takes_no_new_image() {
    let (two, three) = (
        stack("{}"),
        stack("spec: {components: {bono: {replicas: 3}}}"),
    );
    let (before, after) = (
        user_data(&two, Role::Homer, 0),
        user_data(&three, Role::Homer, 0),
    );
    assert_ne!(before.hash, after.hash);
    assert_eq!(before.image, after.image);
    let told = stack("spec: {bootstrap: {userSettings: {log_level: '5'}}}");
    assert_ne!(before.image, user_data(&told, Role::Homer, 0).image);
}

#[test]
fn a_host_key_goes_to_its_machine() {
    let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n";
    let yaml = serde_json::json!({ "stringData": { "sshHostKey.ims-bono-0": pem } });
    let secrets = secrets(&yaml.to_string());
    let keys = |machine| {
        let text = try_render(&stack("{}"), machine, false, &secrets)
            .unwrap()
            .text;
        let config: Value = serde_yaml::from_str(text.expose()).unwrap();
        config["ssh_keys"].clone()
    };
    assert_eq!(
        keys((Role::Bono, 0)),
        serde_json::json!({ "ecdsa_private": pem })
    );
    assert!(keys((Role::Bono, 1)).is_null());
    let broken = self::secrets("stringData: {sshHostKey: nonsense}");
    let error = try_render(&stack("{}"), (Role::Bono, 1), false, &broken).unwrap_err();
    assert!(error.to_string().contains("`sshHostKey` is not"), "{error}");
}

#[test]
fn names_that_stand_for_others_go_into_etcd_as_well() {
    let spec = stack("spec: {bootstrap: {dnsOverrides: {hs.ims.example.com: hs2.example.net}}}");
    let sprout = text(&spec, Role::Sprout, 0);
    assert!(
        file(&sprout, "/etc/weir/machine").contains("UPLOADS='shared_config scscf_json dns_json'")
    );
    let dns: Value = serde_json::from_str(&file(&sprout, "/etc/weir/dns_json")).unwrap();
    assert_eq!(
        dns["hostnames"][0]["records"][0]["target"],
        "hs2.example.net"
    );
}

#[test]
fn a_role_that_the_layout_lacks_is_refused() {
    let spec = stack("{}");
    let secrets = secrets("{}");
    let error = render(&Input {
        spec: &spec,
        name: "ims-vellum-0",
        role: Role::Vellum,
        index: 0,
        private: Ipv4Addr::new(10, 0, 0, 10),
        public: None,
        peers: &Peers::new(),
        membership: Membership::Apart,
        secrets: &secrets,
    });
    let told = error.unwrap_err().to_string();
    assert_eq!(
        told,
        "spec.packages.release: 98 has the classic layout, which has no vellum"
    );
}
