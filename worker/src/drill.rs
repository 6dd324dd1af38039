//! Suffers a drill: fails on purpose, for a bounded time, and undoes it by itself.
//!
//! A drill is on this node's disk before it begins and is obeyed once, whatever managers say again. Its end needs
//! nobody: a clock of this node ends it, and what it does lives in the daemon alone, so that a daemon that dies
//! takes it along. It never touches anything but this node's own containers and its own table of rules.

mod filler;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use skep_netd::{Cut, Kernel};
use skep_proto::drill::{CutPorts, Failing, Fault, LASTS_AT_MOST, Undone};
use skep_proto::ids::{DrillId, TaskId};
use skep_proto::time::WallTime;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::filler::{Filled, Filler};
use crate::agent::Agent;
use crate::db::{Db, DbError};
use crate::exec::Exec;
use crate::report::with_causes;
use crate::task::wall_now;

/// Starts the daemon again in place of this program, without a farewell; it returns only when that fails.
pub type Again = Arc<dyn Fn() -> io::Error + Send + Sync>;
/// Cuts this node off until what it gives is dropped.
pub(crate) type Cutter = Arc<dyn Fn(&CutPorts) -> Result<Box<dyn Send>, String> + Send + Sync>;

/// While a node is down its containers are killed so often: one that was just being started is one more.
const KILL_EVERY: Duration = Duration::from_millis(250);

/// What a drill does to a machine.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) again: Again,
    pub(crate) cutter: Cutter,
    /// What is filled is the file system of this directory.
    pub(crate) data_root: PathBuf,
}

/// What becomes free on a full disk is taken so often.
const FILL_EVERY: Duration = Duration::from_millis(250);

/// The real cut.
pub(crate) fn cutter() -> Cutter {
    Arc::new(|ports| match Cut::open(&ports.tcp, &ports.udp) {
        Ok(cut) => Ok(Box::new(cut) as Box<dyn Send>),
        Err(error) => Err(with_causes(&error)),
    })
}

/// What is kept of the last drill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DrillRecord {
    pub(crate) id: u128,
    /// Wall time.
    pub(crate) accepted_ms: u64,
    pub(crate) fuse_ms: u64,
    /// It starts the daemon again, so that a new daemon finds it undone.
    pub(crate) restarts: bool,
    pub(crate) undone: Option<UndoneRecord>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct UndoneRecord {
    pub(crate) failed_after_ms: u64,
    pub(crate) undone_after_ms: u64,
    pub(crate) error: String,
}

/// What is said of the last drill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DrillNews {
    pub(crate) id: DrillId,
    pub(crate) undone: Option<Undone>,
    /// This node was cut off: its session is to begin anew.
    pub(crate) was_cut: bool,
}

/// Obeys drills.
pub(crate) struct Drills<E, K> {
    agent: Arc<Agent<E, K>>,
    db: Db,
    means: Means,
    running: Mutex<Running>,
    news: watch::Sender<Option<DrillNews>>,
}

#[derive(Default)]
struct Running {
    last: Option<DrillId>,
    present: Option<(CancellationToken, JoinHandle<()>)>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn since(accepted_ms: u64, now: WallTime) -> Duration {
    Duration::from_millis(now.unix_millis().saturating_sub(accepted_ms))
}

impl<E: Exec, K: Kernel> Drills<E, K> {
    /// Takes up what a former daemon wrote down: a drill in whose middle it ended has ended with it.
    pub(crate) async fn open(
        agent: &Arc<Agent<E, K>>,
        db: &Db,
        means: Means,
    ) -> Result<Arc<Self>, DbError> {
        let mut kept = db.drill()?;
        if let Some(record) = kept.as_mut().filter(|record| record.undone.is_none()) {
            let after = millis(since(record.accepted_ms, wall_now()));
            let error = match record.restarts {
                true => String::new(),
                false => {
                    "the daemon of this node ended in the middle of it, and the failure with it"
                        .to_owned()
                }
            };
            record.undone = Some(UndoneRecord {
                failed_after_ms: after.min(record.fuse_ms),
                undone_after_ms: after,
                error,
            });
            db.keep_drill(record).await?;
        }
        let said = kept.map(|record| news(&record));
        let (agent, db) = (Arc::clone(agent), db.clone());
        Ok(Arc::new(Self::new(agent, db, means, said)))
    }

