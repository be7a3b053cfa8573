//! Through [`cluster_config`], as files come in.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::kafka::properties::{PropertyProblem, cluster_config};
use crate::kafka::security::Security;
use crate::kafka::security::oauth::{Extensions, OAuth, Origin};

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
const OIDC: (&str, &str) =
    (LOGIN_HANDLER, "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler");
const URL: &str = "sasl.oauthbearer.token.endpoint.url";

fn sasl(mechanism: &str, jaas: &str, more: &[(&str, &str)]) -> Result<Sasl, Vec<PropertyProblem>> {
    let base = [("bootstrap.servers", "a:1"), ("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", mechanism)];
    let all = base.iter().chain(more).chain(&[(JAAS, jaas)]).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    match cluster_config(&all)?.security {
        Security::SaslPlaintext(sasl) => Ok(sasl),
        other => panic!("{other:?}"),
    }
}

fn problems(mechanism: &str, jaas: &str, more: &[(&str, &str)]) -> Vec<String> {
    let found = sasl(mechanism, jaas, more).unwrap_err();
    assert!(!format!("{found:?}").contains("sesame"), "{found:?}");
    found.iter().map(ToString::to_string).collect()
}

fn oauth(jaas: &str, more: &[(&str, &str)]) -> OAuth {
    match sasl("OAUTHBEARER", &format!("{OAUTH} required {jaas};"), more) {
        Ok(Sasl::OAuthBearer(settings)) => *settings,
        other => panic!("{other:?}"),
    }
}

fn login() -> Login {
    Login { username: "u".into(), password: Secret::new("sesame") }
}

#[test]
fn users_and_passwords() {
    let options = "required username=\"u\" password=\"sesame\";";
    for class in [PLAIN, "PlainLoginModule", &format!("kafkashaded.{PLAIN}"), SCRAM] {
        assert_eq!(sasl("PLAIN", &format!("{class} {options}"), &[]), Ok(Sasl::Plain(login())));
    }
    let scram = format!("{SCRAM} {options}");
    assert_eq!(sasl("SCRAM-SHA-256", &scram, &[]), Ok(Sasl::Scram(ScramHash::Sha256, login())));
    assert_eq!(sasl("SCRAM-SHA-512", &scram, &[]), Ok(Sasl::Scram(ScramHash::Sha512, login())));
    let token = scram.replace(';', " tokenauth=true;");
    assert_eq!(sasl("SCRAM-SHA-512", &token, &[]), Ok(Sasl::DelegationToken(ScramHash::Sha512, login())));
    let defaults = [
        (CLIENT_HANDLER, "org.apache.kafka.common.security.authenticator.SaslClientCallbackHandler"),
        (LOGIN, "org.apache.kafka.common.security.authenticator.DefaultLogin"),
    ];
    assert_eq!(sasl("SCRAM-SHA-256", &scram, &defaults), Ok(Sasl::Scram(ScramHash::Sha256, login())));
}

#[test]
fn every_class_is_known_or_refused_by_name() {
    let login = "required username=\"u\" password=\"sesame\";";
    for (class, named) in [
        ("com.corp.PlainLoginModule", "com.corp.PlainLoginModule is code"),
        (SCRAM, ""),
        ("com.sun.security.auth.module.Krb5LoginModule", "Krb5LoginModule is for GSSAPI"),
        (OAUTH, "PLAIN needs org.apache.kafka.common.security.plain.PlainLoginModule, not"),
        ("sesame", "sasl.jaas.config: the login module is code that we don't have"),
    ] {
        if named.is_empty() {
            continue;
        }
        let found = problems("PLAIN", &format!("{class} {login}"), &[]);
        assert!(found.len() == 1 && found[0].contains(named), "{found:?}");
    }
    assert_eq!(problems("SCRAM-SHA-256", &format!("{PLAIN} {login}"), &[]).len(), 1);
    for key in [CLIENT_HANDLER, LOGIN_HANDLER, LOGIN] {
        let found = problems("PLAIN", &format!("{PLAIN} {login}"), &[(key, "com.corp.Vault")]);
        assert_eq!(found, [format!("{key}: the class com.corp.Vault is code that we don't have")]);
        let found =
            problems("OAUTHBEARER", &format!("{OAUTH} required;"), &[(key, "com.corp.Vault"), (URL, "file:/t")]);
        assert_eq!(found, [format!("{key}: the class com.corp.Vault is code that we don't have")]);
        // A class of another mechanism does not do what this one needs.
        assert_eq!(problems("PLAIN", &format!("{PLAIN} {login}"), &[(key, OIDC.1)]).len(), 1);
    }
    let jwt =
        ("sasl.oauthbearer.jwt.retriever.class", "org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever");
    let found = problems("OAUTHBEARER", &format!("{OAUTH} required;"), &[OIDC, (URL, "file:/t"), jwt]);
    assert!(found.len() == 1 && found[0].contains("JwtBearerJwtRetriever"), "{found:?}");
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    for (jaas, named) in [
        ("required username=\"u\" password=\"sesame\"", "no control flag"),
        (&*format!("{PLAIN} required username=\"u\" password=\"sesame\""), "closing ;"),
        (&*format!("{PLAIN} required username=\"u\" password=\"ses\"ame\";"), "what follows option 2"),
        (&*format!("{PLAIN} required username=\"u\" pasword=\"sesame\";"), "no password"),
        (&*format!("{PLAIN} required password=\"sesame\";"), "no username"),
        (&*format!("{PLAIN} required; {SCRAM} required;"), "2 login modules"),
    ] {
        let found = problems("PLAIN", jaas, &[]);
        assert!(found.len() == 1 && found[0].contains(named), "{jaas}: {found:?}");
    }
    assert_eq!(problems("PLAIN", " ", &[]), ["sasl.jaas.config: missing"]);
}

