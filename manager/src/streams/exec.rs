//! Passes a further program's streams on between a user and the node of its container.

use std::time::Duration;

use skep_proto::task::TaskState;
use skep_proto::wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Answers, Relay, tasks};
use crate::control::resolve;

/// Messages that wait for a slow reader, each way.
const AHEAD: usize = 4;
/// For the first message to come.
const PATIENCE: Duration = Duration::from_secs(10);

impl Relay {
    /// Passes on to the node of the task that the first message names.
    pub(super) async fn pass_exec(
        &self,
        mut input: Streaming<v1::ExecInput>,
    ) -> Result<Answers<v1::ExecOutput>, Status> {
        let first = tokio::time::timeout(PATIENCE, input.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no start came"))??;
        let Some(v1::exec_input::What::Start(mut start)) = first.and_then(|first| first.what)
        else {
            return Err(Status::invalid_argument("the first message is no start"));
        };
        let state = self.state().await;
        let task = resolve::task(&state, &start.reference)?;
        let name = tasks::name(&state, &task);
        if task.status.state != TaskState::Running {
            let is = format!("{:?}", task.status.state).to_lowercase();
            return Err(Status::failed_precondition(format!(
                "task {name} does not run: it is {is}; see which do with: skep task ls"
            )));
        }
        let mut reached = self
            .reach(&state, &task)
            .await
            .map_err(Status::failed_precondition)?;
        start.reference = task.id.to_string();
        let (to_node, from_user) = mpsc::channel(AHEAD);
        let start = v1::ExecInput {
            what: Some(v1::exec_input::What::Start(start)),
        };
        // There is room: nothing was sent before.
        let _ = to_node.try_send(start);
        let begun = reached.client.exec(ReceiverStream::new(from_user)).await?;
        let (to_user, answers) = mpsc::channel(AHEAD);
        tokio::spawn(pass(input, to_node, begun.into_inner(), to_user));
        Ok(Answers::new(answers))
    }
}

/// Passes both ways until one side is gone; then the other is too.
async fn pass(
    mut from_user: Streaming<v1::ExecInput>,
    to_node: mpsc::Sender<v1::ExecInput>,
    mut from_node: Streaming<v1::ExecOutput>,
    to_user: mpsc::Sender<Result<v1::ExecOutput, Status>>,
) {
    let there = async {
        loop {
            match from_user.message().await {
                Ok(Some(message)) => {
                    if to_node.send(message).await.is_err() {
                        // The program has ended; how, is still on its way back.
                        return std::future::pending().await;
                    }
                }
                // It sends no more and may go on listening.
                Ok(None) => return std::future::pending().await,
                // It is gone.
                Err(_) => return,
            }
        }
    };
    let back = async {
        loop {
            let message = match from_node.message().await {
                Ok(Some(message)) => Ok(message),
                Ok(None) => return,
                Err(status) => Err(Status::unavailable(format!(
                    "the connection to the node broke: {}",
                    status.message()
                ))),
            };
            let last = message.is_err();
            if to_user.send(message).await.is_err() || last {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
        () = to_user.closed() => {}
    }
}
