//! Kubeconfigs: the file that says where a server is, whom to trust and which token to show.
//!
//! Written for Weir's own server, and read wherever it came from, as far as a URL, an authority, a
//! token and a client certificate go. Credential plugins are left to kubectl.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::files;
use crate::types::core::Confidential;

/// The name of the context, the cluster and the user in a kubeconfig of ours.
const NAME: &str = "weir";
/// The namespace of a context that names none.
const NAMESPACE: &str = "default";

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its URL, without a slash at the end.
    pub server: String,
    /// PEM certificates to trust; none means those of the system.
    pub ca_pem: Option<String>,
    /// Whether any certificate is taken (`insecure-skip-tls-verify`).
    pub insecure: bool,
    /// The bearer token.
    pub token: Option<Confidential>,
    /// The client certificate and its key, in PEM.
    pub certificate: Option<(String, Confidential)>,
    /// The namespace that commands are about unless told otherwise.
    pub namespace: String,
}

/// Why a kubeconfig is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It cannot be read or written.
    #[error("cannot open the kubeconfig {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no kubeconfig.
    #[error("{} is no kubeconfig", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_yaml::Error,
    },
    /// Something in it is missing or wrong.
    #[error("kubeconfig {}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        what: String,
    },
}

/// Writes the kubeconfig of a server, readable by its owner only.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    path: &Path,
    server: &str,
    ca_pem: &str,
    token: &Confidential,
) -> Result<(), KubeconfigError> {
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": NAME, "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(ca_pem),
        }}],
        "users": [{ "name": NAME, "user": { "token": token.expose() } }],
        "contexts": [{ "name": NAME, "context": {
            "cluster": NAME, "user": NAME, "namespace": NAMESPACE,
        }}],
        "current-context": NAME,
    });
    let text = serde_yaml::to_string(&document).expect("JSON can be written as YAML");
    files::write_private(path, text.as_bytes()).map_err(|source| KubeconfigError::Io {
        path: path.to_owned(),
        source,
    })
}

/// What a user shows.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A bearer token.
    Token(Confidential),
    /// A client certificate and its key, in PEM.
    Certificate(String, Confidential),
}

/// Adds a user of a server to the kubeconfig at `path`, which is made where there is none, and
/// makes their context the current one. Entries of the same name are replaced.
///
/// # Errors
/// The file is no kubeconfig, or cannot be written.
pub fn add(
    path: &Path,
    (name, namespace): (&str, &str),
    access: &Access,
    credential: &Credential,
) -> Result<(), KubeconfigError> {
    let io = |source| KubeconfigError::Io {
        path: path.to_owned(),
        source,
    };
    let shape = |source| KubeconfigError::Shape {
        path: path.to_owned(),
        source,
    };
    let text = files::read_if_present(path).map_err(io)?;
    let text = text.filter(|text| !text.trim().is_empty());
    let mut file: Value = match text {
        Some(text) => serde_yaml::from_str(&text).map_err(shape)?,
        None => json!({ "apiVersion": "v1", "kind": "Config" }),
    };
    if !file.is_object() {
        return Err(KubeconfigError::Content {
            path: path.to_owned(),
            what: "it is no mapping; move it away".to_owned(),
        });
    }
    let mut cluster = json!({ "server": access.server });
    if let Some(pem) = &access.ca_pem {
        cluster["certificate-authority-data"] = json!(STANDARD.encode(pem));
    }
    if access.insecure {
        cluster["insecure-skip-tls-verify"] = json!(true);
    }
    let user = match credential {
        Credential::Token(token) => json!({ "token": token.expose() }),
        Credential::Certificate(certificate, key) => json!({
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key.expose()),
        }),
    };
    let context = json!({ "cluster": name, "user": name, "namespace": namespace });
    for (list, member, entry) in [
        ("clusters", "cluster", cluster),
        ("users", "user", user),
        ("contexts", "context", context),
    ] {
        if !file[list].is_array() {
            file[list] = json!([]);
        }
        if let Some(list) = file[list].as_array_mut() {
            list.retain(|had| had["name"] != name);
            list.push(json!({ "name": name, member: entry }));
        }
    }
    file["current-context"] = json!(name);
    let text = serde_yaml::to_string(&file).map_err(shape)?;
    files::write_private(path, text.as_bytes()).map_err(io)
}

