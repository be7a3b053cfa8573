//! Java client properties, as connector and worker files have them, to [`ClusterConfig`].
//!
//! Pure. Law: what we can't honour is a named problem, never ignored; no problem quotes a value that may be secret.
//! Properties that are not about reaching a cluster (`acks`, `fetch.max.bytes`, ...) are none of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use super::security::{ClusterConfig, Security};

mod jaas;
mod oauth;
mod sasl;
mod tls;

/// Why a property can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct PropertyProblem {
    /// The property's name, as in Java.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
}

impl PropertyProblem {
    /// The problem and what to do, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self} ({hint})"),
            None => self.to_string(),
        }
    }
}

/// Properties that change how a cluster is reached and that we do not serve, with what to do.
const REFUSED: &[(&str, &str)] = &[
    ("ssl.engine.factory.class", "give certificates as PEM"),
    ("ssl.provider", "remove it: TLS is rustls"),
    ("security.providers", "remove it: there is no JVM"),
    ("socks.proxy.host", "proxies are not served"),
];

/// Maps Java client properties to our settings; all problems at once.
///
/// # Errors
/// Every property that is missing, malformed or asks for something that we can't do.
pub fn cluster_config(props: &BTreeMap<String, String>) -> Result<ClusterConfig, Vec<PropertyProblem>> {
    let mut reader = Reader { props, problems: Vec::new() };
    let defaults = ClusterConfig::default();
    let config = ClusterConfig {
        bootstrap: reader.bootstrap(),
        security: reader.security(),
        client_id: reader.get("client.id").map_or(defaults.client_id, str::to_owned),
        request_timeout: reader.millis("request.timeout.ms", defaults.request_timeout),
        api_timeout: reader.millis("default.api.timeout.ms", defaults.api_timeout),
        connect_timeout: reader.millis("socket.connection.setup.timeout.ms", defaults.connect_timeout),
        metadata_max_age: reader.millis("metadata.max.age.ms", defaults.metadata_max_age),
        rack: reader.get("client.rack").map(str::to_owned),
        reconnect_backoff: reader.backoff("reconnect.backoff", defaults.reconnect_backoff),
        retry_backoff: reader.backoff("retry.backoff", defaults.retry_backoff),
    };
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
}

struct Reader<'a> {
    props: &'a BTreeMap<String, String>,
    problems: Vec<PropertyProblem>,
}

impl<'a> Reader<'a> {
    /// A value that is there and not blank, trimmed as Java's `ConfigDef` does.
    fn get(&self, key: &str) -> Option<&'a str> {
        self.props.get(key).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    fn problem(&mut self, key: &str, message: impl Into<String>, hint: Option<&str>) {
        self.problems.push(PropertyProblem {
            key: key.to_owned(),
            message: message.into(),
            hint: hint.map(str::to_owned),
        });
    }

    fn millis(&mut self, key: &str, default: Duration) -> Duration {
        match self.get(key).map(str::parse::<u32>) {
            None => default,
            Some(Ok(ms)) if ms > 0 => Duration::from_millis(ms.into()),
            Some(_) => {
                self.problem(key, "not a number of milliseconds above 0", None);
                default
            }
        }
    }

    /// `<what>.ms` and `<what>.max.ms`; a first wait above the longest is the longest, as in Java.
    fn backoff(&mut self, what: &str, (first, longest): (Duration, Duration)) -> (Duration, Duration) {
        let first = self.millis(&format!("{what}.ms"), first);
        let longest = self.millis(&format!("{what}.max.ms"), longest.max(first));
        (first.min(longest), longest)
    }

    /// Whole seconds within Java's bounds.
    fn seconds(&mut self, key: &str, default: Duration, most: u64) -> Duration {
        match self.get(key).map(str::parse::<u64>) {
            None => default,
            Some(Ok(seconds)) if seconds <= most => Duration::from_secs(seconds),
            Some(_) => {
                self.problem(key, format!("not a number of seconds from 0 to {most}"), None);
                default
            }
        }
    }

    /// A fraction within Java's bounds, in millionths.
    fn millionths(&mut self, key: &str, default: u32, (least, most): (f64, f64)) -> u32 {
        match self.get(key).map(str::parse::<f64>) {
            None => default,
            Some(Ok(value)) if (least..=most).contains(&value) => (value * 1e6).round() as u32,
            Some(_) => {
                self.problem(key, format!("not a number from {least} to {most}"), None);
                default
            }
        }
    }

    fn bool(&mut self, key: &str, default: bool) -> bool {
        match self.get(key) {
            None => default,
            Some(word) if word.eq_ignore_ascii_case("true") => true,
            Some(word) if word.eq_ignore_ascii_case("false") => false,
            Some(_) => {
                self.problem(key, "neither true nor false", None);
                default
            }
        }
    }

