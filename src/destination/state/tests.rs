use super::*;

const V1: &str = include_str!("../../../tests/fixtures/state/v1.jsonl");

#[derive(Deserialize)]
struct Line {
    key: String,
    value: Option<serde_json::Value>,
}

fn fixture() -> Vec<(String, Option<Vec<u8>>)> {
    V1.lines()
        .map(|line| {
            let line: Line = serde_json::from_str(line).unwrap();
            (line.key, line.value.map(|v| serde_json::to_vec(&v).unwrap()))
        })
        .collect()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn this_release_reads_the_state_topic_of_format_1() {
    let mut state = State::default();
    for (key, value) in fixture() {
        if let Some(record) = Record::decode(&key, value.as_deref()).unwrap() {
            state.put(record);
        }
    }
    let applied = &state.applied[&name("events-staging")];
    assert_eq!(applied.state, TargetState::Running);
    assert_eq!(applied.path, "connectors/staging/stg-ue2/cfnstg/events-staging.json");
    assert_eq!(applied.config.get("topics"), Some("events-staging"));
    assert_eq!(applied.source_cluster_id.as_deref(), Some("lkc-1"));
    assert!(!state.applied.contains_key(&name("retired")), "its record was followed by a null");
    assert_eq!(state.holds[&HoldScope::Instance].by, "ops");
    assert_eq!(state.holds[&HoldScope::Connector(name("orders"))].reason, "INC-1");
    assert_eq!(state.history.iter().map(|e| e.sequence).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(state.history[1].steps[0].failed.as_deref(), Some("ENGINE-FAILED"));
    assert_eq!(state.fingerprint_key, Some(FingerprintKey([7; 32])));
}

#[test]
fn what_is_read_is_written_the_same_byte_for_byte() {
    for (key, value) in fixture() {
        if let Some(record) = Record::decode(&key, value.as_deref()).unwrap() {
            assert_eq!(record.encode(), (key, value));
        }
    }
}

#[test]
fn a_newer_format_is_refused_in_one_sentence_under_any_key() {
    for key in ["applied/a", "hold/instance", "history/3", "fingerprint-key", "something-new"] {
        let error = Record::decode(key, Some(br#"{"format":2,"whatever":[1]}"#)).unwrap_err();
        assert_eq!(error, StateError::Newer { key: key.to_owned(), found: 2 });
        assert!(!error.to_string().contains('\n'));
    }
}

#[test]
fn a_value_that_cannot_be_read_is_an_error_that_quotes_nothing() {
    for value in [&b"hunter2"[..], br#"{"format":1,"config":"hunter2"}"#, br#"{"config":"hunter2"}"#] {
        let error = Record::decode("applied/a", Some(value)).unwrap_err().to_string();
        assert!(error.contains("applied/a") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn unknown_keys_of_a_known_format_are_left_alone() {
    assert_eq!(Record::decode("pin/x", Some(br#"{"format":1}"#)), Ok(None));
    assert_eq!(Record::decode("pin/x", None), Ok(None));
}

#[test]
fn history_is_a_ring() {
    let mut state = State::default();
    for sequence in 0..HISTORY + 5 {
        assert_eq!(state.next_sequence(), sequence);
        state.put(Record::History(HistoryEntry {
            sequence,
            revision: "r".into(),
            trigger: "timer".into(),
            started_at: Timestamp::UNIX_EPOCH,
            seconds: 0.5,
            steps: vec![],
        }));
    }
    assert_eq!(state.history.len() as u64, HISTORY);
    assert_eq!(state.history[0].sequence, 5);
}

#[test]
fn a_connectors_own_hold_is_named_before_the_instances_and_ends_on_time() {
    let now = Timestamp::from_second(1_000).unwrap();
    let hold = |by: &str, until: Option<i64>| Hold {
        reason: "r".into(),
        by: by.into(),
        since: Timestamp::UNIX_EPOCH,
        until: until.map(|s| Timestamp::from_second(s).unwrap()),
    };
    let mut state = State::default();
    state.put(Record::Hold(HoldScope::Instance, Some(hold("all", None))));
    state.put(Record::Hold(HoldScope::Connector(name("a")), Some(hold("one", Some(1_001)))));
    assert_eq!(state.hold_on(&name("a"), now).unwrap().1.by, "one");
    assert_eq!(state.hold_on(&name("a"), Timestamp::from_second(1_001).unwrap()).unwrap().1.by, "all");
    assert_eq!(state.hold_on(&name("b"), now).unwrap().1.by, "all");
}
