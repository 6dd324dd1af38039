//! Writes networks and guards their addresses. Pure.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use skep_proto::ids::NetworkId;
use skep_proto::network::Network;

use super::check_version;
use crate::state::{Holder, Mark, Misfit, State};

impl State {
    pub(super) fn put_network(&mut self, network: &Arc<Network>) -> Result<(), Misfit> {
        let old = self.networks.get(&network.id).cloned();
        let object = || format!("network \"{}\"", network.spec.name);
        check_version(object, network.version, old.as_ref().map(|old| old.version))?;
        self.check_network(network, old.as_deref())?;
        let mut new = Network::clone(network);
        new.version = self.meta.index;
        if let Some(old) = &old {
            new.last_given = old.last_given;
        } else {
            self.meta.last_vni = new.vni;
            if new.spec.subnet.is_none() {
                self.meta.last_subnet = Some(new.subnet);
            }
        }
        self.index_network(new.id, Some(Arc::new(new)));
        self.touch(network.id);
        self.mark(Mark::Network(network.id));
        Ok(())
    }

    fn check_network(&self, network: &Network, old: Option<&Network>) -> Result<(), Misfit> {
        let name = &network.spec.name;
        let set_once = |what| {
            Err(Misfit::SetOnce {
                object: format!("network \"{name}\""),
                what,
            })
        };
        if let Some(old) = old {
            if (old.subnet, old.gateway, old.vni) != (network.subnet, network.gateway, network.vni)
            {
                return set_once("the range, gateway or VXLAN identifier");
            }
            if old.spec.ingress != network.spec.ingress {
                return set_once("being the ingress network");
            }
        }
        if self
            .network_named(name)
            .is_some_and(|found| found.id != network.id)
        {
            return Err(Misfit::NameTaken {
                kind: "network",
                name: name.clone(),
            });
        }
        if self
            .network_numbered(network.vni)
            .is_some_and(|id| id != network.id)
        {
            let number = u64::from(network.vni);
            return Err(Misfit::NumberTaken {
                kind: "VXLAN identifier",
                number,
            });
        }
        for other in self
            .networks
            .values()
            .filter(|other| other.id != network.id)
        {
            if network.spec.ingress && other.spec.ingress {
                return Err(Misfit::Exists {
                    object: "an ingress network".into(),
                });
            }
            if overlap(network.subnet, other.subnet) {
                return Err(Misfit::Overlaps {
                    subnet: network.subnet.to_string(),
                    other: other.subnet.to_string(),
                    network: other.spec.name.clone(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn delete_network(&mut self, id: NetworkId, version: u64) -> Result<(), Misfit> {
        let network = self.networks.get(&id).cloned();
        let network = network.ok_or_else(|| Misfit::Missing {
            object: format!("network {id}"),
        })?;
        let object = || format!("network \"{}\"", network.spec.name);
        check_version(object, version, Some(network.version))?;
        if let Some(service) = self.services_on(id).next() {
            let user = format!("service \"{}\"", service.spec.name);
            return Err(Misfit::InUse {
                object: object(),
                user,
            });
        }
        if let Some((address, _)) = self.addresses(id).next() {
            return Err(Misfit::InUse {
                object: object(),
                user: format!("address {address}"),
            });
        }
        self.index_network(id, None);
        self.revisions.remove(&id);
        self.mark(Mark::Network(id));
        Ok(())
    }

    /// Whether `address` may be held by `who` on `network`.
    pub(super) fn check_address(
        &self,
        network: NetworkId,
        address: Ipv4Addr,
        who: Option<Holder>,
    ) -> Result<(), Misfit> {
        let found = self.networks.get(&network);
        let found = found.ok_or_else(|| Misfit::Missing {
            object: format!("network {network}"),
        })?;
        let holder = self.holder(network, address);
        let reserved = address == found.gateway || !found.subnet.contains(&address);
        if reserved || (holder.is_some() && holder != who) {
            return Err(Misfit::AddressTaken { address });
        }
        Ok(())
    }

    /// Remembers the address given last, so that the next search goes on behind it.
    pub(super) fn note_given(&mut self, id: NetworkId, address: Ipv4Addr) {
        if let Some(found) = self.networks.get(&id) {
            let mut network = Network::clone(found);
            network.last_given = address;
            self.networks.insert(id, Arc::new(network));
        }
    }
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}
