//! Secrets at rest, through the built binary: values are planted, and everything that a run leaves
//! and says is searched for them; keys are rotated, lost and found again.

use std::{fs, path::Path};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::{
    etcd::{KEY, KEYS, lab_on, now},
    lab::{Lab, account, http, run, run_in, stack, until},
    told::snapshot,
};
use crate::store::server;

/// A value that a user keeps, and keys that no cloud knows.
const VALUE: &str = "planted-value-of-a-user-93f1c7";
const API_KEY: &str = "planted-api-key-5d20be";
const SECRET_KEY: &str = "planted-secret-key-c41e77";

/// What a stack's machines are told, and what one of them is told next.
const TOLD: [&str; 5] = [
    "planted-signup-key-71b2d4",
    "planted-turn-workaround-0c9e5a",
    "planted-ellis-api-key-b83f60",
    "planted-ellis-cookie-key-4da917",
    "planted-next-signup-key-e2c658",
];

/// The Secret of a stack's machines.
fn site(signup: &str) -> String {
    let [_, turn, api, cookie, _] = TOLD;
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: site}}\nstringData: {{signupKey: {signup}, \
         turnWorkaround: {turn}, ellisApiKey: {api}, ellisCookieKey: {cookie}}}\n"
    )
}

/// Where a value is found in some bytes: as it is, or in base64.
fn found(bytes: &[u8], value: &str) -> bool {
    let forms = [
        value.to_owned(),
        STANDARD.encode(value),
        URL_SAFE_NO_PAD.encode(value),
    ];
    forms.iter().any(|form| {
        let mut windows = bytes.windows(form.len());
        windows.any(|window| window == form.as_bytes())
    })
}

/// Everything that is searched: what it is, and its bytes.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((what.into(), bytes.into()));
    }

    /// All files below a folder.
    fn folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.folder(&path);
            } else {
                self.add(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }

    #[track_caller]
    fn assert_clean(&self, planted: &[&str]) {
        for (what, bytes) in &self.0 {
            for value in planted {
                let text = String::from_utf8_lossy(bytes);
                assert!(!found(bytes, value), "{value} is in {what}: {text:.4000}");
            }
        }
    }
}

/// Plants values and makes the controller use them, well and badly.
fn plant(lab: &Lab) -> Vec<String> {
    lab.account("default");
    let applied = format!("{{\\\"stringData\\\":{{\\\"password\\\":\\\"{VALUE}\\\"}}}}");
    let user = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: user\n  annotations:\n    \
         kubectl.kubernetes.io/last-applied-configuration: \"{applied}\"\n\
         stringData: {{password: {VALUE}}}\n"
    );
    lab.apply("default", &user).done();
    // A second write, so that there is a previous value.
    lab.apply(
        "default",
        &user.replace("password:", "further: more, password:"),
    )
    .done();
    let wrong = account("wrong", &lab.endpoint, API_KEY, SECRET_KEY);
    lab.apply("default", &wrong).done();
    lab.apply("default", &site(TOLD[0])).done();
    let told = "  bootstrap: {secretRef: {name: site}}\n";
    lab.apply("default", &stack("ims", told)).done();
    lab.ready("default", "ims");
    lab.apply("default", &site(TOLD[4])).done();
    until("a machine is told the next key", || {
        let told = lab.weir("describe machine ims-sprout-0").to_string();
        let next = told.contains("takes effect with its next image");
        next.then_some(()).ok_or(told)
    });
    // One that is refused, with a value in what is refused.
    lab.apply("default", &site(TOLD[1])).done();
    until("the Secret is refused", || {
        let told = lab.weir("describe stack ims").to_string();
        let refused = told.contains("is another key's too");
        refused.then_some(()).ok_or(told)
    });
    lab.apply("default", &site(TOLD[4])).done();
    lab.ready("default", "ims");
    let bad = stack("bad", "").replace("{name: cloud}", "{name: wrong}");
    lab.apply("default", &bad).done();
    until("the wrong keys are told", || {
        let told = lab.weir("describe account wrong").to_string();
        let refused = told.contains("401") || told.to_lowercase().contains("refuse");
        refused.then_some(()).ok_or(told)
    });
    let real = ["CLOUDSTACK_KEY_TENANT", "CLOUDSTACK_SECRET_TENANT"];
    let mut planted: Vec<_> = real.map(|name| lab.variable(name)).to_vec();
    planted.extend([VALUE, API_KEY, SECRET_KEY].map(str::to_owned));
    // The first of these is in no store any more.
    planted.extend(TOLD[1..].iter().map(|value| (*value).to_owned()));
    planted
}

