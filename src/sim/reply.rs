//! Replies: envelopes, errors, and the little XML that a request without `response=json` gets.

use serde_json::{Map, Value, json};

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status; 0 if the connection was lost instead.
    pub status: u16,
    /// The content type.
    pub content_type: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

const JSON: &str = "application/json;charset=utf-8";
const XML: &str = "text/xml;charset=utf-8";

impl Reply {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The one member of the body: what is inside the envelope.
    #[must_use]
    pub fn inner(&self) -> Value {
        match self.json() {
            Value::Object(envelope) => envelope.into_iter().next().map(|(_, v)| v),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// Whether the connection was lost before an answer came.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.status == 0
    }

    pub(crate) fn lost() -> Self {
        Self {
            status: 0,
            content_type: String::new(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(crate) fn ok(envelope: &str, inner: &Value, xml: bool) -> Self {
        Self::of(200, envelope, inner, xml)
    }

    fn of(status: u16, envelope: &str, inner: &Value, xml: bool) -> Self {
        let (content_type, body) = if xml {
            (XML, to_xml(envelope, inner))
        } else {
            (JSON, to_json(envelope, inner))
        };
        Self {
            status,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            body,
        }
    }

    pub(crate) fn error(envelope: &str, error: &ApiError, xml: bool) -> Self {
        let mut inner = Map::new();
        inner.insert("uuidList".to_owned(), json!([]));
        inner.insert("errorcode".to_owned(), error.status.into());
        if let Some(code) = error.cserrorcode {
            inner.insert("cserrorcode".to_owned(), code.into());
        }
        inner.insert("errortext".to_owned(), error.text.as_str().into());
        let envelope = if error.status == 432 {
            "errorresponse"
        } else {
            envelope
        };
        let mut reply = Self::of(error.status, envelope, &inner.into(), xml);
        if error.status == 431 || error.status == 432 {
            let text = error.text.replace(['\n', '\r'], " ");
            reply.headers.push(("X-Description".to_owned(), text));
        }
        reply
    }

    /// What a proxy says when the server behind it does not.
    pub(crate) fn proxy(status: u16) -> Self {
        let words = match status {
            200 => "Welcome",
            500 => "Internal Server Error",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "Error",
        };
        let body = format!(
            "<html>\n<head><title>{status} {words}</title></head>\n<body><center><h1>{status} {words}</h1></center></body>\n</html>\n"
        );
        let headers = Vec::new();
        Self {
            status,
            content_type: "text/html".to_owned(),
            headers,
            body,
        }
    }
}

/// Written around the inside, which may be megabytes, without a copy of it.
fn to_json(envelope: &str, inner: &Value) -> String {
    let mut body = format!("{{{}:", Value::from(envelope)).into_bytes();
    serde_json::to_writer(&mut body, inner).expect("a value has text keys");
    body.push(b'}');
    String::from_utf8(body).expect("JSON is UTF-8")
}

/// The reason phrase of a status, as the recorded server sends it.
pub(crate) fn reason(status: u16) -> Option<&'static str> {
    match status {
        431 => Some("Request Header Fields Too Large"),
        430 => Some("430"),
        432 => Some("432"),
        530 => Some("530"),
        531 => Some("531"),
        532 => Some("532"),
        533 => Some("533"),
        534 => Some("534"),
        535 => Some("535"),
        536 => Some("536"),
        537 => Some("537"),
        _ => None,
    }
}

fn to_xml(envelope: &str, inner: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    out.push_str(&format!(
        "<{envelope} cloud-stack-version=\"4.22.0.0-SNAPSHOT\">"
    ));
    members(&mut out, inner);
    out.push_str(&format!("</{envelope}>"));
    out
}

fn members(out: &mut String, value: &Value) {
    let Value::Object(map) = value else { return };
    for (name, value) in map {
        match value {
            Value::Array(items) => items.iter().for_each(|item| element(out, name, item)),
            other => element(out, name, other),
        }
    }
}

fn element(out: &mut String, name: &str, value: &Value) {
    out.push_str(&format!("<{name}>"));
    match value {
        Value::Object(_) => members(out, value),
        Value::String(text) => out.push_str(&escape(text)),
        other => out.push_str(&other.to_string()),
    }
    out.push_str(&format!("</{name}>"));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A refusal, as the submit phase of a request answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) cserrorcode: Option<i32>,
    pub(crate) text: String,
    /// Whether users are told that something internal happened, and nothing more.
    pub(crate) secret: bool,
}

/// What users read where an admin reads the reason.
const MASK: &str = "Internal error executing command, please contact your system administrator";

impl ApiError {
    fn new(status: u16, cserrorcode: i32, text: impl Into<String>) -> Self {
        Self {
            status,
            cserrorcode: Some(cserrorcode),
            text: text.into(),
            secret: false,
        }
    }

    /// 401: nobody we know.
    pub(crate) fn unauthorized() -> Self {
        let text = "unable to verify user credentials and/or request signature";
        Self {
            status: 401,
            cserrorcode: None,
            text: text.to_owned(),
            secret: false,
        }
    }

    /// 429: too many requests.
    pub(crate) fn throttled(millis: u64) -> Self {
        let text = format!(
            "The given user has reached his/her account api limit, please retry after [{millis}] ms."
        );
        Self::new(429, 4545, text)
    }

    /// 503: no new jobs are taken.
    pub(crate) fn maintenance() -> Self {
        let text = "Maintenance or Shutdown has been initiated on this management server. Can not accept new jobs";
        Self::new(503, 9999, text)
    }

    /// 430 and 431 for a parameter that cannot be read.
    pub(crate) fn parameter(text: impl Into<String>) -> Self {
        Self::new(431, 9999, text)
    }

    /// 430: a map parameter with broken syntax.
    pub(crate) fn malformed(name: &str) -> Self {
        Self::new(
            430,
            9999,
            format!("Invalid parameter syntax for map: {name}"),
        )
    }

    /// 431 for a value that breaks a rule.
    pub(crate) fn value(text: impl Into<String>) -> Self {
        Self::new(431, 4350, text)
    }

    /// 431 for a missing parameter.
    pub(crate) fn missing(command: &str, name: &str) -> Self {
        let command = command.to_lowercase();
        Self::parameter(format!(
            "Unable to execute API command {command} due to missing parameter {name}"
        ))
    }

    /// 431 for a value that is not of its type.
    pub(crate) fn unreadable(command: &str, name: &str, value: &str) -> Self {
        let command = command.to_lowercase();
        Self::parameter(format!(
            "Unable to execute API command {command} due to invalid value {value} for parameter {name}"
        ))
    }

    /// 431 for an id that names nothing.
    pub(crate) fn unknown_id(command: &str, name: &str, value: &str) -> Self {
        let command = command.to_lowercase();
        Self::parameter(format!(
            "Unable to execute API command {command} due to invalid value. Invalid parameter {name} value={value} due to incorrect long value format, or entity does not exist or due to incorrect parameter annotation for the field in api cmd class."
        ))
    }

    /// 431 for the id of something that was removed.
    pub(crate) fn removed(number: u64, kind: &str) -> Self {
        Self::value(format!(
            "Unable to find UUID for id [{number}] of type [{kind}]"
        ))
    }

    /// 432: the role lacks the command. The id in it is a new one each time.
    pub(crate) fn not_granted(command: &str, id: &str) -> Self {
        Self::new(
            432,
            9999,
            format!(
                "The API [{command}] does not exist or is not available for the account for user id [{id}]."
            ),
        )
    }

    /// 530 with one of the several inner codes; users are not told why.
    pub(crate) fn internal(cserrorcode: i32, text: impl Into<String>) -> Self {
        Self {
            secret: true,
            ..Self::new(530, cserrorcode, text)
        }
    }

    /// 531: somebody else's.
    pub(crate) fn denied(text: impl Into<String>) -> Self {
        Self::new(531, 4365, text)
    }

    /// 531 for an action on what another account owns.
    pub(crate) fn not_yours() -> Self {
        Self::denied("Caller does not have permission to operate with provided resource.")
    }

    /// 533: nothing left.
    pub(crate) fn exhausted(text: impl Into<String>) -> Self {
        Self::new(533, 9999, text)
    }

    /// 535: the account has as much as it may.
    pub(crate) fn quota(text: impl Into<String>) -> Self {
        Self::new(535, 4370, text)
    }

    /// 536: something else needs it.
    pub(crate) fn in_use(text: impl Into<String>) -> Self {
        Self::new(536, 4375, text)
    }

    /// 537: rules that contradict each other.
    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::new(537, 9999, text)
    }

    /// The error as a user is told it.
    pub(crate) fn masked(mut self, admin: bool) -> Self {
        if self.secret && !admin {
            MASK.clone_into(&mut self.text);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_not_told_the_reason_of_an_internal_error() {
        let error = ApiError::internal(9999, "Entity already exists ");
        assert_eq!(error.clone().masked(true).text, "Entity already exists ");
        assert_eq!(error.masked(false).text, MASK);
    }

    #[test]
    fn a_missing_command_is_answered_in_the_error_envelope() {
        let error = ApiError::not_granted("restoreWorld", "u");
        let reply = Reply::error("restoreworldresponse", &error, false);
        assert_eq!(reply.json()["errorresponse"]["errorcode"], 432);
        assert_eq!(reply.headers[0].0, "X-Description");
    }

    #[test]
    fn lists_become_repeated_elements_in_xml() {
        let reply = Reply::ok(
            "listx",
            &json!({"count": 2, "x": [{"id": "a"}, {"id": "<"}]}),
            true,
        );
        assert!(
            reply
                .body
                .ends_with("<count>2</count><x><id>a</id></x><x><id>&lt;</id></x></listx>")
        );
    }
}
