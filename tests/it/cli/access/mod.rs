//! Who may do what, as the real kubectl sees it: users by token, certificate and JWT, with the
//! rights of roles, and what is written down of it.

pub(crate) mod bed;

use std::fs;

use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use self::bed::{Bed, CANARY, CANARY_64, Provider, authority, write_tokens};
use super::lab::{run, until};
use crate::parts::present;

/// What kubectl says to who shows no good credential.
const WHO: &str = "You must be logged in to the server";

fn bed() -> Option<Bed> {
    present("kubectl").then(Bed::new)
}

fn bound(bed: &Bed, user: &str, role: &str) {
    let (name, user) = (format!("{user}-{role}"), format!("--user={user}"));
    let role = format!("--clusterrole={role}");
    bed.admin(&["create", "rolebinding", &name, &role, &user, "-n", "lab"])
        .ok();
}

#[test]
fn who_may_view_a_namespace_sees_it_and_nothing_else() {
    let Some(bed) = bed() else { return };
    let refused = "Error from server (Forbidden): cloudaccounts.weir.dev is forbidden: User \"ann\" \
                   cannot list resource \"cloudaccounts\" in API group \"weir.dev\" in the namespace \
                   \"lab\"";
    bed.by("ann", &["get", "cloudaccounts", "-n", "lab"])
        .refused(refused);
    bound(&bed, "ann", "view");
    let told = bed.by("ann", &["get", "cloudaccounts", "-n", "lab"]).ok();
    assert!(told.contains("cloud"), "{told}");
    bed.by("ann", &["get", "cloudaccounts", "-n", "other"])
        .refused("(Forbidden)");
    bed.by("ann", &["get", "cloudaccounts", "-A"])
        .refused("at the cluster scope");
    bed.by("ann", &["get", "namespace", "lab"]).ok();
    bed.by("ann", &["get", "namespaces"]).refused("(Forbidden)");
    for form in ["yaml", "name", "wide"] {
        bed.by("ann", &["get", "secrets", "-n", "lab", "-o", form])
            .refused("(Forbidden)");
        bed.by("ann", &["get", "secret", "keys", "-n", "lab", "-o", form])
            .refused("(Forbidden)");
    }
    bed.by("ann", &["get", "secrets", "-n", "lab", "--watch"])
        .refused("(Forbidden)");
    bed.by("ann", &["get", "--raw", "/export"])
        .refused("forbidden: User \"ann\" cannot get path");
    let label = ["label", "cloudaccount", "cloud", "-n", "lab", "a=b"];
    bed.by("ann", &label).refused("cannot patch resource");
    bed.by("ann", &["delete", "cloudaccount", "cloud", "-n", "lab"])
        .refused("(Forbidden)");
    bed.by("ann", &["create", "-f", &bed.file("a.yaml", ROLE)])
        .refused("cannot create resource");
}

#[test]
fn kubectl_auth_tells_what_one_may_do() {
    let Some(bed) = bed() else { return };
    bound(&bed, "ann", "view");
    let can = |words: &str, answer: &str| {
        let words: Vec<&str> = ["auth", "can-i"]
            .into_iter()
            .chain(words.split(' '))
            .collect();
        let said = bed.by("ann", &words);
        assert_eq!(
            (said.text.lines().last(), said.done),
            (Some(answer), answer == "yes"),
            "{words:?}"
        );
    };
    can("list clearwaterstacks -n lab", "yes");
    can("watch cws.weir.dev -n lab", "yes");
    can("get cws --subresource=status -n lab", "yes");
    can("list clearwaterstacks -n other", "no");
    can("list clearwaterstacks -A", "no");
    can("get secrets -n lab", "no");
    can("update clearwaterstacks -n lab", "no");
    can("get /version", "yes");
    can("get /metrics", "no");
    let list = bed
        .by("ann", &["auth", "can-i", "--list", "-n", "lab"])
        .ok();
    let all = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
    let machines = ["machines.weir.dev", "[get list watch]"];
    assert!(list.lines().any(|line| all(line, &machines)), "{list}");
    assert!(
        list.contains("selfsubjectaccessreviews") && !list.contains("secrets"),
        "{list}"
    );
    let who = bed.by("ann", &["auth", "whoami"]).ok();
    assert!(
        who.contains("ann") && who.contains("[people system:authenticated]"),
        "{who}"
    );
    let admin = bed.admin(&["auth", "can-i", "escalate", "roles"]).ok();
    assert_eq!(admin.trim(), "yes");
    let known = bed.admin(&["api-resources", "-o", "name"]).ok();
    for resource in [
        "roles.rbac.",
        "clusterrolebindings.rbac.",
        "tokenreviews.authentication.",
    ] {
        assert!(known.contains(resource), "{known}");
    }
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                        "spec": {"token": "ann-token"}});
    let review = bed.file("review.json", &review.to_string());
    let told = bed.admin(&["create", "-f", &review, "-o", "json"]).ok();
    assert!(
        told.contains("\"username\": \"ann\"") && !told.contains("ann-token"),
        "{told}"
    );
}

