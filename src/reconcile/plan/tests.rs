use super::model::*;
use super::*;
use crate::destination::state::Hold;
use crate::engine::FlowReport;
use crate::reconcile::compare::Op;
use crate::spec::diagnostic;

const SECRET: &str = "source.cluster.sasl.jaas.config";

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{} {}", step.action(), step.name().map_or("", Name::as_str))).collect()
}

fn withheld(plan: &Plan) -> Vec<String> {
    plan.withheld
        .iter()
        .map(|(step, guard)| format!("{} {}: {}", step.action(), step.name().map_or("", Name::as_str), guard.code()))
        .collect()
}

fn ten() -> World {
    world().commit((0..10).map(|n| connector(&format!("c{n}"), &[("topics", "t")]))).apply()
}

#[test]
fn boot_is_the_diff_from_empty() {
    let world = world().commit([connector("b", &[]), connector("a", &[("mirrorkeeper.state", "paused")])]);
    assert_eq!(words(&world.plan()), ["create a", "create b"]);
    let Step::Create { config, state, .. } = &world.plan().steps[0] else { panic!() };
    assert_eq!(*state, TargetState::Paused);
    assert_eq!(config.get("mirrorkeeper.state"), None, "the engine isn't told what is ours alone");
}

#[test]
fn a_live_edit_and_a_git_edit_of_two_keys_have_two_origins() {
    let world = world()
        .commit([connector("a", &[("topics", "x"), ("tasks.max", "2")])])
        .apply()
        .edit("a", "topics", "x,y")
        .commit([connector("a", &[("topics", "x"), ("tasks.max", "3")])]);
    let plan = world.plan();
    let found: Vec<_> = plan.differences["a"].iter().map(|d| (d.key.as_str(), d.op, d.origin)).collect();
    assert_eq!(found, [("tasks.max", Op::Change, Origin::Git), ("topics", Op::Change, Origin::Live)]);
    assert_eq!(words(&plan), ["update a"]);
}

#[test]
fn reported_drift_stays_while_git_goes_on() {
    let mut world = world().commit([connector("a", &[("topics", "x"), ("tasks.max", "2")])]).apply();
    world.policy.drift = DriftMode::Report;
    let world = world.edit("a", "topics", "x,y").commit([connector("a", &[("topics", "x"), ("tasks.max", "3")])]);
    assert_eq!(withheld(&world.plan()), ["update a: drift-report"]);
    let world = world.apply();
    assert_eq!(world.live.connectors["a"].config.get("topics"), Some("x,y"), "the hand's edit stays");
    assert_eq!(world.live.connectors["a"].config.get("tasks.max"), Some("3"), "Git's edit is applied");
    assert_eq!(words(&world.plan()), Vec::<String>::new());
    assert_eq!(withheld(&world.plan()), ["update a: drift-report"]);
}

#[test]
fn a_files_own_drift_mode_beats_the_instances() {
    let file = |mode| connector("a", &[("topics", "x"), ("mirrorkeeper.drift", mode)]);
    let report = world().commit([file("report")]).apply().edit("a", "topics", "y");
    assert_eq!(withheld(&report.plan()), ["update a: drift-report"]);
    let off = world().commit([file("off")]).apply().edit("a", "topics", "y");
    assert!(off.plan().is_empty());
    assert_eq!(off.plan().differences["a"].len(), 1, "not acted on, and still shown");
}

#[test]
fn a_pause_on_the_live_side_without_a_hold_is_drift() {
    let mut world = world().commit([connector("a", &[])]).apply();
    world.live.connectors.get_mut("a").unwrap().state = TargetState::Paused;
    assert_eq!(words(&world.plan()), ["resume a"]);
    assert_eq!(world.plan().differences["a"][0].origin, Origin::Live);
    world.policy.drift = DriftMode::Report;
    assert_eq!(withheld(&world.plan()), ["resume a: drift-report"]);
}

#[test]
fn a_hold_keeps_everything_until_it_ends() {
    let mut world =
        world().commit([connector("a", &[("topics", "x")])]).apply().commit([connector("a", &[("topics", "y")])]);
    let hold = Hold { reason: "INC-1".into(), by: "ana".into(), since: at(0), until: Some(at(2_000)) };
    world.state.holds.insert(HoldScope::Instance, hold);
    assert_eq!(words(&world.plan()), Vec::<String>::new());
    assert_eq!(world.plan().withheld[0].1.to_string(), "held by ana until 1970-01-01T00:33:20Z: INC-1");
    world.policy.now = at(2_000);
    assert_eq!(words(&world.plan()), ["end-hold ", "update a"]);
    assert!(world.apply().state.holds.is_empty());
}

