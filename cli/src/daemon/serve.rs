//! The daemon's two doors: a socket for users, and mutual TLS for other nodes.

use std::convert::Infallible;
use std::fs;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polling, Poll};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use skep_manager::control::Control;
use skep_proto::channel::{self, Identity};
use skep_proto::wire::v1::control_server::ControlServer;
use skep_proto::wire::v1::drills_server::DrillsServer;
use skep_proto::wire::v1::images_server::ImagesServer;
use skep_proto::wire::v1::local_server::LocalServer;
use skep_proto::wire::v1::tokens_server::TokensServer;
use skep_proto::wire::v1::volumes_server::VolumesServer;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;

use super::caller;
use super::config::Config;
use super::images::ImagesDoor;
use super::local::LocalDoor;
use super::lock;
use super::metrics;
use super::node::Node;
use super::notify::Notifier;
use super::streams::{ContainersDoor, RelayDoor};
use super::volumes::VolumesDoor;

/// An address is let go of within this time, and asked for so often.
const LET_GO: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_millis(20);

/// Runs the daemon until it is told to stop, or cannot go on.
///
/// # Errors
/// What keeps it from starting or from going on.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let _lock = lock::take(&config.data_root)?;
    let listener = socket(&config.socket)?;
    let path = config.socket.clone();
    let watched = config.metrics;
    let node = Node::open(config).await?;
    let stop = CancellationToken::new();
    let host = nix::unistd::gethostname();
    let host: Arc<str> =
        host.map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into());
    let routes = Routes::new(LocalServer::new(LocalDoor::new(node.clone())))
        .add_service(ImagesServer::new(ImagesDoor::new(node.clone())))
        .add_service(VolumesServer::new(VolumesDoor::new(node.clone())))
        .add_service(UserDoor::<ControlServer<Control>>::new(&node, &host))
        .add_service(UserDoor::<TokensServer<Control>>::new(&node, &host))
        .add_service(UserDoor::<DrillsServer<Control>>::new(&node, &host))
        .add_service(ContainersDoor(node.streams()))
        .add_service(RelayDoor(node.streams()));
    let users = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        );
    let users = tokio::spawn(users);
    if let Some(address) = watched {
        let address = metrics::serve(address, node.clone(), stop.clone()).await?;
        tracing::info!(%address, "metrics are served");
    }
    tracing::info!(socket = %path.display(), "the daemon is ready");
    let notifier = Notifier::from_environment();
    notifier.ready();
    let alive = tokio::spawn(notifier.clone().keep_alive());
    let fatal = until_told(&node).await?;
    notifier.stopping();
    stop.cancel();
    node.stop().await;
    users.abort();
    alive.abort();
    if let Err(error) = fs::remove_file(&path) {
        tracing::debug!(%error, "the socket was gone already");
    }
    fatal.map_or(Ok(()), |reason| Err(anyhow::anyhow!(reason)))
}

/// Waits for SIGTERM or SIGINT, or for a reason that the daemon cannot go on.
async fn until_told(node: &Arc<Node>) -> anyhow::Result<Option<String>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = node.fatal() => Some(reason),
    })
}

/// Listens on the socket, in place of one that a killed daemon left. The lock on the data root is held: no
/// other daemon of ours listens there, and one with another data root would still answer.
fn socket(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!(
            "another daemon listens on {}; stop it first, or choose another --host and --exec-root",
            path.display()
        );
    }
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("cannot replace {}", path.display()));
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    Ok(listener)
}

/// Listens for other nodes.
///
/// # Errors
/// Names the address that is taken.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} for other nodes; choose another port with --control-port"
        )
    })
}

/// The same where one that just ended may not have let go of the address yet.
///
/// # Errors
/// Names the address that is still taken after ten seconds.
pub async fn listen_soon(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let deadline = Instant::now() + LET_GO;
    loop {
        match listen(address).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(PACE).await,
            other => return other,
        }
    }
}

/// This node's door for others. What is behind it can be replaced: nobody who knocks meanwhile is turned away.
pub struct Door {
    listener: std::net::TcpListener,
    open: CancellationToken,
}

impl Door {
    /// A door that nothing is behind yet: who knocks waits.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(listener: TcpListener) -> anyhow::Result<Self> {
        Ok(Self {
            listener: listener.into_std().context("cannot keep the listener")?,
            open: CancellationToken::new(),
        })
    }

    /// Serves `routes` from now on, until `stop`. Calls under way go on behind what was there before; who made them
    /// is told to connect anew.
    ///
    /// # Errors
    /// When this node's own certificate cannot be used, or the system gives no descriptor.
    pub fn serve(
        &mut self,
        identity: &Identity,
        routes: Routes,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let listener = self.listener.try_clone().and_then(TcpListener::from_std);
        let listener = listener.context("cannot serve other nodes")?;
        let mut incoming = channel::accept(listener, identity)?;
        let server = channel::server().add_routes(routes);
        let open = stop.child_token();
        let (until, closed) = (open.clone(), open.clone().cancelled_owned());
        let (sender, accepted) = mpsc::channel(1);
        // A server that ends keeps what it accepts from for as long as calls go on: nobody would answer there.
        tokio::spawn(until.run_until_cancelled_owned(async move {
            while let Some(connection) = incoming.next().await {
                if sender.send(connection).await.is_err() {
                    return;
                }
            }
        }));
        tokio::spawn(async move {
            let accepted = ReceiverStream::new(accepted);
            let served = server.serve_with_incoming_shutdown(accepted, closed).await;
            if let Err(error) = served {
                tracing::error!(%error, "this node cannot be reached by others any more");
            }
        });
        std::mem::replace(&mut self.open, open).cancel();
        Ok(())
    }
}

/// The cluster's service `N` on the socket: that of this node's manager, if it is one.
struct UserDoor<N> {
    node: Arc<Node>,
    /// This machine's name.
    host: Arc<str>,
    name: PhantomData<fn() -> N>,
}

impl<N> UserDoor<N> {
    fn new(node: &Arc<Node>, host: &Arc<str>) -> Self {
        Self {
            node: node.clone(),
            host: host.clone(),
            name: PhantomData,
        }
    }
}

impl<N> Clone for UserDoor<N> {
    fn clone(&self) -> Self {
        Self::new(&self.node, &self.host)
    }
}

impl<N: NamedService> NamedService for UserDoor<N> {
    const NAME: &'static str = N::NAME;
}

impl<N> Service<Request<Body>> for UserDoor<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Polling<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        caller::name(&mut request, &self.host);
        let node = self.node.clone();
        Box::pin(async move {
            match node.user_door().await {
                Ok(mut door) => door.call(request).await,
                Err(reason) => Ok(Status::failed_precondition(reason).into_http()),
            }
        })
    }
}
