//! A report as one page that needs nothing else: no script, no font, no picture from elsewhere. Pure.

use std::fmt::Write;

use super::game::GameDay;
use super::report::{Report, Verdict};
use super::text::{rows, signed};

/// Width and height of the time line.
const WIDTH: i64 = 900;
const HEIGHT: i64 = 120;
/// Bars that are drawn.
const BARS: usize = 2400;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;\
color:#222}h1{font-size:1.4em}h2{font-size:1.2em;margin-top:2em}table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em .25em 0;\
text-align:left;border-bottom:1px solid #ddd;vertical-align:top}.passed{color:#176b2c}.failed{color:#a3161c}\
svg{width:100%;height:auto;background:#fafafa;border:1px solid #ddd}.num{font-variant-numeric:tabular-nums}";

/// The page.
pub fn html(report: &Report) -> String {
    let word = report.verdict.word();
    page(&format!("{}: {word}", title(report)), |out| {
        drill(out, report, "h1")
    })
}

/// The page of a whole game day: what became of its steps, then each drill.
pub fn game_html(day: &GameDay) -> String {
    let word = day.verdict.word();
    page(&format!("{}: {word}", day.title()), |out| {
        let title = escape(&day.title());
        headline(out, "h1", &title, word)?;
        writeln!(out, "<p>Begun at {}.</p>", escape(&day.begun))?;
        writeln!(out, "<table>")?;
        for step in &day.steps {
            let number = step.number.to_string();
            row(
                out,
                &[&number, &step.title(), step.end.word(), &step.told()],
            )?;
        }
        writeln!(out, "</table>")?;
        let mut held = day.steps.iter().filter_map(|step| step.report.as_ref());
        held.try_for_each(|report| drill(out, report, "h2"))
    })
}

fn page(title: &str, body: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let title = escape(title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n"
    );
    // Writing to a string cannot fail.
    let _ = body(&mut out);
    out.push_str("</body>\n</html>\n");
    out
}

fn title(report: &Report) -> String {
    let drill = &report.drill;
    format!("Drill {} of {}", drill.kind, drill.target)
}

fn headline(out: &mut String, level: &str, title: &str, word: &str) -> std::fmt::Result {
    writeln!(
        out,
        "<{level}>{title}: <span class=\"{word}\">{word}</span></{level}>"
    )
}

fn drill(out: &mut String, report: &Report, level: &str) -> std::fmt::Result {
    let drill = &report.drill;
    headline(out, level, &escape(&title(report)), report.verdict.word())?;
    writeln!(
        out,
        "<p>Begun by {} at {}; drill {}.</p>",
        escape(&drill.by),
        escape(&drill.begun),
        escape(&drill.id)
    )?;
    if report.verdict == Verdict::Failed {
        writeln!(out, "<ul>")?;
        for reason in &report.reasons {
            writeln!(out, "<li>{}</li>", escape(reason))?;
        }
        writeln!(out, "</ul>")?;
    }
    writeln!(out, "<table>")?;
    for (name, value) in rows(report) {
        row(out, &[name, &value])?;
    }
    writeln!(out, "</table>")?;
    line(out, report)?;
    services(out, report)?;
    writeln!(out, "<h3>What happened</h3>\n<table>")?;
    for moment in &report.moments {
        row(out, &[&signed(moment.at_ms), &moment.what])?;
    }
    writeln!(out, "</table>")
}

fn services(out: &mut String, report: &Report) -> std::fmt::Result {
    if !report.services.is_empty() {
        writeln!(out, "<h3>Services</h3>\n<table>")?;
        for service in &report.services {
            let tasks = format!("{} of {} tasks at least", service.lowest, service.desired);
            row(out, &[&service.name, &tasks])?;
        }
        writeln!(out, "</table>")?;
    }
    if report.requests.doors.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<h3>Requests</h3>\n<table>\n<tr><th>Asked</th><th>Lost</th><th>Sent</th>\
        <th>Longest gap</th><th>Slowest</th><th>First error</th></tr>"
    )?;
    for door in &report.requests.doors {
        row(
            out,
            &[
                &door.name,
                &door.lost.to_string(),
                &door.sent.to_string(),
                &format!("{} ms", door.longest_gap_ms),
                &format!("{} ms", door.slowest_ms),
                door.first_error.as_deref().unwrap_or_default(),
            ],
        )?;
    }
    writeln!(out, "</table>")
}

/// The time line: requests as bars, those that were lost in red, and moments as marks.
fn line(out: &mut String, report: &Report) -> std::fmt::Result {
    let spans = &report.requests.spans;
    let times = spans.iter().map(|span| span.at_ms);
    let times = times.chain(report.moments.iter().map(|moment| moment.at_ms));
    let begin = times.clone().min().unwrap_or_default().min(0);
    let end = times
        .max()
        .unwrap_or_default()
        .max(begin.saturating_add(1000));
    let length = end.saturating_sub(begin).max(1);
    let place = |at: i64| at.saturating_sub(begin).saturating_mul(WIDTH) / length;
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"time line\">"
    )?;
    let most = spans.iter().map(|span| span.sent).max().unwrap_or(1).max(1);
    let tall = |count: u32| i64::from(count).saturating_mul(HEIGHT - 30) / i64::from(most);
    let wide = (WIDTH.saturating_mul(250) / length).max(1);
    for span in spans.iter().take(BARS) {
        let answered = tall(span.sent.saturating_sub(span.lost));
        let lost = tall(span.lost);
        let (x, top) = (place(span.at_ms), HEIGHT - 20);
        bar(out, (x, wide), (top - answered, answered), "#9ecfae")?;
        bar(out, (x, wide), (top - answered - lost, lost), "#d9363e")?;
    }
    for moment in &report.moments {
        let (x, what) = (place(moment.at_ms), escape(&moment.what));
        writeln!(
            out,
            "<line x1=\"{x}\" y1=\"0\" x2=\"{x}\" y2=\"{}\" stroke=\"#345\" stroke-width=\"1\"><title>{} {what}</title></line>",
            HEIGHT - 20,
            signed(moment.at_ms)
        )?;
    }
    let zero = place(0);
    writeln!(
        out,
        "<text x=\"{zero}\" y=\"{}\" font-size=\"12\">0 s: the failure</text>",
        HEIGHT - 6
    )?;
    writeln!(
        out,
        "<text x=\"{WIDTH}\" y=\"{}\" font-size=\"12\" text-anchor=\"end\">{}</text>\n</svg>",
        HEIGHT - 6,
        signed(end)
    )
}

fn bar(
    out: &mut String,
    (x, wide): (i64, i64),
    (y, tall): (i64, i64),
    fill: &str,
) -> std::fmt::Result {
    if tall <= 0 {
        return Ok(());
    }
    writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{tall}\" fill=\"{fill}\"/>"
    )
}

fn row(out: &mut String, cells: &[&str]) -> std::fmt::Result {
    write!(out, "<tr>")?;
    for cell in cells {
        write!(out, "<td class=\"num\">{}</td>", escape(cell))?;
    }
    writeln!(out, "</tr>")
}

/// Text that no page takes for anything else.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