#[test]
fn a_hand_made_connector_is_left_alone_until_a_file_adopts_it() {
    let hand = connector("hand", &[("topics", "z")]);
    let world = world().make(&hand).commit([connector("a", &[])]).apply();
    assert!(world.plan().is_empty());
    assert!(world.plan().unmanaged.contains("hand"));
    let world = world.commit([connector("a", &[]), hand]);
    assert_eq!(words(&world.plan()), ["adopt hand"]);
    assert_eq!(world.plan().steps[0].changes(), []);
}

#[test]
fn half_of_them_gone_waits_for_a_confirmation_of_exactly_that() {
    let world = ten().commit((0..5).map(|n| connector(&format!("c{n}"), &[("topics", "t")])));
    let plan = world.plan();
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(withheld(&plan).len(), 5);
    assert_eq!(plan.withheld[0].1.to_string(), "5 deletions at once, 2 pass without a confirmation (max-deletes)");

    let mut confirmed = world;
    confirmed.policy.confirmed = plan.digests(Guard::confirmable);
    assert_eq!(words(&confirmed.plan()).len(), 5);
    assert_eq!(confirmed.clone().apply().live.connectors.len(), 5);

    let more = confirmed.commit((0..2).map(|n| connector(&format!("c{n}"), &[("topics", "t")])));
    assert_ne!(more.plan().hash, plan.hash);
    assert_eq!(withheld(&more.plan()).len(), 3, "what came after the confirmation was not confirmed");
}

#[test]
fn one_deletion_in_a_small_installation_needs_no_confirmation() {
    let allowed = |managed| MaxDeletes::default().allowed(managed);
    assert_eq!([1, 4, 10, 15, 500].map(allowed), [1, 1, 2, 3, 3]);
    assert_eq!(MaxDeletes { count: 0, percent: 20 }.allowed(100), 0);
}

#[test]
fn the_prune_mode_of_a_file_outlives_the_file() {
    let world = world().commit([connector("a", &[]), connector("keep", &[("mirrorkeeper.prune", "off")])]).apply();
    let world = world.commit([connector("a", &[])]);
    assert_eq!(withheld(&world.plan()), ["delete keep: prune-off"]);
}

#[test]
fn a_broken_file_keeps_what_it_ran_even_if_its_name_cannot_be_read() {
    let mut odd = connector("orders", &[("topics", "o")]);
    odd.path = path_of("legacy");
    let world = world().commit([connector("a", &[]), odd.clone()]).apply();
    let broken = world.clone().break_file(invalid(&odd.path, Some("legacy"), diagnostic::NOT_JSON));
    assert!(broken.plan().is_empty());
    assert_eq!(broken.plan().shielded["orders"], odd.path);

    // Moved and broken at once: nothing says what it was, so nothing is deleted.
    let moved = world.commit([connector("a", &[])]);
    let moved = moved.break_file(invalid(&path_of("elsewhere"), Some("elsewhere"), diagnostic::NOT_JSON));
    assert_eq!(withheld(&moved.plan()), ["delete orders: invalid-file"]);
}

#[test]
fn another_files_claim_to_a_connector_waits_for_the_broken_one() {
    let world = world().commit([connector("orders", &[("topics", "o")])]).apply();
    let mut other = connector("orders", &[("topics", "p")]);
    other.path = path_of("other");
    let world = world.commit([other]).break_file(invalid(&path_of("orders"), Some("orders"), diagnostic::BAD_VALUE));
    assert_eq!(withheld(&world.plan()), ["update orders: invalid-file"]);
}

#[test]
fn a_file_with_a_new_name_and_the_same_content_is_a_rename() {
    let world = world().commit([connector("old", &[("topics", "x"), (SECRET, "canary")])]).apply();
    let renamed = world.clone().commit([connector("new", &[("topics", "x"), (SECRET, "canary")])]);
    assert_eq!(words(&renamed.plan()), ["rename new"]);
    let after = renamed.apply();
    assert!(after.plan().is_empty() && after.live.connectors.len() == 1 && after.state.applied.len() == 1);

    let copied = world.clone().commit(["new", "copy"].map(|n| connector(n, &[("topics", "x"), (SECRET, "canary")])));
    assert_eq!(words(&copied.plan()), ["delete old", "create copy", "create new"], "which one is it can't be told");

    let said = world.commit([
        connector("new", &[("topics", "y"), ("mirrorkeeper.renamed.from", "old")]),
        connector("copy", &[("topics", "x"), (SECRET, "canary")]),
    ]);
    assert_eq!(words(&said.plan()), ["rename new", "create copy"]);
    let after = said.apply();
    assert_eq!(after.plan().steps, vec![]);
    let plain =
        after.commit([connector("new", &[("topics", "y")]), connector("copy", &[("topics", "x"), (SECRET, "canary")])]);
    assert_eq!(words(&plain.plan()), ["record new"], "removing the hint changes nothing that runs");
}

