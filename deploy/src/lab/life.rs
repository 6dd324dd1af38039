//! What happens to the machines of a lab that is up: kill, start, cut, heal, and how they are.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::Signal;

use super::control::{self, Answer, Question};
use super::error::LabError;
use super::procs::{self, Proc};
use super::record::{Kind, Machine, Place, Record};
use super::{Cable, DaemonStatus, NodeStatus, Power, cgroups, links, machine, up};

/// A machine is up in some 20 ms; many at once on a slow disk take longer.
pub(crate) const BOOT_WAIT: Duration = Duration::from_secs(20);
/// A SIGKILL ends a namespace in milliseconds, a daemon that writes its log on SIGTERM in seconds.
const END_WAIT: Duration = Duration::from_secs(30);

/// The machine's PID 1, if it lives.
pub(crate) fn alive(place: &Place, m: &Machine) -> Result<Proc, LabError> {
    let path = place.run_of(&m.name).join(machine::PID);
    let found: Option<Proc> = fs::read(path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    found.filter(|p| p.is_alive()).ok_or_else(|| LabError::Off {
        node: m.name.clone(),
    })
}

pub(crate) fn is_on(place: &Place, m: &Machine) -> bool {
    alive(place, m).is_ok()
}

pub(crate) fn ask(place: &Place, m: &Machine, question: &Question) -> io::Result<Answer> {
    control::ask(&place.run_of(&m.name).join(control::SOCKET), question)
}

pub(crate) fn statuses(place: &Place, record: &Record) -> Vec<NodeStatus> {
    record.plugged().map(|m| status(place, m)).collect()
}

fn status(place: &Place, m: &Machine) -> NodeStatus {
    let on = is_on(place, m);
    let daemon = match ask(place, m, &Question::Status) {
        Ok(answer) if on && matches!(m.kind, Kind::Node(_)) => match answer.daemon {
            Some(pid) => DaemonStatus::Running(pid),
            None => DaemonStatus::Stopped(answer.last_end),
        },
        _ => DaemonStatus::Absent,
    };
    NodeStatus {
        name: m.name.clone(),
        role: if let Kind::Node(role) = m.kind {
            Some(role)
        } else {
            None
        },
        address: m.address,
        power: if on { Power::On } else { Power::Off },
        cable: m.cable,
        daemon,
    }
}

/// The machine of that name, if it is a node.
fn node<'a>(record: &'a Record, name: &str) -> Result<&'a Machine, LabError> {
    let m = record.machine(name)?;
    match m.kind {
        Kind::Node(_) => Ok(m),
        _ => Err(LabError::NotANode { node: name.into() }),
    }
}

pub(crate) fn kill(place: &Place, name: &str) -> Result<(), LabError> {
    let _lock = place.lock()?;
    let record = place.read()?;
    let m = node(&record, name)?;
    let init = alive(place, m)?;
    // The cable first: peers must see silence, not the goodbyes of dying processes.
    links::unplug(alive(place, record.switch()?)?, name)?;
    init.kill(END_WAIT)
        .map_err(LabError::io(format!("end the PID 1 of {name}")))?;
    remove_leftovers(place, &record, m)
}

/// What a dead machine leaves beside its store: cgroups, and the files of its PID 1.
fn remove_leftovers(place: &Place, record: &Record, m: &Machine) -> Result<(), LabError> {
    cgroups::clear(&record.hierarchies, &record.name, Some(&m.name))?;
    let run = place.run_of(&m.name);
    match fs::remove_dir_all(&run) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(LabError::io(format!("remove {}", run.display()))(e))
        }
        _ => Ok(()),
    }
}

pub(crate) fn start(place: &Place, name: &str) -> Result<(), LabError> {
    let _lock = place.lock()?;
    let mut record = place.read()?;
    let m = node(&record, name)?.clone();
    if is_on(place, &m) {
        let says = LabError::io(format!("ask the PID 1 of {name}"));
        if ask(place, &m, &Question::Status)
            .map_err(says)?
            .daemon
            .is_some()
        {
            return Err(LabError::Running { node: name.into() });
        }
        return up::start_daemon(place, &m);
    }
    // It may have died by other hands than `kill`.
    links::unplug(alive(place, record.switch()?)?, name)?;
    remove_leftovers(place, &record, &m)?;
    up::finish(place, up::begin(place, &record, &m)?, &m)?;
    up::connect(place, &record, &m)?;
    remember(place, &mut record, name, Cable::Plugged)?;
    up::start_daemon(place, &m)
}

pub(crate) fn signal_daemon(place: &Place, name: &str, signal: Signal) -> Result<(), LabError> {
    let _lock = place.lock()?;
    let record = place.read()?;
    let m = node(&record, name)?;
    alive(place, m)?;
    let says = || LabError::io(format!("ask the PID 1 of {name}"));
    let asked = Question::SignalDaemon(signal.as_raw());
    if ask(place, m, &asked).map_err(says())?.refused.is_some() {
        return Err(LabError::NoDaemon { node: name.into() });
    }
    let ended = || ask(place, m, &Question::Status).is_ok_and(|answer| answer.daemon.is_none());
    if procs::wait_until(END_WAIT, ended) {
        return Ok(());
    }
    Err(LabError::Late {
        what: format!("the daemon of {name} to end"),
        seconds: END_WAIT.as_secs(),
    })
}

pub(crate) fn set_cable(place: &Place, name: &str, cable: Cable) -> Result<(), LabError> {
    let _lock = place.lock()?;
    let mut record = place.read()?;
    let m = record.machine(name)?;
    if m.kind == Kind::Switch {
        return Err(LabError::NotANode { node: name.into() });
    }
    alive(place, m)?;
    let switch = alive(place, record.switch()?)?;
    match cable {
        Cable::Cut => links::cut(switch, name)?,
        Cable::Plugged => links::heal(switch, name)?,
    }
    remember(place, &mut record, name, cable)
}

fn remember(place: &Place, record: &mut Record, name: &str, cable: Cable) -> Result<(), LabError> {
    for m in record.machines.iter_mut().filter(|m| m.name == name) {
        m.cable = cable;
    }
    place.write(record)
}
