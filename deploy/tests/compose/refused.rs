//! What is wrong is refused with file, line, column and the way out.

use crate::desk::{Desk, try_service, web};

#[test]
fn keys_that_nobody_knows() {
    for (lines, expected) in [
        (
            "enviroment: {}",
            "compose.yaml:4:5: services.web: unknown key \"enviroment\"; did you mean \"environment\"?",
        ),
        (
            "deploy: {replica: 1}",
            "compose.yaml:4:14: services.web.deploy: unknown key \"replica\"; did you mean \"replicas\"?",
        ),
        ("healthcheck: {intervall: 1s}", "did you mean \"interval\"?"),
        (
            "deploy:\n  resources:\n    limits: {mem: 1g}",
            "compose.yaml:6:18: services.web.deploy.resources.limits: unknown key \"mem\"",
        ),
        (
            "ports: [{target: 80, publish: 1}]",
            "did you mean \"published\"?",
        ),
        ("zzzzzz: 1", "unknown key \"zzzzzz\""),
    ] {
        refused(lines, expected);
    }
    let error = Desk::new("service: {}").project().unwrap_err();
    assert_eq!(
        error,
        "compose.yaml:1:1: unknown key \"service\"; did you mean \"services\"?"
    );
}

fn refused(lines: &str, expected: &str) {
    let error = try_service(lines).unwrap_err();
    assert!(
        error.contains(expected),
        "{lines}\nsays {error}\nand not {expected}"
    );
}

/// Lines of a service, and what is said about them.
const VALUES: &[(&str, &str)] = &[
    (
        "stop_grace_period: 10",
        "compose.yaml:4:24: services.web.stop_grace_period: \"10\" is not a duration",
    ),
    ("stop_grace_period: 1 minute", "is not a duration"),
    ("stop_signal: SIGNOT", "is not a signal"),
    (
        "deploy: {resources: {limits: {memory: 1x}}}",
        "compose.yaml:4:43: services.web.deploy.resources.limits.memory: \"1x\" is not a size",
    ),
    (
        "deploy: {resources: {limits: {cpus: many}}}",
        "is not a number of cores",
    ),
    (
        "deploy: {mode: globl}",
        "\"globl\" is none of replicated, global, replicated-job, global-job; did you mean \"global\"?",
    ),
    (
        "deploy: {mode: global, replicas: 2}",
        "one task on each node",
    ),
    ("deploy: {replicas: -1}", "is not a whole number"),
    (
        "deploy: {update_config: {max_failure_ratio: 2}}",
        "is not a share",
    ),
    (
        "deploy: {update_config: {order: start}}",
        "stop-first, start-first",
    ),
    (
        "deploy: {rollback_config: {failure_action: rollback}}",
        "cannot be rolled back",
    ),
    (
        "deploy: {placement: {constraints: [node.rolle==x]}}",
        "unknown key \"node.rolle\"",
    ),
    (
        "deploy: {placement: {preferences: [{spread: zone}]}}",
        "is not a key such as",
    ),
    (
        "deploy: {restart_policy: {condition: always}}",
        "none, on-failure, any",
    ),
    (
        "deploy: {endpoint_mode: dnsrr}\nports: ['80:80']",
        "mode: host",
    ),
    (
        "deploy: []",
        "services.web.deploy: expected a map, found a list",
    ),
    (
        "ports: ['99999:80']",
        "compose.yaml:4:13: services.web.ports: \"99999:80\" is no port",
    ),
    ("ports: ['80/icmp']", "\"icmp\" is none of tcp, udp"),
    ("ports: ['127.0.0.1:80:80']", "leave the address out"),
    ("ports: ['80-82:80']", "both ranges must be equally long"),
    ("ports: ['80:80', '80:81']", "port 80 is published twice"),
    ("ports: 80", "a list of ports"),
    ("ports: [{published: 80}]", "target is missing"),
    ("volumes: [data]", "must begin with /"),
    (
        "volumes: ['data:/data']",
        "compose.yaml:4:15: services.web.volumes: \"data\" is not defined under volumes",
    ),
    ("volumes: ['/a:/b:rx']", "unknown mode \"rx\""),
    ("volumes: ['/a:/b:ro:x']", "write SOURCE:TARGET"),
    (
        "volumes: [{type: npipe, target: /x}]",
        "bind, volume, tmpfs",
    ),
    ("volumes: [{type: bind, target: /x}]", "source is missing"),
    (
        "volumes: ['/a:/b', {type: tmpfs, target: /b}]\ntmpfs: /b",
        "mounted at /b",
    ),
    ("tmpfs: '/x:color=red'", "unknown option \"color=red\""),
    ("command: \"a 'b\"", "a quote that never ends"),
    ("command: {a: b}", "a text or a list of texts"),
    ("environment: [=x]", "expected NAME=VALUE"),
    ("environment: {A: [1]}", "services.web.environment.A"),
    (
        "env_file: gone.env",
        "compose.yaml:4:15: services.web.env_file: file /project/gone.env does not exist",
    ),
    ("healthcheck: {test: [curl, x]}", "begins with \"curl\""),
    ("healthcheck: {test: [CMD]}", "CMD before a program"),
    (
        "healthcheck: {disable: true, test: x}",
        "has a test as well",
    ),
    ("healthcheck: {interval: 5}", "is not a duration"),
    ("tty: maybe", "neither true nor false"),
    ("dns: [nine]", "is not an address"),
    ("extra_hosts: [host]", "NAME=ADDRESS"),
    ("extra_hosts: ['h:host-gateway']", "is not an address"),
    ("ulimits: {nofiles: 1}", "did you mean \"nofile\"?"),
    (
        "ulimits: {nofile: {soft: 3, hard: 2}}",
        "soft 3 is more than hard 2",
    ),
    (
        "security_opt: ['seccomp:profile.json']",
        "is not understood",
    ),
    ("devices: ['/dev/a:/dev/a:x']", "r, w and m"),
    ("cap_add: ['NET ADMIN']", "is not a capability"),
    ("oom_score_adj: 2000", "-1000 to 1000"),
    ("platform: linux", "OS/ARCH"),
    (
        "pull_policy: daily",
        "missing, if_not_present, always, never",
    ),
    ("restart: sometimes", "unless-stopped"),
    (
        "secrets: [gone]",
        "compose.yaml:4:15: services.web.secrets: \"gone\" is not defined under secrets",
    ),
    (
        "networks: [gone]",
        "services.web.networks: \"gone\" is not defined under networks",
    ),
    ("networks: {default: x}", "expected a map"),
    (
        "depends_on: [wep]",
        "there is no service \"wep\"; did you mean \"web\"?",
    ),
    (
        "depends_on: [web]",
        "services wait for each other: web → web",
    ),
    (
        "depends_on: {web: {condition: healthy}}",
        "wait for each other",
    ),
    ("logging: {options: {a: b}}", "options need a driver"),
    (
        "image: y",
        "\"image\" stands here twice, first at compose.yaml:3:5; remove one",
    ),
    ("labels: !odd {}", "unknown tag !odd"),
];

