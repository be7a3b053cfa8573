//! Reading: the status and its parts, and the probes.

use std::fmt::Write as _;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Refusal, typed};
use super::negotiate::{Kind, tagged, wanted};
use super::{Readiness, Shared, page};
use crate::engine::Engine;
use crate::reconcile::compare::{Difference, Origin};
use crate::reconcile::render;
use crate::reconcile::status::{Item, Status, status_schema};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What of the status is wanted.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    item: Option<String>,
    /// Seconds between two loads of the page; 0 for none.
    refresh: Option<u32>,
}

/// `GET /status`
pub(super) async fn status<E: Engine>(
    State(api): Shared<E>,
    Query(query): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let status = api.status.borrow().clone();
    match &query.item {
        Some(name) => one(&status, name, query.refresh, &headers),
        None if wanted(&headers) == Kind::Html => {
            Ok(tagged(&headers, HTML, page::whole(&status, Timestamp::now(), query.refresh)))
        }
        None => Ok(tagged(&headers, JSON, pretty(&*status))),
    }
}

/// `GET /status/{name}`
pub(super) async fn item<E: Engine>(
    State(api): Shared<E>,
    Path(name): Path<String>,
    Query(query): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let status = api.status.borrow().clone();
    one(&status, &name, query.refresh, &headers)
}

fn one(status: &Status, name: &str, refresh: Option<u32>, headers: &HeaderMap) -> Result<Response, Refusal> {
    let found = status.items.iter().find(|item| item.name == name || item.id == name);
    let item: &Item = found.ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, format!("there is no connector {name} in this instance"))
            .code("UNKNOWN-CONNECTOR")
            .hint("GET /status lists them")
    })?;
    Ok(match wanted(headers) {
        Kind::Html => tagged(headers, HTML, page::single(status, item, Timestamp::now(), refresh)),
        Kind::Json | Kind::Text => tagged(headers, JSON, pretty(item)),
    })
}

/// `GET /plan`: what would be done, and what is kept from being done.
pub(super) async fn plan<E: Engine>(State(api): Shared<E>, headers: HeaderMap) -> Response {
    let status = api.status.borrow().clone();
    match wanted(&headers) {
        Kind::Text => tagged(&headers, TEXT, render::plan(&status)),
        Kind::Json | Kind::Html => {
            let source = &status.source;
            let body = json!({
                "state": status.state, "message": status.message,
                "revision": { "observed": source.observed, "applied": source.applied },
                "plan": status.plan,
            });
            tagged(&headers, JSON, pretty(&body))
        }
    }
}

/// One connector's drift.
#[derive(Serialize)]
struct Drift<'a> {
    name: &'a str,
    why: &'a str,
    diff: Vec<&'a Difference>,
}

/// `GET /diff`: what somebody changed behind Git's back.
pub(super) async fn diff<E: Engine>(State(api): Shared<E>, headers: HeaderMap) -> Response {
    let status = api.status.borrow().clone();
    if wanted(&headers) == Kind::Text {
        return tagged(&headers, TEXT, render::drift(&status));
    }
    let drifted = status.items.iter().filter_map(|item| {
        let diff: Vec<&Difference> = item.diff.iter().filter(|d| d.origin != Origin::Git).collect();
        (!diff.is_empty()).then_some(Drift { name: &item.name, why: &item.plan.why, diff })
    });
    let body = json!({ "state": status.state, "items": drifted.collect::<Vec<_>>() });
    tagged(&headers, JSON, pretty(&body))
}

/// `GET /history`: the last passes that did something, newest first.
pub(super) async fn history<E: Engine>(State(api): Shared<E>, headers: HeaderMap) -> Response {
    let status = api.status.borrow().clone();
    tagged(&headers, JSON, pretty(&json!({ "history": status.history })))
}

/// `GET /schema/status.json`
pub(super) async fn schema(headers: HeaderMap) -> Response {
    tagged(&headers, "application/schema+json", pretty(&status_schema()))
}

/// `GET /livez`: the process answers and its loop runs. It says nothing of Git or Kafka: a restart would mend neither.
pub(super) async fn livez<E: Engine>(State(api): Shared<E>) -> Response {
    match api.status.has_changed() {
        Ok(_) => typed(TEXT, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, typed(TEXT, "the control loop has ended\n")).into_response(),
    }
}

/// `GET /readyz`: settings are valid, and the destination's state was read once.
pub(super) async fn readyz<E: Engine>(State(api): Shared<E>) -> Response {
    let readiness = api.ready.borrow().clone();
    let mut text = String::new();
    let status = match readiness {
        Readiness::Ready => {
            text.push_str("ready\n");
            StatusCode::OK
        }
        Readiness::Stopping => {
            text.push_str("not ready: stopping\n");
            StatusCode::SERVICE_UNAVAILABLE
        }
        Readiness::Starting(reasons) => {
            text.push_str("not ready: starting\n");
            for reason in reasons {
                writeln!(text, "- {reason}").expect("a String can't refuse");
            }
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    (status, typed(TEXT, text)).into_response()
}

/// Indented, because people look at it with curl.
fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("documents have text keys and finite numbers");
    text.push('\n');
    text
}
