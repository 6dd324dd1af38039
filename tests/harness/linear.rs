//! Whether what concurrent clients saw of one object could have happened in one order, each call at a moment between its
//! question and its answer (Herlihy and Wing 1990; searched as by Wing and Gong 1993, with Lowe's memory of places seen).

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// What is asked of the object, which is absent or has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes it, with this value.
    Create(u64),
    /// Gives it this value.
    Update(u64),
    /// Makes it absent.
    Remove,
    /// Looks.
    Read,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Done,
    /// It was not made: it is there.
    Exists,
    /// It is absent.
    Absent,
    /// It has this value.
    Value(u64),
    /// No answer: it may have taken effect, or may yet, or never.
    Unknown,
}

/// One call of one client.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Who called.
    pub client: usize,
    /// What for.
    pub op: Op,
    /// With what end.
    pub outcome: Outcome,
    /// From the beginning of the history.
    pub asked: Duration,
    /// From the beginning of the history; of no meaning for [`Outcome::Unknown`].
    pub answered: Duration,
}

/// No order explains the history.
#[derive(Debug)]
pub struct Violation {
    /// As far as one could be found.
    pub explained: Vec<Call>,
    /// What the object then is.
    pub state: Option<u64>,
    /// None of these can come next.
    pub next: Vec<Call>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |f: &mut fmt::Formatter<'_>, call: &Call| {
            let (asked, answered) = (call.asked, call.answered);
            let (client, op, outcome) = (call.client, call.op, call.outcome);
            writeln!(
                f,
                "  {asked:>10.3?} to {answered:>10.3?} client {client}: {op:?} -> {outcome:?}"
            )
        };
        writeln!(f, "the last calls that an order explains:")?;
        let from = self.explained.len().saturating_sub(12);
        for call in &self.explained[from..] {
            show(f, call)?;
        }
        writeln!(f, "then it is {:?}, and none of these fits:", self.state)?;
        self.next.iter().try_for_each(|call| show(f, call))
    }
}

/// What the object is after a call, if the call can have ended so.
fn step(state: Option<u64>, op: Op, outcome: Outcome) -> Option<Option<u64>> {
    use Outcome::{Absent, Done, Exists, Unknown, Value};
    match (op, outcome, state) {
        (Op::Create(value), Done | Unknown, None) => Some(Some(value)),
        (Op::Create(_), Exists, Some(_)) => Some(state),
        (Op::Update(value), Done | Unknown, Some(_)) => Some(Some(value)),
        (Op::Remove, Done | Unknown, Some(_)) => Some(None),
        (Op::Update(_) | Op::Remove | Op::Read, Absent, None) => Some(None),
        (Op::Read, Value(seen), Some(value)) if seen == value => Some(state),
        _ => None,
    }
}

/// A place of the search: which calls have their moment behind them, and what the object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    taken: Vec<u64>,
    state: Option<u64>,
}

impl Place {
    fn has(&self, index: usize) -> bool {
        self.taken[index / 64] & (1 << (index % 64)) != 0
    }

    fn with(&self, index: usize, state: Option<u64>) -> Self {
        let mut taken = self.taken.clone();
        taken[index / 64] |= 1 << (index % 64);
        Self { taken, state }
    }
}

/// Looks for an order of one object's history that explains all answers. The object is absent at first, and no value is
/// written twice.
///
/// # Errors
/// When there is none: how far one was found.
pub fn check(history: &[Call]) -> Result<(), Box<Violation>> {
    let mut calls: Vec<Call> = history
        .iter()
        .filter(|call| tells(history, call))
        .copied()
        .collect();
    calls.sort_by_key(|call| call.asked);
    let begin = Place {
        taken: vec![0; calls.len().div_ceil(64)],
        state: None,
    };
    let mut seen = HashSet::from([begin.clone()]);
    // Steps of all orders that were tried, each with the one before it: for whoever has to understand a violation.
    let mut steps: Vec<(usize, Option<usize>)> = Vec::new();
    let mut open = vec![(begin.clone(), None, 0)];
    let mut deepest = (begin, None, 0);
    while let Some((place, last, depth)) = open.pop() {
        let next = candidates(&calls, &place);
        let answered = |index: &usize| calls[*index].outcome != Outcome::Unknown;
        if !next.iter().any(answered) {
            return Ok(());
        }
        for &index in next.iter().rev() {
            let Some(state) = step(place.state, calls[index].op, calls[index].outcome) else {
                continue;
            };
            let further = place.with(index, state);
            if seen.insert(further.clone()) {
                steps.push((index, last));
                open.push((further, Some(steps.len() - 1), depth + 1));
            }
        }
        if depth > deepest.2 {
            deepest = (place, last, depth);
        }
    }
    let (place, last, _) = deepest;
    let way = std::iter::successors(last, |step| steps[*step].1);
    let mut explained: Vec<Call> = way.map(|step| calls[steps[step].0]).collect();
    explained.reverse();
    Err(Box::new(Violation {
        explained,
        state: place.state,
        next: candidates(&calls, &place)
            .into_iter()
            .map(|index| calls[index])
            .collect(),
    }))
}

/// Whether a call that was not answered says anything: nobody learns by such a look, or by an update that nobody saw.
fn tells(history: &[Call], call: &Call) -> bool {
    let read = |value| {
        let mut all = history.iter();
        all.any(|other| other.outcome == Outcome::Value(value))
    };
    match (call.op, call.outcome) {
        (Op::Read, Outcome::Unknown) => false,
        (Op::Update(value), Outcome::Unknown) => read(value),
        _ => true,
    }
}

