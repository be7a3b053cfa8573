//! The laws of planning, over generated worlds.

use proptest::prelude::*;

use super::model::*;
use super::*;
use crate::destination::state::{Hold, HoldScope};
use crate::engine::Observed;
use crate::reconcile::compare::Comparable;
use crate::spec::{Connector, diagnostic};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Where one name stands on the three sides.
#[derive(Debug, Clone)]
struct Fate {
    git: Option<Vec<(&'static str, &'static str)>>,
    broken: bool,
    live: Option<(Vec<(&'static str, &'static str)>, TargetState)>,
    applied: Option<Vec<(&'static str, &'static str)>>,
    foreign: bool,
    held: bool,
}

fn properties() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let key = |key: &'static str, values: &'static [&'static str]| {
        prop::option::weighted(0.6, prop::sample::select(values)).prop_map(move |value| value.map(|v| (key, v)))
    };
    (
        key("topics", &["x", "y", "x, y"]),
        key("tasks.max", &["3", " 3 ", "4"]),
        key("source.cluster.sasl.jaas.config", &["canary-1", "canary-2"]),
        key("mirrorkeeper.state", &["running", "paused", "stopped"]),
        key("mirrorkeeper.drift", &["correct", "report", "off"]),
        key("mirrorkeeper.prune", &["auto", "off"]),
    )
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].into_iter().flatten().collect())
}

fn state() -> impl Strategy<Value = TargetState> {
    prop::sample::select(vec![TargetState::Running, TargetState::Running, TargetState::Paused, TargetState::Stopped])
}

fn fate() -> impl Strategy<Value = Fate> {
    (
        prop::option::weighted(0.7, properties()),
        prop::bool::weighted(0.15),
        prop::option::weighted(0.7, (properties(), state())),
        prop::option::weighted(0.7, properties()),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(git, broken, live, applied, foreign, held)| Fate { git, broken, live, applied, foreign, held })
}

prop_compose! {
    fn worlds()(
        fates in prop::collection::vec(fate(), NAMES.len()),
        drift in prop::sample::select(vec![DriftMode::Correct, DriftMode::Report, DriftMode::Off]),
        prune in prop::sample::select(vec![Prune::Auto, Prune::Auto, Prune::Confirm, Prune::Off]),
        sync in prop::sample::select(vec![Sync::Auto, Sync::Auto, Sync::Manual]),
        root in prop::bool::weighted(0.95),
        count in 0u32..5,
    ) -> World {
        let mut world = world();
        world.policy.drift = drift;
        world.policy.prune = prune;
        world.policy.sync = sync;
        world.policy.max_deletes = MaxDeletes { count, percent: 60 };
        for (text, fate) in NAMES.iter().zip(fates) {
            let key = name(text);
            if let Some((pairs, state)) = &fate.live {
                let adopted = fate.applied.is_some();
                let config = compare_runnable(&connector(text, pairs));
                world.live.connectors.insert(key.clone(), Observed { config, state: *state, adopted, flow: None });
            }
            if let Some(pairs) = &fate.applied {
                world.note(&connector(text, pairs), if fate.foreign { "other/instance" } else { OWNER });
            }
            if let Some(pairs) = &fate.git {
                world.git.files += 1;
                if fate.broken {
                    world.git.invalid.push(invalid(&path_of(text), Some(text), diagnostic::NOT_JSON));
                } else {
                    world.git.connectors.insert(key.clone(), connector(text, pairs));
                }
            }
            if fate.held {
                let hold = Hold { reason: "r".into(), by: "b".into(), since: at(0), until: None };
                world.state.holds.insert(HoldScope::Connector(key), hold);
            }
        }
        world.git.root_present = root;
        world.git.scope_present = root && world.git.files > 0;
        if !root {
            world.git = Loaded::default();
        }
        world
    }
}

fn compare_runnable(connector: &Connector) -> Config {
    crate::reconcile::compare::runnable(&connector.config)
}

/// Nothing stands in the way of applying what Git says.
fn unguarded(mut world: World) -> World {
    world.policy.drift = DriftMode::Correct;
    world.policy.sync = Sync::Auto;
    world.policy.prune = Prune::Auto;
    world.policy.max_deletes = MaxDeletes { count: 100, percent: 100 };
    world.state.holds.clear();
    for connector in world.git.connectors.values_mut() {
        connector.drift = None;
    }
    world
}

fn same(a: &Config, b: &Config, world: &World) -> bool {
    Comparable::new(a, &world.key) == Comparable::new(b, &world.key)
}

