//! Who takes part. A change is refused when what remains could not go on by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use openraft::{ChangeMembers, Instant as _, RaftMetrics};

use super::Consensus;
use super::machine::Replicated;
use super::propose::Refusal;
use super::transport::Target;
use super::types::{Peer, Types};

/// How long a newcomer may need to catch up, its snapshot included.
const CATCH_UP_BOUND: Duration = Duration::from_secs(90);
/// A newcomer with no more than so many entries to go may vote.
const CATCH_UP_LAG: u64 = 64;
/// How long a change, or a transfer of leadership, may take.
const BOUND: Duration = Duration::from_secs(10);
/// A learner that was let in shows among the members within this.
const KNOWN_BOUND: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(10);
/// A manager that acknowledged a heartbeat within this is there.
const ALIVE: Duration = Duration::from_secs(1);

/// Why a change of members was not made.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Another manager leads.
    #[error("this manager does not lead; {}", leader.as_ref().map_or_else(
        || "no leader is known: try again".to_owned(),
        |leader| format!("ask {}", leader.address),
    ))]
    NotLeader {
        /// Who does, if it is known.
        leader: Option<Target>,
    },
    /// It would cost the quorum.
    #[error(
        "only {alive} of the {voters} managers that would remain are reachable, and {} are needed: \
         bring one back or add one first",
        voters / 2 + 1
    )]
    LosesQuorum {
        /// Managers that would vote.
        voters: usize,
        /// Those of them that answer.
        alive: usize,
    },
    /// There is no such manager.
    #[error("manager {0:x} is not a member")]
    Unknown(u64),
    /// It has not caught up.
    #[error(
        "manager {id:x} has not caught up within {bound:?}: see whether it is up and reachable"
    )]
    Lags {
        /// Who.
        id: u64,
        /// How long was waited.
        bound: Duration,
    },
    /// There is a cluster already.
    #[error("this manager is already part of a cluster")]
    Initialized,
    /// It was not made in time.
    #[error("the change was not confirmed within {0:?}; look at the members, and try again")]
    Late(Duration),
    /// Raft refused.
    #[error("cannot change the managers: {0}")]
    Refused(String),
}

/// The voter besides `own` whose log is most like the leader's, of those that answer if any does: one that died while
/// nothing was written has as much as they have.
pub(super) fn most_advanced(own: u64, metrics: &RaftMetrics<Types>) -> Option<u64> {
    let replication = metrics.replication.as_ref()?;
    let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
    replication
        .iter()
        .filter(|(id, _)| **id != own && voters.contains(id))
        .max_by_key(|(id, matched)| (answers(**id, metrics), **matched))
        .map(|(id, _)| *id)
}

/// Whether a manager acknowledged a heartbeat lately, as the leader knows it.
fn answers(id: u64, metrics: &RaftMetrics<Types>) -> bool {
    let heartbeat = metrics.heartbeat.as_ref().and_then(|it| it.get(&id));
    let acknowledged = heartbeat.copied().flatten();
    acknowledged.is_some_and(|at| (*at).elapsed() < ALIVE)
}

/// How many of `voters` answer, the leader `own` counted.
fn alive(own: u64, voters: &BTreeSet<u64>, metrics: &RaftMetrics<Types>) -> usize {
    let there = |id: &&u64| **id == own || answers(**id, metrics);
    voters.iter().filter(there).count()
}

impl<S: Replicated> Consensus<S> {
    /// Begins a cluster with this manager alone, reached at `address`.
    ///
    /// # Errors
    /// When it belongs to one already.
    pub async fn initialize(&self, address: &str) -> Result<(), MembershipError> {
        let own = BTreeMap::from([(
            self.0.id,
            Peer {
                address: address.to_owned(),
            },
        )]);
        self.0
            .raft
            .initialize(own)
            .await
            .map_err(|error| match error {
                RaftError::APIError(InitializeError::NotAllowed(_)) => MembershipError::Initialized,
                other => MembershipError::Refused(other.to_string()),
            })
    }

