//! A small state with its leader's memory and clock, for tests of one behaviour of a plan.

use std::sync::Arc;

use skep_harness::builders;
use skep_harness::check::same_input_gives_the_same_plan;
use skep_manager::plan::{Ids, Plan, Seen, Session, new_network, plan};
use skep_manager::state::{Change, Entry, State};
use skep_proto::ids::{NetworkId, NodeId, ServiceId};
use skep_proto::node::{Availability, Node};
use skep_proto::service::Service;
use skep_proto::spec::{Mode, ServiceSpec, TaskSpec};
use skep_proto::task::{Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};

pub(crate) const WEB: ServiceId = ServiceId::new(100);
pub(crate) const NET: NetworkId = NetworkId::new(200);

/// A state with its leader's memory and clock.
pub(crate) struct Bench {
    pub(crate) state: State,
    pub(crate) seen: Seen,
    pub(crate) ids: Ids,
    pub(crate) now: u64,
}

impl Bench {
    /// A cluster with these nodes up.
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        let mut bench = Self {
            state: State::default(),
            seen: Seen::default(),
            ids: Ids::new(1),
            now: 0,
        };
        bench.put(Change::PutCluster(Arc::new(builders::cluster())));
        for node in nodes {
            bench.seen.nodes.entry(node.id).or_default().session = Session::Open;
            bench.put(Change::PutNode(Arc::new(node)));
        }
        bench
    }

    pub(crate) fn put(&mut self, change: Change) {
        let time = ClusterTime::from_millis(self.now);
        let entry = Entry {
            time,
            changes: vec![change],
            ..Entry::default()
        };
        let outcome = self.state.apply(self.state.applied() + 1, &entry);
        assert!(outcome.fits(), "{outcome:?}");
    }

    /// Plans until there is nothing to do, and remembers having looked, as a leader does; gives the last plan.
    pub(crate) fn settle(&mut self) -> Plan {
        let time = ClusterTime::from_millis(self.now);
        for _ in 0..10 {
            let ids = self.ids.clone();
            let wall = WallTime::default();
            let made = plan(&self.state, &self.seen, time, wall, &mut self.ids);
            let (state, seen) = (&self.state, &self.seen);
            same_input_gives_the_same_plan(&made, state, seen, (time, wall), &ids).unwrap();
            if made.changes.is_empty() {
                self.seen.looked = made.looked.unwrap_or(self.seen.looked);
                return made;
            }
            let entry = made.into_entry(time, WallTime::default());
            assert!(self.state.apply(self.state.applied() + 1, &entry).fits());
        }
        panic!("it does not settle");
    }

    pub(crate) fn create(&mut self, replicas: u32, task: TaskSpec) {
        let spec = builders::service_spec("web", replicas, task);
        self.put(Change::PutService(Arc::new(builders::service(
            WEB.bits(),
            spec,
        ))));
    }

    /// A service of this mode.
    pub(crate) fn create_as(&mut self, mode: Mode, task: TaskSpec) {
        let spec = ServiceSpec {
            mode,
            ..builders::service_spec("web", 0, task)
        };
        self.put(Change::PutService(Arc::new(builders::service(
            WEB.bits(),
            spec,
        ))));
    }

    /// Changes the service.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Service)) {
        let mut service = self.state.service(WEB).unwrap().as_ref().clone();
        change(&mut service);
        self.put(Change::PutService(Arc::new(service)));
    }

    /// Changes a node.
    pub(crate) fn edit_node(&mut self, number: u128, change: impl FnOnce(&mut Node)) {
        let node = self.state.node(NodeId::new(number));
        let mut node = node.unwrap().as_ref().clone();
        change(&mut node);
        self.put(Change::PutNode(Arc::new(node)));
    }

    /// Sets a node's availability.
    pub(crate) fn set(&mut self, number: u128, availability: Availability) {
        self.edit_node(number, |node| node.spec.availability = availability);
    }

    /// Sets a node's label.
    pub(crate) fn label(&mut self, number: u128, name: &str, value: &str) {
        self.edit_node(number, |node| {
            node.spec.labels.insert(name.into(), value.into());
        });
    }

    /// What a node's session is.
    pub(crate) fn session(&mut self, number: u128, session: Session) {
        let node = self.seen.nodes.entry(NodeId::new(number)).or_default();
        node.session = session;
    }

    /// A node joins and is up.
    pub(crate) fn join(&mut self, node: Node) {
        self.seen.nodes.entry(node.id).or_default().session = Session::Open;
        self.put(Change::PutNode(Arc::new(node)));
    }

    /// Numbers of the nodes of the tasks that are to run, ascending; 0 for none.
    pub(crate) fn places(&self) -> Vec<u128> {
        let node = |task: &Arc<Task>| task.node.map_or(0, NodeId::bits);
        let mut places: Vec<u128> = self.wanted().iter().map(node).collect();
        places.sort_unstable();
        places
    }

    pub(crate) fn scale(&mut self, replicas: u32) {
        let mut service = self.state.service(WEB).unwrap().as_ref().clone();
        let mode = Mode::Replicated { replicas };
        service.spec = Arc::new(ServiceSpec {
            mode,
            ..ServiceSpec::clone(&service.spec)
        });
        self.put(Change::PutService(Arc::new(service)));
    }

    /// Every task that is to run is seen there.
    pub(crate) fn run(&mut self) {
        let to_run = self.tasks(|task| {
            task.node.is_some()
                && task.desired == TaskState::Running
                && task.status.state < TaskState::Running
        });
        for task in to_run {
            self.see(&task, TaskState::Running);
        }
        self.settle();
    }

    pub(crate) fn see(&mut self, task: &Task, state: TaskState) {
        let status = TaskStatus::of(state, WallTime::default());
        self.put(Change::Observed {
            task: task.id,
            status,
        });
    }

    pub(crate) fn tasks(&self, of: impl Fn(&Task) -> bool) -> Vec<Arc<Task>> {
        self.state
            .tasks_of(WEB)
            .filter(|task| of(task))
            .cloned()
            .collect()
    }

    pub(crate) fn wanted(&self) -> Vec<Arc<Task>> {
        self.tasks(|task| task.desired <= TaskState::Running)
    }

    pub(crate) fn network(&mut self) {
        let spec = builders::network_spec("front");
        let network = new_network(&self.state, NET, spec, WallTime::default()).unwrap();
        self.put(Change::PutNetwork(Arc::new(network)));
    }

    /// Every node acknowledges everything.
    pub(crate) fn acknowledge(&mut self) {
        let revision = self.state.applied();
        for live in self.seen.nodes.values_mut() {
            let networks = self.state.networks().map(|network| (network.id, revision));
            live.acknowledged = networks.collect();
        }
    }
}

pub(crate) fn two() -> Bench {
    Bench::new(vec![builders::up_node(1), builders::up_node(2)])
}
