//! Version 2 against a directory tree, and whatever this machine has for real.

use super::devices::{MKNOD, READ, WRITE};
use super::*;
use std::process::Command;

const HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory
";

#[test]
fn layouts_are_told_apart() {
    let hybrid = Hierarchies::parse(HYBRID);
    assert_eq!(hybrid.layout(), Layout::Hybrid);
    assert_eq!(
        hybrid.legacy["cpuacct"],
        Path::new("/sys/fs/cgroup/cpu,cpuacct")
    );
    assert!(hybrid.legacy.contains_key("name=systemd"));
    let unified = Hierarchies::parse("25 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    assert_eq!(unified.layout(), Layout::Unified);
    let without: String = HYBRID
        .lines()
        .filter(|line| !line.contains("cgroup2"))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(Hierarchies::parse(&without).layout(), Layout::Legacy);
}

/// A version 2 tree of plain files.
fn unified(directory: &Path) -> Cgroups {
    let controllers = ["memory", "cpu", "pids", "cpuset"]
        .map(str::to_owned)
        .into();
    let hierarchies = Hierarchies {
        unified: Some(directory.to_owned()),
        unified_controllers: controllers,
        ..Hierarchies::default()
    };
    Cgroups::with(hierarchies, Path::new("skep")).unwrap()
}

#[test]
fn version_2_gets_its_own_files() {
    let directory = tempfile::tempdir().unwrap();
    let groups = unified(directory.path());
    let place = directory.path().join("skep/one");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("memory.swap.max"), "max").unwrap();
    let limits = Limits {
        memory_bytes: Some(1 << 20),
        memory_reservation: Some(1 << 19),
        cpu_quota: Some(50_000),
        cpu_shares: Some(1024),
        pids: Some(7),
        cpus: Some("0".into()),
        ..Limits::default()
    };
    let group = groups.make("one", &limits).unwrap();
    let check = |file: &str, expected: &str| {
        assert_eq!(
            std::fs::read_to_string(place.join(file)).unwrap(),
            expected,
            "{file}"
        );
    };
    check("memory.max", "1048576");
    check("memory.low", "524288");
    check("memory.swap.max", "0");
    check("cpu.max", "50000 100000");
    check("cpu.weight", "39");
    check("pids.max", "7");
    check("cpuset.cpus", "0");
    std::fs::write(place.join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
    std::fs::write(place.join("cpu.stat"), "usage_usec 1500\nuser_usec 1000\n").unwrap();
    std::fs::write(place.join("memory.current"), "4096\n").unwrap();
    let stats = group.stats();
    assert_eq!((stats.oom_kills, stats.memory_bytes), (2, 4096));
    assert_eq!(stats.cpu, Duration::from_micros(1500));
    group.set_frozen(true).unwrap();
    check("cgroup.freeze", "1");
    let plan = group.plan();
    assert!(plan.tasks.is_empty() && plan.oom.unwrap().ends_with("memory.events"));
    assert!(
        plan.unified
            .unwrap()
            .to_string_lossy()
            .ends_with("skep/one")
    );
}

#[test]
fn a_limit_without_its_controller_is_refused() {
    let legacy = [("cpu".to_owned(), tempfile::tempdir().unwrap().keep())].into();
    let hierarchies = Hierarchies {
        legacy,
        ..Hierarchies::default()
    };
    let root = hierarchies.legacy["cpu"].clone();
    let groups = Cgroups::with(hierarchies, Path::new("skep")).unwrap();
    let limits = Limits {
        pids: Some(1),
        ..Limits::default()
    };
    assert!(matches!(
        groups.make("one", &limits),
        Err(CgroupError::Missing("pids"))
    ));
    assert!(!root.join("skep/one").exists(), "what was made is removed");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn supervisors_leave_only_what_would_take_them_along() {
    let groups = Cgroups {
        hierarchies: Hierarchies::parse(HYBRID),
        parent: "skep".into(),
    };
    let files = groups.supervisor_files("4:memory:/\n1:name=systemd:/system.slice/skep\n0::/x\n");
    assert_eq!(
        files,
        [
            Path::new("/sys/fs/cgroup/systemd/skep/_supervisors/tasks"),
            Path::new("/sys/fs/cgroup/unified/skep/_supervisors/cgroup.procs"),
        ]
    );
    assert_eq!(
        groups.supervisor_files("4:memory:/\n0::/\n"),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn device_rules_are_written_as_version_1_reads_them() {
    let rule = |allow, kind, major, minor, access| {
        DeviceRule {
            allow,
            kind,
            major,
            minor,
            access,
        }
        .legacy()
    };
    let all = READ | WRITE | MKNOD;
    assert_eq!(
        rule(false, Kind::All, None, None, all),
        ("devices.deny", "a".into())
    );
    let null = rule(true, Kind::Character, Some(1), Some(3), all);
    assert_eq!(null, ("devices.allow", "c 1:3 rwm".into()));
    let any = rule(true, Kind::Block, None, None, MKNOD);
    assert_eq!(any, ("devices.allow", "b *:* m".into()));
}

/// A parent group that goes with the test.
struct Real {
    groups: Cgroups,
    parent: PathBuf,
}

impl Real {
    fn new(name: &str) -> Self {
        let parent = PathBuf::from(format!("skep-test-cgroup-{}-{name}", std::process::id()));
        Self {
            groups: Cgroups::open(&parent).unwrap(),
            parent,
        }
    }
}

impl Drop for Real {
    /// The kernel lets go of a group a moment after its last process.
    fn drop(&mut self) {
        let hierarchies = &self.groups.hierarchies;
        let roots = hierarchies
            .legacy
            .values()
            .chain(hierarchies.unified.as_ref());
        let parents: Vec<_> = roots.map(|root| root.join(&self.parent)).collect();
        let until = Instant::now() + Duration::from_secs(20);
        while parents.iter().any(|parent| parent.exists()) && Instant::now() < until {
            for parent in &parents {
                let _ = std::fs::remove_dir(parent.join(SUPERVISORS));
                let _ = std::fs::remove_dir(parent);
            }
            std::thread::yield_now();
        }
    }
}

/// A shell that enters the groups, runs a script and says how it went.
fn inside(group: &Group, script: &str) -> Command {
    let plan = group.plan();
    let mut files: Vec<_> = plan
        .tasks
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    files.extend(
        plan.unified
            .map(|path| format!("{}/cgroup.procs", path.to_string_lossy())),
    );
    let enter: String = files
        .iter()
        .map(|file| format!("echo $$ > {file}; "))
        .collect();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{enter}{script}")]);
    command
}

#[tokio::test]
async fn killing_ends_every_process_and_the_groups_can_go() {
    let real = Real::new("kill");
    let group = real.groups.make("one", &Limits::default()).unwrap();
    let mut child = inside(&group, "sleep 100 & sleep 100").spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while group.stats().pids < 3 {
        assert!(Instant::now() < until, "{:?}", group.stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    group.kill(Duration::from_secs(10)).await.unwrap();
    child.wait().unwrap();
    group.remove(Duration::from_secs(10)).await.unwrap();
    assert!(group.paths().iter().all(|path| !path.exists()));
}

#[tokio::test]
async fn a_group_in_use_is_not_removed_and_named() {
    let real = Real::new("busy");
    let group = real.groups.make("one", &Limits::default()).unwrap();
    let mut shell = inside(&group, "echo in; read line");
    let piped = std::process::Stdio::piped;
    let mut child = shell.stdin(piped()).stdout(piped()).spawn().unwrap();
    let mut line = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    let error = group.remove(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, CgroupError::Busy { .. }), "{error}");
    drop(child.stdin.take());
    child.wait().unwrap();
    group.remove(Duration::from_secs(10)).await.unwrap();
}

/// The program of version 2 works on the hybrid layout too, so it is tried wherever there is one.
#[tokio::test]
async fn the_device_program_allows_what_the_rules_allow() {
    let real = Real::new("devices");
    let Some(root) = real.groups.hierarchies.unified.clone() else {
        return;
    };
    let path = root.join(&real.parent).join("one");
    std::fs::create_dir(&path).unwrap();
    let all = READ | WRITE | MKNOD;
    let rule = |allow, major: Option<u32>, minor, access| DeviceRule {
        allow,
        kind: if major.is_some() {
            Kind::Character
        } else {
            Kind::All
        },
        major,
        minor,
        access,
    };
    let rules = [
        rule(true, Some(1), Some(9), all),
        rule(false, None, None, all),
        rule(true, Some(1), Some(3), all),
        rule(true, Some(1), Some(5), READ),
    ];
    limits::attach_program(&path, &rules).unwrap();
    let group = Group {
        unified: Some(path),
        counts_unified: false,
        legacy: Vec::new(),
    };
    let can = |script: &str| inside(&group, script).output().unwrap().status.success();
    assert!(can("echo x > /dev/null && cat /dev/null"));
    assert!(can("head -c 1 /dev/zero > /dev/null"));
    assert!(!can("echo x > /dev/zero"), "only reading is allowed");
    assert!(
        !can("head -c 1 /dev/urandom > /dev/null"),
        "denied by the later rule"
    );
    assert!(!can("head -c 1 /dev/full > /dev/null"));
    group.remove(Duration::from_secs(10)).await.unwrap();
}
