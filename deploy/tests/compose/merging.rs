//! Several files, includes, extensions, profiles, and what `config` prints.

use crate::desk::Desk;

fn config(base: &str, over: &str) -> String {
    Desk::new(base).over("over.yaml", over).config()
}

/// The lines of the service `a` that begin with one of `keys`, and what is below them.
fn check(base: &str, over: &str, expected: &str) {
    let text = config(
        &format!("services:\n  a:\n    image: x\n{}", indent(base)),
        &format!("services:\n  a:\n{}", indent(over)),
    );
    let wanted = indent(expected);
    assert!(
        text.contains(&wanted),
        "{base}\n+\n{over}\nmakes\n{text}\nand not\n{wanted}"
    );
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Lines of a service, lines of the same in a later file, and what comes of both.
const MERGES: &[(&str, &str, &str)] = &[
    ("hostname: a", "hostname: b", "hostname: b"),
    ("command: a b", "command: [c]", "command:\n  - c\n"),
    (
        "entrypoint: [a]",
        "entrypoint: [b, c]",
        "entrypoint:\n  - b\n  - c",
    ),
    (
        "healthcheck: {test: [CMD, a], retries: 3}",
        "healthcheck: {test: b}",
        "healthcheck:\n  retries: 3\n  test:\n    - CMD-SHELL\n    - b",
    ),
    (
        "environment: [A=1, B=1]",
        "environment: {B: 2, C: 3}",
        "environment:\n  A: \"1\"\n  B: \"2\"\n  C: \"3\"",
    ),
    (
        "labels: {a: 1}",
        "labels: [b=2]",
        "labels:\n  a: \"1\"\n  b: \"2\"",
    ),
    (
        "dns: 1.1.1.1",
        "dns: [9.9.9.9, 1.1.1.1]",
        "dns:\n  - \"1.1.1.1\"\n  - \"9.9.9.9\"",
    ),
    (
        "ports: ['80:80', '81:81']",
        "ports: ['80:80', '82:82']",
        "ports:\n  - mode: ingress\n    protocol: tcp\n    published: \"80\"\n    target: 80\n  - mode: ingress\n    protocol: tcp\n    published: \"81\"\n    target: 81\n  - mode: ingress\n    protocol: tcp\n    published: \"82\"\n    target: 82",
    ),
    (
        "volumes: ['/a:/data', '/b:/b']",
        "volumes: ['/c:/data:ro']",
        "volumes:\n  - read_only: true\n    source: /c\n    target: /data\n    type: bind\n  - source: /b\n    target: /b\n    type: bind",
    ),
    (
        "logging: {driver: local, options: {a: 1}}",
        "logging: {driver: none}",
        "logging:\n  driver: none",
    ),
    (
        "deploy: {replicas: 1, placement: {constraints: [node.role==worker]}}",
        "deploy: {replicas: 2, placement: {constraints: [node.id!=x]}}",
        "deploy:\n  placement:\n    constraints:\n      - node.role==worker\n      - \"node.id!=x\"\n  replicas: 2",
    ),
    (
        "networks: [default]",
        "networks: {default: {aliases: [b]}}",
        "networks:\n  default:\n    aliases:\n      - b",
    ),
    (
        "dns: [1.1.1.1]",
        "dns: !override [9.9.9.9]",
        "dns:\n  - \"9.9.9.9\"\n",
    ),
    (
        "environment: {A: 1, B: 2}",
        "environment: {A: !reset null}",
        "environment:\n  B: \"2\"",
    ),
];

#[test]
fn a_later_file_goes_over_an_earlier_one() {
    for (base, over, expected) in MERGES {
        check(base, over, expected);
    }
    let text = config(
        "services: {a: {image: x, ports: ['80:80'], command: a}}",
        "services: {a: {ports: !reset [], command: !reset null}}",
    );
    assert!(
        !text.contains("ports") && !text.contains("command"),
        "{text}"
    );
}

#[test]
fn a_service_extends_another_one() {
    let desk = Desk::new(
        "services:\n  a: {extends: {service: base, file: lib/base.yaml}, environment: {B: 2}}\n  b: {extends: a, hostname: b}\n",
    )
    .file(
        "lib/base.yaml",
        "services:\n  base: {extends: root, image: x, environment: {A: 1, B: 1}, volumes: ['./d:/d']}\n  root: {init: true}\n",
    );
    let text = desk.config();
    assert_eq!(
        text,
        "services:\n  a:\n    environment:\n      A: \"1\"\n      B: \"2\"\n    image: x\n    init: true\n    networks:\n      default: {}\n    volumes:\n      - source: /project/lib/d\n        target: /d\n        type: bind\n  b:\n    environment:\n      A: \"1\"\n      B: \"2\"\n    hostname: b\n    image: x\n    init: true\n    networks:\n      default: {}\n    volumes:\n      - source: /project/lib/d\n        target: /d\n        type: bind\nnetworks:\n  default: {}\n"
    );
}

#[test]
fn files_are_included_with_their_own_directory_and_variables() {
    let desk = Desk::new("include: [db/compose.yaml, {path: more.yaml}]\nservices: {a: {image: x, depends_on: [db]}}")
        .file("db/compose.yaml", "services: {db: {image: 'pg:$V', volumes: ['./d:/d']}}")
        .file("db/.env", "V=16\n")
        .file("more.yaml", "services: {c: {image: y}}");
    let text = desk.config();
    assert!(
        text.contains("image: pg:16") && text.contains("/project/db/d"),
        "{text}"
    );
    assert!(text.contains("image: y"), "{text}");
    let twice = Desk::new("include: [one.yaml]\nservices: {a: {image: x}}")
        .file("one.yaml", "services: {a: {image: other}}");
    let error = twice.project().unwrap_err();
    assert!(
        error.contains("services.a: an included file defines it too, at"),
        "{error}"
    );
}

#[test]
fn profiles_choose_services() {
    let text = "services:\n  a: {image: x}\n  b: {image: x, profiles: [debug]}\n  c: {image: x, profiles: [other], depends_on: {b: {condition: service_started, required: false}}}\n";
    let names = |desk: Desk| {
        let wanted = desk.wanted().unwrap();
        let names = wanted.services.into_iter().map(|service| service.spec.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(Desk::new(text)), ["shop_a"]);
    assert_eq!(
        names(Desk::new(text).profile("debug")),
        ["shop_a", "shop_b"]
    );
    assert_eq!(
        names(Desk::new(text).variable("COMPOSE_PROFILES", "other, x")),
        ["shop_a", "shop_c"]
    );
    assert_eq!(names(Desk::new(text).profile("*")).len(), 3);
}

#[test]
fn documents_of_one_file_are_merged() {
    let text = Desk::new("services: {a: {image: x}}\n---\nservices: {a: {hostname: h}}\n").config();
    assert!(text.contains("hostname: h") && text.contains("image: x"));
}

#[test]
fn config_keeps_what_yaml_would_take_for_something_else() {
    let text = Desk::new(
        "services:\n  a:\n    image: x\n    command: ['true', '1', 22:22, 'a: b', ' lead', '', '#x', '- y', \"tab\\t\", 'q\"', 'null', '$$HOME', \"two\\nlines\", 'ä', '*', '1e3', '0x1f']\n",
    )
    .config();
    assert!(
        text.contains("- \"true\"\n") && text.contains("- \"22:22\"\n"),
        "{text}"
    );
    assert!(
        text.contains("- $$HOME\n") && text.contains("- \"null\"\n"),
        "{text}"
    );
}
