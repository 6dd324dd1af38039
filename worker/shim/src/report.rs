//! How the child tells its supervisor what it was doing when the kernel refused.
//!
//! A report is ten bytes on a pipe. The child only fills them; all words are made by the
//! supervisor, which has the plan.

use crate::kernel::Errno;
use skep_shim::plan::{Program, Step};
use skep_shim::protocol::Failure;

/// Bytes of a report.
pub const LENGTH: usize = 10;

/// The child stands before exec and waits.
const READY: u8 = 1;
const FAULT: u8 = 2;
const NO_STEP: u32 = u32::MAX;

/// What the child was doing. The order is private to one binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Act {
    DieWithParent,
    JoinCgroup,
    JoinNetwork,
    CgroupNamespace,
    OomScore,
    IsolateMounts,
    OpenRoot,
    MountRoot,
    MakeTarget,
    OpenTarget,
    OpenSource,
    NewFileSystem,
    Configure,
    Change,
    Attach,
    Write,
    Name,
    RootReadOnly,
    ChangeRoot,
    Output,
    Session,
    Limits,
    WorkingDirectory,
    BoundCapabilities,
    Seccomp,
    User,
    NoNewPrivileges,
    Capabilities,
    Ready,
    AwaitStart,
    Hide,
    JoinContainer,
    Terminal,
    Exec,
}

/// A refusal of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub act: Act,
    pub step: Option<u32>,
    pub errno: Errno,
}

/// What a report says.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    Ready,
    Fault {
        act: u8,
        step: Option<u32>,
        errno: i32,
    },
}

/// Ties an error to what was being done.
pub trait During<T> {
    fn during(self, act: Act) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, act: Act) -> Result<T, Fault> {
        self.map_err(|errno| Fault {
            act,
            step: None,
            errno,
        })
    }
}

/// The bytes for "ready".
pub fn ready() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[0] = READY;
    bytes
}

impl Fault {
    /// The bytes for a fault.
    pub fn bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = FAULT;
        bytes[1] = self.act as u8;
        bytes[2..6].copy_from_slice(&self.step.unwrap_or(NO_STEP).to_le_bytes());
        bytes[6..10].copy_from_slice(&self.errno.0.to_le_bytes());
        bytes
    }
}

/// Reads a report. `None` for bytes that no child writes.
pub fn read(bytes: &[u8]) -> Option<Report> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    match bytes[0] {
        READY => Some(Report::Ready),
        FAULT => {
            let step = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
            let errno = i32::from_le_bytes([bytes[6], bytes[7], bytes[8], bytes[9]]);
            Some(Report::Fault {
                act: bytes[1],
                step: (step != NO_STEP).then_some(step),
                errno,
            })
        }
        _ => None,
    }
}

/// The failure that a fault means for a user.
pub fn explain(
    steps: &[Step],
    program: &Program,
    (act, step, errno): (u8, Option<u32>, i32),
) -> Failure {
    let step = step
        .and_then(|step| steps.get(usize::try_from(step).ok()?))
        .map(|step| format!("{}: ", step.describe()))
        .unwrap_or_default();
    let command = program
        .args
        .first()
        .map(|word| word.to_string_lossy().into_owned());
    let command = command.unwrap_or_default();
    let is = |wanted: Act| act == wanted as u8;
    let not_found = matches!(errno, libc::ENOENT | libc::ENOTDIR);
    let (act, code) = if is(Act::Exec) && not_found {
        (
            format!("run {command}: command not found in the container"),
            127,
        )
    } else if is(Act::Exec) {
        (format!("run {command}"), 126)
    } else if is(Act::WorkingDirectory) {
        (format!("enter {}", program.cwd.to_string_lossy()), 126)
    } else {
        (format!("{step}{}", words(act)), 125)
    };
    Failure { act, errno, code }
}

fn words(act: u8) -> &'static str {
    const WORDS: &[(Act, &str)] = &[
        (Act::DieWithParent, "tie the container to its supervisor"),
        (Act::JoinCgroup, "enter the container's cgroups"),
        (Act::JoinNetwork, "join the network namespace"),
        (Act::CgroupNamespace, "make a cgroup namespace"),
        (Act::OomScore, "set the out-of-memory score"),
        (Act::IsolateMounts, "make the host's mounts private"),
        (Act::OpenRoot, "open the root file system"),
        (Act::MountRoot, "mount the root file system"),
        (Act::MakeTarget, "make the mount point"),
        (Act::OpenTarget, "open the mount point"),
        (Act::OpenSource, "open the source"),
        (Act::NewFileSystem, "make the file system"),
        (Act::Configure, "set a mount option"),
        (Act::Change, "set mount attributes"),
        (Act::Attach, "attach the mount"),
        (Act::Write, "write the value"),
        (Act::Name, "set the name"),
        (Act::RootReadOnly, "make the root file system read-only"),
        (Act::ChangeRoot, "change the root"),
        (Act::Output, "connect standard input and output"),
        (Act::Session, "begin a session"),
        (Act::Limits, "set resource limits"),
        (Act::BoundCapabilities, "bound capabilities"),
        (Act::Seccomp, "install the system call filter"),
        (Act::User, "change the user"),
        (Act::NoNewPrivileges, "give up new privileges"),
        (Act::Capabilities, "set capabilities"),
        (Act::Ready, "say that it is ready"),
        (Act::AwaitStart, "wait for the start"),
        (Act::Hide, "hide from the container"),
        (Act::JoinContainer, "enter the container"),
        (Act::Terminal, "make a terminal"),
    ];
    WORDS
        .iter()
        .find(|(known, _)| *known as u8 == act)
        .map_or("an unknown act", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_pipe() {
        let fault = Fault {
            act: Act::Attach,
            step: Some(3),
            errno: Errno(libc::EPERM),
        };
        let expected = Report::Fault {
            act: Act::Attach as u8,
            step: Some(3),
            errno: libc::EPERM,
        };
        assert_eq!(read(&fault.bytes()), Some(expected));
        assert_eq!(read(&ready()), Some(Report::Ready));
        assert_eq!(read(&[0; LENGTH]), None);
        assert_eq!(read(&ready()[..4]), None);
    }

    #[test]
    fn every_act_has_words() {
        for act in 0..=Act::Exec as u8 {
            let spoken = act == Act::Exec as u8 || act == Act::WorkingDirectory as u8;
            assert!(spoken || words(act) != "an unknown act", "act {act}");
        }
    }
}
