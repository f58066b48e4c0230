//! Bodies in Kubernetes' protobuf, which kubectl sends from 1.32 on where it knows the kind by
//! itself: `auth can-i`, `auth whoami`, `create secret`, `create configmap` and the like, and which Go programs send for
//! leases and events. Read into the JSON that they stand for; answers are JSON, which such clients
//! take as well.
//!
//! Numbers and types are those of Kubernetes' `generated.proto` files of `authorization/v1`,
//! `authentication/v1`, `coordination/v1`, `core/v1`, `events/v1`, `rbac/v1` and `meta/v1`, a public
//! interface that may not change. Members that nobody here reads are passed over.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::status::Status;

/// The media type.
pub(super) const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// What such a body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// A message: numbers, names in JSON, and what is there.
type Message = &'static [(u64, &'static str, Member)];

#[derive(Clone, Copy)]
enum Member {
    Text,
    Texts,
    TextMap,
    /// Values in base64, as JSON has them.
    BytesMap,
    /// A whole number.
    Count,
    Flag,
    /// A time of whole seconds.
    Time,
    /// A time with six digits behind the point.
    MicroTime,
    One(Message),
    Many(Message),
}

use Member::{BytesMap, Count, Flag, Many, MicroTime, One, Text, TextMap, Texts, Time};

const ENVELOPE: Message = &[(1, "type", One(TYPE)), (3, "encoding", Text)];
const TYPE: Message = &[(1, "apiVersion", Text), (2, "kind", Text)];
/// The number of the object in the envelope.
const RAW: u64 = 2;

const METADATA: Message = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (11, "labels", TextMap),
    (12, "annotations", TextMap),
    (13, "ownerReferences", Many(OWNER)),
    (14, "finalizers", Texts),
];
const OWNER: Message = &[
    (1, "kind", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "controller", Flag),
    (7, "blockOwnerDeletion", Flag),
];
const RESOURCE: Message = &[
    (1, "namespace", Text),
    (2, "verb", Text),
    (3, "group", Text),
    (4, "version", Text),
    (5, "resource", Text),
    (6, "subresource", Text),
    (7, "name", Text),
];
const PATH: Message = &[(1, "path", Text), (2, "verb", Text)];
const ACCESS_SPEC: Message = &[
    (1, "resourceAttributes", One(RESOURCE)),
    (2, "nonResourceAttributes", One(PATH)),
];
const ACCESS: Message = &[
    (1, "metadata", One(METADATA)),
    (2, "spec", One(ACCESS_SPEC)),
];
const RULES_SPEC: Message = &[(1, "namespace", Text)];
const RULES: Message = &[(1, "metadata", One(METADATA)), (2, "spec", One(RULES_SPEC))];
const SUBJECT_REVIEW: Message = &[(1, "metadata", One(METADATA))];
const RULE: Message = &[
    (1, "verbs", Texts),
    (2, "apiGroups", Texts),
    (3, "resources", Texts),
    (4, "resourceNames", Texts),
    (5, "nonResourceURLs", Texts),
];
const ROLE: Message = &[(1, "metadata", One(METADATA)), (2, "rules", Many(RULE))];
const SUBJECT: Message = &[
    (1, "kind", Text),
    (2, "apiGroup", Text),
    (3, "name", Text),
    (4, "namespace", Text),
];
const ROLE_REF: Message = &[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)];
const BINDING: Message = &[
    (1, "metadata", One(METADATA)),
    (2, "subjects", Many(SUBJECT)),
    (3, "roleRef", One(ROLE_REF)),
];

const SECRET: Message = &[
    (1, "metadata", One(METADATA)),
    (2, "data", BytesMap),
    (3, "type", Text),
    (4, "stringData", TextMap),
    (5, "immutable", Flag),
];
const CONFIG_MAP: Message = &[
    (1, "metadata", One(METADATA)),
    (2, "data", TextMap),
    (3, "binaryData", BytesMap),
    (4, "immutable", Flag),
];
const NAMESPACE: Message = &[(1, "metadata", One(METADATA))];
const LEASE_SPEC: Message = &[
    (1, "holderIdentity", Text),
    (2, "leaseDurationSeconds", Count),
    (3, "acquireTime", MicroTime),
    (4, "renewTime", MicroTime),
    (5, "leaseTransitions", Count),
];
const LEASE: Message = &[(1, "metadata", One(METADATA)), (2, "spec", One(LEASE_SPEC))];
const REFERENCE: Message = &[
    (1, "kind", Text),
    (2, "namespace", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "resourceVersion", Text),
    (7, "fieldPath", Text),
];
const SOURCE: Message = &[(1, "component", Text), (2, "host", Text)];
const SERIES: Message = &[(1, "count", Count), (2, "lastObservedTime", MicroTime)];
const EVENT: Message = &[
    (1, "metadata", One(METADATA)),
    (2, "involvedObject", One(REFERENCE)),
    (3, "reason", Text),
    (4, "message", Text),
    (5, "source", One(SOURCE)),
    (6, "firstTimestamp", Time),
    (7, "lastTimestamp", Time),
    (8, "count", Count),
    (9, "type", Text),
    (10, "eventTime", MicroTime),
    (11, "series", One(SERIES)),
    (12, "action", Text),
    (13, "related", One(REFERENCE)),
    (14, "reportingComponent", Text),
    (15, "reportingInstance", Text),
];
const NEW_EVENT: Message = &[
    (1, "metadata", One(METADATA)),
    (2, "eventTime", MicroTime),
    (3, "series", One(SERIES)),
    (4, "reportingController", Text),
    (5, "reportingInstance", Text),
    (6, "action", Text),
    (7, "reason", Text),
    (8, "regarding", One(REFERENCE)),
    (9, "related", One(REFERENCE)),
    (10, "note", Text),
    (11, "type", Text),
    (12, "deprecatedSource", One(SOURCE)),
    (13, "deprecatedFirstTimestamp", Time),
    (14, "deprecatedLastTimestamp", Time),
    (15, "deprecatedCount", Count),
];
/// A time on the wire.
const INSTANT: Message = &[(1, "seconds", Count), (2, "nanos", Count)];

