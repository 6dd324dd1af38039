//! The agent with containers and a kernel in memory.

use std::path::Path;
use std::sync::{Mutex as StdMutex, atomic::AtomicBool, atomic::Ordering};

use skep_netd::FakeKernel;
use skep_proto::assignment::AssignedTask;
use skep_proto::ids::ServiceId;
use skep_proto::image::Digest;
use skep_proto::spec::{ContainerSpec, TaskSpec};
use skep_proto::task::{Slot, TaskState, TaskStatus};
use skep_proto::time::WallTime;

use super::*;
use crate::exec::runtime::{ExecPlan, RunEnd};

#[path = "agent_files_tests.rs"]
mod files;
use crate::exec::{Exit, GivenFile};

/// A container in memory.
#[derive(Clone, Debug)]
enum Made {
    Created,
    Running,
    Ended(i32),
}

/// Containers in memory; they outlive the agent, as supervisors do.
#[derive(Default)]
pub(crate) struct FakeExec {
    containers: StdMutex<BTreeMap<TaskId, Made>>,
    changed: watch::Sender<()>,
    /// Fetching goes on for ever.
    no_image: AtomicBool,
    /// Acts in their order.
    acts: StdMutex<Vec<String>>,
}

impl FakeExec {
    fn set(&self, task: TaskId, made: Made) {
        self.containers.lock().unwrap().insert(task, made);
        self.changed.send_replace(());
    }

    fn note(&self, act: &str) {
        self.acts.lock().unwrap().push(act.to_owned());
    }

    fn acts(&self) -> Vec<String> {
        self.acts.lock().unwrap().clone()
    }

    /// A program ends by itself.
    pub(crate) fn exit(&self, task: TaskId, code: i32) {
        self.set(task, Made::Ended(code));
    }
}

impl Exec for FakeExec {
    async fn fetch(&self, task: &AssignedTask) -> Result<(), ExecError> {
        self.note("fetch");
        if self.no_image.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match task.spec.container.image.name.as_str() {
            "missing:latest" => Err(ExecError::new("nobody has it")),
            _ => Ok(()),
        }
    }

    async fn create(&self, task: &AssignedTask, _netns: &Path) -> Result<(), ExecError> {
        self.note("create");
        self.set(task.id, Made::Created);
        Ok(())
    }

    async fn give(&self, _task: TaskId, files: Vec<GivenFile>) -> Result<(), ExecError> {
        files::note(self, &files);
        Ok(())
    }

    async fn start(&self, task: TaskId) -> Result<i32, ExecError> {
        self.note("start");
        self.set(task, Made::Running);
        Ok(42)
    }

    async fn signal(&self, task: TaskId, signal: Option<i32>) -> Result<(), ExecError> {
        self.note("signal");
        // One that does not listen is signalled with 1.
        if signal != Some(1) {
            self.set(task, Made::Ended(143));
        }
        Ok(())
    }

    async fn kill(&self, task: TaskId) -> Result<(), ExecError> {
        self.note("kill");
        self.set(task, Made::Ended(137));
        Ok(())
    }

    async fn wait(&self, task: TaskId) -> Exit {
        let mut changed = self.changed.subscribe();
        loop {
            let found = self.containers.lock().unwrap().get(&task).cloned();
            if let Some(Made::Ended(code)) = found {
                return Exit {
                    code: Some(code),
                    at: WallTime::from_unix_millis(5),
                    error: String::new(),
                };
            }
            changed.changed().await.unwrap();
        }
    }

    async fn run(
        &self,
        task: TaskId,
        plan: &ExecPlan,
        _within: Duration,
        _keep: usize,
    ) -> Result<RunEnd, ExecError> {
        self.note("run");
        let found = self.containers.lock().unwrap().get(&task).cloned();
        if !matches!(found, Some(Made::Running)) {
            return Err(ExecError::new("it does not run"));
        }
        Ok(RunEnd {
            code: Some(0),
            output: plan.args.join(" ").into_bytes(),
        })
    }

