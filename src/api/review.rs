//! Questions about who may do what: the reviews of `authorization.k8s.io` and
//! `authentication.k8s.io`, which `kubectl auth` asks. Nothing is stored.

use serde_json::{Value, json};

use super::{
    auth::User,
    body,
    dispatch::Api,
    reply::{self, Reply},
    status::Status,
};
use crate::types::rbac::Attributes;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Review {
    /// May I do that?
    SelfSubjectAccess,
    /// What may I do?
    SelfSubjectRules,
    /// May somebody do that?
    SubjectAccess,
    /// May somebody do that in this namespace?
    LocalSubjectAccess,
    /// Who am I?
    SelfSubject,
    /// Whose token is this?
    Token,
}

/// The group of questions about rights.
pub(super) const AUTHORIZATION: &str = "authorization.k8s.io";
/// The group of questions about users.
pub(super) const AUTHENTICATION: &str = "authentication.k8s.io";

impl Review {
    pub(super) const ALL: [Self; 6] = [
        Self::LocalSubjectAccess,
        Self::SelfSubjectAccess,
        Self::SelfSubjectRules,
        Self::SubjectAccess,
        Self::SelfSubject,
        Self::Token,
    ];

    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::SelfSubject | Self::Token => AUTHENTICATION,
            _ => AUTHORIZATION,
        }
    }

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::SelfSubjectAccess => "SelfSubjectAccessReview",
            Self::SelfSubjectRules => "SelfSubjectRulesReview",
            Self::SubjectAccess => "SubjectAccessReview",
            Self::LocalSubjectAccess => "LocalSubjectAccessReview",
            Self::SelfSubject => "SelfSubjectReview",
            Self::Token => "TokenReview",
        }
    }

    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::SelfSubjectAccess => "selfsubjectaccessreviews",
            Self::SelfSubjectRules => "selfsubjectrulesreviews",
            Self::SubjectAccess => "subjectaccessreviews",
            Self::LocalSubjectAccess => "localsubjectaccessreviews",
            Self::SelfSubject => "selfsubjectreviews",
            Self::Token => "tokenreviews",
        }
    }

    pub(super) fn namespaced(self) -> bool {
        self == Self::LocalSubjectAccess
    }

    /// The question at a path below its group and version.
    pub(super) fn find(group: &str, version: &str, rest: &[&str]) -> Option<(Self, String)> {
        let (namespace, plural) = match rest {
            [plural] => ("", *plural),
            ["namespaces", namespace, plural] => (*namespace, *plural),
            _ => return None,
        };
        let is = |review: &Self| {
            (review.group(), "v1", review.plural()) == (group, version, plural)
                && review.namespaced() != namespace.is_empty()
        };
        let found = Self::ALL.into_iter().find(is)?;
        Some((found, namespace.to_owned()))
    }

    /// What the question is to the rules.
    pub(super) fn attributes(self, namespace: &str) -> Attributes {
        Attributes {
            verb: "create".to_owned(),
            group: self.group().to_owned(),
            resource: self.plural().to_owned(),
            namespace: namespace.to_owned(),
            ..Attributes::default()
        }
    }
}

/// Answers a question of a user.
pub(super) fn answer(
    api: &Api,
    user: &User,
    (review, namespace): (Review, &str),
    (media, body): (&str, &[u8]),
) -> Result<Reply, Status> {
    let mut object = body::decode(media, body)?;
    let wanted = format!("{}/v1", review.group());
    for (member, wanted) in [("kind", review.kind()), ("apiVersion", wanted.as_str())] {
        match object.get(member).map(Value::as_str) {
            None | Some(Some("")) => object[member] = json!(wanted),
            Some(found) if found == Some(wanted) => {}
            Some(_) => {
                let why = format!("the {member} of the body is not {wanted}");
                return Err(Status::bad_request(why));
            }
        }
    }
    let spec = object["spec"].clone();
    let status = match review {
        Review::SelfSubjectAccess => access(api, user, &asked(&spec)?),
        Review::SubjectAccess => access(api, &subject(&spec)?, &asked(&spec)?),
        Review::LocalSubjectAccess => {
            let asked = asked(&spec)?;
            if asked.path.is_some() || asked.namespace != namespace {
                let why = "spec.resourceAttributes.namespace: must be the namespace of the URL";
                return Err(Status::bad_request(why));
            }
            access(api, &subject(&spec)?, &asked)
        }
        Review::SelfSubjectRules => {
            let namespace = spec["namespace"].as_str().unwrap_or_default();
            rules(api, user, namespace)
        }
        Review::SelfSubject => json!({ "userInfo": info(user) }),
        Review::Token => token(api, spec["token"].as_str().unwrap_or_default())?,
    };
    if review == Review::Token {
        // It is known to who asks, and to be seen by nobody else.
        object["spec"] = json!({});
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["status"] = status;
    Ok(reply::json(201, &object))
}

fn access(api: &Api, user: &User, wanted: &Attributes) -> Value {
    match api.authority.policy().allows(user, wanted) {
        Some(why) => json!({ "allowed": true, "reason": why }),
        None => json!({ "allowed": false }),
    }
}

/// What is asked about: a resource or a path.
fn asked(spec: &Value) -> Result<Attributes, Status> {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    match (resource.is_object(), path.is_object()) {
        (true, false) => Ok(Attributes {
            verb: text(resource, "verb"),
            path: None,
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
        }),
        (false, true) => Ok(Attributes {
            verb: text(path, "verb"),
            path: Some(text(path, "path")),
            ..Attributes::default()
        }),
        _ => Err(Status::bad_request(
            "spec: give exactly one of resourceAttributes and nonResourceAttributes",
        )),
    }
}

/// Whom is asked about.
fn subject(spec: &Value) -> Result<User, Status> {
    let name = spec["user"].as_str().unwrap_or_default();
    let groups = spec["groups"].as_array().map(Vec::as_slice);
    let groups = groups.unwrap_or_default();
    if name.is_empty() && groups.is_empty() {
        return Err(Status::bad_request(
            "spec: give at least one of user and groups",
        ));
    }
    Ok(User::new(name, groups.iter().filter_map(Value::as_str)))
}

fn rules(api: &Api, user: &User, namespace: &str) -> Value {
    let policy = api.authority.policy();
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in policy.rules(user, namespace) {
        let (list, shown) = if rule.non_resource_urls.is_empty() {
            let shown = json!({
                "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
                "resourceNames": rule.resource_names,
            });
            (&mut resources, shown)
        } else {
            let urls = &rule.non_resource_urls;
            (
                &mut paths,
                json!({ "verbs": rule.verbs, "nonResourceURLs": urls }),
            )
        };
        if !list.contains(&shown) {
            list.push(shown);
        }
    }
    json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false })
}

fn token(api: &Api, token: &str) -> Result<Value, Status> {
    if token.is_empty() {
        return Err(Status::bad_request(
            "spec.token: missing; give the token to be judged",
        ));
    }
    Ok(match api.auth.holder(token) {
        Ok(user) => json!({ "authenticated": true, "user": info(&user.authenticated()) }),
        Err(why) => json!({ "authenticated": false, "error": why }),
    })
}

/// A user as Kubernetes shows them.
pub(super) fn info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
