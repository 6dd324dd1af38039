//! After `down` nothing is left, whatever came before it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use skep_deploy::lab::{DaemonStatus, Lab, LabError, OUTSIDE, Power};

use crate::stand_in::{Scene, eventually, hears, options, said};

/// What this machine has that could be a lab's. Others work on the machine too, so processes and
/// namespaces are looked at apart, by name.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    mounts: Vec<String>,
    interfaces: BTreeSet<String>,
}

impl Machine {
    fn now() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let links = fs::read_to_string("/proc/net/dev").unwrap();
        let name = |line: &str| {
            line.split(':')
                .next()
                .unwrap_or_default()
                .trim()
                .to_string()
        };
        Self {
            mounts: mounts.lines().map(String::from).collect(),
            interfaces: links.lines().skip(2).map(name).collect(),
        }
    }
}

fn namespaces_of(pid: &str) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/ns")) else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|e| fs::read_link(e.ok()?.path()).ok())
        .collect()
}

fn all_namespaces() -> BTreeSet<PathBuf> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.ok()?.file_name().into_string().ok());
    pids.filter(|p| p.parse::<u32>().is_ok())
        .flat_map(|pid| namespaces_of(&pid))
        .collect()
}

/// Cgroups of that lab in every hierarchy.
fn cgroups_of(lab: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let at = |line: &str| {
        line.split(' ')
            .nth(4)
            .map(|m| Path::new(m).join(format!("skep-lab-{lab}")))
    };
    let found = mounts
        .lines()
        .filter(|l| l.contains(" - cgroup"))
        .filter_map(at);
    found.filter(|dir| dir.exists()).collect()
}

fn assert_nothing_left(scene: &Scene, machine: &Machine) {
    assert_eq!(&Machine::now(), machine);
    assert_eq!(cgroups_of(&scene.options.name), Vec::<PathBuf>::new());
    let files: Vec<_> = fs::read_dir(scene.dir.path()).unwrap().collect();
    assert!(files.is_empty(), "{files:?}");
    // What a killed `up` had only just started finds no cgroup of the lab, and ends by itself.
    eventually("nothing of it runs", || {
        running_with(scene.dir.path()).is_empty()
    });
}

fn running_with(dir: &Path) -> Vec<String> {
    let word = dir.to_str().unwrap();
    let lines = fs::read_dir("/proc").unwrap().flatten().map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    });
    lines.filter(|line| line.contains(word)).collect()
}

pub fn two_labs_leave_nothing() {
    let machine = Machine::now();
    let (one, two) = (Scene::new(2), Scene::new(1));
    let two_options = skep_deploy::lab::LabOptions {
        roots: one.options.roots.clone(),
        ..two.options.clone()
    };
    let (a, b) = (one.up(), Lab::up(&two_options).unwrap());
    assert_ne!(a.address("node-1").unwrap(), b.address("node-1").unwrap());
    eventually("the first answers", || {
        hears(&a, OUTSIDE, "node-2") == "node-2"
    });
    eventually("the second answers", || {
        hears(&b, OUTSIDE, "node-1") == "node-1"
    });
    let listed: Vec<(String, usize)> = Lab::ls_in(&one.options.roots)
        .unwrap()
        .into_iter()
        .map(|l| (l.name, l.nodes.len()))
        .collect();
    assert_eq!(listed, [(a.name().into(), 3), (b.name().into(), 2)]);
    let mut spaces = BTreeSet::new();
    for (lab, node) in [
        (&a, "node-1"),
        (&a, "node-2"),
        (&a, OUTSIDE),
        (&b, "node-1"),
    ] {
        let pid = lab.socket(node).unwrap();
        let of_node = namespaces_of(pid.iter().nth(2).unwrap().to_str().unwrap());
        spaces.extend(of_node.difference(&namespaces_of("self")).cloned());
        said(lab, node, &["mount", "-t", "tmpfs", "none", "/mnt"]);
    }
    b.down().unwrap();
    assert_eq!(hears(&a, OUTSIDE, "node-2"), "node-2");
    a.kill("node-2").unwrap();
    a.down().unwrap();
    assert_nothing_left(&one, &machine);
    assert!(cgroups_of(&two.options.name).is_empty());
    // The machine's own init takes leave of a dead PID 1 when it likes; until then its name is there.
    eventually("their namespaces are gone", || {
        all_namespaces().is_disjoint(&spaces)
    });
}

/// `interrupted-up NAME DIR`: an `up` that the test kills.
pub fn interrupted_up(args: &[String]) -> ExitCode {
    Lab::up(&options(&args[1], 3, args[2].clone().into())).unwrap();
    ExitCode::SUCCESS
}

pub fn an_interrupted_up_is_cleaned() {
    for sign in [
        "lab.json",
        "switch",
        "node-2",
        "node-3/init.json",
        "outside/init.sock",
    ] {
        let machine = Machine::now();
        let scene = Scene::new(3);
        let mut up = Command::new(std::env::current_exe().unwrap())
            .args(["interrupted-up", &scene.options.name])
            .arg(scene.dir.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let sign = scene.options.roots.run.join(&scene.options.name).join(sign);
        eventually("the sign to kill it", || sign.exists());
        up.kill().unwrap();
        up.wait().unwrap();
        match Lab::up(&scene.options) {
            Err(LabError::HalfDead { .. }) => {}
            other => panic!("{}: {other:?}", sign.display()),
        }
        assert!(!Lab::ls_in(&scene.options.roots).unwrap()[0].whole);
        Lab::down_in(&scene.options.roots, &scene.options.name).unwrap();
        assert_nothing_left(&scene, &machine);
    }
}

pub fn wrong_requests_change_nothing() {
    let machine = Machine::now();
    let scene = Scene::new(1);
    let with = |change: fn(&mut skep_deploy::lab::LabOptions)| {
        let mut options = scene.options.clone();
        change(&mut options);
        Lab::up(&options).unwrap_err().to_string()
    };
    assert!(with(|o| o.name = "Up/..".into()).contains("cannot name a lab"));
    assert!(with(|o| o.nodes.clear()).contains("between 1 and 200"));
    assert!(with(|o| o.daemon.program = "/no/such/daemon".into()).contains("/no/such/daemon"));
    assert!(with(|o| o.program = "/bin/false".into()).contains("did not come up"));
    assert!(matches!(
        Lab::open_in(&scene.options.roots, "none"),
        Err(LabError::NoLab { .. })
    ));
    assert!(matches!(
        Lab::down_in(&scene.options.roots, "none"),
        Err(LabError::NoLab { .. })
    ));
    let lab = scene.up();
    assert!(with(|_| {}).contains("already up"));
    assert!(
        lab.kill("node-9")
            .unwrap_err()
            .to_string()
            .contains("it has node-1, outside")
    );
    assert!(lab.kill(OUTSIDE).is_err());
    assert!(lab.kill_daemon(OUTSIDE).is_err());
    let nodes = lab.nodes().unwrap();
    assert!(nodes.iter().all(|n| n.power == Power::On));
    assert!(matches!(nodes[0].daemon, DaemonStatus::Running(_)));
    lab.down().unwrap();
    // `ls` and the requests above made the run root anew.
    assert_nothing_left(&scene, &machine);
}
