//! Stories about connector files and repositories of them.

use proptest::prelude::*;

use super::diagnostic as codes;
use super::*;

const SAMPLE: &str = include_str!("../../tests/fixtures/spec/connectors/staging/stg-ue2/cfnstg/events-staging.json");
const SAMPLE_PATH: &str = "connectors/staging/stg-ue2/cfnstg/events-staging.json";

fn scope() -> Scope {
    Scope {
        root: "connectors".to_owned(),
        environment: "staging".to_owned(),
        destination: "stg-ue2".to_owned(),
        sources: Vec::new(),
    }
}

fn file(path: &str, text: impl AsRef<[u8]>) -> SourceFile {
    SourceFile { path: path.to_owned(), bytes: text.as_ref().into(), blob: format!("blob-{path}") }
}

fn at(name: &str) -> String {
    format!("connectors/staging/stg-ue2/src/{name}.json")
}

/// A small valid file with more keys.
fn text(extra: &[(&str, serde_json::Value)]) -> String {
    let mut json = serde_json::json!({
        "connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector",
        "source.cluster.alias": "a",
        "source.cluster.bootstrap.servers": "a:9092",
        "target.cluster.alias": "b",
        "topics": "orders",
    });
    for (key, value) in extra {
        json[*key] = value.clone();
    }
    serde_json::to_string_pretty(&json).unwrap()
}

fn load_all(files: &[SourceFile]) -> Loaded {
    load(&scope(), files, &LoadOptions::default())
}

/// Codes and keys of what is wrong with one file.
fn problems(extra: &[(&str, serde_json::Value)]) -> Vec<(&'static str, String)> {
    load_all(&[file(&at("m"), text(extra))])
        .diagnostics()
        .into_iter()
        .map(|d| (d.code, d.key.unwrap_or_default()))
        .collect()
}

#[test]
fn a_file_of_a_running_installation_is_taken_with_warnings_only() {
    let loaded = load_all(&[file(SAMPLE_PATH, SAMPLE)]);
    assert_eq!((loaded.connectors.len(), loaded.invalid.len(), loaded.files), (1, 0, 1), "{:#?}", loaded.diagnostics());
    let connector = &loaded.connectors["events-staging"];
    assert_eq!((connector.source.as_str(), connector.state), ("cfnstg", TargetState::Running));
    let keys: Vec<&str> = connector.warnings.iter().filter_map(|w| w.key.as_deref()).collect();
    for odd in ["clusters", "consumer.group.id", "producer.enable.idempotence", "offset.storage.replication.factor"] {
        assert!(keys.contains(&odd), "{odd} in {keys:?}");
    }
    let secrets: Vec<_> = connector.warnings.iter().filter(|w| w.code == codes::LITERAL_SECRET).collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets[0].key.as_deref(), Some("source.cluster.sasl.jaas.config"));
    assert!(!connector.warnings.iter().any(|w| w.code == codes::AMBIGUOUS_POLICY), "both behaviours agree here");
    let strict = load(&scope(), &[file(SAMPLE_PATH, SAMPLE)], &LoadOptions { strict: true });
    assert_eq!(strict.invalid.len(), 0, "{:#?}", strict.diagnostics());
}

