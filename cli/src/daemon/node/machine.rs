//! What this node says of itself, of its machine, and of what it stores there.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use skep_manager::Manager;
use skep_proto::wire::{WireId, v1};
use skep_worker::exec::containers::Counts;
use skep_worker::features::{self, Presence};
use skep_worker::resources;
use skep_worker::volumes::Volumes;

use super::{Node, Phase, known_managers};

/// Files that are looked at for the sizes of one kind; what comes after them is not counted.
const FILES: usize = 1_000_000;

impl Node {
    /// What the daemon says of itself.
    pub async fn status(&self) -> v1::StatusAnswer {
        let hostname = resources::describe(&self.config.labels).hostname;
        let engine = env!("CARGO_PKG_VERSION").to_owned();
        let phase = self.phase.lock().await;
        let Phase::Active(active) = &*phase else {
            let state = v1::LocalState::Inactive.into();
            return v1::StatusAnswer {
                state,
                engine,
                hostname,
                ..Default::default()
            };
        };
        let membership = &active.membership;
        let leader = active.manager.as_ref().and_then(Manager::leader);
        let managers = known_managers(membership);
        v1::StatusAnswer {
            state: v1::LocalState::Active.into(),
            message: String::new(),
            node: Some(membership.node.to_bytes()),
            cluster: Some(membership.cluster.to_bytes()),
            role: v1::Role::from(active.identity.peer().role).into(),
            advertise: Some(v1::Address::from(membership.advertise)),
            listen: Some(v1::Address::from(membership.listen)),
            managers: managers.into_iter().map(v1::Address::from).collect(),
            leader: leader.map(WireId::to_bytes),
            engine,
            hostname,
            connected: active.worker.connected().borrow().is_some(),
        }
    }

    /// What this node says of its machine.
    ///
    /// # Errors
    /// When the daemon is ending.
    pub async fn describe(&self) -> anyhow::Result<v1::DescribeAnswer> {
        let described = resources::describe(&self.config.labels);
        let looked = tokio::task::spawn_blocking(|| {
            let features = features::features().into_iter();
            let features = features.map(|feature| v1::Feature {
                name: feature.name.to_owned(),
                present: feature.presence == Presence::Found,
            });
            (features::control_groups(), features.collect())
        });
        let ((cgroups, controllers), features) = looked.await?;
        let counts = self.counts().await?;
        let kernel = described.labels.get(resources::KERNEL);
        Ok(v1::DescribeAnswer {
            data_root: self.config.data_root.display().to_string(),
            exec_root: self.config.exec_root.display().to_string(),
            kernel: kernel.cloned().unwrap_or_default(),
            system: system_name(),
            arch: described.arch,
            cpus: u32::try_from(described.resources.nano_cpus / 1_000_000_000).unwrap_or(u32::MAX),
            memory: described.resources.memory,
            cgroups: cgroups.to_owned(),
            controllers,
            features,
            labels: self.config.labels.clone(),
            images: u32::try_from(self.store.images().len()).unwrap_or(u32::MAX),
            running: counts.running,
            paused: counts.paused,
            stopped: counts.stopped,
        })
    }

    /// What this node stores.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub async fn stored(&self) -> anyhow::Result<v1::StoredAnswer> {
        let running = match &*self.phase.lock().await {
            Phase::Inactive => BTreeSet::new(),
            Phase::Active(active) => {
                let all = active.worker.containers().all().into_iter();
                let running = all.filter(|one| one.ended().is_none());
                running.map(|one| one.id().to_owned()).collect()
            }
        };
        let images = self.disk_use().await?;
        let (root, volumes) = (self.config.data_root.clone(), self.volumes.clone());
        let walked = tokio::task::spawn_blocking(move || {
            anyhow::Ok((containers(&root, &running), sizes_of(&volumes)?))
        });
        let ((containers, container_bytes), (volumes, volume_bytes)) = walked.await??;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(v1::StoredAnswer {
            images: Some(v1::Usage {
                total: number(images.images),
                active: number(images.active),
                bytes: images.bytes,
                reclaimable: images.reclaimable,
            }),
            containers: Some(containers),
            volumes: Some(volumes),
            volume_bytes,
            container_bytes,
        })
    }

    /// This node's containers, counted.
    async fn counts(&self) -> anyhow::Result<Counts> {
        let containers = match &*self.phase.lock().await {
            Phase::Inactive => return Ok(Counts::default()),
            Phase::Active(active) => active.worker.containers(),
        };
        Ok(tokio::task::spawn_blocking(move || containers.counts()).await?)
    }
}

