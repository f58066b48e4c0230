//! Request bodies: JSON or YAML in, an object that fits its address out.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    limits::Limits,
    protobuf,
    route::Target,
    status::{Cause, Status},
};
use crate::types::meta::GROUP;

/// How often a body may exceed the limit before the rest is no longer read: a client that is
/// still sending does not read the answer.
const DRAINED: usize = 4;

/// Opening brackets times bytes of a YAML body. The parser looks at every open bracket for each
/// word, before it minds how deep that is, so that this bounds its time: to a tenth of a second,
/// where 3 MiB of brackets would take the better part of an hour. 10 KiB may have 25,000 brackets.
const FLOW_MAX: usize = 250_000_000;

/// Media types of objects.
pub(super) const OBJECTS: [&str; 2] = ["application/json", "application/yaml"];

/// Reads a body, as long and for as long as the limits let it.
///
/// # Errors
/// 413: it is longer. 408: it takes longer. 400: the client went away.
pub(super) async fn read(body: Body, limits: &Limits) -> Result<Bytes, Status> {
    let read = timeout(limits.body, all(body, limits.body_bytes)).await;
    read.unwrap_or_else(|_| Err(Status::slow_body(limits.body)))
}

async fn all(body: Body, limit: usize) -> Result<Bytes, Status> {
    let mut chunks = body.into_data_stream();
    let mut content = BytesMut::new();
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Status::bad_request("the body of the request broke off"))?;
        length += chunk.len();
        if length <= limit {
            content.extend_from_slice(&chunk);
        } else if length > limit * DRAINED {
            break;
        }
    }
    if length > limit {
        return Err(Status::too_large(format!(
            "the body of the request is larger than {limit} bytes; send less"
        )));
    }
    Ok(content.freeze())
}

/// The media type without its parameters, in lower case.
pub(super) fn media(content_type: &str) -> String {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().to_ascii_lowercase()
}

/// Reads an object. No media type means JSON.
///
/// # Errors
/// 415: it is of another media type. 400: it cannot be read.
pub(super) fn decode(media: &str, body: &[u8]) -> Result<Value, Status> {
    match media {
        "" | "application/json" => parse_json(body),
        "application/yaml" => parse_yaml(body),
        protobuf::MEDIA => protobuf::decode(body),
        other => Err(Status::unsupported_media_type(other, &OBJECTS)),
    }
}

/// Reads YAML. What is JSON, as clients send it for an apply, is read as that.
fn parse_yaml(body: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let opening = body.iter().filter(|byte| b"[{".contains(byte)).count();
    if opening.saturating_mul(body.len()) > FLOW_MAX {
        return Err(Status::bad_request(
            "the body is YAML with too many brackets for its length: send it as JSON",
        ));
    }
    serde_yaml::from_slice(body)
        .map_err(|error| Status::bad_request(format!("the body is no YAML: {error}")))
}

/// Reads JSON.
///
/// # Errors
/// 400: it is none.
pub(super) fn parse_json(body: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(body)
        .map_err(|error| Status::bad_request(format!("the body is no JSON: {error}")))
}

/// What a change of `apiVersion` or `kind` is answered with: 422 where a patch changes it or where
/// one of our own kinds is called otherwise, else 400, as Kubernetes was seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Object,
    Patch,
}

