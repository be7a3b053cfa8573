//! A cluster that wants to know who comes: TLS, mutual TLS, SASL by every mechanism, and ACLs.
//!
//! [`secured`] is shared by the tests of the binary; [`Secured::start`] makes one of a test's own. A [`Way`] is a way in,
//! and gives the properties that Java's clients, a connector file or a worker file need for it. All users and the
//! certificate `CN=mirror` are super users, so that tests need no ACL; [`LIMITED`] and `CN=limited` may nothing but what
//! [`Secured::allow`] grants.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::acls::{self, Operation, Resource};
use super::certs::{Certs, Pair};
use super::cluster::{Cluster, Options, escaped};
use super::java;
use super::run_folder::folder;

/// A name and its password, known to `PLAIN` and both SCRAMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

/// A super user.
pub(crate) const ALICE: User = User { name: "alice", password: "alice-secret" };
/// A super user.
pub(crate) const BOB: User = User { name: "bob", password: "bob-secret" };
/// A super user whose password needs quoting wherever it is written.
pub(crate) const ODD: User = User { name: "odd", password: r#"a;b"c\d=e f'g"# };
/// May nothing, until [`Secured::allow`].
pub(crate) const LIMITED: User = User { name: "limited", password: "limited-secret" };
const USERS: [User; 4] = [ALICE, BOB, ODD, LIMITED];

/// How a user proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    /// By an unsecured token; the password says nothing.
    OauthBearer,
}

/// How a cluster of one's own differs from the shared one.
#[derive(Clone)]
pub(crate) struct Shape {
    brokers: i32,
    session: Duration,
    properties: Vec<(String, String)>,
}

/// A running cluster with all ways in.
pub(crate) struct Secured {
    /// Its plain listener is for the bench: whoever comes there is the super user `ANONYMOUS`.
    pub(crate) cluster: Cluster,
    /// What brokers and clients show.
    pub(crate) certs: Certs,
}

/// A way in: a listener, and what is shown there.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    listener: &'static str,
    certificate: Option<Pair>,
    user: Option<(Mechanism, User)>,
    /// What the client trusts instead of the authority.
    trust: Option<PathBuf>,
}

/// The listeners beside `PLAINTEXT`.
const LISTENERS: [(&str, &str); 7] = [
    ("TLS", "SSL"),
    ("MUTUAL", "SSL"),
    ("EXPIRED", "SSL"),
    ("MISNAMED", "SSL"),
    ("SASL", "SASL_PLAINTEXT"),
    ("SASLTLS", "SASL_SSL"),
    ("SHORT", "SASL_PLAINTEXT"),
];

/// The shared cluster of one broker, or `None` (the test then returns) where there is no Kafka. Tests use topics and
/// groups of their own, and stop no broker of it.
pub(crate) fn secured() -> Option<&'static Secured> {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    java::kafka()?;
    Some(SECURED.get_or_init(|| Secured::start(&Shape::new())))
}

// === impl Mechanism ===

impl Mechanism {
    /// All that take a password.
    pub(crate) const PASSWORDS: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// `sasl.mechanism`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Plain => "org.apache.kafka.common.security.plain.PlainLoginModule",
            Self::ScramSha256 | Self::ScramSha512 => "org.apache.kafka.common.security.scram.ScramLoginModule",
            Self::OauthBearer => "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
        }
    }
}

// === impl Shape ===

impl Shape {
    /// One broker; sessions at the listener `SHORT` last 3 s.
    pub(crate) fn new() -> Self {
        Self { brokers: 1, session: Duration::from_secs(3), properties: Vec::new() }
    }

    /// That many brokers.
    pub(crate) fn brokers(mut self, brokers: i32) -> Self {
        self.brokers = brokers;
        self
    }

    /// How long a session at the listener `SHORT` lasts until the broker wants proof again (KIP-368).
    pub(crate) fn session(mut self, lifetime: Duration) -> Self {
        self.session = lifetime;
        self
    }

