//! A simulated user: one command at a time, sent again with the same request id until it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_manager::plan::{Author, new_network, paused, resumed, revised, rolled_back};
use skep_manager::state::{Answer, Change, Entry, Misfit, State};
use skep_proto::constraint::{Constraint, Key};
use skep_proto::file::{FileId, Rotation};
use skep_proto::ids::{NetworkId, NodeId, RequestId};
use skep_proto::node::{Availability, NodeState};
use skep_proto::resources::Resources;
use skep_proto::service::Service;
use skep_proto::spec::{
    FailureAction, Mode, PublishMode, RestartCondition, ServiceSpec, TaskSpec, UpdateConfig,
    UpdateOrder,
};
use skep_proto::time::{ClusterTime, WallTime};

use super::files;
use super::rng::Rng;
use crate::builders::{self, MIB};

/// What a user asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// `service create`
    Create(Arc<Service>),
    /// `service scale`
    Scale(String, Mode),
    /// `service update` that makes new tasks, with these settings
    Update(String, UpdateConfig),
    /// `service rollback`
    Rollback(String),
    /// `rollout pause`
    Pause(String),
    /// `rollout resume`
    Resume(String),
    /// `node update --label-add`
    Label(NodeId, String),
    /// `service rm`
    Remove(String),
    /// `node update --availability`
    Availability(NodeId, Availability),
    /// `network create`
    Network(NetworkId, String),
    /// `network rm`
    RemoveNetwork(String),
    /// `secret rotate`
    Rotate(FileId, Rotation),
    /// `node rm` of a node that is down
    RemoveNode(NodeId),
}

/// The user's side.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// It uses secrets and configs.
    pub files: bool,
    /// Asked and not answered.
    pub asked: Option<Asked>,
    /// What it was told: mode of each service by name, `None` for one that was removed.
    pub told: BTreeMap<String, Option<Mode>>,
    /// How many commands were answered.
    pub answered: u64,
}

/// A command that waits for its answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id, the same in every attempt.
    pub request: RequestId,
    /// What is asked for.
    pub command: Command,
    /// When it is sent next, in milliseconds.
    pub send_at: u64,
}

impl User {
    /// Thinks of something to ask for.
    pub fn ask(&mut self, state: &State, rng: &mut Rng, now: u64) {
        if self.asked.is_some() {
            return;
        }
        let command = match self.files && rng.in_thousand(120) {
            true => rotate(rng),
            false => think(state, rng),
        };
        let command = match command {
            Command::Create(service) if self.files => {
                Command::Create(with_files(service, state, rng))
            }
            other => other,
        };
        self.asked = Some(Asked {
            request: RequestId::new(rng.id()),
            command,
            send_at: now,
        });
    }

    /// It was answered.
    pub fn answer(&mut self, request: RequestId) {
        let Some(asked) = self.asked.take_if(|asked| asked.request == request) else {
            return;
        };
        self.answered += 1;
        match asked.command {
            Command::Create(service) => {
                self.told
                    .insert(service.spec.name.clone(), Some(service.spec.mode));
            }
            Command::Scale(name, mode) => {
                self.told.insert(name, Some(mode));
            }
            Command::Remove(name) => {
                self.told.insert(name, None);
            }
            // Goes back to some number of replicas or other.
            Command::Rollback(name) => {
                self.told.remove(&name);
            }
            _ => {}
        }
    }

    /// It was refused: the request changed nothing.
    pub fn refuse(&mut self, request: RequestId, misfit: Option<&Misfit>, now: u64) {
        let Some(asked) = &mut self.asked else { return };
        if asked.request != request {
            return;
        }
        if matches!(misfit, Some(Misfit::Stale { .. })) {
            asked.send_at = now;
        } else {
            self.asked = None;
        }
    }
}

fn rotate(rng: &mut Rng) -> Command {
    let rotation = match rng.below(3) {
        0 => Rotation::InPlace { signal: Some(1) },
        1 => Rotation::InPlace { signal: None },
        _ => Rotation::Rolling,
    };
    Command::Rotate(files::FILES[rng.index(2)], rotation)
}

fn with_files(service: Arc<Service>, state: &State, rng: &mut Rng) -> Arc<Service> {
    let mut spec = ServiceSpec::clone(&service.spec);
    files::give(&mut spec.task, state, rng);
    Arc::new(builders::service(service.id.bits(), spec))
}

