//! The state topic on real brokers.

use mirrorkeeper::destination::state::{FingerprintKey, Hold, HoldScope, Record, StateError, StateStore};
use mirrorkeeper::destination::state_log::StateLog;
use mirrorkeeper::kafka::log::{KeyedLog, LogSpec, NewRecord};
use mirrorkeeper::kafka::{Cluster, ClusterConfig};

use crate::support::pair;

#[tokio::test]
async fn a_state_is_read_back_by_another_process_and_a_newer_one_is_left_alone() {
    let Some(pair) = pair() else { return };
    let cluster = Cluster::new(ClusterConfig::plaintext(pair.target.bootstrap().split(',').map(Into::into).collect()));
    let topic = format!("mirrorkeeper-state-{}", uuid::Uuid::new_v4().simple());
    let hold = |by: &str| Hold {
        reason: "r".into(),
        by: by.into(),
        since: "2025-01-01T00:00:00Z".parse().unwrap(),
        until: None,
    };

    let mut store = StateLog::new(cluster.clone(), &topic, -1);
    let unread = store.write(vec![Record::Hold(HoldScope::Instance, None)]).await.unwrap_err();
    assert!(matches!(unread, StateError::Unavailable { what: "written", .. }), "nothing is written before it was read");
    assert_eq!(store.load().await.unwrap(), Default::default());
    let name = HoldScope::Connector("orders".parse().unwrap());
    let written = vec![
        Record::FingerprintKey(FingerprintKey::from([9; 32])),
        Record::Hold(HoldScope::Instance, Some(hold("ops"))),
        Record::Hold(name.clone(), Some(hold("ana"))),
        Record::Hold(HoldScope::Instance, None),
    ];
    store.write(written).await.unwrap();

    let mut other = StateLog::new(cluster.clone(), &topic, -1);
    let state = other.load().await.unwrap();
    assert_eq!(state, store.load().await.unwrap());
    assert_eq!(state.holds.keys().collect::<Vec<_>>(), [&name]);
    assert_eq!(state.fingerprint_key, Some(FingerprintKey::from([9; 32])));

    let spec = LogSpec { topic, partitions: 1, replication_factor: -1, configs: vec![] };
    let newer = NewRecord { key: "applied/orders".into(), value: Some(r#"{"format":2}"#.into()), headers: vec![] };
    KeyedLog::open(&cluster, spec).await.unwrap().append(vec![newer]).await.unwrap();
    assert!(matches!(other.load().await, Err(StateError::Newer { found: 2, .. })));
    assert!(other.write(vec![Record::Hold(name, None)]).await.is_err(), "what isn't understood is not written over");
}
