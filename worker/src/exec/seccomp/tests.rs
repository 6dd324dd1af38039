//! Programs are judged by running them, in a small interpreter of classic BPF.

use super::*;
use bpf::{AND, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, LOAD, RETURN};
use oci_spec::runtime::Capability;
use std::collections::HashSet;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = RET_ERRNO | 1;

/// Runs a program on a call as the kernel would.
fn run(program: &[u8], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut memory = [number.to_ne_bytes(), arch.to_ne_bytes()].concat();
    memory.extend([0; 8]);
    memory.extend(args.iter().flat_map(|arg| arg.to_ne_bytes()));
    let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
    let (mut at, mut register) = (0_usize, 0_u32);
    loop {
        let code = &program[at * 8..at * 8 + 8];
        let value = word(&code[4..]);
        let jump = |met: bool| usize::from(if met { code[2] } else { code[3] });
        at += 1;
        match u16::from_ne_bytes([code[0], code[1]]) {
            LOAD => register = word(&memory[value as usize..value as usize + 4]),
            AND => register &= value,
            JUMP => at += value as usize,
            JUMP_EQUAL => at += jump(register == value),
            JUMP_GREATER => at += jump(register > value),
            JUMP_GREATER_OR_EQUAL => at += jump(register >= value),
            RETURN => return value,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

struct Checked(Vec<u8>);

impl Checked {
    fn with(capabilities: &[Capability]) -> Self {
        let set: HashSet<_> = capabilities.iter().copied().collect();
        Self(compile(&policy::default_policy(&set)).unwrap().program)
    }

    fn call(&self, name: &str, args: [u64; 6]) -> u32 {
        let number = table::numbers(name, &[Side::X86_64]).next().unwrap();
        run(&self.0, ARCH_X86_64, number, args)
    }

    fn check(&self, names: &str, expected: u32) {
        for name in names.split(' ') {
            assert_eq!(self.call(name, [0; 6]), expected, "{name}");
        }
    }
}

#[test]
fn default_policy_allows_work_and_refuses_power() {
    let program = Checked::with(&[]);
    program.check(
        "read write openat execve clone fork futex socket mseal futex_wait",
        ALLOW,
    );
    program.check(
        "mount umount2 unshare setns keyctl add_key bpf perf_event_open reboot init_module \
         io_uring_setup userfaultfd kexec_load swapon chroot fsopen move_mount open_by_handle_at"
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .as_str(),
        EPERM,
    );
    assert_eq!(program.call("clone3", [0; 6]), RET_ERRNO | ENOSYS);
}

#[test]
fn arguments_decide_where_the_policy_says_so() {
    let program = Checked::with(&[]);
    let first = |name: &str, value: u64| program.call(name, [value, 0, 0, 0, 0, 0]);
    assert_eq!(first("clone", 0x11), ALLOW);
    assert_eq!(first("clone", 0x0002_0000 | 0x11), EPERM, "CLONE_NEWNS");
    assert_eq!(first("clone", 0x1000_0000), EPERM, "CLONE_NEWUSER");
    assert_eq!(first("clone", 1 << 32), ALLOW, "a bit above the mask");
    assert_eq!(first("socket", 2), ALLOW);
    assert_eq!(first("socket", 40), EPERM, "AF_VSOCK");
    assert_eq!(first("socket", 40 | 1 << 32), ALLOW, "the high half counts");
    assert_eq!(first("personality", 0x2_0008), ALLOW);
    assert_eq!(
        first("personality", 0x40000),
        EPERM,
        "no address randomisation"
    );
}

#[test]
fn capabilities_open_their_calls() {
    let admin = Checked::with(&[Capability::SysAdmin]);
    admin.check("mount unshare setns clone3 bpf", ALLOW);
    assert_eq!(admin.call("clone", [0x0002_0000, 0, 0, 0, 0, 0]), ALLOW);
    admin.check("reboot keyctl chroot", EPERM);
    Checked::with(&[Capability::SysBoot]).check("reboot", ALLOW);
    Checked::with(&[Capability::SysChroot]).check("chroot", ALLOW);
}

#[test]
fn the_other_sides_are_held_to_the_same_rules() {
    let Checked(program) = Checked::with(&[]);
    assert_eq!(run(&program, ARCH_X86, 3, [0; 6]), ALLOW, "x86 read");
    assert_eq!(run(&program, ARCH_X86, 21, [0; 6]), EPERM, "x86 mount");
    assert_eq!(
        run(&program, ARCH_X86_64, X32_BIT, [0; 6]),
        ALLOW,
        "x32 read"
    );
    assert_eq!(
        run(&program, ARCH_X86_64, X32_BIT | 165, [0; 6]),
        EPERM,
        "x32 mount"
    );
    assert_eq!(
        run(&program, 0xc000_00b7, 0, [0; 6]),
        RET_KILL_PROCESS,
        "aarch64"
    );
}

#[test]
fn calls_newer_than_the_table_are_not_there() {
    let Checked(program) = Checked::with(&[]);
    let unknown = RET_ERRNO | ENOSYS;
    assert_eq!(run(&program, ARCH_X86_64, 999, [0; 6]), unknown);
    assert_eq!(run(&program, ARCH_X86, 999, [0; 6]), unknown);
    assert_eq!(run(&program, ARCH_X86_64, X32_BIT | 999, [0; 6]), unknown);
    assert_eq!(run(&program, ARCH_X86_64, u32::MAX, [0; 6]), unknown);
}

#[test]
fn every_name_of_the_policy_is_in_the_table() {
    let all = policy::default_policy(&HashSet::from([
        Capability::SysAdmin,
        Capability::SysPtrace,
        Capability::SysTime,
        Capability::SysNice,
    ]));
    let sides = [Side::X86_64, Side::X86, Side::X32];
    let rules = all.syscalls().clone().unwrap();
    let names = rules.iter().flat_map(|rule| rule.names().clone());
    let unknown: Vec<_> = names
        .filter(|name| table::numbers(name, &sides).count() == 0)
        .collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn comparisons_see_all_64_bits() {
    let values = [
        0,
        1,
        5,
        0xffff_ffff,
        1 << 32,
        (1 << 32) | 5,
        (2 << 32) | 4,
        u64::MAX,
    ];
    type Holds = fn(u64, u64) -> bool;
    let operators: [(LinuxSeccompOperator, Holds); 6] = [
        (LinuxSeccompOperator::ScmpCmpEq, |a, b| a == b),
        (LinuxSeccompOperator::ScmpCmpNe, |a, b| a != b),
        (LinuxSeccompOperator::ScmpCmpLt, |a, b| a < b),
        (LinuxSeccompOperator::ScmpCmpLe, |a, b| a <= b),
        (LinuxSeccompOperator::ScmpCmpGt, |a, b| a > b),
        (LinuxSeccompOperator::ScmpCmpGe, |a, b| a >= b),
    ];
    for (op, holds) in operators {
        for limit in values {
            let program = one_rule(&[(3, op, limit)]);
            for value in values {
                let expected = if holds(value, limit) { ALLOW } else { EPERM };
                let found = run(&program, ARCH_X86_64, 0, [9, 9, 9, value, 9, 9]);
                assert_eq!(found, expected, "{value:#x} {op:?} {limit:#x}");
            }
        }
    }
}

#[test]
fn arguments_join_and_repeated_ones_are_alternatives() {
    let equal = LinuxSeccompOperator::ScmpCmpEq;
    let both = one_rule(&[(0, equal, 1), (1, equal, 2)]);
    let either = one_rule(&[(0, equal, 1), (0, equal, 2)]);
    let call =
        |program: &[u8], first, second| run(program, ARCH_X86_64, 0, [first, second, 0, 0, 0, 0]);
    assert_eq!(
        [call(&both, 1, 2), call(&both, 1, 3), call(&both, 2, 2)],
        [ALLOW, EPERM, EPERM]
    );
    assert_eq!([call(&either, 1, 9), call(&either, 2, 9)], [ALLOW, ALLOW]);
    assert_eq!(call(&either, 3, 9), EPERM);
}

#[test]
fn what_is_not_known_is_refused_with_a_reason() {
    let mut policy = LinuxSeccomp::default();
    policy.set_default_action(LinuxSeccompAction::ScmpActNotify);
    assert!(matches!(compile(&policy), Err(SeccompError::Action(_))));
    let bad = rule_policy(&[(6, LinuxSeccompOperator::ScmpCmpEq, 0)]);
    assert_eq!(compile(&bad), Err(SeccompError::Argument(6, "read".into())));
}

#[test]
fn the_default_program_is_short() {
    let Checked(program) = Checked::with(&[]);
    assert!(
        program.len() / 8 < 700,
        "{} instructions",
        program.len() / 8
    );
}

fn rule_policy(args: &[(usize, LinuxSeccompOperator, u64)]) -> LinuxSeccomp {
    let arg = |(index, op, value): &(usize, LinuxSeccompOperator, u64)| {
        let arg = oci_spec::runtime::LinuxSeccompArgBuilder::default();
        arg.index(*index).op(*op).value(*value).build().unwrap()
    };
    let mut rule = LinuxSyscall::default();
    rule.set_names(vec!["read".into()])
        .set_action(LinuxSeccompAction::ScmpActAllow)
        .set_args(Some(args.iter().map(arg).collect()));
    let mut policy = LinuxSeccomp::default();
    policy
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_syscalls(Some(vec![rule]));
    policy
}

fn one_rule(args: &[(usize, LinuxSeccompOperator, u64)]) -> Vec<u8> {
    compile(&rule_policy(args)).unwrap().program
}
