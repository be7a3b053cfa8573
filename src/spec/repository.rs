//! What only shows when files are seen side by side: names twice, topics written by two, mirrors in a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::diagnostic::{CYCLE, DUPLICATE_NAME, Diagnostic, PAIR_DISAGREES, SHARED_TARGET, Severity};
use super::keys::{self, Connectors};
use super::layout;
use super::policy::{self, PolicyKind};
use super::regex::PatternList;
use super::rules::Draft;

/// Settings that the source and the checkpoint connector of a pair must share, or checkpoints translate wrongly.
const SHARED: &[&str] = &[
    "replication.policy.class",
    "replication.policy.separator",
    "replication.policy.internal.topic.separator.enabled",
    "mirrorkeeper.replication.policy",
    "offset-syncs.topic.location",
];

/// Adds what the files of a scope have against each other. `neighbours` are files of other destinations, for cycles.
pub(super) fn check(drafts: &mut [Draft], neighbours: &[Draft]) {
    duplicate_names(drafts);
    shared_targets(drafts);
    pairs(drafts);
    cycles(drafts, neighbours);
}

fn duplicate_names(drafts: &mut [Draft]) {
    for (name, indexes) in layout::by_name(drafts) {
        if indexes.len() < 2 {
            continue;
        }
        let paths: Vec<String> = indexes.iter().map(|i| drafts[*i].path.clone()).collect();
        for index in indexes {
            let own = drafts[index].path.clone();
            let others: Vec<&str> = paths.iter().filter(|path| **path != own).map(String::as_str).collect();
            let message = format!("the name {:?} is given by {} as well", name.as_str(), others.join(", "));
            let found = Diagnostic::new(DUPLICATE_NAME, Severity::Error, &own, message).at(drafts[index].name_at);
            drafts[index].problems.push(found.about("name").hint("names are unique per destination"));
        }
    }
}

/// What a source connector reads and writes, as far as text can tell.
struct Flow {
    servers: Vec<String>,
    alias: String,
    target: String,
    kind: PolicyKind,
    separator: String,
    topics: PatternList,
    exclude: PatternList,
    merge: bool,
    running: bool,
    /// Remote topics that are certain: those of literal names.
    certain: Option<BTreeSet<String>>,
}

impl Flow {
    fn of(draft: &Draft) -> Option<Self> {
        if !draft.is(Connectors::SOURCE) || draft.flag("enabled") == Some(false) {
            return None;
        }
        let patterns = |key: &str| PatternList::parse(draft.value(key).unwrap_or_default()).ok();
        let mut servers: Vec<String> =
            keys::list(draft.config.get("source.cluster.bootstrap.servers")?).into_iter().map(str::to_owned).collect();
        servers.sort();
        let mut flow = Self {
            servers,
            alias: draft.value("source.cluster.alias")?.to_owned(),
            target: draft.value("target.cluster.alias")?.to_owned(),
            kind: policy::kind(&draft.config),
            separator: policy::separator(&draft.config).to_owned(),
            topics: patterns("topics")?,
            exclude: patterns("topics.exclude")?,
            merge: draft.flag("mirrorkeeper.merge") == Some(true),
            running: draft.running(),
            certain: None,
        };
        flow.certain = flow.topics.literals().map(|topics| {
            topics.into_iter().filter(|topic| flow.reads(topic)).map(|topic| flow.remote(topic)).collect()
        });
        Some(flow)
    }

    fn reads(&self, topic: &str) -> bool {
        self.topics.matches(topic).unwrap_or(false) && !self.exclude.matches(topic).unwrap_or(false)
    }

    fn remote(&self, topic: &str) -> String {
        policy::remote_topic(self.kind, &self.separator, &self.alias, topic)
    }

    /// A topic that both would read, as far as literal names or equal lists show.
    fn overlap(&self, other: &Self) -> Option<String> {
        let literal = |a: &Self, b: &Self| {
            a.topics.literals()?.into_iter().find(|topic| a.reads(topic) && b.reads(topic)).map(str::to_owned)
        };
        literal(self, other).or_else(|| literal(other, self)).or_else(|| {
            let same = self.topics == other.topics || [self, other].iter().any(|f| f.topics.items() == [".*"]);
            same.then(|| self.topics.items().join(","))
        })
    }
}

fn shared_targets(drafts: &mut [Draft]) {
    let flows: Vec<Option<Flow>> = drafts.iter().map(Flow::of).collect();
    for (i, j) in candidates(&flows) {
        let (Some(a), Some(b)) = (&flows[i], &flows[j]) else { continue };
        let Some((severity, topic)) = shared(a, b) else { continue };
        for (own, other) in [(i, j), (j, i)] {
            let other = drafts[other].path.clone();
            let message = match severity {
                Severity::Error => format!("the remote topic {topic:?} is written by {other} as well"),
                Severity::Warning => format!("remote topics may be written by {other} as well"),
            };
            let hint = "let one connector write a topic; mirrorkeeper.merge: true in both allows it";
            drafts[own].report(SHARED_TARGET, severity, "topics", message, hint);
        }
    }
}

