//! The thread that writes the log. It takes all that was queued since the last write, seals it as one frame,
//! writes it, syncs once and only then tells those who wait: under load one sync serves many.
//!
//! A frame is only written when the one before it is on disk. A failed write or sync ends the writer for
//! good: what the kernel then holds is unknown, so nothing is ever tried again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::frame::{BLOCK, Run, SECTOR, align, encode_frame, frame_len};
use super::pool::{Pool, Segment};
use super::queue::{Done, Job, Queue};
use super::record::{RECORD_HEAD, RECORD_MARGIN, Record, Tip};
use super::recover::{End, Live, PURPOSE};
use crate::measures::{measures, seconds_since};
use crate::raft::disk::Disk;
use crate::raft::seal::{Key, Sealer, random};

/// A batch is written when it has grown to this, even if more is queued.
const BATCH: usize = 1 << 20;
/// Small batches must not wait behind a huge one.
const FRAME_MOST: u64 = 4 << 20;
/// How long the writer waits for a full disk to get room before it gives up.
const FULL_BOUND: Duration = Duration::from_secs(10);
/// How long a committed index may stay unwritten when nothing else is to be written.
const LAZY: Duration = Duration::from_millis(50);

/// The largest record a segment of `len` bytes can hold.
pub(crate) fn record_most(len: u64) -> usize {
    let checkpoint = frame_len(RECORD_HEAD + RECORD_MARGIN);
    usize::try_from(
        len.saturating_sub(BLOCK + checkpoint + SECTOR)
            .min(FRAME_MOST),
    )
    .unwrap_or(0)
}

/// The run being written.
struct Active {
    segment: Segment,
    max_index: Option<u64>,
    order: u64,
    incarnation: u64,
    sealer: Sealer,
    at: u64,
    count: u64,
}

/// All the writer owns.
pub(crate) struct Writer {
    key: Option<Key>,
    queue: Arc<Queue>,
    pool: Arc<Pool>,
    active: Active,
    live: VecDeque<Live>,
    /// What is on disk.
    flushed: Tip,
    /// What will be once the batch is.
    staged: Tip,
    batch: Batch,
    record_most: usize,
}

#[derive(Default)]
struct Batch {
    payload: Vec<u8>,
    max_index: Option<u64>,
    done: Vec<Done>,
    weight: u64,
    lazy: Option<Record>,
}

impl Writer {
    /// Goes on where `end` says, or in a segment of its own when there is no place left.
    pub(crate) fn new(
        key: Option<Key>,
        queue: Arc<Queue>,
        pool: Arc<Pool>,
        mut live: VecDeque<Live>,
        end: Option<End>,
        tip: Tip,
    ) -> io::Result<Self> {
        let order = end.map_or(0, |end| end.order + 1);
        let before = end.map_or((0, 0), |end| (end.incarnation, end.at));
        let fits =
            |end: End, len| align(end.at, BLOCK) + BLOCK + frame_len(RECORD_MARGIN * 4) <= len;
        let active = match (end, live.pop_back()) {
            (Some(end), Some(last)) if fits(end, last.segment.len) => {
                // Frames that a killed daemon wrote but did not sync were read back as good.
                last.segment.file.sync()?;
                begin_run(key.as_ref(), last, align(end.at, BLOCK), order, before)?
            }
            (_, last) => {
                if let Some(last) = last {
                    last.segment.file.sync()?;
                    live.push_back(last);
                }
                let fresh = Live {
                    segment: pool.take(Duration::ZERO)?,
                    max_index: None,
                };
                begin_run(key.as_ref(), fresh, 0, order, before)?
            }
        };
        let record_most = record_most(active.segment.len);
        let batch = Batch::default();
        let writer = Self {
            key,
            queue,
            pool,
            active,
            live,
            flushed: tip,
            staged: tip,
            batch,
            record_most,
        };
        writer.tell_room(0);
        Ok(writer)
    }

    /// Writes until the queue is closed and empty. `disk` is held as long as anything is written.
    pub(crate) fn run(mut self, _disk: Arc<dyn Disk>) {
        loop {
            let patience = self.batch.lazy.as_ref().map(|_| LAZY);
            let (mut jobs, open) = self.queue.next(patience);
            if let Err(error) = self.write_all(&mut jobs) {
                tracing::error!(%error, "the raft log cannot be written; the daemon must end");
                let waiting = self
                    .batch
                    .done
                    .drain(..)
                    .chain(jobs.into_iter().map(|job| job.done));
                self.queue.fail(&error, waiting.collect());
                return;
            }
            if !open {
                return;
            }
        }
    }

