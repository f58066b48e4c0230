//! Cases are data: a sentence, a change of a valid object, and in the snapshot what is said.

use std::fmt::Write as _;

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

const MACHINE: &str = "
apiVersion: weir.dev/v1alpha1
kind: Machine
metadata: {name: ims-bono-0, namespace: default}
spec: {stackRef: {name: ims}, role: bono, index: 0}
";

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// A valid object with a change merged into it; null removes a member (RFC 7386), the word
/// `NULL` sets one to null.
fn changed(object: &str, change: &str) -> Value {
    let mut object = yaml(object);
    json_patch::merge(&mut object, &yaml(change));
    restore_nulls(&mut object);
    object
}

fn restore_nulls(value: &mut Value) {
    match value {
        Value::String(word) if word == "NULL" => *value = Value::Null,
        Value::Array(list) => list.iter_mut().for_each(restore_nulls),
        Value::Object(members) => members.values_mut().for_each(restore_nulls),
        _ => {}
    }
}

fn told(result: &Result<Admitted, Vec<FieldError>>) -> String {
    let mut lines = String::new();
    match result {
        Ok(admitted) => {
            lines.push_str("  admitted\n");
            for warning in &admitted.warnings {
                writeln!(lines, "  warning: {warning}").unwrap();
            }
        }
        Err(errors) => {
            for error in errors {
                writeln!(lines, "  {}: {error}", error.kind.name()).unwrap();
            }
        }
    }
    lines
}

/// Admits each changed object and renders what is said. A case is a line with a `#` and a
/// sentence, followed by the change.
#[track_caller]
fn check(name: &str, object: &str, cases: &str) {
    let mut rendered = String::new();
    for case in cases.split("\n# ").skip(1) {
        let (sentence, change) = case.split_once('\n').unwrap();
        let object = changed(object, change);
        let result = admit_value(&object, FieldValidation::Strict);
        let change = change.trim_end();
        write!(rendered, "{sentence}\n{change}\n{}\n", told(&result)).unwrap();
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, rendered);
    });
}

#[test]
fn names_and_labels_are_kubernetes_own() {
    check("metadata", STACK, include_str!("cases/metadata.txt"));
}

#[test]
fn the_shape_of_an_object_is_that_of_its_schema() {
    check("shape", STACK, include_str!("cases/shape.txt"));
}

#[test]
fn a_stack_must_make_sense() {
    check("stack", STACK, include_str!("cases/stack.txt"));
}

#[test]
fn a_network_must_fit_cloudstack_and_the_machines() {
    check("network", STACK, include_str!("cases/network.txt"));
}

#[test]
fn an_account_must_be_reachable_and_gentle() {
    check("account", ACCOUNT, include_str!("cases/account.txt"));
}

#[test]
fn a_secret_is_judged_without_being_repeated() {
    let cases = include_str!("cases/secret.txt");
    check("secret", SECRET, cases);
    for case in cases.split("\n# ").skip(1) {
        let object = changed(SECRET, case.split_once('\n').unwrap().1);
        let said = told(&admit_value(&object, FieldValidation::Warn));
        assert!(
            !said.contains("hunter2") && !said.contains("4711"),
            "{said}"
        );
    }
}

#[test]
fn machines_namespaces_and_unknown_kinds_are_judged_too() {
    check("machine", MACHINE, include_str!("cases/machine.txt"));
}

/// What a field error holds besides its sentence is what a `Status` is made of.
#[test]
fn an_error_has_the_parts_of_a_cause() {
    let object = changed(STACK, "spec: {network: {cidr: 10.1.0.0/24}}");
    let errors = admit_value(&object, FieldValidation::Strict).unwrap_err();
    insta::assert_debug_snapshot!("parts", errors);
    assert_eq!(
        errors[0].message(),
        errors[0].to_string()["spec.network.cidr: ".len()..]
    );
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let object = changed(STACK, include_str!("cases/many.yaml"));
    let errors = admit_value(&object, FieldValidation::Strict).unwrap_err();
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    assert_eq!(fields, sorted);
    insta::assert_snapshot!("many", told(&Err(errors)));
}

#[test]
fn unknown_fields_are_refused_told_or_dropped() {
    let mut object = changed(
        STACK,
        "{metadata: {lables: {a: b}}, spec: {doamin: x}, spce: {}}",
    );
    object["spec"]["components"] = json!({ "bono": { "replica": 2 } });
    let strict = admit_value(&object, FieldValidation::Strict);
    let warn = admit_value(&object, FieldValidation::Warn);
    let ignore = admit_value(&object, FieldValidation::Ignore);
    insta::assert_snapshot!(
        "unknown",
        format!("{}\n{}\n{}", told(&strict), told(&warn), told(&ignore))
    );
    let dropped = changed(STACK, "spec: {components: {bono: {}}}");
    assert_eq!(
        serde_json::to_value(ignore.unwrap().object).unwrap(),
        dropped
    );
    assert_eq!(serde_json::to_value(warn.unwrap().object).unwrap(), dropped);
}

