//! The bench: Apache Kafka, its Java tools, Java MirrorMaker 2 and this daemon as test partners.
//!
//! One integration-test binary declares it (`tests/real_kafka`), so the brokers of [`pair`] start once. It uses nothing
//! of the library: what a test reads and compares is never read through the code under test.
//!
//! Laws: without Java 17 or Maven each test says that it was skipped and what it lacks, and with
//! `MIRRORKEEPER_REQUIRE_KAFKA=1` it fails instead; no process outlives the test binary, whatever kills it; nothing
//! sleeps for a result, [`wait_for`] polls a predicate until a deadline.

#![allow(dead_code, reason = "the bench serves more stories than any one state of the suite tells")]
#![expect(clippy::disallowed_methods, reason = "tests drive Java's tools, and threads that feed them")]

pub(crate) mod acls;
pub(crate) mod certs;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod compare;
pub(crate) mod connect;
pub(crate) mod daemon;
pub(crate) mod java;
pub(crate) mod load;
pub(crate) mod oidc;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod quotas;
pub(crate) mod raw;
pub(crate) mod records;
pub(crate) mod repo;
pub(crate) mod run_folder;
pub(crate) mod secured;
pub(crate) mod status;

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cluster::{Cluster, Options};

/// A source of one broker and a target of three, shared by all tests of the binary: use topics, groups and
/// environments of your own ([`unique`]), and stop or kill no broker of it.
pub(crate) struct Pair {
    /// One broker.
    pub(crate) source: Cluster,
    /// Three brokers, internal topics replicated three times.
    pub(crate) target: Cluster,
}

/// The shared clusters, or `None` (the test then returns) where Java or Maven is missing.
pub(crate) fn pair() -> Option<&'static Pair> {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    java::kafka()?;
    Some(PAIR.get_or_init(|| {
        // Both at once: most of a start is waiting.
        let (source, target) = std::thread::scope(|scope| {
            let source = scope.spawn(|| Cluster::start(&Options::brokers(1)));
            let target = scope.spawn(|| Cluster::start(&Options::brokers(3)));
            (source.join(), target.join())
        });
        Pair { source: source.expect("the source cluster starts"), target: target.expect("the target cluster starts") }
    }))
}

/// A name that no other test, and no earlier run, uses.
pub(crate) fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Polls until `probe` gives a value.
///
/// # Panics
/// When `deadline` has passed, with `what` and the last reason that `probe` gave.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(reason) if start.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}; last: {reason}");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Runs a future of an async client from a test, which is synchronous.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
