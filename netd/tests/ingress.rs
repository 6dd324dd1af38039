//! Published ports: every node accepts, any task answers, and the task sees who really asked.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where it fails"
)]

mod world;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use skep_netd::names::{Ns, TABLE};
use skep_netd::nft::{Datum, Edit, Family, Table};
use skep_netd::step::Step;
use skep_netd::{HostPort, Kernel, NetError};
use skep_proto::spec::{Protocol, PublishMode};
use skep_proto::view::{EndpointState, PortView};
use world::*;

const CLIENT: u8 = 9;

fn client_ns() -> Ns {
    Ns::Named("client".to_owned())
}

/// Three nodes, web tasks on the first two, and a client that is no node. Port 8080 is published for 80.
async fn published(place: std::path::PathBuf, tasks: &[(u8, usize)]) -> World {
    let mut world = World::of(3, place).await;
    world.machine("client", CLIENT).await;
    world.add_network(INGRESS, 0, true);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mode = PublishMode::Ingress;
        let port = PortView {
            service: WEB,
            protocol,
            published: 8080,
            target: 80,
            mode,
        };
        world.publish(port);
    }
    for (task, node) in tasks {
        world.add_endpoint(INGRESS, *task, WEB, *node);
    }
    world.apply().await;
    for (task, _) in tasks {
        world.attach(*task, &[]).await;
        world.serve(*task, 80).await;
    }
    world
}

fn client_address() -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 4 * CLIENT + 2)
}

fn port_of(world: &World, node: usize) -> SocketAddr {
    SocketAddr::from((world.nodes[node].address, 8080))
}

#[test]
fn every_node_accepts_and_the_task_sees_the_client() {
    run(|place| async {
        let world = published(place, &[(1, 0), (2, 1)]).await;
        for node in 0..3 {
            let to = port_of(&world, node);
            let mut who = BTreeSet::new();
            for _ in 0..30 {
                let answer = ask_from(&world.router, &client_ns(), to).await.unwrap();
                let (task, seen) = answer.split_once(' ').unwrap();
                assert_eq!(seen, client_address().to_string(), "through node {node}");
                who.insert(task.to_owned());
                let answer = udp_from(&world.router, &client_ns(), to, b"?")
                    .await
                    .unwrap();
                let answer = String::from_utf8(answer).unwrap();
                assert!(
                    answer.ends_with(&format!(" {}", client_address())),
                    "{answer}"
                );
            }
            assert_eq!(who.len(), 2, "through node {node}");
            let mut stream = open_from(&world.router, &client_ns(), to).await.unwrap();
            line(&mut stream).unwrap();
            assert!(tokio::task::block_in_place(|| carries_bulk(stream)));
        }
    });
}

#[test]
fn equal_connections_through_two_nodes_are_told_apart() {
    run(|place| async {
        let world = published(place, &[(1, 0)]).await;
        // From one port of the client to two nodes: the task sees the same addresses and ports twice.
        let at = SocketAddr::from((client_address(), 40_000));
        let socket = world.router.udp(&client_ns(), at).await.unwrap().unwrap();
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        for _ in 0..3 {
            for node in [1, 2, 0] {
                socket.send_to(b"?", port_of(&world, node)).await.unwrap();
                let mut buffer = [0; 64];
                let answer = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await;
                let (length, from) = answer.expect("no answer").unwrap();
                assert_eq!(from, port_of(&world, node));
                assert_eq!(
                    &buffer[..length],
                    format!("1 {}", client_address()).as_bytes()
                );
            }
        }
        let connect = |node| open_from_port(&world, &client_ns(), 40_001, port_of(&world, node));
        tokio::task::block_in_place(|| {
            let mut streams = [0, 1, 2].map(connect);
            for stream in &mut streams {
                assert_eq!(line(stream).unwrap(), format!("1 {}", client_address()));
            }
            assert!(streams.iter_mut().rev().all(echoes));
        });
    });
}

