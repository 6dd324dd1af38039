//! The lab for real, as root: this binary is the tests, the lab's own program, the stand-in for the
//! daemon, and the `up` that is killed half way.
//!
//! It has a `main` of its own because all of those begin before a test could. Arguments that are no
//! option are parts of test names; without any, all run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that does not use the test harness"
)]

#[path = "lab/leftovers.rs"]
mod leftovers;
#[path = "lab/stand_in.rs"]
mod stand_in;
#[path = "lab/whole.rs"]
mod whole;

use std::panic::catch_unwind;
use std::process::ExitCode;

const TESTS: [(&str, fn()); 9] = [
    (
        "nodes_have_names_addresses_and_processes_of_their_own",
        whole::nodes_are_apart,
    ),
    (
        "nodes_hear_each_other_until_one_is_cut",
        whole::a_cut_is_silence,
    ),
    (
        "a_killed_node_comes_back_with_its_store",
        whole::a_killed_node_comes_back,
    ),
    (
        "a_killed_daemon_takes_nothing_else_along",
        whole::a_killed_daemon_is_alone,
    ),
    (
        "a_node_sees_only_its_own_cgroups",
        whole::cgroups_begin_at_the_node,
    ),
    (
        "a_command_in_a_node_ends_as_it_should",
        whole::commands_end_as_they_should,
    ),
    (
        "two_labs_stand_side_by_side_and_leave_nothing",
        leftovers::two_labs_leave_nothing,
    ),
    (
        "an_up_that_was_killed_is_named_and_cleaned",
        leftovers::an_interrupted_up_is_cleaned,
    ),
    (
        "a_wrong_request_changes_nothing",
        leftovers::wrong_requests_change_nothing,
    ),
];

fn main() -> ExitCode {
    if let Some(code) = skep_deploy::lab::entry() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("daemon") => return stand_in::daemon(&args),
        Some("interrupted-up") => return leftovers::interrupted_up(&args),
        _ => {}
    }
    let parts: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in TESTS {
        if parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str())) {
            let word = if catch_unwind(test).is_ok() {
                "ok"
            } else {
                "FAILED"
            };
            failed += usize::from(word != "ok");
            println!("test lab::{name} ... {word}");
        }
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