fn think(state: &State, rng: &mut Rng) -> Command {
    let name = format!("s{}", rng.below(4));
    let down: Vec<NodeId> = state.down_nodes().map(|node| node.id).collect();
    let spare = state.nodes().count() > 2;
    if let Some(node) = rng.pick(&down).filter(|_| spare)
        && rng.in_thousand(50)
    {
        return Command::RemoveNode(*node);
    }
    match rng.below(14) {
        0 | 1 => {
            let nodes: Vec<NodeId> = state.nodes().map(|node| node.id).collect();
            let node = rng.pick(&nodes).copied().unwrap_or(NodeId::new(1));
            let all = [
                Availability::Active,
                Availability::Drain,
                Availability::Pause,
                Availability::Surge,
            ];
            if rng.in_thousand(300) {
                return Command::Label(node, format!("z{}", rng.below(3)));
            }
            let weighted = all
                .get(rng.index(6))
                .copied()
                .unwrap_or(Availability::Active);
            Command::Availability(node, weighted)
        }
        2 => Command::Network(NetworkId::new(rng.id()), format!("n{}", rng.below(2))),
        3 => Command::RemoveNetwork(format!("n{}", rng.below(2))),
        _ if state.service_named(&name).is_none() => {
            Command::Create(Arc::new(invent(name, state, rng)))
        }
        4 => Command::Remove(name),
        5..=7 => Command::Update(name, settings(rng)),
        8 => match rng.below(3) {
            0 => Command::Rollback(name),
            1 => Command::Pause(name),
            _ => Command::Resume(name),
        },
        _ => scaled(name, state, rng),
    }
}

/// Another number where the mode has one, else new tasks.
fn scaled(name: String, state: &State, rng: &mut Rng) -> Command {
    let number = u32::try_from(rng.below(7)).unwrap();
    let mode = state.service_named(&name).map(|service| service.spec.mode);
    match mode {
        Some(Mode::Replicated { .. }) => {
            Command::Scale(name, Mode::Replicated { replicas: number })
        }
        Some(Mode::ReplicatedJob { max_concurrent, .. }) => {
            let total = number;
            let mode = Mode::ReplicatedJob {
                total,
                max_concurrent,
            };
            Command::Scale(name, mode)
        }
        Some(Mode::Global | Mode::GlobalJob) | None => Command::Update(name, settings(rng)),
    }
}

fn settings(rng: &mut Rng) -> UpdateConfig {
    let actions = [
        FailureAction::Pause,
        FailureAction::Continue,
        FailureAction::Rollback,
    ];
    UpdateConfig {
        parallelism: u32::try_from(rng.below(4)).unwrap(),
        delay: Duration::from_millis(rng.below(2) * rng.below(2000)),
        failure_action: actions[rng.index(3)],
        monitor: Duration::from_millis(rng.below(3000)),
        max_failure_millionths: u32::try_from(rng.below(3) * 250_000).unwrap(),
        order: if rng.in_thousand(500) {
            UpdateOrder::StartFirst
        } else {
            UpdateOrder::StopFirst
        },
        progress_deadline: rng
            .in_thousand(200)
            .then(|| Duration::from_millis(2000 + rng.below(5000))),
    }
}

fn invent(name: String, state: &State, rng: &mut Rng) -> Service {
    let mut task = builders::task_spec();
    if rng.in_thousand(400) {
        task.reservations = Resources {
            nano_cpus: 0,
            memory: (100 + rng.below(400)) * MIB,
        };
    }
    let conditions = [
        RestartCondition::Any,
        RestartCondition::OnFailure,
        RestartCondition::None,
    ];
    task.restart.condition = conditions[rng.index(5) % 3];
    task.restart.delay = Duration::from_millis(rng.below(3000));
    if rng.in_thousand(200) {
        task.restart.max_attempts = Some(1 + u32::try_from(rng.below(3)).unwrap());
        task.restart.window = Duration::from_secs(rng.below(2) * 5);
    }
    if rng.in_thousand(100) {
        task.constraints = vec![
            format!("node.hostname!=node-{}", rng.below(3))
                .parse()
                .unwrap(),
        ];
    }
    let networks = state.networks().filter(|network| !network.spec.ingress);
    task.networks = networks
        .filter(|_| rng.in_thousand(700))
        .map(|it| builders::on(it.id))
        .collect();
    place(&mut task, rng);
    let replicas = u32::try_from(rng.below(6)).unwrap();
    let mut spec = builders::service_spec(&name, replicas, task);
    spec.mode = match rng.below(10) {
        0 | 1 => Mode::Global,
        2 | 3 => Mode::ReplicatedJob {
            total: replicas,
            max_concurrent: 1 + u32::try_from(rng.below(3)).unwrap(),
        },
        4 => Mode::GlobalJob,
        _ => spec.mode,
    };
    if rng.in_thousand(200) {
        spec.lost_after = Some(Duration::from_secs(3 + rng.below(6)));
    }
    if rng.in_thousand(400) {
        let number = rng
            .in_thousand(500)
            .then(|| 8000 + u16::try_from(rng.below(3)).unwrap());
        let host = rng.in_thousand(200);
        let mode = if host {
            PublishMode::Host
        } else {
            PublishMode::Ingress
        };
        spec.ports = vec![builders::publish(number, mode)];
    }
    builders::service(rng.id(), spec)
}