#[test]
fn what_another_instance_or_another_source_folder_applied_is_not_ours() {
    let mut world = world().commit([connector("a", &[]), connector("b", &[])]).apply();
    world.state.applied.get_mut("b").unwrap().owner = "prod/prd-ue2".into();
    let mut limited = world.clone().commit([connector("a", &[])]);
    assert!(limited.plan().is_empty());
    assert!(limited.plan().unmanaged.contains("b"));
    limited.state.applied.get_mut("b").unwrap().owner = OWNER.into();
    limited.policy.sources = vec!["other".into()];
    limited.state.applied.get_mut("a").unwrap().source = "other".into();
    limited.git.connectors.get_mut("a").unwrap().source = "other".into();
    assert!(limited.plan().is_empty(), "b is not in the folders this instance is limited to");
}

#[test]
fn stopping_and_deleting_come_before_starting() {
    let world = world().commit([connector("z", &[("topics", "x")]), connector("y", &[])]).apply();
    let world =
        world.commit([connector("a", &[("topics", "x, w")]), connector("y", &[("mirrorkeeper.state", "stopped")])]);
    assert_eq!(words(&world.plan()), ["stop y", "delete z", "create a"]);
}

#[test]
fn what_somebody_removed_is_made_again_or_reported() {
    let mut world = world().commit([connector("a", &[]), connector("b", &[])]).apply();
    world.live.connectors.remove("a");
    assert_eq!(words(&world.plan()), ["create a"]);
    for mode in [DriftMode::Report, DriftMode::Off] {
        world.policy.drift = mode;
        assert_eq!(withheld(&world.plan()), ["create a: drift-report"], "what doesn't run is never in sync");
    }
}

#[test]
fn cluster_ids_are_noted_once_and_forgotten_with_the_address() {
    let flow: FlowReport = serde_json::from_value(serde_json::json!({
        "health": "Healthy", "problems": [], "bytesPerSecond": 0, "recordsTotal": 0, "bytesTotal": 0, "path": "batch",
        "shapes": {}, "mode": "idempotent", "throttledMs": 0, "tasks": [], "partitions": [], "sourceClusterId": "S",
        "targetClusterId": "T", "started": "2025-01-01T00:00:00Z", "retries": 0, "lostRecords": 0
    }))
    .unwrap();
    let mut world = world().commit([connector("a", &[])]).apply();
    world.live.connectors.get_mut("a").unwrap().flow = Some(flow);
    assert_eq!(words(&world.plan()), ["record a"]);
    let world = world.apply();
    assert_eq!(world.state.applied["a"].source_cluster_id.as_deref(), Some("S"));
    assert!(world.plan().is_empty());
    let moved = world.commit([connector("a", &[("source.cluster.bootstrap.servers", "other:9092")])]).apply();
    assert_eq!(moved.state.applied["a"].source_cluster_id, None);
    assert_eq!(moved.state.applied["a"].target_cluster_id.as_deref(), Some("T"));
}

#[test]
fn a_changed_secret_is_an_update_that_shows_neither_value() {
    let world = world().commit([connector("a", &[(SECRET, "canary-1")])]).apply();
    assert!(!serde_json::to_string(&world.state.applied["a"]).unwrap().contains("canary"));
    let world = world.commit([connector("a", &[(SECRET, "canary-2")])]);
    assert_eq!(words(&world.plan()), ["update a"]);
    assert!(!format!("{:?}", world.plan()).contains("canary"));
    assert_eq!(world.plan().differences["a"][0].origin, Origin::Git);
}

#[test]
fn what_cannot_be_understood_is_neither_absent_nor_written_over_unasked() {
    let mut world = world().commit([connector("a", &[]), connector("b", &[])]).apply();
    world.live.connectors.remove("a").unwrap();
    world.live.unreadable.insert(name("a"), "record connector-a: its value is not a configuration".into());
    let plan = world.plan();
    assert_eq!(plan.steps, vec![]);
    assert!(matches!(&plan.withheld[..], [(Step::Create { .. }, Guard::Unreadable { .. })]), "{:?}", plan.withheld);
    // Its file gone, it is not forgotten either.
    let gone = world.clone().commit([connector("b", &[])]);
    assert!(matches!(&gone.plan().withheld[..], [(Step::Forget { .. }, Guard::Unreadable { .. })]));
    world.policy.confirmed = plan.digests(Guard::confirmable);
    assert!(matches!(&world.plan().steps[..], [Step::Create { .. }]));
}
