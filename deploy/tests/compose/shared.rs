//! Networks, secrets and configs.

use skep_deploy::stack::NAMESPACE;

use crate::desk::{Desk, service};

#[test]
fn a_service_without_networks_is_on_the_stack_s_own() {
    let wanted = Desk::new("services: {a: {image: x}}").wanted().unwrap();
    assert_eq!(wanted.networks.len(), 1);
    assert_eq!(wanted.networks[0].spec.name, "shop_default");
    assert_eq!(wanted.networks[0].spec.labels[NAMESPACE], "shop");
    assert_eq!(
        wanted.services[0].networks,
        [("shop_default".to_owned(), vec!["a".to_owned()])]
    );
}

#[test]
fn networks_keep_what_is_said_of_them() {
    let text = "services:\n  a:\n    image: x\n    networks:\n      back: {aliases: [db, a]}\n      front: {priority: 10}\n      old:\nnetworks:\n  back:\n    internal: true\n    attachable: true\n    driver: overlay\n    driver_opts: {com.docker.network.driver.mtu: 1400}\n    ipam: {config: [{subnet: 10.9.0.0/24, gateway: 10.9.0.254}]}\n    labels: [k=v]\n  front: {name: edge}\n  old: {external: true}\n  unused: {}\n";
    let wanted = Desk::new(text).wanted().unwrap();
    let shown: Vec<_> = wanted
        .networks
        .iter()
        .map(|it| (it.spec.name.as_str(), it.external))
        .collect();
    assert_eq!(
        shown,
        [("shop_back", false), ("edge", false), ("old", true)]
    );
    let back = &wanted.networks[0].spec;
    assert!(back.internal && back.attachable);
    assert_eq!((back.mtu, back.labels["k"].as_str()), (Some(1400), "v"));
    assert_eq!(back.subnet.unwrap().to_string(), "10.9.0.0/24");
    assert_eq!(back.gateway.unwrap().to_string(), "10.9.0.254");
    let used: Vec<&str> = wanted.services[0]
        .networks
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        used,
        ["edge", "old", "shop_back"],
        "the greatest priority first"
    );
    assert_eq!(wanted.services[0].networks[2].1, ["a", "db"]);
}

#[test]
fn secrets_and_configs_carry_their_content() {
    let text = "services:\n  a:\n    image: x\n    secrets:\n      - cert\n      - {source: key, target: /etc/key, uid: '103', gid: '104', mode: 0440}\n    configs: [site, {source: conf, target: app.conf, mode: '0400'}]\nsecrets:\n  cert: {file: ./cert.pem}\n  key: {environment: KEY, name: the-key}\nconfigs:\n  site: {external: true}\n  conf: {content: \"port=${PORT}\\n\"}\n";
    let wanted = Desk::new(text)
        .file("cert.pem", "PEM")
        .variable("KEY", "secret")
        .variable("PORT", "80")
        .wanted()
        .unwrap();
    let content = |at: usize| wanted.secrets[at].content.clone().unwrap();
    assert_eq!(
        (wanted.secrets[0].name.as_str(), content(0)),
        ("shop_cert", b"PEM".to_vec())
    );
    assert_eq!(
        (wanted.secrets[1].name.as_str(), content(1)),
        ("the-key", b"secret".to_vec())
    );
    assert_eq!(
        wanted.configs[0].content.as_deref(),
        Some(&b"port=80\n"[..])
    );
    assert_eq!(
        (wanted.configs[1].name.as_str(), &wanted.configs[1].content),
        ("site", &None)
    );
    let service = &wanted.services[0];
    let secret = |at: usize| {
        (
            service.secrets[at].id.as_str(),
            service.secrets[at].target.as_str(),
            service.secrets[at].mode,
        )
    };
    assert_eq!(secret(0), ("the-key", "/etc/key", 0o440));
    assert_eq!(secret(1), ("shop_cert", "/run/secrets/cert", 0o444));
    assert_eq!((service.secrets[0].uid, service.secrets[0].gid), (103, 104));
    let config = |at: usize| {
        (
            service.configs[at].target.as_str(),
            service.configs[at].mode,
        )
    };
    assert_eq!(
        (config(0), config(1)),
        (("/app.conf", 0o400), ("/site", 0o444))
    );
    assert!(
        !format!("{wanted:?}").contains("PEM"),
        "a secret is never shown"
    );
}

#[test]
fn a_mode_is_octal_however_it_is_written() {
    for mode in ["0440", "440", "'0440'", "0o440"] {
        let text = format!(
            "services: {{a: {{image: x, secrets: [{{source: s, mode: {mode}}}]}}}}\nsecrets: {{s: {{external: true}}}}"
        );
        let wanted = Desk::new(&text).wanted().unwrap();
        assert_eq!(wanted.services[0].secrets[0].mode, 0o440, "{mode}");
    }
}

#[test]
fn an_external_name_may_stand_below_it() {
    let text = "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {external: {name: other}}}";
    let wanted = Desk::new(text).wanted().unwrap();
    assert_eq!(
        (
            wanted.networks[0].spec.name.as_str(),
            wanted.networks[0].external
        ),
        ("other", true)
    );
}

#[test]
fn anchors_merge_keys_and_extensions_are_known() {
    let text = "x-logs: &logs\n  driver: local\n  options: {max-size: 1m}\nx-more: &more {tty: true, init: true}\nservices:\n  a:\n    <<: [*more, {read_only: true, tty: false}]\n    image: x\n    init: false\n    logging: *logs\n    x-own: 1\n  b: {image: x, logging: {<<: *logs, driver: none}}\n";
    let wanted = Desk::new(text).wanted().unwrap();
    let container = &wanted.services[0].spec.task.container;
    assert!(container.tty && container.read_only && !container.init);
    let driver = |at: usize| wanted.services[at].spec.task.log.clone().unwrap().name;
    assert_eq!((driver(0), driver(1)), ("local".into(), "none".into()));
}

#[test]
fn what_does_not_apply_is_named_in_one_warning() {
    let text = "services:\n  a:\n    image: x\n    build: .\n    container_name: c\n    expose: [80]\n    networks: {n: {ipv4_address: 10.0.0.9}}\n  b: {image: x, links: [a]}\nnetworks: {n: {enable_ipv6: true}}\n";
    let project = Desk::new(text).project().unwrap();
    assert_eq!(
        project.warnings,
        [
            "these keys do not apply to a cluster and are ignored: networks.n.enable_ipv6, services.a.build, \
          services.a.container_name, services.a.expose, services.a.networks.n.ipv4_address, services.b.links"
        ]
    );
    assert!(service("").spec.task.container.args.is_empty());
}