/// What commands, endpoints and logs say.
fn said(lab: &Lab) -> Outputs {
    let mut all = Outputs::default();
    for words in [
        "get stacks,machines,accounts,events,leases,namespaces -A -o yaml",
        "get secrets -A",
        "get secrets -A -o wide",
        "describe secret user",
        "describe secret cloud-keys",
        "describe account cloud",
        "describe account wrong",
        "describe stack ims",
        "describe stack bad",
        "describe machine ims-sprout-0",
        "events",
        "version -o json",
    ] {
        all.add(words, lab.weir(words).to_string());
    }
    // Mistakes with a value in them.
    for (what, text) in [
        ("no base64", format!("data: {{password: \"{VALUE}!\"}}")),
        (
            "a number for a name",
            format!("stringData: {{password: [{VALUE}]}}"),
        ),
        ("no such member", format!("datta: {{password: {VALUE}}}")),
    ] {
        let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: bad}}\n{text}\n");
        let told = lab.apply("default", &text);
        all.add(what, told.to_string());
    }
    for path in ["/metrics", "/readyz", "/livez"] {
        all.add(path, lab.health(path).1);
    }
    all.add("the controller's log", lab.controller.log());
    all
}

#[test]
fn planted_values_are_nowhere() {
    let mut lab = Lab::empty("instant");
    lab.stop();
    lab.restart_in(&[("RUST_LOG", "debug")]);
    let planted = plant(&lab);
    let planted: Vec<&str> = planted.iter().map(String::as_str).collect();
    let mut all = said(&lab);
    assert!(lab.controller.log().contains("DEBUG"), "it logs everything");
    lab.weir("state export -o running.jsonl").done();
    lab.weir("state backup saved").done();
    lab.stop();
    lab.weir("state export -o stopped.jsonl").done();
    all.add("state fsck", lab.weir("state fsck -o json").to_string());
    for file in ["running.jsonl", "stopped.jsonl"] {
        all.add(file, fs::read(lab.dir().join(file)).unwrap());
    }
    all.folder(&lab.dir().join("state"));
    all.folder(&lab.dir().join("saved"));
    all.assert_clean(&planted);
    // The search finds what is there.
    let revealed = lab.weir("state export --reveal-secrets -o -").done();
    for value in planted {
        assert!(found(revealed.as_bytes(), value), "{value}");
    }
    // And an export is worth something.
    let there = ["state", "import", "stopped.jsonl", "--state", "new"];
    let keyless = run(lab.dir(), &there, "").failed(1);
    assert!(
        keyless.contains("is encrypted with the key weir-"),
        "{keyless}"
    );
    assert!(!lab.dir().join("new").exists(), "nothing was made");
    let keys = ["--encryption-key-file", "state/encryption-keys"];
    run(lab.dir(), &[&there[..], &keys[..]].concat(), "").done();
    let again = "state export --reveal-secrets -o - --state new --encryption-key-file";
    let again = lab.weir(&format!("{again} state/encryption-keys")).done();
    assert!(found(again.as_bytes(), VALUE));
}

#[test]
fn a_controller_goes_on_without_the_secret_whose_key_is_lost() {
    let mut lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    lab.stop();
    let file = lab.dir().join("state/encryption-keys");
    let right = fs::read_to_string(&file).unwrap();
    fs::write(&file, KEY).unwrap();
    lab.restart();
    until("the key is named", || {
        let log = lab.controller.log();
        let told = log.contains("a Secret cannot be read") && log.contains("with the key weir-");
        told.then_some(()).ok_or(log)
    });
    let told = lab.weir("get secret cloud-keys").failed(1);
    assert!(told.contains("and only these are given: first"), "{told}");
    assert!(lab.weir("get stacks").out.contains("ims"));
    let other = "apiVersion: v1\nkind: Secret\nmetadata: {name: other}\nstringData: {a: b}\n";
    lab.apply("default", other).done();
    lab.weir("get secret other").done();
    assert!(lab.controller.runs(), "{}", lab.controller.log());
    lab.stop();
    let env = format!("{right}{KEY}");
    lab.restart_in(&[("WEIR_ENCRYPTION_KEYS", &env)]);
    lab.weir("get secret other").done();
    lab.weir("scale ims sprout=1").done();
    lab.ready("default", "ims");
    let both = [
        ("WEIR_ENCRYPTION_KEYS", &*env),
        ("WEIR_ENCRYPTION_KEY_FILE", "x"),
    ];
    let told = run_in(lab.dir(), &["state", "fsck"], "", &both).failed(2);
    assert!(
        told.contains("are both given: leave one of them out"),
        "{told}"
    );
}

