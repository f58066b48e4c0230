//! TLS with client certificates, and users with passwords: who may in, and what the others are
//! told.

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use tempfile::TempDir;
use weir::store::{Backend, Etcd, EtcdConfig, EtcdError, EtcdFiles, Expect};

use super::{
    HISTORY,
    server::{self, until},
    suite::put,
};

/// Certificates as an operator would have them, in files of a folder.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn issue(&self, name: &str, usages: &[ExtendedKeyUsagePurpose]) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = usages.to_vec();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn word(&self, option: &str, name: &str) -> String {
        format!("--{option}={}", self.path(name).display())
    }
}

async fn connect(address: &str, files: &EtcdFiles) -> Result<Etcd, EtcdError> {
    Etcd::connect(&EtcdConfig::read(address, files)?, HISTORY).await
}

async fn refused(address: &str, files: &EtcdFiles, words: &[&str]) {
    let told = connect(address, files).await.unwrap_err().to_string();
    for word in words {
        assert!(told.contains(word), "lacks `{word}`: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_proves_both_ends_to_each_other() {
    let authority = Authority::new();
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    authority.issue("server", &[ServerAuth, ClientAuth]);
    authority.issue("client", &[ClientAuth]);
    let stranger = Authority::new();
    stranger.issue("client", &[ClientAuth]);
    let words = [
        authority.word("cert-file", "server.crt"),
        authority.word("key-file", "server.key"),
        authority.word("trusted-ca-file", "ca.crt"),
        "--client-cert-auth".to_owned(),
    ];
    let Some(server) = server::single_with(&words).await else {
        return;
    };
    let address = server.address();
    let files = EtcdFiles {
        ca: Some(authority.path("ca.crt")),
        certificate: Some(authority.path("client.crt")),
        key: Some(authority.path("client.key")),
        ..EtcdFiles::default()
    };
    let etcd = until("etcd serves", async || {
        connect(&address, &files).await.map_err(|e| e.to_string())
    })
    .await;
    let made = put(&etcd, "a/1", "one", Expect::Absent).await;
    assert_eq!(etcd.get("a/1").await.unwrap().unwrap().version, made);

    let ca = |path| EtcdFiles {
        ca: Some(path),
        ..files.clone()
    };
    refused(
        &address,
        &ca(stranger.path("ca.crt")),
        &[&address[8..], "is --etcd-ca"],
    )
    .await;
    let nobody = EtcdFiles {
        certificate: None,
        key: None,
        ..files.clone()
    };
    refused(&address, &nobody, &["--etcd-cert"]).await;
    let other = EtcdFiles {
        certificate: Some(stranger.path("client.crt")),
        key: Some(stranger.path("client.key")),
        ..files.clone()
    };
    refused(&address, &other, &["--etcd-cert"]).await;
    let plain = address.replace("etcds", "etcd");
    refused(&plain, &EtcdFiles::default(), &["write etcds://"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_member_without_it_is_told() {
    let authority = Authority::new();
    let Some(server) = server::single().await else {
        return;
    };
    let files = EtcdFiles {
        ca: Some(authority.path("ca.crt")),
        ..EtcdFiles::default()
    };
    let address = server.address().replace("etcd", "etcds");
    refused(&address, &files, &["is it etcd://?"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_a_password_and_its_keys_alone() {
    let Some(server) = server::single().await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    fs::write(&password, "open sesame\n").unwrap();
    let wrong = dir.path().join("wrong");
    fs::write(&wrong, "guess\n").unwrap();
    let files = EtcdFiles {
        user: Some("weir".to_owned()),
        password: Some(password),
        ..EtcdFiles::default()
    };
    let address = server.address();
    refused(&address, &files, &["leave --etcd-user out"]).await;

    let mut permission = json!({"permType": 2});
    permission["key"] = json!(STANDARD.encode("/weir/"));
    permission["range_end"] = json!(STANDARD.encode("/weir0"));
    for (path, body) in [
        ("auth/user/add", json!({"name": "root", "password": "root"})),
        ("auth/role/add", json!({"name": "root"})),
        ("auth/user/grant", json!({"user": "root", "role": "root"})),
        (
            "auth/user/add",
            json!({"name": "weir", "password": "open sesame"}),
        ),
        ("auth/role/add", json!({"name": "weir"})),
        (
            "auth/role/grant",
            json!({"name": "weir", "perm": permission}),
        ),
        ("auth/user/grant", json!({"user": "weir", "role": "weir"})),
        ("auth/enable", json!({})),
    ] {
        server.post(path, &body).await;
    }
    let etcd = connect(&address, &files).await.unwrap();
    let made = put(&etcd, "a/1", "one", Expect::Absent).await;
    assert_eq!(etcd.version().await.unwrap(), made);

    refused(
        &address,
        &EtcdFiles::default(),
        &["it wants a user: --etcd-user"],
    )
    .await;
    let guess = EtcdFiles {
        password: Some(wrong),
        ..files.clone()
    };
    refused(&address, &guess, &["check --etcd-user"]).await;
    let elsewhere = format!("{address}/elsewhere");
    refused(&elsewhere, &files, &["readwrite /elsewhere/"]).await;

    // A member that starts anew knows no token any more.
    server.kill();
    server.start();
    server.serves().await;
    put(&etcd, "a/1", "two", Expect::At(made)).await;
    let from = etcd.version().await.unwrap();
    let mut watch = etcd.watch("a/", from).unwrap();
    put(&etcd, "a/1", "three", Expect::Any).await;
    super::suite::take(&mut watch, 1).await;
}
