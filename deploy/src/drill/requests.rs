//! Counts what services answered while a drill went on. Pure.

use serde::{Deserialize, Serialize};

/// Spans of the time line.
const SPAN: u64 = 250;
/// Spans that are kept: ten minutes.
const SPANS: usize = 2400;

/// One request that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Which door, in the order of [`Requests::new`].
    pub door: usize,
    /// When it was begun, in milliseconds of the watcher's clock.
    pub at: u64,
    /// How long it took.
    pub took: u64,
    /// Why it is lost; nothing when it was answered.
    pub error: Option<String>,
}

/// All that were made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requests {
    doors: Vec<DoorReport>,
    /// Of each door: when its first lost one in a row was begun.
    since: Vec<Option<u64>>,
    spans: Vec<(u64, u32, u32)>,
}

/// What became of requests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RequestReport {
    /// All.
    pub sent: u64,
    /// Those that were not answered.
    pub lost: u64,
    /// Each place that was asked.
    pub doors: Vec<DoorReport>,
    /// When how many were made and lost.
    pub spans: Vec<Span>,
}

/// A place that was asked.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DoorReport {
    /// For people, such as `web at http://10.0.0.2:8080/`.
    pub name: String,
    /// Requests to it.
    pub sent: u64,
    /// Those that were not answered.
    pub lost: u64,
    /// From the first lost one in a row to the next that was answered, in milliseconds; the longest.
    pub longest_gap_ms: u64,
    /// The slowest answer, in milliseconds.
    pub slowest_ms: u64,
    /// Why the first was lost.
    pub first_error: Option<String>,
}

/// A part of the time line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Span {
    /// Its beginning, in milliseconds from the failure on.
    pub at_ms: i64,
    /// Requests that were begun in it.
    pub sent: u32,
    /// Those that were not answered.
    pub lost: u32,
}

impl Requests {
    /// None yet, of doors with these names.
    pub fn new(doors: impl IntoIterator<Item = String>) -> Self {
        let doors = doors.into_iter().map(|name| DoorReport {
            name,
            ..DoorReport::default()
        });
        let doors: Vec<_> = doors.collect();
        Self {
            since: vec![None; doors.len()],
            doors,
            spans: Vec::new(),
        }
    }

    /// Takes one. Requests of a door come in the order in which they were begun, or nearly so.
    pub fn take(&mut self, asked: &Asked) {
        let (Some(door), Some(since)) = (
            self.doors.get_mut(asked.door),
            self.since.get_mut(asked.door),
        ) else {
            return;
        };
        door.sent = door.sent.saturating_add(1);
        match &asked.error {
            Some(error) => {
                door.lost = door.lost.saturating_add(1);
                door.first_error.get_or_insert_with(|| error.clone());
                let begun = since.get_or_insert(asked.at);
                *begun = (*begun).min(asked.at);
                let gap = asked.at.saturating_add(asked.took).saturating_sub(*begun);
                door.longest_gap_ms = door.longest_gap_ms.max(gap);
            }
            None => {
                door.slowest_ms = door.slowest_ms.max(asked.took);
                if let Some(begun) = since.take_if(|begun| *begun <= asked.at) {
                    let gap = asked.at.saturating_sub(begun);
                    door.longest_gap_ms = door.longest_gap_ms.max(gap);
                }
            }
        }
        self.span(asked);
    }

    fn span(&mut self, asked: &Asked) {
        let begin = asked.at / SPAN * SPAN;
        let lost = u32::from(asked.error.is_some());
        let room = self.spans.len() < SPANS;
        let found = self.spans.iter_mut().rev().find(|span| span.0 == begin);
        match found {
            Some(span) => {
                span.1 = span.1.saturating_add(1);
                span.2 = span.2.saturating_add(lost);
            }
            None if room => self.spans.push((begin, 1, lost)),
            None => {}
        }
    }

    /// So many were not answered.
    pub fn lost(&self) -> u64 {
        self.doors.iter().map(|door| door.lost).sum()
    }

    /// What became of them, with times from `zero` on.
    pub fn report(&self, zero: u64) -> RequestReport {
        let mut spans: Vec<Span> = self
            .spans
            .iter()
            .map(|(at, sent, lost)| Span {
                at_ms: i64::try_from(i128::from(*at) - i128::from(zero)).unwrap_or(i64::MAX),
                sent: *sent,
                lost: *lost,
            })
            .collect();
        spans.sort_by_key(|span| span.at_ms);
        RequestReport {
            sent: self.doors.iter().map(|door| door.sent).sum(),
            lost: self.lost(),
            doors: self.doors.clone(),
            spans,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(at: u64, error: Option<&str>) -> Asked {
        Asked {
            door: 0,
            at,
            took: 10,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn a_gap_is_from_the_first_lost_one_to_the_next_answer() {
        let mut requests = Requests::new(["web".to_owned()]);
        for request in [
            asked(0, None),
            asked(1000, Some("refused")),
            asked(1500, Some("late")),
            asked(2200, None),
            asked(3000, Some("again")),
        ] {
            requests.take(&request);
        }
        let report = requests.report(1000);
        let door = &report.doors[0];
        assert_eq!((report.sent, report.lost), (5, 3));
        assert_eq!(door.longest_gap_ms, 1200);
        assert_eq!(door.first_error.as_deref(), Some("refused"));
        let lost: Vec<i64> = report
            .spans
            .iter()
            .filter(|span| span.lost > 0)
            .map(|span| span.at_ms)
            .collect();
        assert_eq!(lost, [0, 500, 2000]);
        assert_eq!(report.spans[0].at_ms, -1000);
    }

    #[test]
    fn what_is_kept_is_bounded_and_strays_are_dropped() {
        let mut requests = Requests::new(["web".to_owned()]);
        for number in 0..10_000 {
            requests.take(&asked(number * SPAN, None));
        }
        requests.take(&Asked {
            door: 7,
            ..asked(0, None)
        });
        let report = requests.report(0);
        assert_eq!((report.sent, report.spans.len()), (10_000, SPANS));
    }
}