#[test]
fn nulls_are_fields_left_out_and_defaults_are_not_written() {
    let nulls = "{metadata: {labels: 'NULL'}, spec: {network: 'NULL', sshKeyPair: 'NULL'}}";
    let object = changed(STACK, nulls);
    let admitted = admit_value(&object, FieldValidation::Strict).unwrap();
    assert_eq!(serde_json::to_value(&admitted.object).unwrap(), yaml(STACK));
    let again = admit(&admitted.object, FieldValidation::Strict).unwrap();
    assert_eq!(again, admitted);
}

#[test]
fn a_new_stack_gets_its_finalizer_once() {
    let mut stack: Object = serde_json::from_value(yaml(STACK)).unwrap();
    on_create(&mut stack);
    on_create(&mut stack);
    assert_eq!(stack.metadata.finalizers, [FINALIZER]);
    let mut account: Object = serde_json::from_value(yaml(ACCOUNT)).unwrap();
    on_create(&mut account);
    assert!(account.metadata.finalizers.is_empty());
}

#[test]
fn what_was_built_stays_where_it_is() {
    let mut rendered = String::new();
    for (object, before, after) in [
        (STACK, "{}", "spec: {accountRef: {name: geneva}}"),
        (STACK, "{}", "spec: {network: {vpc: {cidr: 10.1.0.0/16}}}"),
        (STACK, "{}", "spec: {network: {vpc: {id: 7d1f}}}"),
        (STACK, "{}", "spec: {network: {cidr: 10.0.1.0/24}}"),
        (STACK, "{}", "spec: {network: {gateway: 10.0.0.254}}"),
        (
            STACK,
            "spec: {network: {offering: {name: a}}}",
            "spec: {network: {offering: {name: b}}}",
        ),
        (
            STACK,
            "{}",
            "spec: {network: {vpc: {cidr: 10.0.0.0/16}, cidr: 10.0.0.0/24, gateway: 10.0.0.1}}",
        ),
        (
            STACK,
            "{}",
            "spec: {domain: example.org, components: {bono: {replicas: 3}}}",
        ),
        (
            ACCOUNT,
            "{}",
            "spec: {zone: z1, endpoint: 'https://new.example.net/client/api'}",
        ),
        (ACCOUNT, "spec: {zone: z1}", "spec: {zone: z2, project: p}"),
        (MACHINE, "{}", "spec: {index: 1}"),
        (SECRET, "{}", "{type: Opaque}"),
        (SECRET, "{}", "{type: kubernetes.io/tls}"),
    ] {
        let object = |change| serde_json::from_value(changed(object, change)).unwrap();
        let errors = admit_update(&object(before), &object(after));
        writeln!(rendered, "{before}  ->  {after}").unwrap();
        if errors.is_empty() {
            rendered.push_str("  admitted\n");
        }
        for error in errors {
            writeln!(rendered, "  {}: {error}", error.kind.name()).unwrap();
        }
    }
    insta::assert_snapshot!("update", rendered);
}

#[test]
fn a_file_that_is_no_manifest_says_where_and_why() {
    let mut rendered = String::new();
    for case in include_str!("cases/files.txt").split("\n## ").skip(1) {
        let (sentence, text) = case.split_once('\n').unwrap();
        let text = text.replace("<TAB>", "\t").replace("<END>\n", "");
        write!(rendered, "{sentence}\n{}\n\n", read(&text)).unwrap();
    }
    insta::assert_snapshot!("files", rendered);
}

fn read(text: &str) -> String {
    match parse(text, "stack.yaml") {
        Ok(objects) => {
            let names = objects
                .iter()
                .map(|object| format!("{} {}", object.kind, object.metadata.name));
            format!("  {}", names.collect::<Vec<_>>().join(", "))
        }
        Err(error) => format!("  {error}"),
    }
}

