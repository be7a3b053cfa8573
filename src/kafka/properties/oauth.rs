//! OAUTHBEARER's settings, from `sasl.jaas.config`, `sasl.oauthbearer.*` and `sasl.login.*`.
//!
//! As in Java, `sasl.login.callback.handler.class` says where tokens come from; where it is missing, a token endpoint
//! says it (Java then goes on to fail), else tokens are unsecured ones.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;

use super::Reader;
use super::jaas::LoginModule;
use super::sasl::{CLIENT_HANDLER, JAAS, LOGIN, LOGIN_HANDLER, Module};
use crate::kafka::security::Secret;
use crate::kafka::security::oauth::{ClientCredentials, Extensions, OAuth, Origin, Refresh, Unsecured};

const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const OIDC: &[&str] = &[
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    // Before Kafka 3.4.
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
];
const UNSECURED: &str =
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler";

const CLASSES: &[(&str, &[&str])] = &[
    (LOGIN_HANDLER, &[OIDC[0], OIDC[1], UNSECURED]),
    (CLIENT_HANDLER, &["org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerSaslClientCallbackHandler"]),
    (LOGIN, &["org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerRefreshingLogin"]),
    (
        "sasl.oauthbearer.jwt.retriever.class",
        &[
            "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
            "org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever",
            "org.apache.kafka.common.security.oauthbearer.FileJwtRetriever",
        ],
    ),
    (
        "sasl.oauthbearer.jwt.validator.class",
        &[
            "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
            "org.apache.kafka.common.security.oauthbearer.ClientJwtValidator",
        ],
    ),
];

/// Options of the unsecured login begin with this.
const OPTION: &str = "unsecuredLogin";

