//! Rolling updates on small states, behaviour by behaviour.

use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders;
use skep_harness::check::same_input_gives_the_same_plan;
use skep_manager::plan::{
    Author, Ids, Plan, Seen, Session, paused, plan, resumed, revised, rolled_back,
};
use skep_manager::state::{Change, Entry, State};
use skep_proto::ids::{NodeId, ServiceId};
use skep_proto::node::Node;
use skep_proto::service::{Service, Update, UpdateState};
use skep_proto::spec::{FailureAction, Mode, PublishMode, ServiceSpec, UpdateConfig, UpdateOrder};
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};

const WEB: ServiceId = ServiceId::new(100);

/// A cluster with one service, whose workers do what they are told when `obey` is called.
struct Bench {
    state: State,
    seen: Seen,
    ids: Ids,
    now: u64,
}

impl Bench {
    fn new(nodes: u8, replicas: u32, update: UpdateConfig) -> Self {
        let spec = ServiceSpec {
            rollback: update.clone(),
            update,
            ..builders::service_spec("web", replicas, builders::task_spec())
        };
        let mut bench = Self::with((1..=nodes).map(builders::up_node).collect(), spec);
        bench.obey_all();
        assert_eq!(bench.running(1), replicas as usize);
        bench
    }

    fn with(nodes: Vec<Node>, mut spec: ServiceSpec) -> Self {
        if spec.rollback.failure_action == FailureAction::Rollback {
            spec.rollback.failure_action = FailureAction::Pause;
        }
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
        let service = builders::service(WEB.bits(), spec);
        bench.put(Change::PutService(Arc::new(service)));
        bench.settle();
        bench
    }

    fn put(&mut self, change: Change) {
        let entry = Entry {
            time: ClusterTime::from_millis(self.now),
            changes: vec![change],
            ..Entry::default()
        };
        let outcome = self.state.apply(self.state.applied() + 1, &entry);
        assert!(outcome.fits(), "{outcome:?}");
    }

    /// Plans until there is nothing to do; gives the last plan.
    fn settle(&mut self) -> Plan {
        let time = ClusterTime::from_millis(self.now);
        for _ in 0..20 {
            let wall = WallTime::from_unix_millis(self.now);
            let ids = self.ids.clone();
            let made = plan(&self.state, &self.seen, time, wall, &mut self.ids);
            same_input_gives_the_same_plan(&made, &self.state, &self.seen, (time, wall), &ids)
                .unwrap();
            if made.changes.is_empty() {
                return made;
            }
            let outcome = self
                .state
                .apply(self.state.applied() + 1, &made.into_entry(time, wall));
            assert!(outcome.fits(), "{outcome:?}");
        }
        panic!("it does not settle");
    }

    fn service(&self) -> Arc<Service> {
        self.state.service(WEB).unwrap().clone()
    }

    fn update(&self) -> Update {
        self.service().update.clone().unwrap()
    }

    fn change(&mut self, change: impl FnOnce(&mut ServiceSpec)) {
        let old = self.service();
        let mut spec = old.spec.as_ref().clone();
        change(&mut spec);
        let new = revised(&self.state, &old, spec, Author::default());
        self.put(Change::PutService(Arc::new(new)));
        self.settle();
    }

    fn new_version(&mut self) {
        self.change(|spec| spec.task.force += 1);
    }

    fn see(&mut self, task: &Task, state: TaskState, exit_code: Option<i32>) {
        let status = TaskStatus {
            exit_code,
            ..TaskStatus::of(state, WallTime::from_unix_millis(self.now))
        };
        let task = task.id;
        self.put(Change::Observed { task, status });
    }

    fn tasks(&self, of: impl Fn(&Task) -> bool) -> Vec<Arc<Task>> {
        let tasks = self.state.tasks_of(WEB);
        tasks.filter(|task| of(task)).cloned().collect()
    }

    /// Tasks of a template that run and are to run.
    fn running(&self, template: u64) -> usize {
        let runs = |task: &Task| {
            task.template == template
                && task.status.state == TaskState::Running
                && task.desired == TaskState::Running
        };
        self.tasks(runs).len()
    }

