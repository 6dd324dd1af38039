//! Bridges, tunnels and rules of nftables, made with the daemon's own code in a network that ends with the probe.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use skep_netd::names::{Mac, Ns};
use skep_netd::nft::{
    Base, Ct, Edit, Expr, Family, Header, Hook, Key, Kind, Policy, Reg, Side, Table, Value,
};
use skep_netd::step::{Peer, Port, Step, Tunnel};
use skep_netd::{Kernel, KernelError, LinuxKernel};

use super::{Finding, apart};

const BRIDGE: &str = "check0";
const MTU: u32 = 1400;
const IP: Table = Table {
    family: Family::Ip,
    name: "skep-check",
};
const FRAMES: Table = Table {
    family: Family::Netdev,
    name: "skep-check",
};
const RULES: &str = "rules";

/// What is tried: its name, the kernel's option, its module, and what does not work without it.
type Subject = (&'static str, &'static str, &'static str, &'static str);

pub(super) fn findings() -> Vec<Finding> {
    let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    apart(flags, attempts).unwrap_or_else(|error| {
        vec![Finding::missing(
            "networks",
            format!("{error}: nothing of them could be tried"),
            "run it as root, outside of a container",
        )]
    })
}

/// Tries everything in the namespaces of this thread.
pub(super) fn attempts() -> io::Result<Vec<Finding>> {
    let nowhere = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nowhere, "/", nowhere, private, nowhere)?;
    // Namespaces are pinned by mounts: here they are seen by nobody and end with this thread.
    let directory = PathBuf::from("/run");
    mount(
        Some("tmpfs"),
        &directory,
        Some("tmpfs"),
        MsFlags::empty(),
        nowhere,
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let kernel = LinuxKernel::open(&directory).map_err(io::Error::other)?;
        let far = Ns::Named("far".to_owned());
        kernel
            .make_namespace(&far)
            .await
            .map_err(io::Error::other)?;
        let mut all = Vec::new();
        for (subject, ns, steps) in links(&far) {
            all.push(finding(subject, kernel.run(&ns, steps).await));
        }
        for (subject, edits) in rules() {
            let tried = kernel.run(&Ns::Host, vec![Step::Rules(edits)]).await;
            all.push(finding(subject, tried));
        }
        Ok(all)
    })
}

pub(super) fn finding(subject: Subject, tried: Result<(), KernelError>) -> Finding {
    let (name, option, module, without) = subject;
    match tried {
        Ok(()) => Finding::ok(name, "can be made"),
        Err(error) => {
            let denied = error.source.kind() == io::ErrorKind::PermissionDenied;
            let mend = if denied {
                "run it as root, outside of a container".to_owned()
            } else {
                format!("modprobe {module}, or boot a kernel with {option}")
            };
            let why = format!("{:#}", anyhow::Error::from(error));
            Finding::missing(name, format!("{why}; without it {without}"), mend)
        }
    }
}

fn links(far: &Ns) -> Vec<(Subject, Ns, Vec<Step>)> {
    let mac = Mac::of_address(Ipv4Addr::new(10, 0, 0, 2));
    let bridge = Step::AddBridge {
        name: BRIDGE.to_owned(),
        mac,
        mtu: MTU,
    };
    let veth = Step::AddVeth {
        name: "check1".to_owned(),
        port: Port::Isolated {
            bridge: BRIDGE.to_owned(),
        },
        mtu: MTU,
        mac: None,
        peer: Peer {
            ns: far.clone(),
            name: "check2".to_owned(),
            mac,
        },
    };
    let tunnel = Step::AddVxlan {
        name: "check3".to_owned(),
        bridge: BRIDGE.to_owned(),
        tunnel: Tunnel {
            vni: 4096,
            port: 4789,
            local: Ipv4Addr::LOCALHOST.into(),
        },
        mtu: MTU,
    };
    let no_network = "containers have no network";
    vec![
        (
            ("bridge", "CONFIG_BRIDGE", "bridge", no_network),
            Ns::Host,
            vec![bridge.clone()],
        ),
        (
            ("veth", "CONFIG_VETH", "veth", no_network),
            Ns::Host,
            vec![veth],
        ),
        (
            (
                "vxlan",
                "CONFIG_VXLAN",
                "vxlan",
                "overlay networks end at the node",
            ),
            far.clone(),
            vec![bridge, tunnel],
        ),
    ]
}

/// Each part of nftables by itself, so that the one that is not there is named.
fn rules() -> Vec<(Subject, Vec<Edit>)> {
    let mut all = of_services();
    all.extend(of_ports());
    all
}

