//! How to reach a cluster and prove who we are: settings, TLS by rustls, SASL.
//!
//! Settings are compared and hashed, so that connections are shared by equal settings. Law 9: no secret in `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroize;

pub(crate) mod sasl;
pub(crate) mod scram;
pub(crate) mod tls;

/// How to reach one cluster. Java's client configuration, the part we honour.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterConfig {
    /// `bootstrap.servers`: `host:port` each.
    pub bootstrap: Vec<String>,
    /// `security.protocol` and what belongs to it.
    pub security: Security,
    /// `client.id`.
    pub client_id: String,
    /// `request.timeout.ms`: how long one answer may take.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long a call with its retries may take.
    pub api_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`: TCP, TLS, versions and SASL together.
    pub connect_timeout: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `client.rack`.
    pub rack: Option<String>,
}

/// `security.protocol`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Security {
    /// `PLAINTEXT`.
    Plaintext,
    /// `SSL`.
    Tls(TlsConfig),
    /// `SASL_PLAINTEXT`.
    SaslPlaintext(Sasl),
    /// `SASL_SSL`.
    SaslTls(TlsConfig, Sasl),
}

/// Trust, and our own certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsConfig {
    /// Certificates to trust; `None`: the system's.
    pub roots: Option<Pem>,
    /// Our certificate chain and key, where the broker wants one.
    pub identity: Option<Identity>,
    /// Whether the certificate must bear the host's name (`ssl.endpoint.identification.algorithm=https`).
    pub verify_hostname: bool,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Certificate chain, own certificate first.
    pub chain: Pem,
    /// Private key, unencrypted PKCS#8, PKCS#1 or SEC1.
    pub key: Pem,
}

/// PEM text: inline or in a file, which is read anew for every connection so that renewed certificates are seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pem {
    /// The text itself (it may hold a private key).
    Inline(Secret),
    /// Path of a file.
    File(PathBuf),
}

/// SASL credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sasl {
    /// Which mechanism.
    pub mechanism: SaslMechanism,
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// The SASL mechanisms we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaslMechanism {
    /// RFC 4616.
    Plain,
    /// RFC 5802 with SHA-256.
    ScramSha256,
    /// RFC 5802 with SHA-512.
    ScramSha512,
}

/// A value that is never shown; wiped when dropped.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret(String);

// === impl ClusterConfig ===

impl ClusterConfig {
    /// Plaintext to these brokers, everything else by default.
    #[must_use]
    pub fn plaintext(bootstrap: Vec<String>) -> Self {
        Self { bootstrap, ..Self::default() }
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            security: Security::Plaintext,
            client_id: "mirrorkeeper".into(),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(300),
            rack: None,
        }
    }
}

// === impl Security ===

impl Security {
    /// Kafka's name of the protocol.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Security::Plaintext => "PLAINTEXT",
            Security::Tls(_) => "SSL",
            Security::SaslPlaintext(_) => "SASL_PLAINTEXT",
            Security::SaslTls(..) => "SASL_SSL",
        }
    }

    pub(crate) fn tls(&self) -> Option<&TlsConfig> {
        match self {
            Security::Tls(tls) | Security::SaslTls(tls, _) => Some(tls),
            _ => None,
        }
    }

    pub(crate) fn sasl(&self) -> Option<&Sasl> {
        match self {
            Security::SaslPlaintext(sasl) | Security::SaslTls(_, sasl) => Some(sasl),
            _ => None,
        }
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { roots: None, identity: None, verify_hostname: true }
    }
}

// === impl SaslMechanism ===

impl SaslMechanism {
    /// The registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

// === impl Secret ===

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let config = ClusterConfig {
            security: Security::SaslTls(
                TlsConfig {
                    identity: Some(Identity {
                        chain: Pem::File("chain.pem".into()),
                        key: Pem::Inline(Secret::new("sesame")),
                    }),
                    ..TlsConfig::default()
                },
                Sasl { mechanism: SaslMechanism::Plain, username: "u".into(), password: Secret::new("sesame") },
            ),
            ..ClusterConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("sesame") && shown.contains("chain.pem"), "{shown}");
    }
}
