//! The table against Kafka's own word, and small stories about keys.

use super::*;

/// `ConfigDef` of Kafka 4.1.0's connectors, written by a small Java program.
const CONFIGDEF: &str = include_str!("../../../tests/fixtures/spec/mm2-configdef.tsv");

fn rows(of: &[&str]) -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    CONFIGDEF
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut cells = line.split('\t');
            (
                cells.next().unwrap_or_default(),
                cells.next().unwrap_or_default(),
                cells.next().unwrap_or_default(),
                cells.next().unwrap_or_default(),
            )
        })
        .filter(|row| of.contains(&row.0))
        .collect()
}

#[test]
fn the_table_is_sorted_and_without_repeats() {
    assert!(KEYS.is_sorted_by(|a, b| a.name < b.name));
    assert!(clients::CLIENT_KEYS.is_sorted_by(|a, b| a.0 < b.0));
}

#[test]
fn every_key_that_kafka_declares_is_in_the_table_with_its_default() {
    let rows = rows(&["source", "checkpoint", "heartbeat", "connector"]);
    assert!(rows.len() > 300, "the fixture is there");
    for (connector, name, _, default) in rows {
        if name.starts_with("ssl.") || name.starts_with("sasl.") {
            assert!(lookup(name).is_some(), "{name}");
            continue;
        }
        let Some(key) = key(name) else { panic!("{connector} knows {name}, the table doesn't") };
        match connector {
            "source" => assert!(key.connectors.contains(Connectors::SOURCE), "{name} is read by the source connector"),
            "checkpoint" => assert!(key.connectors.contains(Connectors::CHECKPOINT), "{name} is read by checkpoints"),
            "heartbeat" => assert!(key.connectors.contains(Connectors::HEARTBEAT), "{name} is read by heartbeats"),
            _ => {}
        }
        match default {
            // `name` has a default of ours: the file's stem.
            "<required>" => assert!(key.required || name == "name", "{name} is required"),
            "<null>" => assert_eq!(key.default, None, "{name}"),
            default => {
                let expected = key.default.map(|own| canonical_items(key.kind, own));
                assert_eq!(expected, Some(canonical_items(key.kind, default)), "{name}");
            }
        }
    }
}

fn canonical_items(kind: Kind, value: &str) -> String {
    match kind {
        Kind::List | Kind::Regexes => list(value).join(","),
        _ => value.to_owned(),
    }
}

#[test]
fn the_table_says_of_each_key_the_type_that_kafka_says() {
    for (connector, name, declared, _) in rows(&["source", "checkpoint", "heartbeat", "connector"]) {
        let Some(key) = key(name) else { continue };
        let fits = match declared {
            "BOOLEAN" => key.kind == Kind::Bool,
            "INT" | "SHORT" => matches!(key.kind, Kind::Int { .. } | Kind::ReplicationFactor),
            "LONG" => matches!(key.kind, Kind::Long { .. } | Kind::Interval),
            "LIST" => matches!(key.kind, Kind::List | Kind::Regexes),
            "CLASS" => key.kind == Kind::Class,
            _ => matches!(key.kind, Kind::String | Kind::Enum(_)),
        };
        assert!(fits, "{connector} declares {name} as {declared}, the table as {:?}", key.kind);
    }
}

#[test]
fn every_default_is_a_value_that_its_own_key_takes() {
    for key in KEYS {
        if let Some(default) = key.default {
            assert_eq!(check(key.kind, default), Ok(()), "{}", key.name);
            assert_eq!(canonical(key.name, default), None, "{}: the default says nothing", key.name);
        }
        if let Some(new) = key.replaced_by {
            assert!(self::key(new).is_some_and(|k| k.replaced_by.is_none()), "{}", key.name);
        }
        assert!(key.doc.ends_with('.') && !key.doc.contains('\n'), "{}", key.name);
    }
}

#[test]
fn a_small_mistake_is_understood() {
    for (typed, meant) in [
        ("task.max", "tasks.max"),
        ("topic", "topics"),
        ("replicaton.factor", "replication.factor"),
        ("sync.topics.acls.enabled", "sync.topic.acls.enabled"),
        ("mirrorkeeper.stat", "mirrorkeeper.state"),
        ("source.cluster.bootstrap.server", "source.cluster.bootstrap.servers"),
        ("source.cluster.sasl.jass.config", "source.cluster.sasl.jaas.config"),
        ("sourc.cluster.security.protocol", "source.cluster.security.protocol"),
        ("Tasks.Max", "tasks.max"),
        ("producer.override.compresion.type", "producer.override.compression.type"),
    ] {
        assert_eq!(suggest(typed).as_deref(), Some(meant), "{typed}");
    }
    assert_eq!(suggest("elephant.weight"), None);
}

