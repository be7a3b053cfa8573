//! Who may do what: the gate that every request passes, before any handler.
//!
//! Reading is free to whoever reaches the listener, unless it is guarded too; probes are always free. Writing needs the
//! token or a client certificate of the configured authority; where neither is configured it needs a listener on loopback, a `Host` that names this machine (else a rebound DNS name would do) and no sign of another
//! site's web page. There is no CORS: nothing is ever allowed to other origins.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::MAX_BODY;
use super::answer::Refusal;
use super::page::CONTENT_SECURITY_POLICY;

/// Shorter ones could be guessed over the network.
const MIN_TOKEN: usize = 16;

/// The secret that write verbs bring, kept as its digest only: the process can't tell it to anybody.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// Why a text is no token. It is never quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody would have to guess for long.
    #[error("the API token has {0} characters, at least {MIN_TOKEN} are needed: make one with `openssl rand -hex 32`")]
    Short(usize),
    /// It could never arrive in a header.
    #[error("the API token holds white space or a character that is not printable ASCII")]
    Characters,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Peer {
    /// It bears a certificate of the configured authority.
    pub(super) certified: bool,
}

/// What the gate knows.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) token: Option<Token>,
    /// Clients can prove themselves by a certificate.
    pub(super) certificates: bool,
    /// Reading needs what writing needs.
    pub(super) guard_reading: bool,
    pub(super) loopback: bool,
    pub(super) request_timeout: Duration,
}

// === impl Token ===

impl Token {
    /// From the text of a token file; white space around it is no part of it.
    ///
    /// # Errors
    /// It is too short, or could not be sent in a header.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.chars().any(|c| !c.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        if text.len() < MIN_TOKEN {
            return Err(TokenError::Short(text.len()));
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// In constant time: digests have one length, and are compared whole.
    fn matches(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        self.0.ct_eq(&presented).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

// === impl Gate ===

impl Gate {
    /// Whether the request may reach its handler. Pure.
    fn admit(&self, peer: Peer, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > MAX_BODY as u64) {
            return Err(Refusal::too_large());
        }
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            // A kubelet has neither token nor certificate, and the answer is one word.
            let probe = matches!(uri.path(), "/livez" | "/readyz");
            if !self.guard_reading || probe {
                return Ok(());
            }
            return self.proven(peer, headers, "this daemon lets nobody read without proof");
        }
        if sent_by_another_site(headers) {
            return Err(forbidden("CROSS-SITE", "a web page of another site sent this request"));
        }
        if self.token.is_some() || self.certificates {
            return self.proven(peer, headers, "this verb needs the token");
        }
        if !self.loopback {
            return Err(forbidden("NO-TOKEN", "without a token, write verbs are taken on loopback only")
                .hint("set `token-file` and send `Authorization: Bearer ...`, or listen on 127.0.0.1"));
        }
        if !names_this_machine(uri, headers) {
            return Err(forbidden(
                "FOREIGN-HOST",
                "without a token, write verbs are taken for this machine's own names only",
            )
            .hint("use http://127.0.0.1 or http://localhost, or set `token-file`"));
        }
        Ok(())
    }

    /// The token, or a certificate.
    fn proven(&self, peer: Peer, headers: &HeaderMap, what: &str) -> Result<(), Refusal> {
        if self.certificates && peer.certified {
            return Ok(());
        }
        match &self.token {
            Some(token) => authorized(token, headers, what),
            None => Err(Refusal::new(StatusCode::UNAUTHORIZED, what)
                .code("UNAUTHORIZED")
                .hint("bring a client certificate of the authority that `tls-client-ca-file` names")),
        }
    }
}

fn forbidden(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, message).code(code)
}

fn authorized(token: &Token, headers: &HeaderMap, what: &str) -> Result<(), Refusal> {
    let refused = |message: &str| {
        Refusal::new(StatusCode::UNAUTHORIZED, message)
            .code("UNAUTHORIZED")
            .hint("send `Authorization: Bearer` with the content of the daemon's `token-file`")
    };
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Err(refused(what)) };
    let (scheme, presented) = value.as_bytes().split_at_checked(7).unwrap_or_default();
    if scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(presented.trim_ascii()) {
        return Ok(());
    }
    Err(refused("this is not the token"))
}

/// Browsers say where a request comes from; other programs don't.
fn sent_by_another_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let origin = text(origin).and_then(|origin| Some(origin.split_once("://")?.1.to_owned()));
    origin.is_none() || origin != headers.get(header::HOST).and_then(text)
}

