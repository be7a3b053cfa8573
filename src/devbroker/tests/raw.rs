//! A client that says exactly what it is told to: for what librdkafka never would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, InitProducerIdRequest, ProduceRequest, RequestHeader, ResponseHeader,
    TopicName, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use crate::devbroker::DevCluster;
use crate::devbroker::header::Header;
use crate::devbroker::state::now_ms;

pub(super) struct Raw {
    stream: TcpStream,
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

impl Raw {
    /// Connects to a broker, the first is 0.
    pub(super) fn connect(cluster: &DevCluster, nth: usize) -> Self {
        Self::to(cluster.bootstrap().split(',').nth(nth).unwrap())
    }

    pub(super) fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream }
    }

    pub(super) fn send<R: Request>(&mut self, request: &R, version: i16) {
        let api = ApiKey::try_from(R::KEY).unwrap();
        let mut out = BytesMut::new();
        out.put_i32(0);
        let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        let header = header.with_correlation_id(7).with_client_id(Some(StrBytes::from_static_str("raw")));
        header.encode(&mut out, api.request_header_version(version)).unwrap();
        request.encode(&mut out, version).unwrap();
        let length = i32::try_from(out.len() - 4).unwrap();
        out[0..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&out).unwrap();
    }

    pub(super) fn receive<R: Request>(&mut self, version: i16) -> std::io::Result<R::Response> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut body)?;
        let mut body = Bytes::from(body);
        let api = ApiKey::try_from(R::KEY).unwrap();
        let header = ResponseHeader::decode(&mut body, api.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, 7);
        let response = R::Response::decode(&mut body, version).unwrap();
        assert_eq!(body.remaining(), 0, "an answer is read to its end");
        Ok(response)
    }

    pub(super) fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.receive::<R>(version).unwrap()
    }

    /// (error, base offset)
    pub(super) fn produce(&mut self, name: &str, batch: &Bytes) -> (i16, i64) {
        let answer = self.produce_to(name, 0, batch, None);
        (answer.error_code, answer.base_offset)
    }

    pub(super) fn produce_to(
        &mut self,
        name: &str,
        partition: i32,
        batch: &Bytes,
        transactional_id: Option<&str>,
    ) -> PartitionProduceResponse {
        let request = produce_request(name, partition, batch, transactional_id);
        let response = self.call(&request, 11);
        response.responses[0].partition_responses[0].clone()
    }

    pub(super) fn producer(&mut self, transactional_id: Option<&str>) -> (i64, i16) {
        let id = transactional_id.map(|id| TransactionalId(StrBytes::from_string(id.to_owned())));
        let request = InitProducerIdRequest::default().with_transactional_id(id).with_transaction_timeout_ms(60_000);
        loop {
            let response = self.call(&request, 4);
            match response.error_code {
                0 => return (response.producer_id.0, response.producer_epoch),
                // a coordinator of Kafka that has just begun
                14..=16 => std::thread::sleep(Duration::from_millis(20)),
                other => panic!("InitProducerId: {other}"),
            }
        }
    }

    pub(super) fn fetch(&mut self, name: &str, offset: i64, max_bytes: i32, committed: bool) -> PartitionData {
        let request = fetch_request(name, offset, max_bytes).with_isolation_level(i8::from(committed));
        partition(self.call(&request, 12))
    }
}

pub(super) fn produce_request(name: &str, index: i32, batch: &Bytes, id: Option<&str>) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(index).with_records(Some(batch.clone()));
    let data = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_transactional_id(id.map(|id| TransactionalId(StrBytes::from_string(id.to_owned()))))
        .with_topic_data(vec![data])
}

/// Sessionless, of partition 0, without waiting.
pub(super) fn fetch_request(name: &str, offset: i64, max_bytes: i32) -> FetchRequest {
    let asked = FetchPartition::default().with_partition(0).with_fetch_offset(offset);
    let asked = asked.with_partition_max_bytes(max_bytes);
    let asked = FetchTopic::default().with_topic(topic(name)).with_partitions(vec![asked]);
    FetchRequest::default().with_max_bytes(50 << 20).with_min_bytes(1).with_topics(vec![asked])
}

pub(super) fn partition(response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, 0);
    response.responses.into_iter().next().unwrap().partitions.into_iter().next().unwrap()
}

/// A batch of `count` small records with keys.
pub(super) fn batch(count: i32, producer: Option<(i64, i16, i32)>) -> Bytes {
    header(count, producer).seal(&body(count))
}

pub(super) fn header(count: i32, producer: Option<(i64, i16, i32)>) -> Header {
    let (producer_id, producer_epoch, base_sequence) = producer.unwrap_or((-1, -1, -1));
    let now = now_ms();
    Header {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: now,
        max_timestamp: now,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count: count,
    }
}

/// Records with key `k`, value `v` and no headers; at most 63 of them.
pub(super) fn body(count: i32) -> Vec<u8> {
    let record = |at: i32| [16, 0, 0, u8::try_from(at * 2).unwrap(), 2, b'k', 2, b'v', 0];
    (0..count).flat_map(record).collect()
}
