//! What comes of a game day: several drills, one after another, told as one. Pure.

use serde::{Deserialize, Serialize};

use super::report::{Report, Verdict, seconds};
use super::text::text;

/// Version of the form.
pub const VERSION: u32 = 1;

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepEnd {
    /// Its drill was within its budget.
    Passed,
    /// Its drill was not.
    Failed,
    /// It was not begun, and nothing was changed by it.
    Refused,
    /// It was not its turn any more.
    Skipped,
}

impl StepEnd {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
        }
    }
}

/// A step, and what became of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepReport {
    /// From 1.
    pub number: usize,
    /// Its drill's kind.
    pub drill: String,
    /// Of what, as it was written.
    pub target: Option<String>,
    /// What became of it.
    pub end: StepEnd,
    /// Why it was not begun.
    pub refused: Option<String>,
    /// Its drill, where it was begun.
    pub report: Option<Report>,
}

impl StepReport {
    /// Its drill, of what it is or was.
    pub fn title(&self) -> String {
        let taken = self.report.as_ref().map(|report| &report.drill.target);
        match taken.or(self.target.as_ref()) {
            Some(target) => format!("{} {target}", self.drill),
            None => self.drill.clone(),
        }
    }

    /// In a few words.
    pub fn told(&self) -> String {
        let Some(report) = &self.report else {
            return self.refused.clone().unwrap_or_default();
        };
        if !report.reasons.is_empty() {
            return report.reasons.join("; ");
        }
        let recovered = report.measured.recovered_ms.map(seconds);
        let requests = &report.requests;
        match requests.sent {
            0 => format!("recovered in {}", recovered.unwrap_or_default()),
            sent => format!(
                "recovered in {}, {} of {sent} requests lost",
                recovered.unwrap_or_default(),
                requests.lost
            ),
        }
    }
}

/// All that is told of a game day.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GameDay {
    /// Of its form.
    pub version: u32,
    /// Its name; may be empty.
    pub name: String,
    /// When it began, as in RFC 3339.
    pub begun: String,
    /// Whether all of its steps passed.
    pub verdict: Verdict,
    /// Its steps, in their order.
    pub steps: Vec<StepReport>,
}

impl GameDay {
    /// What comes of these steps.
    pub fn new(name: String, begun: String, steps: Vec<StepReport>) -> Self {
        let passed = steps.iter().all(|step| step.end == StepEnd::Passed);
        Self {
            version: VERSION,
            name,
            begun,
            verdict: match passed {
                true => Verdict::Passed,
                false => Verdict::Failed,
            },
            steps,
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        match self.name.as_str() {
            "" => "Game day".to_owned(),
            name => format!("Game day {name}"),
        }
    }

    /// What became of its steps, then each drill, as lines.
    pub fn text(&self) -> String {
        let mut parts = vec![format!("{}: {}", self.title(), self.verdict.word())];
        let longest = self.steps.iter().map(|step| step.title().len()).max();
        let wide = longest.unwrap_or_default();
        parts.extend(self.steps.iter().map(|step| {
            let (number, title, end) = (step.number, step.title(), step.end.word());
            format!("  {number:>2}  {title:<wide$}  {end:<7}  {}", step.told())
        }));
        for report in self.steps.iter().filter_map(|step| step.report.as_ref()) {
            parts.push(String::new());
            parts.push(text(report));
        }
        parts.join("\n")
    }
}
