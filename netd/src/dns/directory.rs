//! What every name means on every network, computed from a view.
//!
//! Pure. Names are kept in lower case; a name may be followed by the name of its network.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use skep_proto::ids::NetworkId;
use skep_proto::view::{EndpointState, EndpointView, NetworkView, ServiceView, View};

/// The names of all networks on a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Directory {
    networks: BTreeMap<NetworkId, Names>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    network: String,
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    names: BTreeMap<Ipv4Addr, String>,
}

impl Directory {
    /// The names in a view. Those of the ingress network are not for tasks to ask.
    #[must_use]
    pub fn of(view: &View) -> Self {
        let networks = view.networks.iter().filter(|network| !network.ingress);
        Self {
            networks: networks
                .map(|network| (network.id, Names::of(network)))
                .collect(),
        }
    }

    /// The addresses of a name, asked by a task on these networks; the first network that knows it answers.
    /// `None` if none does; empty if it is known and has no address now.
    #[must_use]
    pub fn addresses(&self, scope: &[NetworkId], name: &str) -> Option<&[Ipv4Addr]> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        scope
            .iter()
            .filter_map(|id| self.networks.get(id))
            .find_map(|names| names.find(&name))
    }

    /// The name of an address, followed by its network's.
    #[must_use]
    pub fn name(&self, scope: &[NetworkId], address: Ipv4Addr) -> Option<String> {
        scope
            .iter()
            .filter_map(|id| self.networks.get(id))
            .find_map(|names| {
                names
                    .names
                    .get(&address)
                    .map(|name| format!("{name}.{}", names.network))
            })
    }
}

impl Names {
    fn of(network: &NetworkView) -> Self {
        let mut names = Self {
            network: network.name.to_ascii_lowercase(),
            ..Self::default()
        };
        for service in &network.services {
            names.add_service(service, &network.endpoints);
        }
        for endpoint in network
            .endpoints
            .iter()
            .filter(|one| one.state != EndpointState::Starting)
        {
            names
                .addresses
                .insert(endpoint.name.to_ascii_lowercase(), vec![endpoint.address]);
            names.names.insert(endpoint.address, endpoint.name.clone());
        }
        names
    }

    fn add_service(&mut self, service: &ServiceView, endpoints: &[EndpointView]) {
        let live: Vec<Ipv4Addr> = endpoints
            .iter()
            .filter(|one| one.service == service.id && one.state == EndpointState::Live)
            .map(|one| one.address)
            .collect();
        let addresses = service.vip.map_or_else(|| live.clone(), |vip| vec![vip]);
        for name in std::iter::once(&service.name).chain(&service.aliases) {
            let name = name.to_ascii_lowercase();
            // An alias that several services bear leads to all of them.
            self.addresses
                .entry(format!("tasks.{name}"))
                .or_default()
                .extend(&live);
            self.addresses.entry(name).or_default().extend(&addresses);
        }
        if let Some(vip) = service.vip {
            self.names.insert(vip, service.name.clone());
        }
    }

    fn find(&self, name: &str) -> Option<&[Ipv4Addr]> {
        let short = || {
            let name = name
                .strip_suffix(self.network.as_str())?
                .strip_suffix('.')?;
            self.addresses.get(name)
        };
        self.addresses.get(name).or_else(short).map(Vec::as_slice)
    }
}