    /// Workers do at once what they are told now; no plan is made.
    fn obey(&mut self) -> bool {
        let behind = self.tasks(|task| {
            let reached = match task.desired {
                TaskState::Ready | TaskState::Running => task.desired,
                _ => TaskState::Shutdown,
            };
            task.node.is_some() && task.status.state < reached
        });
        for task in &behind {
            let reached = task.desired.min(TaskState::Shutdown);
            self.see(task, reached, None);
        }
        !behind.is_empty()
    }

    /// Workers and plans go on until nothing moves at this time.
    fn obey_all(&mut self) {
        for _ in 0..200 {
            self.settle();
            if !self.obey() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn fail_new(&mut self) {
        let template = self.service().template;
        let new = self.tasks(|task| {
            task.template == template
                && task.desired == TaskState::Running
                && !task.status.state.ended()
        });
        let new = new.first().expect("a new task").clone();
        self.see(&new, TaskState::Failed, Some(3));
        self.settle();
    }
}

fn config() -> UpdateConfig {
    UpdateConfig {
        monitor: Duration::from_secs(5),
        ..UpdateConfig::default()
    }
}

fn start_first() -> UpdateConfig {
    UpdateConfig {
        order: UpdateOrder::StartFirst,
        ..config()
    }
}

#[test]
fn replicas_are_replaced_one_by_one_and_watched() {
    let mut bench = Bench::new(3, 3, config());
    bench.new_version();
    let mut least = 3;
    loop {
        least = least.min(bench.running(1) + bench.running(2));
        if !bench.obey() {
            break;
        }
        bench.settle();
    }
    assert_eq!((least, bench.running(2)), (2, 3));
    let last = bench.settle();
    assert_eq!(bench.update().state, UpdateState::Updating, "it is watched");
    assert_eq!(last.wake_at, Some(ClusterTime::from_millis(5000)));
    bench.now = 5000;
    bench.settle();
    let update = bench.update();
    assert_eq!(update.state, UpdateState::Completed);
    assert_eq!((update.from, update.to, update.total), (1, 2, 3));
    assert!(update.ended.is_some());
    assert_eq!(bench.service().history.len(), 2);
}

#[test]
fn a_new_task_is_made_ready_while_the_old_one_ends() {
    let mut bench = Bench::new(2, 2, config());
    bench.new_version();
    let new = bench.tasks(|task| task.template == 2);
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].desired, TaskState::Ready);
    assert!(new[0].node.is_some(), "it has its place");
    let old = bench.tasks(|task| task.desired == TaskState::Shutdown);
    bench.see(&old[0], TaskState::Shutdown, Some(0));
    bench.settle();
    let new = bench.tasks(|task| task.template == 2);
    assert_eq!(new[0].desired, TaskState::Running);
}

#[test]
fn a_parallelism_of_zero_replaces_all_in_one_entry() {
    let update = UpdateConfig {
        parallelism: 0,
        ..config()
    };
    let mut bench = Bench::new(2, 20, update);
    let before = bench.state.applied();
    bench.new_version();
    assert_eq!(
        bench.state.applied(),
        before + 2,
        "the user's and one plan's"
    );
    let held = bench.tasks(|task| task.desired == TaskState::Ready && task.node.is_some());
    assert_eq!(held.len(), 20);
    for number in 1..=2 {
        assert_eq!(bench.state.spread_of(WEB, NodeId::new(number)), 10);
    }
}

#[test]
fn the_next_batch_waits_for_the_delay() {
    let update = UpdateConfig {
        parallelism: 2,
        delay: Duration::from_secs(10),
        ..config()
    };
    let mut bench = Bench::new(2, 4, update);
    bench.new_version();
    bench.obey_all();
    assert_eq!((bench.running(1), bench.running(2)), (2, 2));
    assert_eq!(
        bench.settle().wake_at,
        Some(ClusterTime::from_millis(5000)).max(Some(ClusterTime::from_millis(10_000)))
    );
    bench.now = 10_000;
    bench.obey_all();
    assert_eq!(bench.running(2), 4);
}

