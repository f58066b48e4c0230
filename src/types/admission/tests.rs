//! Cases are data: a change of a valid object, and words that the answer must hold.

use serde_json::{Value, json};

use super::*;

/// A valid stack with a little of everything that the cases change.
const STACK: &str = "
apiVersion: weir.dev/v1alpha1
kind: ClearwaterStack
metadata: {name: ims, namespace: default}
spec:
  accountRef: {name: zurich}
  domain: ims.example.com
  template: {name: Ubuntu 14.04}
  serviceOffering: {name: 2vCPU-4GB}
  packages: {repository: 'http://mirror.example.net/clearwater'}
";

const ACCOUNT: &str = "
apiVersion: weir.dev/v1alpha1
kind: CloudAccount
metadata: {name: zurich, namespace: default}
spec:
  endpoint: https://cloud.example.net/client/api
  secretRef: {name: zurich-keys}
";

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: zurich-keys, namespace: default}
data: {apiKey: a2V5}
";

/// The manifests that are shipped.
const MANIFESTS: [(&str, &str); 6] = [
    (
        "smallest.yaml",
        include_str!("../../../manifests/smallest.yaml"),
    ),
    (
        "production.yaml",
        include_str!("../../../manifests/production.yaml"),
    ),
    ("demo.yaml", include_str!("../../../manifests/demo.yaml")),
    (
        "account.yaml",
        include_str!("../../../manifests/account.yaml"),
    ),
    (
        "existing-vpc.yaml",
        include_str!("../../../manifests/existing-vpc.yaml"),
    ),
    (
        "external-dns.yaml",
        include_str!("../../../manifests/external-dns.yaml"),
    ),
];

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// A valid object with a change merged into it; null removes a member (RFC 7386).
fn changed(object: &str, change: &str) -> Object {
    let mut object = yaml(object);
    json_patch::merge(&mut object, &yaml(change));
    serde_json::from_value(object).unwrap()
}

