//! Three members that are killed, the leader among them, while controllers write and watch.
//!
//! What was acknowledged is there; versions only go up; every watcher of every controller sees
//! every change once, and in an unbroken chain of values.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt, future::join_all};
use tokio::{task::JoinSet, time::Instant};
use weir::{
    store::{Backend, BackendError, Change, Changes, Entry, Etcd, Expect},
    types::meta::ResourceVersion,
};

use super::server::{self, PATIENCE, Server, address, connect, until};

/// Changes that are remembered: more than there are.
const HISTORY: usize = 100_000;

/// Writers, each with a key of its own, spread over the controllers.
const WRITERS: usize = 6;

/// Acknowledged writes that each writer must get through between two blows.
const PROGRESS: u64 = 15;

/// One write that was acknowledged.
#[derive(Clone, Debug)]
struct Acknowledged {
    key: String,
    value: u64,
    version: ResourceVersion,
}

/// What one writer knows.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn members_die_and_nothing_acknowledged_is_lost() {
    let Some((members, _dir)) = server::three().await else {
        return;
    };
    let address = address(&members);
    let controllers = join_all((0..2).map(|_| connect(&address, HISTORY))).await;
    let controllers: Vec<_> = controllers.into_iter().map(Arc::new).collect();
    let from = controllers[0].version().await.unwrap();
    let mut watches: Vec<_> = controllers.iter().map(|c| c.watch("w/", from)).collect();
    let over = Arc::new(AtomicBool::new(false));
    let tallies: Vec<_> = (0..WRITERS).map(|_| Arc::new(Tally::default())).collect();
    let mut writers = JoinSet::new();
    for (number, tally) in tallies.iter().enumerate() {
        let controller = Arc::clone(&controllers[number % controllers.len()]);
        writers.spawn(write(
            controller,
            number,
            Arc::clone(tally),
            Arc::clone(&over),
        ));
    }
    let mut clocks = JoinSet::new();
    for controller in &controllers {
        clocks.spawn(versions_only_go_up(
            Arc::clone(controller),
            Arc::clone(&over),
        ));
    }

    for round in 0..4 {
        progress(&tallies).await;
        let victim = match round % 2 {
            0 => leader(&members).await,
            _ => &members[round % members.len()],
        };
        victim.kill();
        progress(&tallies).await;
        victim.start();
        victim.serves().await;
    }
    // Without a majority nothing is acknowledged, and afterwards everything goes on.
    progress(&tallies).await;
    members[0].kill();
    members[1].kill();
    members[0].start();
    members[1].start();
    progress(&tallies).await;
    over.store(true, Ordering::SeqCst);

    let acknowledged: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    clocks.join_all().await;
    let last = controllers[0].version().await.unwrap();
    let kept = controllers[1].range("w/").await.unwrap();
    assert_kept(&acknowledged, &kept.entries);
    for (watch, controller) in watches.iter_mut().zip(&controllers) {
        controller.version().await.unwrap();
        let seen = seen_until(watch.as_mut().unwrap(), last).await;
        assert_seen(&acknowledged, &seen);
    }
    println!(
        "{} writes acknowledged, up to version {last}",
        acknowledged.len()
    );
}

/// Writes ever greater numbers under a key of its own; what became of a write that was not
/// answered it reads. Such a write may take effect even after that: a member that was cut off had
/// passed it on.
async fn write(
    store: Arc<Etcd>,
    number: usize,
    tally: Arc<Tally>,
    over: Arc<AtomicBool>,
) -> Vec<Acknowledged> {
    let key = format!("w/{number}");
    let mut acknowledged = Vec::new();
    let (mut next, mut expect) = (0, Expect::Absent);
    let mut in_doubt = BTreeSet::new();
    while !over.load(Ordering::SeqCst) {
        match store.put(&key, next.to_string().into(), expect).await {
            Ok(version) => {
                acknowledged.push(Acknowledged {
                    key: key.clone(),
                    value: next,
                    version,
                });
                tally.count.fetch_add(1, Ordering::SeqCst);
                (next, expect) = (next + 1, Expect::At(version));
            }
            Err(error) => {
                let late = matches!(error, BackendError::Unexpected { .. });
                if !late {
                    in_doubt.insert(next);
                }
                let Some(entry) = read(&store, &key).await else {
                    assert!(!late, "{key}: {error:?}, and nothing is there");
                    continue;
                };
                let value = number_of(&entry.value);
                assert!(
                    !late || in_doubt.contains(&value),
                    "{key}: nobody else writes it, {expect:?} was there, and {value} is"
                );
                (next, expect) = (value + 1, Expect::At(entry.version));
            }
        }
    }
    acknowledged
}

