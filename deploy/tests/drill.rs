//! What is measured of drills, what is judged and what is told, from pictures made here.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that cannot begin has failed"
)]

use std::time::Duration;

use skep_deploy::drill::{
    Asked, Budget, Headline, Picture, Report, Requests, ServicePicture, Stage, Verdict, Watch,
    html, text,
};
use skep_proto::drill::{DrillKind, Obeyed, REPORT_AT_MOST, Undone};
use skep_proto::time::WallTime;

/// The leader's clock is so far ahead of the watcher's.
const AHEAD: u64 = 5_000;
const FUSE: u64 = 500;

fn accepted(at: u64) -> Obeyed {
    Obeyed {
        accepted: WallTime::from_unix_millis(at + AHEAD),
        undone: None,
    }
}

fn undone(at: u64, failed_after: u64, lasted: u64, error: &str) -> Obeyed {
    Obeyed {
        undone: Some(Undone {
            failed_after: Duration::from_millis(failed_after),
            undone_after: Duration::from_millis(failed_after + lasted),
            error: error.to_owned(),
        }),
        ..accepted(at)
    }
}

/// All is well at this time of the watcher's clock.
fn well(at: u64) -> Picture {
    Picture {
        arrived: at,
        made: at + AHEAD,
        leader: "n1".into(),
        node_up: true,
        node_present: true,
        services: vec![web(3)],
        ..Picture::default()
    }
}

fn web(running: u32) -> ServicePicture {
    ServicePicture {
        name: "web".into(),
        running,
        desired: 3,
    }
}

fn budget(max_recovery_ms: u64, max_lost: Option<u64>) -> Budget {
    Budget {
        max_recovery_ms,
        max_lost,
    }
}

fn report(kind: DrillKind, budget: Budget, watch: &Watch, requests: &Requests) -> Report {
    let headline = Headline {
        id: "abc".into(),
        kind: kind.to_string(),
        target: "n3 <script>".into(),
        by: "anna@n1".into(),
        begun: "2026-11-21T23:00:00Z".into(),
    };
    Report::new(headline, kind, budget, watch, requests)
}

fn nothing_asked() -> Requests {
    Requests::new([])
}

/// A node that fails at 10,500, is seen down at 13,500, and whose task runs elsewhere at 14,000.
fn node_lost(kind: DrillKind) -> Watch {
    let mut watch = Watch::new(kind, FUSE, "n1");
    watch.see(well(9_000));
    let later = |at, change: fn(&mut Picture)| {
        let mut picture = well(at);
        picture.obeyed = Some(accepted(10_000));
        change(&mut picture);
        picture
    };
    watch.see(later(10_010, |_| {}));
    assert_eq!(watch.stage(), Stage::Accepted);
    watch.see(later(13_500, |it| {
        (it.node_up, it.node_present) = (false, false);
        it.services = vec![web(2)];
        it.behind = ["n2".to_owned()].into();
    }));
    assert_eq!(watch.stage(), Stage::Detected);
    watch.see(later(14_000, |it| {
        (it.node_up, it.node_present) = (false, false);
        it.behind = ["n2".to_owned()].into();
    }));
    watch.see(later(14_200, |it| {
        (it.node_up, it.node_present) = (false, false)
    }));
    watch
}

fn back(watch: &mut Watch, at: u64) {
    watch.see(Picture {
        obeyed: Some(undone(10_000, FUSE, 15_000, "")),
        ..well(at)
    });
}

#[test]
fn a_lost_node_is_measured_from_its_failure_on() {
    let mut watch = node_lost(DrillKind::Node);
    assert_eq!(watch.stage(), Stage::Recovered);
    back(&mut watch, 27_000);
    assert_eq!(watch.stage(), Stage::Back);
    let measured = watch.measured();
    assert_eq!(watch.failed_at(), Some(10_500));
    assert_eq!(measured.detected_ms, Some(3_000));
    assert_eq!(measured.replaced_ms, Some(3_500));
    assert_eq!(measured.names_ms, Some(3_700));
    assert_eq!(measured.recovered_ms, Some(3_700));
    assert_eq!(measured.lasted_ms, Some(15_000));
    assert_eq!(measured.returned_ms, Some(16_500));
    assert_eq!(watch.services()[0].lowest, 2);
    let told: Vec<_> = watch.moments().into_iter().map(|it| it.at_ms).collect();
    assert!(told.is_sorted() && told[0] == -500, "{told:?}");
}

