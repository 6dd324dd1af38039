//! Compares what a stack asks for with what a cluster has. Pure.
//!
//! A service that is as it should be is left alone: to deploy the same files again writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_proto::file::{File, FileId, FileKind};
use skep_proto::ids::{NetworkId, ServiceId};
use skep_proto::network::{Network, NetworkSpec};
use skep_proto::spec::{FileUse, NetworkUse, ServiceSpec};

use super::place::Trouble;
use super::wanted::{FileWanted, NAMESPACE, NetworkWanted, ServiceWanted, Wanted};

/// What a cluster has.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// All networks.
    pub networks: Vec<Network>,
    /// All secrets and configs.
    pub files: Vec<File>,
    /// All services that are not being removed.
    pub services: Vec<ServicePresent>,
}

/// A service that a cluster has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePresent {
    /// Which.
    pub id: ServiceId,
    /// Log index of its last change.
    pub version: u64,
    /// Number of its spec.
    pub revision: u64,
    /// What was asked for last.
    pub spec: Arc<ServiceSpec>,
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Networks to make.
    pub networks: Vec<NetworkSpec>,
    /// Secrets and configs of the files that are ours.
    pub files: Vec<FileStep>,
    /// Every service of the files, each behind all it waits for.
    pub services: Vec<Step>,
    /// Services of the stack that the files do not name.
    pub left_over: Vec<ServicePresent>,
    /// Networks by name, those included that are to be made once they have an id.
    known: BTreeMap<String, NetworkId>,
    /// Secrets and configs by kind and name, as networks.
    known_files: BTreeMap<(FileKind, String), FileId>,
}

/// What is to be done with a secret or config.
#[derive(Clone, Debug)]
pub struct FileStep {
    /// Which of the two it is.
    pub kind: FileKind,
    /// What the files say.
    pub wanted: FileWanted,
    /// It is there.
    pub present: bool,
    /// It is as the files say. What is in a secret only managers know: who plans asks them.
    pub same: bool,
}

/// What is to be done with a service.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the files say.
    pub wanted: ServiceWanted,
    /// What the cluster has.
    pub present: Option<ServicePresent>,
    /// It is as the files say.
    pub same: bool,
}

/// What takes `present` to `wanted`.
///
/// # Errors
/// Where something that must be there is not, or something else bears its name.
pub fn plan(wanted: &Wanted, present: &Present) -> Result<Plan, Trouble> {
    let by_name: BTreeMap<&str, &Network> = present
        .networks
        .iter()
        .map(|network| (network.spec.name.as_str(), network))
        .collect();
    let mut plan = Plan {
        networks: Vec::new(),
        files: Vec::new(),
        services: Vec::new(),
        left_over: Vec::new(),
        known: BTreeMap::new(),
        known_files: BTreeMap::new(),
    };
    for network in &wanted.networks {
        match by_name.get(network.spec.name.as_str()) {
            Some(there) => {
                fits(network, there)?;
                plan.known.insert(network.spec.name.clone(), there.id);
            }
            None if network.external => {
                return Err(Trouble::new(
                    &network.at,
                    format!(
                        "network \"{0}\" is external and does not exist; make it with: \
                         skep network create {0}",
                        network.spec.name
                    ),
                ));
            }
            None => plan.networks.push(network.spec.clone()),
        }
    }
    for (kind, all) in [
        (FileKind::Secret, &wanted.secrets),
        (FileKind::Config, &wanted.configs),
    ] {
        for file in all {
            plan.look_at_file(wanted, kind, file, present)?;
        }
    }
    let mut named = BTreeSet::new();
    for service in &wanted.services {
        named.insert(service.spec.name.as_str());
        let there = present
            .services
            .iter()
            .find(|there| there.spec.name == service.spec.name);
        if let Some(there) = there {
            belongs(wanted, service, there)?;
        }
        let same = there.is_some_and(|there| {
            plan.bind(service, Some(there))
                .is_some_and(|spec| spec == *there.spec)
        });
        plan.services.push(Step {
            wanted: service.clone(),
            present: there.cloned(),
            same,
        });
    }
    let ours = present.services.iter().filter(|there| {
        there.spec.labels.get(NAMESPACE) == Some(&wanted.stack)
            && !named.contains(there.spec.name.as_str())
    });
    plan.left_over = ours.cloned().collect();
    Ok(plan)
}

impl Plan {
    /// A network that was to be made is there.
    pub fn made(&mut self, name: &str, id: NetworkId) {
        self.known.insert(name.to_owned(), id);
    }

    /// A secret or config that was to be made is there.
    pub fn kept(&mut self, name: &str, id: FileId) {
        self.known_files.insert((id.kind(), name.to_owned()), id);
    }

    fn look_at_file(
        &mut self,
        wanted: &Wanted,
        kind: FileKind,
        file: &FileWanted,
        present: &Present,
    ) -> Result<(), Trouble> {
        let name = &file.name;
        let mut there = present.files.iter();
        let there = there.find(|it| it.id.kind() == kind && it.spec.name == *name);
        if let Some(there) = there {
            self.kept(name, there.id);
        }
        match (there, &file.content) {
            (Some(_), None) => Ok(()),
            (None, None) => Err(Trouble::new(
                &file.at,
                format!(
                    "{kind} \"{name}\" is external and does not exist; make it with: skep {kind} create \
                     {name} FILE"
                ),
            )),
            (Some(there), Some(_)) if there.spec.labels.get(NAMESPACE) != Some(&wanted.stack) => {
                let whose = match there.spec.labels.get(NAMESPACE) {
                    Some(owner) => format!("belongs to stack \"{owner}\""),
                    None => "belongs to no stack".to_owned(),
                };
                Err(Trouble::new(
                    &file.at,
                    format!(
                        "a {kind} called \"{name}\" is there already and {whose}; say external: true to use it, \
                         or choose another name"
                    ),
                ))
            }
            (there, Some(_)) => {
                self.files.push(FileStep {
                    kind,
                    wanted: file.clone(),
                    present: there.is_some(),
                    same: false,
                });
                Ok(())
            }
        }
    }

