//! What a service asks for beyond Docker's defaults reaches the kernel.

use super::super::*;
use super::rig::{Rig, until};
use crate::exec::bundle::{Attachment, Bind, ContainerPlan, Device, Seccomp};
use oci_spec::runtime::{Capability, PosixRlimitBuilder, PosixRlimitType};
use skep_proto::spec::Propagation;
use std::process::Command;

/// Runs a script with a changed plan; its exit code is 0 and this is what it wrote.
async fn shown(name: &str, script: &str, change: impl FnOnce(&mut ContainerPlan)) -> String {
    let rig = Rig::new(name);
    let mut plan = rig.plan(name, script);
    change(&mut plan);
    let (ended, output) = rig.run(&plan).await;
    assert_eq!(ended.code, 0, "{output:?}");
    output.stdout
}

#[tokio::test]
async fn limits_of_processes_are_soft_and_hard() {
    let limit = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(17_u64)
        .hard(19_u64)
        .build()
        .unwrap();
    let script = "ulimit -Sn; ulimit -Hn";
    let shown = shown("rlimits", script, |plan| plan.rlimits = vec![limit]).await;
    assert_eq!(shown, "17\n19\n");
}

#[tokio::test]
async fn kernel_parameters_are_the_containers_own() {
    let script =
        "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max";
    let outside = std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let given = [
        ("net.core.somaxconn", "33"),
        ("kernel.msgmax", "4444"),
        ("fs.mqueue.msg_max", "7"),
    ];
    let shown = shown("sysctls", script, |plan| {
        let texts = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        plan.sysctls = texts.into();
    })
    .await;
    assert_eq!(shown, "33\n4444\n7\n");
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(),
        outside
    );
}

#[tokio::test]
async fn parameters_of_the_node_are_refused() {
    let rig = Rig::new("sysctl-node");
    let mut plan = rig.plan("sysctl-node", "true");
    plan.sysctls = [("vm.swappiness".to_owned(), "1".to_owned())].into();
    let error = rig.runtime.create(&plan.bundle()).await.unwrap_err();
    assert!(
        crate::report::with_causes(&error).contains("vm.swappiness"),
        "{error:?}"
    );
    rig.assert_nothing_left("sysctl-node");
}

#[tokio::test]
async fn capabilities_and_calls_are_as_asked() {
    let status = "cat /proc/self/status";
    let shown = shown("caps", status, |plan| {
        plan.capabilities = [Capability::NetAdmin].into();
        plan.seccomp = Seccomp::Unconfined;
        plan.no_new_privileges = true;
    })
    .await;
    let field = |name: &str| {
        let line = shown
            .lines()
            .find(|line| line.split(':').next() == Some(name));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(field("CapEff"), "0000000000001000");
    assert_eq!(field("CapBnd"), "0000000000001000");
    assert_eq!(field("Seccomp"), "0");
    assert_eq!(field("NoNewPrivs"), "1");
}

#[tokio::test]
async fn shared_memory_and_the_order_of_death() {
    let script = "cat /proc/self/oom_score_adj; cat /proc/self/mountinfo";
    let shown = shown("oom", script, |plan| {
        plan.oom_score_adj = 321;
        plan.shm_bytes = 3 << 20;
    })
    .await;
    assert!(shown.starts_with("321\n"), "{shown}");
    let shm = shown
        .lines()
        .find(|line| line.contains(" /dev/shm "))
        .unwrap();
    assert!(shm.contains("size=3072k"), "{shm}");
}

#[tokio::test]
async fn a_device_of_the_node_can_be_used_as_far_as_asked() {
    let device = |path: &str, minor: u32, access: &str| Device {
        path: path.into(),
        block: false,
        major: 1,
        minor,
        mode: 0o600,
        uid: 0,
        gid: 0,
        access: access.to_owned(),
    };
    // 1:3 is /dev/null; 1:11 is the kernel's log, which the rule opens for reading alone.
    let script = "ls -l /dev/mine; cat < /dev/mine; echo x > /dev/mine && echo opened; \
                  (echo x > /dev/log) 2>/dev/null || echo refused";
    let shown = shown("device", script, |plan| {
        plan.devices = vec![device("/dev/mine", 3, "rwm"), device("/dev/log", 11, "r")];
    })
    .await;
    assert!(
        shown.contains("1,   3") || shown.contains("1, 3"),
        "{shown}"
    );
    assert!(shown.contains("opened\nrefused\n"), "{shown}");
}

#[tokio::test]
async fn a_privileged_container_is_kept_from_nothing() {
    let script = "cat /proc/self/status; cat /proc/self/mountinfo; echo 0 > /dev/null";
    let shown = shown("privileged", script, |plan| {
        plan.privileged = true;
        plan.seccomp = Seccomp::Unconfined;
    })
    .await;
    assert!(shown.contains("Seccomp:\t0"), "{shown}");
    let mounts: Vec<&str> = shown.lines().filter(|line| line.contains(" - ")).collect();
    let of = |target: &str| {
        let found = mounts
            .iter()
            .filter(|line| line.split(' ').nth(4) == Some(target));
        found.copied().collect::<Vec<_>>()
    };
    assert_eq!(
        of("/proc/kcore").len() + of("/proc/sys").len(),
        0,
        "{mounts:?}"
    );
    assert!(of("/sys")[0].contains(" rw,"), "{mounts:?}");
}

/// A file system of its own below a rig, with another one in it; gone with this value.
struct Nested(PathBuf);

impl Nested {
    fn new(rig: &Rig) -> Self {
        let outer = rig.path().join("outer");
        let made = Self(outer.clone());
        mount_memory(&outer);
        let shared = Command::new("mount")
            .arg("--make-rshared")
            .arg(&outer)
            .status();
        assert!(shared.unwrap().success());
        mount_memory(&outer.join("inner"));
        made
    }
}

fn mount_memory(at: &Path) {
    std::fs::create_dir(at).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(at)
        .status();
    assert!(mounted.unwrap().success());
}

impl Drop for Nested {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["-R", "-l"])
            .arg(&self.0)
            .status();
    }
}

