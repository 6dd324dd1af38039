//! Opening a manager's part in the consensus, in an order that changes nothing before all of it was found good.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use openraft::{Raft, SnapshotPolicy};
use tokio::sync::watch;

use super::disk::{Disk, RealDisk, replace};
use super::log::{self, LogError, LogStore, SEGMENT_LEN};
use super::machine::{Machine, Published, Replicated, blocking};
use super::network::Factory;
use super::seal::{Key, random};
use super::snapshot::SnapshotStore;
use super::transport::Transport;
use super::{Consensus, Leadership, Parts, Threads, keeper};

const ID_FILE: &str = "id";
/// A snapshot is taken after so many entries; so many stay in the log for those who lag.
const SNAPSHOT_EACH: u64 = 10_000;
const KEPT_ENTRIES: u64 = 1_000;
/// Sending a snapshot whole must not take longer.
const SNAPSHOT_BOUND_MS: u64 = 80_000;

/// How a manager takes part. Times are those of a local network; a wide one needs more.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the log, the snapshot and the key, made with mode 0700.
    pub dir: PathBuf,
    /// The id of a manager that is new here; by default it is drawn. One that is kept already stays.
    pub id: Option<u64>,
    /// Whether what is written is encrypted with a key kept beside it.
    pub encrypt: bool,
    /// How often a leader says that it is there.
    pub heartbeat: Duration,
    /// The shortest silence, besides the lease of the longest, after which one stands.
    pub election_least: Duration,
    /// The longest.
    pub election_most: Duration,
    /// Bytes of a log segment.
    pub segment_len: u64,
    /// Entries between two snapshots.
    pub snapshot_each: u64,
    /// Entries kept behind a snapshot.
    pub kept_entries: u64,
}

impl Config {
    /// The defaults, below `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            id: None,
            encrypt: true,
            heartbeat: Duration::from_millis(50),
            election_least: Duration::from_millis(150),
            election_most: Duration::from_millis(250),
            segment_len: SEGMENT_LEN,
            snapshot_each: SNAPSHOT_EACH,
            kept_entries: KEPT_ENTRIES,
        }
    }

    pub(super) fn io(&self, act: &'static str) -> impl FnOnce(io::Error) -> OpenError + use<> {
        let dir = self.dir.clone();
        move |source| OpenError::Io { act, dir, source }
    }

    fn raft(&self) -> Result<Arc<openraft::Config>, OpenError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: "skep".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_least),
            election_timeout_max: millis(self.election_most),
            install_snapshot_timeout: SNAPSHOT_BOUND_MS,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_each),
            // A follower that lags by more than what is kept gets the snapshot anyway.
            replication_lag_threshold: self.snapshot_each.saturating_mul(2),
            max_in_snapshot_log_to_keep: self.kept_entries,
            purge_batch_size: 64,
            enable_pre_vote: Some(true),
            ..openraft::Config::default()
        };
        Ok(Arc::new(
            config
                .validate()
                .map_err(|e| OpenError::Config(e.to_string()))?,
        ))
    }
}

/// Why a manager cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings do not fit together.
    #[error("raft settings do not fit together: {0}")]
    Config(String),
    /// Something below the data root.
    #[error("cannot {act} in {dir}: {source}")]
    Io {
        /// What was being done.
        act: &'static str,
        /// Where.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Raft itself.
    #[error("cannot start raft: {0}")]
    Raft(String),
}

/// What was found on disk.
pub(super) struct Found<S: Replicated> {
    id: u64,
    pub(super) log: LogStore,
    snapshots: Arc<SnapshotStore>,
    machine: Machine<S>,
    pub(super) published: watch::Receiver<Published<S>>,
}

impl<S: Replicated> Consensus<S> {
    /// Opens what is in `config.dir` or begins there. Takes no part before it is initialized or let in.
    ///
    /// # Errors
    /// When another daemon runs on the directory, when what is in it is damaged, or when the system refuses.
    pub async fn open(config: Config, transport: Arc<dyn Transport>) -> Result<Self, OpenError> {
        let dir = config.dir.clone();
        let disk = blocking(move || RealDisk::open(&dir)).await;
        let disk = disk.map_err(config.io("open the raft directory"))?;
        Self::open_on(config, disk, transport).await
    }

