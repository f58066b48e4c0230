//! The user data of machines against a real cloud-init, apt, etcd and iptables, in a Debian that
//! `scripts/debian-root` made: every text is a valid cloud-config, and the script runs to its end,
//! three times in a row, of which the second and third change nothing.

mod live;
mod repository;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir::{
    bootstrap::{Input, Membership, Peers, Secrets, render, uploader},
    types::{
        meta::Object,
        role::Role,
        stack::{ClearwaterStack, StackSpec},
    },
};

const STACK: &str = r#"
apiVersion: weir.dev/v1alpha1
kind: ClearwaterStack
metadata: {name: ims, namespace: default}
spec:
  accountRef: {name: zurich}
  domain: ims.example.com
  template: {name: Debian}
  serviceOffering: {name: small}
  network: {managementCidrs: [198.51.100.16/28]}
  packages: {repository: 'http://127.0.0.1:8000', version: '1.0-160518*'}
  dns: {mode: Managed}
  bootstrap:
    secretRef: {name: ims-secrets}
    userSettings: {log_level: '2'}
    dnsOverrides: {cdf.example.com: cdf-1.example.net}
    sshAuthorizedKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ops]
    ntpServers: [ntp.example.net]
    resolvers: [198.51.100.53]
    logs: {host: logs.example.net}
  components:
    bono: {replicas: 2}
    sprout: {replicas: 2}
    ellis: {numbers: {start: '6505550000', count: 100}}
"#;

/// A Secret of a stack, as its reader fills it in.
pub(crate) const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: ims-secrets}
stringData:
  signupKey: signup-Zb3x91
  turnWorkaround: turn-Qm5r22
  ellisApiKey: api-Lw8t33
  ellisCookieKey: cookie-Xd1v44
  tsigKey: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
";

/// A stack of a release, with a change merged into it.
fn stack(release: u32, change: &Value) -> StackSpec {
    let mut stack: Value = serde_yaml::from_str(STACK).unwrap();
    stack["spec"]["packages"]["release"] = release.into();
    json_patch::merge(&mut stack, change);
    let object: Object = serde_json::from_value(stack).unwrap();
    object.decode::<ClearwaterStack>().unwrap().spec
}

fn secrets() -> Secrets {
    let secret: Value = serde_yaml::from_str(SECRET).unwrap();
    let object: Object = serde_json::from_value(secret).unwrap();
    Secrets::of(&object.decode().unwrap())
}

/// The machines of a stack, at addresses from 10.0.0.10.
fn machines(spec: &StackSpec) -> Vec<(Role, u32, Ipv4Addr)> {
    let roles = Role::ALL.into_iter();
    let all = roles.flat_map(|role| (0..spec.replicas(role)).map(move |index| (role, index)));
    let at = |last| Ipv4Addr::new(10, 0, 0, last);
    all.zip(10..)
        .map(|((role, index), last)| (role, index, at(last)))
        .collect()
}

/// The user data of a machine, and its address.
fn user_data(spec: &StackSpec, role: Role, founded: bool) -> (String, Ipv4Addr) {
    let mut peers = Peers::new();
    for (role, _, address) in machines(spec) {
        peers.entry(role).or_default().push(address);
    }
    let private = peers[&role][0];
    let data = render(&Input {
        spec,
        name: &format!("ims-{role}-0"),
        role,
        index: 0,
        private,
        public: role.public().then_some(Ipv4Addr::new(203, 0, 113, 7)),
        peers: &peers,
        membership: Membership::of(spec, (role, 0, private), &peers, founded),
        secrets: &secrets(),
    });
    (data.unwrap().text.expose().to_owned(), private)
}

/// The Debian; none, told loudly, where it was not made.
fn debian() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian-root");
    if root.join("etc/weir-root").exists() {
        return Some(root);
    }
    let required = std::env::var_os("WEIR_REQUIRE_PARTS").is_some();
    assert!(
        !required,
        "{} is missing, and WEIR_REQUIRE_PARTS is set",
        root.display()
    );
    println!("left out: scripts/debian-root makes the Debian that this needs");
    None
}

