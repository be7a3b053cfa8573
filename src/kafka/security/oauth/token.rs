//! A bearer token and its validity. A JWT is read, never checked: that is the broker's part.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::kafka::security::Secret;

/// A token that lasts longer is replaced after this.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A token; never shown, wiped when dropped.
#[derive(Debug)]
pub(crate) struct Token {
    value: Secret,
    issued: SystemTime,
    expires: SystemTime,
}

impl Token {
    /// A token that is valid from `issued` to `expires`.
    pub(crate) fn new(value: impl Into<String>, issued: SystemTime, expires: SystemTime) -> Self {
        Self { value: Secret::new(value), issued, expires }
    }

    /// A JWT: its own claims say how long it is valid. `now` stands in for a missing `iat`.
    pub(crate) fn jwt(value: &str, now: SystemTime) -> Result<Self, String> {
        let value = value.trim();
        let mut parts = value.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err("not a JWT (header.payload.signature)".into());
        };
        if !is_bearer(value) {
            return Err("not a JWT: it has characters that no token has".into());
        }
        let payload = URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .map_err(|_| "not a JWT: its payload is not base64".to_owned())?;
        let claims: Claims =
            serde_json::from_slice(&payload).map_err(|_| "not a JWT: its payload is not a JSON object".to_owned())?;
        let expires =
            claims.exp.and_then(instant).ok_or("the JWT has no exp claim: nobody knows how long it is valid")?;
        Ok(Self::new(value, claims.iat.and_then(instant).unwrap_or(now), expires))
    }

    /// The token, for the wire only.
    pub(crate) fn expose(&self) -> &str {
        self.value.expose()
    }

    /// How long it has been valid already.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.issued).unwrap_or_default()
    }

    /// How long it stays valid; zero when it is over.
    pub(super) fn left(&self, now: SystemTime) -> Duration {
        self.expires.duration_since(now).unwrap_or_default().min(LONGEST)
    }
}

/// RFC 6750's `b64token`: a token of anything else can't be sent.
pub(super) fn is_bearer(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~+/.".contains(&b))
}

#[derive(serde::Deserialize)]
struct Claims {
    exp: Option<f64>,
    iat: Option<f64>,
}

fn instant(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_jwt_says_how_long_it_is_valid() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let token = Token::jwt(&format!(" {}\n", jwt(r#"{"sub":"u","iat":900,"exp":1500.5}"#)), now).unwrap();
        assert_eq!((token.age(now), token.left(now)), (Duration::from_secs(100), Duration::from_secs_f64(500.5)));
        assert_eq!(token.expose(), jwt(r#"{"sub":"u","iat":900,"exp":1500.5}"#));
        assert_eq!(Token::jwt(&jwt(r#"{"exp":1e18}"#), now).unwrap().left(now), LONGEST);
        let token = Token::jwt(&jwt(r#"{"exp":999}"#), now).unwrap();
        assert_eq!((token.age(now), token.left(now)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn what_is_no_jwt_is_said_without_quoting_it() {
        let now = SystemTime::UNIX_EPOCH;
        for bad in [
            "sesame",
            "a.sesame",
            "a.sesame.b.c",
            "a.!sesame.b",
            &jwt("sesame"),
            &jwt(r#"{"sub":"sesame"}"#),
            &jwt(r#"{"exp":"sesame"}"#),
            &jwt(r#"{"exp":-1}"#),
            &jwt(r#"{"exp":1e300}"#),
            "",
            &format!("{}\u{1}sesame=1", jwt(r#"{"exp":1}"#)),
        ] {
            let error = Token::jwt(bad, now).unwrap_err();
            assert!(!error.contains("sesame"), "{error}");
        }
        assert!(!format!("{:?}", Token::new("sesame", now, now)).contains("sesame"));
    }
}