#[test]
fn a_right_that_is_taken_away_is_gone_at_once_and_ends_watches() {
    let Some(mut bed) = bed() else { return };
    bound(&bed, "ann", "view");
    let (mut watch, log) = bed.start("ann", &["get", "cloudaccounts", "-n", "lab", "-w"]);
    let read = || fs::read_to_string(&log).unwrap();
    until("the watch runs", || {
        read().contains("cloud").then_some(()).ok_or(read())
    });
    bed.admin(&["delete", "rolebinding", "ann-view", "-n", "lab"])
        .ok();
    bed.by("ann", &["get", "cloudaccounts", "-n", "lab"])
        .refused("(Forbidden)");
    until("the watch ends", || watch.try_wait().unwrap().ok_or(read()));
    // The same by the token: it is taken out of its file.
    bound(&bed, "eve", "view");
    let (mut watch, log) = bed.start("eve", &["get", "cloudaccounts", "-n", "lab", "-w"]);
    let read = || fs::read_to_string(&log).unwrap();
    until("the watch runs", || {
        read().contains("cloud").then_some(()).ok_or(read())
    });
    write_tokens(bed.dir(), &[("ann", "ann-token")]);
    until("the watch ends", || watch.try_wait().unwrap().ok_or(read()));
    bed.by("eve", &["get", "cloudaccounts", "-n", "lab"])
        .refused(WHO);
    // A file that cannot be read changes nothing.
    bed.file("tokens", "ann-token,ann\n");
    until("the file is refused", || {
        let log = bed.controller.log();
        log.contains("not read again").then_some(()).ok_or(log)
    });
    bed.by("ann", &["auth", "whoami"]).ok();
    assert!(!bed.controller.log().contains("ann-token"));
    assert!(bed.controller.runs());
}

#[test]
fn a_certificate_of_the_authority_is_its_holder() {
    let Some(bed) = bed() else { return };
    bed.certify("bob", &["ops"], &bed.dir().join("state/tls"));
    let grant = [
        "create",
        "clusterrolebinding",
        "ops",
        "--clusterrole=view",
        "--group=ops",
    ];
    bed.by("bob", &["get", "cloudaccounts", "-A"])
        .refused("(Forbidden)");
    bed.admin(&grant).ok();
    bed.by("bob", &["get", "cloudaccounts", "-A"]).ok();
    let who = bed.by("bob", &["auth", "whoami"]).ok();
    assert!(who.contains("bob") && who.contains("X509SHA256="), "{who}");
    // Another authority of the same name.
    let other = bed.dir().join("other");
    fs::create_dir(&other).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = authority();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key).unwrap();
    fs::write(other.join("ca.key"), key.serialize_pem()).unwrap();
    fs::write(other.join("ca.crt"), certificate.pem()).unwrap();
    bed.certify("mallory", &["system:masters"], &other);
    let said = bed.by("mallory", &["get", "cloudaccounts", "-A"]);
    assert!(!said.done && !said.text.contains("NAME"), "{}", said.text);
}

