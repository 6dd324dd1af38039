//! `skep node drain`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use skep_proto::wire::v1;

use super::client::{Client, persist, request};
use super::node;
use crate::args::swarm::DrainArgs;
use crate::output;

/// The drain goes on, but time ran out: as `timeout` ends.
const OUT_OF_TIME: u8 = 124;
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(200);

/// Drains a node, and waits until nothing runs there where asked to.
pub(super) async fn run(client: &Client, args: DrainArgs) -> anyhow::Result<ExitCode> {
    let reference = node::reference(client, &args.node).await?;
    let message = v1::DrainNodeRequest {
        request: request(),
        reference: reference.clone(),
        force: args.force,
    };
    persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.drain_node(message).await }
    })
    .await?;
    if !args.wait {
        output::line(&args.node)?;
        return Ok(ExitCode::SUCCESS);
    }
    let begin = Instant::now();
    let mut last = None;
    loop {
        let left = left(client, &reference).await?;
        if left == 0 {
            output::line(&args.node)?;
            return Ok(ExitCode::SUCCESS);
        }
        if last.replace(left) != Some(left) {
            let tasks = if left == 1 { "task" } else { "tasks" };
            output::notice(&format!("{left} {tasks} left on {}", args.node));
        }
        if !args.timeout.is_zero() && begin.elapsed() >= args.timeout {
            output::notice(&format!(
                "Error: {left} are left on {} after {:?}; the drain goes on, see what they wait for with: skep \
                 node ps {}",
                args.node, args.timeout, args.node
            ));
            return Ok(ExitCode::from(OUT_OF_TIME));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Tasks on the node that have not ended.
async fn left(client: &Client, node: &str) -> anyhow::Result<usize> {
    let message = v1::ListTasksRequest {
        nodes: vec![node.to_owned()],
        ..Default::default()
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.list_tasks(message).await }
    })
    .await?;
    let live = answer.tasks.iter().filter(|entry| {
        let status = entry.task.as_ref().and_then(|task| task.status.as_ref());
        status.is_some_and(|status| !ended(status.state()))
    });
    Ok(live.count())
}

fn ended(state: v1::TaskState) -> bool {
    matches!(
        state,
        v1::TaskState::Complete
            | v1::TaskState::Shutdown
            | v1::TaskState::Failed
            | v1::TaskState::Rejected
            | v1::TaskState::Orphaned
            | v1::TaskState::Remove
    )
}
