//! Tokens that nobody signs, as Java's `OAuthBearerUnsecuredLoginCallbackHandler` makes them.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;

use super::{Token, TokenSource, Unsecured};
use crate::kafka::Error;

/// Makes a new token whenever one is wanted.
pub(crate) struct UnsecuredToken {
    settings: Unsecured,
}

impl UnsecuredToken {
    pub(crate) fn new(settings: Unsecured) -> Self {
        Self { settings }
    }

    fn make(&self, now: SystemTime) -> Token {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut claims = format!(
            "{{\"exp\":{:.3},\"iat\":{:.3}",
            (since + self.settings.lifetime).as_secs_f64(),
            since.as_secs_f64()
        );
        for (name, value) in &self.settings.claims {
            claims.push_str(&format!(",{}:{value}", serde_json::Value::from(name.as_str())));
        }
        claims.push('}');
        let text = format!("{}.{}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), URL_SAFE_NO_PAD.encode(claims));
        Token::new(text, now, now + self.settings.lifetime)
    }
}

impl TokenSource for UnsecuredToken {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
        Box::pin(std::future::ready(Ok(self.make(SystemTime::now()))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn its_claims_are_the_settings() {
        let settings = Unsecured {
            claims: [("sub".into(), "\"al\\\"ice\"".into()), ("n".into(), "1.5".into())].into(),
            lifetime: Duration::from_secs(60),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let token = UnsecuredToken::new(settings).make(now);
        let parts: Vec<_> = token.expose().split('.').collect();
        assert_eq!((parts.len(), parts[2]), (3, ""));
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let expected = serde_json::json!({"exp": 1_700_000_060.5, "iat": 1_700_000_000.5, "sub": "al\"ice", "n": 1.5});
        assert_eq!(claims, expected);
        assert_eq!(token.left(now), Duration::from_secs(60));
    }
}