#[test]
fn client_credentials_from_options_and_keys() {
    let jaas = "clientId=\"id\" clientSecret=\"sesame\" scope=\"a b\" extension_logicalCluster=\"lkc-1\" \
                extension_identityPoolId=\"pool-x\"";
    let url = (URL, "https://idp.example/oauth2/token");
    let settings = oauth(jaas, &[OIDC, url]);
    let Origin::ClientCredentials(c) = &settings.origin else { panic!("{settings:?}") };
    assert_eq!((c.endpoint.as_str(), c.client_id.as_str(), c.client_secret.expose()), (url.1, "id", "sesame"));
    assert_eq!((c.scope.as_deref(), c.urlencode, c.connect_timeout), (Some("a b"), false, Duration::from_secs(10)));
    let extensions = [("identityPoolId", "pool-x"), ("logicalCluster", "lkc-1")];
    assert_eq!(settings.extensions, Extensions::from(extensions.map(|(k, v)| (k.to_owned(), v.to_owned()))));
    assert!(!format!("{settings:?}").contains("sesame"));
    // Kafka 4.1's keys win; the older package's handler is the same; without a handler the endpoint decides.
    let newer = [
        url,
        ("sasl.oauthbearer.client.credentials.client.id", "id2"),
        ("sasl.oauthbearer.client.credentials.client.secret", "sesame2"),
        ("sasl.oauthbearer.scope", "c"),
        ("sasl.oauthbearer.header.urlencode", "true"),
        ("sasl.login.connect.timeout.ms", "1000"),
        ("sasl.login.read.timeout.ms", "2000"),
        ("sasl.login.refresh.window.factor", "0.9"),
        ("sasl.login.refresh.window.jitter", "0"),
        ("sasl.login.refresh.buffer.seconds", "0"),
        ("sasl.login.refresh.min.period.seconds", "1"),
    ];
    let settings = oauth(jaas, &newer);
    let Origin::ClientCredentials(c) = &settings.origin else { panic!("{settings:?}") };
    assert_eq!((c.client_id.as_str(), c.client_secret.expose(), c.scope.as_deref()), ("id2", "sesame2", Some("c")));
    assert_eq!(
        (c.urlencode, c.connect_timeout, c.read_timeout),
        (true, Duration::from_secs(1), Duration::from_secs(2))
    );
    let refresh = &settings.refresh;
    assert_eq!((refresh.window_factor, refresh.window_jitter), (900_000, 0));
    assert_eq!((refresh.buffer, refresh.min_period), (Duration::ZERO, Duration::from_secs(1)));
    // The endpoint's trust stands in the module's options, as in Java.
    let trust = "clientId=i clientSecret=sesame ssl.truststore.type=PEM \"ssl.truststore.location\"=\"/ca.pem\"";
    let Origin::ClientCredentials(c) = oauth(trust, &[OIDC, url]).origin else { panic!() };
    assert!(c.tls.roots.is_some());
}

