//! Acting as somebody else (`kubectl --as`), by who may `impersonate` them.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::{ANONYMOUS, AUTHENTICATION, UNAUTHENTICATED, User};
use crate::{
    api::{
        access::{Authority, authorize},
        status::Status,
    },
    types::rbac::Attributes,
};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
/// What the name of a service account begins with.
const ACCOUNT: &str = "system:serviceaccount:";

/// Whom the user wants to act as, if anybody.
///
/// # Errors
/// 403: they may not. 400: the headers name nobody.
pub(in crate::api) fn impersonated(
    authority: &Authority,
    user: &User,
    headers: &HeaderMap,
) -> Result<Option<User>, Status> {
    let one = |name: &str| -> Result<Option<String>, Status> {
        let first = texts(headers, name)?.into_iter().next();
        Ok(first.filter(|text| !text.is_empty()))
    };
    let (name, groups, uid) = (one(USER)?, texts(headers, GROUP)?, one(UID)?);
    let extra = headers.keys().map(HeaderName::as_str);
    let extra: Vec<&str> = extra.filter_map(|key| key.strip_prefix(EXTRA)).collect();
    let Some(name) = name else {
        if groups.is_empty() && uid.is_none() && extra.is_empty() {
            return Ok(None);
        }
        let why = "who is to be impersonated is not said: send Impersonate-User as well";
        return Err(Status::bad_request(why));
    };
    let may = |wanted: &Attributes| authorize(authority, user, wanted);
    let account = name.strip_prefix(ACCOUNT);
    may(&match account.and_then(|rest| rest.split_once(':')) {
        None => acting("", "users", &name),
        Some((namespace, account)) => Attributes {
            namespace: namespace.to_owned(),
            ..acting("", "serviceaccounts", account)
        },
    })?;
    let mut other = User::new(&name, []);
    for group in groups {
        may(&acting("", "groups", &group))?;
        other.groups.push(group);
    }
    if let Some(uid) = uid {
        may(&acting(AUTHENTICATION, "uids", &uid))?;
        other.uid = uid;
    }
    for key in extra {
        let values = texts(headers, &format!("{EXTRA}{key}"))?;
        for value in &values {
            let subresource = key.to_owned();
            may(&Attributes {
                subresource,
                ..acting(AUTHENTICATION, "userextras", value)
            })?;
        }
        other.extra.insert(key.to_owned(), values);
    }
    other.until = user.until;
    if name == ANONYMOUS {
        other.groups.push(UNAUTHENTICATED.to_owned());
        return Ok(Some(other));
    }
    Ok(Some(other.authenticated()))
}

/// The right to act as somebody, or as somebody in a group and so on.
fn acting(group: &str, resource: &str, name: &str) -> Attributes {
    Attributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
}

/// All values of a header.
fn texts(headers: &HeaderMap, name: &str) -> Result<Vec<String>, Status> {
    let values = headers.get_all(name).iter();
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned);
    let texts: Result<_, _> = values.map(text).collect();
    texts.map_err(|_| Status::bad_request(format!("the header {name} is no text")))
}
