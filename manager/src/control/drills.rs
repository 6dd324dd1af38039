//! Commands about drills: looked at first, begun as a fact with a bound, ended with what was found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_proto::drill::{
    Drill, DrillEnd, DrillKind, FUSE, Fill, LASTS_AT_MOST, LEASE_AT_MOST, LEASE_MARGIN,
    REPORT_AT_MOST,
};
use skep_proto::ids::{DrillId, NodeId, RequestId};
use skep_proto::time::ClusterTime;
use tonic::{Code, Status};

use super::near::near;
use super::{Control, resolve};
use crate::by;
use crate::plan::drill::{Drilled, Target, Wish, drilled};
use crate::ring::wall_time;
use crate::state::{Answer, Change, State};

/// An end that meets another change of the same drill is tried so often.
const TRIES: usize = 10;
/// Bytes that stay free where the system itself is on the file system that is filled.
const RESERVE_AT_LEAST: u64 = 64 << 20;
/// How a drill can end.
const VERDICTS: [&str; 3] = ["passed", "failed", "stopped"];

/// What is asked for, as it was typed.
pub(super) struct Asked {
    pub(super) kind: DrillKind,
    pub(super) target: Option<String>,
    pub(super) fill: Option<Fill>,
    pub(super) lasts: Duration,
    pub(super) lease: Duration,
    pub(super) asked_on: Option<NodeId>,
}

impl Control {
    /// What a drill would take, and the state it was looked up in.
    pub(super) async fn look_at_drill(
        &self,
        asked: &Asked,
    ) -> Result<(State, Wish, Drilled), Status> {
        bounded(asked)?;
        let state = self.read().await?;
        let wish = Wish {
            kind: asked.kind,
            target: match &asked.target {
                Some(text) => Some(target(&state, asked.kind, text)?),
                None => None,
            },
            fill: asked.fill.unwrap_or_default(),
            lasts: asked.lasts,
            asked_on: asked.asked_on,
            leader: self.me,
        };
        let found = self.drilled(&state, &wish).ok_or_else(|| {
            Status::failed_precondition(match wish.target {
                Some(Target::Service(_)) => "no task of this service runs".to_owned(),
                _ => format!(
                    "there is nothing that a drill of kind {} could take",
                    wish.kind
                ),
            })
        })?;
        Ok((state, wish, found))
    }

    fn drilled(&self, state: &State, wish: &Wish) -> Option<Drilled> {
        let seen = self.live.seen(Instant::now(), state.meta().looked);
        drilled(state, &seen, self.ring.now(), wish)
    }

    /// What a drill took that was begun already.
    fn taken(&self, state: &State, drill: &Drill) -> (Wish, Drilled) {
        let wish = Wish {
            kind: drill.kind,
            target: Some(drill.task.map_or(Target::Node(drill.node), Target::Task)),
            fill: drill.fill.unwrap_or_default(),
            lasts: drill.lasts,
            asked_on: None,
            leader: drill.node,
        };
        let gone = || Drilled {
            node: drill.node,
            task: drill.task,
            target: String::new(),
            tasks: Vec::new(),
            services: Vec::new(),
            refusals: Vec::new(),
        };
        let found = Drilled {
            target: drill.target.clone(),
            refusals: Vec::new(),
            ..self.drilled(state, &wish).unwrap_or_else(gone)
        };
        (wish, found)
    }