    fn new(agent: Arc<Agent<E, K>>, db: Db, means: Means, said: Option<DrillNews>) -> Self {
        let last = said.as_ref().map(|news| news.id);
        Self {
            agent,
            db,
            means,
            running: Mutex::new(Running {
                last,
                present: None,
            }),
            news: watch::Sender::new(said),
        }
    }

    /// What is to be said, now and whenever it changes.
    pub(crate) fn news(&self) -> watch::Receiver<Option<DrillNews>> {
        self.news.subscribe()
    }

    /// Obeys what managers say: a drill, once; or none, which ends the present one.
    pub(crate) async fn take(self: &Arc<Self>, order: Option<Fault>) {
        let mut running = self.running.lock().await;
        let Some(fault) = order else {
            if let Some((stop, _)) = &running.present {
                stop.cancel();
            }
            return;
        };
        if running.last == Some(fault.id) {
            return;
        }
        end(&mut running).await;
        running.last = Some(fault.id);
        let record = DrillRecord {
            id: fault.id.bits(),
            accepted_ms: wall_now().unix_millis(),
            fuse_ms: millis(fault.fuse),
            restarts: fault.what == Failing::Daemon,
            undone: None,
        };
        if let Err(error) = self.db.keep_drill(&record).await {
            // What is not written down is not begun.
            let undone = undone(Duration::ZERO, Duration::ZERO, with_causes(&error));
            self.say(&fault, Some(undone));
            return;
        }
        tracing::warn!(drill.id = %fault.id, what = ?fault.what, "a drill begins");
        self.say(&fault, None);
        let stop = CancellationToken::new();
        let obeying = tokio::spawn(Arc::clone(self).obey(fault, record, stop.clone()));
        running.present = Some((stop, obeying));
    }

    /// Says that this node cannot make a drill.
    pub(crate) async fn refuse(&self, id: DrillId, error: String) {
        let mut running = self.running.lock().await;
        if running.last == Some(id) {
            return;
        }
        end(&mut running).await;
        running.last = Some(id);
        self.news.send_replace(Some(DrillNews {
            id,
            undone: Some(undone(Duration::ZERO, Duration::ZERO, error)),
            was_cut: false,
        }));
    }

    /// Ends the present drill, as the daemon does before it stops.
    pub(crate) async fn stop(&self) {
        end(&mut *self.running.lock().await).await;
    }

    async fn obey(self: Arc<Self>, fault: Fault, record: DrillRecord, stop: CancellationToken) {
        let accepted = Instant::now();
        let burnt = tokio::select! {
            () = tokio::time::sleep(fault.fuse) => true,
            () = stop.cancelled() => false,
        };
        let failed_after = accepted.elapsed();
        let done = match burnt {
            true => self.fail(&fault, &stop).await,
            false => Err("it was called off before it began".to_owned()),
        };
        // What was never made did not last.
        let undone = match done {
            Ok(()) => undone(failed_after, accepted.elapsed(), String::new()),
            Err(error) => undone(failed_after, failed_after, error),
        };
        tracing::warn!(drill.id = %fault.id, error = undone.error, "a drill is over");
        let record = DrillRecord {
            undone: Some(UndoneRecord {
                failed_after_ms: millis(undone.failed_after),
                undone_after_ms: millis(undone.undone_after),
                error: undone.error.clone(),
            }),
            ..record
        };
        if let Err(error) = self.db.keep_drill(&record).await {
            tracing::warn!(
                error = with_causes(&error),
                "cannot write down that a drill is over"
            );
        }
        self.say(&fault, Some(undone));
    }

