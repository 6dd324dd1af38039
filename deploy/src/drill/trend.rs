//! How a drill compares with those of its kind before it. Pure.

use serde::Serialize;

/// So many must have recovered before, until one is called slower or faster than they were.
const ENOUGH: usize = 3;
/// Drills differ by so much, in milliseconds, without a cause worth a word.
const NOISE_MS: u64 = 200;
/// The same as a part of the median: a fifth.
const NOISE_PART: u64 = 5;

/// A drill that was held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// Its kind.
    pub kind: String,
    /// From its failure until all was well; nothing where that did not come, or nobody measured it.
    pub recovered_ms: Option<u64>,
}

/// How one compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Trend {
    /// Median of the recoveries of its kind before it, in milliseconds; nothing where there is none.
    pub median_ms: Option<u64>,
    /// Against that median.
    pub pace: Option<Pace>,
}

/// Against those before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// It took longer, by more than 0.2 s and a fifth.
    Slower,
    /// It took about as long.
    Usual,
    /// It took less, by more than 0.2 s and a fifth.
    Faster,
}

impl Pace {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Usual => "as usual",
            Self::Faster => "faster",
        }
    }
}

/// Compares each with those after it in the list, which is the newest first.
pub fn trends(newest_first: &[Past]) -> Vec<Trend> {
    let each = newest_first.iter().enumerate();
    each.map(|(place, drill)| {
        let before = newest_first.iter().skip(place.saturating_add(1));
        let before = before.filter(|it| it.kind == drill.kind);
        trend(drill, before.filter_map(|it| it.recovered_ms).collect())
    })
    .collect()
}

fn trend(drill: &Past, mut before: Vec<u64>) -> Trend {
    let enough = before.len() >= ENOUGH;
    let Some(median) = median(&mut before) else {
        return Trend::default();
    };
    let took = drill.recovered_ms.filter(|_| enough);
    Trend {
        median_ms: Some(median),
        pace: took.map(|took| pace(took, median)),
    }
}

fn median(all: &mut [u64]) -> Option<u64> {
    all.sort_unstable();
    let upper = *all.get(all.len() / 2)?;
    match all.len() % 2 {
        0 => Some(all.get(all.len() / 2 - 1)?.midpoint(upper)),
        _ => Some(upper),
    }
}

fn pace(took: u64, median: u64) -> Pace {
    let noise = NOISE_MS.max(median / NOISE_PART);
    if took > median.saturating_add(noise) {
        Pace::Slower
    } else if took < median.saturating_sub(noise) {
        Pace::Faster
    } else {
        Pace::Usual
    }
}
