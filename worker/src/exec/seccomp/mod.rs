//! Compiles an OCI system call policy into a classic BPF program.
//!
//! Numbers that end the same way are merged into ranges, and the ranges become a balanced tree of
//! comparisons: about ten steps a call, and few instructions for the kernel to check and translate
//! when it is installed. It never decides what is allowed; that is [`policy`] or the bundle.
//!
//! Only x86_64 with its x86 and x32 sides is known. A call that is newer than our table is
//! answered with ENOSYS, so that libraries fall back, whatever the policy's default is.

mod bpf;
pub mod policy;
mod table;
#[cfg(test)]
mod tests;

use bpf::{Comparison, Condition, Instruction, Leaf};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use std::collections::BTreeMap;
use table::{Side, X32_BIT};
use thiserror::Error;

const RET_ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;
const ARCH_X86_64: u32 = 0xc000_003e;
const ARCH_X86: u32 = 0x4000_0003;
const RET_KILL_PROCESS: u32 = 0x8000_0000;

/// Why a policy cannot be compiled.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SeccompError {
    /// Asks a supervisor process for each call.
    #[error("the seccomp policy uses {0}, which is not supported; use ALLOW, ERRNO, LOG or KILL")]
    Action(LinuxSeccompAction),
    /// An architecture without a table.
    #[error("the seccomp policy names architecture {0:?}, which this build does not know")]
    Architecture(Arch),
    /// There are six arguments.
    #[error("the seccomp policy checks argument {0} of {1}; calls have arguments 0 to 5")]
    Argument(usize, String),
    /// More than 4096 instructions.
    #[error("the seccomp policy needs {0} instructions, and the kernel takes 4096 at most")]
    TooLong(usize),
}

/// A program ready for the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Instructions of eight bytes each, in the host's byte order.
    pub program: Vec<u8>,
    /// Flags for seccomp(2).
    pub flags: u64,
}

/// Compiles a policy.
///
/// # Errors
/// [`SeccompError`] for what this compiler does not know. Names of calls that are not in the table
/// are passed over, as the OCI specification wants.
pub fn compile(policy: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    let instructions = program(policy)?;
    if instructions.len() > 4096 {
        return Err(SeccompError::TooLong(instructions.len()));
    }
    let program = instructions.iter().flat_map(Instruction::bytes).collect();
    Ok(Filter {
        program,
        flags: flags(policy),
    })
}

fn program(policy: &LinuxSeccomp) -> Result<Vec<Instruction>, SeccompError> {
    let sides = sides(policy)?;
    let default = action(policy.default_action(), policy.default_errno_ret())?;
    let of = |wanted: &[Side]| -> Vec<Side> {
        sides
            .iter()
            .copied()
            .filter(|side| wanted.contains(side))
            .collect()
    };
    let native = tree(policy, &of(&[Side::X86_64, Side::X32]), default)?;
    let x86 = tree(policy, &of(&[Side::X86]), default)?;
    Ok(bpf::by_architecture(
        &[(ARCH_X86_64, native), (ARCH_X86, x86)],
        RET_KILL_PROCESS,
    ))
}

/// The code for all numbers of one architecture value; empty if no side of it is allowed.
fn tree(
    policy: &LinuxSeccomp,
    sides: &[Side],
    default: u32,
) -> Result<Vec<Instruction>, SeccompError> {
    if sides.is_empty() {
        return Ok(Vec::new());
    }
    let mut leaves = BTreeMap::<u32, Leaf>::new();
    for rule in policy.syscalls().iter().flatten() {
        let conditions = conditions(rule)?;
        let ret = action(rule.action(), rule.errno_ret())?;
        for number in rule
            .names()
            .iter()
            .flat_map(|name| table::numbers(name, sides))
        {
            let leaf = leaves.entry(number).or_insert_with(|| Leaf::of(default));
            leaf.add(&conditions, ret);
        }
    }
    Ok(bpf::search(&ranges(&leaves, sides, default)))
}

