//! The options in a request's query.

use crate::types::{admission::FieldValidation, meta::ResourceVersion};

use super::status::{Cause, Status};

/// Characters of the name of a field manager; Kubernetes' limit.
pub(super) const MANAGER_MAX: usize = 128;

/// The query of a request, decoded. Clients write them with stray `?` and `&`.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// Options of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteOptions {
    /// Nothing is stored.
    pub(super) dry_run: bool,
    pub(super) validation: FieldValidation,
}

/// Which state of the store a list or watch is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// The latest.
    Latest,
    /// Any, as `resourceVersion=0` asks for.
    Any,
    /// That version, or a later one.
    Version(ResourceVersion),
}

/// What a watch sends before what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Initial {
    /// What the version asks for.
    Unsaid,
    /// The present state, and then a bookmark that says so.
    Send,
    /// Nothing.
    Skip,
}

/// Rows of a table carry this of their object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = url::form_urlencoded::parse(text.trim_start_matches('?').as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The value of an option; the first one counts.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of an option.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Status> {
        match self.get(name) {
            None => Ok(None),
            Some("true" | "1" | "") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(Status::bad_request(format!(
                "{name}: {other:?} is neither true nor false"
            ))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Status::bad_request(format!("{name}: {text:?} is not a number from 0 on"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// Whether changes are asked for instead of a state.
    pub(super) fn watch(&self) -> Result<bool, Status> {
        Ok(self.flag("watch")?.unwrap_or(false))
    }

    pub(super) fn labels(&self) -> &str {
        self.text("labelSelector")
    }

    pub(super) fn fields(&self) -> &str {
        self.text("fieldSelector")
    }

    /// Objects in a page; nothing for all.
    pub(super) fn limit(&self) -> Result<Option<usize>, Status> {
        let limit = self.number("limit")?.filter(|limit| *limit > 0);
        Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    pub(super) fn continuation(&self) -> Option<&str> {
        self.get("continue").filter(|token| !token.is_empty())
    }

    pub(super) fn timeout_seconds(&self) -> Result<Option<u64>, Status> {
        self.number("timeoutSeconds")
    }

    pub(super) fn bookmarks(&self) -> Result<bool, Status> {
        Ok(self.flag("allowWatchBookmarks")?.unwrap_or(false))
    }

    pub(super) fn include(&self) -> Result<Include, Status> {
        match self.text("includeObject") {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::None),
            "Object" => Ok(Include::Object),
            other => Err(Status::bad_request(format!(
                "includeObject: {other:?} is none of None, Metadata and Object"
            ))),
        }
    }

    /// The version that a list or watch is about.
    pub(super) fn since(&self) -> Result<Since, Status> {
        match self.text("resourceVersion") {
            "" => Ok(Since::Latest),
            "0" => Ok(Since::Any),
            text => text.parse().map(Since::Version).map_err(|_| {
                Status::bad_request(format!(
                    "resourceVersion: Invalid value: {text:?}: not one that this server gave out"
                ))
            }),
        }
    }

    /// Whether a list must show exactly the version that it names. One that is cut into pages must,
    /// unless it says otherwise.
    pub(super) fn exact(&self) -> Result<bool, Status> {
        let forbid = |why: &str| Err(list_options("resourceVersionMatch", why));
        if self.get("sendInitialEvents").is_some() {
            let why = "sendInitialEvents is forbidden for list";
            return Err(list_options("sendInitialEvents", why));
        }
        let wanted = self.text("resourceVersionMatch");
        if wanted.is_empty() {
            let versioned = matches!(self.since()?, Since::Version(_));
            return Ok(versioned && self.limit()?.is_some());
        }
        if self.continuation().is_some() {
            return forbid("resourceVersionMatch is forbidden when continue is provided");
        }
        match (wanted, self.since()?) {
            (_, Since::Latest) => {
                forbid("resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            ("Exact", Since::Any) => {
                forbid("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"")
            }
            ("Exact", _) => Ok(true),
            ("NotOlderThan", _) => Ok(false),
            _ => forbid("it is neither Exact nor NotOlderThan"),
        }
    }

    /// What a watch is to send first.
    pub(super) fn initial(&self) -> Result<Initial, Status> {
        let wanted = self.text("resourceVersionMatch");
        match self.flag("sendInitialEvents")? {
            None if wanted.is_empty() => Ok(Initial::Unsaid),
            None => Err(list_options(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )),
            Some(_) if wanted != "NotOlderThan" => Err(list_options(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
            Some(true) => Ok(Initial::Send),
            Some(false) => Ok(Initial::Skip),
        }
    }

    /// Who writes, if the client says so; `options` is what Kubernetes calls them for the verb.
    pub(super) fn manager(&self, options: &str) -> Result<Option<&str>, Status> {
        let name = self.get("fieldManager").filter(|name| !name.is_empty());
        let unfit =
            |name: &&str| name.chars().count() > MANAGER_MAX || name.chars().any(char::is_control);
        match name.filter(unfit) {
            None => Ok(name),
            Some(name) => {
                let why = "must be at most 128 printable characters";
                let cause = Cause::invalid("fieldManager", name, why);
                Err(Status::invalid_options(options, vec![cause]))
            }
        }
    }

    /// Whether an apply takes fields from other managers.
    pub(super) fn force(&self) -> Result<bool, Status> {
        Ok(self.flag("force")?.unwrap_or(false))
    }

    /// The options of a write; `options` is what Kubernetes calls them for the verb.
    pub(super) fn write(&self, options: &str) -> Result<WriteOptions, Status> {
        let validation = match self.get("fieldValidation") {
            None | Some("" | "Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                let known = r#"supported values: "Ignore", "Warn", "Strict""#;
                let cause = unsupported("fieldValidation", other, known);
                return Err(Status::invalid_options(options, vec![cause]));
            }
        };
        let dry_run = self.0.iter().filter(|(key, _)| key == "dryRun");
        Ok(WriteOptions {
            dry_run: is_dry_run(options, dry_run.map(|(_, value)| value.as_str()))?,
            validation,
        })
    }
}

/// Reads the values of `dryRun`, of which `All` is the only one.
pub(super) fn is_dry_run<'a>(
    options: &str,
    values: impl Iterator<Item = &'a str>,
) -> Result<bool, Status> {
    let mut dry = false;
    for value in values {
        if value != "All" {
            let cause = unsupported("dryRun", value, r#"supported values: "All""#);
            return Err(Status::invalid_options(options, vec![cause]));
        }
        dry = true;
    }
    Ok(dry)
}

fn unsupported(field: &str, value: &str, known: &str) -> Cause {
    let message = format!("Unsupported value: {value:?}: {known}");
    Cause::new("FieldValueNotSupported", field, message)
}

fn list_options(field: &str, why: &str) -> Status {
    Status::invalid_options("ListOptions", vec![Cause::forbidden(field, why)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sloppy_queries_are_read() {
        let query = Query::parse("?&limit=500&labelSelector=app%3Dx%2Cidx+in+%281%29");
        assert_eq!(query.limit(), Ok(Some(500)));
        assert_eq!(query.labels(), "app=x,idx in (1)");
    }

    #[test]
    fn options_that_make_no_sense_together_are_refused() {
        let code = |query: &str| Query::parse(query).exact().unwrap_err().code;
        assert_eq!(code("resourceVersionMatch=Exact"), 422);
        assert_eq!(code("resourceVersionMatch=Exact&resourceVersion=0"), 422);
        assert_eq!(code("sendInitialEvents=false"), 422);
        assert_eq!(code("resourceVersion=x&resourceVersionMatch=Exact"), 400);
        let initial = |query: &str| Query::parse(query).initial();
        assert_eq!(initial("sendInitialEvents=false").unwrap_err().code, 422);
        assert_eq!(
            initial("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
            Ok(Initial::Send)
        );
    }

    #[test]
    fn a_dry_run_is_asked_for_by_all_alone() {
        let write = |query: &str| Query::parse(query).write("CreateOptions");
        assert!(write("dryRun=All").unwrap().dry_run);
        assert!(!write("").unwrap().dry_run);
        assert_eq!(write("dryRun=").unwrap_err().code, 422);
        assert_eq!(write("dryRun=Some").unwrap_err().code, 422);
        assert_eq!(Query::parse("limit=").limit().unwrap_err().code, 400);
    }
}
