//! What is torn is cut, what is damaged is refused, what is old is never read.

use openraft::storage::RaftLogStorage;

use super::*;
use crate::raft::log::frame::{BLOCK, Frame, Run};
use crate::raft::types::Vote;

const FIRST: &str = "0000000000000001.seg";

/// Where the frames of the first run in `bytes` begin, and where the last one ends.
fn frames(bytes: &[u8]) -> Vec<u64> {
    let run = Run::decode(bytes, 0).unwrap().unwrap();
    let mut at = BLOCK;
    let mut found = vec![at];
    while let Some(frame) = Frame::decode(bytes, at, run.incarnation) {
        at = frame.end;
        found.push(at);
    }
    found
}

async fn five_entries() -> SimDisk {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    for index in 0..5 {
        append_synced(&mut log, vec![entry(1, index, 100)]).await;
    }
    drop(log);
    disk
}

#[tokio::test]
async fn torn_last_record_is_cut_at_every_byte() {
    let disk = five_entries().await;
    let ends = frames(&disk.read(FIRST));
    assert_eq!(ends.len(), 6);
    for cut in ends[4]..ends[5] {
        let torn = disk.edited(FIRST, |bytes| {
            let (from, to) = (
                usize::try_from(cut).unwrap(),
                usize::try_from(ends[5]).unwrap(),
            );
            bytes[from..to].fill(0);
        });
        let mut log = open_sim(&torn);
        let found = entries(&mut log).await;
        // A cut in the padding loses nothing; the record takes between 150 and 250 bytes.
        let into = cut - ends[4];
        assert!(
            found.len() == 5 || into < 250 && found.len() == 4,
            "cut at {into}"
        );
        assert!(found.len() == 4 || into > 150, "cut at {into}");
        let next = found.len() as u64;
        append_synced(&mut log, vec![entry(2, next, 10)]).await;
        drop(log);
        let mut log = open_sim(&torn);
        let mut expected = found;
        expected.push(entry(2, next, 10));
        assert_eq!(entries(&mut log).await, expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn changed_bit_in_the_last_record_is_cut() {
    let disk = five_entries().await;
    let ends = frames(&disk.read(FIRST));
    for at in ends[4]..ends[4] + 150 {
        let changed = disk.edited(FIRST, |bytes| bytes[usize::try_from(at).unwrap()] ^= 0x10);
        let mut log = open_sim(&changed);
        let len = entries(&mut log).await.len();
        assert!(len == 4, "bit at {at} went unnoticed: {len} entries");
    }
}

#[tokio::test]
async fn damage_before_a_good_record_refuses_the_start() {
    let disk = five_entries().await;
    let ends = frames(&disk.read(FIRST));
    for at in (ends[1]..ends[1] + 150).chain(ends[3]..ends[3] + 150) {
        let changed = disk.edited(FIRST, |bytes| bytes[usize::try_from(at).unwrap()] ^= 0x01);
        let refused = open(changed.shared())
            .err()
            .expect("damage must refuse the start");
        let text = refused.to_string();
        assert!(matches!(refused, LogError::Corrupt { .. }), "{text}");
        assert!(
            text.contains(FIRST) && text.contains("join the cluster again"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn damage_at_the_end_of_an_earlier_run_refuses_the_start() {
    let disk = five_entries().await;
    let ends = frames(&disk.read(FIRST));
    let mut log = open_sim(&disk);
    append_synced(&mut log, vec![entry(1, 5, 100)]).await;
    drop(log);
    let at = usize::try_from(ends[4]).unwrap() + 40;
    let changed = disk.edited(FIRST, |bytes| bytes[at] ^= 0x01);
    assert!(matches!(
        open(changed.shared()),
        Err(LogError::Corrupt { .. })
    ));
}

#[tokio::test]
async fn missing_segment_refuses_the_start() {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    for index in 0..30 {
        append_synced(&mut log, vec![entry(1, index, 3000)]).await;
    }
    drop(log);
    let mut names = Disk::names(&disk).unwrap();
    names.sort();
    assert!(names.len() > 4);
    Disk::remove(&disk, &names[1]).unwrap();
    let refused = open(disk.shared())
        .err()
        .expect("a hole must refuse the start");
    assert!(refused.to_string().contains("missing"), "{refused}");
}

#[tokio::test]
async fn recycled_segments_never_show_what_they_held() {
    let mut disk = SimDisk::default();
    let mut log = open_sim(&disk);
    let mut next = 0;
    for round in 0..40_u64 {
        for _ in 0..5 {
            append_synced(&mut log, vec![entry(round + 1, next, 2000)]).await;
            next += 1;
        }
        log.purge(LogId::new_term_index(round + 1, next - 2))
            .await
            .unwrap();
        if round % 2 == 0 {
            // The other purges may be lost with the power.
            log.save_vote(&Vote::new(round, 1)).await.unwrap();
        }
        let crashed = disk.kill().crash(round);
        let mut seen = open_sim(&crashed);
        let found = entries(&mut seen).await;
        assert!(
            found.iter().any(|e| e.log_id.index == next - 1),
            "round {round}"
        );
        let ordered = found
            .windows(2)
            .all(|w| w[0].log_id.index + 1 == w[1].log_id.index);
        assert!(
            ordered && last(&mut seen).await == Some(LogId::new_term_index(round + 1, next - 1))
        );
        (disk, log) = (crashed, seen);
    }
    log.purge(LogId::new_term_index(40, next - 1))
        .await
        .unwrap();
    wait_for("few segments", || Disk::names(&disk).unwrap().len() <= 6).await;
}

#[tokio::test]
async fn wrong_or_absent_key_is_said_so() {
    let disk = five_entries().await;
    let other = Some(Key::new([8; 32]));
    let refused = LogStore::open(disk.shared(), lock(&disk).unwrap(), other, SEGMENT)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("another key"), "{refused}");
    let refused = LogStore::open(disk.shared(), lock(&disk).unwrap(), None, SEGMENT)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("has no key"), "{refused}");
}

#[tokio::test]
async fn payload_is_not_readable_on_disk() {
    let disk = SimDisk::default();
    let mut log = open_sim(&disk);
    append_synced(&mut log, vec![entry(1, 0, 100), entry(1, 1, 100)]).await;
    assert!(!disk.read(FIRST).windows(8).any(|w| w == [1; 8]));
}
