//! The door for drills: converts calls, and shows how one goes.
//!
//! Whoever comes through here may stop containers and cut nodes off. It is a service of its own, so that a right
//! that is less than an administrator's does not reach it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::Stream;
use skep_proto::drill::{Drill, DrillKind};
use skep_proto::ids::{DrillId, NodeId};
use skep_proto::node::NodeState;
use skep_proto::spec::{Protocol, PublishMode};
use skep_proto::time::WallTime;
use skep_proto::wire::{self, WireId, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::drills::{Asked, standing as word};
use super::{Control, forward, refuse};
use crate::plan::drill::{Drilled, Touched, Wish, behind, steps};
use crate::plan::{Standing, standing};
use crate::ring::wall_time;
use crate::state::{EventPlace, State};

/// Pictures that a slow watcher may be behind.
const BEHIND: usize = 1;
/// Pictures follow each other no faster than this.
const PACE: Duration = Duration::from_millis(5);
/// And no slower: a watcher that hears nothing for much longer asks another manager.
const BEAT: Duration = Duration::from_millis(100);
/// Doors that are named; the rest are not asked.
const DOORS: usize = 64;

type Answered<T> = Result<Response<T>, Status>;
type Pictures = Pin<Box<dyn Stream<Item = Result<v1::DrillPicture, Status>> + Send>>;

fn known<T>(read: Result<T, wire::WireError>) -> Result<T, Status> {
    read.map_err(|error| refuse::malformed(&error))
}

fn asked(message: &v1::DrillRequest) -> Result<Asked, Status> {
    Ok(Asked {
        kind: known(wire::enumeration::<v1::DrillKind, DrillKind>(
            message.kind,
            "kind",
        ))?,
        target: message.target.clone(),
        fill: message.fill.map(Into::into),
        lasts: Duration::from_millis(message.lasts_ms),
        lease: Duration::from_millis(message.lease_ms),
        asked_on: match message.asked_on.is_empty() {
            true => None,
            false => Some(known(wire::id::<NodeId>(&message.asked_on, "asked_on"))?),
        },
    })
}

#[tonic::async_trait]
impl v1::drills_server::Drills for Control {
    type WatchDrillStream = Pictures;

    async fn plan_drill(&self, request: Request<v1::DrillRequest>) -> Answered<v1::DrillPlan> {
        let asked = asked(&request.into_inner())?;
        let (state, wish, drilled) = self.look_at_drill(&asked).await?;
        Ok(Response::new(plan(&state, &wish, drilled)))
    }

    async fn begin_drill(
        &self,
        request: Request<v1::DrillRequest>,
    ) -> Answered<v1::BeginDrillAnswer> {
        let message = request.into_inner();
        let id = known(wire::request_id(&message.request))?;
        let (drill, state, wish, drilled) = self.drill_begun(id, &asked(&message)?).await?;
        Ok(Response::new(v1::BeginDrillAnswer {
            drill: Some((&*drill).into()),
            plan: Some(plan(&state, &wish, drilled)),
        }))
    }

    async fn watch_drill(&self, request: Request<v1::WatchDrillRequest>) -> Answered<Pictures> {
        let id = known(wire::id::<DrillId>(&request.into_inner().id, "id"))?;
        self.read().await?;
        Ok(Response::new(self.drill_pictures(id)))
    }

    async fn end_drill(
        &self,
        request: Request<v1::EndDrillRequest>,
    ) -> Answered<v1::EndDrillAnswer> {
        let message = request.into_inner();
        let id = known(wire::request_id(&message.request))?;
        let reference = message.reference.as_deref();
        let ended = self
            .drill_ended(id, reference, message.verdict, message.report)
            .await?;
        Ok(Response::new(v1::EndDrillAnswer {
            drill: Some((&*ended).into()),
        }))
    }

    async fn list_drills(
        &self,
        request: Request<v1::ListDrillsRequest>,
    ) -> Answered<v1::ListDrillsAnswer> {
        let message = request.into_inner();
        let (state, drills) = self.drills_kept(message.reference.as_deref()).await?;
        let now = self.ring.now();
        let entries = drills.iter().map(|drill| v1::DrillEntry {
            drill: Some((&**drill).into()),
            state: word(drill, now).to_owned(),
            node_name: name(&state, drill.node),
        });
        Ok(Response::new(v1::ListDrillsAnswer {
            drills: entries.collect(),
        }))
    }
}

impl Control {
    fn drill_pictures(&self, id: DrillId) -> Pictures {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let control = self.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = control.send_drill(id, &sender) => ended,
                () = control.live.ended() => Some(forward::no_leader()),
                () = sender.closed() => None,
            };
            if let Some(status) = ended {
                // A watcher that is gone needs no reason.
                drop(sender.send(Err(status)).await);
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }

    async fn send_drill(
        &self,
        id: DrillId,
        sender: &mpsc::Sender<Result<v1::DrillPicture, Status>>,
    ) -> Option<Status> {
        let (mut changes, mut live) = (self.ring.watch(), self.live.watch());
        let mut told = newest(&changes.borrow().state).map(|it| it.0);
        loop {
            let state = changes.borrow_and_update().state.clone();
            live.borrow_and_update();
            let Some(drill) = state.drill(id) else {
                return Some(Status::not_found("the drill is not kept any more"));
            };
            let mut picture = self.drill_picture(&state, drill);
            // What is new in it is from when it happened, not from when somebody came to look.
            if let Some((place, at)) = newest(&state).filter(|it| Some(it.0) > told) {
                told = Some(place);
                picture.at_ms = at.unix_millis();
            }
            sender.send(Ok(picture)).await.ok()?;
            if drill.end.is_some() {
                return None;
            }
            tokio::time::sleep(PACE).await;
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                changed = live.changed() => changed.ok()?,
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    fn drill_picture(&self, state: &State, drill: &Drill) -> v1::DrillPicture {
        let seen = self.live.seen(Instant::now(), state.meta().looked);
        let services = drill.services.iter().filter_map(|id| state.service(*id));
        let networks: BTreeSet<_> = services
            .clone()
            .flat_map(|service| {
                let tasks = state.tasks_of(service.id);
                tasks.flat_map(|task| task.attachments.iter().map(|at| at.network))
            })
            .collect();
        let shown = services.map(|service| {
            let Standing {
                running, desired, ..
            } = standing(state, service);
            touched(&Touched {
                id: service.id,
                name: service.spec.name.clone(),
                desired,
                running,
                touched: 0,
            })
        });
        let node = state.node(drill.node);
        let node_state = node.map_or(NodeState::Unknown, |node| node.status.state);
        let task = drill.task.and_then(|id| state.task(id));
        let late = behind(state, &seen, &networks);
        v1::DrillPicture {
            at_ms: wall_time().unix_millis(),
            drill: Some(drill.into()),
            node_state: node_state.to_string(),
            node_present: self.live.present(drill.node),
            leader: self.me.to_bytes(),
            services: shown.collect(),
            task_ended: drill.task.is_some() && task.is_none_or(|it| it.status.state.ended()),
            behind: late.into_iter().map(|node| name(state, node)).collect(),
        }
    }
}

/// The last event: its place, and when it was.
fn newest(state: &State) -> Option<(EventPlace, WallTime)> {
    let event = state.newest_event()?;
    Some(((event.revision, event.position), event.at))
}

fn name(state: &State, node: NodeId) -> String {
    let found = state.node(node);
    found.map_or_else(|| node.to_string(), |it| it.description.hostname.clone())
}

fn touched(it: &Touched) -> v1::DrilledService {
    v1::DrilledService {
        id: it.id.to_bytes(),
        name: it.name.clone(),
        desired: it.desired,
        running: it.running,
        touched: it.touched,
    }
}

fn plan(state: &State, wish: &Wish, drilled: Drilled) -> v1::DrillPlan {
    v1::DrillPlan {
        kind: v1::DrillKind::from(wish.kind).into(),
        node: drilled.node.to_bytes(),
        node_name: name(state, drilled.node),
        steps: steps(state, wish, &drilled),
        doors: doors(state, wish, &drilled),
        task: drilled.task.map(WireId::to_bytes),
        target: drilled.target,
        tasks: drilled.tasks,
        services: drilled.services.iter().map(touched).collect(),
        refusals: drilled.refusals,
    }
}

/// Where the services can be asked while the drill goes on: on each node but one that is cut off.
fn doors(state: &State, wish: &Wish, drilled: &Drilled) -> Vec<v1::DrillDoor> {
    let there = |id: NodeId| !wish.kind.cuts() || id != drilled.node;
    let up = |state| state == NodeState::Up;
    let up = state
        .nodes()
        .filter(|node| up(node.status.state) && there(node.id));
    let nodes: Vec<_> = up.collect();
    let services = drilled.services.iter();
    let ports = services
        .filter_map(|it| state.service(it.id))
        .flat_map(|service| {
            let ports = service.ports.iter();
            let ports =
                ports.filter(|it| (it.protocol, it.mode) == (Protocol::Tcp, PublishMode::Ingress));
            ports.map(move |port| (service, port.published))
        });
    let all = ports.flat_map(|(service, port)| {
        nodes.iter().map(move |node| v1::DrillDoor {
            service: service.spec.name.clone(),
            node_name: node.description.hostname.clone(),
            address: Some(std::net::SocketAddr::new(node.address, port).into()),
        })
    });
    all.take(DOORS).collect()
}