#[test]
fn the_node_itself_asks_by_its_address_and_by_loopback() {
    run(|place| async {
        let world = published(place, &[(1, 0), (2, 1)]).await;
        for node in [0, 2] {
            let loopback = SocketAddr::from(([127, 0, 0, 1], 8080));
            for to in [port_of(&world, node), loopback] {
                let kernel = &world.nodes[node].kernel;
                ask_from(kernel, &Ns::Host, to).await.unwrap();
                let answer = udp_from(kernel, &Ns::Host, to, b"?").await;
                answer.unwrap_or_else(|error| panic!("UDP to {to}: {error}"));
            }
        }
    });
}

#[test]
fn tasks_on_ingress_reach_the_world_but_not_each_other() {
    run(|place| async {
        let world = published(place, &[(1, 0), (2, 1), (3, 0)]).await;
        let client = client_ns();
        serve_in(&world.router, &client, 9000, "client").await;
        let answer = world.ask(1, client_address(), 9000).await.unwrap();
        assert_eq!(answer, format!("client {}", world.nodes[0].address));
        let network = &world.view.networks[0];
        let address = |task| {
            network
                .endpoints
                .iter()
                .find(|one| one.task == task_id(task))
                .unwrap()
                .address
        };
        for other in [2, 3] {
            let refused = world.ask(1, address(other), 80).await;
            let frames = refused
                .as_ref()
                .is_ok_and(|answer| answer.contains(&address(1).to_string()));
            assert!(!frames, "task 1 reached task {other} directly");
        }
        // By a published port it does, as everybody.
        for node in [0, 1, 2] {
            let mut who = BTreeSet::new();
            for _ in 0..40 {
                let answer = world.ask(1, world.nodes[node].address, 8080).await.unwrap();
                who.extend(answer.split(' ').next().map(str::to_owned));
            }
            assert_eq!(who.len(), 3, "through node {node}, itself among them");
        }
    });
}

#[test]
fn a_draining_task_is_sent_no_new_client() {
    run(|place| async {
        let mut world = published(place, &[(1, 0), (2, 1)]).await;
        let to = port_of(&world, 2);
        let mut kept = loop {
            let mut stream = open_from(&world.router, &client_ns(), to).await.unwrap();
            if line(&mut stream).unwrap().starts_with("2 ") {
                break stream;
            }
        };
        world.set_state(2, EndpointState::Draining);
        world.apply().await;
        for _ in 0..20 {
            let answer = ask_from(&world.router, &client_ns(), to).await.unwrap();
            assert!(answer.starts_with("1 "), "{answer}");
        }
        assert!(tokio::task::block_in_place(|| echoes(&mut kept)));
    });
}

#[test]
fn a_client_that_finds_no_choice_for_a_moment_comes_again() {
    run(|place| async {
        let world = published(place, &[(1, 0)]).await;
        let node = &world.nodes[1].kernel;
        let table = Table {
            family: Family::Ip,
            name: TABLE,
        };
        // TCP and the port, each in a register of its own.
        let key = vec![6, 0, 0, 0, 0x1f, 0x90, 0, 0];
        let drop = Edit::DropElement {
            table,
            map: "choices",
            key: key.clone(),
        };
        let put = Edit::PutElement {
            table,
            map: "choices",
            key,
            value: Datum::Goto("of1".to_owned()),
        };
        let change = async |edit| node.run(&Ns::Host, vec![Step::Rules(vec![edit])]).await;
        change(drop).await.unwrap();
        let to = port_of(&world, 1);
        let ns = client_ns();
        let asked = ask_from(&world.router, &ns, to);
        tokio::pin!(asked);
        // Nobody answers its first packet, the socket that holds the port least of all.
        let early = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
        assert!(early.is_err(), "{early:?}");
        change(put).await.unwrap();
        assert!(asked.await.unwrap().starts_with("1 "));
    });
}

