//! What a machine sees: the files of the host, with `/run`, `/tmp`, `/proc`, `/sys` and `/dev/shm` of
//! its own. Only PID 1 of a machine calls this, in its own mount namespace; nothing reaches the host.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::cgroups::{Hierarchy, Version};
use super::record::{Kind, Machine, Place, Record};

/// The daemon's `--exec-root`.
pub(crate) const EXEC: &str = "/run/skep";
/// Where a command line looks for its daemon when it is told nothing.
pub(crate) const SOCKET: &str = "/run/skep/skep.sock";
/// The daemon's `--data-root`: the node's store, which outlives a kill.
pub(crate) const DATA_ROOT: &str = "/run/lab/store/data";
/// The daemon's output.
pub(crate) const LOG: &str = "/run/lab/store/daemon.log";
/// The lab's own program, for PID 1's children.
pub(crate) const PROGRAM: &str = "/run/lab/lab";
/// The daemon's binary is here, by its own name.
pub(crate) const BIN: &str = "/run/lab/bin";

const CGROUPS: &str = "/sys/fs/cgroup";

/// Makes the machine's mount namespace and lays out its files. The order matters: the machine's `/run` is made ready beside, with
/// all it shows of the host, before it and `/tmp` cover where those things lie.
pub(crate) fn lay_out(place: &Place, record: &Record, machine: &Machine) -> Result<(), String> {
    let step = |what: &str, done: io::Result<()>| done.map_err(|e| format!("{what}: {e}"));
    let own = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS);
    step("make a mount namespace", own.map_err(io::Error::from))?;
    step(
        "make mounts private",
        mount_flags("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE),
    )?;
    step("make /run", make_run(place, record, machine))?;
    step("mount /tmp", tmpfs("/tmp", "mode=1777"))?;
    if Path::new("/dev/shm").is_dir() {
        step("mount /dev/shm", tmpfs("/dev/shm", "mode=1777"))?;
    }
    if machine.kind != Kind::Switch && Path::new("/etc/hosts").is_file() {
        step(
            "mount /etc/hosts",
            bind("/run/lab/hosts".as_ref(), "/etc/hosts".as_ref()),
        )?;
    }
    step("mount /proc", fresh("/proc", "proc"))?;
    step("mount /sys", fresh("/sys", "sysfs"))?;
    let above = Path::new(CGROUPS);
    if !record.hierarchies.iter().any(|h| h.mount == above) {
        step("mount the cgroups' directory", tmpfs(above, "mode=755"))?;
    }
    record
        .hierarchies
        .iter()
        .try_for_each(|h| step(&format!("mount {}", h.mount.display()), mount_cgroup(h)))
}

fn make_run(place: &Place, record: &Record, machine: &Machine) -> io::Result<()> {
    let run = place.run_of(&machine.name).join("run");
    fs::create_dir_all(&run)?;
    tmpfs(&run, "mode=755")?;
    fs::create_dir(run.join("skep"))?;
    fs::set_permissions(run.join("skep"), fs::Permissions::from_mode(0o700))?;
    fs::create_dir_all(run.join("lab/bin"))?;
    fs::create_dir(run.join("lab/store"))?;
    fs::write(run.join("lab/hosts"), hosts(record, machine))?;
    bind_file(&record.program, &run.join("lab/lab"))?;
    if let Some(name) = record.daemon.file_name() {
        bind_file(&record.daemon, &run.join("lab/bin").join(name))?;
    }
    let store = place.store_of(&machine.name);
    if store.exists() {
        bind(&store, &run.join("lab/store"))?;
    }
    Ok(mount(
        Some(&run),
        "/run",
        None::<&str>,
        MsFlags::MS_MOVE,
        None::<&str>,
    )?)
}

fn hosts(record: &Record, machine: &Machine) -> String {
    let mut text = format!(
        "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {}\n",
        machine.name
    );
    for other in record.plugged() {
        text.push_str(&format!("{} {}\n", other.address, other.name));
    }
    text
}

/// Mounts one hierarchy anew, so that the machine's cgroup namespace makes its own group the root.
fn mount_cgroup(h: &Hierarchy) -> io::Result<()> {
    if h.mount.starts_with(CGROUPS) {
        fs::create_dir_all(&h.mount)?;
    }
    let (kind, options) = match &h.kind {
        Version::V1(options) => ("cgroup", Some(options.as_str())),
        Version::V2 => ("cgroup2", None),
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(kind), &h.mount, Some(kind), flags, options)?;
    link_controllers(h)
}

/// `cpu,cpuacct` is also found as `cpu` and `cpuacct`.
fn link_controllers(h: &Hierarchy) -> io::Result<()> {
    let (Version::V1(options), Some(above)) = (&h.kind, h.mount.parent()) else {
        return Ok(());
    };
    let names: Vec<&str> = options.split(',').collect();
    if names.len() < 2 || names.contains(&"none") {
        return Ok(());
    }
    for name in names.iter().map(|n| above.join(n)).filter(|n| !n.exists()) {
        std::os::unix::fs::symlink(&h.mount, name)?;
    }
    Ok(())
}

fn mount_flags(target: &str, flags: MsFlags) -> io::Result<()> {
    Ok(mount(
        None::<&str>,
        target,
        None::<&str>,
        flags,
        None::<&str>,
    )?)
}

fn tmpfs(target: impl AsRef<Path>, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(
        Some("tmpfs"),
        target.as_ref(),
        Some("tmpfs"),
        flags,
        Some(options),
    )?)
}

/// Replaces what is mounted, with all that is mounted below it, by a new one of this namespace.
fn fresh(target: &str, kind: &str) -> io::Result<()> {
    match umount2(target, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some(kind), target, Some(kind), flags, None::<&str>)?)
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    Ok(mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?)
}

fn bind_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::File::create(to)?;
    bind(from, to)
}
