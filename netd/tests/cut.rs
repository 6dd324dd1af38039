//! A cut on a real kernel, between two machines in namespaces: what it stops, what it lets pass, and that it goes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot begin has failed"
)]

mod world;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use skep_netd::names::Ns;
use skep_netd::{Cut, Kernel};
use world::{PATIENCE, World};

/// What does not pass is waited for so long.
const IN_VAIN: Duration = Duration::from_millis(300);

/// Does `work` in a machine's namespace, on a thread that ends there.
fn inside<T: Send + 'static>(ns: PathBuf, work: impl FnOnce() -> T + Send + 'static) -> T {
    let entered = move || {
        setns(File::open(ns).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    std::thread::spawn(entered).join().unwrap()
}

fn connects(to: (Ipv4Addr, u16), wait: Duration) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(to), wait).is_ok()
}

#[test]
fn a_cut_stops_what_nodes_say_to_each_other_and_ends_with_its_holder() {
    world::run(async |place| {
        let world = World::of(0, place).await;
        let (a, b) = (world.machine("a", 1).await, world.machine("b", 2).await);
        let path = |name: &str| world.router.path_of(&Ns::Named(name.to_owned()));
        let (in_a, in_b) = (path("a"), path("b"));
        let (doors, overlay) = inside(in_b, move || {
            let doors = [2377, 8080].map(|port| TcpListener::bind((b, port)).unwrap());
            (doors, UdpSocket::bind((b, 4789)).unwrap())
        });
        overlay.set_read_timeout(Some(PATIENCE)).unwrap();
        inside(in_a, move || {
            let own = TcpListener::bind((a, 2377)).unwrap();
            let sender = UdpSocket::bind((a, 40_000)).unwrap();
            assert!(connects((b, 2377), PATIENCE));
            let cut = Cut::open(&[2377], &[4789]).unwrap();
            assert!(!connects((b, 2377), IN_VAIN));
            assert!(
                connects((b, 8080), PATIENCE),
                "other ports are no matter of ours"
            );
            assert!(connects((a, 2377), PATIENCE), "a node still reaches itself");
            // A sender is told of it at once or not at all; only what is sent later arrives.
            drop(sender.send_to(b"lost", (b, 4789)));
            let second = Cut::open(&[2377], &[]);
            assert!(second.is_err(), "{second:?}");
            drop(cut);
            assert!(connects((b, 2377), PATIENCE));
            sender.send_to(b"later", (b, 4789)).unwrap();
            drop(own);
        });
        let mut heard = [0; 16];
        let length = overlay.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"later");
        drop(doors);
    });
}
