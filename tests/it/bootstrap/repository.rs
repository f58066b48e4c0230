//! A signed apt repository of stand-ins for Clearwater's packages, built with `dpkg-deb` and
//! `gpg`. They have the names and the relations of the real ones, and as much inside as tells
//! whether they were installed in the right order: etcd is a real etcd, and the rest of them keep
//! to the files, ports and rules that Clearwater's documentation gives.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use sha2::{Digest, Sha256};

/// The version of all stand-ins.
pub(super) const VERSION: &str = "1.0-160518.1";

/// A stand-in: its name, what it depends on, its files, and what its installation does.
type Package = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const PACKAGES: &[Package] = &[
    ("dnsmasq", "", &[("etc/default/dnsmasq", "ENABLED=1\n")], ""),
    (
        "ntp",
        "",
        &[("etc/ntp.conf", "pool somewhere.example\n")],
        "",
    ),
    (
        "bind9",
        "",
        &[
            (
                "etc/bind/named.conf.options",
                "options { recursion yes; };\n",
            ),
            ("etc/bind/named.conf.local", "// nothing\n"),
        ],
        "groupadd --system bind; useradd --system --gid bind bind; mkdir -p /var/lib/bind /var/cache/bind\n",
    ),
    (
        "clearwater-etcd",
        "",
        &[(WAIT_FOR_ETCD.0, WAIT_FOR_ETCD.1)],
        ETCD,
    ),
    ("clearwater-queue-manager", "clearwater-etcd", &[], ""),
    ("clearwater-cluster-manager", "clearwater-etcd", &[], ""),
    (
        "clearwater-config-manager",
        "clearwater-etcd",
        &[],
        CONFIG_MANAGER,
    ),
    (
        "clearwater-management",
        "clearwater-queue-manager, clearwater-cluster-manager, clearwater-config-manager",
        &[],
        "",
    ),
    (
        "chronos",
        "",
        &[(
            "etc/chronos/chronos.conf",
            "[http]\nbind-address = 0.0.0.0\n",
        )],
        "",
    ),
    ("clearwater-prov-tools", "", &[], ""),
    ("restund", "", &[], ""),
    ("bono", "", &[], ""),
    ("sprout", "chronos", &[], ""),
    ("homestead", "", &[], ""),
    ("homestead-prov", "", &[], ""),
    ("homer", "", &[], ""),
    ("ralf", "chronos", &[], ""),
    ("dime", "clearwater-management", &[], ""),
    ("vellum", "chronos, clearwater-management", &[], ""),
    (
        "ellis",
        "",
        &[
            (
                "usr/bin/mysql",
                "#!/bin/sh\n[ -e /srv/numbers ] && wc -l </srv/numbers || echo 0\n",
            ),
            (
                "usr/share/clearwater/ellis/env/bin/python",
                "#!/bin/sh\nexec python3 \"$@\"\n",
            ),
            (
                "usr/share/clearwater/ellis/src/metaswitch/ellis/tools/create_numbers.py",
                CREATE_NUMBERS,
            ),
            ("usr/share/clearwater/ellis/site/ping", "OK"),
        ],
        "cd /usr/share/clearwater/ellis/site\n\
         setsid python3 -m http.server --bind \"$(sed -n s/local_ip=//p /etc/clearwater/local_config)\" 80 \
         >/dev/null 2>&1 </dev/null &\n",
    ),
];

const WAIT_FOR_ETCD: (&str, &str) = (
    "usr/share/clearwater/clearwater-etcd/scripts/wait_for_etcd",
    r#"#!/bin/bash
. /etc/clearwater/local_config
for _ in $(seq 300); do
    curl -fsS -o /dev/null -X PUT "http://$local_ip:4000/v2/keys/clearwater/$local_ip/liveness-check" \
        -d value=1 2>/dev/null && exit 0
    sleep 1
done
exit 1
"#,
);