    /// The same on any disk.
    pub(super) async fn open_on(
        config: Config,
        disk: Arc<dyn Disk>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, OpenError> {
        let raft_config = config.raft()?;
        let asked = config.clone();
        let found = tokio::task::spawn_blocking(move || find::<S>(&asked, disk))
            .await
            .map_err(|e| OpenError::Raft(e.to_string()))??;
        let started = Threads::start().map_err(|e| OpenError::Raft(e.to_string()))?;
        let threads = started.spawner();
        let Found {
            id,
            log,
            snapshots,
            machine,
            published,
        } = found;
        let factory = Factory {
            id,
            transport: transport.clone(),
        };
        let store = log.clone();
        let raft = threads
            .spawn(Raft::new(id, raft_config, factory, store, machine))
            .await
            .map_err(|e| OpenError::Raft(e.to_string()))?
            .map_err(|e| OpenError::Raft(e.to_string()))?;
        let (leadership, fatal) = (
            watch::Sender::new(Leadership::default()),
            watch::Sender::new(None),
        );
        let parts = Parts {
            id,
            raft: raft.clone(),
            log: log.clone(),
            snapshots,
            transport,
            published,
            leadership: leadership.subscribe(),
            fatal: fatal.subscribe(),
            closed: AtomicBool::new(false),
            threads: started,
        };
        threads.spawn(keeper::watch_leader(id, raft.clone(), leadership));
        threads.spawn(keeper::keep(id, raft, log, fatal));
        Ok(Self(Arc::new(parts)))
    }
}

pub(super) fn find<S: Replicated>(
    config: &Config,
    disk: Arc<dyn Disk>,
) -> Result<Found<S>, OpenError> {
    let io = |act| config.io(act);
    let lock = log::lock(&*disk)?;
    let known = read_id(&*disk).map_err(io("read the raft id"))?;
    let fresh = known.is_none() && log::is_fresh(&*disk).map_err(io("list files"))?;
    let key = match config.encrypt {
        true => Some(Key::load(&*disk, fresh).map_err(io("load the key"))?),
        false => None,
    };
    let id = match known {
        Some(id) => id,
        None => keep_id(&*disk, config.id).map_err(io("keep a new raft id"))?,
    };
    let snapshots =
        SnapshotStore::open(disk.clone(), key.clone()).map_err(io("open the snapshots"))?;
    let (sender, published) = watch::channel(Published::default());
    let machine =
        Machine::open(snapshots.clone(), sender).map_err(io("read the current snapshot"))?;
    let log = LogStore::open(disk, lock, key, config.segment_len)?;
    Ok(Found {
        id,
        log,
        snapshots,
        machine,
        published,
    })
}

pub(super) fn read_id(disk: &dyn Disk) -> io::Result<Option<u64>> {
    if !disk.names()?.iter().any(|name| name == ID_FILE) {
        return Ok(None);
    }
    let file = disk.open(ID_FILE)?;
    let mut text = vec![0; usize::try_from(file.len()?.min(64)).unwrap_or(64)];
    file.read_at(0, &mut text)?;
    let text = String::from_utf8_lossy(&text);
    let id = u64::from_str_radix(text.trim(), 16).map_err(io::Error::other)?;
    Ok(Some(id))
}

/// A new id: the one given, or a random one. It is never 0, which no manager has.
pub(super) fn keep_id(disk: &dyn Disk, given: Option<u64>) -> io::Result<u64> {
    let mut bytes = [0; 8];
    random(&mut bytes)?;
    let id = given.unwrap_or(u64::from_le_bytes(bytes)).max(1);
    replace(disk, ID_FILE, format!("{id:016x}\n").as_bytes())?;
    Ok(id)
}
