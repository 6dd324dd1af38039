//! A machine in the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::ids::{NodeId, RaftId};
use crate::resources::Resources;
use crate::time::{ClusterTime, WallTime};

/// A node as the cluster keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Random, never used again; also the CN of its certificate.
    pub id: NodeId,
    /// Log index of the last change.
    pub version: u64,
    /// When it joined.
    pub created: WallTime,
    /// What the user wants of it.
    pub spec: NodeSpec,
    /// What it says of itself.
    pub description: NodeDescription,
    /// Where other nodes reach it: control and data path.
    pub address: IpAddr,
    /// Whether it is there.
    pub status: NodeStatus,
    /// Small number, unique in the cluster and given again only after removal: part of gateway MAC addresses.
    pub number: u16,
    /// Set while it may be a member of the Raft group: from when it asked to become one until it is out.
    pub manager: Option<ManagerStatus>,
}

impl Node {
    /// What it is in the cluster.
    pub fn place(&self) -> Place {
        Place {
            role: self.spec.role,
            raft: self.manager.as_ref().map(|manager| manager.raft),
        }
    }

    /// Whether it is a manager that decides: it is to be one, and has its number in the Raft group.
    pub fn manages(&self) -> bool {
        self.spec.role == Role::Manager && self.manager.is_some()
    }

    /// Where its door for other nodes is, as far as it is known: a manager's is where it joined with, a
    /// worker's is what it said when its session opened.
    pub fn door(&self) -> Option<SocketAddr> {
        let said = |port| SocketAddr::new(self.address, port);
        let manager = self.manager.as_ref().map(|manager| manager.address);
        manager.or_else(|| self.description.door.map(said))
    }
}

/// What the user wants of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSpec {
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// What it is to be. The role is what is said here; a certificate's OU is only a claim.
    pub role: Role,
    /// Whether it gets tasks.
    pub availability: Availability,
}

/// What a node is in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Runs tasks.
    Worker,
    /// Runs tasks and takes part in decisions.
    Manager,
}

/// What a node is to be, and whether it has a number in the Raft group. One without the other is on its way: a
/// manager without a number has yet to ask for it, a worker with one is being taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// What it is to be.
    pub role: Role,
    /// Its number in the Raft group, for as long as it may be a member.
    pub raft: Option<RaftId>,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        })
    }
}

/// Whether a node gets tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Availability {
    /// It gets new tasks.
    Active,
    /// It keeps what it has and gets no new task.
    Pause,
    /// Its tasks go elsewhere and it gets no new task.
    Drain,
    /// As drain, but a task that runs is ended only once its replacement runs elsewhere.
    Surge,
}

impl Availability {
    /// Whether its tasks are to go elsewhere.
    pub fn drains(self) -> bool {
        matches!(self, Self::Drain | Self::Surge)
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain | Self::Surge => "drain",
        })
    }
}

/// What a node says of itself when its session opens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeDescription {
    /// Host name.
    pub hostname: String,
    /// Operating system, such as `linux`.
    pub os: String,
    /// Architecture as Go names it, such as `x86_64`.
    pub arch: String,
    /// What it has.
    pub resources: Resources,
    /// Version of skep.
    pub engine: String,
    /// Labels of its configuration file.
    pub labels: BTreeMap<String, String>,
    /// Address ranges its routes use: no pool may overlap them.
    pub routes: Vec<ipnet::Ipv4Net>,
    /// Port of its door for other nodes, where it said so.
    pub door: Option<u16>,
    /// Names of the volumes it has, ascending. Said in reports, and kept when it says hello again.
    pub volumes: Vec<String>,
    /// What it has of other things that tasks can reserve, by kind.
    pub generic: BTreeMap<String, u64>,
}

/// Whether a node is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Up or down.
    pub state: NodeState,
    /// Since when.
    pub since: ClusterTime,
    /// Why, for a person.
    pub message: String,
}

/// Whether a node is there. Only turns are proposed, never a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// It joined and has not opened a session yet.
    Unknown,
    /// Its session is open, or was until less than the deadline ago.
    Up,
    /// It was silent for longer than the deadline, or left.
    Down,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "ready",
            Self::Down => "down",
        })
    }
}

/// A node's place in the Raft group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagerStatus {
    /// Its number there.
    pub raft: RaftId,
    /// Where its managers' door listens.
    pub address: SocketAddr,
}
