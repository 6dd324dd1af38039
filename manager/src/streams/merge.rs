//! Merges what several logs hold by time. Pure: it is told what came, and gives what can be shown.

use std::collections::{BTreeMap, VecDeque};

/// Sources by their numbers, as long as one of them has older lines to come.
#[derive(Debug)]
pub struct Merge<R> {
    sources: BTreeMap<u32, Source<R>>,
}

/// A line and its time.
pub type Timed<R> = (u64, R);

#[derive(Debug)]
struct Source<R> {
    waiting: VecDeque<Timed<R>>,
    /// Nothing older comes any more.
    caught_up: bool,
}

impl<R> Merge<R> {
    /// Expects lines from these sources.
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let source = |number| {
            let source = Source {
                waiting: VecDeque::new(),
                caught_up: false,
            };
            (number, source)
        };
        Self {
            sources: numbers.into_iter().map(source).collect(),
        }
    }

    /// Takes what a source has said, in its order.
    pub fn push(&mut self, number: u32, records: impl IntoIterator<Item = Timed<R>>) {
        if let Some(source) = self.sources.get_mut(&number) {
            source.waiting.extend(records);
        }
    }

    /// A source has no older lines, or none at all any more.
    pub fn caught_up(&mut self, number: u32) {
        if let Some(source) = self.sources.get_mut(&number) {
            source.caught_up = true;
        }
    }

    /// A source that must say something before anything more can be shown.
    pub fn wanted(&self) -> Option<u32> {
        let mut sources = self.sources.iter();
        let found = sources.find(|(_, source)| source.waiting.is_empty() && !source.caught_up);
        found.map(|(number, _)| *number)
    }

    /// What can be shown now, oldest first, at most so many.
    pub fn take(&mut self, most: usize) -> Vec<R> {
        let mut taken = Vec::new();
        while taken.len() < most && self.wanted().is_none() {
            let first = |(number, source): (&u32, &Source<R>)| {
                source.waiting.front().map(|(at, _)| (*at, *number))
            };
            let Some((_, oldest)) = self.sources.iter().filter_map(first).min() else {
                break;
            };
            let source = self.sources.get_mut(&oldest);
            let record = source.and_then(|source| source.waiting.pop_front());
            taken.extend(record.map(|(_, record)| record));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that say their time and source.
    fn lines(source: u32, times: &[u64]) -> Vec<Timed<(u64, u32)>> {
        times.iter().map(|at| (*at, (*at, source))).collect()
    }

    #[test]
    fn lines_come_in_the_order_of_their_times_and_wait_for_the_slowest() {
        let mut merge = Merge::of([0, 1]);
        merge.push(0, lines(0, &[1, 5, 9]));
        assert_eq!((merge.wanted(), merge.take(10)), (Some(1), vec![]));
        merge.push(1, lines(1, &[2, 3]));
        assert_eq!(merge.take(10), [(1, 0), (2, 1), (3, 1)]);
        merge.push(1, lines(1, &[6]));
        merge.caught_up(1);
        assert_eq!(merge.take(2), [(5, 0), (6, 1)]);
        assert_eq!(merge.take(10), [(9, 0)]);
        assert_eq!(merge.wanted(), Some(0));
        merge.caught_up(0);
        assert_eq!((merge.wanted(), merge.take(10)), (None, vec![]));
    }

    #[test]
    fn equal_times_go_by_the_source_and_each_keeps_its_order() {
        let mut merge = Merge::of([0, 1]);
        merge.push(1, lines(1, &[4, 3]));
        merge.push(0, lines(0, &[4]));
        merge.caught_up(0);
        merge.caught_up(1);
        assert_eq!(merge.take(10), [(4, 0), (4, 1), (3, 1)]);
    }
}
