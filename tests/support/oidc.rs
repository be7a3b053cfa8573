//! A token endpoint: client credentials in, unsecured tokens out. Brokers of [`super::secured`] take them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::secured::unsecured_token;

/// The client that it knows.
pub(crate) const CLIENT_ID: &str = "mirror client";
/// Its secret; it needs quoting in JAAS.
pub(crate) const CLIENT_SECRET: &str = "client-\"secret\"";

/// A running endpoint, on a thread that ends with it.
pub(crate) struct Oidc {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    subject: String,
    lifetime: Mutex<Duration>,
    granted: AtomicUsize,
    ended: AtomicBool,
}

impl Oidc {
    /// An endpoint whose tokens name that subject and last that long.
    pub(crate) fn start(subject: &str, lifetime: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/token", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            subject: subject.to_owned(),
            lifetime: Mutex::new(lifetime),
            granted: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away is its own affair.
                let _ = stream.and_then(|stream| serving.serve(stream));
            }
        });
        Self { url, shared }
    }

    /// `sasl.oauthbearer.token.endpoint.url`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many tokens it gave.
    pub(crate) fn granted(&self) -> usize {
        self.shared.granted.load(Ordering::SeqCst)
    }

    /// From now on its tokens last that long.
    pub(crate) fn set_lifetime(&self, lifetime: Duration) {
        *self.shared.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = lifetime;
    }

    /// What a client's properties say to come in by its tokens.
    pub(crate) fn properties(&self) -> Vec<(String, String)> {
        let quoted = CLIENT_SECRET.replace('"', "\\\"");
        let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
        let handler = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";
        [
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.login.callback.handler.class", handler),
            ("sasl.oauthbearer.token.endpoint.url", self.url()),
            (
                "sasl.jaas.config",
                &format!("{module} required clientId=\"{CLIENT_ID}\" clientSecret=\"{quoted}\" scope=\"kafka\";"),
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        while !complete(&request) {
            match stream.read(&mut part)? {
                0 => return Ok(()),
                read => request.extend_from_slice(&part[..read]),
            }
        }
        let request = String::from_utf8_lossy(&request);
        let wanted = format!("authorization: basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
        let known = request.lines().any(|line| line.eq_ignore_ascii_case(&wanted));
        let (status, body) = if known && request.ends_with("grant_type=client_credentials&scope=kafka") {
            self.granted.fetch_add(1, Ordering::SeqCst);
            let lifetime = *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner);
            let token = unsecured_token(&self.subject, lifetime);
            ("200 OK", format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\"}}"))
        } else {
            ("401 Unauthorized", "{\"error\":\"invalid_client\",\"error_description\":\"unknown client\"}".to_owned())
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
        stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes())
    }
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

impl Drop for Oidc {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread, which sees that it is over.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://").trim_end_matches("/token"));
    }
}
