//! One driver for each task: asks `step` what comes next, does it, says what is true.
//!
//! It decides nothing. Whatever it does may be cut off by a restart: the next daemon finds out where things
//! stand and goes on.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_netd::{HostPort, Kernel, Netd};
use skep_proto::assignment::AssignedTask;
use skep_proto::file::{Content, FileId};
use skep_proto::ids::TaskId;
use skep_proto::spec::MountSource;
use skep_proto::task::TaskState;
use skep_proto::time::WallTime;
use tokio::sync::watch;

use crate::db::Db;
use crate::exec::runtime::RunEnd;
use crate::exec::{Exec, ExecError, Exit};
use crate::health::{Health, Known};
use crate::report::{Outbox, with_causes};
use crate::step::{Action, Cause, Checked, Ending, Lacking, Local, Moment, Stage, step};

mod check;
mod give;

/// Between two attempts at something that did not work and must.
const AGAIN: Duration = Duration::from_secs(1);

/// From the moment when nobody is led to a task any more to its stop signal, at least: what is on its way arrives.
const SETTLES: Duration = Duration::from_millis(100);
/// And at most, while connections wait to be accepted. A program that accepts nothing is stopped then.
const SETTLES_AT_MOST: Duration = Duration::from_secs(3);
/// From one look at them to the next.
const LOOK: Duration = Duration::from_millis(20);

/// What managers want of a task; nothing: it is not to be here.
pub(crate) type Wanted = Option<Arc<Order>>;

/// An assigned task with what its node's view says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) task: Arc<AssignedTask>,
    /// Ports that are open on this node alone.
    pub(crate) ports: Vec<HostPort>,
    /// Contents of its secrets and configs, as far as they are here.
    pub(crate) contents: Contents,
}

/// Contents of secrets and configs, by revision.
pub(crate) type Contents = BTreeMap<(FileId, u64), Content>;

/// What all drivers share.
pub(crate) struct Tools<E, K> {
    pub(crate) exec: Arc<E>,
    pub(crate) netd: Arc<Netd<K>>,
    pub(crate) db: Db,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) clock: Clock,
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        Moment(self.0.elapsed())
    }

    fn until(self, moment: Moment) -> Duration {
        moment.0.saturating_sub(self.0.elapsed())
    }
}

pub(crate) fn wall_now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Drives one task.
pub(crate) struct Driver<E, K> {
    pub(crate) id: TaskId,
    pub(crate) tools: Arc<Tools<E, K>>,
    pub(crate) wanted: watch::Receiver<Wanted>,
    pub(crate) local: Local,
}

