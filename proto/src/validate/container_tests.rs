//! What is refused, and that the refusal names field and way out.

use std::time::Duration;

use super::*;

fn refused(change: impl FnOnce(&mut ContainerSpec), field: &str, words: &str) {
    let mut spec = ContainerSpec::new("app");
    change(&mut spec);
    let error = check(&spec).unwrap_err();
    assert_eq!(error.field, field, "{error}");
    assert!(error.reason.contains(words), "{error}");
}

fn accepted(change: impl FnOnce(&mut ContainerSpec)) {
    let mut spec = ContainerSpec::new("app");
    change(&mut spec);
    assert_eq!(check(&spec), Ok(()));
}

fn limit(name: &str, soft: i64, hard: i64) -> Ulimit {
    Ulimit {
        name: name.into(),
        soft,
        hard,
    }
}

fn device_with(source: &str, permissions: &str) -> Device {
    Device {
        source: source.into(),
        target: "/dev/x".into(),
        permissions: permissions.into(),
    }
}

#[test]
fn who_and_where_it_runs() {
    refused(|spec| spec.user = Some(String::new()), "--user", "UID");
    refused(|spec| spec.user = Some("a b".into()), "--user", "UID");
    refused(|spec| spec.groups = vec!["a:b".into()], "--group", "a:b");
    refused(
        |spec| spec.workdir = Some("srv".into()),
        "--workdir",
        "must begin with /",
    );
    refused(
        |spec| spec.workdir = Some("/a/../b".into()),
        "--workdir",
        "..",
    );
    refused(
        |spec| spec.hostname = Some("a b".into()),
        "--hostname",
        "a b",
    );
    refused(
        |spec| spec.hostname = Some("x".repeat(65)),
        "--hostname",
        "64",
    );
    accepted(|spec| {
        spec.user = Some("web:www".into());
        spec.groups = vec!["log".into(), "7".into()];
        spec.workdir = Some("/srv".into());
        spec.hostname = Some("web-1.example".into());
    });
}

#[test]
fn names_of_the_kernel() {
    refused(
        |spec| spec.privileges.cap_add = vec!["NET_ADMINN".into()],
        "--cap-add",
        "NET_ADMIN,",
    );
    refused(
        |spec| spec.privileges.cap_drop = vec![String::new()],
        "--cap-drop",
        "ALL",
    );
    refused(
        |spec| spec.sysctls = [("vm.swappiness".into(), "1".into())].into(),
        "--sysctl",
        "whole node",
    );
    refused(
        |spec| spec.sysctls = [("net.../x".into(), "1".into())].into(),
        "--sysctl",
        "net.",
    );
    refused(
        |spec| spec.ulimits = vec![limit("files", 1, 1)],
        "--ulimit",
        "nofile",
    );
    refused(
        |spec| spec.ulimits = vec![limit("nofile", 9, 8)],
        "--ulimit",
        "above",
    );
    refused(
        |spec| spec.ulimits = vec![limit("nofile", -1, 8)],
        "--ulimit",
        "above",
    );
    refused(
        |spec| spec.ulimits = vec![limit("nofile", -2, 8)],
        "--ulimit",
        "-1",
    );
    refused(
        |spec| spec.ulimits = vec![limit("core", 1, 1), limit("core", 1, 1)],
        "--ulimit",
        "twice",
    );
    refused(|spec| spec.oom_score_adj = 1001, "--oom-score-adj", "1000");
    refused(|spec| spec.shm_size = Some(0), "--shm-size", "64m");
    accepted(|spec| {
        spec.privileges.cap_add = vec!["cap_net_admin".into(), "ALL".into()];
        spec.sysctls = [
            ("net.core.somaxconn".into(), "9".into()),
            ("kernel.sem".into(), "1 2 3 4".into()),
        ]
        .into();
        spec.ulimits = vec![limit("nofile", 8, -1), limit("core", -1, -1)];
    });
}

#[test]
fn devices_and_resolver() {
    refused(
        |spec| spec.privileges.devices = vec![device_with("dev/x", "r")],
        "--device",
        "dev/x",
    );
    refused(
        |spec| spec.privileges.devices = vec![device_with("/dev/x", "rx")],
        "--device",
        "letters",
    );
    refused(
        |spec| spec.privileges.devices = vec![device_with("/dev/x", "")],
        "--device",
        "letters",
    );
    let nowhere = "0.0.0.0".parse().unwrap();
    refused(|spec| spec.dns.servers = vec![nowhere], "--dns", "address");
    refused(
        |spec| spec.dns.search = vec!["a b".into()],
        "--dns-search",
        "a b",
    );
    refused(
        |spec| spec.dns.options = vec![String::new()],
        "--dns-option",
        "ndots",
    );
    refused(
        |spec| spec.hosts = vec![(String::new(), nowhere)],
        "--host",
        "NAME:ADDRESS",
    );
    accepted(|spec| spec.privileges.devices = vec![device_with("/dev/null", "rwm")]);
}

#[test]
fn health_checks_make_sense() {
    let with = |check: HealthCheck| move |spec: &mut ContainerSpec| spec.health = Some(check);
    let test = |test| HealthCheck {
        test: Some(test),
        ..HealthCheck::default()
    };
    refused(
        with(test(HealthTest::Shell(" ".into()))),
        "--health-cmd",
        "empty",
    );
    refused(
        with(test(HealthTest::Command(Vec::new()))),
        "--health-cmd",
        "command",
    );
    let both = HealthCheck {
        retries: Some(2),
        ..test(HealthTest::None)
    };
    refused(with(both), "--no-healthcheck", "no other option");
    let never = HealthCheck {
        interval: Some(Duration::ZERO),
        ..HealthCheck::default()
    };
    refused(with(never), "--health-interval", "1ms");
    let none = HealthCheck {
        retries: Some(0),
        ..HealthCheck::default()
    };
    refused(with(none), "--health-retries", "1");
    accepted(with(test(HealthTest::None)));
    accepted(with(test(HealthTest::Shell("true".into()))));
}
