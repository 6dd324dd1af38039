//! Rights, kernel, ports, clock, packet size and room.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use rustix::thread::CapabilitySet;
use skep_proto::network::OVERLAY_MTU;

use super::overlay::existing;
use super::{Finding, kernel};
use crate::daemon::address::{self, Candidate};

/// The oldest kernel that skep is tested on.
const OLDEST: (u32, u32) = (6, 1);
/// What a packet of an overlay network grows by in its tunnel (IPv4).
const TUNNEL: u16 = 50;
/// Below this nothing can be pulled, and managers write no more soon.
const LEAST_ROOM: u64 = 1 << 30;
/// Some images.
const ROOM: u64 = 5 << 30;

/// What the daemon itself needs, and Docker's set, which it hands to containers.
const NEEDED: [(&str, CapabilitySet); 17] = [
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE),
    ("CAP_CHOWN", CapabilitySet::CHOWN),
    ("CAP_DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ("CAP_FOWNER", CapabilitySet::FOWNER),
    ("CAP_FSETID", CapabilitySet::FSETID),
    ("CAP_KILL", CapabilitySet::KILL),
    ("CAP_SETGID", CapabilitySet::SETGID),
    ("CAP_SETUID", CapabilitySet::SETUID),
    ("CAP_SETPCAP", CapabilitySet::SETPCAP),
    ("CAP_NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE),
    ("CAP_NET_RAW", CapabilitySet::NET_RAW),
    ("CAP_SYS_CHROOT", CapabilitySet::SYS_CHROOT),
    ("CAP_MKNOD", CapabilitySet::MKNOD),
    ("CAP_AUDIT_WRITE", CapabilitySet::AUDIT_WRITE),
    ("CAP_SETFCAP", CapabilitySet::SETFCAP),
];

pub(super) fn rights() -> Vec<Finding> {
    let root = if rustix::process::geteuid().is_root() {
        Finding::ok("root", "yes")
    } else {
        Finding::missing("root", "no: the daemon cannot run", "sudo skep check")
    };
    let held = rustix::thread::capabilities(None).map(|sets| sets.permitted);
    vec![root, capabilities(held.unwrap_or(CapabilitySet::empty()))]
}

pub(super) fn capabilities(held: CapabilitySet) -> Finding {
    let lacking: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(_, capability)| !held.contains(*capability))
        .map(|(name, _)| name)
        .collect();
    let outside = "run it as root, outside of a container or with all capabilities (--privileged)";
    if !lacking.is_empty() {
        let found = format!("without {}", lacking.join(", "));
        return Finding::missing("capabilities", found, outside);
    }
    if !held.contains(CapabilitySet::SYS_RESOURCE) {
        let found = "without CAP_SYS_RESOURCE: --ulimit above the machine's own limits is refused";
        return Finding::degraded("capabilities", found, outside);
    }
    Finding::ok("capabilities", "all that are needed")
}

pub(super) fn release() -> Finding {
    release_of(&rustix::system::uname().release().to_string_lossy())
}

pub(super) fn release_of(release: &str) -> Finding {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST {
        return Finding::ok("kernel", release);
    }
    let (major, minor) = OLDEST;
    Finding::degraded(
        "kernel",
        format!(
            "{release}: skep is tested on {major}.{minor} and newer; what it has is tried below"
        ),
        format!("boot Linux {major}.{minor} or newer"),
    )
}

pub(super) fn ports(data_root: &Path, control: u16, data_path: u16) -> Vec<Finding> {
    let ours = is_running(data_root);
    let any = Ipv4Addr::UNSPECIFIED;
    let tcp = TcpListener::bind((any, control)).map(drop);
    let udp = UdpSocket::bind((any, data_path)).map(drop);
    vec![
        port("tcp", control, "--control-port", tcp, ours),
        port("udp", data_path, "--data-path-port", udp, ours),
    ]
}

