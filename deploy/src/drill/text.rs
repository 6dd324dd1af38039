//! A report for people at a terminal. Pure.

use std::fmt::Write;

use super::report::{Report, seconds};

/// Moments that are shown; the page has all.
const MOMENTS: usize = 30;

/// The report as lines.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, report);
    out.trim_end().to_owned()
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let drill = &report.drill;
    writeln!(
        out,
        "Drill {} of {}: {}",
        drill.kind,
        drill.target,
        report.verdict.word()
    )?;
    for reason in &report.reasons {
        writeln!(out, "  - {reason}")?;
    }
    writeln!(out)?;
    for (name, value) in rows(report) {
        writeln!(out, "  {name:<28} {value}")?;
    }
    for service in &report.services {
        writeln!(
            out,
            "  {:<28} {} of {} tasks at least",
            format!("service {}", service.name),
            service.lowest,
            service.desired
        )?;
    }
    for door in &report.requests.doors {
        write!(
            out,
            "  {:<28} {} of {} requests lost, longest gap {}, slowest {}",
            door.name,
            door.lost,
            door.sent,
            seconds(door.longest_gap_ms),
            seconds(door.slowest_ms)
        )?;
        match &door.first_error {
            Some(error) => writeln!(out, " ({error})")?,
            None => writeln!(out)?,
        }
    }
    writeln!(out)?;
    for moment in report.moments.iter().take(MOMENTS) {
        writeln!(out, "  {:>10}  {}", signed(moment.at_ms), moment.what)?;
    }
    Ok(())
}

/// Names of figures and the figures, as people read them.
pub(super) fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let told = |value: Option<u64>| value.map_or_else(|| "not seen".to_owned(), seconds);
    let measured = &report.measured;
    let mut rows = vec![("seen by a manager", told(measured.detected_ms))];
    if measured.leader_ms.is_some() || report.drill.kind == "leader" {
        rows.push(("another manager leads", told(measured.leader_ms)));
    }
    rows.push(("everything runs again", told(measured.replaced_ms)));
    rows.push(("names right everywhere", told(measured.names_ms)));
    rows.push((
        "recovered",
        format!(
            "{} (allowed {})",
            told(measured.recovered_ms),
            seconds(report.budget.max_recovery_ms)
        ),
    ));
    if measured.lasted_ms.is_some_and(|lasted| lasted > 0) {
        rows.push(("the failure lasted", told(measured.lasted_ms)));
    }
    rows.push(("all is as before", told(measured.returned_ms)));
    let requests = &report.requests;
    rows.push((
        "requests lost",
        match (requests.sent, report.budget.max_lost) {
            (0, _) => "none were made".to_owned(),
            (sent, Some(most)) => format!("{} of {sent} (allowed {most})", requests.lost),
            (sent, None) => format!("{} of {sent}", requests.lost),
        },
    ));
    rows
}

/// A time before or after the failure.
pub(super) fn signed(millis: i64) -> String {
    let sign = if millis < 0 { '-' } else { '+' };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03} s", millis / 1000, millis % 1000)
}
