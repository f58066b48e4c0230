//! Where an etcd is, and how to prove oneself to it: `etcd://HOST:PORT,HOST:PORT/PREFIX` and files.
//!
//! Everything that can be wrong without asking etcd is told here.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::error::EtcdError;

/// etcd's own port for clients, registered with IANA.
const PORT: u16 = 2379;

/// Where Weir's keys are unless the address says otherwise.
const PREFIX: &str = "/weir/";

/// What proves a client to etcd and etcd to a client, as files on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdFiles {
    /// PEM: certificates that may sign those of etcd's members. Default: the system's.
    pub ca: Option<PathBuf>,
    /// PEM: the client's certificate, with those between it and the CA.
    pub certificate: Option<PathBuf>,
    /// PEM: the client's private key.
    pub key: Option<PathBuf>,
    /// etcd's name for the user.
    pub user: Option<String>,
    /// The user's password, on the first line.
    pub password: Option<PathBuf>,
}

/// Where an etcd is and how to speak to it. Has no `Debug` that shows a secret.
#[derive(Clone)]
pub struct EtcdConfig {
    /// URLs of the members, each `http://HOST:PORT` or `https://HOST:PORT`.
    pub(super) endpoints: Vec<String>,
    /// What all keys begin with; begins and ends with `/`.
    pub(super) prefix: String,
    pub(super) tls: Option<Tls>,
    pub(super) user: Option<User>,
}

#[derive(Clone)]
pub(super) struct Tls {
    /// PEM; the system's roots where there is none.
    pub(super) ca: Option<Vec<u8>>,
    /// PEM: certificate and key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

impl EtcdConfig {
    /// Reads an address and the files that go with it.
    ///
    /// # Errors
    /// [`EtcdError::Address`], [`EtcdError::Option`] and [`EtcdError::File`]: what is wrong, and
    /// how it is written.
    pub fn read(address: &str, files: &EtcdFiles) -> Result<Self, EtcdError> {
        let bad = |why: String| EtcdError::Address {
            // What stands before an `@` may be a password.
            address: match address.rsplit_once('@') {
                Some((_, rest)) => format!("…@{rest}"),
                None => address.to_owned(),
            },
            why,
        };
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let scheme = match scheme {
            "etcd" => "http",
            "etcds" => "https",
            _ => return Err(bad("it does not begin with etcd:// or etcds://".to_owned())),
        };
        let (hosts, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, PREFIX),
        };
        let endpoints = hosts
            .split(',')
            .map(|host| endpoint(scheme, host).map_err(bad))
            .collect::<Result<_, _>>()?;
        let prefix = prefix(path).map_err(bad)?;
        let tls = match scheme {
            "https" => Some(tls(files)?),
            _ => refuse_tls(files).map(|()| None)?,
        };
        Ok(Self {
            endpoints,
            prefix,
            tls,
            user: user(files)?,
        })
    }
}

impl EtcdConfig {
    /// What all keys begin with, like `/weir/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("user", &self.user.as_ref().map(|user| &user.name))
            .finish_non_exhaustive()
    }
}

/// `http://HOST:PORT` of `HOST` or `HOST:PORT`.
fn endpoint(scheme: &str, host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("a host is missing".to_owned());
    }
    if host.contains('@') {
        return Err("a user is named by --etcd-user, not here".to_owned());
    }
    let url = url::Url::parse(&format!("{scheme}://{host}"));
    let url = url.map_err(|error| format!("`{host}` is no HOST:PORT: {error}"))?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let name = url.host_str().filter(|_| plain);
    let name = name.ok_or_else(|| format!("`{host}` is no HOST:PORT"))?;
    // The URL of a scheme leaves out the port that is the scheme's own.
    let typed = host.rsplit_once(':');
    let typed = typed.and_then(|(_, port)| port.parse().ok());
    let port = url.port().or(typed).unwrap_or(PORT);
    Ok(format!("{scheme}://{name}:{port}"))
}

fn prefix(path: &str) -> Result<String, String> {
    let path = path.trim_end_matches('/');
    let fine = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if path.is_empty() {
        return Ok(PREFIX.to_owned());
    }
    if !path.chars().all(fine) || path.contains("//") {
        return Err(format!(
            "the prefix `{path}` may have letters, digits, `-`, `_`, `.` and single `/`"
        ));
    }
    Ok(format!("{path}/"))
}

fn tls(files: &EtcdFiles) -> Result<Tls, EtcdError> {
    let ca = files.ca.as_deref();
    let ca = ca.map(|path| pem("--etcd-ca", path, "CERTIFICATE"));
    let identity = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => Some((
            pem("--etcd-cert", certificate, "CERTIFICATE")?,
            pem("--etcd-key", key, "PRIVATE KEY")?,
        )),
        (None, None) => None,
        (Some(_), None) => return option("--etcd-cert", "it needs --etcd-key as well"),
        (None, Some(_)) => return option("--etcd-key", "it needs --etcd-cert as well"),
    };
    Ok(Tls {
        ca: ca.transpose()?,
        identity,
    })
}

