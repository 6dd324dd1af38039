//! Finds a free address on a network, longest unused first. Pure.

use std::net::Ipv4Addr;

use skep_proto::ids::NetworkId;
use skep_proto::network::Network;

use crate::state::State;

/// The next free address behind the one given last; `None` when all are held.
pub(super) fn free(state: &State, network: NetworkId) -> Option<Ipv4Addr> {
    free_beside(state, network, &[])
}

/// As [`free`], and none of `chosen`.
pub(super) fn free_beside(
    state: &State,
    network: NetworkId,
    chosen: &[Ipv4Addr],
) -> Option<Ipv4Addr> {
    let network = state.network(network)?;
    let (first, last) = ends(network)?;
    let begin = u32::from(network.last_given).checked_add(1)?;
    let begin = if (first..=last).contains(&begin) {
        begin
    } else {
        first
    };
    let usable = |address: &Ipv4Addr| {
        *address != network.gateway
            && state.holder(network.id, *address).is_none()
            && !chosen.contains(address)
    };
    (begin..=last)
        .chain(first..begin)
        .map(Ipv4Addr::from)
        .find(usable)
}

/// First and last address that a host may have.
fn ends(network: &Network) -> Option<(u32, u32)> {
    let first = u32::from(network.subnet.network()).checked_add(1)?;
    let last = u32::from(network.subnet.broadcast()).checked_sub(1)?;
    (first <= last).then_some((first, last))
}
