//! Creating, reading and what is printed: checks 18 to 35.

use serde_json::{Value, json};

use super::bed::{Bed, SECRETS, STACKS, number, secret, stack};

/// Check 18: `create -f` tells what it made.
#[test]
fn k018_an_object_is_created() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    let told = bed.k("create -f a.yaml").ok();
    assert_eq!(told, "clearwaterstack.weir.dev/a created\n");
}

/// Check 19: what exists is not created again.
#[test]
fn k019_an_object_is_created_once() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.k("create -f a.yaml").ok();
    bed.k("create -f a.yaml").fails("(AlreadyExists)");
    let status = bed.post(STACKS, &stack("a")).refused(409, "AlreadyExists");
    assert_eq!(status["details"]["kind"], "clearwaterstacks");
}

/// Check 20: what the server adds to an object, and who is said to have written it.
#[test]
fn k020_the_server_completes_an_object() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.k("create -f a.yaml").ok();
    let read = |line: &str| serde_json::from_str::<Value>(&bed.k(line).ok()).unwrap();
    let meta = read("get cws a -o json")["metadata"].clone();
    assert_eq!(meta["generation"], 1);
    assert!(number(&meta["resourceVersion"]) > 0);
    assert_eq!(meta["uid"].as_str().map(str::len), Some(36));
    let created = meta["creationTimestamp"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    assert_eq!(meta["managedFields"], Value::Null);
    let meta = read("get cws a -o json --show-managed-fields")["metadata"].clone();
    let entry = &meta["managedFields"][0];
    assert_eq!(entry["manager"], "kubectl-create", "{meta}");
    assert_eq!(entry["operation"], "Update");
    assert_eq!(entry["fieldsV1"]["f:spec"]["f:domain"], json!({}));
}

/// Check 21: the columns of every form of the table, and what fills them.
#[test]
fn k021_a_table_has_its_columns() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let columns = |line: &str| -> Vec<String> {
        let told = bed.k(line).ok();
        let header = told.lines().next().unwrap().to_owned();
        header.split_whitespace().map(str::to_owned).collect()
    };
    let plain = columns("get cws");
    assert_eq!(
        (plain[0].as_str(), plain.last().unwrap().as_str()),
        ("NAME", "AGE")
    );
    assert!(columns("get cws -o wide").len() > plain.len());
    let told = bed.k("get cws -A").ok();
    assert!(
        told.starts_with("NAMESPACE") && told.contains("\ndefault"),
        "{told}"
    );
    bed.k("get cws --show-labels").says("app=x");
    let told = bed.k("get cws -L app").ok();
    let row = told.lines().nth(1).unwrap();
    assert_eq!(row.split_whitespace().last(), Some("x"), "{told}");
}

/// Check 22: `-o name` gives what can be typed again.
#[test]
fn k022_an_object_has_a_name_to_type() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    assert_eq!(
        bed.k("get cws a -o name").ok(),
        "clearwaterstack.weir.dev/a\n"
    );
}

/// Check 23: single values are picked out by path.
#[test]
fn k023_values_are_picked_by_path() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let told = bed.k("get cws a -o jsonpath={.spec.domain}").ok();
    assert_eq!(told, "ims.example.com");
    bed.k("get cws a -o jsonpath={.spec}")
        .says("\"domain\":\"ims.example.com\"");
    let told = bed.k("get cws a -o custom-columns=N:.metadata.name").ok();
    assert_eq!(told, "N\na\n");
}

/// Check 24: what is missing is named, and may be.
#[test]
fn k024_a_missing_object_is_told() {
    let Some(bed) = Bed::kubectl() else { return };
    let why = "Error from server (NotFound): clearwaterstacks.weir.dev \"nope\" not found";
    bed.k("get cws nope").fails(why);
    let said = bed.k("get cws nope --ignore-not-found");
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (Some(0), "", "")
    );
    let status = bed.get(&format!("{STACKS}/nope")).refused(404, "NotFound");
    let details = json!({"name": "nope", "group": "weir.dev", "kind": "clearwaterstacks"});
    assert_eq!(status["details"], details);
}

