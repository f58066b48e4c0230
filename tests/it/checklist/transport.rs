//! Items 1 to 18: how requests are sent, signed and refused, over a real socket. Time is real here,
//! since sockets do not follow a paused clock.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use weir::sim::{Profile, Who};

use super::{Cloud, Params, text};
use crate::support::signed::{encoded, signature, signed};

/// What is told to everybody whom the server does not know.
const UNKNOWN: &str = "unable to verify user credentials and/or request signature";

/// A cloud that serves.
struct Served {
    cloud: Cloud,
    url: String,
    http: reqwest::Client,
    _tasks: JoinSet<()>,
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: String,
    /// What the header `X-Description` says.
    description: Option<String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The only member of the answer: its name and what is inside.
    fn envelope(&self) -> (String, Value) {
        let Value::Object(members) = self.json() else {
            panic!("no object: {self:?}")
        };
        let mut members = members.into_iter();
        let only = members.next().unwrap();
        assert!(members.next().is_none(), "{self:?}");
        only
    }

    /// That it is a list of zones with one in it.
    fn is_zones(&self) {
        assert_eq!(self.status, 200, "{self:?}");
        let (envelope, inside) = self.envelope();
        assert_eq!(envelope, "listzonesresponse", "{self:?}");
        assert_eq!(inside["count"], 1, "{self:?}");
    }

    /// That it tells somebody that he is not known, in this envelope.
    fn is_unknown(&self, envelope: &str) {
        assert_eq!(self.status, 401, "{self:?}");
        let inside = json!({"uuidList": [], "errorcode": 401, "errortext": UNKNOWN});
        assert_eq!(self.json(), json!({ envelope: inside }), "{self:?}");
    }

    /// That it is a refusal with these codes; the answer is its text.
    fn refused(&self, status: u16, envelope: &str, cserrorcode: u16) -> String {
        let (name, inside) = self.envelope();
        assert_eq!((self.status, name.as_str()), (status, envelope), "{self:?}");
        assert_eq!(inside["errorcode"], status, "{self:?}");
        assert_eq!(inside["cserrorcode"], cserrorcode, "{self:?}");
        text(&inside["errortext"])
    }
}

impl Served {
    async fn start() -> Self {
        let cloud = Cloud::new(Profile::Instant).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/client/api", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        let sim = cloud.sim.clone();
        tasks.spawn(async move {
            sim.serve(listener, CancellationToken::new()).await.unwrap();
        });
        Self {
            cloud,
            url,
            http: weir::http::client().build().unwrap(),
            _tasks: tasks,
        }
    }

    async fn send(&self, method: Method, query: &str, form: Option<&str>) -> Answer {
        let url = match query {
            "" => self.url.clone(),
            query => format!("{}?{query}", self.url),
        };
        let mut request = self.http.request(method, url);
        if let Some(form) = form {
            request = request
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(form.to_owned());
        }
        let response = request.send().await.unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        Answer {
            status: response.status().as_u16(),
            content_type: header("content-type").unwrap_or_default(),
            description: header("x-description"),
            body: response.text().await.unwrap(),
        }
    }

    async fn get(&self, query: &str) -> Answer {
        self.send(Method::GET, query, None).await
    }

    async fn post(&self, query: &str, form: &str) -> Answer {
        self.send(Method::POST, query, Some(form)).await
    }

    fn signed(&self, who: Who, params: &Params<'_>) -> String {
        signed(&self.cloud.sim.credentials(who), params)
    }

    /// A signed request of the tenant's.
    async fn tenant(&self, params: &Params<'_>) -> Answer {
        self.get(&self.signed(Who::Tenant, params)).await
    }

    /// A request of the tenant's: `wire` is sent and `sorted` is signed, both after the key.
    async fn by_hand(&self, wire: &str, sorted: &str) -> Answer {
        let keys = self.cloud.sim.credentials(Who::Tenant);
        let key = encoded(&keys.api_key);
        let signature = signature(&keys.secret_key, &format!("apikey={key}&{sorted}"));
        let signature = encoded(&signature);
        let form = format!("apikey={key}&{wire}&signature={signature}");
        self.post("", &form).await
    }
}

const ZONES: (&str, &str) = ("command", "listZones");

/// 1. GET with a correct signature → 200, `Content-Type: application/json; charset=UTF-8`; as
/// recorded, `application/json;charset=utf-8`.
#[tokio::test]
async fn c001_a_get_with_a_correct_signature_is_answered_in_json() {
    let served = Served::start().await;
    let answer = served.tenant(&[ZONES]).await;
    answer.is_zones();
    assert_eq!(answer.content_type, "application/json;charset=utf-8");
    assert_eq!(answer.description, None);
}