/// What a real cloud-init says of files in a folder.
fn judged(root: &Path, folder: &Path, names: &[String]) -> std::process::Output {
    let judge = "mount --bind \"$1\" \"$0/srv\" && cd / && shift 1 && for name in \"$@\"; do
        chroot \"$0\" cloud-init schema --config-file \"/srv/$name\" || exit 1; done";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "bash", "-c", judge]);
    unshare.arg(root).arg(folder).args(names).output().unwrap()
}

#[test]
fn cloud_init_takes_what_every_role_is_told() {
    let Some(root) = debian() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    let packed = json!({ "spec": { "bootstrap": { "userDataMax": 16_000 } } });
    for (release, change) in [(98, &Value::Null), (129, &Value::Null), (98, &packed)] {
        let change = if change.is_null() { &json!({}) } else { change };
        let spec = stack(release, change);
        let roles = Role::ALL
            .into_iter()
            .filter(|role| spec.replicas(*role) > 0);
        for role in roles {
            let name = format!("{}-{role}.yaml", names.len());
            fs::write(folder.path().join(&name), user_data(&spec, role, false).0).unwrap();
            names.push(name);
        }
    }
    let wrong = "#cloud-config\nwrite_files:\n- {pth: /etc/hosts}\n";
    fs::write(folder.path().join("wrong.yaml"), wrong).unwrap();
    let output = judged(&root, folder.path(), &names);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}");
    assert_eq!(
        told.matches("Valid cloud-config").count(),
        names.len(),
        "{told}"
    );
    assert!(
        !judged(&root, folder.path(), &["wrong.yaml".to_owned()])
            .status
            .success(),
        "anything passes"
    );
}

/// What a boot left: the bed's files, by name.
struct Booted {
    folder: TempDir,
}

impl Booted {
    /// Boots a machine to its end; where a neighbour is named, that has an etcd already.
    #[track_caller]
    fn new(bed: &Bed, spec: &StackSpec, role: Role, neighbour: Option<Role>) -> Self {
        let (booted, told) = Self::boot(bed, spec, role, neighbour);
        let log = booted.maybe("log");
        assert!(
            told.is_none(),
            "{role}: {told:?}\n--- the machine's log\n{log}"
        );
        booted.stays();
        booted
    }

    /// Boots a machine, and gives what was told where it did not come to its end.
    fn boot(
        bed: &Bed,
        spec: &StackSpec,
        role: Role,
        neighbour: Option<Role>,
    ) -> (Self, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let (text, address) = user_data(spec, role, false);
        fs::write(folder.path().join("user-data"), text).unwrap();
        let neighbour = neighbour.map(|role| {
            let found = machines(spec)
                .into_iter()
                .find(|(other, ..)| *other == role);
            found.unwrap().2.to_string()
        });
        let configured = match &neighbour {
            Some(_) => "before",
            None if uploader(spec) == (role, 0) => "never",
            None => "later",
        };
        fs::write(folder.path().join("configured"), configured).unwrap();
        fs::write(
            folder.path().join("neighbour"),
            neighbour.unwrap_or_default(),
        )
        .unwrap();
        std::os::unix::fs::symlink(bed.repository.path(), folder.path().join("repository"))
            .unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/bootstrap/bed.sh");
        let output = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--kill-child",
            ])
            .args(["--mount-proc", "bash", script])
            .arg(&bed.root)
            .arg(folder.path())
            .arg(address.to_string())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (Self { folder }, (!output.status.success()).then_some(told))
    }

    fn maybe(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    #[track_caller]
    fn read(&self, name: &str) -> String {
        let text = self.maybe(name);
        assert!(!text.is_empty(), "nothing in {name}\n{}", self.maybe("log"));
        text
    }

    /// It came to its end, and a reboot and another run found nothing to do.
    #[track_caller]
    fn stays(&self) {
        assert_eq!(self.read("state"), "ready\n", "{}", self.read("log"));
        let first = self.files("first");
        for again in ["second", "third"] {
            let files = self.files(again);
            let paths = first.keys().chain(files.keys());
            let changed: Vec<_> = paths
                .filter(|path| first.get(*path) != files.get(*path))
                .collect();
            assert!(changed.is_empty(), "{again}: {changed:?}");
        }
        assert_eq!(self.read("rules"), self.read("rules-again"));
        assert!(first.len() > 1000, "{} files are not a Debian", first.len());
    }

    /// Mode, owner and SHA-256 by path.
    fn files(&self, name: &str) -> BTreeMap<String, String> {
        let text = self.read(name);
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(path, rest)| (path.to_owned(), rest.to_owned()))
            .collect()
    }
}

