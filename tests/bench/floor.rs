//! The kernel's floor: a container made by hand, with the same parts as skep's and nothing around it.
//!
//! Six namespaces, an overlay mount, /proc, a veth pair on a bridge, a group in every cgroup hierarchy
//! and the exec of the same program, by one thread, in a machine of the lab. No image, no seccomp, no
//! masked paths, no supervisor, no log, no report: what skep adds is the ratio.

#![expect(
    unsafe_code,
    reason = "clone and what its child does before exec have no safe form"
)]

use std::ffi::CStr;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, clone, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chdir, execve, pipe2, pivot_root, read};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use skep_harness::cluster::Cluster;

use crate::report::Times;

/// Started with it, this program is the floor.
pub const WORD: &str = "floor";
const NODE: &str = "node-1";
/// Where a node keeps its files, on the disk that images lie on too.
const STORE: &str = "/run/lab/store/data";
const GROUPS: &str = "/sys/fs/cgroup";
const BRIDGE: &str = "floor";
const COUNT: usize = 50;
const STACK: usize = 64 * 1024;
/// One per core.
const SIDE_BY_SIDE: usize = 2;

/// Containers a second when one maker per core is at work.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// That begin.
    pub begun: f64,
    /// That are killed and leave no group behind.
    pub ended: f64,
}

/// Nanoseconds that a maker took for each of its containers.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Taken {
    begun: Vec<u64>,
    ended: Vec<u64>,
}

/// The time for one container with nothing beside it.
pub fn alone(cluster: &Cluster, program: &[u8]) -> anyhow::Result<Times> {
    let found = run(cluster, program, 1)?.pop().unwrap_or_default();
    let begun = found.begun.into_iter().map(Duration::from_nanos);
    Ok(Times::new(begun.collect()))
}

/// Containers a second when one maker per core is at work.
pub fn many(cluster: &Cluster, program: &[u8]) -> anyhow::Result<Rates> {
    let found = run(cluster, program, SIDE_BY_SIDE)?;
    let rate = |times: &[u64]| {
        let total = Duration::from_nanos(times.iter().sum());
        let count = f64::from(u32::try_from(times.len()).unwrap_or(0));
        Duration::from_secs(1).div_duration_f64(total) * count
    };
    Ok(Rates {
        begun: found.iter().map(|taken| rate(&taken.begun)).sum(),
        ended: found.iter().map(|taken| rate(&taken.ended)).sum(),
    })
}

/// The times that each of `makers` took for its containers.
fn run(cluster: &Cluster, program: &[u8], makers: usize) -> anyhow::Result<Vec<Taken>> {
    let own = std::env::current_exe()?;
    let own = own.to_str().context("the program's path is not UTF-8")?;
    let mut children = Vec::new();
    for maker in 0..makers {
        let maker = maker.to_string();
        let mut command: Command = cluster.lab.command(NODE, &[own, WORD, &maker])?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("a pipe")?.write_all(program)?;
        children.push(child);
    }
    let mut found = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("the floor could not be measured");
        }
        found.push(serde_json::from_slice(&output.stdout)?);
    }
    Ok(found)
}

/// Makes containers, ends them, and prints the nanoseconds that each took.
pub fn main(words: &[String]) -> anyhow::Result<()> {
    let maker = words.first().context("which maker?")?;
    let directory = Path::new(STORE).join(format!("floor-{maker}"));
    let lower = directory.join("lower");
    fs::create_dir_all(lower.join("proc"))?;
    let mut program = Vec::new();
    std::io::stdin().read_to_end(&mut program)?;
    fs::write(lower.join("hello"), &program)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lower.join("hello"), mode)?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("leave the machine")?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let taken = runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        handle
            .link()
            .add(LinkBridge::new(BRIDGE).up().build())
            .execute()
            .await?;
        let bridge = nix::net::if_::if_nametoindex(BRIDGE)?;
        let mut taken = Taken::default();
        let mut made = Vec::new();
        for number in 0..COUNT {
            let work = Work::new(&directory, maker, number)?;
            let begin = Instant::now();
            let pid = work.make(&handle, bridge).await;
            taken.begun.push(u64::try_from(begin.elapsed().as_nanos())?);
            made.push((work, pid?));
        }
        for (work, pid) in made {
            let begin = Instant::now();
            work.end(pid)?;
            taken.ended.push(u64::try_from(begin.elapsed().as_nanos())?);
        }
        anyhow::Ok(taken)
    })?;
    fs::remove_dir_all(&directory)?;
    print!("{}", serde_json::to_string(&taken)?);
    Ok(())
}

