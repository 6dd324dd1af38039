//! The lab's other face: what the same program does when the lab runs it as a part of a machine.
//!
//! A namespace is entered by a fresh process with one thread, so the caller may have as many as it
//! likes, and nothing here is unsafe. `make` becomes a machine's parent and ends, `init` is its PID 1,
//! `enter` runs a command in it, `run` is the last step before a program of the user's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;

use super::procs::Proc;
use super::record::{self, Place, Record};
use super::{cgroups, enter, init};

/// The first argument that means: not a command line, but a part of a lab.
pub(crate) const WORD: &str = "lab-machine";
/// PID 1 of a machine, as the host counts: in its run directory.
pub(crate) const PID: &str = "init.json";
/// What a machine's PID 1 says when it cannot begin.
pub(crate) const MESSAGES: &str = "init.log";

/// To be the first call of `main`: when the program was started as a part of a lab, does that part's
/// work and gives the exit code; otherwise does nothing.
#[must_use]
pub fn entry() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != WORD {
        return None;
    }
    let verb = args.next()?;
    let rest: Vec<OsString> = args.collect();
    let ended = match verb.to_str() {
        Some("make") => on_machine(&rest, |place, record, name, _| make(place, record, name)),
        Some("init") => on_machine(&rest, |place, record, name, _| {
            init::serve(place, record, name)
        }),
        Some("enter") => on_machine(&rest, enter::enter),
        Some("run") => Err(run(&rest)),
        _ => Err("this part of a lab is not known".into()),
    };
    Some(match ended {
        Ok(code) => code,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::from(127)
        }
    })
}

type Ended = Result<ExitCode, String>;

/// Reads `RUN MACHINE [-- ARGV…]`, and the record in RUN.
fn on_machine(
    args: &[OsString],
    work: impl FnOnce(&Place, &Record, &str, &[OsString]) -> Ended,
) -> Ended {
    let [run, name, rest @ ..] = args else {
        return Err("RUN and MACHINE are missing".into());
    };
    let run = PathBuf::from(run);
    let name = name.to_str().ok_or("the machine's name is not UTF-8")?;
    let record = record::read(&run).map_err(|e| format!("read the lab's record: {e}"))?;
    let place = Place {
        name: record.name.clone(),
        run_root: run.parent().unwrap_or(Path::new("/")).into(),
        store_root: record.store.parent().unwrap_or(Path::new("/")).into(),
        store: record.store.clone(),
        run,
    };
    work(&place, &record, name, rest.get(1..).unwrap_or_default())
}

/// Makes a machine's namespaces and its PID 1, writes down which process that is, and ends.
///
/// The first act is to enter the machine's cgroups: from then on `down` finds this process, and where
/// `down` has removed them already it ends here.
fn make(place: &Place, record: &Record, name: &str) -> Ended {
    let says = |act: &str| {
        let act = act.to_string();
        move |e: std::io::Error| format!("{act}: {e}")
    };
    let all = &record.hierarchies;
    cgroups::enter_root(all, &record.name, name).map_err(says("enter the machine's cgroups"))?;
    nix::unistd::setsid().map_err(|e| format!("leave the terminal: {e}"))?;
    let program = std::env::current_exe().map_err(says("find the lab's program"))?;
    let spaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    // PID 1 makes the mount namespace itself: this process still has to read the host's /proc.
    unshare(spaces).map_err(|e| format!("make namespaces: {e}"))?;
    cgroups::settle(all, &record.name, name).map_err(says("leave the root of the cgroups"))?;
    let run = place.run_of(name);
    let messages = File::create(run.join(MESSAGES)).map_err(says("open the machine's messages"))?;
    let output = messages
        .try_clone()
        .map_err(says("open the machine's messages"))?;
    let child = Command::new(program)
        .args([WORD, "init"])
        .arg(&place.run)
        .arg(name)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(messages)
        .spawn()
        .map_err(says("start PID 1"))?;
    let pid = i32::try_from(child.id()).map_err(|e| format!("read the pid of PID 1: {e}"))?;
    let pid = Proc::of(pid).map_err(says("look at PID 1"))?;
    let text = serde_json::to_vec(&pid).map_err(|e| format!("write down PID 1: {e}"))?;
    let next = run.join("init.json.next");
    fs::write(&next, text).map_err(says("write down PID 1"))?;
    fs::rename(&next, run.join(PID)).map_err(says("write down PID 1"))?;
    Ok(ExitCode::SUCCESS)
}

/// The command that starts a program of the user's from a process that blocks signals.
pub(crate) fn runner(die_with_parent: bool) -> Command {
    let mut command = Command::new(super::mounts::PROGRAM);
    command.args([WORD, "run", if die_with_parent { "bound" } else { "free" }]);
    command
}

/// Becomes a program: with no signal blocked, and bound to its parent's life if asked. Only gives
/// something back when there is no such program.
fn run(args: &[OsString]) -> String {
    let [life, program, rest @ ..] = args else {
        return "there is no command to run".into();
    };
    if let Err(e) = SigSet::all().thread_unblock() {
        return format!("unblock signals: {e}");
    }
    if life == "bound" {
        let bound =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        // PID 1 in place of a parent beyond this namespace: it has ended already.
        if bound.is_err() || rustix::process::getppid().is_some_and(|p| p.is_init()) {
            return "the caller has ended".into();
        }
    }
    let failed = Command::new(program).args(rest).exec();
    format!("cannot run {}: {failed}", program.to_string_lossy())
}
