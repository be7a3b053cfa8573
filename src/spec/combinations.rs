//! Keys that must fit each other: what MirrorMaker's own `validate` refuses, and what this engine can't run.

use super::diagnostic::{CONTRADICTION, MERGED_TOPICS, NO_EFFECT, SAME_CLUSTER, UNSUPPORTED};
use super::keys::{self, Connectors};
use super::policy::PolicyKind;
use super::regex::PatternList;
use super::rules::Draft;
use super::{Name, Severity};

/// Finds everything in one file that needs more than one key to see.
pub(super) fn check(draft: &mut Draft) {
    let Some(connector) = draft.connector else { return };
    source_rules(draft);
    checkpoint_rules(draft);
    let policy = draft.policy();
    merged(draft, policy);
    same_cluster(draft, policy);
    renamed(draft);
    classes(draft);
    transforms(draft);
    if connector != Connectors::SOURCE {
        error(
            draft,
            UNSUPPORTED,
            "connector.class",
            &format!("{} can't be run here yet", connector.class_name()),
            "it goes on in Kafka Connect; MirrorSourceConnector can be run",
        );
    }
}

fn error(draft: &mut Draft, code: &'static str, key: &str, message: &str, hint: &str) {
    draft.report(code, Severity::Error, key, message.to_owned(), hint);
}

/// `MirrorSourceConnector.validate`.
fn source_rules(draft: &mut Draft) {
    if !draft.is(Connectors::SOURCE) {
        return;
    }
    if draft.flag("emit.offset-syncs.enabled") == Some(false) {
        let beside: Vec<String> = draft
            .config
            .iter()
            .map(|(key, _)| key)
            .filter(|k| k.starts_with("offset-syncs"))
            .map(str::to_owned)
            .collect();
        for key in beside {
            let message =
                "MirrorSourceConnector can't setup offset-syncs feature while emit.offset-syncs.enabled set to false";
            error(draft, CONTRADICTION, &key, message, "leave it out, or emit offset syncs");
        }
    }
    if draft.value("exactly.once.support").is_some_and(|v| v.eq_ignore_ascii_case("required")) {
        let isolation = ["source.consumer.isolation.level", "consumer.isolation.level"]
            .iter()
            .find_map(|key| draft.config.get(key))
            .map(str::to_owned);
        if isolation.as_deref().map(str::trim) != Some("read_committed") {
            error(
                draft,
                CONTRADICTION,
                "exactly.once.support",
                "exactly-once support needs isolation.level read_committed",
                "write source.consumer.isolation.level: read_committed",
            );
        }
        error(
            draft,
            UNSUPPORTED,
            "exactly.once.support",
            "transactions can't be required here yet",
            "without it, writes are idempotent and a restart repeats nothing where the target's records can be read back",
        );
    }
    if draft.config.get("offsets.storage.topic").is_some_and(|topic| !topic.trim().is_empty()) {
        error(
            draft,
            UNSUPPORTED,
            "offsets.storage.topic",
            "a connector's own offsets topic can't be used here",
            "leave it out",
        );
    }
    if draft.value("errors.tolerance").is_some_and(|v| v.eq_ignore_ascii_case("all")) {
        let message = "no record is skipped here: a record that the target refuses stops its partition".to_owned();
        draft.report(NO_EFFECT, Severity::Warning, "errors.tolerance", message, "");
    }
}

/// `MirrorCheckpointConnector.validate`; skipped when it isn't enabled.
fn checkpoint_rules(draft: &mut Draft) {
    if !draft.is(Connectors::CHECKPOINT) || draft.flag("enabled") == Some(false) {
        return;
    }
    if draft.flag("emit.checkpoints.enabled") == Some(false) {
        let message = "MirrorCheckpointConnector can't run with emit.checkpoints.enabled set to false";
        error(draft, CONTRADICTION, "emit.checkpoints.enabled", message, "");
    }
    if draft.flag("emit.offset-syncs.enabled") == Some(false) {
        let message = "MirrorCheckpointConnector can't run without offset syncs";
        error(draft, CONTRADICTION, "emit.offset-syncs.enabled", message, "");
    }
}

/// Several source topics in one remote topic, without somebody having said so.
fn merged(draft: &mut Draft, policy: Option<PolicyKind>) {
    if policy != Some(PolicyKind::CustomAlias)
        || !draft.is(Connectors::SOURCE)
        || draft.flag("mirrorkeeper.merge") == Some(true)
    {
        return;
    }
    let topics = draft.value("topics").unwrap_or(".*").to_owned();
    if !keys::references(&topics).is_empty() {
        return;
    }
    let single = PatternList::parse(&topics).ok().is_some_and(|list| list.literals().is_some_and(|l| l.len() <= 1));
    if !single {
        error(
            draft,
            MERGED_TOPICS,
            "topics",
            "every topic that matches would be written into one remote topic, called like the source's alias",
            "name one topic, or write mirrorkeeper.merge: true",
        );
    }
}

/// Both sides have the same address: seen here by the text, by cluster id once connected.
fn same_cluster(draft: &mut Draft, policy: Option<PolicyKind>) {
    let servers = |draft: &Draft, key: &str| {
        let mut all: Vec<String> =
            keys::list(draft.config.get(key).unwrap_or_default()).into_iter().map(str::to_ascii_lowercase).collect();
        all.sort();
        all.dedup();
        all
    };
    let source = servers(draft, "source.cluster.bootstrap.servers");
    if source.is_empty() || source != servers(draft, "target.cluster.bootstrap.servers") {
        return;
    }
    let severity = match policy {
        Some(PolicyKind::Default) | None => Severity::Warning,
        Some(_) => Severity::Error,
    };
    let message = "source and target are the same cluster".to_owned();
    draft.report(SAME_CLUSTER, severity, "target.cluster.bootstrap.servers", message, "");
}

fn renamed(draft: &mut Draft) {
    let key = "mirrorkeeper.renamed.from";
    let Some(old) = draft.config.get(key).map(str::to_owned) else { return };
    match old.parse::<Name>() {
        Err(problem) => error(draft, super::diagnostic::BAD_NAME, key, &problem.to_string(), ""),
        Ok(old) if draft.name.as_ref() == Some(&old) => {
            error(draft, CONTRADICTION, key, "a connector can't be renamed from its own name", "leave it out");
        }
        Ok(_) => {}
    }
}

/// Java classes that would have to be run.
fn classes(draft: &mut Draft) {
    for key in ["topic.filter.class", "config.property.filter.class", "group.filter.class", "forwarding.admin.class"] {
        let ours = keys::default(key).unwrap_or_default();
        let known = keys::key(key).is_some_and(|row| draft.connector.is_some_and(|c| row.connectors.contains(c)));
        let Some(class) = draft.config.get(key).map(|class| class.trim().to_owned()) else { continue };
        if known && !class.is_empty() && class != ours {
            let message = format!("the Java class {class:?} can't be run here");
            error(draft, UNSUPPORTED, key, &message, &format!("only {ours} can"));
        }
    }
}

fn transforms(draft: &mut Draft) {
    for key in ["transforms", "predicates"] {
        if draft.config.get(key).is_some_and(|value| !keys::list(value).is_empty()) {
            error(
                draft,
                UNSUPPORTED,
                key,
                "single message transforms can't be run here",
                "leave them to the consumers",
            );
        }
    }
}