/// The first number of each range and what happens in it, beginning at zero.
fn ranges(leaves: &BTreeMap<u32, Leaf>, sides: &[Side], default: u32) -> Vec<(u32, Leaf)> {
    let unknown = Leaf::of(RET_ERRNO | ENOSYS);
    let ordinary = Leaf::of(default);
    let mut ranges: Vec<(u32, Leaf)> = Vec::new();
    let mut push = |from: u32, leaf: &Leaf| {
        if ranges.last().is_none_or(|(_, before)| before != leaf) {
            ranges.push((from, leaf.clone()));
        }
    };
    for side in [Side::X86, Side::X86_64, Side::X32] {
        let base = if side == Side::X32 { X32_BIT } else { 0 };
        if !sides.contains(&side) {
            if side == Side::X32 {
                push(X32_BIT, &Leaf::of(RET_KILL_PROCESS));
            }
            continue;
        }
        let end = base + table::first_unknown(side);
        for number in base..end {
            push(number, leaves.get(&number).unwrap_or(&ordinary));
        }
        push(end, &unknown);
    }
    ranges
}

fn sides(policy: &LinuxSeccomp) -> Result<Vec<Side>, SeccompError> {
    // The machine's own architecture is always meant.
    let mut sides = vec![Side::X86_64];
    for arch in policy.architectures().iter().flatten() {
        let side = match arch {
            Arch::ScmpArchNative | Arch::ScmpArchX86_64 => continue,
            Arch::ScmpArchX86 => Side::X86,
            Arch::ScmpArchX32 => Side::X32,
            // Policies written for many machines name them all.
            _ => continue,
        };
        if !sides.contains(&side) {
            sides.push(side);
        }
    }
    Ok(sides)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    let with = |base: u32, default: u32| base | (errno.unwrap_or(default) & 0xffff);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        LinuxSeccompAction::ScmpActKillProcess => RET_KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActErrno => with(RET_ERRNO, 1),
        LinuxSeccompAction::ScmpActTrace => with(0x7ff0_0000, 1),
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
        other @ LinuxSeccompAction::ScmpActNotify => return Err(SeccompError::Action(other)),
    })
}

/// The alternatives under which a rule holds: each a list of conditions that must all be met.
///
/// Conditions on different arguments are all wanted; several on one argument are alternatives, as
/// runc and libseccomp read them.
fn conditions(rule: &LinuxSyscall) -> Result<Vec<Vec<Condition>>, SeccompError> {
    let args = rule.args().as_deref().unwrap_or_default();
    let converted: Vec<_> = args
        .iter()
        .map(|arg| condition(arg, rule))
        .collect::<Result<_, _>>()?;
    let repeated = (0..6).any(|index| args.iter().filter(|arg| arg.index() == index).count() > 1);
    if repeated {
        Ok(converted.into_iter().map(|one| vec![one]).collect())
    } else {
        Ok(vec![converted])
    }
}

fn condition(arg: &LinuxSeccompArg, rule: &LinuxSyscall) -> Result<Condition, SeccompError> {
    let index = u32::try_from(arg.index())
        .ok()
        .filter(|index| *index < 6)
        .ok_or_else(|| {
            SeccompError::Argument(
                arg.index(),
                rule.names().first().cloned().unwrap_or_default(),
            )
        })?;
    let second = arg.value_two().unwrap_or(0);
    let (comparison, value, mask) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (Comparison::NotEqual, arg.value(), u64::MAX),
        LinuxSeccompOperator::ScmpCmpLt => (Comparison::Less, arg.value(), u64::MAX),
        LinuxSeccompOperator::ScmpCmpLe => (Comparison::LessOrEqual, arg.value(), u64::MAX),
        LinuxSeccompOperator::ScmpCmpEq => (Comparison::Equal, arg.value(), u64::MAX),
        LinuxSeccompOperator::ScmpCmpGe => (Comparison::GreaterOrEqual, arg.value(), u64::MAX),
        LinuxSeccompOperator::ScmpCmpGt => (Comparison::Greater, arg.value(), u64::MAX),
        // The first value is the mask here.
        LinuxSeccompOperator::ScmpCmpMaskedEq => (Comparison::Equal, second, arg.value()),
    };
    Ok(Condition {
        index,
        comparison,
        value,
        mask,
    })
}

fn flags(policy: &LinuxSeccomp) -> u64 {
    let flag = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 2,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 4,
        // Only means something with a listener.
        _ => 0,
    };
    policy
        .flags()
        .iter()
        .flatten()
        .map(flag)
        .fold(0, |all, one| all | one)
}
