//! The daemon under test: the real binary, its logs in a file, its `/status` read over HTTP.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::cluster::{Cluster, free_port};
use super::process::Watched;
use super::repo::Repo;
use super::run_folder::folder;
use super::status::Status;
use super::{block_on, wait_for};

/// How a daemon is started; the same values start its successor in its place.
#[derive(Clone)]
pub(crate) struct Options {
    repo: PathBuf,
    environment: String,
    destination: String,
    bootstrap: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    port: u16,
    home: PathBuf,
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    options: Options,
    process: Watched,
}

impl Options {
    /// A daemon for a repository's environment and destination; it looks every second.
    pub(crate) fn new(repo: &Repo, environment: &str, destination: &str, target: &Cluster) -> Self {
        Self {
            repo: repo.path().to_owned(),
            environment: environment.to_owned(),
            destination: destination.to_owned(),
            bootstrap: target.bootstrap(),
            args: vec!["--interval".to_owned(), "1s".to_owned()],
            env: Vec::new(),
            port: free_port(),
            home: folder("daemon"),
        }
    }

    /// Another address of the destination: a listener behind a proxy, for one.
    pub(crate) fn bootstrap(mut self, bootstrap: String) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Further arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// A variable of the environment.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same on a port and in a folder of its own: a second daemon.
    pub(crate) fn another(mut self) -> Self {
        self.port = free_port();
        self.home = folder("daemon");
        self
    }

    /// The group whose membership makes a daemon the writer.
    pub(crate) fn group(&self) -> String {
        format!("mirrorkeeper-{}-{}", self.environment, self.destination)
    }
}

impl Daemon {
    /// Starts it; nothing is waited for.
    pub(crate) fn start(options: Options) -> Self {
        let mut args = vec!["run".to_owned()];
        let mut set = |flag: &str, value: &str| args.extend([flag.to_owned(), value.to_owned()]);
        set("--repo", &options.repo.display().to_string());
        set("--environment", &options.environment);
        set("--destination", &options.destination);
        set("--bootstrap-servers", &options.bootstrap);
        set("--listen", &format!("127.0.0.1:{}", options.port));
        set("--cache-dir", &options.home.join("cache").display().to_string());
        args.extend(options.args.iter().cloned());
        let log = options.home.join("daemon.log");
        let process = Watched::spawn("the daemon", env!("CARGO_BIN_EXE_mirrorkeeper"), &args, &options.env, &log);
        Self { options, process }
    }

    /// How it was started.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.port)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How it ended and the end of its log, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.exited().map(|status| format!("{status}: {}", self.process.log_tail()))
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// What it has logged, since the first start in this place.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.process.resident_bytes()
    }

    /// `/status` as it is now.
    pub(crate) fn status(&self) -> Result<Status, String> {
        get_json(&format!("{}/status", self.url())).map(Status)
    }

    /// `/metrics` as it is now.
    pub(crate) fn metrics(&self) -> Result<String, String> {
        get(&format!("{}/metrics", self.url()))
    }

    /// Polls `/status` until `probe` gives a value.
    ///
    /// # Panics
    /// When `deadline` has passed or the daemon has ended: with the last reason, the last status, the log's end.
    #[track_caller]
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&Status) -> Result<T, String>,
    ) -> T {
        let mut last = "none".to_owned();
        wait_for(what, deadline, || {
            if let Some(status) = self.process.exited() {
                panic!("{what}: the daemon ended ({status}); its log ends:\n{}", self.process.log_tail());
            }
            let status = self.status()?;
            probe(&status).map_err(|reason| {
                last = serde_json::to_string_pretty(&status.0).expect("a JSON value");
                format!("{reason}\nlast status: {last}\nthe log ends:\n{}", self.process.log_tail())
            })
        })
    }

    /// Waits until the connector is in sync, healthy and has copied all there is.
    #[track_caller]
    pub(crate) fn wait_until_caught_up(&mut self, connector: &str, deadline: Duration) {
        self.wait_for(&format!("{connector} has caught up"), deadline, |status| status.item(connector)?.caught_up());
    }

    /// `kill -9`; the options to start its successor.
    pub(crate) fn kill(mut self) -> Options {
        self.process.kill();
        self.options.clone()
    }

    /// SIGTERM, and waits for the end: how it ended, and the options to start its successor.
    #[track_caller]
    pub(crate) fn stop(mut self) -> (ExitStatus, Options) {
        self.process.signal("TERM");
        // The drain is 25 s by default.
        let status = self.process.wait(Duration::from_secs(40));
        (status, self.options.clone())
    }
}

/// The body of a `GET` that was answered with success.
pub(crate) fn get(url: &str) -> Result<String, String> {
    request(reqwest::Method::GET, url, None)
}

/// The JSON of a `GET`.
pub(crate) fn get_json(url: &str) -> Result<serde_json::Value, String> {
    let body = get(url)?;
    serde_json::from_str(&body).map_err(|error| format!("{url}: {error}: {body}"))
}

/// A request, the answer's body when it is a success.
pub(crate) fn request(method: reqwest::Method, url: &str, body: Option<&serde_json::Value>) -> Result<String, String> {
    // The client wants a TLS provider even where no TLS is spoken; a second installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let explain = |error: reqwest::Error| format!("{url}: {error}");
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().map_err(explain)?;
        let mut request = client.request(method, url).header("Accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(explain)?;
        let status = answer.status();
        let text = answer.text().await.map_err(explain)?;
        if status.is_success() { Ok(text) } else { Err(format!("{url}: {status}: {text}")) }
    })
}
