//! The seven steps, in order. The last one is in [`super::crash`].

use std::time::{Duration, Instant};

use super::repository::{Committed, Edit, ORDERS, PAYMENTS};
use super::stage::{CALM, RETURNS, Stage};
use super::tell::{grouped, seconds};
use super::{Error, Outcome, crash};

/// Tells all of it.
pub(super) async fn all(stage: &mut Stage<'_, '_>) -> Result<Outcome, Error> {
    added(stage).await?;
    grown(stage).await?;
    broken(stage).await?;
    stopped_by_hand(stage).await?;
    all_deleted(stage).await?;
    one_deleted(stage).await?;
    let verdict = crash::killed(stage).await?;
    Ok(Outcome { steps: stage.tell.step(), records: verdict.records, took: Duration::ZERO })
}

async fn added(stage: &mut Stage<'_, '_>) -> Result<(), Error> {
    stage.tell.title("A connector file is added, and another one")?;
    let edits = vec![stage.file(&ORDERS, &[])?, stage.file(&PAYMENTS, &[])?];
    let committed = stage.repository.commit("Mirror orders and payments", edits).await?;
    stage.tell.did(&committed.said)?;
    let first = main_topic(&ORDERS)?;
    let took = stage
        .until_clusters("a first record on the target", |clusters| match clusters.copied(&first) {
            0 => Err(format!("no record of {first} is on the target")),
            _ => Ok(()),
        })
        .await?;
    let (words, path, remote) = stage
        .until_copied("both connectors are healthy and have copied everything", |seen, _| {
            seen.observed(&committed.id)?;
            let mut words = Vec::new();
            let mut remote = std::collections::BTreeMap::new();
            for name in [ORDERS.name, PAYMENTS.name] {
                let item = seen.item_is(name, "InSync", "Healthy")?.caught_up()?;
                let copied = item.at("/flow/recordsTotal").as_u64().unwrap_or(0);
                words.push(format!("{name} InSync, Healthy, lag 0, {} records copied", grouped(copied)));
                remote.extend(item.topics());
            }
            let path = seen.item(ORDERS.name)?.text("/path").to_owned();
            Ok((words, path, remote))
        })
        .await?;
    stage.remote.extend(remote);
    stage.tell.saw(&format!("first record on the target {} after the commit", seconds(took)))?;
    for said in words {
        stage.tell.saw(&said)?;
    }
    stage.tell.saw(&format!("path {path}"))?;
    Ok(())
}

async fn grown(stage: &mut Stage<'_, '_>) -> Result<(), Error> {
    stage.tell.title("`topics` of a running connector grows; somebody asks to see the plan first")?;
    let started = stage.until("its flow", |seen, _| seen.item(ORDERS.name)?.started()).await?;
    let held = stage.daemon.hold(ORDERS.name, "a look before it is applied").await?;
    let topics = format!("{},{RETURNS}", ORDERS.topics()?.join(","));
    let edit = stage.file(&ORDERS, &[("topics", &topics)])?;
    let committed = stage.repository.commit("Mirror returns too", vec![edit]).await?;
    stage.tell.did(&held)?;
    stage.tell.did(&committed.said)?;
    let (effect, action, from, to) = stage
        .until("the plan", |seen, _| {
            seen.observed(&committed.id)?;
            let item = seen.item_is(ORDERS.name, "Held", "Healthy")?;
            let change = item.difference("topics")?;
            let word = |key: &str| change[key].as_str().unwrap_or("-").to_owned();
            Ok((word("effect"), item.text("/plan/action").to_owned(), word("live"), word("desired")))
        })
        .await?;
    if effect != "hot" {
        return Err(stage.untrue(format!("the effect of a grown `topics` is {effect}, not hot")));
    }
    stage.tell.saw(&format!("Held; plan: {action}, topics {from} -> {to}, effect {effect}"))?;
    let released = stage.daemon.release(ORDERS.name).await?;
    stage.tell.did(&released)?;
    let (copied, remote, now) = stage
        .until("the new topic is copied", |seen, clusters| {
            let item = seen.item_is(ORDERS.name, "InSync", "Healthy")?.caught_up()?;
            let remote = item.topics();
            let copied = clusters.copied(RETURNS);
            if copied == 0 || !remote.contains_key(RETURNS) {
                return Err(format!("{RETURNS} is not copied yet"));
            }
            Ok((copied, remote, item.started()?))
        })
        .await?;
    same_run(stage, &started, &now)?;
    stage.remote.extend(remote);
    let copied = grouped(copied);
    stage.tell.saw(&format!("orders InSync, Healthy; {copied} records of {RETURNS} on the target"))?;
    stage.tell.saw(&format!("nothing was restarted: orders runs since {now}, as before"))?;
    Ok(())
}

