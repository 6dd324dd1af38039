//! Enumerations: every value has one name on each side, and 0 is no value.

use super::{WireError, v1};
use crate::constraint::Operator;
use crate::drill::DrillKind;
use crate::event::{Action, EventKind};
use crate::file::FileKind;
use crate::node::{Availability, NodeState, Role};
use crate::service::UpdateState;
use crate::spec::{
    EndpointMode, FailureAction, Propagation, Protocol, PublishMode, PullPolicy, RestartCondition,
    Seccomp, UpdateOrder,
};
use crate::task::TaskState;
use crate::view::EndpointState;

macro_rules! enumeration {
    ($wire:ident, $domain:ident, $($value:ident),+) => {
        impl From<$domain> for v1::$wire {
            fn from(value: $domain) -> Self {
                match value {
                    $($domain::$value => Self::$value,)+
                }
            }
        }

        impl TryFrom<v1::$wire> for $domain {
            type Error = WireError;

            fn try_from(value: v1::$wire) -> Result<Self, WireError> {
                match value {
                    v1::$wire::Unspecified => {
                        Err(WireError::new(stringify!($wire), "has no value"))
                    }
                    $(v1::$wire::$value => Ok(Self::$value),)+
                }
            }
        }
    };
}

enumeration!(
    TaskState, TaskState, New, Pending, Assigned, Accepted, Preparing, Ready, Starting, Running,
    Complete, Shutdown, Failed, Rejected, Orphaned, Remove
);
enumeration!(Role, Role, Worker, Manager);
enumeration!(Availability, Availability, Active, Pause, Drain, Surge);
enumeration!(NodeState, NodeState, Unknown, Up, Down);
enumeration!(Protocol, Protocol, Tcp, Udp);
enumeration!(PublishMode, PublishMode, Ingress, Host);
enumeration!(RestartCondition, RestartCondition, None, OnFailure, Any);
enumeration!(EndpointState, EndpointState, Starting, Live, Draining);
enumeration!(
    ConstraintOperator,
    Operator,
    Equal,
    NotEqual,
    In,
    Exists,
    Less,
    Greater
);
enumeration!(PullPolicy, PullPolicy, Missing, Always, Never);
enumeration!(
    Propagation,
    Propagation,
    Private,
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave
);
enumeration!(Seccomp, Seccomp, Docker, Unconfined);
enumeration!(FileKind, FileKind, Secret, Config);
enumeration!(
    DrillKind,
    DrillKind,
    Task,
    RestartDaemon,
    Node,
    Link,
    Leader,
    Disk
);
enumeration!(EndpointMode, EndpointMode, Vip, Dnsrr);
enumeration!(FailureAction, FailureAction, Pause, Continue, Rollback);
enumeration!(UpdateOrder, UpdateOrder, StopFirst, StartFirst);
enumeration!(
    UpdateState,
    UpdateState,
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted
);
enumeration!(
    EventKind, EventKind, Cluster, Node, Service, Task, Network, Image, Secret, Config, Volume,
    Token, Drill
);
enumeration!(
    EventAction,
    Action,
    Create,
    Update,
    Remove,
    Join,
    Leave,
    Up,
    Down,
    New,
    Assigned,
    Running,
    Complete,
    Shutdown,
    Failed,
    Rejected,
    Orphaned,
    Tag,
    Untag,
    Start,
    Accept,
    Undo,
    End
);
