//! A world for tests: Git, a live side and a state, small enough to write down and to generate.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::*;
use crate::destination::state::{Applied, Record};
use crate::engine::{Live, Observed};
use crate::reconcile::books::{Author, records};
use crate::reconcile::compare::storable;
use crate::spec::{Connector, InvalidFile, Severity, diagnostic};

pub(crate) const OWNER: &str = "staging/stg-ue2";

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) git: Loaded,
    pub(crate) revision: String,
    pub(crate) live: Live,
    pub(crate) state: State,
    pub(crate) key: FingerprintKey,
    pub(crate) policy: Policy,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(crate) fn path_of(name: &str) -> String {
    format!("connectors/staging/stg-ue2/cfn/{name}.json")
}

pub(crate) fn connector(name: &str, pairs: &[(&str, &str)]) -> Connector {
    let mut config: Config = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    config.insert("name", name);
    let word = |key: &str| config.get(key).map(str::to_owned);
    Connector {
        name: super::model::name(name),
        state: match word("mirrorkeeper.state").as_deref() {
            Some("paused") => TargetState::Paused,
            Some("stopped") => TargetState::Stopped,
            _ => TargetState::Running,
        },
        path: path_of(name),
        source: "cfn".into(),
        blob: format!("blob-{name}"),
        drift: word("mirrorkeeper.drift").map(|mode| match mode.as_str() {
            "report" => DriftMode::Report,
            "off" => DriftMode::Off,
            _ => DriftMode::Correct,
        }),
        prune: None,
        renamed_from: word("mirrorkeeper.renamed.from").map(|from| from.parse().unwrap()),
        warnings: vec![],
        config,
    }
}

pub(crate) fn invalid(path: &str, name: Option<&str>, code: &'static str) -> InvalidFile {
    InvalidFile {
        path: path.into(),
        name: name.map(super::model::name),
        problems: vec![diagnostic::Diagnostic::new(code, Severity::Error, path, "broken").hint("mend it").at((12, 5))],
    }
}

pub(crate) fn world() -> World {
    World {
        git: Loaded { files: 0, root_present: true, scope_present: true, ..Loaded::default() },
        revision: "r1".into(),
        live: Live::default(),
        state: State::default(),
        key: FingerprintKey::from([1; 32]),
        policy: Policy {
            drift: DriftMode::Correct,
            sync: Sync::Auto,
            prune: Prune::Auto,
            max_deletes: MaxDeletes::default(),
            owner: OWNER.into(),
            sources: vec![],
            standby: None,
            approved: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            now: at(1_000),
        },
    }
}

impl World {
    /// Commits files that say just this.
    pub(crate) fn commit(mut self, connectors: impl IntoIterator<Item = Connector>) -> Self {
        self.git.connectors = connectors.into_iter().map(|c| (c.name.clone(), c)).collect();
        self.git.invalid.clear();
        self.git.files = self.git.connectors.len();
        self.revision.push('+');
        self
    }

    /// Breaks a file in place of what it said.
    pub(crate) fn break_file(mut self, file: InvalidFile) -> Self {
        self.git.connectors.retain(|_, connector| connector.path != file.path);
        self.git.invalid.push(file);
        self.git.files = self.git.connectors.len() + self.git.invalid.len();
        self
    }

    /// Somebody changes a live property.
    pub(crate) fn edit(mut self, connector: &str, key: &str, value: &str) -> Self {
        self.live.connectors.get_mut(connector).unwrap().config.insert(key, value);
        self
    }

    /// Somebody makes a connector beside Git.
    pub(crate) fn make(mut self, connector: &Connector) -> Self {
        let observed =
            Observed { config: connector.config.clone(), state: TargetState::Running, adopted: false, flow: None };
        self.live.connectors.insert(connector.name.clone(), observed);
        self
    }

    pub(crate) fn note(&mut self, connector: &Connector, owner: &str) {
        let applied = Applied {
            config: storable(&connector.config, &self.key),
            state: connector.state,
            revision: "r0".into(),
            path: connector.path.clone(),
            source: connector.source.clone(),
            blob: connector.blob.clone(),
            at: at(1),
            owner: owner.into(),
            source_cluster_id: None,
            target_cluster_id: None,
            config_hash: connector.config.fingerprint(self.key.bytes()),
        };
        self.state.applied.insert(connector.name.clone(), applied);
    }

    pub(crate) fn plan(&self) -> Plan {
        let desired = Desired { loaded: &self.git, revision: &self.revision };
        Plan::new(&desired, &self.live, &Base { state: &self.state, key: &self.key }, &self.policy)
    }

    /// Plans once and takes the steps whose number `fails` doesn't name.
    pub(crate) fn apply_except(mut self, fails: impl Fn(usize) -> bool) -> Self {
        let (plan, seen) = (self.plan(), self.live.clone());
        for (number, step) in plan.steps.iter().enumerate() {
            if !fails(number) {
                self.take(step, &seen);
            }
        }
        self
    }

    pub(crate) fn apply(self) -> Self {
        self.apply_except(|_| false)
    }

    /// What the loop does with a step, on a live side that never fails.
    fn take(&mut self, step: &Step, seen: &Live) {
        let running =
            |config: &Config, state: TargetState| Observed { config: config.clone(), state, adopted: true, flow: None };
        let connectors = &mut self.live.connectors;
        match step {
            Step::Create { name, config, state, .. } | Step::Adopt { name, config, to: state, .. } => {
                connectors.insert(name.clone(), running(config, *state));
            }
            Step::Rename { from, to, config, state, .. } => {
                connectors.remove(from);
                connectors.insert(to.clone(), running(config, *state));
            }
            Step::Update { name, config, .. } | Step::Supply { name, config } => {
                connectors.get_mut(name).unwrap().config = config.clone()
            }
            Step::SetState { name, to, .. } => connectors.get_mut(name).unwrap().state = *to,
            Step::Delete { name } => {
                connectors.remove(name);
            }
            Step::AcceptCluster { .. } | Step::RemoveHold { .. } | Step::Forget { .. } | Step::Record { .. } => {}
        }
        let desired = Desired { loaded: &self.git, revision: &self.revision };
        let base = Base { state: &self.state, key: &self.key };
        let author = Author { owner: OWNER, now: self.policy.now };
        let written: Vec<Record> = records(step, &desired, seen, &base, author);
        for record in written {
            self.state.put(record);
        }
    }
}
