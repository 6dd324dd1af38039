//! Tasks on two nodes reach each other by address, by virtual address and by name, and the world through the node.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where it fails"
)]

mod world;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use skep_netd::Kernel;
use skep_netd::names::{Ns, TABLE, task_ns};
use skep_netd::nft::{Datum, Edit, Family, Table};
use skep_netd::step::{Forget, Step};
use skep_proto::view::EndpointState;
use world::*;

/// Two nodes; web tasks 1 and 2 on the first and second; task 9 asks, on the first.
async fn web_on_two_nodes(place: std::path::PathBuf) -> World {
    let mut world = World::of(2, place).await;
    world.add_network(NET, 1, false);
    world.add_endpoint(NET, 1, WEB, 0);
    world.add_endpoint(NET, 2, WEB, 1);
    world.add_endpoint(NET, 9, ASKER, 0);
    world.apply().await;
    for task in [1, 2, 9] {
        world.attach(task, &[]).await;
    }
    for task in [1, 2] {
        world.serve(task, 80).await;
    }
    world
}

fn address(task: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, 100 + task)
}

#[test]
fn tasks_reach_each_other_across_nodes() {
    run(|place| async {
        let world = web_on_two_nodes(place).await;
        assert_eq!(world.ask(9, address(1), 80).await.unwrap(), "1 10.77.1.109");
        assert_eq!(world.ask(9, address(2), 80).await.unwrap(), "2 10.77.1.109");
        // The tunnel's packets leave by the underlay, whole segments too.
        let ns = task_ns(&task_id(9).to_string());
        let to = SocketAddr::from((address(2), 80));
        let before = world.crossed().await;
        let mut stream = open_from(world.kernel_of(9), &ns, to).await.unwrap();
        line(&mut stream).unwrap();
        assert!(tokio::task::block_in_place(|| carries_bulk(stream)));
        assert!(world.crossed().await > before + (1 << 20));
    });
}

#[test]
fn a_virtual_address_is_balanced_and_leads_to_oneself_too() {
    run(|place| async {
        let world = web_on_two_nodes(place).await;
        let spread = world.spread(9, VIP, 60).await;
        assert_eq!(spread.len(), 2, "{spread:?}");
        assert!(spread.values().all(|count| *count >= 12), "{spread:?}");
        let own = world.spread(1, VIP, 40).await;
        assert_eq!(own.len(), 2, "{own:?}");
        let ns = task_ns(&task_id(9).to_string());
        let to = SocketAddr::from((VIP, 80));
        let answer = udp_from(world.kernel_of(9), &ns, to, b"?").await.unwrap();
        assert!(answer.ends_with(b" 10.77.1.109"));
    });
}

#[test]
fn a_draining_task_keeps_its_connections_and_gets_no_new_one() {
    run(|place| async {
        let mut world = web_on_two_nodes(place).await;
        let ns = task_ns(&task_id(9).to_string());
        let to = SocketAddr::from((VIP, 80));
        let mut kept = loop {
            let mut stream = open_from(world.kernel_of(9), &ns, to).await.unwrap();
            if line(&mut stream).unwrap().starts_with("2 ") {
                break stream;
            }
        };
        world.set_state(2, EndpointState::Draining);
        world.apply().await;
        assert!(tokio::task::block_in_place(|| echoes(&mut kept)));
        let spread = world.spread(9, VIP, 20).await;
        assert_eq!(spread.keys().collect::<Vec<_>>(), ["1"]);

        world
            .network()
            .endpoints
            .retain(|one| one.task != task_id(2));
        world.network().revision += 1;
        world.apply().await;
        assert!(
            !tokio::task::block_in_place(|| echoes(&mut kept)),
            "a gone task still answers"
        );
    });
}

#[test]
fn of_a_gone_tasks_connections_the_closed_are_left_to_their_time() {
    run(|place| async {
        let world = web_on_two_nodes(place).await;
        let ns = task_ns(&task_id(9).to_string());
        let kernel = world.kernel_of(9);
        let to = SocketAddr::from((VIP, 80));
        let gone = || {
            let which = Forget {
                to: Some(VIP),
                from: address(2),
            };
            kernel.forget(&ns, vec![which])
        };
        let mut open = Vec::new();
        let mut stream = loop {
            let mut stream = open_from(kernel, &ns, to).await.unwrap();
            if line(&mut stream).unwrap().starts_with("2 ") {
                break stream;
            }
            open.push(stream);
        };
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let rest = tokio::task::block_in_place(|| stream.read_to_end(&mut Vec::new()));
        assert_eq!(rest.unwrap(), 0);
        assert_eq!(
            gone().await.unwrap(),
            0,
            "its client may have opened it again"
        );
        while !line(&mut stream).unwrap_or_default().starts_with("2 ") {
            open.push(stream);
            stream = open_from(kernel, &ns, to).await.unwrap();
        }
        assert_eq!(gone().await.unwrap(), 1);
    });
}

