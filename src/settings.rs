//! Settings: flags, environment and a TOML file become one checked value, with every mistake in one message.
//!
//! A setting has one name: `stall-after` is the flag `--stall-after`, the TOML key `stall-after` and the variable
//! `MIRRORKEEPER_STALL_AFTER` (`_` for dots and dashes). Flag beats environment beats file. [`SETTINGS`] is the one table;
//! the command line's flags are made of it.
//!
//! Pure: who calls reads the file and the environment. It uses [`crate::spec`] only. Secrets are in no `Debug` and in no
//! message (law 9).

mod layers;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::spec::{DriftMode, keys};

pub use layers::Origin;
pub use server::TlsFiles;
pub use table::{SETTINGS, Setting, setting};

use layers::Layers;
use values::{Bad, bad};

/// How the environment variables of settings begin.
pub const VARIABLE_PREFIX: &str = "MIRRORKEEPER_";

/// Everything that a daemon is told once. `Debug` shows no secret.
#[derive(Clone)]
pub struct Settings {
    /// Repository: a URL or a local path. It may hold credentials.
    pub repo: Secret,
    /// `ref`: branch, tag or commit; none for the remote's `HEAD`.
    pub reference: Option<String>,
    /// Folder inside the repository, without slashes around it; empty for all of it.
    pub root: String,
    /// First folder level.
    pub environment: String,
    /// Second folder level.
    pub destination: String,
    /// Third folder level: only these; empty for all.
    pub sources: Vec<String>,
    /// Time between two looks at the repository.
    pub interval: Duration,
    /// `host:port` to listen on; the host may be a name.
    pub listen: String,
    /// Whether changes are applied as they come.
    pub sync: Sync,
    /// What happens to a change of the live side.
    pub drift: DriftMode,
    /// What happens to what Git no longer names.
    pub prune: Prune,
    /// How many deletions pass without a confirmation.
    pub max_deletes: MaxDeletes,
    /// Files as they lie or as committed; none: as committed where it is a repository.
    pub working_tree: Option<bool>,
    /// Unknown keys in connector files are errors.
    pub strict: bool,
    /// Data in flight, in bytes.
    pub memory: usize,
    /// How long a shutdown may drain.
    pub grace: Duration,
    /// Without an acknowledgement for so long, a flow with records waiting is stalled.
    pub stall_after: Duration,
    /// Where the clone is kept.
    pub cache_dir: PathBuf,
    /// File with the token of the HTTP API.
    pub token_file: Option<PathBuf>,
    /// TLS of the HTTP API.
    pub tls: Option<TlsFiles>,
    /// Reading needs the token or a client certificate too.
    pub guard_reading: bool,
    /// A Kafka Connect worker's `.properties`.
    pub worker_config: Option<PathBuf>,
    /// Address of the destination, `host:port,...`.
    pub bootstrap_servers: Option<String>,
    /// Kafka client properties of the destination, by Kafka's names. They may hold secrets.
    pub client: BTreeMap<String, String>,
    /// Who this process is among its replicas; none: host name and listen port.
    pub instance_id: Option<String>,
    /// `config.topic.secrets`: what becomes of literal secrets in Connect's config topic.
    pub config_topic_secrets: TopicSecrets,
    /// `state.storage.topic`: none: named after environment and destination.
    pub state_storage_topic: Option<String>,
    /// Replication factor of internal topics; -1: the broker's default.
    pub internal_replication_factor: i16,
    /// How we identify ourselves to the repository.
    pub git: GitCredentials,
    /// How it logs.
    pub log_format: LogFormat,
    /// What it logs.
    pub log_filter: String,
}

/// How we identify ourselves to the repository, and whom we trust. Of a file and a value for one thing, one is set.
#[derive(Debug, Clone, Default)]
pub struct GitCredentials {
    /// `repo-username`
    pub username: Option<String>,
    /// `repo-username-file`
    pub username_file: Option<PathBuf>,
    /// `repo-token-file`
    pub token_file: Option<PathBuf>,
    /// `repo-token`
    pub token: Option<Secret>,
    /// `repo-ca-file`
    pub ca_file: Option<PathBuf>,
    /// `repo-client-cert-file`
    pub client_cert_file: Option<PathBuf>,
    /// `repo-client-key-file`
    pub client_key_file: Option<PathBuf>,
    /// `repo-proxy`: it may hold credentials.
    pub proxy: Option<Secret>,
    /// `repo-ssh-key-file`
    pub ssh_key_file: Option<PathBuf>,
    /// `repo-ssh-key`
    pub ssh_key: Option<Secret>,
    /// `repo-ssh-passphrase-file`
    pub ssh_passphrase_file: Option<PathBuf>,
    /// `repo-ssh-passphrase`
    pub ssh_passphrase: Option<Secret>,
    /// `repo-known-hosts-file`
    pub known_hosts_file: Option<PathBuf>,
}

