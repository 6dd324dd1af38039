//! What a container sees and may do.

use super::super::*;
use super::rig::Rig;
use crate::exec::bundle::{Attachment, Bind, Resources, User};

/// The value of a field of /proc/self/status in a container's output.
fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text
        .lines()
        .find(|line| line.split(':').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .split_once(':')
        .unwrap()
        .1
        .trim()
}

#[tokio::test]
async fn every_namespace_is_its_own() {
    let rig = Rig::new("namespaces");
    let names = ["mnt", "uts", "ipc", "pid", "net", "cgroup"];
    let script = "for n in mnt uts ipc pid net cgroup; do readlink /proc/self/ns/$n; done; \
        echo $$; cat /proc/sys/kernel/hostname; ls /proc | while read p; do case $p in [0-9]*) \
        echo process $p;; esac; done";
    let (ended, output) = rig.script("ns", script).await;
    assert_eq!(ended.code, 0, "{output:?}");
    let lines: Vec<_> = output.stdout.lines().collect();
    for (name, inside) in names.iter().zip(&lines) {
        let outside = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(outside.to_str(), Some(*inside), "{name}");
    }
    assert_eq!(lines[6..8], ["1", "ns-host"]);
    assert!(
        lines[8..].len() <= 3,
        "it sees foreign processes: {lines:?}"
    );
}

