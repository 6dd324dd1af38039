//! One worker's session: what it is told, and when it counts as up.
//!
//! The worker is told the whole assignment first, then differences, one unacknowledged at a time; what
//! changes meanwhile goes into the next. It counts as up once it has acknowledged its first.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_proto::assignment::{Assignment, Report};
use skep_proto::difference::{Difference, difference};
use skep_proto::drill::{Fault, Undone};
use skep_proto::file::{Content, FileId};
use skep_proto::ids::{DrillId, NodeId, TaskId};
use skep_proto::node::{Node, NodeDescription, Place};
use skep_proto::task::TaskStatus;
use skep_proto::time::ClusterTime;
use tokio::sync::mpsc;

use super::{Dispatch, assign, drills};
use crate::leader::{RESTART_GRACE, Session};
use crate::state::{Change, Entry, State};

/// Differences follow each other no faster than this, so that a burst of changes goes out as one.
const PACE: Duration = Duration::from_millis(2);
/// Tries to commit what a node says of itself, against others who change it at the same time.
const DESCRIPTIONS: usize = 5;
/// A worker that does not acknowledge for so long is given up; it comes back and begins anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a worker says.
pub enum Said {
    /// It is there.
    Beat,
    /// It has news, with the number of the report.
    Report(u64, Report),
    /// It has stored the message of this number, or refuses it for a reason.
    Acknowledged(u64, Option<String>),
    /// Of a drill: its fuse burns, or it is undone.
    Drill(DrillId, Option<Undone>),
    /// Its daemon stops in order to start again.
    Stopping,
}

/// What a worker is told.
pub enum Told {
    /// All that it is to do.
    Whole(u64, Arc<Assignment>),
    /// What changed in it.
    Difference(u64, Box<Difference>),
    /// What is in a secret or config that a task of what is told next needs.
    Content(FileId, u64, Content),
    /// All reports up to this number are committed.
    Committed(u64),
    /// What the node is to suffer; nothing: no more.
    Drill(Option<Fault>),
    /// Who the managers are, after that has changed.
    Managers(Managers),
    /// What the node is in the cluster.
    Place(Place),
}

/// Who the managers are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Managers {
    /// Their nodes, ascending.
    pub nodes: Vec<NodeId>,
    /// Where they are, in the same order.
    pub addresses: Vec<SocketAddr>,
}

/// What a session has sent.
struct Sent {
    sequence: u64,
    assignment: Arc<Assignment>,
    at: Instant,
    acknowledged: bool,
}

/// Runs a session until it ends. Returns why, for the log.
pub async fn run(
    dispatch: Dispatch,
    session: Session,
    term: u64,
    mut said: mpsc::Receiver<Said>,
    told: mpsc::Sender<Told>,
) -> &'static str {
    let full = full_deadline(&dispatch.ring.stale());
    let mut stopping = false;
    let (report_sender, reports) = mpsc::channel(8);
    let committer = tokio::spawn(commit_reports(
        dispatch.clone(),
        session.clone(),
        reports,
        told.clone(),
    ));
    let mut teller = Teller {
        session: &session,
        term,
        told: &told,
        sent: None,
        contents: BTreeSet::new(),
        managers: managers(&dispatch.ring.stale()),
        place: None,
        drill: None,
    };
    let mut changes = dispatch.ring.watch();
    let reason = loop {
        let state = changes.borrow_and_update().state.clone();
        if let Err(reason) = teller.tell(&state, dispatch.ring.now()).await {
            break reason;
        }
        tokio::select! {
            () = session.ended.cancelled() => break "another session took its place, or the leader changed",
            () = tokio::time::sleep(teller.until_late()) => break "it was silent, or acknowledged nothing, for too long",
            changed = changes.changed() => {
                if changed.is_err() { break "the manager stops" }
                tokio::time::sleep(PACE).await;
            }
            heard = said.recv() => {
                let Some(heard) = heard else { break "the connection closed" };
                dispatch.live.heard(&session, Instant::now(), full);
                match heard {
                    Said::Beat => {}
                    Said::Drill(id, undone) => {
                        if undone.is_none() { teller.drill = Some(id); }
                        tokio::spawn(drills::heard(dispatch.clone(), session.node, id, undone));
                    }
                    Said::Stopping => { stopping = true; break "its daemon stops" }
                    Said::Acknowledged(sequence, refused) => {
                        teller.acknowledged(sequence, refused.is_some());
                        if refused.is_none() { dispatch.live.ready(&session); }
                    }
                    Said::Report(number, report) => {
                        dispatch.live.acknowledged(&session, &report.networks);
                        if let Some(images) = report.images {
                            dispatch.live.images(&session, images.into_iter().collect());
                        }
                        if let Some(ports) = report.taken_ports {
                            dispatch.live.taken_ports(&session, ports);
                        }
                        let durable = Durable { tasks: report.tasks, volumes: report.volumes };
                        if report_sender.send((number, durable)).await.is_err() {
                            break "its reports could not be committed";
                        }
                    }
                }
            }
        }
    };
    committer.abort();
    dispatch
        .live
        .close(&session, Instant::now(), stopping.then_some(RESTART_GRACE));
    reason
}

