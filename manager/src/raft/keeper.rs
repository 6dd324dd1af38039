//! What must be watched as long as a manager takes part: who leads, whether anything broke for good, whether the
//! log grows too long in bytes, and whether a leader whose disk is full should hand over.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Raft, ServerState};
use tokio::sync::watch;

use super::Leadership;
use super::log::{LogStore, NoRoom};
use super::machine::{Machine, Replicated};
use super::members::most_advanced;
use super::transport::Target;
use super::types::Types;

/// A snapshot is taken when the log in memory has grown by this much, however few its entries.
const LOG_BYTES: usize = 32 << 20;
const LOOK_EACH: Duration = Duration::from_millis(250);
/// A leader with a full disk hands over at most this often, for the next one's may be full too.
const HAND_OVER_EACH: u32 = 20;

/// Tells who leads.
pub(crate) async fn watch_leader<S: Replicated>(
    id: u64,
    raft: Raft<Types, Machine<S>>,
    told: watch::Sender<Leadership>,
) {
    let mut metrics = raft.server_metrics();
    loop {
        let now = {
            let metrics = metrics.borrow_watched();
            let target = |leader: u64| {
                let node = metrics.membership_config.membership().get_node(&leader);
                let address = node.map_or_else(String::new, |node| node.address.clone());
                Target {
                    id: leader,
                    address,
                }
            };
            Leadership {
                term: metrics.vote.leader_id().term,
                leader: metrics.current_leader.map(target),
                own: metrics.current_leader == Some(id) && metrics.state == ServerState::Leader,
            }
        };
        told.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
        if metrics.changed().await.is_err() {
            told.send_modify(|known| (known.leader, known.own) = (None, false));
            return;
        }
    }
}

/// Watches the rest, until raft ends.
pub(crate) async fn keep<S: Replicated>(
    id: u64,
    raft: Raft<Types, Machine<S>>,
    log: LogStore,
    fatal: watch::Sender<Option<Arc<str>>>,
) {
    let mut failed = log.failed();
    let mut metrics = raft.metrics();
    let mut look = tokio::time::interval(LOOK_EACH);
    let (mut rounds, mut kept) = (0_u32, 0);
    loop {
        tokio::select! {
            why = broken(&mut failed) => {
                fatal.send_replace(why);
                return;
            }
            changed = metrics.changed() => {
                let stopped = metrics.borrow_watched().running_state.clone().err();
                if let Some(why) = stopped {
                    if !matches!(why, openraft::errors::Fatal::Stopped) {
                        tracing::error!(error = %why, "raft ended");
                        fatal.send_replace(Some(why.to_string().into()));
                    }
                    return;
                }
                if changed.is_err() {
                    return;
                }
            }
            _ = look.tick() => {
                rounds = rounds.wrapping_add(1);
                let bytes = log.bytes();
                kept = bytes.min(kept);
                if bytes > kept + LOG_BYTES && raft.trigger().snapshot().await.is_ok() {
                    kept = bytes;
                }
                if rounds.is_multiple_of(HAND_OVER_EACH) && matches!(log.has_room(0), Err(NoRoom::DiskFull(_))) {
                    hand_over(id, &raft).await;
                }
            }
        }
    }
}

/// Comes when the log can no longer be written.
async fn broken(failed: &mut watch::Receiver<Option<Arc<str>>>) -> Option<Arc<str>> {
    failed.wait_for(Option::is_some).await.ok()?.clone()
}

async fn hand_over<S: Replicated>(id: u64, raft: &Raft<Types, Machine<S>>) {
    let to = most_advanced(id, &raft.metrics().borrow_watched());
    if let Some(to) = to {
        tracing::warn!(to, "the disk is full: handing leadership over");
        if let Err(error) = raft.trigger().transfer_leader(to).await {
            tracing::warn!(%error, "cannot hand leadership over");
        }
    }
}
