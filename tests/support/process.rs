//! A child process that can't outlive the test binary.
//!
//! Destructors don't run when a test binary is killed or its statics end with it, so each child is started by a shell
//! that reads from a pipe held by us: when we are gone, in whatever way, the pipe ends and the child is killed (9).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// `$1` is the log; the rest is the program and its arguments. Prints the program's pid, exits as it does.
const WATCHDOG: &str = r#"
log=$1; shift
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
pid=$!
echo "$pid"
( read -r _ <&3; kill -9 "$pid" ) >/dev/null 2>&1 &
guard=$!
exec 3<&- </dev/null
wait "$pid"
status=$?
kill -9 "$guard" 2>/dev/null
exit "$status"
"#;

/// A running (or ended) child and its log.
pub(crate) struct Watched {
    shell: Child,
    pid: u32,
    name: String,
    log: PathBuf,
}

impl Watched {
    /// Starts `program`; what it prints is appended to `log`.
    pub(crate) fn spawn(
        name: &str,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        env: &[(String, String)],
        log: &Path,
    ) -> Self {
        File::options().create(true).append(true).open(log).expect("the log can be written");
        let mut shell = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(log)
            .arg(program)
            .args(args)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("the watchdog prints a pid");
        let pid = line.trim().parse().expect("the watchdog prints a pid");
        Self { shell, pid, name: name.to_owned(), log: log.to_owned() }
    }

    /// The child's own process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log, for messages.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("a child can be waited for")
    }

    /// Sends a signal by name (`TERM`, `KILL`, `STOP`, `CONT`); nothing happens when it has ended.
    pub(crate) fn signal(&mut self, signal: &str) {
        if self.exited().is_none() {
            let _ = Command::new("kill").args([&format!("-{signal}"), &self.pid.to_string()]).status();
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When `deadline` has passed, with the end of its log.
    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            if start.elapsed() > deadline {
                panic!("{} did not end within {deadline:?}; its log ends:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        self.wait(Duration::from_secs(30));
    }

    /// Does what the end of the test binary does, and nothing else: our end of the pipe is closed.
    pub(crate) fn abandon(&mut self) {
        drop(self.shell.stdin.take());
    }

    /// Resident memory in bytes, where `/proc` tells.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.signal("KILL");
        let _ = self.shell.wait();
    }
}
