//! What has to be done to get from what a cluster has to what files say.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use skep_deploy::stack::{Plan, Present, ServicePresent, plan};
use skep_proto::file::{File, FileId, FileKind, FileSpec};
use skep_proto::ids::{NetworkId, ServiceId};
use skep_proto::image::Digest;
use skep_proto::network::Network;
use skep_proto::spec::{Mode, ServiceSpec};

use crate::desk::Desk;

const FILES: &str = "services:\n  a: {image: x, networks: [n], depends_on: [b]}\n  b: {image: 'y:1'}\nnetworks: {n: {}}\n";

/// A cluster in which `text` was deployed, as a manager keeps it.
fn deployed(text: &str) -> Present {
    let wanted = Desk::new(text).wanted().unwrap();
    let mut present = Present::default();
    let mut plan = plan(&wanted, &present).unwrap();
    for (number, spec) in (1..).zip(plan.networks.clone()) {
        let id = NetworkId::new(number);
        plan.made(&spec.name, id);
        present.networks.push(Network {
            id,
            version: 1,
            created: Default::default(),
            subnet: "10.0.0.0/24".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            vni: 4096,
            last_given: Ipv4Addr::new(10, 0, 0, 1),
            spec,
        });
    }
    for (number, step) in (1..).zip(&plan.services) {
        let mut spec = plan.bind(&step.wanted, None).unwrap();
        spec.task.container.image.digest = Some(Digest([7; 32]));
        present.services.push(ServicePresent {
            id: ServiceId::new(number),
            version: 5,
            revision: 1,
            spec: Arc::new(spec),
        });
    }
    present
}

fn planned(text: &str, present: &Present) -> Plan {
    plan(&Desk::new(text).wanted().unwrap(), present).unwrap()
}

fn changed(plan: &Plan) -> Vec<(&str, bool)> {
    let steps = plan.services.iter().filter(|step| !step.same);
    steps
        .map(|step| (step.wanted.spec.name.as_str(), step.present.is_some()))
        .collect()
}

#[test]
fn on_an_empty_cluster_all_is_made_in_order() {
    let plan = planned(FILES, &Present::default());
    let networks: Vec<&str> = plan
        .networks
        .iter()
        .map(|spec| spec.name.as_str())
        .collect();
    assert_eq!(networks, ["shop_default", "shop_n"]);
    assert_eq!(changed(&plan), [("shop_b", false), ("shop_a", false)]);
    assert!(
        plan.bind(&plan.services[0].wanted, None).is_none(),
        "its network is not there yet"
    );
}

#[test]
fn the_same_files_again_change_nothing() {
    let present = deployed(FILES);
    let plan = planned(FILES, &present);
    assert!(
        plan.is_empty() && plan.left_over.is_empty(),
        "{:?}",
        changed(&plan)
    );
}

#[test]
fn only_what_differs_is_changed() {
    let present = deployed(FILES);
    for (from, to, expected) in [
        ("y:1", "y:2", "shop_b"),
        ("{image: x,", "{image: x, hostname: h,", "shop_a"),
        ("{image: x,", "{image: x, deploy: {replicas: 2},", "shop_a"),
        (
            "{image: x,",
            "{image: x, deploy: {labels: [a=b]},",
            "shop_a",
        ),
        ("networks: [n],", "networks: [n, default],", "shop_a"),
        ("networks: [n],", "networks: {n: {aliases: [m]}},", "shop_a"),
    ] {
        let plan = planned(&FILES.replace(from, to), &present);
        assert_eq!(changed(&plan), [(expected, true)], "{to}");
        let step = plan.services.iter().find(|step| !step.same).unwrap();
        let spec = plan.bind(&step.wanted, step.present.as_ref()).unwrap();
        let kept = spec.task.container.image.digest.is_some();
        assert_eq!(
            kept,
            to != "y:2",
            "a digest stays while the name does: {to}"
        );
    }
}

#[test]
fn what_was_forced_or_scaled_by_hand() {
    let mut present = deployed(FILES);
    let by_hand = |present: &mut Present, at: usize, change: &dyn Fn(&mut ServiceSpec)| {
        let mut spec = (*present.services[at].spec).clone();
        change(&mut spec);
        present.services[at].spec = Arc::new(spec);
    };
    by_hand(&mut present, 0, &|spec| spec.task.force = 3);
    assert!(planned(FILES, &present).is_empty(), "a forced update stays");
    by_hand(&mut present, 1, &|spec| {
        spec.mode = Mode::Replicated { replicas: 9 }
    });
    assert_eq!(
        changed(&planned(FILES, &present)),
        [("shop_a", true)],
        "the files say how many"
    );
}

