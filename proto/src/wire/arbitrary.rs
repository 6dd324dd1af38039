//! Draws objects from a seed, so that round trips meet every field.

#[path = "arbitrary_spec.rs"]
mod spec;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::WireId;
use crate::assignment::{
    AssignedAttachment, AssignedFile, AssignedTask, Assignment, Generation, Report,
};
use crate::cluster::{Authority, Cluster, ClusterSpec, JoinSecrets};
use crate::file::{File, FileId, FileKind, FileRevision, FileSpec, Rotation};
use crate::ids::RaftId;
use crate::image::{Digest, RegistryAuth};
use crate::network::{Network, NetworkSpec};
use crate::node::{
    Availability, ManagerStatus, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
};
use crate::resources::Resources;
use crate::service::{PortBinding, Revision, Service, Update, UpdateState};
use crate::spec::{Protocol, PublishMode};
use crate::task::{Attachment, Slot, Task, TaskState, TaskStatus};
use crate::time::{ClusterTime, WallTime};
use crate::view::{
    EndpointState, EndpointView, NetworkView, NodeView, PortView, ServiceView, View,
};

pub(crate) struct Draw(StdRng);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn id<T: WireId>(&mut self) -> T {
        T::from_bits(self.0.random())
    }

    /// One of a few ids, so that two drawings share some.
    fn near<T: WireId>(&mut self) -> T {
        T::from_bits(self.0.random_range(1..9))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.random_range(0..from.len())]
    }

    fn option<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.random_bool(0.5).then(|| draw(self))
    }

    fn list<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.0.random_range(0..4)).map(|_| draw(self)).collect()
    }

    fn text(&mut self) -> String {
        let letters = ['a', 'Z', '0', '-', ' ', 'ß', '蜂', '\0'];
        (0..self.0.random_range(0..6))
            .map(|_| self.pick(&letters))
            .collect()
    }

    fn map(&mut self) -> BTreeMap<String, String> {
        self.list(|draw| (draw.text(), draw.text()))
            .into_iter()
            .collect()
    }

    fn ipv4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(self.0.random::<u32>())
    }

    fn ip(&mut self) -> IpAddr {
        if self.0.random() {
            self.ipv4().into()
        } else {
            Ipv6Addr::from(self.0.random::<u128>()).into()
        }
    }

    fn subnet(&mut self) -> Ipv4Net {
        Ipv4Net::new_assert(self.ipv4(), self.0.random_range(0..=32))
    }

    fn duration(&mut self) -> Duration {
        Duration::from_millis(self.0.random())
    }

    fn wall(&mut self) -> WallTime {
        WallTime::from_unix_millis(self.0.random())
    }

    fn time(&mut self) -> ClusterTime {
        ClusterTime::from_millis(self.0.random())
    }

    fn digest(&mut self) -> Digest {
        Digest(self.0.random())
    }

    fn protocol(&mut self) -> Protocol {
        self.pick(&[Protocol::Tcp, Protocol::Udp])
    }

    fn publish_mode(&mut self) -> PublishMode {
        self.pick(&[PublishMode::Ingress, PublishMode::Host])
    }

    fn state(&mut self) -> TaskState {
        self.pick(&TaskState::ALL)
    }

    fn resources(&mut self) -> Resources {
        Resources {
            nano_cpus: self.0.random(),
            memory: self.0.random(),
        }
    }

    pub(crate) fn service(&mut self) -> Service {
        Service {
            id: self.id(),
            version: self.0.random(),
            created: self.wall(),
            updated: self.wall(),
            spec: Arc::new(self.service_spec()),
            revision: self.0.random(),
            template: self.0.random(),
            templates: self
                .list(|draw| (draw.0.random(), Arc::new(draw.task_spec())))
                .into_iter()
                .collect(),
            vips: self
                .list(|draw| (draw.id(), draw.ipv4()))
                .into_iter()
                .collect(),
            ports: self.list(|draw| PortBinding {
                protocol: draw.protocol(),
                target: draw.0.random(),
                published: draw.0.random(),
                mode: draw.publish_mode(),
            }),
            removed: self.option(Self::time),
            auth: None,
            history: self.list(Self::revision),
            update: self.option(Self::update),
        }
    }

    fn revision(&mut self) -> Revision {
        Revision {
            number: self.0.random(),
            spec: Arc::new(self.service_spec()),
            at: self.wall(),
            by: self.text(),
            why: self.text(),
        }
    }

    fn update(&mut self) -> Update {
        Update {
            state: self.pick(&UpdateState::ALL),
            from: self.0.random(),
            to: self.0.random(),
            started: self.wall(),
            ended: self.option(Self::wall),
            message: self.text(),
            config: self.update_config(),
            total: self.0.random(),
            replacing: self.list(Self::slot).into_iter().collect(),
            failed: self.list(Self::slot).into_iter().collect(),
        }
    }

    fn slot(&mut self) -> Slot {
        if self.0.random() {
            Slot::Replica(self.0.random())
        } else {
            Slot::Node(self.id())
        }
    }

    fn status(&mut self) -> TaskStatus {
        TaskStatus {
            state: self.state(),
            at: self.wall(),
            message: self.text(),
            error: self.text(),
            exit_code: self.option(|draw| draw.0.random()),
            pid: self.option(|draw| draw.0.random()),
        }
    }

    pub(crate) fn task(&mut self) -> Task {
        Task {
            id: self.id(),
            version: self.0.random(),
            service: self.id(),
            template: self.0.random(),
            slot: self.slot(),
            node: self.option(Self::id),
            desired: self.state(),
            status: self.status(),
            created: self.time(),
            start_at: self.option(Self::time),
            attachments: self.list(|draw| Attachment {
                network: draw.id(),
                address: draw.ipv4(),
            }),
        }
    }

    pub(crate) fn node(&mut self) -> Node {
        Node {
            id: self.id(),
            version: self.0.random(),
            created: self.wall(),
            spec: NodeSpec {
                labels: self.map(),
                role: self.pick(&[Role::Worker, Role::Manager]),
                availability: self.pick(&[
                    Availability::Active,
                    Availability::Pause,
                    Availability::Drain,
                    Availability::Surge,
                ]),
            },
            description: NodeDescription {
                hostname: self.text(),
                os: self.text(),
                arch: self.text(),
                resources: self.resources(),
                engine: self.text(),
                labels: self.map(),
                routes: self.list(Self::subnet),
                door: self.option(|draw| draw.0.random_range(1..=u16::MAX)),
                volumes: self.list(Self::text),
                generic: self
                    .list(|draw| (draw.text(), draw.0.random()))
                    .into_iter()
                    .collect(),
            },
            address: self.ip(),
            status: NodeStatus {
                state: self.pick(&[NodeState::Unknown, NodeState::Up, NodeState::Down]),
                since: self.time(),
                message: self.text(),
            },
            number: self.0.random(),
            manager: self.option(|draw| ManagerStatus {
                raft: RaftId(draw.0.random()),
                address: SocketAddr::new(draw.ip(), draw.0.random()),
            }),
        }
    }

    pub(crate) fn network(&mut self) -> Network {
        Network {
            id: self.id(),
            version: self.0.random(),
            created: self.wall(),
            spec: NetworkSpec {
                name: self.text(),
                labels: self.map(),
                internal: self.0.random(),
                attachable: self.0.random(),
                ingress: self.0.random(),
                subnet: self.option(Self::subnet),
                gateway: self.option(Self::ipv4),
                mtu: self.option(|draw| draw.0.random()),
            },
            subnet: self.subnet(),
            gateway: self.ipv4(),
            vni: self.0.random(),
            last_given: self.ipv4(),
        }
    }

    pub(crate) fn cluster(&mut self) -> Cluster {
        Cluster {
            id: self.id(),
            version: self.0.random(),
            created: self.wall(),
            spec: ClusterSpec {
                heartbeat: self.duration(),
                down_after: self.duration(),
                orphan_after: self.duration(),
                task_history: self.0.random(),
                certificate_expiry: self.duration(),
                pool: self.subnet(),
                pool_prefix: self.0.random(),
                data_path_port: self.0.random(),
            },
            authority: Authority {
                certificate: self.list(|draw| draw.0.random()),
                key: self.list(|draw| draw.0.random()),
            },
            tokens: JoinSecrets {
                worker: self.0.random(),
                manager: self.0.random(),
            },
            feature_level: self.0.random(),
            incarnation: self.0.random(),
        }
    }

    pub(crate) fn report(&mut self) -> Report {
        Report {
            tasks: self.list(|draw| (draw.id(), draw.status())),
            networks: self.list(|draw| (draw.id(), draw.0.random())),
            images: self.option(|draw| draw.list(Self::digest)),
            taken_ports: self
                .option(|draw| draw.list(|draw| (Protocol::Udp, draw.0.random_range(1..9)))),
            volumes: self.option(|draw| draw.list(Self::text)),
        }
    }

    /// With few ids and few values, so that two assignments have things in common.
    pub(crate) fn assignment(&mut self) -> Assignment {
        let tasks = self.list(|draw| {
            let task = draw.assigned_task();
            (task.id, Arc::new(task))
        });
        Assignment {
            generation: Generation {
                incarnation: 1,
                term: 2,
                index: self.0.random_range(0..4),
            },
            tasks: tasks.into_iter().collect(),
            view: Arc::new(self.view()),
        }
    }

    fn assigned_task(&mut self) -> AssignedTask {
        AssignedTask {
            id: self.near(),
            service: self.near(),
            service_name: self.text(),
            slot: self.slot(),
            spec: Arc::new(self.task_spec()),
            desired: self.state(),
            attachments: self.list(|draw| AssignedAttachment {
                network: draw.near(),
                address: draw.ipv4(),
                subnet: draw.subnet(),
                aliases: draw.list(Self::text),
                ingress: draw.0.random(),
            }),
            drained: self.0.random(),
            auth: self.option(|draw| {
                Arc::new(RegistryAuth {
                    username: draw.text(),
                    password: draw.text(),
                    identity_token: draw.text(),
                })
            }),
            files: self.list(|draw| AssignedFile {
                file: draw.file_id(),
                revision: draw.0.random(),
                signal: draw.option(|draw| (draw.0.random(), draw.0.random())),
            }),
        }
    }

    fn file_id(&mut self) -> FileId {
        FileId::new(self.pick(&FileKind::ALL), self.0.random())
    }

    /// A secret or config.
    pub(crate) fn stored_file(&mut self) -> File {
        File {
            id: self.file_id(),
            version: self.0.random(),
            created: self.wall(),
            updated: self.wall(),
            spec: FileSpec {
                name: self.text(),
                labels: self.map(),
            },
            revisions: self.list(|draw| FileRevision {
                number: draw.0.random(),
                at: draw.wall(),
                by: draw.text(),
                size: draw.0.random(),
                rotation: match draw.option(|draw| draw.option(|draw| draw.0.random())) {
                    Some(signal) => Rotation::InPlace { signal },
                    None => Rotation::Rolling,
                },
            }),
        }
    }

    fn ascending<K: Ord + Copy, T>(
        &mut self,
        key: impl Fn(&T) -> K,
        draw: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let items = self.list(draw);
        let sorted: BTreeMap<K, T> = items.into_iter().map(|item| (key(&item), item)).collect();
        sorted.into_values().collect()
    }

    fn view(&mut self) -> View {
        View {
            data_path_port: self.pick(&[4789, 4790]),
            nodes: self.ascending(
                |node: &NodeView| node.id,
                |draw| NodeView {
                    id: draw.near(),
                    address: draw.ip(),
                    number: draw.pick(&[1, 2]),
                    ingress: draw.option(Self::ipv4),
                },
            ),
            networks: self.ascending(|net: &NetworkView| net.id, Self::network_view),
            ports: self.list(|draw| PortView {
                service: draw.near(),
                protocol: draw.protocol(),
                published: draw.pick(&[80, 443]),
                target: draw.pick(&[80, 8080]),
                mode: draw.publish_mode(),
            }),
        }
    }

    fn network_view(&mut self) -> NetworkView {
        NetworkView {
            id: self.near(),
            name: self.text(),
            revision: self.0.random_range(0..3),
            vni: self.pick(&[4096, 4097]),
            subnet: self.subnet(),
            gateway: self.ipv4(),
            mtu: self.0.random(),
            internal: self.0.random(),
            ingress: self.0.random(),
            endpoints: self.ascending(
                |endpoint: &EndpointView| endpoint.task,
                |draw| EndpointView {
                    task: draw.near(),
                    service: draw.near(),
                    name: draw.text(),
                    address: draw.ipv4(),
                    node: draw.near(),
                    state: draw.pick(&[
                        EndpointState::Starting,
                        EndpointState::Live,
                        EndpointState::Draining,
                    ]),
                },
            ),
            services: self.ascending(
                |service: &ServiceView| service.id,
                |draw| ServiceView {
                    id: draw.near(),
                    name: draw.text(),
                    aliases: draw.list(Self::text),
                    vip: draw.option(Self::ipv4),
                },
            ),
        }
    }
}
