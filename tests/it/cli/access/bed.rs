//! The built controller, and users of several kinds who reach it with the real kubectl.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::super::lab::{Server, run, until};

/// What is in the Secret of every bed, plain and in base64. It may be seen nowhere.
pub(crate) const CANARY: &str = "canary-in-a-coal-mine";
pub(crate) const CANARY_64: &str = "Y2FuYXJ5LWluLWEtY29hbC1taW5l";

/// See the module.
pub(crate) struct Bed {
    pub(crate) controller: Server,
    pub(crate) provider: Provider,
    dir: tempfile::TempDir,
}

/// What kubectl said, and how it ended.
pub(crate) struct Said {
    pub(crate) done: bool,
    pub(crate) text: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.done, "{}", self.text);
        self.text
    }

    /// It failed, and said that.
    #[track_caller]
    pub(crate) fn refused(self, why: &str) {
        let text = self.text;
        assert!(
            !self.done && text.contains(why),
            "wanted {why:?}, and it said: {text}"
        );
    }
}

impl Bed {
    /// A controller with a token file (users `ann` and `eve`), an identity provider and an audit
    /// log, with namespaces `lab` and `other`, and a Secret in `lab`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = Provider::new();
        fs::write(dir.path().join("jwks.json"), provider.jwks()).unwrap();
        let words = [
            "controller",
            "--listen",
            "127.0.0.1:0",
            "--token-auth-file",
            "tokens",
            "--audit-log",
            "audit.log",
            "--oidc-jwks-file",
            "jwks.json",
            "--oidc-issuer-url",
            "https://id.example.com",
            "--oidc-client-id",
            "weir",
            "--oidc-username-prefix",
            "id:",
            "--oidc-groups-claim",
            "groups",
            "--oidc-groups-prefix",
            "id:",
        ];
        let users = [("ann", "ann-token"), ("eve", "eve-token")];
        write_tokens(dir.path(), &users);
        let controller = Server::start(dir.path(), "controller", &words);
        let bed = Self {
            controller,
            provider,
            dir,
        };
        until("the controller answers", || {
            let said = bed.admin(&["get", "--raw", "/readyz"]);
            said.done
                .then_some(())
                .ok_or(format!("{}\n{}", said.text, bed.controller.log()))
        });
        for user in ["ann", "eve"] {
            bed.know(user, &json!({ "token": format!("{user}-token") }));
        }
        bed.admin(&["create", "-f", &bed.file("people.yaml", PEOPLE)])
            .ok();
        bed
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    pub(crate) fn kubectl(&self, kubeconfig: &Path, words: &[&str]) -> Command {
        let mut kubectl = Command::new("kubectl");
        kubectl
            .env("HOME", self.dir())
            .env_remove("KUBECONFIG")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(words);
        kubectl
    }

    fn told(&self, kubeconfig: &Path, words: &[&str]) -> Said {
        let mut kubectl = self.kubectl(kubeconfig, words);
        let output = kubectl.stdin(Stdio::null()).output().unwrap();
        let parts = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&parts).into_owned();
        Said {
            done: output.status.success(),
            text,
        }
    }

    pub(crate) fn admin(&self, words: &[&str]) -> Said {
        self.told(&self.dir().join("state/kubeconfig"), words)
    }

    /// What kubectl says to a user, which is nothing of the Secret.
    #[track_caller]
    pub(crate) fn by(&self, user: &str, words: &[&str]) -> Said {
        let said = self.told(&self.kubeconfig(user), words);
        assert!(
            !said.text.contains(CANARY) && !said.text.contains(CANARY_64),
            "{}",
            said.text
        );
        said
    }

    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir().join(format!("{user}.kubeconfig"))
    }

    /// Writes a kubeconfig for a user with a credential.
    pub(crate) fn know(&self, user: &str, credential: &Value) {
        let text = fs::read_to_string(self.dir().join("state/kubeconfig")).unwrap();
        let mut file: Value = serde_yaml::from_str(&text).unwrap();
        file["users"][0]["user"] = credential.clone();
        fs::write(self.kubeconfig(user), file.to_string()).unwrap();
    }

    /// A user with a certificate that the authority in `folder` has signed.
    pub(crate) fn certify(&self, user: &str, groups: &[&str], folder: &Path) {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let ca_key = KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = Issuer::new(authority(), ca_key);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let certificate = self.file(&format!("{user}.crt"), &certificate.pem());
        let key = self.file(&format!("{user}.key"), &key.serialize_pem());
        self.know(
            user,
            &json!({ "client-certificate": certificate, "client-key": key }),
        );
    }

    /// Starts kubectl in the background; what it says goes to a file.
    pub(crate) fn start(&self, user: &str, words: &[&str]) -> (Child, PathBuf) {
        let path = self.dir().join("started.log");
        let log = fs::File::create(&path).unwrap();
        let mut kubectl = self.kubectl(&self.kubeconfig(user), words);
        let kubectl = kubectl.stdout(log.try_clone().unwrap()).stderr(log);
        (kubectl.spawn().unwrap(), path)
    }

    /// The lines of the audit log.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir().join("audit.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// What an authority is called, ours and those that claim to be.
pub(crate) fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "weir authority");
    params
}

/// Writes the token file, each line as `weir token hash` prints it.
pub(crate) fn write_tokens(dir: &Path, users: &[(&str, &str)]) {
    let lines = users.iter().map(|(user, token)| {
        let words = ["token", "hash", "--user", user, "--group", "people"];
        let line = run(dir, &words, token).done();
        assert!(!line.contains(token), "{line}");
        line
    });
    let text: String = lines.collect();
    // Put in its place as a whole: the controller may look at any time.
    fs::write(dir.join("tokens.new"), text).unwrap();
    fs::rename(dir.join("tokens.new"), dir.join("tokens")).unwrap();
}

/// An identity provider: it signs tokens.
pub(crate) struct Provider(EcdsaKeyPair);

impl Provider {
    pub(crate) fn new() -> Self {
        let (way, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(way, document.as_ref(), &random).unwrap())
    }

    fn jwks(&self) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256",
                         "x": part(x), "y": part(y)});
        json!({ "keys": [key] }).to_string()
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signed = self
            .0
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed))
    }
}

const PEOPLE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: lab}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: lab}
stringData: {apiKey: canary-in-a-coal-mine}
---
apiVersion: weir.dev/v1alpha1
kind: CloudAccount
metadata: {name: cloud, namespace: lab}
spec: {endpoint: 'http://127.0.0.1:9/client/api', secretRef: {name: none}}
";