#[test]
fn the_node_says_exactly_when_it_failed() {
    let mut watch = node_lost(DrillKind::Node);
    watch.see(Picture {
        obeyed: Some(undone(10_000, FUSE + 70, 15_000, "")),
        ..well(27_000)
    });
    assert_eq!(watch.failed_at(), Some(10_570));
}

#[test]
fn another_leaders_clock_is_read_anew() {
    let mut watch = node_lost(DrillKind::Leader);
    // Nobody else leads yet: that is what is missing.
    assert_eq!(watch.stage(), Stage::Detected);
    // This leader's clock is an hour behind, and its first picture took long to arrive.
    for (arrived, made) in [(15_300, 15_000), (15_500, 15_490)] {
        watch.see(Picture {
            arrived,
            made: made + 3_600_000,
            leader: "n2".into(),
            obeyed: Some(accepted(10_000)),
            services: vec![web(3)],
            ..Picture::default()
        });
    }
    assert_eq!(watch.stage(), Stage::Recovered);
    let measured = watch.measured();
    assert_eq!(measured.leader_ms, Some(4_800));
    assert_eq!(measured.recovered_ms, Some(4_800));
    assert_eq!(watch.failed_at(), Some(10_500));
}

#[test]
fn a_leader_that_was_seen_by_another_way_counts_from_then() {
    let mut watch = Watch::new(DrillKind::Leader, FUSE, "n1");
    watch.led_by("n1", 100);
    watch.led_by("n2", 700);
    watch.led_by("n3", 900);
    watch.see(Picture {
        obeyed: Some(accepted(0)),
        ..well(10)
    });
    assert_eq!(watch.measured().leader_ms, Some(200));
}

#[test]
fn a_task_is_seen_when_it_has_ended_and_a_daemon_when_it_is_away_or_back() {
    let mut task = Watch::new(DrillKind::Task, FUSE, "n1");
    let mut ended = well(1_600);
    ended.obeyed = Some(undone(1_000, FUSE, 0, ""));
    ended.task_ended = true;
    ended.services = vec![web(2)];
    task.see(ended.clone());
    assert_eq!(task.stage(), Stage::Detected);
    ended.services = vec![web(3)];
    (ended.arrived, ended.made) = (2_500, 2_500 + AHEAD);
    task.see(ended);
    assert_eq!(task.stage(), Stage::Back);
    assert_eq!(task.measured().recovered_ms, Some(1_000));

    // Its session was open again before the next picture was made.
    let mut daemon = Watch::new(DrillKind::RestartDaemon, FUSE, "n1");
    let mut again = well(1_000);
    again.obeyed = Some(accepted(900));
    daemon.see(again.clone());
    assert_eq!(daemon.stage(), Stage::Accepted);
    again.obeyed = Some(undone(900, 600, 0, ""));
    (again.arrived, again.made) = (2_000, 2_000 + AHEAD);
    daemon.see(again);
    assert_eq!(daemon.stage(), Stage::Back);
}

#[test]
fn a_full_disk_that_harms_nobody_needs_no_recovery_and_one_that_does_is_measured() {
    let mut harmless = Watch::new(DrillKind::Disk, FUSE, "n1");
    let mut now = well(1_000);
    now.obeyed = Some(accepted(1_000));
    harmless.see(now.clone());
    assert_eq!(harmless.stage(), Stage::Accepted);
    let mut harmful = harmless.clone();
    now.obeyed = Some(undone(1_000, FUSE, 15_000, ""));
    (now.arrived, now.made) = (16_600, 16_600 + AHEAD);
    harmless.see(now.clone());
    assert_eq!(harmless.stage(), Stage::Back);
    assert_eq!(harmless.measured().recovered_ms, Some(0));
    assert_eq!(harmless.measured().lasted_ms, Some(15_000));

    let mut harmed = well(3_500);
    harmed.obeyed = Some(accepted(1_000));
    harmed.services = vec![web(2)];
    harmful.see(harmed);
    assert_eq!(harmful.stage(), Stage::Detected);
    harmful.see(now);
    assert_eq!(harmful.stage(), Stage::Back);
    assert_eq!(harmful.measured().detected_ms, Some(2_000));
    assert_eq!(harmful.measured().recovered_ms, Some(15_100));
}

