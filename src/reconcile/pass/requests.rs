//! What is asked of the loop, answered within a pass: after the engine was observed, before the plan is made.

use super::{Driver, Turn};
use crate::destination::state::{Hold, HoldScope, Record, StateStore};
use crate::engine::Engine;
use crate::reconcile::handle::{Ask, Refused};
use crate::reconcile::plan::{Guard, Plan};

impl<E: Engine, S: StateStore> Driver<E, S> {
    pub(super) async fn answer(&mut self, ask: Ask, turn: &mut Turn) -> Result<(), Refused> {
        match ask {
            Ask::Reconcile => {
                self.retries.clear();
                Ok(())
            }
            Ask::Confirm(hash) => {
                let plan = self.current(turn)?;
                if plan.hash != hash {
                    return Err(Refused::OtherPlan { asked: hash, current: plan.hash });
                }
                let waiting = plan.digests(Guard::confirmable);
                if waiting.is_empty() {
                    return Err(Refused::NothingWaits);
                }
                self.confirmed.extend(waiting);
                Ok(())
            }
            Ask::Apply => {
                let plan = self.current(turn)?;
                self.approved.extend(plan.digests(|guard| *guard == Guard::Manual));
                self.retries.clear();
                Ok(())
            }
            Ask::Hold(new) => {
                self.may_write()?;
                if let HoldScope::Connector(name) = &new.scope {
                    let known = self.desired().is_some_and(|desired| desired.loaded.connectors.contains_key(name))
                        || turn.live.as_ref().is_some_and(|live| live.connectors.contains_key(name))
                        || self.state.as_ref().is_some_and(|state| state.applied.contains_key(name));
                    if !known {
                        return Err(Refused::UnknownConnector(name.to_string()));
                    }
                }
                let now = self.now();
                if new.until.is_some_and(|until| until <= now) {
                    return Err(Refused::Bad("the hold would end before it begins".to_owned()));
                }
                let hold = Hold { reason: new.reason, by: new.by, since: now, until: new.until };
                self.note(vec![Record::Hold(new.scope, Some(hold))]).await.map_err(|e| Refused::NotNoted(e.to_string()))
            }
            Ask::Release(scope) => {
                self.may_write()?;
                if !self.state.as_ref().is_some_and(|state| state.holds.contains_key(&scope)) {
                    return Err(Refused::NoHold(scope.to_string()));
                }
                self.note(vec![Record::Hold(scope, None)]).await.map_err(|e| Refused::NotNoted(e.to_string()))
            }
        }
    }

    fn may_write(&self) -> Result<(), Refused> {
        match (self.standby(), &self.state) {
            (Some(why), _) => Err(Refused::Standby(why)),
            (None, None) => Err(Refused::NotNoted("the state can't be read".to_owned())),
            (None, Some(_)) => Ok(()),
        }
    }

    fn current(&self, turn: &Turn) -> Result<Plan, Refused> {
        self.may_write()?;
        self.plan(turn).ok_or_else(|| {
            let why = turn.problems.first().map(|problem| problem.message.clone());
            Refused::NoPlan(why.unwrap_or_else(|| "the repository has not been read yet".to_owned()))
        })
    }
}