/// A secret value. `Debug` hides it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Whether changes are applied as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// They are.
    Auto,
    /// They wait for `apply` or `confirm`.
    Manual,
}

/// What happens to what Git no longer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// It is stopped and forgotten; offsets and topics stay.
    Auto,
    /// The same, once confirmed.
    Confirm,
    /// It goes on running.
    Off,
}

/// What becomes of literal secrets of connector files in Connect's config topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicSecrets {
    /// They are written there, as Java writes them.
    Plain,
    /// They are left out; after a restart their connectors wait for Git.
    Omit,
}

/// How many deletions pass without a confirmation: both limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxDeletes {
    /// At most this many.
    pub count: u32,
    /// At most this part of all connectors, in percent.
    pub percent: u8,
}

/// How it logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line gave, unread. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Partial(Vec<(&'static str, Vec<String>)>);

/// One mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting, or what was taken for one.
    pub key: String,
    /// Where it was written.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The address that commands ask when nobody says another: from `listen`, in flags, environment or file.
///
/// # Errors
/// Mistakes in the settings that are needed for it.
pub fn default_url(variables: &[(String, String)], file: Option<(&str, &str)>) -> Result<String, Vec<SettingProblem>> {
    let mut reading = Reading::new(Partial::default(), variables, file);
    let listen = reading.get("listen", values::address);
    let Some(listen) = listen else { return Err(reading.problems) };
    let (host, port) = listen.rsplit_once(':').unwrap_or((&listen, "8083"));
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    let scheme = if reading.get("tls-cert-file", values::text).is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{host}:{port}"))
}

// === impl Settings ===

impl Settings {
    /// Reads and checks everything. `file` is its path, for messages, and its text; `environment` is all of the process's.
    ///
    /// # Errors
    /// Every mistake of every layer.
    pub fn load(
        flags: Partial,
        environment: impl Iterator<Item = (String, String)>,
        file: Option<(&str, &str)>,
    ) -> Result<Self, Vec<SettingProblem>> {
        let variables: Vec<(String, String)> = environment.collect();
        let mut reading = Reading::new(flags, &variables, file);
        let settings = reading.settings(&variables);
        match settings {
            Some(settings) if reading.problems.is_empty() => Ok(settings),
            _ => Err(reading.problems),
        }
    }
}

/// What was written, being read. Every mistake is collected.
struct Reading {
    layers: Layers,
    problems: Vec<SettingProblem>,
}

// === impl Reading ===

impl Reading {
    fn new(flags: Partial, variables: &[(String, String)], file: Option<(&str, &str)>) -> Self {
        let mut layers = Layers::new(flags, variables, file);
        let problems = std::mem::take(&mut layers.problems);
        Self { layers, problems }
    }

    fn settings(&mut self, variables: &[(String, String)]) -> Option<Settings> {
        use values::*;
        let repo = self.get("repo", text);
        let reference = self.get("ref", text);
        let root = self.get("root", root);
        let environment = self.get("environment", folder);
        let destination = self.get("destination", folder);
        let sources = self.list("source", folder);
        let interval = self.get("interval", duration_within("1s", "1d"));
        let listen = self.get("listen", address);
        let sync = self.get("sync", word("sync", &[("auto", Sync::Auto), ("manual", Sync::Manual)]));
        let drifts = [("correct", DriftMode::Correct), ("report", DriftMode::Report), ("off", DriftMode::Off)];
        let drift = self.get("drift", word("drift", &drifts));
        let prunes = [("auto", Prune::Auto), ("confirm", Prune::Confirm), ("off", Prune::Off)];
        let prune = self.get("prune", word("prune", &prunes));
        let max_deletes = self.get("max-deletes", max_deletes);
        let working_tree = self.get("working-tree", boolean);
        let strict = self.get("strict", boolean);
        let memory = self.get("memory", size);
        let grace = self.get("grace", duration_within("0s", "1h"));
        let stall_after = self.get("stall-after", duration_within("1s", "1d"));
        let cache_dir = self.get("cache-dir", path).unwrap_or_else(|| cache_dir(variables));
        let token_file = self.get("token-file", path);
        let tls = self.tls();
        let guard_reading = self.get("guard-reading", boolean);
        self.provable(token_file.is_some(), tls.as_ref(), guard_reading);
        let worker_config = self.get("worker-config", path);
        let bootstrap_servers = self.get("bootstrap-servers", text);
        let instance_id = self.get("instance-id", text);
        let words = [("plain", TopicSecrets::Plain), ("omit", TopicSecrets::Omit)];
        let config_topic_secrets = self.get("config.topic.secrets", word("config.topic.secrets", &words));
        let state_storage_topic = self.get("state.storage.topic", topic);
        let internal_replication_factor = self.get("internal-replication-factor", replication_factor);
        let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
        let log_format = self.get("log-format", word("log-format", &formats));
        let log_filter = self.get("log", text);
        let git = self.git(repo.as_deref());
        let client = self.client(bootstrap_servers.as_deref());
        Some(Settings {
            repo: Secret(Zeroizing::new(repo?)),
            reference,
            root: root?,
            environment: environment?,
            destination: destination?,
            sources,
            interval: interval?,
            listen: listen?,
            sync: sync?,
            drift: drift?,
            prune: prune?,
            max_deletes: max_deletes?,
            working_tree,
            strict: strict?,
            memory: memory?,
            grace: grace?,
            stall_after: stall_after?,
            cache_dir,
            token_file,
            tls,
            guard_reading: guard_reading?,
            worker_config,
            bootstrap_servers,
            client,
            instance_id,
            config_topic_secrets: config_topic_secrets?,
            state_storage_topic,
            internal_replication_factor: internal_replication_factor?,
            git,
            log_format: log_format?,
            log_filter: log_filter?,
        })
    }

