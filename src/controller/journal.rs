//! Events: what is worth telling about an object, said once and counted after that.

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    store::{Store, StoreError},
    types::{
        core::{Event, EventSource, ObjectReference},
        id::Uid,
        meta::{Kind, Object, ObjectMeta, Resource},
    },
};

/// Who reports.
const COMPONENT: &str = "weir-controller";

/// One thing to tell.
#[derive(Clone, Debug)]
pub struct Entry {
    /// One CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Whether it is a warning.
    pub warning: bool,
}

impl Entry {
    /// Something good or neutral.
    pub fn normal(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            warning: false,
        }
    }

    /// Something that somebody should look at.
    pub fn warning(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            warning: true,
        }
    }
}

/// The object that something is told about.
#[derive(Clone, Debug)]
pub struct About {
    kind: Kind,
    namespace: String,
    name: String,
    uid: Option<Uid>,
}

impl About {
    /// A stored object.
    pub fn object<T: Resource>(object: &T) -> Self {
        let meta = object.meta();
        let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
        Self {
            kind: T::KIND,
            namespace,
            name,
            uid: meta.uid.clone(),
        }
    }
}

/// Takes entries without making the teller wait.
#[derive(Clone)]
pub struct Journal(mpsc::Sender<(About, Entry)>);

/// Entries that may wait to be written; more are dropped, since a controller that cannot tell
/// must still act.
const BACKLOG: usize = 4096;

impl Journal {
    /// A journal, and what [`write()`] needs.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<(About, Entry)>) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (Self(sender), receiver)
    }

    /// Tells about an object.
    pub fn tell(&self, about: About, entry: Entry) {
        tracing::info!(
            object = %format_args!("{}/{}/{}", about.kind.singular(), about.namespace, about.name),
            reason = entry.reason,
            warning = entry.warning,
            "{}",
            entry.message
        );
        if let Err(error) = self.0.try_send((about, entry)) {
            tracing::warn!(%error, "event dropped");
        }
    }
}

/// Writes entries into the store until the journal is gone. A store that cannot take one costs
/// that event and nothing else.
pub async fn write(store: Store, clock: Clock, mut entries: mpsc::Receiver<(About, Entry)>) {
    while let Some((about, entry)) = entries.recv().await {
        if let Err(error) = record(&store, &clock, &about, &entry).await {
            tracing::warn!(%error, "event not recorded");
        }
    }
}

/// The same words about the same object are one event with a count.
async fn record(
    store: &Store,
    clock: &Clock,
    about: &About,
    entry: &Entry,
) -> Result<(), StoreError> {
    let now = clock.now();
    let name = event_name(about, entry);
    let known: Option<Event> = store.get_as(&about.namespace, &name).await?;
    if let Some(mut known) = known {
        known.count += 1;
        known.last_timestamp = Some(now);
        known.metadata.resource_version.clear();
        store.update(Object::encode(&known)).await?;
        return Ok(());
    }
    let namespace = about.namespace.clone();
    let event = Event {
        api_version: Kind::Event.api_version().to_owned(),
        kind: Kind::Event.name().to_owned(),
        metadata: ObjectMeta {
            name,
            namespace,
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: about.kind.api_version().to_owned(),
            kind: about.kind.name().to_owned(),
            namespace: about.namespace.clone(),
            name: about.name.clone(),
            uid: about.uid.clone(),
            resource_version: String::new(),
            field_path: String::new(),
        },
        reason: entry.reason.clone(),
        message: entry.message.clone(),
        level: if entry.warning { "Warning" } else { "Normal" }.to_owned(),
        count: 1,
        first_timestamp: Some(now),
        last_timestamp: Some(now),
        source: EventSource {
            component: COMPONENT.to_owned(),
            host: String::new(),
        },
        reporting_component: COMPONENT.to_owned(),
        reporting_instance: String::new(),
        event_time: None,
        series: None,
        action: String::new(),
        related: None,
    };
    store.create(Object::encode(&event)).await?;
    Ok(())
}

/// A name that the same words about the same object get again.
fn event_name(about: &About, entry: &Entry) -> String {
    let uid = about.uid.as_ref().map_or("", |uid| uid.as_str());
    let hash = Sha256::digest(format!("{uid}\n{}\n{}", entry.reason, entry.message));
    let short: String = hash
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}.{short}", about.name)
}
