//! Keeps the Raft group equal to the managers in State: who joined or was promoted becomes a member, who was removed
//! or is to be a worker goes.
//!
//! Everything is in State: a leader that dies in between leaves the next one the same to do. One that cannot be taken
//! in or out just now holds up nobody else.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::ids::RaftId;
use skep_proto::node::{Node, Role};
use tokio_util::sync::CancellationToken;

use crate::raft::{Consensus, MembershipError, Target, Voting};
use crate::ring::Ring;
use crate::state::{Change, Entry, State};

/// After a change that failed, the next try.
const AGAIN: Duration = Duration::from_secs(1);
/// A newcomer is waited for so long at a time; it catches up meanwhile, and others have their turn.
const TURN: Duration = Duration::from_secs(3);

/// Looks whenever something was applied; one change of membership is under way at a time.
pub async fn run(ring: Ring, consensus: Consensus<State>, scope: CancellationToken) {
    let mut changes = ring.watch();
    while !scope.is_cancelled() {
        let state = changes.borrow_and_update().state.clone();
        let settled = settle(&state, &ring, &consensus).await;
        let again = tokio::time::sleep(AGAIN);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = again, if !settled => {}
            () = scope.cancelled() => return,
        }
    }
}

/// Takes out the members that State does not know as managers, takes their numbers from those that are to be
/// workers, then adds the managers that have no vote. `false` if not all of it worked.
async fn settle(state: &State, ring: &Ring, consensus: &Consensus<State>) -> bool {
    if state.cluster().is_none() {
        // The cluster is just being made.
        return true;
    }
    if let Err(error) = consensus.finish().await {
        tracing::warn!(%error, "cannot see a change of managers through yet");
        return false;
    }
    let out = take_out(state, consensus).await;
    let released = release(state, ring, consensus).await;
    let added = take_in(state, consensus).await;
    out && released && added
}

fn number(node: &Node) -> Option<RaftId> {
    node.manager.as_ref().map(|manager| manager.raft)
}

async fn take_out(state: &State, consensus: &Consensus<State>) -> bool {
    let stays = |id: u64| {
        state
            .managers()
            .any(|node| number(node) == Some(RaftId(id)))
    };
    let members = consensus.members().into_iter();
    let mut done = true;
    for (gone, _) in members.filter(|(member, _)| !stays(member.id)) {
        match consensus.remove(gone.id).await {
            Ok(()) => tracing::info!(raft.id = gone.id, "a former manager is no member any more"),
            Err(error) => {
                tracing::warn!(raft.id = gone.id, %error, "cannot go on without a former manager yet");
                done = false;
            }
        }
    }
    done
}

/// Who is to be a worker and is no member any more, knows it by having no number: only then may it stop voting.
async fn release(state: &State, ring: &Ring, consensus: &Consensus<State>) -> bool {
    let is_member = |raft: RaftId| consensus.members().iter().any(|(it, _)| it.id == raft.0);
    let leaving = |node: &&Arc<Node>| node.spec.role == Role::Worker;
    let mut done = true;
    for node in state.nodes().filter(leaving) {
        match number(node) {
            None => continue,
            Some(raft) if is_member(raft) => {
                done = false;
                continue;
            }
            Some(_) => {}
        }
        let new = Node {
            manager: None,
            ..Node::clone(node)
        };
        let entry = Entry {
            changes: vec![Change::PutNode(Arc::new(new))],
            ..Entry::default()
        };
        // Where the node changed meanwhile, the change that was applied wakes this again.
        let proposed = ring.propose(entry).await;
        done &= proposed.is_ok_and(|outcome| outcome.fits());
    }
    done
}

async fn take_in(state: &State, consensus: &Consensus<State>) -> bool {
    let votes = |raft: RaftId| {
        let members = consensus.members();
        let mut voters = members.iter().filter(|(_, voting)| *voting == Voting::Yes);
        voters.any(|(it, _)| it.id == raft.0)
    };
    let mut done = true;
    for node in state.managers() {
        let Some(manager) = node.manager.as_ref().filter(|it| !votes(it.raft)) else {
            continue;
        };
        let target = Target {
            id: manager.raft.0,
            address: manager.address.to_string(),
        };
        match admit(consensus, &target).await {
            Ok(()) => tracing::info!(node.id = %node.id, "the node is a member now"),
            Err(error) => {
                tracing::warn!(node.id = %node.id, %error, "cannot make the node a member yet");
                done = false;
            }
        }
    }
    done
}

async fn admit(consensus: &Consensus<State>, target: &Target) -> Result<(), MembershipError> {
    // Each change is an entry: one that is there already is not written again for one that does not come up.
    if !consensus.members().iter().any(|(it, _)| it == target) {
        consensus.add_learner(target).await?;
    }
    consensus.promote_within(target.id, TURN).await
}
