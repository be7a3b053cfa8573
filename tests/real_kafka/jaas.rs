//! `sasl.jaas.config` as Kafka's own parser reads it: the fixture that `kafka::properties::jaas` is held to.

use std::path::Path;

use crate::support::java;

#[test]
fn the_fixture_is_what_java_says() {
    let Some(kafka) = java::kafka() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jaas");
    let at = |name: &str| folder.join(name).display().to_string();
    // The launcher takes a source file in place of a class.
    let said = kafka.tool(&at("JaasGolden.java"), &[&at("corpus.json")]);
    let golden = std::fs::read_to_string(at("golden.jsonl")).expect("the fixture can be read");
    let differs = said.lines().zip(golden.lines()).position(|(java, ours)| java != ours);
    assert!(
        said == golden,
        "golden.jsonl is not what Java says (first in line {:?}): write what JaasGolden.java prints there",
        differs.map(|line| line + 1)
    );
}
