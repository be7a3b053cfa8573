//! What Java makes of a corpus (`tests/fixtures/jaas`), and texts that nobody thought of.

use proptest::prelude::*;

use super::*;

#[derive(serde::Deserialize)]
struct Line {
    text: String,
    modules: Option<Vec<Module>>,
}

#[derive(serde::Deserialize, Debug, PartialEq)]
struct Module {
    class: String,
    flag: String,
    options: BTreeMap<String, String>,
}

fn plain(module: &LoginModule) -> Module {
    Module {
        class: module.class.clone(),
        flag: format!("{:?}", module.flag).to_uppercase(),
        options: module.options.iter().map(|(k, v)| (k.clone(), v.expose().to_owned())).collect(),
    }
}

#[test]
fn javas_corpus_is_read_as_java_reads_it() {
    let golden = include_str!("../../../../tests/fixtures/jaas/golden.jsonl");
    let mut accepted = 0;
    for line in golden.lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let ours = modules(&line.text).map(|found| found.iter().map(plain).collect::<Vec<_>>());
        accepted += usize::from(line.modules.is_some());
        assert_eq!(ours.as_ref().ok(), line.modules.as_ref(), "{:?}: {ours:?}", line.text);
    }
    assert!(accepted > 100 && golden.lines().count() > 600, "{accepted}");
}

#[test]
fn a_client_has_one_module() {
    assert_eq!(client_module("a.B required x=y;").unwrap().class, "a.B");
    assert_eq!(client_module("a.B required; c.D required;"), Err(JaasError::Several(2)));
    assert_eq!(client_module("a.B required; c.D"), Err(JaasError::NoFlag));
    assert_eq!(client_module(" // nothing"), Err(JaasError::Empty));
}

#[test]
fn no_error_quotes_what_may_be_a_secret() {
    for text in [
        "a.B required password=\"x\"sesame\";",
        "a.B required password=sesame!;",
        "a.B sesame password=\"x\";",
        "a.B required password=\"sesame",
        "a.B required \"sesame\";",
        "a.B required sesame=5;",
    ] {
        let error = client_module(text).unwrap_err();
        assert!(!error.to_string().contains("sesame") && !format!("{error:?}").contains("sesame"), "{error}");
    }
    assert!(!format!("{:?}", client_module("a.B required password=sesame;")).contains("sesame"));
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in "\\PC*|[\"'\\\\/*=;a1\\-. \n\r]{0,40}") {
        let _ = modules(&text);
    }

    #[test]
    fn a_quoted_value_comes_back(value in "[^\u{0}-\u{1f}]*") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let module = client_module(&format!("a.B required password=\"{quoted}\";")).unwrap();
        prop_assert_eq!(module.options["password"].expose(), value);
    }
}