/// The managers of a state.
pub fn managers(state: &State) -> Managers {
    let managers = state.managers();
    let found = managers.filter_map(|node| Some((node.id, node.manager.as_ref()?.address)));
    let (nodes, addresses) = found.unzip();
    Managers { nodes, addresses }
}

/// Silence for so long means down.
pub fn full_deadline(state: &State) -> Duration {
    state
        .cluster()
        .map_or(Duration::from_secs(3), |cluster| cluster.spec.down_after)
}

/// What of a report is kept in State.
struct Durable {
    tasks: Vec<(TaskId, TaskStatus)>,
    volumes: Option<Vec<String>>,
}

/// Commits reports in their order and tells the worker which are. Ends at the first that is not committed:
/// the session ends with it, and the worker reports again.
async fn commit_reports(
    dispatch: Dispatch,
    session: Session,
    mut reports: mpsc::Receiver<(u64, Durable)>,
    told: mpsc::Sender<Told>,
) {
    while let Some((number, Durable { tasks, volumes })) = reports.recv().await {
        let kept = match &volumes {
            Some(volumes) => keep_volumes(&dispatch, session.node, volumes).await,
            None => true,
        };
        let committed =
            kept && (tasks.is_empty() || dispatch.reports.commit(session.node, tasks).await);
        if !committed || told.send(Told::Committed(number)).await.is_err() {
            return;
        }
    }
}

/// Commits what a node says of itself, where it is not known yet. `false` if it could not be. What volumes it has it
/// says later, in a report.
pub async fn describe(dispatch: &Dispatch, node: NodeId, description: NodeDescription) -> bool {
    let said = |known: &NodeDescription| NodeDescription {
        volumes: known.volumes.clone(),
        ..description.clone()
    };
    redescribe(dispatch, node, said).await
}

/// Commits which volumes a node has.
async fn keep_volumes(dispatch: &Dispatch, node: NodeId, volumes: &[String]) -> bool {
    let said = |known: &NodeDescription| NodeDescription {
        volumes: volumes.to_vec(),
        ..known.clone()
    };
    redescribe(dispatch, node, said).await
}