/// Everything in etcd, keys and values.
fn dumped(etcd: &server::Server) -> Vec<(String, Vec<u8>)> {
    let url = etcd.address().replace("etcd://", "http://");
    let all = json!({"key": "AA==", "range_end": "AA=="}).to_string();
    let (status, text) = http("POST", &format!("{url}/v3/kv/range"), &all, None);
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap_or("")).unwrap();
    let pairs = answer["kvs"].as_array().unwrap().iter();
    pairs
        .map(|pair| {
            let key = String::from_utf8(bytes(&pair["key"])).unwrap();
            (key, bytes(&pair["value"]))
        })
        .collect()
}

#[test]
fn planted_values_are_not_in_etcd_and_its_keys_rotate_while_the_controller_runs() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let mut lab = lab_on(&etcd);
    let planted = plant(&lab);
    let planted: Vec<&str> = planted.iter().map(String::as_str).collect();
    let with = |key: &str| {
        let secrets = dumped(&etcd).into_iter();
        let secrets = secrets.filter(|(path, _)| path.starts_with("/weir/secrets/"));
        let name = format!("\"key\":\"{key}\"");
        secrets
            .filter(|(_, value)| String::from_utf8_lossy(value).contains(&name))
            .count()
    };
    Outputs(dumped(&etcd)).assert_clean(&planted);
    assert_eq!((with("first"), with("second")), (4, 0));
    let second = format!("second:{}\n", STANDARD.encode([2; 32]));
    fs::write(lab.dir().join(KEYS), format!("{second}{KEY}")).unwrap();
    lab.stop();
    lab.restart();
    let rekey = format!(
        "state rekey --store {} --encryption-key-file {KEYS}",
        etcd.address()
    );
    let told = lab.weir(&rekey).to_string() + &lab.weir(&rekey).to_string();
    assert_eq!((with("first"), with("second")), (0, 4));
    lab.weir("scale ims sprout=1").done();
    lab.ready("default", "ims");
    lab.stop();
    fs::write(lab.dir().join(KEYS), &second).unwrap();
    lab.restart();
    let read = lab.weir("get secret user -o json").done();
    assert!(found(read.as_bytes(), VALUE), "{read}");
    Outputs(dumped(&etcd)).assert_clean(&planted);
    snapshot(
        "atrest_etcd",
        told.replace(&etcd.address(), "etcd://<etcd>"),
    );
}

#[test]
fn a_folder_from_before_is_encrypted_its_key_is_changed_and_a_lost_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("state/records/format-1");
    copy(&recorded, &dir.path().join("state"));
    let weir = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        run(dir.path(), &words, "").to_string()
    };
    let before = weir("state export --reveal-secrets -o -");
    let value = secret_key(&before);
    let file = dir.path().join("state/encryption-keys");
    let mut told = vec![weir("state export -o none.jsonl")];
    assert!(!file.exists(), "an export changes nothing");
    told.extend(["state rekey", "state rekey", "state rekey --new-key"].map(weir));
    let keys = fs::read_to_string(&file).unwrap();
    assert_eq!(keys.lines().count(), 2, "{keys}");
    let newest = keys.lines().next().unwrap();
    fs::write(&file, format!("{newest}\n")).unwrap();
    told.push(weir("state fsck"));
    assert_eq!(
        secret_key(&weir("state export --reveal-secrets -o -")),
        value
    );
    fs::write(&file, KEY).unwrap();
    told.extend(["state fsck", "state export -o none.jsonl", "state rekey"].map(weir));
    let (name, _) = newest.split_once(':').unwrap();
    fs::write(&file, KEY.replace("first", name)).unwrap();
    told.push(weir("state fsck"));
    fs::write(&file, "scribble").unwrap();
    told.push(weir("state fsck"));
    fs::write(&file, format!("{newest}\n")).unwrap();
    assert_eq!(
        secret_key(&weir("state export --reveal-secrets -o -")),
        value
    );
    snapshot("atrest_folder", told.join("\n"));
}

/// The secret key of the recorded account, in base64.
fn secret_key(export: &str) -> String {
    let objects = export
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut secrets = objects.filter(|object| object["kind"] == "Secret");
    let secret = secrets.next().expect(export);
    secret["data"]["secretKey"]
        .as_str()
        .expect(export)
        .to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, place).unwrap();
        }
    }
}
