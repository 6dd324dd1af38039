//! Drills on a node in memory: obeyed once, undone by themselves, and taken along by a daemon that dies.

use std::sync::atomic::{AtomicUsize, Ordering};

use skep_netd::FakeKernel;
use skep_proto::drill::Fill;
use skep_proto::task::TaskState;

use super::*;
use crate::agent::tests::{FakeExec, Node, TASK, assignment, task};

const SOON: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(300);

type Suffering = Arc<Drills<FakeExec, FakeKernel>>;

/// Counts what a drill does to the machine.
#[derive(Clone, Default)]
struct Machine {
    cuts: Arc<AtomicUsize>,
    restarts: Arc<AtomicUsize>,
    data_root: PathBuf,
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Machine {
    fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }

    async fn drills(&self, node: &Node) -> Suffering {
        let (agent, db) = (node.agent.clone().unwrap(), node.db.clone().unwrap());
        let (cuts, restarts) = (Arc::clone(&self.cuts), Arc::clone(&self.restarts));
        let again = move || {
            restarts.fetch_add(1, Ordering::SeqCst);
            io::Error::other("it is a test")
        };
        let cutter = move |_: &CutPorts| {
            cuts.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Held(Arc::clone(&cuts))) as Box<dyn Send>)
        };
        let means = Means {
            again: Arc::new(again),
            cutter: Arc::new(cutter),
            data_root: self.data_root.clone(),
        };
        Drills::open(&agent, &db, means).await.unwrap()
    }
}

/// One that was never told anything.
pub(crate) fn idle(node: &Node) -> Suffering {
    let (agent, db) = (node.agent.clone().unwrap(), node.db.clone().unwrap());
    let again = || io::Error::other("it is a test");
    let cutter = |_: &CutPorts| Err("it is a test".to_owned());
    let means = Means {
        again: Arc::new(again),
        cutter: Arc::new(cutter),
        data_root: PathBuf::new(),
    };
    Arc::new(Drills::new(agent, db, means, None))
}

fn fault(id: u128, what: Failing, lasts: Duration) -> Fault {
    Fault {
        id: DrillId::new(id),
        fuse: SHORT,
        lasts,
        what,
    }
}

