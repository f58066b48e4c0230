//! Tokens signed here with real keys, good ones and bad ones.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(way, document.as_ref(), &random).unwrap())
    }

    fn jwks(&self) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
                         "x": part(x), "y": part(y)});
        json!({"keys": [key]}).to_string()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signed = self
            .0
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn oidc() -> Oidc {
    Oidc {
        jwks_file: PathBuf::new(),
        issuer_url: "https://id.example.com".to_owned(),
        client_id: "weir".to_owned(),
        username_claim: "sub".to_owned(),
        username_prefix: None,
        groups_claim: Some("groups".to_owned()),
        groups_prefix: "id:".to_owned(),
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example.com", "aud": ["other", "weir"], "sub": "ann",
           "exp": NOW + 600, "nbf": NOW - 600, "groups": ["ops"]})
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "k1"})
}

#[track_caller]
fn told(signer: &Signer, token: &str) -> String {
    let issuer = Issuer::parse(&signer.jwks()).unwrap();
    let now = Timestamp::from_second(NOW).unwrap();
    match issuer.user(&oidc(), token, now) {
        Ok(user) => format!("{} {:?}", user.name, user.groups),
        Err(why) => why,
    }
}

#[test]
fn a_good_token_names_its_holder() {
    let signer = Signer::new();
    let token = signer.sign(&header(), &claims());
    assert_eq!(
        told(&signer, &token),
        r#"https://id.example.com#ann ["id:ops"]"#
    );
    // One that names no key is checked with all of them.
    let token = signer.sign(&json!({"alg": "ES256"}), &claims());
    assert!(told(&signer, &token).ends_with(r#"#ann ["id:ops"]"#));
}

#[test]
fn claims_that_are_wrong_missing_or_of_another_shape_are_refused() {
    let signer = Signer::new();
    let with = |claim: &str, value: Value| {
        let mut claims = claims();
        claims[claim] = value;
        told(&signer, &signer.sign(&header(), &claims))
    };
    for (claim, value, why) in [
        ("exp", json!(NOW), "over since"),
        ("exp", json!(null), "its exp is no time"),
        ("exp", json!("2040-01-01"), "its exp is no time"),
        ("nbf", json!(NOW + 61), "not good yet, by its nbf"),
        ("nbf", json!((NOW + 9999).to_string()), "its nbf is no time"),
        ("iat", json!(NOW + 61), "not good yet, by its iat"),
        ("iss", json!("https://evil.example.com"), "another issuer"),
        ("iss", json!(["https://id.example.com"]), "another issuer"),
        ("aud", json!("other"), "for another audience"),
        ("aud", json!(null), "for another audience"),
        ("sub", json!(""), "it has no sub"),
        ("sub", json!(7), "it has no sub"),
    ] {
        let told = with(claim, value.clone());
        assert!(told.starts_with(why), "{claim}: {value}: {told}");
    }
    let mut endless = claims();
    endless.as_object_mut().unwrap().remove("exp");
    let told = told(&signer, &signer.sign(&header(), &endless));
    assert_eq!(told, "it does not say until when it is good");
}

#[test]
fn a_key_is_good_for_one_algorithm() {
    let signer = Signer::new();
    for alg in ["none", "None", "HS256", "ES384", "RS256"] {
        let token = signer.sign(&json!({"alg": alg, "kid": "k1"}), &claims());
        let told = told(&signer, &token);
        assert!(!told.contains("ann"), "{alg}: {told}");
    }
    let unsigned = message(&json!({"alg": "none"}), &claims());
    for token in [format!("{unsigned}."), unsigned] {
        assert!(told(&signer, &token).starts_with("no JWT"));
    }
    // The old trick: the public key taken for a secret.
    let message = message(&json!({"alg": "HS256", "kid": "k1"}), &claims());
    let key = hmac::Key::new(hmac::HMAC_SHA256, signer.0.public_key().as_ref());
    let signed = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    assert!(!told(&signer, &format!("{message}.{signed}")).contains("ann"));
}

#[test]
fn what_another_signed_or_somebody_changed_is_refused() {
    let (ours, other) = (Signer::new(), Signer::new());
    let token = other.sign(&header(), &claims());
    assert_eq!(told(&ours, &token), "the signature is not the provider's");
    let token = ours.sign(&header(), &claims());
    let mut parts: Vec<&str> = token.split('.').collect();
    let mut forged = claims();
    forged["sub"] = json!("root");
    let forged = URL_SAFE_NO_PAD.encode(forged.to_string());
    parts[1] = &forged;
    let told_of = told(&ours, &parts.join("."));
    assert_eq!(told_of, "the signature is not the provider's");
    let token = ours.sign(&json!({"alg": "ES256", "kid": "k2"}), &claims());
    assert!(told(&ours, &token).starts_with("signed by a key"));
}

#[test]
fn a_provider_makes_nobody_an_administrator() {
    let signer = Signer::new();
    let mut claims = claims();
    claims["groups"] = json!(["system:masters", "ops"]);
    let token = signer.sign(&header(), &claims);
    let issuer = Issuer::parse(&signer.jwks()).unwrap();
    let now = Timestamp::from_second(NOW).unwrap();
    let plain = Oidc {
        username_prefix: Some("-".to_owned()),
        groups_prefix: String::new(),
        ..oidc()
    };
    let user = issuer.user(&plain, &token, now).unwrap();
    assert_eq!(
        (user.name.as_str(), user.groups.as_slice()),
        ("ann", &["ops".to_owned()][..])
    );
    claims["sub"] = json!("system:admin");
    let token = signer.sign(&header(), &claims);
    assert!(issuer.user(&plain, &token, now).is_err());
}

#[test]
fn keys_that_are_secrets_are_refused() {
    let told = |keys: Value| Issuer::parse(&json!({ "keys": keys }).to_string()).unwrap_err();
    let secret = json!([{"kty": "oct", "k": "c2VjcmV0"}]);
    assert!(told(secret).starts_with("key 1: it is no public key"));
    assert_eq!(told(json!([])), "it has no key that signs");
}