/// What machines are booted with.
struct Bed {
    root: PathBuf,
    repository: TempDir,
    /// A change of a stack that names the repository's key.
    key: Value,
    fingerprint: String,
}

impl Bed {
    /// None, told loudly, where a part is missing.
    fn make() -> Option<Self> {
        let root = debian()?;
        let parts = ["unshare", "dpkg-deb", "gpg"];
        if !parts.iter().all(|part| crate::parts::present(part)) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (key, fingerprint) = repository::build(folder.path());
        fs::write(
            folder.path().join("shared_config"),
            "home_domain=from.before\n",
        )
        .unwrap();
        let packages = json!({ "key": key, "keyFingerprint": fingerprint });
        Some(Self {
            root,
            repository: folder,
            key: json!({ "spec": { "packages": packages } }),
            fingerprint,
        })
    }

    /// A change of a stack that says where the repository's key is, and which it is to be.
    fn key_at(&self, fingerprint: &str) -> Value {
        let url = "http://127.0.0.1:8000/key.asc";
        let packages = json!({ "key": null, "keyUrl": url, "keyFingerprint": fingerprint });
        json!({ "spec": { "packages": packages } })
    }
}

#[test]
fn the_first_sprout_founds_the_site_and_gives_it_its_configuration() {
    let Some(bed) = Bed::make() else { return };
    let booted = Booted::new(&bed, &stack(98, &bed.key), Role::Sprout, None);
    let local = booted.read("local_config");
    assert!(local.ends_with("etcd_cluster=10.0.0.14\n"), "{local}");
    let shared = booted.read("shared_config");
    assert!(shared.contains("signup_key=signup-Zb3x91\n"), "{shared}");
    for key in ["shared_config", "scscf_json", "dns_json"] {
        assert!(booted.read("keys").contains(key), "{}", booted.read("keys"));
    }
    // What was written before the package came stays.
    assert!(
        booted
            .read("chronos.conf")
            .contains("bind-address = 10.0.0.14\n")
    );
    assert!(
        booted
            .read("clearwater.list")
            .contains("[signed-by=/etc/weir/clearwater.gpg]")
    );
    let rules = booted.read("rules");
    for rule in [
        ":INPUT DROP [0:0]\n",
        "-A INPUT -s 10.0.0.16/32 -p tcp -m tcp --dport 5054 -j ACCEPT\n",
        "-A INPUT -s 198.51.100.16/28 -p tcp -m tcp --dport 22 -j ACCEPT\n",
        "-A INPUT -s 10.0.0.15/32 -p tcp -m tcp --dport 11211 -j ACCEPT\n",
    ] {
        assert!(rules.contains(rule), "lacks {rule}{rules}");
    }
    assert!(!rules.contains("--dport 8889"), "{rules}");
}

