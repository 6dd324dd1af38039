//! The lab's cables: a bridge in the switch's namespace, and a veth pair for each machine.
//!
//! Every request is sent from a thread that entered the namespace it speaks of, so the machine's own
//! network is never named, let alone changed.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use super::error::LabError;
use super::procs::Proc;

const BRIDGE: &str = "switch";
const PORT: &str = "eth0";
/// Netlink answers in microseconds, or when the kernel's big lock is free.
const LIMIT: Duration = Duration::from_secs(20);

/// One end in a machine, the other in the switch.
#[derive(Debug)]
pub(crate) struct Plug<'a> {
    /// The far end's name in the switch: the machine's.
    pub(crate) name: &'a str,
    pub(crate) address: Ipv4Addr,
    /// Where the machine sends what is not for the switch's range.
    pub(crate) gateway: Ipv4Addr,
}

/// Makes the bridge in the switch's namespace.
pub(crate) fn make_switch(switch: Proc) -> Result<(), LabError> {
    within(switch, "make the switch", async |net: Net| {
        net.up("lo").await?;
        let bridge = LinkBridge::new(BRIDGE).mcast_snooping(false).up().build();
        net.0.link().add(bridge).execute().await
    })
}

/// Lays a machine's cable: `eth0` is born in its namespace with the address, up, and plugged in.
pub(crate) fn plug(switch: Proc, machine: Proc, plug: &Plug<'_>) -> Result<(), LabError> {
    let act = format!("lay the cable of {}", plug.name);
    let target = namespace(machine, &act)?;
    let mac = mac(plug.address);
    within(switch, &act, async move |net: Net| {
        let bridge = net.index(BRIDGE).await?;
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(PORT)
            .address(mac)
            .setns_by_fd(target.as_raw_fd())
            .build();
        let link = LinkMessageBuilder::<LinkVeth>::new(plug.name, PORT)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .controller(bridge)
            .up()
            .build();
        net.0.link().add(link).execute().await
    })?;
    let (address, gateway) = (plug.address, plug.gateway);
    within(machine, &act, async move |net: Net| {
        net.up("lo").await?;
        let port = net.index(PORT).await?;
        net.0
            .address()
            .add(port, IpAddr::V4(address), 24)
            .execute()
            .await?;
        net.up(PORT).await?;
        if address == gateway {
            return Ok(());
        }
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .build();
        net.0.route().add(route).execute().await
    })
}

/// Removes the cable, both ends at once; no cable is no error.
pub(crate) fn unplug(switch: Proc, name: &str) -> Result<(), LabError> {
    within(
        switch,
        &format!("remove the cable of {name}"),
        async |net: Net| match net.find(name).await? {
            Some(index) => net.0.link().del(index).execute().await,
            None => Ok(()),
        },
    )
}

/// Takes the far end out of the switch. The near end keeps its carrier and hears nothing.
pub(crate) fn cut(switch: Proc, name: &str) -> Result<(), LabError> {
    within(
        switch,
        &format!("cut the cable of {name}"),
        async |net: Net| {
            let index = net.index(name).await?;
            let link = LinkUnspec::new_with_index(index).nocontroller().build();
            net.0.link().set(link).execute().await
        },
    )
}

/// Puts the far end back.
pub(crate) fn heal(switch: Proc, name: &str) -> Result<(), LabError> {
    within(
        switch,
        &format!("heal the cable of {name}"),
        async |net: Net| {
            let bridge = net.index(BRIDGE).await?;
            let index = net.index(name).await?;
            let link = LinkUnspec::new_with_index(index).controller(bridge).build();
            net.0.link().set(link).execute().await
        },
    )
}

/// A machine keeps its MAC over a power cut, as real ones do: neighbours remember it.
fn mac(address: Ipv4Addr) -> Vec<u8> {
    let [_, _, third, last] = address.octets();
    vec![0x02, 0x5b, 0x4c, 0x00, third, last]
}

fn namespace(of: Proc, act: &str) -> Result<File, LabError> {
    let path = format!("/proc/{}/ns/net", of.pid);
    let file = File::open(&path).map_err(LabError::io(format!("{act}: open {path}")))?;
    if of.is_alive() {
        return Ok(file);
    }
    Err(LabError::Link {
        act: act.into(),
        why: "the machine has ended".into(),
    })
}

/// The netlink connection of one namespace.
struct Net(Handle);

impl Net {
    async fn find(&self, name: &str) -> Result<Option<u32>, rtnetlink::Error> {
        let mut found = self.0.link().get().match_name(name.to_string()).execute();
        match found.try_next().await {
            Ok(link) => Ok(link.map(|l| l.header.index)),
            Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -libc::ENODEV => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn index(&self, name: &str) -> Result<u32, rtnetlink::Error> {
        let missing = || rtnetlink::Error::NamespaceError(format!("there is no interface {name}"));
        self.find(name).await?.ok_or_else(missing)
    }

    async fn up(&self, name: &str) -> Result<(), rtnetlink::Error> {
        let index = self.index(name).await?;
        self.0
            .link()
            .set(LinkUnspec::new_with_index(index).up().build())
            .execute()
            .await
    }
}

/// Opens a namespace by its path.
pub(crate) fn open(path: &str) -> Result<File, LabError> {
    File::open(path).map_err(LabError::io(format!("open the network {path}")))
}

/// Runs `work` on a thread of its own in a network namespace, and waits for it. The thread dies
/// there, so that nothing else can ever run in the wrong network.
pub(crate) fn inside<T: Send>(
    target: &File,
    whose: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, LabError> {
    let failed = |why: String| LabError::Link {
        act: format!("work in the network of {whose}"),
        why,
    };
    let attempt = || setns(target, CloneFlags::CLONE_NEWNET).map(|()| work());
    let ended = std::thread::scope(|scope| scope.spawn(attempt).join());
    let entered = ended.map_err(|_| failed("its thread ended early".into()))?;
    entered.map_err(|e| failed(format!("enter it: {e}")))
}

/// Sends netlink requests from inside the network namespace of a machine's PID 1.
fn within<W>(of: Proc, act: &str, work: W) -> Result<(), LabError>
where
    W: AsyncFnOnce(Net) -> Result<(), rtnetlink::Error> + Send,
{
    let target = namespace(of, act)?;
    let attempt = || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| format!("start a runtime: {e}"))?;
        runtime.block_on(async {
            let (connection, sender, _) =
                rtnetlink::new_connection().map_err(|e| format!("open netlink: {e}"))?;
            tokio::spawn(connection);
            match tokio::time::timeout(LIMIT, work(Net(sender))).await {
                Ok(done) => done.map_err(|e| e.to_string()),
                Err(_) => Err(format!("no answer in {} s", LIMIT.as_secs())),
            }
        })
    };
    inside(&target, act, attempt)?.map_err(|why| LabError::Link {
        act: act.into(),
        why,
    })
}