/// What virtual addresses and the way out are made of.
fn of_services() -> Vec<(Subject, Vec<Edit>)> {
    let no_service = "services have no virtual address";
    let no_way_out = "containers have no way out";
    let forward = (Kind::Filter, Hook::Forward);
    let arriving = || (Kind::Nat, Hook::Prerouting);
    let leaving = (Kind::Nat, Hook::Postrouting);
    let address = Expr::Immediate {
        to: Reg(0),
        bytes: vec![10, 0, 0, 2],
    };
    let dnat = Expr::Dnat {
        address: Reg(0),
        port: None,
    };
    let numgen = Expr::Random {
        modulus: 3,
        to: Reg(0),
    };
    vec![
        (
            (
                "nf_tables",
                "CONFIG_NF_TABLES_IPV4",
                "nf_tables",
                no_service,
            ),
            ruled(IP, forward, vec![Expr::Accept]),
        ),
        (
            ("nftables nat", "CONFIG_NFT_NAT", "nft_nat", no_service),
            ruled(IP, arriving(), vec![address, dnat]),
        ),
        (
            (
                "nftables masquerade",
                "CONFIG_NFT_MASQ",
                "nft_masq",
                no_way_out,
            ),
            ruled(IP, leaving, vec![Expr::Masquerade]),
        ),
        (
            (
                "nftables numgen",
                "CONFIG_NFT_NUMGEN",
                "nft_numgen",
                no_service,
            ),
            ruled(IP, arriving(), vec![numgen]),
        ),
        (
            ("nftables maps", "CONFIG_NF_TABLES", "nf_tables", no_service),
            mapped(),
        ),
    ]
}

/// What published ports need besides.
fn of_ports() -> Vec<(Subject, Vec<Edit>)> {
    let no_port = "no port can be published";
    let fib = Expr::AddressKind {
        of: Side::Destination,
        to: Reg(0),
    };
    let mark = Expr::Ct {
        what: Ct::Mark,
        to: Reg(0),
    };
    let egress = "CONFIG_NETFILTER_EGRESS (Linux 5.16)";
    vec![
        (
            (
                "nftables fib",
                "CONFIG_NFT_FIB_IPV4",
                "nft_fib_ipv4",
                no_port,
            ),
            ruled(IP, (Kind::Nat, Hook::Prerouting), vec![fib]),
        ),
        (
            ("connection tracking", "CONFIG_NFT_CT", "nft_ct", no_port),
            ruled(IP, (Kind::Filter, Hook::Prerouting), vec![mark]),
        ),
        (
            ("nftables egress", egress, "nf_tables", no_port),
            on_egress(),
        ),
    ]
}

/// A table with one chain and one rule, in place of the one before.
fn ruled(table: Table, (kind, hook): (Kind, Hook), rule: Vec<Expr>) -> Vec<Edit> {
    let base = Base {
        kind,
        hook,
        priority: 0,
        policy: Policy::Accept,
    };
    vec![
        Edit::AddTable(table),
        Edit::DropTable(table),
        Edit::AddTable(table),
        Edit::AddChain {
            table,
            name: RULES.to_owned(),
            base: Some(base),
        },
        Edit::AddRule {
            table,
            chain: RULES.to_owned(),
            rule,
        },
    ]
}

fn mapped() -> Vec<Edit> {
    const MAP: &str = "verdicts";
    let load = Expr::Load {
        header: Header::Network,
        offset: 16,
        len: 4,
        to: Reg(0),
    };
    let follow = Expr::Follow {
        map: MAP,
        key: Reg(0),
    };
    let mut edits = ruled(IP, (Kind::Nat, Hook::Prerouting), vec![load, follow]);
    let map = Edit::AddMap {
        table: IP,
        name: MAP,
        key: Key::Address,
        value: Value::Verdict,
    };
    // Behind the table, before the rule that names it.
    edits.insert(3, map);
    edits
}

/// The way back of published ports is written into frames as they leave.
fn on_egress() -> Vec<Edit> {
    let device = BRIDGE.to_owned();
    let store = Expr::Store {
        header: Header::Link,
        offset: 2,
        len: 4,
        from: Reg(0),
    };
    let bytes = Expr::Immediate {
        to: Reg(0),
        bytes: vec![0; 4],
    };
    ruled(
        FRAMES,
        (Kind::Filter, Hook::Egress { device }),
        vec![bytes, store],
    )
}
