//! A service as the cluster keeps it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::ids::{NetworkId, ServiceId};
use crate::image::RegistryAuth;
use crate::spec::{Protocol, PublishMode, ServiceSpec, TaskSpec};
use crate::time::{ClusterTime, WallTime};

/// A service as the cluster keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Random.
    pub id: ServiceId,
    /// Log index of the last change.
    pub version: u64,
    /// When it was made.
    pub created: WallTime,
    /// When its spec last changed.
    pub updated: WallTime,
    /// What the user asked for last.
    pub spec: Arc<ServiceSpec>,
    /// Number of that spec, from 1.
    pub revision: u64,
    /// Revision at which the task part last changed: new tasks are made from it.
    pub template: u64,
    /// Task specs that tasks still name, by revision; the newest is `template`.
    pub templates: BTreeMap<u64, Arc<TaskSpec>>,
    /// Its virtual address on each of its networks.
    pub vips: BTreeMap<NetworkId, Ipv4Addr>,
    /// Its published ports, with those that a manager chose.
    pub ports: Vec<PortBinding>,
    /// Set once it is removed: its tasks are ended, then it goes.
    pub removed: Option<ClusterTime>,
    /// For its image's registry. Not part of the spec: changed, it replaces no task.
    pub auth: Option<Arc<RegistryAuth>>,
}

/// A published port that has been given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortBinding {
    /// The transport.
    pub protocol: Protocol,
    /// The port inside the container.
    pub target: u16,
    /// The port outside.
    pub published: u16,
    /// Where it is open.
    pub mode: PublishMode,
}