/// Check 25: an empty namespace has nothing in it, and neither has one that there is not.
#[test]
fn k025_a_list_of_nothing_is_no_error() {
    let Some(bed) = Bed::kubectl() else { return };
    for namespace in ["default", "absent"] {
        let said = bed.k(&format!("get cws -n {namespace}"));
        let told = format!("No resources found in {namespace} namespace.\n");
        assert_eq!((said.code, &said.err), (Some(0), &told), "{said}");
    }
    let list = bed
        .get("/apis/weir.dev/v1alpha1/namespaces/absent/clearwaterstacks")
        .is(200);
    assert_eq!(
        (&list["items"], &list["metadata"]["continue"]),
        (&json!([]), &json!(""))
    );
}

/// Check 26: lists are sorted by any field.
#[test]
fn k026_a_list_is_sorted_by_a_field() {
    let Some(bed) = Bed::kubectl() else { return };
    for (name, domain) in [("a", "z.example"), ("b", "y.example"), ("c", "x.example")] {
        let mut stack = stack(name);
        stack["spec"]["domain"] = json!(domain);
        bed.post(STACKS, &stack).is(201);
    }
    let names = |field: &str| -> String {
        let told = bed
            .k(&format!("get cws --no-headers --sort-by={field}"))
            .ok();
        told.lines()
            .filter_map(|line| line.chars().next())
            .collect()
    };
    assert_eq!(names(".spec.domain"), "cba");
    assert_eq!(names(".metadata.creationTimestamp"), "abc");
}

/// Check 27: label selectors, of which those that exclude include objects without the label.
#[test]
fn k027_a_list_is_selected_by_labels() {
    let Some(bed) = Bed::kubectl() else { return };
    for (name, labels) in [
        ("a", json!({"app": "x"})),
        ("b", json!({"app": "y", "zzz": "1"})),
        ("c", json!({})),
    ] {
        let mut stack = stack(name);
        stack["metadata"]["labels"] = labels;
        bed.post(STACKS, &stack).is(201);
    }
    for (selector, names) in [
        ("app in (x,y),!zzz", "a"),
        ("app notin (x)", "bc"),
        ("app!=x", "bc"),
        ("app", "ab"),
        ("app==y", "b"),
        ("zzz>0", "b"),
    ] {
        let told = bed.k(&format!("get cws -o name -l '{selector}'")).ok();
        let found: String = told
            .lines()
            .filter_map(|line| line.chars().last())
            .collect();
        assert_eq!(found, names, "{selector}");
    }
}

/// Check 28: field selectors, and a field that nobody selects by.
#[test]
fn k028_a_list_is_selected_by_fields() {
    let Some(bed) = Bed::kubectl() else { return };
    for name in ["a", "b"] {
        bed.stack(name);
    }
    let names = |selector: &str| bed.k(&format!("get cws -o name --field-selector={selector}"));
    assert_eq!(
        names("metadata.name=a").ok(),
        "clearwaterstack.weir.dev/a\n"
    );
    assert_eq!(
        names("metadata.name!=a").ok(),
        "clearwaterstack.weir.dev/b\n"
    );
    names("spec.nope=1").fails("(BadRequest)");
    let status = bed.get(&format!("{STACKS}?fieldSelector=spec.nope%3D1"));
    let status = status.refused(400, "BadRequest");
    assert_eq!(status["message"], "field label not supported: spec.nope");
}

/// Check 29: a list is read page by page, and is whole.
#[test]
fn k029_a_list_comes_in_pages() {
    let Some(bed) = Bed::kubectl() else { return };
    for name in ["a", "b", "c"] {
        bed.stack(name);
    }
    let said = bed.k("get cws --chunk-size=1 -o name -v=6");
    let pages = said
        .err
        .lines()
        .filter(|line| line.contains("limit=1"))
        .count();
    assert_eq!(pages, 3, "{said}");
    assert_eq!(said.ok().lines().count(), 3);
}