#[test]
fn start_first_stops_the_old_one_once_the_new_one_runs() {
    let mut bench = Bench::new(2, 2, start_first());
    bench.new_version();
    assert_eq!(bench.running(1), 2, "nothing is stopped yet");
    let new = bench.tasks(|task| task.template == 2);
    assert_eq!(new[0].desired, TaskState::Running);
    bench.see(&new[0], TaskState::Running, None);
    bench.settle();
    assert_eq!((bench.running(1), bench.running(2)), (1, 1));
    bench.obey_all();
    assert_eq!((bench.running(1), bench.running(2)), (0, 2));
}

#[test]
fn start_first_with_a_host_port_takes_the_place_of_the_old_one() {
    let spec = ServiceSpec {
        ports: vec![builders::publish(Some(8080), PublishMode::Host)],
        update: start_first(),
        ..builders::service_spec("web", 2, builders::task_spec())
    };
    let mut bench = Bench::with(vec![builders::up_node(1), builders::up_node(2)], spec);
    bench.obey_all();
    bench.new_version();
    bench.obey_all();
    assert_eq!((bench.running(1), bench.running(2)), (0, 2));
}

#[test]
fn what_fits_nowhere_leaves_a_start_first_service_as_it_was() {
    let mut bench = Bench::new(2, 2, start_first());
    bench.change(|spec| spec.task.constraints = vec!["node.hostname==mars".parse().unwrap()]);
    bench.obey_all();
    assert_eq!(bench.running(1), 2);
    assert_eq!(bench.update().state, UpdateState::Updating);
}

#[test]
fn a_new_task_that_ends_pauses_the_update_and_the_others_stay() {
    let mut bench = Bench::new(3, 3, config());
    bench.new_version();
    let old = bench.tasks(|task| task.desired == TaskState::Shutdown);
    bench.see(&old[0], TaskState::Shutdown, Some(0));
    bench.settle();
    bench.fail_new();
    let update = bench.update();
    assert_eq!(update.state, UpdateState::Paused);
    assert!(update.message.contains("exit code 3"), "{}", update.message);
    bench.now = 60_000;
    bench.settle();
    assert_eq!(bench.running(1), 2);
    let resumed = resumed(&bench.service(), "resumed".into()).unwrap();
    bench.put(Change::PutService(Arc::new(resumed)));
    bench.obey_all();
    assert_eq!(bench.running(2), 3);
}

#[test]
fn a_failed_update_goes_back_and_keeps_what_was_scaled_meanwhile() {
    let update = UpdateConfig {
        failure_action: FailureAction::Rollback,
        ..config()
    };
    let mut bench = Bench::new(3, 3, update);
    let stays: Vec<_> = bench.tasks(|task| task.slot != Slot::Replica(1));
    bench.new_version();
    bench.change(|spec| spec.mode = Mode::Replicated { replicas: 4 });
    assert_eq!(bench.update().state, UpdateState::Updating);
    bench.obey();
    bench.settle();
    bench.fail_new();
    let (service, update) = (bench.service(), bench.update());
    assert_eq!(update.state, UpdateState::RollbackStarted);
    assert_eq!(service.template, 1, "what is still there is taken up again");
    assert_eq!(service.spec.mode.replicas(), Some(4));
    assert_eq!((update.from, update.to), (2, 4));
    bench.obey_all();
    bench.now = 20_000;
    bench.obey_all();
    assert_eq!(bench.update().state, UpdateState::RollbackCompleted);
    assert_eq!(bench.running(1), 4);
    for task in stays {
        assert_eq!(
            bench.state.task(task.id).unwrap().desired,
            TaskState::Running
        );
    }
}

#[test]
fn a_rollback_that_fails_waits_for_somebody() {
    let mut bench = Bench::new(2, 2, config());
    bench.new_version();
    bench.obey_all();
    bench.now = 10_000;
    bench.settle();
    bench.change(|spec| spec.task.force += 1);
    bench.obey_all();
    bench.now = 20_000;
    bench.settle();
    let back = rolled_back(&bench.state, &bench.service(), Some(1), Author::default()).unwrap();
    bench.put(Change::PutService(Arc::new(back)));
    bench.settle();
    bench.obey();
    bench.settle();
    bench.fail_new();
    assert_eq!(bench.update().state, UpdateState::RollbackPaused);
}

