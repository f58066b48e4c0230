//! JWTs of an identity provider (OpenID Connect), checked against a file with its keys.
//!
//! Each key is for one algorithm, whatever a token says of itself. The claims are judged here, by
//! Weir's own clock. Keys are not fetched: whoever runs Weir puts the provider's JWKS into the
//! file, which is read again when it changes.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde_json::{Map, Value};

use super::{RESERVED, User, verify};

/// How far a provider's clock may be ahead of ours. Behind ours it may not be: a token that is
/// over is over.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// Keys of a provider; a token is checked with those that it may have been signed with.
const KEYS_MAX: usize = 64;
/// Groups of a user.
const GROUPS_MAX: usize = 1000;

/// Whose tokens are taken, and what their claims mean.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// The provider's keys, as a JWKS.
    pub jwks_file: PathBuf,
    /// The claim `iss` that a token must have.
    pub issuer_url: String,
    /// What must be in the claim `aud`.
    pub client_id: String,
    /// The claim that names the user.
    pub username_claim: String,
    /// What is put before the name; `-` is nothing. By default the issuer and a `#`, except before
    /// an e-mail address.
    pub username_prefix: Option<String>,
    /// The claim with the groups.
    pub groups_claim: Option<String>,
    /// What is put before each.
    pub groups_prefix: String,
}

/// The keys of a provider.
#[derive(Debug)]
pub(super) struct Issuer {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Issuer {
    /// Reads a JWKS. Keys for encryption are passed over.
    ///
    /// # Errors
    /// It is none, or a key in it cannot be used.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        verify::install();
        let set: JwkSet =
            serde_json::from_str(text).map_err(|error| format!("it is no JWKS: {error}"))?;
        let signs = |jwk: &&Jwk| {
            let meant = &jwk.common.public_key_use;
            meant.is_none() || *meant == Some(PublicKeyUse::Signature)
        };
        let keys = set
            .keys
            .iter()
            .filter(signs)
            .enumerate()
            .map(|(index, jwk)| Key::read(jwk).map_err(|why| format!("key {}: {why}", index + 1)));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        match keys.len() {
            0 => Err("it has no key that signs".to_owned()),
            n if n > KEYS_MAX => Err(format!("it has {n} keys; have at most {KEYS_MAX}")),
            _ => Ok(Self { keys }),
        }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn user(&self, oidc: &Oidc, token: &str, now: Timestamp) -> Result<User, String> {
        let claims = self.verified(token)?;
        let until = judge(&claims, oidc, now)?;
        let name = username(&claims, oidc)?;
        if name.starts_with(RESERVED) {
            return Err(format!(
                "names that begin with {RESERVED} are not a provider's"
            ));
        }
        let groups = oidc.groups_claim.as_ref();
        let groups = groups.map_or_else(Vec::new, |claim| texts(claims.get(claim)));
        let groups = groups.iter().take(GROUPS_MAX);
        let groups = groups.map(|group| format!("{}{group}", oidc.groups_prefix));
        // Or else a provider could make anybody an administrator.
        let groups = groups.filter(|group| !group.starts_with(RESERVED));
        Ok(User {
            groups: groups.collect(),
            until: Some(until),
            ..User::new(&name, [])
        })
    }

    /// The claims of a token that one of the keys has signed.
    fn verified(&self, token: &str) -> Result<Map<String, Value>, String> {
        let header = decode_header(token).map_err(|error| format!("no JWT: {error}"))?;
        let fits = |key: &&Key| {
            let named = header.kid.is_none() || key.id.is_none() || key.id == header.kid;
            named && key.algorithm == header.alg
        };
        let mut fitting = self.keys.iter().filter(fits).peekable();
        if fitting.peek().is_none() {
            return Err("signed by a key or an algorithm that is not the provider's".to_owned());
        }
        let read = fitting.find_map(|key| key.claims(token));
        read.ok_or_else(|| "the signature is not the provider's".to_owned())
    }
}

impl Key {
    fn read(jwk: &Jwk) -> Result<Self, String> {
        let meant = jwk.common.key_algorithm;
        let of = |known: &[(KeyAlgorithm, Algorithm)]| match meant {
            None => Ok(known[0].1),
            Some(meant) => {
                let found = known.iter().find(|(name, _)| *name == meant);
                let found = found.map(|(_, algorithm)| *algorithm);
                found.ok_or_else(|| format!("the algorithm {meant:?} does not go with the key"))
            }
        };
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => of(&[
                (KeyAlgorithm::RS256, Algorithm::RS256),
                (KeyAlgorithm::RS384, Algorithm::RS384),
                (KeyAlgorithm::RS512, Algorithm::RS512),
                (KeyAlgorithm::PS256, Algorithm::PS256),
                (KeyAlgorithm::PS384, Algorithm::PS384),
                (KeyAlgorithm::PS512, Algorithm::PS512),
            ]),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => of(&[(KeyAlgorithm::ES256, Algorithm::ES256)]),
                EllipticCurve::P384 => of(&[(KeyAlgorithm::ES384, Algorithm::ES384)]),
                _ => Err("only the curves P-256 and P-384 can be used".to_owned()),
            },
            AlgorithmParameters::OctetKeyPair(_) => of(&[(KeyAlgorithm::EdDSA, Algorithm::EdDSA)]),
            _ => Err("it is no public key: whoever reads this file could sign".to_owned()),
        }?;
        Ok(Self {
            id: jwk.common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?,
        })
    }

    fn claims(&self, token: &str) -> Option<Map<String, Value>> {
        let mut validation = Validation::new(self.algorithm);
        // See `judge`.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = decode::<Map<String, Value>>(token, &self.key, &validation);
        decoded.ok().map(|decoded| decoded.claims)
    }
}

/// Says whether the token is from the provider, for us and for now; the answer is until when.
fn judge(claims: &Map<String, Value>, oidc: &Oidc, now: Timestamp) -> Result<Timestamp, String> {
    if claims.get("iss").and_then(Value::as_str) != Some(&oidc.issuer_url) {
        return Err("another issuer".to_owned());
    }
    if !texts(claims.get("aud")).contains(&oidc.client_id) {
        return Err("for another audience".to_owned());
    }
    let until = time(claims, "exp")?.ok_or("it does not say until when it is good")?;
    if now >= until {
        return Err(format!("over since {until}"));
    }
    for claim in ["nbf", "iat"] {
        if time(claims, claim)?.is_some_and(|from| from > now + AHEAD) {
            return Err(format!("not good yet, by its {claim}"));
        }
    }
    Ok(until)
}

/// A time in seconds since 1970, which may have a fraction.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<Timestamp>, String> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let seconds = value.as_i64().or_else(|| {
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        value.as_f64().map(|seconds| seconds.floor() as i64)
    });
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(Some)
        .ok_or_else(|| format!("its {claim} is no time"))
}

fn username(claims: &Map<String, Value>, oidc: &Oidc) -> Result<String, String> {
    let claim = &oidc.username_claim;
    let name = claims.get(claim).and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| format!("it has no {claim}"))?;
    let is_email = claim == "email";
    if is_email
        && claims
            .get("email_verified")
            .is_some_and(|said| said != true)
    {
        return Err("its e-mail address is not verified".to_owned());
    }
    Ok(match oidc.username_prefix.as_deref() {
        Some("-") => name.to_owned(),
        Some(prefix) => format!("{prefix}{name}"),
        None if is_email => name.to_owned(),
        None => format!("{}#{name}", oidc.issuer_url),
    })
}

/// One text or a list of them.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(list)) => {
            let list = list.iter().filter_map(Value::as_str);
            list.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