/// Check 30: names are drawn from a prefix, each time another.
#[test]
fn k030_names_are_drawn() {
    let Some(bed) = Bed::kubectl() else { return };
    let mut drawn = stack("");
    drawn["metadata"] = json!({"generateName": "g-"});
    bed.file("gen.yaml", &drawn);
    let names = [(); 2].map(|()| bed.k("create -f gen.yaml -o name").ok());
    assert_ne!(names[0], names[1]);
    for name in names {
        let ending = name
            .trim()
            .strip_prefix("clearwaterstack.weir.dev/g-")
            .unwrap();
        let fit = |c: char| "bcdfghjklmnpqrstvwxz2456789".contains(c);
        assert!(ending.len() == 5 && ending.chars().all(fit), "{name}");
    }
}

/// Check 31: no media type means JSON, and an unknown one is refused.
#[test]
fn k031_a_body_is_json_unless_it_says_otherwise() {
    let bed = Bed::new();
    bed.post(STACKS, &stack("a")).is(201);
    let send = |media: &str, body: String| {
        let request = bed.ask("POST", STACKS).header("Content-Type", media);
        bed.answer(request.body(body))
    };
    let status = send("text/csv", stack("b").to_string());
    let status = status.refused(415, "UnsupportedMediaType");
    let told = status["message"].as_str().unwrap();
    assert!(told.contains("application/json"), "{told}");
    let yaml = serde_yaml::to_string(&stack("b")).unwrap();
    send("application/yaml", yaml).is(201);
    send("application/json; charset=utf-8", stack("c").to_string()).is(201);
}

/// Check 32: an answer that nobody can give is refused, and JSON is what is given unasked.
#[test]
fn k032_an_answer_is_json_unless_asked_otherwise() {
    let bed = Bed::new();
    bed.get_as("text/html", STACKS)
        .refused(406, "NotAcceptable");
    let answer = bed.get(STACKS);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.is(200)["kind"], "ClearwaterStackList");
    // A typed client would like protobuf better, and takes JSON.
    let accept = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(
        bed.get_as(accept, STACKS).is(200)["kind"],
        "ClearwaterStackList"
    );
}

/// Check 33: a list of nothing but metadata.
#[test]
fn k033_metadata_comes_alone_on_request() {
    let bed = Bed::new();
    bed.stack("a");
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = bed.get_as(accept, STACKS).is(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["apiVersion"], "meta.k8s.io/v1");
    let item = &list["items"][0];
    assert_eq!(
        (&item["metadata"]["name"], &item["spec"]),
        (&json!("a"), &Value::Null)
    );
    let accept = accept.replace("MetadataList", "Metadata");
    let one = bed.get_as(&accept, &format!("{STACKS}/a")).is(200);
    assert_eq!(
        (&one["kind"], &one["spec"]),
        (&json!("PartialObjectMetadata"), &Value::Null)
    );
}

/// Check 34: as much of an object beside its row as was asked for.
#[test]
fn k034_a_table_carries_as_much_of_its_objects_as_is_wanted() {
    let bed = Bed::new();
    bed.stack("a");
    let row = |query: &str| {
        let accept = "application/json;as=Table;g=meta.k8s.io;v=v1";
        let table = bed.get_as(accept, &format!("{STACKS}{query}")).is(200);
        assert_eq!(table["kind"], "Table");
        table["rows"][0]["object"].clone()
    };
    assert_eq!(row("?includeObject=None"), Value::Null);
    assert_eq!(row("")["kind"], "PartialObjectMetadata");
    assert_eq!(
        row("?includeObject=Object")["spec"]["domain"],
        "ims.example.com"
    );
    let one = bed.get_as(
        "application/json;v=v1;g=meta.k8s.io;as=Table",
        &format!("{STACKS}/a"),
    );
    let one = one.is(200);
    assert_eq!(one["rows"].as_array().map(Vec::len), Some(1));
    assert!(number(&one["metadata"]["resourceVersion"]) > 0);
}

/// Check 35: queries are read however sloppily they are written.
#[test]
fn k035_sloppy_queries_are_read() {
    let bed = Bed::new();
    bed.post(SECRETS, &secret("s")).is(201);
    for query in ["?", "?&limit=1", "?&", "?limit=1&"] {
        let list = bed.get(&format!("{SECRETS}{query}")).is(200);
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{query}");
    }
}
