//! Servers and clients inside namespaces.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sched::CloneFlags;
use skep_netd::names::Ns;
use skep_netd::{Kernel, LinuxKernel};

use super::World;

pub async fn serve_in(kernel: &LinuxKernel, ns: &Ns, port: u16, name: &str) {
    let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let tcp =
        tokio::net::TcpListener::from_std(kernel.tcp(ns, at).await.unwrap().unwrap()).unwrap();
    let udp = tokio::net::UdpSocket::from_std(kernel.udp(ns, at).await.unwrap().unwrap()).unwrap();
    let own = name.to_owned();
    tokio::spawn(async move {
        loop {
            let (mut stream, peer) = tcp.accept().await.unwrap();
            let text = format!("{own} {}\n", peer.ip());
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                // Echoes after the greeting, so that a connection can be kept.
                drop(stream.write_all(text.as_bytes()).await);
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    drop(stream.write_all(&bytes[..length]).await);
                }
            });
        }
    });
    let own = name.to_owned();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        loop {
            let (_, peer) = udp.recv_from(&mut buffer).await.unwrap();
            drop(
                udp.send_to(format!("{own} {}", peer.ip()).as_bytes(), peer)
                    .await,
            );
        }
    });
}

pub async fn open_from(
    kernel: &LinuxKernel,
    ns: &Ns,
    to: SocketAddr,
) -> std::io::Result<TcpStream> {
    let stream = kernel
        .connect(ns, to, Duration::from_secs(3))
        .await
        .map_err(|error| error.source)?;
    let stream = stream.unwrap();
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(stream)
}

/// A connection from a certain port of a machine on the router.
pub fn open_from_port(world: &World, ns: &Ns, port: u16, to: SocketAddr) -> TcpStream {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
        sockopt,
    };
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open(world.router.path_of(ns)).unwrap();
    // The thread ends in the other namespace.
    std::thread::spawn(move || {
        nix::sched::setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        let fd = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
        let own = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        bind(fd.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
        connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
        let stream = TcpStream::from(fd);
        stream
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        stream
    })
    .join()
    .unwrap()
}

pub fn line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0; 1];
    loop {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(String::from_utf8(line).unwrap());
        }
        line.push(byte[0]);
    }
}

/// Whether a kept connection still carries.
pub fn echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    stream
        .write_all(b"x")
        .and_then(|()| stream.read_exact(&mut byte))
        .is_ok()
}

/// Whether a connection carries a megabyte there and back unharmed, in segments of any size.
pub fn carries_bulk(mut stream: TcpStream) -> bool {
    let sent: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&copy));
    let mut back = vec![0; sent.len()];
    stream.read_exact(&mut back).is_ok() && writing.join().unwrap().is_ok() && back == sent
}

pub async fn ask_from(kernel: &LinuxKernel, ns: &Ns, to: SocketAddr) -> std::io::Result<String> {
    let mut stream = open_from(kernel, ns, to).await?;
    tokio::task::block_in_place(|| line(&mut stream))
}

pub async fn udp_from(
    kernel: &LinuxKernel,
    ns: &Ns,
    to: SocketAddr,
    text: &[u8],
) -> std::io::Result<Vec<u8>> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let socket: UdpSocket = kernel.udp(ns, any).await.unwrap().unwrap();
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    socket.connect(to)?;
    tokio::task::block_in_place(|| {
        socket.send(text)?;
        let mut buffer = vec![0; 1500];
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    })
}
