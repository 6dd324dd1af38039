//! The log against a disk that does all a disk may do.

mod damage;
mod faults;
mod model;

use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, RaftLogReader};

use super::{LogError, LogStore, lock};
use crate::raft::disk::Disk;
use crate::raft::seal::Key;
use crate::raft::sim_disk::SimDisk;
use crate::raft::types::{Command, LogEntry, LogId, Types};

pub(crate) const SEGMENT: u64 = 16 << 10;

pub(crate) fn key() -> Key {
    Key::new([7; 32])
}

pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<LogStore, LogError> {
    let lock = lock(&*disk)?;
    LogStore::open(disk, lock, Some(key()), SEGMENT)
}

pub(crate) fn open_sim(disk: &SimDisk) -> LogStore {
    open(disk.shared()).unwrap()
}

pub(crate) fn entry(term: u64, index: u64, len: usize) -> LogEntry {
    let byte = u8::try_from(index % 251).unwrap();
    let payload = EntryPayload::Normal(Command(Bytes::from(vec![byte; len])));
    LogEntry {
        log_id: LogId::new_term_index(term, index),
        payload,
    }
}

/// Queues entries; the answer comes when they are on disk.
pub(crate) async fn append(
    log: &mut LogStore,
    entries: Vec<LogEntry>,
) -> impl Future<Output = Result<std::io::Result<()>, String>> + use<> {
    let (done, flushed) = Types::oneshot();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    async { flushed.await.map_err(|e| format!("{e:?}")) }
}

/// Appends and waits for the disk.
pub(crate) async fn append_synced(log: &mut LogStore, entries: Vec<LogEntry>) {
    append(log, entries).await.await.unwrap().unwrap();
}

pub(crate) async fn entries(log: &mut LogStore) -> Vec<LogEntry> {
    log.get_log_reader()
        .await
        .try_get_log_entries(..)
        .await
        .unwrap()
}

pub(crate) async fn last(log: &mut LogStore) -> Option<LogId> {
    log.get_log_state().await.unwrap().last_log_id
}

/// Waits until `met`, at most ten seconds.
pub(crate) async fn wait_for(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !met() {
        assert!(std::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
