//! Containers that outlive their daemon, and those that lose their supervisor.

use super::super::*;
use super::rig::{Output, Rig, SOON, output, until};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

/// Names the directory for a daemon that a test starts.
const ROLE: &str = "SKEP_TEST_DAEMON";

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

/// Not a test of its own: the daemon of the next test, which makes a container and is killed.
#[tokio::test]
async fn a_daemon_that_dies() {
    let Ok(root) = std::env::var(ROLE) else {
        return;
    };
    let (root, parent) = root.split_once(',').unwrap();
    let runtime = Runtime::open(RuntimePaths::below(Path::new(root), Path::new(parent))).unwrap();
    let layer = Path::new(root).join("layers/long");
    for part in ["upper", "work"] {
        std::fs::create_dir_all(layer.join(part)).unwrap();
    }
    let script = "echo before; while [ ! -e /go ]; do sleep 0.05; done; echo after; exit 7";
    let plan = crate::exec::bundle::ContainerPlan {
        id: "long".into(),
        root: crate::exec::bundle::RootSource::Overlay {
            lower: vec![Path::new(root).join("rootfs")],
            upper: layer.join("upper"),
            work: layer.join("work"),
        },
        args: ["sh", "-c", script].map(str::to_owned).into(),
        labels: [("task".to_owned(), "t1".to_owned())].into(),
        ..Default::default()
    };
    let container = runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    let pid = container.pid().unwrap().to_string();
    std::fs::write(Path::new(root).join("pid"), pid).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .unwrap();
    std::future::pending::<()>().await;
}

fn run_daemon(rig: &Rig) -> i32 {
    let role = format!(
        "{},{}",
        rig.path().display(),
        rig.paths.cgroup_parent.display()
    );
    let name = "exec::runtime::tests::outlive::a_daemon_that_dies";
    let daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, role)
        .output()
        .unwrap();
    assert_eq!(daemon.status.signal(), Some(9), "{daemon:?}");
    std::fs::read_to_string(rig.path().join("pid"))
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_container_never_notices_that_its_daemon_died() {
    let rig = Rig::new("outlive");
    let pid = run_daemon(&rig);
    assert!(is_alive(pid));
    let found = rig.runtime.recover().await.unwrap();
    let [container] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((container.id(), container.pid()), ("long", Some(pid)));
    assert_eq!(container.labels()["task"], "t1");
    assert_eq!(container.state().await.unwrap(), State::Running);
    std::fs::write(format!("/proc/{pid}/root/go"), "").unwrap();
    let ended = tokio::time::timeout(SOON, container.wait()).await.unwrap();
    assert_eq!((ended.code, ended.signal), (7, None));
    let Output { stdout, .. } = output(container);
    assert_eq!(stdout, "before\nafter\n");
    container.delete().await.unwrap();
    rig.assert_nothing_left("long");
}

#[tokio::test]
async fn an_end_that_no_daemon_saw_is_found() {
    let rig = Rig::new("unseen");
    let pid = run_daemon(&rig);
    std::fs::write(format!("/proc/{pid}/root/go"), "").unwrap();
    until("it ends", || !is_alive(pid)).await;
    until("the end is noted", || {
        rig.paths.state_root.join("long/ended").exists()
    })
    .await;
    let found = rig.runtime.recover().await.unwrap();
    assert_eq!(found[0].ended().map(|ended| ended.code), Some(7));
    assert_eq!(output(&found[0]).stdout, "before\nafter\n");
    // A third daemon still learns it.
    let again = Runtime::open(rig.paths.clone())
        .unwrap()
        .recover()
        .await
        .unwrap();
    assert_eq!(again[0].ended(), found[0].ended());
    found[0].delete().await.unwrap();
    rig.assert_nothing_left("long");
}

/// The supervisor of a container, as its note says.
fn supervisor_of(rig: &Rig, id: &str) -> i32 {
    let note = std::fs::read(rig.paths.exec_root.join(id).join("created")).unwrap();
    match skep_shim::protocol::read_note(&note) {
        Some(skep_shim::protocol::Note::Created { supervisor, .. }) => supervisor,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_container_dies_with_its_supervisor_and_counts_as_failed() {
    let rig = Rig::new("orphan");
    let container = rig
        .runtime
        .create(&rig.plan("orphan", "sleep 100").bundle())
        .await
        .unwrap();
    container.start().await.unwrap();
    let pid = container.pid().unwrap();
    let supervisor = Pid::from_raw(supervisor_of(&rig, "orphan")).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    let ended = tokio::time::timeout(SOON, container.wait()).await.unwrap();
    assert_eq!(ended.code, 255);
    assert!(ended.reason.unwrap().contains("supervisor was killed"));
    until("it is dead", || !is_alive(pid)).await;
    container.delete().await.unwrap();
    rig.assert_nothing_left("orphan");
}

#[tokio::test]
async fn an_orphan_of_a_dead_daemon_is_reported_too() {
    let rig = Rig::new("orphan2");
    let pid = run_daemon(&rig);
    let supervisor = Pid::from_raw(supervisor_of(&rig, "long")).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    until("it is dead", || !is_alive(pid)).await;
    let found = rig.runtime.recover().await.unwrap();
    assert_eq!(found[0].ended().map(|ended| ended.code), Some(255));
    found[0].delete().await.unwrap();
    rig.assert_nothing_left("long");
}

#[tokio::test]
async fn what_a_daemon_had_only_begun_is_removed() {
    let rig = Rig::new("begun");
    for root in [&rig.paths.exec_root, &rig.paths.state_root] {
        std::fs::create_dir(root.join("begun")).unwrap();
    }
    rig.runtime
        .cgroups()
        .make("begun", &crate::exec::cgroup::Limits::default())
        .unwrap();
    assert!(rig.runtime.recover().await.unwrap().is_empty());
    rig.assert_nothing_left("begun");
}

#[tokio::test]
async fn a_record_of_another_release_is_left_alone() {
    let rig = Rig::new("newer");
    let record = rig.paths.state_root.join("newer/record");
    std::fs::create_dir(record.parent().unwrap()).unwrap();
    std::fs::write(&record, "{\"version\":9}").unwrap();
    assert!(rig.runtime.recover().await.unwrap().is_empty());
    assert!(record.exists());
}

#[tokio::test]
async fn a_creation_that_nobody_waits_for_leaves_nothing() {
    let rig = Rig::new("unwanted");
    let bundle = rig.plan("unwanted", "true").bundle();
    // Polled once: it has begun, and is then dropped.
    assert!(futures_util::FutureExt::now_or_never(rig.runtime.create(&bundle)).is_none());
    // Mount points are made in its own layer, which the runtime never removes.
    let trace = rig.path().join("layers/unwanted/upper/proc");
    until("it was made", || trace.exists()).await;
    let record = rig.paths.state_root.join("unwanted");
    until("it is removed", || !record.exists()).await;
    rig.assert_nothing_left("unwanted");
}
