//! The page.
use crate::reconcile::status::{Item, Status};
use axum::http::HeaderValue;
use jiff::Timestamp;
use std::sync::LazyLock;
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> =
    LazyLock::new(|| HeaderValue::from_static("default-src 'none'"));
pub(super) fn whole(_: &Status, _: Timestamp, _: Option<u32>) -> String {
    String::new()
}
pub(super) fn single(_: &Status, _: &Item, _: Timestamp, _: Option<u32>) -> String {
    String::new()
}
