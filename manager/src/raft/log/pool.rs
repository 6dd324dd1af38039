//! Spare segments: full of zeroes and synced before anyone needs them, on a thread of their own, so that
//! the log never waits for the file system to find room, and so that a full disk is seen while there is
//! still a whole segment to write into. Retired segments come back here.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::raft::disk::{Disk, DiskFile};

/// How a segment's file name ends.
pub(crate) const SUFFIX: &str = ".seg";
/// Retired segments beyond this many are removed.
const KEEP: usize = 2;
/// A disk that was full is asked again this often.
const RETRY: Duration = Duration::from_millis(500);
/// Longer than any disk that still works needs for one segment.
const MAKE_BOUND: Duration = Duration::from_secs(30);
const ZEROES: usize = 1 << 20;

/// A file of the log.
pub(crate) struct Segment {
    pub name: String,
    pub len: u64,
    pub file: Box<dyn DiskFile>,
}

/// What the pool can give right now.
pub(crate) struct Stock {
    pub spares: u64,
    /// Why no spare could be made the last time, as long as it could not.
    pub blocked: Option<String>,
}

/// The spare segments and the thread that makes them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    maker: Option<JoinHandle<()>>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    segment_len: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    spares: VecDeque<Segment>,
    doomed: Vec<Segment>,
    blocked: Option<String>,
    /// Whether that was for lack of room.
    full: bool,
    closing: bool,
    next_name: u64,
}

impl Pool {
    /// Starts with the segments in `free`; `next_name` has never named a segment.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        segment_len: u64,
        free: Vec<Segment>,
        next_name: u64,
    ) -> io::Result<Self> {
        let (fit, mut doomed): (Vec<_>, Vec<_>) = free
            .into_iter()
            .partition(|segment: &Segment| segment.len == segment_len);
        let mut spares = VecDeque::from(fit);
        doomed.extend(spares.drain(KEEP.min(spares.len())..));
        let state = State {
            spares,
            doomed,
            blocked: None,
            full: false,
            closing: false,
            next_name,
        };
        let shared = Arc::new(Shared {
            disk,
            segment_len,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let worker = shared.clone();
        let maker = std::thread::Builder::new()
            .name("skep-log-spare".to_owned())
            .spawn(move || worker.make_spares())?;
        Ok(Self {
            shared,
            maker: Some(maker),
        })
    }

    /// What it can give right now.
    pub(crate) fn stock(&self) -> Stock {
        let state = self.shared.lock();
        Stock {
            spares: state.spares.len() as u64,
            blocked: state.blocked.clone(),
        }
    }

    /// A spare; waits while one is being made, and for `patience` when the disk is full.
    pub(crate) fn take(&self, patience: Duration) -> io::Result<Segment> {
        let asked = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if let Some(segment) = state.spares.pop_front() {
                self.shared.changed.notify_all();
                return Ok(segment);
            }
            let bound = match state.blocked {
                None => MAKE_BOUND,
                Some(_) if state.full => patience,
                // Only a full disk heals by itself.
                Some(_) => Duration::ZERO,
            };
            let left = bound.saturating_sub(asked.elapsed());
            if left.is_zero() {
                let why = state
                    .blocked
                    .clone()
                    .unwrap_or_else(|| "the disk is too slow".into());
                return Err(io::Error::new(io::ErrorKind::StorageFull, why));
            }
            let wait = left.min(RETRY);
            let waited = self.shared.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes back a segment that nothing needs any more.
    pub(crate) fn give(&self, segment: Segment) {
        let mut state = self.shared.lock();
        if state.spares.len() < KEEP && segment.len == self.shared.segment_len {
            state.spares.push_back(segment);
            state.blocked = None;
        } else {
            state.doomed.push(segment);
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(maker) = self.maker.take() {
            let _ = maker.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_spares(&self) {
        let mut state = self.lock();
        while !state.closing {
            if let Some(segment) = state.doomed.pop() {
                drop(state);
                if let Err(error) = self.disk.remove(&segment.name) {
                    tracing::warn!(segment = segment.name, %error, "cannot remove a log segment");
                }
                state = self.lock();
            } else if state.spares.is_empty() {
                let name = format!("{:016}{SUFFIX}", state.next_name);
                state.next_name += 1;
                drop(state);
                let made = self.make(&name);
                state = self.lock();
                state = self.made(state, made);
            } else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn made<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        made: io::Result<Segment>,
    ) -> MutexGuard<'a, State> {
        match made {
            Ok(segment) => {
                state.spares.push_back(segment);
                state.blocked = None;
                self.changed.notify_all();
                state
            }
            Err(error) => {
                if state.blocked.is_none() {
                    tracing::error!(%error, "no room for another log segment; writes are refused");
                }
                state.full = error.kind() == io::ErrorKind::StorageFull;
                state.blocked = Some(error.to_string());
                self.changed.notify_all();
                let waited = self.changed.wait_timeout(state, RETRY);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn make(&self, name: &str) -> io::Result<Segment> {
        let made = self.write_zeroes(name);
        if made.is_err() {
            // What could not be finished would only take room away.
            let _ = self.disk.remove(name);
        }
        made
    }

    fn write_zeroes(&self, name: &str) -> io::Result<Segment> {
        let file = self.disk.create(name)?;
        file.reserve(self.segment_len)?;
        let zeroes = vec![0; ZEROES];
        let mut at = 0;
        while at < self.segment_len {
            let left = usize::try_from(self.segment_len - at)
                .unwrap_or(ZEROES)
                .min(ZEROES);
            file.write_at(at, zeroes.get(..left).unwrap_or(&zeroes))?;
            at += left as u64;
        }
        file.sync()?;
        self.disk.sync_names()?;
        Ok(Segment {
            name: name.to_owned(),
            len: self.segment_len,
            file,
        })
    }
}