async fn broken(stage: &mut Stage<'_, '_>) -> Result<(), Error> {
    stage.tell.title("A file is committed with a comma missing")?;
    let Edit::Write(path, text) = stage.file(&PAYMENTS, &[])? else {
        return Err(stage.untrue("a file to write is no file to write"));
    };
    let edit = Edit::Write(path, text.replacen(",\n", "\n", 1));
    let committed = stage.repository.commit("Tidy payments", vec![edit]).await?;
    stage.tell.did(&committed.said)?;
    let topic = main_topic(&PAYMENTS)?;
    let before = stage.clusters.copied(&topic);
    let (problem, good, more) = stage
        .until("the file is found invalid and its connector runs on", |seen, clusters| {
            seen.observed(&committed.id)?;
            let file = seen.file_problem(path)?;
            seen.item_is(PAYMENTS.name, "Invalid", "Healthy")?;
            seen.item_is(ORDERS.name, "InSync", "Healthy")?;
            let more = clusters.copied(&topic) - before;
            if more == 0 {
                return Err(format!("no record of {topic} was copied since"));
            }
            let problem = &file["problems"][0];
            let [line, column] = ["line", "column"].map(|key| problem[key].as_u64().unwrap_or(0));
            let [code, message] = ["code", "message"].map(|key| problem[key].as_str().unwrap_or("-"));
            let good = file["runningLastGood"].as_str().unwrap_or("-");
            let good: String = good.chars().take(7).collect();
            Ok((format!("{path}:{line}:{column}: {code} {message}"), good, more))
        })
        .await?;
    stage.tell.saw(&problem)?;
    let more = grouped(more);
    stage.tell.saw(&format!("payments Invalid, Healthy: runs on as of {good}, {more} records since"))?;
    stage.tell.saw("orders InSync, Healthy")?;
    let mended = stage.file(&PAYMENTS, &[])?;
    mend(stage, "Put the comma back", mended).await
}

async fn stopped_by_hand(stage: &mut Stage<'_, '_>) -> Result<(), Error> {
    stage.tell.title("Somebody stops a connector by hand, through Kafka Connect's REST API")?;
    let newest = stage.until("the history", |seen, _| Ok(seen.newest())).await?;
    let began = Instant::now();
    let stopped = stage.daemon.stop_connector(PAYMENTS.name).await?;
    stage.tell.did(&stopped)?;
    let (number, trigger) = stage
        .until("it is corrected", |seen, _| {
            let deed = seen.deed(newest, PAYMENTS.name, "resume")?;
            seen.item_is(PAYMENTS.name, "InSync", "Healthy")?;
            let number = deed["sequence"].as_u64().unwrap_or(0);
            Ok((number, deed["trigger"].as_str().unwrap_or("-").to_owned()))
        })
        .await?;
    let took = seconds(began.elapsed());
    let deed = format!("history {number}, woken by {trigger}");
    stage.tell.saw(&format!("drift is `correct`: resumed ({deed}), InSync and Healthy {took} after the stop"))?;

    let edit = stage.file(&PAYMENTS, &[("mirrorkeeper.drift", "report")])?;
    let committed = stage.repository.commit("Only report drift of payments", vec![edit]).await?;
    stage
        .until("the new rule is known", |seen, _| {
            seen.observed(&committed.id)?;
            seen.item_is(PAYMENTS.name, "InSync", "Healthy").map(|_| ())
        })
        .await?;
    let stopped = stage.daemon.stop_connector(PAYMENTS.name).await?;
    stage.tell.did(&committed.said)?;
    stage.tell.did(&stopped)?;
    let (live, desired, origin, why) = stage
        .until("the drift is seen", |seen, _| {
            let item = seen.item(PAYMENTS.name)?;
            if item.text("/sync") != "Drifted" {
                return Err(format!("payments is {}", item.text("/sync")));
            }
            let change = item.difference("state")?;
            let word = |key: &str| change[key].as_str().unwrap_or("-").to_owned();
            Ok((word("live"), word("desired"), word("origin"), item.text("/plan/why").to_owned()))
        })
        .await?;
    if origin != "live" {
        return Err(stage.untrue(format!("the origin of a stop by hand is {origin}, not live")));
    }
    stage.tell.saw(&format!("payments Drifted: state {live}, Git says {desired}, origin {origin}"))?;
    stage.tell.saw(&why)?;
    let corrected = stage.file(&PAYMENTS, &[])?;
    mend(stage, "Correct drift of payments again", corrected).await
}