fn names_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let host = named.next().flatten();
    let absolute = uri.authority().is_none_or(is_local);
    host.as_ref().is_some_and(is_local) && named.next().is_none() && absolute
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    !authority.as_str().contains('@')
        && (host.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

/// The middleware: admits, bounds in time, and marks every answer.
pub(super) async fn gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let mut response = match gate.admit(peer, request.method(), request.uri(), request.headers()) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => match tokio::time::timeout(gate.request_timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let what = "Request timed out. What it asked for may still be done: see /status.";
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, what).into_response()
            }
        },
    };
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.clone());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    fn admit(gate: &Gate, method: &Method, headers: &[(&str, &str)]) -> Option<&'static str> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
            .collect();
        let refusal = gate.admit(Peer::default(), method, &Uri::from_static("/reconcile"), &headers).err()?;
        refusal.code
    }

    fn gate(token: Option<&str>, loopback: bool) -> Gate {
        Gate {
            token: token.map(|t| Token::new(t).unwrap()),
            certificates: false,
            guard_reading: false,
            loopback,
            request_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn reading_is_free_and_writing_is_not() {
        let open = gate(None, false);
        assert_eq!(admit(&open, &Method::GET, &[]), None);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert_eq!(admit(&open, &method, &[("host", "localhost")]), Some("NO-TOKEN"));
        }
    }

    #[test]
    fn without_a_token_only_this_machines_names_do() {
        let local = gate(None, true);
        for host in ["localhost", "LOCALHOST:8083", "127.0.0.1:8083", "127.1.2.3", "[::1]:8083"] {
            assert_eq!(admit(&local, &Method::POST, &[("host", host)]), None, "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "10.0.0.1", "evil@localhost", "[::2]", "127.0.0.1.nip.io"]
        {
            assert_eq!(admit(&local, &Method::POST, &[("host", host)]), Some("FOREIGN-HOST"), "{host}");
        }
        assert_eq!(admit(&local, &Method::POST, &[]), Some("FOREIGN-HOST"));
    }

    #[test]
    fn web_pages_of_other_sites_can_not_write() {
        for gate in [gate(None, true), gate(Some(TOKEN), false)] {
            let host = ("host", "localhost:8083");
            for other in [
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
                ("origin", "https://evil.example"),
                ("origin", "http://localhost:3000"),
                ("origin", "null"),
            ] {
                assert_eq!(admit(&gate, &Method::POST, &[host, other]), Some("CROSS-SITE"), "{other:?}");
            }
        }
        let own = [("host", "localhost:8083"), ("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8083")];
        assert_eq!(admit(&gate(None, true), &Method::POST, &own), None);
    }

    #[test]
    fn the_token_must_be_the_token() {
        let guarded = gate(Some(TOKEN), true);
        let with = |value: &str| admit(&guarded, &Method::POST, &[("authorization", value), ("host", "any.example")]);
        assert_eq!(with(&format!("Bearer {TOKEN}")), None);
        assert_eq!(with(&format!("bearer {TOKEN}")), None);
        for wrong in ["Bearer", "Bearer ", "", TOKEN, "Basic correct-horse-battery", "Bearer correct-horse-batterY"] {
            assert_eq!(with(wrong), Some("UNAUTHORIZED"), "{wrong}");
        }
        assert_eq!(admit(&guarded, &Method::POST, &[("host", "localhost")]), Some("UNAUTHORIZED"));
    }

    #[test]
    fn a_certificate_is_as_good_as_the_token() {
        let certified = Peer { certified: true };
        let path = Uri::from_static("/reconcile");
        let write = |gate: &Gate, peer| gate.admit(peer, &Method::POST, &path, &HeaderMap::new()).is_ok();
        let by_certificate = Gate { certificates: true, ..gate(None, false) };
        assert!(write(&by_certificate, certified) && !write(&by_certificate, Peer::default()));
        let either = Gate { certificates: true, ..gate(Some(TOKEN), false) };
        assert!(write(&either, certified) && !write(&either, Peer::default()));
        let bearer = [("authorization", "Bearer correct-horse-battery")];
        assert_eq!(admit(&either, &Method::POST, &bearer), None);
        // Loopback is no proof any more once proof can be given.
        let local = Gate { certificates: true, ..gate(None, true) };
        assert!(!write(&local, Peer::default()));
    }

    #[test]
    fn reading_can_be_guarded_but_for_probes() {
        let guarded = Gate { guard_reading: true, ..gate(Some(TOKEN), true) };
        let read = |path: &'static str, headers: &[(&str, &str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
                .collect();
            guarded.admit(Peer::default(), &Method::GET, &Uri::from_static(path), &headers).is_ok()
        };
        assert!(read("/livez", &[]) && read("/readyz", &[]));
        for path in ["/status", "/metrics", "/connectors", "/livez/", "/readyz/x"] {
            assert!(!read(path, &[]), "{path}");
            assert!(read(path, &[("authorization", "Bearer correct-horse-battery")]), "{path}");
        }
    }

    #[test]
    fn tokens_that_protect_nothing_are_refused_and_never_shown() {
        assert_eq!(Token::new(" \n").err(), Some(TokenError::Short(0)));
        assert_eq!(Token::new("hunter2").err(), Some(TokenError::Short(7)));
        assert_eq!(Token::new("correct horse battery").err(), Some(TokenError::Characters));
        assert_eq!(format!("{:?}", Token::new(&format!("{TOKEN}\n")).unwrap()), "Token(***)");
    }

    #[test]
    fn a_body_that_says_it_is_too_long_is_not_read() {
        let long = (MAX_BODY + 1).to_string();
        let code = admit(&gate(None, true), &Method::POST, &[("host", "localhost"), ("content-length", &long)]);
        assert_eq!(code, Some("BODY-TOO-LARGE"));
    }
}