    async fn fail(&self, fault: &Fault, stop: &CancellationToken) -> Result<(), String> {
        let over = async {
            tokio::select! {
                () = tokio::time::sleep(fault.lasts.min(LASTS_AT_MOST)) => {}
                () = stop.cancelled() => {}
            }
        };
        match &fault.what {
            Failing::Task(task) => self.kill(*task).await,
            Failing::Daemon => {
                let error = (self.means.again)();
                Err(format!("the daemon cannot start again: {error}"))
            }
            Failing::Link(ports) => {
                let cut = self.cut(ports).await?;
                over.await;
                drop(cut);
                Ok(())
            }
            Failing::Disk(fill) => {
                let (root, fill) = (self.means.data_root.clone(), *fill);
                let filler = off_runtime(move || Filler::open(&root, fill)).await?;
                full(filler, over).await
            }
            Failing::Node(ports) => {
                // Silence first: nobody is to hear of the containers' end.
                let cut = self.cut(ports).await?;
                tokio::select! {
                    () = over => {}
                    () = self.kill_on() => {}
                }
                drop(cut);
                Ok(())
            }
        }
    }

    async fn cut(&self, ports: &CutPorts) -> Result<Box<dyn Send>, String> {
        let (cutter, ports) = (Arc::clone(&self.means.cutter), ports.clone());
        off_runtime(move || cutter(&ports)).await
    }

    async fn kill(&self, task: TaskId) -> Result<(), String> {
        let killed = self.agent.exec().kill(task).await;
        killed.map_err(|error| format!("cannot kill it: {error}"))
    }

    /// Kills whatever runs here, for ever.
    async fn kill_on(&self) {
        loop {
            for task in self.agent.known().await {
                // One that does not run yet, or any more, has nothing to be killed.
                if let Err(error) = self.agent.exec().kill(task).await {
                    tracing::debug!(task.id = %task, %error, "not killed");
                }
            }
            tokio::time::sleep(KILL_EVERY).await;
        }
    }

    fn say(&self, fault: &Fault, undone: Option<Undone>) {
        let cuts = matches!(fault.what, Failing::Link(_) | Failing::Node(_));
        self.news.send_replace(Some(DrillNews {
            id: fault.id,
            was_cut: cuts && undone.is_some(),
            undone,
        }));
    }
}

/// Takes what is free, and what becomes free, until it is over; then gives it back.
async fn full(mut filler: Filler, over: impl Future<Output = ()>) -> Result<(), String> {
    tokio::pin!(over);
    loop {
        let filled = off_runtime(move || {
            let filled = filler.fill();
            let filled = filled.map_err(|error| format!("cannot fill the file system: {error}"))?;
            Ok((filler, filled))
        });
        let filled = filled.await?;
        filler = filled.0;
        let pause = match filled.1 {
            Filled::Partly => Duration::ZERO,
            Filled::Whole => FILL_EVERY,
        };
        tokio::select! {
            biased;
            () = &mut over => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    off_runtime(move || {
        drop(filler);
        Ok(())
    })
    .await
}

async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err("the daemon is ending".to_owned()))
}

async fn end(running: &mut Running) {
    if let Some((stop, obeying)) = running.present.take() {
        stop.cancel();
        // It only fails when it was broken off, and then there is nothing to wait for.
        let _ = obeying.await;
    }
}

fn undone(failed_after: Duration, undone_after: Duration, error: String) -> Undone {
    Undone {
        failed_after,
        undone_after,
        error,
    }
}

fn news(record: &DrillRecord) -> DrillNews {
    let of_record = |it: &UndoneRecord| {
        undone(
            Duration::from_millis(it.failed_after_ms),
            Duration::from_millis(it.undone_after_ms),
            it.error.clone(),
        )
    };
    DrillNews {
        id: DrillId::new(record.id),
        undone: record.undone.as_ref().map(of_record),
        was_cut: false,
    }
}

#[cfg(test)]
#[path = "drill_tests.rs"]
pub(crate) mod tests;