async fn said(drills: &Suffering, is: impl Fn(&DrillNews) -> bool) -> DrillNews {
    let mut news = drills.news();
    let found = news.wait_for(|news| news.as_ref().is_some_and(&is));
    let found = tokio::time::timeout(SOON, found).await.unwrap().unwrap();
    found.clone().unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(SOON, wait).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn with_a_task() -> Node {
    let node = Node::new().await;
    let agent = node.agent.as_ref().unwrap();
    let one = assignment(1, vec![task(TaskState::Running)]);
    agent.take_whole(one).await.unwrap();
    node.reported(TASK, TaskState::Running).await;
    node
}

/// The daemon dies: nothing of it goes on, and nothing more is written down.
async fn dies(drills: Suffering) {
    let present = drills.running.lock().await.present.take();
    let (_, obeying) = present.unwrap();
    obeying.abort();
    let _ = obeying.await;
}

#[tokio::test]
async fn a_task_is_killed_once_however_often_it_is_said() {
    let (node, machine) = (with_a_task().await, Machine::default());
    let drills = machine.drills(&node).await;
    let order = fault(1, Failing::Task(TASK), Duration::ZERO);
    drills.take(Some(order.clone())).await;
    assert_eq!(said(&drills, |_| true).await.id, DrillId::new(1));
    let over = said(&drills, |news| news.undone.is_some()).await;
    let undone = over.undone.unwrap();
    assert!(
        undone.error.is_empty() && undone.failed_after >= SHORT,
        "{undone:?}"
    );
    node.reported(TASK, TaskState::Failed).await;
    node.exec.exit(TASK, 0);
    drills.take(Some(order)).await;
    assert!(
        drills
            .running
            .lock()
            .await
            .present
            .as_ref()
            .unwrap()
            .1
            .is_finished()
    );
}

#[tokio::test]
async fn a_cut_ends_by_itself_and_when_it_is_called_off() {
    let (node, machine) = (with_a_task().await, Machine::default());
    let drills = machine.drills(&node).await;
    let link = || Failing::Link(CutPorts::default());
    drills.take(Some(fault(1, link(), SHORT))).await;
    let over = said(&drills, |news| news.undone.is_some()).await;
    let undone = over.undone.unwrap();
    assert!(
        undone.undone_after >= undone.failed_after + SHORT,
        "{undone:?}"
    );
    assert!(over.was_cut && machine.cuts() == 0);
    drills.take(Some(fault(2, link(), LONG))).await;
    until("it is cut off", || machine.cuts() == 1).await;
    drills.take(None).await;
    let over = said(&drills, |news| {
        news.id == DrillId::new(2) && news.undone.is_some()
    });
    assert!(over.await.undone.unwrap().error.is_empty());
    assert_eq!(machine.cuts(), 0);
    // Nothing was killed.
    let local = node.agent.as_ref().unwrap().exec().recover().await.unwrap();
    assert!(matches!(
        local[0].stage,
        crate::exec::FoundStage::Running { .. }
    ));
}

#[tokio::test]
async fn a_node_that_is_down_is_cut_off_and_its_containers_are_killed() {
    let (node, machine) = (with_a_task().await, Machine::default());
    let drills = machine.drills(&node).await;
    let down = Failing::Node(CutPorts::default());
    drills.take(Some(fault(1, down, LONG))).await;
    node.reported(TASK, TaskState::Failed).await;
    assert_eq!(machine.cuts(), 1);
    // The daemon stops as it does when it is told to: the drill ends before it.
    drills.stop().await;
    assert_eq!(machine.cuts(), 0);
    assert!(
        node.db
            .as_ref()
            .unwrap()
            .drill()
            .unwrap()
            .unwrap()
            .undone
            .is_some()
    );
}

#[tokio::test]
async fn what_cannot_be_cut_is_said_and_kills_nothing() {
    let node = with_a_task().await;
    let drills = idle(&node);
    let down = Failing::Node(CutPorts::default());
    drills.take(Some(fault(1, down, LONG))).await;
    let over = said(&drills, |news| news.undone.is_some()).await;
    assert_eq!(over.undone.unwrap().error, "it is a test");
    let found = node.agent.as_ref().unwrap().exec().recover().await.unwrap();
    assert!(matches!(
        found[0].stage,
        crate::exec::FoundStage::Running { .. }
    ));
}

#[tokio::test]
async fn a_daemon_starts_again_once() {
    let (node, machine) = (with_a_task().await, Machine::default());
    let drills = machine.drills(&node).await;
    let order = Fault {
        fuse: LONG,
        ..fault(1, Failing::Daemon, Duration::ZERO)
    };
    // It is written down before it happens.
    let before = node.db.as_ref().unwrap().drill().unwrap();
    assert_eq!(before, None);
    drills.take(Some(order.clone())).await;
    let kept = node.db.as_ref().unwrap().drill().unwrap().unwrap();
    assert!(kept.restarts && kept.undone.is_none());
    dies(drills).await;
    let drills = machine.drills(&node).await;
    let over = said(&drills, |news| news.undone.is_some()).await;
    assert_eq!(over.undone.unwrap().error, "");
    drills.take(Some(order)).await;
    assert!(drills.running.lock().await.present.is_none());
    assert_eq!(machine.restarts.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_cut_goes_with_the_daemon_and_does_not_come_back() {
    let (node, machine) = (with_a_task().await, Machine::default());
    let drills = machine.drills(&node).await;
    let order = fault(1, Failing::Link(CutPorts::default()), LONG);
    drills.take(Some(order.clone())).await;
    until("it is cut off", || machine.cuts() == 1).await;
    dies(drills).await;
    assert_eq!(machine.cuts(), 0);
    let drills = machine.drills(&node).await;
    let over = said(&drills, |news| news.undone.is_some()).await;
    assert!(over.undone.unwrap().error.contains("ended in the middle"));
    drills.take(Some(order)).await;
    assert!(drills.running.lock().await.present.is_none());
}

#[tokio::test]
async fn one_that_is_not_understood_is_refused_and_ends_the_one_before() {
    let (node, machine) = (with_a_task().await, Machine::default());
    let drills = machine.drills(&node).await;
    let link = Failing::Link(CutPorts::default());
    drills.take(Some(fault(1, link.clone(), LONG))).await;
    until("it is cut off", || machine.cuts() == 1).await;
    let refuse = || drills.refuse(DrillId::new(2), "of another kind".into());
    refuse().await;
    assert_eq!(machine.cuts(), 0);
    let over = said(&drills, |news| news.id == DrillId::new(2)).await;
    let undone = over.undone.unwrap();
    assert_eq!(undone.error, "of another kind");
    assert_eq!(undone.failed_after, undone.undone_after);
    // It is said once, and obeyed in no other form.
    let before = drills.news();
    refuse().await;
    drills.take(Some(fault(2, link, LONG))).await;
    assert!(!before.has_changed().unwrap() && machine.cuts() == 0);
}

#[tokio::test]
async fn a_disk_is_full_until_it_is_over_and_a_daemon_that_dies_takes_that_along() {
    let home = tempfile::tempdir().unwrap();
    let machine = Machine {
        data_root: home.path().to_owned(),
        ..Machine::default()
    };
    let node = with_a_task().await;
    let drills = machine.drills(&node).await;
    // Nothing is to become less here: all stays free.
    let fill = Fill {
        reserve: u64::MAX,
        shared: true,
    };
    drills
        .take(Some(fault(1, Failing::Disk(fill), SHORT)))
        .await;
    let over = said(&drills, |news| news.undone.is_some()).await;
    let undone = over.undone.unwrap();
    assert_eq!(undone.error, "");
    assert!(!over.was_cut && undone.undone_after >= undone.failed_after + SHORT);
    // One that its machine cannot make, and that nobody allowed.
    let system = Machine {
        data_root: "/".into(),
        ..Machine::default()
    };
    let drills = system.drills(&node).await;
    let own = Failing::Disk(Fill::default());
    drills.take(Some(fault(2, own, LONG))).await;
    let over = said(&drills, |news| {
        news.id == DrillId::new(2) && news.undone.is_some()
    });
    let undone = over.await.undone.unwrap();
    assert!(undone.error.contains("--allow-shared"), "{undone:?}");
    assert_eq!(undone.failed_after, undone.undone_after);
}
