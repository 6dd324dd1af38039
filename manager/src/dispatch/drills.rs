//! Tells a node what it is to suffer, and keeps what it says of it.

use std::sync::Arc;

use skep_proto::drill::{Drill, DrillKind, ERROR_AT_MOST, Failing, Fault, Obeyed, Undone};
use skep_proto::ids::{DrillId, NodeId};
use skep_proto::time::ClusterTime;

use super::Dispatch;
use crate::plan::drill::cut_ports;
use crate::ring::wall_time;
use crate::state::{Change, Entry, State};

/// Tries to keep what a node says, against others who change the drill at the same time.
const TRIES: usize = 5;

/// What a node is to suffer now.
pub fn fault(state: &State, node: NodeId, now: ClusterTime) -> Option<Fault> {
    let drill = state.drill_of(node, now)?;
    Some(Fault {
        id: drill.id,
        fuse: drill.fuse,
        lasts: drill.lasts,
        what: match drill.kind {
            DrillKind::Task => Failing::Task(drill.task?),
            DrillKind::RestartDaemon => Failing::Daemon,
            DrillKind::Node => Failing::Node(cut_ports(state)),
            DrillKind::Disk => Failing::Disk(drill.fill?),
            DrillKind::Link | DrillKind::Leader => Failing::Link(cut_ports(state)),
        },
    })
}

/// Keeps what a node says of a drill: that its fuse burns, and later that it is undone. What is known already, or
/// not of this node, changes nothing; it is said anew in the next session if it cannot be kept now.
pub async fn heard(dispatch: Dispatch, node: NodeId, id: DrillId, undone: Option<Undone>) {
    for _ in 0..TRIES {
        let Some(new) = obeyed(&dispatch.ring.stale(), node, id, undone.as_ref()) else {
            return;
        };
        let entry = Entry {
            changes: vec![Change::PutDrill(Arc::new(new))],
            ..Entry::default()
        };
        match dispatch.ring.propose(entry).await {
            Ok(outcome) if outcome.fits() => return,
            // Somebody changed it meanwhile: once more, as it is now.
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(node.id = %node, %error, "what it says of a drill is not kept");
                return;
            }
        }
    }
}

fn obeyed(state: &State, node: NodeId, id: DrillId, undone: Option<&Undone>) -> Option<Drill> {
    let drill = state.drill(id).filter(|drill| drill.node == node)?;
    let known = drill.obeyed.as_ref();
    if drill.undone() || (known.is_some() && undone.is_none()) {
        return None;
    }
    let mut new = Drill::clone(drill);
    new.obeyed = Some(Obeyed {
        accepted: known.map_or_else(wall_time, |known| known.accepted),
        undone: undone.map(|undone| Undone {
            error: undone.error.chars().take(ERROR_AT_MOST).collect(),
            ..undone.clone()
        }),
    });
    Some(new)
}
