//! One task's log as it comes from its node.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_proto::task::Task;
use skep_proto::wire::v1;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::{Relay, tasks};
use crate::state::State;

/// Answers read ahead of the one that merges.
const AHEAD: usize = 2;
/// For a node to begin to answer.
const BEGIN: Duration = Duration::from_secs(10);

/// From one try to reach a node again to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// For a node that managers take for up to answer again: as long as a daemon may be away that said it restarts.
const AWAY: Duration = Duration::from_secs(60);

/// What a source says.
pub enum Said {
    /// Records in their order.
    Records(Vec<v1::LogRecord>),
    /// What was there has come; what comes now is new.
    CaughtUp,
    /// It cannot be read (any more), and why.
    Lost(String),
}

/// Reads one task's log. Its records bear `number`. It ends when there is no more.
pub fn open(
    relay: Relay,
    state: State,
    task: Arc<Task>,
    range: v1::LogRange,
    number: u32,
) -> mpsc::Receiver<Said> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let name = tasks::name(&state, &task);
        let reading = read(&relay, &state, &task, range, number, &sender);
        let lost = tokio::select! {
            read = reading => read.err(),
            reason = went_down(&relay, &task) => Some(format!("{name}: {reason}")),
            () = sender.closed() => None,
        };
        if let Some(reason) = lost {
            // The one that merges may be gone with its reader.
            drop(sender.send(Said::Lost(reason)).await);
        }
    });
    receiver
}

/// How far a log was read, to go on there over a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    /// Time of the last record.
    at_ns: u64,
    /// How many of that time were read: what is written together has the same.
    of_that_time: u64,
    /// What was there when the call came has been read: nobody waits for this source any more.
    caught_up: bool,
    /// How often the node began to answer.
    begun: u64,
}

impl Position {
    fn pass(&mut self, record: &v1::LogRecord) {
        if record.at_ns != self.at_ns {
            self.at_ns = record.at_ns;
            self.of_that_time = 0;
        }
        self.of_that_time += 1;
    }
}

/// Why a log is not read on.
enum Stop {
    /// There is no more, or nobody wants it.
    Over,
    /// The node says no.
    Refused(String),
    /// The connection is gone: its daemon may be starting again.
    Broken(String),
}

/// Reads to the end. While a log is followed, a node that is not down is asked again where it was left.
async fn read(
    relay: &Relay,
    state: &State,
    task: &Task,
    range: v1::LogRange,
    number: u32,
    sender: &mpsc::Sender<Said>,
) -> Result<(), String> {
    let mut position = None;
    let mut broken: Option<(Position, Instant)> = None;
    loop {
        let stop = read_once(relay, state, task, (range, number), &mut position, sender).await;
        let reason = match stop {
            Stop::Over => return Ok(()),
            Stop::Refused(reason) => return Err(reason),
            Stop::Broken(reason) => reason,
        };
        let Some(place) = position.filter(|place| range.follow && place.caught_up) else {
            return Err(reason);
        };
        match broken {
            Some((at, since)) if at == place && since.elapsed() > AWAY => return Err(reason),
            Some((at, _)) if at == place => {}
            _ => broken = Some((place, Instant::now())),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads over one connection, from a position if there is one.
async fn read_once(
    relay: &Relay,
    state: &State,
    task: &Task,
    (range, number): (v1::LogRange, u32),
    position: &mut Option<Position>,
    sender: &mpsc::Sender<Said>,
) -> Stop {
    let name = tasks::name(state, task);
    let mut reached = match relay.reach(state, task).await {
        Ok(reached) => reached,
        Err(reason) => return Stop::Broken(reason),
    };
    let again = position.as_ref().map(|position| v1::LogRange {
        tail: None,
        since_ns: Some(position.at_ns),
        ..range
    });
    let mut passed = position
        .as_ref()
        .map_or(0, |position| position.of_that_time);
    let request = v1::ContainerLogsRequest {
        reference: task.id.to_string(),
        range: Some(again.unwrap_or(range)),
    };
    let begun = tokio::time::timeout(BEGIN, reached.client.logs(request)).await;
    let said = |status: &Status| format!("{name}: {}", status.message());
    let mut answers = match begun {
        Ok(Ok(answers)) => answers.into_inner(),
        // A task that ended before it had a container, or whose container was taken away meanwhile.
        Ok(Err(status)) if status.code() == Code::NotFound => return Stop::Over,
        Ok(Err(status)) if status.code() == Code::Unavailable => {
            return Stop::Broken(said(&status));
        }
        Ok(Err(status)) => return Stop::Refused(said(&status)),
        Err(_) => return Stop::Broken(format!("{name}: its node does not answer")),
    };
    let place = position.get_or_insert_with(|| Position {
        at_ns: range.since_ns.unwrap_or(0),
        ..Position::default()
    });
    place.begun += 1;
    loop {
        let answer = match answers.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Stop::Over,
            Err(status) => return Stop::Broken(said(&status)),
        };
        let mut records = answer.records;
        records.retain(|record| {
            let known = passed > 0 && record.at_ns == place.at_ns;
            passed = if known { passed - 1 } else { 0 };
            !known
        });
        for record in &mut records {
            record.source = number;
            place.pass(record);
        }
        if !records.is_empty() && sender.send(Said::Records(records)).await.is_err() {
            return Stop::Over;
        }
        if answer.caught_up {
            // With a tail nothing may have been read: what is older than now was not wanted.
            if place.at_ns == 0 && range.tail.is_some() {
                place.at_ns = now_ns();
            }
            // Once is enough: after a break the merge has long been over.
            let first = !std::mem::replace(&mut place.caught_up, true);
            if first && sender.send(Said::CaughtUp).await.is_err() {
                return Stop::Over;
            }
        }
    }
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Waits until the node of a task is down, as managers see it.
async fn went_down(relay: &Relay, task: &Task) -> String {
    let mut changes = relay.ring.watch();
    loop {
        let state = changes.borrow_and_update().state.clone();
        let node = task.node.and_then(|id| state.node(id));
        match node {
            None => return "its node was removed".into(),
            Some(node) if node.status.state == skep_proto::node::NodeState::Down => {
                return format!("node {} is down", node.description.hostname);
            }
            Some(_) => {}
        }
        if changes.changed().await.is_err() {
            return "this manager is ending".into();
        }
    }
}
