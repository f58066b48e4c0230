//! An account that cannot be used, and names that CloudStack does not have: told in a condition
//! with what there is, and put right by what is applied later.

use std::fs;

use serde_json::Value;

use super::{
    lab::{Lab, Server, account, run, stack, until},
    told::snapshot,
};

impl Lab {
    /// Waits until a condition of an object has this reason, and gives its message.
    #[track_caller]
    fn condition(&self, what: &str, kind: &str, reason: &str) -> String {
        until(&format!("{kind} of {what} is {reason}"), || {
            let conditions = self.member(what, "/status/conditions");
            let all = conditions.as_array().into_iter().flatten();
            let found = all
                .filter(|condition| condition["type"] == kind && condition["reason"] == reason)
                .find_map(|condition| condition["message"].as_str());
            found
                .map(str::to_owned)
                .ok_or_else(|| conditions.to_string())
        })
    }
}

#[test]
fn keys_that_are_wrong_are_told_and_put_right_by_the_next_apply() {
    let lab = Lab::empty("instant");
    lab.apply("default", &stack("ims", "")).done();
    let absent = lab.condition("stack ims", "Ready", "AccountNotFound");
    assert_eq!(lab.health("/readyz").0, 200);
    let key = lab.variable("CLOUDSTACK_KEY_TENANT");
    lab.apply("default", &account("cloud", &lab.endpoint, &key, "wrong"))
        .done();
    let denied = lab.condition("account cloud", "Ready", "Unauthorized");
    let of_stack = lab.condition("stack ims", "Planned", "Unauthorized");
    let (status, ready) = lab.health("/readyz");
    assert_eq!(status, 503, "{ready}");
    let attempts = || {
        let log: Value = serde_json::from_str(&lab.http("GET", "/sim/requests", "")).unwrap();
        log.as_array().unwrap().len()
    };
    let described = lab.weir("describe stack ims").done();
    let careful = described.lines().find(|line| line.starts_with("Careful"));
    assert!(careful.is_some(), "{described}");
    snapshot(
        "account_wrong_keys",
        format!(
            "before: {absent}\naccount: {denied}\nstack: {of_stack}\n/readyz: {ready}\n{}",
            lab.weir("get accounts -o wide")
        ),
    );
    let tried = attempts();
    lab.account("default");
    lab.ready("default", "ims");
    assert!(tried < 60, "{tried} requests with keys that are wrong");
    assert_eq!(lab.health("/readyz").0, 200);
}

#[test]
fn names_that_do_not_exist_are_told_with_those_that_do() {
    let lab = Lab::start();
    let wrong = stack("ims", "  sshKeyPair: nobody\n")
        .replace("Ubuntu 14.04", "Ubuntu 13.37")
        .replace("2vCPU-4GB", "huge");
    lab.apply("default", &wrong).done();
    let message = lab.condition("stack ims", "Ready", "NotResolvable");
    let diff = run(lab.dir(), &["diff", "-f", "-"], &wrong);
    assert_eq!(diff.code, 1, "{diff}");
    let (key, secret) = (
        lab.variable("CLOUDSTACK_KEY_TENANT"),
        lab.variable("CLOUDSTACK_SECRET_TENANT"),
    );
    let mars = account("mars", &lab.endpoint, &key, &secret)
        .replace("  secretRef", "  zone: mars\n  secretRef");
    lab.apply("default", &mars).done();
    let zone = lab.condition("account mars", "Ready", "ZoneNotFound");
    snapshot("account_wrong_names", format!("{message}\n{diff}\n{zone}"));
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
}

#[test]
fn a_name_that_several_have_is_refused_with_the_candidates() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let words = [
        "sim",
        "--listen",
        "127.0.0.1:0",
        "--state",
        "world.json",
        "--env-file",
        "first.env",
    ];
    let sim = Server::start(dir.path(), "first", &words);
    let asked = until("the first simulator keeps its world", || {
        let text = fs::read_to_string(dir.path().join("first.env")).unwrap_or_default();
        let at = text
            .lines()
            .find_map(|line| line.strip_prefix("CLOUDSTACK_ENDPOINT="));
        let at = at
            .filter(|_| text.contains("SECRET_TENANT="))
            .ok_or(text.clone())?;
        Ok(at.trim_end_matches("/client/api").to_owned())
    });
    super::lab::http("GET", &format!("{asked}/sim/state"), "", None);
    drop(sim);
    let world = fs::read_to_string(&file).unwrap();
    assert!(world.contains("\"Ubuntu 22.04\""), "{world}");
    fs::write(&file, world.replace("\"Ubuntu 22.04\"", "\"Ubuntu 14.04\"")).unwrap();
    let lab = Lab::on(dir, &["--profile", "instant", "--state", "world.json"]);
    lab.account("default");
    lab.apply("default", &stack("ims", "")).done();
    let message = lab.condition("stack ims", "Ready", "NotResolvable");
    snapshot("account_ambiguous_name", &message);
    let id = message.rsplit(' ').next().unwrap();
    let by_id = stack("ims", "").replace("{name: Ubuntu 14.04}", &format!("{{id: {id}}}"));
    lab.apply("default", &by_id).done();
    lab.ready("default", "ims");
}
