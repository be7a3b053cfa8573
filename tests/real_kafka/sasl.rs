//! SASL on Apache Kafka: who is let in by which mechanism, what a refusal says, and sessions that the broker bounds.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use mirrorkeeper::kafka::properties::cluster_config;
use mirrorkeeper::kafka::{Cluster, ClusterConfig, Connection, Error, Role};

use crate::support::java;
use crate::support::oidc::Oidc;
use crate::support::run_folder::folder;
use crate::support::secured::{ALICE, Mechanism, Secured, Shape, User, Way, secured, unsecured_token};

const HOUR: Duration = Duration::from_secs(3600);

/// A second cluster. Its listener `SASL` offers PLAIN only.
pub(crate) fn other() -> Option<&'static Secured> {
    static OTHER: OnceLock<Secured> = OnceLock::new();
    java::kafka()?;
    let shape = Shape::new().property("listener.name.sasl.sasl.enabled.mechanisms", "PLAIN");
    Some(OTHER.get_or_init(|| Secured::start(&shape)))
}

fn config(properties: &BTreeMap<String, String>) -> ClusterConfig {
    let config = cluster_config(properties).unwrap_or_else(|problems| panic!("{problems:?}"));
    // A refusal is to be an answer, not a wait.
    ClusterConfig { api_timeout: Duration::from_secs(15), ..config }
}

fn with(cluster: &Secured, way: &Way, more: &[(String, String)]) -> ClusterConfig {
    let mut properties = cluster.properties(way);
    properties.extend(more.iter().cloned());
    config(&properties)
}

fn oauth(cluster: &Secured, more: &[(String, String)]) -> ClusterConfig {
    with(cluster, &Way::sasl(Mechanism::OauthBearer, ALICE), more)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_the_broker_says_and_what_to_do() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    let unknown = User { name: "nobody", password: "nobody-secret" };
    for mechanism in Mechanism::PASSWORDS {
        for way in [Way::sasl(mechanism, unknown), Way::sasl(mechanism, ALICE).with_password("wrong-secret")] {
            let error = Cluster::new(config(&cluster.properties(&way))).id().await.expect_err("refused");
            let shown = format!("{error} {error:?}");
            assert!(matches!(error, Error::Auth { .. }) && !shown.contains("-secret"), "{way:?}: {shown}");
            assert!(shown.contains(mechanism.name()) && !error.retriable(), "{shown}");
            assert!(error.hint().is_some_and(|hint| hint.contains("sasl.jaas.config")), "{shown}");
        }
    }
    let Some(other) = tokio::task::block_in_place(other) else { return };
    let error = Cluster::new(config(&other.properties(&Way::sasl(Mechanism::ScramSha256, ALICE)))).id().await;
    let error = error.expect_err("not enabled");
    assert!(error.to_string().ends_with("UNSUPPORTED_SASL_MECHANISM (33); the broker offers PLAIN"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("one that the broker offers")), "{error}");
    assert!(Cluster::new(config(&other.properties(&Way::sasl(Mechanism::Plain, ALICE)))).id().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_from_everywhere_open_the_door() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    let id = cluster.cluster.id();
    assert_eq!(Cluster::new(oauth(cluster, &[])).id().await.unwrap(), id, "unsecured");

    let oidc = Oidc::start(ALICE.name, HOUR);
    let client = Cluster::new(oauth(cluster, &oidc.properties()));
    assert_eq!(client.id().await.unwrap(), id, "by the endpoint");
    let roles = [Role::Admin, Role::Fetch, Role::FetchCommitted, Role::Produce, Role::Progress, Role::Group];
    for role in roles {
        client.any(role).await.unwrap();
    }
    assert_eq!(oidc.granted(), 1, "one token for all connections");

    let file = folder("token").join("token");
    std::fs::write(&file, format!("{}\n", unsecured_token(ALICE.name, HOUR))).unwrap();
    let url = "sasl.oauthbearer.token.endpoint.url";
    let mut by_file = oidc.properties();
    by_file.push((url.to_owned(), format!("file://{}", file.display())));
    assert_eq!(Cluster::new(oauth(cluster, &by_file)).id().await.unwrap(), id, "by a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_the_reason_is_named() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    let oidc = Oidc::start(ALICE.name, HOUR);
    let mut wrong = oidc.properties();
    wrong.push(("sasl.oauthbearer.client.credentials.client.secret".into(), "wrong-secret".into()));
    let error = Cluster::new(oauth(cluster, &wrong)).id().await.expect_err("no token");
    assert!(error.to_string().contains("401, invalid_client: unknown client"), "{error}");
    assert!(!format!("{error:?}").contains("wrong-secret") && !error.retriable(), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("client id and secret")));

    oidc.set_lifetime(Duration::ZERO);
    let expired = Cluster::new(oauth(cluster, &oidc.properties())).id().await.expect_err("an expired token");
    assert!(matches!(expired, Error::Auth { .. }), "{expired}");
    assert!(expired.hint().is_some_and(|hint| hint.contains("validity")), "{expired}");
}

/// Uses a connection for that long; what ended it, if anything did, and the longest wait for an answer.
async fn use_it(connection: &Connection, time: Duration) -> (Result<(), Error>, Duration) {
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < time {
        let asked = Instant::now();
        let request = kafka_protocol::messages::MetadataRequest::default().with_topics(Some(Vec::new()));
        if let Err(error) = connection.call(request).await {
            return (Err(error), longest);
        }
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (Ok(()), longest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_its_sessions() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    let oidc = Oidc::start(ALICE.name, Duration::from_secs(5));
    let short = |mechanism| Way::short(mechanism, ALICE);
    let configs = [
        with(cluster, &short(Mechanism::Plain), &[]),
        with(cluster, &short(Mechanism::ScramSha256), &[]),
        with(cluster, &short(Mechanism::ScramSha512), &[]),
        with(cluster, &short(Mechanism::OauthBearer), &[]),
        with(cluster, &short(Mechanism::OauthBearer), &oidc.properties()),
    ];
    // Sessions last 3 s: at least three of them.
    let used = configs.iter().map(|config| async move {
        let connection = Connection::connect(&config.bootstrap[0], config).await.unwrap();
        let (ended, longest) = use_it(&connection, Duration::from_secs(10)).await;
        assert!(ended.is_ok() && !connection.is_closed(), "{:?}: {ended:?}", config.security);
        assert!(longest < Duration::from_secs(2), "{:?}: a gap of {longest:?}", config.security);
    });
    futures::future::join_all(used).await;
    assert!(oidc.granted() >= 2, "{} tokens of 5 s in 10 s", oidc.granted());
}

#[ignore = "open: once in three runs the broker closes first, and the reason is lost"]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_renewed_ends_with_the_reason() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    let oidc = Oidc::start(ALICE.name, Duration::from_secs(4));
    let config = with(cluster, &Way::short(Mechanism::OauthBearer, ALICE), &oidc.properties());
    let connection = Connection::connect(&config.bootstrap[0], &config).await.unwrap();
    oidc.set_lifetime(Duration::ZERO);
    let (ended, _) = use_it(&connection, Duration::from_secs(15)).await;
    let error = ended.expect_err("the broker takes no expired token");
    assert!(matches!(error, Error::Auth { mechanism: "OAUTHBEARER", .. }), "{error:?}");
    assert!(connection.is_closed());
}