#[tokio::test]
async fn privileges_are_dockers_default() {
    let rig = Rig::new("privileges");
    let (_, output) = rig.script("caps", "cat /proc/self/status").await;
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(field(&output.stdout, set), "00000000a80425fb", "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(field(&output.stdout, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(&output.stdout, "Seccomp"), "2");
    assert_eq!(field(&output.stdout, "NoNewPrivs"), "0");
}

#[tokio::test]
async fn another_user_has_no_capabilities_and_its_groups() {
    let rig = Rig::new("user");
    let mut plan = rig.plan(
        "user",
        "cat /proc/self/status; echo lost > /dev/null || exit 3; echo out > /dev/stdout; pwd",
    );
    let (user, home) = User::find(&plan.root, "web").unwrap();
    assert_eq!((user.uid, home.as_str()), (33, "/srv"));
    plan.user = user;
    plan.cwd = "/made/on/demand".into();
    plan.no_new_privileges = true;
    let (ended, output) = rig.run(&plan).await;
    assert_eq!(ended.code, 0, "{output:?}");
    assert_eq!(field(&output.stdout, "Uid"), "33\t33\t33\t33");
    assert_eq!(field(&output.stdout, "Gid"), "34\t34\t34\t34");
    assert_eq!(field(&output.stdout, "Groups"), "40");
    assert_eq!(field(&output.stdout, "CapEff"), "0000000000000000");
    assert_eq!(field(&output.stdout, "CapBnd"), "00000000a80425fb");
    assert_eq!(field(&output.stdout, "NoNewPrivs"), "1");
    assert!(
        output.stdout.ends_with("out\n/made/on/demand\n"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_kernels_doors_are_masked_or_read_only() {
    let rig = Rig::new("masked");
    let script = "cat /proc/kcore | tail -c 1; cat /proc/timer_list /proc/keys; ls -A /sys/firmware; \
        echo 1 > /proc/sys/kernel/panic; echo x > /sys/fs/x; \
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls -A /dev/shm; echo here > /dev/shm/f \
        && cat /dev/shm/f; ls /sys/fs/cgroup; echo x > /sys/fs/cgroup/x";
    let (_, output) = rig.script("masked", script).await;
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[..2], ["0", "here"], "{output:?}");
    assert!(lines.len() > 2, "control groups are shown: {output:?}");
    assert_eq!(
        output.stderr.matches("Read-only file system").count(),
        3,
        "{output:?}"
    );
}

#[tokio::test]
async fn devices_are_the_harmless_ones() {
    let rig = Rig::new("devices");
    let script =
        "ls /dev; echo gone > /dev/null; cat /etc/passwd > /dev/full; readlink /dev/stdout";
    let (_, output) = rig.script("devices", script).await;
    let nodes = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[..lines.len() - 1].join(" "), nodes);
    assert_eq!(lines.last(), Some(&"/proc/self/fd/1"));
    assert!(output.stderr.contains("No space left"), "{output:?}");
}

#[tokio::test]
async fn mounts_are_there_and_bounded() {
    let rig = Rig::new("mounts");
    let given = rig.path().join("given");
    std::fs::create_dir(&given).unwrap();
    std::fs::write(given.join("file"), "from the host").unwrap();
    let mut plan = rig.plan(
        "mounts",
        "cat /data/file; echo x > /data/file; echo x > /etc/one; echo x > /root-file; \
         echo kept > /tmp/deep/er/f; cat /tmp/deep/er/f; cat /proc/self/mountinfo",
    );
    plan.read_only = true;
    let bind = |source: PathBuf, target: &str| {
        Attachment::Bind(Bind {
            read_only: true,
            ..Bind::new(source, target)
        })
    };
    plan.mounts = vec![
        bind(given.clone(), "/data"),
        bind(given.join("file"), "/etc/one"),
        Attachment::Tmpfs {
            target: "/tmp/deep/er".into(),
            bytes: Some(1 << 20),
            mode: None,
            read_only: false,
        },
    ];
    let (_, output) = rig.run(&plan).await;
    assert!(
        output.stdout.starts_with("from the hostkept\n"),
        "{output:?}"
    );
    assert_eq!(
        output.stderr.matches("Read-only file system").count(),
        3,
        "{output:?}"
    );
    assert!(output.stdout.contains("size=1024k"), "{output:?}");
    let host = rig.path().to_str().unwrap();
    let shown = output
        .stdout
        .lines()
        .filter(|line| !line.contains("overlay"));
    assert!(
        shown.filter(|line| line.contains(host)).count() <= 2,
        "{output:?}"
    );
}

#[tokio::test]
async fn links_of_the_image_do_not_lead_out() {
    let rig = Rig::new("links");
    let outside = rig.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, rig.path().join("rootfs/trap")).unwrap();
    let mut plan = rig.plan("links", "cat /proc/self/mountinfo");
    plan.mounts = vec![Attachment::Tmpfs {
        target: "/trap/in".into(),
        bytes: None,
        mode: None,
        read_only: false,
    }];
    let made = rig.runtime.create(&plan.bundle()).await;
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    if let Ok(container) = made {
        container.delete().await.unwrap();
    }
    rig.assert_nothing_left("links");
}

#[tokio::test]
async fn more_processes_than_allowed_cannot_be_made() {
    let rig = Rig::new("pids");
    let mut plan = rig.plan(
        "pids",
        "for n in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all of them",
    );
    plan.limits = Resources {
        pids: Some(4),
        ..Resources::default()
    };
    let (ended, output) = rig.run(&plan).await;
    assert_ne!(ended.code, 0);
    assert!(!output.stdout.contains("all of them"), "{output:?}");
}

#[tokio::test]
async fn memory_beyond_the_limit_is_death_and_says_so() {
    let rig = Rig::new("memory");
    let mut plan = rig.plan("memory", "tail /dev/zero");
    plan.args = ["tail", "/dev/zero"].map(str::to_owned).into();
    plan.limits = Resources {
        memory_bytes: Some(16 << 20),
        ..Resources::default()
    };
    let (ended, _) = rig.run(&plan).await;
    assert_eq!(
        (ended.code, ended.signal, ended.out_of_memory),
        (137, Some(9), true)
    );
    assert!(
        ended
            .reason
            .unwrap()
            .contains("memory limit of 16777216 bytes")
    );
}

#[tokio::test]
async fn processor_time_is_counted_and_limited() {
    let rig = Rig::new("cpu");
    let mut plan = rig.plan("cpu", "while :; do :; done");
    plan.limits = Resources {
        nano_cpus: Some(100_000_000),
        ..Resources::default()
    };
    let container = rig.runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    super::rig::until("it computes", || {
        container.stats().cpu > Duration::from_millis(30)
    })
    .await;
    let stats = container.stats();
    assert!(stats.memory_bytes > 0 && stats.pids == 1, "{stats:?}");
    container.delete().await.unwrap();
    rig.assert_nothing_left("cpu");
}
