//! Discovery, versions and OpenAPI: checks 1 to 17.

use serde_json::Value;
use weir::types::meta::Kind;

use super::bed::{Bed, GROUP};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Check 1: the server's version is one that kubectl compares with its own, without a warning.
#[test]
fn k001_the_version_is_a_kubernetes_version_near_that_of_kubectl() {
    let Some(bed) = Bed::kubectl() else { return };
    let said = bed.k("version -o json");
    assert_eq!(said.err, "", "{said}");
    let told: Value = serde_json::from_str(&said.ok()).unwrap();
    let version = told["serverVersion"]["gitVersion"].as_str().unwrap();
    let numbers = version.strip_prefix('v').unwrap().split('.');
    let numbers: Vec<u32> = numbers.map(|part| part.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3, "{version}");
}

/// Check 2: every group that clients of Kubernetes look for is there.
#[test]
fn k002_api_versions_lists_every_group() {
    let Some(bed) = Bed::kubectl() else { return };
    let told = bed.k("api-versions").ok();
    for version in [
        "weir.dev/v1alpha1",
        "v1",
        "events.k8s.io/v1",
        "coordination.k8s.io/v1",
        "authorization.k8s.io/v1",
        "authentication.k8s.io/v1",
    ] {
        assert!(
            told.lines().any(|line| line == version),
            "{version}: {told}"
        );
    }
}

/// Check 3: a row for each of Weir's kinds, with its short names, verbs and categories.
#[test]
fn k003_api_resources_shows_each_kind_in_full() {
    let Some(bed) = Bed::kubectl() else { return };
    let told = bed.k("api-resources --api-group=weir.dev -o wide").ok();
    let verbs = "create,delete,deletecollection,get,list,patch,update,watch";
    for (plural, short, kind) in [
        ("clearwaterstacks", "cws", "ClearwaterStack"),
        ("machines", "ma", "Machine"),
        ("cloudaccounts", "ca", "CloudAccount"),
    ] {
        let row = told.lines().find(|line| line.starts_with(plural)).unwrap();
        for word in [short, "weir.dev/v1alpha1", "true", kind, verbs, "all"] {
            assert!(row.contains(word), "{word}: {row}");
        }
    }
    assert_eq!(told.lines().count(), 4, "{told}");
}

/// Check 4: all of discovery in one document, named by its media type, with a tag.
#[test]
fn k004_discovery_is_aggregated_on_request() {
    let bed = Bed::new();
    let answer = bed.get_as(AGGREGATED, "/apis");
    assert_eq!(answer.code, 200);
    let media = answer.header("content-type");
    for part in [
        "application/json",
        "g=apidiscovery.k8s.io",
        "v=v2",
        "as=APIGroupDiscoveryList",
    ] {
        assert!(media.split(';').any(|found| found == part), "{media}");
    }
    let tag = answer.header("etag");
    assert!(tag.starts_with('"') && tag.len() > 2, "{tag}");
    assert_eq!(answer.json()["apiVersion"], "apidiscovery.k8s.io/v2");
    // Parameters in another order are the same parameters.
    let turned = "application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io";
    assert_eq!(bed.get_as(turned, "/apis").text, answer.text);
}

/// Check 5: the same for kubectl before 1.30, which knows no other form.
#[test]
fn k005_discovery_is_aggregated_in_its_beta_form_too() {
    let bed = Bed::new();
    let answer = bed.get_as(&AGGREGATED.replace("v=v2", "v=v2beta1"), "/apis");
    assert!(answer.header("content-type").contains("v=v2beta1"));
    assert_eq!(answer.is(200)["apiVersion"], "apidiscovery.k8s.io/v2beta1");
}

/// Check 6: whoever has the document already is told so, in no bytes.
#[test]
fn k006_discovery_is_not_sent_twice() {
    let bed = Bed::new();
    for path in ["/apis", "/api"] {
        let tag = bed.get_as(AGGREGATED, path).header("etag").to_owned();
        let ask = bed.ask("GET", path).header("Accept", AGGREGATED);
        let answer = bed.answer(ask.header("If-None-Match", &tag));
        assert_eq!((answer.code, answer.text.as_str()), (304, ""));
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.header("vary"), "Accept");
    }
}

/// Check 7: discovery in its old form, in three documents.
#[test]
fn k007_discovery_has_its_old_form() {
    let bed = Bed::new();
    for (path, kind) in [
        ("/apis", "APIGroupList"),
        ("/api", "APIVersions"),
        ("/apis/weir.dev", "APIGroup"),
    ] {
        assert_eq!(bed.get_as("application/json", path).is(200)["kind"], kind);
        assert_eq!(bed.get(path).is(200)["kind"], kind, "without Accept");
    }
}