#[test]
fn what_its_node_cannot_make_is_told_apart_from_what_it_could_not_finish() {
    let seen = |lasted: u64, error: &str| {
        let mut watch = Watch::new(DrillKind::Disk, FUSE, "n1");
        let mut now = well(1_000);
        now.obeyed = Some(undone(900, FUSE, lasted, error));
        watch.see(now);
        watch.never()
    };
    assert!(seen(0, "no room for it"));
    assert!(!seen(5, "the daemon ended"));
    assert!(!seen(0, ""));
}

#[test]
fn a_verdict_names_each_reason() {
    let mut watch = node_lost(DrillKind::Node);
    back(&mut watch, 27_000);
    let asked = |error: Option<&str>| {
        let mut requests = Requests::new(["web".to_owned()]);
        requests.take(&Asked {
            door: 0,
            at: 11_000,
            took: 5,
            error: error.map(str::to_owned),
        });
        requests
    };
    let judge = |budget, requests: &Requests| {
        let report = report(DrillKind::Node, budget, &watch, requests);
        (report.verdict, report.reasons.join("; "))
    };
    let passed = (Verdict::Passed, String::new());
    assert_eq!(judge(budget(3_700, Some(0)), &asked(None)), passed);
    assert_eq!(judge(budget(3_700, None), &asked(Some("late"))), passed);
    let (verdict, why) = judge(budget(3_699, Some(0)), &asked(Some("late")));
    assert_eq!(verdict, Verdict::Failed);
    assert!(
        why.contains("3.70 s") && why.contains("1 of 1 requests"),
        "{why}"
    );
    // A budget for requests without any is not kept by accident.
    let (verdict, why) = judge(budget(9_000, Some(0)), &nothing_asked());
    assert!(
        verdict == Verdict::Failed && why.contains("no requests"),
        "{why}"
    );
}

#[test]
fn what_never_came_is_why_it_failed() {
    let why = |watch: &Watch| {
        let report = report(
            DrillKind::Node,
            budget(9_000, None),
            watch,
            &nothing_asked(),
        );
        assert_eq!(report.verdict, Verdict::Failed);
        report.reasons.join("; ")
    };
    let mut watch = Watch::new(DrillKind::Node, FUSE, "n1");
    watch.see(well(0));
    assert!(why(&watch).contains("never accepted"));
    let refused = |at, error| Picture {
        obeyed: Some(undone(0, FUSE, 0, error)),
        ..well(at)
    };
    watch.see(refused(700, "no nftables"));
    assert!(why(&watch).contains("no nftables"));
    let watch = node_lost(DrillKind::Node);
    assert!(why(&watch).contains("came back"), "{}", why(&watch));
}

#[test]
fn a_report_is_told_as_text_as_a_page_and_as_json_that_reads_back() {
    let mut watch = node_lost(DrillKind::Node);
    back(&mut watch, 27_000);
    let mut requests = Requests::new(["web at <b>".to_owned()]);
    for number in 0..20_000 {
        requests.take(&Asked {
            door: 0,
            at: 9_000 + number * 250,
            took: 5,
            error: (number % 3 == 0).then(|| "\"late\" & lost".to_owned()),
        });
    }
    let report = report(DrillKind::Node, budget(5_000, Some(0)), &watch, &requests);
    let lines = text(&report);
    assert!(
        lines.starts_with("Drill node of n3 <script>: failed"),
        "{lines}"
    );
    assert!(lines.contains("recovered") && lines.contains("3.70 s (allowed 5.00 s)"));
    assert!(
        lines.contains("+3.000 s  the node counts as down"),
        "{lines}"
    );
    let page = html(&report);
    assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("http"));
    assert!(page.contains("n3 &lt;script&gt;") && page.contains("&quot;late&quot; &amp; lost"));
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    let kept = report.kept();
    assert!(kept.len() <= REPORT_AT_MOST);
    let read: Report = serde_json::from_str(&kept).unwrap();
    assert_eq!(
        (read.verdict, read.measured),
        (report.verdict, report.measured)
    );
    let whole: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(whole, report);
}
