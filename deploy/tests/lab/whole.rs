//! A lab that is up: what its nodes see, and what kill, start, cut and heal do to them.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use skep_deploy::lab::{Cable, DaemonStatus, Lab, OUTSIDE, Power};

use crate::stand_in::{Scene, eventually, hears, said};

fn sees_running(lab: &Lab, node: &str) -> Option<u32> {
    let all = lab.nodes().unwrap();
    match all.iter().find(|n| n.name == node).unwrap().daemon {
        DaemonStatus::Running(pid) => Some(pid),
        _ => None,
    }
}

fn own_network() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

fn processes(lab: &Lab, node: &str) -> String {
    said(
        lab,
        node,
        &["sh", "-c", "cat /proc/[0-9]*/stat | cut -d' ' -f1-3"],
    )
}

pub fn nodes_are_apart() {
    let scene = Scene::new(3);
    let lab = scene.up();
    let names: Vec<String> = lab.nodes().unwrap().into_iter().map(|n| n.name).collect();
    assert_eq!(names, ["node-1", "node-2", "node-3", OUTSIDE]);
    let mut spaces = BTreeSet::new();
    for name in &names {
        assert_eq!(
            &said(&lab, name, &["cat", "/proc/sys/kernel/hostname"]),
            name
        );
        for space in ["net", "mnt", "pid", "uts", "ipc", "cgroup"] {
            spaces.insert(said(
                &lab,
                name,
                &["readlink", &format!("/proc/self/ns/{space}")],
            ));
        }
        assert!(said(&lab, name, &["cat", "/proc/1/stat"]).starts_with("1 (lab-"));
        let routes = said(&lab, name, &["cat", "/proc/net/route"]);
        assert!(routes.contains("eth0"), "{routes}");
    }
    assert_eq!(spaces.len(), 6 * names.len());
    let hosts = said(&lab, "node-2", &["cat", "/etc/hosts"]);
    assert!(
        hosts.contains(&format!("{} node-3", lab.address("node-3").unwrap())),
        "{hosts}"
    );
    said(&lab, "node-1", &["touch", "/tmp/mine", "/run/mine"]);
    assert!(
        !lab.exec("node-2", &["ls", "/tmp/mine"])
            .unwrap()
            .status
            .success()
    );
    eventually("a log", || {
        String::from_utf8_lossy(&lab.logs("node-1").unwrap()).contains("listening")
    });
    lab.down().unwrap();
}

pub fn a_cut_is_silence() {
    let scene = Scene::new(2);
    let lab = scene.up();
    eventually("node-2 answers node-1", || {
        hears(&lab, "node-1", "node-2") == "node-2"
    });
    eventually("node-1 answers outside", || {
        hears(&lab, OUTSIDE, "node-1") == "node-1"
    });
    lab.cut("node-2").unwrap();
    assert_eq!(lab.nodes().unwrap()[1].cable, Cable::Cut);
    assert_eq!(hears(&lab, "node-1", "node-2"), "TimedOut");
    assert_eq!(hears(&lab, "node-2", "node-1"), "TimedOut");
    assert_eq!(hears(&lab, OUTSIDE, "node-1"), "node-1");
    assert_eq!(
        said(&lab, "node-2", &["cat", "/sys/class/net/eth0/carrier"]),
        "1"
    );
    lab.heal("node-2").unwrap();
    eventually("node-2 answers again", || {
        hears(&lab, "node-1", "node-2") == "node-2"
    });
}

pub fn a_killed_node_comes_back() {
    let scene = Scene::new(2);
    let lab = scene.up();
    eventually("node-2 answers", || {
        hears(&lab, "node-1", "node-2") == "node-2"
    });
    said(&lab, "node-2", &["touch", "/tmp/volatile"]);
    let address = lab.address("node-2").unwrap();
    let before = said(&lab, "node-2", &["readlink", "/proc/self/ns/net"]);
    lab.cut("node-2").unwrap();
    lab.kill("node-2").unwrap();
    assert_eq!(lab.nodes().unwrap()[1].power, Power::Off);
    assert!(
        lab.exec("node-2", &["true"])
            .unwrap_err()
            .to_string()
            .contains("skep lab start node-2")
    );
    assert!(lab.kill("node-2").is_err());
    assert_ne!(hears(&lab, "node-1", "node-2"), "node-2");
    lab.start("node-2").unwrap();
    eventually("node-2 is back", || {
        hears(&lab, "node-1", "node-2") == "node-2"
    });
    assert_eq!(lab.address("node-2").unwrap(), address);
    assert_ne!(
        said(&lab, "node-2", &["readlink", "/proc/self/ns/net"]),
        before
    );
    assert_eq!(
        said(
            &lab,
            "node-2",
            &["grep", "-c", ".", "/run/lab/store/data/starts"]
        ),
        "2"
    );
    assert!(
        !lab.exec("node-2", &["ls", "/tmp/volatile"])
            .unwrap()
            .status
            .success()
    );
    assert!(lab.start("node-2").is_err());
}

