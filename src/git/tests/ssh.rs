//! ssh against OpenSSH's own server, which every host of repositories runs or imitates.
//!
//! A server within the test process would be a hundred more crates to build, and would say how a Rust library reads the
//! protocol. So these need `sshd` and `ssh-keygen`; without them they say so and pass, except where
//! `MIRRORKEEPER_REQUIRE_SSHD` is set.
//!
//! libgit2 has one home folder, and so one file of known hosts, per process: all of it is one test.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::git::{Failure, Secret};

const A: &str = "connectors/dev/east/west/a.json";
const CANARY: &str = "c4nary";

/// A running sshd with a folder for its keys and ours.
struct Sshd {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests may run programs")]
fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

impl Sshd {
    /// None where there is no sshd.
    #[expect(clippy::disallowed_methods, reason = "tests may run programs")]
    fn start() -> Option<Self> {
        let sshd =
            ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|at| Path::new(at).exists());
        let Some(sshd) = sshd else {
            assert!(std::env::var_os("MIRRORKEEPER_REQUIRE_SSHD").is_none(), "sshd is required and not installed");
            eprintln!("skipped: needs sshd (on Debian: openssh-server)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Where root runs it, it wants its empty folder.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| folder.path().join(name).display().to_string();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at("host")]).expect("sshd brings ssh-keygen");
        run("ssh-keygen", &["-q", "-t", "ecdsa", "-N", "", "-f", &at("host2")]);
        std::fs::write(folder.path().join("authorized"), "").unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nMaxAuthTries 3\nLogLevel ERROR\n",
            at("host"),
            at("host2"),
            at("authorized")
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(sshd).args(["-D", "-e", "-f", &at("config")]).stderr(log).spawn().unwrap();
        let sshd = Self { child, port, folder };
        let until = std::time::Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = std::fs::read_to_string(sshd.folder.path().join("log")).unwrap();
            assert!(std::time::Instant::now() < until, "sshd does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(sshd)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    /// A new key of ours; the server accepts it from now on, and no other.
    fn accept(&self, name: &str, kind: &str, passphrase: &str) {
        let at = self.at(name).display().to_string();
        let _ = std::fs::remove_file(&at);
        run("ssh-keygen", &["-q", "-t", kind, "-N", passphrase, "-f", &at]);
        self.write("authorized", &self.read(&format!("{name}.pub")));
    }

    /// The known-hosts line of a public key.
    fn line(&self, public: &str) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.read(public))
    }
}

/// Looks, and tells how it went; no text has a secret in it.
async fn look(source: &Source) -> Option<Failure> {
    source.refresh().await;
    let state = source.state().borrow().clone();
    assert!(!format!("{state:?}").contains(CANARY), "{state:?}");
    state.error
}

#[track_caller]
fn assert_tells(failure: Option<Failure>, code: &str, what: &str, to_do: &str) {
    let failure = failure.expect("it fails");
    assert_eq!(failure.code, code, "{failure:?}");
    assert!(failure.message.contains(what), "{what} is not in: {}", failure.message);
    assert!(failure.hint.as_deref().unwrap_or_default().contains(to_do), "{to_do} is not in: {:?}", failure.hint);
}

#[tokio::test]
async fn keys_and_known_hosts_decide_and_are_read_at_each_look() {
    let Some(sshd) = Sshd::start() else { return };
    let server = Server::new();
    for n in 0..3 {
        server.commit("main", &[(A, &n.to_string())]);
    }
    let first = server.commit("main", &[(A, "{}")]);
    let user = run("id", &["-un"]).unwrap().trim().to_owned();
    let url = format!("ssh://{user}@127.0.0.1:{}{}", sshd.port, server.path().display());
    let mut settings = settings(&url, &sshd.at("cache"));
    settings.timeout = PATIENCE;
    settings.credentials.ssh_key = Some(Secret::File(sshd.at("key")));
    settings.credentials.known_hosts = Some(sshd.at("known"));
    sshd.accept("key", "ed25519", "");
    sshd.write("known", &sshd.line("host.pub"));

    let source = Source::start(settings.clone()).unwrap();
    assert_eq!(look(&source).await, None);
    assert_eq!(source.snapshots().borrow().clone().unwrap().revision, first.to_string());
    let mut clones = std::fs::read_dir(sshd.at("cache/git")).unwrap().flatten().map(|entry| entry.path());
    let clone = clones.find(|path| path.is_dir()).unwrap();
    assert!(Repository::open_bare(clone).unwrap().is_shallow());
    for _ in 0..3 {
        assert_eq!(look(&source).await, None);
    }
    assert_eq!((source.state().borrow().fetches, source.state().borrow().packs_transferred), (1, 1));
    let old = server.commit("main", &[(A, "{\"x\":1}")]);
    assert_eq!(look(&source).await, None);
    server.rewrite("main", &[(A, "{\"x\":2}")]);
    assert_eq!(look(&source).await, None);
    assert_eq!(source.state().borrow().rewritten.clone().unwrap().from, old.to_string());

    // Hosts: the other key of the same server, hashed names, nobody, somebody else's key.
    sshd.write("known", &sshd.line("host2.pub"));
    assert_eq!(look(&source).await, None);
    sshd.write("known", &sshd.line("host.pub"));
    run("ssh-keygen", &["-q", "-H", "-f", &sshd.at("known").display().to_string()]);
    assert_eq!(look(&source).await, None);
    sshd.write("known", "");
    let shown = run("ssh-keygen", &["-lf", &sshd.at("host2.pub").display().to_string()]).unwrap();
    let shown = shown.split(' ').nth(1).unwrap().to_owned();
    let failure = look(&source).await;
    let scan = format!("`ssh-keyscan -p {} 127.0.0.1`", sshd.port);
    assert_tells(failure.clone(), "GIT-UNTRUSTED", "not among the known hosts", &scan);
    let own = run("ssh-keygen", &["-lf", &sshd.at("host.pub").display().to_string()]).unwrap();
    let message = failure.unwrap().message;
    assert!(message.contains(&shown) || message.contains(own.split(' ').nth(1).unwrap()), "{message}");
    sshd.write("known", &format!("[127.0.0.1]:{} {}", sshd.port, sshd.read("key.pub")));
    assert_tells(look(&source).await, "GIT-UNTRUSTED", "is not the one that", "somebody may sit between");
    std::fs::remove_file(sshd.at("known")).unwrap();
    assert_tells(look(&source).await, "GIT-CREDENTIALS", "known", "check what");
    sshd.write("known", &sshd.line("host.pub"));
    assert_eq!(look(&source).await, None);

    // Keys: refused, rotated, of other kinds, locked, no key.
    let before = sshd.read("key");
    sshd.accept("key", "ed25519", "");
    let accepted = sshd.read("key");
    sshd.write("key", &before);
    assert_tells(look(&source).await, "GIT-REFUSED", "does not accept the key", "repo-ssh-key-file");
    sshd.write("key", &accepted);
    assert_eq!(look(&source).await, None);
    for kind in ["rsa", "ecdsa"] {
        sshd.accept("key", kind, "");
        assert_eq!(look(&source).await, None, "{kind}");
    }
    sshd.accept("key", "ed25519", "c4nary-phrase");
    assert_tells(look(&source).await, "GIT-CREDENTIALS", "its passphrase", "check what");
    let mut locked = settings.clone();
    locked.credentials.ssh_passphrase = Some(Secret::File(sshd.at("phrase")));
    sshd.write("phrase", "c4nary-wrong");
    let locked = Source::start(locked).unwrap();
    assert_tells(look(&locked).await, "GIT-CREDENTIALS", "its passphrase", "check what");
    sshd.write("phrase", "c4nary-phrase\n");
    assert_eq!(look(&locked).await, None);
    sshd.write("key", "c4nary is no key");
    assert_tells(look(&source).await, "GIT-CREDENTIALS", "no private key", "check what");
    sshd.accept("key", "ed25519", "");
    assert_eq!(look(&source).await, None);

    // A repository that isn't there, and a server that says nothing.
    let away = server.folder.path().join("away.git");
    std::fs::rename(server.path(), &away).unwrap();
    assert_tells(look(&source).await, "GIT-UNREACHABLE", "", "check the address");
    std::fs::rename(&away, server.path()).unwrap();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings;
    settings.location = format!("ssh://git@127.0.0.1:{}/x", mute.local_addr().unwrap().port()).parse().unwrap();
    let silent = Source::start(settings).unwrap();
    let began = std::time::Instant::now();
    assert_tells(look(&silent).await, "GIT-UNREACHABLE", "", "tried again");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(silent.state().borrow().failing_since.is_some());
    assert_eq!(look(&source).await, None);
}
