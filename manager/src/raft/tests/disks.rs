//! What a cluster does when one manager's disk is full, fails, or is read by others.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::raft::log::tests::wait_for;

fn small(config: Config) -> Config {
    Config {
        segment_len: 64 << 10,
        ..config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_with_a_full_disk_refuses_and_hands_over() {
    let disk = SimDisk::default();
    let world = World::new_on(Some(disk.clone()), 3, small).await;
    let full = world.manager(0).consensus.clone();
    if !world.manager(0).leads() {
        let leader = world.manager(world.leader().await).consensus.clone();
        leader.transfer_leader(Some(full.id())).await.unwrap();
    }
    world.write("before", 1).await;
    disk.set_capacity(Some(0));
    let name = "n".repeat(4000);
    let refused = loop {
        match full.propose(&(name.clone(), 2)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    // It refuses, or has handed over already.
    match &refused {
        ProposeError::NoRoom(NoRoom::DiskFull(_)) => {
            assert!(refused.to_string().contains("free some"), "{refused}");
        }
        ProposeError::NotLeader { .. } => {}
        other => panic!("{other}"),
    }
    wait_for("another leader", || !world.manager(0).leads()).await;
    for number in 0..20 {
        world.write(&name, number).await;
    }
    assert!(full.fatal().borrow().is_none(), "a full disk reached raft");
    disk.set_capacity(None);
    world.write("after", 3).await;
    world
        .wait_states(|state| state.get("after") == Some(3))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_disk_ends_its_manager_and_nobody_else() {
    let disk = SimDisk::default();
    let world = World::new_on(Some(disk.clone()), 3, small).await;
    world.write("before", 1).await;
    let broken = world.manager(0).consensus.clone();
    let mut fatal = broken.fatal();
    disk.fail_syncs(true);
    // Whoever leads, an entry reaches the broken disk.
    let others: Vec<_> = world.managers.iter().flatten().skip(1).collect();
    let _ = broken.propose(&("during".to_owned(), 2)).await;
    let write = async {
        loop {
            for manager in &others {
                if manager
                    .consensus
                    .propose(&("after".to_owned(), 3))
                    .await
                    .is_ok()
                {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), write)
        .await
        .expect("the others went on");
    let why = tokio::time::timeout(Duration::from_secs(15), fatal.wait_for(Option::is_some));
    let why = why.await.unwrap().unwrap().clone().unwrap();
    assert!(why.contains("sync failed"), "{why}");
    assert!(matches!(
        broken.propose(&("x".to_owned(), 1)).await,
        Err(ProposeError::Ended(_) | ProposeError::NotLeader { .. } | ProposeError::Unknown)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_root_is_for_its_owner_and_for_one_daemon() {
    let world = World::new(1, |config| config).await;
    let dir = world.manager(0).dir.path().join("raft");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
    let plug = Plug {
        switch: Switch::default(),
        from: Arc::default(),
    };
    let second = Consensus::<Numbers>::open(Config::new(&dir), Arc::new(plug)).await;
    let refused = second.err().expect("one data root serves one daemon");
    assert!(
        refused.to_string().contains("another skep daemon"),
        "{refused}"
    );
    let without = world.manager(0).dir.path().join("moved");
    world.manager(0).consensus.shutdown().await;
    std::fs::rename(&dir, &without).unwrap();
    std::fs::remove_file(without.join("key")).unwrap();
    let plug = Plug {
        switch: Switch::default(),
        from: Arc::default(),
    };
    let keyless = Consensus::<Numbers>::open(Config::new(&without), Arc::new(plug)).await;
    let refused = keyless.err().expect("a log is not read without its key");
    assert!(
        format!("{refused}").contains("put back the key"),
        "{refused}"
    );
}
