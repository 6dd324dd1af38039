//! Holds one drill: asks its services before, begins it, watches until all is as before, and ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use skep_deploy::drill::{
    Asked, Headline, Picture, Report, Requests, ServicePicture, Stage, Watch,
};
use skep_proto::drill::{Drill, FUSE};
use skep_proto::ids::{DrillId, NodeId};
use skep_proto::node::{Node, NodeState};
use skep_proto::wire::{self, WireId, v1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::probe::{Door, ask_all};
use super::{Wanted, asked, budget, lease, looked_at};
use crate::commands::client::{Client, persist, request};
use crate::commands::rows::time;
use crate::output;

/// Services are asked so long before it begins, and so long after all is as before.
const CALM: Duration = Duration::from_secs(1);
/// A node that can be heard accepts a drill within this time.
const ACCEPTS: Duration = Duration::from_secs(8);
/// A manager that says nothing for so long is not asked any more.
const SILENT: Duration = Duration::from_millis(700);
/// It answers the call for pictures within this time, an election included.
const OPENS: Duration = Duration::from_secs(3);
/// From one look at who leads to the next.
const LOOK: Duration = Duration::from_millis(50);
/// A call that finds no manager is made again after this time.
const AGAIN: Duration = Duration::from_millis(50);
/// Requests that wait to be counted.
const WAITING: usize = 4096;

/// Who watches.
struct Watcher<'a> {
    client: &'a Client,
    clock: Clock,
    drill: Drill,
    watch: Watch,
    requests: Requests,
    asked: mpsc::Receiver<Asked>,
    names: BTreeMap<NodeId, String>,
    stage: Stage,
}

/// How watching ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Nothing more is to be seen.
    Seen,
    /// The node could not make the failure: nothing was changed.
    Refused,
    /// The user wants no more of it.
    Interrupted,
}

/// Holds it and gives its report.
///
/// # Errors
/// When it is not begun: then nothing was changed.
pub async fn hold(client: &Client, wanted: Wanted) -> anyhow::Result<(Report, Ending)> {
    let (kind, measure) = (wanted.kind, &wanted.measure);
    let watched = lease(wanted.lasts, measure.max_recovery);
    let mut message = asked(client, &wanted.asked()).await?;
    let plan = looked_at(client, &message).await?;
    if plan.refusals.is_empty() {
        // What was looked at is what is taken, also where it was chosen.
        message.target = chosen(kind, &plan)?;
    }
    let doors = match measure.no_probe {
        true => Vec::new(),
        false => doors(client, &wanted, &plan).await?,
    };
    let names = nodes(client).await?.into_iter();
    let names: BTreeMap<NodeId, String> = names
        .map(|node| (node.id, node.description.hostname))
        .collect();
    let leader = name(&names, leader(client).await?);
    let clock = Clock::new();
    let (told, requests) = mpsc::channel(WAITING);
    let asking = match plan.refusals.is_empty() {
        true => ask_all(&doors, measure.rate, measure.probe_timeout, clock, &told),
        false => JoinSet::new(),
    };
    if !asking.is_empty() {
        tokio::time::sleep(CALM).await;
    }
    let answer = persist(|| {
        let (mut drills, message) = (client.drills.clone(), message.clone());
        async move { drills.begin_drill(message).await }
    })
    .await?;
    let drill = answer.drill.context("an answer without a drill")?;
    let drill = Drill::try_from(drill)?;
    let fuse = u64::try_from(FUSE.as_millis()).unwrap_or_default();
    let mut watcher = Watcher {
        client,
        clock,
        watch: Watch::new(kind, fuse, &leader),
        requests: Requests::new(doors.iter().map(|door| door.name.clone())),
        asked: requests,
        names,
        stage: Stage::Asked,
        drill,
    };
    let target = &watcher.drill.target;
    output::notice(&format!(
        "drill {} of {target} is begun: {}",
        kind, watcher.drill.id
    ));
    let ending = watcher.until_back(watched).await;
    if ending == Ending::Seen && !asking.is_empty() {
        watcher.calm().await;
    }
    drop((asking, told));
    watcher.count();
    let report = watcher.end(&wanted, ending).await?;
    Ok((report, ending))
}

