//! API names, and which version of an API to speak.
//!
//! Used by [`super::conn`]. Law: the version spoken is the highest that the broker, the codec and our caps know.

use std::collections::HashMap;

use kafka_protocol::messages::ApiVersionsResponse;

/// The versions a broker serves, by API key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions(HashMap<i16, (i16, i16)>);

impl Versions {
    /// The ranges of an ApiVersions answer.
    #[must_use]
    pub fn of(response: &ApiVersionsResponse) -> Self {
        Self(response.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect())
    }

    /// The broker's own range of an API.
    #[must_use]
    pub fn range(&self, api_key: i16) -> Option<(i16, i16)> {
        self.0.get(&api_key).copied()
    }

    /// The highest version that both sides know within `min..=max`.
    #[must_use]
    pub fn pick(&self, api_key: i16, min: i16, max: i16) -> Option<i16> {
        let (low, high) = self.range(api_key)?;
        let best = high.min(max);
        (best >= low.max(min)).then_some(best)
    }
}

/// An API's name as Kafka writes it, for errors and logs.
#[must_use]
#[rustfmt::skip]
pub const fn api_name(api_key: i16) -> &'static str {
    match api_key {
        0 => "Produce",
        1 => "Fetch",
        2 => "ListOffsets",
        3 => "Metadata",
        8 => "OffsetCommit",
        9 => "OffsetFetch",
        10 => "FindCoordinator",
        11 => "JoinGroup",
        12 => "Heartbeat",
        13 => "LeaveGroup",
        14 => "SyncGroup",
        15 => "DescribeGroups",
        16 => "ListGroups",
        17 => "SaslHandshake",
        18 => "ApiVersions",
        19 => "CreateTopics",
        20 => "DeleteTopics",
        21 => "DeleteRecords",
        22 => "InitProducerId",
        23 => "OffsetForLeaderEpoch",
        24 => "AddPartitionsToTxn",
        25 => "AddOffsetsToTxn",
        26 => "EndTxn",
        27 => "WriteTxnMarkers",
        28 => "TxnOffsetCommit",
        29 => "DescribeAcls",
        30 => "CreateAcls",
        31 => "DeleteAcls",
        32 => "DescribeConfigs",
        33 => "AlterConfigs",
        34 => "AlterReplicaLogDirs",
        35 => "DescribeLogDirs",
        36 => "SaslAuthenticate",
        37 => "CreatePartitions",
        38 => "CreateDelegationToken",
        39 => "RenewDelegationToken",
        40 => "ExpireDelegationToken",
        41 => "DescribeDelegationToken",
        42 => "DeleteGroups",
        43 => "ElectLeaders",
        44 => "IncrementalAlterConfigs",
        45 => "AlterPartitionReassignments",
        46 => "ListPartitionReassignments",
        47 => "OffsetDelete",
        48 => "DescribeClientQuotas",
        49 => "AlterClientQuotas",
        50 => "DescribeUserScramCredentials",
        51 => "AlterUserScramCredentials",
        52 => "Vote",
        53 => "BeginQuorumEpoch",
        54 => "EndQuorumEpoch",
        55 => "DescribeQuorum",
        56 => "AlterPartition",
        57 => "UpdateFeatures",
        58 => "Envelope",
        59 => "FetchSnapshot",
        60 => "DescribeCluster",
        61 => "DescribeProducers",
        62 => "BrokerRegistration",
        63 => "BrokerHeartbeat",
        64 => "UnregisterBroker",
        65 => "DescribeTransactions",
        66 => "ListTransactions",
        67 => "AllocateProducerIds",
        68 => "ConsumerGroupHeartbeat",
        69 => "ConsumerGroupDescribe",
        70 => "ControllerRegistration",
        71 => "GetTelemetrySubscriptions",
        72 => "PushTelemetry",
        73 => "AssignReplicasToDirs",
        74 => "ListConfigResources",
        75 => "DescribeTopicPartitions",
        76 => "ShareGroupHeartbeat",
        77 => "ShareGroupDescribe",
        78 => "ShareFetch",
        79 => "ShareAcknowledge",
        80 => "AddRaftVoter",
        81 => "RemoveRaftVoter",
        82 => "UpdateRaftVoter",
        83 => "InitializeShareGroupState",
        84 => "ReadShareGroupState",
        85 => "WriteShareGroupState",
        86 => "DeleteShareGroupState",
        87 => "ReadShareGroupStateSummary",
        90 => "DescribeShareGroupOffsets",
        91 => "AlterShareGroupOffsets",
        92 => "DeleteShareGroupOffsets",
        _ => "UnknownApi",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_picked() {
        let versions = Versions(HashMap::from([(1, (4, 17))]));
        assert_eq!(versions.pick(1, 4, 12), Some(12));
        assert_eq!(versions.pick(1, 4, 99), Some(17));
        assert_eq!(versions.pick(1, 18, 20), None);
        assert_eq!(versions.pick(1, 0, 3), None);
        assert_eq!(versions.pick(2, 0, 3), None);
        assert_eq!(api_name(3), "Metadata");
    }
}
