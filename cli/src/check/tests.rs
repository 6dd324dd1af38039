use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use nix::mount::{MsFlags, mount};
use rustix::thread::{CapabilitySet, CapabilitySets};
use skep_netd::names::Ns;
use skep_netd::nft::{Base, Edit, Expr, Family, Hook, Kind, Policy, Table};
use skep_netd::step::Step;
use skep_netd::{Kernel, LinuxKernel};
use skep_worker::exec::cgroup::Hierarchies;

use super::*;

fn states(findings: &[Finding]) -> Vec<(&str, State)> {
    findings
        .iter()
        .map(|it| (it.check.as_str(), it.state))
        .collect()
}

/// Every miss says what mends it, and nothing else does.
fn all_can_be_mended(findings: &[Finding]) {
    for it in findings {
        assert_eq!(it.mend.is_some(), it.state != State::Ok, "{it:?}");
        assert!(!it.found.is_empty(), "{it:?}");
    }
}

/// What is mounted and linked here now.
fn traces() -> (String, Vec<String>) {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let links = fs::read_dir("/sys/class/net").unwrap();
    let mut links: Vec<String> = links
        .map(|link| link.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("check"))
        .collect();
    links.sort();
    (mounts, links)
}

#[test]
fn a_machine_that_runs_containers_passes_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("not/yet/made");
    // A network of its own: no mount is made meanwhile by other tests, no link, no rule.
    let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let found = apart(flags, || {
        let (nowhere, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        mount(nowhere, "/", nowhere, private, nowhere)?;
        let before = traces();
        let mut found = calls::findings();
        found.push(overlay::finding(&missing, "overlay"));
        found.extend(network::findings());
        found.push(firewall::finding());
        found.extend(cgroups::findings());
        found.extend(machine::ports(&missing, 2377, 4789));
        assert_eq!(before, traces());
        Ok(found)
    });
    let found = found.unwrap();
    all_can_be_mended(&found);
    // The tests' own program knows nothing of the word it is called with.
    let bad: Vec<&Finding> = found
        .iter()
        .filter(|it| it.state == State::Missing && it.check != "user namespace")
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(found.len() > 20, "{found:#?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn without_rights_every_probe_of_the_network_says_so() {
    let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let refused = apart(flags, || {
        rustix::thread::set_capabilities(
            None,
            CapabilitySets {
                effective: CapabilitySet::empty(),
                permitted: CapabilitySet::empty(),
                inheritable: CapabilitySet::empty(),
            },
        )?;
        network::attempts()
    });
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));

    // Mounts are allowed, networks are not.
    let found = apart(flags, || {
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        Ok(calls::namespace("network", "NET_NS", Err(denied)))
    });
    let found = found.unwrap();
    assert_eq!(found.state, State::Missing);
    assert!(found.mend.unwrap().contains("root"));
    let full = io::Error::from_raw_os_error(libc::ENOSPC);
    let found = calls::namespace("network", "NET_NS", Err(full));
    assert_eq!(
        found.mend.unwrap(),
        "sysctl -w user.max_net_namespaces=10000"
    );
}

#[test]
fn a_device_that_is_there_already_is_a_miss_that_names_its_module() {
    let subject = ("veth", "CONFIG_VETH", "veth", "containers have no network");
    let tried = apart(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS, || {
        let directory = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kernel = LinuxKernel::open(directory.path()).map_err(io::Error::other)?;
        let step = Step::SetUp {
            name: "no-such".to_owned(),
        };
        Ok(runtime.block_on(kernel.run(&Ns::Host, vec![step])))
    });
    let found = network::finding(subject, tried.unwrap());
    assert_eq!(found.state, State::Missing);
    assert!(found.found.contains("no-such"), "{found:?}");
    assert_eq!(
        found.mend.unwrap(),
        "modprobe veth, or boot a kernel with CONFIG_VETH"
    );
}

#[test]
fn a_file_system_that_is_not_there_is_a_miss_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let found = overlay::finding(directory.path(), "skep-no-such-system");
    assert_eq!(found.state, State::Missing);
    assert_eq!(found.mend.unwrap(), "modprobe overlay");
    let left = directory.path().join(".skep-check-4194999/upper");
    fs::create_dir_all(&left).unwrap();
    assert_eq!(
        overlay::finding(directory.path(), "overlay").state,
        State::Ok
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    // Nothing can be written here.
    assert_eq!(
        overlay::finding("/proc/self".as_ref(), "overlay").state,
        State::Missing
    );
}

