//! How a plan comes about: one decision per name, then the guards that look at all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Base, ClusterChange, Desired, Guard, Plan, Policy, Prune, Step, Sync, hash_of};
use crate::destination::state::Applied;
use crate::engine::{Live, Observed};
use crate::reconcile::compare::{Comparable, Difference, Op, Origin, Value, differences, origin, runnable, storable};
use crate::spec::{Config, Connector, DriftMode, InvalidFile, Name, diagnostic};

/// With one of these, even the name that an invalid file gives can't be relied on.
const UNREADABLE: [&str; 7] = [
    diagnostic::NOT_UTF8,
    diagnostic::NOT_JSON,
    diagnostic::NOT_OBJECT,
    diagnostic::TOO_LARGE,
    diagnostic::DUPLICATE_KEY,
    diagnostic::NOT_SCALAR,
    diagnostic::BAD_NAME,
];

struct Build<'a> {
    desired: &'a Desired<'a>,
    live: &'a Live,
    base: &'a Base<'a>,
    policy: &'a Policy,
    /// New name to old one.
    renames: BTreeMap<&'a Name, &'a Name>,
    plan: Plan,
}

pub(super) fn plan(desired: &Desired<'_>, live: &Live, base: &Base<'_>, policy: &Policy) -> Plan {
    let mut build = Build { desired, live, base, policy, renames: BTreeMap::new(), plan: Plan::default() };
    build.shield();
    build.find_renames();
    build.end_holds();
    for connector in desired.loaded.connectors.values() {
        build.wanted(connector);
    }
    for (name, applied) in &base.state.applied {
        if !desired.loaded.connectors.contains_key(name) {
            build.orphan(name, applied);
        }
    }
    for name in live.connectors.keys() {
        if !desired.loaded.connectors.contains_key(name) && build.applied(name).is_none() {
            build.plan.unmanaged.insert(name.clone());
        }
    }
    build.limit_deletes();
    build.release();
    let mut plan = build.plan;
    plan.steps.sort_by(Step::order);
    plan.withheld.sort_by(|(a, _), (b, _)| a.order(b));
    let waiting = || plan.withheld.iter().filter(|(_, guard)| guard.confirmable()).map(|(step, _)| step);
    plan.hash = if waiting().next().is_some() { hash_of(waiting()) } else { hash_of(plan.steps.iter()) };
    plan
}

