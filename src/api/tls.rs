//! The controller's own certificate authority, its server certificate and the bearer token.
//!
//! Everything lives in the state folder and is made at the first start: `tls/ca.crt`,
//! `tls/ca.key`, `tls/server.crt`, `tls/server.key` and `token`. The authority's key is kept for
//! good, because clients have its certificate in their kubeconfigs. Its certificate and the server's
//! are made anew whenever less than a third of their life is left, also while the server runs, and
//! the server's when the address has changed. Clients go on with the authority's certificate that
//! they have to the end of its life, since the key is the same: more than three years in which to
//! fetch the new kubeconfig, which the next start writes. What a wrong clock made is made anew, too.

use std::{
    fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp, tz::Offset};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::files;
use crate::{clock::Clock, types::core::Confidential};

/// How long the authority's certificate is good for. Clients trust it by file, so nothing is gained
/// by less.
const CA_DAYS: i64 = 3650;
/// How long a server certificate is good for; below the 398 days that public clients accept.
const SERVER_DAYS: i64 = 365;
/// What clocks of clients may be behind ours.
const SKEW_DAYS: i64 = 1;
/// Bits of a bearer token / 8.
const TOKEN_BYTES: usize = 32;
/// How often the server looks whether its certificate is to be renewed.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// Why there is no certificate or token.
#[derive(Debug, thiserror::Error)]
#[error("{}: {doing}; {}", path.display(), self.remedy())]
pub struct TlsError {
    path: PathBuf,
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl TlsError {
    fn remedy(&self) -> &'static str {
        let io = self.source.downcast_ref::<io::Error>();
        match io.map(io::Error::kind) {
            None | Some(io::ErrorKind::InvalidData) => {
                "move the folder `tls` away to have everything in it made anew: clients elsewhere \
                 then need the new kubeconfig"
            }
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                "make room on its disk, then start again"
            }
            Some(_) => "make it a file that this user may read and write",
        }
    }
}

/// The server's end of TLS; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    identity: Arc<Identity>,
}

/// The authority and the certificate in use.
struct Identity {
    folder: PathBuf,
    names: Vec<String>,
    clock: Clock,
    /// The authority's certificate as it was at the start.
    ca: String,
    current: Mutex<Current>,
}

struct Current {
    /// The authority's certificate that goes with it.
    ca: String,
    key: Arc<CertifiedKey>,
    /// Before that it is no good: it was made by a clock that has been set back since.
    begins_at: Timestamp,
    renew_at: Timestamp,
}

impl Current {
    fn good(&self, now: Timestamp) -> bool {
        self.begins_at <= now && now < self.renew_at
    }
}

impl Tls {
    /// Reads the certificates below `dir`, or makes those that are missing, for a server that
    /// listens on `address`. Clients may show certificates of the authorities in `client_ca`, by
    /// default of its own.
    ///
    /// # Errors
    /// A file cannot be read or written, or is no certificate or key. Nothing is overwritten
    /// then; moving `tls/` away makes everything new.
    pub fn prepare(
        dir: &Path,
        address: IpAddr,
        client_ca: Option<&Path>,
        clock: &Clock,
    ) -> Result<Self, TlsError> {
        let folder = dir.join("tls");
        let now = clock.now();
        let names = names(address);
        let ca = authority(&folder, now)?;
        let current = match stored(&folder, &names, &ca)? {
            Some(current) if current.good(now) => current,
            _ => issue(&folder, &names, &ca, now)?,
        };
        let clients = clients(&folder, &ca, client_ca)?;
        let identity = Arc::new(Identity {
            folder,
            names,
            clock: clock.clone(),
            ca,
            current: Mutex::new(current),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring offers the default versions of TLS")
            .with_client_cert_verifier(clients)
            .with_cert_resolver(identity.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            identity,
        })
    }

    /// The authority's certificate as it was at the start, for kubeconfigs.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.identity.ca
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Renews the authority's certificate and the server's where little of their life is left.
    pub(super) fn renew(&self) {
        let identity = &self.identity;
        let now = identity.clock.now();
        let renewed = authority(&identity.folder, now).and_then(|ca| {
            let current = identity.current();
            if current.good(now) && current.ca == ca {
                return Ok(None);
            }
            drop(current);
            issue(&identity.folder, &identity.names, &ca, now).map(Some)
        });
        match renewed {
            Ok(None) => {}
            Ok(Some(new)) => *identity.current() = new,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "certificate not renewed"
                );
            }
        }
    }
}

