//! What a cluster promises, while managers and links fail.

use super::*;

fn plain(config: Config) -> Config {
    config
}

/// So slow that a busy machine is not taken for a dead leader.
fn patient(config: Config) -> Config {
    Config {
        heartbeat: Duration::from_millis(100),
        election_least: Duration::from_millis(600),
        election_most: Duration::from_millis(900),
        ..config
    }
}

fn short_log(config: Config) -> Config {
    Config {
        snapshot_each: 50,
        kept_entries: 5,
        segment_len: 64 << 10,
        ..config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_leaders_die_and_all_restart() {
    let mut world = World::new(3, plain).await;
    for number in 0..1000 {
        let leader = world.manager(world.leader().await);
        leader
            .consensus
            .propose(&(format!("n{number}"), number))
            .await
            .unwrap();
    }
    let dead = world.leader().await;
    let killed = Instant::now();
    let dir = world.kill(dead).await;
    world.write("after", 1).await;
    println!(
        "leader killed, next write accepted after {:?}",
        killed.elapsed()
    );
    world.restart(dead, dir).await;
    world
        .wait_states(|state| state.len() == 1001 && state.get("n999") == Some(999))
        .await;
    let mut dirs = Vec::new();
    for at in 0..3 {
        dirs.push(world.kill(at).await);
    }
    for (at, dir) in dirs.into_iter().enumerate() {
        world.restart(at, dir).await;
    }
    world.write("again", 2).await;
    world.wait_states(|state| state.len() == 1002).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_leader_is_replaced_and_takes_back_nothing() {
    let world = World::new(3, plain).await;
    world.write("before", 1).await;
    let old = world.leader().await;
    let lonely = world.manager(old).consensus.clone();
    world.switch.cut(lonely.id());
    world.write("during", 2).await;
    assert_ne!(world.leader().await, old);
    // The old leader has no majority: it neither writes nor reads.
    let written = lonely.propose(&("lost".to_owned(), 3)).await;
    assert!(written.is_err(), "{written:?}");
    assert!(matches!(
        lonely.read_index().await,
        Err(ReadError::NoQuorum(_))
    ));
    world.switch.heal(lonely.id());
    world.write("after", 4).await;
    world
        .wait_states(|state| state.get("after") == Some(4))
        .await;
    for manager in world.managers.iter().flatten() {
        let read = manager.consensus.read_index().await.unwrap().state;
        assert_eq!((read.get("during"), read.get("lost")), (Some(2), None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_cut_of_a_follower_changes_no_leader() {
    let world = World::new(3, patient).await;
    world.write("before", 1).await;
    let leader = world.manager(world.leader().await).consensus.clone();
    let term = leader.leader().borrow().term;
    let follower = world
        .managers
        .iter()
        .flatten()
        .find(|m| !m.leads())
        .unwrap();
    world.switch.cut(follower.consensus.id());
    // Longer than any election timeout: without pre-vote its term would climb.
    let cut = Instant::now();
    let mut number = 0;
    while cut.elapsed() < Duration::from_secs(3) {
        world.write("during", number).await;
        number += 1;
    }
    world.switch.heal(follower.consensus.id());
    world.write("after", 2).await;
    world
        .wait_states(|state| state.get("after") == Some(2))
        .await;
    let now = leader.leader().borrow().clone();
    assert!(now.own && now.term == term, "{now:?}, was term {term}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomer_gets_a_snapshot_and_restarts_from_it() {
    let mut world = World::new(1, short_log).await;
    for number in 0..500 {
        world.write(&format!("n{number}"), number).await;
    }
    let newcomer = world.add().await;
    world.join(newcomer).await;
    assert!(world.switch.snapshots() > 0, "the log was still whole");
    world.wait_states(|state| state.len() == 500).await;
    let dir = world.kill(newcomer).await;
    world.restart(newcomer, dir).await;
    let state = world.manager(newcomer).consensus.state();
    assert!(state.borrow().state.len() >= 400, "it started from nothing");
    world.write("after", 1).await;
    world.wait_states(|state| state.len() == 501).await;
    let segments = std::fs::read_dir(world.manager(0).dir.path().join("raft"))
        .unwrap()
        .count();
    assert!(
        segments < 12,
        "{segments} files are left of 500 small entries"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_at_once() {
    let world = World::new(3, plain).await;
    world.write("before", 1).await;
    for _ in 0..3 {
        let from = world.manager(world.leader().await).consensus.clone();
        let mut ids = world.managers.iter().flatten().map(|m| m.consensus.id());
        let chosen = ids.find(|id| *id != from.id()).unwrap();
        let term = from.leader().borrow().term;
        let asked = Instant::now();
        let to = from.transfer_leader(Some(chosen)).await.unwrap();
        world.write("after", 2).await;
        println!("handed over and written after {:?}", asked.elapsed());
        // An election that was waited for would have taken whoever woke first.
        assert_eq!((to.id, from.leader().borrow().term), (chosen, term + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_to_one_that_is_there() {
    let mut world = World::new(3, plain).await;
    world.write("before", 1).await;
    let leader = world.leader().await;
    let id = |world: &World, at| world.manager(at).consensus.id();
    let mut others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    // Where both have the same, the highest number would be taken.
    others.sort_by_key(|at| id(&world, *at));
    let there = id(&world, others[0]);
    world.kill(others[1]).await;
    let from = world.manager(leader).consensus.clone();
    crate::raft::log::tests::wait_for("the loss to be noticed", || from.alive_members() == 2).await;
    let to = from.transfer_leader(None).await.unwrap();
    assert_eq!(to.id, there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_say_who_leads_and_read_what_was_written() {
    let world = World::new(3, plain).await;
    let leader = world.manager(world.leader().await).target();
    for number in 0..50 {
        world.write("n", number).await;
        for manager in world.managers.iter().flatten() {
            let read = manager.consensus.read_index().await.unwrap();
            assert_eq!(read.state.get("n"), Some(number));
        }
    }
    let follower = world
        .managers
        .iter()
        .flatten()
        .find(|m| !m.leads())
        .unwrap();
    match follower.consensus.propose(&("x".to_owned(), 1)).await {
        Err(ProposeError::NotLeader { leader: Some(told) }) => assert_eq!(told, leader),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_leave_only_while_the_rest_can_go_on() {
    let mut world = World::new(3, plain).await;
    let leader = world.leader().await;
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    let (gone, left) = (
        world.manager(others[0]).target(),
        world.manager(others[1]).target(),
    );
    world.kill(others[0]).await;
    let consensus = world.manager(leader).consensus.clone();
    crate::raft::log::tests::wait_for("the loss to be noticed", || {
        let kept = consensus.has_room(0).is_ok();
        kept && consensus.alive_members() == 2
    })
    .await;
    let refused = consensus.remove(left.id).await.unwrap_err();
    assert!(
        matches!(
            refused,
            MembershipError::LosesQuorum {
                voters: 2,
                alive: 1
            }
        ),
        "{refused}"
    );
    consensus.remove(gone.id).await.unwrap();
    assert_eq!(consensus.members().len(), 2);
    let unknown = consensus.remove(gone.id).await.unwrap_err();
    assert!(matches!(unknown, MembershipError::Unknown(_)), "{unknown}");
    // A leader that is to go says who leads then, and that one takes it out.
    let Err(MembershipError::NotLeader { leader: Some(next) }) =
        consensus.remove(consensus.id()).await
    else {
        panic!("the leader took itself out")
    };
    assert_eq!(next.id, left.id);
    let next = world.manager(others[1]).consensus.clone();
    next.remove(consensus.id()).await.unwrap();
    world.kill(leader).await;
    next.propose(&("alone".to_owned(), 1)).await.unwrap();
    assert_eq!(next.members(), vec![(left, Voting::Yes)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_that_is_too_large_is_refused_and_second_cluster_too() {
    let world = World::new(1, plain).await;
    let only = &world.manager(0).consensus;
    let refused = only
        .propose(&("x".repeat(ENTRY_MOST + 1), 1))
        .await
        .unwrap_err();
    assert!(matches!(refused, ProposeError::TooLarge(_)), "{refused}");
    let largest = "x".repeat(ENTRY_MOST - 2);
    only.propose(&(largest, 1)).await.unwrap();
    let refused = only.initialize("again").await.unwrap_err();
    assert!(matches!(refused, MembershipError::Initialized), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_that_is_not_understood_stops_the_manager() {
    let world = World::new(1, plain).await;
    let only = world.manager(0).consensus.clone();
    let mut fatal = only.fatal();
    let bytes = types::Command(Bytes::from_static(b"\xff"));
    let written = only.0.raft.client_write(bytes).await;
    assert!(written.is_err());
    let why = tokio::time::timeout(Duration::from_secs(10), fatal.wait_for(Option::is_some));
    let why = why.await.unwrap().unwrap().clone().unwrap();
    assert!(why.contains("cannot apply log entry"), "{why}");
    assert!(matches!(
        only.propose(&("x".to_owned(), 1)).await,
        Err(ProposeError::Ended(_))
    ));
}

/// Leadership is handed over, the old leader is taken out, and the rest goes on writing: again and again,
/// since what went wrong here once was a race.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_leaves_never_holds_up_the_rest() {
    for round in 0..60 {
        let mut world = World::new(3, plain).await;
        world.write("before", round).await;
        let old = world.leader().await;
        let id = world.manager(old).consensus.id();
        let handed = world.manager(old).consensus.remove(id).await;
        assert!(
            matches!(handed, Err(MembershipError::NotLeader { leader: Some(_) })),
            "{handed:?}"
        );
        let new = loop {
            let new = world.leader().await;
            if new != old {
                break world.manager(new).consensus.clone();
            }
        };
        // A fresh leader has yet to hear who is alive.
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = new.remove(id).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.kill(old).await;
        for number in 0..5 {
            world.write(&format!("after {number}"), round).await;
        }
    }
}

/// Answers that come too late are as good as lost, and replication begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_answers_never_hold_up_replication() {
    let world = World::new(3, patient).await;
    for round in 0..40 {
        world.switch.lag(Duration::from_millis(500));
        let leader = world.manager(world.leader().await).consensus.clone();
        for number in 0..3 {
            let _ = leader.propose(&(format!("during {number}"), round)).await;
        }
        world.switch.lag(Duration::ZERO);
        world.write("after", round).await;
        world
            .wait_states(|state| state.get("after") == Some(round))
            .await;
        println!("round {round}");
    }
}