proptest! {
    #[test]
    fn what_was_applied_leaves_nothing_to_do(world in worlds()) {
        let after = world.apply();
        prop_assert_eq!(after.plan().steps, vec![]);
    }

    #[test]
    fn applying_makes_it_what_git_says(world in worlds()) {
        let after = unguarded(world).apply();
        for (name, connector) in &after.git.connectors {
            let observed = &after.live.connectors[name];
            prop_assert!(same(&observed.config, &connector.config, &after));
            prop_assert_eq!(observed.state, connector.state);
            prop_assert!(observed.adopted && after.state.applied.contains_key(name));
        }
    }

    #[test]
    fn twice_is_once(world in worlds()) {
        let once = world.apply();
        let twice = once.clone().apply();
        prop_assert_eq!(&once.state, &twice.state);
        prop_assert_eq!(format!("{:?}", once.live), format!("{:?}", twice.live));
    }

    #[test]
    fn any_failed_subset_planned_again_converges_to_the_same(world in worlds(), fails in any::<u64>()) {
        // A confirmation of what is withheld is another matter: here, only failures.
        let straight = unguarded(world.clone()).apply();
        let detour = unguarded(world).apply_except(|step| fails >> (step % 64) & 1 == 1).apply().apply();
        prop_assert_eq!(detour.plan().steps, vec![]);
        prop_assert_eq!(format!("{:?}", straight.live), format!("{:?}", detour.live));
        prop_assert_eq!(straight.state.applied, detour.state.applied);
    }

    #[test]
    fn nothing_is_touched_that_is_not_ours(world in worlds()) {
        let plan = world.plan();
        let ours = |name: &Name| world.state.applied.get(name).is_some_and(|applied| applied.owner == OWNER);
        for (step, _) in plan.all().filter(|(step, _)| step.name().is_some()) {
            let name = step.name().unwrap();
            match step {
                Step::Adopt { .. } => prop_assert!(world.git.connectors.contains_key(name)),
                Step::Create { .. } | Step::Rename { .. } => prop_assert!(!world.live.connectors.contains_key(name)),
                _ => prop_assert!(ours(name), "{step:?}"),
            }
            if let Step::Rename { from, .. } = step {
                prop_assert!(ours(from));
            }
        }
    }

    #[test]
    fn an_invalid_file_changes_nothing_of_what_it_ran(world in worlds()) {
        let plan = world.plan();
        for file in &world.git.invalid {
            for (step, _) in plan.all() {
                prop_assert!(step.name() != file.name.as_ref(), "{step:?}");
                let from = if let Step::Rename { from, .. } = step { Some(from) } else { None };
                prop_assert!(from != file.name.as_ref());
            }
        }
    }

    #[test]
    fn an_empty_repository_deletes_nothing(world in worlds(), which in 0usize..3) {
        let mut world = unguarded(world);
        world.git.connectors.clear();
        world.git.invalid.clear();
        (world.git.root_present, world.git.scope_present, world.git.files) =
            [(false, false, 0), (true, false, 0), (true, true, 0)][which];
        let after = world.clone().apply();
        prop_assert_eq!(format!("{:?}", world.live), format!("{:?}", after.live));
        prop_assert_eq!(world.state, after.state);
    }

    #[test]
    fn deletions_never_pass_the_limit_unconfirmed(world in worlds()) {
        let deletes = |plan: &Plan| plan.steps.iter().filter(|step| matches!(step, Step::Delete { .. })).count();
        let plan = world.plan();
        prop_assert!(deletes(&plan) <= world.policy.max_deletes.allowed(NAMES.len()));
        let next = world.apply().plan();
        prop_assert_eq!(deletes(&next), 0, "what was withheld is not let go by applying the rest");
    }

    #[test]
    fn a_confirmation_lets_go_exactly_what_waited(world in worlds()) {
        let before = world.plan();
        let mut confirmed = world;
        confirmed.policy.confirmed = before.digests(Guard::confirmable);
        let after = confirmed.plan();
        let expected: usize = before.withheld.iter().filter(|(_, guard)| guard.confirmable()).count();
        prop_assert_eq!(after.steps.len(), before.steps.len() + expected);
        prop_assert!(after.withheld.iter().all(|(_, guard)| !guard.confirmable()));
    }

    #[test]
    fn a_hold_leaves_its_connector_alone(world in worlds()) {
        let after = world.clone().apply();
        for scope in world.state.holds.keys() {
            let HoldScope::Connector(name) = scope else { unreachable!() };
            prop_assert_eq!(
                format!("{:?}", world.live.connectors.get(name)),
                format!("{:?}", after.live.connectors.get(name))
            );
        }
    }

    #[test]
    fn a_plan_is_in_its_written_order_and_holds_no_secret(world in worlds()) {
        let plan = world.plan();
        prop_assert!(plan.steps.is_sorted_by(|a, b| a.order(b) != Ordering::Greater));
        prop_assert_eq!(&plan, &world.plan());
        let text = format!("{plan:?}");
        prop_assert!(!text.contains("canary"), "{}", text);
        prop_assert!(!plan.hash.is_empty());
    }

    #[test]
    fn standby_and_manual_take_no_step_on_a_connector(world in worlds()) {
        let mut manual = world.clone();
        manual.policy.sync = Sync::Manual;
        prop_assert!(manual.plan().steps.iter().all(Step::bookkeeping));
        let mut standby = world;
        standby.policy.standby = Some("another member holds the group".into());
        prop_assert_eq!(standby.plan().steps, vec![]);
    }
}
