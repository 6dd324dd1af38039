//! Keeps this node as its assignment says: a driver for each task, a view for netd.
//!
//! Without an assignment it stops nothing. An assignment is on disk before anything follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_netd::{HostPort, Kernel, NetError, Netd};
use skep_proto::assignment::{AssignedTask, Assignment, Generation};
use skep_proto::difference::{Difference, apply_difference};
use skep_proto::file::{Content, FileId};
use skep_proto::ids::{NodeId, TaskId};
use skep_proto::spec::{Protocol, PublishMode};
use skep_proto::view::View;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::db::{Db, DbError};
use crate::exec::{Exec, ExecError, Found, FoundStage};
use crate::report::{Outbox, with_causes};
use crate::step::{Cause, Ending, Local, Stage};
use crate::task::{Clock, Contents, Driver, Order, Tools, Wanted};

/// The first wait after a view could not be programmed whole; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why an assignment is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is from a leader or a cluster of before.
    #[error("it shows {offered:?}, but this node obeys {held:?} already")]
    Older {
        /// What came.
        offered: Generation,
        /// What is obeyed.
        held: Generation,
    },
    /// A difference came before anything whole.
    #[error("there is nothing it could be a difference to")]
    NoBase,
    /// It does not fit.
    #[error(transparent)]
    Difference(#[from] skep_proto::difference::DifferenceError),
    /// It could not be kept.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why the agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// What was remembered cannot be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Containers cannot be found.
    #[error("cannot find the containers of a former daemon: {0}")]
    Exec(#[from] ExecError),
}

/// From one look for tasks that are still there to the next.
const LOOK: Duration = Duration::from_millis(20);

/// The agent; clones are the same one.
pub(crate) struct Agent<E, K> {
    tools: Arc<Tools<E, K>>,
    state: Arc<Mutex<State>>,
    view: watch::Sender<Option<Arc<View>>>,
}

#[derive(Default)]
struct State {
    assignment: Option<Assignment>,
    /// What is in the secrets and configs of its tasks: in memory only, told anew in each session.
    contents: Contents,
    drivers: BTreeMap<TaskId, watch::Sender<Wanted>>,
    /// Found at the start, and waiting for a first assignment.
    found: BTreeMap<TaskId, Local>,
    running: JoinSet<()>,
}

impl<E: Exec, K: Kernel> Agent<E, K> {
    /// Finds what a former daemon left and goes on by the last assignment. Without one, everything goes on
    /// as it is until there is one.
    pub(crate) async fn open(
        me: NodeId,
        exec: Arc<E>,
        netd: Arc<Netd<K>>,
        db: Db,
        outbox: Arc<Outbox>,
    ) -> Result<Arc<Self>, AgentError> {
        let tools = Arc::new(Tools {
            exec,
            netd,
            db,
            outbox,
            clock: Clock::new(),
        });
        let now = tools.clock.now();
        let mut found: BTreeMap<TaskId, Local> = tools.db.tasks(now)?.into_iter().collect();
        let containers = tools.exec.recover().await?;
        let with_container: BTreeSet<TaskId> = containers.iter().map(|one| one.task).collect();
        for container in containers {
            let known = found.remove(&container.task).unwrap_or_default();
            let note = tools.exec.note(container.task);
            let local = Local {
                note,
                ..merged(known, &container)
            };
            found.insert(container.task, local);
        }
        for task in tools.netd.attached().await {
            if !with_container.contains(&task)
                && let Err(error) = tools.netd.detach(task).await
            {
                tracing::warn!(task.id = %task, error = with_causes(&error), "left attached");
            }
        }
        let assignment = tools.db.assignment()?;
        let agent = Arc::new(Self {
            tools,
            state: Arc::default(),
            view: watch::channel(None).0,
        });
        let mut state = agent.state.lock().await;
        state.found = found;
        state.running.spawn(program_views(
            Arc::clone(&agent.tools),
            me,
            agent.view.subscribe(),
        ));
        if let Some(assignment) = assignment {
            agent.spread(&mut state, assignment);
        }
        drop(state);
        Ok(agent)
    }

    /// What is obeyed now.
    pub(crate) async fn held(&self) -> Option<Generation> {
        let state = self.state.lock().await;
        state
            .assignment
            .as_ref()
            .map(|assignment| assignment.generation)
    }

    /// Obeys a whole assignment from now on; it is durable when this returns.
    pub(crate) async fn take_whole(&self, assignment: Assignment) -> Result<(), Refused> {
        let mut state = self.state.lock().await;
        self.take(&mut state, assignment).await
    }

    /// Holds a content for the assignment that comes next.
    pub(crate) async fn take_content(&self, file: FileId, revision: u64, content: Content) {
        let mut state = self.state.lock().await;
        state.contents.insert((file, revision), content);
    }

    /// Takes the step from the present assignment to the next.
    pub(crate) async fn take_difference(&self, difference: Difference) -> Result<(), Refused> {
        let mut state = self.state.lock().await;
        let mut next = state.assignment.clone().ok_or(Refused::NoBase)?;
        apply_difference(&mut next, difference)?;
        self.take(&mut state, next).await
    }

    async fn take(&self, state: &mut State, next: Assignment) -> Result<(), Refused> {
        let held = state.assignment.as_ref().map(|held| held.generation);
        if let Some(held) = held.filter(|held| next.generation < *held) {
            let offered = next.generation;
            return Err(Refused::Older { offered, held });
        }
        self.tools.db.keep_assignment(&next).await?;
        self.spread(state, next);
        Ok(())
    }

    /// Tells netd and every driver; those that are missing are started.
    fn spread(&self, state: &mut State, assignment: Assignment) {
        while state.running.try_join_next().is_some() {}
        let needed = assignment.contents();
        state.contents.retain(|key, _| needed.contains(key));
        let view = Arc::clone(&assignment.view);
        self.view.send_if_modified(|held| {
            let differs = held.as_ref() != Some(&view);
            *held = Some(Arc::clone(&view));
            differs
        });
        let mut orders: BTreeMap<TaskId, Wanted> = assignment
            .tasks
            .values()
            .map(|task| {
                let ports = host_ports(&view, task.service);
                let task = Arc::clone(task);
                let contents = own_contents(&state.contents, &task);
                let order = Order {
                    task,
                    ports,
                    contents,
                };
                (order.task.id, Some(Arc::new(order)))
            })
            .collect();
        let known = state.drivers.keys().chain(state.found.keys());
        let unwanted: Vec<TaskId> = known
            .filter(|id| !orders.contains_key(id))
            .copied()
            .collect();
        orders.extend(unwanted.into_iter().map(|id| (id, None)));
        for (id, wanted) in orders {
            self.order(state, id, wanted);
        }
        state.assignment = Some(assignment);
    }

    fn order(&self, state: &mut State, id: TaskId, wanted: Wanted) {
        if let Some(driver) = state.drivers.get(&id) {
            driver.send_if_modified(|held| {
                let differs = *held != wanted;
                *held = wanted;
                differs
            });
            return;
        }
        let (sender, receiver) = watch::channel(wanted);
        state.drivers.insert(id, sender);
        let driver = Driver {
            id,
            tools: Arc::clone(&self.tools),
            wanted: receiver,
            local: state.found.remove(&id).unwrap_or_default(),
        };
        let (tools, shared) = (Arc::clone(&self.tools), Arc::clone(&self.state));
        state.running.spawn(async move {
            let mut driver = Some(driver);
            while let Some(present) = driver.take() {
                present.run().await;
                driver = forget(&shared, &tools, id).await;
            }
        });
    }

    /// Gives up every task and every network. `false` if some task is still there after `patience`.
    pub(crate) async fn give_up(&self, patience: Duration) -> Result<bool, Refused> {
        let generation = self.held().await.unwrap_or_default();
        self.take_whole(Assignment {
            generation,
            ..Assignment::default()
        })
        .await?;
        let gone = async {
            while !self.state.lock().await.drivers.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        };
        Ok(tokio::time::timeout(patience, gone).await.is_ok())
    }

    /// This node's containers.
    pub(crate) fn exec(&self) -> &E {
        &self.tools.exec
    }

    /// Tasks of which something may be here.
    pub(crate) async fn known(&self) -> Vec<TaskId> {
        let state = self.state.lock().await;
        let known = state.drivers.keys().chain(state.found.keys());
        known.copied().collect()
    }

    /// Ends all drivers where they stand; containers go on.
    pub(crate) async fn stop(&self) {
        let mut state = self.state.lock().await;
        state.running.shutdown().await;
    }
}

/// A driver has ended: its task is forgotten, unless an assignment has named it again meanwhile.
async fn forget<E, K>(
    state: &Mutex<State>,
    tools: &Arc<Tools<E, K>>,
    id: TaskId,
) -> Option<Driver<E, K>> {
    let mut state = state.lock().await;
    let wanted = state.drivers.get(&id)?.borrow().clone();
    let Some(order) = wanted else {
        state.drivers.remove(&id);
        return None;
    };
    let (sender, receiver) = watch::channel(Some(order));
    state.drivers.insert(id, sender);
    Some(Driver {
        id,
        tools: Arc::clone(tools),
        wanted: receiver,
        local: Local::default(),
    })
}

/// A found container says where its task stands; the database says that it was told to end.
fn merged(known: Local, found: &Found) -> Local {
    let stage = match (&found.stage, known.stage) {
        // It was written after the container had ended: it knows as much and more.
        (FoundStage::Ended(_), stage @ Stage::Ended(_)) => stage,
        (FoundStage::Created, stage @ Stage::Ended(_)) => stage,
        (FoundStage::Created, _) => Stage::Created,
        (FoundStage::Running { pid }, _) => Stage::Running { pid: *pid },
        (FoundStage::Ended(exit), _) => Stage::Ended(Ending {
            cause: exit.code.map_or(Cause::Lost, Cause::Exited),
            error: exit.error.clone(),
        }),
    };
    Local {
        stage,
        since: found.since,
        settled: known.settled,
        stopped: known.stopped,
        killed: known.killed && !matches!(found.stage, FoundStage::Running { .. }),
        lacking: None,
        note: known.note,
        health: known.health,
        unwell: known.unwell,
        files: known.files,
        contents: BTreeSet::new(),
    }
}

/// Those that a task needs.
fn own_contents(held: &Contents, task: &AssignedTask) -> Contents {
    let keys = task.files.iter().map(|it| (it.file, it.revision));
    keys.filter_map(|key| Some((key, held.get(&key)?.clone())))
        .collect()
}

fn host_ports(view: &View, service: skep_proto::ids::ServiceId) -> Vec<HostPort> {
    let own = view
        .ports
        .iter()
        .filter(|port| port.service == service && port.mode == PublishMode::Host);
    own.map(|port| HostPort {
        protocol: port.protocol,
        published: port.published,
        target: port.target,
    })
    .collect()
}

/// The published port that cannot be opened, if that is what failed.
fn taken_port(failure: &NetError) -> Option<(Protocol, u16)> {
    let NetError::PortTaken { port, protocol, .. } = failure else {
        return None;
    };
    let protocol = if *protocol == "udp" {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    Some((protocol, *port))
}

/// Makes the kernel match the last view, and says which revisions stand.
async fn program_views<E: Exec, K: Kernel>(
    tools: Arc<Tools<E, K>>,
    me: NodeId,
    mut views: watch::Receiver<Option<Arc<View>>>,
) {
    let mut pause: Option<Duration> = None;
    loop {
        let retry = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = views.changed() => {
                if changed.is_err() {
                    return;
                }
                pause = None;
            }
            () = retry => {}
        }
        let Some(view) = views.borrow_and_update().clone() else {
            continue;
        };
        let acks = tools.netd.apply(me, view).await;
        for failure in &acks.failures {
            tracing::warn!(
                error = with_causes(failure),
                "a network is not as it should be"
            );
        }
        tools
            .outbox
            .taken_ports(acks.failures.iter().filter_map(taken_port).collect());
        tools.outbox.networks(acks.revisions);
        pause = (!acks.failures.is_empty()).then(|| {
            pause.map_or(FIRST_PAUSE, |pause| {
                pause.saturating_mul(2).min(LONGEST_PAUSE)
            })
        });
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
pub(crate) mod tests;