async fn redescribe(
    dispatch: &Dispatch,
    node: NodeId,
    said: impl Fn(&NodeDescription) -> NodeDescription,
) -> bool {
    for _ in 0..DESCRIPTIONS {
        let Some(known) = dispatch.ring.stale().node(node).cloned() else {
            return false;
        };
        let description = said(&known.description);
        if known.description == description {
            return true;
        }
        let new = Node {
            description,
            ..Node::clone(&known)
        };
        let entry = Entry {
            changes: vec![Change::PutNode(Arc::new(new))],
            ..Entry::default()
        };
        match dispatch.ring.propose(entry).await {
            Ok(outcome) if outcome.fits() => return true,
            // Somebody changed the node meanwhile: once more, with what it is now.
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

struct Teller<'a> {
    session: &'a Session,
    term: u64,
    told: &'a mpsc::Sender<Told>,
    sent: Option<Sent>,
    /// Contents that the worker holds.
    contents: BTreeSet<(FileId, u64)>,
    /// As the worker knows them.
    managers: Managers,
    /// As the worker was told.
    place: Option<Place>,
    /// The drill that it knows of.
    drill: Option<DrillId>,
}

impl Teller<'_> {
    /// Sends what is new in the node's assignment, unless something is unacknowledged.
    async fn tell(&mut self, state: &State, now: ClusterTime) -> Result<(), &'static str> {
        let node = state.node(self.session.node);
        let place = node.ok_or("the node was removed")?.place();
        if self.place != Some(place) {
            self.place = Some(place);
            let told = self.told.send(Told::Place(place)).await;
            told.map_err(|_| "the connection closed")?;
        }
        let managers = managers(state);
        if managers != self.managers && !managers.nodes.is_empty() {
            self.managers.clone_from(&managers);
            let told = self.told.send(Told::Managers(managers)).await;
            told.map_err(|_| "the connection closed")?;
        }
        self.tell_drill(state, now).await?;
        if self.sent.as_ref().is_some_and(|sent| !sent.acknowledged) {
            return Ok(());
        }
        let assignment = Arc::new(assign(state, self.session.node, self.term));
        let sequence = self.sent.as_ref().map_or(1, |sent| sent.sequence + 1);
        let message = match &self.sent {
            None => Told::Whole(sequence, assignment.clone()),
            Some(sent) if same(&sent.assignment, &assignment) => return Ok(()),
            Some(sent) => Told::Difference(
                sequence,
                Box::new(difference(&sent.assignment, &assignment)),
            ),
        };
        self.tell_contents(state, &assignment).await?;
        self.sent = Some(Sent {
            sequence,
            assignment,
            at: Instant::now(),
            acknowledged: false,
        });
        self.told
            .send(message)
            .await
            .map_err(|_| "the connection closed")
    }

    /// Says what the node is to suffer, where it knows of something else.
    async fn tell_drill(&mut self, state: &State, now: ClusterTime) -> Result<(), &'static str> {
        let fault = drills::fault(state, self.session.node, now);
        let id = fault.as_ref().map(|fault| fault.id);
        if self.drill == id {
            return Ok(());
        }
        self.drill = id;
        let told = self.told.send(Told::Drill(fault)).await;
        told.map_err(|_| "the connection closed")
    }

    /// Sends what is in the secrets and configs that `assignment` needs and the one before did not: the worker lets
    /// go of what none of its tasks needs.
    async fn tell_contents(
        &mut self,
        state: &State,
        assignment: &Assignment,
    ) -> Result<(), &'static str> {
        let needed = assignment.contents();
        for (id, revision) in needed.difference(&self.contents) {
            let Some(content) = state.content(*id, *revision) else {
                continue;
            };
            let told = Told::Content(*id, *revision, content.clone());
            let told = self.told.send(told).await;
            told.map_err(|_| "the connection closed")?;
        }
        self.contents = needed;
        Ok(())
    }

    /// Takes an acknowledgement; after a refusal the next message is whole again.
    fn acknowledged(&mut self, sequence: u64, refused: bool) {
        match &mut self.sent {
            Some(sent) if sent.sequence == sequence && !refused => sent.acknowledged = true,
            Some(sent) if sent.sequence == sequence => {
                self.sent = None;
                self.contents.clear();
            }
            _ => {}
        }
    }

    fn until_late(&self) -> Duration {
        match &self.sent {
            Some(sent) if !sent.acknowledged => PATIENCE.saturating_sub(sent.at.elapsed()),
            _ => PATIENCE,
        }
    }
}

/// Whether two assignments say the same, whatever state they were made from.
fn same(a: &Assignment, b: &Assignment) -> bool {
    a.tasks == b.tasks && a.view == b.view
}
