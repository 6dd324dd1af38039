//! Each drill is compared with those of its kind that were held before it.

use skep_deploy::drill::{Pace, Past, trends};

fn past(kind: &str, recovered: impl Into<Option<u64>>) -> Past {
    Past {
        kind: kind.to_owned(),
        recovered_ms: recovered.into(),
    }
}

/// Compares the newest of these.
fn newest(held: &[Past]) -> (Option<u64>, Option<Pace>) {
    let trend = trends(held)[0];
    (trend.median_ms, trend.pace)
}

#[test]
fn the_median_is_of_its_own_kind_and_of_those_that_recovered() {
    let mut held = vec![past("node", 5_000)];
    assert_eq!(newest(&held), (None, None), "it is the first");
    held.push(past("task", 10));
    held.push(past("node", None));
    assert_eq!(newest(&held), (None, None), "none before it recovered");
    held.push(past("node", 4_000));
    held.push(past("node", 1_000));
    assert_eq!(
        newest(&held),
        (Some(2_500), None),
        "two are too few to judge"
    );
    held.push(past("node", 3_000));
    assert_eq!(newest(&held), (Some(3_000), Some(Pace::Slower)));
    // One that did not recover is compared with nothing.
    held[0] = past("node", None);
    assert_eq!(newest(&held), (Some(3_000), None));
}

#[test]
fn a_little_more_or_less_is_as_usual() {
    let of = |took: u64, usual: u64| {
        let mut held = vec![past("link", took)];
        held.extend([usual; 3].map(|usual| past("link", usual)));
        newest(&held).1.unwrap()
    };
    for (took, usual, pace) in [
        (300, 100, Pace::Usual),
        (301, 100, Pace::Slower),
        (0, 200, Pace::Usual),
        (6_000, 5_000, Pace::Usual),
        (6_001, 5_000, Pace::Slower),
        (3_999, 5_000, Pace::Faster),
        (u64::MAX, u64::MAX, Pace::Usual),
    ] {
        assert_eq!(of(took, usual), pace, "{took} against {usual}");
    }
}

#[test]
fn each_is_compared_with_those_before_it_alone() {
    let held = [100, 5_000, 5_000, 5_000, 100].map(|took| past("task", took));
    let medians: Vec<_> = trends(&held).iter().map(|it| it.median_ms).collect();
    assert_eq!(
        medians,
        [Some(5_000), Some(5_000), Some(2_550), Some(100), None]
    );
}