impl Reader<'_> {
    /// `None` always comes with a problem.
    pub(super) fn oauth(&mut self) -> Option<OAuth> {
        let classes = self.classes(CLASSES);
        let refresh = self.refresh();
        let module = self.module("OAUTHBEARER", &[Module::OAuthBearer])?;
        if !classes {
            return None;
        }
        let unsecured = match self.get(LOGIN_HANDLER) {
            Some(class) => class == UNSECURED,
            None => self.get(ENDPOINT).is_none(),
        };
        let (origin, prefix) = if unsecured {
            (Origin::Unsecured(self.unsecured(&module)?), "unsecuredLoginExtension_")
        } else {
            (self.oidc(&module)?, "extension_")
        };
        Some(OAuth { origin, extensions: self.extensions(&module, prefix), refresh })
    }

    fn refresh(&mut self) -> Refresh {
        let defaults = Refresh::default();
        let key = |name: &str| format!("sasl.login.refresh.{name}");
        let (backoff, backoff_max) = self.backoff("sasl.login.retry.backoff", (defaults.backoff, defaults.backoff_max));
        Refresh {
            window_factor: self.millionths(&key("window.factor"), defaults.window_factor, (0.5, 1.0)),
            window_jitter: self.millionths(&key("window.jitter"), defaults.window_jitter, (0.0, 0.25)),
            min_period: self.seconds(&key("min.period.seconds"), defaults.min_period, 900),
            buffer: self.seconds(&key("buffer.seconds"), defaults.buffer, 3600),
            backoff,
            backoff_max,
        }
    }

    fn oidc(&mut self, module: &LoginModule) -> Option<Origin> {
        let Some(text) = self.get(ENDPOINT) else {
            self.problem(ENDPOINT, "missing", Some("the token endpoint's URL, or file:/// and the path of a token"));
            return None;
        };
        let Ok(url) = Url::parse(text) else {
            self.problem(ENDPOINT, "not a URL", Some("https://host/path, or file:///path"));
            return None;
        };
        match url.scheme() {
            "file" => match url.to_file_path() {
                Ok(path) if path != std::path::Path::new("/") => Some(Origin::File(path)),
                _ => {
                    self.problem(ENDPOINT, "names no file of this machine", Some("file:///path"));
                    None
                }
            },
            "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
                let hint = Some("they belong into sasl.jaas.config, as clientId and clientSecret");
                self.problem(ENDPOINT, "has credentials in it", hint);
                None
            }
            "http" | "https" => self.client_credentials(module, &url).map(Box::new).map(Origin::ClientCredentials),
            _ => {
                self.problem(ENDPOINT, "neither http, https nor file", None);
                None
            }
        }
    }

    fn client_credentials(&mut self, module: &LoginModule, url: &Url) -> Option<ClientCredentials> {
        const ID: &str = "sasl.oauthbearer.client.credentials.client.id";
        const SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
        let option = |name: &str| module.options.get(name).map(|v| v.expose().trim()).filter(|v| !v.is_empty());
        // The keys of Kafka 4.1 win over the older options, as in Java.
        let client_id = self.get(ID).or(option("clientId")).map(str::to_owned);
        let client_secret = self.get(SECRET).or(option("clientSecret")).map(Secret::new);
        let scope = self.get("sasl.oauthbearer.scope").or(option("scope")).map(str::to_owned);
        if client_id.is_none() {
            self.problem(ID, "missing", Some("or clientId in sasl.jaas.config"));
        }
        if client_secret.is_none() {
            self.problem(SECRET, "missing", Some("or clientSecret in sasl.jaas.config"));
        }
        let tls = self.endpoint_tls(module);
        let settings = ClientCredentials {
            endpoint: url.to_string(),
            client_id: client_id?,
            client_secret: client_secret?,
            scope,
            urlencode: self.bool("sasl.oauthbearer.header.urlencode", false),
            tls,
            connect_timeout: self.millis("sasl.login.connect.timeout.ms", Duration::from_secs(10)),
            read_timeout: self.millis("sasl.login.read.timeout.ms", Duration::from_secs(10)),
        };
        Some(settings)
    }

    /// Java takes the endpoint's TLS from the module's options, not from the client's `ssl.*`.
    fn endpoint_tls(&mut self, module: &LoginModule) -> crate::kafka::TlsConfig {
        let options: BTreeMap<String, String> = module
            .options
            .iter()
            .filter(|(name, _)| name.starts_with("ssl."))
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect();
        let mut reader = Reader { props: &options, problems: Vec::new() };
        let tls = reader.tls();
        for found in reader.problems {
            self.problem(JAAS, format!("its option {}: {}", found.key, found.message), found.hint.as_deref());
        }
        tls
    }

    fn extensions(&mut self, module: &LoginModule, prefix: &str) -> Extensions {
        let mut extensions = Extensions::new();
        for (option, value) in &module.options {
            let Some(name) = option.strip_prefix(prefix) else { continue };
            let value = value.expose();
            let sound = |c: char| matches!(c, '\x21'..='\x7e' | ' ' | '\t' | '\r' | '\n');
            if name.is_empty() || name == "auth" || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
                self.problem(JAAS, format!("{option} names no SASL extension: letters only, and not auth"), None);
            } else if value.is_empty() || !value.chars().all(sound) {
                self.problem(JAAS, format!("{option} is empty or has characters that can't be sent"), None);
            } else {
                extensions.insert(name.to_owned(), value.to_owned());
            }
        }
        extensions
    }

    fn unsecured(&mut self, module: &LoginModule) -> Option<Unsecured> {
        let before = self.problems.len();
        let option = |name: &str| module.options.get(&format!("{OPTION}{name}")).map(|v| v.expose().trim());
        let mut claims = BTreeMap::new();
        for (option, value) in &module.options {
            let Some((kind, name)) = option.strip_prefix(OPTION).and_then(|rest| rest.split_once("Claim_")) else {
                continue;
            };
            let value = value.expose();
            let json = match kind {
                "String" => Some(serde_json::Value::from(value)),
                "Number" => value.trim().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Into::into),
                "List" => Some(list(value)),
                _ => continue,
            };
            match json {
                _ if ["iat", "exp"].contains(&name) => {
                    self.problem(
                        JAAS,
                        format!("the claim {name} can't be set: unsecuredLoginLifetimeSeconds does"),
                        None,
                    );
                }
                Some(json) => drop(claims.insert(name.to_owned(), json.to_string())),
                None => self.problem(JAAS, format!("{option} is not a number"), None),
            }
        }
        let principal = option("PrincipalClaimName").filter(|name| !name.is_empty()).unwrap_or("sub");
        if !claims.contains_key(principal) {
            let hint = format!(
                "unsecuredLoginStringClaim_{principal}=\"...\" for a development broker; else {LOGIN_HANDLER}={} and \
                 {ENDPOINT}",
                OIDC[0]
            );
            self.problem(JAAS, format!("says nothing of where tokens come from: no {principal} claim"), Some(&hint));
        }
        let lifetime = match option("LifetimeSeconds").map(str::parse::<u32>) {
            None => 3600,
            Some(Ok(seconds)) if seconds > 0 => seconds,
            Some(_) => {
                self.problem(JAAS, "unsecuredLoginLifetimeSeconds is not a number of seconds above 0", None);
                3600
            }
        };
        let lifetime = Duration::from_secs(lifetime.into());
        (self.problems.len() == before).then_some(Unsecured { claims, lifetime })
    }
}

/// Java's list: its first character parts the elements.
fn list(value: &str) -> serde_json::Value {
    let mut chars = value.chars();
    match chars.next() {
        Some(separator) if !chars.as_str().is_empty() => chars.as_str().split(separator).collect(),
        _ => serde_json::Value::Array(Vec::new()),
    }
}