#[test]
fn values_that_cannot_be() {
    for (lines, expected) in VALUES {
        refused(lines, expected);
    }
}

#[test]
fn files_that_cannot_be() {
    let shared = |section: &str, lines: &str| {
        let uses = match section {
            "networks" => "networks: [s]".to_owned(),
            "volumes" => "volumes: ['s:/s']".to_owned(),
            other => format!("{other}: [s]"),
        };
        format!("{}{section}:\n  s: {lines}\n", web(&uses))
    };
    for (text, expected) in [
        (String::new(), "compose.yaml: the file is empty; it needs services"),
        ("a: [".into(), "compose.yaml:1:"),
        ("- a".into(), "expected a map"),
        ("services: {}".into(), "there are no services"),
        ("version: '1'\nservices: {a: {image: x}}".into(), "leave the line out"),
        ("services: {a: {build: .}}".into(), "services.a: image is missing"),
        ("services: {-a: {image: x}}".into(), "letters, digits"),
        ("services: {a: {image: x y}}".into(), "is not the name of an image"),
        ("services: {a: {image: 'x@sha256:1'}}".into(), "is not a digest"),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [c]}\n  c: {image: x, depends_on: [a]}".into(),
            "services wait for each other: a → b → c → a",
        ),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, profiles: [p]}".into(),
            "has a profile that is not asked for",
        ),
        ("services: {a: {extends: b}, b: {extends: a, image: x}}".into(), "services extend each other: a → b → a"),
        ("services: {a: {extends: bb, image: x}, b: {image: x}}".into(), "compose.yaml:1:16: extends: there is no service \"bb\" to extend; did you mean \"b\"?"),
        ("services: {a: {extends: {service: b, file: gone.yaml}}}".into(), "gone.yaml does not exist"),
        ("include: [gone.yaml]\nservices: {a: {image: x}}".into(), "gone.yaml does not exist"),
        ("include: [compose.yaml]\nservices: {a: {image: x}}".into(), "is there a cycle?"),
        ("a: &a [*a]".into(), "compose.yaml:1:8: this alias stands within its own anchor"),
        ("services: {a: {image: *gone}}".into(), "compose.yaml:1:23"),
        (shared("networks", "{driver: bridge}"), "the networks of a stack are overlays"),
        (shared("networks", "{driver_opts: {encrypted: 'true'}}"), "cannot encrypt"),
        (shared("networks", "{driver_opts: {odd: 1}}"), "unknown option \"odd\""),
        (shared("networks", "{ipam: {config: [{subnet: 10.1.2.3/24}]}}"), "did you mean 10.1.2.0/24?"),
        (shared("networks", "{ipam: {config: [{subnet: ten}]}}"), "is not a range"),
        (shared("networks", "{externl: true}"), "did you mean \"external\"?"),
        (shared("secrets", "{}"), "where its content comes from is missing"),
        (shared("secrets", "{file: gone}"), "secrets.s.file: /project/gone does not exist"),
        (shared("secrets", "{environment: GONE}"), "variable GONE is not set"),
        (shared("secrets", "{file: a, content: b}"), "its content comes from file already"),
        (shared("configs", "{external: true, file: a}"), "it is external"),
        (shared("configs", "{content: ''}"), "would be empty"),
        (shared("secrets", &format!("{{content: {}}}", "x".repeat(512_001))), "512001 bytes; it can have 512000"),
        (shared("volumes", "{drivr: x}"), "did you mean \"driver\"?"),
    ] {
        let error = Desk::new(&text).wanted().unwrap_err();
        assert!(error.contains(expected), "{text}\nsays {error}\nand not {expected}");
    }
}

#[test]
fn aliases_of_aliases_do_not_grow_without_bound() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let error = Desk::new(&text).project().unwrap_err();
    assert!(error.contains("aliases make more than"), "{error}");
}

#[test]
fn without_a_file_the_names_that_are_looked_for_are_told() {
    let mut desk = Desk::new("services: {a: {image: x}}");
    desk.named.clear();
    assert!(desk.project().is_ok(), "compose.yaml is found");
    desk.files.clear();
    let error = desk.project().unwrap_err();
    assert!(
        error.contains("compose.yaml, compose.yml") && error.contains("-c"),
        "{error}"
    );
}
