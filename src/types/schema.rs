//! The OpenAPI schema of each kind, as `kubectl explain` reads it and admission applies it.

use serde_json::Value;

use super::meta::Kind;

/// The schema of a kind: self-contained, without references.
#[must_use]
pub fn openapi(kind: Kind) -> Value {
    serde_json::json!({ "type": "object", "description": kind.name() })
}
