//! The sockets of one container's resolver and the tasks that serve them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use skep_proto::ids::NetworkId;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{Transport, Verdict, failure, judge};
use super::directory::Directory;
use super::forward::{Forwarder, read_message, write_message};
use crate::kernel::{Kernel, KernelError};
use crate::names::Ns;
use crate::rules::RESOLVER;

/// Tried first, so that a restarted daemon listens where the container's tracked questions go. Above the range
/// that the kernel gives out by itself.
const PORT: u16 = 61053;
/// Questions of one container under way at once, by either transport.
const IN_FLIGHT: usize = 128;
/// How long a TCP connection may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// Largest question by UDP; real ones stay below 512 bytes.
const QUESTION: usize = 4096;

/// A container's resolver; it ends when this is dropped.
pub(crate) struct Resolver {
    /// UDP and TCP port at 127.0.0.11.
    pub(crate) ports: (u16, u16),
    _tasks: JoinSet<()>,
}

/// Whom a resolver answers.
struct Client<K> {
    scope: Vec<NetworkId>,
    directory: watch::Receiver<Arc<Directory>>,
    /// `None` where nothing may leave.
    forwarder: Option<Arc<Forwarder<K>>>,
    /// Asked instead of the node's resolvers, if there are any.
    servers: Vec<IpAddr>,
    places: Arc<Semaphore>,
}

/// Begins to answer in a container's namespace; `None` if the kernel carries no packets.
pub(crate) async fn serve<K: Kernel>(
    kernel: &K,
    ns: &Ns,
    scope: Vec<NetworkId>,
    directory: watch::Receiver<Arc<Directory>>,
    forwarder: Option<Arc<Forwarder<K>>>,
    servers: Vec<IpAddr>,
) -> Result<Option<Resolver>, KernelError> {
    let failed = |error: io::Error| KernelError::new(format!("listen for names in {ns}"), error);
    let (fixed, any) = (
        SocketAddr::from((RESOLVER, PORT)),
        SocketAddr::from((RESOLVER, 0)),
    );
    let udp = match kernel.udp(ns, fixed).await {
        Err(_) => kernel.udp(ns, any).await?,
        bound => bound?,
    };
    let tcp = match kernel.tcp(ns, fixed).await {
        Err(_) => kernel.tcp(ns, any).await?,
        bound => bound?,
    };
    let (Some(udp), Some(tcp)) = (udp, tcp) else {
        return Ok(None);
    };
    let udp = UdpSocket::from_std(udp).map_err(failed)?;
    let tcp = TcpListener::from_std(tcp).map_err(failed)?;
    let ports = (
        udp.local_addr().map_err(failed)?.port(),
        tcp.local_addr().map_err(failed)?.port(),
    );
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let client = Arc::new(Client {
        scope,
        directory,
        forwarder,
        servers,
        places,
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_udp(Arc::new(udp), Arc::clone(&client)));
    tasks.spawn(serve_tcp(tcp, client));
    Ok(Some(Resolver {
        ports,
        _tasks: tasks,
    }))
}

async fn serve_udp<K: Kernel>(socket: Arc<UdpSocket>, client: Arc<Client<K>>) {
    let mut under_way = JoinSet::new();
    let mut buffer = vec![0; QUESTION];
    loop {
        while under_way.try_join_next().is_some() {}
        // An error here is an echo of an answer that nobody took.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let question = buffer.get(..length).unwrap_or_default();
        match client.judge(question, Transport::Udp) {
            Verdict::Reply(answer) => drop(socket.try_send_to(&answer, from)),
            Verdict::Ignore => {}
            Verdict::Forward => {
                // With all places taken the question is dropped; its client asks again.
                let Ok(place) = Arc::clone(&client.places).try_acquire_owned() else {
                    continue;
                };
                let (question, client) = (question.to_vec(), Arc::clone(&client));
                let socket = Arc::clone(&socket);
                under_way.spawn(async move {
                    if let Some(answer) = client.forward(&question, Transport::Udp).await {
                        drop(socket.send_to(&answer, from).await);
                    }
                    drop(place);
                });
            }
        }
    }
}

async fn serve_tcp<K: Kernel>(listener: TcpListener, client: Arc<Client<K>>) {
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&client.places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, most likely: let others finish.
                drop(under_way.join_next().await);
                tokio::task::yield_now().await;
                continue;
            }
        };
        let client = Arc::clone(&client);
        under_way.spawn(async move {
            // A client that breaks off is no matter of ours.
            drop(client.converse(stream).await);
            drop(place);
        });
    }
}

impl<K: Kernel> Client<K> {
    fn judge(&self, question: &[u8], transport: Transport) -> Verdict {
        let directory = Arc::clone(&self.directory.borrow());
        judge(question, transport, &directory, &self.scope)
    }

    async fn forward(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Some(forwarder) = &self.forwarder else {
            return failure(question, ResponseCode::NXDomain);
        };
        match forwarder.ask(&self.servers, question, transport).await {
            Some(answer) => Some(answer),
            None => failure(question, ResponseCode::ServFail),
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let question = timeout(IDLE, read_message(&mut stream)).await??;
            let answer = match self.judge(&question, Transport::Tcp) {
                Verdict::Reply(answer) => answer,
                Verdict::Ignore => return Ok(()),
                Verdict::Forward => match self.forward(&question, Transport::Tcp).await {
                    Some(answer) => answer,
                    None => return Ok(()),
                },
            };
            timeout(IDLE, write_message(&mut stream, &answer)).await??;
        }
    }
}
