//! Shows how a service gets to what was asked: bars on a terminal, a line for each change elsewhere.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// More slots than this are shown only in sum, as Docker does.
const MOST_BARS: usize = 20;
/// Rungs from nothing to running.
const RUNGS: u64 = 8;

/// Where a slot of a service stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotProgress {
    /// Number or node of the slot.
    pub slot: String,
    /// Rungs climbed, of eight.
    pub rung: u64,
    /// State, and the reason if there is one to know.
    pub message: String,
}

/// Shows how a service gets there.
pub enum Progress {
    /// Shows nothing.
    Quiet,
    /// Redraws bars.
    Bars {
        /// All of them.
        all: MultiProgress,
        /// The sum.
        overall: ProgressBar,
        /// One for each slot, while there are few.
        slots: Vec<ProgressBar>,
    },
    /// Prints what changed, for logs.
    Lines {
        /// What was printed last.
        last: String,
    },
}

impl Progress {
    /// Bars where the standard error output is a terminal, else lines; nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if std::io::stderr().is_terminal() {
            Self::bars()
        } else {
            Self::lines()
        }
    }

    /// A line for each change.
    pub fn lines() -> Self {
        Self::Lines {
            last: String::new(),
        }
    }

    /// Bars, whatever the standard error output is.
    pub fn bars() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall =
            all.add(ProgressBar::no_length().with_style(style("overall progress: {msg}")));
        Self::Bars {
            all,
            overall,
            slots: Vec::new(),
        }
    }

    /// Shows that `running` of `wanted` tasks run, and where each slot stands.
    pub fn show(&mut self, running: usize, wanted: usize, standing: &[SlotProgress]) {
        let sum = format!("{running} out of {wanted} tasks");
        match self {
            Self::Quiet => {}
            Self::Lines { last } => {
                let waiting = standing.iter().find(|slot| slot.rung < RUNGS);
                let reason = waiting
                    .map(|slot| format!(" ({}: {})", slot.slot, slot.message))
                    .unwrap_or_default();
                let text = format!("overall progress: {sum}{reason}");
                if *last != text {
                    super::notice(&text);
                    *last = text;
                }
            }
            Self::Bars {
                all,
                overall,
                slots,
            } => {
                overall.set_message(sum);
                let shown = if standing.len() > MOST_BARS {
                    &[]
                } else {
                    standing
                };
                while slots.len() > shown.len() {
                    if let Some(bar) = slots.pop() {
                        bar.finish_and_clear();
                    }
                }
                while slots.len() < shown.len() {
                    let bar = ProgressBar::new(RUNGS);
                    slots.push(all.add(bar.with_style(style("{prefix:>6}: [{bar:24}] {msg}"))));
                }
                for (bar, slot) in slots.iter().zip(shown) {
                    bar.set_prefix(slot.slot.clone());
                    bar.set_message(slot.message.clone());
                    bar.set_position(slot.rung);
                }
            }
        }
    }

    /// Says how it ended and leaves the last picture standing.
    pub fn finish(self, verdict: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines { .. } => super::notice(verdict),
            Self::Bars { overall, slots, .. } => {
                for bar in slots {
                    bar.abandon();
                }
                overall.abandon();
                super::notice(verdict);
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
