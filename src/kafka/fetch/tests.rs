//! Against real brokers, named by `MK_SOURCE` and `MK_TARGET` (`host:port`), topic `MK_TOPIC` on both: what the two ports
//! cost in a bare loop, and that the copy is complete.

use std::collections::VecDeque;
use std::time::Instant;

use super::*;
use crate::kafka::ClusterConfig;
use crate::kafka::admin::{self, OffsetSpec};
use crate::kafka::batch::{RawBatch, Sealed, Stamp, split};
use crate::kafka::produce::{Ack, ProduceSettings, Producer};
use crate::kafka::sequence::{Action, Window};

struct Partition {
    tp: TopicPartition,
    window: Window,
    next: i64,
    wanted: bool,
    waiting: VecDeque<RawBatch>,
    flying: VecDeque<(u64, RawBatch)>,
    end: i64,
    copied: i64,
    tags: u64,
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("there").split_whitespace().collect();
    (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
}

fn cluster(variable: &str) -> Cluster {
    let bootstrap = std::env::var(variable).expect("a broker");
    Cluster::new(ClusterConfig::plaintext(vec![bootstrap]))
}

struct Pump {
    fetcher: Fetcher,
    producer: Producer,
    identity: admin::ProducerIdentity,
    partitions: Vec<Partition>,
    bytes: u64,
    batches: u64,
    /// Age of a batch's newest record when it was read, and when it was acknowledged, ms.
    read: Vec<i64>,
    acked: Vec<i64>,
}

fn age(batch: &RawBatch) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    now.as_millis() as i64 - batch.header().max_timestamp
}

fn percentiles(mut ages: Vec<i64>) -> String {
    ages.sort_unstable();
    let at = |part: f64| ages.get((ages.len() as f64 * part) as usize).copied().unwrap_or(-1);
    format!("p50 {} p90 {} p99 {} p99.9 {} ms", at(0.5), at(0.9), at(0.99), at(0.999))
}

impl Pump {
    fn seal(&self, batch: &RawBatch, sequence: i32) -> Sealed {
        batch.stamp(Stamp { producer_id: self.identity.id, epoch: self.identity.epoch, sequence })
    }

    fn go(&mut self, index: usize) {
        while self.partitions[index].window.room() {
            let p = &mut self.partitions[index];
            let Some(batch) = p.waiting.pop_front() else { break };
            p.tags += 1;
            let sequence = p.window.push(batch.header().record_count, p.tags).expect("room");
            p.flying.push_back((p.tags, batch.clone()));
            let (tp, tag) = (p.tp.clone(), p.tags);
            self.producer.submit(&tp, self.seal(&batch, sequence), tag, None).expect("not full");
        }
        let p = &mut self.partitions[index];
        if !p.wanted && p.waiting.len() < 8 {
            p.wanted = true;
            self.fetcher.want(&p.tp, Some(Want { offset: p.next, last_epoch: -1, topic_id: None, generation: 1 }));
        }
    }

    fn event(&mut self, event: FetchEvent) {
        let chunk = match event {
            FetchEvent::Chunk(chunk) => chunk,
            FetchEvent::Trouble { tp, kind, .. } => {
                println!("{tp}: {kind:?}");
                return;
            }
        };
        if chunk.records.is_empty() {
            return;
        }
        let index = chunk.tp.partition as usize;
        let p = &mut self.partitions[index];
        assert_eq!(chunk.fetch_offset, p.next);
        for batch in split(&chunk.records) {
            let batch = batch.expect("v2");
            batch.verify_crc().expect("whole");
            if batch.header().base_offset >= p.next {
                p.next = batch.header().next_offset();
                self.bytes += batch.len() as u64;
                self.batches += 1;
                self.read.push(age(&batch));
                p.waiting.push_back(batch);
            }
        }
        p.wanted = false;
        self.go(index);
    }

