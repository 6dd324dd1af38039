//! Chooses the /24 of a lab's switch. Pure: the caller brings what is taken.
//!
//! The switch lives in a namespace of its own, so even an equal range would work; a range that the
//! machine does not route keeps what a user reads unambiguous. Overlays take theirs from 10.0.0.0/8.

use std::net::Ipv4Addr;

/// The third numbers of 192.168.x.0/24 that labs use.
const THIRDS: std::ops::RangeInclusive<u8> = 200..=249;

/// One route of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    network: u32,
    mask: u32,
}

/// Reads `/proc/net/route`; lines that are no route are passed over, and the default route is no claim.
pub(crate) fn routes(text: &str) -> Vec<Route> {
    let number = |word: Option<&str>| {
        word.and_then(|w| u32::from_str_radix(w, 16).ok())
            .map(u32::from_be)
    };
    let mut found = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (network, mask) = (number(words.get(1).copied()), number(words.get(7).copied()));
        if let (Some(network), Some(mask)) = (network, mask)
            && mask != 0
        {
            found.push(Route { network, mask });
        }
    }
    found
}

/// The first third number that neither a route nor another lab uses.
pub(crate) fn choose(routes: &[Route], taken: &[u8]) -> Option<u8> {
    THIRDS.into_iter().find(|third| {
        let network = address(*third, 0).to_bits();
        let clash = |route: &Route| {
            let mask = route.mask & 0xffff_ff00;
            network & mask == route.network & mask
        };
        !taken.contains(third) && !routes.iter().any(clash)
    })
}

/// An address on the switch of that range.
pub(crate) fn address(third: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, third, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";

    #[test]
    fn a_routed_range_is_passed_over() {
        let text = format!(
            "{HEAD}eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\nbr0 00C8A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        );
        assert_eq!(choose(&routes(&text), &[201]), Some(202));
    }

    #[test]
    fn a_wide_route_takes_all_of_it() {
        let text = format!("{HEAD}tun0 0000A8C0 00000000 0001 0 0 0 0000FFFF 0 0 0\n");
        assert_eq!(choose(&routes(&text), &[]), None);
    }

    #[test]
    fn a_host_route_inside_a_range_takes_it() {
        let text = format!("{HEAD}tun0 05C8A8C0 00000000 0001 0 0 0 FFFFFFFF 0 0 0\n");
        assert_eq!(choose(&routes(&text), &[]), Some(201));
    }
}
