//! How figures are gathered and shown.

use std::time::Duration;

/// One row of the table.
pub struct Line {
    /// What was measured.
    pub what: String,
    /// What came out, with its unit and spread.
    pub measured: String,
    /// What the same work costs without skep, measured in this run.
    pub floor: String,
    /// The one by the other, above 1 where skep is slower.
    pub ratio: f64,
    /// What was promised.
    pub goal: &'static str,
}

/// Measured times, sorted.
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts them.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// The one in the middle.
    pub fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// Median, least, most and how many.
    pub fn shown(&self) -> String {
        let of = |time: Option<&Duration>| shown(time.copied().unwrap_or_default());
        format!(
            "{} ({} to {}, {} times)",
            shown(self.median()),
            of(self.0.first()),
            of(self.0.last()),
            self.0.len()
        )
    }
}

/// A time in the unit that suits it.
pub fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

/// All rows, in the form that the README keeps.
pub fn table(lines: &[Line]) -> String {
    let mut text =
        String::from("| figure | measured | floor | ratio | to reach |\n|---|---|---|---|---|\n");
    for line in lines {
        text.push_str(&format!(
            "| {} | {} | {} | {:.1} | {} |\n",
            line.what, line.measured, line.floor, line.ratio, line.goal
        ));
    }
    text
}