/// Check 8: a group and version lists its resources and subresources. A stack has no `scale`: it
/// has a number of machines for each role, and Kubernetes' Scale has one.
#[test]
fn k008_a_version_lists_its_resources() {
    let bed = Bed::new();
    let list = bed.get(GROUP).is(200);
    assert_eq!(list["kind"], "APIResourceList");
    let resources = list["resources"].as_array().unwrap();
    let kind = |name: &str| {
        let found = resources.iter().find(|resource| resource["name"] == name);
        found.map(|resource| resource["kind"].clone())
    };
    assert_eq!(kind("clearwaterstacks").unwrap(), "ClearwaterStack");
    assert_eq!(kind("clearwaterstacks/status").unwrap(), "ClearwaterStack");
    assert_eq!(kind("clearwaterstacks/scale"), None);
    let all: Vec<&Value> = resources.iter().map(|resource| &resource["name"]).collect();
    assert_eq!(all.len(), 6, "{all:?}");
}

/// Check 9: singular, plural, short name and the full name are one resource.
#[test]
fn k009_every_name_of_a_resource_finds_it() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let told = bed.k("get clearwaterstack -o name").ok();
    assert_eq!(told, "clearwaterstack.weir.dev/a\n");
    for name in [
        "clearwaterstacks",
        "cws",
        "clearwaterstacks.v1alpha1.weir.dev",
    ] {
        assert_eq!(bed.k(&format!("get {name} -o name")).ok(), told, "{name}");
    }
}

/// Check 10: `get all` lists the kinds of the category.
#[test]
fn k010_get_all_includes_stacks() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    bed.k("get all").says("clearwaterstack.weir.dev/a");
}

/// Check 11: a resource that nobody serves is not found by kubectl itself.
#[test]
fn k011_an_unknown_resource_is_told() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.k("get nosuch").fails("doesn't have a resource type");
}

/// Check 12: every field is explained, with its type, what it requires and which words it takes.
#[test]
fn k012_fields_are_explained() {
    let Some(bed) = Bed::kubectl() else { return };
    let said = bed.k("explain cws");
    assert_eq!(said.err, "", "{said}");
    let told = said.ok();
    for line in [
        "GROUP:      weir.dev",
        "KIND:       ClearwaterStack",
        "VERSION:    v1alpha1",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let told = bed.k("explain cws.spec --recursive").ok();
    for part in [
        "domain\t<string> -required-",
        "replicas\t<integer>",
        "enum: ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    bed.k("explain cws.metadata").says("<Object>");
}

/// Check 13: a field that there is not cannot be explained.
#[test]
fn k013_an_unknown_field_is_told() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.k("explain cws.spec.nope").fails("does not exist");
}

/// Check 14: a document for each group and version, under an address that changes with it.
#[test]
fn k014_openapi_is_found_by_its_hash() {
    let bed = Bed::new();
    let root = bed.get("/openapi/v3").is(200);
    for kind in Kind::ALL {
        let path = match kind.group() {
            "" => "api/v1".to_owned(),
            group => format!("apis/{group}/{}", kind.version()),
        };
        let url = root["paths"][&path]["serverRelativeURL"].as_str().unwrap();
        assert!(url.contains("?hash="), "{url}");
        let answer = bed.get(url);
        assert!(answer.header("cache-control").contains("immutable"));
        assert!(
            answer.is(200)["openapi"]
                .as_str()
                .unwrap()
                .starts_with("3.")
        );
    }
    let moved = bed.get("/openapi/v3/apis/weir.dev/v1alpha1?hash=0");
    assert_eq!(moved.code, 301, "{}", moved.text);
    assert_eq!(
        moved.header("location"),
        root["paths"]["apis/weir.dev/v1alpha1"]["serverRelativeURL"]
    );
}

/// Check 15: the patch of each kind says which kind it is and that fields are validated.
#[test]
fn k015_openapi_says_that_fields_are_validated() {
    let bed = Bed::new();
    let document = bed.get("/openapi/v3/apis/weir.dev/v1alpha1").is(200);
    for (plural, kind) in [
        ("clearwaterstacks", "ClearwaterStack"),
        ("machines", "Machine"),
        ("cloudaccounts", "CloudAccount"),
    ] {
        let path = format!("{GROUP}/namespaces/{{namespace}}/{plural}/{{name}}");
        let patch = &document["paths"][path]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], kind);
        let parameters = patch["parameters"].as_array().unwrap();
        let found = |one: &&Value| one["name"] == "fieldValidation" && one["in"] == "query";
        assert!(parameters.iter().any(|one| found(&one)), "{patch}");
    }
}

/// Check 16: OpenAPI v2 is there, valid and empty.
#[test]
fn k016_openapi_v2_is_there() {
    let bed = Bed::new();
    let answer = bed.get("/openapi/v2");
    assert_eq!((answer.code, answer.text.as_str()), (200, ""));
    let media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!(answer.header("content-type"), media);
}

/// Check 17: a group that there is not is not found.
#[test]
fn k017_an_unknown_group_is_not_found() {
    let bed = Bed::new();
    for path in [
        "/apis/nosuch.example/v1",
        "/apis/nosuch.example",
        "/apis/weir.dev/v9",
        "/nope",
    ] {
        assert_eq!(bed.get(path).code, 404, "{path}");
    }
}