#[test]
fn tokens_from_a_file() {
    for url in ["file:///var/run/token", "file:/var/run/token", "FILE:///var/run/token"] {
        assert_eq!(oauth("", &[OIDC, (URL, url)]).origin, Origin::File("/var/run/token".into()));
    }
    assert_eq!(oauth("", &[OIDC, (URL, "file:///a%20b")]).origin, Origin::File(Path::new("/a b").into()));
}

#[test]
fn unsecured_tokens_for_development() {
    let settings = oauth(
        "unsecuredLoginStringClaim_sub=\"al\\\"ice\" unsecuredLoginNumberClaim_n=\"1.5\" \
         unsecuredLoginListClaim_l=\",a,b\" unsecuredLoginListClaim_e=\"\" unsecuredLoginLifetimeSeconds=\"60\" \
         unsecuredLoginExtension_traceId=\"1\"",
        &[],
    );
    let Origin::Unsecured(unsecured) = settings.origin else { panic!() };
    let claims: Vec<_> = unsecured.claims.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(claims, [("e", "[]"), ("l", "[\"a\",\"b\"]"), ("n", "1.5"), ("sub", "\"al\\\"ice\"")]);
    assert_eq!((unsecured.lifetime, settings.extensions.len()), (Duration::from_secs(60), 1));
    let other = oauth("unsecuredLoginPrincipalClaimName=name unsecuredLoginStringClaim_name=x", &[]);
    assert!(matches!(other.origin, Origin::Unsecured(_)));
}

#[test]
fn what_is_wrong_with_oauth_is_said() {
    let secret = "clientId=\"id\" clientSecret=\"sesame\"";
    let url = (URL, "https://idp.example/token");
    for (jaas, more, key) in [
        ("", &[OIDC, url][..], "sasl.oauthbearer.client.credentials.client.id: missing"),
        ("clientId=i", &[OIDC, url], "sasl.oauthbearer.client.credentials.client.secret: missing"),
        (secret, &[OIDC], "sasl.oauthbearer.token.endpoint.url: missing"),
        (secret, &[OIDC, (URL, "idp.example/token")], "sasl.oauthbearer.token.endpoint.url: not a URL"),
        (secret, &[OIDC, (URL, "ftp://idp.example/token")], "neither http"),
        (secret, &[OIDC, (URL, "https://id:sesame@idp.example/token")], "credentials in it"),
        (secret, &[OIDC, (URL, "file://host/token")], "names no file"),
        (secret, &[OIDC, (URL, "file:///")], "names no file"),
        (secret, &[OIDC, url, ("sasl.login.refresh.window.factor", "0.4")], "from 0.5 to 1"),
        (secret, &[OIDC, url, ("sasl.login.refresh.window.jitter", "NaN")], "from 0 to 0.25"),
        (secret, &[OIDC, url, ("sasl.login.refresh.buffer.seconds", "3601")], "from 0 to 3600"),
        (secret, &[OIDC, url, ("sasl.oauthbearer.header.urlencode", "yes")], "neither true nor false"),
        ("clientId=i clientSecret=sesame extension_auth=x", &[OIDC, url], "extension_auth names no SASL extension"),
        ("clientId=i clientSecret=sesame extension_a1=x", &[OIDC, url], "extension_a1 names no"),
        ("clientId=i clientSecret=sesame extension_a=\"\\1\"", &[OIDC, url], "extension_a is empty or"),
        (
            "clientId=i clientSecret=sesame ssl.truststore.type=\"X\" ssl.truststore.location=x",
            &[OIDC, url],
            "its option ssl.",
        ),
        (secret, &[], "no sub claim"),
        ("unsecuredLoginStringClaim_exp=x unsecuredLoginStringClaim_sub=u", &[], "claim exp can't be set"),
        ("unsecuredLoginNumberClaim_n=x unsecuredLoginStringClaim_sub=u", &[], "unsecuredLoginNumberClaim_n is not"),
        ("unsecuredLoginLifetimeSeconds=\"0\" unsecuredLoginStringClaim_sub=u", &[], "LifetimeSeconds"),
    ] {
        let found = problems("OAUTHBEARER", &format!("{OAUTH} required {jaas};"), more);
        assert!(found.iter().any(|problem| problem.contains(key)), "{jaas} {more:?}: {found:?}");
    }
    assert_eq!(problems("OAUTHBEARER", &format!("{PLAIN} required;"), &[OIDC, url]).len(), 1);
}