#[test]
fn a_task_on_an_overlay_reaches_what_its_own_node_publishes() {
    run(|place| async {
        let mut world = published(place, &[(1, 0), (2, 1)]).await;
        world.add_network(NET, 1, false);
        world.add_endpoint(NET, 8, ASKER, 0);
        world.apply().await;
        world.attach(8, &[]).await;
        for node in [0, 1, 2] {
            for _ in 0..10 {
                world.ask(8, world.nodes[node].address, 8080).await.unwrap();
            }
        }
        // And not by the task's own address, though its node could forward there.
        let ingress = world
            .view
            .networks
            .iter()
            .find(|one| one.id == INGRESS)
            .unwrap();
        world
            .ask(8, ingress.endpoints[0].address, 80)
            .await
            .unwrap_err();
    });
}

#[test]
fn a_port_that_another_program_has_is_named() {
    run(|place| async {
        let world = published(place, &[]).await;
        let kernel = &world.nodes[0].kernel;
        let at = SocketAddr::from(([0, 0, 0, 0], 8081));
        let other = kernel.tcp(&Ns::Host, at).await.unwrap().unwrap();
        let mut view = world.view.clone();
        view.ports[0].published = 8081;
        let node = &world.nodes[0];
        let acks = node.netd.apply(node.id, view.clone().into()).await;
        assert!(matches!(
            acks.failures[..],
            [NetError::PortTaken { port: 8081, .. }]
        ));
        drop(other);
        assert!(
            node.netd
                .apply(node.id, view.into())
                .await
                .failures
                .is_empty()
        );
    });
}

#[test]
fn a_port_published_on_one_node_is_open_there_alone() {
    run(|place| async {
        let mut world = World::of(2, place).await;
        world.machine("client", CLIENT).await;
        world.add_network(NET, 1, false);
        world.add_endpoint(NET, 1, WEB, 0);
        world.apply().await;
        let port = HostPort {
            protocol: Protocol::Tcp,
            published: 8082,
            target: 80,
        };
        world.attach(1, &[port]).await;
        world.serve(1, 80).await;
        let to = SocketAddr::from((world.nodes[0].address, 8082));
        let answer = ask_from(&world.router, &client_ns(), to).await.unwrap();
        assert_eq!(answer, format!("1 {}", client_address()));
        let loopback = SocketAddr::from(([127, 0, 0, 1], 8082));
        ask_from(&world.nodes[0].kernel, &Ns::Host, loopback)
            .await
            .unwrap();
        let elsewhere = SocketAddr::from((world.nodes[1].address, 8082));
        ask_from(&world.router, &client_ns(), elsewhere)
            .await
            .unwrap_err();
        world.nodes[0].netd.detach(task_id(1)).await.unwrap();
        ask_from(&world.router, &client_ns(), to).await.unwrap_err();
    });
}

#[test]
fn a_restarted_daemon_goes_on_accepting() {
    run(|place| async {
        let mut world = published(place, &[(1, 0), (2, 1)]).await;
        let to = port_of(&world, 0);
        let mut kept = open_from(&world.router, &client_ns(), to).await.unwrap();
        line(&mut kept).unwrap();
        world.restart(0).await;
        assert!(tokio::task::block_in_place(|| echoes(&mut kept)));
        // Its predecessor's sockets close a moment after it is gone.
        until("the port is bound again", async || {
            let node = &world.nodes[0];
            node.netd
                .apply(node.id, world.view.clone().into())
                .await
                .failures
                .is_empty()
        })
        .await;
        assert!(tokio::task::block_in_place(|| echoes(&mut kept)));
        for _ in 0..10 {
            let answer = ask_from(&world.router, &client_ns(), to).await.unwrap();
            assert!(answer.ends_with(&client_address().to_string()));
        }
        world.view.ports.clear();
        world.apply().await;
        ask_from(&world.router, &client_ns(), to).await.unwrap_err();
    });
}