    /// Begins a drill, or refuses it with every reason. A repeat of the request gets the same one.
    pub(super) async fn drill_begun(
        &self,
        request: RequestId,
        asked: &Asked,
    ) -> Result<(Arc<Drill>, State, Wish, Drilled), Status> {
        let state = self.read().await?;
        if let Some(drill) = answered(&state, request)? {
            // What it took may be gone by now, as a task is that was killed.
            let (wish, found) = self.taken(&state, &drill);
            return Ok((drill, state, wish, found));
        }
        let (_, wish, found) = self.look_at_drill(asked).await?;
        if !found.refusals.is_empty() {
            let target = &found.target;
            return Err(Status::failed_precondition(format!(
                "the drill {} of {target} is not begun: {}",
                wish.kind,
                found.refusals.join("; ")
            )));
        }
        let id = DrillId::new(rand::random());
        let drill = Drill {
            id,
            version: 0,
            kind: wish.kind,
            node: found.node,
            task: found.task,
            fill: (wish.kind == DrillKind::Disk).then_some(wish.fill),
            target: found.target.clone(),
            by: by::asked(),
            begun: wall_time(),
            begun_at: self.ring.now(),
            fuse: FUSE,
            lasts: match wish.kind.lasts() {
                true => asked.lasts,
                false => Duration::ZERO,
            },
            lease: asked.lease,
            services: found.services.iter().map(|it| it.id).collect(),
            obeyed: None,
            end: None,
        };
        let change = Change::PutDrill(Arc::new(drill));
        self.commit(request, Answer::Drill(id), vec![change])
            .await?;
        let now = self.ring.stale();
        let drill = answered(&now, request)?
            .ok_or_else(|| Status::unavailable("the answer is not known here yet; repeat"))?;
        Ok((drill, now, wish, found))
    }

    /// Ends a drill. One that has ended stays as it is.
    pub(super) async fn drill_ended(
        &self,
        request: RequestId,
        reference: Option<&str>,
        verdict: String,
        report: String,
    ) -> Result<Arc<Drill>, Status> {
        if !VERDICTS.contains(&verdict.as_str()) {
            return Err(Status::invalid_argument(format!(
                "verdict: expected one of {}",
                VERDICTS.join(", ")
            )));
        }
        if report.len() > REPORT_AT_MOST {
            return Err(Status::invalid_argument(format!(
                "report: has {} bytes; at most {REPORT_AT_MOST} are kept",
                report.len()
            )));
        }
        for _ in 0..TRIES {
            let state = self.read().await?;
            if let Some(drill) = answered(&state, request)? {
                return Ok(drill);
            }
            let drill = match reference {
                Some(reference) => one(&state, reference)?,
                None => running(&state, self.ring.now())?,
            };
            if drill.end.is_some() {
                return Ok(drill);
            }
            let mut ended = Drill::clone(&drill);
            ended.end = Some(DrillEnd {
                at: wall_time(),
                verdict: verdict.clone(),
                report: report.clone(),
            });
            let change = Change::PutDrill(Arc::new(ended));
            let answer = Answer::Drill(drill.id);
            match self.commit(request, answer, vec![change]).await {
                Err(status) if status.code() == Code::Aborted => continue,
                other => other?,
            };
            let now = self.ring.stale();
            return Ok(now.drill(drill.id).cloned().unwrap_or(drill));
        }
        Err(Status::aborted(
            "the drill changes too fast just now; repeat",
        ))
    }

    /// Drills that are kept, the newest first; one alone where it is named.
    pub(super) async fn drills_kept(
        &self,
        reference: Option<&str>,
    ) -> Result<(State, Vec<Arc<Drill>>), Status> {
        let state = self.read().await?;
        let mut found = match reference {
            Some(reference) => vec![one(&state, reference)?],
            None => state.drills().cloned().collect(),
        };
        found.sort_by_key(|it| std::cmp::Reverse((it.begun_at, it.id)));
        Ok((state, found))
    }
}

/// What has become of a drill, in one word.
pub(super) fn standing(drill: &Drill, now: ClusterTime) -> &'static str {
    match &drill.end {
        Some(_) => "ended",
        None if drill.runs(now) => "running",
        None => "abandoned",
    }
}