fn told(object: &Object) -> String {
    match admit(object, FieldValidation::Strict) {
        Ok(_) => "admitted".to_owned(),
        Err(errors) => errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[track_caller]
fn refused(object: &str, cases: &[(&str, &[&str])]) {
    for (change, words) in cases {
        let told = told(&changed(object, change));
        for word in *words {
            assert!(told.contains(word), "{change}\nlacks `{word}`:\n{told}");
        }
    }
}

#[test]
fn every_shipped_manifest_is_admitted() {
    for (name, text) in MANIFESTS {
        let objects = parse(text, name).unwrap();
        assert!(!objects.is_empty(), "{name}");
        for object in objects {
            assert_eq!(told(&object), "admitted", "{name}");
        }
    }
}

#[test]
fn what_every_form_of_a_field_means_survives_the_types() {
    for change in [
        "spec: {network: {acl: Managed}}",
        "spec: {network: {acl: {id: some-id}}}",
        "spec: {network: {vpc: {cidr: 10.0.0.0/16}}}",
        "spec: {network: {vpc: {id: some-id}}}",
        "spec: {deletionPolicy: Orphan}",
        "spec: {deletionPolicy: {network: Retain}}",
        "spec: {drift: Report}",
        "spec: {drift: {dnsRecord: Report}}",
        "spec: {dns: {mode: External, servers: [{address: 192.0.2.53, secretRef: {name: k}}]}}",
        "spec: {dns: {mode: External, ttl: 1m, servers: [{address: '[2001:db8::53]:5353', \
         view: Public, keyName: weir_key., secretRef: {name: k}}]}}",
        "spec: {drift: {default: Repair, template: Report}}",
        "spec: {remediation: {maxUnhealthy: 40%}}",
        "spec: {remediation: {maxUnhealthy: 2}}",
    ] {
        let object = changed(STACK, change);
        assert_eq!(told(&object), "admitted", "{change}");
        let typed: crate::types::stack::ClearwaterStack = object.decode().unwrap();
        let again: crate::types::stack::ClearwaterStack = Object::encode(&typed).decode().unwrap();
        assert_eq!(typed, again, "{change}");
    }
}

#[test]
fn a_wrong_stack_is_refused_with_field_and_remedy() {
    refused(
        STACK,
        &[
            ("spec: {domian: x}", &["spec.domian", "domain"]),
            ("spec: {domain: null}", &["spec.domain"]),
            (
                "spec: {network: {cidr: 10.0.0.0/33}}",
                &["spec.network.cidr"],
            ),
            (
                "spec: {network: {cidr: 10.9.0.0/24, vpc: {cidr: 10.0.0.0/16}}}",
                &["spec.network.cidr"],
            ),
            (
                "spec: {components: {bono: {replicas: -1}}}",
                &["spec.components.bono.replicas"],
            ),
            (
                "spec: {components: {bono: {addresses: [10.9.9.9]}}}",
                &["spec.components.bono.addresses"],
            ),
            (
                "spec: {components: {bono: {addresses: [10.0.0.20]}, homer: {addresses: [10.0.0.20]}}}",
                &["10.0.0.20"],
            ),
            (
                "spec: {remediation: {maxUnhealthy: lots}}",
                &["spec.remediation.maxUnhealthy"],
            ),
            ("spec: {drift: {colour: Report}}", &["colour"]),
            (
                "metadata: {name: a-name-that-is-far-too-long-for-any-host-name-of-a-machine-of-it}",
                &["metadata.name"],
            ),
        ],
    );
}

/// In `spec.packages` and `spec.bootstrap` a shell is never far.
#[test]
fn what_is_wrong_with_packages_and_numbers_is_told() {
    let packages = |rest: &str| format!("spec: {{packages: {{{rest}}}}}");
    let ellis = "spec: {components: {ellis: {numbers: {start: x, count: 0}}}}";
    let bono = "spec: {components: {bono: {numbers: {start: '1000', count: 1}}}}";
    let unarmoured = "no PGP public key block; write what `gpg --armor --export`";
    let both = "keyUrl: 'https://a.example/k', key: x";
    for (change, words) in [
        (
            packages("keyUrl: 'http://a.example/key'"),
            "spec.packages.keyUrl",
        ),
        (packages(both), "does not go together with `keyUrl`"),
        (packages("key: nonsense"), unarmoured),
        (
            packages("keyFingerprint: 22B97904"),
            "write its 40 hex digits",
        ),
        (packages("suite: trusty"), "a suite without components"),
        (
            packages("components: [main]"),
            "a folder, which has no components",
        ),
        (packages("version: '1.0 2'"), "spec.packages.version"),
        (packages("release: 65"), "write a number from 90 to 130"),
        (
            bono.to_owned(),
            "bono gives out no numbers; move it to ellis",
        ),
        (ellis.to_owned(), "spec.components.ellis.numbers.start"),
    ] {
        refused(STACK, &[(&change, &[words])]);
    }
}

#[test]
fn what_is_wrong_with_a_bootstrap_is_told() {
    let absent = told(&changed(STACK, "spec: {bootstrap: {}}"));
    assert!(absent.contains("spec.bootstrap.secretRef"), "{absent}");
    for (rest, words) in [
        ("site: a b", "spec.bootstrap.site"),
        ("sharedConfig: {signup_key: abc}", "put it into the Secret"),
        ("sharedConfig: {local_ip: 10.0.0.1}", "Weir sets it"),
        ("sharedConfig: {icscf: '0'}", "Weir sets it"),
        ("userSettings: {log_level: $(reboot)}", "a shell would read"),
        ("userSettings: {'a;b': '1'}", "not the name of a setting"),
        ("ntpServers: ['a b']", "spec.bootstrap.ntpServers[0]"),
        (
            "sshAuthorizedKeys: [a]",
            "spec.bootstrap.sshAuthorizedKeys[0]",
        ),
        (
            "logs: {host: a.example, protocol: icmp}",
            "write tcp or udp",
        ),
        (
            "hss: {hostname: a.example, realm: 'x y'}",
            "spec.bootstrap.hss.realm",
        ),
        (
            "smtp: {host: a.example, sender: nobody}",
            "spec.bootstrap.smtp.sender",
        ),
        (
            "dnsOverrides: {a.example: 'b c'}",
            "dnsOverrides[a.example]",
        ),
        ("userDataMax: 100", "spec.bootstrap.userDataMax"),
    ] {
        let change = format!("spec: {{bootstrap: {{secretRef: {{name: s}}, {rest}}}}}");
        refused(STACK, &[(&change, &[words])]);
        let told = told(&changed(STACK, &change));
        assert!(!told.contains("abc"), "{told}");
    }
}

#[test]
fn wrong_name_servers_are_refused_with_field_and_remedy() {
    let server = |more: &str| {
        let server = format!("{{address: 192.0.2.53, secretRef: {{name: k}}, {more}}}");
        format!("spec: {{dns: {{mode: External, servers: [{server}]}}}}")
    };
    let twice = "spec: {dns: {mode: External, servers: [\
                 {address: 192.0.2.53, keyName: ims.example.com., secretRef: {name: k}}, \
                 {address: '192.0.2.53:53', view: Public, secretRef: {name: l}}]}}";
    let many = "{address: 192.0.2.53, secretRef: {name: k}}, ".repeat(9);
    let many = format!("spec: {{dns: {{mode: External, servers: [{many}]}}}}");
    refused(
        STACK,
        &[
            (
                "spec: {dns: {mode: External}}",
                &[
                    "spec.dns.servers",
                    "name one with `address` and `secretRef`",
                ],
            ),
            (
                &server("address: ns.example.net"),
                &[
                    "spec.dns.servers[0].address",
                    "ns.example.net",
                    "write it like 198.51.100.53",
                ],
            ),
            (
                &server("address: '192.0.2.53:0'"),
                &["spec.dns.servers[0].address"],
            ),
            (
                &server("address: 0.0.0.0"),
                &["spec.dns.servers[0].address"],
            ),
            (
                &server("keyName: 'a key'"),
                &[
                    "spec.dns.servers[0].keyName",
                    "as it is in the server's configuration",
                ],
            ),
            (
                &server("secretRef: {name: A/B}"),
                &["spec.dns.servers[0].secretRef.name"],
            ),
            (
                &server("view: Inside"),
                &["spec.dns.servers[0].view", "Internal"],
            ),
            (twice, &["spec.dns.servers[1].address", "with the same key"]),
            (&many, &["spec.dns.servers", "more than 8"]),
            ("spec: {dns: {ttl: 0s}}", &["spec.dns.ttl", "from 1s"]),
            (
                "spec: {dns: {ttl: 1500ms}}",
                &["spec.dns.ttl", "whole number of seconds"],
            ),
            (
                "spec: {dns: {mode: external}}",
                &["spec.dns.mode", "External"],
            ),
        ],
    );
}

#[test]
fn what_is_unsafe_or_without_effect_is_warned_of() {
    for (change, words) in [
        (
            "spec: {packages: {keyUrl: 'https://a.example/key'}}",
            "give `keyFingerprint` as well",
        ),
        ("spec: {bootstrap: {secretRef: {name: s}}}", "unsigned"),
        (
            "spec: {components: {vellum: {replicas: 2}}}",
            "spec.components.vellum: has no effect",
        ),
        (
            "spec: {packages: {release: 122}, components: {ralf: {replicas: 2}}}",
            "spec.components.ralf: has no effect",
        ),
        (
            "spec: {dns: {servers: [{address: 192.0.2.53, secretRef: {name: k}}]}}",
            "spec.dns.servers: has no effect: set `dns.mode` to External",
        ),
        (
            "spec: {dns: {mode: Managed}}",
            "spec.dns.mode: without `bootstrap` the machines of the role get no BIND",
        ),
    ] {
        let warnings = admit(&changed(STACK, change), FieldValidation::Strict)
            .unwrap()
            .warnings;
        assert!(
            warnings.iter().any(|one| one.contains(words)),
            "{change}: {warnings:?}"
        );
    }
}

#[test]
fn several_errors_are_told_at_once() {
    let told = told(&changed(
        STACK,
        "spec: {domian: x, domain: null, network: {cidr: nonsense}}",
    ));
    for field in ["spec.domian", "spec.domain", "spec.network.cidr"] {
        assert!(told.contains(field), "{told}");
    }
}

#[test]
fn a_wrong_account_is_refused_with_field_and_remedy() {
    refused(
        ACCOUNT,
        &[
            ("spec: {endpoint: nonsense}", &["spec.endpoint"]),
            ("spec: {secretRef: null}", &["spec.secretRef"]),
            ("spec: {resyncInterval: soon}", &["spec.resyncInterval"]),
        ],
    );
}

#[test]
fn an_error_in_a_secret_never_shows_the_value() {
    let told = told(&changed(SECRET, "data: {apiKey: '%planted-secret%'}"));
    assert!(
        told.contains("apiKey") && !told.contains("planted"),
        "{told}"
    );
}

#[test]
fn what_may_not_change_is_refused() {
    let before = changed(STACK, "spec: {network: {cidr: 10.0.0.0/24}}");
    let after = changed(STACK, "spec: {network: {cidr: 10.0.1.0/24}}");
    let errors = admit_update(&before, &after);
    assert!(
        errors
            .iter()
            .any(|error| error.field == "spec.network.cidr"),
        "{errors:?}"
    );
    assert!(admit_update(&before, &before).is_empty());
}

#[test]
fn a_broken_file_says_where() {
    let error = parse("kind: [\n", "stack.yaml").unwrap_err().to_string();
    assert!(error.contains("stack.yaml"), "{error}");
    let error = parse(
        "apiVersion: v1\nkind: Sekret\nmetadata: {name: a}\n",
        "a.yaml",
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("Sekret"), "{error}");
}

#[test]
fn json_is_read_like_yaml() {
    let stack = yaml(STACK);
    let one = parse(&stack.to_string(), "stack.json").unwrap();
    assert_eq!(serde_json::to_value(&one[0]).unwrap(), stack);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [stack, yaml(ACCOUNT)]});
    assert_eq!(parse(&list.to_string(), "list.json").unwrap().len(), 2);
}
