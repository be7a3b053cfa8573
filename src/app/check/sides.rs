//! The clusters of a mirror, and what each connector needs of them.

use std::collections::BTreeMap;

use super::{Report, hurried, needs, rights};
use crate::app::destination::Found;
use crate::kafka::{Cluster, ClusterConfig};
use crate::mirror::clients::Clients;
use crate::mirror::config::FlowConfig;
use crate::mirror::filter::should_replicate;
use crate::spec::Connector;

/// Clusters that were asked already, and their ids where they answered.
pub(super) type Asked = BTreeMap<String, Vec<(ClusterConfig, Cluster, Option<String>)>>;

/// Whether a cluster is there and lets us in; its id.
pub(super) async fn cluster(report: &mut Report<'_>, about: &str, side: &str, cluster: &Cluster) -> Option<String> {
    let check = |what: &str| if side.is_empty() { what.to_owned() } else { format!("{side} {what}") };
    let config = cluster.config();
    let way = match config.security.sasl() {
        Some(sasl) => format!("{} with {}", config.security.protocol(), sasl.mechanism()),
        None => config.security.protocol().to_owned(),
    };
    let id = match cluster.id().await {
        Ok(id) => id,
        Err(error) => {
            report.error(about, &check("cluster"), &error);
            return None;
        }
    };
    match cluster.broker_ids().await {
        Ok(brokers) => {
            let detail = format!("{id}, {} brokers, {way}", brokers.len());
            report.ok(about, &check("cluster"), &detail);
            every_broker(report, about, &check("brokers"), cluster, &brokers).await;
        }
        Err(error) => report.error(about, &check("cluster"), &error),
    }
    if config.security.tls().is_some_and(|tls| !tls.verify_hostname) {
        report.warning(about, &check("security"), "the host name in the brokers' certificates is not checked");
    }
    Some(id)
}

/// Bootstrap may work while an advertised listener does not.
async fn every_broker(report: &mut Report<'_>, about: &str, check: &str, cluster: &Cluster, brokers: &[i32]) {
    use kafka_spoken::{FETCH, PRODUCE};
    let mut spoken = None;
    for broker in brokers {
        match cluster.broker(*broker, crate::kafka::Role::Admin).await {
            Ok(connection) => {
                let versions = (connection.version(FETCH, 4, i16::MAX), connection.version(PRODUCE, 3, i16::MAX));
                let (Some(fetch), Some(produce)) = versions else {
                    let hint = Some("brokers from Kafka 2.1 on are supported".to_owned());
                    let detail = format!("broker {broker} speaks no version of Fetch and Produce that we know");
                    report.failed(about, check, &detail, "KAFKA-VERSION", hint);
                    continue;
                };
                spoken = Some(spoken.map_or((fetch, produce), |(f, p): (i16, i16)| (f.min(fetch), p.min(produce))));
            }
            Err(error) => report.error(about, &format!("{check} {broker}"), &error),
        }
    }
    if let Some((fetch, produce)) = spoken {
        report.ok(about, check, &format!("all speak at least Fetch {fetch} and Produce {produce}"));
    }
}

/// Kafka's numbers of the two calls that carry data.
mod kafka_spoken {
    pub(super) const PRODUCE: i16 = 0;
    pub(super) const FETCH: i16 = 1;
}

/// What the daemon itself needs of its destination: its group, Connect's topics, the state topic.
pub(super) async fn daemon(report: &mut Report<'_>, target: &Cluster, found: &Found) {
    rights::group(report, "destination", target, &found.engine.group).await;
    let own = [&found.engine.offsets, &found.engine.configs, &found.state];
    let topics: Vec<_> = own.iter().map(|log| (log.topic.clone(), log.replication_factor)).collect();
    rights::topics(report, "destination", target, &topics, needs::own_topic, true).await;
}

/// What one connector needs of both sides.
pub(super) async fn connector(
    report: &mut Report<'_>,
    connector: &Connector,
    target: Option<(&Cluster, &str)>,
    found: &Found,
    asked: &mut Asked,
) {
    let about = connector.name.to_string();
    let mut config = connector.config.clone();
    config.insert("name", about.as_str());
    let flow = match FlowConfig::of(&config) {
        Ok(flow) => flow,
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return report.failed(&about, "configuration", &lines.join("; "), "CONFIG", None);
        }
    };
    let clients = match Clients::of(&flow, &found.engine.producer) {
        Ok(clients) => clients,
        Err(problems) => return report.failed(&about, "configuration", &problems.join("; "), "CONFIG", None),
    };
    let settings = hurried(&clients.source);
    let key = settings.bootstrap.join(",");
    let known = asked.get(&key).and_then(|all| all.iter().find(|(config, ..)| *config == settings)).cloned();
    let (source, id) = match known {
        Some((_, source, id)) => {
            match &id {
                Some(id) => report.ok(&about, "source cluster", &format!("{id}, asked above")),
                None => report.failed(&about, "source cluster", "it did not answer, see above", "KAFKA-CONNECT", None),
            }
            (source, id)
        }
        None => {
            let source = Cluster::new(settings.clone());
            let id = cluster(report, &about, "source", &source).await;
            asked.entry(key).or_default().push((settings, source.clone(), id.clone()));
            (source, id)
        }
    };
    let Some(source_id) = id else { return };
    if target.is_some_and(|(_, target_id)| target_id == source_id) {
        let hint = Some("correct source.cluster.bootstrap.servers".to_owned());
        report.failed(&about, "clusters", "source and destination are the same cluster", "SAME-CLUSTER", hint);
        return;
    }
    let Some(topics) = selected(report, &about, &flow, &source).await else { return };
    let source_topics: Vec<_> = topics.iter().map(|topic| (topic.clone(), -1)).collect();
    rights::topics(report, &about, &source, &source_topics, needs::source_topic, false).await;
    let Some((target, _)) = target else { return };
    let remote = |topic: &String| flow.naming.format_remote_topic(&flow.source_alias, topic);
    let mut remotes: Vec<_> = topics.iter().map(|topic| (remote(topic), flow.replication_factor)).collect();
    remotes.sort();
    remotes.dedup();
    rights::topics(report, &about, target, &remotes, needs::remote_topic, true).await;
    rights::transactional_id(report, &about, target, &needs::transactional_id(&found.engine.group, &about)).await;
}

/// The topics that would be copied. A topic that was named and can't be seen is among them.
async fn selected(report: &mut Report<'_>, about: &str, flow: &FlowConfig, source: &Cluster) -> Option<Vec<String>> {
    let all = match source.topics(None).await {
        Ok(all) => all,
        Err(error) => {
            report.error(about, "topics", &error);
            return None;
        }
    };
    let taken = |topic: &str| should_replicate(topic, &flow.topics, flow.heartbeats, &flow.naming, &flow.target_alias);
    let mut topics: Vec<String> =
        all.iter().filter(|topic| taken(&topic.name).unwrap_or(false)).map(|topic| topic.name.clone()).collect();
    let partitions: usize =
        all.iter().filter(|topic| topics.contains(&topic.name)).map(|topic| topic.partitions.len()).sum();
    if topics.is_empty() {
        report.warning(about, "topics", "no topic that we may see matches `topics`: nothing would be copied");
    } else {
        report.ok(about, "topics", &format!("{} topics with {partitions} partitions", topics.len()));
    }
    for named in flow.topics.include.literals().unwrap_or_default() {
        if !topics.iter().any(|topic| topic == named) {
            topics.push(named.to_owned());
        }
    }
    Some(topics)
}