/// Which was chosen, so that it can be named.
fn chosen(
    kind: skep_proto::drill::DrillKind,
    plan: &v1::DrillPlan,
) -> anyhow::Result<Option<String>> {
    use skep_proto::drill::DrillKind;
    use skep_proto::ids::TaskId;
    Ok(match (kind, &plan.task) {
        (DrillKind::Leader, _) => None,
        (DrillKind::Task, Some(task)) => Some(wire::id::<TaskId>(task, "task")?.to_string()),
        _ => Some(wire::id::<NodeId>(&plan.node, "node")?.to_string()),
    })
}

/// Who leads now.
async fn leader(client: &Client) -> anyhow::Result<NodeId> {
    let cluster = persist(|| {
        let mut control = client.control.clone();
        async move { control.get_cluster(v1::GetClusterRequest::default()).await }
    })
    .await?;
    let leader = cluster.leader.context("an answer without a leader")?;
    Ok(wire::id(&leader, "leader")?)
}

async fn nodes(client: &Client) -> anyhow::Result<Vec<Node>> {
    let answer = persist(|| {
        let mut control = client.control.clone();
        async move { control.list_nodes(v1::ListNodesRequest::default()).await }
    })
    .await?;
    let nodes = answer.nodes.into_iter().filter_map(|entry| entry.node);
    nodes.map(|node| Ok(Node::try_from(node)?)).collect()
}

/// Where to ask: what was named, else what the services publish.
async fn doors(
    client: &Client,
    wanted: &Wanted,
    plan: &v1::DrillPlan,
) -> anyhow::Result<Vec<Door>> {
    if wanted.measure.probe.is_empty() {
        let published = plan.doors.iter().map(|door| {
            let address = door.address.clone().context("a door without an address")?;
            let address = SocketAddr::try_from(address)?;
            Ok(Door::published(&door.service, &door.node_name, address))
        });
        return published.collect();
    }
    let there = |node: &Node| {
        let target = node.id.to_bytes() == plan.node && wanted.kind.cuts();
        node.status.state == NodeState::Up && !target
    };
    let nodes = nodes(client).await?.into_iter().filter(there);
    let nodes: Vec<SocketAddr> = nodes.map(|it| SocketAddr::new(it.address, 0)).collect();
    let mut doors = Vec::new();
    for probe in &wanted.measure.probe {
        doors.extend(probe.doors(&nodes).await.context("--probe")?);
    }
    Ok(doors)
}

impl Watcher<'_> {
    /// Watches until all is as before, or it is clear that it will not be.
    async fn until_back(&mut self, lease: Duration) -> Ending {
        let begin = tokio::time::Instant::now();
        let (end, accepts) = (begin + lease, begin + ACCEPTS);
        let (sender, mut heard) = mpsc::channel(WAITING);
        let mut hearing = JoinSet::new();
        let client = || self.client.clone();
        hearing.spawn(hear_leaders(client(), self.clock, sender.clone()));
        hearing.spawn(hear_pictures(client(), self.drill.id, self.clock, sender));
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        loop {
            let unheard = self.watch.stage() == Stage::Asked;
            let over = self.watch.refused().is_some() || self.watch.ended();
            if self.watch.never() {
                return Ending::Refused;
            }
            if over || self.watch.stage() == Stage::Back {
                return Ending::Seen;
            }
            tokio::select! {
                _ = &mut interrupted => return Ending::Interrupted,
                () = tokio::time::sleep_until(end) => return Ending::Seen,
                () = tokio::time::sleep_until(accepts), if unheard => return Ending::Seen,
                Some(asked) = self.asked.recv() => self.requests.take(&asked),
                Some(heard) = heard.recv() => match heard {
                    Heard::Picture(at, picture) => self.see(*picture, at),
                    Heard::Leads(at, leader) => {
                        self.watch.led_by(&name(&self.names, leader), at);
                    }
                },
            }
        }
    }

    /// Goes on asking for a moment: what is as before stays so.
    async fn calm(&mut self) {
        let until = tokio::time::Instant::now() + CALM;
        while let Ok(Some(asked)) = tokio::time::timeout_at(until, self.asked.recv()).await {
            self.requests.take(&asked);
        }
    }

    /// Counts what has ended and was not counted.
    fn count(&mut self) {
        while let Ok(asked) = self.asked.try_recv() {
            self.requests.take(&asked);
        }
    }

    fn see(&mut self, message: v1::DrillPicture, at: u64) {
        match picture(message, at, &self.names) {
            Ok(picture) => self.watch.see(picture),
            Err(error) => output::notice(&format!("a picture cannot be read: {error:#}")),
        }
        let stage = self.watch.stage();
        if stage != self.stage {
            self.stage = stage;
            let word = match stage {
                Stage::Asked => return,
                Stage::Accepted => "its node has accepted it",
                Stage::Detected => "the failure is seen",
                Stage::Recovered => "everything runs again, and all nodes know where",
                Stage::Back => "all is as before",
            };
            output::notice(word);
        }
    }

    /// Ends the drill in the cluster and gives the report.
    async fn end(self, wanted: &Wanted, ending: Ending) -> anyhow::Result<Report> {
        let drill = &self.drill;
        let headline = Headline {
            id: drill.id.to_string(),
            kind: drill.kind.to_string(),
            target: drill.target.clone(),
            by: drill.by.clone(),
            begun: time(drill.begun),
        };
        let budget = budget(&wanted.measure);
        let mut report = Report::new(headline, wanted.kind, budget, &self.watch, &self.requests);
        if ending == Ending::Interrupted {
            report.verdict = skep_deploy::drill::Verdict::Failed;
            report.reasons.insert(0, "it was interrupted".to_owned());
        }
        let message = v1::EndDrillRequest {
            request: request(),
            reference: Some(drill.id.to_string()),
            verdict: match ending {
                Ending::Seen | Ending::Refused => report.verdict.word().to_owned(),
                Ending::Interrupted => "stopped".to_owned(),
            },
            report: report.kept(),
        };
        let ended = persist(|| {
            let (mut drills, message) = (self.client.drills.clone(), message.clone());
            async move { drills.end_drill(message).await }
        });
        if ending == Ending::Interrupted && wanted.kind.cuts() {
            output::notice(&format!(
                "{} comes back by itself, at most {:?} after its failure",
                drill.target, drill.lasts
            ));
        }
        if let Err(error) = ended.await {
            // What was measured is told all the same; the drill ends by itself.
            output::notice(&format!("the report is not kept in the cluster: {error:#}"));
        }
        Ok(report)
    }
}

