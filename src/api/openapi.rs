//! OpenAPI v3 documents, one for each group and version: what `kubectl explain` shows, and what
//! kubectl looks into before it applies anything.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    discovery::{self, Served},
    events,
    patch::PatchType,
};
use crate::types::schema;

/// All documents, made once.
#[derive(Debug)]
pub(super) struct Documents {
    root: String,
    /// By path, like `apis/weir.dev/v1alpha1`: the document and its hash.
    by_path: BTreeMap<String, (String, String)>,
}

impl Documents {
    pub(super) fn new() -> Self {
        let mut by_path = BTreeMap::new();
        let mut paths = Map::new();
        for (group, version, path) in discovery::group_versions() {
            let text = document(group, version).to_string();
            let hash = hash(&text);
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path.clone(), json!({ "serverRelativeURL": url }));
            by_path.insert(path, (text, hash));
        }
        Self {
            root: json!({ "paths": paths }).to_string(),
            by_path,
        }
    }

    /// `/openapi/v3`.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The document of a group and version, and its hash.
    pub(super) fn get(&self, path: &str) -> Option<(&str, &str)> {
        let (text, hash) = self.by_path.get(path)?;
        Some((text, hash))
    }
}

/// The hash by which clients tell whether they have a document already.
pub(super) fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn document(group: &str, version: &str) -> Value {
    let served = Served::of(group, version);
    let paths: Map<String, Value> = served.iter().flat_map(|one| paths(*one)).collect();
    let schemas = served.iter().map(|one| {
        let schema = if one.group == events::GROUP {
            events::openapi()
        } else {
            schema::openapi(one.kind)
        };
        (schema_name(*one), schema)
    });
    let schemas: Map<String, Value> = schemas.collect();
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Weir", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

/// The group's domain backwards, the version and the kind.
fn schema_name(served: Served) -> String {
    let group = match served.group {
        "" => "io.k8s.api.core".to_owned(),
        group => group.rsplit('.').collect::<Vec<_>>().join("."),
    };
    format!("{group}.{}.{}", served.version, served.kind.name())
}

fn paths(served: Served) -> [(String, Value); 2] {
    let Served {
        kind,
        group,
        version,
    } = served;
    let root = match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    let collection = if kind.namespaced() {
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural())
    } else {
        format!("{root}/{}", kind.plural())
    };
    let item = format!("{collection}/{{name}}");
    let bodies = ["application/json", "application/yaml"];
    let patches = PatchType::accepted(kind);
    [
        (
            collection,
            json!({
                "get": operation(served, "list", &[]),
                "post": operation(served, "post", &bodies),
            }),
        ),
        (
            item,
            json!({
                "get": operation(served, "get", &[]),
                "put": operation(served, "put", &bodies),
                "patch": operation(served, "patch", patches),
                "delete": operation(served, "delete", &[]),
            }),
        ),
    ]
}

/// An operation; one with bodies takes the options of a write.
fn operation(served: Served, action: &str, bodies: &[&str]) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{}", schema_name(served)) });
    let mut operation = json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": served.group, "version": served.version, "kind": served.kind.name(),
        },
        "responses": { "200": {
            "description": "OK", "content": { "application/json": { "schema": schema } },
        }},
    });
    if !bodies.is_empty() {
        let content: Map<String, Value> = bodies
            .iter()
            .map(|media| ((*media).to_owned(), json!({ "schema": schema })))
            .collect();
        operation["requestBody"] = json!({ "content": content });
        operation["parameters"] = ["dryRun", "fieldManager", "fieldValidation"]
            .iter()
            .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } }))
            .collect();
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::meta::Kind;

    /// A kind in its own group.
    fn own(kind: Kind) -> Served {
        let served = Served::of(kind.group(), kind.version()).into_iter();
        served.into_iter().find(|one| one.kind == kind).unwrap()
    }

    #[test]
    fn every_kind_has_what_kubectl_looks_for() {
        let documents = Documents::new();
        for kind in Kind::ALL {
            let path = match kind.group() {
                "" => "api/v1".to_owned(),
                group => format!("apis/{group}/{}", kind.version()),
            };
            let (text, _) = documents.get(&path).unwrap();
            let document: Value = serde_json::from_str(text).unwrap();
            let [_, (item, _)] = paths(own(kind));
            let patch = &document["paths"][item]["patch"];
            assert_eq!(
                patch["x-kubernetes-group-version-kind"]["kind"],
                kind.name()
            );
            assert!(patch["parameters"].to_string().contains("fieldValidation"));
            let schema = &document["components"]["schemas"][schema_name(own(kind))];
            assert_eq!(
                schema["x-kubernetes-group-version-kind"][0]["kind"],
                kind.name()
            );
        }
    }

    #[test]
    fn schemas_are_named_by_the_domain_backwards() {
        assert_eq!(schema_name(own(Kind::Machine)), "dev.weir.v1alpha1.Machine");
        assert_eq!(
            schema_name(own(Kind::Lease)),
            "io.k8s.coordination.v1.Lease"
        );
    }
}