#[test]
fn calls_that_a_kernel_does_not_have_are_named() {
    let unknown = || io::Error::from_raw_os_error(libc::ENOSYS);
    let found = [
        calls::seccomp(Err(unknown())),
        calls::clone3(Err(unknown())),
        calls::clone3(Ok(false)),
        calls::user_namespace(OsStr::new("/bin/false")),
        calls::user_namespace(OsStr::new("/no/such/program")),
    ];
    all_can_be_mended(&found);
    let found: Vec<State> = found.iter().map(|it| it.state).collect();
    use State::{Degraded, Missing};
    assert_eq!(found, [Missing, Missing, Degraded, Degraded, Degraded]);
    assert!(kernel::clones_into_groups().unwrap());
}

#[test]
fn controllers_that_are_not_there_are_named() {
    let found = cgroups::of(&Hierarchies {
        unified: None,
        unified_controllers: vec!["cpu".into(), "pids".into(), "cpuset".into()],
        legacy: [("memory".to_owned(), "/no/such/cgroup".into())].into(),
    });
    all_can_be_mended(&found);
    assert_eq!(
        states(&found),
        [
            ("cgroups", State::Degraded),
            ("io controller", State::Degraded),
            ("groups in /no/such/cgroup", State::Missing),
        ]
    );
    let found = cgroups::of(&Hierarchies::default());
    let controllers: Vec<&str> = found
        .iter()
        .filter(|it| it.state == State::Missing)
        .map(|it| it.check.as_str())
        .collect();
    assert_eq!(
        controllers,
        ["memory controller", "cpu controller", "pids controller"]
    );
}

#[test]
fn ports_that_are_taken_are_misses() {
    let directory = tempfile::tempdir().unwrap();
    let any = Ipv4Addr::UNSPECIFIED;
    let tcp = TcpListener::bind((any, 0)).unwrap();
    let udp = UdpSocket::bind((any, 0)).unwrap();
    let (control, path) = (
        tcp.local_addr().unwrap().port(),
        udp.local_addr().unwrap().port(),
    );
    let found = machine::ports(directory.path(), control, path);
    all_can_be_mended(&found);
    assert!(
        found.iter().all(|it| it.state == State::Missing),
        "{found:?}"
    );
    assert!(found[0].mend.as_ref().unwrap().contains("--control-port"));
    assert!(found[1].mend.as_ref().unwrap().contains("ss -lnup"));

    let _lock = crate::daemon::lock::take(directory.path()).unwrap();
    let found = machine::ports(directory.path(), control, path);
    assert!(found.iter().all(|it| it.state == State::Ok), "{found:?}");
}

fn chain(name: &str, table: &str, policy: Policy, rule: Option<Vec<Expr>>) -> Vec<Edit> {
    let table = Table {
        family: Family::Ip,
        name: if table == "filter" { "filter" } else { "other" },
    };
    let mut edits = vec![
        Edit::AddTable(table),
        Edit::AddChain {
            table,
            name: name.to_owned(),
            base: Some(Base {
                kind: Kind::Filter,
                hook: Hook::Forward,
                priority: 0,
                policy,
            }),
        },
    ];
    edits.extend(rule.map(|rule| Edit::AddRule {
        table,
        chain: name.to_owned(),
        rule,
    }));
    edits
}

/// What is found in a network where these rules are.
fn forwarding(batches: Vec<Vec<Edit>>) -> Finding {
    let found = apart(CloneFlags::CLONE_NEWNET, || {
        let directory = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kernel = LinuxKernel::open(directory.path()).map_err(io::Error::other)?;
        let steps = batches.into_iter().map(Step::Rules).collect();
        runtime
            .block_on(kernel.run(&Ns::Host, steps))
            .map_err(io::Error::other)?;
        Ok(firewall::judge(firewall::read(), false))
    });
    found.unwrap()
}