/// The edits that take a virtual address's choice from a container, and give it back.
fn choice(of_targets: usize) -> (Edit, Edit) {
    let map = "choices";
    let table = Table {
        family: Family::Ip,
        name: TABLE,
    };
    let key = VIP.octets().to_vec();
    let drop = Edit::DropElement {
        table,
        map,
        key: key.clone(),
    };
    let put = Edit::PutElement {
        table,
        map,
        key,
        value: Datum::Goto(format!("of{of_targets}")),
    };
    (drop, put)
}

#[test]
fn a_client_that_finds_no_choice_for_a_moment_comes_again() {
    run(|place| async {
        let world = web_on_two_nodes(place).await;
        let (kernel, ns) = (world.kernel_of(9), task_ns(&task_id(9).to_string()));
        let change = async |edit| kernel.run(&ns, vec![Step::Rules(vec![edit])]).await;
        let (drop, put) = choice(2);
        change(drop).await.unwrap();
        let to = SocketAddr::from((VIP, 80));
        // Long enough for several packets, whatever else the machine does.
        let asked = kernel.connect(&ns, to, 3 * PATIENCE);
        tokio::pin!(asked);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
        assert!(early.is_err(), "{early:?}");
        change(put).await.unwrap();
        let mut stream = asked.await.unwrap().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = tokio::task::block_in_place(|| line(&mut stream)).unwrap();
        assert!(answer.ends_with(" 10.77.1.109"), "{answer}");
    });
}

#[test]
fn who_sends_datagrams_that_find_no_choice_is_told_nothing_and_is_answered_later() {
    run(|place| async {
        let mut world = web_on_two_nodes(place).await;
        let ns = task_ns(&task_id(9).to_string());
        let at = SocketAddr::from(([0, 0, 0, 0], 0));
        let socket = world.kernel_of(9).udp(&ns, at).await.unwrap().unwrap();
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        let (drop, put) = choice(2);
        let change = |edit| vec![Step::Rules(vec![edit])];
        world.kernel_of(9).run(&ns, change(drop)).await.unwrap();
        let to = SocketAddr::from((VIP, 80));
        socket.send_to(b"?", to).await.unwrap();
        world.kernel_of(9).run(&ns, change(put)).await.unwrap();
        // As in an update: one drains, and is gone.
        world.set_state(2, EndpointState::Draining);
        world.apply().await;
        world
            .network()
            .endpoints
            .retain(|one| one.task != task_id(2));
        world.network().revision += 1;
        world.apply().await;
        let mut buffer = [0; 64];
        until("the same socket is answered", async || {
            socket.send_to(b"?", to).await.unwrap();
            let answer = socket.recv_from(&mut buffer);
            let soon = tokio::time::timeout(Duration::from_millis(200), answer).await;
            soon.is_ok_and(|answer| answer.is_ok())
        })
        .await;
        assert!(buffer.starts_with(b"1 10.77.1.109"), "{buffer:?}");
    });
}

#[test]
fn a_task_that_comes_later_is_found() {
    run(|place| async {
        let mut world = web_on_two_nodes(place).await;
        world.add_endpoint(NET, 3, WEB, 1);
        world.apply().await;
        world.attach(3, &[]).await;
        world.serve(3, 80).await;
        assert_eq!(world.spread(9, VIP, 60).await.len(), 3);
        world.nodes[1].netd.detach(task_id(3)).await.unwrap();
        world
            .network()
            .endpoints
            .retain(|one| one.task != task_id(3));
        world.apply().await;
        assert_eq!(world.spread(9, VIP, 40).await.len(), 2);
    });
}