impl Identity {
    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key.clone())
    }
}

/// Who checks the certificates of clients, which they need not show.
fn clients(
    folder: &Path,
    own: &str,
    given: Option<&Path>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let own_path = folder.join("ca.crt");
    let (path, pem) = match given {
        None => (own_path.as_path(), own.to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(path);
            (
                path,
                text.map_err(failed(path, "cannot read the authorities of clients"))?,
            )
        }
    };
    let unusable = "these are no authorities of clients";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(failed(path, unusable))?;
        roots.add(certificate).map_err(failed(path, unusable))?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.allow_unauthenticated().build();
    verifier.map_err(failed(path, unusable))
}

/// The bearer token in `dir/token`, made at the first call.
///
/// # Errors
/// The file cannot be read or written.
pub fn token(dir: &Path) -> Result<Confidential, TlsError> {
    let path = dir.join("token");
    let stored = files::read_if_present(&path).map_err(failed(&path, "cannot read the token"))?;
    if let Some(token) = stored.map(|text| text.trim().to_owned())
        && !token.is_empty()
    {
        return Ok(Confidential::new(token));
    }
    let mut bytes = [0; TOKEN_BYTES];
    ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))
        .map_err(failed(&path, "cannot make a token"))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    files::write_private(&path, token.as_bytes())
        .map_err(failed(&path, "cannot write the token"))?;
    Ok(Confidential::new(token))
}

/// What the server is called by: loopback in all its forms, and where it listens.
fn names(address: IpAddr) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let text = address.to_string();
    if !address.is_unspecified() && !names.contains(&text) {
        names.push(text);
    }
    names
}

/// The authority's certificate; made, with its key, where there is none, and anew where little of
/// its life is left.
fn authority(folder: &Path, now: Timestamp) -> Result<String, TlsError> {
    let path = folder.join("ca.crt");
    let stored =
        files::read_if_present(&path).map_err(failed(&path, "cannot read the certificate"))?;
    if let Some(pem) = stored {
        let key = ca_key(folder)?;
        return match begins_and_ends(&path, &pem)? {
            (begins, ends) if begins <= now && now < renewal(begins, ends) => Ok(pem),
            (begins, ends) if begins <= now && now < ends => {
                tracing::warn!(
                    until = %ends,
                    "the authority's certificate is renewed with its key; clients elsewhere go on \
                     with what they have until then, and need the new kubeconfig by then"
                );
                sign_authority(folder, &key, now)
            }
            _ => {
                tracing::warn!(
                    "the authority's certificate was made by a wrong clock, or is over: it is \
                     made anew with its key; clients elsewhere need the new kubeconfig"
                );
                sign_authority(folder, &key, now)
            }
        };
    }
    let key = KeyPair::generate().map_err(failed(&path, "cannot make a certificate authority"))?;
    save(&folder.join("ca.key"), &key.serialize_pem())?;
    sign_authority(folder, &key, now)
}

/// Makes and stores the authority's certificate.
fn sign_authority(folder: &Path, key: &KeyPair, now: Timestamp) -> Result<String, TlsError> {
    let path = folder.join("ca.crt");
    let mut params = ca_params();
    limit(&mut params, now, CA_DAYS);
    let certificate = params
        .self_signed(key)
        .map_err(failed(&path, "cannot make a certificate authority"))?;
    save(&path, &certificate.pem())?;
    Ok(certificate.pem())
}

/// The authority's key.
fn ca_key(folder: &Path) -> Result<KeyPair, TlsError> {
    let path = folder.join("ca.key");
    let pem =
        std::fs::read_to_string(&path).map_err(failed(&path, "cannot read the authority's key"))?;
    KeyPair::from_pem(&pem).map_err(failed(&path, "this is no private key"))
}

