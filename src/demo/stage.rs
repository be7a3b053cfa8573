//! What the story plays on: clusters, repository, daemon, load, and the teller.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::clusters::Clusters;
use super::daemon::{Daemon, Orders};
use super::load::Load;
use super::repository::{Edit, Example, ORDERS, PAYMENTS, Repository};
use super::seen::Seen;
use super::tell::{Tell, grouped, seconds};
use super::{Error, Outcome};

/// How long a step may wait for one thing. A step takes a second or two; a machine under load is given many more.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(25);

/// Records a second while nothing special happens.
pub(super) const CALM: u32 = 1_500;

/// The topic that the story adds to a running connector.
pub(super) const RETURNS: &str = "returns";

/// Everything of the demo. What is dropped first stands first: the daemon before the clusters that it uses.
pub(super) struct Stage<'t, 'o> {
    pub(super) tell: &'t mut Tell<'o>,
    pub(super) daemon: Daemon,
    pub(super) load: Option<Load>,
    pub(super) clusters: Clusters,
    pub(super) repository: Repository,
    /// Source topics with the remote topics that `/status` named.
    pub(super) remote: BTreeMap<String, String>,
    _folder: TempDir,
}

// === impl Stage ===

impl<'t, 'o> Stage<'t, 'o> {
    /// Builds it, up to a daemon that has read a repository without connectors.
    pub(super) async fn set(tell: &'t mut Tell<'o>) -> Result<Self, Error> {
        let began = Instant::now();
        tell.line("begin", "mirrorkeeper demo: two development clusters in memory, a Git repository, and the daemon")?;
        tell.waiting("starting two clusters");
        let topics = source_topics()?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let clusters = Clusters::start(&names).await?;
        tell.place("source", &clusters.source.bootstrap())?;
        tell.place("target", &clusters.target.bootstrap())?;

        let folder = tempfile::Builder::new().prefix("mirrorkeeper-demo-").tempdir();
        let unusable = |source| Error::File { path: std::env::temp_dir(), what: "making a temporary folder", source };
        let folder = folder.map_err(unusable)?;
        let repository = Repository::create(folder.path().join("repository")).await?;
        tell.place("git", &repository.folder().display().to_string())?;

        let daemon = Daemon::start(Orders {
            repository: repository.folder(),
            bootstrap: clusters.target.bootstrap(),
            cache: folder.path().join("cache"),
            log: folder.path().join("daemon.log"),
        })?;
        tell.place("status", &format!("{}/status", daemon.url()))?;
        let load = Some(Load::start(&clusters.source.bootstrap(), &names, CALM)?);
        let remote = BTreeMap::new();
        let mut stage = Self { tell, daemon, load, clusters, repository, remote, _folder: folder };
        stage
            .until("the daemon reads the repository", |seen, _| {
                seen.at("/source/observed").as_str().map(|_| ()).ok_or_else(|| "nothing was read yet".to_owned())
            })
            .await?;
        stage.tell.line("ready", &format!("  ready after {}", seconds(began.elapsed())))?;
        Ok(stage)
    }

