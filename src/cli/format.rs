//! `-o`: which form objects are printed in, and the forms that need no server.

use std::str::FromStr;

use serde_json::{Value, json};

use super::jsonpath::{InvalidTemplate, Template};
use crate::types::meta::{Kind, Object};

/// The form that `get` prints objects in.
#[derive(Clone, Debug)]
pub enum Format {
    /// Columns, as the server chose them.
    Table,
    /// More columns.
    Wide,
    /// As written in manifests.
    Yaml,
    /// As the API has it.
    Json,
    /// `kind.group/name`, a line each.
    Name,
    /// Filled into a template.
    JsonPath(PathTemplate),
}

/// A template of kubectl's JSONPath dialect.
#[derive(Clone, Debug)]
pub struct PathTemplate(Template);

/// A text that names no form.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFormat {
    /// There is none of that name.
    #[error("`{0}` is no format: there are table, wide, yaml, json, name and jsonpath=TEMPLATE")]
    Unknown(String),
    /// The template after `jsonpath=` is wrong.
    #[error("{0}")]
    Template(String),
}

impl From<InvalidTemplate> for InvalidFormat {
    fn from(error: InvalidTemplate) -> Self {
        Self::Template(error.to_string())
    }
}

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(template) = text.strip_prefix("jsonpath=") {
            return Ok(Self::JsonPath(PathTemplate(Template::parse(template)?)));
        }
        match text {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "yaml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            "name" => Ok(Self::Name),
            other => Err(InvalidFormat::Unknown(other.to_owned())),
        }
    }
}

/// Whether what is printed is a list or an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A `List`, whatever its length.
    List,
    /// The one object itself.
    Single,
}

impl Format {
    /// Whether the server draws it.
    pub(super) const fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Objects in this form, with a line end. Tables are drawn elsewhere; here they show names.
    pub(super) fn print(&self, objects: &[Object], shape: Shape) -> Result<String, FormatError> {
        let value = || match (shape, objects) {
            (Shape::Single, [object]) => serde_json::to_value(object),
            _ => serde_json::to_value(objects).map(
                |items| json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}),
            ),
        };
        Ok(match self {
            Self::Json => json_text(&value()?)?,
            Self::Yaml => serde_yaml::to_string(&value()?)?,
            Self::JsonPath(template) => template.0.render(&value()?),
            Self::Name | Self::Table | Self::Wide => objects
                .iter()
                .map(|object| full_name(object) + "\n")
                .collect(),
        })
    }
}

/// An object could not be written in the form asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot write YAML")]
    Yaml(#[from] serde_yaml::Error),
}

/// A value as indented JSON, with a line end.
pub(super) fn json_text(value: &Value) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

/// `clearwaterstack.weir.dev/ims`, as kubectl names objects.
pub(super) fn full_name(object: &Object) -> String {
    let group = object
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    qualified(&object.kind.to_lowercase(), group, &object.metadata.name)
}

/// `clearwaterstack.weir.dev/ims` from a kind and a name.
pub(super) fn named(kind: Kind, name: &str) -> String {
    qualified(kind.singular(), kind.group(), name)
}

fn qualified(kind: &str, group: &str, name: &str) -> String {
    match group {
        "" => format!("{kind}/{name}"),
        group => format!("{kind}.{group}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
            "metadata": {"name": "ims", "namespace": "default"}, "spec": {"domain": "example.com"},
        }))
        .unwrap()
    }

    #[test]
    fn objects_are_printed_in_each_form() {
        let one = [object()];
        let print = |format: &str, shape| {
            let format: Format = format.parse().unwrap();
            format.print(&one, shape).unwrap()
        };
        assert_eq!(print("name", Shape::List), "clearwaterstack.weir.dev/ims\n");
        assert_eq!(
            print("jsonpath={.items[0].spec.domain}", Shape::List),
            "example.com"
        );
        insta::assert_snapshot!(print("yaml", Shape::Single), @r"
        apiVersion: weir.dev/v1alpha1
        kind: ClearwaterStack
        metadata:
          name: ims
          namespace: default
        spec:
          domain: example.com
        ");
        insta::assert_snapshot!(print("json", Shape::List));
    }

    #[test]
    fn core_kinds_have_no_group_in_their_name() {
        assert_eq!(named(Kind::Secret, "keys"), "secret/keys");
        assert_eq!(
            named(Kind::Lease, "leader"),
            "lease.coordination.k8s.io/leader"
        );
    }
}