#[test]
fn a_table_that_someone_removed_is_written_anew() {
    run(|place| async {
        let mut world = web_on_two_nodes(place).await;
        let table = Table {
            family: Family::Ip,
            name: TABLE,
        };
        let ns = task_ns(&task_id(9).to_string());
        let steps = vec![Step::Rules(vec![Edit::DropTable(table)])];
        world.kernel_of(9).run(&ns, steps).await.unwrap();
        world.set_state(2, EndpointState::Draining);
        world.apply().await;
        assert_eq!(world.spread(9, VIP, 5).await.len(), 1);
        assert_eq!(
            resolve(&world, "web.", RecordType::A).await.answers.len(),
            1
        );
    });
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

async fn resolve(world: &World, name: &str, kind: RecordType) -> Message {
    let ns = task_ns(&task_id(9).to_string());
    let to = SocketAddr::from(([127, 0, 0, 11], 53));
    let bytes = udp_from(world.kernel_of(9), &ns, to, &question(name, kind))
        .await
        .unwrap();
    Message::from_vec(&bytes).unwrap()
}

#[test]
fn names_are_answered_inside_the_container() {
    run(|place| async {
        let world = web_on_two_nodes(place).await;
        let web = resolve(&world, "web.", RecordType::A).await;
        assert_eq!(web.answers[0].data.to_string(), VIP.to_string());
        assert_eq!(
            resolve(&world, "tasks.Web.", RecordType::A)
                .await
                .answers
                .len(),
            2
        );
        assert!(
            resolve(&world, "web.", RecordType::AAAA)
                .await
                .answers
                .is_empty()
        );
        let unknown = resolve(&world, "example.org.", RecordType::A).await;
        assert_eq!(unknown.metadata.response_code, ResponseCode::ServFail);
        // By TCP as well.
        let ns = task_ns(&task_id(9).to_string());
        let to = SocketAddr::from(([127, 0, 0, 11], 53));
        let mut stream = open_from(world.kernel_of(9), &ns, to).await.unwrap();
        let answer = tokio::task::block_in_place(|| {
            use std::io::{Read, Write};
            let bytes = question("web.", RecordType::A);
            stream
                .write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes())
                .unwrap();
            stream.write_all(&bytes).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).unwrap();
            Message::from_vec(&bytes).unwrap()
        });
        assert_eq!(answer.answers.len(), 1);
    });
}

#[test]
fn other_names_are_asked_of_the_nodes_resolvers() {
    run(|place| async {
        let world = web_on_two_nodes(place).await;
        // The router is the node's second resolver; the first does not answer at all.
        let file = world.place.join("run-1/resolv.conf");
        std::fs::write(file, "nameserver 203.0.113.6\nnameserver 203.0.113.5\n").unwrap();
        let at = SocketAddr::from(([0, 0, 0, 0], 53));
        let hub = Ns::Named("hub".into());
        let socket = world.router.udp(&hub, at).await.unwrap().unwrap();
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = asked.into_response();
            answer.metadata.response_code = ResponseCode::NXDomain;
            socket
                .send_to(&answer.to_vec().unwrap(), from)
                .await
                .unwrap();
        });
        let answer = resolve(&world, "example.org.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    });
}

#[test]
fn a_container_reaches_the_world_as_its_node() {
    run(|place| async {
        let world = web_on_two_nodes(place).await;
        let hub = Ns::Named("hub".into());
        serve_in(&world.router, &hub, 8080, "hub").await;
        let answer = world
            .ask(9, Ipv4Addr::new(203, 0, 113, 5), 8080)
            .await
            .unwrap();
        assert_eq!(answer, format!("hub {}", world.nodes[0].address));
    });
}

#[test]
fn a_restarted_daemon_takes_up_what_is_there() {
    run(|place| async {
        let mut world = web_on_two_nodes(place).await;
        let ns = task_ns(&task_id(9).to_string());
        let to = SocketAddr::from((VIP, 80));
        let mut kept = open_from(world.kernel_of(9), &ns, to).await.unwrap();
        line(&mut kept).unwrap();
        world.restart(0).await;
        assert!(tokio::task::block_in_place(|| echoes(&mut kept)));
        assert_eq!(world.nodes[0].netd.attached().await.len(), 2);
        world.apply().await;
        assert!(tokio::task::block_in_place(|| echoes(&mut kept)));
        assert_eq!(world.spread(9, VIP, 40).await.len(), 2);
        assert_eq!(
            resolve(&world, "web.", RecordType::A).await.answers.len(),
            1
        );
    });
}

#[test]
fn a_removed_network_leaves_nothing_and_its_number_can_be_given_again() {
    run(|place| async {
        let mut world = web_on_two_nodes(place).await;
        let full = world.view.clone();
        world.view.networks.clear();
        for task in [1, 9] {
            world.nodes[0].netd.detach(task_id(task)).await.unwrap();
        }
        world.nodes[1].netd.detach(task_id(2)).await.unwrap();
        for node in &world.nodes {
            node.netd.apply(node.id, world.view.clone().into()).await;
            assert!(node.kernel.namespaces().await.unwrap().is_empty());
        }
        world.view = full;
        world.apply().await;
    });
}
