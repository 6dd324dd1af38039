//! One driver for each task: asks `step` what comes next, does it, says what is true.
//!
//! It decides nothing. Whatever it does may be cut off by a restart: the next daemon finds out where things
//! stand and goes on.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_netd::{HostPort, Kernel, Netd};
use skep_proto::assignment::AssignedTask;
use skep_proto::ids::TaskId;
use skep_proto::task::TaskState;
use skep_proto::time::WallTime;
use tokio::sync::watch;

use crate::db::Db;
use crate::exec::{Exec, ExecError, Exit};
use crate::report::{Outbox, with_causes};
use crate::step::{Action, Cause, Ending, Lacking, Local, Moment, Stage, step};

/// Between two attempts at something that did not work and must.
const AGAIN: Duration = Duration::from_secs(1);

/// What managers want of a task; nothing: it is not to be here.
pub(crate) type Wanted = Option<Arc<Order>>;

/// An assigned task with what its node's view says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) task: Arc<AssignedTask>,
    /// Ports that are open on this node alone.
    pub(crate) ports: Vec<HostPort>,
}

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
            let next = step(task, &self.local, self.tools.clock.now());
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
            (Action::Start, _) => match self.tools.exec.start(self.id).await {
                Ok(pid) => self.reached(Stage::Running { pid }),
                Err(error) => self.could_not_begin(&error).await,
            },
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
        match netd.attach(self.id, None, attachments, &order.ports).await {
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
            Ok(()) => self.reached(Stage::Created),
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
            self.local.since = exit.at;
            let cause = exit.code.map_or(Cause::Lost, Cause::Exited);
            self.end_at(cause, exit.error, exit.at).await;
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