/// The validity of a certificate.
fn begins_and_ends(path: &Path, pem: &str) -> Result<(Timestamp, Timestamp), TlsError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(failed(path, "this is no certificate"))?;
    let limits = X509Certificate::from_der(&der)
        .ok()
        .and_then(|(_, parsed)| {
            let validity = parsed.validity();
            let second = |time: i64| Timestamp::from_second(time).ok();
            second(validity.not_before.timestamp()).zip(second(validity.not_after.timestamp()))
        });
    limits.ok_or_else(|| failed(path, "this is no certificate")("it cannot be read"))
}

/// What the authority is, apart from its key and its time: always the same, so that it can sign
/// again after a restart.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "weir authority");
    params
}

/// A new server certificate, stored and ready for use.
fn issue(folder: &Path, names: &[String], ca: &str, now: Timestamp) -> Result<Current, TlsError> {
    let path = folder.join("server.crt");
    let ca_key = ca_key(folder)?;
    let mut params = CertificateParams::new(names.to_vec())
        .map_err(failed(&path, "cannot make a server certificate"))?;
    params.distinguished_name.push(DnType::CommonName, "weir");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    limit(&mut params, now, SERVER_DAYS);
    let key = KeyPair::generate().map_err(failed(&path, "cannot make a server certificate"))?;
    let certificate = params
        .signed_by(&key, &Issuer::new(ca_params(), ca_key))
        .map_err(failed(&path, "cannot make a server certificate"))?;
    save(&folder.join("server.key"), &key.serialize_pem())?;
    save(&path, &certificate.pem())?;
    stored(folder, names, ca)?
        .ok_or_else(|| failed(&path, "cannot make a server certificate")("it names other hosts"))
}