#[test]
fn several_problems_are_found_in_one_pass_each_in_its_place() {
    let text = "{\n  \"connector.class\": \"MirrorSourceConnector\",\n  \"tasks.max\": \"zero\",\n  \"topics\": \"a(b\",\n  \
                \"enabled\": \"maybe\", \"topcs.exclude\": 1,\n  \"ä\": null, \"mirrorkeeper.stat\": \"paused\",\n  \
                \"tasks.max\": 2\n}";
    let loaded = load_all(&[file(&at("m"), text)]);
    let found: Vec<String> = loaded
        .diagnostics()
        .iter()
        .map(|d| format!("{}:{} {} {}", d.line, d.column, d.code, d.key.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        found,
        [
            "1:1 CFG-010 source.cluster.alias",
            "3:16 CFG-013 tasks.max",
            "4:13 CFG-015 topics",
            "5:14 CFG-013 enabled",
            "5:23 CFG-011 topcs.exclude",
            "6:8 CFG-006 ä",
            "6:14 CFG-012 mirrorkeeper.stat",
            "7:3 CFG-005 tasks.max",
        ]
    );
    let display = loaded.invalid[0].problems[1].to_string();
    assert!(display.starts_with(&format!("{}:3:16: error[CFG-013] tasks.max: \"zero\" is not ", at("m"))), "{display}");
}

#[test]
fn what_is_no_connector_file_at_all_is_an_invalid_one() {
    for (bytes, code, place) in [
        (&b"{\n \"a\": \"\xff\"}"[..], codes::NOT_UTF8, (2, 8)),
        (b"", codes::NOT_JSON, (1, 1)),
        (b"{\"a\": 'x'}", codes::NOT_JSON, (1, 7)),
        (b"{\"a\": 0x1}", codes::NOT_JSON, (1, 8)),
        (b"{\"a\": +1}", codes::NOT_JSON, (1, 7)),
        (b"{\"a\": 1,}", codes::NOT_JSON, (1, 9)),
        (b"{} // c", codes::NOT_JSON, (1, 4)),
        (b"\n[]", codes::NOT_OBJECT, (2, 1)),
        (b"3", codes::NOT_OBJECT, (1, 1)),
    ] {
        let loaded = load_all(&[file(&at("m"), bytes)]);
        let first = &loaded.invalid[0].problems[0];
        assert_eq!((first.code, (first.line, first.column)), (code, place), "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(loaded.invalid[0].name.as_ref().map(Name::as_str), Some("m"));
    }
    let large = load_all(&[file(&at("m"), vec![b' '; MAX_FILE_BYTES + 1])]);
    assert_eq!(large.invalid[0].problems[0].code, codes::TOO_LARGE);
    let marked = load_all(&[file(&at("m"), [b"\xEF\xBB\xBF", text(&[]).as_bytes()].concat())]);
    assert_eq!(marked.connectors["m"].warnings[0].code, codes::BYTE_ORDER_MARK);
}

#[test]
fn a_broken_file_takes_nothing_from_its_neighbours() {
    let loaded = load_all(&[file(&at("bad"), "{"), file(&at("good"), text(&[]))]);
    assert_eq!((loaded.connectors.len(), loaded.invalid.len(), loaded.files), (1, 1, 2));
}

#[test]
fn numbers_and_booleans_may_be_written_as_such() {
    let loaded = load_all(&[file(
        &at("m"),
        text(&[("tasks.max", 3.into()), ("enabled", true.into()), ("replication.factor", 3.0.into())]),
    )]);
    let config = &loaded.connectors["m"].config;
    assert_eq!((config.get("tasks.max"), config.get("enabled")), (Some("3"), Some("true")));
    assert_eq!(config.get("replication.factor"), Some("3"));
    assert_eq!(config.get("name"), Some("m"));
    assert_eq!(problems(&[("tasks.max", true.into())]), [(codes::BAD_VALUE, "tasks.max".to_owned())]);
    assert_eq!(problems(&[("enabled", 1.into())]), [(codes::BAD_VALUE, "enabled".to_owned())]);
}

#[test]
fn what_cannot_be_run_is_unsupported_and_never_dropped() {
    for class in ["io.confluent.connect.s3.S3SinkConnector", "MirrorCheckpointConnector", "MirrorHeartbeatConnector"] {
        let loaded = load_all(&[file(&at("m"), text(&[("connector.class", class.into())]))]);
        assert_eq!(loaded.connectors.len(), 0);
        assert!(loaded.invalid[0].unsupported(), "{class}: {:#?}", loaded.invalid[0].problems);
    }
    for (key, value) in [
        ("transforms", "route"),
        ("replication.policy.class", "com.example.Mine"),
        ("topic.filter.class", "com.example.Mine"),
        ("exactly.once.support", "required"),
        ("offsets.storage.topic", "mine"),
    ] {
        assert!(problems(&[(key, value.into())]).iter().any(|p| p.0 == codes::UNSUPPORTED && p.1 == key), "{key}");
    }
}

#[test]
fn the_policy_with_two_meanings_asks_which() {
    let class = ("replication.policy.class", serde_json::json!(policy::CUSTOM_CLASS));
    let topic = |topics: &str| ("topics", serde_json::json!(topics));
    let meant = |word: &str| ("mirrorkeeper.replication.policy", serde_json::json!(word));
    assert_eq!(problems(&[class.clone(), topic("a")]), []);
    assert_eq!(problems(&[class.clone(), topic("x")])[0].0, codes::AMBIGUOUS_POLICY);
    assert_eq!(problems(&[class.clone(), topic("x"), meant("identity")]), []);
    assert_eq!(problems(&[class.clone(), topic("x"), meant("alias")]), []);
    assert_eq!(problems(&[class.clone(), topic("x,y"), meant("alias")])[0].0, codes::MERGED_TOPICS);
    assert_eq!(problems(&[class, topic("x.*"), meant("alias"), ("mirrorkeeper.merge", true.into())]), []);
    assert_eq!(problems(&[meant("alias")])[0].0, codes::CONTRADICTION);
}

#[test]
fn mirrormakers_own_validation_is_kept() {
    let found =
        problems(&[("emit.offset-syncs.enabled", false.into()), ("offset-syncs.topic.replication.factor", 1.into())]);
    assert_eq!(found, [(codes::CONTRADICTION, "offset-syncs.topic.replication.factor".to_owned())]);
    assert!(problems(&[("topics", "a{1,2}".into())]).contains(&(codes::BAD_REGEX, "topics".to_owned())));
}

#[test]
fn old_names_count_and_are_renamed() {
    let loaded = load_all(&[file(&at("m"), text(&[("topics.blacklist", "x".into())]))]);
    assert_eq!(loaded.connectors["m"].config.get("topics.exclude"), Some("x"));
    assert_eq!(loaded.connectors["m"].warnings[0].code, codes::OLD_KEY);
    let both = problems(&[("topics.blacklist", "x".into()), ("topics.exclude", "y".into())]);
    assert_eq!(both, [(codes::CONTRADICTION, "topics.blacklist".to_owned())]);
}

#[test]
fn where_files_lie_decides_what_they_are() {
    let good = text(&[]);
    let loaded = load_all(&[
        file(&at("m"), &good),
        file("connectors/staging/stg-ue2/deep/er/m.json", &good),
        file("connectors/staging/stg-ue2/m.json", &good),
        file("connectors/staging/stg-ue2/src/m.JSON", &good),
        file("connectors/staging/stg-ue2/src/README.md", "x"),
        file("connectors/staging/other/src/m.json", &good),
        file("connectors/prod/stg-ue2/src/m.json", "{"),
        file("package.json", "{}"),
        file("connectors-old/staging/stg-ue2/src/m.json", "{"),
    ]);
    assert_eq!((loaded.files, loaded.connectors.len(), loaded.invalid.len()), (1, 1, 0));
    let misplaced: Vec<&str> = loaded.warnings.iter().map(|w| w.path.as_str()).collect();
    assert_eq!(
        misplaced,
        [
            "connectors/staging/stg-ue2/deep/er/m.json",
            "connectors/staging/stg-ue2/m.json",
            "connectors/staging/stg-ue2/src/m.JSON",
        ]
    );
    assert!(loaded.root_present && loaded.scope_present);
    let absent = load_all(&[file("connectors/prod/stg-ue2/src/m.json", &good)]);
    assert!(absent.root_present && !absent.scope_present && absent.files == 0);
    assert!(!load_all(&[]).root_present);
    let one = Scope { sources: vec!["other".to_owned()], ..scope() };
    assert_eq!(load(&one, &[file(&at("m"), &good)], &LoadOptions::default()).files, 0);
    let bare = Scope { root: String::new(), ..scope() };
    assert_eq!(load(&bare, &[file("staging/stg-ue2/src/m.json", &good)], &LoadOptions::default()).files, 1);
}

#[test]
fn a_name_twice_is_an_error_on_both_files() {
    let loaded = load_all(&[
        file("connectors/staging/stg-ue2/one/m.json", text(&[])),
        file("connectors/staging/stg-ue2/two/x.json", text(&[("name", "m".into()), ("topics", "other".into())])),
    ]);
    assert_eq!((loaded.connectors.len(), loaded.invalid.len()), (0, 2));
    let codes: Vec<&str> = loaded
        .invalid
        .iter()
        .flat_map(|f| &f.problems)
        .filter(|p| p.severity == Severity::Error)
        .map(|p| p.code)
        .collect();
    assert_eq!(codes, [codes::DUPLICATE_NAME, codes::DUPLICATE_NAME]);
    assert!(loaded.invalid[0].problems[0].message.contains("two/x.json"));
    assert!(loaded.invalid.iter().all(|f| f.name.as_ref().map(Name::as_str) == Some("m")));
}

#[test]
fn two_that_write_one_topic_are_found() {
    let both = |one: &[(&str, serde_json::Value)], two: &[(&str, serde_json::Value)]| {
        let loaded = load_all(&[file(&at("one"), text(one)), file(&at("two"), text(two))]);
        loaded.diagnostics().into_iter().map(|d| (d.code, d.severity)).collect::<Vec<_>>()
    };
    let error = (codes::SHARED_TARGET, Severity::Error);
    let warning = (codes::SHARED_TARGET, Severity::Warning);
    assert_eq!(both(&[], &[]), [error, error]);
    assert_eq!(both(&[], &[("topics", "other".into())]), []);
    assert_eq!(both(&[], &[("topics", ".*".into())]), [error, error]);
    assert_eq!(both(&[], &[("source.cluster.alias", "c".into())]), []);
    assert_eq!(both(&[], &[("mirrorkeeper.state", "stopped".into())]), [warning, warning]);
    let merge = [("mirrorkeeper.merge", true.into())];
    assert_eq!(both(&merge, &merge), []);
}

#[test]
fn thousands_of_files_are_no_square() {
    let files: Vec<SourceFile> =
        (0..3000).map(|n| file(&at(&format!("m{n}")), text(&[("topics", format!("orders-{n}").into())]))).collect();
    let loaded = load_all(&files);
    assert_eq!((loaded.connectors.len(), loaded.invalid.len()), (3000, 0));
}

#[test]
fn mirrors_in_a_circle_are_seen_across_destinations() {
    let identity = ("replication.policy.class", serde_json::json!(policy::IDENTITY_CLASS));
    let back = text(&[identity.clone(), ("source.cluster.alias", "b".into()), ("target.cluster.alias", "a".into())]);
    let loaded =
        load_all(&[file(&at("there"), text(&[identity])), file("connectors/staging/elsewhere/src/back.json", back)]);
    let warnings = &loaded.connectors["there"].warnings;
    assert_eq!(warnings.iter().map(|w| w.code).collect::<Vec<_>>(), [codes::CYCLE]);
    assert!(warnings[0].message.contains("elsewhere/src/back.json"));
}

#[test]
fn own_keys_become_fields() {
    let loaded = load_all(&[file(
        &at("m"),
        text(&[
            ("mirrorkeeper.state", "Paused".into()),
            ("mirrorkeeper.drift", "report".into()),
            ("mirrorkeeper.prune", "off".into()),
            ("mirrorkeeper.renamed.from", "old".into()),
        ]),
    )]);
    let connector = &loaded.connectors["m"];
    assert_eq!(
        (connector.state, connector.drift, connector.prune),
        (TargetState::Paused, Some(DriftMode::Report), Some(PruneMode::Off))
    );
    assert_eq!(connector.renamed_from.as_ref().map(Name::as_str), Some("old"));
}

#[test]
fn references_are_taken_and_not_judged() {
    let found = problems(&[
        ("tasks.max", "${env:TASKS}".into()),
        ("source.cluster.sasl.jaas.config", "${file:/etc/s.properties:jaas}".into()),
    ]);
    assert_eq!(found, []);
    assert_eq!(problems(&[("mirrorkeeper.state", "${env:S}".into())])[0].0, codes::BAD_VALUE);
    assert_eq!(problems(&[("topics", "${vault:a:b}".into())])[0].0, codes::UNKNOWN_PROVIDER);
}

#[test]
fn no_secret_is_ever_shown() {
    let secret = "hunter2";
    let files = [
        file(
            &at("one"),
            format!(
                "{{\"sasl.jass.config\": \"{secret}\", \"tasks.max\": \"zero\", \"x\": \"{secret}\", \"x\": \"{secret}\"}}"
            ),
        ),
        file(
            &at("two"),
            format!("{{\n\"source.cluster.ssl.key.password\":\n\"{secret}\",\n\"tasks.max\": \"{secret}\" \"a\""),
        ),
        file(&at("three"), text(&[("source.cluster.sasl.jaas.config", secret.into()), ("unknown", secret.into())])),
        file(
            &at("four"),
            format!("{{\"source.cluster.sasl.login.refresh.buffer.seconds\": \"{secret}\", \"a\": [\"{secret}\"]}}"),
        ),
    ];
    let loaded = load_all(&files);
    assert!(loaded.diagnostics().len() > 8);
    for text in [
        serde_json::to_string(&loaded.diagnostics()).unwrap(),
        format!("{loaded:?}"),
        render::render_text(&loaded, &files, true),
        render::render_text(&loaded, &files, false),
    ] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_finding_is_drawn_with_its_line() {
    let text = "{\n  \"connector.class\": \"MirrorSourceConnector\",\n  \"source.cluster.alias\": \"a\",\n  \"tasks.max\": \"zero\"\n}";
    let files = [file(&at("m"), text)];
    let drawn = render::render_text(&load_all(&files), &files, false);
    assert_eq!(
        drawn,
        "error[CFG-013] tasks.max: \"zero\" is not a number without fraction, 1 or more\n  --> \
         connectors/staging/stg-ue2/src/m.json:4:16\n  |\n4 |   \"tasks.max\": \"zero\"\n  |                ^\n\n"
    );
}

#[test]
fn the_committed_schema_is_the_one_of_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/connector.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, schema::connector_schema_text()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == schema::connector_schema_text(), "stale: run the tests once with UPDATE_SCHEMA=1");
    assert!(jsonschema::meta::is_valid(&schema::connector_schema()));
}

/// Codes that the schema can see as well.
const SCHEMA_CODES: &[&str] =
    &[codes::NOT_SCALAR, codes::BAD_VALUE, codes::NOT_A_CHOICE, codes::UNKNOWN_OWN_KEY, codes::MISSING_KEY];

fn value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        (-2i64..5).prop_map(serde_json::Value::from),
        Just(serde_json::json!(2.5)),
        Just(serde_json::json!([])),
        "( |\\+|-)?(true|FALSE|0|1|3|zero|source|NONE|all|\\$\\{env:X\\}|)( )?".prop_map(serde_json::Value::from),
    ]
}