#[test]
fn names_behind_prefixes_are_known_by_client() {
    assert!(matches!(lookup("source.cluster.sasl.mechanism"), Some(Found::Prefixed { rest: "sasl.mechanism", .. })));
    assert!(matches!(lookup("source.cluster.request.timeout.ms"), Some(Found::Foreign { .. })));
    assert!(matches!(lookup("source.consumer.isolation.level"), Some(Found::Prefixed { .. })));
    assert!(matches!(lookup("producer.isolation.level"), Some(Found::Foreign { .. })));
    assert!(matches!(lookup("producer.override.acks"), Some(Found::Prefixed { rest: "acks", .. })));
    assert!(lookup("elephant.weight").is_none());
    assert!(lookup("source.cluster.").is_none());
}

#[test]
fn secrets_are_known_by_meaning_and_through_misspellings() {
    for name in [
        "source.cluster.sasl.jaas.config",
        "target.cluster.ssl.keystore.password",
        "ssl.keystore.key",
        "source.cluster.sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "SOURCE.CLUSTER.SASL.JAAS.CONFIG",
        "sasl.jass.config",
        "my.filter.pasword",
        "clientSecret",
        "aws.secretAccessKey",
        "my.api.key",
    ] {
        assert!(is_secret(name), "{name}");
    }
    for name in [
        "topics",
        "tasks.max",
        "sasl.oauthbearer.token.endpoint.url",
        "ssl.truststore.location",
        "key.converter",
        "sasl.oauthbearer.assertion.private.key.file",
        "ssl.keystore.certificate.chain",
        "replication.policy.separator",
    ] {
        assert!(!is_secret(name), "{name}");
    }
}

#[test]
fn a_jaas_line_without_a_secret_option_holds_none() {
    let jaas = "source.cluster.sasl.jaas.config";
    for harmless in [
        "software.amazon.msk.auth.iam.IAMLoginModule required;",
        "software.amazon.msk.auth.iam.IAMLoginModule required awsProfileName=\"dev\";",
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"${file:/s:p}\";",
        "${file:/etc/s.properties:jaas}",
    ] {
        assert!(!holds_literal_secret(jaas, harmless), "{harmless}");
    }
    for literal in [
        "org.apache.kafka.common.security.plain.PlainLoginModule required username='u' password='p';",
        "org.x.Module required somethingNew=\"x\";",
        "garbage",
        "org.x.Module required password=\"${file:/s:p}x\";",
    ] {
        assert!(holds_literal_secret(jaas, literal), "{literal}");
    }
    assert!(holds_literal_secret("my.proxy", "http://me:word@proxy:80"));
    assert!(!holds_literal_secret("my.proxy", "http://proxy:80/a:b@c"));
}

#[test]
fn references_are_split_at_the_first_two_colons() {
    let found = references("a ${file:/etc/s.properties:key:with:colons} b ${env:HOME}");
    assert_eq!(
        (&*found[0].provider, &*found[0].path, &*found[0].key),
        ("file", "/etc/s.properties", "key:with:colons")
    );
    assert_eq!((&*found[1].provider, &*found[1].path, &*found[1].key), ("env", "", "HOME"));
    assert!(references("${not a reference}").is_empty());
}

#[test]
fn values_are_read_as_kafka_reads_them() {
    let int = Kind::Int { min: 1, max: i32::MAX };
    for (kind, value, fine) in [
        (int, "3", true),
        (int, " 3 ", true),
        (int, "+3", true),
        (int, "0", false),
        (int, "zero", false),
        (int, "3.0", false),
        (int, "2147483648", false),
        (int, "${env:TASKS}", true),
        (Kind::Bool, "TRUE", true),
        (Kind::Bool, "yes", false),
        (Kind::Interval, "0", false),
        (Kind::Interval, "-1", true),
        (Kind::ReplicationFactor, "-1", true),
        (Kind::ReplicationFactor, "0", false),
        (Kind::ReplicationFactor, "40000", false),
        (Kind::Enum(&["source", "target"]), "Target", true),
        (Kind::Enum(&["source", "target"]), "both", false),
    ] {
        assert_eq!(check(kind, value).is_ok(), fine, "{value}");
    }
}

#[test]
fn white_space_of_a_separator_counts_and_of_a_jaas_line_does_not() {
    assert_ne!(canonical("replication.policy.separator", " "), canonical("replication.policy.separator", ""));
    assert_eq!(
        canonical("source.cluster.sasl.jaas.config", "a.B required  username='x'\tpassword=\"y\" ;"),
        canonical("source.cluster.sasl.jaas.config", "a.B required password=y username=x;"),
    );
}

#[test]
fn every_client_property_has_a_meaning() {
    let known: Vec<_> = super::clients::CLIENT_KEYS.iter().map(|(name, ..)| *name).collect();
    let meant: Vec<_> = super::meaning::MEANINGS.iter().map(|(name, _)| *name).collect();
    assert_eq!(meant, known);
    for (name, kind, _) in super::clients::CLIENT_KEYS {
        if let Some(Meaning::Honoured(Some(default))) = meaning(name) {
            check(*kind, default).unwrap_or_else(|bad| panic!("{name}={default}: {bad}"));
        }
    }
}
