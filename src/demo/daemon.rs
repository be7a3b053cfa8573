//! The daemon of the demo: this program again, as a child process, spoken to over HTTP like any other.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
// clippy.toml forbids std's: no shelling out. This runs no shell, and no program but this one.
use tokio::process::{Child, Command};

use super::Error;
use super::seen::Seen;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of the log's end is quoted, in lines.
const QUOTED: usize = 12;

/// What the daemon is told.
#[derive(Debug)]
pub(super) struct Orders<'a> {
    pub(super) repository: &'a Path,
    pub(super) bootstrap: String,
    pub(super) cache: PathBuf,
    pub(super) log: PathBuf,
}

/// The daemon; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    arguments: Vec<String>,
    log: PathBuf,
    url: String,
    http: reqwest::Client,
    child: Option<Child>,
}

// === impl Daemon ===

impl Daemon {
    /// Starts it on a port that the system gives.
    pub(super) fn start(orders: Orders<'_>) -> Result<Self, Error> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let listen = free.map_err(Error::Cluster)?.to_string();
        let settings = [
            ("--repo", orders.repository.display().to_string()),
            ("--environment", "demo".to_owned()),
            ("--destination", "target".to_owned()),
            ("--bootstrap-servers", orders.bootstrap),
            ("--listen", listen.clone()),
            ("--interval", "1s".to_owned()),
            ("--cache-dir", orders.cache.display().to_string()),
            ("--instance-id", "demo".to_owned()),
            ("--log-format", "text".to_owned()),
        ];
        let settings = settings.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let arguments = std::iter::once("run".to_owned()).chain(settings).collect();
        // reqwest makes its TLS side also for plain HTTP, and wants a provider then. Another one that is there is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        let http = http.map_err(|error| act("an HTTP client", &error))?;
        let url = format!("http://{listen}");
        let mut daemon = Self { arguments, log: orders.log, url, http, child: None };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts it as it was started before.
    pub(super) fn start_again(&mut self) -> Result<(), Error> {
        let failed = |what: &str, error: &std::io::Error| Error::Daemon {
            what: format!("can't be started: {what}: {error}"),
            log: String::new(),
        };
        let program = std::env::current_exe().map_err(|error| failed("this program's path", &error))?;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| failed("its log", &error))?;
        let mut command = Command::new(program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        // What the user set for a daemon of their own is not for this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MIRRORKEEPER_")) {
            command.env_remove(name);
        }
        self.child = Some(command.spawn().map_err(|error| failed("the process", &error))?);
        Ok(())
    }

    /// The daemon's own address.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Kills it as `kill -9` does, and waits for its end.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let killed = async {
            child.start_kill()?;
            child.wait().await
        };
        killed.await.map(|_| ()).map_err(|error| act("killing the daemon", &error))
    }

    /// Waits for an end that somebody else asked for, such as Ctrl-C of the whole terminal; then it is killed.
    pub(super) async fn drain(&mut self, within: Duration) -> Result<(), Error> {
        if let Some(child) = &mut self.child {
            let ended = tokio::time::timeout(within, child.wait()).await;
            if matches!(ended, Ok(Ok(_))) {
                self.child = None;
            }
        }
        self.kill().await
    }

    /// That it still runs.
    pub(super) fn alive(&mut self) -> Result<(), Error> {
        let ended = self.child.as_mut().map(Child::try_wait);
        match ended {
            Some(Ok(None)) => Ok(()),
            Some(Ok(Some(status))) => Err(Error::Daemon { what: format!("ended: {status}"), log: self.log() }),
            Some(Err(error)) => Err(act("looking after the daemon", &error)),
            None => Err(Error::Daemon { what: "is not running".to_owned(), log: self.log() }),
        }
    }

    /// `GET /status`; why there is none, in words.
    pub(super) async fn status(&self) -> Result<Seen, String> {
        let asked = self.http.get(format!("{}/status", self.url)).header("accept", "application/json").send().await;
        let answer = asked.and_then(reqwest::Response::error_for_status).map_err(|error| chain(&error))?;
        answer.json::<Value>().await.map(Seen::new).map_err(|error| chain(&error))
    }

    /// Stops a connector through Kafka Connect's REST API.
    pub(super) async fn stop_connector(&self, name: &str) -> Result<String, Error> {
        self.ask(reqwest::Method::PUT, &format!("/connectors/{name}/stop"), None).await
    }

    /// The connectors, by Kafka Connect's REST API.
    pub(super) async fn connectors(&self) -> Result<Vec<String>, Error> {
        let what = "GET /connectors";
        let asked = self.http.get(format!("{}/connectors", self.url)).send().await;
        let answer = asked.and_then(reqwest::Response::error_for_status).map_err(|error| act(what, &error))?;
        answer.json().await.map_err(|error| act(what, &error))
    }

    /// Asks to leave a connector alone.
    pub(super) async fn hold(&self, name: &str, reason: &str) -> Result<String, Error> {
        let body = json!({ "name": name, "reason": reason, "by": "demo" });
        self.ask(reqwest::Method::POST, "/hold", Some(body)).await
    }

    /// Ends that.
    pub(super) async fn release(&self, name: &str) -> Result<String, Error> {
        self.ask(reqwest::Method::DELETE, &format!("/hold?name={name}"), None).await
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.len().saturating_sub(QUOTED);
        let quoted: Vec<String> = lines[end..].iter().map(|line| format!("  log: {line}")).collect();
        quoted.join("\n")
    }

    /// Sends a request that changes something: the request, as it may be typed.
    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<String, Error> {
        let what = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| act(&what, &error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(what);
        }
        let text = answer.text().await.unwrap_or_default();
        Err(Error::Act { what, why: format!("{status}: {text}") })
    }
}

fn act(what: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Act { what: what.to_owned(), why: chain(error) }
}

/// An error with its causes in one line: reqwest's own line never says why.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
