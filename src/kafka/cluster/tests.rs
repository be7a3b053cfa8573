//! Against a stub broker that tells metadata.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::*;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::supervise::{Task, spawn};

/// What the stub tells, and how often it was asked.
#[derive(Default)]
struct Stub {
    epoch: AtomicI32,
    leader: AtomicI32,
    refusals: AtomicUsize,
    metadata: AtomicUsize,
    connections: AtomicUsize,
}

async fn start(stub: Arc<Stub>) -> (Cluster, Task<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = spawn("stub", async move {
        let mut served = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let stub = stub.clone();
            stub.connections.fetch_add(1, Ordering::SeqCst);
            served.push(spawn("stub connection", async move {
                while let Ok(len) = stream.read_i32().await {
                    let mut frame = vec![0; usize::try_from(len).unwrap()];
                    if stream.read_exact(&mut frame).await.is_err() {
                        return;
                    }
                    let mut body = BytesMut::new();
                    body.put_slice(&frame[4..8]);
                    match frame[1] {
                        18 => {
                            let key =
                                |k, v| ApiVersion::default().with_api_key(k).with_min_version(0).with_max_version(v);
                            let keys = vec![key(3, 8), key(18, 3), key(22, 1)];
                            ApiVersionsResponse::default().with_api_keys(keys).encode(&mut body, 3).unwrap();
                        }
                        3 => {
                            stub.metadata.fetch_add(1, Ordering::SeqCst);
                            told(&stub, port).encode(&mut body, 8).unwrap();
                        }
                        _ => {
                            let left =
                                stub.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                            let code = if left.is_ok() { 14 } else { 0 };
                            InitProducerIdResponse::default().with_error_code(code).encode(&mut body, 1).unwrap();
                        }
                    }
                    let mut out = BytesMut::new();
                    out.put_i32(i32::try_from(body.len()).unwrap());
                    out.put_slice(&body);
                    if stream.write_all(&out).await.is_err() {
                        return;
                    }
                }
            }));
        }
    });
    let config = ClusterConfig {
        api_timeout: Duration::from_secs(3),
        ..ClusterConfig::plaintext(vec![format!("127.0.0.1:{port}")])
    };
    (Cluster::new(config), task)
}

fn told(stub: &Stub, port: u16) -> MetadataResponse {
    let broker = |id| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(port.into())
    };
    let partition = MetadataResponsePartition::default()
        .with_leader_id(BrokerId(stub.leader.load(Ordering::SeqCst)))
        .with_leader_epoch(stub.epoch.load(Ordering::SeqCst));
    let topic = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_static_str("t").into()))
        .with_partitions(vec![partition]);
    MetadataResponse::default()
        .with_brokers(vec![broker(0), broker(1)])
        .with_cluster_id(Some(StrBytes::from_static_str("stub")))
        .with_controller_id(BrokerId(0))
        .with_topics(vec![topic])
}

#[tokio::test]
async fn refreshes_are_coalesced_and_connections_shared() {
    let stub = Arc::new(Stub::default());
    let (cluster, _task) = start(stub.clone()).await;
    let tp = TopicPartition::new("t", 0);
    let leaders = futures::future::join_all((0..50).map(|_| cluster.leader(&tp))).await;
    assert!(leaders.iter().all(|l| *l.as_ref().unwrap() == Leader { node: 0, epoch: 0 }));
    assert!(stub.metadata.load(Ordering::SeqCst) <= 2, "{:?}", stub.metadata);
    let before = stub.connections.load(Ordering::SeqCst);
    let same = futures::future::join_all((0..20).map(|_| cluster.broker(0, Role::Fetch))).await;
    assert!(same.iter().all(Result::is_ok));
    assert_eq!(stub.connections.load(Ordering::SeqCst), before + 1);
    assert_eq!(cluster.id().await.unwrap(), "stub");
    let missing = cluster.leader(&TopicPartition::new("t", 9)).await.unwrap_err();
    assert_eq!(missing.broker_code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

#[tokio::test]
async fn an_older_leader_never_replaces_a_newer_one() {
    let stub = Arc::new(Stub::default());
    let (cluster, _task) = start(stub.clone()).await;
    let tp = TopicPartition::new("t", 0);
    cluster.leader(&tp).await.unwrap();
    cluster.note_leader(&tp, Leader { node: 1, epoch: 5 });
    assert_eq!(cluster.cached_leader(&tp), Some(Leader { node: 1, epoch: 5 }));
    cluster.note_leader(&tp, Leader { node: 0, epoch: 4 });
    cluster.invalidate("t");
    assert_eq!(cluster.cached_leader(&tp), None);
    // The stub lags behind: it still tells of epoch 0.
    assert_eq!(cluster.leader(&tp).await.unwrap(), Leader { node: 1, epoch: 5 });
    stub.epoch.store(6, Ordering::SeqCst);
    cluster.invalidate("t");
    assert_eq!(cluster.leader(&tp).await.unwrap(), Leader { node: 0, epoch: 6 });
    // No leader now: an error that may pass, and the next one is found.
    stub.leader.store(-1, Ordering::SeqCst);
    stub.epoch.store(7, Ordering::SeqCst);
    cluster.invalidate("t");
    assert!(cluster.leader(&tp).await.unwrap_err().retriable());
    stub.leader.store(1, Ordering::SeqCst);
    stub.epoch.store(8, Ordering::SeqCst);
    assert_eq!(cluster.leader(&tp).await.unwrap(), Leader { node: 1, epoch: 8 });
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_asked_for_again() {
    let stub = Arc::new(Stub::default());
    let (cluster, _task) = start(stub.clone()).await;
    let tp = TopicPartition::new("t", 0);
    cluster.leader(&tp).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    cluster.note_broker(7, "127.0.0.1", port.into());
    cluster.note_leader(&tp, Leader { node: 7, epoch: 1 });
    assert_eq!(cluster.leader(&tp).await.unwrap().node, 7);
    cluster.broker(7, Role::Produce).await.unwrap_err();
    stub.leader.store(1, Ordering::SeqCst);
    stub.epoch.store(2, Ordering::SeqCst);
    assert_eq!(cluster.leader(&tp).await.unwrap(), Leader { node: 1, epoch: 2 });
}

#[tokio::test]
async fn retriable_codes_are_retried_within_the_deadline() {
    let stub = Arc::new(Stub::default());
    let (cluster, _task) = start(stub.clone()).await;
    let ask = || {
        let build = |_| InitProducerIdRequest::default();
        cluster.call_any(Role::Admin, build, |r: &InitProducerIdResponse| ErrorCode(r.error_code))
    };
    stub.refusals.store(2, Ordering::SeqCst);
    ask().await.unwrap();
    assert_eq!(stub.refusals.load(Ordering::SeqCst), 0);
    stub.refusals.store(10_000, Ordering::SeqCst);
    let late = ask().await.unwrap_err();
    assert!(matches!(late, Error::Timeout { .. }), "{late}");
    assert_eq!(late.broker_code(), Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
}

#[tokio::test]
async fn nobody_answering_is_an_error_within_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let config = ClusterConfig { api_timeout: Duration::from_millis(300), ..ClusterConfig::plaintext(vec![addr]) };
    let cluster = Cluster::new(config);
    assert!(matches!(cluster.topics(None).await, Err(Error::Timeout { .. })));
    assert!(matches!(cluster.id().await, Err(Error::Timeout { .. })));
}