    async fn remove(&self, task: TaskId) -> Result<(), ExecError> {
        self.note("remove");
        self.containers.lock().unwrap().remove(&task);
        Ok(())
    }

    async fn recover(&self) -> Result<Vec<Found>, ExecError> {
        let containers = self.containers.lock().unwrap();
        Ok(containers
            .iter()
            .map(|(task, made)| Found {
                task: *task,
                since: WallTime::from_unix_millis(1),
                stage: match made {
                    Made::Created => FoundStage::Created,
                    Made::Running => FoundStage::Running { pid: 42 },
                    Made::Ended(code) => FoundStage::Ended(Exit {
                        code: Some(*code),
                        at: WallTime::from_unix_millis(5),
                        error: String::new(),
                    }),
                },
            })
            .collect())
    }

    fn images(&self) -> Vec<Digest> {
        vec![Digest([1; 32])]
    }
}

/// A node whose daemon can die and come back.
pub(crate) struct Node {
    directory: tempfile::TempDir,
    pub(crate) exec: Arc<FakeExec>,
    kernel: Arc<FakeKernel>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) db: Option<Db>,
    pub(crate) agent: Option<Arc<Agent<FakeExec, FakeKernel>>>,
}

pub(crate) const ME: NodeId = NodeId::new(1);

