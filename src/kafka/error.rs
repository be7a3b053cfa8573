//! What can go wrong with a Kafka cluster, typed.
//!
//! Anyone may match on [`Error`]. Laws: an error names what was tried, on what and what to do ([`Error::hint`]); it
//! never holds a secret; it is cheap to clone, because every waiter on a broken connection gets the same cause.

use std::sync::Arc;
use std::time::Duration;

mod code;
pub(crate) mod tls;

pub use code::ErrorCode;

/// Why a call to a cluster gave no answer, or a refusal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No TCP connection.
    #[error("cannot connect to {addr}")]
    Connect {
        /// `host:port`.
        addr: String,
        /// The operating system's word.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The TCP connection stands, TLS does not.
    #[error("TLS handshake with {addr} failed")]
    Tls {
        /// `host:port`.
        addr: String,
        /// The TLS library's word.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The broker refused our credentials, or could not prove that it knows them.
    #[error("authentication at {addr} with SASL {mechanism} failed: {message}")]
    Auth {
        /// `host:port`.
        addr: String,
        /// SASL mechanism.
        mechanism: &'static str,
        /// The broker's word.
        message: String,
    },
    /// What we would prove who we are with can't be had: no broker was asked.
    #[error("no credentials for SASL {mechanism} from {origin}: {message}")]
    Credentials {
        /// SASL mechanism.
        mechanism: &'static str,
        /// Who was asked for them: an endpoint, a file.
        origin: String,
        /// What went wrong.
        message: String,
        /// What to do, where that is known.
        hint: Option<String>,
        /// Whether asking again may help without a change of settings.
        retriable: bool,
    },
    /// The connection ended before the answer.
    #[error("connection to {addr} is closed: {reason}")]
    Closed {
        /// `host:port`.
        addr: String,
        /// Why.
        reason: String,
        /// What closed it, where an error did.
        #[source]
        source: Option<Arc<Error>>,
    },
    /// No answer within the time given; the connection was closed with it.
    #[error("{api} to {addr} got no answer within {after:?}")]
    Timeout {
        /// The API's name.
        api: &'static str,
        /// `host:port`, or the bootstrap list when no single broker was asked.
        addr: String,
        /// The time given.
        after: Duration,
        /// The last refusal, where the time went into retries.
        #[source]
        source: Option<Arc<Error>>,
    },
    /// Too many requests wait on this connection.
    #[error("{limit} requests already wait on the connection to {addr}")]
    Busy {
        /// `host:port`.
        addr: String,
        /// The limit reached.
        limit: usize,
    },
    /// Bytes that are not the Kafka protocol, or beyond our caps.
    #[error("{addr} broke the protocol: {message}")]
    Protocol {
        /// `host:port`.
        addr: String,
        /// What was wrong.
        message: String,
    },
    /// The broker answered with an error code.
    #[error("{api}{} failed with {code}{}", of(resource), because(message))]
    Broker {
        /// The API's name.
        api: &'static str,
        /// Kafka's error code.
        code: ErrorCode,
        /// Topic, partition, group or broker in question.
        resource: Option<String>,
        /// The broker's own words.
        message: Option<String>,
    },
    /// No version of an API that both sides know.
    #[error("{addr} does not serve {api} in a version we know ({wanted})")]
    UnsupportedVersion {
        /// The API's name.
        api: &'static str,
        /// `host:port`.
        addr: String,
        /// Our range and theirs.
        wanted: String,
    },
    /// Our own settings can't be used, for example an unreadable PEM file.
    #[error("{what}: {message}")]
    Settings {
        /// The setting or file.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// Another cluster answers under the address. Nothing is read from it or written to it.
    #[error("{addr} was cluster {was} and is {is} now")]
    OtherCluster {
        /// The bootstrap list.
        addr: String,
        /// The id of the cluster that this handle is of.
        was: String,
        /// The id of the one that answers.
        is: String,
    },
    /// A topic that must be compacted is not.
    #[error("topic {topic} has cleanup.policy={policy}, which loses keyed state")]
    NotCompacted {
        /// The topic.
        topic: String,
        /// Its cleanup policy.
        policy: String,
    },
    /// A record batch that can't be read.
    #[error("records of {partition} at offset {offset} can't be read")]
    Records {
        /// `topic-partition`.
        partition: String,
        /// Offset of the fetch.
        offset: i64,
        /// The codec's word.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

/// What a refused mechanism's message says before the broker's list.
pub(crate) const OFFERS: &str = "the broker offers ";

fn of(resource: &Option<String>) -> String {
    resource.as_ref().map(|r| format!(" of {r}")).unwrap_or_default()
}

fn because(message: &Option<String>) -> String {
    message.as_ref().filter(|m| !m.is_empty()).map(|m| format!(": {m}")).unwrap_or_default()
}

// === impl Error ===

impl Error {
    /// Whether the same call may succeed later without a change of settings.
    #[must_use]
    pub fn retriable(&self) -> bool {
        match self {
            // Of another cluster the right one may answer again.
            Error::Connect { .. } | Error::Timeout { .. } | Error::Busy { .. } | Error::OtherCluster { .. } => true,
            Error::Tls { source, .. } => tls::Failure::of(source).passing(),
            // A connection that ended because of credentials ends again; any other cause may pass.
            Error::Closed { source, .. } => source.as_ref().is_none_or(|s| s.retriable()),
            Error::Broker { code, .. } => code.retriable(),
            Error::Credentials { retriable, .. } => *retriable,
            _ => false,
        }
    }

    /// A stable code for scripts, such as `KAFKA-CONNECT`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Connect { .. } => "KAFKA-CONNECT",
            Error::Tls { source, .. } => tls::Failure::of(source).code(),
            Error::Auth { .. } => "KAFKA-AUTH",
            Error::Credentials { .. } => "KAFKA-CREDENTIALS",
            Error::Closed { .. } => "KAFKA-CLOSED",
            Error::Timeout { .. } => "KAFKA-TIMEOUT",
            Error::Busy { .. } => "KAFKA-BUSY",
            Error::Protocol { .. } => "KAFKA-PROTOCOL",
            Error::Broker { code, .. } if code.authorization() => "KAFKA-ACL",
            Error::Broker { .. } => "KAFKA-REFUSED",
            Error::UnsupportedVersion { .. } => "KAFKA-VERSION",
            Error::Settings { .. } => "KAFKA-SETTINGS",
            Error::OtherCluster { .. } => "KAFKA-OTHER-CLUSTER",
            Error::NotCompacted { .. } => "KAFKA-NOT-COMPACTED",
            Error::Records { .. } => "KAFKA-RECORDS",
        }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Connect { .. } => "check bootstrap.servers, DNS and firewalls; is the broker running?".into(),
            Error::Tls { source, .. } => tls::Failure::of(source).hint().into(),
            Error::Auth { message, .. } if message.contains(OFFERS) => {
                "set sasl.mechanism to one that the broker offers".into()
            }
            Error::Auth { mechanism: "OAUTHBEARER", .. } => {
                "the broker does not take the token: check its issuer, audience, scope and validity against the \
                 broker's settings, and extension_NAME in sasl.jaas.config"
                    .into()
            }
            Error::Auth { .. } => "check sasl.mechanism and sasl.jaas.config against the broker's users".into(),
            Error::Credentials { hint, .. } => return hint.clone(),
            Error::Closed { source: None, .. } => {
                "a broker closes at once when security.protocol does not fit its listener".into()
            }
            Error::Broker { code, resource, .. } if code.authorization() => {
                format!("grant the needed ACL{}", resource.as_ref().map(|r| format!(" on {r}")).unwrap_or_default())
            }
            Error::UnsupportedVersion { .. } => "brokers from Kafka 2.1 on are supported".into(),
            Error::OtherCluster { .. } => {
                "check where bootstrap.servers and DNS lead; a destination that was replaced on purpose needs a restart \
                 of the process"
                    .into()
            }
            Error::NotCompacted { topic, .. } => {
                format!("set cleanup.policy=compact on {topic}, or name another topic")
            }
            _ => return None,
        })
    }

    /// The first cause: what the time went into that ran out, what closed the connection.
    #[must_use]
    pub fn root(&self) -> &Error {
        match self {
            Error::Timeout { source: Some(source), .. } | Error::Closed { source: Some(source), .. } => source.root(),
            other => other,
        }
    }

    /// The broker's error code, where a broker answered with one.
    #[must_use]
    pub fn broker_code(&self) -> Option<ErrorCode> {
        match self {
            Error::Broker { code, .. } => Some(*code),
            Error::Timeout { source: Some(source), .. } => source.broker_code(),
            _ => None,
        }
    }

    /// Whether a broker refused for lack of an ACL.
    #[must_use]
    pub fn denied(&self) -> bool {
        self.broker_code().is_some_and(ErrorCode::authorization)
    }

    /// A refusal by a broker.
    #[must_use]
    pub fn broker(api: &'static str, code: ErrorCode, resource: impl Into<String>, message: Option<String>) -> Self {
        Error::Broker { api, code, resource: Some(resource.into()), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_bear_kafkas_names() {
        assert_eq!(ErrorCode(6).to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
        assert_eq!(ErrorCode(-1).name(), "UNKNOWN_SERVER_ERROR");
        assert_eq!(ErrorCode(30_000).name(), "UNKNOWN");
        assert!(ErrorCode(6).retriable() && ErrorCode(6).invalidates_metadata());
        assert!(ErrorCode(51).retriable());
        assert!(!ErrorCode(29).retriable() && ErrorCode(29).authorization());
    }

    #[test]
    fn a_refusal_names_api_resource_code_and_words() {
        let error = Error::broker("CreateTopics", ErrorCode(29), "orders", Some("no".into()));
        assert_eq!(error.to_string(), "CreateTopics of orders failed with TOPIC_AUTHORIZATION_FAILED (29): no");
        assert_eq!((error.code(), error.retriable()), ("KAFKA-ACL", false));
        let closed = |source| Error::Closed { addr: "b:1".into(), reason: "x".into(), source };
        assert!(closed(None).retriable());
        assert!(!closed(Some(Arc::new(error))).retriable());
    }
}
