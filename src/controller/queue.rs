//! The work queue: which objects are to be looked at, and when.
//!
//! Three promises, each with its test: one worker per key; a wake-up that comes while the key is
//! being worked on runs it again afterwards; the earliest of several wake-up times wins. Keys
//! woken by a change go ahead of those whose time has come.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::types::meta::ObjectKey;

/// How eagerly a key is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Something changed.
    Change,
    /// Its time has come.
    Resync,
}

/// Keys to be worked on.
#[derive(Default)]
pub struct Queue {
    /// Changed by short, synchronous methods only; never held across an `.await`.
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    urgent: VecDeque<ObjectKey>,
    patient: VecDeque<ObjectKey>,
    /// Keys in one of the two lists, with the time at which they got there.
    waiting: BTreeMap<ObjectKey, Instant>,
    working: BTreeSet<ObjectKey>,
    /// Keys woken while they were being worked on.
    again: BTreeMap<ObjectKey, Urgency>,
    timers: BTreeMap<ObjectKey, Instant>,
    closed: bool,
}

impl Queue {
    /// Wakes a key now.
    pub fn add(&self, key: ObjectKey, urgency: Urgency) {
        self.lock().add(key, urgency, Instant::now());
        self.changed.notify_waiters();
    }

    /// Wakes a key after a while, unless it is woken earlier.
    pub fn add_after(&self, key: ObjectKey, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.lock();
        let timer = state.timers.entry(key).or_insert(at);
        *timer = at.min(*timer);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The next key to work on and how long it waited; `None` once the queue is closed. The
    /// caller must call [`Queue::done`] for it.
    pub async fn next(&self) -> Option<(ObjectKey, Duration)> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let timer = {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                let now = Instant::now();
                state.ring(now);
                if let Some(next) = state.take(now) {
                    return Some(next);
                }
                state.timers.values().min().copied()
            };
            match timer {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// Says that a key has been worked on.
    pub fn done(&self, key: &ObjectKey) {
        let mut state = self.lock();
        state.working.remove(key);
        if let Some(urgency) = state.again.remove(key) {
            state.add(key.clone(), urgency, Instant::now());
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Keys that wait to be worked on.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Ends every [`Queue::next`], now and later.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the queue")
    }
}

impl State {
    fn add(&mut self, key: ObjectKey, urgency: Urgency, now: Instant) {
        if self.working.contains(&key) {
            let again = self.again.entry(key).or_insert(urgency);
            if urgency == Urgency::Change {
                *again = urgency;
            }
            return;
        }
        self.timers.remove(&key);
        if self.waiting.contains_key(&key) {
            if urgency == Urgency::Change && self.patient.contains(&key) {
                self.patient.retain(|other| *other != key);
                self.urgent.push_back(key);
            }
            return;
        }
        self.waiting.insert(key.clone(), now);
        match urgency {
            Urgency::Change => self.urgent.push_back(key),
            Urgency::Resync => self.patient.push_back(key),
        }
    }

    /// Moves keys whose time has come among the waiting.
    fn ring(&mut self, now: Instant) {
        let due: Vec<ObjectKey> = self
            .timers
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.timers.remove(&key);
            self.add(key, Urgency::Resync, now);
        }
    }

    fn take(&mut self, now: Instant) -> Option<(ObjectKey, Duration)> {
        let key = self
            .urgent
            .pop_front()
            .or_else(|| self.patient.pop_front())?;
        let since = self.waiting.remove(&key).unwrap_or(now);
        assert!(self.working.insert(key.clone()), "a key has one worker");
        Some((key, now - since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::meta::Kind;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::ClearwaterStack, "default", name)
    }

    async fn next(queue: &Queue) -> Option<String> {
        let next = tokio::time::timeout(Duration::from_secs(3600), queue.next()).await;
        next.ok().flatten().map(|(key, _)| key.name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_has_one_worker_and_runs_again_when_woken_meanwhile() {
        let queue = Queue::default();
        queue.add(key("a"), Urgency::Change);
        assert_eq!(next(&queue).await.as_deref(), Some("a"));
        queue.add(key("a"), Urgency::Change);
        assert_eq!(next(&queue).await, None, "it is being worked on");
        queue.done(&key("a"));
        assert_eq!(next(&queue).await.as_deref(), Some("a"));
        queue.done(&key("a"));
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_several_times_wins() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after(key("a"), Duration::from_secs(60));
        queue.add_after(key("a"), Duration::from_secs(10));
        queue.add_after(key("a"), Duration::from_secs(30));
        assert_eq!(next(&queue).await.as_deref(), Some("a"));
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.done(&key("a"));
        assert_eq!(next(&queue).await, None, "the later times are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn changes_go_ahead_of_resyncs() {
        let queue = Queue::default();
        queue.add(key("slow"), Urgency::Resync);
        queue.add(key("both"), Urgency::Resync);
        queue.add(key("both"), Urgency::Change);
        queue.add(key("quick"), Urgency::Change);
        for expected in ["both", "quick", "slow"] {
            assert_eq!(next(&queue).await.as_deref(), Some(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_ends_its_workers() {
        let queue = Queue::default();
        queue.add(key("a"), Urgency::Change);
        queue.close();
        assert!(queue.next().await.is_none());
    }
}
