//! Every rule is seen to fail on a sample, and to pass on a neighbour of it.

use crate::rules::ALL;

fn wrong(path: &str, text: &str) -> Vec<String> {
    ALL.iter().flat_map(|rule| rule(path, text)).collect()
}

#[test]
fn what_follows_the_rules_passes() {
    let pure = "//! Decides. Pure.\n\n/// Not a HashMap.\nfn go() { let text = \"tokio\"; }\n";
    for (path, text) in [
        ("manager/src/plan/go.rs", pure),
        (
            "manager/src/leader.rs",
            "//! Waits.\nuse tokio::time::Instant;\n",
        ),
        (
            "cli/src/daemon.rs",
            "//! Runs.\nfn data_root() {}\nfn processor() {}\n",
        ),
        (
            "manager/src/raft/log.rs",
            "//! Logs.\nuse openraft::LogId;\n",
        ),
        (
            "worker/src/session.rs",
            "//! Talks.\nuse skep_proto::wire::Beat;\n",
        ),
        (
            "netd/Cargo.toml",
            "[dependencies]\nskep-proto = {}\n[lints]\nworkspace = true\n",
        ),
        (
            "worker/shim/src/kernel/fork.rs",
            "//! Forks.\nfn go() { unsafe { fork() } }\n",
        ),
    ] {
        assert_eq!(wrong(path, text), Vec::<String>::new(), "{path}");
    }
}

/// A path, a file's text, and what is said against it.
const WRONG: &[(&str, &str, &str)] = &[
    ("cli/src/a.rs", "fn go() {}\n", "does not open"),
    (
        "manager/src/plan/a.rs",
        "//! A.\nuse std::collections::HashMap;\n",
        "names HashMap",
    ),
    (
        "manager/src/plan/a.rs",
        "//! A.\nuse std::time::{Duration, Instant};\n",
        "names Instant",
    ),
    (
        "deploy/src/a.rs",
        "//! Decides. Pure.\nuse tokio::fs;\n",
        "names tokio",
    ),
    ("cli/src/util.rs", "//! A.\n", "its name"),
    ("cli/src/a.rs", "//! A.\nstruct NodeInfo;\n", "\"NodeInfo\""),
    (
        "cli/src/a.rs",
        "//! A.\nfn process_node() {}\n",
        "\"process_node\"",
    ),
    (
        "cli/src/a.rs",
        "//! A.\npub(crate) fn task_handle() {}\n",
        "\"task_handle\"",
    ),
    (
        "netd/src/a.rs",
        "//! A.\nuse skep_proto::wire::Beat;\n",
        "outside a door",
    ),
    (
        "manager/src/dispatch/assign.rs",
        "//! A.\nuse skep_proto::wire::B;\n",
        "outside a door",
    ),
    (
        "manager/src/a.rs",
        "//! A.\nuse skep_worker::step;\n",
        "knows worker",
    ),
    (
        "worker/Cargo.toml",
        "skep-manager = {}\n[lints]\nworkspace = true\n",
        "knows manager",
    ),
    (
        "manager/src/leader.rs",
        "//! A.\nuse openraft::Raft;\n",
        "openraft",
    ),
    ("netd/Cargo.toml", "[dependencies]\n", "lints"),
    (
        "cli/src/a.rs",
        "//! A.\n#[allow(dead_code)]\nfn a() {}\n",
        "hides",
    ),
    (
        "tests/a.rs",
        "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n",
        "hides",
    ),
    (
        "cli/src/a.rs",
        "//! A.\nfn a() { unsafe { b() } }\n",
        "unsafe outside",
    ),
];

#[test]
fn what_breaks_a_rule_is_named() {
    for (path, text, says) in WRONG {
        let found = wrong(path, text);
        let named = found.iter().any(|what| what.contains(says));
        assert!(named, "{path} {text:?}: {found:?}");
    }
}

#[test]
fn a_long_file_is_named() {
    let long = format!("//! Long.\n{}", "\n".repeat(500));
    assert!(wrong("cli/src/a.rs", &long)[0].contains("501 lines"));
}