#[test]
fn services_that_files_no_longer_name_are_left_over() {
    let present = deployed(FILES);
    let plan = planned("services: {b: {image: 'y:1'}}", &present);
    let names: Vec<&str> = plan
        .left_over
        .iter()
        .map(|left| left.spec.name.as_str())
        .collect();
    assert_eq!(names, ["shop_a"]);
    assert!(plan.is_empty());
}

#[test]
fn what_must_be_there_and_is_not_is_refused() {
    let refused = |text: &str, present: &Present| {
        let wanted = Desk::new(text).wanted().unwrap();
        plan(&wanted, present).unwrap_err().to_string()
    };
    let external = "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {external: true}}";
    let error = refused(external, &Present::default());
    assert_eq!(
        error,
        "compose.yaml:2:15: network \"n\" is external and does not exist; make it with: skep network create n"
    );
    let present = deployed(FILES);
    let other = FILES.replace("{n: {}}", "{n: {internal: true}}");
    assert!(refused(&other, &present).contains("internal is another"));
    let mut foreign = deployed(FILES);
    let mut spec = (*foreign.services[0].spec).clone();
    spec.labels = BTreeMap::new();
    foreign.services[0].spec = Arc::new(spec);
    assert!(refused(FILES, &foreign).contains("belongs to no stack"));
}

const FILED: &str = "services: {a: {image: x, secrets: [s], configs: [c]}}\nsecrets: {s: {content: one}}\nconfigs: {c: {content: two}}\n";

fn stored(kind: FileKind, number: u128, name: &str, stack: Option<&str>) -> File {
    let label = |stack: &str| ("com.docker.stack.namespace".to_owned(), stack.to_owned());
    File {
        id: FileId::new(kind, number),
        version: 1,
        created: Default::default(),
        updated: Default::default(),
        spec: FileSpec {
            name: name.to_owned(),
            labels: stack.map(label).into_iter().collect(),
        },
        revisions: Vec::new(),
    }
}

#[test]
fn secrets_and_configs_are_made_first_and_services_keep_the_revision_they_have() {
    let mut plan = planned(FILED, &Present::default());
    let names: Vec<_> = plan
        .files
        .iter()
        .map(|it| (it.kind, it.wanted.name.clone()))
        .collect();
    assert_eq!(
        names,
        [
            (FileKind::Secret, "shop_s".to_owned()),
            (FileKind::Config, "shop_c".to_owned())
        ]
    );
    let network = plan.networks[0].name.clone();
    plan.made(&network, NetworkId::new(1));
    let wanted = plan.services[0].wanted.clone();
    assert!(plan.bind(&wanted, None).is_none(), "they are not there yet");
    plan.kept("shop_s", FileId::new(FileKind::Secret, 5));
    plan.kept("shop_c", FileId::new(FileKind::Config, 5));
    let mut spec = plan.bind(&wanted, None).unwrap();
    assert_eq!(spec.task.container.secrets[0].revision, None);
    spec.task.container.secrets[0].revision = Some(7);
    let there = ServicePresent {
        id: ServiceId::new(1),
        version: 1,
        revision: 1,
        spec: Arc::new(spec.clone()),
    };
    assert_eq!(plan.bind(&wanted, Some(&there)), Some(spec));
}

#[test]
fn a_secret_of_that_name_must_be_the_stacks_own_or_external() {
    let with = |stack: Option<&str>| Present {
        files: vec![
            stored(FileKind::Secret, 1, "shop_s", stack),
            stored(FileKind::Config, 1, "shop_s", None),
            stored(FileKind::Config, 2, "shop_c", Some("shop")),
        ],
        ..Present::default()
    };
    let known = planned(FILED, &with(Some("shop")));
    assert!(known.files.iter().all(|it| it.present));
    let refused = |text: &str, present: &Present| {
        let wanted = Desk::new(text).wanted().unwrap();
        plan(&wanted, present).unwrap_err().to_string()
    };
    assert!(
        refused(FILED, &with(None)).contains("\"shop_s\" is there already and belongs to no stack")
    );
    let external = FILED.replace("{content: one}", "{external: true, name: key}");
    assert!(refused(&external, &with(None)).contains("skep secret create key FILE"));
}
