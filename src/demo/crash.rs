//! The last step: the daemon is killed under load, started again, and both clusters are compared.

use std::time::Instant;

use super::Error;
use super::clusters::Clusters;
use super::compare::{self, Verdict};
use super::repository::ORDERS;
use super::stage::{RETURNS, Stage};
use super::story::main_topic;
use super::tell::{grouped, seconds};

/// Records a second while the daemon is killed.
const RUSH: u32 = 5_000;

/// Records that are copied under that load before the daemon is killed, and again after it came back.
const UNDER_LOAD: u64 = 3_000;

/// Records that wait when the daemon is started again.
const WAITING: u64 = 1_500;

/// Kills, starts again, compares; an unequal outcome is an error.
pub(super) async fn killed(stage: &mut Stage<'_, '_>) -> Result<Verdict, Error> {
    stage.tell.title("The daemon is killed under load (SIGKILL) and started again")?;
    let orders = main_topic(&ORDERS)?;
    let topics = [orders.as_str(), RETURNS];
    let copied = |clusters: &Clusters| topics.iter().map(|topic| clusters.copied(topic)).sum::<u64>();
    let produced = |clusters: &Clusters| topics.iter().map(|topic| clusters.produced(topic)).sum::<u64>();
    let at_least = |what: &str, number: u64, wanted: u64| {
        if number >= wanted { Ok(()) } else { Err(format!("{number} of {wanted} records {what}")) }
    };

    stage.produce(&topics, RUSH);
    let wanted = copied(&stage.clusters) + UNDER_LOAD;
    // In the midst of it: with records that the source has and the target has not.
    let in_the_midst = |c: &Clusters| match produced(c).saturating_sub(copied(c)) {
        0 => Err("no record is on its way".to_owned()),
        _ => at_least("copied", copied(c), wanted),
    };
    stage.until_clusters("copying under load", in_the_midst).await?;
    stage.daemon.kill().await?;
    let (dead_at, made) = (copied(&stage.clusters), produced(&stage.clusters));
    let (dead_said, way) = (grouped(dead_at), grouped(made.saturating_sub(dead_at)));
    stage
        .tell
        .did(&format!("kill -9 of the daemon: {dead_said} records copied, {way} not yet, {RUSH} a second coming"))?;
    stage.until_clusters("records pile up", |c| at_least("wait", produced(c).saturating_sub(dead_at), WAITING)).await?;

    let began = Instant::now();
    stage.daemon.start_again()?;
    let waiting = grouped(produced(&stage.clusters).saturating_sub(dead_at));
    stage.tell.did(&format!("started again, with {waiting} records waiting"))?;
    stage.until_clusters("copying goes on", |c| at_least("copied", copied(c), dead_at + 1)).await?;
    let resumed = seconds(began.elapsed());
    stage.until_clusters("copying under load again", |c| at_least("copied", copied(c), dead_at + UNDER_LOAD)).await?;

    stage.tell.waiting("awaiting the source's acknowledgements");
    if let Some(load) = stage.load.take() {
        load.stop().await?;
    }
    stage
        .until("everything is copied", |seen, clusters| {
            let item = seen.item_is(ORDERS.name, "InSync", "Healthy")?.caught_up()?;
            topics.iter().try_for_each(|topic| match (item.ends(topic), clusters.ends(topic)) {
                (known, ends) if known == ends => Ok(()),
                (known, ends) => Err(format!("{topic} ends at {ends:?}, the status says {known:?}")),
            })
        })
        .await?;
    let caught_up = seconds(began.elapsed());
    stage
        .tell
        .saw(&format!("copying goes on {resumed} after the start; orders InSync, Healthy, lag 0 after {caught_up}"))?;
    let verdict = compared(stage).await?;
    let (lost, repeated) = (verdict.lost, verdict.repeated);
    stage.tell.saw(&format!("{lost} records lost, {repeated} repeated"))?;
    let summary = format!(
        "EQUAL  {} records in {} topics, read by another client: key, value, headers, timestamp, order",
        grouped(verdict.records),
        stage.remote.len()
    );
    stage.tell.verdict(&summary)?;
    Ok(verdict)
}

/// Reads both sides to their ends.
async fn compared(stage: &mut Stage<'_, '_>) -> Result<Verdict, Error> {
    stage.tell.waiting("reading both clusters back");
    let source_topics = stage.remote.keys().cloned().collect();
    let remote_topics = stage.remote.values().cloned().collect();
    let (source, target) = tokio::try_join!(
        compare::read(stage.clusters.source.bootstrap(), source_topics),
        compare::read(stage.clusters.target.bootstrap(), remote_topics),
    )?;
    let verdict = compare::compare(&stage.remote, &source, &target);
    let produced: u64 = stage.remote.keys().map(|topic| stage.clusters.produced(topic)).sum();
    if verdict.records == 0 || verdict.records != produced {
        let read = verdict.records;
        return Err(stage.untrue(format!("{read} records were read from the source, which holds {produced}")));
    }
    if !verdict.equal() {
        let Verdict { lost, repeated, first, .. } = &verdict;
        let first = first.as_deref().unwrap_or_default();
        return Err(Error::Different(format!("{lost} records lost, {repeated} repeated; {first}")));
    }
    Ok(verdict)
}
