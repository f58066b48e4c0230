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
        let mut all = self.lock();
        // Somebody else may have connected meanwhile. Two views of one account must not be: each
        // would be told of its own commands only, and decide on lists that miss the other's.
        if let Some(known) = all.get(&object.key())
            && known.versions == versions
        {
            return Ok(Arc::clone(&known.account));
        }
        let known = Known {
            account: Arc::clone(&account),
            versions,
            follower: self.follow(&account),
        };
        if let Some(former) = all.insert(object.key(), known) {
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

    /// Keeps an account going: its commands, its jobs, and who is woken by them.
    fn follow(&self, account: &Arc<Account<K::Cloud>>) -> AbortHandle {
        let (account, queue) = (Arc::clone(account), Arc::clone(&self.queue));
        let mut tasks = self
            .tasks
            .lock()
            .expect("nothing panics while it holds the tasks");
        tasks.spawn(account.run(move |key| queue.add(key, Urgency::Change)))
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

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use serde_json::json;

    use super::*;
    use crate::{
        cloud::cloudstack::{CloudStack, CloudStackConfig},
        types::{account::CloudAccountSpec, meta::API_VERSION, meta::Object},
    };

    /// Connects only when two want to.
    struct Both(Barrier);

    impl Connect for Both {
        type Cloud = CloudStack;

        fn connect(
            &self,
            spec: &CloudAccountSpec,
            api_key: &Confidential,
            secret_key: &Confidential,
        ) -> Result<CloudStack, String> {
            self.0.wait();
            CloudStack::connect(CloudStackConfig::of(
                spec,
                api_key,
                secret_key,
                &Clock::system(),
            ))
            .map_err(|error| error.to_string())
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_that_connect_at_once_share_one_view() {
        let clock = Clock::system();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), clock.clone()).unwrap();
        for object in [
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "keys", "namespace": "default"},
                "data": {"apiKey": "YQ==", "secretKey": "YQ=="},
            }),
            json!({
                "apiVersion": API_VERSION, "kind": "CloudAccount",
                "metadata": {"name": "cloud", "namespace": "default"},
                "spec": {"endpoint": "http://127.0.0.1:1/", "secretRef": {"name": "keys"}},
            }),
        ] {
            let object: Object = serde_json::from_value(object).unwrap();
            store.create(object).await.unwrap();
        }
        let both = Both(Barrier::new(2));
        let accounts = Arc::new(Accounts::new(both, clock, Arc::new(Queue::default())));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (accounts, store) = (Arc::clone(&accounts), store.clone());
            tasks.spawn(async move { accounts.get(&store, "default", "cloud").await.unwrap() });
        }
        let got = tasks.join_all().await;
        assert!(Arc::ptr_eq(&got[0], &got[1]));
    }
}
