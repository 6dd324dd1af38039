//! A game day is told as one, whatever became of its steps.

use skep_deploy::drill::{
    Budget, GameDay, Headline, Measured, Report, RequestReport, StepEnd, StepReport, Verdict,
    game_html,
};

fn report(verdict: Verdict, target: &str) -> Report {
    Report {
        version: 1,
        drill: Headline {
            kind: "task".into(),
            target: target.into(),
            ..Headline::default()
        },
        verdict,
        reasons: match verdict {
            Verdict::Passed => Vec::new(),
            Verdict::Failed => vec!["it took 3.00 s to recover".into()],
        },
        budget: Budget {
            max_recovery_ms: 2_000,
            max_lost: None,
        },
        failed_at_ms: None,
        measured: Measured {
            recovered_ms: Some(250),
            ..Measured::default()
        },
        services: Vec::new(),
        requests: RequestReport::default(),
        moments: Vec::new(),
    }
}

fn step(number: usize, end: StepEnd, report: Option<Report>) -> StepReport {
    StepReport {
        number,
        drill: "task".into(),
        target: Some("web".into()),
        end,
        refused: (end == StepEnd::Refused).then(|| "another drill goes on".into()),
        report,
    }
}

#[test]
fn it_passes_when_all_of_its_steps_do_and_each_is_told() {
    let passed = step(
        1,
        StepEnd::Passed,
        Some(report(Verdict::Passed, "web.1 on <n1>")),
    );
    let day = GameDay::new("May".into(), String::new(), vec![passed.clone()]);
    assert_eq!(day.verdict, Verdict::Passed);
    let failed = step(
        2,
        StepEnd::Failed,
        Some(report(Verdict::Failed, "web.2 on n2")),
    );
    let refused = step(3, StepEnd::Refused, None);
    let skipped = step(4, StepEnd::Skipped, None);
    let steps = vec![passed, failed, refused, skipped];
    let day = GameDay::new("May".into(), String::new(), steps);
    assert_eq!(day.verdict, Verdict::Failed);
    let text = day.text();
    for line in [
        "Game day May: failed",
        "   1  task web.1 on <n1>  passed   recovered in 250 ms",
        "   2  task web.2 on n2    failed   it took 3.00 s to recover",
        "   3  task web            refused  another drill goes on",
        "   4  task web            skipped",
        "Drill task of web.2 on n2: failed",
    ] {
        assert!(text.contains(line), "no \"{line}\" in\n{text}");
    }
    let page = game_html(&day);
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert_eq!(
        page.matches("<h2>").count(),
        2,
        "one for each drill that was begun"
    );
    assert!(page.contains("web.1 on &lt;n1&gt;") && !page.contains("<n1>"));
    let json = serde_json::to_string(&day).ok();
    let back = json.and_then(|json| serde_json::from_str::<GameDay>(&json).ok());
    assert_eq!(back, Some(day));
}
