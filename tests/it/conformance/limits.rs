//! Nobody takes from the others what the server has: not by asking too fast or too much at once, not
//! by being slow, and not by nonsense.

use std::{fs, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use weir::{
    api::{Limits, client::Client},
    types::meta::{Kind, Object},
};

use super::bed::{Bed, Made, SECRETS, STACKS, secret};
use crate::cli::lab::{PATIENCE, until};

/// Long enough for a busy machine to do what is to be seen before it, short enough to be waited for.
const SOON: Duration = Duration::from_millis(1500);

fn bed(limits: Limits) -> Bed {
    Bed::with(Made::limited(limits))
}

/// Lets ann read everywhere.
fn let_ann_in(bed: &Bed) {
    let binding = json!({
        "metadata": {"name": "ann"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    bed.post(bindings, &binding).is(201);
}

impl Bed {
    /// A connection on which anything may be said.
    fn connected(&self) -> Option<TlsStream<TcpStream>> {
        let ca = fs::read(self.dir().join("tls/ca.crt")).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&ca).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.block_on(async {
            let stream = TcpStream::connect(self.address()).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
            timeout(PATIENCE, connecting).await.unwrap().ok()
        })
    }

    fn say(&self, stream: &mut TlsStream<TcpStream>, text: &str) {
        self.block_on(stream.write_all(text.as_bytes())).unwrap();
    }

    /// What is answered until the connection is closed.
    #[track_caller]
    fn told(&self, stream: &mut TlsStream<TcpStream>) -> String {
        let mut told = Vec::new();
        // It may be cut off in the middle.
        let read = async { timeout(PATIENCE, stream.read_to_end(&mut told)).await };
        let ended = self.block_on(read).is_ok();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(ended, "still open after {PATIENCE:?}, and told {told}");
        told
    }

    /// The beginning of a request of the administrator.
    fn head(&self, line: &str) -> String {
        let token = fs::read_to_string(self.dir().join("token")).unwrap();
        format!("{line} HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {token}\r\n")
    }

    /// Whether somebody on a new connection is answered.
    fn answers(&self) -> bool {
        let Some(mut stream) = self.connected() else {
            return false;
        };
        let asked = "GET /livez HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n";
        let mut told = String::new();
        self.block_on(async {
            let sent = stream.write_all(asked.as_bytes()).await.is_ok();
            let read = timeout(PATIENCE, stream.read_to_string(&mut told)).await;
            sent && read.is_ok() && told.contains("200 OK")
        })
    }
}

#[test]
fn who_asks_too_fast_is_put_off_and_nobody_else() {
    let bed = bed(Limits {
        pace: 1,
        burst: 20,
        ..Limits::default()
    });
    let asks = |token: Option<&str>| bed.answer(bed.ask_as(token, "GET", "/version"));
    // Of each second one is answered, however slow the machine is: what counts is that not all are.
    let put_off = |token| {
        let mut asked = (0..200).map(|_| asks(token));
        let answered = asked
            .by_ref()
            .take_while(|answer| answer.code != 429)
            .count();
        (answered, asked.find(|answer| answer.code == 429))
    };
    let (first, last) = put_off(Some("ann-token"));
    assert!((20..200).contains(&first), "{first} in a burst of 20");
    let last = last.expect("she is put off again");
    assert_eq!(last.header("retry-after"), "1");
    let status = last.refused(429, "TooManyRequests");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    assert_eq!(asks(None).code, 200, "one without a name is another");
    assert_eq!(bed.get("/version").code, 200, "and so is the administrator");
    let (guessed, _) = put_off(Some("guessed"));
    assert!(guessed < 200, "whoever guesses is one of an address");
    assert_eq!(bed.answer(bed.ask_as(None, "GET", "/livez")).code, 200);
    assert_eq!(bed.get("/version").code, 200);
}

#[test]
fn weirs_own_client_waits_and_comes_again() {
    let bed = bed(Limits {
        pace: 1,
        burst: 1,
        ..Limits::default()
    });
    let client = Client::from_kubeconfig(&bed.dir().join("kubeconfig"), None).unwrap();
    let all = Default::default();
    for _ in 0..3 {
        let listed = client.list(Kind::Secret, None, &all);
        bed.block_on(async { timeout(PATIENCE, listed).await.unwrap() })
            .unwrap();
    }
    let lines = bed.audit();
    let code = |code: u16| {
        let with = |line: &&serde_json::Value| line["responseStatus"]["code"] == code;
        lines.iter().filter(with).count()
    };
    assert!(code(429) >= 1 && code(200) == 3, "{lines:?}");
}

#[test]
fn nobody_has_all_watches_requests_or_connections() {
    let bed = bed(Limits {
        watches_each: 1,
        requests_each: 1,
        ..Limits::default()
    });
    let_ann_in(&bed);
    let path = format!("{STACKS}?watch=true");
    let watch = bed.follow(&path);
    bed.get(&path).refused(429, "TooManyRequests");
    let anns = bed.ask_as(
        Some("ann-token"),
        "GET",
        &format!("{path}&timeoutSeconds=1"),
    );
    assert_eq!(bed.answer(anns).code, 200);
    assert_eq!(
        bed.get(STACKS).code,
        200,
        "a watch is no request that is under way"
    );
    drop(watch);
    let mut slow = Vec::new();
    let head = bed.head(&format!("POST {SECRETS}"));
    let anns = || {
        bed.answer(bed.ask_as(Some("ann-token"), "GET", STACKS))
            .code
    };
    until("the administrator is put off", || {
        // The former answer may still be on its way when another request comes.
        slow.push(bed.connected().unwrap());
        let last = slow.last_mut().unwrap();
        bed.say(last, &format!("{head}Content-Length: 100\r\n\r\n{{"));
        let code = bed.get(STACKS).code;
        (code == 429).then_some(()).ok_or(code.to_string())
    });
    assert_eq!(anns(), 200);
    drop(slow);
    until("the administrator is answered", || {
        let code = bed.get(STACKS).code;
        (code == 200).then_some(()).ok_or(code.to_string())
    });

    let bed = self::bed(Limits {
        connections_each: 2,
        ..Limits::default()
    });
    let both = [bed.connected(), bed.connected()].map(Option::unwrap);
    assert!(!bed.answers());
    drop(both);
    until("there is room again", || {
        bed.answers().then_some(()).ok_or("none".to_owned())
    });
}

#[test]
fn who_is_slow_to_ask_is_cut_off() {
    let bed = bed(Limits {
        handshake: SOON,
        head: SOON,
        body: SOON,
        ..Limits::default()
    });
    let silent = async {
        let mut silent = TcpStream::connect(bed.address()).await.unwrap();
        // An end, or a reset.
        timeout(PATIENCE, silent.read(&mut [0; 1])).await.is_ok()
    };
    assert!(bed.block_on(silent), "no handshake is waited for");
    let mut half = bed.connected().unwrap();
    let head = bed.head("GET /version");
    bed.say(&mut half, &head);
    bed.told(&mut half);
    let mut slow = bed.connected().unwrap();
    let head = bed.head(&format!("POST {SECRETS}"));
    bed.say(&mut slow, &format!("{head}Content-Length: 100\r\n\r\n{{"));
    let told = bed.told(&mut slow);
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert!(told.contains(r#""reason":"Timeout""#), "{told}");
}

/// The server lets in one connection, which is held by somebody who asks for much and reads
/// nothing: until that one is cut off, nobody else is answered.
#[track_caller]
fn cut_off_for_reading_nothing(path: &str) {
    let bed = bed(Limits {
        connections: 1,
        stalled: SOON,
        ..Limits::default()
    });
    // More than the sockets between them hold.
    for number in 0..24 {
        let mut large = secret(&format!("s{number}"));
        large["data"] = json!({"k": "AAAA".repeat(250_000)});
        large.as_object_mut().unwrap().remove("stringData");
        let large: Object = serde_json::from_value(large).unwrap();
        bed.block_on(bed.store.create(large)).unwrap();
    }
    let mut deaf = bed.connected().unwrap();
    let head = bed.head(&format!("GET {path}"));
    bed.say(&mut deaf, &format!("{head}\r\n"));
    assert!(!bed.answers(), "there is one connection, and it is taken");
    until("the other is cut off", || {
        bed.answers().then_some(()).ok_or("not yet".to_owned())
    });
    let told = bed.told(&mut deaf);
    assert!(
        told.starts_with("HTTP/1.1 200 OK"),
        "{}",
        &told[..told.len().min(200)]
    );
    assert!(told.len() < 24_000_000, "it was not cut off");
}

#[test]
fn who_lists_and_reads_nothing_is_cut_off() {
    cut_off_for_reading_nothing(SECRETS);
}

#[test]
fn who_watches_and_reads_nothing_is_cut_off() {
    cut_off_for_reading_nothing(&format!("{SECRETS}?watch=true"));
}

#[test]
fn nonsense_is_refused_and_costs_nothing() {
    let bed = bed(Limits::default());
    let filler = "x".repeat(100 << 10);
    let many: String = (0..200)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    for (nonsense, code) in [
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        (bed.head("GET /version") + "Content-Length: x\r\n\r\n", 400),
        (
            bed.head("GET /version") + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (bed.head(&format!("GET /{filler}")) + "\r\n", 431),
        (
            bed.head("GET /version") + &format!("X: {filler}\r\n\r\n"),
            431,
        ),
        (bed.head("GET /version") + &many + "\r\n", 431),
    ] {
        println!("{:?}", &nonsense[..nonsense.len().min(60)]);
        let mut stream = bed.connected().unwrap();
        // It may answer before it has read everything.
        let _ = bed.block_on(stream.write_all(nonsense.as_bytes()));
        let told = bed.told(&mut stream);
        let wanted = format!("HTTP/1.1 {code} ");
        assert!(told.starts_with(&wanted), "{wanted}: {told}");
    }
    for (body, media) in [
        ("{".repeat(100_000), "application/json"),
        (format!("a: {}", "[".repeat(100_000)), "application/yaml"),
        (
            // Each line is ten of the one before it.
            (0..12).fold("a0: &a0 x\n".to_owned(), |text, n| {
                let next = n + 1;
                let ten = vec![format!("*a{n}"); 10].join(",");
                format!("{text}a{next}: &a{next} [{ten}]\n")
            }),
            "application/yaml",
        ),
        (
            "k8s\u{0}\u{7f}".to_owned(),
            "application/vnd.kubernetes.protobuf",
        ),
    ] {
        let request = bed.ask("POST", SECRETS).header("Content-Type", media);
        let start = body.chars().take(20).collect::<String>();
        let answer = bed.answer(request.body(body));
        assert!(matches!(answer.code, 400 | 422), "{start}: {}", answer.text);
    }
    assert!(bed.answers());
}