impl<'a> Build<'a> {
    /// What we applied under that name, if it was this instance that did: anything else is not ours (law 6).
    fn applied(&self, name: &Name) -> Option<&'a Applied> {
        let applied = self.base.state.applied.get(name)?;
        let in_scope = self.policy.sources.is_empty() || self.policy.sources.contains(&applied.source);
        (applied.owner == self.policy.owner && in_scope).then_some(applied)
    }

    fn invalid_at(&self, path: &str) -> Option<&'a InvalidFile> {
        self.desired.loaded.invalid.iter().find(|file| file.path == path)
    }

    /// Keeps what invalid files ran: found by the path it was applied from, and by name.
    fn shield(&mut self) {
        for (name, applied) in &self.base.state.applied {
            if !self.desired.loaded.connectors.contains_key(name) && self.invalid_at(&applied.path).is_some() {
                self.plan.shielded.insert(name.clone(), applied.path.clone());
            }
        }
        for file in &self.desired.loaded.invalid {
            if let Some(name) = &file.name
                && !self.desired.loaded.connectors.contains_key(name)
            {
                self.plan.shielded.entry(name.clone()).or_insert_with(|| file.path.clone());
            }
        }
    }

    /// An invalid file that ran nothing we know of, and whose name can't be read: it may be any of the missing ones, moved.
    fn nameless(&self) -> Option<&'a InvalidFile> {
        let ran = |path: &str| self.base.state.applied.values().any(|applied| applied.path == path);
        self.desired.loaded.invalid.iter().find(|file| {
            !ran(&file.path)
                && (file.name.is_none() || file.problems.iter().any(|problem| UNREADABLE.contains(&problem.code)))
        })
    }

    /// Finds new names for what we run: said by the file, or the same content under exactly one new name.
    fn find_renames(&mut self) {
        let wanted = &self.desired.loaded.connectors;
        let candidates: Vec<(&Name, Comparable)> = (self.base.state.applied.keys())
            .filter(|name| !wanted.contains_key(*name) && !self.plan.shielded.contains_key(*name))
            .filter(|name| self.live.connectors.contains_key(*name))
            .filter_map(|name| Some((name, Comparable::stored(&self.applied(name)?.config).without("name"))))
            .collect();
        let new = wanted.values().filter(|connector| {
            !self.live.connectors.contains_key(&connector.name) && self.applied(&connector.name).is_none()
        });
        let mut found: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for connector in new {
            if let Some(from) = &connector.renamed_from {
                // What the file says is not guessed at: with a name that we don't run, it is a new connector.
                if let Some((from, _)) = candidates.iter().find(|(name, _)| *name == from) {
                    found.entry(from).or_default().insert(0, &connector.name);
                }
                continue;
            }
            let content = Comparable::new(&connector.config, self.base.key).without("name");
            let mut same = candidates.iter().filter(|(_, candidate)| *candidate == content);
            if let (Some((from, _)), None) = (same.next(), same.next()) {
                found.entry(from).or_default().push(&connector.name);
            }
        }
        for (from, to) in found {
            // The same content under two new names is a copy, unless one of the files says which it is.
            let said = wanted[to[0]].renamed_from.as_ref() == Some(from);
            if to.len() == 1 || said {
                self.renames.insert(to[0], from);
            }
        }
    }

    fn end_holds(&mut self) {
        for (scope, hold) in &self.base.state.holds {
            if !hold.active(self.policy.now) {
                self.push(Step::RemoveHold { scope: scope.clone() }, None);
            }
        }
    }

    fn wanted(&mut self, connector: &'a Connector) {
        let name = &connector.name;
        let applied = self.applied(name);
        match (self.live.connectors.get(name), applied) {
            (None, None) => match self.renames.get(name).copied() {
                Some(from) => self.rename(connector, from),
                None => self.create(connector, None),
            },
            (None, Some(applied)) => self.create(connector, Some(applied)),
            (Some(observed), None) => self.adopt(connector, observed),
            (Some(observed), Some(applied)) => self.keep(connector, observed, applied),
        }
    }

    fn create(&mut self, connector: &Connector, applied: Option<&Applied>) {
        let desired = Comparable::new(&connector.config, self.base.key);
        let removed_live = applied
            .is_some_and(|a| a.state == connector.state && Comparable::stored(&a.config) == desired)
            && self.drift(connector) != DriftMode::Correct;
        let step = Step::Create {
            name: connector.name.clone(),
            config: runnable(&connector.config),
            state: connector.state,
            again: applied.is_some(),
        };
        // Also with `off`: what doesn't run at all can't pass for in sync (law 4).
        self.push(step, removed_live.then_some(Guard::DriftReported));
    }

    fn rename(&mut self, connector: &Connector, from: &Name) {
        let desired = Comparable::new(&connector.config, self.base.key).without("name");
        let base = self.applied(from).map(|applied| Comparable::stored(&applied.config).without("name"));
        let live = &self.live.connectors[from].config;
        let live = Comparable::live(live, base.as_ref(), self.base.key).without("name");
        let step = Step::Rename {
            from: from.clone(),
            to: connector.name.clone(),
            config: runnable(&connector.config),
            state: connector.state,
            changes: differences(&desired, &live, base.as_ref()),
        };
        let held = self.held(from);
        self.push(step, held);
    }

    fn adopt(&mut self, connector: &Connector, observed: &Observed) {
        let desired = Comparable::new(&connector.config, self.base.key);
        let changes = differences(&desired, &Comparable::new(&observed.config, self.base.key), None);
        self.plan.differences.insert(connector.name.clone(), changes.clone());
        let step = Step::Adopt {
            name: connector.name.clone(),
            config: runnable(&connector.config),
            from: observed.state,
            to: connector.state,
            changes,
        };
        self.push(step, None);
    }

    /// A connector that Git wants, that runs, and that we applied: the three-way comparison.
    fn keep(&mut self, connector: &Connector, observed: &Observed, applied: &Applied) {
        let name = &connector.name;
        let desired = Comparable::new(&connector.config, self.base.key);
        let base = Comparable::stored(&applied.config);
        let live = Comparable::live(&observed.config, Some(&base), self.base.key);
        let found = differences(&desired, &live, Some(&base));
        let state = (connector.state != observed.state).then(|| origin(connector.state, observed.state, applied.state));
        let mut shown = found.clone();
        shown.extend(state.map(|origin| state_difference(connector, observed, applied, origin)));
        if shown.is_empty() {
            self.plan.unchanged.insert(name.clone());
        } else {
            self.plan.differences.insert(name.clone(), shown);
        }
        let claimed = self.invalid_at(&applied.path).filter(|file| file.path != connector.path);
        let claimed = claimed.map(|file| Guard::ClaimedByInvalidFile { path: file.path.clone() });

        let accepted = |side: &str| found.iter().any(|d| d.key == bootstrap(side) && d.origin != Origin::Live);
        let mut clusters = other_clusters(applied, observed);
        // With another address Git names another cluster itself.
        clusters.retain(|change| !accepted(change.side));
        if !clusters.is_empty() {
            let step = Step::AcceptCluster { name: name.clone(), changes: clusters.clone() };
            self.push(step, Some(Guard::OtherCluster { changes: clusters }));
        }

        let (drifted, changed): (Vec<_>, Vec<_>) = found.into_iter().partition(|d| d.origin == Origin::Live);
        let from_git = !changed.is_empty() || state.is_some_and(|origin| origin != Origin::Live);
        let update = |config: Config, changes: Vec<Difference>| Step::Update { name: name.clone(), config, changes };
        let wanted = runnable(&connector.config);
        match self.drift(connector) {
            DriftMode::Correct => {
                let mut all: Vec<_> = changed.into_iter().chain(drifted).collect();
                all.sort_by(|a, b| a.key.cmp(&b.key));
                if !all.is_empty() {
                    self.push(update(wanted, all), claimed.clone());
                }
            }
            mode => {
                if !changed.is_empty() {
                    let merged = keep_live(wanted.clone(), observed, &drifted);
                    self.push(update(merged, changed), claimed.clone());
                }
                if mode == DriftMode::Report && !drifted.is_empty() {
                    self.push(update(wanted, drifted), Some(Guard::DriftReported));
                }
            }
        }
        // An update brings the secrets with it; before, without, or where it is withheld, what was applied goes on.
        let updated = self.plan.steps.iter().any(|step| matches!(step, Step::Update { name: n, .. } if n == name));
        if !updated
            && let Some(config) = supplied(connector, observed, &desired, &base)
            && self.policy.standby.is_none()
        {
            // Also under a hold, and with `sync = manual`: nothing changes by it.
            self.plan.steps.push(Step::Supply { name: name.clone(), config });
        }
        if let Some(origin) = state {
            let step = Step::SetState { name: name.clone(), from: observed.state, to: connector.state, origin };
            match (origin, self.drift(connector)) {
                (Origin::Live, DriftMode::Report) => self.push(step, Some(Guard::DriftReported)),
                (Origin::Live, DriftMode::Off) => {}
                _ => self.push(step, claimed),
            }
        }
        if !from_git && self.outdated(connector, observed, applied) {
            self.push(Step::Record { name: name.clone() }, None);
        }
    }

    /// Whether the record of what we applied says less than we know.
    fn outdated(&self, connector: &Connector, observed: &Observed, applied: &Applied) -> bool {
        let learnt = |known: &Option<String>, seen: Option<&String>| known.is_none() && seen.is_some();
        let flow = observed.flow.as_ref();
        storable(&connector.config, self.base.key) != applied.config
            || connector.state != applied.state
            || connector.path != applied.path
            || connector.source != applied.source
            || learnt(&applied.source_cluster_id, flow.and_then(|flow| flow.source_cluster_id.as_ref()))
            || learnt(&applied.target_cluster_id, flow.and_then(|flow| flow.target_cluster_id.as_ref()))
    }

    /// Something we applied that no valid file names.
    fn orphan(&mut self, name: &Name, applied: &Applied) {
        let renamed = self.renames.values().any(|from| *from == name);
        if renamed || self.plan.shielded.contains_key(name) || self.applied(name).is_none() {
            return;
        }
        let loaded = self.desired.loaded;
        let missing = match (loaded.root_present, loaded.scope_present, loaded.files) {
            (false, ..) => Some("the repository has no file under the root"),
            (_, false, _) => Some("the repository has no folder of this environment and destination"),
            (_, _, 0) => Some("the repository has no connector file in this scope"),
            _ => None,
        };
        let mut guard = missing
            .map(|what| Guard::EmptySource { what })
            .or_else(|| self.nameless().map(|file| Guard::ClaimedByInvalidFile { path: file.path.clone() }));
        if !self.live.connectors.contains_key(name) {
            return self.push(Step::Forget { name: name.clone() }, guard);
        }
        guard = guard.or_else(|| match (applied.config.get("mirrorkeeper.prune"), self.policy.prune) {
            (Some("off"), _) | (None, Prune::Off) => Some(Guard::PruneOff),
            (Some("confirm"), _) | (None, Prune::Confirm) => Some(Guard::PruneConfirm),
            _ => None,
        });
        self.push(Step::Delete { name: name.clone() }, guard);
    }

    fn drift(&self, connector: &Connector) -> DriftMode {
        connector.drift.unwrap_or(self.policy.drift)
    }

    fn held(&self, name: &Name) -> Option<Guard> {
        self.base.state.hold_on(name, self.policy.now).map(|(scope, hold)| Guard::Held {
            scope,
            by: hold.by.clone(),
            reason: hold.reason.clone(),
            until: hold.until,
        })
    }

    /// Takes a step into the plan, behind the strongest guard that applies to it.
    fn push(&mut self, step: Step, guard: Option<Guard>) {
        let standby = self.policy.standby.clone().map(|why| Guard::Standby { why });
        let held = step.name().and_then(|name| self.held(name));
        let from = if let Step::Rename { from, .. } = &step { Some(from) } else { None };
        let unreadable = step.name().into_iter().chain(from).find_map(|name| self.live.unreadable.get(name));
        let guard = guard.or_else(|| unreadable.map(|why| Guard::Unreadable { why: why.clone() }));
        let manual = (self.policy.sync == Sync::Manual && !step.bookkeeping()).then_some(Guard::Manual);
        match standby.or(held).or(guard).or(manual) {
            Some(guard) => self.plan.withheld.push((step, guard)),
            None => self.plan.steps.push(step),
        }
    }

    /// Withholds all deletions when they are too many; which of them were meant can't be told.
    fn limit_deletes(&mut self) {
        let confirmed = |step: &Step| self.policy.confirmed.contains(&step.digest());
        let counts = |step: &Step| matches!(step, Step::Delete { .. }) && !confirmed(step);
        let waiting = self.plan.withheld.iter().filter(|(step, guard)| counts(step) && guard.confirmable()).count();
        let deletes = self.plan.steps.iter().filter(|step| counts(step)).count() + waiting;
        // Old and new ones together: so the limit is the same before and after the rest of the plan was applied, and what
        // was withheld is not let go by what was added.
        let ours = self.live.connectors.keys().filter(|name| self.applied(name).is_some());
        let managed: BTreeSet<&Name> = ours.chain(self.desired.loaded.connectors.keys()).collect();
        let allowed = self.policy.max_deletes.allowed(managed.len());
        if deletes <= allowed {
            return;
        }
        let guard = Guard::MaxDeletes { deletes, allowed };
        let (held, free): (Vec<_>, Vec<_>) = std::mem::take(&mut self.plan.steps).into_iter().partition(counts);
        self.plan.steps = free;
        for (step, current) in &mut self.plan.withheld {
            if counts(step) && current.confirmable() {
                *current = guard.clone();
            }
        }
        self.plan.withheld.extend(held.into_iter().map(|step| (step, guard.clone())));
    }

    /// Lets go what somebody confirmed or, where nothing but `sync = manual` is in the way, approved.
    fn release(&mut self) {
        let policy = self.policy;
        let (free, held): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.plan.withheld).into_iter().partition(|(step, guard)| {
                guard.confirmable() && policy.confirmed.contains(&step.digest())
                    || *guard == Guard::Manual && policy.approved.contains(&step.digest())
            });
        self.plan.withheld = held;
        self.plan.steps.extend(free.into_iter().map(|(step, _)| step));
    }
}

