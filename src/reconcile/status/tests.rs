use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::destination::state::HoldScope;
use crate::engine::Observed;
use crate::reconcile::plan::model::*;
use crate::reconcile::plan::{Base, MaxDeletes};
use crate::spec::{TargetState, diagnostic};

const SCHEMA: &str = include_str!("../../../schema/status.schema.json");

/// What a test says beside the world.
#[derive(Debug, Clone, Default)]
struct Scene {
    source: Source,
    retries: BTreeMap<Name, Retry>,
    problems: Vec<Problem>,
    no_snapshot: bool,
    blind: bool,
}

fn problem(code: &str) -> Problem {
    Problem { code: code.into(), message: format!("{code} happened"), hint: None, since: at(1) }
}

fn flow(health: Health) -> FlowReport {
    serde_json::from_value(serde_json::json!({
        "health": health, "problems": [], "lagRecords": 7, "oldestUncopiedMs": 900, "bytesPerSecond": 5,
        "recordsTotal": 0, "bytesTotal": 0, "path": "batch", "shapes": {}, "mode": "idempotent", "throttledMs": 0,
        "tasks": [], "partitions": [], "started": "2025-01-01T00:00:00Z", "retries": 0, "lostRecords": 0
    }))
    .unwrap()
}

fn status(world: &World, scene: &Scene) -> Status {
    let desired = (!scene.no_snapshot).then_some(Desired { loaded: &world.git, revision: &world.revision });
    let live = (!scene.blind).then_some(&world.live);
    let base = Base { state: &world.state, key: &world.key };
    let plan = desired.zip(live).map(|(desired, live)| Plan::new(&desired, live, &base, &world.policy));
    let instance = Instance {
        environment: "staging".into(),
        destination: "stg-ue2".into(),
        sources: vec![],
        version: "1".into(),
        started_at: at(0),
    };
    let rules = Rules {
        sync: world.policy.sync,
        drift: world.policy.drift,
        prune: world.policy.prune,
        max_deletes: MaxDeletes::default(),
    };
    derive(&View {
        instance: &instance,
        owner: OWNER,
        now: world.policy.now,
        source: &scene.source,
        rules: &rules,
        desired,
        live,
        state: Some(&world.state),
        plan: plan.as_ref(),
        retries: &scene.retries,
        estimates: &BTreeMap::new(),
        problems: &scene.problems,
        standby: None,
        pass: &Pass::default(),
    })
}

/// One connector, applied and running with this health.
fn running(health: Health) -> World {
    let mut world = world().commit([connector("a", &[("topics", "x")])]).apply();
    world.live.connectors.get_mut("a").unwrap().flow = Some(flow(health));
    world
}

fn words(world: &World, scene: &Scene) -> (Word, Word, SyncWord) {
    let status = status(world, scene);
    (status.state, status.items[0].summary, status.items[0].sync)
}

#[test]
fn every_health_word_of_a_flow_reaches_the_summary() {
    for (health, word) in [
        (Health::Healthy, Word::InSync),
        (Health::Starting, Word::Starting),
        (Health::Standby, Word::Standby),
        (Health::Degraded, Word::Degraded),
        (Health::Unknown, Word::Unknown),
        (Health::Stalled, Word::Stalled),
        (Health::Failed, Word::Failed),
        (Health::Paused, Word::Degraded),
    ] {
        assert_eq!(words(&running(health), &Scene::default()), (word, word, SyncWord::InSync), "{health:?}");
    }
}

#[test]
fn paused_is_fine_only_where_git_says_so() {
    let world = world().commit([connector("a", &[("mirrorkeeper.state", "paused")])]).apply();
    assert_eq!(words(&world, &Scene::default()), (Word::Paused, Word::Paused, SyncWord::InSync));
    let mut by_hand = running(Health::Paused);
    by_hand.live.connectors.get_mut("a").unwrap().state = TargetState::Paused;
    assert_eq!(words(&by_hand, &Scene::default()).2, SyncWord::Drifted);
    by_hand.policy.drift = DriftMode::Off;
    assert_eq!(words(&by_hand, &Scene::default()), (Word::Degraded, Word::Degraded, SyncWord::InSync));
}

#[test]
fn every_sync_word_can_be_made_to_happen() {
    let healthy = || running(Health::Healthy);
    assert_eq!(words(&healthy(), &Scene::default()).2, SyncWord::InSync);
    let pending = healthy().commit([connector("a", &[("topics", "y")])]);
    assert_eq!(words(&pending, &Scene::default()), (Word::Pending, Word::Pending, SyncWord::Pending));
    let drifted = healthy().edit("a", "topics", "z");
    assert_eq!(words(&drifted, &Scene::default()), (Word::Drifted, Word::Drifted, SyncWord::Drifted));
    let invalid = healthy().break_file(invalid(&path_of("a"), Some("a"), diagnostic::BAD_VALUE));
    assert_eq!(words(&invalid, &Scene::default()), (Word::Invalid, Word::Invalid, SyncWord::Invalid));
    let mut held = healthy();
    let hold = Hold { reason: "r".into(), by: "b".into(), since: at(0), until: None };
    held.state.holds.insert(HoldScope::Connector(name("a")), hold);
    assert_eq!(words(&held, &Scene::default()), (Word::Held, Word::Held, SyncWord::Held));
    let blocked = healthy().commit([]);
    assert_eq!(words(&blocked, &Scene::default()), (Word::Blocked, Word::Blocked, SyncWord::Blocked));
}