async fn read(store: &Etcd, key: &str) -> Option<Entry> {
    let since = Instant::now();
    loop {
        match store.get(key).await {
            Ok(entry) => return entry,
            Err(error) => assert!(since.elapsed() < PATIENCE, "{key} is not read: {error:?}"),
        }
    }
}

async fn versions_only_go_up(store: Arc<Etcd>, over: Arc<AtomicBool>) {
    let mut last = ResourceVersion(0);
    while !over.load(Ordering::SeqCst) {
        if let Ok(version) = store.version().await {
            assert!(version >= last, "{version} after {last}");
            last = version;
        }
    }
}

/// Waits until each writer has got through some more writes.
async fn progress(tallies: &[Arc<Tally>]) {
    let counts = || -> Vec<u64> {
        let counts = tallies.iter().map(|tally| &tally.count);
        counts.map(|count| count.load(Ordering::SeqCst)).collect()
    };
    let before = counts();
    until("every writer gets on", async || {
        let now = counts();
        let on = now
            .iter()
            .zip(&before)
            .all(|(now, before)| *now >= before + PROGRESS);
        on.then_some(())
            .ok_or_else(|| format!("{before:?} {now:?}"))
    })
    .await;
}

async fn leader(members: &[Server]) -> &Server {
    until("somebody leads", async || {
        for member in members {
            if member.leads().await {
                return Ok(member);
            }
        }
        Err("nobody does".to_owned())
    })
    .await
}

fn number_of(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// Every key has the last number that was acknowledged, or a later one.
fn assert_kept(acknowledged: &[Acknowledged], kept: &[(String, Entry)]) {
    let kept: BTreeMap<_, _> = kept.iter().cloned().collect();
    for write in acknowledged {
        let entry = kept
            .get(&write.key)
            .expect("a key that was written is there");
        assert!(
            number_of(&entry.value) >= write.value && entry.version >= write.version,
            "{write:?} is lost: {entry:?}"
        );
    }
    let versions: BTreeSet<_> = acknowledged.iter().map(|write| write.version).collect();
    assert_eq!(
        versions.len(),
        acknowledged.len(),
        "a version was given out twice"
    );
}

/// What a watch tells up to a version, which is ready when the version is known.
async fn seen_until(watch: &mut Changes, last: ResourceVersion) -> Vec<Arc<Change>> {
    let mut seen = Vec::new();
    while let Some(next) = futures_util::FutureExt::now_or_never(watch.next()) {
        let change = next.expect("it goes on").unwrap();
        assert!(change.version <= last, "{change:?} after {last}");
        seen.push(change);
    }
    seen
}

/// Each acknowledged write was seen once, changes in the order of their versions, and what each
/// found is what the one before it left.
fn assert_seen(acknowledged: &[Acknowledged], seen: &[Arc<Change>]) {
    let ordered = seen.is_sorted_by(|one, next| one.version < next.version);
    assert!(ordered, "a change came twice or too late");
    let mut values: BTreeMap<&str, Option<bytes::Bytes>> = BTreeMap::new();
    for change in seen {
        let before = values.insert(&change.key, change.value.clone()).flatten();
        assert_eq!(before, change.previous, "{change:?}");
    }
    let seen: BTreeMap<_, _> = seen.iter().map(|change| (change.version, change)).collect();
    for write in acknowledged {
        let change = seen.get(&write.version);
        let change = change.unwrap_or_else(|| panic!("{write:?} was not seen"));
        assert_eq!(change.key, write.key);
        assert_eq!(number_of(change.value.as_ref().unwrap()), write.value);
    }
}
