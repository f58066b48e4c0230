//! Asking a simulator: one request, one answer.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use crate::cli::args::Control;
use crate::cli::paint::clean;

/// How long an answer may take. The simulator does what it is asked at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request to the admin API.
pub(super) struct Request {
    method: reqwest::Method,
    path: String,
    body: String,
}

impl Request {
    fn new(method: reqwest::Method, path: &str, body: String) -> Self {
        Self {
            method,
            path: path.to_owned(),
            body,
        }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new(reqwest::Method::GET, path, String::new())
    }

    pub(super) fn delete(path: &str) -> Self {
        Self::new(reqwest::Method::DELETE, path, String::new())
    }

    pub(super) fn post(path: &str, body: Map<String, Value>) -> Self {
        Self::new(reqwest::Method::POST, path, Value::from(body).to_string())
    }

    pub(super) fn patch(path: &str, body: Map<String, Value>) -> Self {
        Self::new(reqwest::Method::PATCH, path, Value::from(body).to_string())
    }

    /// A request whose body is no JSON.
    pub(super) fn text(path: &str, body: String) -> Self {
        Self::new(reqwest::Method::POST, path, body)
    }
}

/// A simulator that runs somewhere.
pub(super) struct Remote {
    at: String,
    client: reqwest::Client,
}

impl Remote {
    pub(super) fn new(control: &Control) -> Result<Self> {
        Ok(Self {
            at: control.at.trim_end_matches('/').to_owned(),
            client: crate::http::client().timeout(PATIENCE).build()?,
        })
    }

    /// Sends a request; a refusal is an error in the simulator's words.
    pub(super) async fn ask(&self, request: Request) -> Result<Value> {
        let Self { at, client } = self;
        let sent = client
            .request(request.method, format!("{at}{}", request.path))
            .body(request.body)
            .send()
            .await;
        let answer = sent.with_context(|| {
            format!("no simulator answers at {at}: is `weir sim` running there? (see --at)")
        })?;
        let (fine, text) = (answer.status().is_success(), answer.text().await?);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        match value["refused"].as_str() {
            Some(why) => {
                let lines: Vec<String> = why.lines().map(clean).collect();
                bail!("the simulator would not: {}", lines.join("\n  "))
            }
            None if !fine || value.is_null() => {
                bail!(
                    "what answers at {at} is no simulator's admin API: {}",
                    clean(&text)
                )
            }
            None => Ok(value),
        }
    }
}
