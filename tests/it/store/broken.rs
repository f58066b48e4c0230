//! An etcd that cannot be reached, that does not answer, or that is not what it was: what is told,
//! what goes on, and what is never done twice.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;
use weir::store::{Backend, BackendError, Etcd, EtcdConfig, EtcdFiles, Expect};

use super::{
    HISTORY, etcd,
    proxy::{Proxy, State},
    server::{self, connect, until},
    suite::{bytes, put, take},
};

async fn refused(address: &str) -> String {
    let config = EtcdConfig::read(address, &EtcdFiles::default()).unwrap();
    Etcd::connect(&config, 1).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_there_is_named_with_what_to_do() {
    let told = refused("etcd://127.0.0.1:1,127.0.0.1:2").await;
    for word in [
        "no member of etcd can be used",
        "http://127.0.0.1:1: ",
        "http://127.0.0.1:2: ",
        "is etcd running there?",
    ] {
        assert!(told.contains(word), "lacks `{word}`: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_a_newer_weir_wrote_is_refused() {
    let Some(server) = server::single().await else {
        return;
    };
    drop(etcd(&server).await);
    let encode = |text: &str| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.encode(text)
    };
    let newer = serde_json::json!({
        "key": encode("/weir/.format"), "value": encode("weir state format 2"),
    });
    server.post("kv/put", &newer).await;
    let told = refused(&server.address()).await;
    assert!(
        told.contains("newer Weir") && told.contains("/weir/.format"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_not_answered_may_have_happened_and_is_not_repeated() {
    let Some(server) = server::single().await else {
        return;
    };
    let proxy = Proxy::to(server.host()).await;
    let behind = connect(&format!("etcd://{}", proxy.host()), HISTORY).await;
    let direct = etcd(&server).await;
    let before = put(&behind, "a/1", "one", Expect::Absent).await;
    let mut watch = direct.watch("a/", before).unwrap();
    proxy.set(State::Mute);
    let since = Instant::now();
    let unknown = behind.put("a/1", bytes("two"), Expect::Any).await;
    assert!(
        matches!(unknown, Err(BackendError::Failed(_))),
        "{unknown:?}"
    );
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
    proxy.set(State::Open);
    // It did happen, once: the next change after it is the next write.
    put(&behind, "a/1", "three", Expect::Any).await;
    let seen = take(&mut watch, 2).await;
    let values: Vec<_> = seen.iter().map(|change| change.value.clone()).collect();
    assert_eq!(values, [Some(bytes("two")), Some(bytes("three"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hangs_is_left_for_another_one() {
    let Some(server) = server::single().await else {
        return;
    };
    let proxy = Proxy::to(server.host()).await;
    let both = format!("etcd://{},{}", proxy.host(), server.host());
    let both = connect(&both, HISTORY).await;
    let made = put(&both, "a/1", "one", Expect::Absent).await;
    proxy.set(State::Mute);
    let entry = both.get("a/1").await.unwrap().unwrap();
    assert_eq!(entry.version, made);
    let changed = put(&both, "a/1", "two", Expect::At(made)).await;
    // Its watch leaves it as well, before the connection is found dead.
    let since = Instant::now();
    assert_eq!(both.version().await.unwrap(), changed);
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_a_cut_and_misses_nothing() {
    let Some(server) = server::single().await else {
        return;
    };
    let proxy = Proxy::to(server.host()).await;
    let behind = connect(&format!("etcd://{}", proxy.host()), HISTORY).await;
    let direct = etcd(&server).await;
    let from = behind.version().await.unwrap();
    let mut watch = behind.watch("a/", from).unwrap();
    let mut written = Vec::new();
    for round in 0..4 {
        written.push(put(&*direct, "a/1", "seen", Expect::Any).await);
        proxy.set(State::Cut);
        for _ in 0..5 {
            written.push(put(&*direct, "a/1", "unseen", Expect::Any).await);
        }
        proxy.set(State::Open);
        // The version is known only once the watch has heard of everything up to it.
        let version = behind.version().await.unwrap();
        assert_eq!(Some(&version), written.last());
        let mut seen = Vec::new();
        while let Some(next) = watch.next().now_or_never() {
            seen.push(next.unwrap().unwrap().version);
        }
        assert_eq!(seen, written[round * 6..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_come_in_parts() {
    let Some(server) = server::single().await else {
        return;
    };
    let proxy = Proxy::to(server.host()).await;
    let behind = connect(&format!("etcd://{}", proxy.host()), HISTORY).await;
    let direct = etcd(&server).await;
    let from = behind.version().await.unwrap();
    let mut watch = behind.watch("a/", from).unwrap();
    proxy.set(State::Cut);
    // 40 MB, of which 32 MiB are taken at a time, and 1.5 MiB in one answer of a watch.
    let value = "x".repeat(400_000);
    let mut written = Vec::new();
    for number in 0..100 {
        let key = format!("a/{number:03}");
        written.push(put(&*direct, &key, &value, Expect::Absent).await);
    }
    for number in 0..10 {
        let key = format!("a/{number:03}");
        written.push(put(&*direct, &key, &value, Expect::Any).await);
    }
    proxy.set(State::Open);
    let seen = take(&mut watch, written.len()).await;
    assert!(
        seen.iter()
            .all(|change| change.value.as_ref().unwrap().len() == value.len())
    );
    let seen: Vec<_> = seen.iter().map(|change| change.version).collect();
    assert_eq!(seen, written);
    let listed = behind.range("a/").await.unwrap();
    assert_eq!(listed.entries.len(), 100);
    // etcd's own limit, and that of what carries its requests.
    for length in [1_700_000, 2 << 20] {
        let value = bytes(&"x".repeat(length));
        let too_large = behind.put("a/1", value, Expect::Any).await;
        let Err(BackendError::Failed(why)) = too_large else {
            panic!("{too_large:?}");
        };
        assert!(why.to_string().contains("--max-request-bytes"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_missed_what_was_compacted_expires_and_another_one_starts() {
    let Some(server) = server::single().await else {
        return;
    };
    let proxy = Proxy::to(server.host()).await;
    let behind = connect(&format!("etcd://{}", proxy.host()), HISTORY).await;
    // This one has etcd forget all but a few changes.
    let direct = connect(&server.address(), 3).await;
    let from = put(&behind, "a/1", "0", Expect::Any).await;
    behind.version().await.unwrap();
    let mut watch = behind.watch("a/", from).unwrap();
    proxy.set(State::Cut);
    for round in 1..40 {
        put(&direct, "a/1", &round.to_string(), Expect::Any).await;
    }
    compacted(&server, from.0 + 1).await;
    proxy.set(State::Open);
    let ended = tokio::time::timeout(server::PATIENCE, watch.next()).await;
    let ended = ended.unwrap().unwrap();
    assert!(
        matches!(ended, Err(BackendError::Expired { .. })),
        "{ended:?}"
    );
    // As a client does: list, and watch from the version of the list.
    let listed = behind.range("a/").await.unwrap();
    assert_eq!(&*listed.entries[0].1.value, b"39");
    let mut watch = until("the history goes on", async || {
        let watch = behind.watch("a/", listed.version);
        watch.map_err(|error| error.to_string())
    })
    .await;
    let next = put(&direct, "a/1", "last", Expect::Any).await;
    assert_eq!(take(&mut watch, 1).await[0].version, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_learns_how_far_it_is() {
    let Some(server) = server::single().await else {
        return;
    };
    let weir = etcd(&server).await;
    let other = connect(&format!("{}/other", server.address()), HISTORY).await;
    let mut last = weir.version().await.unwrap();
    for _ in 0..20 {
        let written = put(&other, "a/1", "none of Weir's", Expect::Any).await;
        let version = weir.version().await.unwrap();
        assert!(version >= written && version > last, "{version} {written}");
        last = version;
        // A watch from it is not from a version that has expired or is still to come.
        let mut watch = weir.watch("a/", version).unwrap();
        let next = put(&*weir, "a/1", "ours", Expect::Any).await;
        assert_eq!(take(&mut watch, 1).await[0].version, next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_over_a_restart_and_stays_bounded() {
    let Some(server) = server::single().await else {
        return;
    };
    let weir = connect(&server.address(), 20).await;
    let from = weir.version().await.unwrap();
    let mut written = Vec::new();
    for round in 0..200 {
        written.push(put(&weir, "a/1", &round.to_string(), Expect::Any).await);
    }
    let floor = written[written.len() - 40].0;
    compacted(&server, floor).await;
    drop(weir);
    server.kill();
    server.start();
    server.serves().await;
    let again = Arc::new(connect(&server.address(), HISTORY).await);
    let Err(BackendError::Expired { oldest }) = again.watch("a/", from) else {
        panic!("etcd still has everything");
    };
    assert!(oldest.0 >= floor, "{oldest} {floor}");
    let mut watch = again.watch("a/", written[190]).unwrap();
    let seen = take(&mut watch, 9).await;
    let seen: Vec<_> = seen.iter().map(|change| change.version).collect();
    assert_eq!(seen, written[191..]);
}

/// Waits until etcd has forgotten what is before a revision.
async fn compacted(server: &server::Server, floor: u64) {
    let config = EtcdConfig::read(&server.address(), &EtcdFiles::default()).unwrap();
    until("etcd forgets", async || {
        let fresh = Etcd::connect(&config, HISTORY).await;
        let fresh = fresh.map_err(|error| error.to_string())?;
        match fresh.watch("", weir::types::meta::ResourceVersion(floor - 1)) {
            Err(BackendError::Expired { oldest }) => Ok(oldest),
            watch => Err(format!("{floor} is kept: {}", watch.is_ok())),
        }
    })
    .await;
}
