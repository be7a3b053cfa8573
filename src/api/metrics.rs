//! `GET /metrics`.
use super::Shared;
use crate::engine::Engine;
use axum::extract::State;
use axum::response::Response;
pub(super) async fn scrape<E: Engine>(State(_api): Shared<E>) -> Response {
    super::answer::typed("text/plain", "")
}