/// Reads how to reach the server of a context, by default the current one.
///
/// # Errors
/// There is no such file or context, or it does not say enough.
pub fn read(path: &Path, context: Option<&str>) -> Result<Access, KubeconfigError> {
    let text = fs::read_to_string(path).map_err(|source| KubeconfigError::Io {
        path: path.to_owned(),
        source,
    })?;
    let file: File = serde_yaml::from_str(&text).map_err(|source| KubeconfigError::Shape {
        path: path.to_owned(),
        source,
    })?;
    file.access(path, context)
        .map_err(|what| KubeconfigError::Content {
            path: path.to_owned(),
            what,
        })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
    current_context: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    #[serde(default)]
    cluster: Cluster,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
    certificate_authority: Option<PathBuf>,
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct User {
    token: Option<Confidential>,
    token_file: Option<PathBuf>,
    #[serde(rename = "client-certificate")]
    client_certificate: Option<PathBuf>,
    #[serde(rename = "client-certificate-data")]
    client_certificate_data: Option<String>,
    #[serde(rename = "client-key")]
    client_key: Option<PathBuf>,
    #[serde(rename = "client-key-data")]
    client_key_data: Option<Confidential>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    #[serde(default)]
    context: Context,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

impl File {
    fn access(&self, path: &Path, context: Option<&str>) -> Result<Access, String> {
        let wanted = context.unwrap_or(&self.current_context);
        let context = self.contexts.iter().find(|c| c.name == wanted);
        let context = &context.ok_or_else(|| self.no_context(wanted))?.context;
        let cluster = self.clusters.iter().find(|c| c.name == context.cluster);
        let cluster = cluster
            .map(|named| &named.cluster)
            .filter(|cluster| !cluster.server.is_empty())
            .ok_or_else(|| format!("it names no server for the cluster {:?}", context.cluster))?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let user = self.users.iter().find(|u| u.name == context.user);
        let token = user.map_or(Ok(None), |named| named.user.token(folder))?;
        let certificate = user.map_or(Ok(None), |named| named.user.certificate(folder))?;
        Ok(Access {
            server: cluster.server.trim_end_matches('/').to_owned(),
            ca_pem: cluster.ca_pem(folder)?,
            insecure: cluster.insecure_skip_tls_verify,
            token,
            certificate,
            namespace: context
                .namespace
                .clone()
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or_else(|| NAMESPACE.to_owned()),
        })
    }

    fn no_context(&self, wanted: &str) -> String {
        let names: Vec<_> = self.contexts.iter().map(|c| c.name.as_str()).collect();
        format!(
            "it has no context {wanted:?}; it has: {}",
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        )
    }
}

impl Cluster {
    fn ca_pem(&self, folder: &Path) -> Result<Option<String>, String> {
        if let Some(data) = &self.certificate_authority_data {
            return decoded("certificate-authority-data", data).map(Some);
        }
        self.certificate_authority
            .as_ref()
            .map(|file| read_beside(folder, file))
            .transpose()
    }
}

impl User {
    fn token(&self, folder: &Path) -> Result<Option<Confidential>, String> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(Some(token.clone())),
            (None, Some(file)) => {
                let text = read_beside(folder, file)?;
                Ok(Some(Confidential::new(text.trim())))
            }
            (None, None) => Ok(None),
        }
    }

    fn certificate(&self, folder: &Path) -> Result<Option<(String, Confidential)>, String> {
        let data = self.client_certificate_data.as_deref();
        let certificate = match (data, &self.client_certificate) {
            (Some(data), _) => decoded("client-certificate-data", data)?,
            (None, Some(file)) => read_beside(folder, file)?,
            (None, None) => return Ok(None),
        };
        let key = match (&self.client_key_data, &self.client_key) {
            (Some(data), _) => decoded("client-key-data", data.expose())?,
            (None, Some(file)) => read_beside(folder, file)?,
            (None, None) => return Err("it has a client certificate without its key".to_owned()),
        };
        Ok(Some((certificate, Confidential::new(key))))
    }
}

/// The text of a member in base64.
fn decoded(member: &str, data: &str) -> Result<String, String> {
    let bytes = STANDARD
        .decode(data)
        .map_err(|error| format!("{member} is not base64: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{member} is not PEM"))
}

/// A file that is named relative to the kubeconfig.
fn read_beside(folder: &Path, file: &Path) -> Result<String, String> {
    let path = folder.join(file);
    fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let token = Confidential::new("t0ken");
        write(&path, "https://127.0.0.1:7443", "-- ca --", &token).unwrap();
        let access = read(&path, None).unwrap();
        assert_eq!(access.server, "https://127.0.0.1:7443");
        assert_eq!(access.ca_pem.as_deref(), Some("-- ca --"));
        assert_eq!(access.token.unwrap().expose(), "t0ken");
        assert_eq!(access.namespace, "default");
        let error = read(&path, Some("prod")).unwrap_err().to_string();
        assert!(
            error.ends_with("it has no context \"prod\"; it has: weir"),
            "{error}"
        );
    }

    #[test]
    fn files_are_found_beside_the_kubeconfig() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(dir.path().join("ca.pem"), "ca").unwrap();
        fs::write(dir.path().join("tok"), "secret\n").unwrap();
        fs::write(
            &path,
            "clusters: [{name: a, cluster: {server: 'https://a/', certificate-authority: ca.pem}}]\n\
             users: [{name: u, user: {tokenFile: tok}}]\n\
             contexts: [{name: c, context: {cluster: a, user: u, namespace: lab}}]\n\
             current-context: c\n",
        )
        .unwrap();
        let access = read(&path, None).unwrap();
        assert_eq!(access.server, "https://a");
        assert_eq!(access.ca_pem.as_deref(), Some("ca"));
        assert_eq!(access.token.unwrap().expose(), "secret");
        assert_eq!(access.namespace, "lab");
    }
}
