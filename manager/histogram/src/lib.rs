//! What openraft counts with, in 2 KiB instead of 22 MiB.
//!
//! openraft keeps statistics of its own work in the crate `base2histogram`, which at its first use computes
//! the tables of all sixteen precisions it offers: 22 MiB that stay resident in every manager, for the 2 KiB
//! of the one precision that is used. This crate has the part of its interface that openraft calls and takes
//! its place through `[patch.crates-io]`. It goes when upstream makes only the table that is asked for.

use std::fmt;
use std::marker::PhantomData;

/// Values below this have a bucket each; above, each power of two has [`SHARES`].
const EXACT: u64 = 8;
/// Buckets of each power of two: a value is told within a quarter.
const SHARES: u64 = 4;
/// Buckets for all values of 64 bits.
const BUCKETS: usize = 252;

/// Counts values by their size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram<T = ()> {
    /// Empty until the first value.
    counts: Vec<u64>,
    total: u64,
    data: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// Without values.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: Vec::new(),
            total: 0,
            data: PhantomData,
        }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        self.counts.resize(BUCKETS, 0);
        if let Some(bucket) = self.counts.get_mut(bucket(value)) {
            *bucket = bucket.saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }

    /// Number of values.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The least value of the bucket in which `thousandths` of all values are reached; 0 without values.
    #[must_use]
    fn reached(&self, thousandths: u64) -> u64 {
        let wanted = u128::from(self.total) * u128::from(thousandths);
        let mut seen = 0_u128;
        for (index, count) in (0_u64..).zip(&self.counts) {
            seen += u128::from(*count) * 1000;
            if *count > 0 && seen >= wanted {
                return least(index);
            }
        }
        0
    }

    /// The values at nine places of their order.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.reached(1),
            p1: self.reached(10),
            p5: self.reached(50),
            p10: self.reached(100),
            p50: self.reached(500),
            p90: self.reached(900),
            p99: self.reached(990),
            p99_9: self.reached(999),
        }
    }
}

fn bucket(value: u64) -> usize {
    let index = if value < EXACT {
        value
    } else {
        let power = u64::from(value.ilog2());
        let share = (value >> (power - 2)) % SHARES;
        EXACT + (power - 3) * SHARES + share
    };
    usize::try_from(index).unwrap_or(BUCKETS - 1)
}

fn least(index: u64) -> u64 {
    if index < EXACT {
        return index;
    }
    let (power, share) = ((index - EXACT) / SHARES + 3, (index - EXACT) % SHARES);
    (SHARES + share) << (power - 2)
}

/// Values at nine places of their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PercentileStats {
    /// Number of values.
    pub samples: u64,
    /// A thousandth are not above this.
    pub p0_1: u64,
    /// A hundredth are not above this.
    pub p1: u64,
    /// A twentieth are not above this.
    pub p5: u64,
    /// A tenth are not above this.
    pub p10: u64,
    /// Half are not above this.
    pub p50: u64,
    /// 90 of 100 are not above this.
    pub p90: u64,
    /// 99 of 100 are not above this.
    pub p99: u64,
    /// 999 of 1000 are not above this.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples,
            p10,
            p50,
            p90,
            p99,
            ..
        } = self;
        write!(
            f,
            "{samples} values, p10 {p10}, p50 {p50}, p90 {p90}, p99 {p99}"
        )
    }
}

/// Several histograms below each other, as text.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart {
    rows: Vec<(String, Histogram)>,
}

impl AsciiChart {
    /// Without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more row.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.rows.push((name.into(), histogram));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.rows {
            writeln!(f, "{name}: {}", histogram.percentile_stats())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_within_a_quarter() {
        for value in (0..200).chain([1 << 20, (1 << 40) + 12_345, u64::MAX]) {
            let told = least(bucket(value) as u64);
            assert!(
                told <= value && value - told <= value / 4,
                "{value}: {told}"
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn places_are_found_in_order() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        histogram.record_n(2, 90);
        histogram.record_n(6, 10);
        let stats = histogram.percentile_stats();
        assert_eq!(
            (stats.samples, stats.p50, stats.p90, stats.p99),
            (100, 2, 2, 6)
        );
    }
}
