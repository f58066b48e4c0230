//! Answers as HTTP responses.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, header},
};
use serde_json::Value;

use super::status::Status;

/// An answer.
pub(super) type Reply = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer of any media type.
pub(super) fn reply(code: u16, media: HeaderValue, body: impl Into<Body>) -> Reply {
    let mut response = Response::new(body.into());
    *response.status_mut() = code.try_into().expect("our own codes are HTTP statuses");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// A JSON document.
pub(super) fn json(code: u16, value: &Value) -> Reply {
    reply(code, JSON, value.to_string())
}

/// A failure, or a delete that is done.
pub(super) fn status(status: &Status) -> Reply {
    let body = serde_json::to_value(status).expect("a status has text keys");
    let retry = status
        .details
        .as_ref()
        .and_then(|details| details.retry_after_seconds);
    let mut response = json(status.code, &body);
    if let Some(seconds) = retry {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A line for people.
pub(super) fn text(code: u16, text: impl Into<String>) -> Reply {
    reply(code, TEXT, text.into())
}

/// Adds a header whose value is known to be printable.
pub(super) fn with_header(mut response: Reply, name: HeaderName, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Adds `Warning` headers, which kubectl prints.
pub(super) fn with_warnings(mut response: Reply, warnings: &[String]) -> Reply {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        let plain = quoted.replace(|c: char| c.is_control(), " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{plain}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