    /// Looks at `/status` and the clusters until `probe` gives a value.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        mut probe: impl FnMut(&Seen, &Clusters) -> Result<T, String>,
    ) -> Result<T, Error> {
        self.tell.waiting(what);
        let began = Instant::now();
        let mut status = "status: none was read".to_owned();
        loop {
            self.daemon.alive()?;
            let last = match self.daemon.status().await {
                Ok(seen) => match probe(&seen, &self.clusters) {
                    Ok(value) => return Ok(value),
                    Err(why) => {
                        status = seen.in_short();
                        why
                    }
                },
                Err(why) => why,
            };
            if began.elapsed() > PATIENCE {
                return Err(self.late(what, last, status));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// As [`Self::until`], for a moment in which nothing waits to be copied. On a busy machine there is none while records
    /// come all the time, so the load takes a breath.
    pub(super) async fn until_copied<T>(
        &mut self,
        what: &str,
        probe: impl FnMut(&Seen, &Clusters) -> Result<T, String>,
    ) -> Result<T, Error> {
        self.breathe(true);
        let found = self.until(what, probe).await;
        self.breathe(false);
        found
    }

    fn breathe(&self, breath: bool) {
        if let Some(load) = &self.load {
            load.breathe(breath);
        }
    }

    /// Looks at the clusters only, and more often, until `probe` gives a value: how long it took.
    pub(super) async fn until_clusters(
        &mut self,
        what: &str,
        mut probe: impl FnMut(&Clusters) -> Result<(), String>,
    ) -> Result<Duration, Error> {
        self.tell.waiting(what);
        let began = Instant::now();
        while let Err(last) = probe(&self.clusters) {
            if began.elapsed() > PATIENCE {
                let status = self.daemon.status().await.map_or_else(|why| why, |seen| seen.in_short());
                return Err(self.late(what, last, status));
            }
            tokio::time::sleep(LOOK / 5).await;
        }
        Ok(began.elapsed())
    }

    /// An example file for these clusters, with further properties.
    pub(super) fn file(&self, example: &Example, more: &[(&str, &str)]) -> Result<Edit, Error> {
        let text = example.with(&self.clusters.source.bootstrap(), &self.clusters.target.bootstrap(), more)?;
        Ok(Edit::Write(example.path, text))
    }

    /// Something is otherwise than promised.
    pub(super) fn untrue(&self, what: impl Into<String>) -> Error {
        Error::Untrue { step: self.tell.step(), what: what.into() }
    }

    /// Changes what is produced; nothing once it has ended.
    pub(super) fn produce(&self, topics: &[&str], per_second: u32) {
        if let Some(load) = &self.load {
            load.only(topics);
            load.rate(per_second);
        }
    }

    /// The last lines.
    pub(super) fn farewell(&mut self, outcome: &Outcome) -> Result<(), Error> {
        self.tell.end();
        let records = grouped(outcome.records);
        self.tell.line("took", &format!("{} steps, {records} records, {}", outcome.steps, seconds(outcome.took)))?;
        self.tell.line("next", "next: `mirrorkeeper demo --keep`, and look around; or your own clusters:")?;
        let own = "      mirrorkeeper run --repo URL --environment E --destination D --bootstrap-servers TARGET:9092";
        Ok(self.tell.line("next", own)?)
    }

    /// Goes on, with load, until Ctrl-C.
    pub(super) async fn keep(&mut self) -> Result<(), Error> {
        let deleted = PAYMENTS.topics()?;
        let topics: Vec<&str> =
            self.remote.keys().filter(|topic| !deleted.contains(topic)).map(String::as_str).collect();
        self.load = Some(Load::start(&self.clusters.source.bootstrap(), &topics, CALM / 10)?);
        let places = [
            ("page", format!("{}/", self.daemon.url())),
            ("source", self.clusters.source.bootstrap()),
            ("target", self.clusters.target.bootstrap()),
            ("git", self.repository.folder().display().to_string()),
        ];
        self.tell.line("kept", "Everything goes on running: commit something there, and look. Ctrl-C ends it.")?;
        for (what, place) in &places {
            self.tell.place(what, place)?;
        }
        super::asked_to_end().await?;
        // The terminal has told the daemon too.
        self.daemon.drain(Duration::from_secs(5)).await
    }

    fn late(&self, what: &str, last: String, status: String) -> Error {
        let what = what.to_owned();
        Error::Late { step: self.tell.step(), what, within: PATIENCE, last, status, log: self.daemon.log() }
    }
}

/// All topics that are ever copied.
fn source_topics() -> Result<Vec<String>, Error> {
    let mut topics = ORDERS.topics()?;
    topics.extend(PAYMENTS.topics()?);
    topics.push(RETURNS.to_owned());
    Ok(topics)
}
