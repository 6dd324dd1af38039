//! What a bundle turns into, and what is refused.

use super::*;
use crate::exec::bundle::{ContainerPlan, Network};
use crate::exec::cgroup::{Cgroups, Hierarchies};
use oci_spec::runtime::LinuxNamespace;

fn bundle() -> Bundle {
    let plan = ContainerPlan {
        id: "one".into(),
        root: RootSource::Directory("/rootfs".into()),
        args: vec!["sh".into(), "-c".into()],
        env: vec!["PATH=/a:/b".into()],
        ..ContainerPlan::default()
    };
    plan.bundle()
}

fn build_it(bundle: &Bundle) -> Result<LaunchPlan, PlanError> {
    let directory = tempfile::tempdir().unwrap();
    let hierarchies = Hierarchies {
        unified: Some(directory.path().to_owned()),
        ..Hierarchies::default()
    };
    let groups = Cgroups::with(hierarchies, Path::new("skep")).unwrap();
    let group = groups
        .make("one", &crate::exec::cgroup::Limits::default())
        .unwrap();
    let place = Place::new(Path::new("/exec"), Path::new("/state"), "one");
    let around = Surroundings {
        place: &place,
        group: &group,
        supervisor_files: Vec::new(),
        visible_hierarchies: &[],
        filter: Filter::default(),
    };
    build(bundle, around)
}

#[test]
fn default_capabilities_are_dockers_mask() {
    let plan = build_it(&bundle()).unwrap();
    let sets = plan.program.capabilities;
    assert_eq!((sets.bounding, sets.effective), (0xa804_25fb, 0xa804_25fb));
    assert_eq!((sets.inheritable, sets.ambient), (0, 0));
}

#[test]
fn commands_are_looked_for_as_a_shell_would() {
    let env = ["PATH=/old".to_owned(), "PATH=/a::/b".to_owned()];
    assert_eq!(candidates("sh", &env), ["/a/sh", "./sh", "/b/sh"]);
    assert_eq!(candidates("./sh", &env), ["./sh"]);
    assert_eq!(candidates("sh", &[]).last().unwrap(), "/bin/sh");
}

#[test]
fn masks_come_after_what_they_mask() {
    let steps = build_it(&bundle()).unwrap().steps;
    let at = |wanted: &str| {
        let found = steps
            .iter()
            .position(|step| step.describe().contains(wanted));
        found.unwrap_or_else(|| panic!("no {wanted}"))
    };
    assert!(at("mount proc on /proc") < at("/proc/sys/net/ipv4/ip_unprivileged_port_start"));
    assert!(at("ip_unprivileged_port_start") < at("make /proc/sys read-only"));
    assert!(at("mount proc on /proc") < at("mask /proc/kcore"));
}

#[test]
fn only_the_containers_own_parameters_are_written() {
    let check = |name: &str, network: Network, allowed: bool| {
        let plan = ContainerPlan {
            id: "one".into(),
            args: vec!["sh".into()],
            sysctls: [(name.to_owned(), "1".to_owned())].into(),
            network,
            ..ContainerPlan::default()
        };
        let found = build_it(&plan.bundle());
        assert_eq!(found.is_ok(), allowed, "{name}: {found:?}");
    };
    check("net.core.somaxconn", Network::New, true);
    check("net.core.somaxconn", Network::Host, false);
    check("kernel.shmmax", Network::Host, true);
    check("kernel.panic", Network::New, false);
    check("net/../kernel.panic", Network::New, false);
}

#[test]
fn what_is_not_offered_is_refused_with_its_name() {
    let mut bundle = bundle();
    let mut linux = bundle.spec.linux().clone().unwrap();
    let mut user = LinuxNamespace::default();
    user.set_typ(LinuxNamespaceType::User);
    let mut list = linux.namespaces().clone().unwrap();
    list.push(user);
    linux.set_namespaces(Some(list));
    bundle.spec.set_linux(Some(linux));
    let error = build_it(&bundle).unwrap_err();
    assert!(
        matches!(&error, PlanError::Unsupported(what) if what.contains("user")),
        "{error}"
    );
}

#[test]
fn layers_with_odd_names_are_refused() {
    let layers = RootSource::Overlay {
        lower: vec!["/layers/a:b".into()],
        upper: "/upper".into(),
        work: "/work".into(),
    };
    assert!(matches!(
        root(&layers, Path::new("/at")),
        Err(PlanError::Unsupported(_))
    ));
}
