//! A flow's clusters and identity: both clusters are who they should be, and the producer identity is ours.

use super::*;

/// How long a cluster may stay out of reach before status says so.
const TELL_AFTER: Duration = Duration::from_secs(2);

impl Session {
    pub(super) async fn connect(&mut self) -> Result<(), Trouble> {
        if self.verified && !self.as_expected() {
            self.let_go().await;
        }
        if self.verified && (self.paused || !self.identities.is_empty()) {
            return Ok(());
        }
        let target = self.context.lanes.target().clone();
        self.verify(&target).await?;
        if !self.paused {
            let _turn = self.context.starting.acquire().await;
            let (identity, mode) = identity(&target, &self.context.group, &self.config.name, 0).await?;
            self.identities = vec![identity];
            self.shared.state().mode = mode;
        }
        Ok(())
    }

    /// Whether both clusters are still who they were found to be, and that is still what is expected.
    fn as_expected(&self) -> bool {
        let expected = self.shared.state().expected.clone();
        let fits = |expected: Option<String>, cluster: &Cluster| expected.is_none() || expected == cluster.answered();
        fits(expected.source, &self.source) && fits(expected.target, self.context.lanes.target())
    }

    /// Gives everything back: what was found belongs to another cluster than the one that answers.
    async fn let_go(&mut self) {
        let all: Vec<_> = self.assigned.keys().cloned().collect();
        self.release(&all, true).await;
        self.verified = false;
        self.identities.clear();
        self.known.clear();
        self.again.clear();
        self.discovered = None;
        let mut state = self.shared.state();
        state.phase = Phase::Starting;
        state.partitions.clear();
    }

    /// Both clusters are who they should be. What is seen first is expected from then on.
    async fn verify(&mut self, target: &Cluster) -> Result<(), Trouble> {
        let source_id = self.reached("source", &self.source).await?;
        let target_id = self.reached("target", target).await?;
        let expected = self.shared.state().expected.clone();
        let other = |was: Option<String>, is: &String| was.filter(|was| was != is);
        let moved = [
            ("source", other(expected.source, &source_id), &source_id),
            ("target", other(expected.target, &target_id), &target_id),
        ];
        if let Some((side, was, is)) = moved.into_iter().find_map(|(side, was, is)| Some((side, was?, is))) {
            // Shown, so that it can be said that they are the right ones from now on.
            self.answered(&source_id, &target_id);
            return Err(other_cluster(side, &was, is));
        }
        if source_id == target_id {
            return Err(Trouble {
                area: "source",
                problem: Problem {
                    code: "SAME-CLUSTER".into(),
                    message: format!("source and destination are the same cluster ({source_id})"),
                    hint: Some("correct source.cluster.bootstrap.servers".into()),
                    since_ms: wall_ms(),
                    fatal: true,
                },
            });
        }
        self.check_destination(&target_id).await?;
        // Positions and topics of the one before were let go of, or never had.
        self.source.accept();
        self.shared.problem("source", None);
        self.shared.problem("target", None);
        // Not before: what is shown is noted, and an address that leads astray at first must not be remembered.
        self.answered(&source_id, &target_id);
        self.shared.state().expected = Expected { source: Some(source_id), target: Some(target_id) };
        self.verified = true;
        Ok(())
    }

    fn answered(&self, source_id: &str, target_id: &str) {
        let mut state = self.shared.state();
        (state.source_id, state.target_id) = (Some(source_id.to_owned()), Some(target_id.to_owned()));
    }

    /// The cluster's id. What keeps it from being reached is told while it is still being tried: a minute of silence helps
    /// nobody (law 4).
    async fn reached(&self, area: &'static str, cluster: &Cluster) -> Result<String, Trouble> {
        let id = cluster.answering();
        tokio::pin!(id);
        loop {
            tokio::select! {
                id = &mut id => return id.map_err(|error| trouble(area, error.root())),
                () = tokio::time::sleep(TELL_AFTER) => {
                    if let Some(error) = cluster.trouble() {
                        self.shared.problem(area, Some(trouble(area, &error).problem));
                    }
                }
            }
        }
    }

    /// The destination is the daemon's; a file that names another cluster as its target is not run. Where the cluster it
    /// names can't be reached from here nothing is known, and its address may be another way to the same one.
    pub(super) async fn check_destination(&mut self, target_id: &str) -> Result<(), Trouble> {
        if self.destination_checked {
            return Ok(());
        }
        let named = &self.config.clients.target_admin;
        let Some(servers) = named.get("bootstrap.servers") else { return Ok(()) };
        let servers = servers.to_owned();
        let destination = self.context.lanes.target().config();
        let Ok(config) = cluster_config(named.as_map()) else { return Ok(()) };
        if config.bootstrap == destination.bootstrap {
            return Ok(());
        }
        match tokio::time::timeout(DESTINATION_WITHIN, Cluster::new(config).id()).await {
            Ok(Ok(id)) if id != target_id => Err(Trouble {
                area: "target",
                problem: Problem {
                    code: "wrong-destination".into(),
                    message: format!(
                        "target.cluster.bootstrap.servers ({servers}) reaches cluster {id}, this destination is {target_id}"
                    ),
                    hint: Some("move the file to that destination's folder, or correct target.cluster.*".into()),
                    since_ms: wall_ms(),
                    fatal: true,
                },
            }),
            Ok(Ok(_)) => {
                self.destination_checked = true;
                Ok(())
            }
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(connector = %self.config.name, "the target that the file names can't be asked for its id");
                self.destination_checked = true;
                Ok(())
            }
        }
    }
}

/// The flow's producer identity: through a transactional id where that is allowed, so that an older self is fenced.
pub(super) async fn identity(
    target: &Cluster,
    group: &str,
    connector: &str,
    rank: usize,
) -> Result<(ProducerIdentity, String), Trouble> {
    let transactional = transactional_id(group, connector, rank);
    let first = init_producer_id(target, Some(&transactional), Duration::from_secs(60)).await;
    match first {
        Ok(identity) => return Ok((identity, "idempotent".into())),
        Err(error) if error.denied() => {}
        Err(error) => return Err(trouble("identity", &error)),
    }
    match init_producer_id(target, None, Duration::from_secs(60)).await {
        Ok(identity) => Ok((
            identity,
            format!("idempotent, without fencing: WRITE on transactional id {transactional} is not allowed"),
        )),
        Err(error) if error.denied() => Ok((
            ProducerIdentity::NONE,
            "plain, one batch in flight: IDEMPOTENT_WRITE on the cluster is not allowed".into(),
        )),
        Err(error) => Err(trouble("identity", &error)),
    }
}

/// A cluster that answers under the same address and is another one: positions and topics would not fit.
fn other_cluster(side: &'static str, was: &str, is: &str) -> Trouble {
    let hint = format!(
        "if it was meant, `mirrorkeeper plan` names the plan to confirm, or change {side}.cluster.bootstrap.servers in the \
         file; if not, correct where the address leads"
    );
    Trouble {
        area: side,
        problem: Problem {
            code: if side == "source" { "SRC-ID" } else { "DST-ID" }.into(),
            message: format!("the {side} cluster was {was} and is {is} now: nothing is copied"),
            hint: Some(hint),
            since_ms: wall_ms(),
            fatal: true,
        },
    }
}
