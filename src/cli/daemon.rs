//! The daemon, asked over HTTP.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use zeroize::Zeroizing;

use super::exit::{Exit, Failure, causes};
use super::run::mistakes;
use super::{settings_file, variables};
use crate::settings;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take: verbs are answered after a completed pass, for which the daemon gives itself 90 s.
const ANSWER: Duration = Duration::from_secs(100);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;
/// The longest token file that is read, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;
/// The longest PEM file that is read, in bytes.
const MAX_PEM: u64 = 4 * 1024 * 1024;

/// Where the daemon is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Daemon")]
pub(super) struct DaemonArgs {
    /// Address of the daemon [default: from `listen`, http://127.0.0.1:8083]
    #[arg(long, value_name = "URL", env = "MIRRORKEEPER_URL", hide_env_values = true)]
    url: Option<String>,
    /// File with the token for write requests
    #[arg(long, value_name = "FILE", env = "MIRRORKEEPER_TOKEN_FILE", value_parser = clap::value_parser!(OsString))]
    token_file: Option<OsString>,
    /// File with authorities, PEM, that vouch for a daemon that serves https
    #[arg(long, value_name = "FILE", env = "MIRRORKEEPER_CA_FILE", value_parser = clap::value_parser!(OsString))]
    ca_file: Option<OsString>,
    /// File with our client certificate and its key, PEM, for a daemon that takes it in place of the token
    #[arg(long, value_name = "FILE", env = "MIRRORKEEPER_CLIENT_CERT_FILE", value_parser = clap::value_parser!(OsString))]
    client_cert_file: Option<OsString>,
    /// The daemon's settings file, to learn where it listens
    #[arg(long, value_name = "FILE", env = "MIRRORKEEPER_CONFIG", value_parser = clap::value_parser!(OsString))]
    config: Option<OsString>,
}

/// A client of one daemon.
pub(super) struct Daemon {
    client: reqwest::Client,
    base: Url,
    /// The address without credentials.
    shown: String,
    token: Option<String>,
}

/// What is wanted of a request.
pub(super) enum Accept {
    Json,
    Text,
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn new(args: &DaemonArgs) -> Result<Self, Failure> {
        Self::build(args, false)
    }

    /// For a probe on this machine, which asks for one word and brings no secret: the daemon's certificate bears the name
    /// that others know it by, not `127.0.0.1`.
    pub(super) fn probe(args: &DaemonArgs) -> Result<Self, Failure> {
        let daemon = Self::build(args, true)?;
        Ok(Self { token: None, ..daemon })
    }

    fn build(args: &DaemonArgs, probe: bool) -> Result<Self, Failure> {
        let base = base(args)?;
        let mut public = base.clone();
        // Both fail only for addresses that can't hold credentials.
        let _ = public.set_username("");
        let _ = public.set_password(None);
        public.set_query(None);
        let shown = public.as_str().trim_end_matches('/').to_owned();
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("mirrorkeeper/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            // A proxy that the environment names can't reach this machine's own loopback.
            client = client.no_proxy().tls_danger_accept_invalid_certs(probe);
        }
        if let Some(path) = named(&args.ca_file) {
            let found = reqwest::Certificate::from_pem_bundle(&pem(path)?).map_err(|error| unusable(path, &error))?;
            client = client.tls_certs_only(found);
        }
        if let Some(path) = named(&args.client_cert_file) {
            let found = reqwest::Identity::from_pem(&pem(path)?).map_err(|error| unusable(path, &error))?;
            client = client.identity(found);
        }
        let client = client.build().map_err(|error| Failure::chain(Exit::Failed, &error))?;
        let token = named(&args.token_file).map(token).transpose()?;
        Ok(Self { client, base, shown, token })
    }

    /// Reads; the answer as it came.
    pub(super) async fn text(&self, path: &str, accept: Accept) -> Result<String, Failure> {
        self.answer(self.request(Method::GET, path, &[], &accept)?).await
    }

