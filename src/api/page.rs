//! The status as a page: plain HTML that needs no script, for a browser, a phone, or a terminal's browser.
//!
//! Every text is escaped where it is written; the one style sheet is inline and allowed by its hash, nothing else is
//! allowed at all.

mod parts;
#[cfg(test)]
mod tests;
mod text;

use std::sync::LazyLock;

use axum::http::HeaderValue;
use base64::Engine as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use self::parts::{details, files, header, holds, is_fine, overview, plan, source, unmanaged};
use self::text::Page;
use crate::reconcile::status::{Item, Status};

const STYLE: &str = include_str!("page/style.css");

/// Connectors that are told in full on the page of all; each has a page of its own.
const MAX_DETAILS: usize = 50;

/// Seconds between two loads, where the address doesn't say.
const REFRESH: u32 = 30;

/// Only the page's own style sheet: no scripts, no frames, no forms, nothing from elsewhere.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 and fixed words")
});

/// Everything, worst first.
pub(super) fn whole(status: &Status, now: Timestamp, refresh: Option<u32>) -> String {
    let instance = &status.instance;
    let mut page = begin(&format!("{}/{}", instance.environment, instance.destination), status, now, refresh);
    let mut items: Vec<&Item> = status.items.iter().collect();
    items.sort_by(|a, b| (a.summary, &a.name).cmp(&(b.summary, &b.name)));
    plan(&mut page, status);
    files(&mut page, status);
    holds(&mut page, status, now);
    overview(&mut page, &items, now);
    // Of many, only those that somebody has to look at: a page of a thousand connectors must open quickly.
    let few = items.len() <= MAX_DETAILS;
    let (told, left): (Vec<&Item>, Vec<&Item>) = items.iter().copied().partition(|item| few || !is_fine(item));
    if !told.is_empty() {
        page.raw("<h2 id=\"details\">Details</h2>\n");
    }
    for item in told.iter().take(MAX_DETAILS) {
        details(&mut page, item, now, false);
    }
    let left = left.len() + told.len().saturating_sub(MAX_DETAILS);
    if left > 0 {
        page.raw("<p>")
            .text(&left.to_string())
            .raw(" more connectors have their details behind their names above.</p>\n");
    }
    unmanaged(&mut page, status);
    source(&mut page, status, now);
    end(page, status, now)
}

/// One connector.
pub(super) fn single(status: &Status, item: &Item, now: Timestamp, refresh: Option<u32>) -> String {
    let mut page = begin(&item.name, status, now, refresh);
    page.raw("<p><a href=\"/status\">all connectors</a></p>\n");
    overview(&mut page, &[item], now);
    details(&mut page, item, now, true);
    end(page, status, now)
}

fn begin(title: &str, status: &Status, now: Timestamp, refresh: Option<u32>) -> Page {
    let mut page = Page::default();
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    let refresh = refresh.unwrap_or(REFRESH);
    if refresh > 0 {
        page.raw("<meta http-equiv=\"refresh\" content=\"").text(&refresh.max(5).to_string()).raw("\">\n");
    }
    page.raw("<title>").text(title).raw(" - ").word(&status.state).raw("</title>\n");
    page.raw("<style>").raw(STYLE).raw("</style>\n</head>\n<body>\n");
    header(&mut page, status, now);
    page.raw("<main>\n");
    if refresh > 0 {
        page.raw("<p class=\"calm\">Loads again every ").text(&refresh.max(5).to_string());
        page.raw(" s. <a href=\"?refresh=0\">Stop that</a></p>\n");
    } else {
        page.raw(
            "<p class=\"calm\">As of the moment it was loaded. <a href=\"?refresh=30\">Load again every 30 s</a></p>\n",
        );
    }
    page
}

fn end(mut page: Page, status: &Status, now: Timestamp) -> String {
    page.raw("</main>\n<footer><p>mirrorkeeper ").text(&status.instance.version).raw(", pass ");
    page.text(&status.pass.number.to_string()).raw(" (").text(&status.pass.woke).raw(")");
    if let Some(at) = status.pass.at {
        page.raw(" ").time(at, now);
    }
    page.raw(". <a href=\"/plan\">plan</a> <a href=\"/diff\">diff</a> <a href=\"/history\">history</a> ");
    page.raw("<a href=\"/metrics\">metrics</a></p></footer>\n</body>\n</html>\n");
    page.finish()
}
