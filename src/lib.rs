//! mirrorkeeper keeps Kafka mirrors the way a Git repository of MirrorMaker 2 connector files says.
//!
//! One process per destination cluster follows the repository, compares what it says with what runs, and applies the
//! difference to a replication engine of its own, in the same process. It says at `/status` what is true.
//!
//! ```text
//! commit -> git -> spec -> reconcile -> engine -> mirror -> kafka -> destination
//!                               \-> status -> api
//! ```
//!
//! # Two truths, no third
//!
//! Git says what should run. The destination cluster says what was applied and how far it got. Nothing else is kept: kill
//! the process anywhere, start it anywhere, and it goes on from those two.
//!
//! # The map
//!
//! | module | what it is | it may use |
//! |---|---|---|
//! | [`spec`] | the language of connector files: keys, regular expressions, problems with line and column. Pure | – |
//! | [`supervise`], [`telemetry`] | owned tasks, back-off, deadlines; logs | – |
//! | [`settings`] | flags, environment and file as one checked value | `spec` |
//! | [`git`] | a repository as a stream of snapshots | `supervise` |
//! | [`kafka`] | the protocol: connections, metadata, administration, groups, keyed logs, batches, fetch, produce | `supervise` |
//! | [`mirror`] | MirrorMaker 2's semantics: flows, lanes, partitions, shapes, positions | `kafka`, `spec`, `supervise` |
//! | [`destination`] | what is kept on the destination: state, Connect's config topic | `kafka`, `spec`, `supervise` |
//! | [`engine`] | the Kafka Connect verbs; `engine::embedded` runs flows | `spec`; embedded also `mirror`, `kafka`, `destination`, `supervise` |
//! | [`reconcile`] | observe, plan, apply, status | `spec`, `engine`'s trait, `destination::state`, `supervise` |
//! | [`api`] | HTTP: status, metrics, Kafka Connect's REST API | `engine`'s trait, `spec`, `reconcile`, `destination::state`, `supervise` |
//! | [`app`] | the composition root | all but `cli` |
//! | [`cli`] | the commands | all |
//! | [`devbroker`], [`demo`] | an in-memory Kafka for development, and the story told on it | `supervise`; demo also `devbroker` |
//!
//! `tests/architecture.rs` keeps this table true. Three sentences to remember: control plane and data plane meet only in
//! `engine::embedded`; each foreign library has one home; pure files import no tokio.
//!
//! # From commit to copied record
//!
//! 1. [`git`] notices a commit and publishes a snapshot.
//! 2. [`reconcile`] wakes; what woke it is logged and never acted on. It reads the snapshot ([`spec::load`]), observes the
//!    engine, and plans ([`reconcile::plan::Plan::new`], pure).
//! 3. It takes the plan's steps, not stopping at the first failure, and publishes a status.
//! 4. [`engine::embedded`] writes to Connect's config topic; its flows follow that topic.
//! 5. A [`mirror::flow`] finds topics, makes remote topics ready, finds out where each partition begins
//!    ([`mirror::start`]), writes its identity down, and gives partitions to a [`mirror::lane`].
//! 6. The lane steps a pure state machine per partition ([`mirror::partition`]): want, shape, send, acknowledge, move.
//!    Batches are copied as they are wherever that is possible ([`mirror::shape`]).
//! 7. Positions of acknowledged batches go to Connect's offsets topic ([`mirror::progress`]), in Java's bytes.
//!
//! # Laws
//!
//! Tests and comments cite them by number.
//!
//! 1. Progress never passes an unacknowledged record.
//! 2. Per partition, target order is source order. Duplicates only where somebody else writes to the target.
//! 3. Nothing is lost in copying: partition, key, value, null-ness, header order and repeats, timestamp.
//! 4. A connector that is not in its desired state, or not making progress that it could make, is not reported healthy.
//! 5. Planning what was just applied yields nothing.
//! 6. Nothing that we do not own is changed or deleted. No code path deletes a topic of data.
//! 7. A failure of one file, connector, topic or partition leaves the others alone.
//! 8. Failure is never read as emptiness: unreachable, unreadable and unparsable are not "absent".
//! 9. No secret leaves the process: not in logs, status, plans, errors or metrics. One exception, said aloud: a literal
//!    secret of a connector file goes to Connect's config topic, as Java writes it.
//! 10. Every accepted input is bounded: bodies, files, repository size, queue lengths, waiting time.
//!
//! # Where to look
//!
//! | you want to | start at |
//! |---|---|
//! | understand the daemon in an hour | [`app`], [`reconcile`], then [`mirror::lane`] |
//! | add a connector key | the table in [`spec::keys`]: schema, `explain` and validation follow |
//! | change what is mirrored or how it is named | [`mirror::filter`], [`mirror::naming`] |
//! | see why records repeat or are missing after a restart | [`mirror::start`], [`mirror::tail`], [`mirror::progress`] |
//! | see why a connector is not healthy | `mirror/flow/report.rs`, [`reconcile::status`] |
//! | add a route | [`api`] |
//! | provoke a broker's fault | [`devbroker::Faults`] |

pub mod api;
pub mod app;
pub mod cli;
pub mod demo;
pub mod destination;
pub mod devbroker;
pub mod engine;
pub mod git;
pub mod kafka;
pub mod mirror;
pub mod reconcile;
pub mod settings;
pub mod spec;
pub mod supervise;
pub mod telemetry;
