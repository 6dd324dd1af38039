//! The defaults are Docker's, and what is asked for is in the bundle.

use super::*;

fn plan() -> ContainerPlan {
    ContainerPlan {
        id: "one".into(),
        root: RootSource::Directory("/rootfs".into()),
        args: vec!["true".into()],
        hostname: "one".into(),
        ..ContainerPlan::default()
    }
}

#[test]
fn nothing_asked_is_dockers_default() {
    let Bundle { spec, .. } = plan().bundle();
    let process = spec.process().clone().unwrap();
    let capabilities = process.capabilities().clone().unwrap();
    assert_eq!(capabilities.bounding().as_ref().map(HashSet::len), Some(14));
    assert_eq!(capabilities.effective(), capabilities.bounding());
    assert_eq!(capabilities.inheritable(), &None);
    let linux = spec.linux().clone().unwrap();
    assert!(
        linux
            .masked_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/kcore".to_owned())
    );
    assert!(
        linux
            .readonly_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/sys".to_owned())
    );
    assert_eq!(linux.namespaces().as_ref().map(Vec::len), Some(6));
    assert!(linux.seccomp().is_some());
    let targets: Vec<_> = spec
        .mounts()
        .iter()
        .flatten()
        .map(|mount| mount.destination())
        .collect();
    assert_eq!(targets.len(), 7);
    assert!(!spec.root().as_ref().unwrap().readonly().unwrap());
}

#[test]
fn limits_and_reservations_are_what_the_kernel_counts_in() {
    let mut plan = plan();
    plan.limits = Resources {
        memory_bytes: Some(64 << 20),
        nano_cpus: Some(1_500_000_000),
        pids: Some(9),
    };
    plan.reservations = Resources {
        nano_cpus: Some(500_000_000),
        ..Resources::default()
    };
    let linux = plan.bundle().spec.linux().clone().unwrap();
    let resources = linux.resources().clone().unwrap();
    assert_eq!(resources.memory().unwrap().limit(), Some(64 << 20));
    let cpu = resources.cpu().clone().unwrap();
    assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
    assert_eq!(cpu.shares(), Some(512));
    assert_eq!(resources.pids().unwrap().limit(), 9);
}

#[test]
fn hosts_network_keeps_its_parameters() {
    let mut plan = plan();
    plan.network = Network::Host;
    let linux = plan.bundle().spec.linux().clone().unwrap();
    assert_eq!(linux.sysctl().as_ref().map(HashMap::len), Some(0));
    assert_eq!(linux.namespaces().as_ref().map(Vec::len), Some(5));
}

#[test]
fn a_bundle_is_an_oci_config() {
    let bundle = plan().bundle();
    let text = serde_json::to_string(&bundle.spec).unwrap();
    let again: Spec = serde_json::from_str(&text).unwrap();
    assert_eq!(again, bundle.spec);
    assert!(text.contains(r#""ociVersion":"1.0.2""#), "{text}");
}
