//! A token endpoint asked by the client credentials grant (RFC 6749 §4.4), as Java's `ClientCredentialsJwtRetriever` does.
//!
//! No proxy, no redirect: credentials go to the endpoint that is named, or nowhere. Law 9: whatever the endpoint
//! answers, no message repeats the secret; law 10: waiting and the answer's size are bounded.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use zeroize::Zeroizing;

use super::token::is_bearer;
use super::{ClientCredentials, Token, TokenSource};
use crate::kafka::Error;
use crate::kafka::security::tls;
use crate::supervise;

/// An answer larger than this holds no token.
const MAX_ANSWER: usize = 1 << 20;
/// How much of an endpoint's own words goes into a message.
const MAX_WORDS: usize = 300;
/// How long reading certificates may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks an endpoint for every token.
pub(crate) struct Endpoint {
    settings: ClientCredentials,
}

#[derive(serde::Deserialize)]
struct Granted {
    access_token: Option<String>,
    id_token: Option<String>,
    /// A number; some endpoints make a string of it.
    expires_in: Option<serde_json::Value>,
}

/// RFC 6749 §5.2, and what Okta answers.
#[derive(serde::Deserialize)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
    #[serde(rename = "errorCode")]
    error_code: Option<String>,
    #[serde(rename = "errorSummary")]
    error_summary: Option<String>,
}

/// Why there is no token.
struct Failure {
    message: String,
    hint: &'static str,
    retriable: bool,
}

impl Endpoint {
    pub(crate) fn new(settings: ClientCredentials) -> Self {
        Self { settings }
    }

    async fn ask(&self) -> Result<Token, Failure> {
        let settings = &self.settings;
        let tls = settings.tls.clone();
        let tls = supervise::blocking("reading certificates", READ_TIMEOUT, move || tls::client_config(&tls)).await;
        let tls = match tls {
            Ok(Ok(config)) => config,
            Ok(Err(error)) => return Err(Failure::settings(error.to_string())),
            Err(error) => return Err(Failure::settings(error.to_string())),
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.connect_timeout + settings.read_timeout)
            .user_agent(concat!("mirrorkeeper/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::settings(chain(&error)))?;
        let mut authorization = HeaderValue::from_str(&basic(settings))
            .map_err(|_| Failure::settings("client id and secret make no header".into()))?;
        authorization.set_sensitive(true);
        let request = client
            .post(&settings.endpoint)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, authorization)
            .header(CACHE_CONTROL, "no-cache")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body(settings));
        let asked = SystemTime::now();
        let mut response = request.send().await.map_err(|error| Failure::network(&error))?;
        let status = response.status();
        let mut answer = Zeroizing::new(Vec::new());
        while let Some(part) = response.chunk().await.map_err(|error| Failure::network(&error))? {
            if answer.len() + part.len() > MAX_ANSWER {
                return Err(Failure::answer(format!("it answered with more than {MAX_ANSWER} bytes"), false));
            }
            answer.extend_from_slice(&part);
        }
        match status.as_u16() {
            200 | 201 => self.granted(&answer, asked),
            300..=399 => Err(Failure::answer(format!("it answered {status}, and redirects are not followed"), false)),
            code => Err(self.refused(code, &answer)),
        }
    }

    fn granted(&self, answer: &[u8], asked: SystemTime) -> Result<Token, Failure> {
        let granted: Granted = serde_json::from_slice(answer)
            .map_err(|_| Failure::answer("what it answered is not JSON with a token".into(), true))?;
        let both = [granted.access_token, granted.id_token].map(|token| token.map(Zeroizing::new));
        let token = both.into_iter().flatten().find(|token| !token.trim().is_empty());
        let token = token.ok_or_else(|| Failure::answer("it answered without access_token".into(), true))?;
        Token::jwt(&token, asked).or_else(|problem| {
            // An opaque token is the broker's to judge, where the endpoint says how long it is valid.
            let lifetime = granted.expires_in.as_ref().and_then(seconds);
            match lifetime.and_then(|lifetime| asked.checked_add(lifetime)) {
                Some(expires) if is_bearer(token.trim()) => Ok(Token::new(token.trim(), asked, expires)),
                _ => Err(Failure::answer(format!("the token it gave can't be used: {problem}"), true)),
            }
        })
    }

