//! From an assigned task and its image to what its container is to be. Reads and writes small files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use skep_proto::assignment::AssignedTask;
use skep_proto::log::LogKeeping;
use skep_proto::spec::ContainerSpec;

use super::super::ExecError;
use super::super::bundle::{ContainerPlan, LogBounds, Network, Resources, RootSource, User};
use super::super::containers::NAME;
use super::super::image::{ImageConfig, Rootfs};
use super::{devices, files, mounts, options};
use crate::volumes::Given;

/// Digits of the task's id that make a host name.
const HOSTNAME: usize = 12;
/// Bytes of /dev/shm when nobody says otherwise.
const SHM: u64 = 64 << 20;

/// What the container is to be. `files` is where containers get small files of their own.
pub(super) fn plan(
    task: &AssignedTask,
    rootfs: &Rootfs,
    files: &Path,
    netns: PathBuf,
    volumes: BTreeMap<String, Given>,
) -> Result<ContainerPlan, ExecError> {
    let (spec, image) = (&task.spec.container, &rootfs.image.config);
    let root = RootSource::Overlay {
        lower: rootfs.lower.clone(),
        upper: rootfs.upper.clone(),
        work: rootfs.work.clone(),
    };
    let id = task.id.to_string();
    let hostname = spec
        .hostname
        .clone()
        .unwrap_or_else(|| id.chars().take(HOSTNAME).collect());
    let (user, home) = user(&root, spec, image)?;
    let (limits, reservations) = (task.spec.limits, task.spec.reservations);
    let some = |amount: u64| (amount > 0).then_some(amount);
    let mut attachments = files::write(files, task, &hostname)?;
    let places = files::places(files, task)?;
    attachments.extend(mounts::attachments(&spec.mounts, volumes, places)?);
    let mut args = arguments(image, spec)?;
    if spec.init {
        attachments.push(files::init(files));
        args.splice(0..0, [files::INIT.to_owned()]);
    }
    let privileges = &spec.privileges;
    Ok(ContainerPlan {
        args,
        env: environment(image, spec, &hostname, &home),
        cwd: workdir(image, spec),
        user,
        mounts: attachments,
        hostname,
        limits: Resources {
            memory_bytes: limits.memory,
            nano_cpus: limits.nano_cpus,
            pids: limits.pids,
        },
        reservations: Resources {
            memory_bytes: some(reservations.memory),
            nano_cpus: some(reservations.nano_cpus),
            pids: None,
        },
        network: Network::Join(netns),
        capabilities: options::capabilities(privileges),
        read_only: spec.read_only,
        no_new_privileges: privileges.no_new_privileges,
        privileged: privileges.privileged,
        devices: devices::find(privileges)?,
        seccomp: options::seccomp(privileges),
        oom_score_adj: spec.oom_score_adj,
        sysctls: spec.sysctls.clone(),
        rlimits: options::rlimits(&spec.ulimits)?,
        shm_bytes: spec.shm_size.unwrap_or(SHM),
        tty: spec.tty,
        log: log_bounds(task)?,
        labels: labels(task),
        stop_signal: stop_signal(image)?,
        root,
        id,
    })
}

fn user(
    root: &RootSource,
    spec: &ContainerSpec,
    image: &ImageConfig,
) -> Result<(User, String), ExecError> {
    let wanted = spec.user.as_ref().unwrap_or(&image.user);
    let (mut user, home) =
        User::find(root, wanted).map_err(|error| ExecError::from_chain(&error))?;
    user.join(root, &spec.groups)
        .map_err(|error| ExecError::from_chain(&error))?;
    Ok((user, home))
}

fn workdir(image: &ImageConfig, spec: &ContainerSpec) -> PathBuf {
    let wanted = spec.workdir.as_ref().unwrap_or(&image.working_dir);
    match wanted.as_str() {
        "" => PathBuf::from("/"),
        directory => PathBuf::from(directory),
    }
}

/// How its output is kept; none to keep nothing.
fn log_bounds(task: &AssignedTask) -> Result<Option<LogBounds>, ExecError> {
    match LogKeeping::of(task.spec.log.as_ref()).map_err(ExecError::new)? {
        LogKeeping::None => Ok(None),
        LogKeeping::Files {
            max_bytes,
            max_files,
        } => Ok(Some(LogBounds {
            max_bytes,
            max_files,
        })),
    }
}

fn labels(task: &AssignedTask) -> BTreeMap<String, String> {
    let mut labels = task.spec.container.labels.clone();
    labels.extend([
        ("skep.task".to_owned(), task.id.to_string()),
        (NAME.to_owned(), task.container_name()),
        (
            "skep.image".to_owned(),
            task.spec.container.image.to_string(),
        ),
        ("skep.service".to_owned(), task.service.to_string()),
        ("skep.service.name".to_owned(), task.service_name.clone()),
    ]);
    labels
}

/// The entrypoint, then the arguments: the service's where it has some, else the image's. With an entrypoint of
/// the service the image's arguments do not count, as they were meant for another program.
fn arguments(image: &ImageConfig, spec: &ContainerSpec) -> Result<Vec<String>, ExecError> {
    let (entrypoint, default) = match spec.entrypoint.as_slice() {
        [] => (&image.entrypoint, image.cmd.as_slice()),
        _ => (&spec.entrypoint, Default::default()),
    };
    let rest = match spec.args.as_slice() {
        [] => default,
        own => own,
    };
    let all: Vec<String> = entrypoint.iter().chain(rest).cloned().collect();
    if all.is_empty() {
        return Err(ExecError::new(
            "the image names no command: give one behind the image's name",
        ));
    }
    Ok(all)
}

/// Later ones count; each name once.
fn environment(
    image: &ImageConfig,
    spec: &ContainerSpec,
    hostname: &str,
    home: &str,
) -> Vec<String> {
    let mut all: Vec<String> = ContainerPlan::default().env;
    all.extend([format!("HOSTNAME={hostname}"), format!("HOME={home}")]);
    all.extend(spec.tty.then(|| "TERM=xterm".to_owned()));
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in image.env.iter().chain(&spec.env) {
        all.retain(|known| name(known) != name(entry));
        // A name without a value takes a variable away.
        if entry.contains('=') {
            all.push(entry.clone());
        }
    }
    all
}

fn stop_signal(image: &ImageConfig) -> Result<i32, ExecError> {
    match image.stop_signal.as_str() {
        "" => Ok(libc::SIGTERM),
        name => signal_number(name)
            .ok_or_else(|| ExecError::new(format!("the image's stop signal {name} is unknown"))),
    }
}

/// Numbers and names, with and without SIG.
fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    if let Some(offset) = full.strip_prefix("SIGRTMIN+") {
        return offset
            .parse::<i32>()
            .ok()
            .map(|offset| 34 + offset)
            .filter(|number| *number <= 64);
    }
    full.parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
