//! Several drills told as one.

use serde_json::Value;
use skep_harness::cluster::Cluster;

use super::{pids, web};
use crate::SKEP;

/// The first passes, the second cannot, and the third is never its turn.
const DAY: &str = r#"
name = "of web"
pause = "0s"
max-recovery = "100s"

[[step]]
drill = "task"
target = "web"

[[step]]
drill = "task"
target = "web"
max-recovery = "1ms"
no-probe = true

[[step]]
drill = "restart-daemon"
target = "node-2"
"#;

fn ends(day: &Value) -> Vec<&str> {
    let steps = day["steps"].as_array().unwrap().iter();
    steps.map(|step| step["end"].as_str().unwrap()).collect()
}

#[test]
fn a_game_day_stops_at_the_first_that_is_over_its_budget_and_is_told_as_one() {
    let cluster = Cluster::up(SKEP, 1, 1);
    web(&cluster, "2");
    let write = format!("cat > /tmp/day.toml <<'END'\n{DAY}END\n");
    cluster.run("node-1", &["sh", "-c", &write]);
    let before = pids(&cluster, "node-1", &["web"], 2);
    let plan = cluster.skep("node-1", &["drill", "game-day", "/tmp/day.toml", "--plan"]);
    for told in [
        "Step 1 of 3",
        "Step 3 of 3",
        "the daemon of node-2 starts again",
    ] {
        assert!(plan.contains(told), "no \"{told}\" in {plan}");
    }
    assert_eq!(
        pids(&cluster, "node-1", &["web"], 2),
        before,
        "it was only looked at"
    );
    let args = [
        "drill",
        "game-day",
        "/tmp/day.toml",
        "--output",
        "json",
        "--report",
        "/tmp/day.html",
    ];
    let ended = cluster.attempt("node-1", &args);
    assert_eq!(ended.code, 1, "{ended:?}\n{}", cluster.logs());
    let day: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(ends(&day), ["passed", "failed", "skipped"], "{day:#}");
    assert_eq!(day["verdict"], "failed");
    let page = cluster.run("node-1", &["cat", "/tmp/day.html"]).out;
    assert!(
        page.contains("Game day of web") && page.matches("<svg").count() == 2,
        "{page}"
    );
    let kept = cluster.list("node-1", &["drill", "ls"]);
    assert_eq!(kept.len(), 2, "each drill is kept: {kept:#?}");
    let odd = ["drill", "game-day", "/tmp/none.toml"];
    let odd = cluster.attempt("node-1", &odd);
    assert!(
        odd.code != 0 && odd.err.contains("/tmp/none.toml"),
        "{odd:?}"
    );
}