#[test]
fn a_token_of_the_provider_is_its_holder_and_no_other_token_is() {
    let Some(bed) = bed() else { return };
    #[expect(
        clippy::disallowed_methods,
        reason = "the controller goes by real time"
    )]
    let now = jiff::Timestamp::now().as_second();
    let header = json!({"alg": "ES256", "kid": "k"});
    let claims = |claim: &str, value: Value| {
        let mut claims = json!({"iss": "https://id.example.com", "aud": "weir", "sub": "joe",
                                "exp": now + 600, "groups": ["ops", "system:masters"]});
        claims[claim] = value;
        claims
    };
    let good = bed.provider.sign(&header, &claims("sub", json!("joe")));
    bed.know("joe", &json!({ "token": good }));
    let who = bed.by("joe", &["auth", "whoami"]).ok();
    assert!(
        who.contains("id:joe") && who.contains("[id:ops id:system:masters "),
        "{who}"
    );
    bed.by("joe", &["get", "secrets", "-A"])
        .refused("User \"id:joe\" cannot list");
    let bad = [
        bed.provider.sign(&header, &claims("exp", json!(now - 1))),
        bed.provider.sign(&header, &claims("nbf", json!(now + 600))),
        bed.provider.sign(&header, &claims("aud", json!("other"))),
        bed.provider
            .sign(&header, &claims("iss", json!("https://evil.example.com"))),
        bed.provider.sign(
            &json!({"alg": "HS256", "kid": "k"}),
            &claims("sub", json!("joe")),
        ),
        bed.provider
            .sign(&json!({"alg": "none"}), &claims("sub", json!("joe"))),
        Provider::new().sign(&header, &claims("sub", json!("joe"))),
    ];
    for token in bad {
        bed.know("joe", &json!({ "token": token }));
        bed.by("joe", &["auth", "whoami"]).refused(WHO);
    }
}

#[test]
fn nobody_gives_what_they_do_not_have() {
    let Some(bed) = bed() else { return };
    bound(&bed, "ann", "admin");
    let bind = |name: &str, role: &str| {
        let role = format!("--clusterrole={role}");
        bed.by(
            "ann",
            &[
                "create",
                "rolebinding",
                name,
                &role,
                "--user=eve",
                "-n",
                "lab",
            ],
        )
    };
    bind("fine", "edit").ok();
    bind("high", "cluster-admin")
        .refused("is attempting to grant RBAC permissions not currently held");
    bind("gone", "no-such-role").refused("not found");
    let role = |name: &str, verb: &str, resource: &str| {
        let (verb, resource) = (format!("--verb={verb}"), format!("--resource={resource}"));
        bed.by(
            "ann",
            &["create", "role", name, &verb, &resource, "-n", "lab"],
        )
    };
    role("fine", "get,list", "secrets").ok();
    role("high", "update", "clearwaterstacks.weir.dev/status").refused("not currently held");
    let patch = json!([{"op": "add", "path": "/rules/-", "value": {
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}}])
    .to_string();
    let words = [
        "patch",
        "role",
        "fine",
        "-n",
        "lab",
        "--type=json",
        "-p",
        &patch,
    ];
    bed.by("ann", &words).refused("not currently held");
    // What gives no more than before is nobody's concern.
    bed.by("ann", &["label", "role", "fine", "-n", "lab", "a=b"])
        .ok();
    let patch = r#"{"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}}"#;
    let words = ["patch", "rolebinding", "fine", "-n", "lab", "-p", patch];
    bed.by("ann", &words).refused("roleRef: Invalid value");
    let words = [
        "create",
        "clusterrolebinding",
        "x",
        "--clusterrole=view",
        "--user=eve",
    ];
    bed.by("ann", &words).refused("at the cluster scope");
    bed.by("eve", &["get", "secret", "keys", "-n", "lab", "-o", "name"])
        .ok();
}

