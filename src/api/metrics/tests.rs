mod drop_in;

use super::*;
use crate::api::tests::made::{NASTY, at, flow, item, problem, status, step};
use crate::engine::Observed;
use crate::reconcile::status::Word;
use crate::spec::{Config, Name, TargetState};

fn live(name: &str) -> Live {
    let config = Config::from([
        ("connector.class", "org.apache.kafka.connect.mirror.MirrorSourceConnector"),
        ("source.cluster.alias", "cfn"),
        ("target.cluster.alias", "ue2"),
    ]);
    let observed = Observed { config, state: TargetState::Running, adopted: true, flow: Some(flow("t")) };
    Live { connectors: BTreeMap::from([(name.parse::<Name>().unwrap(), observed)]), ..Live::default() }
}

fn text(status: &Status, live: Option<&Live>) -> String {
    encoded(families(&Seen { status, live, ready: true })).unwrap()
}

/// The lines that hold values and not help.
fn samples(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn real_lag_and_progress_are_there() {
    let mut document = status(vec![item("a", Word::InSync)]);
    document.plan.withheld.push(step("delete", "b", Some("max-deletes")));
    document.items[0].problems.push(problem("SRC-AUTH", "no"));
    let text = text(&document, None);
    for line in [
        "mirrorkeeper_state{state=\"InSync\"} 1.0",
        "mirrorkeeper_state{state=\"Stalled\"} 0.0",
        "mirrorkeeper_items{sync=\"InSync\",health=\"Healthy\"} 1.0",
        "mirrorkeeper_lag_records{connector=\"a\"} 42.0",
        "mirrorkeeper_oldest_uncopied_age_seconds{connector=\"a\"} 1.5",
        &format!("mirrorkeeper_last_acknowledged_timestamp_seconds{{connector=\"a\"}} {}.0", at(55).as_second()),
        "mirrorkeeper_bytes_per_second{connector=\"a\"} 2048.0",
        "mirrorkeeper_records_total{connector=\"a\"} 1000.0",
        "mirrorkeeper_batches_total{connector=\"a\",shape=\"drop\",reason=\"control\"} 2.0",
        "mirrorkeeper_throttled_seconds{connector=\"a\"} 0.25",
        "mirrorkeeper_partition_lag_records{connector=\"a\",topic=\"t\",partition=\"1\"} 40.0",
        "mirrorkeeper_guard_blocked{guard=\"max-deletes\",action=\"delete\"} 1.0",
        "mirrorkeeper_problems{connector=\"a\",code=\"SRC-AUTH\"} 1.0",
        "mirrorkeeper_reconcile_passes_total 3.0",
        "mirrorkeeper_engine_up 0.0",
    ] {
        assert!(samples(&text).any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn connects_names_are_as_the_exporters_rules_write_them() {
    let text = text(&status(vec![]), Some(&live("a")));
    for line in [
        "kafka_connect_connect_worker_metrics_connector_count{connector=\"aggregate\"} 1.0",
        "kafka_connect_connect_worker_metrics_connector_running_task_count{connector=\"a\"} 1.0",
        "kafka_connect_connect_worker_metrics_connector_failed_task_count{connector=\"a\"} 0.0",
        "kafka_connect_connector_metrics{connector=\"a\",status=\"running\"} 1.0",
        "kafka_connect_source_task_metrics_source_record_write_total{connector=\"a\",task=\"0\"} 1000.0",
        "kafka_consumer_consumer_fetch_manager_metrics_records_lag{client_type=\"consumer\",client_id=\"\\\"cfn->ue2|a-0|replication-consumer\\\"\",topic=\"t\",partition=\"1\"} 40.0",
        "kafka_consumer_consumer_fetch_manager_metrics_records_lag_max{client_type=\"consumer\",client_id=\"\\\"cfn->ue2|a-0|replication-consumer\\\"\"} 40.0",
    ] {
        assert!(samples(&text).any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn series_go_with_their_connector() {
    let both = text(&status(vec![item("a", Word::InSync), item("gone", Word::InSync)]), Some(&live("gone")));
    assert!(both.contains("\"gone\""));
    let one = text(&status(vec![item("a", Word::InSync)]), Some(&Live::default()));
    assert!(!one.contains("gone"), "{one}");
}

#[test]
fn what_is_unknown_has_no_sample() {
    let mut unknown = item("a", Word::Unknown);
    (unknown.lag_records, unknown.last_acknowledged, unknown.flow) = (None, None, None);
    let text = text(&status(vec![unknown]), None);
    assert!(!text.contains("mirrorkeeper_lag_records") && !text.contains("mirrorkeeper_last_acknowledged"), "{text}");
}

#[test]
fn label_values_can_not_forge_samples() {
    let nasty = format!("{}\nmirrorkeeper_forged 1", NASTY.replace('/', ""));
    let mut document = status(vec![item(&nasty, Word::InSync)]);
    document.source.reference = Some(nasty);
    let text = text(&document, None);
    assert!(!samples(&text).any(|line| line.starts_with("mirrorkeeper_forged")), "{text}");
    assert!(text.contains("{connector=\"a\\\"><script>alert('1')<script>\\\\\\nmirrorkeeper_forged 1\"}"), "{text}");
}

#[test]
fn no_series_appears_twice_and_every_name_is_declared_once() {
    let mut document = status(vec![item("a", Word::InSync), item("b", Word::InSync)]);
    for item in &mut document.items {
        item.problems = vec![problem("X", "one"), problem("X", "two")];
    }
    let text = text(&document, Some(&live("a")));
    let series: Vec<&str> = samples(&text).filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series).collect();
    let distinct: std::collections::BTreeSet<_> = series.iter().collect();
    assert_eq!(series.len(), distinct.len());
    let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let declared: std::collections::BTreeSet<_> = types.iter().collect();
    assert_eq!(types.len(), declared.len());
    assert!(text.contains("mirrorkeeper_problems{connector=\"a\",code=\"X\"} 2.0"));
}

#[test]
fn the_number_of_partition_series_is_bounded() {
    let mut wide = item("a", Word::InSync);
    let partitions = &mut wide.flow.as_mut().unwrap().partitions;
    let one = partitions[0].clone();
    let numbers = 0..i32::try_from(MAX_PARTITIONS + 7).unwrap();
    *partitions = numbers.map(|partition| crate::engine::PartitionReport { partition, ..one.clone() }).collect();
    let text = text(&status(vec![wide]), None);
    assert_eq!(samples(&text).filter(|line| line.starts_with("mirrorkeeper_partition_lag")).count(), MAX_PARTITIONS);
    assert!(text.contains("\nmirrorkeeper_partition_series_left_out 7.0\n"));
}

#[test]
fn mirror_makers_figures_are_told_of_each_partition() {
    let text = text(&status(vec![]), Some(&live("a")));
    let labels = "{source=\"cfn\",target=\"ue2\",topic=\"cfn.t\",partition=\"1\"}";
    for (attribute, value) in [
        ("record_count", "500.0"),
        ("record_rate", "12.5"),
        ("byte_count", "524288.0"),
        ("byte_rate", "1024.0"),
        ("record_age_ms", "7.0"),
        ("record_age_ms_min", "3.0"),
        ("record_age_ms_max", "45.0"),
        ("record_age_ms_avg", "7.25"),
        ("replication_latency_ms", "16.0"),
    ] {
        let line = format!("kafka_connect_mirror_mirrorsourceconnector_{attribute}{labels} {value}");
        assert!(samples(&text).any(|found| found == line), "{line} is not in\n{text}");
    }
    // Nothing was acknowledged for a minute: Java has NaN.
    assert!(!text.contains("replication_latency_ms_"), "{text}");
}

#[test]
fn a_partition_without_figures_has_no_samples_of_them() {
    let mut live = live("a");
    for observed in live.connectors.values_mut() {
        observed.flow.as_mut().unwrap().partitions[0].measured = None;
    }
    let text = text(&status(vec![]), Some(&live));
    assert!(!text.contains("topic=\"cfn.t\",partition=\"0\""), "{text}");
    assert!(text.contains("topic=\"cfn.t\",partition=\"1\""), "{text}");
    // The task's rate would lack a partition.
    assert!(!text.contains("source_record_write_rate"), "{text}");
}

#[test]
fn two_connectors_into_one_remote_partition_add_up() {
    let mut both = live("a");
    both.connectors.extend(live("b").connectors);
    let text = text(&status(vec![]), Some(&both));
    let labels = "{source=\"cfn\",target=\"ue2\",topic=\"cfn.t\",partition=\"1\"}";
    for line in [
        format!("kafka_connect_mirror_mirrorsourceconnector_record_count{labels} 1000.0"),
        format!("kafka_connect_mirror_mirrorsourceconnector_record_age_ms{labels} 7.0"),
    ] {
        assert!(samples(&text).any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_older_text_format_has_the_same_samples() {
    let document = status(vec![item("a", Word::InSync), item(NASTY, Word::Failed)]);
    let live = live("a");
    let seen = Seen { status: &document, live: Some(&live), ready: true };
    let (open, plain) = (encoded(families(&seen)).unwrap(), plain(&families(&seen)).unwrap());
    assert_eq!(samples(&open).collect::<Vec<_>>(), samples(&plain).collect::<Vec<_>>());
    assert!(plain.contains("# TYPE mirrorkeeper_records_total counter\nmirrorkeeper_records_total{"), "{plain}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "promtool is a program")]
fn promtool_reads_all_and_finds_fault_with_javas_names_only() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let document = status(vec![item("a", Word::InSync), item(NASTY, Word::Failed)]);
    let live = live("a->b.c*");
    let text = plain(&families(&Seen { status: &document, live: Some(&live), ready: true })).unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return eprintln!("skipped: needs promtool"),
        Err(error) => panic!("promtool can't be run: {error}"),
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    // What can't be read is told in another form, so it is found here too.
    let found: Vec<&str> = said.lines().filter(|line| !line.is_empty() && !line.starts_with("kafka_")).collect();
    assert!(found.is_empty(), "{found:#?}\n{text}");
    // Java's names end in `_count` and `_ms`, which a linter can't like.
    assert!(said.lines().all(|line| line.contains("suffix") || line.contains("unit")), "{said}");
}