/// Files for TLS with an address without it are a mistake that would send everything in clear.
fn refuse_tls(files: &EtcdFiles) -> Result<(), EtcdError> {
    let given = [
        ("--etcd-ca", &files.ca),
        ("--etcd-cert", &files.certificate),
        ("--etcd-key", &files.key),
    ];
    match given.iter().find(|(_, file)| file.is_some()) {
        Some((name, _)) => option(name, "it is for TLS: write etcds:// and not etcd://"),
        None => Ok(()),
    }
}

fn user(files: &EtcdFiles) -> Result<Option<User>, EtcdError> {
    let (name, path) = match (&files.user, &files.password) {
        (Some(name), Some(path)) => (name, path),
        (None, None) => return Ok(None),
        (Some(_), None) => return option("--etcd-user", "it needs --etcd-password-file as well"),
        (None, Some(_)) => return option("--etcd-password-file", "it needs --etcd-user as well"),
    };
    let text = contents("--etcd-password-file", path)?;
    let text = String::from_utf8_lossy(&text);
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(EtcdError::File {
            option: "--etcd-password-file",
            path: path.clone(),
            why: "its first line, the password, is empty".to_owned(),
        });
    }
    Ok(Some(User {
        name: name.clone(),
        password: password.to_owned(),
    }))
}

fn pem(option: &'static str, path: &Path, what: &str) -> Result<Vec<u8>, EtcdError> {
    let contents = contents(option, path)?;
    if String::from_utf8_lossy(&contents).contains(&format!("{what}-----")) {
        return Ok(contents);
    }
    Err(EtcdError::File {
        option,
        path: path.to_owned(),
        why: format!("it holds no PEM block of a {}", what.to_lowercase()),
    })
}

fn contents(option: &'static str, path: &Path) -> Result<Vec<u8>, EtcdError> {
    fs::read(path).map_err(|error: io::Error| EtcdError::File {
        option,
        path: path.to_owned(),
        why: error.to_string(),
    })
}

fn option<T>(option: &'static str, why: &str) -> Result<T, EtcdError> {
    Err(EtcdError::Option {
        option,
        why: why.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Result<(Vec<String>, String), String> {
        let config = EtcdConfig::read(address, &EtcdFiles::default());
        let config = config.map_err(|error| error.to_string())?;
        Ok((config.endpoints, config.prefix))
    }

    #[test]
    fn an_address_names_members_and_a_prefix() {
        let both = |hosts: &[&str], prefix: &str| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            Ok((hosts, prefix.to_owned()))
        };
        assert_eq!(read("etcd://a"), both(&["http://a:2379"], "/weir/"));
        assert_eq!(
            read("etcds://a:80,[::1]:2380/prod/weir/"),
            both(&["https://a:80", "https://[::1]:2380"], "/prod/weir/")
        );
        assert_eq!(read("etcd://a:80/"), both(&["http://a:80"], "/weir/"));
        assert_eq!(read("etcd://[::1]"), both(&["http://[::1]:2379"], "/weir/"));
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_what_is_wrong() {
        for (address, why) in [
            ("a:2379", "does not begin with etcd://"),
            ("http://a:2379", "does not begin with etcd://"),
            ("etcd://", "a host is missing"),
            ("etcd://a:1,,b:1", "a host is missing"),
            ("etcd://me:secret@a:1", "--etcd-user"),
            ("etcd://a:port", "`a:port` is no HOST:PORT"),
            ("etcd://a?x=1", "`a?x=1` is no HOST:PORT"),
            ("etcd://a/we ir", "the prefix `/we ir` may have"),
        ] {
            let told = read(address).unwrap_err();
            assert!(told.contains(why) && told.contains("--store"), "{told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        let refused = |address: &str, files: EtcdFiles| {
            EtcdConfig::read(address, &files).unwrap_err().to_string()
        };
        let file = Some(PathBuf::from("no/such/file"));
        let ca = EtcdFiles {
            ca: file.clone(),
            ..EtcdFiles::default()
        };
        assert!(refused("etcd://a", ca.clone()).contains("write etcds://"));
        assert!(refused("etcds://a", ca).contains("no/such/file"));
        let key = EtcdFiles {
            key: file.clone(),
            ..EtcdFiles::default()
        };
        assert!(refused("etcds://a", key).contains("--etcd-cert as well"));
        let password = EtcdFiles {
            password: file,
            ..EtcdFiles::default()
        };
        assert!(refused("etcd://a", password).contains("--etcd-user as well"));
    }
}
