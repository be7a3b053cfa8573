//! Java, Maven, and the jars of Apache Kafka that `tests/pom.xml` names.
//!
//! The jars are copied once per POM into `target/tmp/jars-<hash of the POM>`, offline first; afterwards Maven is not
//! needed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::process::Watched;
use super::run_folder::run_folder;

const LOGGING: &str = "\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss,SSS} %p %c{1} %m%n
rootLogger.level=${sys:bench.log.level:-WARN}
rootLogger.appenderRef.out.ref=out
";

/// Many short-lived JVMs on few cores: start quickly and stay small rather than run fast after minutes.
const SMALL: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// How to start Apache Kafka's classes.
#[derive(Clone, Debug)]
pub(crate) struct Kafka {
    java: PathBuf,
    classpath: String,
    logging: PathBuf,
}

/// Apache Kafka, or `None` where Java 17 or Maven is missing: the test says so and returns.
///
/// # Panics
/// Instead of `None` when `MIRRORKEEPER_REQUIRE_KAFKA=1`.
pub(crate) fn kafka() -> Option<&'static Kafka> {
    static KAFKA: OnceLock<Result<Kafka, String>> = OnceLock::new();
    match KAFKA.get_or_init(find) {
        Ok(kafka) => Some(kafka),
        Err(missing) => {
            let message = format!("skipped: needs Java 17 and Maven (missing: {missing})");
            if std::env::var("MIRRORKEEPER_REQUIRE_KAFKA").is_ok_and(|value| value == "1") {
                panic!("{message}");
            }
            // Not by println, which the harness swallows for a test that passes.
            let test = std::thread::current();
            let _ = writeln!(std::io::stderr(), "{}: {message}", test.name().unwrap_or("a test"));
            None
        }
    }
}

impl Kafka {
    /// Starts a class as a process that ends with the test binary.
    pub(crate) fn start(&self, name: &str, heap: &str, class: &str, args: &[&str], log: &Path) -> Watched {
        self.start_with(name, &[&format!("-Xmx{heap}"), SMALL[0], SMALL[1]], class, args, log)
    }

    /// Like [`Kafka::start`], with the JVM's options in place of the suite's own, which favour a quick start.
    pub(crate) fn start_with(&self, name: &str, jvm: &[&str], class: &str, args: &[&str], log: &Path) -> Watched {
        let mut all = self.options(jvm, "INFO");
        all.push(class.to_owned());
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Watched::spawn(name, &self.java, all, &[], log)
    }

    /// Runs one of Kafka's tools to its end.
    ///
    /// # Panics
    /// When it fails: with what it printed.
    #[track_caller]
    pub(crate) fn tool(&self, class: &str, args: &[&str]) -> String {
        let output = self.try_tool(class, args);
        assert!(
            output.status.success(),
            "{class} {args:?} failed: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs one of Kafka's tools to its end, successful or not.
    pub(crate) fn try_tool(&self, class: &str, args: &[&str]) -> Output {
        Command::new(&self.java)
            .args(self.options(&["-Xmx256m", SMALL[0], SMALL[1]], "WARN"))
            .arg(class)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("java can be started")
    }

    fn options(&self, jvm: &[&str], level: &str) -> Vec<String> {
        let jvm = jvm.iter().map(|option| (*option).to_owned());
        let ours = [
            "-Xshare:auto".to_owned(),
            format!("-Dbench.log.level={level}"),
            format!("-Dlog4j2.configurationFile={}", self.logging.display()),
            "-cp".to_owned(),
            self.classpath.clone(),
        ];
        jvm.chain(ours).collect()
    }
}

fn find() -> Result<Kafka, String> {
    let java = find_java()?;
    let jars = jars()?;
    let logging = run_folder().join("log4j2.properties");
    fs::write(&logging, LOGGING).expect("the run's folder can be written");
    // Sorted, so that two runs have the same class path.
    let classpath: BTreeSet<_> = fs::read_dir(&jars)
        .expect("the jars can be listed")
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with(".jar"))
        .collect();
    Ok(Kafka { java, classpath: classpath.into_iter().collect::<Vec<_>>().join(":"), logging })
}

fn find_java() -> Result<PathBuf, String> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let mut found = "java".to_owned();
    for java in home.into_iter().chain([PathBuf::from("java")]) {
        let Ok(output) = Command::new(&java).arg("-version").output() else { continue };
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // openjdk version "17.0.15" 2025-04-15; Java 8 called itself 1.8.
        let version = text.split('"').nth(1).unwrap_or_default().to_owned();
        match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major >= 17 => return Ok(java),
            _ => found = format!("java 17 or later; found {version}"),
        }
    }
    Err(found)
}

/// The folder with the jars, filled by Maven once.
fn jars() -> Result<PathBuf, String> {
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pom.xml");
    let content = fs::read(&pom).map_err(|error| format!("{}: {error}", pom.display()))?;
    let hash: String = Sha256::digest(&content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("jars-{hash}"));
    if cache.is_dir() {
        return Ok(cache);
    }
    // Each process fills a folder of its own and the first to end renames it: nobody sees half of them, nobody waits
    // for a lock that a killed run has left.
    let filling = cache.with_extension(format!("part-{}", std::process::id()));
    copy_jars(&pom, &filling)?;
    if let Err(error) = fs::rename(&filling, &cache) {
        let _ = fs::remove_dir_all(&filling);
        if !cache.is_dir() {
            return Err(format!("a folder for the jars: {error}"));
        }
    }
    Ok(cache)
}

fn copy_jars(pom: &Path, folder: &Path) -> Result<(), String> {
    let log = run_folder().join("maven.log");
    let mut out = File::create(&log).expect("the run's folder can be written");
    for offline in [true, false] {
        let _ = fs::remove_dir_all(folder);
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q"]).args(offline.then_some("-o")).arg("-f").arg(pom).args([
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            &format!("-DoutputDirectory={}", folder.display()),
        ]);
        let output = maven.stdin(Stdio::null()).output().map_err(|error| format!("mvn: {error}"))?;
        let _ = out.write_all(&output.stdout);
        if output.status.success() {
            return Ok(());
        }
    }
    Err(format!("the jars of tests/pom.xml: mvn failed, see {}", log.display()))
}