    fn bootstrap(&mut self) -> Vec<String> {
        const KEY: &str = "bootstrap.servers";
        let Some(list) = self.get(KEY) else {
            self.problem(KEY, "missing", Some("host:port of one or more brokers, separated by commas"));
            return Vec::new();
        };
        let mut servers = Vec::new();
        for part in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            // Java takes a listener's name in front, `SASL_SSL://host:9092`.
            let address = part.split_once("://").map_or(part, |(_, rest)| rest);
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
                Some(port) if port > 0 => servers.push(address.to_owned()),
                _ => self.problem(KEY, format!("{part:?} is not host:port"), None),
            }
        }
        if servers.is_empty() && self.problems.is_empty() {
            self.problem(KEY, "names no broker", None);
        }
        servers
    }

    fn security(&mut self) -> Security {
        for (key, hint) in REFUSED {
            if self.get(key).is_some() {
                self.problem(key, "not supported", Some(hint));
            }
        }
        let protocol = self.get("security.protocol").unwrap_or("PLAINTEXT").to_ascii_uppercase();
        match protocol.as_str() {
            "PLAINTEXT" => Security::Plaintext,
            "SSL" => Security::Tls(self.tls()),
            "SASL_PLAINTEXT" => self.sasl().map_or(Security::Plaintext, Security::SaslPlaintext),
            "SASL_SSL" => {
                let tls = self.tls();
                match self.sasl() {
                    Some(sasl) => Security::SaslTls(tls, sasl),
                    None => Security::Tls(tls),
                }
            }
            _ => {
                let hint = Some("one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL");
                self.problem("security.protocol", "not a security protocol", hint);
                Security::Plaintext
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::security::{Pem, Sasl, ScramHash, Store};

    fn config(pairs: &[(&str, &str)]) -> Result<ClusterConfig, Vec<PropertyProblem>> {
        cluster_config(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        config(pairs).unwrap_err().into_iter().map(|p| p.key).collect()
    }

    #[test]
    fn plaintext_with_timeouts() {
        let c = config(&[
            ("bootstrap.servers", " a:9092, PLAINTEXT://b:9093,[::1]:9094 "),
            ("request.timeout.ms", "1500"),
            ("client.rack", "r1"),
            ("acks", "all"),
        ])
        .unwrap();
        assert_eq!(c.bootstrap, ["a:9092", "b:9093", "[::1]:9094"]);
        assert_eq!((c.request_timeout, c.rack.as_deref()), (Duration::from_millis(1500), Some("r1")));
        assert_eq!((c.security, c.client_id.as_str()), (Security::Plaintext, "mirrorkeeper"));
    }

    #[test]
    fn scram_over_tls_with_pem() {
        let c = config(&[
            ("bootstrap.servers", "a:9092"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            (
                "sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"p;\\\"x\";",
            ),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", "/ca.pem"),
            ("ssl.endpoint.identification.algorithm", ""),
        ])
        .unwrap();
        let Security::SaslTls(tls, sasl) = c.security else { panic!("{:?}", c.security) };
        assert_eq!((tls.roots, tls.verify_hostname), (Some(Store::Pem(Pem::File("/ca.pem".into()))), false));
        let Sasl::Scram(ScramHash::Sha512, login) = sasl else { panic!("{sasl:?}") };
        assert_eq!((login.username.as_str(), login.password.expose()), ("u", "p;\"x"));
    }

    #[test]
    fn what_is_not_served_is_named() {
        let base = [("bootstrap.servers", "a:1"), ("security.protocol", "SASL_SSL")];
        for mechanism in ["AWS_MSK_IAM", "GSSAPI", "X"] {
            assert_eq!(problems(&[base[0], base[1], ("sasl.mechanism", mechanism)]), ["sasl.mechanism"]);
        }
        // GSSAPI is Java's default.
        assert_eq!(problems(&base), ["sasl.mechanism"]);
        let ssl = ("security.protocol", "SSL");
        for (key, value, wrong) in [
            ("ssl.keystore.key", "K", "ssl.keystore.certificate.chain"),
            ("ssl.enabled.protocols", "TLSv1.1", "ssl.enabled.protocols"),
            ("ssl.truststore.certificates", "C", "ssl.truststore.certificates"),
            ("ssl.endpoint.identification.algorithm", "ldaps", "ssl.endpoint.identification.algorithm"),
        ] {
            assert_eq!(problems(&[base[0], ssl, (key, value)]), [wrong]);
        }
        let strange = [base[0], ssl, ("ssl.truststore.type", "BCFKS"), ("ssl.truststore.location", "/t")];
        assert_eq!(problems(&strange), ["ssl.truststore.type"]);
        assert_eq!(problems(&[("request.timeout.ms", "x")]), ["bootstrap.servers", "request.timeout.ms"]);
        assert_eq!(problems(&[("bootstrap.servers", "a,b:1")]), ["bootstrap.servers"]);
        assert_eq!(problems(&[base[0], ("security.protocol", "TLS")]), ["security.protocol"]);
    }

    #[test]
    fn no_problem_quotes_a_secret() {
        let found = config(&[
            ("bootstrap.servers", "a:1"),
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.jaas.config", "PlainLoginModule required username=\"u\" pasword=\"sesame\";"),
        ])
        .unwrap_err();
        assert!(!format!("{found:?}").contains("sesame"), "{found:?}");
        assert_eq!(found[0].key, "sasl.jaas.config");
    }
}
