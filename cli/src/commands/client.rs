//! The connection to the daemon, and how a call is repeated while a cluster has no leader.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context;
use skep_proto::channel;
use skep_proto::ids::RequestId;
use skep_proto::wire::v1::containers_client::ContainersClient;
use skep_proto::wire::v1::control_client::ControlClient;
use skep_proto::wire::v1::images_client::ImagesClient;
use skep_proto::wire::v1::local_client::LocalClient;
use skep_proto::wire::v1::streams_client::StreamsClient;
use skep_proto::wire::v1::volumes_client::VolumesClient;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::args::DEFAULT_HOST;
use crate::daemon::config;

/// A cluster without a leader gets so long to find one.
const PATIENCE: Duration = Duration::from_secs(15);
/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes of an answer at most: a list of 100,000 tasks takes 40 MB.
const LARGEST_ANSWER: usize = 256 << 20;

/// The daemon's doors on its socket.
#[derive(Clone)]
pub struct Client {
    /// The cluster.
    pub control: ControlClient<Channel>,
    /// The daemon itself.
    pub local: LocalClient<Channel>,
    /// Images of this node.
    pub images: ImagesClient<Channel>,
    /// Its node's volumes.
    pub volumes: VolumesClient<Channel>,
    /// The containers of this node.
    pub containers: ContainersClient<Channel>,
    /// Logs and terminals of the whole cluster.
    pub streams: StreamsClient<Channel>,
}

impl Client {
    /// Connects to the daemon at `host`, by default [`DEFAULT_HOST`].
    ///
    /// # Errors
    /// Names the address and says how to start a daemon.
    pub async fn connect(host: Option<&str>) -> anyhow::Result<Self> {
        let host = host.unwrap_or(DEFAULT_HOST);
        let path = config::socket_of(host)?;
        let channel = channel::connect_unix(&path).await.with_context(|| {
            format!("cannot reach the daemon at {host}; is it running? Start it with: skep daemon")
        })?;
        Ok(Self {
            control: ControlClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER),
            local: LocalClient::new(channel.clone()),
            images: ImagesClient::new(channel.clone()),
            volumes: VolumesClient::new(channel.clone()),
            containers: ContainersClient::new(channel.clone()),
            streams: StreamsClient::new(channel),
        })
    }
}

/// A new request id, as the wire has it.
pub fn request() -> Vec<u8> {
    RequestId::new(rand::random()).bits().to_be_bytes().to_vec()
}

/// A refusal: the sentence for a person, without the protocol around it, and the code for programs.
#[derive(Clone, Debug)]
pub struct Said {
    /// The kind of refusal.
    pub code: Code,
    text: String,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Said {}

/// What a refused call says.
pub fn said(status: &Status) -> anyhow::Error {
    anyhow::Error::new(Said {
        code: status.code(),
        text: status.message().to_owned(),
    })
}

/// Calls until there is an answer other than "no leader just now", for at most 15 s. The call must be one
/// that can be repeated: a read, or a command with a request id.
///
/// # Errors
/// The sentence of the refusal.
pub async fn persist<T, F, Fut>(mut call: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let begin = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if status.code() == Code::Unavailable && begin.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => return Err(said(&status)),
        }
    }
}
