//! Kafka Connect's REST API, as far as it goes with Git as the owner of configurations.
//!
//! Reading and the life cycle (pause, resume, stop, restart) speak Kafka Connect's own words, codes and texts
//! (`ConnectorsResource`, `DistributedHerder`). Configurations are masked, and writing them answers 409. A connector that
//! is stalled is `FAILED` here: Connect has no word for it, and `RUNNING` would be a lie (law 4).

mod words;

pub(super) use words::connector_state;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::negotiate::{Kind, wanted};
use super::{ApiContext, Readiness, Shared};
use crate::engine::{self, Engine, Live, Observed, RestartScope};
use crate::spec::{Name, TargetState};

pub(super) fn routes<E: Engine>() -> Router<Arc<ApiContext<E>>> {
    Router::new()
        .route("/", get(root::<E>))
        .route("/health", get(health::<E>))
        .route("/connector-plugins", get(plugins))
        .route("/connectors", get(list::<E>).post(refuse_creation))
        .route("/connectors/{name}", get(info::<E>).delete(refuse_change::<E>))
        .route(
            "/connectors/{name}/config",
            get(config::<E>).put(refuse_change_or_creation::<E>).patch(refuse_change::<E>),
        )
        .route("/connectors/{name}/status", get(status::<E>))
        .route("/connectors/{name}/tasks", get(tasks::<E>))
        .route("/connectors/{name}/tasks/{task}/status", get(task_status::<E>))
        .route("/connectors/{name}/tasks/{task}/restart", post(restart_task::<E>))
        .route("/connectors/{name}/topics", get(topics::<E>))
        .route("/connectors/{name}/pause", put(pause::<E>))
        .route("/connectors/{name}/resume", put(resume::<E>))
        .route("/connectors/{name}/stop", put(stop::<E>))
        .route("/connectors/{name}/restart", post(restart::<E>))
}

// === Reading ===

/// `GET /`: `ServerInfo`; browsers are shown the status page.
async fn root<E: Engine>(State(api): Shared<E>, headers: HeaderMap) -> Response {
    if wanted(&headers) == Kind::Html {
        return Redirect::temporary("/status").into_response();
    }
    let known = api.cluster_id.borrow().clone();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"), "commit": api.settings.commit, "kafka_cluster_id": known,
    }))
    .into_response()
}

/// `GET /health` (KIP-1017)
async fn health<E: Engine>(State(api): Shared<E>) -> Response {
    let (code, status, message) = match *api.ready.borrow() {
        Readiness::Ready => {
            (StatusCode::OK, "healthy", "Worker has completed startup and is ready to handle requests.")
        }
        Readiness::Starting(_) => (StatusCode::SERVICE_UNAVAILABLE, "starting", "Worker is still starting up."),
        Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "Worker is shutting down."),
    };
    (code, Json(json!({ "status": status, "message": message }))).into_response()
}

/// `GET /connector-plugins`: what can be run.
async fn plugins() -> Json<Value> {
    let plugin = |class: &str| {
        json!({
            "class": format!("org.apache.kafka.connect.mirror.{class}"), "type": "source",
            "version": env!("CARGO_PKG_VERSION"),
        })
    };
    Json(["MirrorCheckpointConnector", "MirrorHeartbeatConnector", "MirrorSourceConnector"].map(plugin).into())
}

/// `GET /connectors[?expand=status&expand=info]`
async fn list<E: Engine>(State(api): Shared<E>, RawQuery(query): RawQuery) -> Result<Json<Value>, Refusal> {
    let live = api.observe().await?;
    // Repeated keys: the `expand=status,info` form is not Connect's.
    let asked =
        |word: &str| query.as_deref().unwrap_or_default().split('&').any(|pair| pair == format!("expand={word}"));
    let (with_status, with_info) = (asked("status"), asked("info"));
    if !with_status && !with_info {
        return Ok(Json(live.connectors.keys().map(Name::as_str).collect()));
    }
    let expanded = live.connectors.iter().map(|(name, observed)| {
        let mut parts = Map::new();
        if with_status {
            parts.insert("status".to_owned(), words::status(name, observed, &api.settings.worker_id));
        }
        if with_info {
            parts.insert("info".to_owned(), words::info(name, observed));
        }
        (name.to_string(), Value::Object(parts))
    });
    Ok(Json(Value::Object(expanded.collect())))
}

/// `GET /connectors/{name}`
async fn info<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let (name, observed) = api.connector(&name, not_found).await?;
    Ok(Json(words::info(&name, &observed)))
}

/// `GET /connectors/{name}/config`, masked.
async fn config<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let (name, observed) = api.connector(&name, not_found).await?;
    Ok(Json(words::config(&name, &observed)))
}

/// `GET /connectors/{name}/status`
async fn status<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let (name, observed) = api.connector(&name, |name| format!("No status found for connector {name}")).await?;
    Ok(Json(words::status(&name, &observed, &api.settings.worker_id)))
}

/// `GET /connectors/{name}/tasks`
async fn tasks<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let (name, observed) = api.connector(&name, not_found).await?;
    Ok(Json(words::tasks(&name, &observed)))
}

/// `GET /connectors/{name}/tasks/{task}/status`
async fn task_status<E: Engine>(
    State(api): Shared<E>,
    Path((name, task)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let text = |name: &str| format!("No status found for task {name}-{task}");
    let (name, observed) = api.connector(&name, text).await?;
    let (tasks, asked) = (words::task_states(&observed, &api.settings.worker_id), task.parse::<u64>().ok());
    let found = tasks.into_iter().find(|status| asked.is_some() && status["id"].as_u64() == asked);
    found.map(Json).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, text(name.as_str())))
}

