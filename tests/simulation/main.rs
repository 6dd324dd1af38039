//! The simulated world over many seeds, and the bugs that each check must catch.
//!
//! `SKEP_SEED` chooses the first seed and `SKEP_SEEDS` their number.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where its expectation breaks, and says how to replay a seed"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use skep_harness::check::Invariant;
use skep_harness::world::bug::Bug;
use skep_harness::world::{Summary, live, live_with_files};

mod bench;
mod drills;
mod modes;
mod nodes;
mod placement;
mod plans;
mod unmarked;
mod updates;

/// Seeds of a run when `SKEP_SEEDS` does not say.
const SEEDS: u64 = 500;
/// Seeds of worlds with secrets and configs.
const FILED: u64 = 60;
/// A planted bug has to be caught within so many seeds.
const CAUGHT_WITHIN: u64 = 60;

fn chosen(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn invariants_hold_in_every_world() {
    let (first, count) = (chosen("SKEP_SEED", 1), chosen("SKEP_SEEDS", SEEDS));
    let (next, end) = (AtomicU64::new(first), first + count);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return sum;
            }
            let lived = live(seed, None).unwrap_or_else(|broken| fail(seed, &broken));
            sum.tasks += lived.tasks;
            sum.entries += lived.entries;
            sum.answered += lived.answered;
            sum.leaders_lost += lived.leaders_lost;
            sum.deaths += lived.deaths;
            sum.cuts += lived.cuts;
            sum.dropped += lived.dropped;
            sum.updates += lived.updates;
            sum.completed += lived.completed;
            sum.rollbacks += lived.rollbacks;
        }
    };
    let sums: Vec<Summary> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .map(|it| it.join().expect("a seed failed"))
            .collect()
    });
    println!("{count} worlds: {sums:?}");
    let total = |of: fn(&Summary) -> u64| sums.iter().map(of).sum::<u64>();
    let lost = total(|sum| sum.leaders_lost).min(total(|sum| sum.deaths));
    let made = total(|sum| sum.tasks).min(total(|sum| sum.answered));
    assert!(
        count < 100 || lost.min(made).min(total(|sum| sum.completed)) > count / 10,
        "nothing much happens in these worlds"
    );
}

#[test]
fn secrets_and_configs_are_where_they_are_needed_and_nowhere_else() {
    let mut sum = Summary::default();
    for seed in 1..=FILED {
        let lived = live_with_files(seed, None).unwrap_or_else(|broken| {
            panic!("seed {seed} with files: {broken:?}");
        });
        sum.rotations += lived.rotations;
    }
    println!("{FILED} worlds with files: {} rotations", sum.rotations);
    assert!(sum.rotations > FILED, "hardly anything was rotated");
}

fn fail(seed: u64, broken: &[skep_harness::check::Broken]) -> ! {
    for one in broken {
        println!("seed {seed} breaks {:?}: {}", one.invariant, one.found);
    }
    panic!(
        "seed {seed} fails; replay it with:\n  SKEP_SEED={seed} SKEP_SEEDS=1 cargo test -p skep-tests \
         --test simulation invariants_hold -- --nocapture"
    );
}

#[test]
fn every_planted_bug_is_caught_by_the_check_of_its_invariant() {
    for (bug, number) in Bug::ALL {
        let lives = match number {
            15 => live_with_files,
            _ => live,
        };
        let catches = |seed: u64| match lives(seed, Some(bug)) {
            Ok(_) => false,
            Err(broken) => broken.iter().any(|one| one.invariant == Invariant(number)),
        };
        let caught = (1..=CAUGHT_WITHIN).find(|seed| catches(*seed));
        println!("{bug:?} is caught by invariant {number} at seed {caught:?}");
        assert!(
            caught.is_some(),
            "{bug:?} was not caught by invariant {number}"
        );
    }
}
