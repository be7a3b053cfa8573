//! Java, Maven, and the jars of Apache Kafka that `tests/pom.xml` names; older Kafkas by `tests/old-kafka.xml`.
//!
//! The jars are copied once per POM (and version) into `target/tmp/jars-<hash of the POM>`, offline first; afterwards
//! Maven is not needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

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

/// The same for the brokers of old, which log by Log4j 1.
const OLD_LOGGING: &str = "\
log4j.rootLogger=${bench.log.level}, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{HH:mm:ss,SSS} %p %c{1} %m%n
";

/// Many short-lived JVMs on few cores: start quickly and stay small rather than run fast after minutes.
const SMALL: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// How to start Apache Kafka's classes.
#[derive(Clone, Debug)]
pub(crate) struct Kafka {
    java: PathBuf,
    classpath: String,
    /// The option that names the logging's configuration.
    logging: String,
}

/// A Kafka of old, as a partner of brokers that users still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Old {
    /// 2.1, with ZooKeeper: the oldest that we serve.
    V2_1,
    /// 2.8, with ZooKeeper: the first with topic ids.
    V2_8,
    /// 3.9, the last before 4.0 dropped old protocols.
    V3_9,
}

impl Old {
    fn versions(self) -> (&'static str, &'static str) {
        match self {
            Self::V2_1 => ("2.1.1", "2.12"),
            Self::V2_8 => ("2.8.2", "2.13"),
            Self::V3_9 => ("3.9.1", "2.13"),
        }
    }
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

/// A Kafka of old; its jars are copied when it is first asked for.
///
/// # Panics
/// When Maven can't bring them. Ask [`kafka`] first whether there is a Maven.
pub(crate) fn old(version: Old) -> &'static Kafka {
    static OLD: Mutex<BTreeMap<Old, &'static Kafka>> = Mutex::new(BTreeMap::new());
    let mut known = OLD.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(version).or_insert_with(|| {
        let (kafka, scala) = version.versions();
        let defines = [format!("-Dkafka.version={kafka}"), format!("-Dscala.version={scala}")];
        let found = find_java().and_then(|java| Ok((java, jars("tests/old-kafka.xml", &defines)?)));
        let (java, jars) = found.unwrap_or_else(|missing| panic!("Kafka {kafka}: {missing}"));
        let logging = run_folder().join("log4j.properties");
        fs::write(&logging, OLD_LOGGING).expect("the run's folder can be written");
        let logging = format!("-Dlog4j.configuration=file:{}", logging.display());
        // Once per version and binary.
        Box::leak(Box::new(Kafka { java, classpath: classpath(&jars), logging }))
    })
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
            self.logging.clone(),
            "-cp".to_owned(),
            self.classpath.clone(),
        ];
        jvm.chain(ours).collect()
    }
}

fn find() -> Result<Kafka, String> {
    let java = find_java()?;
    let jars = jars("tests/pom.xml", &[])?;
    let logging = run_folder().join("log4j2.properties");
    fs::write(&logging, LOGGING).expect("the run's folder can be written");
    let logging = format!("-Dlog4j2.configurationFile={}", logging.display());
    Ok(Kafka { java, classpath: classpath(&jars), logging })
}

/// Sorted, so that two runs have the same class path.
fn classpath(jars: &Path) -> String {
    let jars: BTreeSet<_> = fs::read_dir(jars)
        .expect("the jars can be listed")
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with(".jar"))
        .collect();
    jars.into_iter().collect::<Vec<_>>().join(":")
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
fn jars(pom: &str, defines: &[String]) -> Result<PathBuf, String> {
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join(pom);
    let mut content = fs::read(&pom).map_err(|error| format!("{}: {error}", pom.display()))?;
    defines.iter().for_each(|define| content.extend_from_slice(define.as_bytes()));
    let hash: String = Sha256::digest(&content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("jars-{hash}"));
    if cache.is_dir() {
        return Ok(cache);
    }
    // Each process fills a folder of its own and the first to end renames it: nobody sees half of them, nobody waits
    // for a lock that a killed run has left.
    let filling = cache.with_extension(format!("part-{}", std::process::id()));
    copy_jars(&pom, defines, &filling)?;
    if let Err(error) = fs::rename(&filling, &cache) {
        let _ = fs::remove_dir_all(&filling);
        if !cache.is_dir() {
            return Err(format!("a folder for the jars: {error}"));
        }
    }
    Ok(cache)
}

fn copy_jars(pom: &Path, defines: &[String], folder: &Path) -> Result<(), String> {
    let log = run_folder().join("maven.log");
    let mut out = File::options().create(true).append(true).open(&log).expect("the run's folder can be written");
    for offline in [true, false] {
        let _ = fs::remove_dir_all(folder);
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q"]).args(offline.then_some("-o")).args(defines).arg("-f").arg(pom).args([
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
    Err(format!("the jars of {}: mvn failed, see {}", pom.display(), log.display()))
}
