//! OAUTHBEARER (RFC 7628): where tokens come from, how long they are kept, and what is sent.
//!
//! Used by [`super::authenticator`]. Settings are plain values; [`Tokens`] is what connections share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Secret, TlsConfig};

mod cache;
mod endpoint;
mod file;
mod token;
mod unsecured;

pub(crate) use cache::{TokenSource, Tokens};
pub(crate) use endpoint::Endpoint;
pub(crate) use file::FileToken;
pub(crate) use token::Token;
pub(crate) use unsecured::UnsecuredToken;

/// OAUTHBEARER's settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OAuth {
    /// Where tokens come from.
    pub origin: Origin,
    /// SASL extensions (`extension_NAME` in `sasl.jaas.config`), by name.
    pub extensions: Extensions,
    /// When a token is replaced.
    pub refresh: Refresh,
}

/// SASL extensions by name, such as `logicalCluster`.
pub type Extensions = BTreeMap<String, String>;

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An OIDC token endpoint, by the client credentials grant.
    ClientCredentials(Box<ClientCredentials>),
    /// A file that holds a token and is replaced by whoever renews it.
    File(PathBuf),
    /// Tokens of our own making, unsigned: for brokers under development.
    Unsecured(Unsecured),
}

/// How to ask a token endpoint. Names are those of Java's keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCredentials {
    /// `sasl.oauthbearer.token.endpoint.url`: http or https, without credentials in it.
    pub endpoint: String,
    /// `sasl.oauthbearer.client.credentials.client.id`, or `clientId` in `sasl.jaas.config`.
    pub client_id: String,
    /// `sasl.oauthbearer.client.credentials.client.secret`, or `clientSecret`.
    pub client_secret: Secret,
    /// `sasl.oauthbearer.scope`, or `scope`.
    pub scope: Option<String>,
    /// `sasl.oauthbearer.header.urlencode`.
    pub urlencode: bool,
    /// The `ssl.*` options of `sasl.jaas.config`.
    pub tls: TlsConfig,
    /// `sasl.login.connect.timeout.ms`.
    pub connect_timeout: Duration,
    /// `sasl.login.read.timeout.ms`.
    pub read_timeout: Duration,
}

/// The claims of tokens that nobody signs (`unsecuredLogin...` in `sasl.jaas.config`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unsecured {
    /// Members of a JSON object, with `sub` or what stands for it, without `iat` and `exp`.
    pub claims: BTreeMap<String, String>,
    /// `unsecuredLoginLifetimeSeconds`.
    pub lifetime: Duration,
}

/// When a token is replaced: Java's `sasl.login.refresh.*` and `sasl.login.retry.backoff.*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refresh {
    /// `sasl.login.refresh.window.factor`, in millionths of the token's lifetime.
    pub window_factor: u32,
    /// `sasl.login.refresh.window.jitter`, likewise.
    pub window_jitter: u32,
    /// `sasl.login.refresh.min.period.seconds`.
    pub min_period: Duration,
    /// `sasl.login.refresh.buffer.seconds`.
    pub buffer: Duration,
    /// `sasl.login.retry.backoff.ms`.
    pub backoff: Duration,
    /// `sasl.login.retry.backoff.max.ms`.
    pub backoff_max: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            window_factor: 800_000,
            window_jitter: 50_000,
            min_period: Duration::from_secs(60),
            buffer: Duration::from_secs(300),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl Refresh {
    /// How long after now a token is replaced that was valid for `age` and is valid for `left` more; `dice` from 0 to 1.
    /// Java's `ExpiringCredentialRefreshingLogin`.
    fn after(&self, age: Duration, left: Duration, dice: f64) -> Duration {
        let part = (f64::from(self.window_factor) + f64::from(self.window_jitter) * dice) / 1e6;
        if self.min_period + self.buffer > left {
            return left.mul_f64(part.min(1.0));
        }
        let proposed = (age + left).mul_f64(part).saturating_sub(age);
        proposed.min(left.saturating_sub(self.buffer)).max(self.min_period)
    }
}

/// The client's first message.
pub(crate) fn first_message(token: &Token, extensions: &Extensions) -> Zeroizing<Vec<u8>> {
    let mut message = Zeroizing::new(Vec::with_capacity(token.expose().len() + 256));
    message.extend_from_slice(b"n,,\x01auth=Bearer ");
    message.extend_from_slice(token.expose().as_bytes());
    for (name, value) in extensions {
        message.push(1);
        message.extend_from_slice(name.as_bytes());
        message.push(b'=');
        message.extend_from_slice(value.as_bytes());
    }
    message.extend_from_slice(b"\x01\x01");
    message
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// What `OAuthBearerClientInitialResponse.toBytes` makes of them.
    #[test]
    fn the_first_message_is_javas() {
        let token = Token::new("abc.def.", SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
        assert_eq!(first_message(&token, &Extensions::new()).as_slice(), b"n,,\x01auth=Bearer abc.def.\x01\x01");
        let extensions = Extensions::from([("logicalCluster".into(), "lkc-1".into()), ("a".into(), "b c".into())]);
        assert_eq!(
            first_message(&token, &extensions).as_slice(),
            b"n,,\x01auth=Bearer abc.def.\x01a=b c\x01logicalCluster=lkc-1\x01\x01"
        );
    }

    #[test]
    fn a_token_is_replaced_when_java_would() {
        let refresh = Refresh::default();
        let s = Duration::from_secs;
        // 80 % of an hour is later than five minutes before its end? No: 2880 s of 3600 s.
        assert_eq!(refresh.after(s(0), s(3600), 0.0), s(2880));
        assert_eq!(refresh.after(s(600), s(3000), 0.0), s(2280));
        // The buffer of five minutes wins over 80 % of 1,000 s.
        assert_eq!(refresh.after(s(0), s(1000), 0.0), s(700));
        // An old token is not replaced more often than once a minute.
        assert_eq!(refresh.after(s(36000), s(400), 0.0), s(60));
        // Short-lived: neither fits.
        assert_eq!(refresh.after(s(0), s(100), 0.0), s(80));
        assert_eq!(refresh.after(s(0), s(100), 1.0), s(85));
    }
}