proptest! {
    /// The parser and the JSON Schema are two readers of one table.
    #[test]
    fn parser_and_schema_agree(index in 0..keys::KEYS.len(), value in value()) {
        let key = keys::KEYS[index];
        let json: serde_json::Value = serde_json::from_str(&text(&[(key.name, value)])).unwrap();
        let loaded = load_all(&[file(&at("m"), json.to_string())]);
        let said: Vec<Diagnostic> = loaded.diagnostics().into_iter()
            .filter(|d| d.severity == Severity::Error && d.key.as_deref() == Some(key.name)).collect();
        prop_assert!(said.iter().all(|d| d.code != codes::SCHEMA), "only the schema refuses {} in {}", key.name, json);
        // Of texts the parser says more: which must not be empty, and which must not be references.
        if key.kind != keys::Kind::String || !json[key.name].is_string() {
            let refused = !schema::findings(&json).is_empty();
            let visible = said.iter().any(|d| SCHEMA_CODES.contains(&d.code));
            prop_assert_eq!(refused, visible, "{} in {}: {:?}", key.name, json, said);
        }
    }

    /// Law 8: whatever lies there, a connector file is a connector or a problem, never nothing.
    #[test]
    fn every_file_comes_out_somewhere(bytes in proptest::collection::vec(any::<u8>(), 0..60), json in "[{}\\[\\]\":,a-c0-9 ]{0,40}") {
        for content in [bytes, json.into_bytes()] {
            let loaded = load_all(&[file(&at("m"), content)]);
            prop_assert_eq!(loaded.connectors.len() + loaded.invalid.len(), 1);
            prop_assert!(loaded.invalid.iter().all(|f| f.problems.iter().any(|p| p.severity == Severity::Error)));
        }
    }
}
