//! Who is asking. Whether they may is said by `access`.
//!
//! A request shows a bearer token or a client certificate: `token_file` and `jwt` know the tokens
//! (`verify` their signatures), `certificate` reads the certificates that TLS has verified.
//! `file` reads again what somebody changed.

mod certificate;
mod file;
mod impersonate;
mod jwt;
mod token_file;
mod verify;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(super) use self::{certificate::user as certified, impersonate::impersonated};
pub use self::{file::AuthError, jwt::Oidc, token_file::line as token_line};
use self::{file::Reread, jwt::Issuer, token_file::TokenFile};

use super::{review::AUTHENTICATION, status::Status};
use crate::{clock::Clock, types::core::Confidential};

/// The group that may do everything, as in Kubernetes.
pub(super) const MASTERS: &str = "system:masters";
/// The group of everybody who showed a credential.
pub(super) const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody who did not.
pub(super) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// What names begin with that Kubernetes keeps for itself.
pub(super) const RESERVED: &str = "system:";
/// The name of everybody who showed none.
const ANONYMOUS: &str = "system:anonymous";
/// How often files with credentials are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How users are told apart, besides the token of the state folder.
#[derive(Clone, Debug, Default)]
pub struct AuthOptions {
    /// A file with digests of tokens; see [`token_line`].
    pub token_file: Option<PathBuf>,
    /// Certificates of an authority whose client certificates are taken; by default that of the
    /// state folder.
    pub client_ca: Option<PathBuf>,
    /// Whose JWTs are taken.
    pub oidc: Option<Oidc>,
    /// Whether somebody without any credential may do everything: only where nobody but this
    /// computer can ask.
    pub open: bool,
}

/// Everything by which users are told apart.
#[derive(Debug)]
pub struct Authenticators {
    admin: Digested,
    tokens: Option<Reread<TokenFile>>,
    issuer: Option<(Reread<Issuer>, Oidc)>,
    open: bool,
    clock: Clock,
    /// Counts changes of the files.
    changes: watch::Sender<u64>,
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
    /// When the credential is over.
    pub(super) until: Option<Timestamp>,
    /// The token that was shown, where it can be taken away.
    shown: Option<Digested>,
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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Digested([u8; 32]);

impl std::fmt::Debug for Digested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[digest]")
    }
}

impl Digested {
    fn of(shown: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(shown).into())
    }

    /// The digest in hex.
    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares all bytes, whatever the first ones are.
    fn same(&self, other: &Self) -> bool {
        let difference = |sum: u8, (one, two): (&u8, &u8)| sum | (one ^ two);
        self.0.iter().zip(&other.0).fold(0, difference) == 0
    }
}

impl Authenticators {
    /// Reads what the options name. The holder of `admin` may do everything.
    ///
    /// # Errors
    /// A file cannot be read, or says nothing that can be understood.
    pub fn prepare(
        admin: &Confidential,
        options: &AuthOptions,
        clock: &Clock,
    ) -> Result<Self, AuthError> {
        let tokens = options.token_file.clone();
        let tokens = tokens.map(|path| Reread::new(path, TokenFile::parse));
        let issuer = options.oidc.clone().map(|oidc| {
            let keys = Reread::new(oidc.jwks_file.clone(), Issuer::parse)?;
            Ok((keys, oidc))
        });
        Ok(Self {
            admin: Digested::of(admin.expose()),
            tokens: tokens.transpose()?,
            issuer: issuer.transpose()?,
            open: options.open,
            clock: clock.clone(),
            changes: watch::Sender::new(0),
        })
    }

    /// Whose request this is, by its `Authorization` header or else by the certificate of its
    /// connection. Without either it is somebody anonymous.
    ///
    /// # Errors
    /// 401: the credential is nobody's, or over.
    pub(super) fn identify(
        &self,
        header: Option<&str>,
        certified: Option<&User>,
    ) -> Result<User, Status> {
        let user = match (header, certified) {
            (Some(header), _) => {
                let token = header
                    .split_once(' ')
                    .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                let token = token.map(|(_, token)| token.trim());
                token.and_then(|token| self.holder(token).ok())
            }
            (None, Some(certified)) => Some(certified.clone()),
            (None, None) if self.open => Some(User::new("weir:insecure", [MASTERS])),
            (None, None) => return Ok(User::anonymous()),
        };
        let now = self.clock.now();
        let user = user.filter(|user| user.until.is_none_or(|until| now < until));
        user.map(User::authenticated)
            .ok_or_else(Status::unauthorized)
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Why it is nobody's, without anything of the token.
    pub(super) fn holder(&self, token: &str) -> Result<User, String> {
        let digest = Digested::of(token);
        if digest.same(&self.admin) {
            return Ok(User::new("weir:admin", [MASTERS]));
        }
        if let Some(user) = self
            .tokens
            .as_ref()
            .and_then(|file| file.get().find(&digest))
        {
            return Ok(User {
                shown: Some(digest),
                ..user
            });
        }
        let Some((keys, oidc)) = &self.issuer else {
            return Err("no such token".to_owned());
        };
        let user = keys.get().user(oidc, token, self.clock.now());
        if let Err(why) = &user {
            tracing::debug!(why, "token refused");
        }
        user
    }

    /// Whether a user who was let in would still be: false once their token is taken out of its
    /// file or stands for somebody else.
    pub(super) fn still_good(&self, user: &User) -> bool {
        let Some(digest) = &user.shown else {
            return true;
        };
        let found = self
            .tokens
            .as_ref()
            .and_then(|file| file.get().find(digest));
        found.is_some_and(|found| {
            let found = found.authenticated();
            (&found.name, &found.groups) == (&user.name, &user.groups)
        })
    }

    /// Tells of changes of the files.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks after the files until `stop`, and reads those that changed. Where one cannot be read,
    /// what it said before holds on.
    pub(super) async fn follow_files(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let tokens = self.tokens.as_ref().is_some_and(Reread::look);
            let keys = self.issuer.as_ref().is_some_and(|(keys, _)| keys.look());
            if tokens || keys {
                self.changes.send_modify(|count| *count += 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(token: &str) -> Authenticators {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let token = Confidential::new(token);
        Authenticators::prepare(&token, &AuthOptions::default(), &clock).unwrap()
    }

    #[test]
    fn only_the_right_token_is_let_in() {
        let auth = admin("right");
        for header in ["Bearer right", "bearer right"] {
            let user = auth.identify(Some(header), None).unwrap();
            assert_eq!(user.groups, [MASTERS, AUTHENTICATED]);
        }
        assert!(auth.identify(None, None).unwrap().is_anonymous());
        let certified = User::new("ann", []);
        for header in ["", "Bearer ", "Bearer wrong", "Basic right"] {
            // Who shows a wrong token is not let in by a right certificate.
            for certified in [None, Some(&certified)] {
                let refused = auth.identify(Some(header), certified).unwrap_err();
                assert_eq!(refused.code, 401, "{header}");
            }
        }
    }

    #[test]
    fn a_credential_that_is_over_is_refused() {
        let auth = admin("right");
        let mut certified = User::new("ann", []);
        assert_eq!(auth.identify(None, Some(&certified)).unwrap().name, "ann");
        certified.until = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(auth.identify(None, Some(&certified)).unwrap_err().code, 401);
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", admin("canary")).contains("canary"));
    }
}
