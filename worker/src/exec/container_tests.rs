//! The built-in image run for real: this needs root, and leaves nothing behind.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use skep_proto::file::{Content, FileKind};
use skep_proto::ids::{ConfigId, SecretId};
use skep_proto::spec::FileUse;
use skep_proto::task::TaskState;

use super::*;
use crate::agent::tests::{TASK, task};
use crate::blobs::Peers;
use crate::exec::runtime::RuntimePaths;
use skep_proto::image::BUILT_IN;

const SOON: Duration = Duration::from_secs(20);

struct Rig {
    directory: tempfile::TempDir,
    cgroup: PathBuf,
    /// A network namespace of its own, for as long as the file is open.
    netns: File,
}

impl Rig {
    fn new(name: &str) -> Self {
        let netns = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self {
            directory: tempfile::tempdir().unwrap(),
            cgroup: PathBuf::from(format!("skep-test-{}-{name}", std::process::id())),
            netns: netns.join().unwrap(),
        }
    }

    fn netns(&self) -> PathBuf {
        let (pid, fd) = (std::process::id(), self.netns.as_raw_fd());
        PathBuf::from(format!("/proc/{pid}/fd/{fd}"))
    }

    fn runtime(&self) -> Runtime {
        Runtime::open(RuntimePaths {
            exec_root: self.directory.path().join("exec"),
            state_root: self.directory.path().join("containers"),
            cgroup_parent: self.cgroup.clone(),
        })
        .unwrap()
    }

    fn exec(&self) -> ContainerExec<Peers> {
        let (_, leader) = tokio::sync::watch::channel(None);
        let dial: crate::Dial =
            Arc::new(|_, _| async { Err(io::Error::other("there is no network here")) }.boxed());
        let nobody = Peers::new(dial, leader);
        let store = Store::open(&self.directory.path().join("images")).unwrap();
        let files = self.directory.path().join("files");
        let volumes = Volumes::open(&self.directory.path().join("volumes")).unwrap();
        let registries = Registries::default();
        ContainerExec::open(store, nobody, registries, self.runtime(), files, volumes).unwrap()
    }

    /// Nothing is left of any container.
    fn is_empty(&self) {
        for (below, shared) in [
            ("exec", 0),
            ("containers", 0),
            ("files", 1),
            ("images/rootfs", 0),
        ] {
            let left = fs::read_dir(self.directory.path().join(below))
                .unwrap()
                .count();
            assert_eq!(left, shared, "in {below}");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let hierarchies = crate::exec::cgroup::Hierarchies::detect().unwrap();
        let roots = hierarchies
            .legacy
            .values()
            .chain(hierarchies.unified.as_ref());
        for group in roots.map(|root| root.join(&self.cgroup)) {
            // A supervisor may need a moment to be gone; only an empty group can be removed.
            let deadline = std::time::Instant::now() + SOON;
            while group.exists() && std::time::Instant::now() < deadline {
                let _ = fs::remove_dir(group.join("_supervisors"));
                let _ = fs::remove_dir(&group);
                std::thread::yield_now();
            }
        }
    }
}

fn hello(args: &[&str]) -> AssignedTask {
    let mut task = task(TaskState::Running);
    let container = &mut Arc::make_mut(&mut task.spec).container;
    container.image.name = BUILT_IN.to_owned();
    container.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    task
}

async fn ended(exec: &ContainerExec<Peers>) -> Exit {
    tokio::time::timeout(SOON, exec.wait(TASK)).await.unwrap()
}

#[tokio::test]
async fn the_built_in_image_runs_and_leaves_nothing() {
    let rig = Rig::new("runs");
    let exec = rig.exec();
    let task = hello(&["exit", "3"]);
    exec.fetch(&task).await.unwrap();
    exec.create(&task, &rig.netns()).await.unwrap();
    assert!(exec.start(TASK).await.unwrap() > 0);
    assert_eq!(ended(&exec).await.code, Some(3));
    assert!(exec.store.in_use(&exec.origins.built_in));
    exec.remove(TASK).await.unwrap();
    exec.remove(TASK).await.unwrap();
    assert!(!exec.store.in_use(&exec.origins.built_in));
    rig.is_empty();
}

fn shown(target: &str, text: &str, kind: FileKind) -> GivenFile {
    GivenFile {
        target: target.to_owned(),
        content: Content::new(text.as_bytes().to_vec()),
        kind,
        uid: 103,
        gid: 104,
        mode: 0o440,
    }
}

#[tokio::test]
async fn secrets_and_configs_show_in_memory_and_are_replaced_at_once() {
    let rig = Rig::new("given");
    let exec = rig.exec();
    let mut task = hello(&[]);
    let container = &mut Arc::make_mut(&mut task.spec).container;
    container.read_only = true;
    container.secrets = vec![used(SecretId::new(1), "/run/secrets/key")];
    container.configs = vec![used(ConfigId::new(1), "/etc/deep/down/page")];
    exec.fetch(&task).await.unwrap();
    exec.create(&task, &rig.netns()).await.unwrap();
    let files = |key: &str, page: &str| {
        vec![
            shown("/run/secrets/key", key, FileKind::Secret),
            shown("/etc/deep/down/page", page, FileKind::Config),
        ]
    };
    exec.give(TASK, files("open", "one")).await.unwrap();
    let pid = exec.start(TASK).await.unwrap();
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let (key, page) = (
        root.join("run/secrets/key"),
        root.join("etc/deep/down/page"),
    );
    assert_eq!(fs::read_to_string(&key).unwrap(), "open");
    assert_eq!(fs::read_to_string(&page).unwrap(), "one");
    let meta = fs::metadata(&key).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (103, 104, 0o440)
    );
    let refused = fs::write(&key, "other").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let mounts = || fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let before = mounts().lines().count();
    let mut held = fs::File::open(&key).unwrap();
    for round in 0..5 {
        let (key_text, page_text) = (format!("key {round}"), format!("page {round}"));
        exec.give(TASK, files(&key_text, &page_text)).await.unwrap();
        assert_eq!(fs::read_to_string(&key).unwrap(), key_text);
        assert_eq!(fs::read_to_string(&page).unwrap(), page_text);
    }
    let mut text = String::new();
    io::Read::read_to_string(&mut held, &mut text).unwrap();
    assert_eq!(text, "open", "whoever reads goes on with what it opened");
    if beneath() {
        assert_eq!(mounts().lines().count(), before, "{}", mounts());
    }
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !own.contains(" ramfs skep "),
        "no mount of the node shows them"
    );
    exec.kill(TASK).await.unwrap();
    ended(&exec).await;
    exec.remove(TASK).await.unwrap();
    rig.is_empty();
}