/// 2. Same request by POST form body → same answer; parameters split between query and body verify
/// too; on conflict the query value wins.
#[tokio::test]
async fn c002_a_form_a_query_and_both_together_are_one_request() {
    let served = Served::start().await;
    let request = served.signed(Who::Tenant, &[ZONES, ("name", "no such zone")]);
    let got = served.get(&request).await;
    assert_eq!(got.json(), json!({"listzonesresponse": {}}));
    assert_eq!(served.post("", &request).await.body, got.body);
    let (query, form) = request.split_once('&').unwrap();
    assert_eq!(served.post(query, form).await.body, got.body);
    // The form says something else of the name, and is not what was signed.
    let form = request.replace("no%20such", "another");
    assert_ne!(form, request);
    assert_eq!(served.post("name=no+such+zone", &form).await.body, got.body);
    served.post("", &form).await.is_unknown("listzonesresponse");
}

/// 3. Parameter names in any case (`zoneId`) work; the signature is checked over the names as sent.
#[tokio::test]
async fn c003_names_are_written_in_any_case_and_signed_as_they_are_sent() {
    let served = Served::start().await;
    // Capital letters sort before small ones, and before those that are signed in lower case.
    let wire = "command=listZones&response=json&ID=none";
    let sorted = "command=listZones&ID=none&response=json";
    served
        .by_hand(wire, sorted)
        .await
        .is_unknown("listzonesresponse");
    let keys = served.cloud.sim.credentials(Who::Tenant);
    let (key, zone) = (encoded(&keys.api_key), &served.cloud.zone);
    for id in ["ID", "Id", "iD"] {
        let (command, rest) = ("command=listZones", "response=json");
        // `apikey` and `command` come before `iD`, and after what begins with a capital letter.
        let sorted = match id {
            "iD" => format!("apikey={key}&{command}&{id}={zone}&{rest}"),
            _ => format!("{id}={zone}&apikey={key}&{command}&{rest}"),
        };
        let signature = encoded(&signature(&keys.secret_key, &sorted));
        let form = format!("{command}&{rest}&apikey={key}&{id}={zone}&signature={signature}");
        served.post("", &form).await.is_zones();
        let other = form.replace(zone.as_str(), &served.cloud.vpc);
        served
            .post("", &other)
            .await
            .is_unknown("listzonesresponse");
    }
}

/// 4. Value containing space: string-to-sign has `%20`; a body that sent `+` for the space
/// verifies.
#[tokio::test]
async fn c004_a_space_is_signed_as_20_however_it_is_sent() {
    let served = Served::start().await;
    let sorted = |space: &str| format!("command=listZones&note=a{space}b&response=json");
    for sent in ["+", "%20"] {
        served
            .by_hand(&sorted(sent), &sorted("%20"))
            .await
            .is_zones();
        let answer = served.by_hand(&sorted(sent), &sorted("+")).await;
        answer.is_unknown("listzonesresponse");
    }
}

/// 5. Value `a*b` verifies only if the signer left `*`; value `a~b` verifies only if the signer
/// produced `%7e`.
#[tokio::test]
async fn c005_a_star_is_signed_as_it_is_and_a_tilde_is_not() {
    let served = Served::start().await;
    let sorted = |text: &str| format!("command=listZones&note=a{text}b&response=json");
    for (right, wrong) in [("*", "%2A"), ("%7e", "~")] {
        for sent in [right, wrong] {
            served
                .by_hand(&sorted(sent), &sorted(right))
                .await
                .is_zones();
            let answer = served.by_hand(&sorted(sent), &sorted(wrong)).await;
            answer.is_unknown("listzonesresponse");
        }
    }
}

/// 6. `tags[0].key=k` verifies with the raw name in the string-to-sign, also when the wire form was
/// `tags%5B0%5D.key`.
#[tokio::test]
async fn c006_brackets_are_signed_as_they_are_however_they_are_sent() {
    let served = Served::start().await;
    let sorted = |name: &str| format!("command=listZones&response=json&{name}=k");
    let (raw, escaped) = ("tags[0].key", "tags%5B0%5D.key");
    for sent in [raw, escaped] {
        let answer = served.by_hand(&sorted(sent), &sorted(raw)).await;
        // No zone has the tag: it was read as one.
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"listzonesresponse": {}}))
        );
        let answer = served.by_hand(&sorted(sent), &sorted(escaped)).await;
        answer.is_unknown("listzonesresponse");
    }
}

/// 7. One changed byte in the signature → 401,
/// `{"<cmd>response":{"uuidList":[],"errorcode":401,"errortext":"unable to verify user credentials
/// and/or request signature"}}`, no cserrorcode.
#[tokio::test]
async fn c007_a_changed_signature_is_refused() {
    let served = Served::start().await;
    let request = served.signed(Who::Tenant, &[ZONES]);
    let (rest, signature) = request.rsplit_once('=').unwrap();
    let first = if signature.starts_with('a') { "b" } else { "a" };
    let changed = format!("{rest}={first}{}", &signature[1..]);
    served.get(&changed).await.is_unknown("listzonesresponse");
    served.get(rest).await.is_unknown("listzonesresponse");
    served.get(&request).await.is_zones();
}

