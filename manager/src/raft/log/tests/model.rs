//! Any history of writes, restarts and power cuts leaves a log that once was, no older than what was
//! acknowledged.

use openraft::storage::RaftLogStorage;
use proptest::prelude::*;

use super::*;
use crate::raft::log::record::{Record, Replay};
use crate::raft::types::Vote;

#[derive(Clone, Debug)]
enum Act {
    Append { count: u64, len: usize, wait: Wait },
    Truncate { back: u64 },
    Purge { ahead: u64 },
    Vote,
    Commit,
    Restart,
    Cut { seed: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    ForDisk,
    No,
}

fn act() -> impl Strategy<Value = Act> {
    let wait = prop_oneof![Just(Wait::ForDisk), Just(Wait::No)];
    prop_oneof![
        8 => (1..6_u64, 0..4000_usize, wait)
            .prop_map(|(count, len, wait)| Act::Append { count, len, wait }),
        2 => (0..6_u64).prop_map(|back| Act::Truncate { back }),
        3 => (0..12_u64).prop_map(|ahead| Act::Purge { ahead }),
        1 => Just(Act::Vote),
        1 => Just(Act::Commit),
        1 => Just(Act::Restart),
        2 => any::<u64>().prop_map(|seed| Act::Cut { seed }),
    ]
}

/// The log and all it has been since what is surely on disk.
struct World {
    disk: SimDisk,
    log: Option<LogStore>,
    states: Vec<Replay>,
    term: u64,
}

impl World {
    fn now(&self) -> &Replay {
        self.states.last().unwrap()
    }

    fn log(&mut self) -> &mut LogStore {
        self.log.as_mut().unwrap()
    }

    fn follow(&mut self, records: Vec<Record>) {
        let mut next = self.now().clone();
        for record in records {
            next.follow(record).unwrap();
            self.states.push(next.clone());
        }
    }

    fn synced(&mut self) {
        let now = self.states.pop().unwrap();
        self.states = vec![now];
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Append { count, len, wait } => {
                let from = self.now().tip.last.map_or(0, |id| id.index + 1);
                let added: Vec<_> = (from..from + count)
                    .map(|index| entry(self.term, index, len))
                    .collect();
                let flushed = append(self.log(), added.clone()).await;
                self.follow(added.into_iter().map(Record::Entry).collect());
                if wait == Wait::ForDisk {
                    flushed.await.unwrap().unwrap();
                    self.synced();
                }
            }
            Act::Truncate { back } => {
                let entries = &self.now().entries;
                let keep = entries.len().saturating_sub(usize::try_from(back).unwrap());
                let purged = self.now().tip.purged;
                let after = keep
                    .checked_sub(1)
                    .map_or(purged, |at| Some(entries[at].log_id));
                self.log().truncate_after(after).await.unwrap();
                self.follow(vec![Record::Truncate(after)]);
                self.term += 1;
            }
            Act::Purge { ahead } => {
                let at = self
                    .now()
                    .entries
                    .get(usize::try_from(ahead).unwrap())
                    .map(|e| e.log_id);
                if let Some(upto) = at {
                    self.log().purge(upto).await.unwrap();
                    self.follow(vec![Record::Purge(upto)]);
                }
            }
            Act::Vote => {
                self.term += 1;
                let vote = Vote::new(self.term, 3);
                self.log().save_vote(&vote).await.unwrap();
                self.follow(vec![Record::Vote(vote)]);
                self.synced();
            }
            Act::Commit => {
                let last = self.now().tip.last;
                self.log().save_committed(last).await.unwrap();
            }
            Act::Restart => {
                self.log = None;
                let whole = self.now().tip;
                self.reopen().await;
                assert_eq!(
                    (self.now().tip.last, self.now().tip.vote),
                    (whole.last, whole.vote)
                );
            }
            Act::Cut { seed } => {
                let cut = self.disk.crash(seed);
                self.log = None;
                self.disk = cut;
                self.reopen().await;
            }
        }
    }

    /// Opens what is on disk and finds it among what once was.
    async fn reopen(&mut self) {
        let mut log = open_sim(&self.disk);
        let found = entries(&mut log).await;
        let state = log.get_log_state().await.unwrap();
        let vote = log.get_log_reader().await.read_vote().await.unwrap();
        let known = self.states.iter().rposition(|s| {
            s.entries == found
                && s.tip.last == state.last_log_id
                && s.tip.purged == state.last_purged_log_id
                && s.tip.vote == vote
        });
        let Some(known) = known else {
            panic!(
                "found {state:?}, which never was; the last known: {:?}",
                self.now().tip
            )
        };
        self.states.truncate(known + 1);
        self.synced();
        self.log = Some(log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn log_is_never_older_than_acknowledged_nor_anything_that_never_was(
        acts in proptest::collection::vec(act(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = SimDisk::default();
            let log = Some(open_sim(&disk));
            let mut world = World { disk, log, states: vec![Replay::default()], term: 1 };
            for act in acts {
                world.act(act).await;
            }
        });
    }
}
