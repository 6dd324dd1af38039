//! The fake kernel holds the same picture: what the simulation relies on.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use skep_netd::names::{VXLAN, network_ns, task_ns};
use skep_netd::{Config, FakeKernel, Kernel, NetError, Netd};
use skep_proto::assignment::AssignedAttachment;
use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::view::{EndpointState, EndpointView, NetworkView, NodeView, ServiceView, View};

const ME: NodeId = NodeId::new(1);
const NET: NetworkId = NetworkId::new(2);
const TASK: TaskId = TaskId::new(3);
const WEB: ServiceId = ServiceId::new(4);

fn view(far_tasks: u8) -> View {
    let endpoint = |task: u128, last, node| EndpointView {
        task: TaskId::new(task),
        service: WEB,
        name: format!("web.{task}"),
        address: Ipv4Addr::new(10, 0, 1, last),
        node,
        state: EndpointState::Live,
    };
    let far = (0..far_tasks).map(|far| endpoint(100 + u128::from(far), 100 + far, NodeId::new(2)));
    let own = endpoint(TASK.bits(), 3, ME);
    let node = |id, last, number| NodeView {
        id: NodeId::new(id),
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        number,
        ingress: None,
    };
    let service = ServiceView {
        id: WEB,
        name: "web".to_owned(),
        aliases: Vec::new(),
        vip: Some(Ipv4Addr::new(10, 0, 1, 2)),
    };
    let network = NetworkView {
        id: NET,
        name: "front".to_owned(),
        revision: u64::from(far_tasks),
        vni: 4096,
        subnet: "10.0.1.0/24".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 0, 1, 1),
        mtu: 1450,
        internal: false,
        ingress: false,
        endpoints: std::iter::once(own).chain(far).collect(),
        services: vec![service],
    };
    View {
        data_path_port: 4789,
        nodes: vec![node(1, 1, 1), node(2, 2, 2)],
        networks: vec![network],
        ports: Vec::new(),
    }
}

async fn netd(kernel: &Arc<FakeKernel>, dir: &std::path::Path) -> Netd<FakeKernel> {
    Netd::open(Arc::clone(kernel), Config::new(dir.join("tasks")))
        .await
        .unwrap()
}

fn attachment() -> AssignedAttachment {
    AssignedAttachment {
        network: NET,
        address: Ipv4Addr::new(10, 0, 1, 3),
        subnet: "10.0.1.0/24".parse().unwrap(),
        aliases: Vec::new(),
        ingress: false,
    }
}

#[tokio::test]
async fn a_settled_view_costs_no_step_and_a_change_only_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = Arc::new(FakeKernel::new());
    let netd = netd(&kernel, dir.path()).await;
    let acks = netd.apply(ME, view(1).into()).await;
    assert!(acks.failures.is_empty(), "{:?}", acks.failures);
    netd.attach(TASK, None, &[attachment()], &[], &[])
        .await
        .unwrap();
    let settled = kernel.steps();
    assert_eq!(netd.apply(ME, view(1).into()).await.revisions[&NET], 1);
    assert_eq!(kernel.steps(), settled);
    let acks = netd.apply(ME, view(2).into()).await;
    assert_eq!(acks.revisions[&NET], 2);
    let targets = kernel.elements(&task_ns(&TASK.to_string()), "targets");
    assert_eq!(targets.len(), 3);
    let seen = kernel.look(&network_ns(&NET.to_string())).await.unwrap();
    assert_eq!(seen.forwarding.len(), 2);
    assert!(seen.links.contains_key(VXLAN));
}

#[tokio::test]
async fn a_new_daemon_adopts_and_removes_nothing_without_a_view() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = Arc::new(FakeKernel::new());
    let first = netd(&kernel, dir.path()).await;
    first.apply(ME, view(1).into()).await;
    first
        .attach(TASK, None, &[attachment()], &[], &[])
        .await
        .unwrap();
    drop(first);
    let before = (kernel.namespaces().await.unwrap(), kernel.steps());
    let second = netd(&kernel, dir.path()).await;
    assert_eq!((kernel.namespaces().await.unwrap(), kernel.steps()), before);
    assert_eq!(second.attached().await, [TASK]);
    // The network left the view while the daemon was away; the task is still on it.
    let acks = second.apply(ME, View::default().into()).await;
    assert_eq!(acks.held, [NET]);
    second.detach(TASK).await.unwrap();
    assert!(kernel.namespaces().await.unwrap().is_empty());
}

#[tokio::test]
async fn tasks_are_attached_side_by_side_from_any_thread() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = Arc::new(FakeKernel::new());
    let netd = Arc::new(netd(&kernel, dir.path()).await);
    // They may come before the view that brings their network.
    let attaching: Vec<_> = (10..20)
        .map(|task| {
            let netd = Arc::clone(&netd);
            let task = TaskId::new(task);
            tokio::spawn(async move { netd.attach(task, None, &[attachment()], &[], &[]).await })
        })
        .collect();
    let applying = Arc::clone(&netd);
    tokio::spawn(async move { applying.apply(ME, view(1).into()).await })
        .await
        .unwrap();
    for task in attaching {
        task.await.unwrap().unwrap();
    }
    assert_eq!(netd.attached().await.len(), 10);
}

#[tokio::test]
async fn a_view_without_this_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = Arc::new(FakeKernel::new());
    let netd = netd(&kernel, dir.path()).await;
    let acks = netd.apply(NodeId::new(9), view(1).into()).await;
    assert!(matches!(acks.failures[..], [NetError::UnknownNode { .. }]));
    assert!(acks.revisions.is_empty());
}
