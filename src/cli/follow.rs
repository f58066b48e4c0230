//! Following kinds of objects over lost connections: a list, then a watch, then again.
//!
//! Whoever follows sees levels, never gaps: after each reconnection comes a whole
//! [`Change::Snapshot`], which replaces what was known.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use super::server::{Query, Server, WatchEvent};
use crate::types::meta::{Kind, Object};

/// Waits between two tries, shortest and longest: quick enough for a restart of the controller,
/// slow enough not to disturb it.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Changes that may wait to be drawn before following pauses.
const QUEUE: usize = 256;

/// Something new.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// All there is of a kind; what is not among it is gone.
    Snapshot(Kind, Vec<Object>),
    /// An object was made or changed.
    Put(Object),
    /// An object is gone; this was its last state.
    Gone(Object),
    /// The controller did not answer; it is tried again.
    Lost(Kind, String),
}

/// Follows some kinds until dropped.
#[derive(Debug)]
pub(super) struct Follower {
    changes: mpsc::Receiver<Change>,
    /// Aborted with the follower.
    _tasks: JoinSet<()>,
}

impl Follower {
    /// Starts to follow.
    pub(super) fn start(server: &Server, queries: Vec<Query>) -> Self {
        let (sender, changes) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        for query in queries {
            tasks.spawn(follow(server.clone(), query, sender.clone()));
        }
        Self {
            changes,
            _tasks: tasks,
        }
    }

    /// The next change; waits for it. Cancel-safe.
    pub(super) async fn next(&mut self) -> Change {
        let change = self.changes.recv().await;
        change.expect("followers end only when they are dropped")
    }

    /// The next change, if there is one already.
    pub(super) fn ready(&mut self) -> Option<Change> {
        self.changes.try_recv().ok()
    }
}

async fn follow(server: Server, query: Query, sender: mpsc::Sender<Change>) {
    let (shortest, longest) = BACKOFF;
    let mut pause = shortest;
    loop {
        let lost = match round(&server, &query, &sender).await {
            Round::Ended => {
                pause = shortest;
                None
            }
            Round::Failed(why) => Some(why),
            Round::Abandoned => return,
        };
        if let Some(why) = lost
            && sender.send(Change::Lost(query.kind, why)).await.is_err()
        {
            return;
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// How a list and the watch after it ended.
enum Round {
    /// As watches do: after a while, or because the version was too old.
    Ended,
    /// Without an answer.
    Failed(String),
    /// Nobody listens any more.
    Abandoned,
}

async fn round(server: &Server, query: &Query, sender: &mpsc::Sender<Change>) -> Round {
    let failed = |error: anyhow::Error| Round::Failed(format!("{error:#}"));
    let list = match server.list(query).await {
        Ok(list) => list,
        Err(error) => return failed(error),
    };
    let version = list.version;
    let snapshot = Change::Snapshot(query.kind, list.objects);
    if sender.send(snapshot).await.is_err() {
        return Round::Abandoned;
    }
    let mut stream = match server.watch(query, &version).await {
        Ok(stream) => stream,
        Err(error) => return failed(error),
    };
    while let Some(event) = stream.next().await {
        let change = match event {
            Ok(WatchEvent::Put(object)) => Change::Put(object),
            Ok(WatchEvent::Gone(object)) => Change::Gone(object),
            Ok(WatchEvent::Bookmark) => continue,
            Ok(WatchEvent::TooOld) => return Round::Ended,
            Err(error) => return failed(error),
        };
        if sender.send(change).await.is_err() {
            return Round::Abandoned;
        }
    }
    Round::Ended
}
