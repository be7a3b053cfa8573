//! The program from outside: what it prints, where, and how it ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorkeeper"));
    // Nothing of the machine's own environment is to decide a test.
    command.env_clear().env("HOME", "/nonexistent").env("USER", "tester").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    ended(program().args(arguments).output().unwrap())
}

fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

const GOOD: &str = r#"{
  "connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector",
  "source.cluster.alias": "east",
  "target.cluster.alias": "west",
  "source.cluster.bootstrap.servers": "east.example:9092",
  "target.cluster.bootstrap.servers": "west.example:9092",
  "topics": "orders"
}"#;

/// A repository with these files below `connectors/`.
fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join("connectors").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn validate(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(program().current_dir(folder).arg("validate").args(arguments).output().unwrap())
}

#[test]
fn help_is_data_and_tells_the_exit_codes() {
    for arguments in [vec!["--help"], vec!["run", "--help"], vec!["status", "-h"], vec!["pause", "--help"]] {
        let (code, out, err) = run(&arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(out.contains("Exit codes:") && out.contains("5  refused by a guard"), "{out}");
    }
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out), (0, format!("mirrorkeeper {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_command_line_that_can_not_be_used_ends_with_2() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["status", "--no-such-flag"],
        &["pause", "--reason", "x"],
        &["pause", "a", "--all", "--reason", "x"],
        &["pause", "a"],
        &["resume"],
        &["confirm"],
        &["validate", "/no/such/folder"],
        &["explain", "topcis"],
        &["man", "nothing"],
        &["status", "--url", "ftp://x"],
        &["status", "--token-file", "/no/such/file"],
        &["run", "--config", "/no/such/file"],
        &["run", "--repo-token", "hunter2"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn all_mistakes_in_settings_are_one_message() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mk.toml"), "intervall = \"5s\"\nmemory = \"lots\"\n").unwrap();
    let output = program()
        .current_dir(folder.path())
        .args(["run", "--config", "mk.toml", "--destination", "stg-ue2", "--prune", "sometimes"])
        .env("MIRRORKEEPER_GRACE", "25")
        .env("MIRRORKEEPER_REPO_TOKEN", "hunter2")
        .output()
        .unwrap();
    let (code, out, err) = ended(output);
    assert_eq!((code, out.as_str()), (2, ""));
    insta::assert_snapshot!(err, @r#"
    error: 6 settings can't be used
      intervall (mk.toml:1): there is no such setting (did you mean interval?)
      repo: it is required (give --repo, MIRRORKEEPER_REPO or repo in the settings file)
      environment: it is required (give --environment, MIRRORKEEPER_ENVIRONMENT or environment in the settings file)
      prune (--prune): "sometimes": it is none of the words (one of auto, confirm, off)
      memory (mk.toml:2): "lots": it is no size (write a number and a unit: 512KiB, 64MiB or 1GiB)
      grace (MIRRORKEEPER_GRACE): "25": the unit is missing (write 25s for seconds, 25ms for milliseconds)
     hint: mirrorkeeper run --help lists all settings
    "#);
}

#[test]
fn an_empty_variable_is_no_setting() {
    let output = program().arg("run").env("MIRRORKEEPER_CONFIG", "").output().unwrap();
    assert!(ended(output).2.contains("3 settings can't be used"));
}

#[test]
fn a_valid_repository_is_fine_from_wherever_one_points_at_it() {
    let folder = repository(&[("staging/west/east/orders.json", GOOD), ("production/west/east/orders.json", GOOD)]);
    for (path, files) in [
        (".", 2),
        ("connectors", 2),
        ("connectors/staging", 1),
        ("connectors/staging/west", 1),
        ("connectors/staging/west/east", 1),
        ("connectors/staging/west/east/orders.json", 1),
    ] {
        let (code, out, err) = validate(folder.path(), &[path]);
        let word = if files == 1 { "1 file," } else { "2 files," };
        assert_eq!((code, err.as_str()), (0, ""), "{path}: {out}");
        assert!(out.contains(word), "{path}: {out}");
    }
    // The folder may be called otherwise: the depth of the files says where it begins.
    std::fs::rename(folder.path().join("connectors"), folder.path().join("mirrors")).unwrap();
    for (path, files) in
        [("mirrors", "2 files,"), ("mirrors/staging", "1 file,"), ("mirrors/staging/west/east", "1 file,")]
    {
        let (code, out, _) = validate(folder.path(), &[path]);
        assert!(code == 0 && out.contains(files), "{path}: {out}");
    }
}

#[test]
fn every_finding_is_told_with_its_place_and_errors_end_with_4() {
    let broken = GOOD.replace("\"topics\"", "\"tasks.max\": \"two\",\n  \"topcis\": \"x\",\n  \"topics\"");
    let broken = broken.replace("orders", "payments");
    let folder = repository(&[("staging/west/east/orders.json", GOOD), ("staging/west/east/broken.json", &broken)]);
    let (code, out, err) = validate(folder.path(), &[]);
    assert_eq!((code, err.as_str()), (4, ""));
    insta::assert_snapshot!(out, @r#"
    error[CFG-013] tasks.max: "two" is not a number without fraction, 1 or more
      --> connectors/staging/west/east/broken.json:7:16
      |
    7 |   "tasks.max": "two",
      |                ^

    warning[CFG-011] topcis: nobody knows this key
      --> connectors/staging/west/east/broken.json:8:3
      |
    8 |   "topcis": "********",
      |   ^
      = help: did you mean topics?

    2 files, 1 error, 1 warning
    "#);
    // What was not asked for is not told.
    assert_eq!(validate(folder.path(), &["connectors/staging/west/east/orders.json"]).0, 0);
    let (code, out, _) = validate(folder.path(), &["--output", "json"]);
    let findings: serde_json::Value = serde_json::from_str(&out).unwrap();
    let codes: Vec<&str> = findings.as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect();
    assert_eq!((code, codes), (4, vec!["CFG-013", "CFG-011"]));
    assert_eq!(findings[0]["path"], "connectors/staging/west/east/broken.json");
}

#[test]
fn warnings_are_fine_unless_strict() {
    let folder =
        repository(&[("staging/west/east/orders.json", &GOOD.replace("\"topics\"", "\"x.y\": 1,\n\"topics\""))]);
    let (code, out, _) = validate(folder.path(), &[]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("0 errors, 1 warning"), "{out}");
    assert_eq!(validate(folder.path(), &["--strict"]).0, 4);
}

#[test]
fn nothing_found_is_not_nothing_wrong() {
    let folder = repository(&[("staging/orders.json", GOOD)]);
    let (code, out, err) = validate(folder.path(), &[]);
    assert_eq!(code, 4);
    assert_eq!(out.matches("CFG-040").count(), 1, "{out}");
    assert!(err.contains("there is no connector file"), "{err}");
}

#[test]
fn explain_knows_keys_settings_and_files_and_shows_no_secret() {
    let (code, out, _) = run(&["explain", "tasks.max"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r"
    tasks.max
      meaning: The most tasks the partitions are split over, as reported.
      type: a number without fraction, 1 or more
      default: 1
      read by: MirrorSourceConnector, MirrorCheckpointConnector, MirrorHeartbeatConnector
      a change: takes effect while copying goes on
    ");
    assert!(run(&["explain", "stall-after"]).1.contains("MIRRORKEEPER_STALL_AFTER"));
    assert!(run(&["explain", "topcis"]).2.contains("did you mean topics?"));
    assert!(run(&["explain"]).1.lines().count() > 100);
    let secret = GOOD.replace("\"topics\"", "\"source.cluster.sasl.jaas.config\": \"hunter2\",\n\"topics\"");
    let folder = repository(&[("staging/west/east/orders.json", &secret)]);
    let path = folder.path().join("connectors/staging/west/east/orders.json");
    for output in ["text", "json"] {
        let (code, out, err) = run(&["explain", path.to_str().unwrap(), "-o", output]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("refresh.topics.interval.seconds") && out.contains("600"), "{out}");
        assert!(!out.contains("hunter2") && out.contains("********"), "{out}");
        assert!(!out.contains("emit.checkpoints"), "a key of another connector: {out}");
    }
}

#[test]
fn explain_tells_what_each_client_of_a_connector_gets_and_where_from() {
    let more = r#""source.cluster.sasl.jaas.config": "hunter2", "consumer.fetch.min.bytes": "1",
        "source.consumer.fetch.min.bytes": "7", "source.consumer.group.id": "g",
        "producer.override.linger.ms": "50", "topics""#;
    let folder = repository(&[("staging/west/east/orders.json", &GOOD.replace("\"topics\"", more))]);
    let path = folder.path().join("connectors/staging/west/east/orders.json");
    let worker = folder.path().join("worker.properties");
    std::fs::write(&worker, "bootstrap.servers=t:9092\nproducer.compression.type=gzip\n").unwrap();
    let with = ["explain", path.to_str().unwrap(), "--worker-config", worker.to_str().unwrap(), "-o", "json"];
    let (code, out, _) = run(&with);
    assert_eq!(code, 0);
    assert!(!out.contains("hunter2"), "{out}");
    let explained: serde_json::Value = serde_json::from_str(&out).unwrap();
    let property = |client: usize, name: &str| {
        let all = explained["clients"][client]["properties"].as_array().unwrap();
        let found = all.iter().find(|p| p["name"] == name);
        found.map(|p| [&p["value"], &p["from"], &p["noEffect"]].map(|v| v.as_str().unwrap_or("-").to_owned()))
    };
    let is = |client, name, expected: [&str; 3]| assert_eq!(property(client, name).unwrap(), expected, "{name}");
    is(0, "fetch.min.bytes", ["7", "source.consumer.fetch.min.bytes", "-"]);
    is(0, "fetch.max.wait.ms", ["500", "default", "-"]);
    is(0, "sasl.jaas.config", ["********", "source.cluster.sasl.jaas.config", "-"]);
    assert!(property(0, "group.id").unwrap()[2].contains("without a consumer group"));
    is(2, "compression.type", ["gzip", "producer.compression.type of the worker file", "-"]);
    assert_eq!(property(2, "linger.ms").unwrap()[1], "producer.override.linger.ms");
    assert_ne!(property(2, "linger.ms").unwrap()[2], "-");
    // What nobody wrote and changes nothing is left out.
    assert_eq!(property(0, "max.poll.records"), None);
}

#[test]
fn schemas_completions_and_pages_are_printed() {
    let (code, schema, _) = run(&["schema", "connector"]);
    assert_eq!((code, schema.as_str()), (0, include_str!("../schema/connector.schema.json")));
    let status: serde_json::Value = serde_json::from_str(&run(&["schema", "status"]).1).unwrap();
    assert_eq!(status["title"], "mirrorkeeper status, v1");
    assert!(run(&["completions", "bash"]).1.contains("mirrorkeeper"));
    assert!(run(&["man"]).1.contains(".TH mirrorkeeper"));
    assert!(run(&["man", "run"]).1.contains("stall"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = program().arg("explain").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let (code, _, err) = ended(child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
}

#[test]
fn a_daemon_that_is_not_there_ends_with_1_and_says_what_to_do() {
    // A port that was free a moment ago: the system gives others first.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for arguments in [
        &["status"][..],
        &["plan"],
        &["diff"],
        &["history"],
        &["reconcile"],
        &["apply"],
        &["confirm", "abc"],
        &["pause", "--all", "--reason", "x"],
        &["resume", "orders"],
        &["healthcheck"],
    ] {
        let output = program().args(arguments).env("MIRRORKEEPER_LISTEN", address.to_string()).output().unwrap();
        let (code, out, err) = ended(output);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}: {err}");
        assert!(err.contains(&format!("the daemon at http://{address} can't be asked")), "{err}");
        assert!(err.contains("hint: start it with `mirrorkeeper run`"), "{err}");
    }
    let url = format!("http://me:hunter2@{address}/x?token=hunter2");
    let (code, _, err) = run(&["status", "--url", &url]);
    assert!(code == 1 && !err.contains("hunter2"), "{err}");
}

/// Answers requests in turn with a status and a body; what was asked comes through the channel.
fn daemon(answers: Vec<(u16, &'static str)>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, received) = mpsc::channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            asked.send(request(&mut stream)).unwrap();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    (url, received)
}

/// One request: its head, and its body as long as it says.
fn request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    let length = text
        .to_ascii_lowercase()
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text + std::str::from_utf8(&body).unwrap()
}

fn ask(answers: Vec<(u16, &'static str)>, arguments: &[&str]) -> (i32, String, String, Vec<String>) {
    let (url, received) = daemon(answers);
    let (code, out, err) = run(&[arguments, &["--url", &url]].concat());
    (code, out, err, received.try_iter().collect())
}

#[test]
fn status_ends_as_what_it_shows() {
    let with = |state: &str, sync: &str, health: &str| -> &'static str {
        let text = format!(
            r#"{{"schema":"v1","state":"{state}","message":"so it is","items":[{{"name":"orders","summary":"{state}",
            "sync":"{sync}","health":"{health}","problems":[]}}]}}"#
        );
        Box::leak(text.into_boxed_str())
    };
    for (body, code) in [
        (with("InSync", "InSync", "Healthy"), 0),
        (with("Stalled", "InSync", "Stalled"), 1),
        (with("Failed", "Drifted", "Failed"), 1),
        (with("Drifted", "Drifted", "Healthy"), 3),
    ] {
        let (ended, out, err, asked) = ask(vec![(200, body)], &["status"]);
        assert_eq!((ended, err.as_str()), (code, ""), "{body}");
        assert!(out.contains("orders") && out.contains("NAME"), "{out}");
        assert!(asked[0].starts_with("GET /status HTTP/1.1"), "{asked:?}");
        let (ended, out, ..) = ask(vec![(200, body)], &["status", "-o", "json"]);
        let printed: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((ended, printed["message"].as_str()), (code, Some("so it is")));
    }
}

#[test]
fn plan_and_diff_end_with_3_only_when_asked_to() {
    let full = r#"{"plan":{"steps":[{"action":"create","name":"a","why":"new"}],"withheld":[]}}"#;
    let empty = r#"{"plan":{"steps":[],"withheld":[]}}"#;
    assert_eq!(ask(vec![(200, full), (200, "create a\n")], &["plan"]).0, 0);
    let (code, out, _, asked) = ask(vec![(200, full), (200, "create a\n")], &["plan", "--exit-code"]);
    assert_eq!((code, out.as_str()), (3, "create a\n"));
    assert!(asked[1].contains("text/plain"), "{asked:?}");
    assert_eq!(ask(vec![(200, empty), (200, "nothing to do\n")], &["plan", "--exit-code"]).0, 0);
    assert_eq!(ask(vec![(200, "a (edited)\n")], &["diff", "--exit-code"]).0, 3);
    assert_eq!(ask(vec![(200, "a (edited)\n")], &["diff"]).0, 0);
    let (code, out, err, _) = ask(vec![(200, "")], &["diff", "--exit-code"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "no drift\n"));
}

#[test]
fn verbs_say_what_the_daemon_understands() {
    let fine = r#"{"state":"InSync","message":"all is well"}"#;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "correct-horse-battery\n").unwrap();
    let token = token.to_str().unwrap();
    let pause = ["pause", "orders", "--for", "2h", "--reason", "INC-1", "--token-file", token];
    let (code, out, err, asked) = ask(vec![(200, fine)], &pause);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "InSync: all is well\n", ""));
    assert!(asked[0].starts_with("POST /hold HTTP/1.1"), "{asked:?}");
    assert!(asked[0].contains("Bearer correct-horse-battery"), "{asked:?}");
    let body = asked[0].split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(body).unwrap(),
        serde_json::json!({"scope": "connector", "name": "orders", "for": "2h", "reason": "INC-1", "by": "tester"})
    );
    let (_, _, _, asked) = ask(vec![(200, fine)], &["pause", "--all", "--reason", "x", "--by", "me"]);
    assert!(asked[0].ends_with(r#"{"reason":"x","by":"me","scope":"all"}"#), "{asked:?}");
    let (_, _, _, asked) = ask(vec![(200, fine)], &["resume", "a b&c"]);
    assert!(asked[0].starts_with("DELETE /hold?name=a+b%26c HTTP/1.1"), "{asked:?}");
    let (_, _, _, asked) = ask(vec![(200, fine)], &["resume", "--all"]);
    assert!(asked[0].starts_with("DELETE /hold?all=true HTTP/1.1"), "{asked:?}");
    let (_, _, _, asked) = ask(vec![(200, fine)], &["confirm", "abc"]);
    assert!(asked[0].starts_with("POST /confirm") && asked[0].ends_with(r#"{"hash":"abc"}"#), "{asked:?}");
}

#[test]
fn refusals_keep_their_words_and_their_exit_codes() {
    let other = r#"{"error_code":409,"message":"the plan is another one","code":"OTHER-PLAN","hint":"GET /plan"}"#;
    let (code, out, err, _) = ask(vec![(409, other)], &["confirm", "abc"]);
    assert_eq!((code, out.as_str()), (5, ""));
    assert_eq!(err, "error: the daemon refuses: the plan is another one\n hint: GET /plan\n");
    let bad = r#"{"error_code":400,"message":"`for` is a length of time","code":"BAD-REQUEST"}"#;
    assert_eq!(ask(vec![(400, bad)], &["pause", "--all", "--reason", "x", "--for", "soon"]).0, 2);
    let unauthorized = r#"{"error_code":401,"message":"this verb needs the token","code":"UNAUTHORIZED"}"#;
    let (code, _, err, _) = ask(vec![(401, unauthorized)], &["reconcile"]);
    assert!(code == 1 && err.contains("--token-file"), "{err}");
    let held = r#"{"state":"Blocked","message":"m","plan":{"withheld":[{"action":"delete","name":"a","guard":"max-deletes","why":"5 deletions"}]}}"#;
    assert_eq!(ask(vec![(200, held)], &["apply"]).0, 5);
    assert_eq!(ask(vec![(200, held)], &["reconcile"]).0, 0);
    let away = r#"{"state":"SourceUnreachable","message":"m","source":{"problem":{"code":"GIT-CONNECT","message":"no route"}}}"#;
    let (code, out, ..) = ask(vec![(200, away)], &["reconcile"]);
    assert!(code == 6 && out.contains("no route"), "{out}");
    let unready = "not ready: starting\n- the destination's state was not read yet\n";
    let (code, _, err, _) = ask(vec![(503, unready)], &["healthcheck", "--ready"]);
    assert_eq!(
        (code, &*err),
        (1, "error: the daemon is not ready: starting; the destination's state was not read yet\n")
    );
    let (code, _, err, _) = ask(vec![(200, "<html>")], &["status"]);
    assert!(code == 1 && err.contains("doesn't answer like a mirrorkeeper daemon"), "{err}");
}