/// Create or join, as Clearwater's start script decides it.
const ETCD: &str = r#"
. /etc/clearwater/local_config
name=${local_ip//./-}
peer=http://$local_ip:2380
if [ -n "${etcd_proxy:-}" ]; then
    set -- --proxy on --initial-cluster "${etcd_proxy//./-}=http://$etcd_proxy:2380"
elif [[ ,$etcd_cluster, == *,$local_ip,* ]]; then
    set -- --initial-cluster-state new --initial-cluster "$name=$peer"
else
    first=${etcd_cluster%%,*}
    cluster=$(curl -fsS "http://$first:4000/v2/members" | python3 -c '
import json, sys
print(",".join(m["name"] + "=" + m["peerURLs"][0] for m in json.load(sys.stdin)["members"]))')
    curl -fsS -X POST -H "Content-Type: application/json" "http://$first:4000/v2/members" \
        -d "{\"peerURLs\": [\"$peer\"]}" >/dev/null
    set -- --initial-cluster-state existing --initial-cluster "$cluster,$name=$peer"
fi
setsid etcd --name "$name" --data-dir "/var/lib/clearwater-etcd/$local_ip" --enable-v2 \
    --listen-client-urls "http://$local_ip:4000" --advertise-client-urls "http://$local_ip:4000" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" "$@" \
    >/var/log/etcd.log 2>&1 </dev/null &
"#;

/// Brings the site's configuration from etcd to the file that Clearwater reads.
const CONFIG_MANAGER: &str = r#"
cat >/usr/local/bin/config-manager <<'END'
#!/bin/bash
. /etc/clearwater/local_config
url=http://$local_ip:4000/v2/keys/clearwater/$local_site_name/configuration/shared_config
while sleep 0.2; do
    curl -fsS "$url" 2>/dev/null | python3 -c 'import json, sys
sys.stdout.write(json.load(sys.stdin)["node"]["value"])' >/run/shared_config 2>/dev/null || continue
    cmp -s /run/shared_config /etc/clearwater/shared_config || cp /run/shared_config /etc/clearwater/
done
END
chmod 755 /usr/local/bin/config-manager
setsid /usr/local/bin/config-manager >/dev/null 2>&1 </dev/null &
"#;

const CREATE_NUMBERS: &str = r#"import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--start", type=int)
parser.add_argument("--count", type=int)
parser.add_argument("--realm")
args = parser.parse_args()
path = "/srv/numbers"
have = open(path).read().splitlines() if os.path.exists(path) else []
want = ["sip:%d@%s" % (args.start + n, args.realm) for n in range(args.count)]
with open(path, "a") as numbers:
    numbers.writelines(one + "\n" for one in want if one not in have)
"#;

/// Builds the repository in a folder, and gives the key that it is signed with, armoured, and its
/// fingerprint.
pub(super) fn build(folder: &Path) -> (String, String) {
    let (packages, home) = (folder.join("binary"), folder.join("gpg"));
    fs::create_dir_all(&packages).unwrap();
    fs::create_dir_all(&home).unwrap();
    fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
    let mut index = String::new();
    for package in PACKAGES {
        let control = deb(folder, &packages, package);
        index.push_str(&control);
    }
    fs::write(packages.join("Packages"), &index).unwrap();
    let release = format!(
        "Origin: stand-ins\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {} {} Packages\n",
        sha256(index.as_bytes()),
        index.len()
    );
    fs::write(packages.join("Release"), release).unwrap();
    let gpg = |args: &[&str]| {
        let output = run(Command::new("gpg")
            .args(["--batch", "--quiet", "--homedir"])
            .arg(&home)
            .args(args)
            .current_dir(&packages));
        String::from_utf8(output).unwrap()
    };
    let user = "Stand-ins <packages@example.net>";
    gpg(&[
        "--passphrase",
        "",
        "--quick-gen-key",
        user,
        "rsa2048",
        "sign",
        "never",
    ]);
    gpg(&["--clearsign", "--output", "InRelease", "Release"]);
    let key = gpg(&["--armor", "--export"]);
    let listed = gpg(&["--with-colons", "--fingerprint"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with("fpr:"))
        .unwrap();
    let fingerprint = line.split(':').nth(9).unwrap().to_owned();
    fs::write(folder.join("key.asc"), &key).unwrap();
    let mut stop = Command::new("gpgconf");
    run(stop.args(["--kill", "all"]).env("GNUPGHOME", &home));
    (key, fingerprint)
}

/// Builds one package, and says what the index says of it.
fn deb(folder: &Path, packages: &Path, (name, depends, files, installed): &Package) -> String {
    let tree = folder.join("trees").join(name);
    for (path, content) in *files {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let mode = if content.starts_with("#!") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let debian = tree.join("DEBIAN");
    fs::create_dir_all(&debian).unwrap();
    let depends = match *depends {
        "" => String::new(),
        depends => format!("Depends: {depends}\n"),
    };
    let control = format!(
        "Package: {name}\nVersion: {VERSION}\nArchitecture: all\n{depends}\
         Maintainer: Nobody <nobody@example.net>\nDescription: stand-in for {name}\n"
    );
    fs::write(debian.join("control"), &control).unwrap();
    let configuration = files.iter().filter(|(path, _)| path.starts_with("etc/"));
    let list: String = configuration
        .map(|(path, _)| format!("/{path}\n"))
        .collect();
    fs::write(debian.join("conffiles"), list).unwrap();
    let script = debian.join("postinst");
    fs::write(&script, format!("#!/bin/bash\nset -e\n{installed}")).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let file = format!("{name}_{VERSION}_all.deb");
    let mut build = Command::new("dpkg-deb");
    run(build
        .args(["--root-owner-group", "-Znone", "--build"])
        .arg(&tree)
        .arg(packages.join(&file)));
    let bytes = fs::read(packages.join(&file)).unwrap();
    format!(
        "{control}Filename: binary/{file}\nSize: {}\nSHA256: {}\n\n",
        bytes.len(),
        sha256(&bytes)
    )
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes).into_iter();
    digest.map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    output.stdout
}
