//! Later.
use super::{GroupConfig, MemberState};
use crate::kafka::{Cluster, Error};
use tokio::sync::watch;
pub(super) async fn run(
    _c: Cluster,
    _g: GroupConfig,
    _s: watch::Sender<MemberState>,
    _l: watch::Receiver<bool>,
) -> Result<(), Error> {
    Ok(())
}