/// What a connector has run, with the secrets that were left out of the config topic; `None` where none was, or where Git
/// has others by now.
fn supplied(connector: &Connector, observed: &Observed, desired: &Comparable, base: &Comparable) -> Option<Config> {
    let mut config = observed.config.clone();
    for key in observed.config.omitted() {
        let secret = connector.config.get(key).filter(|_| desired.get(key) == base.get(key))?;
        config.insert(key, secret);
    }
    (config != observed.config).then_some(config)
}

/// The key whose change says that another cluster is meant.
pub(in crate::reconcile) fn bootstrap(side: &str) -> String {
    format!("{side}.cluster.bootstrap.servers")
}

/// Clusters that answer the flow and are not those that it has copied from and to.
fn other_clusters(applied: &Applied, observed: &Observed) -> Vec<ClusterChange> {
    let Some(flow) = &observed.flow else { return vec![] };
    let sides = [
        ("source", &applied.source_cluster_id, &flow.source_cluster_id),
        ("target", &applied.target_cluster_id, &flow.target_cluster_id),
    ];
    sides
        .into_iter()
        .filter_map(|(side, was, is)| Some((side, was.clone()?, is.clone()?)))
        .filter(|(_, was, is)| was != is)
        .map(|(side, was, is)| ClusterChange { side, was, is })
        .collect()
}

/// Git's configuration with the live side's own changes kept.
fn keep_live(mut config: Config, observed: &Observed, drifted: &[Difference]) -> Config {
    let keys: BTreeSet<&str> = drifted.iter().map(|difference| difference.key.as_str()).collect();
    for key in keys {
        match observed.config.get(key) {
            Some(value) => config.insert(key, value),
            None => config.remove(key),
        };
    }
    config
}

fn state_difference(connector: &Connector, observed: &Observed, applied: &Applied, origin: Origin) -> Difference {
    Difference {
        key: "state".to_owned(),
        op: Op::Change,
        desired: Some(Value::plain(connector.state.as_str())),
        live: Some(Value::plain(observed.state.as_str())),
        base: Some(Value::plain(applied.state.as_str())),
        origin,
        effect: "none".to_owned(),
        redacted: false,
    }
}
