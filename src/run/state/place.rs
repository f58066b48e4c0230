//! Where a state is, and how it is read and filled: a folder, the controller that has that folder
//! open, or an etcd.

use std::{
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;

use super::{
    check::Finding,
    files::{OBJECTS, STATE},
};
use crate::{
    api::client::{Client, ClientError},
    cli::args::Kept,
    clock::Clock,
    run::{controller, keys},
    store::{
        Etcd, EtcdConfig, HISTORY, Keys, OpenError, Record, Rekeyed, RestoreError, Store, leader,
    },
    types::{
        export::{self, Export, Header},
        meta::{Kind, Object, ResourceVersion},
    },
};

/// A store, as people name it.
#[derive(Clone, Copy)]
pub(in crate::run) enum Place<'a> {
    /// A state folder.
    Folder(&'a Path),
    /// An etcd.
    Etcd(&'a EtcdConfig),
}

impl Place<'_> {
    /// Why it is not used, with what to do.
    pub(in crate::run) fn refused(self, error: RestoreError) -> anyhow::Error {
        match error {
            RestoreError::Unfinished => {
                anyhow!("{self}: {error}; {}", self.clear("import it again"))
            }
            RestoreError::NotEmpty { .. } => anyhow!(
                "{self}: {error}; import into an empty one, or {}",
                self.clear("import again")
            ),
            error => anyhow::Error::from(error).context(format!("{self}: nothing was decided")),
        }
    }

    /// How to make it empty.
    fn clear(self, then: &str) -> String {
        match self {
            Self::Folder(dir) => format!(
                "move {} and {} away and {then}",
                dir.join("db").display(),
                dir.join("format").display()
            ),
            Self::Etcd(config) => format!(
                "remove what is there (etcdctl del --prefix {}) and {then}",
                config.prefix()
            ),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => write!(f, "{}", dir.display()),
            Self::Etcd(config) => write!(f, "{} in etcd", config.prefix()),
        }
    }
}

/// A state that is worked on.
pub(super) struct Source {
    state: PathBuf,
    etcd: Option<EtcdConfig>,
    /// The etcd as it was typed.
    address: Option<String>,
    /// The keys that were given, or those of the folder.
    keys: Option<Arc<Keys>>,
    /// Whether they were given.
    given: bool,
}

/// What was found to be read.
enum Found {
    /// The store itself.
    Store(Store),
    /// What the controller that has it open says is in it.
    Told(String),
}

impl Source {
    /// What the command line means.
    ///
    /// # Errors
    /// The etcd's address or files make no sense, or the keys cannot be read.
    pub(super) fn of(kept: Kept) -> Result<Self> {
        let address = kept.store.store.clone();
        let given = keys::given(kept.store.encryption_key_file.as_deref())?;
        let etcd = controller::etcd(kept.store)?;
        let keys = match &given {
            None if etcd.is_none() => keys::of_folder(&kept.state)?,
            given => given.clone(),
        };
        Ok(Self {
            state: kept.state,
            etcd,
            address,
            keys,
            given: given.is_some(),
        })
    }

    /// The name of the key that encrypts, and whether it is in the state folder.
    pub(super) fn key(&self) -> Option<(&str, bool)> {
        let keys = self.keys.as_deref()?;
        Some((keys.first(), !self.given))
    }

    fn with_keys(&self, store: Store) -> Store {
        match &self.keys {
            Some(keys) => store.encrypted(Arc::clone(keys)),
            None => store,
        }
    }

    fn place(&self) -> Place<'_> {
        match &self.etcd {
            Some(config) => Place::Etcd(config),
            None => Place::Folder(&self.state),
        }
    }

    async fn find(&self) -> Result<Found> {
        let clock = Clock::system();
        if let Some(config) = &self.etcd {
            let etcd = Etcd::look(config).await?;
            let store = Store::with_backend(Arc::new(etcd), clock);
            return Ok(Found::Store(self.with_keys(store)));
        }
        match Store::look(&self.state, clock) {
            Ok(store) => Ok(Found::Store(self.with_keys(store))),
            Err(OpenError::Locked { .. }) => Ok(Found::Told(self.ask().await?)),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the controller that has the folder open.
    async fn ask(&self) -> Result<String> {
        let kubeconfig = self.state.join("kubeconfig");
        let asked = async {
            Client::from_kubeconfig(&kubeconfig, None)?
                .raw("/export")
                .await
        };
        asked.await.map_err(|error: ClientError| {
            let remedy = if error.is_not_found() {
                "it is older than this command: stop it and try again"
            } else {
                "ask again, or stop it and try again"
            };
            anyhow::Error::from(error).context(format!(
                "a controller runs on {} and does not give its objects; {remedy}",
                self.state.display()
            ))
        })
    }

    /// Everything as a file of an export, with Secrets in plain text if they are to be revealed.
    ///
    /// # Errors
    /// It cannot be read, an import into it has not ended, or there is no key for its Secrets.
    pub(super) async fn export(&self, reveal: bool) -> Result<String> {
        let (version, time, objects) = match self.find().await? {
            Found::Told(text) => {
                whole(&text).context("the controller gave objects that cannot be read")?
            }
            Found::Store(store) => {
                let complete = store.complete().await;
                complete.map_err(|error| self.place().refused(error))?;
                let all = store.everything().await.with_context(|| {
                    format!("{self} cannot be exported; `weir state fsck` tells more")
                })?;
                (all.version, Clock::system().now(), all.items)
            }
        };
        let objects = if reveal {
            objects
        } else {
            self.sealed(objects)?
        };
        let text = export::write(version, time, &objects);
        // An export is judged when it is made and not when it is needed. An unsound state is worth
        // keeping all the same.
        if let Err(errors) = export::read(&text) {
            let first = &errors[0];
            // Nobody is left to be told where standard error is closed.
            let _ = writeln!(
                io::stderr(),
                "warning: `weir state import` will not take it as it is: {first}"
            );
        }
        Ok(text)
    }

    /// The objects with every Secret encrypted.
    fn sealed(&self, objects: Vec<Object>) -> Result<Vec<Object>> {
        let seal = |object: Object| {
            if object.kind != Kind::Secret.name() {
                return Ok(object);
            }
            let keys = self.keys.as_deref().ok_or_else(|| {
                anyhow!(
                    "{self} has Secrets, and there is no key to encrypt them with: give the \
                     --encryption-key-file or {} of its controller, or write them in plain text \
                     with --reveal-secrets",
                    keys::VARIABLE
                )
            })?;
            Ok(keys.sealed(&object)?)
        };
        objects.into_iter().map(seal).collect()
    }

    /// Encrypts every Secret with the first key, or with one that is made for it, and removes what no
    /// key decrypts, if asked; tells where that was.
    ///
    /// # Errors
    /// It is in use, there is no key, or it cannot be read or written.
    pub(super) async fn rekey(
        &self,
        make: bool,
        remove_lost: bool,
    ) -> Result<(Rekeyed, Arc<Keys>, Vec<String>)> {
        let clock = Clock::system();
        let store = match &self.etcd {
            // Without history, which would keep what is to go.
            None => Store::open_existing(&self.state, clock, 0)?,
            Some(config) => {
                self.keys.as_ref().ok_or_else(keys::wanted)?;
                Store::with_backend(Arc::new(Etcd::connect(config, HISTORY).await?), clock)
            }
        };
        let complete = store.complete().await;
        complete.map_err(|error| self.place().refused(error))?;
        let keys = match &self.keys {
            Some(keys) if !make => Arc::clone(keys),
            _ => keys::make(&self.state)?,
        };
        let store = store.encrypted(Arc::clone(&keys));
        let removed = match remove_lost {
            true => store.remove_lost().await?,
            false => Vec::new(),
        };
        Ok((store.rekey().await?, keys, removed))
    }

    /// Everything record by record, and whether an import has not ended.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub(super) async fn records(&self) -> Result<(Vec<Record>, Option<Finding>)> {
        let store = match self.find().await? {
            Found::Store(store) => store,
            Found::Told(text) => {
                let read = text.lines().skip(1).map(told).collect::<Result<_>>();
                let records = read.context("the controller gave objects that cannot be read")?;
                return Ok((records, None));
            }
        };
        let incomplete = match store.complete().await {
            Ok(()) => None,
            Err(RestoreError::Unfinished) => Some(Finding::unfinished(
                &self.to_string(),
                &self.place().clear("import it again"),
            )),
            Err(error) => return Err(error.into()),
        };
        Ok((store.records().await?.0, incomplete))
    }

    /// Puts an export there, where nothing is.
    ///
    /// # Errors
    /// A Secret cannot be decrypted, somebody uses the place, there are objects already, or it cannot
    /// be written.
    pub(super) async fn import(&self, export: Export) -> Result<usize> {
        let clock = Clock::system();
        let open = |object| Keys::unsealed(self.keys.as_deref(), object);
        let objects = export.objects.into_iter().map(open);
        let objects: Vec<Object> = objects
            .collect::<Result<_, _>>()
            .context("nothing was written")?;
        let store = match &self.etcd {
            None => {
                let version = ResourceVersion(export.header.store_version);
                Store::open_after(&self.state, clock, version)?
            }
            Some(config) => {
                self.keys.as_ref().ok_or_else(keys::wanted)?;
                let etcd = Etcd::connect(config, HISTORY).await?;
                if let Some(leader) = leader(&etcd).await? {
                    return Err(anyhow!(
                        "{self} is in use by the controller {leader}: stop it, or name another \
                         prefix"
                    ));
                }
                Store::with_backend(Arc::new(etcd), clock)
            }
        };
        let keys = match &self.keys {
            Some(keys) => Arc::clone(keys),
            None => {
                // Nobody is left to be told where standard error is closed.
                let _ = writeln!(io::stderr(), "warning: {}", keys::MADE);
                keys::make(&self.state)?
            }
        };
        let restored = store.encrypted(keys).restore(objects).await;
        restored.map_err(|error| self.place().refused(error))
    }

    /// The two commands that restore a backup, in one line of a shell.
    pub(super) fn restore(&self, backup: &Path, state: &Path) -> String {
        let files = quoted(&backup.join(STATE).join("."));
        let objects = quoted(&backup.join(OBJECTS));
        let into = match &self.address {
            Some(address) => format!(
                "--store {} --encryption-key-file KEYS",
                quoted(Path::new(address))
            ),
            None if self.given => {
                format!("--state {} --encryption-key-file KEYS", quoted(state))
            }
            None => format!("--state {}", quoted(state)),
        };
        format!(
            "cp -a {files} {} && weir state import {objects} {into}",
            quoted(state)
        )
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().fmt(f)
    }
}

/// What a controller told: at which version, when, and the objects.
fn whole(text: &str) -> Result<(ResourceVersion, Timestamp, Vec<Object>)> {
    let (header, rest) = text.split_once('\n').unwrap_or((text, ""));
    let header: Header = serde_json::from_str(header)?;
    let objects = rest.lines().map(serde_json::from_str);
    let objects: Vec<Object> = objects.collect::<Result<_, _>>()?;
    if objects.len() != header.objects {
        return Err(anyhow!(
            "{} objects were announced and {} came",
            header.objects,
            objects.len()
        ));
    }
    Ok((ResourceVersion(header.store_version), header.time, objects))
}

/// The record of an object in a line of an export.
fn told(line: &str) -> Result<Record> {
    let object: Object = serde_json::from_str(line)?;
    Record::told(object).map_err(|kind| anyhow!("there is no kind {kind}"))
}

/// A word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.-_:,@%+=".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/a/b-1.jsonl")), "/a/b-1.jsonl");
        assert_eq!(quoted(Path::new("it's a")), r"'it'\''s a'");
    }
}
