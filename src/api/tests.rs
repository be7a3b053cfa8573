//! Every route over loopback: its status, its body, and who may call it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{MAX_BODY, Readiness, Token};
use crate::engine::Health;
use crate::spec::TargetState;

mod connect;
pub(super) mod made;
mod rig;

use rig::{CANARY, Rig};

const TOKEN: &str = "correct-horse-battery";

const READS: &[&str] = &[
    "/",
    "/health",
    "/connector-plugins",
    "/status",
    "/status?item=a",
    "/status/a",
    "/plan",
    "/diff",
    "/history",
    "/schema/status.json",
    "/livez",
    "/readyz",
    "/metrics",
    "/connectors",
    "/connectors?expand=status&expand=info",
    "/connectors/a",
    "/connectors/a/config",
    "/connectors/a/status",
    "/connectors/a/tasks",
    "/connectors/a/tasks/0/status",
    "/connectors/a/topics",
];

const WRITES: &[(&str, &str)] = &[
    ("POST", "/reconcile"),
    ("POST", "/apply"),
    ("POST", "/confirm"),
    ("POST", "/hold"),
    ("DELETE", "/hold?name=a"),
    ("POST", "/connectors"),
    ("PUT", "/connectors/a/config"),
    ("PATCH", "/connectors/a/config"),
    ("DELETE", "/connectors/a"),
    ("PUT", "/connectors/a/pause"),
    ("PUT", "/connectors/a/resume"),
    ("PUT", "/connectors/a/stop"),
    ("POST", "/connectors/a/restart"),
    ("POST", "/connectors/a/tasks/0/restart"),
];

