//! The CloudStack accounts in use, each connected once and shared by all its stacks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::task::AbortHandle;

use super::{
    account::Account,
    queue::{Queue, Urgency},
};
use crate::{
    clock::Clock,
    cloud::Connect,
    store::{Store, StoreError},
    types::{
        account::CloudAccount,
        core::{Confidential, Secret},
        meta::{Kind, ObjectKey, Resource},
    },
};

/// Accounts by namespace and name.
pub struct Accounts<K: Connect> {
    connect: K,
    clock: Clock,
    queue: Arc<Queue>,
    tasks: Mutex<tokio::task::JoinSet<()>>,
    known: Mutex<BTreeMap<ObjectKey, Known<K>>>,
}

struct Known<K: Connect> {
    account: Arc<Account<K::Cloud>>,
    /// Versions of the account's object and of its secret; a new one means to connect anew.
    versions: (Option<i64>, String),
    follower: AbortHandle,
}

/// Why an account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// It, or its secret, does not exist or lacks something. Told in a condition; a change of the
    /// object wakes whoever waits for it.
    #[error("{message}")]
    NotUsable {
        /// One CamelCase word.
        reason: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// The store could not be read.
    #[error("cannot read the account")]
    Store(#[from] StoreError),
}

impl<K: Connect> Accounts<K> {
    /// No account yet.
    pub fn new(connect: K, clock: Clock, queue: Arc<Queue>) -> Self {
        let tasks = Mutex::new(tokio::task::JoinSet::new());
        Self {
            connect,
            clock,
            queue,
            tasks,
            known: Mutex::default(),
        }
    }

    /// The account of that name, connected.
    ///
    /// # Errors
    /// [`AccountError::NotUsable`] says what is missing; nothing was sent.
    pub async fn get(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Account<K::Cloud>>, AccountError> {
        let object: CloudAccount = store.get_as(namespace, name).await?.ok_or_else(|| {
            let message = format!("CloudAccount {namespace}/{name} does not exist; apply it");
            AccountError::NotUsable {
                reason: "AccountNotFound",
                message,
            }
        })?;
        let secret_name = &object.spec.secret_ref.name;
        let secret: Secret = store.get_as(namespace, secret_name).await?.ok_or_else(|| {
            let message = format!("Secret {namespace}/{secret_name} does not exist; apply it");
            AccountError::NotUsable {
                reason: "SecretNotFound",
                message,
            }
        })?;
        let versions = (
            object.metadata.generation,
            secret.metadata.resource_version.clone(),
        );
        if let Some(known) = self.lock().get(&object.key())
            && known.versions == versions
        {
            return Ok(Arc::clone(&known.account));
        }
        let account = self.connected(&object, &secret)?;
        let follower = self.follow(&account);
        let known = Known {
            account: Arc::clone(&account),
            versions,
            follower,
        };
        if let Some(former) = self.lock().insert(object.key(), known) {
            former.follower.abort();
        }
        Ok(account)
    }

    fn connected(
        &self,
        object: &CloudAccount,
        secret: &Secret,
    ) -> Result<Arc<Account<K::Cloud>>, AccountError> {
        let key = |name: &str| {
            let missing = || AccountError::NotUsable {
                reason: "SecretInvalid",
                message: format!(
                    "Secret {} has no usable key `{name}`; it needs apiKey and secretKey",
                    secret.metadata.name
                ),
            };
            let data = secret.data.get(name).ok_or_else(missing)?;
            let bytes = STANDARD.decode(data.expose()).map_err(|_| missing())?;
            let text = String::from_utf8(bytes).map_err(|_| missing())?;
            Ok::<_, AccountError>(Confidential::new(text.trim()))
        };
        let cloud = self
            .connect
            .connect(&object.spec, &key("apiKey")?, &key("secretKey")?)
            .map_err(|message| AccountError::NotUsable {
                reason: "AccountInvalid",
                message,
            })?;
        Ok(Arc::new(Account::new(
            cloud,
            object.spec.clone(),
            self.clock.clone(),
        )))
    }

    fn follow(&self, account: &Arc<Account<K::Cloud>>) -> AbortHandle {
        let (account, queue) = (Arc::clone(account), Arc::clone(&self.queue));
        let mut tasks = self
            .tasks
            .lock()
            .expect("nothing panics while it holds the tasks");
        tasks.spawn(async move {
            account
                .follow_jobs(|key| queue.add(key, Urgency::Change))
                .await;
        })
    }

    /// Every account in use.
    pub fn all(&self) -> Vec<(ObjectKey, Arc<Account<K::Cloud>>)> {
        let known = self.lock();
        known
            .iter()
            .map(|(key, known)| (key.clone(), Arc::clone(&known.account)))
            .collect()
    }

    /// Lets go of an account that was deleted.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = ObjectKey::new(Kind::CloudAccount, namespace, name);
        if let Some(former) = self.lock().remove(&key) {
            former.follower.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Known<K>>> {
        self.known
            .lock()
            .expect("nothing panics while it holds the accounts")
    }
}
