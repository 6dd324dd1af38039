//! What comes of a drill: figures, a verdict, and why. Pure.

use serde::{Deserialize, Serialize};
use skep_proto::drill::{DrillKind, REPORT_AT_MOST};

use super::requests::RequestReport;
use super::watch::{Stage, Watch};

/// Version of a report's form.
pub const VERSION: u32 = 1;

/// What a drill may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// From the failure until all runs again and everybody knows where, in milliseconds.
    pub max_recovery_ms: u64,
    /// Requests that are not answered; nothing: they are counted and not judged.
    pub max_lost: Option<u64>,
}

/// Whether it cost no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All was within the budget, and all is as before.
    Passed,
    /// Something was not.
    Failed,
}

impl Verdict {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

/// Times from the failure on, in milliseconds; nothing where it was not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// A manager saw it.
    pub detected_ms: Option<u64>,
    /// Another manager leads.
    pub leader_ms: Option<u64>,
    /// Everything that is to run runs.
    pub replaced_ms: Option<u64>,
    /// All nodes have the names and addresses of then.
    pub names_ms: Option<u64>,
    /// All of these.
    pub recovered_ms: Option<u64>,
    /// The failure was undone, by its node's own clock.
    pub lasted_ms: Option<u64>,
    /// Its node was back, and nothing was missing.
    pub returned_ms: Option<u64>,
}

/// A service that was touched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// Tasks that are to run.
    pub desired: u32,
    /// The fewest that ran.
    pub lowest: u32,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// From the failure on, in milliseconds.
    pub at_ms: i64,
    /// For people.
    pub what: String,
}

/// Of which drill.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Headline {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Of what, such as `web.2 on n3`.
    pub target: String,
    /// Who began it.
    pub by: String,
    /// When, as in RFC 3339.
    pub begun: String,
}

/// All that is told of a drill.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Of its form.
    pub version: u32,
    /// Of which drill.
    pub drill: Headline,
    /// Whether it was within its budget.
    pub verdict: Verdict,
    /// Why not; empty when it was.
    pub reasons: Vec<String>,
    /// What it might cost.
    pub budget: Budget,
    /// When the failure was, by the watcher's wall clock; milliseconds since 1970.
    pub failed_at_ms: Option<u64>,
    /// Times from then on.
    pub measured: Measured,
    /// Services that it touched.
    pub services: Vec<ServiceReport>,
    /// Requests that were made meanwhile.
    pub requests: RequestReport,
    /// What happened, in its order.
    pub moments: Vec<Moment>,
}

impl Report {
    /// What comes of all that was seen.
    pub fn new(
        drill: Headline,
        kind: DrillKind,
        budget: Budget,
        watch: &Watch,
        requests: &super::Requests,
    ) -> Self {
        let requests = requests.report(watch.failed_at().unwrap_or_default());
        let reasons = reasons(kind, budget, watch, &requests);
        Self {
            version: VERSION,
            drill,
            verdict: match reasons.is_empty() {
                true => Verdict::Passed,
                false => Verdict::Failed,
            },
            reasons,
            budget,
            failed_at_ms: watch.failed_at(),
            measured: watch.measured(),
            services: watch.services(),
            requests,
            moments: watch.moments(),
        }
    }

    /// The report as the cluster keeps it: what is left out where it is too long is the finest of its time line.
    pub fn kept(&self) -> String {
        let write = |report: &Self| serde_json::to_string(report).unwrap_or_default();
        let whole = write(self);
        if whole.len() <= REPORT_AT_MOST {
            return whole;
        }
        let mut less = self.clone();
        less.requests.spans.retain(|span| span.lost > 0);
        less.requests.spans.truncate(200);
        let text = write(&less);
        if text.len() <= REPORT_AT_MOST {
            return text;
        }
        less.requests.spans.clear();
        less.moments.truncate(20);
        less.requests.doors.truncate(20);
        less.services.truncate(50);
        let text = write(&less);
        if text.len() <= REPORT_AT_MOST {
            text
        } else {
            String::new()
        }
    }
}

fn reasons(
    kind: DrillKind,
    budget: Budget,
    watch: &Watch,
    requests: &RequestReport,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let measured = watch.measured();
    if let Some(error) = watch.refused() {
        reasons.push(format!("its node says: {error}"));
        return reasons;
    }
    if watch.ended() {
        reasons.push("somebody ended it before its time".to_owned());
    }
    let limit = budget.max_recovery_ms;
    match (watch.stage(), measured.recovered_ms) {
        (Stage::Asked, _) => reasons.push("the node never accepted the drill".to_owned()),
        (Stage::Accepted, _) => reasons.push(match kind {
            DrillKind::Task => "nobody saw the task end".to_owned(),
            _ => "no manager saw the failure: it did not last long enough".to_owned(),
        }),
        (_, Some(took)) if took > limit => reasons.push(format!(
            "it took {} to recover, and {} are allowed",
            seconds(took),
            seconds(limit)
        )),
        (_, None) => reasons.push(missing(kind, &measured)),
        _ => {}
    }
    if watch.stage() == Stage::Recovered {
        reasons.push("afterwards not everything came back in time; see: skep node ls".to_owned());
    }
    if let Some(most) = budget.max_lost.filter(|most| requests.lost > *most) {
        reasons.push(format!(
            "{} of {} requests were lost, and {most} are allowed",
            requests.lost, requests.sent
        ));
    }
    if budget.max_lost.is_some() && requests.sent == 0 {
        reasons.push("no requests were made, so nobody knows whether any would be lost".to_owned());
    }
    reasons
}

/// What did not come.
fn missing(kind: DrillKind, measured: &Measured) -> String {
    if measured.replaced_ms.is_none() {
        return "not everything that is to run ran again".to_owned();
    }
    if kind == DrillKind::Leader && measured.leader_ms.is_none() {
        return "no other manager became the leader".to_owned();
    }
    "not all nodes got the new names and addresses".to_owned()
}

/// Milliseconds for people.
pub(super) fn seconds(millis: u64) -> String {
    if millis < 1000 {
        return format!("{millis} ms");
    }
    format!("{}.{:02} s", millis / 1000, millis % 1000 / 10)
}