/// Reads an object.
///
/// # Errors
/// 400: it cannot be read. 415: it is of a kind that is not read from protobuf.
pub(super) fn decode(body: &[u8]) -> Result<Value, Status> {
    let wrong = || Status::bad_request("the body is no Kubernetes protobuf: send JSON");
    let envelope = body.strip_prefix(MAGIC).ok_or_else(wrong)?;
    let head = read(envelope, ENVELOPE).ok_or_else(wrong)?;
    let raw = fields(envelope).find_map(|field| match field {
        Some((RAW, Wire::Bytes(raw))) => Some(raw),
        _ => None,
    });
    let (kind, version) = (&head["type"]["kind"], &head["type"]["apiVersion"]);
    let message = match kind.as_str() {
        Some("Secret") => SECRET,
        Some("ConfigMap") => CONFIG_MAP,
        Some("Namespace") => NAMESPACE,
        Some("Lease") => LEASE,
        Some("Event") if version == "v1" => EVENT,
        Some("Event") => NEW_EVENT,
        Some("SelfSubjectAccessReview") => ACCESS,
        Some("SelfSubjectRulesReview") => RULES,
        Some("SelfSubjectReview") => SUBJECT_REVIEW,
        Some("Role" | "ClusterRole") => ROLE,
        Some("RoleBinding" | "ClusterRoleBinding") => BINDING,
        _ => {
            let accepted = &super::body::OBJECTS;
            return Err(Status::unsupported_media_type(MEDIA, accepted));
        }
    };
    let mut object = read(raw.unwrap_or_default(), message).ok_or_else(wrong)?;
    object["apiVersion"] = version.clone();
    object["kind"] = kind.clone();
    Ok(object)
}

/// A value on the wire.
enum Wire<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

fn read(bytes: &[u8], message: Message) -> Option<Value> {
    let mut members = Map::new();
    for field in fields(bytes) {
        let (number, value) = field?;
        let Some((_, name, member)) = message.iter().find(|(known, ..)| *known == number) else {
            continue;
        };
        match (member, value) {
            (Count | Flag, Wire::Number(number)) => {
                let value = match member {
                    Flag => json!(number != 0),
                    // Negative ones are written as their complement.
                    _ => json!(number.cast_signed()),
                };
                members.insert((*name).to_owned(), value);
            }
            (Count | Flag, Wire::Bytes(_)) | (_, Wire::Number(_)) => return None,
            (member, Wire::Bytes(value)) => take(&mut members, name, *member, value)?,
        }
    }
    Some(Value::Object(members))
}

fn take(members: &mut Map<String, Value>, name: &str, member: Member, value: &[u8]) -> Option<()> {
    let text = |value| std::str::from_utf8(value).ok();
    match member {
        // Go writes texts that are not set as empty ones.
        Text if value.is_empty() => {}
        Text => {
            members.insert(name.to_owned(), text(value)?.into());
        }
        One(message) => {
            members.insert(name.to_owned(), read(value, message)?);
        }
        Texts | Many(_) => {
            let one = match member {
                Many(message) => read(value, message)?,
                _ => text(value)?.into(),
            };
            let list = members.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut()?.push(one);
        }
        TextMap => {
            let (key, value) = pair(value)?;
            let map = members.entry(name).or_insert_with(|| json!({}));
            map[text(key)?] = text(value)?.into();
        }
        BytesMap => {
            let (key, value) = pair(value)?;
            let map = members.entry(name).or_insert_with(|| json!({}));
            map[text(key)?] = STANDARD.encode(value).into();
        }
        Time | MicroTime => {
            let instant = read(value, INSTANT)?;
            let part = |part: &str| instant[part].as_i64().unwrap_or_default();
            // Go writes a time that is not set as an empty one.
            if instant["seconds"].is_i64() {
                let nanos = i32::try_from(part("nanos")).ok()?;
                let time = Timestamp::new(part("seconds"), nanos).ok()?;
                let digits = if matches!(member, Time) { 0 } else { 6 };
                members.insert(name.to_owned(), format!("{time:.digits$}").into());
            }
        }
        // They are no bytes.
        Count | Flag => return None,
    }
    Some(())
}

