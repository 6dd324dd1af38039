//! What a plan costs in memory, on one core: no Raft, no disk, no wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use skep_harness::builders;
use skep_manager::plan::{Ids, Seen, Session, plan};
use skep_manager::state::{Change, Entry, State};
use skep_proto::constraint::{Constraint, Key};
use skep_proto::ids::NodeId;
use skep_proto::node::Node;
use skep_proto::spec::{ServiceSpec, TaskSpec};
use skep_proto::task::{TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};

use crate::report::{Line, Times};

/// Placements a second that SwarmKit's own benchmark makes, taken elsewhere: 10,000 tasks on 1,000 nodes, and
/// 100,000 on 5,000 with constraints.
const PEER: (f64, f64) = (8_600.0, 1_000.0);
/// What a plan of one change has to keep within.
const ONE: Duration = Duration::from_millis(5);
/// A pass cuts at some thousand tasks: so many are enough for all.
const PASSES: u32 = 1000;
/// One change is planned so often.
const REPEATS: u32 = 15;

/// A state with its leader's memory, and what planning took.
struct Cluster {
    state: State,
    seen: Seen,
    ids: Ids,
    planned: Duration,
}

/// The figures of plans.
pub fn measure() -> anyhow::Result<Vec<Line>> {
    let mut small = Cluster::new(1_000);
    small.create("web", 10_000, builders::task_spec())?;
    let mut large = Cluster::new(5_000);
    let mut task = builders::task_spec();
    task.constraints = vec![Constraint::equal(Key::Label("disk".into()), "ssd")];
    task.spread = vec![Key::Label("zone".into())];
    large.create("web", 100_000, task)?;
    let mut lines = vec![
        rate(
            "10,000 tasks on 1,000 nodes, made and placed",
            10_000,
            small.planned,
            PEER.0,
            "≥ 100,000/s",
        ),
        rate(
            "100,000 tasks on 5,000 nodes, constraint and spread, made and placed",
            100_000,
            large.planned,
            PEER.1,
            "≥ 30,000/s",
        ),
    ];
    lines.push(large.one_change()?);
    Ok(lines)
}

fn rate(what: &str, tasks: u32, took: Duration, peer: f64, goal: &'static str) -> Line {
    let rate = f64::from(tasks) / took.as_secs_f64();
    Line {
        what: format!("plan: {what}"),
        measured: format!("{rate:.0}/s"),
        floor: format!("SwarmKit, elsewhere: {peer:.0}/s"),
        ratio: peer / rate,
        goal,
    }
}

impl Cluster {
    /// Nodes in ten zones, all of them up and fit.
    fn new(nodes: u32) -> Self {
        let mut cluster = Self {
            state: State::default(),
            seen: Seen::default(),
            ids: Ids::new(1),
            planned: Duration::ZERO,
        };
        let mut changes = vec![Change::PutCluster(Arc::new(builders::cluster()))];
        for number in 1..=nodes {
            let mut node = Node {
                id: NodeId::new(u128::from(number)),
                ..builders::up_node(1)
            };
            let zone = format!("z{}", number % 10);
            node.spec.labels = [("disk".into(), "ssd".into()), ("zone".into(), zone)].into();
            cluster.seen.nodes.entry(node.id).or_default().session = Session::Open;
            changes.push(Change::PutNode(Arc::new(node)));
        }
        cluster.apply(changes);
        cluster
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let entry = Entry {
            changes,
            ..Entry::default()
        };
        self.state.apply(self.state.applied() + 1, &entry);
    }

    /// Plans until there is nothing to do.
    fn settle(&mut self) -> anyhow::Result<()> {
        for _ in 0..PASSES {
            let begin = Instant::now();
            let (now, wall) = (ClusterTime::ZERO, WallTime::default());
            let made = plan(&self.state, &self.seen, now, wall, &mut self.ids);
            self.planned += begin.elapsed();
            if made.changes.is_empty() {
                return Ok(());
            }
            let entry = made.into_entry(now, wall);
            self.state.apply(self.state.applied() + 1, &entry);
        }
        anyhow::bail!("it does not settle")
    }

    fn create(&mut self, name: &str, replicas: u32, task: TaskSpec) -> anyhow::Result<()> {
        self.settle()?;
        self.planned = Duration::ZERO;
        let spec = builders::service_spec(name, replicas, task);
        self.put(spec);
        self.settle()?;
        let placed = self.state.tasks().filter(|task| task.node.is_some());
        let placed = placed.count();
        ensure!(
            placed >= replicas as usize,
            "{placed} of {replicas} are placed"
        );
        Ok(())
    }

    fn put(&mut self, spec: ServiceSpec) {
        let id = 1000 + self.state.services().count() as u128;
        let service = builders::service(id, spec);
        self.apply(vec![Change::PutService(Arc::new(service))]);
    }

    /// One service of one task more, among those that run.
    fn one_change(&mut self) -> anyhow::Result<Line> {
        let status = TaskStatus::of(TaskState::Running, WallTime::default());
        let run = self.state.tasks().map(|task| Change::Observed {
            task: task.id,
            status: status.clone(),
        });
        let run: Vec<Change> = run.collect();
        self.apply(run);
        self.settle()?;
        let mut times = Vec::new();
        for number in 0..REPEATS {
            let name = format!("one-{number}");
            self.create(&name, 1, builders::task_spec())?;
            times.push(self.planned);
        }
        let times = Times::new(times);
        Ok(Line {
            what: "plan: one new service among 100,000 running tasks".to_owned(),
            measured: times.shown(),
            floor: "5.0 ms, what is to be reached".to_owned(),
            ratio: times.median().as_secs_f64() / ONE.as_secs_f64(),
            goal: "≤ 5 ms",
        })
    }
}
