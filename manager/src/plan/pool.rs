//! Cuts ranges and VXLAN identifiers for networks. Pure.
//!
//! A range of the pool is skipped when a network has it or when any node's routes use it. The search goes on
//! behind the one given last, so that a range rests for as long as it can.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skep_proto::ids::NetworkId;
use skep_proto::network::{Network, NetworkSpec};
use skep_proto::time::WallTime;

use crate::state::State;

/// Lowest and highest VXLAN identifier.
const VNIS: (u32, u32) = (4096, (1 << 24) - 1);
/// Ingress holds every node and every published task: its range is so many bits larger than others'.
const INGRESS_BITS: u8 = 4;

/// Why a network cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another network has part of the range.
    #[error("{subnet} overlaps {other} of network \"{network}\"; choose another --subnet")]
    Overlaps {
        /// The range asked for.
        subnet: Ipv4Net,
        /// The range that is there.
        other: Ipv4Net,
        /// Name of its network.
        network: String,
    },
    /// A node routes part of the range.
    #[error("{subnet} overlaps the route {route} of node \"{node}\"; choose another --subnet")]
    Routed {
        /// The range asked for.
        subnet: Ipv4Net,
        /// The node's route.
        route: Ipv4Net,
        /// Host name of the node.
        node: String,
    },
    /// The pool has no range left.
    #[error("no /{prefix} of the pool {pool} is free; remove a network or name a --subnet")]
    PoolEmpty {
        /// The cluster's pool.
        pool: Ipv4Net,
        /// Length asked for.
        prefix: u8,
    },
    /// All identifiers are held.
    #[error("all VXLAN identifiers are held; remove a network")]
    NoIdentifier,
    /// There is no cluster to take a pool from.
    #[error("this node is not in a cluster; make one with \"skep swarm init\"")]
    NoCluster,
}

/// A network that follows `spec`, with range, gateway and identifier that are free in `state`.
///
/// # Errors
/// Says which range is in the way, or what has run out.
pub fn new_network(
    state: &State,
    id: NetworkId,
    spec: NetworkSpec,
    created: WallTime,
) -> Result<Network, NetworkError> {
    let subnet = match spec.subnet {
        Some(subnet) => free_of_others(state, subnet)?,
        None => cut(state, &spec)?,
    };
    let first = u32::from(subnet.network()).saturating_add(1);
    let gateway = spec.gateway.unwrap_or_else(|| Ipv4Addr::from(first));
    let vni = free_vni(state).ok_or(NetworkError::NoIdentifier)?;
    Ok(Network {
        id,
        version: 0,
        created,
        spec,
        subnet,
        gateway,
        vni,
        last_given: gateway,
    })
}

fn free_of_others(state: &State, subnet: Ipv4Net) -> Result<Ipv4Net, NetworkError> {
    if let Some(other) = state.networks().find(|other| overlap(subnet, other.subnet)) {
        let network = other.spec.name.clone();
        return Err(NetworkError::Overlaps {
            subnet,
            other: other.subnet,
            network,
        });
    }
    for node in state.nodes() {
        let routes = &node.description.routes;
        if let Some(route) = routes.iter().find(|route| overlap(subnet, **route)) {
            let node = node.description.hostname.clone();
            return Err(NetworkError::Routed {
                subnet,
                route: *route,
                node,
            });
        }
    }
    Ok(subnet)
}

fn cut(state: &State, spec: &NetworkSpec) -> Result<Ipv4Net, NetworkError> {
    let cluster = state.cluster().ok_or(NetworkError::NoCluster)?;
    let pool = cluster.spec.pool;
    let prefix = if spec.ingress {
        cluster
            .spec
            .pool_prefix
            .saturating_sub(INGRESS_BITS)
            .max(pool.prefix_len())
    } else {
        cluster.spec.pool_prefix
    };
    let empty = NetworkError::PoolEmpty { pool, prefix };
    let ranges = || pool.subnets(prefix).into_iter().flatten();
    let last = state.meta().last_subnet.map(|subnet| subnet.broadcast());
    let behind = ranges().filter(|range| last.is_some_and(|last| range.network() > last));
    let before = ranges().filter(|range| last.is_none_or(|last| range.network() <= last));
    let free = |range: &Ipv4Net| free_of_others(state, *range).is_ok();
    behind.chain(before).find(free).ok_or(empty)
}

fn free_vni(state: &State) -> Option<u32> {
    let (lowest, highest) = VNIS;
    let begin = state.meta().last_vni.saturating_add(1);
    let begin = if (lowest..=highest).contains(&begin) {
        begin
    } else {
        lowest
    };
    let free = |vni: &u32| state.network_numbered(*vni).is_none();
    (begin..=highest).chain(lowest..begin).find(free)
}

/// A default route covers everything and is no use of a range.
fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    let both_real = one.prefix_len() > 0 && other.prefix_len() > 0;
    both_real && (one.contains(&other.network()) || other.contains(&one.network()))
}
