//! The table of settings: one row is a flag, a TOML key and an environment variable.

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name: the TOML key, and the flag behind `--`.
    pub name: &'static str,
    /// What its value looks like.
    pub takes: &'static str,
    /// The value when nobody gives one, as it would be written.
    pub default: Option<&'static str>,
    /// The daemon can't run without it.
    pub required: bool,
    /// Several values: an array in TOML, a repeated flag, commas in the environment.
    pub many: bool,
    /// Its value is a secret: it is never shown, and there is no flag (a command line is readable by everybody).
    pub secret: bool,
    /// What it means.
    pub doc: &'static str,
}

const fn row(name: &'static str, takes: &'static str, default: Option<&'static str>, doc: &'static str) -> Setting {
    Setting { name, takes, default, required: false, many: false, secret: false, doc }
}

const fn required(name: &'static str, takes: &'static str, doc: &'static str) -> Setting {
    Setting { required: true, ..row(name, takes, None, doc) }
}

const fn secret(name: &'static str, takes: &'static str, doc: &'static str) -> Setting {
    Setting { secret: true, ..row(name, takes, None, doc) }
}

const fn many(name: &'static str, takes: &'static str, doc: &'static str) -> Setting {
    Setting { many: true, ..row(name, takes, None, doc) }
}

/// Every setting, in the order of `--help`.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    required("repo", "URL|DIR", "Git repository (https, ssh, file) or local folder with the connector files"),
    row("ref", "NAME", None, "Branch, tag or commit to follow [default: the remote's HEAD]"),
    row("root", "FOLDER", Some("connectors"), "Folder of the connector files inside the repository"),
    required("environment", "NAME", "First folder level below the root"),
    required("destination", "NAME", "Second folder level below the root: the cluster this daemon writes to"),
    many("source", "NAME", "Only this folder of the third level; may be repeated [default: all]"),
    row("interval", "TIME", Some("30s"), "Time between two looks at the repository"),
    row("working-tree", "BOOL", None, "Read files as they lie, not as committed [default: false; true where DIR is no repository]"),
    row("repo-username", "NAME", None, "User name for the repository"),
    row("repo-username-file", "FILE", None, "File with the user name"),
    row("repo-token-file", "FILE", None, "File with the token or password for https; this and every file below is read at each look"),
    secret("repo-token", "TOKEN", "Token or password for https"),
    row("repo-ca-file", "FILE", None, "Authorities that are trusted for https, PEM [default: the system's]"),
    row("repo-client-cert-file", "FILE", None, "Client certificate for https, with its chain, PEM"),
    row("repo-client-key-file", "FILE", None, "Private key of that certificate, PEM, not encrypted"),
    row("repo-proxy", "URL", None, "Proxy for https, http://[USER:PASSWORD@]HOST:PORT [default: HTTPS_PROXY, ALL_PROXY and NO_PROXY]"),
    row("repo-ssh-key-file", "FILE", None, "File with the private key for ssh [default: the ssh agent's]"),
    secret("repo-ssh-key", "KEY", "Private key for ssh"),
    row("repo-ssh-passphrase-file", "FILE", None, "File with the passphrase of that key"),
    secret("repo-ssh-passphrase", "PASSPHRASE", "Passphrase of that key"),
    row("repo-known-hosts-file", "FILE", None, "Hosts whose ssh keys are trusted [default: ~/.ssh/known_hosts]"),
    row("cache-dir", "DIR", None, "Where the clone is kept; it may be deleted at any time [default: the user's cache folder]"),
    row("sync", "auto|manual", Some("auto"), "Apply changes as they come, or plan them and wait for `confirm`"),
    row("drift", "correct|report|off", Some("correct"), "What to do when somebody changed what was applied"),
    row("prune", "auto|confirm|off", Some("auto"), "What to do with a connector whose file is gone"),
    row("max-deletes", "N|P%|N,P%", Some("3,20%"), "How many deletions pass without `confirm`: at most so many, and such a part of all"),
    row("strict", "BOOL", Some("false"), "Unknown keys in connector files are errors"),
    row("bootstrap-servers", "HOST:PORT,...", None, "Address of the destination cluster"),
    many("client", "KEY=VALUE", "Kafka client property of the destination, such as security.protocol=SSL; may be repeated"),
    row("worker-config", "FILE", None, "A Kafka Connect worker's .properties: address, security, topics and group.id"),
    row("config.topic.secrets", "plain|omit", Some("plain"), "Literal secrets of connector files go to the config topic, as Java writes them, or are left out of it: after a restart such connectors wait for Git"),
    row("state.storage.topic", "TOPIC", None, "Topic of what was applied [default: mirrorkeeper-state-<environment>-<destination>]"),
    row("internal-replication-factor", "N", Some("-1"), "Replication factor of the topics it creates for itself; -1: the broker's default"),
    row("instance-id", "NAME", None, "Who this process is among its replicas [default: host name and listen port]"),
    row("memory", "SIZE", Some("64MiB"), "Data in flight, at most"),
    row("grace", "TIME", Some("25s"), "How long a shutdown may take to finish what is in flight"),
    row("stall-after", "TIME", Some("60s"), "When records wait and nothing was acknowledged for so long, it is Stalled"),
    row("listen", "HOST:PORT", Some("127.0.0.1:8083"), "Where /status, /metrics and the REST API listen"),
    row("token-file", "FILE", None, "File with the token that write requests must bring; without it they are taken on loopback only"),
    row("tls-cert-file", "FILE", None, "Serve https: our certificate chain, PEM; a renewed one is taken up while running"),
    row("tls-key-file", "FILE", None, "The private key of that certificate, PEM"),
    row("tls-client-ca-file", "FILE", None, "Authorities, PEM, whose client certificates are as good as the token"),
    row("guard-reading", "BOOL", Some("false"), "Reading needs the token or a client certificate too; probes need nothing"),
    row("log", "FILTER", Some("info"), "What is logged: a level, or target=level,..."),
    row("log-format", "auto|text|json", Some("auto"), "How it is logged; auto: text on a terminal, JSON otherwise"),
];

/// The row of a name.
#[must_use]
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// The environment variable: `MIRRORKEEPER_`, capitals, `_` for dots and dashes.
    #[must_use]
    pub fn variable(&self) -> String {
        let tail: String =
            self.name.chars().map(|c| if matches!(c, '.' | '-') { '_' } else { c.to_ascii_uppercase() }).collect();
        format!("{}{tail}", super::VARIABLE_PREFIX)
    }
}
