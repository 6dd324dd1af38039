//! What each key of a service becomes.

use std::time::Duration;

use skep_deploy::stack::{Condition, NAMESPACE};
use skep_proto::spec::{
    EndpointMode, FailureAction, HealthTest, Mode, MountSource, Propagation, Protocol, PublishMode,
    PullPolicy, RestartCondition, Seccomp, ServiceSpec, UpdateOrder,
};

use crate::desk::{Desk, service, web};

fn spec(lines: &str) -> ServiceSpec {
    service(lines).spec
}

/// `lines` must make a container whose debug form holds each of `expected`.
fn container(lines: &str, expected: &[&str]) {
    let shown = format!("{:?}", spec(lines).task.container);
    for text in expected {
        assert!(shown.contains(text), "{lines}\nmakes no {text}:\n{shown}");
    }
}

#[test]
fn names_and_labels_are_those_of_a_stack() {
    let spec = spec("labels: [a=b, c]\ndeploy: {labels: {d: 1}}");
    assert_eq!(spec.name, "shop_web");
    assert_eq!(spec.labels[NAMESPACE], "shop");
    assert_eq!(spec.labels["com.docker.stack.image"], "nginx");
    assert_eq!(spec.labels["d"], "1");
    let labels = &spec.task.container.labels;
    assert_eq!(
        (
            labels["a"].as_str(),
            labels["c"].as_str(),
            labels[NAMESPACE].as_str()
        ),
        ("b", "", "shop")
    );
}