async fn all_deleted(stage: &mut Stage<'_, '_>) -> Result<(), Error> {
    stage.tell.title("All files are deleted")?;
    let started = stage.until("its flow", |seen, _| seen.item(ORDERS.name)?.started()).await?;
    let edits = vec![Edit::Remove(ORDERS.path), Edit::Remove(PAYMENTS.path)];
    let committed = stage.repository.commit("Clean up", edits).await?;
    stage.tell.did(&committed.said)?;
    let topic = main_topic(&ORDERS)?;
    let before = stage.clusters.copied(&topic);
    let (guard, why, more, now) = stage
        .until("the guard holds", |seen, clusters| {
            seen.observed(&committed.id)?;
            let item = seen.item_is(ORDERS.name, "Blocked", "Healthy")?;
            seen.item_is(PAYMENTS.name, "Blocked", "Healthy")?;
            let more = clusters.copied(&topic) - before;
            if more == 0 {
                return Err(format!("no record of {topic} was copied since"));
            }
            Ok((item.text("/plan/guard").to_owned(), item.text("/plan/why").to_owned(), more, item.started()?))
        })
        .await?;
    same_run(stage, &started, &now)?;
    stage.tell.saw(&format!("orders and payments Blocked, Healthy; guard {guard}"))?;
    stage.tell.saw(&why)?;
    stage.tell.saw(&format!("nothing was stopped: {} records of {topic} copied since", grouped(more)))?;
    Ok(())
}

async fn one_deleted(stage: &mut Stage<'_, '_>) -> Result<(), Error> {
    stage.tell.title("That is reverted, and one file deleted that is meant")?;
    let reverted = stage.repository.revert().await?;
    stage.tell.did(&reverted.said)?;
    in_sync(stage, &reverted).await?;
    stage.tell.saw("orders and payments InSync, Healthy")?;
    // What is produced after the deletion is nobody's to copy, so the comparison needs an end.
    let orders = main_topic(&ORDERS)?;
    let topic = main_topic(&PAYMENTS)?;
    stage.produce(&[&orders, RETURNS], CALM);
    stage
        .until_clusters("everything of payments is copied", |clusters| {
            let (produced, copied) = (clusters.produced(&topic), clusters.copied(&topic));
            if produced == copied { Ok(()) } else { Err(format!("{copied} of {produced} records")) }
        })
        .await?;
    let committed = stage.repository.commit("Stop mirroring payments", vec![Edit::Remove(PAYMENTS.path)]).await?;
    stage.tell.did(&committed.said)?;
    stage
        .until("payments is gone", |seen, _| {
            seen.observed(&committed.id)?;
            seen.item_is(ORDERS.name, "InSync", "Healthy")?;
            seen.item(PAYMENTS.name).map_or(Ok(()), |item| Err(format!("payments is {}", item.text("/sync"))))
        })
        .await?;
    let running = stage.daemon.connectors().await?;
    let remote = stage.remote.get(&topic).cloned().unwrap_or_default();
    let kept = stage.clusters.copied(&topic);
    if running.iter().any(|name| name == PAYMENTS.name) {
        return Err(stage.untrue("payments still runs"));
    }
    if !stage.clusters.target.topics().contains(&remote) || kept != stage.clusters.produced(&topic) {
        return Err(stage.untrue(format!("topic {remote} of the target was not kept: {kept} records")));
    }
    let kept = grouped(kept);
    stage.tell.saw(&format!("payments is stopped, {} runs", running.join(", ")))?;
    stage.tell.saw(&format!("its topic {remote} is kept, with {kept} records"))?;
    Ok(())
}

/// Commits a file that is right again and waits until both connectors are.
async fn mend(stage: &mut Stage<'_, '_>, message: &str, edit: Edit) -> Result<(), Error> {
    let began = Instant::now();
    let committed = stage.repository.commit(message, vec![edit]).await?;
    stage.tell.did(&committed.said)?;
    in_sync(stage, &committed).await?;
    let took = seconds(began.elapsed());
    Ok(stage.tell.saw(&format!("orders and payments InSync, Healthy, lag 0, {took} after the commit"))?)
}

async fn in_sync(stage: &mut Stage<'_, '_>, committed: &Committed) -> Result<(), Error> {
    stage
        .until_copied("both connectors are as Git says", |seen, _| {
            seen.observed(&committed.id)?;
            seen.item_is(ORDERS.name, "InSync", "Healthy")?.caught_up()?;
            seen.item_is(PAYMENTS.name, "InSync", "Healthy")?.caught_up().map(|_| ())
        })
        .await
}

/// A flow that was restarted says another time.
fn same_run(stage: &Stage<'_, '_>, before: &str, now: &str) -> Result<(), Error> {
    if before == now {
        return Ok(());
    }
    Err(stage.untrue(format!("orders was restarted: its flow runs since {now}, and ran since {before} before")))
}

/// The first topic of an example.
pub(super) fn main_topic(example: &super::repository::Example) -> Result<String, Error> {
    let none = || Error::Example { path: example.path, why: "no topics".to_owned() };
    example.topics()?.into_iter().next().filter(|topic| !topic.is_empty()).ok_or_else(none)
}