/// Pairs worth a look: those that name the same remote topic, and all with one that has a real expression. Thousands of
/// connectors with literal topics cost no square.
fn candidates(flows: &[Option<Flow>]) -> BTreeSet<(usize, usize)> {
    let mut by_remote: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut open = Vec::new();
    for (index, flow) in flows.iter().enumerate() {
        match flow {
            Some(Flow { certain: Some(remotes), .. }) => {
                remotes.iter().for_each(|remote| by_remote.entry(remote).or_default().push(index));
            }
            Some(_) => open.push(index),
            None => {}
        }
    }
    let mut pairs = BTreeSet::new();
    for same in by_remote.values() {
        // A neighbour each is enough: every file of the group is named.
        pairs.extend(same.windows(2).map(|pair| (pair[0], pair[1])));
    }
    for open in open {
        pairs.extend((0..flows.len()).filter(|other| *other != open).map(|other| (open.min(other), open.max(other))));
    }
    pairs
}

/// The remote topic that two flows would both write, and how sure that is.
fn shared(a: &Flow, b: &Flow) -> Option<(Severity, String)> {
    if a.merge && b.merge {
        return None;
    }
    // Two that are not both meant to run may be a change-over.
    let worst = if a.running && b.running { Severity::Error } else { Severity::Warning };
    if let (Some(ours), Some(theirs)) = (&a.certain, &b.certain) {
        return ours.intersection(theirs).next().map(|topic| (worst, topic.clone()));
    }
    if a.kind == PolicyKind::CustomAlias && b.kind == PolicyKind::CustomAlias {
        return (a.alias == b.alias).then(|| (worst, a.alias.clone()));
    }
    let topic = a.overlap(b)?;
    let literal = PatternList::parse(&topic).ok()?.literals().is_some();
    if a.remote(&topic) != b.remote(&topic) {
        return None;
    }
    // Different clusters may have different topics behind the same pattern; a literal name is certain.
    let certain = literal || (a.servers == b.servers && a.topics == b.topics && a.exclude == b.exclude);
    Some((if certain { worst } else { Severity::Warning }, a.remote(&topic)))
}

fn pairs(drafts: &mut [Draft]) {
    let pair = |draft: &Draft| {
        Some((draft.value("source.cluster.alias")?.to_owned(), draft.value("target.cluster.alias")?.to_owned()))
    };
    let mut findings = Vec::new();
    for (i, source) in drafts.iter().enumerate().filter(|(_, d)| d.is(Connectors::SOURCE)) {
        for (j, checkpoint) in drafts.iter().enumerate().filter(|(_, d)| d.is(Connectors::CHECKPOINT)) {
            if pair(source).is_none() || pair(source) != pair(checkpoint) {
                continue;
            }
            for key in SHARED {
                if source.value(key) != checkpoint.value(key) {
                    findings.push((i, checkpoint.path.clone(), *key));
                    findings.push((j, source.path.clone(), *key));
                }
            }
        }
    }
    for (index, other, key) in findings {
        let message = format!("must be as in {other}: both connectors of the pair use it");
        drafts[index].report(PAIR_DISAGREES, Severity::Warning, key, message, "");
    }
}

/// Mirrors that keep topic names and feed each other. The default policy stops at its own prefixes; the others can't.
fn cycles(drafts: &mut [Draft], neighbours: &[Draft]) {
    let flows: Vec<(Option<usize>, &str, Flow)> = drafts
        .iter()
        .enumerate()
        .map(|(index, draft)| (Some(index), draft))
        .chain(neighbours.iter().map(|draft| (None, draft)))
        .filter_map(|(index, draft)| Some((index, draft.path.as_str(), Flow::of(draft)?)))
        .filter(|(_, _, flow)| matches!(flow.kind, PolicyKind::Identity | PolicyKind::CustomIdentity) && flow.running)
        .collect();
    let mut from: BTreeMap<&str, Vec<(&str, &Flow)>> = BTreeMap::new();
    for (_, path, flow) in &flows {
        from.entry(&flow.alias).or_default().push((path, flow));
    }
    let mut findings = Vec::new();
    for (index, _, own) in &flows {
        if let (Some(index), Some(way)) = (index, way_back(own, &from)) {
            findings.push((*index, format!("records would come back to {} by way of {}", own.alias, way.join(", "))));
        }
    }
    for (index, message) in findings {
        drafts[index].report(CYCLE, Severity::Warning, "topics", message, "leave the topic out of one of the mirrors");
    }
}

/// The files by which what `own` writes would come back to its source, shortest first. `from`: mirrors by source alias.
fn way_back(own: &Flow, from: &BTreeMap<&str, Vec<(&str, &Flow)>>) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([own.target.as_str()]);
    let mut ways = VecDeque::from([(own.target.as_str(), Vec::<String>::new())]);
    while let Some((at, way)) = ways.pop_front() {
        let next = from.get(at).into_iter().flatten().filter(|(_, flow)| own.overlap(flow).is_some());
        for (path, flow) in next {
            let mut longer = way.clone();
            longer.push((*path).to_owned());
            if flow.target == own.alias {
                return Some(longer);
            }
            if seen.insert(flow.target.as_str()) {
                ways.push_back((flow.target.as_str(), longer));
            }
        }
    }
    None
}