/// The key and the value of an entry of a map; one that is left out is empty.
fn pair(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut key, mut value) = (&[][..], &[][..]);
    for field in fields(entry) {
        match field? {
            (1, Wire::Bytes(bytes)) => key = bytes,
            (2, Wire::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Some((key, value))
}

/// The members on the wire; an empty one for what cannot be read, and nothing after that.
fn fields(bytes: &[u8]) -> impl Iterator<Item = Option<(u64, Wire<'_>)>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|bytes| !bytes.is_empty())?;
        let read = field(bytes);
        rest = read.as_ref().map(|(_, after)| *after);
        Some(read.map(|(field, _)| field))
    })
}

type Field<'a> = ((u64, Wire<'a>), &'a [u8]);

fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let (key, bytes) = varint(bytes)?;
    let (value, rest) = match key & 7 {
        0 => {
            let (number, rest) = varint(bytes)?;
            (Wire::Number(number), rest)
        }
        1 => (Wire::Number(0), bytes.get(8..)?),
        2 => {
            let (length, bytes) = varint(bytes)?;
            let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            (Wire::Bytes(value), rest)
        }
        5 => (Wire::Number(0), bytes.get(4..)?),
        _ => return None,
    };
    Some(((key >> 3, value), rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index).min(63);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(value.len()).unwrap();
        [&[number << 3 | 2, length], value].concat()
    }

    fn enveloped(kind: &str, object: &[u8]) -> Vec<u8> {
        let of = [bytes(1, b"x/v1"), bytes(2, kind.as_bytes())].concat();
        [
            MAGIC.to_vec(),
            bytes(1, &of),
            bytes(2, object),
            bytes(4, b""),
        ]
        .concat()
    }

    #[test]
    fn what_kubectl_sends_is_read() {
        let label = [bytes(1, b"a"), bytes(2, b"b")].concat();
        // A creation timestamp, and a generation, which are passed over.
        let metadata = [
            bytes(1, b"r"),
            bytes(3, b""),
            bytes(8, b""),
            vec![7 << 3, 1],
            bytes(11, &label),
        ];
        let rule = [
            bytes(1, b"get"),
            bytes(1, b"list"),
            bytes(2, b""),
            bytes(3, b"secrets"),
        ]
        .concat();
        let role = [
            bytes(1, &metadata.concat()),
            bytes(2, &rule),
            bytes(2, &rule),
        ]
        .concat();
        let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"]});
        assert_eq!(
            decode(&enveloped("Role", &role)).unwrap(),
            json!({"apiVersion": "x/v1", "kind": "Role", "rules": [rule, rule],
                   "metadata": {"name": "r", "labels": {"a": "b"}}})
        );
    }

    #[test]
    fn values_numbers_and_times_are_read() {
        let entry = [bytes(1, b"k"), bytes(2, b"v\xff")].concat();
        let secret = [bytes(2, &entry), bytes(3, b"Opaque")].concat();
        assert_eq!(
            decode(&enveloped("Secret", &secret)).unwrap(),
            json!({"apiVersion": "x/v1", "kind": "Secret", "data": {"k": "dv8="},
                   "type": "Opaque"})
        );
        let text = [bytes(1, b"t"), bytes(2, b"x")].concat();
        let map = [bytes(2, &text), bytes(3, &entry), vec![4 << 3, 1]].concat();
        assert_eq!(
            decode(&enveloped("ConfigMap", &map)).unwrap(),
            json!({"apiVersion": "x/v1", "kind": "ConfigMap", "data": {"t": "x"},
                   "binaryData": {"k": "dv8="}, "immutable": true})
        );
        // 1 s and 2,000 ns; a time that is not set; 15.
        let spec = [
            bytes(3, &[1 << 3, 1, 2 << 3, 0xd0, 0x0f]),
            bytes(4, b""),
            vec![2 << 3, 15],
        ];
        let lease = decode(&enveloped("Lease", &bytes(2, &spec.concat()))).unwrap();
        let spec =
            json!({"acquireTime": "1970-01-01T00:00:01.000002Z", "leaseDurationSeconds": 15});
        assert_eq!(lease["spec"], spec);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let whole = enveloped("Role", &bytes(2, &bytes(1, b"get")));
        for length in 0..MAGIC.len() {
            assert_eq!(decode(&whole[..length]).unwrap_err().code, 400);
        }
        for broken in [
            &b"\x0a\xff"[..],
            b"\x0b",
            b"\x12\x01\x0a",
            b"\x10\x01",
            b"\x12\x03\x0a\x01\xff",
        ] {
            assert_eq!(
                decode(&enveloped("Role", broken)).unwrap_err().code,
                400,
                "{broken:?}"
            );
        }
        assert_eq!(decode(&enveloped("Pod", b"")).unwrap_err().code, 415);
    }
}