#[test]
fn a_command_is_a_list_or_words_of_a_shell() {
    container(
        r#"command: sh -c "echo 'a b' && true""#,
        &[r#"args: ["sh", "-c", "echo 'a b' && true"]"#],
    );
    container("command: [a, 'b c']", &[r#"args: ["a", "b c"]"#]);
    container(
        "entrypoint: /run --x=1",
        &[r#"entrypoint: ["/run", "--x=1"]"#],
    );
    container(
        "entrypoint: [/run]\ncommand: []",
        &[r#"entrypoint: ["/run"], args: []"#],
    );
}

#[test]
fn an_environment_is_a_map_or_a_list() {
    container(
        "environment:\n  B: true\n  A: 1.10\n  C: ''\n  D: 0444",
        &[r#"env: ["A=1.10", "B=true", "C=", "D=0444"]"#],
    );
    container("environment: [A=x=y, B=]", &[r#"env: ["A=x=y", "B="]"#]);
    let wanted = Desk::new(&web("environment: [GIVEN, ABSENT]"))
        .variable("GIVEN", "here")
        .wanted()
        .unwrap();
    assert_eq!(wanted.services[0].spec.task.container.env, ["GIVEN=here"]);
}

#[test]
fn files_of_variables_come_before_the_environment() {
    let desk = Desk::new(&web(
        "env_file: [one.env, {path: gone.env, required: false}, {path: raw.env, format: raw}]\nenvironment: {C: own}",
    ))
    .file("one.env", "# all\nexport A=1 # one\nB='$A'\nC=\"x\\ny ${A}\"\nD: 4\n")
    .file("raw.env", "E='$A'\n");
    let env = desk
        .wanted()
        .unwrap()
        .services
        .remove(0)
        .spec
        .task
        .container
        .env;
    assert_eq!(env, ["A=1", "B=$A", "C=own", "D=4", "E='$A'"]);
}

#[test]
fn what_a_container_is_told() {
    for (lines, expected) in [
        ("hostname: box", r#"hostname: Some("box")"#),
        ("user: '1000:1000'", r#"user: Some("1000:1000")"#),
        ("user: 22:22", r#"user: Some("22:22")"#),
        ("group_add: [audio, 44]", r#"groups: ["audio", "44"]"#),
        ("working_dir: /srv", r#"workdir: Some("/srv")"#),
        ("tty: true", "tty: true"),
        ("read_only: yes", "read_only: true"),
        ("init: true", "init: true"),
        ("stop_signal: SIGUSR1", "stop_signal: Some(10)"),
        ("stop_grace_period: 1m30s", "stop_grace: 90s"),
        ("pull_policy: always", "pull: Always"),
        (
            "extra_hosts: ['a:10.0.0.1', 'b=::1']",
            r#"hosts: [("a", 10.0.0.1), ("b", ::1)]"#,
        ),
        (
            "extra_hosts: {a: [10.0.0.1, 10.0.0.2]}",
            r#"hosts: [("a", 10.0.0.1), ("a", 10.0.0.2)]"#,
        ),
        ("dns: 9.9.9.9", "servers: [9.9.9.9]"),
        ("dns_search: [a, b]", r#"search: ["a", "b"]"#),
        ("dns_opt: ['ndots:2']", r#"options: ["ndots:2"]"#),
        (
            "cap_add: [NET_ADMIN, cap_sys_time]",
            r#"cap_add: ["NET_ADMIN", "SYS_TIME"]"#,
        ),
        ("cap_drop: [ALL]", r#"cap_drop: ["ALL"]"#),
        ("privileged: true", "privileged: true"),
        (
            "security_opt: ['no-new-privileges:true']",
            "no_new_privileges: true",
        ),
        (
            "devices: ['/dev/fuse', '/dev/a:/dev/b:r']",
            r#"Device { source: "/dev/a", target: "/dev/b", permissions: "r" }"#,
        ),
        (
            "sysctls: [net.core.somaxconn=1024]",
            r#"sysctls: {"net.core.somaxconn": "1024"}"#,
        ),
        (
            "ulimits: {nproc: 65, nofile: {soft: 1, hard: 2}}",
            r#"Ulimit { name: "nofile", soft: 1, hard: 2 }"#,
        ),
        (
            "ulimits: {nproc: 65}",
            r#"Ulimit { name: "nproc", soft: 65, hard: 65 }"#,
        ),
        ("oom_score_adj: -500", "oom_score_adj: -500"),
        ("shm_size: 128m", "shm_size: Some(134217728)"),
    ] {
        container(lines, &[expected]);
    }
    let spec = spec("security_opt: ['seccomp:unconfined', 'apparmor:unconfined']");
    assert_eq!(spec.task.container.privileges.seccomp, Seccomp::Unconfined);
    assert_eq!(spec.task.container.pull, PullPolicy::Missing);
}

#[test]
fn a_digest_stays_with_its_image() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let text = format!("services: {{a: {{image: 'reg:5000/x:1@{digest}'}}}}");
    let wanted = Desk::new(&text).wanted().unwrap();
    let image = &wanted.services[0].spec.task.container.image;
    assert_eq!(image.name, "reg:5000/x:1");
    assert_eq!(image.digest.unwrap().to_string(), digest);
}

#[test]
fn health_checks() {
    let health = |lines: &str| spec(lines).task.container.health;
    let check = health(
        "healthcheck:\n  test: curl -f http://x || exit 1\n  interval: 10s\n  timeout: 1s500ms\n  retries: 5\n  start_period: 1m\n  start_interval: 2s",
    )
    .unwrap();
    assert_eq!(
        check.test,
        Some(HealthTest::Shell("curl -f http://x || exit 1".into()))
    );
    assert_eq!(check.interval, Some(Duration::from_secs(10)));
    assert_eq!(check.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(
        (check.retries, check.start_period),
        (Some(5), Some(Duration::from_secs(60)))
    );
    assert_eq!(check.start_interval, Some(Duration::from_secs(2)));
    for (test, expected) in [
        (
            "[CMD, a, b]",
            HealthTest::Command(vec!["a".into(), "b".into()]),
        ),
        ("[CMD-SHELL, a b]", HealthTest::Shell("a b".into())),
        ("[NONE]", HealthTest::None),
    ] {
        let check = health(&format!("healthcheck: {{test: {test}}}")).unwrap();
        assert_eq!(check.test, Some(expected), "{test}");
    }
    let off = health("healthcheck: {disable: true}").unwrap();
    assert_eq!(off.test, Some(HealthTest::None));
}

#[test]
fn ports_in_both_forms() {
    let ports = spec(
        "ports:\n  - 80\n  - '8080:81/udp'\n  - '9000-9001:90-91'\n  - {target: 443, published: '8443', mode: host}",
    )
    .ports;
    let shown: Vec<_> = ports
        .iter()
        .map(|port| (port.published, port.target, port.protocol, port.mode))
        .collect();
    let (tcp, ingress) = (Protocol::Tcp, PublishMode::Ingress);
    assert_eq!(
        shown,
        [
            (None, 80, tcp, ingress),
            (Some(8080), 81, Protocol::Udp, ingress),
            (Some(9000), 90, tcp, ingress),
            (Some(9001), 91, tcp, ingress),
            (Some(8443), 443, tcp, PublishMode::Host),
        ]
    );
}

#[test]
fn volumes_in_both_forms() {
    let text = "services:\n  web:\n    image: nginx\n    volumes:\n      - /anonymous\n      - kept:/kept:ro,nocopy\n      - ./here:/here\n      - /etc/x:/x:rslave\n      - {type: bind, source: ../up, target: /up, read_only: true, bind: {propagation: shared, recursive: disabled}}\n      - {type: volume, source: own, target: /own, volume: {subpath: in, labels: {l: m}}}\n      - {type: tmpfs, target: /mem, tmpfs: {size: 16m, mode: 0700}}\n    tmpfs: /run:size=1m,mode=755\nvolumes:\n  kept: {labels: {k: v}, driver_opts: {type: nfs}}\n  own: {external: true}\n";
    let wanted = Desk::new(text).wanted().unwrap();
    let mounts = &wanted.services[0].spec.task.container.mounts;
    let at = |target: &str| mounts.iter().find(|mount| mount.target == target).unwrap();
    let MountSource::Volume(anonymous) = &at("/anonymous").source else {
        panic!()
    };
    assert_eq!(anonymous.name, None);
    let MountSource::Volume(kept) = &at("/kept").source else {
        panic!()
    };
    assert_eq!(
        (kept.name.as_deref(), kept.no_copy),
        (Some("shop_kept"), true)
    );
    assert_eq!(
        (kept.labels["k"].as_str(), kept.labels[NAMESPACE].as_str()),
        ("v", "shop")
    );
    assert_eq!(kept.options["type"], "nfs");
    assert!(at("/kept").read_only && !at("/here").read_only);
    let MountSource::Bind {
        path, recursive, ..
    } = &at("/here").source
    else {
        panic!()
    };
    assert_eq!((path.as_str(), *recursive), ("/project/here", true));
    let MountSource::Bind { propagation, .. } = &at("/x").source else {
        panic!()
    };
    assert_eq!(*propagation, Propagation::Rslave);
    let MountSource::Bind {
        path,
        propagation,
        recursive,
    } = &at("/up").source
    else {
        panic!()
    };
    assert_eq!(
        (path.as_str(), *propagation, *recursive),
        ("/up", Propagation::Shared, false)
    );
    let MountSource::Volume(own) = &at("/own").source else {
        panic!()
    };
    assert_eq!(
        (own.name.as_deref(), own.subpath.as_deref()),
        (Some("own"), Some("in"))
    );
    assert_eq!(
        own.labels.len(),
        1,
        "what is not ours gets no label of ours"
    );
    assert_eq!(
        at("/mem").source,
        MountSource::Tmpfs {
            size: Some(16 << 20),
            mode: 0o700
        }
    );
    assert_eq!(
        at("/run").source,
        MountSource::Tmpfs {
            size: Some(1 << 20),
            mode: 0o755
        }
    );
}

#[test]
fn modes_and_numbers() {
    for (lines, mode) in [
        ("", Mode::Replicated { replicas: 1 }),
        ("scale: 4", Mode::Replicated { replicas: 4 }),
        ("deploy: {replicas: 3}", Mode::Replicated { replicas: 3 }),
        ("deploy: {mode: global}", Mode::Global),
        ("deploy: {mode: global-job}", Mode::GlobalJob),
        (
            "deploy: {mode: replicated-job, replicas: 5}",
            Mode::ReplicatedJob {
                total: 5,
                max_concurrent: 5,
            },
        ),
    ] {
        assert_eq!(spec(lines).mode, mode, "{lines}");
    }
}

#[test]
fn updates_and_rollbacks() {
    let spec = spec(
        "deploy:\n  update_config: {parallelism: 2, delay: 10s, failure_action: rollback, monitor: 1m, max_failure_ratio: 0.25, order: start-first}\n  rollback_config: {parallelism: 0, failure_action: continue}\n  endpoint_mode: dnsrr",
    );
    assert_eq!(
        (spec.update.parallelism, spec.update.delay),
        (2, Duration::from_secs(10))
    );
    assert_eq!(spec.update.failure_action, FailureAction::Rollback);
    assert_eq!(spec.update.monitor, Duration::from_secs(60));
    assert_eq!(spec.update.max_failure_millionths, 250_000);
    assert_eq!(spec.update.order, UpdateOrder::StartFirst);
    assert_eq!(
        (spec.rollback.parallelism, spec.rollback.failure_action),
        (0, FailureAction::Continue)
    );
    assert_eq!(spec.endpoint, EndpointMode::Dnsrr);
}

#[test]
fn restarts_resources_and_placement() {
    let task = spec(
        "deploy:\n  restart_policy: {condition: on-failure, delay: 1s, max_attempts: 3, window: 2m}\n  resources:\n    limits: {cpus: '0.50', memory: 50M, pids: 10}\n    reservations: {cpus: 0.25, memory: 20M, generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]}\n  placement: {constraints: [node.role==worker, 'node.labels.disk != ssd'], preferences: [{spread: node.labels.zone}], max_replicas_per_node: 2}",
    )
    .task;
    assert_eq!(task.restart.condition, RestartCondition::OnFailure);
    assert_eq!(task.restart.max_attempts, Some(3));
    assert_eq!(task.restart.window, Duration::from_secs(120));
    assert_eq!(
        (task.limits.nano_cpus, task.limits.memory),
        (Some(500_000_000), Some(50 << 20))
    );
    assert_eq!(task.limits.pids, Some(10));
    assert_eq!(
        (task.reservations.nano_cpus, task.reservations.memory),
        (250_000_000, 20 << 20)
    );
    assert_eq!(task.generic["gpu"], 2);
    assert_eq!(task.constraints[1].to_string(), "node.labels.disk!=ssd");
    assert_eq!(task.spread[0].to_string(), "node.labels.zone");
    assert_eq!(task.max_per_node, Some(2));
}

#[test]
fn older_names_hold_where_deploy_is_silent() {
    let task = spec(
        "cpus: 1.5\nmem_limit: 1g\nmem_reservation: 64m\npids_limit: 5\nrestart: on-failure:2",
    )
    .task;
    assert_eq!(
        (task.limits.nano_cpus, task.limits.memory),
        (Some(1_500_000_000), Some(1 << 30))
    );
    assert_eq!(
        (task.reservations.memory, task.limits.pids),
        (64 << 20, Some(5))
    );
    assert_eq!(task.restart.condition, RestartCondition::OnFailure);
    assert_eq!(task.restart.max_attempts, Some(2));
    for (word, condition) in [
        ("'no'", RestartCondition::None),
        ("always", RestartCondition::Any),
        ("unless-stopped", RestartCondition::Any),
    ] {
        assert_eq!(
            spec(&format!("restart: {word}")).task.restart.condition,
            condition
        );
    }
    let task = spec("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}").task;
    assert_eq!(task.limits.memory, Some(2 << 30));
}

#[test]
fn logs_and_platforms() {
    let task = spec("logging: {driver: json-file, options: {max-size: 10m, max-file: 3}}\nplatform: linux/arm64").task;
    let log = task.log.unwrap();
    assert_eq!(
        (log.name.as_str(), log.options["max-file"].as_str()),
        ("json-file", "3")
    );
    assert_eq!(task.platforms[0].arch, "arm64");
}

#[test]
fn services_stand_behind_what_they_wait_for() {
    let text = "services:\n  a: {image: x, depends_on: {c: {condition: service_healthy}, d: {condition: service_completed_successfully}}}\n  b: {image: x, depends_on: [a]}\n  c: {image: x}\n  d: {image: x, deploy: {mode: replicated-job}}\n";
    let wanted = Desk::new(text).wanted().unwrap();
    let names: Vec<&str> = wanted
        .services
        .iter()
        .map(|service| service.spec.name.as_str())
        .collect();
    assert_eq!(names, ["shop_c", "shop_d", "shop_a", "shop_b"]);
    let conditions: Vec<Condition> = wanted.services[2]
        .after
        .iter()
        .map(|after| after.condition)
        .collect();
    assert_eq!(conditions, [Condition::Healthy, Condition::Completed]);
}