fn port(kind: &str, number: u16, option: &str, tried: io::Result<()>, ours: bool) -> Finding {
    let check = format!("port {number}/{kind}");
    match tried {
        Ok(()) => Finding::ok(check, "free"),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && ours => {
            Finding::ok(check, "taken, and a daemon of skep runs here")
        }
        Err(error) => {
            let short = &kind[..1];
            Finding::missing(
                check,
                error.to_string(),
                format!(
                    "see who has it: ss -ln{short}p sport = :{number}; stop that, or: skep swarm init {option} OTHER"
                ),
            )
        }
    }
}

/// Whether a daemon holds the lock of this data root.
fn is_running(data_root: &Path) -> bool {
    let Ok(file) = File::open(data_root.join("lock")) else {
        return false;
    };
    Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
}

pub(super) fn clock() -> Finding {
    clock_of(kernel::is_synchronised())
}

pub(super) fn clock_of(told: io::Result<bool>) -> Finding {
    match told {
        Ok(true) => Finding::ok("clock", "synchronised"),
        Ok(false) => Finding::degraded(
            "clock",
            "nobody keeps it right: certificates of other nodes may seem too young or too old",
            "timedatectl set-ntp true, or: apt-get install chrony",
        ),
        Err(error) => Finding::degraded("clock", error.to_string(), "look with: timedatectl"),
    }
}

pub(super) fn mtu() -> Finding {
    let found = address::candidates().unwrap_or_default();
    let mtus = found.iter().filter_map(|Candidate { interface, .. }| {
        let path = Path::new("/sys/class/net").join(interface).join("mtu");
        let mtu = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some((interface.clone(), mtu))
    });
    mtu_of(&mtus.collect::<Vec<_>>())
}

/// `mtus` are those of the interfaces that lead to other machines.
pub(super) fn mtu_of(mtus: &[(String, u32)]) -> Finding {
    let needed = u32::from(OVERLAY_MTU.saturating_add(TUNNEL));
    match mtus.iter().min_by_key(|(_, mtu)| *mtu) {
        None => Finding::missing(
            "mtu",
            "no interface leads to other machines",
            "give this machine an address and set its interface up: ip link set DEVICE up",
        ),
        Some((name, mtu)) if *mtu < needed => Finding::degraded(
            "mtu",
            format!(
                "{name} takes packets of {mtu} bytes; those of overlay networks are {OVERLAY_MTU} and become {needed}"
            ),
            format!("ip link set {name} mtu {needed}, on all that lies between the nodes"),
        ),
        Some((name, mtu)) => Finding::ok("mtu", format!("{mtu} on {name}")),
    }
}

pub(super) fn room(data_root: &Path) -> Finding {
    let place = existing(data_root);
    let free =
        rustix::fs::statvfs(place).map(|at| (at.f_bavail.saturating_mul(at.f_frsize), at.f_favail));
    room_of(place, free.map_err(io::Error::from))
}

/// `free` is in bytes and in files.
pub(super) fn room_of(place: &Path, free: io::Result<(u64, u64)>) -> Finding {
    let at = place.display();
    let mend =
        format!("make room on {at}, or choose another --data-root; what takes it: du -xh -d1 {at}");
    let (bytes, files) = match free {
        Ok(free) => free,
        Err(error) => return Finding::degraded("room", format!("{at}: {error}"), mend),
    };
    let mebibytes = bytes >> 20;
    let found = format!("{mebibytes} MiB on {at}");
    // File systems without a bound on files say 0.
    let few = (1..10_000).contains(&files);
    if bytes < LEAST_ROOM {
        Finding::missing("room", format!("{found}: images cannot be pulled"), mend)
    } else if few {
        Finding::missing("room", format!("{found}, but for {files} files only"), mend)
    } else if bytes < ROOM {
        Finding::degraded("room", format!("{found}: enough for a few images"), mend)
    } else {
        Finding::ok("room", found)
    }
}