#[test]
fn what_the_engine_refuses_as_invalid_is_invalid_and_keeps_its_reason() {
    let world = running(Health::Healthy).commit([connector("a", &[("topics", "y")])]);
    let retry = Retry { attempts: 3, next: at(2_000), problem: problem("ENGINE-INVALID") };
    let scene = Scene { retries: BTreeMap::from([(name("a"), retry)]), ..Scene::default() };
    let status = status(&world, &scene);
    assert_eq!((status.items[0].sync, status.items[0].retries), (SyncWord::Invalid, 3));
    assert_eq!(status.items[0].next_attempt, Some(at(2_000)));
    assert_eq!(status.items[0].problems[0].code, "ENGINE-INVALID");
}

#[test]
fn a_file_that_never_ran_is_an_item_too() {
    let world = world().break_file(invalid(&path_of("new"), Some("new"), diagnostic::UNSUPPORTED));
    let status = status(&world, &Scene::default());
    let item = &status.items[0];
    assert_eq!(
        (item.sync, item.health, item.file.as_deref()),
        (SyncWord::Invalid, Health::Unknown, Some(&*path_of("new")))
    );
    assert!(status.files[0].unsupported && status.files[0].running_last_good.is_none());
    assert_eq!((status.files[0].problems[0].line, status.files[0].problems[0].column), (12, 5));
}

#[test]
fn a_broken_file_names_the_revision_that_runs() {
    let world = running(Health::Healthy).break_file(invalid(&path_of("a"), None, diagnostic::NOT_JSON));
    let status = status(&world, &Scene::default());
    assert_eq!(status.files[0].running_last_good.as_deref(), Some("r1+"));
    assert_eq!(status.items[0].health, Health::Healthy);
}

#[test]
fn another_cluster_under_the_same_address_shows() {
    let mut world = running(Health::Healthy);
    world.state.applied.get_mut("a").unwrap().target_cluster_id = Some("T1".into());
    world.live.connectors.get_mut("a").unwrap().flow.as_mut().unwrap().target_cluster_id = Some("T2".into());
    let status = status(&world, &Scene::default());
    let item = &status.items[0];
    assert_eq!((item.sync, item.plan.guard, status.state), (SyncWord::Blocked, Some("other-cluster"), Word::Blocked));
    assert!(item.plan.why.contains("was T1 and is T2 now") && status.plan.confirmable, "{}", item.plan.why);
}

#[test]
fn a_report_that_contradicts_itself_is_believed_in_its_worse_half() {
    let mut world = running(Health::Healthy);
    world.live.connectors.get_mut("a").unwrap().flow.as_mut().unwrap().problems.push(problem("SRC-AUTH"));
    let status = status(&world, &Scene::default());
    assert_eq!((status.items[0].health, status.state), (Health::Degraded, Word::Degraded));
}

#[test]
fn nothing_read_and_nothing_there_is_unknown_not_in_sync() {
    let scene = Scene { no_snapshot: true, ..Scene::default() };
    assert_eq!(status(&world(), &scene).state, Word::Unknown);
    let scene = Scene { source: Source { problem: Some(problem("GIT-AUTH")), ..Source::default() }, ..scene };
    assert_eq!(status(&world(), &scene).state, Word::SourceUnreachable);
    assert_eq!(status(&world(), &Scene::default()).state, Word::InSync);
}

#[test]
fn the_hand_made_is_listed_and_is_no_item() {
    let world = running(Health::Healthy).make(&connector("hand", &[]));
    let status = status(&world, &Scene::default());
    assert_eq!((status.items.len(), status.unmanaged[0].name.as_str(), status.counts.unmanaged), (1, "hand", 1));
    assert_eq!(status.state, Word::InSync);
}

#[test]
fn the_message_counts_and_names_the_reason() {
    let mut world = world().commit(["a", "b", "c"].map(|n| connector(n, &[("topics", "x")]))).apply();
    for observed in world.live.connectors.values_mut() {
        observed.flow = Some(flow(Health::Healthy));
    }
    let world = world.edit("b", "topics", "y");
    let world = world.break_file(invalid(&path_of("c"), Some("c"), diagnostic::BAD_VALUE));
    assert_eq!(status(&world, &Scene::default()).message, "3 connectors: 1 in sync, 1 drifted, 1 invalid");
}

