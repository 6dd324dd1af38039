//! Files in the shape of the Compose Specification's own examples, our five, and whatever else can be written.

use std::path::Path;

use proptest::prelude::*;
use skep_deploy::stack::{Project, Request, Surroundings, convert};

use crate::desk::Desk;

/// Stacks in the shape of those that the specification shows.
const SPECIFICATION: [&str; 4] = [
    // A front end, a back end, a network between, a volume, a secret and a config.
    "services:\n  frontend:\n    image: example/webapp\n    ports:\n      - \"443:8043\"\n    networks:\n      - front-tier\n      - back-tier\n    configs:\n      - httpd-config\n    secrets:\n      - server-certificate\n\n  backend:\n    image: example/database\n    volumes:\n      - db-data:/etc/data\n    networks:\n      - back-tier\n\nvolumes:\n  db-data:\n    driver: flocker\n    driver_opts:\n      size: \"10GiB\"\n\nconfigs:\n  httpd-config:\n    external: true\n\nsecrets:\n  server-certificate:\n    external: true\n\nnetworks:\n  front-tier: {}\n  back-tier: {}\n",
    // Dependencies with conditions.
    "services:\n  web:\n    build: .\n    image: example/web\n    depends_on:\n      db:\n        condition: service_healthy\n        restart: true\n      redis:\n        condition: service_started\n  redis:\n    image: redis\n  db:\n    image: postgres\n    healthcheck:\n      test: [\"CMD-SHELL\", \"pg_isready\"]\n      interval: 10s\n",
    // Deployment.
    "services:\n  frontend:\n    image: example/webapp\n    ports:\n      - \"8080:80\"\n    deploy:\n      mode: replicated\n      replicas: 2\n      endpoint_mode: vip\n      placement:\n        constraints:\n          - node.labels.disktype==ssd\n        preferences:\n          - spread: node.labels.zone\n      resources:\n        limits:\n          cpus: '0.50'\n          memory: 50M\n          pids: 1\n        reservations:\n          cpus: '0.25'\n          memory: 20M\n      restart_policy:\n        condition: on-failure\n        delay: 5s\n        max_attempts: 3\n        window: 120s\n      update_config:\n        parallelism: 2\n        delay: 10s\n        order: stop-first\n      rollback_config:\n        parallelism: 0\n        failure_action: pause\n",
    // Fragments, extensions, merge keys.
    "x-env: &default-environment\n  FOO: BAR\n  ZOT: QUIX\nx-keys: &keys\n  KEY: VALUE\nx-function:\n  - &function\n    labels:\n      function: \"true\"\n    image: openfaas/of-function:latest\nservices:\n  first:\n    <<: *function\n    environment: *default-environment\n  second:\n    <<: *function\n    environment:\n      <<: [*keys, *default-environment]\n      YET_ANOTHER: VARIABLE\n",
];

#[test]
fn the_specification_s_examples_are_read() {
    for text in SPECIFICATION {
        let desk = Desk::new(text);
        desk.wanted().unwrap();
        desk.config();
    }
}

#[test]
fn our_examples_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.join("compose.yaml").exists() {
            continue;
        }
        let around = Surroundings {
            read: &|path| std::fs::read(path),
            variables: Default::default(),
            directory,
        };
        let project = Project::load(&Request::default(), &around).unwrap();
        let wanted = convert("example", &project, &around).unwrap();
        assert!(!wanted.services.is_empty());
        assert_eq!(project.warnings, Vec::<String>::new());
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// A text of characters that YAML, the shell or a variable gives a meaning to.
fn odd_text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "a", "0", "1", " ", ":", "#", "-", "'", "\"", "\\", "$$", "{", "}", "[", "]", ",", "&",
            "*", "!", "|", ">", "%", "@", "`", "\n", "\t", "ä", "true", "null", "~", "=", ".", "/",
            "\u{7f}", "\u{2028}",
        ]),
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn config_of_config_is_the_same(
        texts in prop::collection::vec(odd_text(), 1..6),
        replicas in 0u32..50,
        port in 1u16..,
    ) {
        let quoted: Vec<String> = texts
            .iter()
            .map(|text| serde_json::to_string(text).unwrap().replace('\u{7f}', "\\x7f"))
            .collect();
        let labels: Vec<String> = quoted
            .iter()
            .enumerate()
            .map(|(number, text)| format!("      k{number}: {text}\n"))
            .collect();
        let desk = Desk::new(&format!(
            "services:\n  a:\n    image: x\n    command: [{}]\n    ports: [{port}]\n    deploy: {{replicas: {replicas}}}\n    labels:\n{}",
            quoted.join(", "),
            labels.concat()
        ));
        desk.config();
        let wanted = desk.wanted().unwrap();
        let expected: Vec<String> = texts.iter().map(|text| text.replace("$$", "$")).collect();
        prop_assert_eq!(&wanted.services[0].spec.task.container.args, &expected);
    }

    #[test]
    fn nothing_that_can_be_written_breaks_the_reader(text in "[a-z:{}\\[\\]&*!#'\"$ \n|>-]{0,80}") {
        // Refused or read, it comes back.
        drop(Desk::new(&text).wanted());
    }
}
