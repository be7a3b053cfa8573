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
                    assert_eq!(p.flying.pop_front().expect("there").0, tag);
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
    let budget = Budget::new(64 << 20);
    let (fetcher, mut events) = Fetcher::start(source, FetchSettings::new("pump", budget.clone()));
    let (producer, mut acks) = Producer::start(target, ProduceSettings::new("pump"));
    let partitions = tps.into_iter().zip(ends).map(|(tp, (_, end))| Partition {
        tp,
        window: Window::new(0),
        next: 0,
        wanted: false,
        waiting: VecDeque::new(),
        flying: VecDeque::new(),
        end: end.expect("an end").offset,
        copied: 0,
        tags: 0,
    });
    let mut pump = Pump { fetcher, producer, identity, partitions: partitions.collect(), bytes: 0, batches: 0 };
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
    tokio::time::timeout(Duration::from_secs(240), work).await.expect("in time");
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let gb = pump.bytes as f64 / 1e9;
    println!(
        "{gb:.3} GB, {} batches in {seconds:.2} s: {:.0} MB/s, {:.2} CPU s/GB",
        pump.batches,
        gb * 1e3 / seconds,
        cpu / gb
    );
    assert!(pump.partitions.iter().all(|p| p.copied == p.end));
}