/// Fits an object to its address: what it leaves out is filled in, what contradicts is refused.
///
/// # Errors
/// 400 or 422, see [`Sent`].
pub(super) fn fit(value: &mut Value, target: &Target, sent: Sent) -> Result<(), Status> {
    let kind = target.kind;
    let name = target.name.as_deref();
    let members = value
        .as_object_mut()
        .ok_or_else(|| Status::bad_request("the body is no object: send a manifest"))?;
    for (member, wanted) in [("apiVersion", kind.api_version()), ("kind", kind.name())] {
        let found = members.entry(member).or_insert(Value::Null);
        match found.as_str() {
            None | Some("") => *found = json!(wanted),
            Some(found) if found != wanted => {
                return Err(match sent {
                    Sent::Object if member == "kind" && kind.group() == GROUP => {
                        let cause = Cause::invalid(member, found, &format!("must be {wanted}"));
                        Status::invalid(kind, name.unwrap_or_default(), vec![cause])
                    }
                    Sent::Object => Status::bad_request(format!(
                        "the {member} in the body ({found}) is not the one of the URL ({wanted})"
                    )),
                    Sent::Patch => {
                        let cause = Cause::invalid(member, found, "field is immutable");
                        Status::invalid(kind, name.unwrap_or_default(), vec![cause])
                    }
                });
            }
            Some(_) => {}
        }
    }
    let metadata = members.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let metadata = metadata
        .as_object_mut()
        .ok_or_else(|| Status::bad_request("metadata is no object"))?;
    if kind.namespaced() {
        same_or_set(metadata, "namespace", &target.namespace)?;
    }
    match name {
        Some(name) => same_or_set(metadata, "name", name),
        None => Ok(()),
    }
}

fn same_or_set(
    metadata: &mut Map<String, Value>,
    member: &str,
    wanted: &str,
) -> Result<(), Status> {
    let found = metadata.entry(member).or_insert(Value::Null);
    match found.as_str() {
        None | Some("") => {
            *found = json!(wanted);
            Ok(())
        }
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(Status::bad_request(format!(
            "the {member} of the provided object ({found}) does not match the {member} sent on \
             the request ({wanted})"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::route::{Guise, Part},
        types::meta::Kind,
    };

    fn target() -> Target {
        Target {
            kind: Kind::Secret,
            namespace: "lab".to_owned(),
            name: Some("s".to_owned()),
            part: Part::Whole,
            guise: Guise::Own,
        }
    }

    #[test]
    fn an_object_takes_from_its_address_what_it_leaves_out() {
        let mut value = json!({"metadata": null, "data": {}});
        fit(&mut value, &target(), Sent::Object).unwrap();
        assert_eq!(
            value,
            json!({"apiVersion": "v1", "kind": "Secret", "data": {},
                   "metadata": {"namespace": "lab", "name": "s"}})
        );
    }

    #[test]
    fn an_object_that_contradicts_its_address_is_refused() {
        let code = |mut value: Value, sent| fit(&mut value, &target(), sent).unwrap_err().code;
        assert_eq!(
            code(json!({"metadata": {"namespace": "x"}}), Sent::Object),
            400
        );
        assert_eq!(code(json!({"metadata": {"name": "x"}}), Sent::Patch), 400);
        assert_eq!(code(json!({"kind": "Lease"}), Sent::Object), 400);
        assert_eq!(code(json!({"kind": "Lease"}), Sent::Patch), 422);
        assert_eq!(code(json!([1]), Sent::Object), 400);
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused() {
        let body = || Body::from(vec![b'x'; 100]);
        let read = async |body, body_bytes| {
            let limits = Limits {
                body_bytes,
                ..Limits::default()
            };
            read(body, &limits).await
        };
        assert_eq!(read(body(), 100).await.unwrap().len(), 100);
        assert_eq!(read(body(), 99).await.unwrap_err().code, 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let read = read(Body::from_stream(endless), &Limits::default()).await;
        assert_eq!(read.unwrap_err().code, 408);
    }

    #[test]
    fn brackets_without_end_cost_little() {
        let decode = |text: &str| decode("application/yaml", text.as_bytes());
        let deep = format!("a: {}", "[".repeat(20_000));
        let why = decode(&deep).unwrap_err().message;
        assert!(why.contains("too many brackets"), "{why}");
        let long = format!("{{\"a\": [{}{{}}]}}", "{}, ".repeat(200_000));
        assert_eq!(
            decode(&long).unwrap()["a"].as_array().unwrap().len(),
            200_001
        );
        let short = format!("a: [{}]", "{b: []}, ".repeat(1_000));
        assert_eq!(
            decode(&short).unwrap()["a"].as_array().unwrap().len(),
            1_000
        );
    }
}