impl<E: Exec, K: Kernel> Driver<E, K> {
    /// Goes on until nothing is left of the task and nobody asks for it.
    pub(crate) async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let task = wanted.as_ref().map(|order| order.task.as_ref());
            let contents = wanted.as_ref().map(|order| &order.contents);
            self.local.contents = contents
                .into_iter()
                .flatten()
                .map(|(key, _)| *key)
                .collect();
            let next = step(task, &self.local, self.tools.clock.now());
            if next.action == Action::LearnCheck {
                // Before anything is said: whether it runs or only starts depends on it.
                self.act(next.action, wanted.as_deref()).await;
                continue;
            }
            match next.status {
                Some(status) => self.tools.outbox.task(self.id, status),
                None => self.tools.outbox.forget(self.id),
            }
            if next.action == Action::Forget {
                break;
            }
            self.act(next.action, wanted.as_deref()).await;
        }
        if let Err(error) = self.tools.db.forget_task(self.id).await {
            tracing::warn!(task.id = %self.id, error = %error, "cannot forget a task");
        }
    }

    async fn act(&mut self, action: Action, order: Option<&Order>) {
        match (action, order) {
            (Action::FetchImage, Some(order)) => self.fetch(order).await,
            (Action::Attach, Some(order)) => self.attach(order).await,
            (Action::Create, Some(order)) => self.create(order).await,
            (Action::Give, Some(order)) => self.give(order).await,
            (Action::Start, _) => match self.tools.exec.start(self.id).await {
                Ok(pid) => self.reached(Stage::Running { pid }),
                Err(error) => self.could_not_begin(&error).await,
            },
            (Action::LearnCheck, Some(order)) => {
                let known = match self.local.health.is_well() {
                    true => Known::Well,
                    false => Known::Nothing,
                };
                let begin = |check| Health::begin(check, self.tools.clock.now(), known);
                let check = self.tools.exec.check(&order.task).await;
                self.local.health = check.map_or(Checked::Never, |check| Checked::By(begin(check)));
            }
            (Action::Test, _) => self.test().await,
            (Action::Settle, _) => self.settle().await,
            (Action::SignalStop(signal), _) => {
                self.local.stopped = Some(self.tools.clock.now());
                // First what is durable: it was told to end, whatever comes.
                self.keep().await;
                let sent = self.tools.exec.signal(self.id, signal).await;
                self.warn("cannot send the stop signal", sent);
            }
            (Action::Kill, _) => self.kill().await,
            (Action::Cancel, _) => self.end(Cause::Cancelled, String::new()).await,
            (Action::Remove, _) => self.remove().await,
            (Action::Wait(until), _) => self.rest(Some(until)).await,
            _ => self.rest(None).await,
        }
    }

    async fn settle(&mut self) {
        let (exec, clock, id) = (Arc::clone(&self.tools.exec), self.tools.clock, self.id);
        let latest = clock.now().after(SETTLES_AT_MOST);
        let settled = async {
            tokio::time::sleep(SETTLES).await;
            while clock.now() < latest {
                let waiting = exec.waiting(id).await;
                if waiting == 0 {
                    return;
                }
                tracing::debug!(task.id = %id, waiting, "connections are to be accepted before it stops");
                tokio::time::sleep(LOOK).await;
            }
        };
        let exit = tokio::select! {
            biased;
            exit = exec.wait(id) => Some(exit),
            () = settled => None,
        };
        self.local.settled = true;
        if let Some(exit) = exit {
            self.exited(exit).await;
        }
    }

    fn reached(&mut self, stage: Stage) {
        self.local.stage = stage;
        self.local.since = wall_now();
    }

    /// A fetch may take long: it is given up when the task is to end.
    async fn fetch(&mut self, order: &Order) {
        let exec = Arc::clone(&self.tools.exec);
        let stop = |wanted: &Wanted| {
            wanted
                .as_ref()
                .is_none_or(|order| order.task.desired > TaskState::Running)
        };
        let fetched = tokio::select! {
            fetched = exec.fetch(&order.task) => Some(fetched),
            _ = self.wanted.wait_for(stop) => None,
        };
        match fetched {
            Some(Ok(())) => {
                self.tools.outbox.images(self.tools.exec.images());
                self.local.lacking = None;
                self.reached(Stage::Fetched);
            }
            Some(Err(error)) if error.passes() => self.lacks(&error).await,
            Some(Err(error)) => self.could_not_begin(&error).await,
            None => self.end(Cause::Cancelled, String::new()).await,
        }
    }

    /// The image may come yet, such as when the node that holds it returns.
    async fn lacks(&mut self, error: &ExecError) {
        let now = self.tools.clock.now();
        let again = Lacking::again(self.local.lacking.as_ref(), error.to_string(), now);
        if again.is_none() {
            return self.could_not_begin(error).await;
        }
        tracing::debug!(task.id = %self.id, error = %error, "the image is waited for");
        self.local.lacking = again;
    }

    async fn attach(&mut self, order: &Order) {
        let attachments = &order.task.attachments;
        let netd = Arc::clone(&self.tools.netd);
        let servers = &order.task.spec.container.dns.servers;
        match netd
            .attach(self.id, None, attachments, &order.ports, servers)
            .await
        {
            Ok(()) => self.reached(Stage::Attached),
            Err(error) => self.could_not_begin(&error).await,
        }
    }

    async fn create(&mut self, order: &Order) {
        let netns = match self.tools.netd.prepare_netns(self.id).await {
            Ok(netns) => netns,
            Err(error) => return self.could_not_begin(&error).await,
        };
        match self.tools.exec.create(&order.task, &netns).await {
            Ok(()) => {
                self.local.files.clear();
                self.local.note = self.tools.exec.note(self.id);
                let mounts = &order.task.spec.container.mounts;
                if mounts
                    .iter()
                    .any(|mount| matches!(mount.source, MountSource::Volume(_)))
                {
                    self.tools.outbox.volumes(self.tools.exec.volumes());
                }
                self.reached(Stage::Created);
            }
            Err(error) => self.could_not_begin(&error).await,
        }
    }

    async fn kill(&mut self) {
        self.local.killed = true;
        self.keep().await;
        let killed = self.tools.exec.kill(self.id).await;
        if killed.is_err() {
            self.local.killed = false;
            self.warn("cannot kill a task", killed);
            self.pause().await;
        }
    }

    async fn remove(&mut self) {
        let removed = self.tools.exec.remove(self.id).await;
        let detached = self.tools.netd.detach(self.id).await;
        if removed.is_err() || detached.is_err() {
            self.warn("cannot remove a task", removed);
            self.warn("cannot detach a task", detached);
            return self.pause().await;
        }
        let ending = match &self.local.stage {
            Stage::Ended(ending) | Stage::Removed(ending) => ending.clone(),
            _ => Ending {
                cause: Cause::Cancelled,
                error: String::new(),
            },
        };
        self.local.stage = Stage::Removed(ending);
        self.keep().await;
    }

    /// Runs a test of its health, unless the task ends or is to end meanwhile.
    async fn test(&mut self) {
        let Checked::By(health) = &self.local.health else {
            return;
        };
        let (exec, check, id) = (
            Arc::clone(&self.tools.exec),
            health.check().clone(),
            self.id,
        );
        let stop = |wanted: &Wanted| {
            wanted
                .as_ref()
                .is_none_or(|order| order.task.desired > TaskState::Running)
        };
        let plan = check::plan(&check);
        enum Ended {
            Exited(Exit),
            Ran(Result<RunEnd, ExecError>),
        }
        let ended = tokio::select! {
            biased;
            exit = exec.wait(id) => Ended::Exited(exit),
            is_going = async { self.wanted.wait_for(stop).await.is_err() } => {
                if is_going {
                    // The agent is going: nothing is to be done any more.
                    std::future::pending::<()>().await;
                }
                return;
            }
            ran = exec.run(id, &plan, check.timeout, check::KEPT) => Ended::Ran(ran),
        };
        let ran = match ended {
            Ended::Exited(exit) => return self.exited(exit).await,
            Ended::Ran(ran) => ran,
        };
        let outcome = check::outcome(ran, check.timeout);
        let now = self.tools.clock.now();
        let Checked::By(health) = &mut self.local.health else {
            return;
        };
        let was_well = health.is_well();
        self.local.unwell = health.record(outcome, now);
        if let Some(reason) = &self.local.unwell {
            tracing::info!(task.id = %self.id, reason, "task is stopped");
        } else if !was_well && health.is_well() {
            self.local.since = wall_now();
            // A later daemon is to know it, as a task that ran does not start again.
            self.keep().await;
        }
    }

    async fn exited(&mut self, exit: Exit) {
        self.local.since = exit.at;
        let cause = exit.code.map_or(Cause::Lost, Cause::Exited);
        self.end_at(cause, exit.error, exit.at).await;
    }

    /// Nothing to do until something changes, or until then.
    async fn rest(&mut self, until: Option<Moment>) {
        let exec = Arc::clone(&self.tools.exec);
        let running = matches!(self.local.stage, Stage::Running { .. });
        let (id, clock) = (self.id, self.tools.clock);
        let exited = async {
            match running {
                true => exec.wait(id).await,
                false => std::future::pending().await,
            }
        };
        let time = async {
            match until {
                Some(until) => tokio::time::sleep(clock.until(until)).await,
                None => std::future::pending().await,
            }
        };
        let exit: Option<Exit> = tokio::select! {
            biased;
            exit = exited => Some(exit),
            changed = self.wanted.changed() => {
                if changed.is_err() {
                    // The agent is going: nothing is to be done any more.
                    std::future::pending::<()>().await;
                }
                None
            }
            () = time => None,
        };
        if let Some(exit) = exit {
            self.exited(exit).await;
        }
    }

    async fn could_not_begin(&mut self, error: &(dyn Error + Sync)) {
        let reason = with_causes(error);
        tracing::info!(task.id = %self.id, error = reason, "task could not begin");
        self.end(Cause::CouldNotBegin, reason).await;
    }

    async fn end(&mut self, cause: Cause, error: String) {
        self.end_at(cause, error, wall_now()).await;
    }

    /// It is over. Its addresses may be given to others soon, so it leaves its networks at once; the rest
    /// stays until it is to be removed.
    async fn end_at(&mut self, cause: Cause, error: String, at: WallTime) {
        self.local.stage = Stage::Ended(Ending { cause, error });
        self.local.since = at;
        self.keep().await;
        let detached = self.tools.netd.detach(self.id).await;
        self.warn("cannot detach a task that ended", detached);
    }

    async fn keep(&self) {
        let kept = self.tools.db.keep_task(self.id, &self.local).await;
        self.warn("cannot keep how a task stands", kept);
    }

    fn warn<T, F: Error>(&self, what: &str, result: Result<T, F>) {
        if let Err(error) = result {
            tracing::warn!(task.id = %self.id, error = with_causes(&error), "{what}");
        }
    }

    fn pause(&self) -> impl Future<Output = ()> + use<E, K> {
        tokio::time::sleep(AGAIN)
    }
}
