//! The controller against programs that nobody here wrote: promtool and kubectl. etcd has tests of
//! its own, in `store`.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use weir::{
    api::AuthOptions,
    clock::Clock,
    controller::Ids,
    run::{Controller, ControllerConfig},
};

/// Whether a program is there. Where the parts are required, a missing one is a failure;
/// elsewhere the test says that it was left out.
pub(crate) fn present(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    let found = found.is_ok_and(|output| output.status.success());
    assert!(
        found || std::env::var_os("WEIR_REQUIRE_PARTS").is_none(),
        "{program} is missing, and WEIR_REQUIRE_PARTS is set"
    );
    if !found {
        println!("left out: {program} is not installed; scripts/test installs it");
    }
    found
}

async fn controller(state: &Path) -> Controller {
    let config = ControllerConfig {
        state: state.to_owned(),
        etcd: None,
        keys: None,
        listen: ([127, 0, 0, 1], 0).into(),
        auth: AuthOptions::default(),
        audit: None,
        clock: Clock::system(),
        ids: Ids::random(),
    };
    Controller::start(config).await.unwrap()
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    if !present("promtool") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let controller = controller(dir.path()).await;
    let metrics = controller.metrics().await;
    controller.stop().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(metrics.contains("weir_build_info"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_gets_and_deletes() {
    if !present("kubectl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let controller = controller(dir.path()).await;
    let kubeconfig = controller.kubeconfig.clone();
    let home = dir.path().to_owned();
    let kubectl = move |words: &[&str]| {
        let output = Command::new("kubectl")
            .env("HOME", &home)
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(words)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "kubectl {words:?}: {}",
            text(&output)
        );
        text(&output)
    };
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/account.yaml");
    let told = tokio::task::spawn_blocking(move || {
        let mut told = String::new();
        for words in [
            &["apply", "-f", manifest][..],
            &["apply", "-f", manifest],
            &["get", "cloudaccounts"],
            &["get", "cloudaccounts", "-o", "yaml"],
            &["api-resources"],
            &["explain", "clearwaterstack.spec.domain"],
            &["delete", "-f", manifest],
        ] {
            told.push_str(&kubectl(words));
        }
        told
    })
    .await
    .unwrap();
    controller.stop().await;
    for word in [
        "created",
        "unchanged",
        "ENDPOINT",
        "clearwaterstacks",
        "deleted",
    ] {
        assert!(told.contains(word), "lacks `{word}`:\n{told}");
    }
}
