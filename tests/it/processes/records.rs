//! State that earlier versions left (`state/records`), and copies of present state, in the hands
//! of the built controller: it opens them and goes on with them.

use std::{fs, path::Path, process::Command};

use serde_json::json;
use weir::types::meta::{Kind, ObjectKey};

use super::bed::{Bed, until};
use crate::kill::script::Rights;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.unwrap().success(), "cp -r {}", from.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_format_is_gone_on_with() {
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("state/records");
    let mut seen = 0;
    for entry in fs::read_dir(records).unwrap() {
        let record = entry.unwrap().path();
        let bed = Bed::make(600 + seen, Rights::Plain).await;
        copy(&record, &bed.folder().join("state"));
        bed.process.start();
        // It made its stack in a cloud that is no more; in this one everything is lost.
        bed.account(&bed.cloud.endpoint).await;
        let account = ObjectKey::new(Kind::CloudAccount, "default", "demo");
        let moved = json!({"spec": {
            "endpoint": bed.cloud.endpoint, "secretRef": {"name": "keys"}, "resyncInterval": "1s",
        }});
        bed.user.patch(&account, &moved).await.unwrap();
        let patient = json!({"remediation": {"maxPerHour": 16, "maxUnhealthy": "100%"}});
        let before = until("the stack is there", async || {
            bed.user.stack().await?.ok_or("it is not".to_owned())
        });
        let before = before.await.unwrap();
        bed.change(&patient).await.unwrap();
        let ended = bed.audited().await;
        let told = format!("{}: {ended:?}\n{}", record.display(), bed.last_words());
        assert!(ended.is_ok(), "{told}");
        let after = bed.user.stack().await.unwrap().unwrap();
        assert_eq!(before.metadata.uid, after.metadata.uid);
        seen += 1;
    }
    assert!(seen > 0, "nothing is recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_running_controllers_folder_is_gone_on_with() {
    let bed = Bed::make(611, Rights::Plain).await;
    bed.process.start();
    bed.account(&bed.cloud.endpoint).await;
    bed.apply(&bed.spec()).await.unwrap();
    bed.ready().await.unwrap();
    let state = bed.folder().join("state");
    let restored = bed.folder().join("restored");
    // What nobody writes to is copied whole; the controller looks on meanwhile.
    copy(&state, &restored);
    bed.process.kill();
    fs::rename(&state, bed.folder().join("lost")).unwrap();
    fs::rename(&restored, &state).unwrap();
    bed.process.start();
    bed.audited().await.unwrap();
}