#[test]
fn the_committed_schema_is_the_documents() {
    let generated = serde_json::to_string_pretty(&status_schema()).unwrap() + "\n";
    if std::env::var_os("MIRRORKEEPER_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/status.schema.json"), &generated).unwrap();
    }
    assert!(generated == SCHEMA, "stale: run the tests with MIRRORKEEPER_BLESS=1, twice, and commit the file");
}

#[test]
fn documents_obey_the_schema_and_the_schema_refuses_others() {
    let validator = jsonschema::validator_for(&status_schema()).unwrap();
    let mut world = running(Health::Stalled).make(&connector("hand", &[]));
    let hold = Hold { reason: "r".into(), by: "b".into(), since: at(0), until: None };
    world.state.holds.insert(HoldScope::Instance, hold);
    let world = world.edit("a", "topics", "z").break_file(invalid(&path_of("b"), None, diagnostic::NOT_JSON));
    let retry = Retry { attempts: 3, next: at(2_000), problem: problem("ENGINE-FAILED") };
    let full = Scene {
        source: Source { problem: Some(problem("GIT")), ..Source::default() },
        retries: BTreeMap::from([(name("a"), retry)]),
        problems: vec![problem("STATE")],
        ..Scene::default()
    };
    for scene in [Scene::default(), full, Scene { no_snapshot: true, blind: true, ..Scene::default() }] {
        let document = serde_json::to_value(status(&world, &scene)).unwrap();
        let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    let mut wrong = serde_json::to_value(status(&world, &Scene::default())).unwrap();
    wrong["state"] = "Fine".into();
    assert!(!validator.is_valid(&wrong));
}

fn scenes() -> impl Strategy<Value = (World, Scene)> {
    let healths = prop::sample::select(vec![
        None,
        Some(Health::Healthy),
        Some(Health::Healthy),
        Some(Health::Degraded),
        Some(Health::Stalled),
        Some(Health::Failed),
        Some(Health::Paused),
        Some(Health::Unknown),
    ]);
    let states = prop::sample::select(vec![
        TargetState::Running,
        TargetState::Running,
        TargetState::Paused,
        TargetState::Stopped,
    ]);
    let modes = prop::sample::select(vec![DriftMode::Correct, DriftMode::Report, DriftMode::Off]);
    let topics = || prop::option::weighted(0.8, prop::sample::select(vec!["x", "x", "y"]));
    let flags = prop::array::uniform8(prop::bool::weighted(0.2));
    (topics(), topics(), topics(), states, healths, modes, flags).prop_map(
        |(git, live, base, state, health, drift, on)| {
            let mut world = world();
            world.policy.drift = drift;
            if let Some(topics) = git {
                world = world.commit([connector("a", &[("topics", topics)])]);
            }
            if let Some(topics) = base {
                world.note(&connector("a", &[("topics", topics)]), OWNER);
            }
            if let Some(topics) = live {
                let config = connector("a", &[("topics", topics)]).config;
                let mut flow = health.map(flow);
                if let (Some(flow), true) = (&mut flow, on[0]) {
                    flow.problems.push(problem("FLOW"));
                }
                world.live.connectors.insert(name("a"), Observed { config, state, adopted: base.is_some(), flow });
            }
            if on[1] {
                world = world.break_file(invalid(&path_of("a"), Some("a"), diagnostic::NOT_JSON));
            }
            if on[2] {
                let hold = Hold { reason: "r".into(), by: "b".into(), since: at(0), until: None };
                world.state.holds.insert(HoldScope::Instance, hold);
            }
            if on[3] {
                world.policy.standby = Some("another holds the group".into());
            }
            let retry = Retry { attempts: 1, next: at(2_000), problem: problem("ENGINE-FAILED") };
            let scene = Scene {
                source: Source { problem: on[4].then(|| problem("GIT")), ..Source::default() },
                retries: on[5].then(|| (name("a"), retry)).into_iter().collect(),
                problems: if on[6] { vec![problem("STATE")] } else { vec![] },
                no_snapshot: on[7],
                blind: on[6] && on[0],
            };
            (world, scene)
        },
    )
}

proptest! {
    /// Law 4.
    #[test]
    fn what_is_not_as_it_should_be_is_not_called_healthy((world, scene) in scenes()) {
        let status = status(&world, &scene);
        for item in &status.items {
            let fine = matches!(item.summary, Word::InSync | Word::Paused);
            if item.sync != SyncWord::InSync || !item.problems.is_empty() {
                prop_assert!(!fine, "{item:?}");
            }
            if fine {
                prop_assert_eq!(item.state.desired, item.state.live);
                prop_assert!(matches!(item.health, Health::Healthy | Health::Paused));
            }
            prop_assert!(status.state <= item.summary, "the instance is no better than its worst item");
        }
        let whole = status.problems.is_empty() && status.source.problem.is_none() && status.files.is_empty();
        if matches!(status.state, Word::InSync | Word::Paused) {
            prop_assert!(whole && status.plan.steps.is_empty() && status.plan.withheld.is_empty());
            prop_assert!(!scene.no_snapshot && !scene.blind);
        }
        prop_assert_eq!(status.counts.items, status.items.len());
    }
}
