//! Which form of an answer a client asks for in `Accept`.

/// A form in which an answer can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The object or list itself.
    Plain,
    /// The rows that kubectl prints.
    Table,
    /// Only the metadata of one object, or of each object of a list.
    Metadata,
    /// Discovery in one document: `v2`, or `v2beta1` for kubectl before 1.30.
    Aggregated(&'static str),
}

/// What can be asked for at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Objects: plain, as a table, or metadata only.
    Objects,
    /// Discovery: plain or aggregated.
    Discovery,
}

/// The first form in `accept` that can be served; no header at all means plain JSON.
pub(super) fn negotiate(accept: Option<&str>, offer: Offer) -> Option<Form> {
    match accept {
        None | Some("") => Some(Form::Plain),
        Some(accept) => accept
            .split(',')
            .find_map(|alternative| form(alternative, offer)),
    }
}

fn form(alternative: &str, offer: Offer) -> Option<Form> {
    let mut parts = alternative.split(';').map(str::trim);
    let media = parts.next()?;
    if !matches!(media, "application/json" | "application/*" | "*/*") {
        return None;
    }
    let parameter = |name: &str| {
        alternative
            .split(';')
            .skip(1)
            .filter_map(|part| part.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    match (offer, parameter("as"), parameter("v")) {
        (_, None, _) => Some(Form::Plain),
        (Offer::Objects, Some("Table"), Some("v1")) => Some(Form::Table),
        (
            Offer::Objects,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
            Some("v1"),
        ) => Some(Form::Metadata),
        (Offer::Discovery, Some("APIGroupDiscoveryList"), Some("v2")) => {
            Some(Form::Aggregated("v2"))
        }
        (Offer::Discovery, Some("APIGroupDiscoveryList"), Some("v2beta1")) => {
            Some(Form::Aggregated("v2beta1"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_can_be_served_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                       application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(Some(kubectl), Offer::Objects), Some(Form::Table));
        assert_eq!(negotiate(None, Offer::Objects), Some(Form::Plain));
        assert_eq!(
            negotiate(
                Some("application/vnd.kubernetes.protobuf,application/json"),
                Offer::Objects
            ),
            Some(Form::Plain)
        );
    }

    #[test]
    fn parameters_may_come_in_any_order() {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        assert_eq!(
            negotiate(Some(accept), Offer::Discovery),
            Some(Form::Aggregated("v2"))
        );
        let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(
            negotiate(Some(accept), Offer::Objects),
            Some(Form::Metadata)
        );
    }

    #[test]
    fn what_cannot_be_served_is_not_acceptable() {
        assert_eq!(negotiate(Some("text/html"), Offer::Objects), None);
        assert_eq!(
            negotiate(
                Some("application/json;as=Table;v=v2;g=meta.k8s.io"),
                Offer::Objects
            ),
            None
        );
    }
}
