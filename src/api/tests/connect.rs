//! Kafka Connect's REST API: shapes, codes and texts.

use super::rig::Rig;
use crate::engine::Health;
use crate::spec::TargetState;

#[tokio::test]
async fn the_root_says_who_serves() {
    let rig = Rig::start().await;
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(r#"200 {{"version":"{version}","commit":"abc","kafka_cluster_id":"target-id"}}"#);
    assert_eq!(rig.get("/").await.line(), expected);
    insta::assert_snapshot!(rig.get("/health").await.line(), @r#"200 {"status":"healthy","message":"Worker has completed startup and is ready to handle requests."}"#);
    assert_eq!(rig.get("/connector-plugins").await.json().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn connectors_are_listed_and_expanded() {
    let rig = Rig::start().await;
    insta::assert_snapshot!(rig.get("/connectors").await.line(), @r#"200 ["a","b"]"#);
    let expanded = rig.get("/connectors?expand=info&expand=status").await.json();
    assert_eq!(expanded["a"]["status"], rig.get("/connectors/a/status").await.json());
    assert_eq!(expanded["b"]["info"], rig.get("/connectors/b").await.json());
    assert_eq!(expanded["a"]["info"]["tasks"], serde_json::json!([{"connector": "a", "task": 0}]));
    assert_eq!(expanded["a"]["info"]["type"], "source");
    let comma = rig.get("/connectors?expand=status,info").await;
    assert_eq!(comma.body, r#"["a","b"]"#, "the comma form is not Connect's");
}

#[tokio::test]
async fn one_connector_has_config_status_tasks_and_topics() {
    let rig = Rig::start().await;
    let config = rig.get("/connectors/a/config").await.json();
    assert_eq!((&config["name"], &config["source.cluster.alias"]), (&"a".into(), &"a".into()));
    assert_eq!(config["source.cluster.sasl.jaas.config"], "********");
    insta::assert_snapshot!(rig.get("/connectors/a/status").await.line(), @r#"200 {"name":"a","connector":{"state":"RUNNING","worker_id":"me:8083"},"tasks":[{"id":0,"state":"RUNNING","worker_id":"me:8083"}],"type":"source"}"#);
    insta::assert_snapshot!(rig.get("/connectors/a/tasks/0/status").await.line(), @r#"200 {"id":0,"state":"RUNNING","worker_id":"me:8083"}"#);
    insta::assert_snapshot!(rig.get("/connectors/a/topics").await.line(), @r#"200 {"a":{"topics":["cfn.t"]}}"#);
    let task = rig.get("/connectors/a/tasks").await.json()[0].clone();
    assert_eq!(task["id"], serde_json::json!({"connector": "a", "task": 0}));
    assert_eq!(task["config"]["task.assigned.partitions"], "t-0,t-1");
}

#[tokio::test]
async fn what_is_missing_is_missing_in_connects_words() {
    let rig = Rig::start().await;
    for (method, path, message) in [
        ("GET", "/connectors/x", "Connector x not found"),
        ("GET", "/connectors/x/config", "Connector x not found"),
        ("GET", "/connectors/x/tasks", "Connector x not found"),
        ("GET", "/connectors/x/status", "No status found for connector x"),
        ("GET", "/connectors/x/tasks/0/status", "No status found for task x-0"),
        ("GET", "/connectors/a/tasks/7/status", "No status found for task a-7"),
        ("PUT", "/connectors/x/pause", "Unknown connector x"),
        ("PUT", "/connectors/x/resume", "Unknown connector x"),
        ("PUT", "/connectors/x/stop", "Unknown connector x"),
        ("POST", "/connectors/x/restart", "Unknown connector: x"),
        ("POST", "/connectors/x/restart?includeTasks=true", "Unknown connector: x"),
        ("POST", "/connectors/a/tasks/7/restart", "Unknown task: a-7"),
        ("DELETE", "/connectors/x", "Connector x not found"),
        ("PATCH", "/connectors/x/config", "Connector x not found"),
        ("GET", "/connectors/a%2Fb", "Connector a/b not found"),
        ("GET", "/nothing", "HTTP 404 Not Found"),
    ] {
        let answer = rig.ask(method, path, &[], "").await;
        let expected = serde_json::json!({"error_code": 404, "message": message});
        assert_eq!((answer.status, answer.json()), (404, expected), "{method} {path}");
    }
    let answer = rig.ask("DELETE", "/connectors", &[], "").await;
    insta::assert_snapshot!(answer.line(), @r#"405 {"error_code":405,"message":"HTTP 405 Method Not Allowed"}"#);
    assert_eq!(rig.engine.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn the_life_cycle_is_connects() {
    let rig = Rig::start().await;
    for (method, path, status, call) in [
        ("PUT", "/connectors/a/pause", 202, "set_state a paused"),
        ("PUT", "/connectors/a/resume", 202, "set_state a running"),
        ("PUT", "/connectors/a/stop", 204, "set_state a stopped"),
        ("PUT", "/connectors/a/resume", 202, "set_state a running"),
        ("POST", "/connectors/a/restart", 204, "restart a tasks=false failed=false"),
        ("POST", "/connectors/a/tasks/0/restart", 204, "restart a tasks=true failed=false"),
    ] {
        let answer = rig.ask(method, path, &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{path}");
        assert_eq!(rig.engine.calls(), [call]);
    }
    let both = rig.post("/connectors/a/restart?includeTasks=true", "").await;
    insta::assert_snapshot!(both.line(), @r#"202 {"name":"a","connector":{"state":"RESTARTING","worker_id":"me:8083"},"tasks":[{"id":0,"state":"RESTARTING","worker_id":"me:8083"}],"type":"source"}"#);
    let failed = rig.post("/connectors/a/restart?includeTasks=true&onlyFailed=true", "").await;
    assert_eq!(failed.json()["connector"]["state"], "RUNNING", "nothing has failed");
    assert_eq!(rig.post("/connectors/a/restart?includeTasks=perhaps", "").await.status, 404);
}

#[tokio::test]
async fn states_never_flatter() {
    let rig = Rig::start().await;
    for (state, health, expected) in [
        (TargetState::Running, Health::Healthy, "RUNNING"),
        (TargetState::Running, Health::Degraded, "RUNNING"),
        (TargetState::Running, Health::Stalled, "FAILED"),
        (TargetState::Running, Health::Failed, "FAILED"),
        (TargetState::Running, Health::Starting, "UNASSIGNED"),
        (TargetState::Running, Health::Standby, "UNASSIGNED"),
        (TargetState::Paused, Health::Paused, "PAUSED"),
        (TargetState::Stopped, Health::Paused, "STOPPED"),
    ] {
        rig.engine.edit(|live| {
            let a = live.connectors.get_mut("a").unwrap();
            a.state = state;
            let flow = a.flow.as_mut().unwrap();
            flow.health = health;
            flow.problems = vec![super::made::problem("KAFKA-CONNECT", "no broker answers")];
        });
        let answer = rig.get("/connectors/a/status").await.json();
        assert_eq!(answer["connector"]["state"], expected, "{state:?} {health:?}");
        let trace = answer["connector"]["trace"].as_str().unwrap_or_default();
        assert_eq!(trace.contains("no broker answers"), expected == "FAILED");
        assert_eq!(answer["tasks"].as_array().unwrap().is_empty(), expected == "STOPPED");
    }
    rig.engine.edit(|live| {
        let a = live.connectors.get_mut("a").unwrap();
        (a.state, a.flow) = (TargetState::Running, None);
    });
    assert_eq!(rig.get("/connectors/a/status").await.json()["connector"]["state"], "UNASSIGNED");
}

#[tokio::test]
async fn configurations_are_gits() {
    let rig = Rig::start().await;
    let body = r#"{"name": "a", "config": {}}"#;
    let path = "connectors/staging/stg-ue2/cfn/a.json";
    for (method, at) in
        [("PUT", "/connectors/a/config"), ("PATCH", "/connectors/a/config"), ("DELETE", "/connectors/a")]
    {
        let answer = rig.ask(method, at, &[], body).await;
        assert_eq!(answer.status, 409, "{method} {at}");
        assert_eq!(
            answer.json()["message"],
            format!("connector a is as {path} says: edit the file in the Git repository and commit")
        );
    }
    assert_eq!(rig.ask("POST", "/connectors", &[], body).await.status, 409);
    assert_eq!(rig.ask("PUT", "/connectors/new/config", &[], "{}").await.status, 409);
    assert_eq!(rig.engine.calls(), Vec::<String>::new());
    assert_eq!(rig.get("/connectors").await.body, r#"["a","b"]"#);
}

#[tokio::test]
async fn an_engine_that_can_not_be_asked_is_no_empty_list() {
    let rig = Rig::start().await;
    rig.engine.take_down(Some("the destination is gone"));
    for path in ["/connectors", "/connectors/a", "/connectors/a/status", "/connectors/x"] {
        let answer = rig.get(path).await;
        assert_eq!(answer.status, 409, "{path} {}", answer.body);
        assert!(answer.json()["message"].as_str().unwrap().contains("the destination is gone"));
    }
    assert_eq!(rig.get("/status").await.status, 200);
    let metrics = rig.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("\nmirrorkeeper_engine_up 0.0\n"), "{}", metrics.body);
}