    fn write_all(&mut self, jobs: &mut VecDeque<Job>) -> io::Result<()> {
        let idle = jobs.is_empty();
        while let Some(job) = jobs.pop_front() {
            let weight = job.weight;
            if let [record @ Record::Committed(_)] = job.records.as_slice()
                && matches!(job.done, Done::Nobody)
            {
                self.batch.lazy = Some(record.clone());
                self.queue.written(weight);
                continue;
            }
            let staged = job.records.iter().try_for_each(|record| self.stage(record));
            self.batch.weight += weight;
            self.batch.done.push(job.done);
            staged?;
            if self.batch.payload.len() >= BATCH {
                self.flush()?;
            }
        }
        if idle || !self.batch.payload.is_empty() || !self.batch.done.is_empty() {
            self.flush()?;
        }
        Ok(())
    }

    fn stage(&mut self, record: &Record) -> io::Result<()> {
        let size = record.size_bound();
        if size > self.record_most {
            return Err(io::Error::other(format!(
                "record of {size} bytes is too large"
            )));
        }
        if self.batch.payload.len() + size > self.record_most {
            self.flush()?;
        }
        self.staged.follow(record);
        record.encode(&mut self.batch.payload);
        if let Record::Entry(entry) = record {
            self.batch.max_index = self.batch.max_index.max(Some(entry.log_id.index));
        }
        Ok(())
    }

    /// Writes and syncs the batch, then tells those who wait for it.
    fn flush(&mut self) -> io::Result<()> {
        if let Some(record) = self.batch.lazy.take() {
            self.staged.follow(&record);
            record.encode(&mut self.batch.payload);
        }
        if !self.batch.payload.is_empty() {
            let mut payload = std::mem::take(&mut self.batch.payload);
            if self.active.at + frame_len(payload.len() + RECORD_HEAD + RECORD_MARGIN)
                > self.active.segment.len
            {
                self.rotate()?;
            }
            if self.active.count == 0 {
                let mut begun = Vec::with_capacity(payload.len() + RECORD_HEAD + RECORD_MARGIN);
                Record::Checkpoint(self.flushed).encode(&mut begun);
                begun.append(&mut payload);
                payload = begun;
            }
            self.write_frame(payload)?;
        }
        let weight = std::mem::take(&mut self.batch.weight);
        self.tell_room(weight);
        for done in self.batch.done.drain(..) {
            done.tell(Ok(()));
        }
        self.retire();
        Ok(())
    }

    fn write_frame(&mut self, payload: Vec<u8>) -> io::Result<()> {
        let active = &mut self.active;
        let frame = encode_frame(&active.sealer, active.incarnation, active.count, payload)
            .map_err(io::Error::other)?;
        let begin = Instant::now();
        active.segment.file.write_at(active.at, &frame)?;
        active.segment.file.sync()?;
        measures().syncs.observe(seconds_since(begin));
        active.at += frame.len() as u64;
        active.count += 1;
        active.max_index = active.max_index.max(self.batch.max_index.take());
        self.flushed = self.staged;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let fresh = Live {
            segment: self.pool.take(FULL_BOUND)?,
            max_index: None,
        };
        let full = &self.active;
        if full.count == 0 {
            // Nothing synced its header yet, and the next run names it.
            full.segment.file.sync()?;
        }
        let before = (full.incarnation, full.at);
        let next = begin_run(self.key.as_ref(), fresh, 0, full.order + 1, before)?;
        let full = std::mem::replace(&mut self.active, next);
        self.live.push_back(Live {
            segment: full.segment,
            max_index: full.max_index,
        });
        Ok(())
    }

    /// Gives back the oldest segments all of whose entries are purged.
    fn retire(&mut self) {
        let purged = self.flushed.purged.map(|id| id.index);
        // The first frame of the active run holds what older segments hold besides entries.
        while self.active.count > 0
            && self
                .live
                .front()
                .is_some_and(|live| live.max_index <= purged)
            && let Some(live) = self.live.pop_front()
        {
            self.pool.give(live.segment);
        }
    }

    fn tell_room(&self, written: u64) {
        self.queue
            .room(self.active.segment.len.saturating_sub(self.active.at));
        self.queue.written(written);
    }
}

/// Writes the header of a new run at `at`; the sync of its first frame covers it.
fn begin_run(
    key: Option<&Key>,
    live: Live,
    at: u64,
    order: u64,
    (before, before_end): (u64, u64),
) -> io::Result<Active> {
    let mut drawn = [0; 8];
    random(&mut drawn)?;
    let mut salt = [0; 32];
    random(&mut salt)?;
    let incarnation = u64::from_le_bytes(drawn);
    let run = Run {
        order,
        incarnation,
        before,
        before_end,
        salt,
    };
    let sealer = Sealer::new(key, &run.salt, PURPOSE).map_err(io::Error::other)?;
    live.segment.file.write_at(at, &run.encode())?;
    let Live { segment, max_index } = live;
    Ok(Active {
        segment,
        max_index,
        order,
        incarnation,
        sealer,
        at: at + BLOCK,
        count: 0,
    })
}
