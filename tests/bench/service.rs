//! A rolling update of all replicas at once, and the end of a large service.

use std::time::{Duration, Instant};

use anyhow::bail;
use skep_harness::builders;
use skep_harness::cluster::Cluster;
use skep_harness::in_process::request;
use skep_proto::spec::TaskSpec;
use skep_proto::task::{Task, TaskState};
use skep_proto::wire::v1;

use crate::cluster::{User, creation, remove, until_running, user};
use crate::floor;
use crate::report::{Line, Times, shown};
use crate::start::hello;

const NODE: &str = "node-1";
const UPDATED: u32 = 20;
const REMOVED: u32 = 200;
const UPDATES: usize = 9;
const REMOVALS: usize = 3;
/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both, on a cluster of one, beside the same number of containers begun and ended by hand.
pub async fn measure(
    cluster: &Cluster,
    asked: &impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<Line>> {
    let mut user = user(cluster, NODE).await?;
    let floor = floor::many(cluster, &hello(cluster, &mut user).await?)?;
    let by_hand = |count: u32, rate: f64| Duration::from_secs_f64(f64::from(count) / rate);
    let mut lines = Vec::new();
    if asked("update") {
        let taken = updates(&mut user).await?;
        eprintln!("update of {UPDATED} at once: {}", taken.shown());
        // The old ones end as well.
        let floor = by_hand(UPDATED, floor.begun) + by_hand(UPDATED, floor.ended);
        lines.push(Line {
            what: format!("rolling update of {UPDATED} replicas at once, image present"),
            measured: taken.shown(),
            floor: format!("{} to end and begin {UPDATED} by hand", shown(floor)),
            ratio: taken.median().as_secs_f64() / floor.as_secs_f64(),
            goal: "≤ 0.5 s",
        });
    }
    if asked("rm") {
        let taken = removals(&mut user).await?;
        eprintln!("service rm of {REMOVED}: {}", taken.shown());
        let floor = by_hand(REMOVED, floor.ended);
        lines.push(Line {
            what: format!(
                "service rm of {REMOVED} that stop at once, from the call until none is left"
            ),
            measured: taken.shown(),
            floor: format!(
                "{} to kill {REMOVED} by hand and remove their groups",
                shown(floor)
            ),
            ratio: taken.median().as_secs_f64() / floor.as_secs_f64(),
            goal: "≤ 2 s",
        });
    }
    Ok(lines)
}

/// From the call to so many new tasks that run.
async fn updates(user: &mut User) -> anyhow::Result<Times> {
    user.create_service(creation("updated", UPDATED, None))
        .await?;
    until_running(user, "updated", UPDATED, Duration::from_millis(5)).await?;
    let mut taken = Vec::new();
    for number in 0..UPDATES {
        let mut task = builders::task_spec();
        task.container.env = vec![format!("NUMBER={number}")];
        let mut spec = builders::service_spec("updated", UPDATED, task);
        spec.update.parallelism = 0;
        let message = v1::UpdateServiceRequest {
            request: request(),
            reference: "updated".into(),
            spec: Some(v1::ServiceSpec::from(&spec)),
            ..Default::default()
        };
        let begin = Instant::now();
        user.update_service(message).await?;
        until_new(user, &spec.task.container.env).await?;
        taken.push(begin.elapsed());
    }
    remove(user, "updated").await?;
    Ok(Times::new(taken))
}

/// Waits until all replicas run with this environment.
async fn until_new(user: &mut User, env: &[String]) -> anyhow::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let tasks = user.list_tasks(v1::ListTasksRequest::default()).await?;
        let mut new = 0;
        for entry in tasks.into_inner().tasks {
            let (Some(task), Some(spec)) = (entry.task, entry.spec) else {
                continue;
            };
            let (task, spec) = (Task::try_from(task)?, TaskSpec::try_from(spec)?);
            let runs = task.status.state == TaskState::Running && spec.container.env == env;
            new += u32::from(runs);
        }
        if new == UPDATED {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("the update does not end within {PATIENCE:?}")
}

/// From the call until no task is left.
async fn removals(user: &mut User) -> anyhow::Result<Times> {
    let mut taken = Vec::new();
    for _ in 0..REMOVALS {
        user.create_service(creation("removed", REMOVED, None))
            .await?;
        until_running(user, "removed", REMOVED, Duration::from_millis(20)).await?;
        let begin = Instant::now();
        remove(user, "removed").await?;
        taken.push(begin.elapsed());
    }
    Ok(Times::new(taken))
}
