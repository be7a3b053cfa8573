//! Java is the judge: `java-properties.tsv` holds what `java.util.Properties` of Java 17 read.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const CORPUS: &str = include_str!("../../../tests/fixtures/spec/java-properties.tsv");

/// `\uXXXX` back to characters.
fn decoded(cell: &str) -> String {
    unescape(cell).unwrap()
}

/// The fixture's own spelling.
fn encoded(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if (0x20..=0x7e).contains(&byte) && byte != b'\\' => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect()
}

#[test]
fn every_row_of_the_corpus_reads_as_in_java() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in CORPUS.lines().filter(|line| !line.starts_with("# ")) {
        let cells: Vec<&str> = line.split('\t').collect();
        let bytes: Vec<u8> = decoded(cells[0]).chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        rows += 1;
        let ours = match parse(&bytes) {
            Err(_) => ("error".to_owned(), String::new()),
            Ok(all) => {
                let map: BTreeMap<String, String> = all.into_iter().map(|p| (p.key, p.value)).collect();
                let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
                ("ok".to_owned(), pairs.join("|"))
            }
        };
        if (ours.0.as_str(), ours.1.as_str()) != (cells[1], cells[2]) {
            wrong.push(format!("{:?}: Java {} {:?}, here {:?}", cells[0], cells[1], cells[2], ours));
        }
    }
    assert!(rows > 70, "{rows}");
    assert!(wrong.is_empty(), "{} of {rows} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn lines_are_counted_where_a_property_begins() {
    let all = parse(b"# c\n\na=b\\\n  c\nd=e\n").unwrap();
    assert_eq!(all.iter().map(|p| (p.key.as_str(), p.line)).collect::<Vec<_>>(), [("a", 3), ("d", 5)]);
    assert_eq!(parse(b"a=b\nc=\\u00"), Err(PropertiesError::Unicode { line: 2 }));
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", parse(b"ssl.key.password=hunter2").unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

proptest! {
    #[test]
    fn nothing_makes_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
