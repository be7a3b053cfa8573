//! The Kafka protocol over TCP: connections, metadata, administration, group membership, keyed logs, and the data
//! path's ports.
//!
//! The only user of `kafka-protocol` (besides the development broker) and of `rustls`. It knows nothing of mirrors.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`], [`conn`], [`version`], [`security`] | frames, one connection, negotiated versions, TLS and SASL |
//! | [`cluster`] | metadata, leaders by epoch, coordinators, shared connections |
//! | [`admin`], [`group`], [`log`] | administration, one-writer membership, compacted topics as keyed logs |
//! | [`batch`], [`records`], [`compress`] | pure codecs over raw record batches |
//! | [`session`], [`fetch`], [`produce`], [`sequence`] | the data path's ports |

use std::fmt;
use std::sync::Arc;

pub mod admin;
pub mod batch;
pub mod cluster;
pub mod compress;
pub mod conn;
pub mod error;
pub mod fetch;
pub mod group;
pub mod log;
mod primitive;
pub mod produce;
pub mod properties;
pub mod records;
pub mod security;
pub mod sequence;
pub mod session;
pub mod version;
pub mod wire;

pub use cluster::{Cluster, Leader, PartitionInfo, Role, TopicInfo};
pub use conn::{Connection, PendingResponse};
pub use error::{Error, ErrorCode};
pub use group::{GroupConfig, MemberState, Membership};
pub use log::{KeyedLog, LogRecord, LogSpec, NewRecord};
pub use security::{
    ClusterConfig, Identity, Login, Pem, Sasl, ScramHash, Secret, Security, Store, TlsConfig, TlsVersions,
};

/// One partition of a topic; cheap to clone. Java's `TopicPartition`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    /// `topic-0`, as Java writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