#[test]
fn a_ratio_of_failures_may_be_borne() {
    let update = UpdateConfig {
        max_failure_millionths: 500_000,
        ..config()
    };
    let mut bench = Bench::new(2, 2, update);
    bench.new_version();
    bench.obey();
    bench.settle();
    bench.fail_new();
    assert_eq!(bench.update().state, UpdateState::Updating);
    assert_eq!(bench.update().failed.len(), 1);
    bench.obey_all();
    bench.now = 20_000;
    bench.obey_all();
    assert_eq!(bench.update().state, UpdateState::Completed);
    assert_eq!(bench.running(2), 2);
}

#[test]
fn a_batch_that_does_not_run_in_time_has_failed() {
    let update = UpdateConfig {
        progress_deadline: Some(Duration::from_secs(30)),
        ..config()
    };
    let mut bench = Bench::new(2, 2, update);
    bench.new_version();
    let wakes = bench.settle().wake_at.expect("the deadline wakes");
    bench.now = wakes.millis();
    assert_eq!(bench.now, 30_000);
    bench.settle();
    let update = bench.update();
    assert_eq!(update.state, UpdateState::Paused);
    assert!(
        update.message.contains("does not run"),
        "{}",
        update.message
    );
}

#[test]
fn a_task_lost_with_its_node_is_no_failure_and_keeps_its_version() {
    let mut bench = Bench::new(3, 3, config());
    bench.new_version();
    let untouched = bench.tasks(|task| task.desired == TaskState::Running && task.template == 1);
    let node = untouched[0].node.unwrap();
    bench.seen.nodes.get_mut(&node).unwrap().session = Session::Silent;
    bench.settle();
    let again =
        bench.tasks(|task| task.slot == untouched[0].slot && task.desired == TaskState::Running);
    assert_eq!(again[0].template, 1, "it is not its turn");
    bench.obey_all();
    bench.now = 20_000;
    bench.obey_all();
    assert_eq!(bench.update().state, UpdateState::Completed);
    assert!(bench.update().failed.is_empty());
    assert_eq!(bench.running(2), 3);
}

#[test]
fn a_change_in_the_middle_goes_on_from_where_it_is() {
    let mut bench = Bench::new(3, 3, config());
    bench.new_version();
    bench.new_version();
    let update = bench.update();
    assert_eq!(
        (update.from, update.to),
        (1, 3),
        "it goes back to what was whole"
    );
    assert_eq!(update.replacing.len(), 1);
    assert_eq!(bench.running(1), 2, "no second slot is given up");
    bench.obey_all();
    assert_eq!(bench.running(3), 3);
}

#[test]
fn a_paused_update_replaces_nothing_more() {
    let mut bench = Bench::new(3, 3, config());
    bench.new_version();
    let stopped = paused(&bench.service(), "paused".into()).unwrap();
    bench.put(Change::PutService(Arc::new(stopped)));
    bench.obey_all();
    bench.now = 60_000;
    bench.obey_all();
    assert_eq!((bench.running(1), bench.running(2)), (2, 1));
    assert_eq!(bench.update().state, UpdateState::Paused);
}

#[test]
fn only_so_many_revisions_are_kept_and_any_of_them_can_be_had_again() {
    let mut bench = Bench::new(2, 1, config());
    for _ in 0..30 {
        bench.new_version();
        bench.obey_all();
        bench.now += 10_000;
        bench.settle();
    }
    let service = bench.service();
    assert_eq!(service.revision, 31);
    assert_eq!(service.history.len(), skep_proto::service::REVISIONS_KEPT);
    let oldest = &service.history[0];
    let back = rolled_back(
        &bench.state,
        &service,
        Some(oldest.number),
        Author::default(),
    )
    .unwrap();
    assert_eq!(back.spec, oldest.spec);
    let error = rolled_back(&bench.state, &service, Some(1), Author::default()).unwrap_err();
    assert!(error.to_string().contains("not kept"), "{error}");
}