pub fn a_killed_daemon_is_alone() {
    let scene = Scene::new(1);
    let lab = scene.up();
    eventually("node-1 answers", || {
        hears(&lab, OUTSIDE, "node-1") == "node-1"
    });
    let first = sees_running(&lab, "node-1").unwrap();
    let own = lab.in_network("node-1", own_network).unwrap();
    assert_eq!(
        lab.in_network_of("node-1", first, own_network).unwrap(),
        own
    );
    assert_ne!(own_network(), own);
    assert!(processes(&lab, "node-1").contains("(sleep) S"));
    lab.kill_daemon("node-1").unwrap();
    let all = lab.nodes().unwrap();
    assert_eq!(all[0].power, Power::On);
    assert_eq!(
        all[0].daemon,
        DaemonStatus::Stopped(Some("ended by SIGKILL".into()))
    );
    assert!(
        lab.kill_daemon("node-1")
            .unwrap_err()
            .to_string()
            .contains("skep lab start node-1")
    );
    assert!(processes(&lab, "node-1").contains("(sleep) S"));
    said(
        &lab,
        "node-1",
        &[
            "sh",
            "-c",
            "kill $(cut -d' ' -f1,2 /proc/[0-9]*/stat | grep sleep | cut -d' ' -f1)",
        ],
    );
    eventually("the orphan is reaped", || {
        !processes(&lab, "node-1").contains("(sleep)")
    });
    lab.start("node-1").unwrap();
    eventually("node-1 answers again", || {
        hears(&lab, OUTSIDE, "node-1") == "node-1"
    });
    assert_ne!(sees_running(&lab, "node-1"), Some(first));
    lab.stop_daemon("node-1").unwrap();
    let ended = DaemonStatus::Stopped(Some("ended by SIGTERM".into()));
    assert_eq!(lab.nodes().unwrap()[0].daemon, ended);
}

pub fn cgroups_begin_at_the_node() {
    let scene = Scene::new(1);
    let lab = scene.up();
    let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounted: Vec<&str> = host.lines().filter(|l| l.contains(" - cgroup")).collect();
    let seen = said(
        &lab,
        "node-1",
        &["grep", " - cgroup", "/proc/self/mountinfo"],
    );
    assert_eq!(seen.lines().count(), mounted.len(), "{seen}");
    for line in seen.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[3], "/", "{line}");
        let group = format!("{}/of-the-daemon", words[4]);
        said(&lab, "node-1", &["mkdir", &group]);
        let outer = format!("{}/skep-lab-{}/node-1/of-the-daemon", words[4], lab.name());
        assert!(std::path::Path::new(&outer).is_dir(), "{outer}");
    }
    lab.kill("node-1").unwrap();
    lab.start("node-1").unwrap();
    lab.down().unwrap();
}

pub fn commands_end_as_they_should() {
    let scene = Scene::new(1);
    let lab = scene.up();
    let code = |argv: &[&str]| lab.exec("node-1", argv).unwrap().status.code();
    assert_eq!(code(&["sh", "-c", "exit 42"]), Some(42));
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["there-is-no-such-program"]), Some(127));
    assert_eq!(
        said(&lab, "node-1", &["sh", "-c", "echo $SKEP_HOST"]),
        "unix:///run/skep/skep.sock"
    );
    let mut child = lab.spawn("node-1", &["sleep", "777"]).unwrap();
    eventually("it runs", || {
        processes(&lab, "node-1").contains("(sleep) S")
    });
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let alone = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 777' | tr -d '\\n'";
    eventually("it ends with its caller", || {
        said(&lab, "node-1", &["sh", "-c", alone]) == "1"
    });
}
