//! From a connector's Java client properties to what the data plane uses: cluster, reading, codec. Pure.

use std::collections::BTreeMap;

use super::config::FlowConfig;
use super::lanes::{Fetch, Reading};
use crate::kafka::ClusterConfig;
use crate::kafka::admin::offsets::Isolation;
use crate::kafka::compress::Codec;
use crate::kafka::properties::cluster_config;
use crate::spec::Config;

/// What a flow's clients are.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The source cluster.
    pub source: ClusterConfig,
    /// How it is read: part of what makes flows share a lane.
    pub reading: Reading,
    /// `compression.type` of the data producer: for uncompressed batches, and for all where it is forced.
    pub codec: Option<Codec>,
}

impl Clients {
    /// The clients of `flow`. `worker` holds the worker's `producer.` keys without the prefix; the connector's own
    /// overrides win over them, as in Kafka Connect.
    ///
    /// # Errors
    /// Every problem, one line each; no value that could be a secret is quoted.
    pub fn of(flow: &FlowConfig, worker: &Config) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let consumer = &flow.clients.source_consumer;
        let source = cluster_config(&properties(consumer)).map_err(|found| {
            problems.extend(found.iter().map(|p| format!("source.cluster.{}", p.line())));
        });
        let codec = codec(flow, worker).map_err(|problem| problems.push(problem));
        let (Ok(mut source), Ok(codec)) = (source, codec) else { return Err(problems) };
        // The connector's name is left out of the id that Java would use: flows with equal settings share connections.
        let own = format!("{}->{}|replication-consumer", flow.source_alias, flow.target_alias);
        source.client_id = consumer.get("client.id").map_or(own.clone(), |id| format!("{id}|{own}"));
        let number = |key: &str, default: i64| consumer.get(key).and_then(|v| v.trim().parse().ok()).unwrap_or(default);
        let fetch = Fetch {
            max_wait_ms: u32::try_from(number("fetch.max.wait.ms", 500)).unwrap_or(500),
            min_bytes: i32::try_from(number("fetch.min.bytes", 1)).unwrap_or(1),
            // Java's 50 MiB would hold the whole memory budget: larger batches than this still come, alone.
            max_bytes: i32::try_from(number("fetch.max.bytes", 8 << 20)).unwrap_or(i32::MAX),
            partition_max_bytes: i32::try_from(number("max.partition.fetch.bytes", 1 << 20)).unwrap_or(i32::MAX),
        };
        let isolation = if flow.read_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        Ok(Self { source, reading: Reading { isolation, fetch }, codec })
    }
}

fn properties(config: &Config) -> BTreeMap<String, String> {
    config.as_map().clone()
}

fn codec(flow: &FlowConfig, worker: &Config) -> Result<Option<Codec>, String> {
    let own = flow.clients.data_producer.get("compression.type");
    let Some(word) = own.or_else(|| worker.get("compression.type")) else { return Ok(None) };
    match word.trim().parse::<Codec>() {
        Ok(Codec::None) => Ok(None),
        Ok(codec) => Ok(Some(codec)),
        Err(error) => Err(format!("producer.override.compression.type: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(pairs: &[(&str, &str)], worker: &[(&str, &str)]) -> Clients {
        let mut config = Config::from([
            ("name", "c"),
            ("source.cluster.alias", "a"),
            ("source.cluster.bootstrap.servers", "localhost:1"),
        ]);
        for (key, value) in pairs {
            config.insert(*key, *value);
        }
        let worker = worker.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Clients::of(&FlowConfig::of(&config).unwrap(), &worker).unwrap()
    }

    #[test]
    fn scoped_client_keys_win() {
        let pairs =
            [("consumer.isolation.level", "read_uncommitted"), ("source.consumer.isolation.level", "read_committed")];
        assert_eq!(clients(&pairs, &[]).reading.isolation, Isolation::ReadCommitted);
        assert_eq!(clients(&[], &[]).reading.isolation, Isolation::ReadUncommitted);
    }

    #[test]
    fn the_workers_codec_is_overridden_by_the_file() {
        let worker = [("compression.type", "gzip")];
        assert_eq!(clients(&[], &worker).codec, Some(Codec::Gzip));
        assert_eq!(clients(&[("producer.override.compression.type", "zstd")], &worker).codec, Some(Codec::Zstd));
        assert_eq!(clients(&[("producer.override.compression.type", "none")], &worker).codec, None);
        assert_eq!(clients(&[], &[]).codec, None);
    }
}
