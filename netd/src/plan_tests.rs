use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::view::{EndpointState, EndpointView, NetworkView, NodeView, View};

use super::{network_goal, network_steps, way_out_pool};
use crate::names::{BRIDGE, Mac, VXLAN};
use crate::step::{Forwarding, LinkKind, LinkSeen, Picture, Step};

const ME: NodeId = NodeId::new(1);
const OTHER: NodeId = NodeId::new(2);

fn view() -> View {
    let node = |id, last| NodeView {
        id,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        number: u16::from(last),
        ingress: None,
    };
    let endpoint = |task: u8, node| EndpointView {
        task: TaskId::new(u128::from(task)),
        service: ServiceId::new(1),
        name: format!("c.{task}"),
        address: Ipv4Addr::new(10, 0, 1, task),
        node,
        state: EndpointState::Live,
    };
    let network = NetworkView {
        id: NetworkId::new(1),
        name: "front".to_owned(),
        revision: 1,
        vni: 4096,
        subnet: "10.0.1.0/24".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 0, 1, 1),
        mtu: 1450,
        internal: false,
        ingress: false,
        endpoints: vec![endpoint(3, ME), endpoint(4, OTHER)],
        services: Vec::new(),
    };
    View {
        data_path_port: 4789,
        nodes: vec![node(ME, 1), node(OTHER, 2)],
        networks: vec![network],
        ports: Vec::new(),
    }
}

/// The picture after a plan's steps, as far as they show in it.
fn after(steps: Vec<Step>, mut picture: Picture) -> Picture {
    let link = |kind, mtu, bridge| LinkSeen {
        kind,
        up: true,
        mtu,
        mac: None,
        bridge,
    };
    for step in steps {
        match step {
            Step::AddBridge { name, mtu, .. } => {
                picture
                    .links
                    .insert(name, link(LinkKind::Bridge, mtu, None));
            }
            Step::AddVxlan {
                name,
                bridge,
                tunnel,
                mtu,
            } => {
                picture
                    .links
                    .insert(name, link(LinkKind::Vxlan(tunnel), mtu, Some(bridge)));
            }
            Step::SetMtu { name, mtu } => picture.links.get_mut(&name).unwrap().mtu = mtu,
            Step::DeleteLink { name } => {
                picture.links.remove(&name);
                picture.forwarding.retain(|entry| entry.dev != name);
                picture.neighbours.retain(|entry| entry.dev != name);
            }
            Step::PutForwarding(entry) => drop(picture.forwarding.insert(entry)),
            Step::DropForwarding(entry) => drop(picture.forwarding.remove(&entry)),
            Step::PutNeighbour(entry) => drop(picture.neighbours.insert(entry)),
            Step::DropNeighbour(entry) => drop(picture.neighbours.remove(&entry)),
            _ => {}
        }
    }
    picture
}

fn plan(view: &View, picture: &Picture) -> Vec<Step> {
    network_steps(&network_goal(view, &view.networks[0], ME).unwrap(), picture)
}

#[test]
fn a_plan_that_was_run_leaves_nothing_to_do() {
    let view = view();
    let done = after(plan(&view, &Picture::default()), Picture::default());
    assert_eq!(plan(&view, &done), []);
    let far = done.forwarding.first().unwrap();
    assert_eq!(far.mac, Mac::of_address(Ipv4Addr::new(10, 0, 1, 4)));
    assert_eq!((done.forwarding.len(), done.neighbours.len()), (1, 1));
}

#[test]
fn an_address_that_moved_is_dropped_before_it_is_put() {
    let mut view = view();
    let done = after(plan(&view, &Picture::default()), Picture::default());
    view.nodes[1].address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    let steps = plan(&view, &done);
    assert!(matches!(
        &steps[..],
        [
            Step::DropForwarding(_),
            Step::PutForwarding(Forwarding {
                remote: Some(_),
                ..
            })
        ]
    ));
}

#[test]
fn a_tunnel_of_another_number_or_half_made_is_made_anew() {
    let view = view();
    let done = after(plan(&view, &Picture::default()), Picture::default());
    let check = |change: fn(&mut LinkSeen)| {
        let mut seen = done.clone();
        change(seen.links.get_mut(VXLAN).unwrap());
        let steps = plan(&view, &seen);
        assert_eq!(
            steps[0],
            Step::DeleteLink {
                name: VXLAN.to_owned()
            }
        );
        assert!(matches!(steps[1], Step::AddVxlan { .. }));
        assert_eq!(plan(&view, &after(steps, seen)), []);
    };
    check(|link| link.up = false);
    check(|link| link.bridge = None);
    check(|link| link.kind = LinkKind::Other);
    let mut other = view.clone();
    other.networks[0].vni = 4097;
    assert!(plan(&other, &done).contains(&Step::DeleteLink {
        name: VXLAN.to_owned()
    }));
}

#[test]
fn a_changed_size_is_set_and_nothing_else() {
    let mut view = view();
    let done = after(plan(&view, &Picture::default()), Picture::default());
    view.networks[0].mtu = 1400;
    let set = |name: &str| Step::SetMtu {
        name: name.to_owned(),
        mtu: 1400,
    };
    assert_eq!(plan(&view, &done), [set(BRIDGE), set(VXLAN)]);
}

#[test]
fn a_node_that_the_view_does_not_know_has_no_goal() {
    let view = view();
    assert_eq!(network_goal(&view, &view.networks[0], NodeId::new(7)), None);
}

#[test]
fn the_way_out_avoids_the_nodes_routes() {
    let pools: Vec<Ipv4Net> = ["10.213.0.0/16", "10.214.0.0/16"]
        .iter()
        .map(|pool| pool.parse().unwrap())
        .collect();
    let check = |route: &str, expected: Option<usize>| {
        let mut seen = Picture::default();
        seen.routes.insert(route.parse().unwrap());
        assert_eq!(
            way_out_pool(&pools, &seen),
            expected.map(|place| pools[place]),
            "{route}"
        );
    };
    check("192.168.0.0/16", Some(0));
    check("10.213.7.0/24", Some(1));
    check("10.0.0.0/8", None);
}
