//! The signatures of JWTs, checked by `ring`, which TLS uses already: so `jsonwebtoken` brings no
//! cryptography of its own. Nothing is signed here.

use std::sync::Once;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
};
use ring::signature::{self as checks, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

/// Has `jsonwebtoken` use this module.
pub(super) fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Refused only where it was done before, by a program that Weir is a library of.
        PROVIDER.install_default().ok();
    });
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let fits = match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => AlgorithmFamily::Rsa,
        Algorithm::ES256 | Algorithm::ES384 => AlgorithmFamily::Ec,
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    if key.family() != fits {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let (algorithm, key) = (*algorithm, key.clone());
    Ok(Box::new(Verifier { algorithm, key }))
}

struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier {
    fn check(&self, message: &[u8], signed: &[u8]) -> Result<(), ring::error::Unspecified> {
        let plain = |check: &'static dyn checks::VerificationAlgorithm| match self.key.kind() {
            DecodingKeyKind::SecretOrDer(key) => {
                UnparsedPublicKey::new(check, key).verify(message, signed)
            }
            DecodingKeyKind::RsaModulusExponent { .. } => Err(ring::error::Unspecified),
        };
        let rsa = |check: &'static RsaParameters| match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(check, message, signed)
            }
            DecodingKeyKind::SecretOrDer(_) => Err(ring::error::Unspecified),
        };
        match self.algorithm {
            Algorithm::RS256 => rsa(&checks::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&checks::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&checks::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&checks::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&checks::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&checks::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => plain(&checks::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => plain(&checks::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => plain(&checks::ED25519),
            _ => Err(ring::error::Unspecified),
        }
    }
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let checked = self.check(message, signed);
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
