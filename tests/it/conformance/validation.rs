//! Validation and dry runs: checks 36 to 46.

use serde_json::{Value, json};

use super::bed::{Bed, GROUP, MERGE, NAMESPACES, SECRETS, STACKS, number, scaled, secret, stack};

/// A stack with a field that there is not.
fn bogus(name: &str) -> Value {
    let mut stack = stack(name);
    stack["spec"]["bogus"] = json!(1);
    stack
}

/// A stack with two mistakes.
fn invalid(name: &str) -> Value {
    let mut stack = scaled(name, 2);
    stack["spec"]["drift"] = json!("Perhaps");
    stack["spec"]["components"]["sprout"]["replicas"] = json!("two");
    stack
}

/// Check 36: an unknown field is refused by name, and nothing is stored.
#[test]
fn k036_an_unknown_field_is_refused() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("unknown.yaml", &bogus("u"));
    let said = bed.k("apply -f unknown.yaml");
    let why = "strict decoding error: unknown field \"spec.bogus\"";
    assert!(said.code == Some(1) && said.err.contains(why), "{said}");
    bed.get(&format!("{STACKS}/u")).refused(404, "NotFound");
    let path = format!("{STACKS}?fieldValidation=Strict");
    bed.post(&path, &bogus("u")).refused(400, "BadRequest");
    let stored = bed.stack("u");
    let mut changed = bogus("u");
    changed["metadata"] = stored["metadata"].clone();
    let path = format!("{STACKS}/u?fieldValidation=Strict");
    bed.put(&path, &changed).refused(400, "BadRequest");
    // A patch is an object in the making: the mistake is told as one of the object.
    let status = bed
        .patch(MERGE, &path, &json!({"spec": {"bogus": 1}}))
        .refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "patch");
    assert_eq!(status["details"]["name"], Value::Null);
}

/// Check 37: the same with a warning only: the field is left out.
#[test]
fn k037_an_unknown_field_is_left_out_with_a_warning() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("unknown.yaml", &bogus("u"));
    let said = bed.k("apply --validate=warn -f unknown.yaml");
    assert!(
        said.err.starts_with("Warning: ") && said.err.contains("spec.bogus"),
        "{said}"
    );
    assert_eq!(said.ok(), "clearwaterstack.weir.dev/u created\n");
    let stored = bed.get(&format!("{STACKS}/u")).is(200);
    assert_eq!(stored["spec"]["bogus"], Value::Null);
    let quiet = bed.post(&format!("{STACKS}?fieldValidation=Ignore"), &bogus("v"));
    assert_eq!(quiet.warnings(), "");
    assert_eq!(quiet.is(201)["spec"]["bogus"], Value::Null);
}

/// Check 38: every mistake is told at once, a line each.
#[test]
fn k038_all_mistakes_are_told_together() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("invalid2.yaml", &invalid("i"));
    let said = bed.k("create -f invalid2.yaml");
    let all = said.err.clone();
    assert!(
        all.starts_with("The ClearwaterStack \"i\" is invalid:"),
        "{said}"
    );
    for field in ["* spec.components.sprout.replicas: ", "* spec.drift: "] {
        assert!(all.contains(field), "{field}: {said}");
    }
    said.fails("Unsupported value: \"Perhaps\"");
}

/// Check 39: the same as a program reads it.
#[test]
fn k039_mistakes_are_causes_with_reason_and_field() {
    let bed = Bed::new();
    let status = bed.post(STACKS, &invalid("i")).refused(422, "Invalid");
    let details = &status["details"];
    assert_eq!(
        (&details["kind"], &details["group"]),
        (&json!("ClearwaterStack"), &json!("weir.dev"))
    );
    let causes: Vec<_> = details["causes"].as_array().unwrap().iter().collect();
    let told: Vec<_> = causes
        .iter()
        .map(|cause| (&cause["reason"], &cause["field"]))
        .collect();
    assert_eq!(
        told,
        [
            (
                &json!("FieldValueTypeInvalid"),
                &json!("spec.components.sprout.replicas")
            ),
            (&json!("FieldValueNotSupported"), &json!("spec.drift")),
        ]
    );
}