#[tokio::test]
async fn no_secret_of_any_configuration_is_in_any_answer() {
    let rig = Rig::start().await;
    rig.engine.edit(|live| {
        let a = live.connectors.get_mut("a").unwrap();
        assert!(a.config.get("source.cluster.sasl.jaas.config").unwrap().contains(CANARY), "the engine has it");
        // Drift in a secret, and one in a key that nobody knows.
        a.config.insert("source.cluster.ssl.keystore.password", CANARY);
        a.config.insert("some.pasword", CANARY);
    });
    assert_eq!(rig.post("/reconcile", "").await.status, 200);
    for accept in ["*/*", "text/html", "text/plain"] {
        for path in READS {
            let answer = rig.ask("GET", path, &[("accept", accept)], "").await;
            assert!(matches!(answer.status, 200 | 307), "{path} {}", answer.line());
            assert!(!answer.body.contains("hunter2"), "{path} {accept}: {}", answer.body);
        }
    }
    assert!(rig.get("/diff").await.body.contains("source.cluster.ssl.keystore.password"), "that it changed shows");
    for (method, path) in WRITES {
        let body = format!(r#"{{"name": "a", "config": {{"sasl.jaas.config": "{CANARY}"}}}}"#);
        let answer = rig.ask(method, path, &[], &body).await;
        assert!(!answer.body.contains("hunter2"), "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_browsers_in() {
    let rig = Rig::start().await;
    for path in READS.iter().chain(&["/nothing", "/connectors/none"]) {
        let answer = rig.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn write_verbs_without_a_token_are_for_loopback() {
    let rig = Rig::listening("0.0.0.0:0", |_| {}).await;
    for (method, path) in WRITES {
        let answer = rig.ask(method, path, &[], "").await;
        assert_eq!(answer.status, 403, "{method} {path}");
        assert_eq!(answer.json()["code"], "NO-TOKEN");
    }
    for path in READS {
        assert_eq!(rig.get(path).await.status, 200, "{path}");
    }
    assert_eq!(rig.engine.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn write_verbs_want_the_token_where_there_is_one() {
    let rig = Rig::listening("0.0.0.0:0", |settings| settings.token = Some(Token::new(TOKEN).unwrap())).await;
    for (method, path) in WRITES {
        for headers in [&[][..], &[("authorization", "Bearer wrong-horse-battery")]] {
            let answer = rig.ask(method, path, headers, "").await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"mirrorkeeper\""));
            assert!(!answer.body.contains("horse"));
        }
    }
    assert_eq!(rig.engine.calls(), Vec::<String>::new());
    let bearer = format!("Bearer {TOKEN}");
    let answer = rig.ask("POST", "/reconcile", &[("authorization", &bearer), ("host", "mk.example")], "").await;
    assert_eq!(answer.status, 200, "{}", answer.line());
}

#[tokio::test]
async fn a_web_page_can_not_use_a_daemon_on_loopback() {
    let rig = Rig::start().await;
    for headers in
        [&[("host", "rebound.example")][..], &[("sec-fetch-site", "cross-site")], &[("origin", "https://evil.example")]]
    {
        for (method, path) in WRITES {
            assert_eq!(rig.ask(method, path, headers, "").await.status, 403, "{method} {path} {headers:?}");
        }
    }
    // What a form can send: no JSON type.
    let form = "POST /hold HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(rig.raw(form.as_bytes()).await.status, 415);
    let preflight = rig.ask("OPTIONS", "/reconcile", &[("origin", "https://evil.example")], "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (405, None));
    assert_eq!(rig.engine.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_too_large_or_malformed_is_refused() {
    let rig = Rig::start().await;
    let long = "x".repeat(MAX_BODY + 1);
    let answer = rig.post("/confirm", &long).await;
    assert_eq!((answer.status, answer.json()["error_code"].as_u64()), (413, Some(413)));
    // Said by nobody, found while reading.
    let chunked = format!(
        "POST /confirm HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    assert_eq!(rig.raw(chunked.as_bytes()).await.status, 413);
    let headers = (0..200).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let many = format!("GET /status HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    assert_eq!(rig.raw(many.as_bytes()).await.status, 431);
    let head = format!("GET /status?{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(70_000));
    assert!(matches!(rig.raw(head.as_bytes()).await.status, 414 | 431));
    for body in ["{", "[]", r#"{"hash": 1}"#, r#"{"hash": "x", "more": 1}"#, r#"{"hsah": "x"}"#] {
        assert_eq!(rig.post("/confirm", body).await.status, 400, "{body}");
    }
    assert_eq!(rig.post("/confirm", "").await.status, 415);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_sent_away() {
    let rig = Rig::with(|settings| settings.header_timeout = Duration::from_millis(50)).await;
    let mut stream = rig.connect().await;
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection must end");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_as_kafka_connect_does() {
    let rig = Rig::with(|settings| settings.request_timeout = Duration::from_millis(100)).await;
    rig.engine.hang(true);
    let answer = rig.get("/connectors").await;
    assert_eq!(answer.status, 500);
    assert!(answer.json()["message"].as_str().unwrap().starts_with("Request timed out."), "{}", answer.body);
    assert_eq!(rig.get("/status").await.status, 200, "the status asks no engine");
}

#[tokio::test]
async fn the_status_has_an_entity_tag_and_a_page() {
    let rig = Rig::start().await;
    // No further pass, so that the document stays the same.
    if let Some(task) = &rig.reconcile {
        task.abort();
    }
    let first = rig.get("/status").await;
    assert_eq!(first.header("content-type"), Some("application/json"));
    let document = first.json();
    assert_eq!((&document["schema"], &document["items"][0]["name"]), (&"v1".into(), &"a".into()));
    let tag = first.header("etag").unwrap();
    let again = rig.ask("GET", "/status", &[("if-none-match", tag)], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let page = rig.ask("GET", "/status", &[("accept", "text/html"), ("if-none-match", tag)], "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("vary"), Some("accept"));
    assert!(page.body.starts_with("<!doctype html>"));
    let root = rig.ask("GET", "/", &[("accept", "text/html")], "").await;
    assert_eq!((root.status, root.header("location")), (307, Some("/status")));
}

#[tokio::test]
async fn one_item_is_found_by_name_or_id() {
    let rig = Rig::start().await;
    for path in ["/status/a", "/status?item=a", "/status?item=staging/stg-ue2/cfn/a"] {
        assert_eq!(rig.get(path).await.json()["name"], "a", "{path}");
    }
    let none = rig.get("/status/none%22%3Cscript%3E").await;
    assert_eq!(none.status, 404);
    assert_eq!(none.json()["code"], "UNKNOWN-CONNECTOR");
    assert_eq!(none.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn probes_tell_of_the_process_and_not_of_replications() {
    let mut rig = Rig::start().await;
    rig.engine.edit(|live| {
        for observed in live.connectors.values_mut() {
            observed.flow.as_mut().unwrap().health = Health::Failed;
        }
    });
    rig.engine.take_down(Some("the destination is gone"));
    assert_eq!(rig.get("/readyz").await.line(), "200 ready\n");
    assert_eq!(rig.get("/livez").await.line(), "200 ok\n");
    rig.ready.send_replace(Readiness::Starting(vec!["the state topic was not read yet".into()]));
    assert_eq!(rig.get("/readyz").await.line(), "503 not ready: starting\n- the state topic was not read yet\n");
    assert_eq!(rig.get("/health").await.status, 503);
    rig.ready.send_replace(Readiness::Stopping);
    assert_eq!(rig.get("/readyz").await.line(), "503 not ready: stopping\n");
    drop(rig.reconcile.take());
    let mut dead = rig.get("/livez").await;
    // The aborted task lets go of its sender at its next turn.
    for _ in 0..1_000 {
        if dead.status == 503 {
            break;
        }
        dead = rig.get("/livez").await;
    }
    assert_eq!(dead.line(), "503 the control loop has ended\n");
}

#[tokio::test]
async fn reconcile_answers_what_the_pass_left() {
    let rig = Rig::start().await;
    rig.commit("r2", &["a", "b", "c"]);
    let answer = rig.post("/reconcile", "").await;
    assert_eq!(answer.status, 200);
    let summary = answer.json();
    assert_eq!(summary["source"]["applied"], "r2");
    assert_eq!(summary["counts"]["inSync"], 3, "{}", answer.body);
    let calls = rig.engine.calls();
    // Noting the clusters that the flows found tells the engine to expect them; that is all that happens beside.
    let others: Vec<_> = calls.iter().filter(|call| !call.starts_with("adopt ")).collect();
    assert_eq!((calls[..2].to_vec(), others.len()), (vec!["put c".to_owned(), "adopt c".to_owned()], 1), "{calls:?}");
    let summary = rig.post("/reconcile", "").await.json();
    assert_eq!(summary["source"]["applied"], "r2");
    assert_eq!(rig.engine.calls(), Vec::<String>::new(), "nothing changed");
    assert!(rig.get("/history").await.body.contains("\"c\""));
}

#[tokio::test]
async fn a_confirmation_is_for_one_plan() {
    let rig = Rig::start().await;
    let five = ["a", "b", "c", "d", "e"];
    rig.commit("r2", &five);
    rig.post("/reconcile", "").await;
    rig.commit("r3", &["a"]);
    rig.engine.calls();
    let plan = rig.post("/reconcile", "").await.json()["plan"].clone();
    assert_eq!((&plan["confirmable"], plan["withheld"].as_array().unwrap().len()), (&true.into(), 4));
    assert_eq!(rig.engine.calls(), Vec::<String>::new());
    let other = rig.post("/confirm", r#"{"hash": "0123"}"#).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("OTHER-PLAN")));
    assert_eq!(rig.get("/plan").await.json()["plan"], plan);
    let text = rig.ask("GET", "/plan", &[("accept", "text/plain")], "").await.body;
    assert!(text.contains("withheld delete b"), "{text}");
    let hash = plan["hash"].as_str().unwrap();
    let done = rig.post("/confirm", &format!(r#"{{"hash": "{hash}"}}"#)).await;
    assert_eq!(done.status, 200, "{}", done.line());
    assert_eq!(rig.engine.calls(), ["delete b", "delete c", "delete d", "delete e"]);
}

#[tokio::test]
async fn holds_come_and_go() {
    let rig = Rig::start().await;
    let held = rig.post("/hold", r#"{"name": "a", "for": "2h", "reason": "INC-1", "by": "ann"}"#).await;
    assert_eq!(held.status, 200, "{}", held.line());
    assert_eq!(held.json()["holds"][0]["scope"], "connector/a");
    assert_eq!(held.json()["holds"][0]["reason"], "INC-1");
    rig.engine.edit(|live| live.connectors.get_mut("a").unwrap().state = TargetState::Paused);
    rig.post("/reconcile", "").await;
    let touched: Vec<_> =
        rig.engine.calls().into_iter().filter(|call| call.ends_with(" a") || call.contains(" a ")).collect();
    assert_eq!(touched, Vec::<String>::new(), "a hold is a hold");
    let nobody = rig.post("/hold", r#"{"name": "zzz", "reason": "r", "by": "b"}"#).await;
    assert_eq!((nobody.status, nobody.json()["code"].as_str()), (404, Some("UNKNOWN-CONNECTOR")));
    assert_eq!(rig.post("/hold", r#"{"name": "a", "reason": " ", "by": "b"}"#).await.status, 400);
    assert_eq!(rig.ask("DELETE", "/hold", &[], "").await.status, 400, "nothing is not everything");
    assert_eq!(rig.ask("DELETE", "/hold?all", &[], "").await.status, 404, "there is none on the instance");
    assert_eq!(rig.ask("DELETE", "/hold?name=a", &[], "").await.json()["holds"], serde_json::json!([]));
    let all = rig.post("/hold", r#"{"scope": "all", "reason": "freeze", "by": "ann"}"#).await;
    assert_eq!(all.json()["holds"][0]["scope"], "instance");
    assert_eq!(rig.ask("DELETE", "/hold?all", &[], "").await.status, 200);
}

#[tokio::test]
async fn the_server_ends_when_told_and_lets_open_requests_end() {
    let mut rig = Rig::with(|settings| settings.grace = Duration::from_secs(10)).await;
    rig.engine.hang(true);
    let mut stream = rig.connect().await;
    stream.write_all(b"GET /connectors HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    // A second connection answered after it was accepted: so was the first.
    assert_eq!(rig.get("/livez").await.status, 200);
    drop(rig.stop.take());
    let (engine, server) = (rig.engine.clone(), rig.server);
    engine.hang(false);
    drop(stream);
    let ended = tokio::time::timeout(Duration::from_secs(20), server).await;
    assert!(ended.expect("in time").unwrap().is_ok());
}
