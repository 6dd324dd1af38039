//! Full disks, failing syncs, death in the middle, two daemons.

use openraft::storage::RaftLogStorage;

use super::*;
use crate::raft::disk::RealDisk;
use crate::raft::log::NoRoom;
use crate::raft::types::Vote;

#[tokio::test]
async fn reopened_log_is_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(&dir.path().join("raft/log")).unwrap();
    let mut log = open(disk.clone()).unwrap();
    append_synced(&mut log, (0..20).map(|i| entry(1, i, 500)).collect()).await;
    log.truncate_after(Some(LogId::new_term_index(1, 14)))
        .await
        .unwrap();
    append_synced(&mut log, vec![entry(2, 15, 9)]).await;
    log.purge(LogId::new_term_index(1, 3)).await.unwrap();
    log.save_committed(Some(LogId::new_term_index(1, 9)))
        .await
        .unwrap();
    log.save_vote(&Vote::new_committed(2, 77)).await.unwrap();
    let before = entries(&mut log).await;
    drop(log);
    let mut log = open(disk).unwrap();
    assert_eq!(entries(&mut log).await, before);
    assert_eq!(before.len(), 12);
    assert_eq!(
        log.read_committed().await.unwrap(),
        Some(LogId::new_term_index(1, 9))
    );
    let vote = log.get_log_reader().await.read_vote().await.unwrap();
    assert_eq!(vote, Some(Vote::new_committed(2, 77)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(LogId::new_term_index(1, 3)));
    assert_eq!(state.last_log_id, Some(LogId::new_term_index(2, 15)));
}

#[tokio::test]
async fn second_daemon_on_one_data_root_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    let first = open(disk.clone()).unwrap();
    let refused = open(disk.clone()).err().unwrap();
    assert!(matches!(refused, LogError::InUse), "{refused}");
    drop(first);
    open(disk).unwrap();
}

#[tokio::test]
async fn full_disk_is_seen_before_anything_is_lost() {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    let two = usize::try_from(SEGMENT).unwrap() * 2;
    wait_for("the first spare", || disk.used() == two).await;
    disk.set_capacity(Some(two + 1000));
    let mut next = 0;
    let refused = loop {
        match log.has_room(1500) {
            Ok(()) => append_synced(&mut log, vec![entry(1, next, 1500)]).await,
            Err(NoRoom::Busy) => tokio::task::yield_now().await,
            Err(full @ NoRoom::DiskFull(_)) => break full,
        }
        next = last(&mut log).await.map_or(0, |id| id.index + 1);
        assert!(next < 50, "the disk never ran full");
    };
    assert!(refused.to_string().contains("free some"), "{refused}");
    assert!(next >= 5, "refused although a spare was there: {next}");
    // Votes still find a place, and so does a purge, which makes room again.
    log.save_vote(&Vote::new(9, 1)).await.unwrap();
    log.purge(LogId::new_term_index(1, next - 1)).await.unwrap();
    wait_for("room after a purge", || log.has_room(1500).is_ok()).await;
    append_synced(&mut log, vec![entry(1, next, 1500)]).await;
    let crashed = disk.crash(1);
    drop(log);
    let mut log = open_sim(&crashed);
    assert_eq!(last(&mut log).await, Some(LogId::new_term_index(1, next)));
}

#[tokio::test]
async fn room_returns_when_the_disk_has_some_again() {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    let two = usize::try_from(SEGMENT).unwrap() * 2;
    wait_for("the first spare", || disk.used() == two).await;
    disk.set_capacity(Some(two));
    let mut next = 0;
    while log.has_room(1500) != Err(NoRoom::DiskFull("no storage space".into())) {
        if log.has_room(1500).is_ok() {
            append_synced(&mut log, vec![entry(1, next, 1500)]).await;
            next += 1;
        }
        tokio::task::yield_now().await;
    }
    disk.set_capacity(None);
    wait_for("room", || log.has_room(1500).is_ok()).await;
}

#[tokio::test]
async fn restart_on_a_full_disk_keeps_what_was_there() {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    append_synced(&mut log, vec![entry(1, 0, 100)]).await;
    disk.set_capacity(Some(disk.used()));
    drop(log);
    let disk = disk.kill();
    disk.set_capacity(Some(0));
    let mut log = open_sim(&disk);
    assert_eq!(entries(&mut log).await, vec![entry(1, 0, 100)]);
}

#[tokio::test]
async fn failed_sync_is_final_and_told_to_all() {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    let mut failed = log.failed();
    append_synced(&mut log, vec![entry(1, 0, 100)]).await;
    disk.fail_syncs(true);
    let refused = append(&mut log, vec![entry(1, 1, 100)])
        .await
        .await
        .unwrap();
    assert!(refused.unwrap_err().to_string().contains("sync failed"));
    failed.wait_for(Option::is_some).await.unwrap();
    disk.fail_syncs(false);
    let refused = append(&mut log, vec![entry(1, 2, 100)])
        .await
        .await
        .unwrap();
    assert!(refused.is_err(), "a failed sync was retried");
    assert!(log.save_vote(&Vote::new(1, 1)).await.is_err());
    let crashed = disk.crash(3);
    drop(log);
    let mut log = open_sim(&crashed);
    let found = entries(&mut log).await;
    assert!(found == [entry(1, 0, 100)] || found == [entry(1, 0, 100), entry(1, 1, 100)]);
}

#[tokio::test]
async fn death_at_any_operation_loses_nothing_acknowledged() {
    for fuse in 0..60 {
        let disk = SimDisk::default();
        let mut log = open_sim(&disk);
        wait_for("the first spare", || disk.syncs() >= 2).await;
        disk.die_after(fuse);
        let mut acknowledged = None;
        for index in 0..25 {
            let flushed = append(&mut log, vec![entry(1, index, 3000)]).await;
            if !matches!(flushed.await, Ok(Ok(()))) {
                break;
            }
            acknowledged = Some(LogId::new_term_index(1, index));
        }
        drop(log);
        for seed in 0..4 {
            let mut log = open_sim(&disk.crash(seed));
            assert!(
                last(&mut log).await >= acknowledged,
                "fuse {fuse} seed {seed}"
            );
        }
    }
}

#[tokio::test]
async fn many_waiting_appends_share_one_sync() {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    append_synced(&mut log, vec![entry(1, 0, 10)]).await;
    wait_for("the first spare", || disk.syncs() >= 3).await;
    let before = disk.syncs();
    let mut waiting = Vec::new();
    for index in 1..=400 {
        waiting.push(append(&mut log, vec![entry(1, index, 10)]).await);
    }
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs < 200, "{syncs} syncs for 400 appends");
}