    fn git(&mut self, repo: Option<&str>) -> GitCredentials {
        let twice = [
            ("repo-username", "repo-username-file"),
            ("repo-token", "repo-token-file"),
            ("repo-ssh-key", "repo-ssh-key-file"),
            ("repo-ssh-passphrase", "repo-ssh-passphrase-file"),
        ];
        for (value, file) in twice {
            if self.is_set(value) && self.is_set(file) {
                let hint = "keep one of them; a file is read anew each time, so a rotated secret needs no restart";
                self.mistake(value, bad(format!("{file} is set too"), hint));
            }
        }
        for (one, other) in
            [("repo-client-cert-file", "repo-client-key-file"), ("repo-client-key-file", "repo-client-cert-file")]
        {
            if self.is_set(one) && !self.is_set(other) {
                self.mistake(one, bad(format!("{other} is not set"), "a certificate and its key go together"));
            }
        }
        let web = repo.is_some_and(|repo| ["http://", "https://"].iter().any(|scheme| repo.starts_with(scheme)));
        for name in ["repo-proxy", "repo-ca-file", "repo-client-cert-file"] {
            if repo.is_some() && !web && self.is_set(name) {
                self.mistake(
                    name,
                    bad("it is for https, and repo is none such", "leave it out, or write https://... into repo"),
                );
            }
        }
        let secret = |value: Option<String>| value.map(|value| Secret(Zeroizing::new(value)));
        GitCredentials {
            username: self.get("repo-username", values::text),
            username_file: self.get("repo-username-file", path),
            token_file: self.get("repo-token-file", path),
            token: secret(self.get("repo-token", values::text)),
            ca_file: self.get("repo-ca-file", path),
            client_cert_file: self.get("repo-client-cert-file", path),
            client_key_file: self.get("repo-client-key-file", path),
            proxy: secret(self.get("repo-proxy", values::proxy)),
            ssh_key_file: self.get("repo-ssh-key-file", path),
            ssh_key: secret(self.get("repo-ssh-key", values::key)),
            ssh_passphrase_file: self.get("repo-ssh-passphrase-file", path),
            ssh_passphrase: secret(self.get("repo-ssh-passphrase", values::text)),
            known_hosts_file: self.get("repo-known-hosts-file", path),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        self.layers.settings.contains_key(name)
    }

    fn client(&mut self, bootstrap_servers: Option<&str>) -> BTreeMap<String, String> {
        let client = std::mem::take(&mut self.layers.client);
        if let (Some(_), Some((_, origin))) = (bootstrap_servers, client.get("bootstrap.servers")) {
            self.problems.push(SettingProblem {
                key: "client.bootstrap.servers".to_owned(),
                origin: origin.clone(),
                message: "bootstrap-servers is set too".to_owned(),
                hint: Some("keep one of them".to_owned()),
            });
        }
        client.into_iter().map(|(key, (value, _))| (key, value)).collect()
    }

    /// The value of a setting: as written, else its default.
    fn get<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Result<T, Bad>) -> Option<T> {
        let row = setting(name)?;
        let written = self.layers.settings.get(name).and_then(|raw| raw.values.last()).cloned();
        let Some(value) = written.or_else(|| row.default.map(str::to_owned)).map(Zeroizing::new) else {
            if row.required {
                let hint = format!("give --{name}, {} or {name} in the settings file", row.variable());
                self.mistake(name, bad("it is required", hint));
            }
            return None;
        };
        read(&value).map_err(|wrong| self.mistake(name, quoted(row, &value, wrong))).ok()
    }