#[test]
fn a_founder_that_is_made_again_joins_what_it_founded() {
    let Some(bed) = Bed::make() else { return };
    // Told to found, as at first; the site and its configuration are there.
    let spec = stack(98, &bed.key);
    let booted = Booted::new(&bed, &spec, Role::Sprout, Some(Role::Homestead));
    let local = booted.read("local_config");
    assert!(local.ends_with("etcd_cluster=10.0.0.11\n"), "{local}");
    assert_eq!(booted.read("shared_config"), "home_domain=from.before\n");
    let members: Value = serde_json::from_str(&booted.read("members")).unwrap();
    assert_eq!(members["members"].as_array().unwrap().len(), 2, "{members}");
}

#[test]
fn ellis_joins_and_gives_out_its_numbers_once() {
    let Some(bed) = Bed::make() else { return };
    let spec = stack(98, &bed.key);
    let booted = Booted::new(&bed, &spec, Role::Ellis, Some(Role::Sprout));
    let numbers = booted.read("numbers");
    assert_eq!(numbers.lines().count(), 100);
    assert!(
        numbers.starts_with("sip:6505550000@ims.example.com\n"),
        "{numbers}"
    );
    assert!(
        booted
            .read("local_config")
            .ends_with("etcd_cluster=10.0.0.14\n")
    );
    assert!(
        booted
            .read("dnsmasq")
            .ends_with("RESOLV_CONF=/etc/dnsmasq.resolv.conf\n")
    );
}

#[test]
fn the_other_roles_join() {
    let Some(bed) = Bed::make() else { return };
    let spec = stack(98, &bed.key_at(&bed.fingerprint));
    for role in [Role::Bono, Role::Homestead, Role::Homer, Role::Ralf] {
        let booted = Booted::new(&bed, &spec, role, Some(Role::Sprout));
        let members: Value = serde_json::from_str(&booted.read("members")).unwrap();
        assert_eq!(
            members["members"].as_array().unwrap().len(),
            2,
            "{role}: {members}"
        );
    }
}

#[test]
fn a_key_that_is_another_one_ends_it() {
    let Some(bed) = Bed::make() else { return };
    let other = bed.key_at("92134604DE327DF7FEB72026111DBE4722B97904");
    let spec = stack(98, &other);
    let (booted, told) = Booted::boot(&bed, &spec, Role::Bono, Some(Role::Sprout));
    assert!(told.is_some(), "{}", booted.maybe("log"));
    assert_eq!(booted.read("state"), "failed: packages\n");
    let log = booted.read("log");
    assert!(
        log.contains(&format!("is {}, not 9213", bed.fingerprint)),
        "{log}"
    );
    assert!(!log.contains("Unpacking bono"), "{log}");
}

#[test]
fn the_name_server_is_as_bind_wants_it() {
    let Some(bed) = Bed::make() else { return };
    // The bed has BIND's own programs judge its files.
    let booted = Booted::new(&bed, &stack(98, &bed.key), Role::Dns, None);
    assert!(
        booted
            .read("named.conf.local")
            .contains("algorithm hmac-sha256;")
    );
    let files = booted.files("first");
    let zone = &files["/var/lib/bind/db.ims.example.com"];
    assert!(zone.starts_with("644 bind:bind "), "{zone}");
    let secret = &files["/etc/bind/named.conf.local"];
    assert!(secret.starts_with("640 root:bind "), "{secret}");
}

#[test]
fn in_the_split_layout_vellum_founds_and_others_ask_it() {
    let Some(bed) = Bed::make() else { return };
    let spec = stack(129, &bed.key);
    for (role, neighbour, ends) in [
        (Role::Vellum, Role::Vellum, "etcd_cluster=10.0.0.11\n"),
        (Role::Dime, Role::Vellum, "etcd_proxy=10.0.0.11\n"),
        (Role::Sprout, Role::Vellum, "etcd_proxy=10.0.0.11\n"),
    ] {
        let neighbour = Some(neighbour).filter(|neighbour| *neighbour != role);
        let booted = Booted::new(&bed, &spec, role, neighbour);
        let local = booted.read("local_config");
        assert!(local.ends_with(ends), "{role}: {local}");
    }
}
