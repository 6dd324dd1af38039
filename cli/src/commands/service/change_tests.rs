use clap::Parser;
use skep_proto::spec::{FailureAction, Mode, UpdateOrder};

use super::*;
use crate::args::service::ServiceCommand;
use crate::args::{Cli, Command};

fn typed(words: &[&str]) -> UpdateArgs {
    let words = [&["skep", "service", "update", "web"], words].concat();
    match Cli::try_parse_from(words).unwrap().command {
        Command::Service(ServiceCommand::Update(args)) => *args,
        other => panic!("{other:?}"),
    }
}

fn spec() -> ServiceSpec {
    let mut task = TaskSpec::new(ContainerSpec::new("skep/hello"));
    task.container.env = vec!["A=1".into(), "B=2".into()];
    task.constraints = vec!["node.role==worker".parse().unwrap()];
    let mut spec = ServiceSpec::new("web", task);
    spec.labels = [("x".to_owned(), "y".to_owned())].into();
    spec.ports = vec![crate::args::read::port("8080:80").unwrap()];
    spec
}

fn after(words: &[&str]) -> ServiceSpec {
    changed(&spec(), &typed(words), Networks::default()).unwrap()
}

#[test]
fn what_is_not_typed_stays() {
    assert_eq!(after(&[]), spec());
}

#[test]
fn lists_are_added_to_and_taken_from() {
    let new = after(&["--env-add", "B=3", "--env-add", "C=4", "--env-rm", "A"]);
    assert_eq!(new.task.container.env, ["B=3", "C=4"]);
    let new = after(&["--label-rm", "x", "--label-add", "a=b"]);
    assert_eq!(new.labels, [("a".to_owned(), "b".to_owned())].into());
    let new = after(&["--publish-rm", "80", "--publish-add", "9090:90"]);
    assert_eq!(new.ports, [crate::args::read::port("9090:90").unwrap()]);
    let new = after(&["--publish-add", "8080:81"]);
    assert_eq!(new.ports, [crate::args::read::port("8080:81").unwrap()]);
    let new = after(&[
        "--constraint-rm",
        "node.role==worker",
        "--constraint-add",
        "node.hostname!=a",
    ]);
    let shown: Vec<String> = new
        .task
        .constraints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["node.hostname!=a"]);
}

#[test]
fn force_changes_a_number_and_an_image_is_looked_up_anew() {
    assert_eq!(after(&["--force"]).task.force, 1);
    let new = after(&["--image", "skep/hello:2"]);
    assert_eq!(new.task.container.image.name, "skep/hello:2");
    assert_eq!(new.task.container.image.digest, None);
}

#[test]
fn settings_of_the_update_are_set_one_by_one() {
    let new = after(&[
        "--update-order",
        "start-first",
        "--update-failure-action",
        "rollback",
        "--update-max-failure-ratio",
        "0.25",
        "--rollback-parallelism",
        "0",
    ]);
    assert_eq!(new.update.order, UpdateOrder::StartFirst);
    assert_eq!(new.update.failure_action, FailureAction::Rollback);
    assert_eq!(new.update.max_failure_millionths, 250_000);
    assert_eq!((new.update.parallelism, new.rollback.parallelism), (1, 0));
}

#[test]
fn a_limit_of_zero_is_no_limit() {
    let mut with = spec();
    with.task.limits.memory = Some(1 << 26);
    let new = changed(&with, &typed(&["--limit-memory", "0"]), Networks::default());
    assert_eq!(new.unwrap().task.limits.memory, None);
}

#[test]
fn a_terminal_and_the_log_driver_change_and_go_back() {
    let new = after(&["-t", "--log-driver", "local", "--log-opt", "max-size=1m"]);
    assert!(new.task.container.tty);
    let log = new.task.log.clone().unwrap();
    assert_eq!((&*log.name, &*log.options["max-size"]), ("local", "1m"));
    let again = |words: &[&str]| changed(&new, &typed(words), Networks::default()).unwrap();
    assert_eq!(again(&["--env-add", "A=2"]).task.log, Some(log));
    let log = again(&["--log-opt", "max-file=2"]).task.log.unwrap();
    assert_eq!((&*log.name, log.options.len()), ("local", 1));
    let back = again(&["--tty=false", "--log-driver", ""]).task;
    assert_eq!((back.container.tty, back.log), (false, None));
}

#[test]
fn places_are_added_to_and_taken_from() {
    let new = after(&[
        "--placement-pref-add",
        "spread=node.labels.zone",
        "--replicas-max-per-node",
        "2",
        "--generic-resource-add",
        "gpu=2",
        "--lost-after",
        "20s",
        "--endpoint-mode",
        "dnsrr",
    ]);
    assert_eq!(new.task.spread.len(), 1);
    assert_eq!(new.task.max_per_node, Some(2));
    assert_eq!(new.task.generic, [("gpu".to_owned(), 2)].into());
    assert_eq!(new.lost_after, Some(std::time::Duration::from_secs(20)));
    assert_eq!(new.endpoint, skep_proto::spec::EndpointMode::Dnsrr);
    let words = [
        "--placement-pref-rm",
        "spread=node.labels.zone",
        "--replicas-max-per-node",
        "0",
        "--generic-resource-rm",
        "gpu",
        "--lost-after",
        "0s",
        "--endpoint-mode",
        "vip",
    ];
    let back = changed(&new, &typed(&words), Networks::default()).unwrap();
    assert_eq!(back, spec());
}

#[test]
fn what_does_not_go_with_the_mode_is_refused() {
    let global = ServiceSpec {
        mode: Mode::Global,
        ..spec()
    };
    let error = changed(&global, &typed(&["--replicas", "3"]), Networks::default());
    assert!(error.unwrap_err().to_string().contains("it is global"));
    let error = changed(
        &spec(),
        &typed(&["--max-concurrent", "3"]),
        Networks::default(),
    );
    assert!(error.unwrap_err().to_string().contains("no replicated job"));
    let job = ServiceSpec {
        mode: Mode::ReplicatedJob {
            total: 4,
            max_concurrent: 4,
        },
        ..spec()
    };
    let words = ["--replicas", "6", "--max-concurrent", "2"];
    let new = changed(&job, &typed(&words), Networks::default()).unwrap();
    let wanted = Mode::ReplicatedJob {
        total: 6,
        max_concurrent: 2,
    };
    assert_eq!(new.mode, wanted);
}