/// `GET /connectors/{name}/topics`: the remote topics that the connector writes (KIP-558).
async fn topics<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let (name, observed) = api.connector(&name, not_found).await?;
    let mut body = Map::new();
    body.insert(name.to_string(), json!({ "topics": words::topics(&observed) }));
    Ok(Json(Value::Object(body)))
}

// === Life cycle ===

/// `PUT /connectors/{name}/pause`. Without a hold this is drift, and corrected where drift is.
async fn pause<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    api.set_state(&name, TargetState::Paused).await.map(|()| StatusCode::ACCEPTED)
}

/// `PUT /connectors/{name}/resume`
async fn resume<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    api.set_state(&name, TargetState::Running).await.map(|()| StatusCode::ACCEPTED)
}

/// `PUT /connectors/{name}/stop` (KIP-875)
async fn stop<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    api.set_state(&name, TargetState::Stopped).await.map(|()| StatusCode::NO_CONTENT)
}

/// Kafka Connect's query of a restart (KIP-745).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Restart {
    #[serde(default)]
    include_tasks: bool,
    #[serde(default)]
    only_failed: bool,
}

/// `POST /connectors/{name}/restart`
async fn restart<E: Engine>(
    State(api): Shared<E>,
    Path(name): Path<String>,
    query: Result<Query<Restart>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    // Jersey answers 404 to a query parameter that it can't convert.
    let Query(asked) = query.map_err(|_| Refusal::new(StatusCode::NOT_FOUND, "HTTP 404 Not Found"))?;
    let (name, observed) = api.connector(&name, |name| format!("Unknown connector: {name}")).await?;
    let scope = RestartScope { tasks: asked.include_tasks, only_failed: asked.only_failed };
    api.engine.restart(&name, scope).await.map_err(|error| refusal(&error))?;
    if !asked.include_tasks && !asked.only_failed {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let status = words::restarting(&name, &observed, scope, &api.settings.worker_id);
    Ok((StatusCode::ACCEPTED, Json(status)).into_response())
}

/// `POST /connectors/{name}/tasks/{task}/restart`. Tasks are a way to report here, not threads: the flow starts anew.
async fn restart_task<E: Engine>(
    State(api): Shared<E>,
    Path((name, task)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let (name, observed) = api.connector(&name, |name| format!("Unknown connector: {name}")).await?;
    let known = observed.flow.iter().flat_map(|flow| &flow.tasks).any(|report| Some(report.id) == task.parse().ok());
    if !known {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("Unknown task: {name}-{task}")));
    }
    let scope = RestartScope { tasks: true, only_failed: false };
    api.engine.restart(&name, scope).await.map_err(|error| refusal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

// === Configurations are Git's ===

/// `POST /connectors`
async fn refuse_creation() -> Refusal {
    let what = "connectors are made by files in the Git repository, not through this API: commit a file for it";
    Refusal::new(StatusCode::CONFLICT, what)
}

/// `PUT /connectors/{name}/config`
async fn refuse_change_or_creation<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Refusal {
    api.git_owns(&name)
}

/// `PATCH /connectors/{name}/config`, `DELETE /connectors/{name}`
async fn refuse_change<E: Engine>(State(api): Shared<E>, Path(name): Path<String>) -> Result<Refusal, Refusal> {
    let (name, _) = api.connector(&name, not_found).await?;
    Ok(api.git_owns(name.as_str()))
}

// === impl ApiContext ===

impl<E: Engine> ApiContext<E> {
    async fn observe(&self) -> Result<Live, Refusal> {
        self.engine.observe().await.map_err(|error| refusal(&error))
    }

    /// The connector of that name, or 404 in the words that Kafka Connect has for it there.
    async fn connector(&self, name: &str, missing: impl Fn(&str) -> String) -> Result<(Name, Observed), Refusal> {
        let mut live = self.observe().await?;
        live.connectors.remove_entry(name).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, missing(name)))
    }

    async fn set_state(&self, name: &str, state: TargetState) -> Result<(), Refusal> {
        let (name, _) = self.connector(name, |name| format!("Unknown connector {name}")).await?;
        self.engine.set_state(&name, state).await.map_err(|error| refusal(&error))
    }

    fn git_owns(&self, name: &str) -> Refusal {
        let status = self.status.borrow();
        let file = status.items.iter().find(|item| item.name == name).and_then(|item| item.file.as_deref());
        let message = match file {
            Some(file) => format!("connector {name} is as {file} says: edit the file in the Git repository and commit"),
            None => format!("connector {name} is the Git repository's to change: commit a file for it"),
        };
        Refusal::new(StatusCode::CONFLICT, message)
    }
}

fn not_found(name: &str) -> String {
    format!("Connector {name} not found")
}

/// An engine's error in Kafka Connect's codes: clients try again on 409.
fn refusal(error: &engine::Error) -> Refusal {
    let status = match error {
        engine::Error::Unavailable { .. } => StatusCode::CONFLICT,
        engine::Error::NotFound(_) => StatusCode::NOT_FOUND,
        engine::Error::Invalid { .. } => StatusCode::BAD_REQUEST,
        engine::Error::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, error.to_string())
}
