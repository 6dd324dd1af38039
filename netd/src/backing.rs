//! Which tasks stand behind which virtual address or published port, by a view.
//!
//! Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use skep_proto::ids::{NetworkId, ServiceId};
use skep_proto::spec::PublishMode;
use skep_proto::view::{EndpointState, EndpointView, NetworkView, View};

use crate::rules::Balanced;
use crate::step::Forget;

/// What a task on some networks is balanced to, and every connection that may stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    pub balanced: Balanced,
    /// Virtual address (none for a published port) and task: also those that drain.
    pub kept: BTreeSet<Forget>,
}

impl Backing {
    /// Connections of `before` that lead to tasks which are gone, or to nobody where somebody is now.
    #[must_use]
    pub fn gone_since(&self, before: &Self) -> Vec<Forget> {
        let gone: BTreeSet<Forget> = before.kept.difference(&self.kept).copied().collect();
        // Datagrams sent while nobody was behind an address are tracked as going to the address itself. So are those
        // that found no choice just as targets changed: they are looked for where something is forgotten anyway.
        let (had, has) = (before.balanced.vips(), self.balanced.vips());
        let mut vips: BTreeSet<Ipv4Addr> = has.difference(&had).copied().collect();
        vips.extend(gone.iter().filter_map(|one| one.to));
        let untranslated = vips.into_iter().map(|vip| Forget {
            to: Some(vip),
            from: vip,
        });
        gone.into_iter().chain(untranslated).collect()
    }
}

/// The virtual addresses a task on these networks can reach.
#[must_use]
pub fn of_networks(view: &View, scope: &[NetworkId]) -> Backing {
    let mut backing = Backing::default();
    for network in view
        .networks
        .iter()
        .filter(|network| scope.contains(&network.id))
    {
        for service in &network.services {
            let Some(vip) = service.vip else { continue };
            backing
                .balanced
                .add_vip(vip, live(network, service.id).map(|one| one.address));
            let all = network
                .endpoints
                .iter()
                .filter(|one| one.service == service.id);
            backing.kept.extend(all.map(|one| Forget {
                to: Some(vip),
                from: one.address,
            }));
        }
    }
    backing
}

/// The ports this node accepts for the whole cluster.
#[must_use]
pub fn of_ports(view: &View) -> Backing {
    let mut backing = Backing::default();
    for network in view.networks.iter().filter(|network| network.ingress) {
        for port in view
            .ports
            .iter()
            .filter(|port| port.mode == PublishMode::Ingress)
        {
            let tasks = live(network, port.service).map(|one| (one.address, port.target));
            backing
                .balanced
                .add_port(port.protocol, port.published, tasks);
        }
        let all = network.endpoints.iter();
        backing.kept.extend(all.map(|one| Forget {
            to: None,
            from: one.address,
        }));
    }
    backing
}

/// The address and port of some live task behind a published port, by a number that the caller varies.
#[must_use]
pub fn target_of(view: &View, service: ServiceId, place: usize) -> Option<Ipv4Addr> {
    let tasks: Vec<Ipv4Addr> = view
        .networks
        .iter()
        .filter(|network| network.ingress)
        .flat_map(|network| live(network, service))
        .map(|one| one.address)
        .collect();
    tasks.get(place.checked_rem(tasks.len())?).copied()
}

fn live(network: &NetworkView, service: ServiceId) -> impl Iterator<Item = &EndpointView> {
    network
        .endpoints
        .iter()
        .filter(move |one| one.service == service && one.state == EndpointState::Live)
}