    /// The managers, with whether each votes.
    pub fn members(&self) -> Vec<(Target, Voting)> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        // In the middle of a change there are two groups of voters: who is in one of them only is on its way.
        let groups = membership.get_joint_config();
        let member = |(id, peer): (&u64, &Peer)| {
            let voting = if groups.iter().all(|voters| voters.contains(id)) {
                Voting::Yes
            } else {
                Voting::No
            };
            (
                Target {
                    id: *id,
                    address: peer.address.clone(),
                },
                voting,
            )
        };
        membership.nodes().map(member).collect()
    }

    /// How many of the voters answer, as the leader knows it; 1 for who does not lead.
    pub fn alive_members(&self) -> usize {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters = metrics.membership_config.voter_ids().collect();
        alive(self.0.id, &voters, &metrics)
    }

    /// Lets a manager follow without a vote. Once more with another address: it moves there.
    ///
    /// # Errors
    /// When this manager does not lead, or the change is not confirmed.
    pub async fn add_learner(&self, target: &Target) -> Result<(), MembershipError> {
        let peer = Peer {
            address: target.address.clone(),
        };
        let nodes = BTreeMap::from([(target.id, peer)]);
        let known = self
            .members()
            .iter()
            .any(|(member, _)| member.id == target.id);
        let change = match known {
            true => ChangeMembers::SetNodes(nodes),
            false => ChangeMembers::AddNodes(nodes),
        };
        self.change(change).await
    }

    /// Gives a learner a vote, once it has caught up.
    ///
    /// # Errors
    /// When it does not catch up, or this manager does not lead.
    pub async fn promote(&self, id: u64) -> Result<(), MembershipError> {
        self.promote_within(id, CATCH_UP_BOUND).await
    }

    /// As [`Consensus::promote`], with a bound for catching up. What was begun after that is seen through.
    ///
    /// # Errors
    /// As there.
    pub async fn promote_within(&self, id: u64, bound: Duration) -> Result<(), MembershipError> {
        // What has just been let in shows a moment later.
        let asked = Instant::now();
        while !self.members().iter().any(|(member, _)| member.id == id) {
            if asked.elapsed() > KNOWN_BOUND {
                return Err(MembershipError::Unknown(id));
            }
            tokio::time::sleep(RETRY).await;
        }
        self.wait_caught_up(id, bound).await?;
        self.check_quorum(|voters| voters.insert(id))?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])))
            .await
    }

    /// Sees a change of voters through that a leader left half done; nothing where there is none.
    ///
    /// # Errors
    /// When this manager does not lead, or the change is not confirmed.
    pub async fn finish(&self) -> Result<(), MembershipError> {
        let half_done = {
            let metrics = self.0.raft.metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            membership.get_joint_config().len() > 1
        };
        if half_done {
            self.change(ChangeMembers::AddVoterIds(BTreeSet::new()))
                .await?;
        }
        Ok(())
    }

    /// Takes a manager out. Its id is never used again. A leader that is to go hands over first, and
    /// says who leads now.
    ///
    /// # Errors
    /// When the rest could not go on without it, or this manager does not lead.
    pub async fn remove(&self, id: u64) -> Result<(), MembershipError> {
        let members = self.members();
        let Some((_, voting)) = members.iter().find(|(member, _)| member.id == id) else {
            return Err(MembershipError::Unknown(id));
        };
        if *voting == Voting::Yes {
            self.check_quorum(|voters| voters.remove(&id))?;
            if id == self.0.id && self.0.leadership.borrow().own {
                let leader = Some(self.transfer_leader(None).await?);
                return Err(MembershipError::NotLeader { leader });
            }
            self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])))
                .await?;
        }
        if self.members().iter().any(|(member, _)| member.id == id) {
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])))
                .await?;
        }
        Ok(())
    }

    /// Gives leadership to `to`, or to whoever is most like the leader; who leads then.
    ///
    /// # Errors
    /// When this manager does not lead, or nobody took over in time.
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<Target, MembershipError> {
        let mut leadership = self.0.leadership.clone();
        let now = leadership.borrow().clone();
        if !now.own {
            return Err(MembershipError::NotLeader { leader: now.leader });
        }
        let best = most_advanced(self.0.id, &self.0.raft.metrics().borrow_watched());
        let to = to.or(best).ok_or(MembershipError::LosesQuorum {
            voters: 0,
            alive: 0,
        })?;
        let asked = self.0.raft.trigger().transfer_leader(to).await;
        asked.map_err(|error| MembershipError::Refused(error.to_string()))?;
        let other = leadership.wait_for(|l| l.leader.as_ref().is_some_and(|l| l.id != self.0.id));
        match tokio::time::timeout(BOUND, other).await {
            Ok(Ok(then)) => then
                .leader
                .clone()
                .ok_or(MembershipError::NotLeader { leader: None }),
            Ok(Err(_)) => Err(MembershipError::Refused("consensus has ended".into())),
            Err(_) => Err(MembershipError::Late(BOUND)),
        }
    }

    /// Whether those of the voters that stay could decide by themselves: more than half of them answer. For the
    /// leader alone.
    ///
    /// # Errors
    /// [`MembershipError::LosesQuorum`] with how many there are.
    pub fn could_decide(&self, stays: impl Fn(u64) -> bool) -> Result<(), MembershipError> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters = metrics.membership_config.voter_ids();
        let voters: BTreeSet<u64> = voters.filter(|id| stays(*id)).collect();
        let alive = alive(self.0.id, &voters, &metrics);
        if alive < voters.len() / 2 + 1 {
            return Err(MembershipError::LosesQuorum {
                voters: voters.len(),
                alive,
            });
        }
        Ok(())
    }

    /// Refuses a change of voters that would leave too few who answer.
    fn check_quorum(
        &self,
        edit: impl FnOnce(&mut BTreeSet<u64>) -> bool,
    ) -> Result<(), MembershipError> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader != Some(self.0.id) {
            // Whoever leads checks it.
            return Ok(());
        }
        let mut voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        edit(&mut voters);
        let alive = alive(self.0.id, &voters, &metrics);
        if alive < voters.len() / 2 + 1 {
            return Err(MembershipError::LosesQuorum {
                voters: voters.len(),
                alive,
            });
        }
        Ok(())
    }

    async fn wait_caught_up(&self, id: u64, bound: Duration) -> Result<(), MembershipError> {
        let asked = Instant::now();
        let mut metrics = self.0.raft.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                let Some(replication) = &now.replication else {
                    drop(now);
                    let leader = self.0.leadership.borrow().leader.clone();
                    return Err(MembershipError::NotLeader { leader });
                };
                let matched = replication.get(&id).copied().flatten().map(|at| at.index);
                let wanted = now.last_log_index.unwrap_or(0).saturating_sub(CATCH_UP_LAG);
                if id == self.0.id || matched.is_some_and(|at| at >= wanted) {
                    return Ok(());
                }
            }
            let left = bound.saturating_sub(asked.elapsed());
            match tokio::time::timeout(left, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(MembershipError::Refused("consensus has ended".into())),
                Err(_) => {
                    return Err(MembershipError::Lags { id, bound });
                }
            }
        }
    }

    async fn change(&self, change: ChangeMembers<u64, Peer>) -> Result<(), MembershipError> {
        let asked = Instant::now();
        while asked.elapsed() < BOUND {
            let left = BOUND.saturating_sub(asked.elapsed());
            // Raft takes two steps, and the second is made by whoever asked: dropped in between, the group would be
            // left with two majorities to find.
            let (raft, step) = (self.0.raft.clone(), change.clone());
            let changed = tokio::spawn(async move { raft.change_membership(step, true).await });
            let Ok(changed) = tokio::time::timeout(left, changed).await else {
                break;
            };
            let changed = changed.map_err(|error| MembershipError::Refused(error.to_string()))?;
            match changed {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                    if let Refusal::Final(leader) = self.forward(to) {
                        return Err(MembershipError::NotLeader { leader });
                    }
                }
                // Another change is under way, or the leader is too fresh for one.
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    openraft::errors::ChangeMembershipError::InProgress(_)
                    | openraft::errors::ChangeMembershipError::UncommittedLeaderLog(_),
                ))) => {}
                Err(error) => return Err(MembershipError::Refused(error.to_string())),
            }
            tokio::time::sleep(RETRY).await;
        }
        Err(MembershipError::Late(BOUND))
    }
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voting {
    /// It counts for majorities.
    Yes,
    /// It only follows.
    No,
}