    /// A broker property, replacing the bench's own.
    pub(crate) fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    fn options(&self, certs: &Certs) -> Options {
        let mut options = Options::brokers(self.brokers);
        for (name, protocol) in LISTENERS {
            options = options.listener_at(name, protocol, "localhost");
        }
        let store = |pair: &Pair| pair.store.display().to_string();
        let shown = [
            ("tls", &certs.broker),
            ("mutual", &certs.broker),
            ("expired", &certs.broker_expired),
            ("misnamed", &certs.broker_misnamed),
            ("sasltls", &certs.broker),
        ];
        for (listener, pair) in shown {
            let key = |key: &str| format!("listener.name.{listener}.ssl.{key}");
            options = options.property(&key("keystore.type"), "PEM").property(&key("keystore.location"), &store(pair));
            options = options.property(&key("truststore.type"), "PEM");
            options = options.property(&key("truststore.location"), &certs.ca.display().to_string());
        }
        options = options.property("listener.name.mutual.ssl.client.auth", "required");

        let users: String = USERS.iter().map(|user| format!(" user_{}={}", user.name, quoted(user.password))).collect();
        let oauth = "listener.name.LISTENER.oauthbearer";
        let validator = "org.apache.kafka.common.security.oauthbearer.internals.unsecured";
        for listener in ["sasl", "sasltls", "short"] {
            let key = |mechanism: &str| format!("listener.name.{listener}.{mechanism}.sasl.jaas.config");
            let module = |mechanism: Mechanism| format!("{} required", mechanism.module());
            options = options
                .property(&key("plain"), &format!("{}{users};", module(Mechanism::Plain)))
                .property(&key("scram-sha-256"), &format!("{};", module(Mechanism::ScramSha256)))
                .property(&key("scram-sha-512"), &format!("{};", module(Mechanism::ScramSha512)))
                .property(&key("oauthbearer"), &format!("{};", module(Mechanism::OauthBearer)))
                .property(
                    &format!("{}.sasl.server.callback.handler.class", oauth.replace("LISTENER", listener)),
                    &format!("{validator}.OAuthBearerUnsecuredValidatorCallbackHandler"),
                );
        }
        options = options
            .property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER")
            .property("listener.name.short.connections.max.reauth.ms", &self.session.as_millis().to_string())
            .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            .property("super.users", "User:ANONYMOUS;User:alice;User:bob;User:odd;User:CN=mirror");
        for user in USERS {
            for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
                // The tool knows no escapes: a password must hold no comma.
                let entry = format!("{}=[name={},password={}]", mechanism.name(), user.name, user.password);
                options = options.format(&["--add-scram", &entry]);
            }
        }
        for (key, value) in &self.properties {
            options = options.property(key, value);
        }
        options
    }
}

// === impl Secured ===

impl Secured {
    /// Makes certificates and starts the brokers.
    ///
    /// # Panics
    /// When Java is missing (ask [`java::kafka`] first) or a broker doesn't start: with the end of its log.
    pub(crate) fn start(shape: &Shape) -> Self {
        let certs = Certs::new();
        let cluster = Cluster::start(&shape.options(&certs));
        Self { cluster, certs }
    }

    /// `bootstrap.servers` of a way in.
    pub(crate) fn bootstrap(&self, way: &Way) -> String {
        self.cluster.bootstrap_of(way.listener)
    }

    /// What a Java client, or a connector file after `source.cluster.`, says to come in that way.
    pub(crate) fn properties(&self, way: &Way) -> BTreeMap<String, String> {
        let protocol = LISTENERS.iter().find(|(name, _)| *name == way.listener).map_or("PLAINTEXT", |found| found.1);
        let mut properties = BTreeMap::new();
        let mut set = |key: &str, value: String| drop(properties.insert(key.to_owned(), value));
        set("bootstrap.servers", self.bootstrap(way));
        set("security.protocol", protocol.to_owned());
        if protocol.ends_with("SSL") {
            let trust = way.trust.as_ref().unwrap_or(&self.certs.ca);
            set("ssl.truststore.type", "PEM".to_owned());
            set("ssl.truststore.location", trust.display().to_string());
        }
        if let Some(pair) = &way.certificate {
            set("ssl.keystore.type", "PEM".to_owned());
            set("ssl.keystore.location", pair.store.display().to_string());
            if let Some(password) = pair.password {
                set("ssl.key.password", password.to_owned());
            }
        }
        if let Some((mechanism, user)) = way.user {
            set("sasl.mechanism", mechanism.name().to_owned());
            let options = match mechanism {
                Mechanism::OauthBearer => format!("unsecuredLoginStringClaim_sub={}", quoted(user.name)),
                _ => format!("username={} password={}", quoted(user.name), quoted(user.password)),
            };
            set("sasl.jaas.config", format!("{} required {options};", mechanism.module()));
        }
        properties
    }

