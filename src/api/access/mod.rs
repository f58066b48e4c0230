//! Who may do what: Kubernetes' RBAC over the roles and bindings in the store.
//!
//! `follow` keeps a `policy` compiled from them, `bootstrap` makes those that are always there,
//! and `escalation` sees to it that nobody gives what they do not have. No request reads the store
//! to be decided on.

mod bootstrap;
mod escalation;
mod follow;
mod policy;

pub(super) use self::{bootstrap::reconcile, escalation::may_grant, follow::Authority};

use super::{
    auth::User,
    route::{Part, Target},
    status::Status,
};
use crate::types::{meta::Kind, rbac::Attributes};

/// Says whether the user may do that; the answer is why.
///
/// # Errors
/// 403, as Kubernetes words it; 401 for somebody who shows no credential.
pub(super) fn authorize(
    authority: &Authority,
    user: &User,
    wanted: &Attributes,
) -> Result<String, Status> {
    match authority.policy().allows(user, wanted) {
        Some(why) => Ok(why),
        None if user.is_anonymous() => Err(Status::unauthorized()),
        None => Err(Status::forbidden(user, wanted)),
    }
}

/// What a request for objects is to the rules.
pub(super) fn attributes(verb: &str, target: &Target) -> Attributes {
    let name = target.name.clone().unwrap_or_default();
    let namespace = match target.kind {
        // As in Kubernetes, where a namespace is in itself: so its tenants can be let read it.
        Kind::Namespace => name.clone(),
        _ => target.namespace.clone(),
    };
    let subresource = match target.part {
        Part::Whole => "",
        Part::Status => "status",
        Part::Plan => "plan",
    };
    Attributes {
        verb: verb.to_owned(),
        path: None,
        group: target.group().to_owned(),
        resource: target.kind.plural().to_owned(),
        subresource: subresource.to_owned(),
        namespace,
        name,
    }
}
