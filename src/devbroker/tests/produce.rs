//! What is produced comes back.

use std::time::Duration;

use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use super::{cluster, producer, read};

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_comes_back_with_keys_headers_and_tombstones() {
    let cluster = cluster(1).await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        cluster.create_topic(codec, 1, &[]).unwrap();
        let producer =
            producer(&cluster, &[("compression.type", codec), ("linger.ms", "20"), ("enable.idempotence", "true")]);
        let value = "a value that can be compressed ".repeat(10);
        let sends = (0..100).map(|at| {
            let mut record = FutureRecord::<[u8], [u8]>::to(codec).timestamp(1_700_000_000_000 + at);
            let key = format!("k{at}");
            if at % 3 != 0 {
                record = record.key(key.as_bytes());
            }
            if at % 5 != 0 {
                record = record.payload(value.as_bytes());
            }
            let headers = OwnedHeaders::new()
                .insert(Header { key: "a", value: Some("1") })
                .insert(Header { key: "b", value: None::<&str> })
                .insert(Header { key: "a", value: Some("2") });
            producer.send_result(record.headers(headers)).unwrap()
        });
        for delivery in sends.collect::<Vec<_>>() {
            delivery.await.unwrap().unwrap();
        }
        let back = read(&cluster, codec, 100, &[], |message| {
            let headers: Vec<_> = message
                .headers()
                .unwrap()
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect();
            let key = message.key().map(<[u8]>::to_vec);
            let value = message.payload().map(<[u8]>::len);
            (message.offset(), message.timestamp().to_millis(), key, value, headers)
        })
        .await;
        assert_eq!(back.len(), 100, "{codec}");
        for (at, (offset, time, key, len, headers)) in (0i64..).zip(back) {
            assert_eq!((offset, time), (at, Some(1_700_000_000_000 + at)));
            assert_eq!(key, (at % 3 != 0).then(|| format!("k{at}").into_bytes()));
            assert_eq!(len, (at % 5 != 0).then_some(value.len()));
            let wanted =
                [("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None), ("a".to_owned(), Some(b"2".to_vec()))];
            assert_eq!(headers, wanted);
        }
        assert_eq!(cluster.high_watermark(codec, 0), Some(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_created_on_the_fly() {
    let cluster = cluster(3).await;
    let producer = producer(&cluster, &[]);
    producer.send(FutureRecord::to("new").key("k").payload("v"), Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        read(&cluster, "new", 1, &[], |message| message.payload().map(<[u8]>::to_vec)).await,
        [Some(b"v".to_vec())]
    );
}
