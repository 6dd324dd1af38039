//! Snapshots against a disk that does all a disk may do, and the cluster's real state in them.

use std::sync::Arc;

use super::*;
use crate::raft::disk::Disk;
use crate::raft::log::tests::key;
use crate::raft::sim_disk::SimDisk;
use crate::raft::snapshot::{SnapshotFile, SnapshotStore};
use crate::raft::types::{LogId, SnapshotMeta, StoredMembership};
use crate::state::State;

const LEN: usize = 600_000;

fn meta(index: u64) -> SnapshotMeta {
    let last_log_id = Some(LogId::new_term_index(1, index));
    SnapshotMeta {
        last_log_id,
        last_membership: StoredMembership::default(),
    }
}

fn write(store: &Arc<SnapshotStore>, index: u64) -> io::Result<SnapshotFile> {
    let mut writer = store.begin(&meta(index))?;
    writer.write_all(&vec![u8::try_from(index).unwrap(); LEN])?;
    let mut file = writer.finish()?;
    store.adopt(&meta(index), &mut file)?;
    Ok(file)
}

fn read(store: &Arc<SnapshotStore>) -> io::Result<Option<(u64, Vec<u8>)>> {
    let Some((_, file)) = store.current()? else {
        return Ok(None);
    };
    let (meta, mut reader) = file.read()?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(Some((meta.last_log_id.unwrap().index, bytes)))
}

fn open(disk: &SimDisk) -> Arc<SnapshotStore> {
    SnapshotStore::open(disk.shared(), Some(key())).unwrap()
}

#[test]
fn death_at_any_operation_leaves_one_whole_snapshot() {
    for fuse in 0..10 {
        let disk = SimDisk::default();
        write(&open(&disk), 1).unwrap();
        disk.die_after(fuse);
        let written = write(&open(&disk), 2).is_ok();
        for seed in 0..8 {
            let after = disk.crash(seed);
            let (index, bytes) = read(&open(&after)).unwrap().unwrap();
            assert!(index == 2 || index == 1 && !written, "fuse {fuse}: {index}");
            assert_eq!(bytes, vec![u8::try_from(index).unwrap(); LEN]);
            let names = after.names().unwrap();
            assert_eq!(names, ["snapshot"], "left over after fuse {fuse}");
        }
    }
}

#[test]
fn older_snapshot_never_replaces_a_newer_one() {
    let disk = SimDisk::default();
    let store = open(&disk);
    write(&store, 5).unwrap();
    drop(write(&store, 3).unwrap());
    assert_eq!(read(&store).unwrap().unwrap().0, 5);
    assert_eq!(disk.names().unwrap(), ["snapshot"]);
    let again = open(&disk);
    again.current().unwrap();
    drop(write(&again, 4).unwrap());
    assert_eq!(read(&again).unwrap().unwrap().0, 5);
}

#[test]
fn damaged_or_cut_snapshot_is_refused() {
    let disk = SimDisk::default();
    write(&open(&disk), 1).unwrap();
    let len = disk.read("snapshot").len();
    for at in (0..len).step_by(997) {
        let changed = disk.edited("snapshot", |bytes| bytes[at] ^= 0x04);
        assert!(read(&open(&changed)).is_err(), "byte {at} went unnoticed");
        let cut = disk.edited("snapshot", |bytes| bytes.truncate(at));
        assert!(read(&open(&cut)).is_err(), "a cut at {at} went unnoticed");
    }
    assert!(
        !disk.read("snapshot").windows(16).any(|w| w == [1; 16]),
        "it is not encrypted"
    );
}

#[test]
fn state_of_the_cluster_survives_a_snapshot() {
    use crate::state::{Change, Entry};
    use skep_proto::ids::{NodeId, RequestId};
    let mut state = State::default();
    for index in 1..20_u64 {
        let entry = Entry {
            time: skep_proto::time::ClusterTime::default(),
            request: Some(RequestId::new(u128::from(index))),
            changes: vec![Change::DeleteNode {
                node: NodeId::new(u128::from(index)),
                version: 0,
            }],
            ..Entry::default()
        };
        let bytes = State::encode_entry(&entry).unwrap();
        let entry = State::decode_entry(bytes).unwrap();
        Replicated::apply(&mut state, index, &entry);
    }
    let mut bytes = Vec::new();
    state.encode_snapshot(&mut bytes).unwrap();
    assert_eq!(
        State::decode_snapshot(&mut bytes.as_slice()).unwrap(),
        state
    );
    bytes.truncate(bytes.len() - 4);
    assert!(State::decode_snapshot(&mut bytes.as_slice()).is_err());
}
