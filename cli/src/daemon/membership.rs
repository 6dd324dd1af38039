//! What a daemon remembers of the cluster it belongs to: one small file, replaced whole.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use skep_proto::ids::{ClusterId, NodeId, RaftId};

/// Version of the file's format.
const VERSION: u32 = 1;
const FILE: &str = "membership.json";

/// The cluster this node belongs to. The file is written last when a node joins: without it there was no
/// join, and what else lies in the data root is left over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Its number in the Raft group, if it has ever been a manager.
    pub raft: Option<RaftId>,
    /// Where other nodes reach it.
    pub advertise: SocketAddr,
    /// Where it listens for them.
    pub listen: SocketAddr,
    /// Managers it knew last.
    pub managers: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    cluster: String,
    node: String,
    raft: Option<u64>,
    advertise: SocketAddr,
    listen: SocketAddr,
    managers: Vec<SocketAddr>,
}

impl Membership {
    /// Reads the file below `root`; `None` where this node is in no cluster.
    ///
    /// # Errors
    /// When the file is there and cannot be understood: it is not thrown away.
    pub fn load(root: &Path) -> anyhow::Result<Option<Self>> {
        let path = root.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let record: Record = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; restore it from a backup", path.display()))?;
        if record.version != VERSION {
            bail!(
                "{} has version {}, this skep knows {VERSION}: it was written by a newer skep",
                path.display(),
                record.version
            );
        }
        Ok(Some(Self {
            cluster: record.cluster.parse()?,
            node: record.node.parse()?,
            raft: record.raft.map(RaftId),
            advertise: record.advertise,
            listen: record.listen,
            managers: record.managers,
        }))
    }

    /// Replaces the file below `root`; when this returns, a power cut does not undo it.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn save(&self, root: &Path) -> anyhow::Result<()> {
        let record = Record {
            version: VERSION,
            cluster: self.cluster.to_string(),
            node: self.node.to_string(),
            raft: self.raft.map(|raft| raft.0),
            advertise: self.advertise,
            listen: self.listen,
            managers: self.managers.clone(),
        };
        replace(&root.join(FILE), &serde_json::to_vec_pretty(&record)?)
    }

    /// Forgets the cluster below `root`; nothing happens where there is none.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn forget(root: &Path) -> anyhow::Result<()> {
        let path = root.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", path.display()))
            }
            _ => sync_directory(root),
        }
    }
}

fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let new: PathBuf = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("replace {}", path.display()))?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> anyhow::Result<()> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("sync {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Membership {
        Membership {
            cluster: ClusterId::new(1),
            node: NodeId::new(2),
            raft: Some(RaftId(3)),
            advertise: "192.0.2.1:2377".parse().unwrap(),
            listen: "0.0.0.0:2377".parse().unwrap(),
            managers: vec!["192.0.2.2:2377".parse().unwrap()],
        }
    }

    #[test]
    fn what_was_saved_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Membership::load(dir.path()).unwrap(), None);
        sample().save(dir.path()).unwrap();
        assert_eq!(Membership::load(dir.path()).unwrap(), Some(sample()));
        Membership::forget(dir.path()).unwrap();
        Membership::forget(dir.path()).unwrap();
        assert_eq!(Membership::load(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let newer = r#"{"version":9,"cluster":"","node":"","raft":null,
            "advertise":"192.0.2.1:1","listen":"192.0.2.1:1","managers":[]}"#;
        for text in ["{", newer] {
            fs::write(&path, text).unwrap();
            assert!(Membership::load(dir.path()).is_err());
            assert!(path.exists());
        }
    }
}
