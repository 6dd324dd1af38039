//! Docker's default policy, as an OCI description: what is not named is refused with EPERM.
//!
//! Data only. Which rules apply follows from the container's capabilities and never from the host;
//! [`super::compile`] makes a program of it.
//!
//! Source: the published default profile of the Moby project.

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};
use std::collections::HashSet;

/// Allowed to every container.
const ALWAYS: &str = "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir \
    chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 \
    clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect \
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old \
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit \
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod \
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock \
    fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate \
    ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat \
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid \
    geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid \
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage \
    getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat \
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents \
    io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill \
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link \
    linkat listen listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat \
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat \
    mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open \
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal \
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep \
    newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 \
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 \
    prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead \
    readlink readlinkat readv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages \
    removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min \
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval \
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
    sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 sendfile \
    sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid \
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid \
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid \
    setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt \
    shmget shutdown sigaltstack signal signalfd signalfd4 sigprocmask sigreturn socketcall \
    socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range \
    syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime \
    timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit \
    umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice \
    wait4 waitid waitpid write writev process_vm_readv process_vm_writev ptrace arch_prctl \
    modify_ldt";

/// Allowed with one of these capabilities.
const WITH: &[(&[Capability], &str)] = &[
    (&[Capability::DacReadSearch], "open_by_handle_at"),
    (
        &[Capability::SysAdmin],
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie \
         mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd \
         setdomainname sethostname setns statmount syslog umount umount2 unshare",
    ),
    (&[Capability::SysBoot], "reboot"),
    (&[Capability::SysChroot], "chroot"),
    (
        &[Capability::SysModule],
        "delete_module init_module finit_module",
    ),
    (&[Capability::SysPacct], "acct"),
    (
        &[Capability::SysPtrace],
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (&[Capability::SysRawio], "iopl ioperm"),
    (
        &[Capability::SysTime],
        "settimeofday stime clock_settime clock_settime64",
    ),
    (&[Capability::SysTtyConfig], "vhangup"),
    (
        &[Capability::SysNice],
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (&[Capability::Syslog], "syslog"),
    (&[Capability::Bpf], "bpf"),
    (&[Capability::Perfmon], "perf_event_open"),
];

/// All `CLONE_NEW*` flags: a clone without them makes no namespace.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// The address family that would reach the hypervisor.
const AF_VSOCK: u64 = 40;
/// What personality(2) may be asked: Linux, BSD, both with UNAME26, and the query.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The policy for a container that may have these capabilities.
#[must_use]
pub fn default_policy(capabilities: &HashSet<Capability>) -> LinuxSeccomp {
    let has = |wanted: &[Capability]| wanted.iter().any(|one| capabilities.contains(one));
    let mut rules = vec![
        allow(ALWAYS, None),
        allow("socket", Some(arg(0, not_equal(AF_VSOCK)))),
    ];
    rules.extend(PERSONALITIES.map(|value| allow("personality", Some(arg(0, equal(value))))));
    rules.extend(
        WITH.iter()
            .filter(|(with, _)| has(with))
            .map(|(_, names)| allow(names, None)),
    );
    if !has(&[Capability::SysAdmin]) {
        let masked = (
            LinuxSeccompOperator::ScmpCmpMaskedEq,
            NAMESPACE_FLAGS,
            Some(0),
        );
        rules.push(allow("clone", Some(arg(0, masked))));
        // Its flags are behind a pointer: libraries fall back to clone when it is not there.
        let mut absent = allow("clone3", None);
        absent
            .set_action(LinuxSeccompAction::ScmpActErrno)
            .set_errno_ret(Some(ENOSYS));
        rules.push(absent);
    }
    let mut policy = LinuxSeccomp::default();
    policy
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(EPERM))
        .set_architectures(Some(vec![
            Arch::ScmpArchX86_64,
            Arch::ScmpArchX86,
            Arch::ScmpArchX32,
        ]))
        .set_syscalls(Some(rules));
    policy
}

type Comparison = (LinuxSeccompOperator, u64, Option<u64>);

fn equal(value: u64) -> Comparison {
    (LinuxSeccompOperator::ScmpCmpEq, value, None)
}

fn not_equal(value: u64) -> Comparison {
    (LinuxSeccompOperator::ScmpCmpNe, value, None)
}

fn arg(index: usize, (op, value, second): Comparison) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default()
        .index(index)
        .op(op)
        .value(value);
    let arg = second
        .into_iter()
        .fold(arg, LinuxSeccompArgBuilder::value_two);
    // Every field has a default, so there is nothing that could be missing.
    arg.build().unwrap_or_default()
}

fn allow(names: &str, condition: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.split_whitespace().map(str::to_owned).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow)
        .set_args(condition.map(|one| vec![one]));
    rule
}