/// 8. Unknown apiKey → same 401 text.
#[tokio::test]
async fn c008_an_unknown_key_is_refused_in_the_same_words() {
    let served = Served::start().await;
    let mut keys = served.cloud.sim.credentials(Who::Tenant);
    keys.api_key.push('x');
    let request = signed(&keys, &[ZONES]);
    served.get(&request).await.is_unknown("listzonesresponse");
    keys.api_key.clear();
    let request = signed(&keys, &[ZONES]);
    served.get(&request).await.is_unknown("listzonesresponse");
}

/// 9. `signatureversion=3` without expires, with past expires, with garbage expires → 401; with
/// `2026-01-01T00:00:00+0000` or `…Z` in the future → 200; expires in the past without
/// signatureversion=3 → 200.
#[tokio::test]
async fn c009_only_the_third_version_expires() {
    let served = Served::start().await;
    let version = ("signatureversion", "3");
    served
        .tenant(&[ZONES, version])
        .await
        .is_unknown("listzonesresponse");
    // The simulated clock began with 1970.
    let past = ("expires", "1969-12-31T23:59:59+0000");
    for expires in [
        past,
        ("expires", "1969-12-31T23:59:59Z"),
        ("expires", "soon"),
    ] {
        let answer = served.tenant(&[ZONES, version, expires]).await;
        answer.is_unknown("listzonesresponse");
    }
    for expires in [
        "2026-01-01T00:00:00+0000",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+01:00",
    ] {
        let answer = served.tenant(&[ZONES, version, ("expires", expires)]).await;
        answer.is_zones();
    }
    served.tenant(&[ZONES, past]).await.is_zones();
}

/// 10. `command=nosuchCommand` or wrong case with an API key → 401 in envelope `errorresponse`.
#[tokio::test]
async fn c010_an_unknown_command_is_refused_like_an_unknown_user() {
    let served = Served::start().await;
    for command in ["nosuchCommand", "listzones", "LISTZONES"] {
        for who in [Who::Tenant, Who::Admin] {
            let request = served.signed(who, &[("command", command)]);
            served.get(&request).await.is_unknown("errorresponse");
        }
    }
}

/// 11. Missing `response` → XML.
#[tokio::test]
async fn c011_who_does_not_ask_for_json_gets_xml() {
    let served = Served::start().await;
    let answer = served
        .by_hand("command=listZones", "command=listZones")
        .await;
    assert_eq!(
        (answer.status, answer.content_type.as_str()),
        (200, "text/xml;charset=utf-8")
    );
    let body = &answer.body;
    assert!(body.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?><listzonesresponse cloud-stack-version=\"4.22"), "{body}");
    assert!(
        body.contains("<count>1</count><zone><allocationstate>Enabled</allocationstate>"),
        "{body}"
    );
    assert!(body.ends_with("</zone></listzonesresponse>"), "{body}");
    let refused = served.by_hand("command=listVPC", "command=listVPC").await;
    assert_eq!(
        (refused.status, refused.content_type.as_str()),
        (401, "text/xml;charset=utf-8")
    );
    let body = &refused.body;
    assert!(body.contains("<errorcode>401</errorcode>"), "{body}");
    assert!(
        body.contains(&format!("<errortext>{UNKNOWN}</errortext>")),
        "{body}"
    );
}

/// 12. Control character (e.g. TAB) in a value → 431 illegal-character text; LF accepted.
#[tokio::test]
async fn c012_control_characters_are_refused_but_line_ends() {
    let served = Served::start().await;
    for bad in ["a\tb", "a\u{0}b", "a\u{b}b", "a\u{1f}b", "\u{7f}"] {
        let answer = served.tenant(&[ZONES, ("note", bad)]).await;
        assert_eq!(
            answer.refused(431, "listzonesresponse", 9999),
            "Received value containing illegal ASCII non-printable characters for parameter note",
            "{bad:?}"
        );
    }
    for fine in ["a\nb", "a\r\nb", "é", "\u{80}"] {
        served.tenant(&[ZONES, ("note", fine)]).await.is_zones();
    }
}

/// 13. Unknown extra parameter → ignored.
#[tokio::test]
async fn c013_unknown_parameters_are_ignored() {
    let served = Served::start().await;
    served.tenant(&[ZONES, ("colour", "blue")]).await.is_zones();
}