impl Node {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut node = Self {
            directory,
            exec: Arc::default(),
            kernel: Arc::new(FakeKernel::new()),
            outbox: Arc::default(),
            db: None,
            agent: None,
        };
        node.start().await;
        node
    }

    async fn start(&mut self) {
        let records = skep_netd::Config::new(self.directory.path().join("net"));
        let netd = Netd::open(Arc::clone(&self.kernel), records).await.unwrap();
        let db = Db::open(self.directory.path()).unwrap();
        self.outbox = Arc::default();
        self.outbox.begin(Vec::new());
        let (exec, outbox) = (Arc::clone(&self.exec), Arc::clone(&self.outbox));
        self.db = Some(db.clone());
        self.agent = Some(
            Agent::open(ME, exec, Arc::new(netd), db, outbox)
                .await
                .unwrap(),
        );
    }

    /// The daemon dies and another one starts.
    async fn restart(&mut self) {
        self.agent.take().unwrap().stop().await;
        self.db = None;
        self.start().await;
    }

    fn agent(&self) -> &Agent<FakeExec, FakeKernel> {
        self.agent.as_ref().unwrap()
    }

    async fn obey(&self, index: u64, tasks: Vec<AssignedTask>) {
        self.agent()
            .take_whole(assignment(index, tasks))
            .await
            .unwrap();
    }

    /// Waits until a task's report says so.
    pub(crate) async fn reported(&self, task: TaskId, state: TaskState) -> TaskStatus {
        let wait = async {
            loop {
                if let Some(report) = self.outbox.next() {
                    self.outbox.committed();
                    let found = report.tasks.into_iter().find(|(id, _)| *id == task);
                    if let Some((_, status)) = found.filter(|(_, status)| status.state == state) {
                        return status;
                    }
                }
                self.outbox.wait().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
        waited.unwrap_or_else(|_| panic!("{state} was never reported; {:?}", self.exec.acts()))
    }

    /// Waits until nothing of a task is left.
    async fn forgotten(&self, task: TaskId) {
        let wait = async {
            while self.agent().state.lock().await.drivers.contains_key(&task) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .unwrap();
        assert!(self.exec.containers.lock().unwrap().is_empty());
    }
}

pub(crate) fn assignment(index: u64, tasks: Vec<AssignedTask>) -> Assignment {
    Assignment {
        generation: Generation {
            incarnation: 1,
            term: 1,
            index,
        },
        tasks: tasks
            .into_iter()
            .map(|task| (task.id, Arc::new(task)))
            .collect(),
        view: Arc::default(),
    }
}

pub(crate) const TASK: TaskId = TaskId::new(7);

pub(crate) fn task(desired: TaskState) -> AssignedTask {
    let container = ContainerSpec::new("app:latest");
    AssignedTask {
        id: TASK,
        service: ServiceId::new(3),
        service_name: "web".to_owned(),
        slot: Slot::Replica(1),
        spec: Arc::new(TaskSpec::new(container)),
        desired,
        attachments: Vec::new(),
        drained: true,
        auth: None,
        files: Vec::new(),
    }
}

fn changed(edit: impl FnOnce(&mut ContainerSpec)) -> AssignedTask {
    let mut task = task(TaskState::Running);
    edit(&mut Arc::make_mut(&mut task.spec).container);
    task
}

#[tokio::test]
async fn a_task_climbs_to_running_and_goes_when_it_is_removed() {
    let node = Node::new().await;
    node.obey(1, vec![task(TaskState::Running)]).await;
    let status = node.reported(TASK, TaskState::Running).await;
    assert_eq!(status.pid, Some(42));
    node.obey(2, vec![task(TaskState::Shutdown)]).await;
    let status = node.reported(TASK, TaskState::Shutdown).await;
    assert_eq!(status.exit_code, Some(143));
    node.obey(3, vec![task(TaskState::Remove)]).await;
    node.obey(4, vec![]).await;
    node.forgotten(TASK).await;
    assert_eq!(
        node.exec.acts(),
        ["fetch", "create", "start", "signal", "remove"]
    );
    assert!(
        node.db
            .as_ref()
            .unwrap()
            .tasks(Default::default())
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_end_is_reported_with_its_code() {
    for (code, state) in [(0, TaskState::Complete), (3, TaskState::Failed)] {
        let node = Node::new().await;
        node.obey(1, vec![task(TaskState::Running)]).await;
        node.reported(TASK, TaskState::Running).await;
        node.exec.exit(TASK, code);
        let status = node.reported(TASK, state).await;
        assert_eq!(status.exit_code, Some(code));
    }
}

#[tokio::test]
async fn a_missing_image_rejects_with_its_reason() {
    let node = Node::new().await;
    let missing = changed(|container| container.image.name = "missing:latest".to_owned());
    node.obey(1, vec![missing]).await;
    let status = node.reported(TASK, TaskState::Rejected).await;
    assert_eq!(status.error, "nobody has it");
}

#[tokio::test]
async fn a_fetch_is_given_up_when_the_task_is_to_end() {
    let node = Node::new().await;
    node.exec.no_image.store(true, Ordering::SeqCst);
    node.obey(1, vec![task(TaskState::Running)]).await;
    node.reported(TASK, TaskState::Preparing).await;
    node.obey(2, vec![task(TaskState::Shutdown)]).await;
    node.reported(TASK, TaskState::Shutdown).await;
}

#[tokio::test]
async fn one_that_does_not_listen_is_killed_after_its_grace() {
    let node = Node::new().await;
    let deaf = |desired| {
        let mut task = changed(|container| {
            container.stop_signal = Some(1);
            container.stop_grace = Duration::from_millis(20);
        });
        task.desired = desired;
        task
    };
    node.obey(1, vec![deaf(TaskState::Running)]).await;
    node.reported(TASK, TaskState::Running).await;
    node.obey(2, vec![deaf(TaskState::Shutdown)]).await;
    let status = node.reported(TASK, TaskState::Shutdown).await;
    assert_eq!(status.exit_code, Some(137));
    assert_eq!(node.exec.acts()[3..], ["signal", "kill"]);
}

#[tokio::test]
async fn an_older_assignment_is_refused() {
    let node = Node::new().await;
    node.obey(5, vec![task(TaskState::Running)]).await;
    let refused = node.agent().take_whole(assignment(4, vec![])).await;
    assert!(matches!(refused, Err(Refused::Older { .. })), "{refused:?}");
    assert_eq!(node.agent().held().await.unwrap().index, 5);
    node.reported(TASK, TaskState::Running).await;
}

#[tokio::test]
async fn a_difference_leads_from_one_assignment_to_the_next() {
    let node = Node::new().await;
    let generation = |index| assignment(index, vec![]).generation;
    let difference = |base, index| Difference {
        base: generation(base),
        generation: generation(index),
        put_tasks: vec![Arc::new(task(TaskState::Running))],
        ..Difference::default()
    };
    let refused = node.agent().take_difference(difference(1, 2)).await;
    assert!(matches!(refused, Err(Refused::NoBase)), "{refused:?}");
    node.obey(1, vec![]).await;
    let refused = node.agent().take_difference(difference(7, 8)).await;
    assert!(
        matches!(refused, Err(Refused::Difference(_))),
        "{refused:?}"
    );
    node.agent()
        .take_difference(difference(1, 2))
        .await
        .unwrap();
    node.reported(TASK, TaskState::Running).await;
}

#[tokio::test]
async fn a_restart_goes_on_with_what_runs() {
    let mut node = Node::new().await;
    node.obey(1, vec![task(TaskState::Running)]).await;
    node.reported(TASK, TaskState::Running).await;
    node.restart().await;
    node.reported(TASK, TaskState::Running).await;
    assert_eq!(node.exec.acts(), ["fetch", "create", "start"]);
    assert_eq!(node.agent().held().await.unwrap().index, 1);
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_reported_after_the_restart() {
    let mut node = Node::new().await;
    node.obey(1, vec![task(TaskState::Running)]).await;
    node.reported(TASK, TaskState::Running).await;
    node.agent.take().unwrap().stop().await;
    node.exec.exit(TASK, 9);
    node.db = None;
    node.start().await;
    assert_eq!(
        node.reported(TASK, TaskState::Failed).await.exit_code,
        Some(9)
    );
}

#[tokio::test]
async fn a_task_that_was_rejected_is_not_tried_again_after_a_restart() {
    let mut node = Node::new().await;
    let missing = changed(|container| container.image.name = "missing:latest".to_owned());
    node.obey(1, vec![missing]).await;
    node.reported(TASK, TaskState::Rejected).await;
    node.restart().await;
    node.reported(TASK, TaskState::Rejected).await;
    assert_eq!(node.exec.acts(), ["fetch"]);
}

#[tokio::test]
async fn one_that_was_told_to_end_has_shut_down_even_when_the_daemon_died_meanwhile() {
    let mut node = Node::new().await;
    let deaf = |desired| {
        let mut task = changed(|container| container.stop_signal = Some(1));
        task.desired = desired;
        task
    };
    node.obey(1, vec![deaf(TaskState::Running)]).await;
    node.reported(TASK, TaskState::Running).await;
    node.obey(2, vec![deaf(TaskState::Shutdown)]).await;
    let told = async {
        while !node.exec.acts().contains(&"signal".to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told)
        .await
        .unwrap();
    node.agent.take().unwrap().stop().await;
    node.exec.exit(TASK, 1);
    node.db = None;
    node.start().await;
    assert_eq!(
        node.reported(TASK, TaskState::Shutdown).await.exit_code,
        Some(1)
    );
}

#[tokio::test]
async fn without_an_assignment_nothing_is_stopped() {
    let mut node = Node::new().await;
    node.exec.set(TASK, Made::Running);
    node.restart().await;
    assert!(node.agent().state.lock().await.drivers.is_empty());
    assert!(node.exec.acts().is_empty());
    node.obey(1, vec![task(TaskState::Running)]).await;
    node.reported(TASK, TaskState::Running).await;
    assert!(node.exec.acts().is_empty());
}

#[tokio::test]
async fn what_no_assignment_names_is_taken_away() {
    let mut node = Node::new().await;
    node.exec.set(TASK, Made::Running);
    node.restart().await;
    node.obey(1, vec![]).await;
    node.forgotten(TASK).await;
    assert_eq!(node.exec.acts(), ["kill", "remove"]);
}
