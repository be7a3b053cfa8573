//! What the connections of one cluster share to prove who they are.
//!
//! [`super::Sasl`] is plain settings; an [`Authenticator`] is made of them once per [`crate::kafka::Cluster`] and holds
//! what must not be made per connection: tokens, and credentials with an end. A proof is got ready before a connection
//! is held up for it, because that may take a call to a token endpoint. Laws: no lock is held across an await; however
//! many connections want a token, one asks for it; no secret is shown (law 9).

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::oauth::{self, Extensions, Origin, TokenSource, Tokens};
use super::scram::User;
use super::{ClusterConfig, Login, Sasl, ScramHash};
use crate::kafka::Error;

/// Proves who we are to the brokers of one cluster.
pub struct Authenticator {
    /// SASL's name of the mechanism; `None` without SASL.
    mechanism: Option<&'static str>,
    way: Way,
}

enum Way {
    /// No SASL.
    Open,
    Plain(Login),
    Scram(ScramHash, Login, User),
    OAuthBearer(Tokens, Extensions),
    #[expect(dead_code, reason = "constructed where AWS_MSK_IAM is configured, which properties refuse until then")]
    MskIam(Arc<dyn Signer>),
}

/// Signs for one broker, as AWS_MSK_IAM wants it.
pub(crate) trait Signer: Send + Sync {
    /// The payload for the broker at `host` (without its port), signed now. Whoever implements it caches the
    /// credentials and fetches them once however many ask.
    fn payload<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, Error>>;
}

/// What goes over the wire to prove who we are, ready to be sent.
pub(crate) struct Proof<'a> {
    /// SASL's name of the mechanism.
    pub(crate) mechanism: &'static str,
    /// What is shown.
    pub(crate) show: Show<'a>,
}

/// What a broker is shown.
pub(crate) enum Show<'a> {
    /// One message says it all: PLAIN, OAUTHBEARER, AWS_MSK_IAM.
    Message(Zeroizing<Vec<u8>>),
    /// A conversation.
    Scram(ScramHash, &'a Login, User),
}

impl Authenticator {
    /// For the connections of a cluster with these settings. Nothing is asked of anybody yet.
    #[must_use]
    pub fn new(config: &ClusterConfig) -> Arc<Self> {
        let way = match config.security.sasl() {
            None => Way::Open,
            Some(Sasl::Plain(login)) => Way::Plain(login.clone()),
            Some(Sasl::Scram(hash, login)) => Way::Scram(*hash, login.clone(), User::Named),
            Some(Sasl::DelegationToken(hash, login)) => Way::Scram(*hash, login.clone(), User::Token),
            Some(Sasl::OAuthBearer(settings)) => {
                let source: Arc<dyn TokenSource> = match &settings.origin {
                    Origin::ClientCredentials(settings) => Arc::new(oauth::Endpoint::new(settings.as_ref().clone())),
                    Origin::File(path) => Arc::new(oauth::FileToken::new(path.clone())),
                    Origin::Unsecured(settings) => Arc::new(oauth::UnsecuredToken::new(settings.clone())),
                };
                Way::OAuthBearer(Tokens::new(source, settings.refresh.clone()), settings.extensions.clone())
            }
        };
        Arc::new(Self { mechanism: config.security.sasl().map(Sasl::mechanism), way })
    }

    /// Gets ready what the broker at `addr` (`host:port`) will be shown; `None` without SASL. A session that is renewed
    /// says when it ends: a token that ends with it does not renew it.
    pub(crate) async fn proof(&self, addr: &str, session_ends: Option<Instant>) -> Result<Option<Proof<'_>>, Error> {
        let Some(mechanism) = self.mechanism else { return Ok(None) };
        let show = match &self.way {
            Way::Open => return Ok(None),
            Way::Plain(login) => {
                let message = format!("\0{}\0{}", login.username, login.password.expose());
                Show::Message(Zeroizing::new(message.into_bytes()))
            }
            Way::Scram(hash, login, user) => Show::Scram(*hash, login, *user),
            Way::OAuthBearer(tokens, extensions) => {
                let token = tokens.current(session_ends).await?;
                Show::Message(oauth::first_message(&token, extensions))
            }
            Way::MskIam(signer) => {
                let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
                Show::Message(signer.payload(host).await?)
            }
        };
        Ok(Some(Proof { mechanism, show }))
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}
