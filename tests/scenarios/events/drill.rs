//! What is told of a drill.

use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders::up_node;
use skep_manager::state::Change;
use skep_proto::drill::{Drill, DrillEnd, DrillKind, FUSE, Obeyed, Undone};
use skep_proto::ids::{DrillId, NodeId};
use skep_proto::time::{ClusterTime, WallTime};

use super::{Told, put_node};

fn drill() -> Drill {
    Drill {
        id: DrillId::new(7),
        version: 0,
        kind: DrillKind::Link,
        node: NodeId::new(1),
        task: None,
        fill: None,
        target: "node-1".into(),
        by: "anna@n1".into(),
        begun: WallTime::default(),
        begun_at: ClusterTime::ZERO,
        fuse: FUSE,
        lasts: Duration::from_secs(15),
        lease: Duration::from_secs(60),
        services: Vec::new(),
        obeyed: None,
        end: None,
    }
}

#[test]
fn a_drill_is_told_from_its_start_to_its_end() {
    let mut told = Told::default();
    told.apply("", vec![put_node(up_node(1))]);
    let mut put = |by: &str, change: &dyn Fn(&mut Drill)| {
        let kept = told.state.drill(DrillId::new(7)).cloned();
        let mut next = kept.map_or_else(drill, |kept| Drill::clone(&kept));
        change(&mut next);
        let said = told.apply(by, vec![Change::PutDrill(Arc::new(next))]);
        (said, told.last())
    };
    let obeyed = |undone: Option<Undone>| {
        Some(Obeyed {
            accepted: WallTime::default(),
            undone,
        })
    };
    let (said, event) = put("anna@n1", &|_| {});
    assert_eq!(said, ["drill start node-1"]);
    assert_eq!(
        (event.by.as_str(), &*event.attributes["kind"]),
        ("anna@n1", "link")
    );
    let (said, _) = put("", &|drill| drill.obeyed = obeyed(None));
    assert_eq!(said, ["drill accept node-1"]);
    let end = |verdict: &str| {
        Some(DrillEnd {
            at: WallTime::default(),
            verdict: verdict.into(),
            report: "{}".into(),
        })
    };
    let (said, event) = put("anna@n1", &|drill| drill.end = end("failed"));
    assert_eq!(said, ["drill end node-1"]);
    assert_eq!(event.attributes["verdict"], "failed");
    let undone = |after: u64, error: &str| Undone {
        failed_after: FUSE,
        undone_after: FUSE + Duration::from_secs(after),
        error: error.into(),
    };
    let (said, event) = put("", &|drill| drill.obeyed = obeyed(Some(undone(15, ""))));
    assert_eq!(said, ["drill undo node-1"]);
    assert_eq!(event.attributes["lasted"], "15s");
    // One that its node could not make.
    let (said, event) = put("", &|drill| {
        drill.id = DrillId::new(8);
        (drill.version, drill.end) = (0, None);
        drill.obeyed = obeyed(Some(undone(0, "no right to")));
    });
    assert_eq!(said, ["drill start node-1", "drill rejected node-1"]);
    assert_eq!(event.attributes["error"], "no right to");
}
