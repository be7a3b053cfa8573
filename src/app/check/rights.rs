//! Asks a cluster for the permissions in a list of needs, and tells what is missing.

use super::Report;
use super::needs::{self, Need, Resource};
use crate::kafka::admin::rights::{
    Operation, Operations, cluster_operations, could_create, group_operations, may_use_transactional_id,
    topic_operations,
};
use crate::kafka::{Cluster, Error, ErrorCode};

/// Topics asked about in one request.
const AT_ONCE: usize = 500;

/// Topics that exist, or would be created with a replication factor; `needs` says what is needed of one.
pub(super) async fn topics(
    report: &mut Report<'_>,
    about: &str,
    cluster: &Cluster,
    topics: &[(String, i16)],
    needed: fn(&str) -> Vec<Need>,
    created: bool,
) {
    let names: Vec<String> = topics.iter().map(|(name, _)| name.clone()).collect();
    let (mut fine, mut missing, mut silent) = (0, Vec::new(), 0);
    for names in names.chunks(AT_ONCE) {
        let answers = match topic_operations(cluster, names).await {
            Ok(answers) => answers,
            Err(error) => return report.error(about, "permissions", &error),
        };
        for (name, answer) in answers {
            match answer {
                Ok(Some(operations)) => fine += usize::from(complete(report, about, &needed(&name), operations)),
                Ok(None) => silent += 1,
                Err(error) if error.broker_code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => missing.push(name),
                Err(error) if error.denied() => {
                    for need in needed(&name).iter().filter(|need| need.operation == Operation::Describe) {
                        absent(report, about, need);
                    }
                }
                Err(error) => report.error(about, "topic", &error),
            }
        }
    }
    if silent > 0 {
        let detail = format!("the brokers are too old to tell what is permitted on {silent} topics");
        report.unknown(about, "permissions", &detail);
    }
    if fine > 0 {
        report.ok(about, "permissions", &format!("everything needed on {fine} topics"));
    }
    match created {
        true => creations(report, about, cluster, topics, &missing).await,
        false => {
            for name in missing {
                let hint = "create it, correct `topics`, or permit DESCRIBE on it".to_owned();
                report.failed(
                    about,
                    "topic",
                    &format!("{name} is not there, or may not be seen"),
                    "NO-TOPIC",
                    Some(hint),
                );
            }
        }
    }
}

async fn creations(
    report: &mut Report<'_>,
    about: &str,
    cluster: &Cluster,
    topics: &[(String, i16)],
    missing: &[String],
) {
    let wanted: Vec<_> = topics.iter().filter(|(name, _)| missing.contains(name)).cloned().collect();
    let answers = match could_create(cluster, &wanted).await {
        Ok(answers) => answers,
        Err(error) => return report.error(about, "creating topics", &error),
    };
    let mut fine = 0;
    for (name, answer) in answers {
        match answer {
            Ok(()) => fine += 1,
            Err(error) if error.denied() => {
                let hint = format!("permit CREATE on topic {name} (or on the cluster)");
                let detail = format!("CREATE on topic {name} is missing: creating it");
                report.failed(about, "permissions", &detail, "KAFKA-ACL", Some(hint));
            }
            Err(error) => report.error(about, "creating topics", &error),
        }
    }
    if fine > 0 {
        report.ok(about, "creating topics", &format!("{fine} topics are missing and can be created"));
    }
}

/// The worker's group.
pub(super) async fn group(report: &mut Report<'_>, about: &str, cluster: &Cluster, group: &str) {
    match group_operations(cluster, group).await {
        Ok(Some(operations)) => {
            if complete(report, about, &needs::own_group(group), operations) {
                report.ok(about, "permissions", &format!("everything needed on group {group}"));
            }
        }
        Ok(None) => {
            report.unknown(about, "permissions", &format!("the brokers are too old to tell about group {group}"))
        }
        Err(error) if error.denied() => {
            for need in needs::own_group(group) {
                absent(report, about, &need);
            }
        }
        Err(error) => report.error(about, "group", &error),
    }
}

/// The transactional id of a flow; without it an older self is not fenced, which status then says.
pub(super) async fn transactional_id(report: &mut Report<'_>, about: &str, cluster: &Cluster, id: &str) {
    match may_use_transactional_id(cluster, id).await {
        Ok(()) => report.ok(about, "permissions", &format!("an older self can be fenced by transactional id {id}")),
        Err(error) if denied(&error) => {
            let need = Need {
                resource: Resource::TransactionalId(id.to_owned()),
                operation: Operation::Write,
                purpose: "fencing an older self",
                optional: true,
            };
            absent(report, about, &need);
            idempotence(report, about, cluster).await;
        }
        Err(error) => report.error(about, "transactional id", &error),
    }
}

/// Without a transactional id, an identity of our own needs IDEMPOTENT_WRITE, or WRITE on some topic (KIP-679, from 2.8).
async fn idempotence(report: &mut Report<'_>, about: &str, cluster: &Cluster) {
    match cluster_operations(cluster).await {
        Ok(Some(operations)) if operations.contains(Operation::IdempotentWrite) => {}
        Ok(_) => report.unknown(
            about,
            "permissions",
            "IDEMPOTENT_WRITE on the cluster is missing: brokers before 2.8 then take one batch at a time only",
        ),
        Err(error) => report.error(about, "permissions", &error),
    }
}

fn denied(error: &Error) -> bool {
    error.denied()
}

/// Whether all that is needed is permitted; what is missing is told.
fn complete(report: &mut Report<'_>, about: &str, needs: &[Need], operations: Operations) -> bool {
    let missing: Vec<_> = needs.iter().filter(|need| !operations.contains(need.operation)).collect();
    for need in &missing {
        absent(report, about, need);
    }
    missing.is_empty()
}

fn absent(report: &mut Report<'_>, about: &str, need: &Need) {
    let (operation, resource, purpose) = (need.operation.name(), &need.resource, need.purpose);
    let detail = format!("{operation} on {resource} is missing: {purpose}");
    if need.optional {
        report.warning(about, "permissions", &detail);
    } else {
        report.failed(about, "permissions", &detail, "KAFKA-ACL", Some(format!("permit {operation} on {resource}")));
    }
}
