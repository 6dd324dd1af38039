//! Nodes as network namespaces around a router, each with a real netd, and containers as plain namespaces.
//!
//! Everything stands in namespaces and a mount namespace of the test's own thread and goes with it.

#![expect(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use skep_netd::names::{Mac, Ns, task_ns};
use skep_netd::step::{Peer, Port, Route, Step};
use skep_netd::{Config, HostPort, Kernel, LinuxKernel, Netd};
use skep_proto::assignment::AssignedAttachment;
use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::view::{
    EndpointState, EndpointView, NetworkView, NodeView, PortView, ServiceView, View,
};

mod talk;

pub use talk::*;

pub const PATIENCE: Duration = Duration::from_secs(10);
pub const NET: NetworkId = NetworkId::new(40);
pub const INGRESS: NetworkId = NetworkId::new(41);
pub const WEB: ServiceId = ServiceId::new(50);
pub const ASKER: ServiceId = ServiceId::new(51);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 200);

/// Runs a test in a mount namespace of its own, with a directory that goes with it.
pub fn run<F, T>(test: F)
where
    F: FnOnce(PathBuf) -> T,
    T: Future<Output = ()>,
{
    unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let place = tempfile::tempdir().unwrap();
    mount(
        Some("tmpfs"),
        place.path(),
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mounted = Mounted(place.path().to_owned());
    runtime.block_on(test(place.path().to_owned()));
    drop(runtime);
    drop(mounted);
}

/// Taken away also when a test fails, so that its directory can go.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

pub struct World {
    pub router: LinuxKernel,
    pub nodes: Vec<Node>,
    pub view: View,
    pub place: PathBuf,
}

pub struct Node {
    pub id: NodeId,
    pub address: Ipv4Addr,
    pub kernel: Arc<LinuxKernel>,
    pub netd: Netd<LinuxKernel>,
}

pub fn set(key: &str, value: &'static str) -> Step {
    Step::Sysctl {
        key: key.to_owned(),
        value,
    }
}

impl World {
    pub async fn of(nodes: u8, place: PathBuf) -> Self {
        let router = LinuxKernel::open(&place.join("router")).unwrap();
        let hub = Ns::Named("hub".to_owned());
        router.make_namespace(&hub).await.unwrap();
        router
            .run(&hub, vec![set("ipv4/ip_forward", "1")])
            .await
            .unwrap();
        let mut world = Self {
            router,
            nodes: Vec::new(),
            view: View::default(),
            place,
        };
        world.view.data_path_port = 4789;
        for number in 1..=nodes {
            let address = world.machine(&format!("node-{number}"), number).await;
            let id = NodeId::new(u128::from(number));
            let (kernel, netd) = world.daemon(number).await;
            world.nodes.push(Node {
                id,
                address,
                kernel,
                netd,
            });
            world.view.nodes.push(NodeView {
                id,
                address: IpAddr::V4(address),
                number: 256 + u16::from(number),
                ingress: Some(Ipv4Addr::new(10, 78, 0, 10 + number)),
            });
        }
        world
    }

    /// A namespace on the router: 203.0.113.(4n+2)/30.
    pub async fn machine(&self, name: &str, number: u8) -> Ipv4Addr {
        let (hub, ns) = (Ns::Named("hub".to_owned()), Ns::Named(name.to_owned()));
        self.router.make_namespace(&ns).await.unwrap();
        let near = Ipv4Addr::new(203, 0, 113, 4 * number + 1);
        let far = Ipv4Addr::new(203, 0, 113, 4 * number + 2);
        let net = |address| ipnet::Ipv4Net::new(address, 30).unwrap();
        let port = format!("p{number}");
        let peer = Peer {
            ns: ns.clone(),
            name: "up0".to_owned(),
            mac: Mac::of_address(far),
        };
        let veth = Step::AddVeth {
            name: port.clone(),
            port: Port::None,
            mtu: 1500,
            mac: None,
            peer,
        };
        let steps = vec![
            veth,
            Step::AddAddress {
                dev: port,
                address: net(near),
            },
        ];
        self.router.run(&hub, steps).await.unwrap();
        let dev = || "up0".to_owned();
        let to = ipnet::Ipv4Net::default();
        let steps = vec![
            Step::AddAddress {
                dev: dev(),
                address: net(far),
            },
            Step::SetUp { name: dev() },
            Step::AddRoute(Route {
                dev: dev(),
                to,
                via: Some(near),
            }),
        ];
        self.router.run(&ns, steps).await.unwrap();
        far
    }

    async fn daemon(&self, number: u8) -> (Arc<LinuxKernel>, Netd<LinuxKernel>) {
        let file = self.router.path_of(&Ns::Named(format!("node-{number}")));
        let dir = self.place.join(format!("run-{number}"));
        let host = std::fs::File::open(file).unwrap().into();
        let kernel = Arc::new(LinuxKernel::in_namespace(host, &dir.join("netns")).unwrap());
        let mut config = Config::new(dir.join("tasks"));
        config.resolv_conf = dir.join("resolv.conf");
        let netd = Netd::open(Arc::clone(&kernel), config).await.unwrap();
        (kernel, netd)
    }

    /// Ends a node's daemon and starts another on what it left.
    pub async fn restart(&mut self, node: usize) {
        let (kernel, netd) = self.daemon(u8::try_from(node + 1).unwrap()).await;
        self.nodes[node].kernel = kernel;
        self.nodes[node].netd = netd;
    }

    /// Bytes that came to the router from the first node.
    pub async fn crossed(&self) -> u64 {
        let net = format!(
            "--net={}",
            self.router.path_of(&Ns::Named("hub".to_owned())).display()
        );
        let mut command = tokio::process::Command::new("nsenter");
        let out = command
            .args([&net, "cat", "/proc/net/dev"])
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("p1:"))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub fn network(&mut self) -> &mut NetworkView {
        self.view
            .networks
            .iter_mut()
            .find(|network| network.id == NET)
            .unwrap()
    }

    pub fn add_network(&mut self, id: NetworkId, third: u8, ingress: bool) {
        let second = if ingress { 78 } else { 77 };
        let web = ServiceView {
            id: WEB,
            name: "web".to_owned(),
            aliases: vec!["www".to_owned()],
            vip: (!ingress).then_some(VIP),
        };
        self.view.networks.push(NetworkView {
            id,
            name: format!("net{second}{third}"),
            revision: 1,
            vni: 4096 + u32::from(second) * 256 + u32::from(third),
            subnet: format!("10.{second}.{third}.0/24").parse().unwrap(),
            gateway: Ipv4Addr::new(10, second, third, 1),
            mtu: 1450,
            internal: false,
            ingress,
            endpoints: Vec::new(),
            services: vec![web],
        });
        self.view.networks.sort_by_key(|network| network.id);
    }

    pub fn add_endpoint(&mut self, network: NetworkId, task: u8, service: ServiceId, node: usize) {
        let node = self.nodes[node].id;
        let network = self
            .view
            .networks
            .iter_mut()
            .find(|one| one.id == network)
            .unwrap();
        let [a, b, c, _] = network.subnet.network().octets();
        network.revision += 1;
        network.endpoints.push(EndpointView {
            task: task_id(task),
            service,
            name: format!("c.{task}"),
            address: Ipv4Addr::new(a, b, c, 100 + task),
            node,
            state: EndpointState::Live,
        });
    }

    pub fn set_state(&mut self, task: u8, state: EndpointState) {
        for network in &mut self.view.networks {
            network.revision += 1;
            for endpoint in network
                .endpoints
                .iter_mut()
                .filter(|one| one.task == task_id(task))
            {
                endpoint.state = state;
            }
        }
    }

    pub fn publish(&mut self, port: PortView) {
        self.view.ports.push(port);
    }

    /// Applies the view on every node; every network must be acknowledged.
    pub async fn apply(&self) {
        for node in &self.nodes {
            let acks = node.netd.apply(node.id, Arc::new(self.view.clone())).await;
            assert!(acks.failures.is_empty(), "{:#?}", acks.failures);
            assert_eq!(acks.revisions.len(), self.view.networks.len());
        }
    }

    pub async fn attach(&self, task: u8, ports: &[HostPort]) {
        let endpoints: Vec<(&NetworkView, &EndpointView)> = self
            .view
            .networks
            .iter()
            .flat_map(|network| network.endpoints.iter().map(move |one| (network, one)))
            .filter(|(_, one)| one.task == task_id(task))
            .collect();
        let attachments: Vec<AssignedAttachment> = endpoints
            .iter()
            .map(|(network, one)| AssignedAttachment {
                network: network.id,
                address: one.address,
                subnet: network.subnet,
                aliases: Vec::new(),
                ingress: network.ingress,
            })
            .collect();
        let node = self
            .nodes
            .iter()
            .find(|node| node.id == endpoints[0].1.node)
            .unwrap();
        node.netd
            .attach(task_id(task), None, &attachments, ports, &[])
            .await
            .unwrap();
    }

    pub fn kernel_of(&self, task: u8) -> &LinuxKernel {
        let mut endpoints = self
            .view
            .networks
            .iter()
            .flat_map(|network| &network.endpoints);
        let node = endpoints
            .find(|one| one.task == task_id(task))
            .unwrap()
            .node;
        &self.nodes.iter().find(|one| one.id == node).unwrap().kernel
    }

    /// A server in a task's namespace that says its name and who asked, by TCP and UDP.
    pub async fn serve(&self, task: u8, port: u16) {
        let ns = task_ns(&task_id(task).to_string());
        serve_in(self.kernel_of(task), &ns, port, &format!("{task}")).await;
    }

    pub async fn ask(&self, task: u8, to: Ipv4Addr, port: u16) -> std::io::Result<String> {
        let ns = task_ns(&task_id(task).to_string());
        ask_from(self.kernel_of(task), &ns, SocketAddr::from((to, port))).await
    }

    /// Who answered how often.
    pub async fn spread(&self, task: u8, to: Ipv4Addr, times: usize) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for _ in 0..times {
            let answer = self.ask(task, to, 80).await.unwrap();
            let name = answer.split(' ').next().unwrap().to_owned();
            *answers.entry(name).or_default() += 1;
        }
        answers
    }
}

pub fn task_id(task: u8) -> TaskId {
    TaskId::new(1000 + u128::from(task))
}

pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