/// What is heard while a drill goes on.
enum Heard {
    /// A picture, and when it arrived.
    Picture(u64, Box<v1::DrillPicture>),
    /// This manager leads, as this node knew at this time.
    Leads(u64, NodeId),
}

/// Asks for pictures again and again: the manager that makes them may be the one that is cut off.
async fn hear_pictures(client: Client, drill: DrillId, clock: Clock, heard: mpsc::Sender<Heard>) {
    loop {
        let message = v1::WatchDrillRequest {
            id: drill.to_bytes(),
        };
        let mut drills = client.drills.clone();
        let opened = tokio::time::timeout(OPENS, drills.watch_drill(message)).await;
        if let Ok(Ok(answer)) = opened {
            let mut stream = answer.into_inner();
            while let Ok(Ok(Some(picture))) = tokio::time::timeout(SILENT, stream.message()).await {
                let picture = Heard::Picture(clock.now(), Box::new(picture));
                if heard.send(picture).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Asks this node again and again who leads, as far as it knows.
async fn hear_leaders(client: Client, clock: Clock, heard: mpsc::Sender<Heard>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let status = client.local.clone().status(v1::StatusRequest {}).await;
        let at = clock.now();
        let leader = status.ok().and_then(|status| status.into_inner().leader);
        let Some(Ok(leader)) = leader.map(|bytes| wire::id::<NodeId>(&bytes, "leader")) else {
            continue;
        };
        if heard.send(Heard::Leads(at, leader)).await.is_err() {
            return;
        }
    }
}

/// A picture as it is judged.
fn picture(
    from: v1::DrillPicture,
    arrived: u64,
    names: &BTreeMap<NodeId, String>,
) -> anyhow::Result<Picture> {
    let drill = Drill::try_from(from.drill.context("a picture without a drill")?)?;
    let leader = wire::id::<NodeId>(&from.leader, "leader")?;
    let services = from.services.into_iter().map(|it| ServicePicture {
        name: it.name,
        running: it.running,
        desired: it.desired,
    });
    Ok(Picture {
        arrived,
        made: from.at_ms,
        leader: name(names, leader),
        obeyed: drill.obeyed,
        ended: drill.end.is_some(),
        node_up: from.node_state == NodeState::Up.to_string(),
        node_present: from.node_present,
        task_ended: from.task_ended,
        services: services.collect(),
        behind: from.behind.into_iter().collect::<BTreeSet<_>>(),
    })
}

fn name(names: &BTreeMap<NodeId, String>, node: NodeId) -> String {
    names
        .get(&node)
        .cloned()
        .unwrap_or_else(|| node.to_string())
}
