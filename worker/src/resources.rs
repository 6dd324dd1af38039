//! What this machine is and has.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skep_proto::node::NodeDescription;
use skep_proto::resources::Resources;

/// Label under which the kernel's release is told.
pub const KERNEL: &str = "skep.kernel";

/// Describes this machine; `labels` are those of the daemon's configuration. What cannot be read is left
/// empty: a node is useful without it.
pub fn describe(labels: &BTreeMap<String, String>) -> NodeDescription {
    let system = rustix::system::uname();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let mut labels = labels.clone();
    let release = system.release().to_string_lossy().into_owned();
    labels.entry(KERNEL.to_owned()).or_insert(release);
    NodeDescription {
        hostname: system.nodename().to_string_lossy().into_owned(),
        os: "linux".to_owned(),
        // As the machine says it, which is what constraints of Docker's users are written for.
        arch: std::env::consts::ARCH.to_owned(),
        resources: Resources {
            nano_cpus: u64::try_from(cpus)
                .unwrap_or(1)
                .saturating_mul(1_000_000_000),
            memory: memory(&read("/proc/meminfo")),
        },
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        labels,
        routes: routes(&read("/proc/net/route")),
        door: None,
        volumes: Vec::new(),
        generic: BTreeMap::new(),
    }
}

/// This machine's host name.
pub fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Bytes of memory.
fn memory(meminfo: &str) -> u64 {
    let kibibytes = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

/// Ranges that the machine has routes for, save the default route.
fn routes(table: &str) -> Vec<Ipv4Net> {
    let field = |text: Option<&str>| u32::from_str_radix(text?, 16).ok().map(u32::swap_bytes);
    let mut found: Vec<Ipv4Net> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let address = field(fields.get(1).copied())?;
            let mask = field(fields.get(7).copied())?;
            Ipv4Net::with_netmask(Ipv4Addr::from(address), Ipv4Addr::from(mask)).ok()
        })
        .filter(|net| net.prefix_len() > 0)
        .map(|net| net.trunc())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let labels = [("disk".to_owned(), "ssd".to_owned())].into();
        let description = describe(&labels);
        assert_eq!(description.os, "linux");
        assert!(!description.hostname.is_empty());
        assert!(description.resources.nano_cpus >= 1_000_000_000);
        assert!(description.resources.memory > 1 << 20);
        assert_eq!(description.labels["disk"], "ssd");
        assert!(description.labels.contains_key(KERNEL));
    }

    #[test]
    fn routes_are_read_in_the_machines_order_of_bytes() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                     eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\n\
                     eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n\
                     eth1\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n";
        let expected: Ipv4Net = "10.0.0.0/24".parse().unwrap();
        assert_eq!(routes(table), [expected]);
    }
}