/// Check 40: names and labels have a shape.
#[test]
fn k040_names_and_labels_have_a_shape() {
    let bed = Bed::new();
    let field = |object: &Value| {
        let status = bed.post(STACKS, object).refused(422, "Invalid");
        status["details"]["causes"][0]["field"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(field(&stack("Bad_Name")), "metadata.name");
    let mut long = stack("a");
    long["metadata"]["labels"] = json!({"app": "x".repeat(64)});
    assert!(field(&long).starts_with("metadata.labels"));
    long["metadata"]["labels"] = json!({"app": "x".repeat(63)});
    bed.post(STACKS, &long).is(201);
}

/// Check 41: a dry run by the server answers as if, and changes nothing.
#[test]
fn k041_a_dry_run_changes_nothing() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let before = bed.version();
    for (name, word) in [("b", "created"), ("a", "configured")] {
        bed.file("b.yaml", &scaled(name, 3));
        let told = bed.k("apply --dry-run=server -f b.yaml").ok();
        let wanted = format!("clearwaterstack.weir.dev/{name} {word} (server dry run)\n");
        assert_eq!(told, wanted);
    }
    bed.k("get cws b").fails("(NotFound)");
    assert_eq!(bed.version(), before);
    let dry = bed
        .post(&format!("{STACKS}?dryRun=All"), &stack("b"))
        .is(201);
    assert_eq!(dry["metadata"]["resourceVersion"], Value::Null);
    assert_eq!(dry["metadata"]["generation"], 1);
    bed.post(&format!("{STACKS}?dryRun=All"), &invalid("b"))
        .refused(422, "Invalid");
    bed.post(&format!("{STACKS}?dryRun=All"), &stack("a"))
        .refused(409, "AlreadyExists");
    assert_eq!(bed.version(), before);
}

/// Check 42: a dry run by the client sends nothing that writes.
#[test]
fn k042_a_dry_run_of_the_client_only_reads() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("b.yaml", &stack("b"));
    bed.k("apply --dry-run=client -f b.yaml")
        .says("created (dry run)");
    let verbs: Vec<_> = bed
        .audit()
        .iter()
        .map(|event| event["verb"].clone())
        .collect();
    assert!(verbs.iter().all(|verb| verb == "get"), "{verbs:?}");
}

/// Check 43: `All` is the one word for a dry run.
#[test]
fn k043_a_dry_run_has_one_word() {
    let bed = Bed::new();
    for word in ["Some", "", "all"] {
        let answer = bed.post(&format!("{STACKS}?dryRun={word}"), &stack("a"));
        answer.refused(422, "Invalid");
    }
    bed.get(&format!("{STACKS}/a")).refused(404, "NotFound");
}

/// Check 44: an object belongs where it is sent, and into a namespace that there is.
#[test]
fn k044_an_object_fits_its_address() {
    let bed = Bed::new();
    let mut elsewhere = stack("a");
    elsewhere["metadata"]["namespace"] = json!("other");
    bed.post(STACKS, &elsewhere).refused(400, "BadRequest");
    let status = bed.post(
        &format!("{GROUP}/namespaces/other/clearwaterstacks"),
        &elsewhere,
    );
    let status = status.refused(404, "NotFound");
    let told = status["message"].as_str().unwrap();
    assert!(told.starts_with("namespaces \"other\" not found"), "{told}");
    assert_eq!(status["details"]["kind"], "namespaces");
    let stored = bed.stack("a");
    let mut renamed = stored.clone();
    renamed["metadata"]["name"] = json!("b");
    bed.put(&format!("{STACKS}/a"), &renamed)
        .refused(400, "BadRequest");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    bed.post(NAMESPACES, &namespace).is(201);
    bed.post(
        &format!("{GROUP}/namespaces/other/clearwaterstacks"),
        &elsewhere,
    )
    .is(201);
}

/// Check 45: a body that is too large is refused, and the connection goes on.
#[test]
fn k045_a_body_has_a_limit() {
    let bed = Bed::new();
    let mut large = secret("s");
    large["stringData"]["k"] = json!("x".repeat(3 << 20));
    let status = bed
        .post(SECRETS, &large)
        .refused(413, "RequestEntityTooLarge");
    assert!(
        status["message"].as_str().unwrap().contains("3145728"),
        "{status}"
    );
    bed.post(SECRETS, &secret("s")).is(201);
}

/// Check 46: what the server decides for whoever left it out is in the answer. Defaults of a spec
/// are not: they live in the types, so that a later Weir's defaults apply to what is stored now.
#[test]
fn k046_an_answer_shows_what_the_server_filled_in() {
    let bed = Bed::new();
    let stack = bed.stack("a");
    assert_eq!(
        stack["metadata"]["finalizers"],
        json!(["weir.dev/cloud-resources"])
    );
    assert_eq!(stack["spec"]["network"], Value::Null);
    let made = bed.post(SECRETS, &secret("s")).is(201);
    assert_eq!(made["type"], "Opaque", "{made}");
    assert!(number(&made["metadata"]["resourceVersion"]) > 0);
}
