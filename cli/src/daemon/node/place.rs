//! A node becomes a manager, or stops being one, as the cluster says; its containers never notice.
//!
//! What managers tell in a session says only when to ask: it may be old. What counts is what the authority answers,
//! read from a majority, together with the new certificate. A node without a number in the Raft group has nothing to
//! vote with; it never throws its log away before it was told that its number is gone. Each step is on disk before
//! the next, so that a daemon that is killed in between goes on there.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use skep_manager::Manager;
use skep_proto::ids::RaftId;
use skep_proto::node::{Place, Role};
use skep_worker::identity::{self, Renewed};
use skep_worker::{Told, dial};
use tokio::sync::watch;

use super::super::streams;
use super::{Active, MANAGER, Node, Phase, stored};

/// After a try that failed, the next.
const AGAIN: Duration = Duration::from_secs(1);
/// Calls that this node passed on as a manager get their answers within this.
const FAREWELL: Duration = Duration::from_millis(500);

/// What is to be done about what a manager said.
fn is_settled(place: Place, held: Option<RaftId>) -> bool {
    match place.role {
        Role::Manager => place.raft.is_some() && place.raft == held,
        // With its number it is still being taken out, and has to go on voting.
        Role::Worker => held.is_none() || place.raft == held,
    }
}

/// The number that this node has: a manager knows its own, which is another after it went on alone.
fn held(active: &Active) -> Option<RaftId> {
    let own = active.manager.as_ref().map(Manager::raft);
    own.or(active.membership.raft)
}

/// Whether the cluster was restored or forced to go on without what this manager has: it may be the only one to have it.
fn went_on_without(active: &Active, incarnation: u64) -> bool {
    let state = active.manager.as_ref().map(Manager::state);
    let cluster = state.as_ref().and_then(|state| state.cluster());
    cluster.is_some_and(|cluster| cluster.incarnation < incarnation)
}

impl Node {
    /// Follows what managers say this node is, for ever.
    pub(super) async fn keep_place(self: Arc<Self>, mut told: watch::Receiver<Told>) {
        loop {
            let place = told.borrow_and_update().place;
            let again = match self.follow(place).await {
                Ok(()) => None,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "cannot become what the cluster says yet");
                    Some(AGAIN)
                }
            };
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
            }
        }
    }

    async fn follow(self: &Arc<Self>, place: Option<Place>) -> anyhow::Result<()> {
        let (identity, mut managers, door) = {
            let phase = self.phase.lock().await;
            let Phase::Active(active) = &*phase else {
                return Ok(());
            };
            let there = active.manager.is_some() == active.membership.raft.is_some();
            if place.is_none_or(|place| is_settled(place, held(active))) && there {
                return Ok(());
            }
            // The leader first: it has just said so.
            let leader = *active.worker.connected().borrow();
            let mut managers: Vec<_> = leader.into_iter().collect();
            managers.extend(active.worker.told().borrow().managers.iter().copied());
            (
                active.identity.clone(),
                managers,
                active.membership.advertise,
            )
        };
        managers.dedup();
        let dial = dial::by_identity(identity.clone());
        let root = &self.config.data_root;
        let renewed = identity::renew(&identity, &dial, &managers, Some(door), root);
        let renewed = renewed.await.context("cannot get a new certificate")?;
        let mut phase = self.phase.lock().await;
        match &mut *phase {
            Phase::Active(active) => self.settle(active, renewed).await,
            Phase::Inactive => Ok(()),
        }
    }

    async fn settle(self: &Arc<Self>, active: &mut Active, renewed: Renewed) -> anyhow::Result<()> {
        // Without managers it was answered by a release that knows of no promotion: it says nothing of numbers.
        ensure!(
            !renewed.managers.is_empty(),
            "the manager that leads is of an older release"
        );
        let held = held(active);
        if held != renewed.raft && (held.is_some() || active.manager.is_some()) {
            self.stop_managing(active, &renewed).await?;
        }
        match renewed.raft {
            Some(raft) if active.manager.is_none() => {
                self.begin_managing(active, raft, &renewed).await
            }
            _ => Ok(()),
        }
    }

    /// Puts behind this node's doors what it has now.
    pub(super) fn open_doors(self: &Arc<Self>, active: &mut Active) -> anyhow::Result<()> {
        let manager = active.manager.as_ref();
        let routes = streams::node_routes(&active.worker, manager);
        self.streams
            .open(active.worker.streams(), manager.map(Manager::streams));
        *self.door.write().unwrap_or_else(PoisonError::into_inner) =
            manager.map(Manager::user_door);
        if let Some(manager) = manager {
            let watched = self
                .clone()
                .watch_manager(manager.fatal(), active.stop.clone());
            tokio::spawn(watched);
        }
        active.door.serve(&active.identity, routes, &active.stop)
    }

    async fn begin_managing(
        self: &Arc<Self>,
        active: &mut Active,
        raft: RaftId,
        renewed: &Renewed,
    ) -> anyhow::Result<()> {
        if active.membership.raft.is_none() {
            // A log of another number is none of this one.
            stored::clear(&self.config.data_root.join(MANAGER))?;
            active.membership.raft = Some(raft);
            active.membership.managers.clone_from(&renewed.managers);
            active.membership.save(&self.config.data_root)?;
        }
        let manager = Manager::start(skep_manager::Config {
            directory: self.config.data_root.join(MANAGER),
            node: active.membership.node,
            raft,
            identity: active.identity.clone(),
            resolver: self.resolver(),
        })
        .await?;
        active.manager = Some(manager);
        self.open_doors(active)?;
        tracing::info!(%raft, "this node is a manager now");
        Ok(())
    }

    async fn stop_managing(
        self: &Arc<Self>,
        active: &mut Active,
        renewed: &Renewed,
    ) -> anyhow::Result<()> {
        let directory = self.config.data_root.join(MANAGER);
        if went_on_without(active, renewed.incarnation) {
            stored::keep(&directory)?;
        }
        active.membership.raft = None;
        active.membership.managers.clone_from(&renewed.managers);
        active.membership.save(&self.config.data_root)?;
        if let Some(manager) = active.manager.take() {
            self.open_doors(active)?;
            tokio::time::sleep(FAREWELL).await;
            manager.stop().await;
        }
        stored::clear(&directory)?;
        tracing::info!("this node is a worker now");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_asks_when_what_it_is_differs_from_what_it_is_told() {
        let (one, two) = (Some(RaftId(1)), Some(RaftId(2)));
        let cases = [
            (Role::Worker, None, None, true),
            (Role::Worker, None, one, false),
            (Role::Manager, None, None, false),
            (Role::Manager, one, None, false),
            (Role::Manager, one, one, true),
            (Role::Manager, two, one, false),
            // It is being taken out and has to go on voting; or it never began.
            (Role::Worker, one, one, true),
            (Role::Worker, one, None, true),
        ];
        for (role, raft, held, settled) in cases {
            let place = Place { role, raft };
            assert_eq!(is_settled(place, held), settled, "{place:?} {held:?}");
        }
    }
}
