//! Makes a lab: record, cgroups, switch, machines, cables, daemons, in this order.
//!
//! The record comes first and the daemons last. Interrupted anywhere, what there is lies in cgroups
//! and directories that follow from the name, and `down` removes it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::control::Question;
use super::error::LabError;
use super::life::{self, BOOT_WAIT};
use super::links::{self, Plug};
use super::options::LabOptions;
use super::record::{DATA_ROOT, Kind, Machine, Place, Record};
use super::{Cable, OUTSIDE, cgroups, down, machine, ranges};

/// The machine that holds the bridge.
pub(crate) const SWITCH: &str = "switch";
/// The last number of `outside`, which is also the nodes' gateway.
pub(crate) const OUTSIDE_LAST: u8 = 254;

pub(crate) fn up(options: &LabOptions) -> Result<Place, LabError> {
    options.check()?;
    check_machine()?;
    let place = Place::new(&options.roots, &options.name)?;
    let _lock = place.lock()?;
    check_free(&place)?;
    match build(&place, options) {
        Ok(()) => Ok(place),
        Err(e) => {
            // The first error is the one to show; what could not be cleaned is found by `down`.
            let _ = down::clear(&place);
            Err(e)
        }
    }
}

fn check_machine() -> Result<(), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    for space in ["net", "mnt", "pid", "uts", "ipc", "cgroup"] {
        if !Path::new("/proc/self/ns").join(space).exists() {
            return Err(LabError::Missing {
                feature: format!("{space} namespaces"),
                advice: "use a kernel that has them (6.1 or newer with its usual configuration)"
                    .into(),
            });
        }
    }
    Ok(())
}

fn check_free(place: &Place) -> Result<(), LabError> {
    let name = place.name.clone();
    match place.read() {
        Ok(record) if record.whole && record.machines.iter().any(|m| life::is_on(place, m)) => {
            Err(LabError::AlreadyUp { name })
        }
        Ok(record) => {
            let what = if record.whole {
                "none of its machines runs"
            } else {
                "`up` was interrupted"
            };
            Err(LabError::HalfDead {
                name,
                what: what.into(),
            })
        }
        Err(LabError::NoLab { .. }) if !place.store.exists() => Ok(()),
        Err(LabError::NoLab { .. }) => Err(LabError::HalfDead {
            name,
            what: format!("{} is left", place.store.display()),
        }),
        Err(e) => Err(e),
    }
}

fn build(place: &Place, options: &LabOptions) -> Result<(), LabError> {
    let mut record = plan(place, options)?;
    let act = |path: &Path| LabError::io(format!("make {}", path.display()));
    fs::create_dir_all(&place.run).map_err(act(&place.run))?;
    place.write(&record)?;
    fs::create_dir_all(&place.store).map_err(act(&place.store))?;
    cgroups::make_lab(&record.hierarchies, &record.name)?;
    let begun: Vec<Child> = record
        .machines
        .iter()
        .map(|m| begin(place, &record, m))
        .collect::<Result<_, _>>()?;
    for (child, m) in begun.into_iter().zip(&record.machines) {
        finish(place, child, m)?;
    }
    let switch = life::alive(place, record.switch()?)?;
    links::make_switch(switch)?;
    record
        .plugged()
        .try_for_each(|m| connect(place, &record, m))?;
    record.plugged().try_for_each(|m| start_daemon(place, m))?;
    record.whole = true;
    place.write(&record)
}

fn plan(place: &Place, options: &LabOptions) -> Result<Record, LabError> {
    let routes = fs::read_to_string("/proc/net/route").map_err(LabError::io("read the routes"))?;
    let mut taken = Vec::new();
    for name in super::record::names(&options.roots)? {
        let other = Place::new(&options.roots, &name)?;
        taken.extend(other.read().map(|record| record.third));
    }
    let third = ranges::choose(&ranges::routes(&routes), &taken).ok_or(LabError::NoRange)?;
    let at = |name: String, kind, last| Machine {
        name,
        kind,
        address: ranges::address(third, last),
        cable: Cable::Plugged,
    };
    let mut machines = vec![at(SWITCH.into(), Kind::Switch, 0)];
    for (role, last) in options.nodes.iter().zip(1..) {
        machines.push(at(format!("node-{last}"), Kind::Node(*role), last));
    }
    machines.push(at(OUTSIDE.into(), Kind::Outside, OUTSIDE_LAST));
    let find = |path: &Path| {
        path.canonicalize()
            .map_err(LabError::io(format!("find the program {}", path.display())))
    };
    Ok(Record {
        version: Record::VERSION,
        name: options.name.clone(),
        third,
        program: find(&options.program)?,
        daemon: find(&options.daemon.program)?,
        daemon_args: options.daemon.args.clone(),
        store: place.store.clone(),
        hierarchies: cgroups::mounted()?,
        machines,
        whole: false,
    })
}

/// Starts to make a machine; machines are made side by side.
pub(crate) fn begin(place: &Place, record: &Record, m: &Machine) -> Result<Child, LabError> {
    cgroups::make_machine(&record.hierarchies, &record.name, &m.name)?;
    let run = place.run_of(&m.name);
    fs::create_dir_all(&run).map_err(LabError::io(format!("make {}", run.display())))?;
    if m.kind != Kind::Switch {
        let data = place.store_of(&m.name).join(DATA_ROOT);
        fs::create_dir_all(&data).map_err(LabError::io(format!("make {}", data.display())))?;
    }
    Command::new(&record.program)
        .args([machine::WORD, "make"])
        .arg(&place.run)
        .arg(&m.name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LabError::io(format!("run {}", record.program.display())))
}

/// Waits until a machine's PID 1 answers.
pub(crate) fn finish(place: &Place, child: Child, m: &Machine) -> Result<(), LabError> {
    let says = LabError::io(format!("wait for {}", m.name));
    let output = child.wait_with_output().map_err(says)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return Err(LabError::Machine {
            node: m.name.clone(),
            why,
        });
    }
    let answers = || life::ask(place, m, &Question::Status).is_ok();
    if super::procs::wait_until(BOOT_WAIT, || answers() || !life::is_on(place, m)) && answers() {
        return Ok(());
    }
    let said =
        fs::read_to_string(place.run_of(&m.name).join(machine::MESSAGES)).unwrap_or_default();
    let why = if said.trim().is_empty() {
        "its PID 1 does not answer"
    } else {
        said.trim()
    };
    Err(LabError::Machine {
        node: m.name.clone(),
        why: why.into(),
    })
}

/// Lays a machine's cable.
pub(crate) fn connect(place: &Place, record: &Record, m: &Machine) -> Result<(), LabError> {
    let switch = life::alive(place, record.switch()?)?;
    let gateway = ranges::address(record.third, OUTSIDE_LAST);
    let plug = Plug {
        name: &m.name,
        address: m.address,
        gateway,
    };
    links::plug(switch, life::alive(place, m)?, &plug)
}

/// Tells a node's PID 1 to start the daemon; other machines have none.
pub(crate) fn start_daemon(place: &Place, m: &Machine) -> Result<(), LabError> {
    if !matches!(m.kind, Kind::Node(_)) {
        return Ok(());
    }
    let says = LabError::io(format!("ask the PID 1 of {}", m.name));
    let answer = life::ask(place, m, &Question::StartDaemon).map_err(says)?;
    match answer.refused {
        Some(why) => Err(LabError::Machine {
            node: m.name.clone(),
            why,
        }),
        None => Ok(()),
    }
}