/// One container to be.
struct Work {
    root: PathBuf,
    options: String,
    groups: Vec<PathBuf>,
    near: String,
}

impl Work {
    fn new(directory: &Path, maker: &str, number: usize) -> anyhow::Result<Self> {
        let own = directory.join(number.to_string());
        let part = |name: &str| own.join(name).display().to_string();
        let mut groups = Vec::new();
        for hierarchy in fs::read_dir(GROUPS)? {
            let hierarchy = hierarchy?;
            // A machine with version 2 alone has one hierarchy, the directory itself.
            if hierarchy.file_type()?.is_dir() && hierarchy.path().join("cgroup.procs").exists() {
                groups.push(hierarchy.path().join(format!("floor-{maker}-{number}")));
            }
        }
        let lower = directory.join("lower").display().to_string();
        Ok(Self {
            options: format!(
                "lowerdir={lower},upperdir={},workdir={}",
                part("up"),
                part("work")
            ),
            root: own.join("root"),
            groups,
            near: format!("f{number}"),
        })
    }

    /// Everything between the wish for a container and its program's first instruction.
    async fn make(&self, handle: &Handle, bridge: u32) -> anyhow::Result<Pid> {
        let own = self.root.parent().context("a directory")?;
        for directory in ["root", "up", "work"] {
            fs::create_dir_all(own.join(directory))?;
        }
        let mut files = Vec::new();
        for group in &self.groups {
            fs::create_dir(group).with_context(|| format!("make {}", group.display()))?;
            for setting in ["cpuset.cpus", "cpuset.mems"] {
                let above = group.parent().map(|parent| parent.join(setting));
                if let Some(value) = above.and_then(|file| fs::read(file).ok()) {
                    fs::write(group.join(setting), value)?;
                }
            }
            let version_1 = group.join("tasks");
            let entry = if version_1.exists() {
                version_1
            } else {
                group.join("cgroup.procs")
            };
            files.push(fs::OpenOptions::new().write(true).open(entry)?);
        }
        let (wait, go) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (began, begin) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let pid = self.born(&files, &wait, go.as_raw_fd())?;
        drop((wait, begin));
        // A peer that is to be up is refused while its pair is being made.
        let far = LinkUnspec::new_with_name("eth0");
        let far = far.setns_by_pid(u32::try_from(pid.as_raw())?).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(self.near.clone())
            .controller(bridge)
            .up()
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)));
        handle.link().add(pair.build()).execute().await?;
        nix::unistd::write(&go, b"go")?;
        // The program's exec closes its end; a child that fails says so first.
        let mut said = [0; 1];
        if read(&began, &mut said)? != 0 {
            bail!("the child could not begin its program");
        }
        Ok(pid)
    }

    /// Clones a child into six namespaces of its own.
    fn born(&self, files: &[fs::File], wait: &OwnedFd, other: i32) -> anyhow::Result<Pid> {
        let flags = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP;
        let mut stack = vec![0; STACK];
        let child = Box::new(|| {
            // SAFETY: the number is the child's own copy of the writing end; nothing else uses it there.
            unsafe { nix::libc::close(other) };
            self.begin(files, wait).unwrap_or(1)
        });
        // SAFETY: this process has one thread, and the child has a copy of its memory and a stack of
        // its own, so whatever the child calls finds its locks free.
        let pid = unsafe { clone(child, &mut stack, flags, Some(nix::libc::SIGCHLD)) };
        pid.context("clone")
    }

    /// The child's part, up to exec.
    fn begin(&self, files: &[fs::File], wait: &OwnedFd) -> nix::Result<isize> {
        for file in files {
            nix::unistd::write(file, b"0")?;
        }
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(
            Some("overlay"),
            &self.root,
            Some("overlay"),
            MsFlags::empty(),
            Some(self.options.as_str()),
        )?;
        chdir(&self.root)?;
        mount(Some("proc"), "proc", Some("proc"), MsFlags::empty(), none)?;
        pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        let mut go = [0; 2];
        read(wait, &mut go)?;
        let name: &CStr = c"/hello";
        execve(name, &[name], &[c"PATH=/"]).map(|never| match never {})
    }

    fn end(&self, pid: Pid) -> anyhow::Result<()> {
        kill(pid, Signal::SIGKILL)?;
        nix::sys::wait::waitpid(pid, None)?;
        for group in &self.groups {
            fs::remove_dir(group)?;
        }
        Ok(())
    }
}
