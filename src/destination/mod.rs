//! What the daemon keeps on the destination cluster, and nothing else does.
//!
//! [`state`] holds the model of our own compacted topic: what was applied (the base of every comparison), holds and
//! history. The control loop sees it through [`state::StateStore`] only.
//!
//! Laws: a record written by a newer release is refused before anything is written; a state that can't be read is an
//! error and never "empty" (law 8); no secret is written, only its keyed fingerprint (law 9); history is a bounded ring
//! (law 10).

pub mod memory;
pub mod state;
pub mod state_log;
