//! Java is the judge: `java-regex.tsv` holds what `java.util.regex` of Java 17 answered.

use super::*;
use proptest::prelude::*;

const CORPUS: &str = include_str!("../../../tests/fixtures/spec/java-regex.tsv");

/// Patterns that Java takes and we refuse by name; everything else must agree.
const REFUSED: &[&str] = &[
    "(?m)^a$",
    "(?x) a b",
    r"(?U)\w",
    r"\X",
    r"\Ga",
    r"\p{InGreek}",
    "(?<=a+)b",
    "(?<=a{1,3})b",
    "[a&&]",
    r"(?i)\p{Lower}",
    r"\1(a)",
    r"(?i)(a)\1",
    r"\N{LATIN SMALL LETTER A}",
    r"\b{g}a",
    "a{2}{3}",
];

fn unescape(cell: &str) -> String {
    let mut out = String::new();
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('N') => '\u{85}',
                Some('L') => '\u{2028}',
                Some('\\') => '\\',
                other => panic!("the fixture has an unknown escape {other:?}"),
            },
            c => c,
        });
    }
    out
}

#[test]
fn every_row_of_the_corpus_ends_as_in_java() {
    let mut rows = 0;
    let mut wrong = Vec::new();
    for line in CORPUS.lines().filter(|line| !line.starts_with('#')) {
        let mut cells = line.split('\t').map(unescape);
        let (pattern, input, expected) =
            (cells.next().unwrap_or_default(), cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        rows += 1;
        let ours = match JavaRegex::parse(&pattern) {
            Err(error) if REFUSED.contains(&pattern.as_str()) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
            Err(_) => "error".to_owned(),
            Ok(regex) => regex.matches(&input).map_or_else(|_| "limit".to_owned(), |yes| yes.to_string()),
        };
        if ours != expected {
            wrong.push(format!(
                "{pattern:?} on {input:?}: Java {expected}, here {ours} ({:?})",
                JavaRegex::parse(&pattern)
            ));
        }
    }
    assert!(rows >= 150, "{rows}");
    assert!(wrong.is_empty(), "{} of {rows} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_cannot_be_run_is_named() {
    let error = |pattern: &str| JavaRegex::parse(pattern).unwrap_err().to_string();
    assert_eq!(error("ab(?m)^a$"), "the flag (?m) at character 5 is Java that can't be run here");
    assert_eq!(error(r"\p{InGreek}"), r"\p{InGreek} at character 1 is Java that can't be run here");
    assert_eq!(error("(?<=a+)b"), "the pattern can't be run here: a look-behind must have one fixed length");
    assert_eq!(error("a(b"), "an unclosed group at character 4");
    assert_eq!(error(&"(".repeat(5000)), "the pattern is too long or nested too deeply");
    assert_eq!(error(&"[".repeat(5000)), "the pattern is too long or nested too deeply");
    assert_eq!(error(&"a".repeat(40_000)), "the pattern is too long or nested too deeply");
}

#[test]
fn giving_up_is_no_answer() {
    let regex = JavaRegex::parse(r"(?=a)(a|b|ab)*c\1").unwrap();
    assert!(regex.matches(&"ab".repeat(200)).is_err());
}

#[test]
fn a_list_is_one_expression() {
    let list = PatternList::parse(" orders.* ,\tpay-.+ ").unwrap();
    assert!(list.matches("orders.v1").unwrap());
    assert!(list.matches("pay-x").unwrap());
    assert!(!list.matches("xorders").unwrap());
    assert!(!PatternList::parse("").unwrap().matches("").unwrap());
    assert!(!PatternList::parse("  ").unwrap().matches("a").unwrap());
    // As in Java, a flag reaches into the items behind it.
    assert!(PatternList::parse("(?i)a,b").unwrap().matches("B").unwrap());
    let error = PatternList::parse("fine, a{1,2}").unwrap_err();
    assert_eq!(error.item, "a{1");
    assert_eq!(PatternList::parse("a, b.c").unwrap().literals(), Some(vec!["a", "b.c"]));
    assert_eq!(PatternList::parse("a, b.*").unwrap().literals(), None);
}

proptest! {
    #[test]
    fn a_quoted_name_matches_itself_and_nothing_else(name in "[ -~äß]{0,20}", other in "[ -~äß]{0,20}") {
        prop_assume!(!name.contains("\\E"));
        let regex = JavaRegex::parse(&format!("\\Q{name}\\E")).unwrap();
        prop_assert!(regex.matches(&name).unwrap());
        prop_assert_eq!(regex.matches(&other).unwrap(), name == other);
    }

    #[test]
    fn no_pattern_makes_it_fall_over(pattern in r"[\\()\[\]{}*+?|^$.&a-cQEpdbwZ0-2:<>=!i,-]{0,24}", text in "[a-c-]{0,8}") {
        if let Ok(regex) = JavaRegex::parse(&pattern) {
            let _ = regex.matches(&text);
        }
    }
}