fn bounded(asked: &Asked) -> Result<(), Status> {
    let invalid = |text: String| Err(Status::invalid_argument(text));
    if asked.kind.lasts() && !(Duration::from_secs(1)..=LASTS_AT_MOST).contains(&asked.lasts) {
        return invalid(format!(
            "--for {:?}: a failure lasts between 1 s and {} s",
            asked.lasts,
            LASTS_AT_MOST.as_secs()
        ));
    }
    let fill = asked.fill.unwrap_or_default();
    if asked.kind == DrillKind::Disk && fill.shared && fill.reserve < RESERVE_AT_LEAST {
        return invalid(format!(
            "--allow-shared: leave the system itself at least {} MiB free, with --reserve",
            RESERVE_AT_LEAST >> 20
        ));
    }
    let least = asked
        .lasts
        .saturating_add(FUSE)
        .saturating_add(LEASE_MARGIN);
    if !(least..=LEASE_AT_MOST).contains(&asked.lease) {
        return invalid(format!(
            "a drill that lasts for {:?} cannot be watched for {:?}: watch it for {least:?} at least and {} s at most \
             (--max-recovery)",
            asked.lasts,
            asked.lease,
            LEASE_AT_MOST.as_secs()
        ));
    }
    Ok(())
}

fn target(state: &State, kind: DrillKind, text: &str) -> Result<Target, Status> {
    match kind {
        DrillKind::Leader => Err(Status::invalid_argument(
            "a drill of the leader takes no target: whoever leads is taken",
        )),
        DrillKind::Task => of_task(state, text),
        DrillKind::Node | DrillKind::Link | DrillKind::RestartDaemon | DrillKind::Disk => {
            Ok(Target::Node(resolve::node(state, text)?.id))
        }
    }
}

/// A service, `NAME.SLOT`, or a task's id.
fn of_task(state: &State, text: &str) -> Result<Target, Status> {
    if let Ok(service) = resolve::service(state, text) {
        return Ok(Target::Service(service.id));
    }
    if let Some((name, slot)) = text.rsplit_once('.')
        && let Some(service) = state.service_named(name)
    {
        let own = state.tasks_of(service.id);
        let mut own = own.filter(|it| it.slot.to_string() == slot && !it.status.state.ended());
        return match own.next() {
            Some(task) => Ok(Target::Task(task.id)),
            None => Err(Status::not_found(format!(
                "service \"{name}\" has no task {slot} that runs; see which it has with: skep service ps {name}"
            ))),
        };
    }
    if let Ok(task) = resolve::task(state, text) {
        return Ok(Target::Task(task.id));
    }
    let names: BTreeSet<&str> = state.services().map(|it| it.spec.name.as_str()).collect();
    let near = near(text, names.into_iter());
    let hint = match near.first() {
        Some(name) => format!("; near it is \"{name}\""),
        None => String::new(),
    };
    Err(Status::not_found(format!(
        "there is no service and no task \"{text}\"{hint}; see what there is with: skep service ls"
    )))
}

/// The drill with this id, or the only one whose id begins so.
fn one(state: &State, reference: &str) -> Result<Arc<Drill>, Status> {
    let begins =
        |it: &&Arc<Drill>| !reference.is_empty() && it.id.to_string().starts_with(reference);
    let mut found = state.drills().filter(begins);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Status::not_found(format!(
            "there is no drill \"{reference}\"; see which are kept with: skep drill ls"
        ))),
        (Some(_), Some(_)) => Err(Status::failed_precondition(format!(
            "more than one drill has an id that begins with \"{reference}\"; give more of it"
        ))),
    }
}

fn running(state: &State, now: ClusterTime) -> Result<Arc<Drill>, Status> {
    let found = state.drill_at(now).cloned();
    found.ok_or_else(|| Status::not_found("no drill goes on"))
}

/// The drill that a repeated request got.
fn answered(state: &State, request: RequestId) -> Result<Option<Arc<Drill>>, Status> {
    match state.answered(request).map(|it| &it.answer) {
        None => Ok(None),
        Some(Answer::Drill(id)) => Ok(state.drill(*id).cloned()),
        Some(_) => Err(Status::invalid_argument(
            "the request id was used for another command",
        )),
    }
}