#[test]
fn json_is_read_like_yaml() {
    let stack = yaml(STACK);
    let one = parse(&stack.to_string(), "stack.json").unwrap();
    assert_eq!(serde_json::to_value(&one[0]).unwrap(), stack);
    let pretty = serde_json::to_string_pretty(&stack)
        .unwrap()
        .replace("  ", "\t");
    assert_eq!(parse(&pretty, "stack.json").unwrap(), one);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [stack, yaml(ACCOUNT)] });
    assert_eq!(parse(&list.to_string(), "list.json").unwrap().len(), 2);
    let two = format!("{stack}\n{stack}");
    assert_eq!(parse(&two, "two.json").unwrap().len(), 2);
    let twice = r#"{"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": "a", "name": "b"}}"#;
    let error = parse(twice, "twice.json").unwrap_err();
    assert_eq!((error.line, error.document), (Some(2), Some(1)));
    assert!(
        error.to_string().contains("`name` is there twice"),
        "{error}"
    );
}

/// A file cut anywhere is refused, or holds whole documents only, or fails admission; nothing
/// panics. (A cut may leave a shorter but valid text: `10.0.0.0/24` becomes `10.0.0.0/2`.)
#[test]
fn a_file_cut_anywhere_is_handled() {
    let whole = include_str!("../../../manifests/account.yaml");
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        for object in parse(&whole[..end], "cut.yaml").unwrap_or_default() {
            let _judged = admit(&object, FieldValidation::Strict);
        }
    }
}

#[test]
fn the_example_manifests_are_admitted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");
    let mut rendered = String::new();
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        for object in parse(&text, &name).unwrap() {
            let result = admit(&object, FieldValidation::Strict);
            writeln!(rendered, "{name}: {} {}", object.kind, object.metadata.name).unwrap();
            rendered.push_str(&told(&result));
        }
    }
    insta::assert_snapshot!("manifests", rendered);
}

/// The commented manifest is the reference: a field that is not in it has no explanation.
#[test]
fn the_production_manifest_names_every_field() {
    let text = include_str!("../../../manifests/production.yaml");
    let schema = crate::types::schema::openapi(Kind::ClearwaterStack);
    let mut names = Vec::new();
    collect(&schema["properties"]["spec"]["properties"], &mut names);
    // Where fields differ by role or by kind of drift, one of each is enough.
    let of_drift = &schema["properties"]["spec"]["properties"]["drift"]["oneOf"][1]["properties"];
    names.retain(|name| of_drift.get(name).is_none() && name != "id");
    for name in names {
        assert!(
            text.contains(&format!("{name}:")),
            "{name} is not in production.yaml"
        );
    }
}

fn collect(properties: &Value, names: &mut Vec<String>) {
    for (name, field) in properties.as_object().into_iter().flatten() {
        names.push(name.clone());
        collect(&field["properties"], names);
        collect(&field["items"]["properties"], names);
    }
}

/// The forms that one field may have, each through YAML, the schema and the type and back.
#[test]
fn every_form_of_a_field_survives_the_round_trip() {
    for form in [
        "network: {acl: Managed}",
        "network: {acl: {id: 0f6b}}",
        "network: {vpc: {cidr: 10.0.0.0/16}}",
        "network: {vpc: {cidr: 10.0.0.0/16, offering: {id: 1f}}}",
        "network: {vpc: {id: 7d1f}}",
        "deletionPolicy: Delete",
        "deletionPolicy: Orphan",
        "deletionPolicy: {network: Retain}",
        "drift: Repair",
        "drift: Report",
        "drift: {default: Repair, template: Report}",
        "remediation: {maxUnhealthy: 40%}",
        "remediation: {maxUnhealthy: 2}",
        "template: {name: Ubuntu 14.04}",
        "template: {id: 5c1e}",
        "components: {bono: {replicas: 0, addresses: []}}",
    ] {
        let object = changed(
            &STACK.replace(
                "template: {name: Ubuntu 14.04}",
                "serviceOffering: {name: 2vCPU-4GB}",
            ),
            "{}",
        );
        let mut object = object;
        object["spec"]["template"] = json!({ "name": "Ubuntu 14.04" });
        let form = yaml(form);
        for (name, value) in form.as_object().unwrap() {
            object["spec"][name] = value.clone();
        }
        let admitted = admit_value(&object, FieldValidation::Strict)
            .unwrap_or_else(|errors| panic!("{errors:?}"));
        let typed: ClearwaterStack = admitted.object.decode().unwrap();
        let written = serde_json::to_value(&typed).unwrap();
        for (name, value) in form.as_object().unwrap() {
            assert!(
                holds(&written["spec"][name], value),
                "{name}: {}",
                written["spec"][name]
            );
        }
        let text = serde_yaml::to_string(&written).unwrap();
        let again: ClearwaterStack = serde_json::from_value(yaml(&text)).unwrap();
        assert_eq!(again, typed);
    }
}

/// Whether `whole` has everything that `part` has; empty lists may be left out.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|(name, value)| {
            whole
                .get(name)
                .map_or(value == &json!([]), |whole| holds(whole, value))
        }),
        _ => whole == part,
    }
}