    fn list<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Result<T, Bad>) -> Vec<T> {
        let written = self.layers.settings.get(name).map(|raw| raw.values.clone()).unwrap_or_default();
        let values = written.iter().flat_map(|value| value.split(','));
        values.filter_map(|value| read(value).map_err(|wrong| self.mistake(name, wrong)).ok()).collect()
    }

    fn mistake(&mut self, name: &str, Bad { message, hint }: Bad) {
        let origin = self.layers.settings.get(name).map_or(Origin::Nowhere, |raw| raw.origin.clone());
        self.problems.push(SettingProblem { key: name.to_owned(), origin, message, hint });
    }
}

/// With the value in front, where it can't be a secret.
fn quoted(row: &Setting, value: &str, mut wrong: Bad) -> Bad {
    let shown: String = value.trim().chars().filter(|c| !c.is_control()).take(60).collect();
    if !row.secret
        && !["repo", "repo-proxy"].contains(&row.name)
        && !shown.is_empty()
        && !keys::must_be_masked("name", value)
    {
        wrong.message = format!("\"{shown}\": {}", wrong.message);
    }
    wrong
}

fn path(value: &str) -> Result<PathBuf, Bad> {
    values::text(value).map(PathBuf::from)
}

/// The user's cache folder, as the environment tells it.
fn cache_dir(variables: &[(String, String)]) -> PathBuf {
    let get = |name: &str| variables.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, v)| v);
    let base = get("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| {
        let below = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        get("HOME").map(|home| PathBuf::from(home).join(below))
    });
    base.unwrap_or_else(|| PathBuf::from(get("TMPDIR").map_or("/tmp", String::as_str))).join("mirrorkeeper")
}

// === impl Partial ===

impl Partial {
    /// What a flag gave, where it was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(given, _)| *given == name).and_then(|(_, values)| values.last()).map(String::as_str)
    }

    /// Adds what a flag gave.
    pub fn set(&mut self, name: &'static str, values: Vec<String>) {
        self.0.push((name, values));
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

// === impl Secret ===

impl Secret {
    /// The value, for who must send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl MaxDeletes ===

impl Default for MaxDeletes {
    fn default() -> Self {
        Self { count: 3, percent: 20 }
    }
}

// === impl SettingProblem ===

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Nowhere => write!(f, "{}: {}", self.key, self.message)?,
            origin if origin.to_string() == self.key => write!(f, "{}: {}", self.key, self.message)?,
            origin => write!(f, "{} ({origin}): {}", self.key, self.message)?,
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client: BTreeMap<&str, &str> = self
            .client
            .iter()
            .map(|(key, value)| (key.as_str(), if keys::must_be_masked(key, value) { "***" } else { value.as_str() }))
            .collect();
        f.debug_struct("Settings")
            .field("repo", &without_credentials(self.repo.expose()))
            .field("reference", &self.reference)
            .field("root", &self.root)
            .field("environment", &self.environment)
            .field("destination", &self.destination)
            .field("sources", &self.sources)
            .field("interval", &self.interval)
            .field("listen", &self.listen)
            .field("sync", &self.sync)
            .field("drift", &self.drift)
            .field("prune", &self.prune)
            .field("max_deletes", &self.max_deletes)
            .field("working_tree", &self.working_tree)
            .field("strict", &self.strict)
            .field("memory", &self.memory)
            .field("grace", &self.grace)
            .field("stall_after", &self.stall_after)
            .field("cache_dir", &self.cache_dir)
            .field("token_file", &self.token_file)
            .field("tls", &self.tls)
            .field("guard_reading", &self.guard_reading)
            .field("worker_config", &self.worker_config)
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client", &client)
            .field("instance_id", &self.instance_id)
            .field("config_topic_secrets", &self.config_topic_secrets)
            .field("state_storage_topic", &self.state_storage_topic)
            .field("internal_replication_factor", &self.internal_replication_factor)
            .field("git", &self.git)
            .field("log_format", &self.log_format)
            .field("log_filter", &self.log_filter)
            .finish()
    }
}

/// A URL without what stands before `@`, and without its query.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}
