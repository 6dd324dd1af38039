//! Chooses the address at which other nodes reach this one.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Interfaces that skep makes are named so.
const OWN_PREFIX: &str = "skep";

/// An address of this machine and the interface that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

/// Addresses at which other machines may reach this one: of interfaces that are up, no loopback, none that
/// is valid on its link only.
///
/// # Errors
/// When the system does not tell.
pub fn candidates() -> anyhow::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for interface in getifaddrs().context("cannot list the interfaces of this machine")? {
        let up = interface.flags.contains(InterfaceFlags::IFF_UP);
        let loopback = interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = interface.address.filter(|_| up && !loopback) else {
            continue;
        };
        let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => continue,
        };
        let local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        // Our own bridges lead to containers, not to other machines.
        let ours = interface.interface_name.starts_with(OWN_PREFIX);
        if !local && !ours {
            found.push(Candidate {
                interface: interface.interface_name,
                address,
            });
        }
    }
    Ok(found)
}

/// The address to advertise: the one asked for, if this machine has it; else the only one there is to
/// choose from, where IPv4 comes before IPv6.
///
/// # Errors
/// Lists the choices where there is not exactly one.
pub fn choose(asked: Option<SocketAddr>, port: u16) -> anyhow::Result<SocketAddr> {
    pick(asked, port, &candidates()?)
}

fn pick(asked: Option<SocketAddr>, port: u16, all: &[Candidate]) -> anyhow::Result<SocketAddr> {
    if let Some(asked) = asked {
        if all.iter().any(|each| each.address == asked.ip()) || asked.ip().is_loopback() {
            return Ok(asked);
        }
        bail!(
            "--advertise-addr {}: no interface of this machine has it; choose from {}",
            asked.ip(),
            listed(all)
        );
    }
    let v4: Vec<&Candidate> = all.iter().filter(|each| each.address.is_ipv4()).collect();
    let of_one_kind = if v4.is_empty() {
        all.iter().collect()
    } else {
        v4
    };
    match of_one_kind.as_slice() {
        [one] => Ok(SocketAddr::new(one.address, port)),
        [] => bail!(
            "this machine has no address that others could reach; name one with --advertise-addr"
        ),
        _ => bail!(
            "this machine has several addresses; name the one that others reach with --advertise-addr: {}",
            listed(all)
        ),
    }
}

fn listed(all: &[Candidate]) -> String {
    let each = all
        .iter()
        .map(|each| format!("{} ({})", each.address, each.interface));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(interface: &str, address: &str) -> Candidate {
        Candidate {
            interface: interface.into(),
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn the_only_address_is_chosen() {
        let all = [on("eth0", "192.0.2.1"), on("eth0", "2001:db8::1")];
        assert_eq!(
            pick(None, 2377, &all).unwrap(),
            "192.0.2.1:2377".parse().unwrap()
        );
    }

    #[test]
    fn several_addresses_are_listed() {
        let all = [on("eth0", "192.0.2.1"), on("eth1", "198.51.100.1")];
        let error = pick(None, 2377, &all).unwrap_err().to_string();
        assert!(
            error.contains("192.0.2.1 (eth0), 198.51.100.1 (eth1)"),
            "{error}"
        );
        let asked = "198.51.100.1:2377".parse().unwrap();
        assert_eq!(pick(Some(asked), 2377, &all).unwrap(), asked);
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let asked = Some("203.0.113.9:2377".parse().unwrap());
        let error = pick(asked, 2377, &[on("eth0", "192.0.2.1")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("203.0.113.9") && error.contains("eth0"),
            "{error}"
        );
    }
}
