//! A state taken out of a Raft directory, and a directory that begins with one: what a cluster goes on from when
//! its majority or its disks are lost. Nobody votes here; who calls this decides for the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use openraft::storage::RaftLogStorage;
use openraft::{EntryPayload, RaftLogReader};

use super::disk::{Disk, RealDisk};
use super::machine::{Published, Replicated, blocking};
use super::open::{find, keep_id, read_id};
use super::seal::Key;
use super::snapshot::SnapshotStore;
use super::types::{LogId, Membership, Peer, SnapshotMeta, StoredMembership};
use super::{Config, Consensus, OpenError, log};

/// No manager was ever elected in it, so that the first leader's term is higher.
const NO_TERM: u64 = 0;

impl<S: Replicated> Consensus<S> {
    /// The state in `config.dir` after the last entry of its log. The tail of a log cannot tell what a majority
    /// had: all of it counts, so that nothing acknowledged is missing. Nothing is changed there.
    ///
    /// # Errors
    /// When another daemon runs on the directory, or what is in it is damaged.
    pub async fn salvage(config: Config) -> Result<Published<S>, OpenError> {
        let dir = config.dir.clone();
        let disk = blocking(move || RealDisk::open(&dir)).await;
        let disk = disk.map_err(config.io("open the raft directory"))?;
        let asked = config.clone();
        let found = tokio::task::spawn_blocking(move || find::<S>(&asked, disk))
            .await
            .map_err(|error| OpenError::Raft(error.to_string()))??;
        let Published {
            mut state,
            mut applied,
        } = found.published.borrow().clone();
        let mut log = found.log;
        let mut reader = log.get_log_reader().await;
        let entries = reader
            .try_get_log_entries(applied.saturating_add(1)..)
            .await;
        for entry in entries.map_err(config.io("read the log"))? {
            applied = entry.log_id.index;
            if let EntryPayload::Normal(command) = entry.payload {
                let entry = S::decode_entry(command.0)
                    .map_err(|error| OpenError::Raft(format!("log entry {applied}: {error}")))?;
                state.apply(applied, &entry);
            }
        }
        // Joining the writer waits for the disk.
        tokio::task::spawn_blocking(move || log.close())
            .await
            .map_err(|error| OpenError::Raft(error.to_string()))?;
        Ok(Published { state, applied })
    }

    /// Makes `config.dir` begin with `published`, for one manager alone that is reached at `address`. Its Raft id
    /// is `config.id`. What was there before must be nothing.
    ///
    /// # Errors
    /// When something is in the directory, or the system refuses; what was begun is then of no use.
    pub async fn seed(
        config: Config,
        address: &str,
        published: Published<S>,
    ) -> Result<(), OpenError> {
        let (asked, peer) = (
            config.clone(),
            Peer {
                address: address.to_owned(),
            },
        );
        let written = blocking(move || {
            let disk = RealDisk::open(&asked.dir)?;
            let _lock = log::lock(&*disk).map_err(io::Error::other)?;
            if read_id(&*disk)?.is_some() || !log::is_fresh(&*disk)? {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            let key = match asked.encrypt {
                true => Some(Key::load(&*disk, true)?),
                false => None,
            };
            let id = keep_id(&*disk, asked.id)?;
            write(disk, key, (id, peer), &published)
        });
        written
            .await
            .map_err(config.io("write the state that it begins with"))
    }
}

fn write<S: Replicated>(
    disk: Arc<dyn Disk>,
    key: Option<Key>,
    (id, peer): (u64, Peer),
    published: &Published<S>,
) -> io::Result<()> {
    let alone = vec![BTreeSet::from([id])];
    let membership =
        Membership::new(alone, BTreeMap::from([(id, peer)])).map_err(io::Error::other)?;
    let at = LogId::new_term_index(NO_TERM, published.applied);
    let meta = SnapshotMeta {
        last_log_id: Some(at),
        last_membership: StoredMembership::new(Some(at), membership),
    };
    let store = SnapshotStore::open(disk, key)?;
    let mut writer = store.begin(&meta)?;
    published.state.encode_snapshot(&mut writer)?;
    let mut snapshot = writer.finish()?;
    store.adopt(&meta, &mut snapshot)
}
