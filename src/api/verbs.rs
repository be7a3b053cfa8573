//! Writing: the control loop's verbs. Each is answered after a completed pass, with what that pass left.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::answer::{Refusal, json};
use crate::destination::state::HoldScope;
use crate::engine::{Engine, Problem};
use crate::reconcile::status::{Counts, HoldStatus, Pass, Planned, Source, Status, Word};
use crate::reconcile::{NewHold, Refused};
use crate::spec::Name;

/// What a verb answers: the status without its items.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    schema: &'static str,
    state: Word,
    message: String,
    counts: Counts,
    source: Source,
    problems: Vec<Problem>,
    plan: Planned,
    holds: Vec<HoldStatus>,
    pass: Pass,
}

/// `POST /confirm`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    hash: String,
}

/// `POST /hold`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldRequest {
    scope: Option<ScopeWord>,
    name: Option<String>,
    /// How long: `2h`, `1h 30m`, `3 days`, `PT2H`.
    #[serde(rename = "for")]
    length: Option<String>,
    until: Option<Timestamp>,
    reason: String,
    by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScopeWord {
    All,
    Connector,
}

/// `DELETE /hold`
#[derive(Debug, Deserialize)]
pub(super) struct Release {
    name: Option<String>,
    /// Present, whatever it holds: `?all`.
    all: Option<String>,
}

type Answer = Result<Json<Summary>, Refusal>;

/// `POST /reconcile`
pub(super) async fn reconcile<E: Engine>(State(api): Shared<E>) -> Answer {
    answered(api.handle.reconcile().await)
}

/// `POST /apply`
pub(super) async fn apply<E: Engine>(State(api): Shared<E>) -> Answer {
    answered(api.handle.apply().await)
}

/// `POST /confirm`
pub(super) async fn confirm<E: Engine>(State(api): Shared<E>, request: Request) -> Answer {
    let Confirmation { hash } = json(request).await?;
    answered(api.handle.confirm(&hash).await)
}

/// `POST /hold`
pub(super) async fn hold<E: Engine>(State(api): Shared<E>, request: Request) -> Answer {
    let hold = json::<HoldRequest>(request).await?.checked(Timestamp::now())?;
    answered(api.handle.hold(hold).await)
}

/// `DELETE /hold?name=...` or `DELETE /hold?all`
pub(super) async fn release<E: Engine>(State(api): Shared<E>, Query(query): Query<Release>) -> Answer {
    let all = query.all.is_some().then_some(ScopeWord::All);
    answered(api.handle.release(scope(all, query.name)?).await)
}

fn answered(result: Result<Arc<Status>, Refused>) -> Answer {
    Ok(Json(Summary::from(&*result?)))
}

// === impl HoldRequest ===

impl HoldRequest {
    /// With names read and times reckoned; `now` is the moment of the request.
    fn checked(self, now: Timestamp) -> Result<NewHold, Refusal> {
        let until = match (self.length, self.until) {
            (Some(_), Some(_)) => return Err(bad("a hold has `for` or `until`, not both")),
            (Some(length), None) => Some(end(&length, now)?),
            (None, until) => until,
        };
        if until.is_some_and(|until| until <= now) {
            return Err(bad("a hold must end in the future"));
        }
        Ok(NewHold { scope: scope(self.scope, self.name)?, reason: self.reason, by: self.by, until })
    }
}

fn end(length: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    let unreadable = || bad("`for` is a length of time such as 2h, 90m or 3d");
    let span: Span = length.parse().map_err(|_| unreadable())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| unreadable())?;
    now.checked_add(length).map_err(|_| unreadable())
}

fn scope(word: Option<ScopeWord>, name: Option<String>) -> Result<HoldScope, Refusal> {
    match (word, name) {
        (Some(ScopeWord::All), None) => Ok(HoldScope::Instance),
        (None | Some(ScopeWord::Connector), Some(name)) => {
            name.parse::<Name>().map(HoldScope::Connector).map_err(|error| bad(error.to_string()))
        }
        // Saying nothing must never mean everything.
        _ => Err(bad("either a connector's name, or all of them, and not both")),
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message).code("BAD-REQUEST")
}

// === impl Summary ===

impl From<&Status> for Summary {
    fn from(status: &Status) -> Self {
        Self {
            schema: status.schema,
            state: status.state,
            message: status.message.clone(),
            counts: status.counts.clone(),
            source: status.source.clone(),
            problems: status.problems.clone(),
            plan: status.plan.clone(),
            holds: status.holds.clone(),
            pass: status.pass.clone(),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let (status, code, hint) = match &refused {
            Refused::OtherPlan { .. } => (StatusCode::CONFLICT, "OTHER-PLAN", Some("GET /plan shows it")),
            Refused::NothingWaits => (StatusCode::CONFLICT, "NOTHING-WAITS", None),
            Refused::NoPlan(_) => (StatusCode::CONFLICT, "NO-PLAN", Some("GET /status says why")),
            Refused::UnknownConnector(_) => {
                (StatusCode::NOT_FOUND, "UNKNOWN-CONNECTOR", Some("GET /status lists them"))
            }
            Refused::NoHold(_) => (StatusCode::NOT_FOUND, "NO-HOLD", Some("GET /status lists them")),
            Refused::Bad(_) => (StatusCode::BAD_REQUEST, "BAD-REQUEST", None),
            Refused::Standby(_) => (StatusCode::CONFLICT, "STANDBY", Some("ask the process that holds the group")),
            Refused::NotNoted(_) => (StatusCode::SERVICE_UNAVAILABLE, "NOT-NOTED", None),
            Refused::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "STOPPING", None),
        };
        let refusal = Self::new(status, refused.to_string()).code(code);
        match hint {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(body: &str) -> Result<NewHold, String> {
        let request: HoldRequest = serde_json::from_str(body).map_err(|error| error.to_string())?;
        request.checked(Timestamp::from_second(1_000_000).unwrap()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_length_is_reckoned_from_now() {
        for (length, seconds) in
            [("2h", 7_200), ("1h 30m", 5_400), ("3d", 259_200), ("PT10M", 600), ("90 minutes", 5_400)]
        {
            let hold = checked(&format!(r#"{{"name":"a","for":"{length}","reason":"r","by":"b"}}"#)).unwrap();
            assert_eq!(hold.until, Some(Timestamp::from_second(1_000_000 + seconds).unwrap()), "{length}");
        }
    }

    #[test]
    fn requests_that_make_no_sense_are_refused() {
        for body in [
            r#"{"reason":"r","by":"b"}"#,
            r#"{"scope":"all","name":"a","reason":"r","by":"b"}"#,
            r#"{"scope":"connector","reason":"r","by":"b"}"#,
            r#"{"name":"a/b","reason":"r","by":"b"}"#,
            r#"{"name":"a","for":"-2h","reason":"r","by":"b"}"#,
            r#"{"name":"a","for":"soon","reason":"r","by":"b"}"#,
            r#"{"name":"a","for":"99999999999999h","reason":"r","by":"b"}"#,
            r#"{"name":"a","for":"2h","until":"2099-01-01T00:00:00Z","reason":"r","by":"b"}"#,
            r#"{"name":"a","until":"1970-01-01T00:00:00Z","reason":"r","by":"b"}"#,
            r#"{"name":"a","reason":"r","by":"b","four":"2h"}"#,
        ] {
            assert!(checked(body).is_err(), "{body}");
        }
    }
}
