//! Docker's rules, one by one.

use super::*;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn check() -> Check {
    let service = HealthCheck {
        test: Some(HealthTest::Shell("true".into())),
        interval: Some(Duration::from_secs(10)),
        start_period: Some(Duration::from_secs(30)),
        start_interval: Some(Duration::from_secs(2)),
        ..HealthCheck::default()
    };
    Check::of(Some(&service), None).unwrap()
}

fn failed(health: &mut Health, seconds: u64) -> Option<String> {
    health.record(Outcome::Failed("exit code 1: no".into()), at(seconds))
}

#[test]
fn what_a_service_leaves_out_is_the_images_then_the_default() {
    let image = HealthCheck {
        test: Some(HealthTest::Command(vec!["/check".into()])),
        retries: Some(7),
        timeout: Some(Duration::from_secs(4)),
        ..HealthCheck::default()
    };
    let service = HealthCheck {
        timeout: Some(Duration::from_secs(1)),
        ..HealthCheck::default()
    };
    let check = Check::of(Some(&service), Some(&image)).unwrap();
    assert_eq!(
        (check.command, check.retries),
        (vec!["/check".to_owned()], 7)
    );
    assert_eq!(
        (check.timeout, check.interval),
        (Duration::from_secs(1), INTERVAL)
    );
    assert_eq!(Check::of(Some(&service), None), None);
    let none = HealthCheck {
        test: Some(HealthTest::None),
        ..HealthCheck::default()
    };
    assert_eq!(Check::of(Some(&none), Some(&image)), None);
}

#[test]
fn it_is_well_with_the_first_success_and_stays_so_until_failures_are_many_in_a_row() {
    let mut health = Health::begin(check(), at(0), Known::Nothing);
    assert!(!health.is_well());
    assert_eq!(health.record(Outcome::Well, at(2)), None);
    assert!(health.is_well());
    assert_eq!(
        (failed(&mut health, 12), failed(&mut health, 22)),
        (None, None)
    );
    assert_eq!(health.record(Outcome::Well, at(32)), None);
    assert_eq!(
        (failed(&mut health, 42), failed(&mut health, 52)),
        (None, None)
    );
    let reason = failed(&mut health, 62).unwrap();
    assert!(
        reason.contains("3 health checks in a row") && reason.contains("no"),
        "{reason}"
    );
}

#[test]
fn failures_in_the_start_period_do_not_count_and_tests_are_more_often() {
    let mut health = Health::begin(check(), at(0), Known::Nothing);
    assert_eq!(health.next(), at(2));
    for seconds in (2..30).step_by(2) {
        assert_eq!(failed(&mut health, seconds), None);
        assert_eq!(health.next(), at(seconds + 2));
    }
    assert_eq!(
        (failed(&mut health, 30), failed(&mut health, 40)),
        (None, None)
    );
    assert_eq!(health.next(), at(50));
    assert!(failed(&mut health, 50).is_some());
}

#[test]
fn the_start_period_ends_with_the_first_success() {
    let mut health = Health::begin(check(), at(0), Known::Nothing);
    health.record(Outcome::Well, at(2));
    assert_eq!(health.next(), at(12));
    assert_eq!(
        (failed(&mut health, 12), failed(&mut health, 14)),
        (None, None)
    );
    assert!(failed(&mut health, 16).is_some());
}

#[test]
fn one_that_was_well_before_a_restart_is_not_starting_again() {
    let health = Health::begin(check(), at(100), Known::Well);
    assert!(health.is_well());
    assert_eq!(health.next(), at(110));
}
