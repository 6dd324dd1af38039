//! `skep-init`: the first process of a container that asks for one.
//!
//! It starts the program named by its arguments, passes every signal on to it, reaps whatever is orphaned in the
//! container, and ends as its program ends. It never does anything else.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, tcsetpgrp};

/// What a shell answers for a program that cannot be found.
const NOT_FOUND: u8 = 127;
/// What a shell answers for a program that cannot be run.
const NOT_RUN: u8 = 126;
/// A signal's number is added to this in the exit code of a program that it ended.
const BY_SIGNAL: i32 = 128;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err((code, reason)) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(io::stderr(), "skep-init: {reason}");
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<u8, (u8, String)> {
    let words = std::env::args_os()
        .skip(1)
        .map(|word| CString::new(word.into_vec()));
    let env = std::env::vars_os().map(|(name, value)| {
        let entry = [name.into_vec(), b"=".to_vec(), value.into_vec()].concat();
        CString::new(entry)
    });
    // What came from the kernel holds no zero byte.
    let (words, env): (Vec<_>, Vec<_>) = (words.flatten().collect(), env.flatten().collect());
    let program = words
        .first()
        .ok_or((NOT_RUN, "names no program".to_owned()))?;
    // Blocked, so that they wait until they are taken; the program begins with none blocked.
    let signals = SigSet::all();
    let failed = |errno: Errno| (NOT_RUN, format!("cannot block signals: {errno}"));
    signals.thread_block().map_err(failed)?;
    let child = begin(program, &words, &env).map_err(|errno| {
        let code = match errno {
            Errno::ENOENT | Errno::ENOTDIR => NOT_FOUND,
            _ => NOT_RUN,
        };
        let shown = program.to_string_lossy();
        (code, format!("cannot run {shown}: {}", errno.desc()))
    })?;
    // With a terminal, its keys are to reach the program; without one this does nothing.
    let _ = tcsetpgrp(io::stdin(), child);
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(child) {
                    return Ok(code);
                }
            }
            // Of the terminal, about this process being in the background: of no use to the program.
            Ok(Signal::SIGTTIN | Signal::SIGTTOU) | Err(_) => {}
            // It may have ended meanwhile; then its end is next.
            Ok(signal) => drop(kill(child, signal)),
        }
    }
}

/// Starts the program in a process group of its own, with no signal blocked or ignored.
fn begin(program: &CString, words: &[CString], env: &[CString]) -> nix::Result<Pid> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::all())?;
    posix_spawnp(
        program,
        &PosixSpawnFileActions::init()?,
        &attributes,
        words,
        env,
    )
}

/// Takes in all that ended; the exit code when the program is among them.
fn reap(child: Pid) -> Option<u8> {
    let mut end = None;
    loop {
        let code = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                Some(BY_SIGNAL + signal as i32)
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return end,
            Ok(_) | Err(_) => None,
        };
        end = code
            .map(|code| u8::try_from(code & 0xff).unwrap_or(u8::MAX))
            .or(end);
    }
}
