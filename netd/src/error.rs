//! What can go wrong in netd, each with its act and its object.

#![expect(missing_docs, reason = "the names of the parts say it")]

use std::io;
use std::path::PathBuf;

use skep_proto::ids::{NetworkId, NodeId, TaskId};

use crate::kernel::KernelError;

/// Why netd could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot prepare the network namespace of task {task}")]
    Prepare { task: TaskId, source: KernelError },

    #[error("cannot attach task {task} to network {network}")]
    Attach {
        task: TaskId,
        network: String,
        source: KernelError,
    },

    #[error("cannot give task {task} its way out through the node")]
    WayOut { task: TaskId, source: KernelError },

    #[error("cannot give task {task} names and virtual addresses")]
    Services { task: TaskId, source: KernelError },

    #[error("the interfaces of task {task} do not carry")]
    Carry { task: TaskId, source: KernelError },

    #[error("cannot detach task {task}")]
    Detach { task: TaskId, source: KernelError },

    #[error("cannot program network {network}")]
    Network {
        network: String,
        source: KernelError,
    },

    #[error("cannot remove network {network}")]
    RemoveNetwork {
        network: NetworkId,
        source: KernelError,
    },

    #[error("cannot set the node's own rules")]
    NodeRules { source: KernelError },

    #[error("cannot look for what a former daemon left")]
    Adopt { source: KernelError },

    #[error(
        "network {network} has not reached this node within {seconds} s; the task is tried again"
    )]
    UnknownNetwork { network: NetworkId, seconds: u64 },

    #[error("the view does not hold this node ({node}); it is asked for again")]
    UnknownNode { node: NodeId },

    #[error(
        "every range for containers' way out overlaps a route of this node or is used up; set another one in the daemon's configuration"
    )]
    NoRange,

    #[error(
        "port {port}/{protocol} of this node is taken by another program; stop it or publish another port"
    )]
    PortTaken {
        port: u16,
        protocol: &'static str,
        source: KernelError,
    },

    #[error("cannot {act} {}", path.display())]
    Record {
        act: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}
