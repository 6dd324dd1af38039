//! openraft's own suite, on our log and machine.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::raft::log::tests::{SEGMENT, key};
use crate::raft::log::{LogStore, lock};
use crate::raft::sim_disk::SimDisk;
use crate::raft::snapshot::SnapshotStore;
use crate::raft::types::Types;

struct Builder;

impl StoreBuilder<Types, LogStore, Machine<Numbers>, SimDisk> for Builder {
    async fn build(&self) -> Result<(SimDisk, LogStore, Machine<Numbers>), StorageError<Types>> {
        let disk = SimDisk::default();
        let store = SnapshotStore::open(disk.shared(), Some(key())).unwrap();
        let (published, _) = watch::channel(Published::default());
        let machine = Machine::open(store, published).unwrap();
        let log =
            LogStore::open(disk.shared(), lock(&disk).unwrap(), Some(key()), SEGMENT).unwrap();
        Ok((disk, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