/// What containers wrote, and their logs: all, and each. Those that do not run could go.
fn containers(data_root: &Path, running: &BTreeSet<String>) -> (v1::Usage, BTreeMap<String, u64>) {
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    let mut walk = Walk::default();
    for below in ["containers", "images/rootfs"] {
        for path in entries(&data_root.join(below)) {
            let id = path.file_name().unwrap_or_default().to_string_lossy();
            *bytes.entry(id.into_owned()).or_default() += walk.size(&path);
        }
    }
    let mut usage = v1::Usage::default();
    for (id, size) in &bytes {
        count(&mut usage, *size, running.contains(id));
    }
    (usage, bytes)
}

/// Of all volumes, and of each.
fn sizes_of(volumes: &Volumes) -> anyhow::Result<(v1::Usage, BTreeMap<String, u64>)> {
    let (mut usage, mut each) = (v1::Usage::default(), BTreeMap::new());
    let mut walk = Walk::default();
    for volume in volumes.list()? {
        let size = walk.size(&volume.path);
        count(&mut usage, size, !volume.users.is_empty());
        each.insert(volume.name, size);
    }
    Ok((usage, each))
}

fn count(usage: &mut v1::Usage, size: u64, active: bool) {
    usage.total = usage.total.saturating_add(1);
    usage.bytes = usage.bytes.saturating_add(size);
    if active {
        usage.active = usage.active.saturating_add(1);
    } else {
        usage.reclaimable = usage.reclaimable.saturating_add(size);
    }
}

/// Adds up what files take on their file system.
#[derive(Default)]
struct Walk {
    /// Files with several names that were counted: device and number.
    known: BTreeSet<(u64, u64)>,
    looked: usize,
}

impl Walk {
    /// What a directory and all below it take. What is mounted there, or on it, is somebody else's.
    fn size(&mut self, root: &Path) -> u64 {
        let parent = root.parent().and_then(|parent| parent.metadata().ok());
        let Some(device) = parent.map(|found| found.dev()) else {
            return 0;
        };
        let (mut bytes, mut open) = (0_u64, vec![root.to_path_buf()]);
        while let Some(path) = open.pop() {
            self.looked += 1;
            if self.looked > FILES {
                return bytes;
            }
            let Ok(found) = path.symlink_metadata() else {
                continue;
            };
            let again = found.nlink() > 1 && !found.is_dir();
            if found.dev() != device || again && !self.known.insert((device, found.ino())) {
                continue;
            }
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
            if found.is_dir() {
                open.extend(entries(&path));
            }
        }
        bytes
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// What the system calls itself: `Debian GNU/Linux 13 (trixie)`.
fn system_name() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_counted_once_and_by_what_it_takes() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("volume");
        let deep = root.join("a/b");
        std::fs::create_dir_all(&deep).expect("directories");
        std::fs::write(deep.join("full"), vec![7; 1 << 20]).expect("a file");
        std::fs::hard_link(deep.join("full"), root.join("again")).expect("a link");
        let sparse = std::fs::File::create(root.join("sparse")).expect("a file");
        sparse.set_len(1 << 30).expect("a length");
        let size = Walk::default().size(&root);
        assert!((1 << 20..2 << 20).contains(&size), "{size}");
        assert_eq!(Walk::default().size(&root.join("nothing")), 0);
    }
}
