//! What is asked of drills. Pure.

use std::sync::Arc;

use skep_proto::drill::Drill;
use skep_proto::ids::{DrillId, NodeId};
use skep_proto::time::ClusterTime;

use super::State;

/// Drills of each kind that are kept; the oldest go first.
pub const DRILLS_KEPT: usize = 16;

impl State {
    /// A drill.
    pub fn drill(&self, id: DrillId) -> Option<&Arc<Drill>> {
        self.drills.get(&id)
    }

    /// All that are kept, ascending by id.
    pub fn drills(&self) -> impl Iterator<Item = &Arc<Drill>> {
        self.drills.values()
    }

    /// The one that goes on at `now`.
    pub fn drill_at(&self, now: ClusterTime) -> Option<&Arc<Drill>> {
        self.drills.values().find(|drill| drill.runs(now))
    }

    /// The one that keeps others from beginning at `now`.
    pub fn drill_before(&self, now: ClusterTime) -> Option<&Arc<Drill>> {
        self.drills.values().find(|drill| drill.blocks(now))
    }

    /// The one that a node is to suffer at `now`.
    pub fn drill_of(&self, node: NodeId, now: ClusterTime) -> Option<&Arc<Drill>> {
        self.drill_at(now)
            .filter(|drill| drill.node == node && drill.told(now))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use skep_proto::drill::{DrillEnd, DrillKind, FUSE, Obeyed, REPORT_AT_MOST, Undone};
    use skep_proto::node::{
        Availability, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
    };
    use skep_proto::time::WallTime;

    use super::*;
    use crate::state::{Change, Entry, Outcome};

    const NODE: NodeId = NodeId::new(1);

    fn node() -> Node {
        Node {
            id: NODE,
            version: 0,
            created: WallTime::default(),
            spec: NodeSpec {
                labels: [].into(),
                role: Role::Worker,
                availability: Availability::Active,
            },
            description: NodeDescription::default(),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            status: NodeStatus {
                state: NodeState::Up,
                since: ClusterTime::ZERO,
                message: String::new(),
            },
            number: 0,
            manager: None,
        }
    }

    fn drill(id: u128, begun: u64) -> Drill {
        Drill {
            id: DrillId::new(id),
            version: 0,
            kind: DrillKind::Node,
            node: NODE,
            task: None,
            fill: None,
            target: "n1".into(),
            by: "anna@n1".into(),
            begun: WallTime::default(),
            begun_at: ClusterTime::from_millis(begun),
            fuse: FUSE,
            lasts: Duration::from_secs(15),
            lease: Duration::from_secs(60),
            services: Vec::new(),
            obeyed: None,
            end: None,
        }
    }

    fn put(state: &mut State, at: u64, change: Change) -> Outcome {
        let entry = Entry {
            time: ClusterTime::from_millis(at),
            changes: vec![change],
            ..Entry::default()
        };
        state.apply(state.applied().saturating_add(1), &entry)
    }

    fn world() -> State {
        let mut state = State::default();
        assert!(put(&mut state, 0, Change::PutNode(Arc::new(node()))).fits());
        state
    }

    fn ended(state: &State, id: u128) -> Drill {
        let mut drill = Drill::clone(state.drill(DrillId::new(id)).unwrap());
        drill.end = Some(DrillEnd {
            at: WallTime::default(),
            verdict: "passed".into(),
            report: String::new(),
        });
        drill
    }

    fn told(state: &State, at: u64) -> Option<DrillId> {
        let told = state.drill_of(NODE, ClusterTime::from_millis(at));
        told.map(|drill| drill.id)
    }

    fn obeyed(state: &State, id: u128, undone: Option<Undone>) -> Drill {
        let mut drill = Drill::clone(state.drill(DrillId::new(id)).unwrap());
        drill.obeyed = Some(Obeyed {
            accepted: WallTime::default(),
            undone,
        });
        drill
    }

    fn undone() -> Undone {
        Undone {
            failed_after: FUSE,
            undone_after: Duration::from_secs(16),
            error: String::new(),
        }
    }

    #[test]
    fn a_node_that_accepts_too_late_is_not_told() {
        let mut state = world();
        assert!(put(&mut state, 0, Change::PutDrill(Arc::new(drill(1, 0)))).fits());
        let last = 60_000 - 15_000 - 500;
        assert!(told(&state, last).is_some());
        assert_eq!(told(&state, last + 1), None);
        // One that suffers already is not told that it is over.
        let accepted = obeyed(&state, 1, None);
        assert!(put(&mut state, 5, Change::PutDrill(Arc::new(accepted))).fits());
        assert!(told(&state, last + 1).is_some());
        assert_eq!(told(&state, 60_000), None);
    }

    #[test]
    fn one_that_was_ended_is_in_the_way_until_its_node_says_that_it_is_over() {
        let mut state = world();
        assert!(put(&mut state, 10, Change::PutDrill(Arc::new(drill(1, 10)))).fits());
        let accepted = obeyed(&state, 1, None);
        assert!(put(&mut state, 11, Change::PutDrill(Arc::new(accepted))).fits());
        let end = ended(&state, 1);
        assert!(put(&mut state, 12, Change::PutDrill(Arc::new(end))).fits());
        assert_eq!(told(&state, 12), None);
        assert!(!put(&mut state, 13, Change::PutDrill(Arc::new(drill(2, 13)))).fits());
        let over = obeyed(&state, 1, Some(undone()));
        assert!(put(&mut state, 14, Change::PutDrill(Arc::new(over))).fits());
        assert!(put(&mut state, 15, Change::PutDrill(Arc::new(drill(2, 15)))).fits());
    }

    #[test]
    fn a_second_drill_is_refused_until_the_first_has_ended_or_its_lease_is_over() {
        let mut state = world();
        assert!(put(&mut state, 10, Change::PutDrill(Arc::new(drill(1, 10)))).fits());
        assert_eq!(told(&state, 10), Some(DrillId::new(1)));
        let second = put(&mut state, 20, Change::PutDrill(Arc::new(drill(2, 20))));
        assert!(
            second
                .dropped
                .iter()
                .any(|it| it.reason.to_string().contains("anna@n1")),
            "{second:?}"
        );
        let end = ended(&state, 1);
        assert!(put(&mut state, 30, Change::PutDrill(Arc::new(end))).fits());
        assert!(put(&mut state, 40, Change::PutDrill(Arc::new(drill(2, 40)))).fits());
        // Nobody ends this one.
        let late = 40 + 60_000;
        assert!(put(&mut state, late, Change::PutDrill(Arc::new(drill(3, late)))).fits());
    }

    #[test]
    fn what_was_asked_for_and_how_it_ended_are_set_once() {
        let mut state = world();
        assert!(put(&mut state, 10, Change::PutDrill(Arc::new(drill(1, 10)))).fits());
        let mut other = Drill::clone(state.drill(DrillId::new(1)).unwrap());
        other.lasts = Duration::from_secs(500);
        assert!(!put(&mut state, 11, Change::PutDrill(Arc::new(other))).fits());
        let over = obeyed(&state, 1, Some(undone()));
        assert!(put(&mut state, 12, Change::PutDrill(Arc::new(over))).fits());
        assert_eq!(told(&state, 12), None);
        let mut back = Drill::clone(state.drill(DrillId::new(1)).unwrap());
        back.obeyed = None;
        assert!(!put(&mut state, 13, Change::PutDrill(Arc::new(back))).fits());
        let mut long = ended(&state, 1);
        long.end.as_mut().unwrap().report = "x".repeat(REPORT_AT_MOST + 1);
        assert!(!put(&mut state, 14, Change::PutDrill(Arc::new(long))).fits());
        let end = ended(&state, 1);
        assert!(put(&mut state, 15, Change::PutDrill(Arc::new(end))).fits());
        let mut anew = Drill::clone(state.drill(DrillId::new(1)).unwrap());
        anew.end = None;
        assert!(!put(&mut state, 16, Change::PutDrill(Arc::new(anew))).fits());
    }

    #[test]
    fn the_last_ones_are_kept_and_the_node_must_be_there() {
        let mut state = world();
        for number in 0..DRILLS_KEPT as u64 + 5 {
            let begun = 1 + number * 100_000;
            let one = drill(u128::from(number) + 1, begun);
            assert!(put(&mut state, begun, Change::PutDrill(Arc::new(one))).fits());
        }
        assert_eq!(state.drills().count(), DRILLS_KEPT);
        assert_eq!(state.drill(DrillId::new(5)), None);
        assert!(state.drill(DrillId::new(6)).is_some());
        // One of another kind pushes out none of these.
        let begun = 100_000 * (DRILLS_KEPT as u64 + 6);
        let other = Drill {
            kind: DrillKind::Link,
            ..drill(77, begun)
        };
        assert!(put(&mut state, begun, Change::PutDrill(Arc::new(other))).fits());
        assert_eq!(state.drills().count(), DRILLS_KEPT + 1);
        let stray = Drill {
            node: NodeId::new(9),
            ..drill(99, u64::MAX / 2)
        };
        assert!(!put(&mut state, u64::MAX / 2, Change::PutDrill(Arc::new(stray))).fits());
        let pieces: Vec<_> = state.objects().collect();
        assert_eq!(State::from_objects(pieces), state);
    }
}
