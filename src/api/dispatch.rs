//! From a request to its answer: who asks, what for, and who answers.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, header},
};
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field};

use super::{
    access::{Authority, attributes, authorize},
    apply,
    audit::{self, Audit, Seen},
    auth::{Authenticators, User, impersonated},
    body, delete, discovery,
    limits::{Asker, Holds, Limits, Pace, Shares, held_back},
    negotiate::{Form, Offer, negotiate},
    openapi::{self, Documents},
    query::Query,
    read,
    reply::{self, Reply},
    review,
    route::{Check, Part, Route, Target, route},
    selector::Selection,
    status::Status,
    watch, write,
};
use crate::{
    clock::Clock,
    store::Store,
    types::{meta::Kind, rbac::Attributes, stack::ClearwaterStack},
};

/// The namespace that is always there.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// The media type of `/openapi/v2`; an answer must spell it so, without the `@` of the request.
const OPENAPI_V2: HeaderValue =
    HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the server asks of the rest of Weir.
pub trait Hooks: Send + Sync + 'static {
    /// The plan that applying `stack` would start, as JSON. The stack is as it would be stored;
    /// one that does not exist yet has a uid that is not kept.
    ///
    /// # Errors
    /// The status to answer with, for example where the account cannot be seen.
    fn preview(&self, stack: ClearwaterStack) -> BoxFuture<'_, Result<Value, Status>>;

    /// All metrics in Prometheus' text form.
    fn metrics(&self) -> BoxFuture<'_, String>;

    /// A line of the audit log was lost.
    fn audit_lost(&self);

    /// Whether the controller does its work.
    ///
    /// # Errors
    /// Why it does not, for people.
    fn ready(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Everything that answers need.
pub(super) struct Api {
    pub(super) store: Store,
    pub(super) auth: Authenticators,
    pub(super) authority: Authority,
    pub(super) audit: Option<Audit>,
    pub(super) clock: Clock,
    pub(super) hooks: Arc<dyn Hooks>,
    pub(super) limits: Limits,
    pub(super) documents: Documents,
    pub(super) pace: Pace,
    pub(super) requests: Arc<Shares>,
    pub(super) watches: Arc<Shares>,
    pub(super) stop: CancellationToken,
}

/// A request about objects.
pub(super) struct Inbound {
    /// Who asks, and what for.
    pub(super) user: User,
    /// Whose credential was shown: another, where the user is impersonated.
    pub(super) shown_by: User,
    /// Whose limits hold for it.
    pub(super) asker: Asker,
    pub(super) attributes: Attributes,
    pub(super) target: Target,
    pub(super) query: Query,
    /// The form in which the answer is wanted.
    pub(super) form: Form,
    /// What the client calls itself.
    pub(super) agent: String,
    /// The media type of the body; empty where none was said.
    pub(super) media: String,
    pub(super) body: Bytes,
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Whose certificate it showed, if it did.
    pub(super) certified: Option<User>,
}

/// A request before its body is read.
struct Head {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    peer: Peer,
}

impl Head {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn form(&self, offer: Offer) -> Result<Form, Status> {
        negotiate(self.header(header::ACCEPT), offer)
            .ok_or_else(|| Status::not_acceptable("application/json"))
    }
}

/// Answers a request, whatever it is.
pub(super) async fn answer(api: Arc<Api>, peer: Peer, request: Request<Body>) -> Reply {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let span = tracing::info_span!(
        "request",
        method = %parts.method,
        path,
        status = field::Empty,
        ms = field::Empty,
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "it goes to the logs and back to the client"
    )]
    let id = uuid::Uuid::new_v4().to_string();
    let head = Head {
        method: parts.method,
        path: path.clone(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        peer,
    };
    let asked = audit::Request {
        id: id.clone(),
        uri: parts.uri.to_string(),
        method: head.method.to_string(),
        agent: head
            .header(header::USER_AGENT)
            .unwrap_or_default()
            .to_owned(),
        from: head.peer.address.ip(),
        received: api.clock.now(),
    };
    let started = Instant::now();
    let timed = async {
        let limit = api.limits.request;
        let mut seen = Seen::default();
        let answered = timeout(limit, respond(&api, &path, &head, body, &mut seen)).await;
        let late = || Status::timeout(format!("the request took longer than {limit:?}"));
        let response = answered
            .unwrap_or_else(|_| Err(late()))
            .unwrap_or_else(|status| reply::status(&status));
        let span = Span::current();
        span.record("status", response.status().as_u16());
        span.record("ms", started.elapsed().as_millis());
        tracing::debug!("answered");
        let name = header::HeaderName::from_static("audit-id");
        let response = reply::with_header(response, name, &id);
        match route(&path) {
            Route::Health(..) => response,
            _ => written_down(&api, asked, seen, response),
        }
    };
    timed.instrument(span).await
}

/// Writes into the audit log how a request ended; of a watch also that it began.
fn written_down(api: &Arc<Api>, asked: audit::Request, seen: Seen, response: Reply) -> Reply {
    if api.audit.is_none() {
        return response;
    }
    let code = response.status().as_u16();
    let watches = seen.watches();
    let ended = Ended {
        api: Arc::clone(api),
        asked,
        seen,
        code,
    };
    if !watches || code != 200 {
        drop(ended);
        return response;
    }
    ended.write("ResponseStarted");
    response.map(|body| {
        let lines = body.into_data_stream().inspect(move |_| {
            // Dropped with the stream, however it ends.
            let _ = &ended;
        });
        Body::from_stream(lines)
    })
}

/// Writes, when it is dropped, that a request has ended.
struct Ended {
    api: Arc<Api>,
    asked: audit::Request,
    seen: Seen,
    code: u16,
}

impl Ended {
    fn write(&self, stage: &str) {
        let event = audit::event(
            &self.asked,
            &self.seen,
            stage,
            (self.code, self.api.clock.now()),
        );
        let written = self.api.audit.as_ref().map(|audit| audit.write(&event));
        if matches!(written, Some(Err(_))) {
            self.api.hooks.audit_lost();
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.write("ResponseComplete");
    }
}

async fn respond(
    api: &Arc<Api>,
    path: &str,
    head: &Head,
    body: Body,
    seen: &mut Seen,
) -> Result<Reply, Status> {
    let route = route(path);
    match &route {
        Route::Health(check, part) => return health(api, (*check, *part), head).await,
        Route::Metrics if head.peer.address.ip().to_canonical().is_loopback() => {
            return Ok(reply::reply(200, METRICS, api.hooks.metrics().await));
        }
        _ => {}
    }
    let credential = head.headers.get(header::AUTHORIZATION);
    // One that is no text is nobody's.
    let credential = credential.map(|value| value.to_str().unwrap_or_default());
    let certified = head.peer.certified.as_ref();
    let identified = api.auth.identify(credential, certified);
    seen.user = identified.as_ref().ok().cloned();
    // Whoever guesses tokens is slowed down as well.
    let asker = Asker::of(seen.user.as_ref(), head.peer.address.ip());
    api.pace.admit(asker, Instant::now())?;
    let shown_by = identified?;
    let held = api.requests.take(asker);
    let held =
        held.ok_or_else(|| Status::too_many("too many requests at once; try again later"))?;
    let answered = routed(api, route, shown_by, (head, body), seen).await?;
    // A watch goes on for long, and has a share of its own.
    let holds = if seen.watches() {
        Holds::ToTheFirstWait
    } else {
        Holds::ToTheEnd
    };
    Ok(held_back(answered, held, holds))
}

/// Answers somebody who is known.
async fn routed(
    api: &Arc<Api>,
    route: Route<'_>,
    shown_by: User,
    (head, body): (&Head, Body),
    seen: &mut Seen,
) -> Result<Reply, Status> {
    let other = impersonated(&api.authority, &shown_by, &head.headers)?;
    seen.impersonated.clone_from(&other);
    let user = other.unwrap_or_else(|| shown_by.clone());
    match route {
        Route::Objects(target) => objects(api, (user, shown_by), target, (head, body), seen).await,
        Route::Review(review, namespace) => {
            if head.method != Method::POST {
                return Err(Status::method_not_allowed());
            }
            seen.version = "v1";
            permit(api, &user, review.attributes(&namespace), seen)?;
            let media = body::media(head.header(header::CONTENT_TYPE).unwrap_or_default());
            let body = body::read(body, &api.limits).await?;
            review::answer(api, &user, (review, &namespace), (&media, &body))
        }
        route => {
            let wanted = Attributes {
                verb: head.method.as_str().to_ascii_lowercase(),
                path: Some(head.path.clone()),
                ..Attributes::default()
            };
            permit(api, &user, wanted, seen)?;
            document(api, &route, head).await
        }
    }
}

/// Says whether the user may do that, and notes it for the audit log.
fn permit(api: &Api, user: &User, wanted: Attributes, seen: &mut Seen) -> Result<(), Status> {
    let decided = authorize(&api.authority, user, &wanted);
    seen.attributes = Some(wanted);
    seen.allowed = Some(decided?);
    Ok(())
}

/// Everything that is only read and is no object.
async fn document(api: &Api, route: &Route<'_>, head: &Head) -> Result<Reply, Status> {
    if head.method != Method::GET {
        return Err(match route {
            Route::Unknown | Route::UnknownResource => Status::no_such_path(),
            _ => Status::method_not_allowed(),
        });
    }
    let found = |value: Option<Value>| value.ok_or_else(Status::no_such_path);
    match route {
        Route::Metrics => Ok(reply::reply(200, METRICS, api.hooks.metrics().await)),
        Route::Export => read::everything(api).await,
        Route::Version => Ok(reply::json(200, &discovery::version())),
        Route::OpenApiV2 => Ok(reply::reply(200, OPENAPI_V2, Body::empty())),
        Route::OpenApiRoot => Ok(tagged(head, JSON, api.documents.root())),
        Route::OpenApi(path) => openapi(api, path, head),
        Route::CoreVersions => discovered(head, discovery::core_versions),
        Route::Groups => discovered(head, discovery::groups),
        Route::Group(name) => Ok(reply::json(200, &found(discovery::group(name))?)),
        Route::Resources(group, version) => {
            Ok(reply::json(200, &discovery::resources(group, version)?))
        }
        Route::UnknownResource => Err(Status::no_such_path()),
        Route::Unknown => Ok(reply::text(404, "404 page not found\n")),
        Route::Health(..) | Route::Objects(_) | Route::Review(..) => {
            unreachable!("they are answered before")
        }
    }
}

fn discovered(head: &Head, list: fn(Form) -> Value) -> Result<Reply, Status> {
    let form = head.form(Offer::Discovery)?;
    let media = match form {
        Form::Aggregated(version) => HeaderValue::from_str(&format!(
            "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        ))
        .expect("a media type is printable"),
        _ => JSON,
    };
    let response = tagged(head, media, &list(form).to_string());
    Ok(reply::with_header(response, header::VARY, "Accept"))
}

/// A text with its hash as `ETag`; without the text where the client has it already.
fn tagged(head: &Head, media: HeaderValue, text: &str) -> Reply {
    let tag = format!("\"{}\"", openapi::hash(text));
    let response = if head.header(header::IF_NONE_MATCH) == Some(tag.as_str()) {
        reply::reply(304, media, Body::empty())
    } else {
        reply::reply(200, media, text.to_owned())
    };
    reply::with_header(response, header::ETAG, &tag)
}

/// An OpenAPI document; asked for by its hash, it never changes.
fn openapi(api: &Api, path: &str, head: &Head) -> Result<Reply, Status> {
    let (text, hash) = api.documents.get(path).ok_or_else(Status::no_such_path)?;
    let response = tagged(head, JSON, text);
    match head.query.get("hash") {
        None => Ok(response),
        Some(asked) if asked == hash => {
            let forever = "public, immutable, max-age=31536000";
            Ok(reply::with_header(response, header::CACHE_CONTROL, forever))
        }
        Some(_) => {
            let url = format!("/openapi/v3/{path}?hash={hash}");
            let moved = reply::text(301, "");
            Ok(reply::with_header(moved, header::LOCATION, &url))
        }
    }
}

/// Tells health: all of it but what the query excludes, or one part.
async fn health(
    api: &Api,
    (check, part): (Check, Option<&str>),
    head: &Head,
) -> Result<Reply, Status> {
    let mut checks = vec![("ping", Ok(()))];
    if check == Check::Ready {
        let stopping = api.stop.is_cancelled();
        let shutdown = if stopping {
            Err("stopping".to_owned())
        } else {
            Ok(())
        };
        let store = api.store.check().await;
        checks.extend([
            ("store", store.map_err(|error| error.to_string())),
            ("policy", api.authority.check()),
            ("controller", api.hooks.ready().await),
            ("shutdown", shutdown),
        ]);
    }
    match part {
        Some(part) => checks.retain(|(name, _)| *name == part),
        None => checks.retain(|(name, _)| !head.query.all("exclude").any(|one| one == *name)),
    }
    if part.is_some() && checks.is_empty() {
        return Err(Status::no_such_path());
    }
    let name = if check == Check::Ready {
        "readyz"
    } else {
        "livez"
    };
    let failed = checks.iter().any(|(_, result)| result.is_err());
    if !failed && head.query.get("verbose").is_none() {
        return Ok(reply::text(200, "ok"));
    }
    let mut text = String::new();
    for (name, result) in checks {
        match result {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            Err(why) => text.push_str(&format!("[-]{name} failed: {why}\n")),
        }
    }
    let (code, word) = if failed {
        (503, "failed")
    } else {
        (200, "passed")
    };
    Ok(reply::text(code, format!("{text}{name} check {word}\n")))
}

async fn objects(
    api: &Arc<Api>,
    (user, shown_by): (User, User),
    target: Target,
    (head, body): (&Head, Body),
    seen: &mut Seen,
) -> Result<Reply, Status> {
    let watches = target.name.is_none() && head.query.watch()?;
    let verb = verb(&head.method, &target, watches).ok_or_else(Status::method_not_allowed)?;
    let mut attributes = attributes(verb, &target);
    if target.name.is_none()
        && let Some(name) = Selection::only_name(head.query.fields())
    {
        attributes.name = name;
    }
    seen.version = target.kind.version();
    permit(api, &user, attributes.clone(), seen)?;
    let form = head.form(Offer::Objects)?;
    let content_type = head.header(header::CONTENT_TYPE).unwrap_or_default();
    let inbound = Inbound {
        asker: Asker::of(Some(&shown_by), head.peer.address.ip()),
        user,
        shown_by,
        attributes,
        query: head.query.clone(),
        form,
        agent: head
            .header(header::USER_AGENT)
            .unwrap_or_default()
            .to_owned(),
        media: body::media(content_type),
        body: body::read(body, &api.limits).await?,
        target,
    };
    let answered = handle(api, verb, &inbound).await;
    let writes = !matches!(verb, "get" | "list" | "watch");
    if writes && (inbound.target.kind.is_rbac() || inbound.target.kind == Kind::Namespace) {
        api.authority.catch_up().await;
    }
    answered
}

async fn handle(api: &Arc<Api>, verb: &str, inbound: &Inbound) -> Result<Reply, Status> {
    match verb {
        "get" => read::get(api, inbound).await,
        "list" => read::list(api, inbound).await,
        "watch" => watch::open(api, inbound).await,
        "create" if inbound.target.part == Part::Plan => write::plan(api, inbound).await,
        "create" => write::create(api, inbound).await,
        "update" => write::replace(api, inbound).await,
        "patch" if inbound.media == apply::MEDIA => apply::apply(api, inbound).await,
        "patch" => write::patch(api, inbound).await,
        "delete" => delete::one(api, inbound).await,
        _ => delete::many(api, inbound).await,
    }
}

/// What a method means, in the words of Kubernetes' authorisation; none where it is not allowed.
fn verb(method: &Method, target: &Target, watches: bool) -> Option<&'static str> {
    let named = target.name.is_some();
    match (method.as_str(), target.part) {
        ("POST", Part::Plan) => Some("create"),
        (_, Part::Plan) => None,
        ("GET", _) if watches => Some("watch"),
        ("GET", _) if named => Some("get"),
        ("GET", _) => Some("list"),
        ("PUT", _) if named => Some("update"),
        ("PATCH", _) if named => Some("patch"),
        ("POST", Part::Whole) if !named => Some("create"),
        ("DELETE", Part::Whole) if named => Some("delete"),
        ("DELETE", Part::Whole) => Some("deletecollection"),
        _ => None,
    }
}
