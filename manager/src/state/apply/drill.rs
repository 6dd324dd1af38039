//! Writes drills: one at a time, and of those that are over the last few of each kind. Pure.

use std::sync::Arc;

use skep_proto::drill::{Drill, DrillKind, REPORT_AT_MOST};
use skep_proto::ids::DrillId;

use super::check_version;
use crate::state::{DRILLS_KEPT, Misfit, State};

impl State {
    pub(super) fn put_drill(&mut self, drill: &Arc<Drill>) -> Result<(), Misfit> {
        let old = self.drills.get(&drill.id).cloned();
        let object = || format!("drill {}", drill.id);
        check_version(object, drill.version, old.as_ref().map(|old| old.version))?;
        let set_once = |what| Misfit::SetOnce {
            object: object(),
            what,
        };
        match &old {
            Some(old) => {
                let as_before = Drill {
                    version: old.version,
                    obeyed: old.obeyed.clone(),
                    end: old.end.clone(),
                    ..Drill::clone(drill)
                };
                if as_before != **old {
                    return Err(set_once("what is asked for"));
                }
                if old.end.is_some() && drill.end != old.end {
                    return Err(set_once("the end"));
                }
                if old.undone() && drill.obeyed != old.obeyed {
                    return Err(set_once("what its node said"));
                }
            }
            None => self.alone(drill)?,
        }
        let report = drill.end.as_ref().map_or(0, |end| end.report.len());
        if report > REPORT_AT_MOST {
            return Err(Misfit::TooLong {
                object: format!("the report of {}", object()),
                bytes: report,
                most: REPORT_AT_MOST,
            });
        }
        let mut new = Drill::clone(drill);
        new.version = self.meta.index;
        self.drills.insert(new.id, Arc::new(new));
        self.forget_drills(drill.kind);
        Ok(())
    }

    /// Two drills at once would tell nothing of either.
    fn alone(&self, drill: &Drill) -> Result<(), Misfit> {
        if self.nodes.get(&drill.node).is_none() {
            return Err(Misfit::Missing {
                object: format!("node {}", drill.node),
            });
        }
        match self.drill_before(self.meta.time.max(drill.begun_at)) {
            Some(other) => Err(Misfit::Drilled {
                kind: other.kind,
                target: other.target.clone(),
                by: other.by.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Of each kind the last ones are kept, so that many of one push out none of another.
    fn forget_drills(&mut self, kind: DrillKind) {
        let mut own: Vec<_> = self.drills.values().filter(|it| it.kind == kind).collect();
        own.sort_by_key(|it| (it.begun_at, it.id));
        let spare = own.len().saturating_sub(DRILLS_KEPT);
        let oldest: Vec<DrillId> = own.iter().take(spare).map(|it| it.id).collect();
        for id in oldest {
            self.drills.remove(&id);
        }
    }
}