/// What may have its moment next: whatever was asked before any of those that are left was answered.
fn candidates(calls: &[Call], place: &Place) -> Vec<usize> {
    let left = || (0..calls.len()).filter(|index| !place.has(*index));
    let answered = left().filter(|index| calls[*index].outcome != Outcome::Unknown);
    let first = answered.map(|index| calls[index].answered).min();
    let before = |index: &usize| first.is_none_or(|first| calls[*index].asked <= first);
    left().filter(before).collect()
}

#[cfg(test)]
mod tests {
    use super::{Call, Op, Outcome, check};
    use Op::{Create, Read, Remove, Update};
    use Outcome::{Absent, Done, Exists, Unknown, Value};
    use std::time::Duration;

    fn history(calls: &[(u64, u64, Op, Outcome)]) -> Vec<Call> {
        let call =
            |(client, &(asked, answered, op, outcome)): (usize, &(u64, u64, Op, Outcome))| {
                let at = Duration::from_millis;
                Call {
                    client,
                    op,
                    outcome,
                    asked: at(asked),
                    answered: at(answered),
                }
            };
        calls.iter().enumerate().map(call).collect()
    }

    fn holds(calls: &[(u64, u64, Op, Outcome)]) -> bool {
        check(&history(calls)).is_ok()
    }

    #[test]
    fn one_after_the_other_is_as_the_object_says() {
        let mut calls = vec![
            (0, 1, Read, Absent),
            (2, 3, Create(1), Done),
            (4, 5, Create(2), Exists),
            (6, 7, Read, Value(1)),
            (8, 9, Update(3), Done),
            (10, 11, Read, Value(3)),
            (12, 13, Remove, Done),
            (14, 15, Update(4), Absent),
        ];
        assert!(holds(&calls));
        calls.push((16, 17, Read, Value(3)));
        assert!(!holds(&calls), "what was removed is read");
    }

    #[test]
    fn planted_violations_are_found() {
        for (what, calls) in [
            (
                "a lost write",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 3, Update(2), Done),
                    (4, 5, Read, Value(1)),
                ],
            ),
            (
                "a read of the past beside one of the present",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 9, Update(2), Done),
                    (3, 4, Read, Value(2)),
                    (5, 6, Read, Value(1)),
                ],
            ),
            (
                "two made the same",
                vec![(0, 5, Create(1), Done), (1, 6, Create(2), Done)],
            ),
            (
                "what nobody wrote",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 3, Update(2), Unknown),
                    (4, 5, Read, Value(7)),
                ],
            ),
            (
                "what got no answer, and was undone again",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 3, Update(2), Unknown),
                    (4, 5, Read, Value(2)),
                    (6, 7, Read, Value(1)),
                ],
            ),
            (
                "a removal that was not",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 3, Remove, Done),
                    (4, 5, Create(2), Exists),
                ],
            ),
        ] {
            assert!(!holds(&calls), "{what}");
        }
    }

    #[test]
    fn those_side_by_side_may_be_in_any_order_and_those_without_an_answer_at_any_time() {
        for (what, calls) in [
            (
                "either write is last",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 9, Update(2), Done),
                    (3, 8, Update(3), Done),
                    (10, 11, Read, Value(2)),
                ],
            ),
            (
                "a late effect",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 3, Update(2), Unknown),
                    (4, 5, Read, Value(1)),
                    (6, 7, Read, Value(2)),
                ],
            ),
            (
                "no effect",
                vec![
                    (0, 1, Create(1), Unknown),
                    (4, 5, Read, Absent),
                    (6, 7, Create(2), Done),
                    (8, 9, Read, Value(2)),
                ],
            ),
            (
                "one that was removed without an answer",
                vec![
                    (0, 1, Create(1), Done),
                    (2, 3, Remove, Unknown),
                    (4, 5, Create(2), Done),
                    (6, 7, Read, Value(2)),
                ],
            ),
        ] {
            assert!(holds(&calls), "{what}");
        }
    }

    #[test]
    fn a_violation_names_what_does_not_fit() {
        let calls = [(0, 1, Create(1), Done), (2, 3, Read, Value(2))];
        let said = check(&history(&calls)).unwrap_err().to_string();
        assert!(said.contains("Create(1) -> Done"), "{said}");
        assert!(said.contains("it is Some(1)"), "{said}");
        assert!(said.contains("Read -> Value(2)"), "{said}");
    }

    /// Many side by side, all writing, some unanswered: the search remembers where it has been.
    #[test]
    fn a_long_history_is_checked() {
        let mut calls = vec![(0, 1, Create(0), Done)];
        let mut last = 0;
        for round in 0..200 {
            let at = 10 + round * 10;
            for client in 0..4 {
                last = round * 4 + client + 1;
                let outcome = if round % 20 == 0 && client == 1 {
                    Unknown
                } else {
                    Done
                };
                calls.push((at + client, at + 8, Update(last), outcome));
            }
            calls.push((at + 9, at + 9, Read, Value(last)));
        }
        assert!(holds(&calls));
        calls.push((9_000, 9_001, Read, Value(last - 5)));
        assert!(!holds(&calls));
    }
}
