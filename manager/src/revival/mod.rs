//! Revival: a cluster goes on with one manager, from a backup or from what that manager has.
//!
//! Both lead to a new Raft group of one that begins with the whole state, in which the cluster's incarnation is
//! higher: workers then refuse what the old managers say. Running containers are not touched.

mod backup;
mod survivor;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use skep_proto::ids::{NodeId, RaftId};

use crate::raft::{self, Consensus, OpenError, Published};
use crate::ring::wall_time;
use crate::state::State;

pub use backup::{Backup, BackupError, Content};
pub use survivor::Survivor;

/// What follows the name of a directory that is being made beside another.
const BESIDE: &str = "next";

/// Why a cluster does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RevivalError {
    /// What is stored cannot be read, or the new group cannot be written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no cluster in the state.
    #[error("there is no cluster in it")]
    NoCluster,
    /// The node is not in the state.
    #[error("node {0} is not known there")]
    NoNode(NodeId),
    /// What the cluster is to go on with does not fit to what is there.
    #[error("it does not fit together: {0}")]
    Misfit(String),
    /// The directory cannot be put in its place.
    #[error("cannot put {path} in its place: {source}")]
    Place {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes `directory`, in which nothing may be, a manager's that goes on from `backup` as `survivor`.
///
/// # Errors
/// When the backup holds no cluster, or the system refuses.
pub async fn restore(
    directory: &Path,
    backup: Backup,
    survivor: Survivor,
) -> Result<(), RevivalError> {
    seed(directory, backup.published, survivor).await
}

/// Lets the manager of `directory`, that must not be running, go on alone with all it has; it is reached at
/// `address` from now on. What was there before lies beside it until [`forget`].
///
/// # Errors
/// When what is there cannot be read, or the system refuses; the directory is as it was then.
pub async fn force(
    directory: &Path,
    node: NodeId,
    address: SocketAddr,
) -> Result<(), RevivalError> {
    let published: Published<State> = Consensus::salvage(raft::Config::new(directory)).await?;
    let known = published.state.node(node).cloned();
    let survivor = Survivor {
        node: known.ok_or(RevivalError::NoNode(node))?,
        raft: RaftId(rand::random()),
        address,
        images: Vec::new(),
        asked: "swarm init --force-new-cluster",
    };
    forget(directory)?;
    let next = beside(directory);
    seed(&next, published, survivor).await?;
    let exchanged = rustix::fs::renameat_with(
        rustix::fs::CWD,
        &next,
        rustix::fs::CWD,
        directory,
        rustix::fs::RenameFlags::EXCHANGE,
    );
    let durable = exchanged.map_err(io::Error::from).and_then(|()| {
        let parent = directory.parent().unwrap_or(Path::new("."));
        std::fs::File::open(parent)?.sync_all()
    });
    durable.map_err(|error| place(directory, error))
}

/// Removes what [`force`] left beside `directory`, whether it was done or cut short.
///
/// # Errors
/// What the system says.
pub fn forget(directory: &Path) -> Result<(), RevivalError> {
    let path = beside(directory);
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(place(&path, error)),
        _ => Ok(()),
    }
}

fn beside(directory: &Path) -> PathBuf {
    directory.with_extension(BESIDE)
}

fn place(path: &Path, source: io::Error) -> RevivalError {
    let path = path.to_owned();
    RevivalError::Place { path, source }
}

async fn seed(
    directory: &Path,
    published: Published<State>,
    survivor: Survivor,
) -> Result<(), RevivalError> {
    let Published { mut state, applied } = published;
    let (raft, address) = (survivor.raft, survivor.address);
    let entry = survivor
        .entry(&state, wall_time())
        .ok_or(RevivalError::NoCluster)?;
    let applied = applied.saturating_add(1);
    if let Some(dropped) = state.apply(applied, &entry).dropped.first() {
        return Err(RevivalError::Misfit(dropped.reason.to_string()));
    }
    let mut config = raft::Config::new(directory);
    config.id = Some(raft.0);
    let published = Published { state, applied };
    Ok(Consensus::seed(config, &address.to_string(), published).await?)
}