#[test]
fn a_chain_that_drops_what_is_forwarded_is_found_in_the_kernel() {
    assert_eq!(forwarding(Vec::new()).state, State::Ok);
    let open = chain("FORWARD", "filter", Policy::Accept, None);
    assert_eq!(forwarding(vec![open]).state, State::Ok);

    let found = forwarding(vec![chain("FORWARD", "filter", Policy::Drop, None)]);
    assert_eq!(found.state, State::Missing);
    assert!(
        found.found.contains("chain FORWARD of table ip filter"),
        "{found:?}"
    );
    assert!(
        found
            .mend
            .unwrap()
            .starts_with("iptables -I FORWARD -i skep+")
    );

    let found = forwarding(vec![chain("gate", "other", Policy::Drop, None)]);
    assert!(
        found
            .mend
            .unwrap()
            .starts_with("nft insert rule ip other gate")
    );

    // A rule for interfaces that begin with skep, as the mend adds it.
    let ours = vec![
        Expr::Meta {
            what: skep_netd::nft::Meta::InterfaceIn,
            to: skep_netd::nft::Reg(0),
        },
        Expr::Compare {
            reg: skep_netd::nft::Reg(0),
            test: skep_netd::nft::Test::Equal,
            with: b"skep".to_vec(),
        },
        Expr::Accept,
    ];
    let found = forwarding(vec![chain("FORWARD", "filter", Policy::Drop, Some(ours))]);
    assert_eq!(found.state, State::Ok, "{found:?}");
}

#[test]
fn other_firewalls_are_known() {
    let rules = |table: &str, name: &str, drops| firewall::Rules {
        chains: vec![firewall::Chain {
            family: "inet",
            table: table.into(),
            name: name.into(),
            drops,
        }],
        ..Default::default()
    };
    let found = firewall::judge(Ok(rules("firewalld", "filter_FORWARD", false)), false);
    assert!(found.mend.unwrap().starts_with("firewall-cmd"));
    let mut docker = rules("filter", "FORWARD", true);
    docker.names.push(("filter".into(), "DOCKER-USER".into()));
    let found = firewall::judge(Ok(docker), false);
    assert!(found.mend.unwrap().contains("-I DOCKER-USER"));
    let found = firewall::judge(Ok(firewall::Rules::default()), true);
    assert_eq!(found.state, State::Degraded);
    let found = firewall::judge(Err(io::Error::from_raw_os_error(libc::EPERM)), false);
    assert_eq!(found.state, State::Degraded);
}

#[test]
fn what_a_machine_has_is_judged() {
    use State::{Degraded, Missing, Ok as Good};
    let gib = 1u64 << 30;
    let place = Path::new("/x");
    let named = |name: &str, mtu| vec![(name.to_owned(), mtu)];
    let found = [
        (machine::release_of("6.1.0-56-cloud-amd64"), Good),
        (machine::release_of("5.15.0-91-generic"), Degraded),
        (machine::release_of("4.19"), Degraded),
        (machine::capabilities(CapabilitySet::all()), Good),
        (
            machine::capabilities(CapabilitySet::all() - CapabilitySet::SYS_RESOURCE),
            Degraded,
        ),
        (
            machine::capabilities(CapabilitySet::all() - CapabilitySet::NET_ADMIN),
            Missing,
        ),
        (machine::clock_of(Ok(true)), Good),
        (machine::clock_of(Ok(false)), Degraded),
        (machine::mtu_of(&named("eth0", 1500)), Good),
        (
            machine::mtu_of(&[named("eth0", 9000), named("wg0", 1420)].concat()),
            Degraded,
        ),
        (machine::mtu_of(&[]), Missing),
        (machine::room_of(place, Ok((100 * gib, 1 << 20))), Good),
        (machine::room_of(place, Ok((100 * gib, 0))), Good),
        (machine::room_of(place, Ok((2 * gib, 1 << 20))), Degraded),
        (machine::room_of(place, Ok((gib / 2, 1 << 20))), Missing),
        (machine::room_of(place, Ok((100 * gib, 12))), Missing),
    ];
    for (it, state) in found {
        assert_eq!(it.state, state, "{it:?}");
        all_can_be_mended(&[it]);
    }
}

#[test]
fn only_what_is_missing_makes_it_fail() {
    let good = Finding::ok("a", "b");
    let less = Finding::degraded("c", "d", "e");
    let bad = Finding::missing("f", "g", "h");
    let same = |left: ExitCode, right: ExitCode| format!("{left:?}") == format!("{right:?}");
    assert!(same(code(&[good.clone(), less.clone()]), ExitCode::SUCCESS));
    assert!(same(code(&[good.clone(), bad.clone()]), ExitCode::FAILURE));
    assert!(to_mend(std::slice::from_ref(&good)).is_empty());
    assert_eq!(
        to_mend(&[good, less, bad]),
        ["", "c is degraded: e", "f is missing: h"]
    );
}
