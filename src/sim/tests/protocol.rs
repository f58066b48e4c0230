//! The simulator over a real socket: signatures, statuses, and the doors it has on loopback.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Cloud;
use crate::clock::Clock;
use crate::sim::protocol::Params;
use crate::sim::{Fault, FaultKind, Profile, Who};

struct Server {
    cloud: Cloud,
    address: std::net::SocketAddr,
    _tasks: JoinSet<std::io::Result<()>>,
}

/// A reply as it came off the wire.
#[derive(Debug)]
struct Raw {
    status_line: String,
    head: String,
    body: String,
}

impl Raw {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Server {
    async fn new() -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let cloud = Cloud::with_clock(Profile::Instant, clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let sim = cloud.sim.clone();
        tasks.spawn(async move { sim.serve(listener, CancellationToken::new()).await });
        Self {
            cloud,
            address,
            _tasks: tasks,
        }
    }

    /// Sends one request and reads until the server closes.
    async fn exchange(&self, method: &str, path: &str, body: &str) -> Raw {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
        Raw {
            status_line: line.to_owned(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// The pairs of a request, signed by a user.
    fn signed(&self, who: Who, pairs: &[(&str, &str)]) -> String {
        let keys = self.cloud.sim.credentials(who);
        let mut all = vec![("response", "json"), ("apiKey", keys.api_key.as_str())];
        all.extend_from_slice(pairs);
        let owned = all
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let signature = Params::collect(owned).signature(&keys.secret_key);
        all.push(("signature", signature.as_str()));
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(all)
            .finish()
    }

    async fn get(&self, who: Who, pairs: &[(&str, &str)]) -> Raw {
        let query = self.signed(who, pairs);
        self.exchange("GET", &format!("/client/api?{query}"), "")
            .await
    }
}

#[tokio::test]
async fn a_signed_request_is_answered_by_get_and_by_post() {
    let server = Server::new().await;
    let pairs = [("command", "listZones"), ("zoneNote", "a b*~+")];
    let got = server.get(Who::Tenant, &pairs).await;
    assert_eq!(got.status_line, "HTTP/1.1 200 OK");
    assert!(
        got.head
            .contains("content-type: application/json;charset=utf-8")
    );
    let form = server.signed(Who::Tenant, &pairs);
    let posted = server.exchange("POST", "/client/api", &form).await;
    assert_eq!(got.body, posted.body);
    let (query, body) = form.split_once('&').unwrap();
    let split = server
        .exchange("POST", &format!("/client/api?{query}"), body)
        .await;
    assert_eq!(got.body, split.body);
}

#[tokio::test]
async fn a_wrong_signature_an_unknown_key_and_an_expired_one_all_get_401() {
    let server = Server::new().await;
    let good = server.signed(Who::Tenant, &[("command", "listZones")]);
    let expired = [
        ("command", "listZones"),
        ("signatureVersion", "3"),
        ("expires", "1969-12-31T00:00:00+0000"),
    ];
    let wrong = [
        good.replace("listZones", "listVPCs"),
        good.replace("apiKey=", "apiKey=x"),
        server.signed(Who::Tenant, &expired),
        "command=listZones&response=json".to_owned(),
    ];
    for query in wrong {
        let answer = server
            .exchange("GET", &format!("/client/api?{query}"), "")
            .await;
        assert_eq!(answer.status_line, "HTTP/1.1 401 Unauthorized");
        let inner = answer
            .json()
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .clone();
        let text = "unable to verify user credentials and/or request signature";
        assert_eq!(
            inner,
            json!({"uuidList": [], "errorcode": 401, "errortext": text})
        );
    }
    let unknown = server
        .get(Who::Tenant, &[("command", "noSuchCommand")])
        .await;
    assert_eq!(unknown.json()["errorresponse"]["errorcode"], 401);
    let nothing = server
        .exchange("GET", "/client/api?response=json", "")
        .await;
    assert_eq!(nothing.json()["null"]["errorcode"], 401);
}

#[tokio::test]
async fn odd_statuses_have_odd_reasons_and_a_description() {
    let server = Server::new().await;
    let missing = server
        .get(Who::Tenant, &[("command", "startVirtualMachine")])
        .await;
    assert_eq!(
        missing.status_line,
        "HTTP/1.1 431 Request Header Fields Too Large"
    );
    assert!(
        missing
            .head
            .contains("x-description: unable to execute api command")
    );
    let lacking = server.get(Who::Tenant, &[("command", "listHosts")]).await;
    assert_eq!(lacking.status_line, "HTTP/1.1 432 432");
}

#[tokio::test]
async fn pages_are_checked_and_control_characters_refused() {
    let server = Server::new().await;
    let text = async |pairs: &[(&str, &str)]| {
        let answer = server.get(Who::Admin, pairs).await;
        let inner = answer
            .json()
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .clone();
        (
            inner["cserrorcode"].clone(),
            inner["errortext"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let list = ("command", "listVPCs");
    let (_, alone) = text(&[list, ("page", "1")]).await;
    assert_eq!(
        alone,
        "\"pagesize\" parameter is required when \"page\" is specified"
    );
    let (code, large) = text(&[list, ("page", "1"), ("pagesize", "501")]).await;
    assert_eq!(
        (code, large.as_str()),
        (
            json!(4350),
            "Page size can't exceed max allowed page size value: 500"
        )
    );
    let (_, tab) = text(&[list, ("name", "a\tb")]).await;
    assert!(tab.starts_with("Received value containing illegal ASCII"));
    let past = [
        ("command", "listNetworkOfferings"),
        ("page", "9"),
        ("pagesize", "100"),
    ];
    let past = server.get(Who::Admin, &past).await.json();
    assert!(past["listnetworkofferingsresponse"]["networkoffering"].is_null());
    assert!(past["listnetworkofferingsresponse"]["count"].is_u64());
}

#[tokio::test]
async fn a_request_that_does_not_ask_for_json_gets_xml() {
    let server = Server::new().await;
    let keys = server.cloud.sim.credentials(Who::Tenant);
    let pairs = [("apiKey", keys.api_key.as_str()), ("command", "listZones")];
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let signature = Params::collect(owned).signature(&keys.secret_key);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .append_pair("signature", &signature)
        .finish();
    let answer = server
        .exchange("GET", &format!("/client/api?{query}"), "")
        .await;
    assert!(answer.head.contains("content-type: text/xml;charset=utf-8"));
    assert!(
        answer
            .body
            .contains("<listzonesresponse cloud-stack-version=")
    );
}

#[tokio::test]
async fn a_lost_reply_is_a_connection_that_ends() {
    let server = Server::new().await;
    server
        .cloud
        .sim
        .add_fault(Fault::once("listZones", FaultKind::LostReply));
    let lost = server.get(Who::Tenant, &[("command", "listZones")]).await;
    assert_eq!(lost.status_line, "");
    let next = server.get(Who::Tenant, &[("command", "listZones")]).await;
    assert_eq!(next.status_line, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn the_doors_for_breaking_things_are_open_on_loopback() {
    let server = Server::new().await;
    server.cloud.sim.add_neighbour().unwrap();
    let broken = server
        .exchange(
            "POST",
            "/sim/break",
            r#"{"what": "stop-vm", "vm": "other-vm"}"#,
        )
        .await;
    assert_eq!(broken.json(), json!({"done": "other-vm shut itself down"}));
    let fault = r#"{"command": "listZones", "kind": "status", "code": 503, "count": 1}"#;
    server.exchange("POST", "/sim/faults", fault).await;
    let struck = server.get(Who::Tenant, &[("command", "listZones")]).await;
    assert_eq!(struck.status_line, "HTTP/1.1 503 Service Unavailable");
    let state = server.exchange("GET", "/sim/state", "").await.json();
    assert_eq!(state["vms"][0]["name"], "other-vm");
    assert_eq!(
        server.exchange("GET", "/elsewhere", "").await.status_line,
        "HTTP/1.1 404 Not Found"
    );
    let long = format!("/client/api?{}", "x".repeat(9_000));
    let refused = server.exchange("GET", &long, "").await;
    assert_eq!(refused.status_line, "HTTP/1.1 414 URI Too Long");
}

#[tokio::test]
async fn a_form_may_have_a_mebibyte_and_five_thousand_keys() {
    let server = Server::new().await;
    let too_much = "<h1>Bad Message 400</h1><pre>reason: Unable to parse form content</pre>";
    let largest = format!("a={}", "x".repeat(1_048_576 - 2));
    let most = vec!["a=1"; 5_000].join("&");
    for (form, taken) in [
        (largest.clone(), true),
        (largest + "x", false),
        (most.clone(), true),
        (most.clone() + "&", true),
        (most + "&a=1", false),
    ] {
        let answer = server.exchange("POST", "/client/api", &form).await;
        let told = format!("{} bytes: {answer:?}", form.len());
        if taken {
            // Nothing is signed, and that is all there is to say against it.
            assert_eq!(answer.status_line, "HTTP/1.1 401 Unauthorized", "{told}");
        } else {
            assert_eq!(answer.status_line, "HTTP/1.1 400 Bad Request", "{told}");
            assert_eq!(answer.body, too_much, "{told}");
        }
    }
}

#[tokio::test]
async fn a_user_who_logged_in_needs_no_signature() {
    let server = Server::new().await;
    let form = "command=login&username=admin&password=password&response=json";
    let got = server
        .exchange("GET", &format!("/client/api?{form}"), "")
        .await;
    assert_eq!(got.status_line, "HTTP/1.1 405 Method Not Allowed");
    let wrong = form.replace("=password", "=guess");
    let refused = server.exchange("POST", "/client/api", &wrong).await;
    assert_eq!(refused.json()["loginresponse"]["errorcode"], 531);
    let state = &server.cloud.sim;
    let reply = server.exchange("POST", "/client/api", form).await;
    let answer = reply.json()["loginresponse"].clone();
    assert_eq!(answer["timeout"], 1_800);
    assert_eq!(reply.head.matches("set-cookie").count(), 2);
    let key = answer["sessionkey"].as_str().unwrap();
    // The head was read in small letters, which ids of sessions are not.
    let (id, _) = state.lock().door.first_session().unwrap();
    let cookies = format!("JSESSIONID={id}; sessionkey={key}");
    let list = |key: &str| {
        let pairs = [
            ("command", "listHosts"),
            ("response", "json"),
            ("sessionkey", key),
        ];
        let owned = pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Params::collect(owned)
    };
    let method = crate::sim::commands::Method::Get;
    assert_eq!(state.receive(list(key), method, &cookies).await.status, 200);
    let bad = state.receive(list("x"), method, &cookies).await;
    assert_eq!(
        bad.inner()["errortext"],
        "unable to verify user credentials"
    );
    assert_eq!(state.receive(list(key), method, &cookies).await.status, 401);
}

#[tokio::test]
async fn an_account_may_send_so_many_requests_a_second() {
    let server = Server::new().await;
    server
        .cloud
        .sim
        .world(|world| world.settings.api_throttling_max = Some(25));
    let pairs = [("command", "listZones")];
    for _ in 0..25 {
        let answer = server.get(Who::Tenant, &pairs).await;
        assert_eq!(answer.status_line, "HTTP/1.1 200 OK");
    }
    let told = server.cloud.ask(Who::Admin, "listCapabilities", &[]).await;
    let told = &told["capability"];
    assert_eq!(
        (&told["apilimitmax"], &told["apilimitinterval"]),
        (&25.into(), &1.into())
    );
    let refused = server.get(Who::Tenant, &pairs).await;
    assert_eq!(refused.status_line, "HTTP/1.1 429 Too Many Requests");
    let text = refused.json()["listzonesresponse"]["errortext"].clone();
    let words = "The given user has reached his/her account api limit, please retry after [";
    let text = text.as_str().unwrap();
    assert!(text.starts_with(words) && text.ends_with("] ms."), "{text}");
    for _ in 0..30 {
        let answer = server.get(Who::Admin, &pairs).await;
        assert_eq!(answer.status_line, "HTTP/1.1 200 OK");
    }
}