    /// The same with a prefix, `source.cluster.` for one: keys of a connector file.
    pub(crate) fn prefixed(&self, prefix: &str, way: &Way) -> Vec<(String, String)> {
        self.properties(way).into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect()
    }

    /// The same as a file: Java's `--command-config`, or the worker file that tells the daemon its destination. `more`
    /// replaces and adds.
    pub(crate) fn file(&self, way: &Way, more: &[(&str, &str)]) -> PathBuf {
        let mut properties = self.properties(way);
        properties.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let text: String = properties.iter().map(|(key, value)| format!("{key}={}\n", escaped(value))).collect();
        let file = folder("client").join("client.properties");
        fs::write(&file, text).expect("the run's folder can be written");
        file
    }

    /// Allows a principal (`User:limited`, `User:CN=limited`) operations on a resource.
    #[track_caller]
    pub(crate) fn allow(&self, principal: &str, resource: Resource<'_>, operations: &[Operation]) {
        acls::allow(&self.cluster.address(1), principal, resource, operations).expect("the ACLs are created");
    }

    /// Takes back whatever [`Secured::allow`] gave to a principal.
    #[track_caller]
    pub(crate) fn forbid(&self, principal: &str) {
        acls::forbid(&self.cluster.address(1), principal).expect("the ACLs are deleted");
    }
}

// === impl Way ===

impl Way {
    /// Without anything.
    pub(crate) fn plain() -> Self {
        Self { listener: "PLAINTEXT", certificate: None, user: None, trust: None }
    }

    /// TLS without a client's certificate.
    pub(crate) fn tls() -> Self {
        Self { listener: "TLS", ..Self::plain() }
    }

    /// Mutual TLS: one of [`Secured::certs`].
    pub(crate) fn mutual(certificate: &Pair) -> Self {
        Self { listener: "MUTUAL", certificate: Some(certificate.clone()), ..Self::plain() }
    }

    /// A password (or token) without TLS.
    pub(crate) fn sasl(mechanism: Mechanism, user: User) -> Self {
        Self { listener: "SASL", user: Some((mechanism, user)), ..Self::plain() }
    }

    /// A password (or token) within TLS.
    pub(crate) fn sasl_tls(mechanism: Mechanism, user: User) -> Self {
        Self { listener: "SASLTLS", ..Self::sasl(mechanism, user) }
    }

    /// Without TLS, where the broker wants proof again after [`Shape::session`].
    pub(crate) fn short(mechanism: Mechanism, user: User) -> Self {
        Self { listener: "SHORT", ..Self::sasl(mechanism, user) }
    }

    /// To a broker whose certificate has expired.
    pub(crate) fn expired() -> Self {
        Self { listener: "EXPIRED", ..Self::plain() }
    }

    /// To a broker whose certificate bears another host's name.
    pub(crate) fn misnamed() -> Self {
        Self { listener: "MISNAMED", ..Self::plain() }
    }

    /// Shows none of what it would show.
    pub(crate) fn empty_handed(self) -> Self {
        Self { certificate: None, user: None, ..self }
    }

    /// With another password.
    pub(crate) fn with_password(mut self, password: &'static str) -> Self {
        self.user = self.user.map(|(mechanism, user)| (mechanism, User { password, ..user }));
        self
    }

    /// Trusts another authority.
    pub(crate) fn trusting(mut self, authority: PathBuf) -> Self {
        self.trust = Some(authority);
        self
    }
}

/// An OAUTHBEARER token that the brokers take without asking anybody, for a subject, from now on for so long.
pub(crate) fn unsecured_token(subject: &str, lifetime: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": subject, "iat": now, "exp": now + lifetime.as_secs()});
    format!("{}.{}.", part(json!({"alg": "none"})), part(claims))
}

/// As JAAS reads it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}
