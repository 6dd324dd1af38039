//! The log as openraft asks for it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::LogStore;
use super::queue::{Done, Job};
use super::record::{Record, Tip};
use crate::raft::types::{LogEntry, LogId, Types, Vote};

/// Entries of one replication message add up to at most this, but at least one is given.
const READ_MOST: usize = 1 << 20;

/// What Raft reads.
pub(crate) struct Memory {
    tip: Tip,
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl Memory {
    pub(super) fn new(tip: Tip, entries: VecDeque<LogEntry>) -> Self {
        let bytes = entries.iter().map(weight).sum();
        Self {
            tip,
            entries,
            bytes,
        }
    }

    fn first(&self) -> u64 {
        self.entries.front().map_or(0, |entry| entry.log_id.index)
    }

    fn read(&self, range: &impl RangeBounds<u64>, most: usize) -> Vec<LogEntry> {
        let start = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let skip = usize::try_from(start.saturating_sub(self.first())).unwrap_or(usize::MAX);
        let mut bytes = 0;
        self.entries
            .iter()
            .skip(skip)
            .take_while(|entry| range.contains(&entry.log_id.index))
            .take_while(|entry| {
                let fits = bytes == 0 || bytes + weight(entry) <= most;
                bytes += weight(entry);
                fits
            })
            .cloned()
            .collect()
    }

    fn follow(&mut self, record: &Record) {
        self.tip.follow(record);
        match record {
            Record::Entry(entry) => {
                self.bytes += weight(entry);
                self.entries.push_back(entry.clone());
            }
            Record::Truncate(after) => {
                let keep = after.map(|id| id.index);
                while self
                    .entries
                    .back()
                    .is_some_and(|e| Some(e.log_id.index) > keep)
                {
                    self.bytes -= self.entries.pop_back().as_ref().map_or(0, weight);
                }
            }
            Record::Purge(upto) => {
                while self
                    .entries
                    .front()
                    .is_some_and(|e| e.log_id.index <= upto.index)
                {
                    self.bytes -= self.entries.pop_front().as_ref().map_or(0, weight);
                }
            }
            Record::Checkpoint(_) | Record::Vote(_) | Record::Committed(_) => {}
        }
    }
}

fn weight(entry: &LogEntry) -> usize {
    let body = match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    body + size_of::<LogEntry>()
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads entries and the vote from memory.
#[derive(Clone)]
pub(crate) struct LogReader(Arc<Mutex<Memory>>);

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<LogEntry>> {
        Ok(lock(&self.0).read(&range, usize::MAX))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        Ok(lock(&self.0).read(&(start..end), READ_MOST))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.0).tip.vote)
    }
}

impl LogStore {
    /// Bytes of all entries in memory.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.memory).bytes
    }

    /// Follows the records in memory and queues them, in one order for both.
    fn queue(&self, records: Vec<Record>, done: Done) {
        let mut memory = lock(&self.memory);
        for record in &records {
            memory.follow(record);
        }
        self.queue.push(Job::new(records, done));
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let memory = lock(&self.memory);
        Ok(LogState {
            last_purged_log_id: memory.tip.purged,
            last_log_id: memory.tip.last,
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader(self.memory.clone())
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, saved) = oneshot::channel();
        self.queue(vec![Record::Vote(*vote)], Done::Saved(done));
        saved
            .await
            .map_err(|_| io::Error::other("the log's writer has ended"))?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.queue(vec![Record::Committed(committed)], Done::Nobody);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(lock(&self.memory).tip.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(Record::Entry).collect();
        self.queue.wait_drained().await;
        self.queue(records, Done::Flushed(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        // It need not be on disk before the next append is: both lie in one queue.
        self.queue(vec![Record::Truncate(last)], Done::Nobody);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.queue(vec![Record::Purge(upto)], Done::Nobody);
        Ok(())
    }
}