fn used<I>(id: I, target: &str) -> FileUse<I> {
    FileUse {
        id,
        name: "x".into(),
        target: target.into(),
        uid: 0,
        gid: 0,
        mode: 0o444,
        revision: None,
    }
}

#[tokio::test]
async fn a_server_is_found_again_and_ends_at_once_when_asked() {
    let rig = Rig::new("again");
    let exec = rig.exec();
    let task = hello(&[]);
    exec.create(&task, &rig.netns()).await.unwrap();
    let pid = exec.start(TASK).await.unwrap();
    drop(exec);
    let exec = rig.exec();
    let found = exec.recover().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].task, TASK);
    assert_eq!(found[0].stage, FoundStage::Running { pid });
    let root = format!("/proc/{pid}/root/etc");
    let hostname = fs::read_to_string(format!("{root}/hostname")).unwrap();
    assert_eq!(hostname.trim(), &TASK.to_string()[..12]);
    let resolver = fs::read_to_string(format!("{root}/resolv.conf")).unwrap();
    assert!(resolver.contains("127.0.0.11"));
    exec.signal(TASK, None).await.unwrap();
    assert_eq!(ended(&exec).await.code, Some(0));
    exec.remove(TASK).await.unwrap();
    rig.is_empty();
}

#[tokio::test]
async fn what_cannot_be_made_leaves_nothing() {
    let rig = Rig::new("cannot");
    let exec = rig.exec();
    let netns = rig.directory.path().join("no-namespace");
    let refused = exec
        .create(&hello(&[]), &netns)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("network namespace"), "{refused}");
    rig.is_empty();
    let mut unknown = hello(&[]);
    let container = &mut Arc::make_mut(&mut unknown.spec).container;
    container.image.name = "unresolved:1".to_owned();
    container.pull = skep_proto::spec::PullPolicy::Never;
    let refused = exec
        .create(&unknown, &rig.netns())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("never to be pulled"), "{refused}");
}

#[tokio::test]
async fn files_of_no_container_are_swept() {
    let rig = Rig::new("sweep");
    let exec = rig.exec();
    exec.store
        .prepare_rootfs(TASK, &exec.origins.built_in)
        .unwrap();
    assert!(exec.recover().await.unwrap().is_empty());
    rig.is_empty();
}

/// Whether the only child of a process has a handler for SIGTERM.
fn takes_sigterm(pid: i32) -> bool {
    let child = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.trim())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 1 << (libc::SIGTERM - 1) != 0)
}

#[tokio::test]
async fn an_init_passes_signals_on_and_ends_as_its_program_does() {
    let rig = Rig::new("init");
    let exec = rig.exec();
    let with_init = |args: &[&str]| {
        let mut task = hello(args);
        Arc::make_mut(&mut task.spec).container.init = true;
        task
    };
    exec.create(&with_init(&["exit", "3"]), &rig.netns())
        .await
        .unwrap();
    exec.start(TASK).await.unwrap();
    assert_eq!(ended(&exec).await.code, Some(3));
    exec.remove(TASK).await.unwrap();
    exec.create(&with_init(&[]), &rig.netns()).await.unwrap();
    let pid = exec.start(TASK).await.unwrap();
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm.trim(), "skep-init");
    let deadline = std::time::Instant::now() + SOON;
    while !takes_sigterm(pid) {
        assert!(
            std::time::Instant::now() < deadline,
            "its program is not there"
        );
        tokio::task::yield_now().await;
    }
    exec.signal(TASK, None).await.unwrap();
    assert_eq!(ended(&exec).await.code, Some(0));
    exec.remove(TASK).await.unwrap();
    rig.is_empty();
}

#[tokio::test]
async fn a_mount_source_that_is_missing_is_named_with_the_node() {
    let rig = Rig::new("missing");
    let exec = rig.exec();
    let mut task = hello(&[]);
    Arc::make_mut(&mut task.spec).container.mounts = vec![skep_proto::spec::Mount {
        source: skep_proto::spec::MountSource::Bind {
            path: "/no/such/source".to_owned(),
            propagation: skep_proto::spec::Propagation::Rprivate,
            recursive: true,
        },
        target: "/srv".to_owned(),
        read_only: false,
    }];
    let error = exec
        .create(&task, &rig.netns())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("/no/such/source on node"), "{error}");
    rig.is_empty();
}

/// Whether the kernel can put a mount beneath another: 6.5 and later.
fn beneath() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next()) >= (6, 5)
}
