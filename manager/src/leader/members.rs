//! Keeps the Raft group equal to the managers in State: who joined becomes a member, who was removed goes.

use std::time::Duration;

use skep_proto::node::Role;
use tokio_util::sync::CancellationToken;

use crate::raft::{Consensus, MembershipError, Target, Voting};
use crate::ring::Ring;
use crate::state::State;

/// After a change that failed, the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks whenever something was applied; one change of membership is under way at a time.
pub async fn run(ring: Ring, consensus: Consensus<State>, scope: CancellationToken) {
    let mut changes = ring.watch();
    while !scope.is_cancelled() {
        let state = changes.borrow_and_update().state.clone();
        let settled = settle(&state, &consensus).await;
        let again = tokio::time::sleep(AGAIN);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = again, if !settled => {}
            () = scope.cancelled() => return,
        }
    }
}

/// Takes out the members that State does not know as managers, then adds the managers that have no vote.
/// `false` if that did not work.
async fn settle(state: &State, consensus: &Consensus<State>) -> bool {
    if state.cluster().is_none() {
        // The cluster is just being made.
        return true;
    }
    let managers = || state.nodes().filter_map(|node| node.manager.as_ref());
    let members = consensus.members();
    for (gone, _) in &members {
        if managers().any(|it| it.raft.0 == gone.id) {
            continue;
        }
        if let Err(error) = consensus.remove(gone.id).await {
            tracing::warn!(raft.id = gone.id, %error, "cannot go on without a removed manager yet");
            return false;
        }
        tracing::info!(raft.id = gone.id, "a removed manager is no member any more");
    }
    let votes = |id: u64| {
        members
            .iter()
            .any(|(it, voting)| it.id == id && *voting == Voting::Yes)
    };
    for node in state.nodes().filter(|node| node.spec.role == Role::Manager) {
        let Some(manager) = node.manager.as_ref().filter(|it| !votes(it.raft.0)) else {
            continue;
        };
        let target = Target {
            id: manager.raft.0,
            address: manager.address.to_string(),
        };
        if let Err(error) = admit(consensus, &target).await {
            tracing::warn!(node.id = %node.id, %error, "cannot make the node a member yet");
            return false;
        }
        tracing::info!(node.id = %node.id, "the node is a member now");
    }
    true
}

async fn admit(consensus: &Consensus<State>, target: &Target) -> Result<(), MembershipError> {
    consensus.add_learner(target).await?;
    consensus.promote(target.id).await
}
