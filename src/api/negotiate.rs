//! What the caller wants to read: JSON unless it asks for something else more.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::answer::typed;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Html,
    Text,
}

/// The kind that `Accept` names with the greatest weight; wild cards mean JSON.
pub(super) fn wanted(headers: &HeaderMap) -> Kind {
    let mut best = (Kind::Json, 0);
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" => Kind::Json,
            "text/html" | "application/xhtml+xml" => Kind::Html,
            "text/plain" => Kind::Text,
            _ => continue,
        };
        // In thousandths; the grammar has three digits at most.
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        let weight = (weight.clamp(0.0, 1.0) * 1000.0) as u32;
        if weight > best.1 {
            best = (kind, weight);
        }
    }
    best.0
}

/// The body under its entity tag, or "not modified" for who has it already.
pub(super) fn tagged(headers: &HeaderMap, kind: &'static str, body: String) -> Response {
    use std::fmt::Write as _;
    let digest = Sha256::digest(&body);
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &digest[..16] {
        write!(tag, "{byte:02x}").expect("a String can't refuse");
    }
    tag.push('"');
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let same = known
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*");
    let mut response = if same { StatusCode::NOT_MODIFIED.into_response() } else { typed(kind, body) };
    let marks = response.headers_mut();
    marks.insert(ETAG, HeaderValue::try_from(tag).expect("hexadecimal digits in quotes"));
    marks.insert(VARY, HeaderValue::from_static("accept"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        for (accept, kind) in [
            ("", Kind::Json),
            ("*/*", Kind::Json),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Kind::Html),
            ("application/json, text/html;q=0.5", Kind::Json),
            ("text/html;q=0, */*", Kind::Json),
            ("text/plain", Kind::Text),
            ("text/html;q=nonsense", Kind::Html),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wanted(&headers), kind, "{accept}");
        }
        assert_eq!(wanted(&HeaderMap::new()), Kind::Json);
    }
}
