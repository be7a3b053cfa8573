//! Which APIs are served, in which versions, by whom.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};

use super::state::Inner;
use super::{acls, commits, configs, fetch, groups, metadata, offsets, produce, topics, txn};

/// Who asks, whom, and in which version.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) inner: Arc<Inner>,
    pub(crate) broker: i32,
    pub(crate) api: i16,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) host: String,
}

impl Context {
    /// The error that a test has planned for this item, if any.
    pub(crate) fn planned(&self, name: &str, partition: Option<i32>) -> Option<i16> {
        self.inner.rules().failure(self.api, name, partition)
    }
}

macro_rules! serve {
    ($($api:ident: $request:ty, $min:literal..=$max:literal => $handler:path;)*) => {
        const APIS: &[(ApiKey, i16, i16)] = &[$((ApiKey::$api, $min, $max)),*];

        /// Carries a request out; `None` when it wants no answer.
        ///
        /// # Errors
        /// When the request can't be decoded, or the answer not be encoded in its version.
        pub(crate) async fn dispatch(
            context: &Context,
            api: ApiKey,
            body: &mut Bytes,
            throttle_ms: i32,
        ) -> Result<Option<BytesMut>, String> {
            let mut out = BytesMut::new();
            match api {
                $(ApiKey::$api => {
                    let request = <$request>::decode(body, context.version)
                        .map_err(|error| format!("{} {}: {error}", stringify!($api), context.version))?;
                    if unanswered(&request) {
                        let _unsent = Box::pin($handler(context, request)).await;
                        return Ok(None);
                    }
                    let mut response = Box::pin($handler(context, request)).await;
                    response.throttle_time_ms = throttle_ms;
                    response.encode(&mut out, context.version)
                        .map_err(|error| format!("{} {} answer: {error}", stringify!($api), context.version))?;
                })*
                _ => return Err(format!("{api:?} is not served")),
            }
            Ok(Some(out))
        }
    };
}

serve! {
    Produce: ProduceRequest, 3..=11 => produce::produce;
    Fetch: FetchRequest, 4..=12 => fetch::fetch;
    ListOffsets: ListOffsetsRequest, 1..=7 => offsets::list;
    Metadata: MetadataRequest, 0..=12 => metadata::metadata;
    OffsetCommit: OffsetCommitRequest, 2..=8 => commits::commit;
    OffsetFetch: OffsetFetchRequest, 1..=8 => commits::fetch;
    FindCoordinator: FindCoordinatorRequest, 0..=4 => metadata::find_coordinator;
    JoinGroup: JoinGroupRequest, 0..=8 => groups::join;
    Heartbeat: HeartbeatRequest, 0..=4 => groups::heartbeat;
    LeaveGroup: LeaveGroupRequest, 0..=5 => groups::leave;
    SyncGroup: SyncGroupRequest, 0..=5 => groups::sync;
    DescribeGroups: DescribeGroupsRequest, 0..=5 => groups::describe;
    ListGroups: ListGroupsRequest, 0..=4 => groups::list;
    ApiVersions: ApiVersionsRequest, 0..=4 => metadata::api_versions;
    CreateTopics: CreateTopicsRequest, 2..=7 => topics::create_topics;
    DeleteTopics: DeleteTopicsRequest, 1..=6 => topics::delete_topics;
    DeleteRecords: DeleteRecordsRequest, 0..=2 => offsets::delete_records;
    InitProducerId: InitProducerIdRequest, 0..=4 => txn::init_producer_id;
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest, 2..=4 => offsets::for_leader_epoch;
    AddPartitionsToTxn: AddPartitionsToTxnRequest, 0..=3 => txn::add_partitions;
    AddOffsetsToTxn: AddOffsetsToTxnRequest, 0..=3 => txn::add_offsets;
    EndTxn: EndTxnRequest, 0..=3 => txn::end;
    TxnOffsetCommit: TxnOffsetCommitRequest, 0..=3 => txn::commit_offsets;
    DescribeAcls: DescribeAclsRequest, 1..=3 => acls::describe;
    CreateAcls: CreateAclsRequest, 1..=3 => acls::create;
    DeleteAcls: DeleteAclsRequest, 1..=3 => acls::delete;
    DescribeConfigs: DescribeConfigsRequest, 1..=4 => configs::describe;
    AlterConfigs: AlterConfigsRequest, 0..=2 => configs::alter;
    CreatePartitions: CreatePartitionsRequest, 0..=3 => topics::create_partitions;
    DeleteGroups: DeleteGroupsRequest, 0..=2 => groups::delete;
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest, 0..=1 => configs::incremental_alter;
    OffsetDelete: OffsetDeleteRequest, 0..=0 => commits::delete;
    DescribeCluster: DescribeClusterRequest, 0..=1 => metadata::describe_cluster;
    DescribeProducers: DescribeProducersRequest, 0..=0 => offsets::describe_producers;
    DescribeLogDirs: DescribeLogDirsRequest, 1..=4 => offsets::describe_log_dirs;
}

/// Whether this version of an API is served.
pub(crate) fn serves(api: ApiKey, version: i16) -> bool {
    APIS.iter().any(|(key, min, max)| *key == api && (*min..=*max).contains(&version))
}

/// What `ApiVersions` tells.
pub(crate) fn advertised() -> Vec<ApiVersion> {
    let told = |(api, min, max): &(ApiKey, i16, i16)| {
        // as Kafka 4 does: librdkafka takes the lack of Produce 0 for a broker without compression
        let min = if *api == ApiKey::Produce { 0 } else { *min };
        ApiVersion::default().with_api_key(*api as i16).with_min_version(min).with_max_version(*max)
    };
    APIS.iter().map(told).collect()
}

/// Only a producer with `acks=0` wants no answer.
fn unanswered(request: &dyn std::any::Any) -> bool {
    request.downcast_ref::<ProduceRequest>().is_some_and(|request| request.acks == 0)
}