/// 14. Missing required parameter → 431 `… due to missing parameter zoneid`, cserrorcode 9999.
#[tokio::test]
async fn c014_the_first_missing_parameter_is_told() {
    let served = Served::start().await;
    let (vpc, tier) = (&served.cloud.vpc, &served.cloud.tier_offering);
    let network = [
        ("command", "createNetwork"),
        ("name", "x"),
        ("networkofferingid", tier),
        ("vpcid", vpc),
    ];
    let answer = served.tenant(&network).await;
    let told = "Unable to execute API command createnetwork due to missing parameter zoneid";
    assert_eq!(answer.refused(431, "createnetworkresponse", 9999), told);
    assert_eq!(answer.description.as_deref(), Some(told));
}

/// 15. Malformed/unknown UUID → 431 long text (1.7).
#[tokio::test]
async fn c015_an_id_that_is_none_or_nobodys_is_told_at_length() {
    let served = Served::start().await;
    for id in ["x", "00000000-0000-4000-8000-000000000000"] {
        let answer = served
            .tenant(&[("command", "startVirtualMachine"), ("id", id)])
            .await;
        let told = format!(
            "Unable to execute API command startvirtualmachine due to invalid value. Invalid parameter id value={id} due to incorrect long value format, or entity does not exist or due to incorrect parameter annotation for the field in api cmd class."
        );
        assert_eq!(
            answer.refused(431, "startvirtualmachineresponse", 9999),
            told
        );
    }
}

/// 16. Rate limit on, 26th request in one second → 429 with "retry after [N] ms."; admin account
/// never limited.
#[tokio::test(start_paused = true)]
async fn c016_the_26th_request_in_a_second_is_too_many() {
    // Signed and counted by the same door as over a socket, with a second that does not pass.
    let cloud = Cloud::new(Profile::Instant).await;
    cloud
        .sim
        .world(|world| world.settings.api_throttling_max = Some(25));
    let send = async |who| {
        let request = signed(&cloud.sim.credentials(who), &[ZONES]);
        cloud.sim.post("", &request).await
    };
    for count in 1..=25 {
        let reply = send(Who::Tenant).await;
        assert_eq!(reply.status, 200, "request {count}: {}", reply.body);
    }
    cloud
        .clock
        .sleep(std::time::Duration::from_millis(400))
        .await;
    let reply = send(Who::Tenant).await;
    assert_eq!(reply.status, 429, "{}", reply.body);
    assert_eq!(
        serde_json::from_str::<Value>(&reply.body).unwrap(),
        json!({"listzonesresponse": {
            "uuidList": [], "errorcode": 429, "cserrorcode": 4545,
            "errortext": "The given user has reached his/her account api limit, please retry after [600] ms.",
        }})
    );
    for _ in 0..40 {
        assert_eq!(send(Who::Admin).await.status, 200);
    }
    cloud
        .clock
        .sleep(std::time::Duration::from_millis(601))
        .await;
    assert_eq!(send(Who::Tenant).await.status, 200);
}

/// 17. Role without permission for the command → 401 "either does not exist, is not available for
/// user"; as recorded, 432 in `errorresponse` with the text as `X-Description` too.
#[tokio::test]
async fn c017_a_command_that_a_role_lacks_is_not_there() {
    let served = Served::start().await;
    let answer = served.tenant(&[("command", "listHosts")]).await;
    let told = answer.refused(432, "errorresponse", 9999);
    let start =
        "The API [listHosts] does not exist or is not available for the account for user id [";
    let user = told
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix("]."));
    let user = user.unwrap_or_else(|| panic!("{told}"));
    assert!(uuid::Uuid::parse_str(user).is_ok(), "{told}");
    assert_eq!(answer.description, Some(told));
}

/// 18. Action on another account's resource (e.g. stopVirtualMachine) → 531, cserrorcode 4365; list
/// by that id → `{}`.
#[tokio::test]
async fn c018_what_is_anothers_is_refused_and_not_listed() {
    let served = Served::start().await;
    let vm = served.cloud.stopped("a").await;
    let stop = [("command", "stopVirtualMachine"), ("id", vm.as_str())];
    let stop = served.signed(Who::Other, &stop);
    let told = served
        .get(&stop)
        .await
        .refused(531, "stopvirtualmachineresponse", 4365);
    assert!(
        told.contains("does not have permission to operate"),
        "{told}"
    );
    let list = [("command", "listVirtualMachines"), ("id", vm.as_str())];
    let theirs = served.get(&served.signed(Who::Other, &list)).await;
    assert_eq!(
        (theirs.status, theirs.json()),
        (200, json!({"listvirtualmachinesresponse": {}}))
    );
    let ours = served.get(&served.signed(Who::Tenant, &list)).await;
    assert_eq!(ours.json()["listvirtualmachinesresponse"]["count"], 1);
}
