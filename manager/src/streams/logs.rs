//! The logs of services and tasks, merged by time up to the present, then as they come.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{SelectAll, Stream, StreamExt};
use skep_proto::ids::TaskId;
use skep_proto::task::Task;
use skep_proto::wire::{WireId, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::merge::Merge;
use super::source::{self, Said};
use super::tasks::{self, Meant};
use super::{Answers, Relay};
use crate::state::State;

/// Answers that wait for a slow reader.
const AHEAD: usize = 2;
/// Records of one answer, as many as a node sends: they may all be the longest.
const RECORDS: usize = 64;
/// Logs read at once: each has a connection of its own, so that none waits for another.
const SOURCES: usize = 500;

type Sender = mpsc::Sender<Result<v1::LogsAnswer, Status>>;
type Live = SelectAll<Pin<Box<dyn Stream<Item = (u32, Option<Said>)> + Send>>>;

impl Relay {
    /// Sends the logs that a request names.
    pub(super) async fn read_logs(
        &self,
        request: v1::LogsRequest,
    ) -> Result<Answers<v1::LogsAnswer>, Status> {
        let state = self.state().await;
        let mut meant = tasks::meant(&state, &request.references, request.tasks)?;
        meant
            .tasks
            .retain(|task| tasks::has_run(task) || !task.status.state.ended());
        if meant.tasks.len() > SOURCES {
            return Err(Status::failed_precondition(format!(
                "these are the logs of {} tasks, and at most {SOURCES} are read at once; name single tasks",
                meant.tasks.len()
            )));
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        let mut reading = Reading {
            relay: self.clone(),
            range: request.range.unwrap_or_default(),
            sender,
            known: BTreeSet::new(),
            numbers: 0,
        };
        tokio::spawn(async move {
            // An error is that nobody reads any more.
            drop(reading.run(state, meant).await);
        });
        Ok(Answers::new(receiver))
    }
}

/// Nobody reads any more.
struct Unread;

struct Reading {
    relay: Relay,
    range: v1::LogRange,
    sender: Sender,
    /// Tasks whose logs were opened.
    known: BTreeSet<TaskId>,
    /// Sources so far.
    numbers: u32,
}

impl Reading {
    async fn run(&mut self, state: State, meant: Meant) -> Result<(), Unread> {
        let mut opened = Vec::new();
        for task in meant.tasks.iter().filter(|task| tasks::has_run(task)) {
            opened.push(self.open(&state, task).await?);
        }
        let live = self.past(opened).await?;
        if self.range.follow {
            self.follow(live, &meant).await?;
        }
        Ok(())
    }

    /// Tells the reader of a task, and begins to read its log.
    async fn open(
        &mut self,
        state: &State,
        task: &Arc<Task>,
    ) -> Result<(u32, mpsc::Receiver<Said>), Unread> {
        let number = self.numbers;
        self.numbers += 1;
        self.known.insert(task.id);
        let node = task.node.and_then(|id| state.node(id));
        let source = v1::LogSource {
            number,
            task: task.id.to_bytes(),
            node: task.node.map(WireId::to_bytes).unwrap_or_default(),
            service: task.service.to_bytes(),
            name: tasks::name(state, task),
            node_name: node.map_or_else(String::new, |it| it.description.hostname.clone()),
        };
        self.tell(v1::logs_answer::What::Source(source)).await?;
        let relay = self.relay.clone();
        let said = source::open(relay, state.clone(), task.clone(), self.range, number);
        Ok((number, said))
    }

    /// What was there when the call came, by time; gives those sources that go on.
    async fn past(&mut self, mut opened: Vec<(u32, mpsc::Receiver<Said>)>) -> Result<Live, Unread> {
        let mut merge = Merge::of(opened.iter().map(|(number, _)| *number));
        let mut ended = BTreeSet::new();
        loop {
            let records = merge.take(RECORDS);
            if !records.is_empty() {
                self.show(records).await?;
            }
            let Some(wanted) = merge.wanted() else {
                let records = merge.take(RECORDS);
                if records.is_empty() {
                    break;
                }
                self.show(records).await?;
                continue;
            };
            let of = opened.iter_mut().find(|(number, _)| *number == wanted);
            let said = match of {
                Some((_, said)) => said.recv().await,
                None => None,
            };
            match said {
                Some(Said::Records(records)) => {
                    let timed = records.into_iter().map(|record| (record.at_ns, record));
                    merge.push(wanted, timed);
                }
                Some(Said::CaughtUp) => merge.caught_up(wanted),
                Some(Said::Lost(reason)) => {
                    merge.caught_up(wanted);
                    self.notice(reason).await?;
                }
                None => {
                    merge.caught_up(wanted);
                    ended.insert(wanted);
                }
            }
        }
        let going_on = opened
            .into_iter()
            .filter(|(number, _)| !ended.contains(number));
        Ok(going_on
            .map(|(number, said)| numbered(number, said))
            .collect())
    }

    /// What is written from now on, also by tasks that begin meanwhile.
    async fn follow(&mut self, mut live: Live, meant: &Meant) -> Result<(), Unread> {
        let mut changes = self.relay.ring.watch();
        let until = self.range.until_ns;
        loop {
            let state = changes.borrow_and_update().state.clone();
            // A tail is one of what was there.
            self.range.tail = None;
            for task in self.new_tasks(&state, meant) {
                let (number, said) = self.open(&state, &task).await?;
                live.push(numbered(number, said));
            }
            if live.is_empty() && (until.is_some() || nothing_to_come(&state, meant)) {
                return Ok(());
            }
            tokio::select! {
                Some((_, said)) = live.next(), if !live.is_empty() => match said {
                    Some(Said::Records(records)) => self.show(records).await?,
                    Some(Said::Lost(reason)) => self.notice(reason).await?,
                    Some(Said::CaughtUp) | None => {}
                },
                changed = changes.changed() => if changed.is_err() {
                    return self.notice("this manager is ending; ask again".into()).await;
                },
                () = self.sender.closed() => return Err(Unread),
            }
        }
    }

    fn new_tasks(&self, state: &State, meant: &Meant) -> Vec<Arc<Task>> {
        let of_services = meant
            .services
            .iter()
            .flat_map(|id| state.tasks_of(*id))
            .cloned();
        let named = meant
            .tasks
            .iter()
            .filter_map(|task| state.task(task.id))
            .cloned();
        let mut new: Vec<_> = of_services
            .chain(named)
            .filter(|task| tasks::has_run(task) && !self.known.contains(&task.id))
            .collect();
        new.sort_by_key(|task| (task.created, task.id));
        new.dedup_by_key(|task| task.id);
        new
    }

    async fn show(&self, records: Vec<v1::LogRecord>) -> Result<(), Unread> {
        self.tell(v1::logs_answer::What::Records(v1::LogRecords { records }))
            .await
    }

    async fn notice(&self, text: String) -> Result<(), Unread> {
        self.tell(v1::logs_answer::What::Notice(text)).await
    }

    async fn tell(&self, what: v1::logs_answer::What) -> Result<(), Unread> {
        let answer = v1::LogsAnswer { what: Some(what) };
        self.sender.send(Ok(answer)).await.map_err(|_| Unread)
    }
}

/// What a source says, with its number; `None` at its end.
fn numbered(
    number: u32,
    said: mpsc::Receiver<Said>,
) -> Pin<Box<dyn Stream<Item = (u32, Option<Said>)> + Send>> {
    let said = ReceiverStream::new(said).map(move |said| (number, Some(said)));
    let end = futures_util::stream::once(async move { (number, None) });
    Box::pin(said.chain(end))
}

/// Whether no task that is meant will write anything.
fn nothing_to_come(state: &State, meant: &Meant) -> bool {
    let alive = |id| state.service(id).is_some_and(|it| it.removed.is_none());
    let going_on = |task: &Arc<Task>| {
        state
            .task(task.id)
            .is_some_and(|it| !tasks::is_over(state, it))
    };
    !meant.services.iter().any(|id| alive(*id)) && !meant.tasks.iter().any(going_on)
}