/// The stored server certificate, if there is one for these names.
fn stored(folder: &Path, names: &[String], ca: &str) -> Result<Option<Current>, TlsError> {
    let path = folder.join("server.crt");
    let key_path = folder.join("server.key");
    let read = |path: &Path| {
        files::read_if_present(path).map_err(failed(path, "cannot read the server certificate"))
    };
    let (Some(certificate), Some(key)) = (read(&path)?, read(&key_path)?) else {
        return Ok(None);
    };
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(failed(&path, "this is no server certificate"))?;
    let (begins_at, renew_at, covered) = describe(&certificate)
        .ok_or_else(|| failed(&path, "this is no server certificate")("it cannot be read"))?;
    if names.iter().any(|name| !covered.contains(name)) {
        return Ok(None);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(failed(&key_path, "this is no private key"))?;
    let signer = CertificateDer::from_pem_slice(ca.as_bytes())
        .map_err(failed(&path, "this is no server certificate"))?;
    let key = CertifiedKey::from_der(vec![certificate, signer], key, &ring::default_provider())
        .map_err(failed(&path, "this is no server certificate"))?;
    Ok(Some(Current {
        ca: ca.to_owned(),
        key: Arc::new(key),
        begins_at,
        renew_at,
    }))
}

/// When a certificate is to be renewed: a third of its life before its end.
fn renewal(begins: Timestamp, ends: Timestamp) -> Timestamp {
    ends - ends.duration_since(begins) / 3
}

/// When a certificate begins, when it is to be renewed, and its names.
fn describe(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp, Vec<String>)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let start = parsed.validity().not_before.timestamp();
    let end = parsed.validity().not_after.timestamp();
    let names = parsed
        .subject_alternative_name()
        .ok()??
        .value
        .general_names
        .iter()
        .filter_map(name_text)
        .collect();
    let second = |time: i64| Timestamp::from_second(time).ok();
    let (start, end) = (second(start)?, second(end)?);
    Some((start, renewal(start, end), names))
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(*bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Makes a certificate good from a day ago until `days` from now, in whole days.
fn limit(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let day = |offset: i64| {
        let date = Offset::UTC
            .to_datetime(now + SignedDuration::from_hours(24 * offset))
            .date();
        let month = u8::try_from(date.month()).expect("a month is between 1 and 12");
        let day = u8::try_from(date.day()).expect("a day is between 1 and 31");
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = day(-SKEW_DAYS);
    params.not_after = day(days);
}

fn save(path: &Path, pem: &str) -> Result<(), TlsError> {
    files::write_private(path, pem.as_bytes()).map_err(failed(path, "cannot write the file"))
}

fn failed<E>(path: &Path, doing: &'static str) -> impl FnOnce(E) -> TlsError + use<E>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = path.to_owned();
    move |source| TlsError {
        path,
        doing,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{ServerName, UnixTime},
    };

    use super::*;

    fn at(time: &str) -> Clock {
        Clock::starting_at(time.parse().unwrap())
    }

    /// The validities of the authority and of the server certificate.
    fn limits(dir: &Path) -> [(Timestamp, Timestamp); 2] {
        ["tls/ca.crt", "tls/server.crt"].map(|name| {
            let path = dir.join(name);
            let pem = std::fs::read_to_string(&path).unwrap();
            begins_and_ends(&path, &pem).unwrap()
        })
    }

    #[test]
    fn certificates_that_a_wrong_clock_made_are_made_anew_with_the_same_key() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let right = at("2026-03-01T12:00:00Z");
        for wrong in ["2031-01-01T00:00:00Z", "1999-01-01T00:00:00Z"] {
            let dir = tempfile::tempdir().unwrap();
            let key = || std::fs::read_to_string(dir.path().join("tls/ca.key")).unwrap();
            Tls::prepare(dir.path(), address, None, &at(wrong)).unwrap();
            let made = key();
            Tls::prepare(dir.path(), address, None, &right).unwrap();
            for (begins, ends) in limits(dir.path()) {
                assert!(
                    begins <= right.now() && right.now() < ends,
                    "{begins} {ends}"
                );
            }
            assert_eq!(key(), made);
            let before = limits(dir.path());
            Tls::prepare(dir.path(), address, None, &right).unwrap();
            assert_eq!(limits(dir.path()), before, "good ones are kept");
        }
    }

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Whether somebody who has an authority's certificate believes the server.
    fn believed(tls: &Tls, ca: &str, now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let shown = tls.identity.current().key.cert.clone();
        let name = ServerName::try_from("localhost").unwrap();
        let seconds = u64::try_from(now.as_second()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verifier = verifier.build().unwrap();
        verifier
            .verify_server_cert(&shown[0], &shown[1..], &name, &[], now)
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_are_renewed_in_time_while_the_server_runs() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let dir = tempfile::tempdir().unwrap();
        let clock = at("2026-03-01T12:00:00Z");
        let tls = Tls::prepare(dir.path(), address, None, &clock).unwrap();
        let first = tls.ca_pem().to_owned();
        let signed = || std::fs::read_to_string(dir.path().join("tls/ca.crt")).unwrap();
        let mut renewed = [0, 0];
        let mut before = limits(dir.path());
        // Thirteen years, a week at a time.
        for _ in 0..13 * 52 {
            clock.sleep(7 * DAY).await;
            tls.renew();
            let after = limits(dir.path());
            for (count, (before, after)) in renewed.iter_mut().zip(before.iter().zip(&after)) {
                *count += usize::from(before != after);
            }
            before = after;
            let now = clock.now();
            for (begins, ends) in after {
                let left = ends.duration_since(now);
                let third = ends.duration_since(begins) / 3;
                assert!(
                    left > third - SignedDuration::from_hours(24 * 7),
                    "{now}: {ends}"
                );
            }
            assert!(believed(&tls, &signed(), now), "{now}");
            assert!(believed(&tls, &first, now), "{now}: it is the same key");
        }
        assert_eq!(renewed[0], 1, "the authority's certificate");
        assert!((19..=22).contains(&renewed[1]), "the server's: {renewed:?}");
        let kept = limits(dir.path());
        Tls::prepare(dir.path(), address, None, &clock).unwrap();
        assert_eq!(limits(dir.path()), kept, "a restart keeps what is good");
    }
}