#[tokio::test]
async fn a_read_only_bind_is_read_only_all_the_way_down() {
    let rig = Rig::new("recursive");
    let nested = Nested::new(&rig);
    std::fs::write(nested.0.join("inner/file"), "deep").unwrap();
    let script = "cat /outer/inner/file; echo x > /outer/f || echo x > /outer/inner/f || echo ' kept'; \
                  ls /top/inner; echo x > /top/f && echo written";
    let mut plan = rig.plan("recursive", script);
    plan.mounts = vec![
        Attachment::Bind(Bind {
            read_only: true,
            ..Bind::new(&nested.0, "/outer")
        }),
        Attachment::Bind(Bind {
            recursive: false,
            propagation: Propagation::Private,
            ..Bind::new(&nested.0, "/top")
        }),
    ];
    let container = rig.runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    let ended = container.wait().await;
    let output = super::rig::output(&container);
    container.delete().await.unwrap();
    drop(nested);
    assert_eq!(ended.code, 0, "{output:?}");
    assert_eq!(output.stdout, "deep kept\nwritten\n", "{output:?}");
    rig.assert_nothing_left("recursive");
}

#[tokio::test]
async fn later_mounts_pass_on_as_far_as_asked() {
    let rig = Rig::new("propagation");
    let nested = Nested::new(&rig);
    let script = "until [ -e /go ]; do sleep 0.05; done; \
                  for d in private slave shared; do [ -e /$d/late/file ] && echo $d; done; echo end";
    let mut plan = rig.plan("propagation", script);
    let bind = |target: &str, propagation: Propagation| {
        Attachment::Bind(Bind {
            propagation,
            ..Bind::new(&nested.0, target)
        })
    };
    plan.mounts = vec![
        bind("/private", Propagation::Rprivate),
        bind("/slave", Propagation::Rslave),
        bind("/shared", Propagation::Rshared),
    ];
    let container = rig.runtime.create(&plan.bundle()).await.unwrap();
    container.start().await.unwrap();
    mount_memory(&nested.0.join("late"));
    std::fs::write(nested.0.join("late/file"), "x").unwrap();
    let pid = container.pid().unwrap();
    std::fs::write(format!("/proc/{pid}/root/go"), "x").unwrap();
    let ended = container.wait().await;
    let output = super::rig::output(&container);
    container.delete().await.unwrap();
    drop(nested);
    assert_eq!(
        (ended.code, output.stdout.as_str()),
        (0, "slave\nshared\nend\n"),
        "{output:?}"
    );
    until("the mounts are gone", || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        !mounts.contains(rig.path().to_str().unwrap())
    })
    .await;
}

#[tokio::test]
async fn part_of_a_directory_is_bound_and_no_link_leads_out_of_it() {
    let rig = Rig::new("below");
    let volume = rig.path().join("volume");
    std::fs::create_dir_all(volume.join("a/b")).unwrap();
    std::fs::write(volume.join("a/b/file"), "inside").unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
    let below = |part: &str| {
        Attachment::Bind(Bind {
            below: Some(part.to_owned()),
            ..Bind::new(&volume, "/part")
        })
    };
    let mut plan = rig.plan("below", "cat /part/file");
    plan.mounts = vec![below("a/b")];
    let (_, output) = rig.run(&plan).await;
    assert_eq!(output.stdout, "inside", "{output:?}");
    plan.mounts = vec![below("out")];
    let error = rig.runtime.create(&plan.bundle()).await.unwrap_err();
    assert!(
        crate::report::with_causes(&error).contains("out"),
        "{error:?}"
    );
    rig.assert_nothing_left("below");
}
