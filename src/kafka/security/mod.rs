//! How to reach a cluster and prove who we are: settings, TLS by rustls, SASL.
//!
//! Settings are compared and hashed, so that connections are shared by equal settings. Law 9: no secret in `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroize;

pub mod authenticator;
pub mod oauth;
pub(crate) mod sasl;
pub(crate) mod scram;
pub(crate) mod store;
pub(crate) mod tls;

pub use authenticator::Authenticator;
pub use oauth::OAuth;

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
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`: how long a broker that could not be reached is left alone.
    pub reconnect_backoff: (Duration, Duration),
    /// `retry.backoff.ms` and `retry.backoff.max.ms`: waits before what can pass is tried again.
    pub retry_backoff: (Duration, Duration),
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
    pub roots: Option<Store>,
    /// Our certificate chain and key, where the broker wants one.
    pub identity: Option<Identity>,
    /// Whether the certificate must bear the host's name (`ssl.endpoint.identification.algorithm=https`).
    pub verify_hostname: bool,
    /// `ssl.enabled.protocols`.
    pub versions: TlsVersions,
    /// `ssl.cipher.suites`, in Java's names; empty: all that rustls has.
    pub cipher_suites: Vec<String>,
}

/// The versions of TLS that may be spoken. Older ones are not served by rustls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsVersions {
    /// 1.3, and 1.2 where the broker has no better. Java's default.
    #[default]
    Both,
    /// 1.2.
    Only12,
    /// 1.3.
    Only13,
}

/// Where certificates lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Store {
    /// PEM.
    Pem(Pem),
    /// A PKCS#12 file, which Java reads under the types `PKCS12` and `JKS`.
    Pkcs12 {
        /// Its path.
        file: PathBuf,
        /// `ssl.truststore.password`, `ssl.keystore.password`.
        password: Secret,
    },
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Certificate chain, own certificate first.
    pub chain: Store,
    /// Private key where it does not lie in the chain's file: PKCS#8, PKCS#1 or SEC1.
    pub key: Option<Pem>,
    /// `ssl.key.password`: what the key is encrypted with.
    pub password: Option<Secret>,
}

/// PEM text: inline or in a file, which is read anew for every connection so that renewed certificates are seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pem {
    /// The text itself (it may hold a private key).
    Inline(Secret),
    /// Path of a file.
    File(PathBuf),
}

/// A SASL mechanism with what it needs to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sasl {
    /// `PLAIN` (RFC 4616).
    Plain(Login),
    /// `SCRAM-SHA-256` and `SCRAM-SHA-512` (RFC 5802).
    Scram(ScramHash, Login),
    /// The same with a delegation token (`tokenauth`): its id and HMAC stand for user and password.
    DelegationToken(ScramHash, Login),
    /// `OAUTHBEARER` (RFC 7628).
    OAuthBearer(Box<OAuth>),
}

/// A user and its password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
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
            reconnect_backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            retry_backoff: (Duration::from_millis(100), Duration::from_secs(1)),
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
        Self {
            roots: None,
            identity: None,
            verify_hostname: true,
            versions: TlsVersions::Both,
            cipher_suites: Vec::new(),
        }
    }
}

// === impl Sasl ===

impl Sasl {
    /// The mechanism's registered name.
    #[must_use]
    pub const fn mechanism(&self) -> &'static str {
        match self {
            Sasl::Plain(_) => "PLAIN",
            Sasl::Scram(hash, _) | Sasl::DelegationToken(hash, _) => hash.mechanism(),
            Sasl::OAuthBearer(_) => "OAUTHBEARER",
        }
    }
}

// === impl ScramHash ===

impl ScramHash {
    /// The mechanism's registered name.
    #[must_use]
    pub const fn mechanism(self) -> &'static str {
        match self {
            ScramHash::Sha256 => "SCRAM-SHA-256",
            ScramHash::Sha512 => "SCRAM-SHA-512",
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
                        chain: Store::Pem(Pem::File("chain.pem".into())),
                        key: Some(Pem::Inline(Secret::new("sesame"))),
                        password: Some(Secret::new("sesame")),
                    }),
                    ..TlsConfig::default()
                },
                Sasl::Plain(Login { username: "u".into(), password: Secret::new("sesame") }),
            ),
            ..ClusterConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("sesame") && shown.contains("chain.pem"), "{shown}");
    }
}
