//! What lies between Raft and the log's writer: jobs in order, how much of them is not yet on disk, and whether the
//! writer has given up. It is bounded by bytes: who appends waits when the disk does not keep up.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::storage::IOFlushed;
use tokio::sync::{Notify, oneshot, watch};

use super::frame::frame_len;
use super::record::Record;
use crate::raft::types::Types;

/// Bytes that may wait for the disk before appending waits too.
const PENDING_MOST: u64 = 64 << 20;

/// Who wants to know that a job is on disk.
pub(crate) enum Done {
    Nobody,
    Flushed(IOFlushed<Types>),
    Saved(oneshot::Sender<io::Result<()>>),
}

impl Done {
    /// Tells it.
    pub(crate) fn tell(self, result: io::Result<()>) {
        match self {
            Self::Nobody => {}
            Self::Flushed(callback) => callback.io_completed(result),
            Self::Saved(answer) => {
                let _ = answer.send(result);
            }
        }
    }
}

/// Records that go to disk together and in order.
pub(crate) struct Job {
    pub records: Vec<Record>,
    pub done: Done,
    /// The most bytes they take on disk.
    pub weight: u64,
}

impl Job {
    /// A job for `records`.
    pub(crate) fn new(records: Vec<Record>, done: Done) -> Self {
        let weight = records.iter().map(|r| frame_len(r.size_bound())).sum();
        Self {
            records,
            done,
            weight,
        }
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
    failed: Option<Arc<str>>,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    drained: Notify,
    pending: AtomicU64,
    free: AtomicU64,
    failed: watch::Sender<Option<Arc<str>>>,
}

impl Queue {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            drained: Notify::new(),
            pending: AtomicU64::new(0),
            free: AtomicU64::new(0),
            failed: watch::Sender::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job behind all others. After a failure or a close it is told so at once.
    pub(crate) fn push(&self, job: Job) {
        let mut state = self.lock();
        if state.closed {
            let why = state
                .failed
                .clone()
                .unwrap_or_else(|| "the log is closed".into());
            drop(state);
            return job.done.tell(Err(io::Error::other(why.to_string())));
        }
        self.pending.fetch_add(job.weight, Ordering::Relaxed);
        state.jobs.push_back(job);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits until less is pending than the disk may be behind.
    pub(crate) async fn wait_drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.pending() <= PENDING_MOST || self.failed.borrow().is_some() {
                return;
            }
            drained.await;
        }
    }

    /// All jobs queued since the last call, waiting for one (with `patience`: no longer than that), and
    /// whether more may come.
    pub(crate) fn next(&self, patience: Option<Duration>) -> (VecDeque<Job>, bool) {
        let mut state = self.lock();
        while state.jobs.is_empty() && !state.closed {
            match patience {
                None => {
                    state = self
                        .wake
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
                Some(patience) => {
                    let waited = self.wake.wait_timeout(state, patience);
                    let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    state = after;
                    if timeout.timed_out() {
                        break;
                    }
                }
            }
        }
        let jobs = std::mem::take(&mut state.jobs);
        (jobs, !state.closed)
    }

    /// Bytes queued and not yet on disk.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Bytes left in the segment being written.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// The writer says how much is left in its segment.
    pub(crate) fn room(&self, free: u64) {
        self.free.store(free, Ordering::Relaxed);
    }

    /// The writer says that jobs of `weight` bytes are dealt with.
    pub(crate) fn written(&self, weight: u64) {
        self.pending.fetch_sub(weight, Ordering::Relaxed);
        self.drained.notify_waiters();
    }

    /// Takes no more jobs; what is queued will still be written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// The writer gives up: everyone waiting is told, now and from now on.
    pub(crate) fn fail(&self, error: &io::Error, waiting: Vec<Done>) {
        let why: Arc<str> = error.to_string().into();
        let mut state = self.lock();
        state.closed = true;
        state.failed = Some(why.clone());
        let queued = std::mem::take(&mut state.jobs);
        drop(state);
        self.failed.send_replace(Some(why.clone()));
        self.drained.notify_waiters();
        for done in waiting
            .into_iter()
            .chain(queued.into_iter().map(|job| job.done))
        {
            done.tell(Err(io::Error::new(error.kind(), why.to_string())));
        }
    }

    /// Becomes `Some` once the writer has given up.
    pub(crate) fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failed.subscribe()
    }
}
