//! Whether a running container is well, by the tests that were run in it. Pure: time comes in.
//!
//! The rules are Docker's: a container is starting until its first success; after so many failures in a row it is
//! not well; failures within the start period do not count, and the period ends with the first success.

use std::time::Duration;

use skep_proto::spec::health::{INTERVAL, RETRIES, START_INTERVAL, TIMEOUT};
use skep_proto::spec::{HealthCheck, HealthTest};

use crate::step::Moment;

/// A check with all defaults filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// The program inside and its arguments.
    pub command: Vec<String>,
    /// From the end of a test to the next.
    pub interval: Duration,
    /// A test that takes longer has failed.
    pub timeout: Duration,
    /// Failures in a row.
    pub retries: u32,
    /// Failures do not count for so long.
    pub start_period: Duration,
    /// From test to test in that time.
    pub start_interval: Duration,
}

impl Check {
    /// The service's check; what it leaves out is the image's, then the default. None where nothing is tested.
    pub fn of(service: Option<&HealthCheck>, image: Option<&HealthCheck>) -> Option<Self> {
        let none = HealthCheck::default();
        let (own, image) = (service.unwrap_or(&none), image.unwrap_or(&none));
        let test = own.test.as_ref().or(image.test.as_ref())?;
        let command = match test {
            HealthTest::None => return None,
            HealthTest::Command(words) => words.clone(),
            HealthTest::Shell(line) => ["/bin/sh", "-c", line].map(str::to_owned).into(),
        };
        let time = |of: fn(&HealthCheck) -> Option<Duration>, default: Duration| {
            of(own).or(of(image)).unwrap_or(default)
        };
        Some(Self {
            command,
            interval: time(|check| check.interval, INTERVAL),
            timeout: time(|check| check.timeout, TIMEOUT),
            retries: own.retries.or(image.retries).unwrap_or(RETRIES),
            start_period: time(|check| check.start_period, Duration::ZERO),
            start_interval: time(|check| check.start_interval, START_INTERVAL),
        })
    }
}

/// How a test ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Exit code 0.
    Well,
    /// Anything else; why, for a person.
    Failed(String),
}

/// What the tests of a container have shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    check: Check,
    started: Moment,
    well: bool,
    failures: u32,
    next: Moment,
    last: String,
}

impl Health {
    /// Of a container that has begun now, or that a daemon found; `was_well` says that a test has succeeded before.
    pub fn begin(check: Check, now: Moment, was_well: Known) -> Self {
        let well = was_well == Known::Well;
        let mut health = Self {
            check,
            started: now,
            well,
            failures: 0,
            next: now,
            last: String::new(),
        };
        health.next = now.after(health.pause(now));
        health
    }

    /// What is tested.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// When the next test is due.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Whether a test has succeeded.
    pub fn is_well(&self) -> bool {
        self.well
    }

    /// What the last test that failed said; empty when none did.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// A test has ended. Some reason when the container is not well.
    pub fn record(&mut self, outcome: Outcome, now: Moment) -> Option<String> {
        let verdict = match outcome {
            Outcome::Well => {
                self.well = true;
                self.failures = 0;
                self.last.clear();
                None
            }
            Outcome::Failed(why) => {
                if !self.is_starting(now) {
                    self.failures = self.failures.saturating_add(1);
                }
                self.last = why;
                let over = self.failures >= self.check.retries.max(1);
                over.then(|| {
                    let times = match self.failures {
                        1 => "a health check failed".to_owned(),
                        many => format!("{many} health checks in a row failed"),
                    };
                    format!("unhealthy: {times}; the last: {}", self.last)
                })
            }
        };
        self.next = now.after(self.pause(now));
        verdict
    }

    fn is_starting(&self, now: Moment) -> bool {
        !self.well && now < self.started.after(self.check.start_period)
    }

    fn pause(&self, now: Moment) -> Duration {
        match self.is_starting(now) {
            true => self.check.start_interval,
            false => self.check.interval,
        }
    }
}

/// What is known of a container's health from before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Known {
    /// No test has succeeded, as far as is known.
    #[default]
    Nothing,
    /// One has.
    Well,
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
