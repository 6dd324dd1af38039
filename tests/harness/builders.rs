//! Small objects with sensible parts, for tests that care about one of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use skep_proto::cluster::{Authority, Cluster, ClusterSpec, JoinSecrets};
use skep_proto::ids::{ClusterId, NetworkId, NodeId, ServiceId};
use skep_proto::network::NetworkSpec;
use skep_proto::node::{
    Availability, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
};
use skep_proto::resources::Resources;
use skep_proto::service::Service;
use skep_proto::spec::{
    ContainerSpec, Mode, NetworkUse, PortSpec, Protocol, PublishMode, ServiceSpec, TaskSpec,
};
use skep_proto::time::{ClusterTime, WallTime};

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// A cluster with default settings.
pub fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::new(1),
        version: 0,
        created: WallTime::default(),
        spec: ClusterSpec::default(),
        authority: Authority {
            certificate: Vec::new(),
            key: Vec::new(),
        },
        tokens: JoinSecrets {
            worker: [1; 16],
            manager: [2; 16],
        },
        feature_level: 1,
        incarnation: 1,
    }
}

/// An active node with four cores and 1 GiB that is not up yet; `number` makes its id, name and address.
pub fn node(number: u8) -> Node {
    Node {
        id: NodeId::new(u128::from(number)),
        version: 0,
        created: WallTime::default(),
        spec: NodeSpec {
            labels: BTreeMap::new(),
            role: Role::Worker,
            availability: Availability::Active,
        },
        description: NodeDescription {
            hostname: format!("node-{number}"),
            os: "linux".into(),
            arch: "x86_64".into(),
            resources: Resources {
                nano_cpus: 4_000_000_000,
                memory: 1024 * MIB,
            },
            generic: BTreeMap::from([("disk".to_owned(), 4)]),
            ..NodeDescription::default()
        },
        address: IpAddr::V4(Ipv4Addr::new(192, 168, 7, number)),
        status: NodeStatus {
            state: NodeState::Unknown,
            since: ClusterTime::ZERO,
            message: String::new(),
        },
        number: 0,
        manager: None,
    }
}

/// As [`node`], and up.
pub fn up_node(number: u8) -> Node {
    let mut node = node(number);
    node.status.state = NodeState::Up;
    node
}

/// A task that runs the built-in image and reserves nothing.
pub fn task_spec() -> TaskSpec {
    TaskSpec::new(ContainerSpec::new(skep_proto::image::BUILT_IN))
}

/// A service spec to be completed with `..`.
pub fn service_spec(name: &str, replicas: u32, task: TaskSpec) -> ServiceSpec {
    ServiceSpec {
        mode: Mode::Replicated { replicas },
        ..ServiceSpec::new(name, task)
    }
}

/// A new service that follows `spec`.
pub fn service(id: u128, spec: ServiceSpec) -> Service {
    Service {
        id: ServiceId::new(id),
        version: 0,
        created: WallTime::default(),
        updated: WallTime::default(),
        templates: BTreeMap::from([(1, Arc::new(spec.task.clone()))]),
        spec: Arc::new(spec),
        revision: 1,
        template: 1,
        vips: BTreeMap::new(),
        ports: Vec::new(),
        removed: None,
        auth: None,
        history: Vec::new(),
        update: None,
    }
}

/// An overlay network.
pub fn network_spec(name: &str) -> NetworkSpec {
    NetworkSpec {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        internal: false,
        attachable: false,
        ingress: false,
        subnet: None,
        gateway: None,
        mtu: None,
    }
}

/// Use of a network without aliases.
pub fn on(network: NetworkId) -> NetworkUse {
    NetworkUse {
        network,
        aliases: Vec::new(),
    }
}

/// Port 80 of the container, published on TCP.
pub fn publish(published: Option<u16>, mode: PublishMode) -> PortSpec {
    PortSpec {
        protocol: Protocol::Tcp,
        target: 80,
        published,
        mode,
    }
}
