//! The connection to a daemon or, from outside, to a cluster, and how a call is repeated while a cluster has no leader.

use std::error::Error as _;
use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use skep_proto::channel::{self, ConnectError, Nobody};
use skep_proto::ids::RequestId;
use skep_proto::wire::v1::containers_client::ContainersClient;
use skep_proto::wire::v1::control_client::ControlClient;
use skep_proto::wire::v1::drills_client::DrillsClient;
use skep_proto::wire::v1::images_client::ImagesClient;
use skep_proto::wire::v1::local_client::LocalClient;
use skep_proto::wire::v1::streams_client::StreamsClient;
use skep_proto::wire::v1::tokens_client::TokensClient;
use skep_proto::wire::v1::volumes_client::VolumesClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::reach::{Reach, Said};

/// A cluster without a leader gets so long to find one.
const PATIENCE: Duration = Duration::from_secs(15);
/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// What is said where a call is not known at all.
const OLDER: &str = "whoever answers runs an older release, which does not know this; upgrade it, the managers first";

/// Bytes of an answer at most: a list of 100,000 tasks takes 40 MB.
const LARGEST_ANSWER: usize = 256 << 20;

/// A connection that shows a token where there is one.
type Line = InterceptedService<Channel, Shown>;

/// What goes with each call.
#[derive(Clone)]
pub enum Shown {
    /// Nothing: the system says who connects to a socket.
    Nothing,
    /// A token.
    Token(MetadataValue<Ascii>),
    /// It does not go: only a node's own daemon could answer.
    NotFromHere,
}

impl Interceptor for Shown {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        match self {
            Self::Nothing => Ok(request),
            Self::Token(token) => {
                request
                    .metadata_mut()
                    .insert("authorization", token.clone());
                Ok(request)
            }
            Self::NotFromHere => Err(Status::failed_precondition(
                "this asks one node's own daemon (about itself, or its containers, images and volumes) and cannot be \
                 asked from outside; run it on the node, or with: skep --context default",
            )),
        }
    }
}

/// The doors of a daemon on its socket, or of a cluster from outside.
#[derive(Clone)]
pub struct Client {
    /// The cluster.
    pub control: ControlClient<Line>,
    /// Who is let into it from outside.
    pub tokens: TokensClient<Line>,
    /// The daemon itself.
    pub local: LocalClient<Line>,
    /// Images of this node.
    pub images: ImagesClient<Line>,
    /// Its node's volumes.
    pub volumes: VolumesClient<Line>,
    /// The containers of this node.
    pub containers: ContainersClient<Line>,
    /// Failures that are made on purpose.
    pub drills: DrillsClient<Line>,
    /// Logs and terminals of the whole cluster.
    pub streams: StreamsClient<Line>,
}

impl Client {
    /// Connects to where `said` leads.
    ///
    /// # Errors
    /// Names the context or address and says what is wrong with it.
    pub async fn connect(said: &Said) -> anyhow::Result<Self> {
        match said.reach()? {
            Reach::Socket(path) => {
                let channel = channel::connect_unix(&path).await.with_context(|| {
                    let hint = match (&said.token, &said.host) {
                        (Some(_), None) => " (SKEP_TOKEN is set, but no SKEP_HOST says where the cluster is)",
                        _ => "",
                    };
                    format!(
                        "cannot reach the daemon at unix://{}; is it running? Start it with: skep daemon{hint}",
                        path.display()
                    )
                })?;
                Ok(Self::over(&channel, &Shown::Nothing, &Shown::Nothing))
            }
            Reach::Outside(managers, token) => {
                let channel = channel::connect_outside(managers, token.root_digest).await?;
                let mut shown = MetadataValue::try_from(format!("Bearer {token}"))?;
                shown.set_sensitive(true);
                let shown = Shown::Token(shown);
                Ok(Self::over(&channel, &shown, &Shown::NotFromHere))
            }
        }
    }

    /// `shown` goes with calls about the cluster, `own` with those about one node.
    fn over(channel: &Channel, shown: &Shown, own: &Shown) -> Self {
        let line = |shown: &Shown| InterceptedService::new(channel.clone(), shown.clone());
        Self {
            control: ControlClient::new(line(shown)).max_decoding_message_size(LARGEST_ANSWER),
            tokens: TokensClient::new(line(shown)),
            local: LocalClient::new(line(own)),
            images: ImagesClient::new(line(own)),
            volumes: VolumesClient::new(line(own)),
            containers: ContainersClient::new(line(own)),
            drills: DrillsClient::new(line(shown)),
            streams: StreamsClient::new(line(shown)),
        }
    }
}

/// A new request id, as the wire has it.
pub fn request() -> Vec<u8> {
    RequestId::new(rand::random()).bits().to_be_bytes().to_vec()
}

/// A refusal: the sentence for a person, without the protocol around it, and the code for programs.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The kind of refusal.
    pub code: Code,
    text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

/// What a refused call says.
pub fn said(status: &Status) -> anyhow::Error {
    anyhow::Error::new(Refusal {
        code: status.code(),
        text: text_of(status),
    })
}

/// The sentence of a refusal: of each manager that was tried, where none answers.
pub fn text_of(status: &Status) -> String {
    if status.code() == Code::Unimplemented && status.message().is_empty() {
        return OLDER.to_owned();
    }
    let nobody = status.source().and_then(Nobody::below);
    nobody.map_or_else(|| status.message().to_owned(), |it| it.to_string())
}

/// Whether a call may go well when it is made again: there is no leader just now, or the connection broke. What
/// broke here has a cause; what a manager says has none.
pub fn repeats(status: &Status) -> bool {
    let broke = matches!(
        status.code(),
        Code::Unknown | Code::Cancelled | Code::Internal
    );
    status.code() == Code::Unavailable || (broke && status.source().is_some())
}

/// Whether nobody can be reached, rather than something being wrong with what was said.
pub fn reaches_nobody(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| match cause.downcast_ref::<Nobody>() {
        Some(nobody) => !nobody.all_foreign(),
        None => cause.is::<ConnectError>(),
    })
}

/// The exit code of a command that failed: 15 where a token does not do, 16 where no manager of a cluster answers.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    for cause in error.chain() {
        if let Some(nobody) = cause.downcast_ref::<Nobody>() {
            return ExitCode::from(if nobody.all_foreign() { 15 } else { 16 });
        }
        let refused = cause.downcast_ref::<Refusal>().map(|refusal| refusal.code);
        if matches!(
            refused,
            Some(Code::PermissionDenied | Code::Unauthenticated)
        ) {
            return ExitCode::from(15);
        }
    }
    ExitCode::FAILURE
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
            Err(status) if repeats(&status) && begin.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => return Err(said(&status)),
        }
    }
}
