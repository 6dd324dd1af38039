//! Converts drills, and what workers are told of them.

use std::time::Duration;

use super::field::{enumeration, id, message, optional};
use super::{WireError, WireId, v1};
use crate::drill::{CutPorts, Drill, DrillEnd, Failing, Fault, Fill, Obeyed, Undone};
use crate::ids::ServiceId;
use crate::time::{ClusterTime, WallTime};

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&Drill> for v1::Drill {
    fn from(drill: &Drill) -> Self {
        Self {
            id: drill.id.to_bytes(),
            version: drill.version,
            kind: v1::DrillKind::from(drill.kind).into(),
            node: drill.node.to_bytes(),
            task: drill.task.map(WireId::to_bytes),
            fill: drill.fill.map(Into::into),
            target: drill.target.clone(),
            by: drill.by.clone(),
            begun_ms: drill.begun.unix_millis(),
            begun_at_ms: drill.begun_at.millis(),
            fuse_ms: millis(drill.fuse),
            lasts_ms: millis(drill.lasts),
            lease_ms: millis(drill.lease),
            services: drill.services.iter().map(|id| id.to_bytes()).collect(),
            obeyed: drill.obeyed.as_ref().map(Into::into),
            end: drill.end.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Drill> for Drill {
    type Error = WireError;

    fn try_from(from: v1::Drill) -> Result<Self, WireError> {
        let services = from.services.iter();
        let services = services.map(|bytes| id::<ServiceId>(bytes, "services"));
        Ok(Self {
            id: id(&from.id, "id")?,
            version: from.version,
            kind: enumeration::<v1::DrillKind, _>(from.kind, "kind")?,
            node: id(&from.node, "node")?,
            task: from.task.map(|task| id(&task, "task")).transpose()?,
            fill: from.fill.map(Into::into),
            target: from.target,
            by: from.by,
            begun: WallTime::from_unix_millis(from.begun_ms),
            begun_at: ClusterTime::from_millis(from.begun_at_ms),
            fuse: Duration::from_millis(from.fuse_ms),
            lasts: Duration::from_millis(from.lasts_ms),
            lease: Duration::from_millis(from.lease_ms),
            services: services.collect::<Result<_, _>>()?,
            obeyed: optional(from.obeyed, "obeyed")?,
            end: optional(from.end, "end")?,
        })
    }
}

impl From<&Obeyed> for v1::DrillObeyed {
    fn from(obeyed: &Obeyed) -> Self {
        Self {
            accepted_ms: obeyed.accepted.unix_millis(),
            undone: obeyed.undone.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::DrillObeyed> for Obeyed {
    type Error = WireError;

    fn try_from(from: v1::DrillObeyed) -> Result<Self, WireError> {
        Ok(Self {
            accepted: WallTime::from_unix_millis(from.accepted_ms),
            undone: optional(from.undone, "undone")?,
        })
    }
}

impl From<&Undone> for v1::DrillUndone {
    fn from(undone: &Undone) -> Self {
        Self {
            failed_after_ms: millis(undone.failed_after),
            undone_after_ms: millis(undone.undone_after),
            error: undone.error.clone(),
        }
    }
}

impl TryFrom<v1::DrillUndone> for Undone {
    type Error = WireError;

    fn try_from(from: v1::DrillUndone) -> Result<Self, WireError> {
        Ok(Self {
            failed_after: Duration::from_millis(from.failed_after_ms),
            undone_after: Duration::from_millis(from.undone_after_ms),
            error: from.error,
        })
    }
}

impl From<&DrillEnd> for v1::DrillEnd {
    fn from(end: &DrillEnd) -> Self {
        Self {
            at_ms: end.at.unix_millis(),
            verdict: end.verdict.clone(),
            report: end.report.clone(),
        }
    }
}

impl TryFrom<v1::DrillEnd> for DrillEnd {
    type Error = WireError;

    fn try_from(from: v1::DrillEnd) -> Result<Self, WireError> {
        Ok(Self {
            at: WallTime::from_unix_millis(from.at_ms),
            verdict: from.verdict,
            report: from.report,
        })
    }
}

impl From<&Fault> for v1::DrillFault {
    fn from(fault: &Fault) -> Self {
        use v1::drill_fault::What;
        Self {
            id: fault.id.to_bytes(),
            fuse_ms: millis(fault.fuse),
            lasts_ms: millis(fault.lasts),
            what: Some(match &fault.what {
                Failing::Task(task) => What::Kill(task.to_bytes()),
                Failing::Daemon => What::Restart(v1::DrillRestart {}),
                Failing::Link(ports) => What::Cut(ports.into()),
                Failing::Node(ports) => What::Down(ports.into()),
                Failing::Disk(fill) => What::Fill((*fill).into()),
            }),
        }
    }
}

impl TryFrom<v1::DrillFault> for Fault {
    type Error = WireError;

    fn try_from(from: v1::DrillFault) -> Result<Self, WireError> {
        use v1::drill_fault::What;
        let what = from.what.ok_or_else(|| {
            WireError::new(
                "what",
                "is of a kind that this release does not know; upgrade this node",
            )
        })?;
        Ok(Self {
            id: id(&from.id, "id")?,
            fuse: Duration::from_millis(from.fuse_ms),
            lasts: Duration::from_millis(from.lasts_ms),
            what: match what {
                What::Kill(task) => Failing::Task(id(&task, "kill")?),
                What::Restart(v1::DrillRestart {}) => Failing::Daemon,
                What::Cut(ports) => Failing::Link(message(Some(ports), "cut")?),
                What::Down(ports) => Failing::Node(message(Some(ports), "down")?),
                What::Fill(fill) => Failing::Disk(fill.into()),
            },
        })
    }
}

impl From<&CutPorts> for v1::DrillCut {
    fn from(ports: &CutPorts) -> Self {
        Self {
            tcp: ports.tcp.iter().copied().map(u32::from).collect(),
            udp: ports.udp.iter().copied().map(u32::from).collect(),
        }
    }
}

impl TryFrom<v1::DrillCut> for CutPorts {
    type Error = WireError;

    fn try_from(from: v1::DrillCut) -> Result<Self, WireError> {
        let read = |ports: Vec<u32>, field| {
            let ports = ports.into_iter();
            ports
                .map(|port| super::number(port, field))
                .collect::<Result<Vec<u16>, _>>()
        };
        Ok(Self {
            tcp: read(from.tcp, "tcp")?,
            udp: read(from.udp, "udp")?,
        })
    }
}

impl From<Fill> for v1::DrillFill {
    fn from(fill: Fill) -> Self {
        Self {
            reserve_bytes: fill.reserve,
            shared: fill.shared,
        }
    }
}

impl From<v1::DrillFill> for Fill {
    fn from(from: v1::DrillFill) -> Self {
        Self {
            reserve: from.reserve_bytes,
            shared: from.shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::DrillKind;
    use crate::ids::{DrillId, NodeId, TaskId};

    fn fill() -> Fill {
        Fill {
            reserve: 1 << 40,
            shared: true,
        }
    }

    fn drill() -> Drill {
        Drill {
            id: DrillId::new(1),
            version: 2,
            kind: DrillKind::Task,
            node: NodeId::new(3),
            task: Some(TaskId::new(4)),
            fill: Some(fill()),
            target: "web.1 on n2".into(),
            by: "anna@n1".into(),
            begun: WallTime::from_unix_millis(5),
            begun_at: ClusterTime::from_millis(6),
            fuse: Duration::from_millis(7),
            lasts: Duration::from_millis(8),
            lease: Duration::from_millis(9),
            services: vec![ServiceId::new(10)],
            obeyed: Some(Obeyed {
                accepted: WallTime::from_unix_millis(11),
                undone: Some(Undone {
                    failed_after: Duration::from_millis(12),
                    undone_after: Duration::from_millis(13),
                    error: "no".into(),
                }),
            }),
            end: Some(DrillEnd {
                at: WallTime::from_unix_millis(14),
                verdict: "passed".into(),
                report: "{}".into(),
            }),
        }
    }

    #[test]
    fn a_drill_reads_back() {
        let bare = Drill {
            kind: DrillKind::Leader,
            task: None,
            fill: None,
            obeyed: None,
            end: None,
            ..drill()
        };
        for drill in [drill(), bare] {
            assert_eq!(Drill::try_from(v1::Drill::from(&drill)), Ok(drill));
        }
    }

    #[test]
    fn a_fault_reads_back_and_an_unknown_one_does_not() {
        let ports = || CutPorts {
            tcp: vec![2377, 65_535],
            udp: vec![4789],
        };
        for what in [
            Failing::Task(TaskId::new(1)),
            Failing::Daemon,
            Failing::Link(ports()),
            Failing::Node(ports()),
            Failing::Disk(fill()),
        ] {
            let fault = Fault {
                id: DrillId::new(2),
                fuse: Duration::from_millis(500),
                lasts: Duration::from_secs(15),
                what,
            };
            assert_eq!(Fault::try_from(v1::DrillFault::from(&fault)), Ok(fault));
        }
        let unknown = v1::DrillFault {
            id: vec![0; 16],
            ..v1::DrillFault::default()
        };
        assert!(Fault::try_from(unknown).is_err());
        let wide = v1::DrillCut {
            tcp: vec![65_536],
            udp: Vec::new(),
        };
        assert!(CutPorts::try_from(wide).is_err());
    }
}