#[test]
fn who_acts_as_another_may_and_is_written_down() {
    let Some(bed) = bed() else { return };
    bound(&bed, "eve", "view");
    let as_eve = ["--as=eve", "get", "cloudaccounts", "-n", "lab"];
    let why = "users \"eve\" is forbidden: User \"ann\" cannot impersonate resource \"users\"";
    bed.by("ann", &as_eve).refused(why);
    let role = bed.file("impersonate.yaml", ROLE);
    bed.admin(&["create", "-f", &role]).ok();
    let words = [
        "create",
        "clusterrolebinding",
        "i",
        "--clusterrole=impersonate",
        "--user=ann",
    ];
    bed.admin(&words).ok();
    bed.by("ann", &as_eve).ok();
    bed.by("ann", &["--as=eve", "get", "secrets", "-n", "lab"])
        .refused("User \"eve\" cannot list");
    let more = [
        "--as=eve",
        "--as-group=system:masters",
        "get",
        "secrets",
        "-n",
        "lab",
    ];
    bed.by("ann", &more)
        .refused("cannot impersonate resource \"groups\"");
    let who = bed
        .admin(&["--as=zoe", "--as-group=g", "auth", "whoami"])
        .ok();
    assert!(
        who.contains("zoe") && who.contains("[g system:authenticated]"),
        "{who}"
    );

    let lines = bed.audit();
    let found = lines.iter().find(|line| {
        line["user"]["username"] == "ann"
            && line["impersonatedUser"]["username"] == "eve"
            && line["objectRef"]["resource"] == "secrets"
    });
    let found = found.unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!(found["kind"], "Event");
    assert_eq!(found["verb"], "list");
    assert_eq!(found["responseStatus"]["code"], 403);
    assert_eq!(
        found["objectRef"],
        json!({"resource": "secrets", "namespace": "lab", "apiVersion": "v1"})
    );
    assert_eq!(found["sourceIPs"], json!(["127.0.0.1"]));
    assert!(found["userAgent"].as_str().unwrap().starts_with("kubectl"));
    assert_eq!(
        found["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    let text = fs::read_to_string(bed.dir().join("audit.log")).unwrap() + &bed.controller.log();
    for secret in [CANARY, CANARY_64, "ann-token", "eve-token"] {
        assert!(!text.contains(secret), "{secret} is written down");
    }
    let lost = bed.admin(&["get", "--raw", "/metrics"]).ok();
    assert!(lost.contains("weir_audit_lost_total 0"), "{lost}");
}

#[test]
fn who_shows_nothing_learns_nothing_but_health_and_version() {
    let Some(bed) = bed() else { return };
    bed.know("nobody", &json!({}));
    let code = |path: &str| {
        let text = fs::read_to_string(bed.kubeconfig("nobody")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let url = format!(
            "{}{path}",
            file["clusters"][0]["cluster"]["server"].as_str().unwrap()
        );
        let ask = ["-ks", "-o", "/dev/null", "-w", "%{http_code}", &url];
        let output = std::process::Command::new("curl")
            .args(ask)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    if !present("curl") {
        return;
    }
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(code(path), "200", "{path}");
    }
    for path in [
        "/api",
        "/apis",
        "/openapi/v3",
        "/export",
        "/api/v1/namespaces/lab/secrets",
        "/nothing",
    ] {
        assert_eq!(code(path), "401", "{path}");
    }
}

#[test]
fn a_user_logs_in_and_weir_itself_is_that_user() {
    let Some(bed) = bed() else { return };
    bound(&bed, "ann", "view");
    bed.certify("bob", &[], &bed.dir().join("state/tls"));
    bound(&bed, "bob", "view");
    bed.file("ann.token", "ann-token\n");
    let weir = |line: &str| run(bed.dir(), &line.split(' ').collect::<Vec<_>>(), "");
    let shown = [
        "--token-file ann.token",
        "--client-certificate bob.crt --client-key bob.key",
    ];
    for (user, shown) in ["ann", "bob"].into_iter().zip(shown) {
        let told = weir(&format!("login --user {user} {shown} -o both -n lab")).done();
        assert!(!told.contains("ann-token"), "{told}");
    }
    for user in ["ann", "bob"] {
        let with = format!("--kubeconfig both --context {user}");
        let told = weir(&format!("get accounts {with}")).done();
        assert!(told.contains("cloud"), "{told}");
        let why = weir(&format!("get secrets {with}")).failed(1);
        assert!(
            why.contains(&format!("User \"{user}\" cannot list")),
            "{why}"
        );
        bed.know(user, &json!({}));
        fs::copy(bed.dir().join("both"), bed.kubeconfig(user)).unwrap();
        let who = bed.by(user, &["--context", user, "auth", "whoami"]).ok();
        assert!(who.contains(user), "{who}");
    }
}

#[test]
fn without_any_credential_is_for_this_computer_alone() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["controller", "--listen", "0.0.0.0:0", "--insecure-no-auth"];
    let told = run(dir.path(), &words, "").failed(1);
    assert!(
        told.contains("listen on loopback (--listen 127.0.0.1:0)"),
        "{told}"
    );
    assert!(!dir.path().join("state").exists(), "nothing was made");
}

const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: impersonate}
rules:
- {apiGroups: [''], resources: [users], verbs: [impersonate], resourceNames: [eve]}
";
