//! Who is asking, and whether they may.

use sha2::{Digest, Sha256};

use super::{route::Target, status::Status};
use crate::types::core::Confidential;

/// The bearer tokens that are let in. Only their digests are kept.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    known: Vec<(Digested, User)>,
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
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
        let user = User {
            name: "weir:admin".to_owned(),
        };
        Self {
            known: vec![(Digested::of(token.expose()), user)],
        }
    }

    /// Whose `Authorization` header this is.
    ///
    /// # Errors
    /// 401: it is nobody's.
    pub(super) fn authenticate(&self, header: Option<&str>) -> Result<&User, Status> {
        let token = header
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Digested::of(token.trim()))
            .ok_or_else(Status::unauthorized)?;
        let mut found = None;
        for (known, user) in &self.known {
            if known.same(&token) {
                found = Some(user);
            }
        }
        found.ok_or_else(Status::unauthorized)
    }
}

/// What somebody wants to do, in the words of Kubernetes' authorisation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(super) verb: &'a str,
    /// The objects; nothing for discovery and the like.
    pub(super) target: Option<&'a Target>,
}

/// Says whether the user may do that. The one place where rules will be asked.
pub(super) fn authorize(user: &User, attributes: Attributes<'_>) -> Result<(), Status> {
    let kind = attributes.target.map(|target| target.kind.plural());
    tracing::trace!(user = user.name, verb = attributes.verb, kind, "allowed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_is_let_in() {
        let tokens = Tokens::admin(&Confidential::new("right"));
        assert!(tokens.authenticate(Some("Bearer right")).is_ok());
        assert!(tokens.authenticate(Some("bearer right")).is_ok());
        for header in [
            None,
            Some(""),
            Some("Bearer "),
            Some("Bearer wrong"),
            Some("Basic right"),
        ] {
            assert_eq!(tokens.authenticate(header).unwrap_err().code, 401);
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let tokens = Tokens::admin(&Confidential::new("canary"));
        assert!(!format!("{tokens:?}").contains("canary"));
    }
}
