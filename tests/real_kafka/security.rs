//! Every way into a cluster that wants to know who comes: what is let in, and what a refusal says.
//!
//! All settings go through Java's properties, as connector and worker files have them.

use std::collections::BTreeMap;
use std::time::Duration;

use mirrorkeeper::kafka::properties::cluster_config;
use mirrorkeeper::kafka::{Cluster, ClusterConfig, Connection, Error};

use crate::support::acls::{Operation, Resource};
use crate::support::secured::{ALICE, LIMITED, Mechanism, ODD, Secured, Way, secured};
use crate::support::{client, java, unique};

fn config(properties: &BTreeMap<String, String>) -> ClusterConfig {
    let config = cluster_config(properties).unwrap_or_else(|problems| panic!("{problems:?}"));
    // A refusal is to be an answer, not a wait.
    ClusterConfig { api_timeout: Duration::from_secs(15), ..config }
}

async fn comes_in(cluster: &Secured, way: &Way) -> Result<String, Error> {
    Cluster::new(config(&cluster.properties(way))).id().await
}

async fn refused(cluster: &Secured, way: &Way) -> Error {
    match comes_in(cluster, way).await {
        Ok(_) => panic!("{way:?} was let in"),
        Err(error) => error,
    }
}

async fn connect(cluster: &Secured, way: &Way) -> Result<Connection, Error> {
    let config = config(&cluster.properties(way));
    Connection::connect(&config.bootstrap[0], &config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_comes_in_by_every_mechanism() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    for mechanism in Mechanism::PASSWORDS {
        for user in [ALICE, ODD] {
            for way in [Way::sasl(mechanism, user), Way::sasl_tls(mechanism, user)] {
                let id = comes_in(cluster, &way).await.unwrap_or_else(|error| panic!("{way:?}: {error}"));
                assert_eq!(id, cluster.cluster.id());
            }
        }
        let way = Way::sasl(mechanism, ALICE).with_password("wrong-secret");
        let wrong = refused(cluster, &way).await;
        assert!(matches!(wrong, Error::Auth { .. }) && !wrong.to_string().contains("wrong-secret"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate_where_the_broker_wants_one() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    let certs = &cluster.certs;
    comes_in(cluster, &Way::tls()).await.unwrap();
    comes_in(cluster, &Way::mutual(&certs.mirror)).await.unwrap();
    let mirror = Way::mutual(&certs.mirror);
    for bad in [mirror.clone().empty_handed(), Way::mutual(&certs.expired), Way::mutual(&certs.stranger)] {
        let error = refused(cluster, &bad).await;
        assert!(matches!(error, Error::Tls { .. }), "{bad:?}: {error:?}");
    }

    // Chain and key in properties of their own, in one line as Java's properties have them.
    let mut inline = cluster.properties(&mirror);
    inline.remove("ssl.keystore.location");
    let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap().replace('\n', "\\n");
    inline.insert("ssl.keystore.certificate.chain".into(), text(&certs.mirror.chain));
    inline.insert("ssl.keystore.key".into(), text(&certs.mirror.key));
    assert_eq!(Cluster::new(config(&inline)).id().await.unwrap(), cluster.cluster.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_shows_a_certificate_that_we_can_trust() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    for bad in [Way::expired(), Way::misnamed(), Way::tls().trusting(cluster.certs.strangers_ca.clone())] {
        let error = connect(cluster, &bad).await.expect_err("not to be trusted");
        assert!(matches!(error, Error::Tls { .. }), "{bad:?}: {error:?}");
    }
    // The certificate bears the name, not the address; and whoever says so does without names.
    let mut by_address = cluster.properties(&Way::sasl_tls(Mechanism::ScramSha512, ALICE));
    let address = by_address["bootstrap.servers"].replace("localhost", "127.0.0.1");
    let error = Connection::connect(&address, &config(&by_address)).await.expect_err("another name");
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    by_address.insert("ssl.endpoint.identification.algorithm".into(), String::new());
    Connection::connect(&address, &config(&by_address)).await.unwrap();
    let mut misnamed = cluster.properties(&Way::misnamed());
    misnamed.insert("ssl.endpoint.identification.algorithm".into(), String::new());
    assert_eq!(Cluster::new(config(&misnamed)).id().await.unwrap(), cluster.cluster.id());

    // Plaintext to a TLS port ends in a sentence, soon.
    let plain = ClusterConfig { connect_timeout: Duration::from_secs(5), ..ClusterConfig::default() };
    let confused = Connection::connect(&cluster.bootstrap(&Way::tls()), &plain).await.unwrap_err();
    assert!(confused.hint().is_some() || matches!(confused, Error::Protocol { .. }), "{confused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_of_whoever_came_in() {
    let Some(cluster) = tokio::task::block_in_place(secured) else { return };
    let topic = unique("rights");
    let names = [topic.clone()];
    tokio::task::block_in_place(|| client::create_topic(&cluster.cluster, &topic, 1, 1, &[]));
    let ways = [
        ("User:limited", Way::sasl(Mechanism::Plain, LIMITED)),
        ("User:CN=limited", Way::mutual(&cluster.certs.limited)),
    ];
    for (principal, way) in ways {
        let client = Cluster::new(config(&cluster.properties(&way)));
        // 29: TOPIC_AUTHORIZATION_FAILED.
        assert_eq!(client.topics(Some(&names)).await.unwrap()[0].error.0, 29, "{principal}");
        tokio::task::block_in_place(|| cluster.allow(principal, Resource::Topic(&topic), &[Operation::Read]));
        // Brokers learn of an ACL a moment after it was granted.
        let begun = std::time::Instant::now();
        while client.topics(Some(&names)).await.unwrap()[0].error.0 != 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{principal} still may not read");
        }
    }
}

/// The bench itself: what it says of a way in is what Java understands.
#[test]
fn java_comes_in_by_the_same_properties() {
    let Some(cluster) = secured() else { return };
    let kafka = java::kafka().expect("the cluster needs it too");
    let topic = unique("java");
    client::create_topic(&cluster.cluster, &topic, 1, 1, &[]);
    let ways = [
        Way::mutual(&cluster.certs.mirror),
        Way::sasl_tls(Mechanism::ScramSha512, ODD),
        Way::sasl(Mechanism::OauthBearer, ALICE),
    ];
    std::thread::scope(|scope| {
        for way in &ways {
            let topic = &topic;
            scope.spawn(move || {
                let (file, bootstrap) = (cluster.file(way, &[]).display().to_string(), cluster.bootstrap(way));
                let list = ["--bootstrap-server", &bootstrap, "--command-config", &file, "--list"];
                let text = kafka.tool("org.apache.kafka.tools.TopicCommand", &list);
                assert!(text.contains(topic.as_str()), "{way:?}: {text}");
            });
        }
    });
}
