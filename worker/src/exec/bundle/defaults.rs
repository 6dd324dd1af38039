//! What Docker gives a container that asks for nothing. Data only.

use oci_spec::runtime::{Capability, LinuxDeviceType};

/// Where programs are looked for.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Microseconds of a processor's scheduling period.
pub const CPU_PERIOD: u64 = 100_000;

/// What root may do; as a mask 00000000a80425fb.
pub const CAPABILITIES: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::SysChroot,
    Capability::Mknod,
    Capability::AuditWrite,
    Capability::Setfcap,
];

/// Type, target and options; `SHM` stands for mode and size of /dev/shm.
pub const MOUNTS: &[(&str, &str, &str)] = &[
    ("proc", "/proc", "nosuid,noexec,nodev"),
    ("tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k"),
    (
        "devpts",
        "/dev/pts",
        "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
    ),
    ("sysfs", "/sys", "nosuid,noexec,nodev,ro"),
    ("cgroup", "/sys/fs/cgroup", "nosuid,noexec,nodev,ro"),
    ("mqueue", "/dev/mqueue", "nosuid,noexec,nodev"),
    ("tmpfs", "/dev/shm", "nosuid,noexec,nodev,SHM"),
];

/// Not to be read.
pub const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Not to be written.
pub const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Kernel parameters of a network namespace of its own: ports below 1024 and ping for everybody.
pub const SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// Allow or deny, type, numbers (none is any), access.
pub type Device = (
    bool,
    LinuxDeviceType,
    Option<i64>,
    Option<i64>,
    &'static str,
);

/// For a privileged container: all.
pub const EVERY_DEVICE: Device = (true, LinuxDeviceType::A, None, None, "rwm");

/// Nothing, then: making any node, and using the harmless ones.
pub const DEVICES: &[Device] = &[
    (false, LinuxDeviceType::A, None, None, "rwm"),
    (true, LinuxDeviceType::C, None, None, "m"),
    (true, LinuxDeviceType::B, None, None, "m"),
    (true, LinuxDeviceType::C, Some(1), Some(3), "rwm"),
    (true, LinuxDeviceType::C, Some(1), Some(5), "rwm"),
    (true, LinuxDeviceType::C, Some(1), Some(7), "rwm"),
    (true, LinuxDeviceType::C, Some(1), Some(8), "rwm"),
    (true, LinuxDeviceType::C, Some(1), Some(9), "rwm"),
    (true, LinuxDeviceType::C, Some(5), Some(0), "rwm"),
    (true, LinuxDeviceType::C, Some(5), Some(1), "rwm"),
    (true, LinuxDeviceType::C, Some(5), Some(2), "rwm"),
    (true, LinuxDeviceType::C, Some(136), None, "rwm"),
];
