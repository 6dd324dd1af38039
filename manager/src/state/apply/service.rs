//! Writes services. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::ids::{NetworkId, ServiceId};
use skep_proto::service::{Service, Update};
use skep_proto::spec::PublishMode;
use skep_proto::task::Slot;

use super::check_version;
use crate::state::index::{held_ports, networks_of};
use crate::state::{Holder, Mark, Misfit, State, uses};

impl State {
    pub(super) fn put_service(&mut self, service: &Arc<Service>) -> Result<(), Misfit> {
        let old = self.services.get(&service.id).cloned();
        check_version(
            || name(service),
            service.version,
            old.as_ref().map(|old| old.version),
        )?;
        self.check_service(service, old.as_deref())?;
        let mut new = Service::clone(service);
        new.version = self.meta.index;
        let touched = shown_changes(old.as_deref(), &new);
        let ports_changed = old
            .as_ref()
            .is_none_or(|old| old.ports != new.ports || old.removed != new.removed);
        let given: Vec<_> = new
            .vips
            .iter()
            .map(|(network, vip)| (*network, *vip))
            .collect();
        self.index_service(new.id, Some(Arc::new(new)));
        for (network, vip) in given {
            if old.as_ref().and_then(|old| old.vips.get(&network)) != Some(&vip) {
                self.note_given(network, vip);
            }
        }
        for network in touched {
            self.touch(network);
        }
        if ports_changed && let Some(ingress) = self.ingress().map(|network| network.id) {
            self.touch(ingress);
        }
        self.mark(Mark::Service(service.id));
        Ok(())
    }

    fn check_service(&self, new: &Service, old: Option<&Service>) -> Result<(), Misfit> {
        let set_once = |what| {
            Err(Misfit::SetOnce {
                object: name(new),
                what,
            })
        };
        if let Some(old) = old {
            if old.removed.is_some() && new.removed != old.removed {
                return set_once("the removal");
            }
            for (revision, spec) in &old.templates {
                match new.templates.get(revision) {
                    Some(same) if same == spec => {}
                    Some(_) => return set_once("the task spec of a revision"),
                    None => self.check_unused(new, *revision)?,
                }
            }
        }
        if !new.templates.contains_key(&new.template) {
            return Err(Misfit::Missing {
                object: format!("the newest task spec of {}", name(new)),
            });
        }
        for network in networks_of(new) {
            if !self.networks.contains_key(&network) {
                return Err(Misfit::Missing {
                    object: format!("network {network}"),
                });
            }
        }
        self.check_files(new, old)?;
        for (network, vip) in &new.vips {
            self.check_address(*network, *vip, Some(Holder::Vip(new.id)))?;
        }
        if new.removed.is_some() {
            return Ok(());
        }
        if self
            .service_named(&new.spec.name)
            .is_some_and(|found| found.id != new.id)
        {
            return Err(Misfit::NameTaken {
                kind: "service",
                name: new.spec.name.clone(),
            });
        }
        self.check_ports(new)
    }

    /// What a new task spec names is there. One that was there before may outlive a file when it is removed.
    fn check_files(&self, new: &Service, old: Option<&Service>) -> Result<(), Misfit> {
        let before = |number: &u64| old.is_some_and(|old| old.templates.contains_key(number));
        let specs = new.templates.iter().filter(|(number, _)| !before(number));
        let missing = specs
            .flat_map(|(_, spec)| uses(spec))
            .find(|(id, _)| self.file(*id).is_none());
        missing.map_or(Ok(()), |(id, _)| Err(super::file::missing(id)))
    }

    fn check_unused(&self, service: &Service, revision: u64) -> Result<(), Misfit> {
        match self
            .tasks_of(service.id)
            .find(|task| task.template == revision)
        {
            None => Ok(()),
            Some(task) => Err(Misfit::InUse {
                object: format!("task spec {revision} of {}", name(service)),
                user: format!("task {}", task.id),
            }),
        }
    }

    fn check_ports(&self, service: &Service) -> Result<(), Misfit> {
        for (protocol, port, mode) in held_ports(service) {
            let clash = self.port_holders(protocol, port).find(|(id, other)| {
                let shared = mode == PublishMode::Host && *other == PublishMode::Host;
                *id != service.id && !shared
            });
            if let Some((holder, _)) = clash {
                let holder = self
                    .services
                    .get(&holder)
                    .map(|found| found.spec.name.clone());
                return Err(Misfit::PortTaken {
                    port: format!("{port}/{protocol:?}").to_lowercase(),
                    service: holder.unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn progress(
        &mut self,
        id: ServiceId,
        version: u64,
        update: &Arc<Update>,
    ) -> Result<(), Misfit> {
        let service = self.services.get(&id).cloned();
        let service = service.ok_or_else(|| Misfit::Missing {
            object: format!("service {id}"),
        })?;
        check_version(|| name(&service), version, Some(service.version))?;
        let mut new = Service::clone(&service);
        new.version = self.meta.index;
        new.update = Some(Update::clone(update));
        self.index_service(id, Some(Arc::new(new)));
        self.mark(Mark::Service(id));
        Ok(())
    }

    pub(super) fn delete_service(&mut self, id: ServiceId, version: u64) -> Result<(), Misfit> {
        let service = self.services.get(&id).cloned();
        let service = service.ok_or_else(|| Misfit::Missing {
            object: format!("service {id}"),
        })?;
        check_version(|| name(&service), version, Some(service.version))?;
        if let Some(task) = self.tasks_of(id).next() {
            let user = format!("task {}", task.id);
            return Err(Misfit::InUse {
                object: name(&service),
                user,
            });
        }
        self.index_service(id, None);
        let failed: Vec<_> = self
            .failures
            .keys()
            .filter(|key| key.0 == id)
            .copied()
            .collect();
        for key in failed {
            self.failures.remove(&key);
        }
        let slots: Vec<(ServiceId, Slot)> = self
            .restarts
            .keys()
            .filter(|key| key.0 == id)
            .copied()
            .collect();
        for key in slots {
            self.restarts.remove(&key);
        }
        for network in networks_of(&service) {
            self.touch(network);
        }
        self.mark(Mark::Service(id));
        Ok(())
    }
}

/// Networks on which the service shows otherwise than before.
fn shown_changes(old: Option<&Service>, new: &Service) -> BTreeSet<NetworkId> {
    let mut networks = networks_of(new);
    if let Some(old) = old {
        let aliases = |service: &Service| {
            service
                .templates
                .get(&service.template)
                .map(|spec| spec.networks.clone())
        };
        let same = old.spec.name == new.spec.name
            && old.vips == new.vips
            && old.removed == new.removed
            && aliases(old) == aliases(new);
        if same {
            return BTreeSet::new();
        }
        networks.extend(networks_of(old));
    }
    networks
}

fn name(service: &Service) -> String {
    format!("service \"{}\"", service.spec.name)
}