    /// A use with the id of what is used, pinned as it is in `old`.
    fn used<I>(
        &self,
        kind: FileKind,
        wanted: &FileUse<String>,
        old: &[FileUse<I>],
        own: fn(FileId) -> Option<I>,
    ) -> Option<FileUse<I>>
    where
        I: Copy + PartialEq,
    {
        let id = own(*self.known_files.get(&(kind, wanted.id.clone()))?)?;
        let before = old.iter().find(|it| it.id == id);
        Some(FileUse {
            id,
            name: wanted.name.clone(),
            target: wanted.target.clone(),
            uid: wanted.uid,
            gid: wanted.gid,
            mode: wanted.mode,
            revision: before.and_then(|it| it.revision),
        })
    }

    /// The spec of a service with the ids of its networks, secrets and configs; `None` while one of them is not
    /// there.
    ///
    /// What a manager has put into the spec that runs is kept where the files do not say otherwise: the
    /// digest of an image that is still called the same, what it runs on, and how often it was forced.
    pub fn bind(
        &self,
        wanted: &ServiceWanted,
        present: Option<&ServicePresent>,
    ) -> Option<ServiceSpec> {
        let mut spec = wanted.spec.clone();
        for (name, aliases) in &wanted.networks {
            spec.task.networks.push(NetworkUse {
                network: *self.known.get(name)?,
                aliases: aliases.clone(),
            });
        }
        let old = present.map(|there| &there.spec.task.container);
        let (secrets, configs) = old.map_or((&[][..], &[][..]), |it| (&it.secrets, &it.configs));
        let container = &mut spec.task.container;
        for used in &wanted.secrets {
            let own = |id| match id {
                FileId::Secret(id) => Some(id),
                FileId::Config(_) => None,
            };
            container
                .secrets
                .push(self.used(FileKind::Secret, used, secrets, own)?);
        }
        for used in &wanted.configs {
            let own = |id| match id {
                FileId::Config(id) => Some(id),
                FileId::Secret(_) => None,
            };
            container
                .configs
                .push(self.used(FileKind::Config, used, configs, own)?);
        }
        let image = &mut container.image;
        image.name = tagged(&image.name, image.digest.is_some());
        if let Some(there) = present {
            let old = &there.spec.task;
            let image = &mut spec.task.container.image;
            let unpinned = image.digest.is_none() || image.digest == old.container.image.digest;
            if unpinned && image.name == old.container.image.name {
                image.digest = old.container.image.digest;
                if spec.task.platforms.is_empty() {
                    spec.task.platforms.clone_from(&old.platforms);
                }
            }
            spec.task.force = old.force;
            spec.lost_after = there.spec.lost_after;
        }
        Some(spec)
    }

    /// Nothing has to be made or changed.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
            && self.files.iter().all(|step| step.same)
            && self.services.iter().all(|step| step.same)
    }
}

/// The name with `:latest` where it has neither tag nor digest, as a manager keeps it.
fn tagged(name: &str, pinned: bool) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || pinned {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}

/// A network that is there must be what the files ask for: it cannot be changed.
fn fits(wanted: &NetworkWanted, there: &Network) -> Result<(), Trouble> {
    let name = &wanted.spec.name;
    if there.spec.ingress {
        let text = format!("network \"{name}\" is the one of published ports; use ports instead");
        return Err(Trouble::new(&wanted.at, text));
    }
    if wanted.external {
        return Ok(());
    }
    let (new, old) = (&wanted.spec, &there.spec);
    let differs = if new.internal != old.internal {
        "internal"
    } else if new.attachable != old.attachable {
        "attachable"
    } else if new.subnet.is_some_and(|subnet| subnet != there.subnet) {
        "the subnet"
    } else if new.gateway.is_some_and(|gateway| gateway != there.gateway) {
        "the gateway"
    } else if new.mtu != old.mtu {
        "the mtu"
    } else {
        return Ok(());
    };
    Err(Trouble::new(
        &wanted.at,
        format!(
            "network \"{name}\" is there and {differs} is another; a network cannot be changed: remove what \
             uses it and then it with: skep network rm {name}"
        ),
    ))
}

fn belongs(
    wanted: &Wanted,
    service: &ServiceWanted,
    there: &ServicePresent,
) -> Result<(), Trouble> {
    let owner = there.spec.labels.get(NAMESPACE);
    if owner == Some(&wanted.stack) {
        return Ok(());
    }
    let whose = match owner {
        Some(owner) => format!("belongs to stack \"{owner}\""),
        None => "belongs to no stack".to_owned(),
    };
    Err(Trouble::new(
        &service.at,
        format!(
            "a service called \"{0}\" is there already and {whose}; remove it with: skep service rm {0}, or \
             choose another name for the stack",
            service.spec.name
        ),
    ))
}