    fn ack(&mut self, ack: &Ack) {
        let index = ack.tp.partition as usize;
        if let crate::kafka::produce::Outcome::Failed { error, .. } = &ack.outcome {
            println!("{}: {error}", ack.tp);
        }
        for action in self.partitions[index].window.on_ack(ack.tag, ack.outcome.reply()) {
            match action {
                Action::Done { tag, records, .. } => {
                    let p = &mut self.partitions[index];
                    let (front, batch) = p.flying.pop_front().expect("there");
                    assert_eq!(front, tag);
                    self.acked.push(age(&batch));
                    p.copied += i64::from(records);
                }
                Action::Send { tag, sequence } => {
                    let p = &self.partitions[index];
                    let batch = &p.flying.iter().find(|(t, _)| *t == tag).expect("there").1;
                    self.producer.submit(&p.tp, self.seal(batch, sequence), tag, None).expect("not full");
                }
                other => panic!("{other:?}"),
            }
        }
        self.go(index);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs two brokers: MK_SOURCE, MK_TARGET, MK_TOPIC"]
async fn pump_between_real_brokers() {
    let (source, target) = (cluster("MK_SOURCE"), cluster("MK_TARGET"));
    let topic = std::env::var("MK_TOPIC").expect("a topic");
    let described = source.topics(Some(std::slice::from_ref(&topic))).await.expect("described");
    let tps: Vec<_> = described[0].partitions.iter().map(|p| TopicPartition::new(topic.as_str(), p.index)).collect();
    let wanted: Vec<_> = tps.iter().map(|tp| (tp.clone(), OffsetSpec::Latest)).collect();
    let ends = admin::list_offsets(&source, &wanted, Isolation::ReadUncommitted).await.expect("listed");
    let identity = admin::init_producer_id(&target, None, Duration::from_secs(60)).await.expect("identity");
    let live = std::env::var("MK_LIVE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let budget = Budget::new(64 << 20);
    let (fetcher, mut events) = Fetcher::start(source, FetchSettings::new("pump", budget.clone()));
    let (producer, mut acks) = Producer::start(target, ProduceSettings::new("pump"));
    let partitions = tps.into_iter().zip(ends).map(|(tp, (_, end))| Partition {
        tp,
        window: Window::new(0),
        next: if live.is_some() { end.as_ref().expect("an end").offset } else { 0 },
        wanted: false,
        waiting: VecDeque::new(),
        flying: VecDeque::new(),
        end: if live.is_some() { i64::MAX } else { end.as_ref().expect("an end").offset },
        copied: 0,
        tags: 0,
    });
    let mut pump = Pump {
        fetcher,
        producer,
        identity,
        partitions: partitions.collect(),
        bytes: 0,
        batches: 0,
        read: vec![],
        acked: vec![],
    };
    let (began, cpu) = (Instant::now(), cpu_seconds());
    for index in 0..pump.partitions.len() {
        pump.go(index);
    }
    let work = async {
        while pump.partitions.iter().any(|p| p.copied < p.end) {
            tokio::select! {
                event = events.recv() => pump.event(event.expect("running")),
                ack = acks.recv() => pump.ack(&ack.expect("running")),
            }
        }
    };
    let ended = tokio::time::timeout(live.unwrap_or(Duration::from_secs(240)), work).await;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let gb = pump.bytes as f64 / 1e9;
    println!(
        "{gb:.3} GB, {} batches in {seconds:.2} s: {:.0} MB/s, {:.2} CPU s/GB",
        pump.batches,
        gb * 1e3 / seconds,
        cpu / gb
    );
    println!("read: {}; acknowledged: {}", percentiles(pump.read), percentiles(pump.acked));
    assert!(live.is_some() || ended.is_ok());
    assert!(live.is_some() || pump.partitions.iter().all(|p| p.copied >= p.end));
}

async fn trouble(events: &mut mpsc::Receiver<FetchEvent>, generation: u64) -> Trouble {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("in time");
        if let FetchEvent::Trouble { generation: g, kind, .. } = next.expect("running")
            && g == generation
            && !matches!(kind, Trouble::Retriable(_) | Trouble::Recovered)
        {
            return kind;
        }
    }
}

async fn records(events: &mut mpsc::Receiver<FetchEvent>, generation: u64) -> Chunk {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("in time");
        match next.expect("running") {
            FetchEvent::Chunk(chunk) if chunk.generation == generation && !chunk.records.is_empty() => return chunk,
            FetchEvent::Chunk(_) => {}
            FetchEvent::Trouble { generation: g, kind, .. } => assert_ne!(g, generation, "{kind:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs a broker with a topic of more than 2 MB: MK_SOURCE, MK_TOPIC"]
async fn troubles_of_a_real_broker() {
    let source = cluster("MK_SOURCE");
    let topic = std::env::var("MK_TOPIC").expect("a topic");
    let tp = TopicPartition::new(topic.as_str(), 0);
    let id = source.topics(Some(&[topic])).await.expect("described")[0].id;
    let budget = Budget::new(8 << 20);
    let (fetcher, mut events) = Fetcher::start(source, FetchSettings::new("troubles", budget.clone()));
    let want = |offset, generation| Want { offset, last_epoch: -1, topic_id: None, generation };

    fetcher.want(&TopicPartition::new("no-such-topic", 0), Some(want(0, 1)));
    fetcher.want(&tp, Some(want(i64::MAX / 2, 2)));
    let kind = trouble(&mut events, 2).await;
    assert!(matches!(kind, Trouble::OffsetOutOfRange { log_start: 0, high_watermark: 1.. }), "{kind:?}");
    assert!(matches!(trouble(&mut events, 1).await, Trouble::UnknownTopic));

    fetcher.want(&tp, Some(Want { topic_id: Some(Uuid::from_u128(7)), ..want(0, 3) }));
    let kind = trouble(&mut events, 3).await;
    assert!(matches!(kind, Trouble::Recreated { topic_id } if topic_id == id), "{kind:?}");

    fetcher.want(&tp, Some(Want { topic_id: Some(id), last_epoch: 900, ..want(1, 4) }));
    let kind = trouble(&mut events, 4).await;
    assert!(matches!(kind, Trouble::Truncated { .. }), "{kind:?}");

    // One chunk per want; what is held is counted, and comes back.
    fetcher.want(&tp, Some(Want { topic_id: Some(id), ..want(0, 5) }));
    let chunk = records(&mut events, 5).await;
    assert_eq!((chunk.fetch_offset, budget.used()), (0, chunk.records.len()));
    assert!(tokio::time::timeout(Duration::from_millis(700), records(&mut events, 5)).await.is_err(), "no credit");
    let next = split(&chunk.records).last().expect("a batch").expect("v2").header().next_offset();
    fetcher.want(&tp, Some(Want { topic_id: Some(id), ..want(next, 5) }));
    let second = records(&mut events, 5).await;
    assert_eq!(second.fetch_offset, next);
    drop((chunk, second));
    fetcher.want(&tp, None);
    assert!(tokio::time::timeout(Duration::from_millis(700), events.recv()).await.is_err(), "forgotten");
    assert_eq!(budget.used(), 0);
}
