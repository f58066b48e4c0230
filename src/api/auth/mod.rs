//! Who is asking. Whether they may is said by `access`.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::status::Status;
use crate::types::core::Confidential;

/// The group that may do everything, as in Kubernetes.
pub(super) const MASTERS: &str = "system:masters";
/// The group of everybody who showed a credential.
pub(super) const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody who did not.
pub(super) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of everybody who showed none.
const ANONYMOUS: &str = "system:anonymous";

/// The bearer tokens that are let in. Only their digests are kept.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    known: Vec<(Digested, User)>,
}

/// Who sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    /// What tells users of one name apart; empty where nothing does.
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    /// What else is known of them.
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user in some groups.
    pub(super) fn new<'a>(name: &str, groups: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Somebody who showed no credential.
    pub(super) fn anonymous() -> Self {
        Self::new(ANONYMOUS, [UNAUTHENTICATED])
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// The user as one whose credential is good.
    pub(super) fn authenticated(mut self) -> Self {
        if !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

/// A digest is compared, not the token: whoever measures the time learns nothing of use.
#[derive(Clone, PartialEq, Eq)]
struct Digested([u8; 32]);

impl std::fmt::Debug for Digested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[digest]")
    }
}

impl Digested {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Compares all bytes, whatever the first ones are.
    fn same(&self, other: &Self) -> bool {
        let difference = |sum: u8, (one, two): (&u8, &u8)| sum | (one ^ two);
        self.0.iter().zip(&other.0).fold(0, difference) == 0
    }
}

impl Tokens {
    /// One token, whose holder may do everything.
    #[must_use]
    pub fn admin(token: &Confidential) -> Self {
        let user = User::new("weir:admin", [MASTERS]).authenticated();
        Self {
            known: vec![(Digested::of(token.expose()), user)],
        }
    }

    /// Whose `Authorization` header this is; without one, it is somebody anonymous.
    ///
    /// # Errors
    /// 401: it is nobody's.
    pub(super) fn authenticate(&self, header: Option<&str>) -> Result<User, Status> {
        let Some(header) = header else {
            return Ok(User::anonymous());
        };
        let token = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Digested::of(token.trim()))
            .ok_or_else(Status::unauthorized)?;
        let mut found = None;
        for (known, user) in &self.known {
            if known.same(&token) {
                found = Some(user.clone());
            }
        }
        found.ok_or_else(Status::unauthorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_is_let_in() {
        let tokens = Tokens::admin(&Confidential::new("right"));
        assert!(tokens.authenticate(Some("Bearer right")).is_ok());
        assert!(tokens.authenticate(Some("bearer right")).is_ok());
        assert!(tokens.authenticate(None).unwrap().is_anonymous());
        for header in ["", "Bearer ", "Bearer wrong", "Basic right"] {
            assert_eq!(tokens.authenticate(Some(header)).unwrap_err().code, 401);
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let tokens = Tokens::admin(&Confidential::new("canary"));
        assert!(!format!("{tokens:?}").contains("canary"));
    }
}