/// Where the tasks may go.
fn place(task: &mut TaskSpec, rng: &mut Rng) {
    let zone = || Key::Label("zone".into());
    if rng.in_thousand(200) {
        task.spread = vec![zone()];
    }
    if rng.in_thousand(200) {
        task.constraints.push(Constraint::equal(zone(), "z1"));
    }
    if rng.in_thousand(150) {
        task.max_per_node = Some(1 + u32::try_from(rng.below(2)).unwrap());
    }
    if rng.in_thousand(150) {
        task.generic = BTreeMap::from([("disk".to_owned(), 1 + rng.below(2))]);
    }
}

/// The entry that does what `asked` wants of `state`; `None` if that is impossible or done already.
pub fn entry(asked: &Asked, state: &State, (time, wall): (ClusterTime, WallTime)) -> Option<Entry> {
    let (change, answer) = match &asked.command {
        Command::Create(service) => {
            let answer = Answer::Service(service.id);
            (Change::PutService(service.clone()), answer)
        }
        Command::Scale(name, mode) => {
            let old = state.service_named(name)?;
            let mut spec = ServiceSpec::clone(&old.spec);
            spec.mode = *mode;
            put(revised(state, old, spec, Author::default()))
        }
        Command::Update(name, settings) => update(state, name, settings)?,
        Command::Rollback(name) => {
            let old = state.service_named(name)?;
            put(rolled_back(state, old, None, Author::default()).ok()?)
        }
        Command::Pause(name) => put(paused(state.service_named(name)?, "paused".into())?),
        Command::Resume(name) => put(resumed(state.service_named(name)?, "resumed".into())?),
        Command::Label(id, value) => {
            let mut node = state.node(*id)?.as_ref().clone();
            node.spec.labels.insert("zone".into(), value.clone());
            (Change::PutNode(Arc::new(node)), Answer::Done)
        }
        Command::Remove(name) => {
            let mut service = state.service_named(name)?.as_ref().clone();
            service.removed = Some(time);
            (Change::PutService(Arc::new(service)), Answer::Done)
        }
        Command::Availability(id, availability) => {
            let mut node = state.node(*id)?.as_ref().clone();
            node.spec.availability = *availability;
            (Change::PutNode(Arc::new(node)), Answer::Done)
        }
        Command::Network(id, name) => {
            let spec = builders::network_spec(name);
            let network = new_network(state, *id, spec, wall).ok()?;
            let answer = Answer::Network(*id);
            (Change::PutNetwork(Arc::new(network)), answer)
        }
        Command::RemoveNode(id) => {
            let found = state.node(*id);
            let found = found.filter(|node| node.status.state == NodeState::Down)?;
            let (node, version) = (*id, found.version);
            (Change::DeleteNode { node, version }, Answer::Done)
        }
        Command::Rotate(id, rotation) => {
            (files::rotated(state, *id, *rotation)?, Answer::File(*id))
        }
        Command::RemoveNetwork(name) => {
            let found = state.network_named(name)?;
            let (network, version) = (found.id, found.version);
            (Change::DeleteNetwork { network, version }, Answer::Done)
        }
    };
    Some(Entry {
        time,
        wall,
        request: Some(asked.request),
        answer,
        looked: None,
        by: "user@host".into(),
        atomic: true,
        changes: vec![change],
    })
}

/// New tasks; a job takes no settings.
fn update(state: &State, name: &str, settings: &UpdateConfig) -> Option<(Change, Answer)> {
    let old = state.service_named(name)?;
    let mut spec = ServiceSpec::clone(&old.spec);
    spec.task.force += 1;
    files::repin(&mut spec.task, state);
    if !spec.mode.is_job() {
        spec.update = settings.clone();
        spec.rollback = settings.clone();
    }
    if spec.rollback.failure_action == FailureAction::Rollback {
        spec.rollback.failure_action = FailureAction::Pause;
    }
    Some(put(revised(state, old, spec, Author::default())))
}

fn put(service: Service) -> (Change, Answer) {
    let answer = Answer::Service(service.id);
    (Change::PutService(Arc::new(service)), answer)
}
