//! An object of any kind.
//!
//! Every write of the store and every event of a watch passes through here, so what serde could
//! derive is written out: `#[serde(flatten)]` first collects all members in a tree of its own.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::{Map, Value};

use super::{Kind, ObjectKey, ObjectMeta, Resource};

/// Any object, with its metadata read and everything else as it was written. `Debug` shows of a
/// Secret nothing but which one it is.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The metadata.
    pub metadata: ObjectMeta,
    /// All other members: `spec`, `status`, `data` and so on.
    pub body: Map<String, Value>,
}

impl Object {
    /// Where the object is stored.
    ///
    /// # Errors
    /// The text of `kind` where it is none of ours.
    pub fn key(&self) -> Result<ObjectKey, String> {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == self.kind && kind.api_version() == self.api_version)
            .ok_or_else(|| format!("{} {}", self.api_version, self.kind))?;
        Ok(ObjectKey::new(
            kind,
            &self.metadata.namespace,
            &self.metadata.name,
        ))
    }

    /// The object as its own type.
    ///
    /// # Errors
    /// Where its members do not have the type's shape; the text names the member.
    pub fn decode<T: Resource>(&self) -> Result<T, serde_json::Error> {
        let mut members = self.body.clone();
        members.insert(API_VERSION.to_owned(), self.api_version.clone().into());
        members.insert(KIND.to_owned(), self.kind.clone().into());
        // Read already: a copy is cheaper than to write it and read it again.
        members.insert(METADATA.to_owned(), Map::new().into());
        let mut typed = T::deserialize(Value::Object(members))?;
        typed.meta_mut().clone_from(&self.metadata);
        Ok(typed)
    }

    /// A typed object in untyped form.
    ///
    /// # Panics
    /// Never for our kinds, whose members all have text keys.
    #[must_use]
    pub fn encode<T: Resource>(typed: &T) -> Self {
        let Ok(Value::Object(mut body)) = serde_json::to_value(typed) else {
            unreachable!("our kinds serialise to objects");
        };
        let mut word = |member| match body.remove(member) {
            Some(Value::String(word)) => word,
            _ => unreachable!("our kinds have an apiVersion and a kind"),
        };
        let (api_version, kind) = (word(API_VERSION), word(KIND));
        body.remove(METADATA);
        Self {
            api_version,
            kind,
            metadata: typed.meta().clone(),
            body,
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Object");
        shown
            .field(API_VERSION, &self.api_version)
            .field(KIND, &self.kind);
        if self.kind == Kind::Secret.name() {
            // Annotations may hold a copy of the data.
            let meta = &self.metadata;
            shown
                .field("namespace", &meta.namespace)
                .field("name", &meta.name);
            return shown.finish_non_exhaustive();
        }
        shown
            .field(METADATA, &self.metadata)
            .field("body", &self.body)
            .finish()
    }
}

const API_VERSION: &str = "apiVersion";
const KIND: &str = "kind";
const METADATA: &str = "metadata";

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(API_VERSION, &self.api_version)?;
        map.serialize_entry(KIND, &self.kind)?;
        map.serialize_entry(METADATA, &self.metadata)?;
        for (member, value) in &self.body {
            map.serialize_entry(member, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

/// Takes an object's members as they come.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with apiVersion, kind and metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
        let (mut api_version, mut kind, mut metadata) = (None, None, None);
        let mut body = Map::new();
        while let Some(member) = members.next_key::<String>()? {
            match member.as_str() {
                API_VERSION => once(&mut api_version, API_VERSION, &mut members)?,
                KIND => once(&mut kind, KIND, &mut members)?,
                METADATA => once(&mut metadata, METADATA, &mut members)?,
                _ => {
                    body.insert(member, members.next_value()?);
                }
            }
        }
        Ok(Object {
            api_version: api_version.ok_or_else(|| de::Error::missing_field(API_VERSION))?,
            kind: kind.ok_or_else(|| de::Error::missing_field(KIND))?,
            metadata: metadata.ok_or_else(|| de::Error::missing_field(METADATA))?,
            body,
        })
    }
}

/// Reads a member that may be there but once.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    member: &'static str,
    members: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(de::Error::duplicate_field(member));
    }
    *slot = Some(members.next_value()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::machine::Machine;

    fn machine() -> Value {
        json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "Machine",
            "metadata": {"name": "ims-sprout-0", "labels": {"a": "b"}, "finalizers": ["x/y"]},
            "spec": {"stackRef": {"name": "ims"}, "role": "sprout", "index": 0},
            "status": {"phase": "Running"},
            "further": [1, {"two": null}],
        })
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        let object: Object = serde_json::from_value(machine()).unwrap();
        assert_eq!(json!(object), machine());
        let members: Vec<&String> = object.body.keys().collect();
        assert_eq!(members, ["further", "spec", "status"]);
        let text = serde_json::to_string(&object).unwrap();
        assert!(text.starts_with("{\"apiVersion\":"), "{text}");
        assert_eq!(serde_json::from_str::<Object>(&text).unwrap(), object);
    }

    #[test]
    fn nothing_of_a_secret_is_shown_by_debug() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "data": {"a": "cGxhbnRlZA=="},
            "metadata": {"name": "keys", "annotations": {"last-applied": "planted"}},
        });
        let secret: Object = serde_json::from_value(secret).unwrap();
        let shown = format!("{secret:?}");
        assert!(shown.contains("keys"), "{shown}");
        assert!(
            !shown.contains("planted") && !shown.contains("cGxhbnRlZA"),
            "{shown}"
        );
    }

    #[test]
    fn a_typed_one_is_the_same_as_an_untyped_one() {
        let object: Object = serde_json::from_value(machine()).unwrap();
        let typed: Machine = object.decode().unwrap();
        assert_eq!(typed, serde_json::from_value(machine()).unwrap());
        let again = Object::encode(&typed);
        assert_eq!(json!(again), json!(typed));
        assert_eq!(again.metadata, object.metadata);
    }

    #[test]
    fn what_is_missing_twice_or_of_the_wrong_shape_is_named() {
        let why = |text: &str| {
            serde_json::from_str::<Object>(text)
                .unwrap_err()
                .to_string()
        };
        let kind = r#"{"apiVersion": "v1", "metadata": {}}"#;
        assert!(why(kind).contains("missing field `kind`"), "{}", why(kind));
        let twice = r#"{"kind": "a", "kind": "b"}"#;
        assert!(
            why(twice).contains("duplicate field `kind`"),
            "{}",
            why(twice)
        );
        assert!(
            why("[]").contains("apiVersion, kind and metadata"),
            "{}",
            why("[]")
        );
        let mut unfit = machine();
        unfit["spec"]["index"] = "zero".into();
        let unfit: Object = serde_json::from_value(unfit).unwrap();
        let why = unfit.decode::<Machine>().unwrap_err().to_string();
        assert!(why.contains("zero"), "{why}");
    }
}
