//! What is typed wrong is told with field, value and remedy, at once and all together; nothing of
//! it is done.

use std::fs;

use super::{
    lab::{Lab, run, run_in, stack},
    told::{Told, snapshot},
};

/// Applies a text where no controller is: it must be refused before one is looked for.
fn refused(text: &str) -> Told {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("stack.yaml"), text).unwrap();
    let told = run(dir.path(), &["apply", "-f", "stack.yaml"], "");
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told}");
    told
}

#[test]
fn bad_yaml_is_told_with_file_line_and_column() {
    let good = stack("ims", "");
    let cases = [
        (
            "a mapping in a value",
            good.replace("domain: ims.", "domain: a: ims."),
        ),
        (
            "a list that does not end",
            good.replace("{name: cloud}", "[name, cloud"),
        ),
        ("a tab", good.replace("  domain", "\tdomain")),
        (
            "a wrong type",
            good.replace("{replicas: 2}", "{replicas: two}"),
        ),
        ("an unknown field", good.replace("domain:", "domian:")),
        (
            "an unknown kind",
            good.replace("ClearwaterStack", "ClearwaterStak"),
        ),
        ("another version", good.replace("v1alpha1", "v1")),
        (
            "no name",
            good.replace("metadata: {name: ims}", "metadata: {}"),
        ),
        ("no objects", "# nothing\n".to_owned()),
    ];
    let told = cases.map(|(what, text)| format!("# {what}\n{}", refused(&text)));
    snapshot("input_bad_yaml", told.join("\n"));
}

#[test]
fn wrong_values_are_told_with_field_value_and_remedy_all_at_once() {
    let network = "  network: {vpc: {cidr: 10.0.0.0/16}, cidr: 10.1.0.0/24, gateway: 10.2.0.1}\n";
    let fixed = "sprout: {replicas: 2, addresses: [10.0.0.5, 10.0.0.5]}";
    let outside = "sprout: {replicas: 2, addresses: [10.0.9.5]}";
    let good = stack("ims", "");
    let cases = [
        (
            "a bad range",
            stack("ims", "  network: {cidr: 10.0.0.0/33}\n"),
        ),
        ("a tier outside its VPC", stack("ims", network)),
        (
            "clashing addresses",
            good.replace("sprout: {replicas: 2}", fixed),
        ),
        (
            "an address outside the tier",
            good.replace("sprout: {replicas: 2}", outside),
        ),
        (
            "a name that is too long",
            good.replace("{name: ims}", &format!("{{name: {}}}", "x".repeat(41))),
        ),
        (
            "several at once",
            good.replace("domain: ims.example.com", "domain: no domain")
                .replace("http://mirror", "ftp://mirror")
                .replace("homer: {replicas: 0}", "homer: {replicas: 51}"),
        ),
    ];
    let told = cases.map(|(what, text)| format!("# {what}\n{}", refused(&text)));
    snapshot("input_wrong_values", told.join("\n"));
}

#[test]
fn wrong_words_are_told_with_those_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = [
        "get stakcs",
        "get stacks -o tabel",
        "get stacks -o jsonpath={.items[",
        "scale ims sprot=3",
        "scale ims sprout=many",
        "scale ims sprout",
        "pause ims --for soon --why x",
        "pause ims --for 2h",
        "describe machine",
        "sim --profile quick",
        "controller --listen nowhere",
        "aply -f x",
    ];
    let told = wrong.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let told = run(dir.path(), &words, "");
        assert_eq!(told.code, 2, "{told}");
        told.to_string()
    });
    snapshot("input_wrong_words", told.join("\n"));
}

#[test]
fn without_a_controller_every_command_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let text = stack("ims", "");
    let absent = run(dir.path(), &["apply", "-f", "-"], &text);
    let config = "clusters: [{name: a, cluster: {server: \"https://127.0.0.1:1\", insecure-skip-tls-verify: true}}]\n\
                  users: [{name: a, user: {token: t}}]\n\
                  contexts: [{name: a, context: {cluster: a, user: a}}]\n\
                  current-context: a\n";
    fs::write(dir.path().join("config"), config).unwrap();
    let env = [("KUBECONFIG", "config")];
    let mut told = vec![absent.to_string()];
    for line in [
        "apply -f -",
        "get stacks",
        "diff -f -",
        "delete stack ims",
        "version",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = run_in(dir.path(), &words, &text, &env);
        assert_eq!(
            answer.code,
            if line == "diff -f -" { 2 } else { 1 },
            "{answer}"
        );
        told.push(answer.to_string());
    }
    fs::write(dir.path().join("config"), "clusters: {").unwrap();
    told.push(run_in(dir.path(), &["get", "stacks"], "", &env).to_string());
    snapshot("input_no_controller", told.join("\n"));
}

#[test]
fn of_half_a_file_nothing_is_applied() {
    let lab = Lab::start();
    let first = stack("first", "");
    let second = stack("second", "");
    for (what, text) in [
        (
            "cut",
            format!("{first}---\n{}", &second[..second.len() / 2]),
        ),
        (
            "broken",
            format!(
                "{first}---\n{}",
                second.replace("{name: cloud}", "{name: cloud")
            ),
        ),
        (
            "invalid",
            format!(
                "{first}---\n{}",
                second.replace("replicas: 2", "replicas: -2")
            ),
        ),
        ("twice", format!("{first}---\n{first}")),
    ] {
        let told = lab.apply("default", &text);
        assert_eq!((told.code, told.out.as_str()), (1, ""), "{what}: {told}");
        assert_eq!(lab.weir("get stacks -o name").done(), "", "{what}");
    }
}

#[test]
fn what_the_server_does_not_have_or_take_is_told() {
    let lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    let moved = stack(
        "ims",
        "  network: {vpc: {cidr: 10.9.0.0/16}, cidr: 10.9.0.0/24}\n",
    );
    let told = [
        lab.apply("default", &moved),
        lab.weir("get stack nobody"),
        lab.weir("get machines -l role==="),
        lab.weir("describe machine ims-sprout-9"),
        lab.weir("delete stack nobody"),
        lab.weir("delete stack nobody --ignore-not-found"),
        lab.weir("scale nobody sprout=3"),
        lab.weir("scale ims dns=1"),
        lab.weir("scale ims sprout=51"),
        lab.weir("pause nobody --for 2h --why x"),
        lab.weir("watch nobody --plain --until ready --timeout 100ms"),
        lab.weir("apply -f http://192.0.2.1/stack.yaml"),
        lab.weir("apply -f absent.yaml"),
    ];
    snapshot(
        "input_refused_by_the_server",
        told.map(|told| told.to_string()).join("\n"),
    );
}
