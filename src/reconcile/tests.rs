use std::time::Duration;

use super::plan::{Prune, Sync};
use super::status::{Item, Status, SyncWord, Word};
use super::{NewHold, Refused};
use crate::destination::state::{HoldScope, StateError};
use crate::engine::{ClusterIds, Health};
use crate::spec::{DriftMode, Name, TargetState};

mod fake;
use fake::{Rig, clock, file, settings};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn item<'a>(status: &'a Status, name: &str) -> &'a Item {
    status.items.iter().find(|item| item.name == name).unwrap_or_else(|| panic!("no item {name}"))
}

async fn two() -> Rig {
    let rig = Rig::start();
    rig.commit("r1", &[file("a", ""), file("b", "")]);
    let status = rig.pass().await;
    assert_eq!(status.state, Word::InSync, "{} {:?}", status.message, status.files);
    rig.engine.writes();
    rig
}

#[tokio::test(start_paused = true)]
async fn a_commit_starts_what_it_names_and_is_in_sync() {
    let rig = Rig::start();
    rig.commit("r1", &[file("a", ""), file("b", r#", "mirrorkeeper.state": "stopped""#)]);
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), ["put a", "adopt a", "put b", "set_state b stopped", "adopt b"]);
    assert_eq!(status.state, Word::Paused, "{}", status.message);
    assert_eq!((item(&status, "a").sync, item(&status, "a").health), (SyncWord::InSync, Health::Healthy));
    assert_eq!(item(&status, "a").id, "staging/stg-ue2/cfn/a");
    assert_eq!(item(&status, "b").summary, Word::Paused);
    assert_eq!(status.source.applied.as_deref(), Some("r1"));
    assert_eq!(status.history[0].steps.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_repository_writes_nothing_to_engine_or_state() {
    let rig = two().await;
    let notes = rig.store.writes();
    let first = rig.handle.status().pass.number;
    rig.until("100 passes", |status| status.pass.number > first + 100).await;
    rig.commit("r2", &[file("a", ""), file("b", "")]);
    rig.until("the new revision", |status| status.source.applied.as_deref() == Some("r2")).await;
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    assert_eq!(rig.store.writes(), notes);
}

#[tokio::test(start_paused = true)]
async fn one_failure_leaves_the_others_alone_and_is_tried_again() {
    let rig = Rig::start();
    rig.engine.fail("put a");
    rig.engine.hang("put b");
    rig.commit("r1", &[file("a", ""), file("b", ""), file("c", "")]);
    let status = rig.pass().await;
    assert_eq!(item(&status, "c").summary, Word::InSync);
    let failed = item(&status, "a");
    assert_eq!((failed.sync, failed.retries, failed.summary), (SyncWord::Pending, 1, Word::Pending));
    assert_eq!(failed.problems[0].code, "ENGINE-FAILED");
    assert_eq!(item(&status, "b").problems[0].code, "ENGINE-TIMEOUT");
    assert_eq!(status.state, Word::Pending);
    let since = failed.problems[0].since;

    let later = rig.until("more attempts", |status| item(status, "a").retries >= 6).await;
    assert_eq!(item(&later, "a").problems[0].since, since, "since when it fails, not since the last attempt");
    let wait = item(&later, "a").next_attempt.unwrap().duration_since(clock());
    assert!(wait.as_secs_f64() > 8.0, "it backs off: {wait}");
    rig.engine.heal();
    let healed = rig.pass().await;
    assert_eq!(healed.state, Word::InSync, "a request forgets the back-off");
    assert!(healed.history.len() <= 4, "the same failure again is no news: {:?}", healed.history);
}

#[tokio::test(start_paused = true)]
async fn a_new_commit_forgets_the_back_off() {
    let rig = Rig::start();
    rig.engine.fail("put a");
    rig.commit("r1", &[file("a", "")]);
    rig.until("attempts", |status| status.items.iter().any(|item| item.retries >= 8)).await;
    rig.engine.heal();
    let before = clock();
    rig.commit("r2", &[file("a", "")]);
    rig.until("in sync", |status| status.state == Word::InSync).await;
    assert!(clock().duration_since(before).as_secs_f64() < 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_keeps_its_connector_and_says_where() {
    let rig = two().await;
    let (path, _) = file("a", "");
    rig.commit("r2", &[(path.clone(), "{\n  \"topics\": ".into()), file("b", r#", "tasks.max": 3"#)]);
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), ["put b"]);
    assert_eq!((status.state, item(&status, "a").sync), (Word::Invalid, SyncWord::Invalid));
    assert_eq!(item(&status, "a").health, Health::Healthy, "what it ran runs");
    let broken = &status.files[0];
    assert_eq!((broken.path.as_str(), broken.running_last_good.as_deref()), (path.as_str(), Some("r1")));
    assert!(broken.problems[0].line >= 1 && !broken.problems[0].code.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_file_deletes_and_an_emptied_repository_does_not() {
    let rig = two().await;
    rig.commit("r2", &[file("b", "")]);
    rig.pass().await;
    assert_eq!(rig.engine.writes(), ["delete a"]);
    rig.commit("r3", &[]);
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    assert_eq!((status.state, item(&status, "b").sync), (Word::Blocked, SyncWord::Blocked));
    assert!(item(&status, "b").plan.why.contains("never read as"), "{}", item(&status, "b").plan.why);
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_is_bound_to_its_plan() {
    let rig = Rig::start();
    let all: Vec<_> = (0..6).map(|n| file(&format!("c{n}"), "")).collect();
    rig.commit("r1", &all);
    rig.pass().await;
    rig.engine.writes();
    rig.commit("r2", &all[..3]);
    let first = rig.pass().await;
    assert_eq!(first.state, Word::Blocked);
    assert!(first.plan.confirmable && first.plan.withheld.len() == 3);
    rig.commit("r3", &all[..2]);
    let second = rig.pass().await;
    let refused = rig.handle.confirm(&first.plan.hash).await.unwrap_err();
    assert_eq!(refused, Refused::OtherPlan { asked: first.plan.hash.clone(), current: second.plan.hash.clone() });
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    let done = rig.handle.confirm(&second.plan.hash).await.unwrap();
    assert_eq!(rig.engine.writes(), ["delete c2", "delete c3", "delete c4", "delete c5"]);
    assert_eq!(done.state, Word::InSync);
    assert_eq!(rig.handle.confirm(&done.plan.hash).await.unwrap_err(), Refused::NothingWaits);
}

#[tokio::test(start_paused = true)]
async fn drift_is_corrected_or_reported() {
    let rig = two().await;
    let edit = |rig: &Rig| {
        rig.engine.live(|live| live.get_mut("a").unwrap().config.insert("topics", "by-hand"));
    };
    edit(&rig);
    rig.news.send_replace(1);
    rig.until("the correction", |status| status.history.len() == 2).await;
    assert_eq!(rig.engine.writes(), ["put a"]);

    let mut settings = rig.settings.clone();
    settings.rules.drift = DriftMode::Report;
    let rig = Rig::with(settings, rig.engine.clone(), rig.store.clone());
    rig.commit("r1", &[file("a", ""), file("b", "")]);
    edit(&rig);
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    let drifted = item(&status, "a");
    assert_eq!((status.state, drifted.sync), (Word::Drifted, SyncWord::Drifted));
    assert_eq!(serde_json::to_value(&drifted.diff[0]).unwrap()["origin"], "live");
    let text = super::render::drift(&status);
    assert!(text.contains("- topics = by-hand") && text.contains("changed by the live side"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_survives_a_restart_and_ends_by_itself() {
    let rig = two().await;
    let until = clock() + Duration::from_secs(7_200);
    let hold = NewHold {
        scope: HoldScope::Connector(name("a")),
        reason: "INC-1".into(),
        by: "ana".into(),
        until: Some(until),
    };
    let status = rig.handle.hold(hold.clone()).await.unwrap();
    assert_eq!((status.state, item(&status, "a").sync), (Word::Held, SyncWord::Held));
    assert_eq!(item(&status, "b").sync, SyncWord::InSync);
    let rig = rig.restart();
    rig.commit("r2", &[file("a", r#", "tasks.max": 3"#), file("b", "")]);
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), ["adopt a", "adopt b"], "held, and still running");
    assert_eq!(item(&status, "a").hold.as_ref().unwrap().hold.until, Some(until));
    tokio::time::sleep(Duration::from_secs(7_300)).await;
    assert_eq!(rig.pass().await.state, Word::InSync);
    assert_eq!(rig.engine.writes(), ["put a"]);

    let nobody = NewHold { scope: HoldScope::Connector(name("nobody")), until: None, ..hold.clone() };
    assert_eq!(rig.handle.hold(nobody).await.unwrap_err(), Refused::UnknownConnector("nobody".into()));
    assert!(matches!(rig.handle.hold(NewHold { reason: " ".into(), ..hold }).await, Err(Refused::Bad(_))));
    assert_eq!(rig.handle.release(HoldScope::Instance).await.unwrap_err(), Refused::NoHold("instance".into()));
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_its_release_are_immediate() {
    let rig = two().await;
    let scope = HoldScope::Instance;
    let hold = NewHold { scope: scope.clone(), reason: "freeze".into(), by: "ops".into(), until: None };
    rig.handle.hold(hold).await.unwrap();
    rig.commit("r2", &[file("a", r#", "tasks.max": 3"#), file("b", "")]);
    assert_eq!(rig.pass().await.state, Word::Held);
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    assert_eq!(rig.handle.release(scope).await.unwrap().state, Word::InSync);
    assert_eq!(rig.engine.writes(), ["put a"]);
}

#[tokio::test(start_paused = true)]
async fn with_git_down_a_restart_runs_on_and_plans_nothing() {
    let rig = two().await.restart();
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), ["adopt a", "adopt b"]);
    assert_ne!(status.state, Word::InSync);
    assert_eq!(item(&status, "a").health, Health::Healthy);
    assert_eq!(item(&status, "a").sync, SyncWord::Blocked, "nobody knows what Git says");
    assert!(status.message.contains("has not been read since the start"), "{}", status.message);
}

#[tokio::test(start_paused = true)]
async fn git_failing_later_keeps_the_last_snapshot_and_shows() {
    let rig = two().await;
    let problem = crate::engine::Problem {
        code: "GIT-UNREACHABLE".into(),
        message: "https://git.example/x.git can't be reached: time-out".into(),
        hint: None,
        since: clock(),
    };
    rig.source.send_modify(|source| source.problem = Some(problem));
    let status = rig.until("the outage", |status| status.state == Word::SourceUnreachable).await;
    assert_eq!(item(&status, "a").summary, Word::InSync);
    assert!(status.message.contains("time-out"));
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_be_seen_is_not_an_empty_one() {
    let rig = two().await;
    rig.engine.fail("observe");
    let status = rig.pass().await;
    assert_eq!((status.state, item(&status, "a").health), (Word::Failed, Health::Unknown));
    assert_eq!(status.problems[0].code, "ENGINE-FAILED");
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    rig.engine.heal();
    assert_eq!(rig.pass().await.state, Word::InSync);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_or_written_stops_all_writing() {
    let rig = two().await;
    let newer = StateError::Newer { key: "applied/a".into(), found: 2 };
    rig.store.break_with(Some(newer));
    let rig = rig.restart();
    rig.commit("r2", &[file("a", r#", "tasks.max": 3"#)]);
    let status = rig.pass().await;
    assert_eq!((status.state, status.problems[0].code.as_str()), (Word::Failed, "STATE-NEWER"));
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    rig.store.break_with(None);
    rig.pass().await;
    rig.engine.writes();

    rig.commit("r3", &[file("a", r#", "tasks.max": 4"#), file("c", "")]);
    rig.store.break_with(Some(StateError::Unavailable { what: "written", why: "no leader".into() }));
    let status = rig.pass().await;
    assert_ne!(status.state, Word::InSync);
    assert_eq!(rig.engine.writes(), ["put a"], "what can't be noted is not done next");
    rig.store.break_with(None);
    assert_eq!(rig.pass().await.state, Word::InSync);
}

#[tokio::test(start_paused = true)]
async fn a_standby_watches_and_writes_nothing_until_it_is_its_turn() {
    let rig = two().await;
    rig.standby.send_replace(Some("mk-0 holds the group".into()));
    rig.commit("r2", &[file("a", r#", "tasks.max": 3"#), file("b", "")]);
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    assert!(item(&status, "a").plan.why.contains("mk-0"), "{}", item(&status, "a").plan.why);
    assert!(matches!(rig.handle.apply().await, Err(Refused::Standby(_))));
    rig.standby.send_replace(None);
    rig.until("its turn", |status| status.state == Word::InSync).await;
    assert_eq!(rig.engine.writes(), ["put a"]);
}

#[tokio::test(start_paused = true)]
async fn manual_sync_waits_for_apply_and_deletions_for_confirm() {
    let mut settings = settings();
    settings.rules.sync = Sync::Manual;
    settings.rules.prune = Prune::Confirm;
    let rig = Rig::with(settings, Default::default(), Default::default());
    rig.commit("r1", &[file("a", ""), file("b", "")]);
    let status = rig.pass().await;
    assert_eq!((status.state, item(&status, "a").sync), (Word::Pending, SyncWord::Pending));
    assert_eq!(status.plan.withheld[0].estimate.as_ref().unwrap().records, 1_200, "told before it is done");
    let text = rig.handle.plan();
    assert!(text.contains("withheld create a") && text.contains(&status.plan.hash) && text.contains("1200"), "{text}");
    assert_eq!(rig.handle.apply().await.unwrap().state, Word::InSync);
    rig.engine.writes();
    rig.commit("r2", &[file("a", "")]);
    assert_eq!(rig.handle.apply().await.unwrap().state, Word::Blocked);
    assert_eq!(rig.engine.writes(), Vec::<String>::new());
    let hash = rig.handle.status().plan.hash.clone();
    assert_eq!(rig.handle.confirm(&hash).await.unwrap().state, Word::InSync);
    assert_eq!(rig.engine.writes(), ["delete b"]);
}

#[tokio::test(start_paused = true)]
async fn a_rename_is_carried_out_once_also_across_a_crash() {
    let rig = two().await;
    let (_, text) = file("a", "");
    let renamed = ("connectors/staging/stg-ue2/cfn/z.json".to_owned(), text);
    rig.engine.fail("rename a z");
    rig.commit("r2", &[renamed.clone(), file("b", "")]);
    let status = rig.pass().await;
    assert_eq!(item(&status, "z").plan.action, "rename");
    rig.engine.heal();
    let status = rig.pass().await;
    assert_eq!(status.state, Word::InSync);
    assert_eq!(rig.engine.writes(), ["rename a z", "rename a z", "put z", "adopt z"]);
    assert_eq!(status.items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_secret_leaves_through_status_plan_state_or_history() {
    const CANARY: &str = "canary-7f3a";
    let jaas = |secret: &str| {
        let value = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username='u' password='{secret}';"
        );
        file("a", &format!(r#", "source.cluster.sasl.jaas.config": "{value}", "tasks.max": 2"#))
    };
    let rig = Rig::start();
    let mut said = String::new();
    for (revision, files) in [
        ("r1", vec![jaas(CANARY)]),
        ("r2", vec![jaas(&format!("{CANARY}-2"))]),
        ("r3", vec![(jaas(CANARY).0, format!("{{\"sasl.jaas.config\": \"{CANARY}\""))]),
    ] {
        if revision == "r2" {
            rig.engine.fail("put a");
        }
        rig.commit(revision, &files);
        let status = rig.pass().await;
        said += &serde_json::to_string(&*status).unwrap();
        said += &format!("{status:?} {}", rig.handle.plan());
    }
    said += &format!("{:?}", rig.store.read().unwrap());
    said += &serde_json::to_string(&rig.store.read().unwrap().applied[&name("a")]).unwrap();
    let leak = said.find(CANARY).map(|at| &said[at.saturating_sub(300)..at]);
    assert_eq!(leak, None);
    assert!(said.contains("***#"), "the change of the secret itself shows");
}

#[tokio::test(start_paused = true)]
async fn a_pause_through_connects_own_verb_is_drift() {
    let rig = two().await;
    rig.engine.live(|live| live.get_mut("a").unwrap().state = TargetState::Paused);
    rig.pass().await;
    assert_eq!(rig.engine.writes(), ["set_state a running"]);
}

fn answered_by(rig: &Rig, source: &str) {
    rig.engine.live(|live| {
        let flow = live.get_mut("a").unwrap().flow.as_mut().unwrap();
        flow.source_cluster_id = Some(source.into());
        flow.target_cluster_id = Some("T".into());
    });
}

#[tokio::test(start_paused = true)]
async fn a_changed_cluster_waits_for_a_confirmation_of_just_that_change() {
    let rig = two().await;
    let files = [file("a", ""), file("b", "")];
    assert_eq!(rig.engine.expected("a"), ClusterIds::default(), "nothing is known before the first answer");
    answered_by(&rig, "S1");
    assert_eq!(rig.pass().await.state, Word::InSync);
    assert_eq!(rig.engine.expected("a").source.as_deref(), Some("S1"), "what answered first is remembered");

    let rig = rig.restart();
    rig.commit("r1", &files);
    rig.pass().await;
    assert_eq!(rig.engine.expected("a").source.as_deref(), Some("S1"), "also by the next process");
    answered_by(&rig, "S2");
    let status = rig.pass().await;
    let moved = item(&status, "a");
    assert_eq!((moved.sync, moved.plan.guard), (SyncWord::Blocked, Some("other-cluster")));
    assert!(moved.plan.why.contains("was S1 and is S2 now"), "{}", moved.plan.why);
    assert_eq!(item(&status, "b").summary, Word::InSync);
    let hash = status.plan.hash.clone();
    answered_by(&rig, "S3");
    assert!(matches!(rig.handle.confirm(&hash).await, Err(Refused::OtherPlan { .. })), "S2 was meant, not S3");
    let hash = rig.pass().await.plan.hash.clone();
    assert_eq!(rig.engine.expected("a").source.as_deref(), Some("S1"));
    assert_eq!(rig.handle.confirm(&hash).await.unwrap().state, Word::InSync);
    assert_eq!(rig.engine.expected("a").source.as_deref(), Some("S3"));
    assert_eq!(rig.store.read().unwrap().applied[&name("a")].source_cluster_id.as_deref(), Some("S3"));
}

#[tokio::test(start_paused = true)]
async fn another_address_in_git_is_another_cluster_and_another_password_is_not() {
    let rig = two().await;
    answered_by(&rig, "S1");
    rig.pass().await;
    let (path, text) = file("a", "");
    let password = file("a", r#", "source.cluster.sasl.jaas.config": "x.Module required password='p';""#);
    rig.commit("r2", &[password, file("b", "")]);
    rig.pass().await;
    assert_eq!(rig.engine.expected("a").source.as_deref(), Some("S1"));
    answered_by(&rig, "S2");
    rig.commit("r3", &[(path, text.replace("a.example.com", "moved.example.com")), file("b", "")]);
    rig.until("the new address", |status| status.source.observed.as_deref() == Some("r3")).await;
    rig.until("the new cluster is remembered", |status| status.state == Word::InSync).await;
    let expected = rig.engine.expected("a");
    assert_eq!((expected.source.as_deref(), expected.target.as_deref()), (Some("S2"), Some("T")));
}

const JAAS: &str = "source.cluster.sasl.jaas.config";

fn with_secret(secret: &str, more: &str) -> (String, String) {
    file("a", &format!(r#", "{JAAS}": "x.Module required password='{secret}';"{more}"#))
}

/// As a process that keeps secrets out of the config topic finds it.
fn omitted(rig: Rig) -> Rig {
    let rig = rig.restart();
    rig.engine.live(|live| {
        for observed in live.values_mut() {
            observed.config = observed.config.without_secrets();
        }
    });
    rig
}

#[tokio::test(start_paused = true)]
async fn secrets_that_are_only_in_git_are_supplied_after_a_restart_and_are_no_change() {
    let rig = Rig::start();
    rig.commit("r1", &[with_secret("canary", "")]);
    rig.pass().await;
    rig.engine.writes();
    let rig = omitted(rig);
    rig.pass().await;
    assert_eq!(rig.engine.writes(), ["adopt a"], "nothing is known but from Git");
    rig.commit("r1", &[with_secret("canary", "")]);
    let status = rig.pass().await;
    assert_eq!(rig.engine.writes(), ["put a"]);
    assert_eq!((status.state, status.history.len()), (Word::InSync, 1), "{}", status.message);
    assert_eq!(rig.engine.live(|live| live["a"].config.get(JAAS).map(str::len)), Some(36));
}

#[tokio::test(start_paused = true)]
async fn under_a_hold_the_secret_that_was_applied_is_supplied_and_another_is_not() {
    let rig = Rig::start();
    rig.commit("r1", &[with_secret("canary", "")]);
    rig.pass().await;
    let scope = HoldScope::Instance;
    let hold = NewHold { scope: scope.clone(), reason: "freeze".into(), by: "ops".into(), until: None };
    rig.handle.hold(hold).await.unwrap();
    rig.engine.writes();
    let rig = omitted(rig);
    rig.commit("r2", &[with_secret("canary", r#", "tasks.max": 3"#)]);
    assert_eq!(rig.pass().await.state, Word::Held);
    assert_eq!(rig.engine.writes(), ["adopt a", "put a"]);
    assert_eq!(rig.engine.live(|live| live["a"].config.get("tasks.max").map(str::to_owned)), None, "the rest is held");

    let rig = omitted(rig);
    rig.commit("r3", &[with_secret("other", "")]);
    let status = rig.pass().await;
    assert_eq!((rig.engine.writes(), item(&status, "a").sync), (vec!["adopt a".to_owned()], SyncWord::Held));
    rig.handle.release(scope).await.unwrap();
    assert_eq!(rig.engine.writes(), ["put a"]);
}
