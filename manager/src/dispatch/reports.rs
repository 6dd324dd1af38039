//! Gathers what all workers report into one entry at a time: only the last state of each task.

use std::collections::BTreeMap;

use skep_proto::ids::{NodeId, TaskId};
use skep_proto::task::TaskStatus;
use tokio::sync::{mpsc, oneshot};

use crate::ring::Ring;
use crate::state::{Change, Entry, State};

/// Reports that may wait; a session that has more to say waits itself.
const WAITING: usize = 1024;
/// Facts of one entry: a status is about 200 bytes, an entry at most 1 MiB.
const MOST_FACTS: usize = 4096;

/// A report on its way into the log.
struct Waiting {
    node: NodeId,
    tasks: Vec<(TaskId, TaskStatus)>,
    committed: oneshot::Sender<()>,
}

/// Hands reports in. Cheap to clone.
#[derive(Clone)]
pub struct Reports {
    sender: mpsc::Sender<Waiting>,
}

/// Gathers what is handed in.
pub struct Gatherer {
    receiver: mpsc::Receiver<Waiting>,
}

/// Both ends.
pub fn channel() -> (Reports, Gatherer) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Reports { sender }, Gatherer { receiver })
}

impl Reports {
    /// Hands in what `node` reports and waits until it is committed. `false` if it is not known to be: the
    /// worker reports again.
    pub async fn commit(&self, node: NodeId, tasks: Vec<(TaskId, TaskStatus)>) -> bool {
        let (committed, done) = oneshot::channel();
        let waiting = Waiting {
            node,
            tasks,
            committed,
        };
        self.sender.send(waiting).await.is_ok() && done.await.is_ok()
    }
}

impl Gatherer {
    /// Proposes entry after entry until the last sender is gone. One entry is in flight at a time; what
    /// comes meanwhile goes into the next.
    pub async fn run(mut self, ring: Ring) {
        let mut batch = Vec::new();
        while self.receiver.recv_many(&mut batch, WAITING).await > 0 {
            let mut left = std::mem::take(&mut batch);
            while !left.is_empty() {
                let (entry, told) = gather(&ring.stale(), &mut left);
                let committed = entry.changes.is_empty() || ring.propose(entry).await.is_ok();
                if !committed {
                    // Dropping the senders tells the sessions.
                    break;
                }
                for teller in told {
                    if teller.send(()).is_err() {
                        tracing::debug!(
                            "a session ended before it heard that its report is committed"
                        );
                    }
                }
            }
        }
    }
}

/// Takes reports from `left` until the entry is full. A status of a task that is not its node's, or that
/// would say nothing new, is left out.
fn gather(state: &State, left: &mut Vec<Waiting>) -> (Entry, Vec<oneshot::Sender<()>>) {
    let mut last: BTreeMap<TaskId, TaskStatus> = BTreeMap::new();
    let mut told = Vec::new();
    let mut taken = 0;
    for report in left.iter() {
        if taken > 0 && last.len() + report.tasks.len() > MOST_FACTS {
            break;
        }
        taken += 1;
        for (task, status) in &report.tasks {
            let known = state
                .task(*task)
                .filter(|known| known.node == Some(report.node));
            let news = known
                .is_some_and(|known| known.status != *status && known.status.state <= status.state);
            let newer = last
                .get(task)
                .is_none_or(|other| other.state <= status.state);
            if news && newer {
                last.insert(*task, status.clone());
            }
        }
    }
    told.extend(left.drain(..taken).map(|report| report.committed));
    let changes = last
        .into_iter()
        .map(|(task, status)| Change::Observed { task, status })
        .collect();
    (
        Entry {
            changes,
            ..Entry::default()
        },
        told,
    )
}
