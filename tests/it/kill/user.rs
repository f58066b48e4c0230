//! A user of a controller that may be dead at any moment: asks until it answers. How long that may
//! take is the caller's business.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use weir::{
    api::client::{Client, ClientError, ListOptions},
    types::{
        admission::FieldValidation,
        meta::{Kind, Object, ObjectKey},
        stack::ClearwaterStack,
    },
};

use super::process::Process;

/// Time between two questions.
const GLANCE: Duration = Duration::from_millis(25);

/// See the module.
pub(crate) struct User {
    process: Arc<Process>,
    client: Mutex<Option<(String, Arc<Client>)>>,
}

impl User {
    /// A user who knows the controller by its kubeconfig.
    pub(crate) fn of(process: &Arc<Process>) -> Self {
        Self {
            process: Arc::clone(process),
            client: Mutex::default(),
        }
    }

    /// Makes an object be what the manifest says.
    pub(crate) async fn apply(&self, object: Value) -> Result<(), String> {
        let object: Object = serde_json::from_value(object).unwrap();
        self.persistently("apply", async |client| {
            client.apply(&object, false, FieldValidation::Strict).await
        })
        .await
        .map(drop)
    }

    /// Changes members of an object.
    pub(crate) async fn patch(&self, key: &ObjectKey, patch: &Value) -> Result<(), String> {
        self.persistently("patch", async |client| client.patch_merge(key, patch).await)
            .await
            .map(drop)
    }

    /// Asks for the deletion of an object, unless it is gone or on its way.
    pub(crate) async fn delete(&self, key: &ObjectKey) -> Result<(), String> {
        self.persistently("delete", async |client| match client.get(key).await? {
            Some(object) if !object.metadata.deleting() => client.delete(key).await.map(drop),
            Some(_) | None => Ok(()),
        })
        .await
    }

    /// Every object of a kind in the namespace `default`.
    pub(crate) async fn list(&self, kind: Kind) -> Result<Vec<Object>, String> {
        let options = ListOptions::default();
        self.persistently("list", async |client| {
            client.list(kind, Some("default"), &options).await
        })
        .await
        .map(|list| list.items)
    }

    /// Asks until the controller answers: it may just be dead. A refusal is no answer to wait for.
    pub(crate) async fn persistently<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, String> {
        loop {
            if let Ok(client) = self.client() {
                match ask(&client).await {
                    Ok(answer) => return Ok(answer),
                    Err(ClientError::Refused(why)) => return Err(format!("{what}: {why}")),
                    Err(_) => {}
                }
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// A client for the present life of the controller; each has a port of its own.
    pub(crate) fn client(&self) -> Result<Arc<Client>, String> {
        let path = self.process.kubeconfig();
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let mut known = self.client.lock().unwrap();
        if let Some((of, client)) = known.as_ref()
            && *of == text
        {
            return Ok(Arc::clone(client));
        }
        let client = Client::from_kubeconfig(&path, None).map_err(|error| error.to_string())?;
        let client = Arc::new(client);
        *known = Some((text, Arc::clone(&client)));
        Ok(client)
    }

    /// The stack `ims`, asked for once.
    pub(crate) async fn stack(&self) -> Result<Option<ClearwaterStack>, String> {
        let object = self.client()?.get(&stack_key()).await;
        let object = object.map_err(|error| error.to_string())?;
        Ok(object.map(|object| object.decode().unwrap()))
    }

    /// Whether no `Machine` is on its way out, asked for once.
    pub(crate) async fn machines_stay(&self) -> bool {
        let Ok(client) = self.client() else {
            return false;
        };
        let options = ListOptions::default();
        let list = client.list(Kind::Machine, Some("default"), &options);
        list.await.is_ok_and(|list| {
            list.items
                .iter()
                .all(|machine| !machine.metadata.deleting())
        })
    }
}

/// The stack that these tests are about.
pub(crate) fn stack_key() -> ObjectKey {
    ObjectKey::new(Kind::ClearwaterStack, "default", "ims")
}
