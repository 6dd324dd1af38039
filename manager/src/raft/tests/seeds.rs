//! States taken out of a directory and put into another.

use super::*;

fn quick(config: Config) -> Config {
    Config {
        snapshot_each: 40,
        kept_entries: 5,
        ..config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_majority_had_goes_on_alone() {
    let mut world = World::new(3, quick).await;
    for number in 0..100 {
        world.write(&format!("n{number}"), number).await;
    }
    let leader = world.leader().await;
    let target = world.manager(leader).target();
    let before = world.manager(leader).consensus.id();
    let mut kept = None;
    for at in 0..3 {
        let dir = world.kill(at).await;
        if at == leader {
            kept = Some(dir);
        }
    }
    let kept = kept.unwrap();
    let found: Published<Numbers> =
        Consensus::salvage(quick(Config::new(kept.path().join("raft"))))
            .await
            .unwrap();
    assert_eq!(found.state.len(), 100);
    assert!(found.applied >= 100);

    let fresh = tempfile::tempdir().unwrap();
    let mut config = quick(Config::new(fresh.path().join("raft")));
    config.id = Some(77);
    Consensus::seed(config.clone(), &target.address, found.clone())
        .await
        .unwrap();
    let again = Consensus::seed(config, &target.address, found.clone()).await;
    assert!(again.unwrap_err().to_string().contains("exists"));

    world.restart(leader, fresh).await;
    let alone = world.manager(leader);
    assert_eq!(alone.consensus.id(), 77);
    assert_ne!(alone.consensus.id(), before);
    world.write("after", 1).await;
    assert!(world.manager(leader).consensus.is_initialized());
    let state = world.manager(leader).consensus.state().borrow().clone();
    assert_eq!(state.state.len(), 101);
    assert!(state.applied > found.applied);

    // It is a directory like any other: it survives a restart and takes others in.
    let dir = world.kill(leader).await;
    world.restart(leader, dir).await;
    world.leader().await;
    let other = world.add().await;
    world.join(other).await;
    world.write("both", 2).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut follows = world.manager(other).consensus.state();
    let whole = follows.wait_for(|it| it.state.len() == 102);
    tokio::time::timeout_at(deadline.into(), whole)
        .await
        .unwrap()
        .unwrap();
}