    fn refused(&self, status: u16, answer: &[u8]) -> Failure {
        let (word, description) = match serde_json::from_slice(answer) {
            Ok(Refused { error: Some(word), error_description, .. }) => (word, error_description),
            Ok(Refused { error_code: Some(word), error_summary, .. }) => (word, error_summary),
            _ => (String::new(), None),
        };
        let said = [Some(word.clone()), description].into_iter().flatten().filter(|text| !text.is_empty());
        let said: Vec<_> = said.map(|text| self.harmless(&text)).collect();
        let message = match said.join(": ") {
            said if said.is_empty() => format!("it answered {status}"),
            said => format!("it answered {status}, {said}"),
        };
        let hint = match word.as_str() {
            "invalid_client" | "unauthorized_client" => {
                "check the client id and secret (clientId and clientSecret in sasl.jaas.config, or \
                 sasl.oauthbearer.client.credentials.client.*)"
            }
            "invalid_scope" => "check sasl.oauthbearer.scope, or scope in sasl.jaas.config",
            _ if status == 401 || status == 403 => {
                "check the client id and secret; where they have special characters, some endpoints want \
                 sasl.oauthbearer.header.urlencode=true"
            }
            _ => "check sasl.oauthbearer.token.endpoint.url: is it the token endpoint itself?",
        };
        // Java's list of answers after which it does not ask again.
        let for_good = matches!(status, 400..=407 | 409..=415 | 501 | 505);
        Failure { message, hint, retriable: !for_good }
    }

    /// An endpoint's words: without our secret, without control characters, not long.
    fn harmless(&self, text: &str) -> String {
        let secret = self.settings.client_secret.expose().trim();
        let text = if secret.is_empty() { text.to_owned() } else { text.replace(secret, "[hidden]") };
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
    }
}

impl TokenSource for Endpoint {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
        Box::pin(async {
            self.ask().await.map_err(|failure| Error::Credentials {
                mechanism: "OAUTHBEARER",
                origin: self.settings.endpoint.clone(),
                message: failure.message,
                hint: Some(failure.hint.to_owned()),
                retriable: failure.retriable,
            })
        })
    }
}

impl Failure {
    fn settings(message: String) -> Self {
        Self { message, hint: "check the ssl.* options in sasl.jaas.config", retriable: false }
    }

    fn answer(message: String, retriable: bool) -> Self {
        let hint = "check sasl.oauthbearer.token.endpoint.url: is it the token endpoint itself?";
        Self { message, hint, retriable }
    }

    fn network(error: &reqwest::Error) -> Self {
        // The URL may bear a query; the message has the endpoint beside it anyway.
        let words = chain(error);
        let hint = if tls_failed(error) {
            "check the endpoint's certificate; trust is set by the ssl.truststore.* options in sasl.jaas.config"
        } else if error.is_timeout() {
            "check whether the endpoint can be reached from here; sasl.login.connect.timeout.ms and \
             sasl.login.read.timeout.ms bound the waiting"
        } else {
            "check sasl.oauthbearer.token.endpoint.url, DNS and firewalls (no proxy is used)"
        };
        Self { message: words, hint, retriable: true }
    }
}

/// An error with its causes; reqwest's own line, which repeats the URL, is left out where there is a cause.
fn chain(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push(cause.to_string());
        next = cause.source();
    }
    words.dedup();
    if error.is_timeout() {
        words.insert(0, "no answer in time".into());
    }
    if words.is_empty() { "the request failed".into() } else { words.join(": ") }
}

fn tls_failed(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) || cause.is::<rustls::Error>() {
            return true;
        }
        next = cause.source();
    }
    false
}

fn basic(settings: &ClientCredentials) -> Zeroizing<String> {
    let (id, secret) = (settings.client_id.trim(), settings.client_secret.expose().trim());
    let pair = if settings.urlencode {
        Zeroizing::new(format!("{}:{}", form(id), *Zeroizing::new(form(secret))))
    } else {
        Zeroizing::new(format!("{id}:{secret}"))
    };
    Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(pair.as_bytes()))))
}

/// Java sends the scope as it stands unless told to encode; only what can't stand in a form is encoded then, so that
/// `scope=a&audience=b`, which works in Java, works.
fn body(settings: &ClientCredentials) -> String {
    let mut body = "grant_type=client_credentials".to_owned();
    if let Some(scope) = settings.scope.as_deref().map(str::trim).filter(|scope| !scope.is_empty()) {
        body.push_str("&scope=");
        if settings.urlencode {
            body.push_str(&form(scope));
        } else {
            body.extend(scope.chars().map(|c| if c == ' ' { '+' } else { c }));
        }
    }
    body
}

fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Java's `URLEncoder`: `application/x-www-form-urlencoded`.
fn form(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