    /// Reads JSON.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path, query, &Accept::Json)?).await
    }

    /// Writes; the answer is what the pass left.
    pub(super) async fn verb(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut request = self.request(method, path, query, &Accept::Json)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        self.json(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        accept: &Accept,
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::new(Exit::Usage, format!("{} is no address of a daemon", self.shown)))?
            .pop_if_empty()
            .extend(path.split('/'));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let accept = match accept {
            Accept::Json => "application/json",
            Accept::Text => "text/plain",
        };
        let request = self.client.request(method, url).header("Accept", accept);
        // For reading too: a daemon may want proof of whoever asks.
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let text = self.answer(request).await?;
        serde_json::from_str(&text).map_err(|error| self.stranger(&format!("its answer is not JSON: {error}")))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<String, Failure> {
        let mut response = request.send().await.map_err(|error| self.silent(error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.silent(error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.stranger("its answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8(body).map_err(|_| self.stranger("its answer is not text"))?;
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body)) }
    }

    /// A refusal in the daemon's own words.
    fn refusal(&self, status: StatusCode, body: &str) -> Failure {
        let refusal: Value = serde_json::from_str(body).unwrap_or_default();
        let text = |key: &str| refusal.get(key).and_then(Value::as_str);
        let exit = match (text("code"), status) {
            (Some("OTHER-PLAN" | "NOTHING-WAITS" | "STANDBY"), _) => Exit::Refused,
            (Some("BAD-REQUEST"), _) => Exit::Usage,
            _ => Exit::Failed,
        };
        // What `/readyz` says: a line, and a line for each reason.
        if status == StatusCode::SERVICE_UNAVAILABLE && body.starts_with("not ready") {
            let lines: Vec<&str> = body.lines().map(|line| line.trim_start_matches("- ")).collect();
            return Failure::new(Exit::Failed, format!("the daemon is {}", lines.join("; ")));
        }
        let Some(message) = text("message") else {
            let first = body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let first: String = first.chars().take(200).collect();
            return self.stranger(&format!("it answers {status} {first}"));
        };
        let failure = Failure::new(exit, format!("the daemon refuses: {message}"));
        match (text("hint"), status) {
            (_, StatusCode::UNAUTHORIZED) => failure
                .hint("give --token-file or MIRRORKEEPER_TOKEN_FILE: the file that the daemon's token-file names"),
            (Some(hint), _) => failure.hint(hint),
            _ => failure,
        }
    }

    fn silent(&self, error: reqwest::Error) -> Failure {
        // The address in the error may hold credentials.
        let why = causes(&error.without_url());
        Failure::new(Exit::Failed, format!("the daemon at {} can't be asked: {why}", self.shown))
            .hint("start it with `mirrorkeeper run`, or say where it is with --url or MIRRORKEEPER_URL")
    }

    fn stranger(&self, what: &str) -> Failure {
        Failure::new(Exit::Failed, format!("{} doesn't answer like a mirrorkeeper daemon: {what}", self.shown))
    }
}

fn base(args: &DaemonArgs) -> Result<Url, Failure> {
    let text = match args.url.as_ref().filter(|url| !url.trim().is_empty()) {
        Some(url) => url.trim().to_owned(),
        None => {
            let file = settings_file(args.config.as_deref())?;
            let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
            settings::default_url(&variables(), file).map_err(|problems| mistakes(&problems))?
        }
    };
    // The text isn't quoted: it may hold credentials.
    let wrong = |why: String| {
        Failure::new(Exit::Usage, format!("the daemon's address can't be used: {why}"))
            .hint("write it like http://127.0.0.1:8083")
    };
    let url = Url::parse(&text).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(wrong(format!("its scheme is {other}, not http or https"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A file that was named; an empty variable names none.
fn named(path: &Option<OsString>) -> Option<&Path> {
    path.as_deref().filter(|path| !path.is_empty()).map(Path::new)
}

fn pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_PEM).read_to_end(&mut bytes));
    read.map_err(|error| unusable(path, &error))?;
    Ok(bytes)
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Usage, format!("{} can't be used: {}", path.display(), causes(error)))
}

fn token(path: &Path) -> Result<String, Failure> {
    let unreadable =
        |why: String| Failure::new(Exit::Usage, format!("token file {} can't be used: {why}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    file.take(MAX_TOKEN).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(unreadable("it holds no token".to_owned()));
    }
    Ok(token.to_owned())
}
