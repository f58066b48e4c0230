//! Acting as somebody else (`kubectl --as`), by who may `impersonate` them.

use axum::http::HeaderMap;

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
    let texts = |name: &str| -> Result<Vec<String>, Status> {
        let values = headers.get_all(name).iter();
        let text = |value: &axum::http::HeaderValue| value.to_str().map(str::to_owned);
        let texts: Result<_, _> = values.map(text).collect();
        texts.map_err(|_| Status::bad_request(format!("the header {name} is no text")))
    };
    let one = |name: &str| -> Result<Option<String>, Status> {
        Ok(texts(name)?
            .into_iter()
            .next()
            .filter(|text| !text.is_empty()))
    };
    let (name, groups, uid) = (one(USER)?, texts(GROUP)?, one(UID)?);
    let extra = headers
        .keys()
        .filter_map(|key| key.as_str().strip_prefix(EXTRA));
    let extra: Vec<&str> = extra.collect();
    let Some(name) = name else {
        if groups.is_empty() && uid.is_none() && extra.is_empty() {
            return Ok(None);
        }
        let why = "who is to be impersonated is not said: send Impersonate-User as well";
        return Err(Status::bad_request(why));
    };
    let may = |group: &str, (resource, part): (&str, &str), namespace: &str, name: &str| {
        let wanted = Attributes {
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: part.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            path: None,
        };
        authorize(authority, user, &wanted)
    };
    let account = name
        .strip_prefix(ACCOUNT)
        .and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => may("", ("serviceaccounts", ""), namespace, account)?,
        None => may("", ("users", ""), "", &name)?,
    };
    let mut other = User::new(&name, []);
    for group in groups {
        may("", ("groups", ""), "", &group)?;
        other.groups.push(group);
    }
    if let Some(uid) = uid {
        may(AUTHENTICATION, ("uids", ""), "", &uid)?;
        other.uid = uid;
    }
    for key in extra {
        let values = texts(&format!("{EXTRA}{key}"))?;
        for value in &values {
            may(AUTHENTICATION, ("userextras", key), "", value)?;
        }
        other.extra.insert(key.to_owned(), values);
    }
    other.until = user.until;
    Ok(Some(if name == ANONYMOUS {
        other.groups.push(UNAUTHENTICATED.to_owned());
        other
    } else {
        other.authenticated()
    }))
}
